"""How sure an evaluation is: rates an hour, and intervals from a bootstrap over stretches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, numbers
from tinynn.spikes.score import Match, match, ranked

RECALLS = tuple(i / 20 for i in range(1, 21))
STATISTICS = ("f1", "precision", "recall")


class Interval(NamedTuple):
    """A value, and the ends of its confidence interval.

    Attributes
    ----------
    value, low, high : float
    """

    value: float
    low: float
    high: float


def rates_per_hour(found: Match, length: float, rate: float) -> tuple[float, float]:
    """Return how many events are missed, and how many found are false, in an hour.

    Parameters
    ----------
    found : Match
        Of the whole recording.
    length : float
        Samples of the recording, or with ``rate=1`` its seconds.
    rate : float
        Samples a second.

    Returns
    -------
    missed, false : float

    Examples
    --------
    >>> rates_per_hour(match([10, 50, 90], [12, 30], tolerance=2), length=72_000, rate=20.0)
    (2.0, 1.0)
    """
    owner = "rates_per_hour"
    length = check.real(owner, "length", length, above=0)
    hours = length / check.real(owner, "rate", rate, above=0) / 3600
    return _match(owner, "found", found).fn / hours, found.fp / hours


def match_stretches(
    true_times: ArrayLike, found_times: ArrayLike, tolerance: float, *, length: float, n: int = 20
) -> list[Match]:
    """Match events as :func:`match` does, and count them in stretches of equal length.

    A pair belongs to the stretch of its true time; a missed or false event to that of its own time.
    The sum of the matches is that of the whole, but for the order. Stretches must be long against
    the time in which events depend on each other, and each should hold some.

    Parameters
    ----------
    true_times, found_times, tolerance
        As in :func:`match`.
    length : float
        Of the recording, all times below it, in the same unit: samples, or seconds.
    n : int, default 20
        Stretches; 20 or more are usual.

    Returns
    -------
    list of n Match

    Examples
    --------
    >>> parts = match_stretches([10, 50, 90], [12, 30, 49], tolerance=2, length=100, n=2)
    >>> [(part.tp, part.fp, part.fn) for part in parts]
    [(1, 1, 0), (1, 0, 1)]
    """
    owner = "match_stretches"
    length = check.real(owner, "length", length, above=0)
    n = check.integer(owner, "n", n, at_least=2)
    whole = match(true_times, found_times, tolerance)
    true, found = np.sort(np.asarray(true_times)), np.sort(np.asarray(found_times))
    for name, times in (("true_times", true), ("found_times", found)):
        if times.size and not (times[0] >= 0 and times[-1] < length):
            raise ValueError(
                f"{owner}: {name} must lie from 0 to below {length:g}, got {times[0]} to "
                f"{times[-1]}. Are they in the unit of length?"
            )
    at_true, at_found = (np.minimum(times * n // length, n - 1) for times in (true, found))
    pairs, parts = whole.pairs, []
    for i in range(n):
        mine = at_true[pairs[:, 0]] == i
        fn = np.count_nonzero(np.delete(at_true, pairs[:, 0]) == i)
        fp = np.count_nonzero(np.delete(at_found, pairs[:, 1]) == i)
        tp = np.count_nonzero(mine)
        local = np.repeat(np.arange(tp)[:, np.newaxis], 2, axis=1)  # indices within the stretch
        parts.append(Match(int(tp), int(fp), int(fn), local, whole.timing_error[mine]))
    return parts


def bootstrap(
    matches: Sequence[Match], statistic: str = "f1", *, confidence: float = 0.95, n: int = 2000,
    rng: "check.Seed" = None,
) -> Interval:  # fmt: skip
    """Return a statistic of a recording with its confidence interval, from its stretches.

    Stretches are drawn with replacement; the ends are quantiles of what the draws give. What
    depends on each other within a stretch stays together.

    Parameters
    ----------
    matches : sequence of Match
        One for each stretch (:func:`match_stretches`) or each recording; at least two.
    statistic : "f1", "precision" or "recall", default "f1"
        Of the summed counts.
    confidence : float, default 0.95
        The share of the draws within the interval.
    n : int, default 2000
        Draws, at least 100.
    rng : Generator or seed, default None

    Returns
    -------
    Interval

    References
    ----------
    Efron (1979), Annals of Statistics 7; of dependent data Künsch (1989), Annals of Statistics 17.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> parts = [match(range(10), rng.choice(10, 8, replace=False), 0) for _ in range(30)]
    >>> bootstrap(parts, "recall", rng=0)
    Interval(value=0.8, low=0.8, high=0.8)
    """
    drawn, value = _drawn("bootstrap", [matches], statistic, n, rng)
    return _interval("bootstrap", value[0], drawn[0], confidence)


def compare(
    a: Sequence[Match], b: Sequence[Match], statistic: str = "f1", *, confidence: float = 0.95,
    n: int = 2000, rng: "check.Seed" = None,
) -> Interval:  # fmt: skip
    """Return the difference, a minus b, of two detectors on the same stretches, with its interval.

    Both are drawn together, stretch by stretch, so what makes a stretch hard for both does not
    widen the interval. If it does not hold 0, one of the detectors is better.

    Parameters
    ----------
    a, b : sequences of Match
        Of the same stretches, in the same order.
    statistic, confidence, n, rng
        As in :func:`bootstrap`.

    Returns
    -------
    Interval

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap.

    Examples
    --------
    >>> good = [match([5, 9], [5, 9], 0), match([3, 7], [3], 0)]
    >>> poor = [match([5, 9], [5], 0), match([3, 7], [], 0)]
    >>> compare(good, poor, "recall", rng=0)
    Interval(value=0.5, low=0.5, high=0.5)
    """
    if len(a) != len(b):
        raise ValueError(
            f"compare: a and b must be matches of the same stretches, got {len(a)} and {len(b)}."
        )
    drawn, value = _drawn("compare", [a, b], statistic, n, rng)
    return _interval("compare", value[0] - value[1], drawn[0] - drawn[1], confidence)


@dataclass(frozen=True, eq=False, repr=False)
class PrecisionRecallBand:
    """Precision at given recalls, with pointwise confidence; of :func:`precision_recall_band`.

    Attributes
    ----------
    recall, precision, low, high : (n,) float64
        The recalls, the precision there, and the ends of its confidence intervals.
    average_precision : Interval
        The area under the curve, with its own.
    """

    recall: Array
    precision: Array
    low: Array
    high: Array
    average_precision: Interval

    def __repr__(self) -> str:
        value, low, high = self.average_precision
        area = f"average_precision={value:.3g} ({low:.3g} to {high:.3g})"
        return f"PrecisionRecallBand(recalls={len(self.recall)}, {area})"


def precision_recall_band(
    score: ArrayLike, true_times: Any, *, tolerance: float, exclusion: float,
    recall: ArrayLike = RECALLS, stretches: int = 20, confidence: float = 0.95, n: int = 1000,
    rng: "check.Seed" = None,
) -> PrecisionRecallBand:  # fmt: skip
    """Return precision at given recalls with its confidence, from a bootstrap over stretches.

    Parameters
    ----------
    score, true_times, tolerance, exclusion
        As in :func:`precision_recall`; of several series each has its stretches.
    recall : (k,) array_like or float, default 0.05 to 1 in steps of 0.05
        The precision is that of the highest threshold with at least this recall; 0 where none
        reaches it.
    stretches : int, default 20
        Into which each series is cut, as in :func:`match_stretches`; drawn with replacement.
    confidence, n, rng
        As in :func:`bootstrap`. The confidence holds at each recall, not for the whole curve.

    Raises
    ------
    ValueError
        For recalls outside 0 to 1, and where there is nothing to find.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> score = rng.normal(size=2000)
    >>> score[50::100] += 3
    >>> how = {"tolerance": 0, "exclusion": 5}
    >>> band = precision_recall_band(score, range(50, 2000, 100), recall=0.8, rng=0, **how)
    >>> bool(band.low[0] < band.precision[0] < band.high[0])
    True
    """
    owner = "precision_recall_band"
    levels = np.atleast_1d(numbers(owner, "recall", recall)).astype(np.float64)
    if levels.ndim != 1 or not ((levels > 0) & (levels <= 1)).all():
        raise ValueError(f"{owner}: recall must lie above 0, up to 1, got {check.shown(recall)}.")
    stretches = check.integer(owner, "stretches", stretches, at_least=2)
    n = check.integer(owner, "n", n, at_least=100)
    rows, true, height, gain, series, time = ranked(owner, score, true_times, tolerance, exclusion)
    if not gain.any():
        raise ValueError(f"{owner}: no event is a true one, so there is no precision to rate.")
    size, count = rows.shape[1], len(rows) * stretches
    place = series * stretches + time * stretches // size  # the stretch of each event
    expected = np.concatenate(
        [np.bincount((t * stretches // size).astype(np.int64), minlength=stretches) for t in true]
    )
    lowest = height[np.flatnonzero(gain)[-1]]  # below it recall does not rise any more
    used = int(np.searchsorted(-height, -lowest, "right"))
    ends = np.flatnonzero(height[:used] > np.append(height[1:used], -np.inf))
    place, gain = place[:used], gain[:used]

    def curve(weight: NDArray[np.int64]) -> Array:
        """Return precision at each level, then the average precision."""
        each = weight[place]
        tp, found = np.cumsum(each * gain)[ends], np.cumsum(each)[ends]
        wanted = int(weight @ expected)
        precision = tp / np.maximum(found, 1)
        at = np.searchsorted(tp, np.ceil(levels * wanted - 1e-9))
        area = np.diff(tp, prepend=0) @ precision / max(wanted, 1)
        return np.append(np.append(precision, 0)[at], area)

    chosen = check.generator(owner, rng).integers(count, size=(n, count))
    value = curve(np.ones(count, np.int64))
    drawn = np.stack([curve(np.bincount(one, minlength=count)) for one in chosen])
    confidence = check.real(owner, "confidence", confidence, above=0, below=1)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    area = Interval(float(value[-1]), float(low[-1]), float(high[-1]))
    return PrecisionRecallBand(levels, value[:-1], low[:-1], high[:-1], area)


def _match(owner: str, name: str, given: Any) -> Match:
    if not isinstance(given, Match):
        raise TypeError(f"{owner}: {name} must be a Match, got {check.shown(given)}.")
    return given


def _drawn(
    owner: str, detectors: Sequence[Sequence[Match]], statistic: str, n: int, rng: Any
) -> tuple[list[Array], list[float]]:
    """Return, for each detector, the statistic of each draw of stretches, and of all of them."""
    check.choice(owner, "statistic", statistic, STATISTICS)
    n = check.integer(owner, "n", n, at_least=100)
    counts = [
        np.array([[m.tp, m.fp, m.fn] for m in (_match(owner, "each", m) for m in matches)])
        for matches in detectors
    ]
    if len(counts[0]) < 2:
        raise ValueError(f"{owner}: give at least two stretches, got {len(counts[0])}.")
    size = len(counts[0])
    chosen = check.generator(owner, rng).integers(size, size=(n, size))
    drawn = [_statistic(statistic, c[chosen].sum(axis=1)) for c in counts]
    return drawn, [float(_statistic(statistic, c.sum(axis=0))) for c in counts]


def _statistic(name: str, counts: NDArray[Any]) -> Any:
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    weight = {"f1": (2 * tp, fp + fn), "precision": (tp, fp), "recall": (tp, fn)}[name]
    with np.errstate(invalid="ignore"):
        return weight[0] / (weight[0] + weight[1])


def _interval(owner: str, value: float, drawn: Array, confidence: float) -> Interval:
    confidence = check.real(owner, "confidence", confidence, above=0, below=1)
    if np.isnan(value):
        return Interval(value, value, value)
    ends = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, *ends.tolist())
