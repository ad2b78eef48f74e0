"""From a score at every sample to events: the times of its local maxima, in bounded memory."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, one_series

Times = NDArray[np.int64]
Found = tuple[Times, Array]  # times and their scores

BLOCK = 2**15  # samples that are looked at together
MANY = 2**12  # maxima that are looked at again with each block


def find_events(score: ArrayLike, threshold: float, *, exclusion: float) -> Times:
    """Return the sample indices, ascending, at which ``score`` has an event.

    Events are the local maxima strictly above ``threshold``, taken from the highest down (the
    earlier first if they are equal); one within ``exclusion`` of one already taken is dropped. A
    plateau counts once, at its first sample, if the score falls off on both sides; at an end of
    the series, on its only side. A constant score has none. Memory, beside the score, is needed
    for the events.

    Parameters
    ----------
    score : (length,), (length, 1) or (1, length, 1) array_like
        One series, of any real dtype.
    threshold : float
        May be infinite.
    exclusion : float
        Samples; at a distance of at most so many from an event there is no second one.

    Returns
    -------
    (n_events,) int64 array

    Raises
    ------
    ValueError
        For nan in ``score``, and for more than one series.

    Examples
    --------
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


def joined(parts: list[Found]) -> Found:
    """Return times and scores of all parts."""
    times = np.concatenate([np.zeros(0, np.int64), *(part[0] for part in parts)])
    return times, np.concatenate([np.zeros(0), *(part[1] for part in parts)])


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


class Finder:
    """The events of a score that comes block by block: its maxima, thinned by ``exclusion``.

    Kept are the maxima that one to come may still drop or save. In a crowd, where each is near to
    the next, one that is the highest around parts those before it from those behind it.
    """

    def __init__(self, threshold: float, exclusion: float, start: int = 0) -> None:
        self.maxima, self.exclusion = Maxima(threshold, start), exclusion
        self.times, self.heights = np.zeros(0, np.int64), np.zeros(0)
        self.most = 0  # maxima kept, beyond which to look for an end again

    def push(self, block: NDArray[Any]) -> Found:
        """Take the next samples; return the events that are now certain."""
        return self._decided(self.maxima.push(block), ended=False)

    def finish(self) -> Found:
        """End the series; return its last events."""
        return self._decided(self.maxima.finish(), ended=True)

    def _decided(self, new: Found, *, ended: bool) -> Found:
        times, heights = joined([(self.times, self.heights), new])
        over = len(times)
        if not ended and over <= self.most:
            over = 0
        elif not ended:
            over = over and self._over(times, heights)
            self.most = 2 * (len(times) - over) if len(times) - over > MANY else 0
        self.times, self.heights = times[over:], heights[over:]
        stay = apart(times[:over], heights[:over], self.exclusion)
        return times[:over][stay], heights[:over][stay]

    def _over(self, times: Times, heights: Array) -> int:
        """Return how many maxima, from the first on, have nothing to do with any later one."""
        beyond = np.append(times, self.maxima.certain)
        ends = np.flatnonzero(np.diff(beyond) > self.exclusion) + 1
        alone = int(ends[-1]) if ends.size else 0
        known = int(np.searchsorted(times, beyond[-1] - self.exclusion, "left"))
        tops = highest(times[alone:], heights[alone:], self.exclusion)[: known - alone]
        if not tops.any():
            return alone
        last = times[alone + int(np.flatnonzero(tops)[-1])]
        return int(np.searchsorted(times, last + self.exclusion, "right"))


def maxima(score: NDArray[Any], threshold: float, exclusion: float, owner: str = "") -> Times:
    """Do the work of ``find_events`` on a score ``(length,)``.

    A maximum is dropped only because of a higher one. So the events above a threshold are those
    of any lower threshold that are as high: the events at -inf, cut by height.
    """
    finder, parts = Finder(threshold, exclusion), []
    for start in range(0, len(score), BLOCK):
        block = score[start : start + BLOCK]
        if owner and np.isnan(block).any():
            at = start + int(np.flatnonzero(np.isnan(block))[0])
            raise ValueError(
                f"{owner}: score must not hold NaN, got nan at index {at}. Repair or cut it out."
            )
        parts.append(finder.push(block)[0])
    return np.concatenate([*parts, finder.finish()[0]])


def around(times: Times, exclusion: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return, for each time, from which to below which one the others within ``exclusion`` are."""
    left = np.searchsorted(times, times - exclusion, "left")
    return left, np.searchsorted(times, times + exclusion, "right")


def highest(times: Times, heights: Array, exclusion: float) -> NDArray[np.bool_]:
    """Tell which maxima come first, by height and then by time, of all within ``exclusion``."""
    rank = np.empty(len(times), np.int64)
    rank[np.argsort(-heights, kind="stable")] = np.arange(len(times))
    left, right = around(times, exclusion)
    best, size = rank.copy(), 1  # the first by rank among ``size`` from each on
    first = np.full(len(times), len(times))
    while len(best):  # a range is covered by two of a power of two
        fits = (right - left >= size) & (right - left < 2 * size)
        first[fits] = np.minimum(best[left[fits]], best[right[fits] - size])
        best, size = np.minimum(best[:-size], best[size:]), 2 * size
    return first == rank


def apart(times: Times, heights: Array, exclusion: float) -> NDArray[np.bool_]:
    """Tell which maxima stay if each, the highest first, drops those within ``exclusion``."""
    near = np.concatenate([[False], np.diff(times) <= exclusion, [False]])
    crowded = (near[:-1] | near[1:])[: len(times)]
    stay = ~crowded
    stay[crowded] = _apart(times[crowded], heights[crowded], exclusion)
    return stay


def _apart(times: Times, heights: Array, exclusion: float) -> NDArray[np.bool_]:
    left, right = (side.tolist() for side in around(times, exclusion))
    stay, dropped = np.zeros(times.size, bool), bytearray(times.size)
    for i in np.argsort(-heights, kind="stable").tolist():
        if not dropped[i]:
            stay[i] = True
            dropped[left[i] : right[i]] = b"\1" * (right[i] - left[i])
    return stay
