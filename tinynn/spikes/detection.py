"""Events of a recording of any length, or of one that is going on: a model, piece by piece."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn import _checks as check
from tinynn.nn.layer import Layer
from tinynn.nn.receptive_field import ReceptiveField
from tinynn.spikes._arguments import Array, demand_file
from tinynn.spikes.events import Finder, Found, joined, limits
from tinynn.spikes.windows import recording, scaling
from tinynn.training.checkpoint import Checkpoint
from tinynn.training.inference import check_model, known_reach, predict, shortest_piece
from tinynn.training.interrupts import Interrupts
from tinynn.training.progress import progress_bar
from tinynn.training.resume import as_checkpoint, digest, kind, of_a_layer, refuse_other
from tinynn.training.streaming import Stream, stream

PIECE = 2**18  # numbers of the recording that are held at a time
MANY, DENSE = 2**21, 20  # events, and samples for each, beyond which a threshold is in the noise
MINUTES = 1.0  # after which a detection keeps its state


@dataclass(frozen=True, eq=False, repr=False)
class Events:
    """What :func:`detect` has found.

    Attributes
    ----------
    times : (n,) int64
        Sample indices, ascending.
    scores : (n,) float64
        The model's scores there.
    seconds : (n,) float64 or None
        The times over the rate, if one was given.
    missing : (m, 2) int64
        (start, stop) of each run of samples that are missing in any channel.
    blind : int
        How many samples had no score, for the model sees a missing one from there.
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
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
) -> Events:  # fmt: skip
    """Return the events of one recording of any length: those of ``predict`` and ``find_events``.

    Memory is needed for a piece and the events. Ctrl-C ends it after a piece. Any exception has
    the events so far as its ``.events``.

    Parameters
    ----------
    model : Layer
        Gives one score for each sample, ``(length, 1)`` for ``(length, channels)``.
    x : (length, channels) or (length,) array or memmap
        The recording, of any real dtype; it is read piece by piece.
    threshold, exclusion : float
        As in :func:`find_events`, the exclusion in samples.
    rate : float, default None
        Samples a second, for ``.seconds``.
    scale : (centre, scale), default None
        As :func:`robust_scale` returns it.
    missing : float, default None
        A value that stands for a missing sample; nan always does. A sample whose window holds a
        missing one has no score. Beside such a gap the series counts as ended.
    piece_length : int, default None
        Samples at a time; the events do not depend on it.
    threads : int, default None
        As in ``predict``.
    progress : bool, default False
        A tqdm bar over the samples.
    checkpoint : path or Checkpoint, default None
        A file that keeps the state each minute (a Checkpoint: each of its ``minutes``) and when
        anything ends the detection. The same call goes on from there, also after a kill.

    Returns
    -------
    Events

    Raises
    ------
    ValueError
        For a model that gives no such scores or needs the whole series; scores that are not
        numbers; a mapped file that is cut short; more than 2 million events with less than 20
        samples for each; a checkpoint of another detection.

    Examples
    --------
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
    kept = _Kept(as_checkpoint(checkpoint, owner), finder, model, array)
    with (
        kept.whatever_happens(n),
        Interrupts() as ctrl_c,
        progress_bar(shown, n, owner, unit=" samples", unit_scale=True) as bar,
    ):
        bar.update(finder.at)
        for start in range(finder.at, n, piece):
            stop = min(n, start + piece)
            # A piece begins on the grid, and lacks a multiple of steps at its end.
            low = max(0, start - finder.left) // step * step
            high = n - max(0, n - stop - finder.right) // step * step
            demand_file(owner, array)
            block, gone = finder.prepared(array[low:high])
            scores = finder.scores(predict(model, block, threads=threads), high - low)
            part = slice(start - low, stop - low)
            finder.take(scores[part], finder.blind(gone)[part], gone[part])
            finder.demand_few()
            bar.update(stop - start)
            kept.note(finished=stop == n)
            if ctrl_c.pressed:
                raise KeyboardInterrupt
    return finder.events(ended=True)


class _Kept:
    """What is kept of a detection, in case that it ends before the recording does."""

    def __init__(
        self, checkpoint: Checkpoint | None, finder: "_Finder", model: Layer, x: NDArray[Any]
    ) -> None:
        self._checkpoint, self._finder, self._due = checkpoint, finder, 0.0
        if checkpoint is None:
            return
        self._settings = {
            "model": {path: of_a_layer(layer) for path, layer in model.named_layers()},
            "weights": {path: digest(value) for path, value in model.state_dict().items()},
            "x": kind(x), "values of x": digest(x),
            "threshold": finder.threshold, "exclusion": finder.exclusion,
            "scale": str([finder.centre.tolist(), finder.scale.tolist()]),
            "missing": finder.missing,
        }  # fmt: skip
        found, name = checkpoint.load(), f"detect: the checkpoint {checkpoint.path}"
        if found is not None:
            if not isinstance(found, dict) or found.keys() != {"detection of", "state"}:
                raise ValueError(f"{name} is none of detect. Give another path.")
            refuse_other(name, "detection", found["detection of"], self._settings)
            finder.load_state_dict(found["state"])

    def note(self, *, finished: bool) -> None:
        """Write the state to the file if it is time to."""
        if self._checkpoint is not None and (finished or time.monotonic() > self._due):
            self._save(self._checkpoint)

    def _save(self, checkpoint: Checkpoint) -> None:
        checkpoint.save({"detection of": self._settings, "state": self._finder.state_dict()})
        minutes = MINUTES if checkpoint.minutes is None else checkpoint.minutes
        self._due = time.monotonic() + 60 * minutes

    @contextmanager
    def whatever_happens(self, n: int) -> Iterator[None]:
        """Let no exception take the events found so far, nor the way to go on, with it."""
        finder, goes_on = self._finder, ""
        try:
            yield
        except BaseException as error:
            try:
                if self._checkpoint is not None:
                    goes_on = f" {self._checkpoint.path} goes on there."
                    if finder.whole:
                        self._save(self._checkpoint)
            except OSError as fault:
                goes_on = f" The checkpoint could not be written: {fault}"
            found = error.events = finder.events(ended=False)  # type: ignore[attr-defined]
            error.add_note(
                f"detect was stopped after {finder.at} of {n} samples; the {len(found)} events "
                f"that were certain by then are .events of this exception.{goes_on}"
            )
            raise


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
        """Take the next samples, ``(steps, channels)``; return the events that are now certain."""
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

    Parameters
    ----------
    model, threshold, exclusion, rate, scale, missing
        As in :func:`detect`.
    channels : int
        How many the recording has.

    Returns
    -------
    EventStream

    Examples
    --------
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
        self.whole = True  # not within take
        self._stretch: Finder | None = None  # without gaps, that is going on
        self._found: list[Found] = []
        self._gaps: list[list[int]] = []
        self._blind = self._count = 0

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
        bad = np.flatnonzero(np.isnan(scores) & ~blind)
        if bad.size:
            raise ValueError(
                f"{self.owner}: the model's score is nan at sample {self.at + int(bad[0])}, though "
                "its samples are not missing. Does x hold infinities, or the model a parameter of "
                "nan?"
            )
        self.whole = False
        self._note(gone)
        self._blind += int(np.count_nonzero(blind))
        for start, stop in _runs(~blind):
            if self._stretch is None or (start and blind[start - 1]):
                self._end()
                self._stretch = Finder(self.threshold, self.exclusion, self.at + start)
            self._add(self._stretch.push(scores[start:stop]))
        if blind.size and blind[-1]:
            self._end()
        self.at += len(scores)
        self.whole = True

    def _note(self, gone: NDArray[np.bool_]) -> None:
        for start, stop in _runs(gone):
            start, stop = self.at + start, self.at + stop
            if self._gaps and self._gaps[-1][1] == start:
                self._gaps[-1][1] = stop
            else:
                self._gaps.append([start, stop])

    def _add(self, found: Found) -> None:
        if len(found[0]):
            self._found.append(found)
            self._count += len(found[0])

    def _end(self) -> None:
        """End the series, beside a gap or at its end."""
        if self._stretch is not None:
            self._add(self._stretch.finish())
            self._stretch = None

    def demand_few(self) -> None:
        """Raise ValueError if there are so many events that memory would not hold them."""
        if self._count > MANY and self._count * DENSE > self.at:
            raise ValueError(
                f"{self.owner}: there are {self._count} events in {self.at} samples, one for each "
                f"{self.at / self._count:.1f}: threshold {self.threshold:g} is within the noise. "
                f"Give a higher one, or an exclusion of at least {DENSE} samples."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of a detection depends on."""
        stretch = self._stretch
        return {
            "at": self.at, "found": [joined(self._found)], "gaps": self._gaps,
            "blind": self._blind, "count": self._count,
            "stretch": stretch and {**vars(stretch), "maxima": dict(vars(stretch.maxima))},
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.at, self._found, self._gaps = state["at"], state["found"], state["gaps"]
        self._blind, self._count = state["blind"], state["count"]
        if state["stretch"]:
            self._stretch = Finder(self.threshold, self.exclusion)
            vars(self._stretch.maxima).update(state["stretch"].pop("maxima"))
            vars(self._stretch).update(state["stretch"])

    def events(self, *, ended: bool) -> Events:
        """Return the events since the last time that it was asked; all if the series has ended."""
        if ended:
            self._end()
        going_on = bool(self._gaps) and self._gaps[-1][1] == self.at and not ended
        gaps = self._gaps[: len(self._gaps) - going_on]
        times, scores = joined(self._found)
        seconds = None if self.rate is None else times / self.rate
        blind, self._blind = self._blind, 0
        self._found, self._gaps = [], self._gaps[len(gaps) :]
        return Events(times, scores, seconds, np.array(gaps, np.int64).reshape(-1, 2), blind)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
