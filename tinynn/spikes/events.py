"""From a score at every sample to events: the times of its local maxima, in bounded memory."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, one_series

Times = NDArray[np.int64]
Found = tuple[Times, Array]  # times and their scores

BLOCK = 2**16  # samples that are looked at together
CROWDS = 2**10  # crowds of maxima, likewise


def find_events(score: ArrayLike, threshold: float, *, exclusion: float) -> Times:
    """Return the sample indices, ascending, at which ``score`` has an event.

    Events are the local maxima of ``score``, ``(length,)``, ``(length, 1)`` or ``(1, length, 1)``,
    that are strictly above ``threshold``, taken from the highest down (the earlier first if they
    are equal); one at a distance of at most ``exclusion`` samples from one already taken is
    dropped. A plateau counts once, at its first sample, if the score falls off on both sides; at an
    end of the series, on its only side. A constant score has none. ``threshold`` may be infinite.
    Beside the score, memory is needed for the maxima above the threshold.

    Raises ValueError for NaN in ``score`` and for more than one series.

    >>> find_events([0, 3, 1, 2, 2, 0, 1], 0.5, exclusion=0).tolist()
    [1, 3, 6]
    >>> find_events([0, 3, 1, 2, 2, 0, 1], 0.5, exclusion=2).tolist()
    [1, 6]
    """
    owner = "find_events"
    row = one_series(owner, "score", score)
    return maxima(row, *limits(owner, threshold, exclusion), owner)


def limits(owner: str, threshold: float, exclusion: float) -> tuple[float, float]:
    """Return threshold and exclusion, checked."""
    if not (isinstance(threshold, (float, np.floating)) and np.isinf(threshold)):
        threshold = check.real(owner, "threshold", threshold)
    return float(threshold), check.real(owner, "exclusion", exclusion, at_least=0)


class Maxima:
    """The local maxima above a threshold of a score that comes block by block.

    A run of equal values is one maximum, at its first sample. The last run of a block may go on in
    the next one, so it is kept: ``_run`` holds its first sample, height, and whether it rose.
    """

    def __init__(self, threshold: float, start: int = 0) -> None:
        self.threshold, self._next = threshold, start
        self._run: tuple[int, float, bool] | None = None
        self._only = True  # whether no other run came before

    @property
    def certain(self) -> int:
        """The sample from which on maxima may still be found."""
        return self._run[0] if self._run is not None and self._run[2] else self._next

    def push(self, block: NDArray[Any]) -> Found:
        """Take the next samples, at least one; return times and heights that are now certain."""
        values = block.astype(np.float64)
        first = self._next + np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        height = values[first - self._next]
        rose = np.append(self._run is None, height[1:] > height[:-1])
        if self._run is not None:
            begun, before, did_rise = self._run
            if before == height[0]:
                first[0], rose[0] = begun, did_rise
            else:
                rose[0] = height[0] > before
                first = np.append(begun, first)
                height, rose = np.append(before, height), np.append(did_rise, rose)
        self._only = self._only and len(first) == 1
        self._run = int(first[-1]), float(height[-1]), bool(rose[-1])
        self._next += len(values)
        chosen = rose[:-1] & (height[1:] < height[:-1]) & (height[:-1] > self.threshold)
        return first[:-1][chosen], height[:-1][chosen]

    def finish(self) -> Found:
        """End the series; return its last maximum, if its end is one."""
        first, height, rose = self._run or (0, -np.inf, False)
        found = [(first, height)] if rose and not self._only and height > self.threshold else []
        return np.array([t for t, _ in found], np.int64), np.array([h for _, h in found])


def maxima(score: NDArray[Any], threshold: float, exclusion: float, owner: str = "") -> Times:
    """Do the work of ``find_events`` on a score ``(length,)``.

    A maximum is dropped only because of a higher one. So the events above a threshold are those
    of any lower threshold that are as high: the events at -inf, cut by height.
    """
    found, parts = Maxima(threshold), []
    for start in range(0, len(score), BLOCK):
        block = score[start : start + BLOCK]
        if owner and np.isnan(block).any():
            at = start + int(np.flatnonzero(np.isnan(block))[0])
            raise ValueError(
                f"{owner}: score must not hold NaN, got nan at index {at}. Repair or cut it out."
            )
        parts.append(found.push(block))
    times, heights = map(np.concatenate, zip(*parts, found.finish(), strict=True))
    return times[apart(times, heights, exclusion)]


def apart(times: Times, heights: Array, exclusion: float) -> NDArray[np.bool_]:
    """Tell which maxima stay if each, the highest first, drops those within ``exclusion``.

    No crowd, whose members are that near to the next one, has to do with any other.
    """
    stay = np.ones(times.size, bool)
    ends = np.append(np.flatnonzero(np.diff(times) > exclusion) + 1, times.size)
    crowds = np.flatnonzero(np.diff(ends, prepend=0) > 1)
    starts, stops = np.append(0, ends)[crowds], ends[crowds]
    for i in range(0, len(crowds), CROWDS):
        part = np.s_[starts[i] : stops[i : i + CROWDS][-1]]
        stay[part] = _apart(times[part], heights[part], exclusion)
    return stay


def _apart(times: Times, heights: Array, exclusion: float) -> NDArray[np.bool_]:
    left = np.searchsorted(times, times - exclusion, "left").tolist()
    right = np.searchsorted(times, times + exclusion, "right").tolist()
    stay, dropped = np.zeros(times.size, bool), bytearray(times.size)
    for i in np.argsort(-heights, kind="stable").tolist():
        if not dropped[i]:
            stay[i] = True
            dropped[left[i] : right[i]] = b"\1" * (right[i] - left[i])
    return stay
