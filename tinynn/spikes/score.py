"""How well found events agree with true spike times: matching, and the choice of a threshold."""

from dataclasses import dataclass
from functools import reduce
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, series, times, times_of_each
from tinynn.spikes.events import maxima


@dataclass(frozen=True, eq=False, repr=False)
class Match:
    """The agreement of found events with true spikes; ``+`` and ``sum`` pool several series.

    Attributes
    ----------
    tp, fp, fn : int
        Pairs; found and true times left over.
    pairs : (tp, 2) int64
        Indices into the sorted true and found times; of pooled series: into these lists joined.
    timing_error : (tp,) array
        Found minus true time, in the unit of the times.
    precision, recall, f1 : float
        nan where nothing was found, where there is nothing to find, and where both hold.
    """

    tp: int
    fp: int
    fn: int
    pairs: NDArray[np.int64]
    timing_error: NDArray[Any]

    @property
    def precision(self) -> float:
        """The share of the found events that are true: tp / (tp + fp)."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else nan

    @property
    def recall(self) -> float:
        """The share of the true spikes that were found: tp / (tp + fn)."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else nan

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn)."""
        size = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / size if size else nan

    def __add__(self, other: "Match") -> "Match":
        if not isinstance(other, Match):
            return NotImplemented
        counts = self.tp + other.tp, self.fp + other.fp, self.fn + other.fn
        shift = self.tp + self.fn, self.tp + self.fp
        pairs = np.concatenate((self.pairs, other.pairs + shift))
        return Match(*counts, pairs, np.concatenate((self.timing_error, other.timing_error)))

    def __radd__(self, other: object) -> "Match":
        return self if other == 0 else NotImplemented  # where sum() starts

    def __repr__(self) -> str:
        shares = f"precision={self.precision:.3g}, recall={self.recall:.3g}, f1={self.f1:.3g}"
        return f"Match(tp={self.tp}, fp={self.fp}, fn={self.fn}, {shares})"


def match(true_times: ArrayLike, found_times: ArrayLike, tolerance: float) -> Match:
    """Match found to true times of one series, one to one.

    No other one-to-one matching within the tolerance has more pairs.

    Parameters
    ----------
    true_times, found_times : (n_true,) and (n_found,) array_like
        Integers or floats, in any order: samples, or seconds.
    tolerance : float
        The largest difference of a pair, in the same unit.

    Returns
    -------
    Match

    Raises
    ------
    ValueError
        For times that are nan or not 1-D.

    Examples
    --------
    >>> m = match([10, 50, 90], [12, 30, 49, 51], tolerance=2)
    >>> m
    Match(tp=2, fp=2, fn=1, precision=0.5, recall=0.667, f1=0.571)
    >>> m.pairs.tolist(), m.timing_error.tolist()
    ([[0, 0], [1, 2]], [2, -1])
    """
    owner = "match"
    true, found = times(owner, "true_times", true_times), times(owner, "found_times", found_times)
    tolerance = check.real(owner, "tolerance", tolerance, at_least=0)
    true_list, found_list = true.tolist(), found.tolist()
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(true_list) and j < len(found_list):
        error = found_list[j] - true_list[i]
        if abs(error) <= tolerance:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif error < 0:
            j += 1
        else:
            i += 1
    index = np.array(pairs, np.int64).reshape(-1, 2)
    n = len(pairs)
    return Match(n, found.size - n, true.size - n, index, found[index[:, 1]] - true[index[:, 0]])


@dataclass(frozen=True, eq=False, repr=False)
class PrecisionRecall:
    """Precision and recall at every threshold that makes a difference, as in scikit-learn.

    Attributes
    ----------
    precision, recall : (n + 1,) float64
        The last are 1 and 0, where nothing is found. Recall is nan if there is nothing to find.
    thresholds : (n,) float64
        Ascending.
    average_precision : float
        sum_n (R_n - R_{n-1}) P_n over falling thresholds; nan if there is nothing to find.
    """

    precision: Array
    recall: Array
    thresholds: Array
    average_precision: float

    def __repr__(self) -> str:
        n, area = self.thresholds.size, self.average_precision
        return f"PrecisionRecall(thresholds={n}, average_precision={area:.3g})"


def best_threshold(
    score: ArrayLike, true_times: Any, *, tolerance: float, exclusion: float
) -> tuple[float, Match]:
    """Return the threshold for ``find_events`` with the largest F1, and the match it gives.

    Every threshold that makes a difference is tried. The one returned lies between two events'
    heights, the higher pair if several are equally good. If no event is a true spike, it is the
    score's maximum, and nothing is found. Choose it on other data than you test on.

    Parameters
    ----------
    score : (length,), (length, 1) or (n_series, length, 1) array_like
        One series or several, whose counts are pooled.
    true_times : (n_true,) array_like, or a list of such
        Sample indices; one array for each series.
    tolerance, exclusion : float
        In samples, as in :func:`match` and :func:`find_events`.

    Returns
    -------
    threshold : float
    match : Match

    Raises
    ------
    ValueError
        For nan in ``score`` and for true times outside it.

    Examples
    --------
    >>> best_threshold([0, 5, 0, 3, 0, 4, 0, 1], [1, 5], tolerance=0, exclusion=1)
    (3.5, Match(tp=2, fp=0, fn=0, precision=1, recall=1, f1=1))
    """
    arguments = score, true_times, tolerance, exclusion
    rows, true, thresholds, found, tp = _sweep("best_threshold", *arguments)
    f1 = 2 * tp / (found + sum(map(len, true)))
    threshold = float(thresholds[np.argmax(f1)] if f1.any() else rows.max())
    found_times = [maxima(row, threshold, exclusion) for row in rows]
    matches = [match(t, at, tolerance) for t, at in zip(true, found_times, strict=True)]
    return threshold, reduce(Match.__add__, matches)


def precision_recall(
    score: ArrayLike, true_times: Any, *, tolerance: float, exclusion: float
) -> PrecisionRecall:
    """Return precision and recall at every threshold of ``find_events``.

    Parameters
    ----------
    score, true_times, tolerance, exclusion
        As in :func:`best_threshold`, with the same errors.

    Returns
    -------
    PrecisionRecall

    Examples
    --------
    >>> pr = precision_recall([0, 5, 0, 3, 0, 4, 0, 1], [1, 5], tolerance=0, exclusion=1)
    >>> pr.precision.round(2).tolist(), pr.recall.tolist()
    ([0.5, 0.67, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.5, 0.0])
    >>> pr.thresholds.tolist(), pr.average_precision
    ([0.5, 2.0, 3.5, 4.5], 1.0)
    """
    arguments = score, true_times, tolerance, exclusion
    _, true, thresholds, found, tp = _sweep("precision_recall", *arguments)
    n_true = sum(map(len, true))
    precision = np.append((tp / found)[::-1], 1.0)
    recall = np.append(tp[::-1], 0) / n_true if n_true else np.full(precision.size, nan)
    area = -float(np.diff(recall) @ precision[:-1])
    return PrecisionRecall(precision, recall, thresholds[::-1], area)


class Ranked(NamedTuple):
    """The events of all series at no threshold, the highest first.

    ``gain``: 1 if an event enlarges the maximum matching of those above it, else 0. Events of a
    high threshold remain events at every lower one (``maxima``), and one more enlarges the
    matching by one at most. So a single pass from the highest down sees all thresholds.
    """

    rows: Array  # the series
    true: list[NDArray[Any]]
    height: Array
    gain: NDArray[np.int64]
    series: NDArray[np.int64]  # in which an event is
    time: NDArray[np.int64]


def ranked(owner: str, score: Any, true_times: Any, tolerance: Any, exclusion: Any) -> Ranked:
    """Return all events by height, and which of them are true."""
    rows = series(owner, "score", score, finite=False)
    true = times_of_each(owner, true_times, *rows.shape)
    tolerance = check.real(owner, "tolerance", tolerance, at_least=0)
    exclusion = check.real(owner, "exclusion", exclusion, at_least=0)
    heights, first, last, at = [], [], [], []
    n_true = 0
    for row, t in zip(rows, true, strict=True):
        events = maxima(row, -inf, exclusion)
        heights.append(row[events])
        first.append(n_true + np.searchsorted(t, events - tolerance, "left"))
        last.append(n_true + np.searchsorted(t, events + tolerance, "right"))
        at.append(events)
        n_true += t.size
    height = np.concatenate(heights)
    order = np.argsort(-height, kind="stable")
    gain = _gains(np.concatenate(first)[order], np.concatenate(last)[order])
    of = np.repeat(np.arange(len(at)), [len(events) for events in at])
    return Ranked(rows, true, height[order], gain, of[order], np.concatenate(at)[order])


def _sweep(
    owner: str, score: Any, true_times: Any, tolerance: Any, exclusion: Any
) -> tuple[Array, list[NDArray[Any]], Array, NDArray[np.int64], NDArray[np.int64]]:
    """Return series, true times, thresholds, falling, and their numbers of events and true ones."""
    rows, true, height, gain, *_ = ranked(owner, score, true_times, tolerance, exclusion)
    level = np.append(height, rows.min())
    ends = np.flatnonzero(level[:-1] > level[1:])
    upper, lower = level[ends], level[ends + 1]
    with np.errstate(invalid="ignore"):  # the two infinities have no middle
        middle = lower / 2 + upper / 2
    middle = np.where((lower <= middle) & (middle < upper), middle, lower)
    return rows, true, middle, ends + 1, np.cumsum(gain)[ends]


def _gains(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, for each event in turn, by how much it enlarges the maximum matching: 1 or 0.

    Event e may be matched to the true times ``first[e]``, ..., ``last[e] - 1``. Augmenting paths
    are searched breadth first; true times seen in vain are closed to later searches, for their
    events can only change places among themselves.
    """
    reach = list(map(range, first.tolist(), last.tolist()))
    event_of: dict[int, int] = {}
    time_of: dict[int, int] = {}
    closed: set[int] = set()

    def augment(event: int) -> bool:
        came: dict[int, int] = {}
        queue = [event]
        for e in queue:
            for time in reach[e]:
                if time in came or time in closed:
                    continue
                came[time] = e
                if time in event_of:
                    queue.append(event_of[time])
                    continue
                while time >= 0:  # each event on the path moves to the time it came to
                    e = event_of[time] = came[time]
                    time_of[e], time = time, time_of.get(e, -1)
                return True
        closed.update(came)
        return False

    gains = np.zeros(first.size, np.int64)
    for event in np.flatnonzero(first < last).tolist():
        gains[event] = augment(event)
    return gains
