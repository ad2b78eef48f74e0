"""Events of a recording of any length, or of one that is going on: a model, piece by piece."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn import _checks as check
from tinynn.nn.layer import Layer
from tinynn.nn.receptive_field import ReceptiveField
from tinynn.spikes._arguments import Array
from tinynn.spikes.events import Maxima, Times, apart, limits
from tinynn.spikes.windows import recording, scaling
from tinynn.training.inference import check_model, known_reach, predict, shortest_piece
from tinynn.training.progress import progress_bar
from tinynn.training.streaming import Stream, stream

PIECE = 2**18  # numbers of the recording that are held at a time


@dataclass(frozen=True, eq=False, repr=False)
class Events:
    """What :func:`detect` has found.

    ``times``: ``(n,)`` int64, ascending sample indices; ``scores``: the model's scores there;
    ``seconds``: the times over the rate, None if no rate was given. ``missing``: ``(m, 2)`` int64,
    (start, stop) of each run of samples that are missing in any channel. ``blind``: how many
    samples had no score, for the model sees a missing one from there.
    """

    times: NDArray[np.int64]
    scores: Array
    seconds: Array | None
    missing: NDArray[np.int64]
    blind: int

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        gaps = f", missing={len(self.missing)}, blind={self.blind}" if len(self.missing) else ""
        return f"Events({len(self)}{gaps})"


def detect(
    model: Layer, x: Any, threshold: float, *, exclusion: float, rate: float | None = None,
    scale: Any = None, missing: float | None = None, piece_length: int | None = None,
    threads: int | None = None, progress: bool = False,
) -> Events:  # fmt: skip
    """Return the events of one recording of any length: those of ``predict`` and ``find_events``.

    ``model``: gives one score for each sample, ``(length, 1)`` for ``(length, channels)``. ``x``:
    ``(length, channels)`` or, of one channel, ``(length,)``, an array or memmap of any real dtype;
    it is read piece by piece. ``threshold``, ``exclusion`` (samples): as in :func:`find_events`.
    ``rate``: samples a second, for ``.seconds``. ``scale``: (centre, scale), as
    :func:`robust_scale` returns it. ``missing``: a value that stands for a missing sample; nan
    always does. A sample whose window holds a missing one has no score; beside such a gap the
    series counts as ended. ``piece_length``: samples at a time; the events do not depend on it.
    ``threads``: as in ``predict``. ``progress``: a tqdm bar over the samples.

    Raises ValueError for a model that gives no such scores or needs the whole series, and for
    scores that are not numbers.

    >>> from tinynn import Conv1d
    >>> matched = Conv1d(1, 1, 3, padding="same", kernel_initializer="ones", rng=0)
    >>> x = np.zeros(1000, np.int16); x[[100, 101, 700]] = 8; x[300:320] = -999
    >>> found = detect(matched, x, 4.0, exclusion=5, rate=100, missing=-999)
    >>> found, found.times.tolist(), found.seconds.tolist(), found.missing.tolist()
    (Events(2, missing=1, blind=22), [100, 699], [1.0, 6.99], [[300, 320]])
    """
    owner = "detect"
    check_model(owner, model)
    array = recording(owner, x)
    finder = _Finder(owner, model, threshold, exclusion, rate, scale, missing, array.shape[1])
    reach, n = finder.reach, len(array)
    piece = max(PIECE // array.shape[1], 8 * shortest_piece(reach))
    if piece_length is not None:
        piece = check.integer(owner, "piece_length", piece_length, at_least=1)
    shown = check.flag(owner, "progress", progress)
    step = math.lcm(reach.grid, reach.multiple)
    with progress_bar(shown, n, owner, unit=" samples", unit_scale=True) as bar:
        for start in range(0, n, piece):
            stop = min(n, start + piece)
            # A piece begins on the grid, and lacks a multiple of steps at its end.
            low = max(0, start - finder.left) // step * step
            high = n - max(0, n - stop - finder.right) // step * step
            block, gone = finder.prepared(array[low:high])
            scores = finder.scores(predict(model, block, threads=threads), high - low)
            part = slice(start - low, stop - low)
            finder.take(scores[part], finder.blind(gone)[part], gone[part])
            bar.update(stop - start)
    return finder.events(ended=True)


class EventStream:
    """Events of a recording while it arrives; what :func:`stream_events` returns.

    All events that it has returned are those of :func:`detect` for the whole recording.
    """

    def __init__(self, scores: Stream, finder: "_Finder") -> None:
        self._stream, self._finder = scores, finder
        self._gone = np.zeros(0, bool)  # of the samples that later scores see
        self._first = 0  # the sample of the first of them

    @property
    def delay(self) -> int:
        """Samples after which an event is certain, if no other maximum is near: a lower bound.

        Those that the model sees ahead, one to see the score fall, and the exclusion.
        """
        return self._finder.right + 1 + math.floor(self._finder.exclusion)

    @property
    def delay_seconds(self) -> float | None:
        """The same in seconds; None if no rate was given."""
        rate = self._finder.rate
        return None if rate is None else self.delay / rate

    def push(self, x: ArrayLike) -> Events:
        """Take the next samples ``(steps, channels)``; return the events that are now certain."""
        array = np.asarray(x)
        if array.ndim == 2 and not len(array):
            return self._finder.events(ended=False)
        array = recording("EventStream.push", array)
        block, gone = self._finder.prepared(array)
        return self._took(self._stream.push(block), gone, ended=False)

    def finish(self) -> Events:
        """End the recording; return its last events."""
        return self._took(self._stream.finish(), np.zeros(0, bool), ended=True)

    def _took(self, scores: Any, new: NDArray[np.bool_], *, ended: bool) -> Events:
        finder, gone = self._finder, np.append(self._gone, new)
        n = finder.at - self._first + len(scores)
        part = slice(finder.at - self._first, n)
        scores = finder.scores(scores, len(scores))
        if len(scores):
            finder.take(scores, finder.blind(gone)[part], gone[part])
        kept = max(0, finder.at - finder.left - self._first)
        self._gone, self._first = gone[kept:], self._first + kept
        return finder.events(ended=ended)


def stream_events(
    model: Layer, threshold: float, *, channels: int, exclusion: float, rate: float | None = None,
    scale: Any = None, missing: float | None = None,
) -> EventStream:  # fmt: skip
    """Return an :class:`EventStream` of a recording that is going on.

    ``channels``: how many it has; all else as in :func:`detect`.

    >>> from tinynn import Conv1d
    >>> matched = Conv1d(1, 1, 3, padding="same", kernel_initializer="ones", rng=0)
    >>> live = stream_events(matched, 4.0, channels=1, exclusion=5, rate=100)
    >>> live.push(np.array([0, 0, 8, 0, 0])).times.tolist(), live.delay_seconds
    ([], 0.07)
    >>> live.push(np.zeros(9)).times.tolist(), live.finish().times.tolist()
    ([1], [])
    """
    owner = "stream_events"
    check_model(owner, model)
    channels = check.integer(owner, "channels", channels, at_least=1)
    finder = _Finder(owner, model, threshold, exclusion, rate, scale, missing, channels)
    return EventStream(stream(model), finder)


@dataclass
class _Pending:
    """Maxima of one stretch without gaps whose neighbours are not all known."""

    found: Maxima
    times: Times = field(default_factory=lambda: np.zeros(0, np.int64))
    heights: Array = field(default_factory=lambda: np.zeros(0))


class _Finder:
    """Finds the events in scores that come piece by piece."""

    def __init__(
        self, owner: str, model: Layer, threshold: Any, exclusion: Any, rate: Any, scale: Any,
        missing: Any, channels: int,
    ) -> None:  # fmt: skip
        self.owner = owner
        self.threshold, self.exclusion = limits(owner, threshold, exclusion)
        self.rate = rate if rate is None else check.real(owner, "rate", rate, above=0)
        self.centre, self.scale = scaling(owner, scale, channels)
        if missing is not None and not (isinstance(missing, float) and math.isinf(missing)):
            missing = check.real(owner, "missing", missing)
        self.missing, self.channels = missing, channels
        self.reach: ReceptiveField = known_reach(owner, model, "Use predict and find_events")
        if self.reach.stride != 1:
            raise ValueError(
                f"{owner}: the model must give one score for each sample, but its strides make "
                f"that one for {self.reach.stride}. Use predict and find_events."
            )
        self.left, self.right = math.ceil(self.reach.left), math.ceil(self.reach.right)
        self.at = 0  # the next sample
        self._pending: _Pending | None = None
        self._found: list[tuple[Times, Array]] = []
        self._gaps: list[list[int]] = []
        self._blind = 0

    def prepared(self, x: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return samples as the model gets them, and which are missing; these are 0."""
        if x.shape[1] != self.channels:
            raise ValueError(
                f"{self.owner}: x must have {self.channels} channels, got shape {x.shape}."
            )
        gone: Any = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
        if self.missing is not None:
            gone |= x == self.missing
        block = ((x - self.centre) / self.scale).astype(np.float32)
        block[gone] = 0
        return block, np.any(gone, axis=1)

    def scores(self, y: Any, steps: int) -> NDArray[Any]:
        """Return the model's output as ``(steps,)``, if it is one score for each sample."""
        shape = np.shape(y)
        if shape != (steps, 1):
            raise ValueError(
                f"{self.owner}: the model must give one score for each sample, ({steps}, 1), got "
                f"shape {shape}. Use padding='same' and one unit in the last layer."
            )
        return np.asarray(y)[:, 0]

    def blind(self, gone: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell from which samples the model sees a missing one."""
        count = np.append(0, np.cumsum(gone))
        i = np.arange(len(gone))
        low, high = np.maximum(i - self.left, 0), np.minimum(i + self.right + 1, len(gone))
        return np.asarray(count[high] > count[low])

    def take(self, scores: NDArray[Any], blind: NDArray[np.bool_], gone: NDArray[np.bool_]) -> None:
        """Take the next scores, from which samples nothing is seen, and which are missing."""
        self._note(gone)
        self._blind += int(np.count_nonzero(blind))
        for start, stop in _runs(~blind):
            part = scores[start:stop]
            if np.isnan(part).any():
                at = self.at + start + int(np.flatnonzero(np.isnan(part))[0])
                raise ValueError(
                    f"{self.owner}: the model's score is nan at sample {at}, though its samples "
                    "are not missing. Does x hold infinities, or the model a parameter of nan?"
                )
            if self._pending is None or (start and blind[start - 1]):
                self._end()
                self._pending = _Pending(Maxima(self.threshold, self.at + start))
            self._add(*self._pending.found.push(part))
        if blind.size and blind[-1]:
            self._end()
        self.at += len(scores)

    def _note(self, gone: NDArray[np.bool_]) -> None:
        for start, stop in _runs(gone):
            start, stop = self.at + start, self.at + stop
            if self._gaps and self._gaps[-1][1] == start:
                self._gaps[-1][1] = stop
            else:
                self._gaps.append([start, stop])

    def _add(self, times: Times, heights: Array) -> None:
        """Add maxima; those in a crowd that is over are decided."""
        pending = self._pending
        if pending is None:
            return
        times, heights = np.append(pending.times, times), np.append(pending.heights, heights)
        beyond = np.append(times, pending.found.certain)
        apart_from_next = np.flatnonzero(np.diff(beyond) > self.exclusion)
        over = int(apart_from_next[-1]) + 1 if apart_from_next.size else 0
        self._decide(times[:over], heights[:over])
        pending.times, pending.heights = times[over:], heights[over:]

    def _end(self) -> None:
        """End the series, beside a gap or at its end."""
        if self._pending is not None:
            self._add(*self._pending.found.finish())
            self._decide(self._pending.times, self._pending.heights)
            self._pending = None

    def _decide(self, times: Times, heights: Array) -> None:
        if len(times):
            stay = apart(times, heights, self.exclusion)
            self._found.append((times[stay], heights[stay]))

    def events(self, *, ended: bool) -> Events:
        """Return the events since the last time that it was asked; all if the series has ended."""
        if ended:
            self._end()
        going_on = bool(self._gaps) and self._gaps[-1][1] == self.at and not ended
        gaps = self._gaps[: len(self._gaps) - going_on]
        times = np.concatenate([np.zeros(0, np.int64), *(t for t, _ in self._found)])
        scores = np.concatenate([np.zeros(0), *(h for _, h in self._found)])
        seconds = None if self.rate is None else times / self.rate
        blind, self._blind = self._blind, 0
        self._found, self._gaps = [], self._gaps[len(gaps) :]
        return Events(times, scores, seconds, np.array(gaps, np.int64).reshape(-1, 2), blind)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
