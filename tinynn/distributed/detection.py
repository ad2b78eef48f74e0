"""Detection on several ranks: each takes recordings, or a stretch of one."""

import math
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from tinynn.distributed.ranks import agreed, checked
from tinynn.nn.layer import Layer
from tinynn.spikes import Events
from tinynn.spikes import detect as detect_here
from tinynn.spikes.events import apart, limits
from tinynn.spikes.windows import recording
from tinynn.training.inference import check_model, known_reach

FLAT = 2**12  # equal scores in a row, up to which a maximum is the same seen from any stretch


def detect(
    model: Layer, x: Any, threshold: float, *, communicator: Any, exclusion: float,
    rate: float | None = None, scale: Any = None, missing: float | None = None,
    piece_length: int | None = None, threads: int | None = None, progress: bool = False,
) -> Any:  # fmt: skip
    """Return the events of recordings, which the ranks of a communicator share out.

    They are those of :func:`tinynn.spikes.detect`, on every rank. Only a run of more than 4096
    equal scores above the threshold may count once in each stretch.

    Parameters
    ----------
    model : Layer
        The same on all ranks.
    x : array_like, (length, channels) or (length,), or a list of such arrays
        One recording, of which each rank takes and reads a stretch, or several to share out.
    threshold, exclusion, rate, scale, missing, piece_length, threads, progress
        As of :func:`tinynn.spikes.detect`. Rank 0 alone shows a bar, of its own part.
    communicator : mpi4py.MPI.Intracomm
        Such as ``MPI.COMM_WORLD``.

    Returns
    -------
    Events, or a list of Events in the order of the recordings

    Raises
    ------
    TypeError, ValueError
        As :func:`tinynn.spikes.detect`; all ranks but the one that raises get a RuntimeError.
    """
    comm = checked("detect", communicator)
    rank, ranks = comm.Get_rank(), comm.Get_size()
    options = {"scale": scale, "missing": missing, "piece_length": piece_length, "threads": threads}
    options["progress"] = progress and not rank
    several = isinstance(x, (list, tuple)) and all(np.ndim(part) for part in x)

    def here() -> list[tuple[int, Events]]:
        if not several:
            limits("detect", threshold, exclusion)
            array = recording("detect", x)
            start, stop = (len(array) * k // ranks for k in (rank, rank + 1))
            return [(rank, _stretch(model, array, start, stop, threshold, options))]
        ours = sorted(range(len(x)), key=lambda i: -len(x[i]))[rank::ranks]  # the longest first
        how = options | {"exclusion": exclusion, "rate": rate}
        return [(i, detect_here(model, x[i], threshold, **how)) for i in ours]

    parts = comm.allgather(agreed("detect", comm, here))
    found = [events for _, events in sorted(chain(*parts), key=itemgetter(0))]
    return found if several else _joined(model, found, len(x), exclusion, rate)


def _stretch(
    model: Layer, x: Any, start: int, stop: int, threshold: float, options: dict[str, Any]
) -> Events:
    """Return all maxima between two samples, and the runs of missing samples there."""
    check_model("detect", model)
    reach = known_reach("detect", model, "Use predict and find_events")
    step = math.lcm(reach.grid, reach.multiple)
    low = max(0, start - math.ceil(reach.left) - FLAT) // step * step
    high = len(x) - max(0, len(x) - stop - math.ceil(reach.right) - FLAT) // step * step
    found = detect_here(model, x[low:high], threshold, exclusion=0, **options)
    times, gaps = found.times + low, np.clip(found.missing + low, start, stop)
    inside = (times >= start) & (times < stop)
    return Events(times[inside], found.scores[inside], None, gaps[gaps[:, 0] < gaps[:, 1]], 0)


def _joined(model: Layer, parts: list[Events], n: int, exclusion: float, rate: Any) -> Events:
    """Put the maxima of stretches together: of those that are near, the highest are events."""
    times, scores = (np.concatenate([getattr(p, k) for p in parts]) for k in ("times", "scores"))
    gaps = np.concatenate([part.missing for part in parts])
    cut = np.append(gaps[:-1, 1] == gaps[1:, 0], False)[: len(gaps)]  # by the end of a stretch
    gaps = np.stack([gaps[~np.roll(cut, 1), 0], gaps[~cut, 1]], 1)
    series = np.searchsorted(gaps[:, 0], times)  # beside a gap one ends
    ends = np.flatnonzero(np.diff(series)) + 1
    pairs = zip(np.split(times, ends), np.split(scores, ends), strict=True)
    stay = np.concatenate([apart(t, s, exclusion) for t, s in pairs])
    reach = known_reach("detect", model, "")
    first, last = np.clip(gaps + [-math.ceil(reach.right), math.ceil(reach.left)], 0, n).T
    before = np.append(0, np.maximum.accumulate(last))[: len(last)]
    blind = int(np.maximum(last - np.maximum(first, before), 0).sum())
    times, scores = times[stay], scores[stay]
    return Events(times, scores, None if rate is None else times / rate, gaps, blind)
