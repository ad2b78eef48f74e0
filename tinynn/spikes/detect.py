"""From a score at every sample to events: the times of its local maxima."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, series


def find_events(score: ArrayLike, threshold: float, *, exclusion: float) -> NDArray[np.int64]:
    """Return the sample indices, ascending, at which ``score`` has an event.

    Events are the local maxima of ``score``, ``(length,)``, ``(length, 1)`` or ``(1, length, 1)``,
    that are strictly above ``threshold``, taken from the highest down (the earlier first if they
    are equal); one at a distance of at most ``exclusion`` samples from one already taken is
    dropped. A plateau counts once, at its first sample, if the score falls off on both sides; at an
    end of the series, on its only side. A constant score has none. ``threshold`` may be infinite.

    Raises ValueError for NaN in ``score`` and for more than one series.

    >>> find_events([0, 3, 1, 2, 2, 0, 1], 0.5, exclusion=0).tolist()
    [1, 3, 6]
    >>> find_events([0, 3, 1, 2, 2, 0, 1], 0.5, exclusion=2).tolist()
    [1, 6]
    """
    owner = "find_events"
    rows = series(owner, "score", score, finite=False)
    if len(rows) > 1:
        raise ValueError(
            f"{owner}: score must be one series, got shape {np.shape(score)}. "
            f"Call it for each series, score[i], in a loop."
        )
    if not (isinstance(threshold, (float, np.floating)) and np.isinf(threshold)):
        threshold = check.real(owner, "threshold", threshold)
    return maxima(rows[0], threshold, check.real(owner, "exclusion", exclusion, at_least=0))


def maxima(score: Array, threshold: float, exclusion: float) -> NDArray[np.int64]:
    """Do the work of ``find_events`` on a checked score ``(length,)``.

    A maximum is dropped only because of a higher one. So the events above a threshold are those
    of any lower threshold that are as high: the events at -inf, cut by height.
    """
    first = np.flatnonzero(np.concatenate(([True], score[1:] != score[:-1])))
    height = score[first]
    rises = np.concatenate(([True], height[1:] > height[:-1]))
    falls = np.concatenate((~rises[1:], [True]))
    chosen = rises & falls & (height > threshold) & (first.size > 1)
    first, height = first[chosen], height[chosen]
    left = np.searchsorted(first, first - exclusion, "left").tolist()
    right = np.searchsorted(first, first + exclusion, "right").tolist()
    kept = np.zeros(first.size, bool)
    dropped = bytearray(first.size)
    for i in np.argsort(-height, kind="stable").tolist():
        if not dropped[i]:
            kept[i] = True
            dropped[left[i] : right[i]] = b"\1" * (right[i] - left[i])
    return first[kept]
