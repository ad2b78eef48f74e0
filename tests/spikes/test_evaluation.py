"""Intervals of an evaluation hold what they say they hold, and stretches add up to the whole."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.spikes import (
    bootstrap,
    compare,
    match,
    match_stretches,
    precision_recall,
    precision_recall_band,
    rates_per_hour,
)

times = st.lists(st.integers(0, 199), max_size=30, unique=True)


@given(true=times, found=times, tolerance=st.integers(0, 6), n=st.integers(2, 9))
def test_stretches_add_up_to_the_whole(true, found, tolerance, n):
    whole = match(true, found, tolerance)
    parts = match_stretches(true, found, tolerance, length=200, n=n)
    total = sum(parts)
    assert (total.tp, total.fp, total.fn) == (whole.tp, whole.fp, whole.fn)
    assert sorted(total.timing_error) == sorted(whole.timing_error)
    for i, part in enumerate(parts):
        inside = [t for t in true if t * n // 200 == i]
        assert part.tp + part.fn == len(inside)


def stretches(rng, chance, n=40, events=25, false=3.0):
    """Stretches of independent events, each found by ``chance``, with Poisson false alarms."""
    parts = []
    for _ in range(n):
        at = 10 * np.arange(events)
        found = at[rng.random(events) < chance]
        alarms = 1000 + 10 * np.arange(rng.poisson(false))
        parts.append(match(at, np.concatenate([found, alarms]), 0))
    return parts


def test_an_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    chance, inside, widths = 0.8, 0, []
    for seed in range(300):
        _, low, high = bootstrap(stretches(rng, chance), "recall", n=400, rng=seed)
        inside += low <= chance <= high
        widths.append(high - low)
    assert abs(inside / 300 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 300)
    normal = 2 * 1.96 * math.sqrt(chance * (1 - chance) / 1000)
    assert np.mean(widths) == pytest.approx(normal, rel=0.1)


def test_what_is_hard_for_both_does_not_widen_a_comparison():
    rng = np.random.default_rng(0)
    a, b = [], []
    for _ in range(40):
        hard = rng.random()  # of this stretch
        at = 10 * np.arange(20)
        seen = rng.random(20)
        a.append(match(at, at[seen < hard], 0))
        b.append(match(at, at[seen < 0.9 * hard], 0))
    apart = [bootstrap(part, "recall", rng=0) for part in (a, b)]
    value, low, high = compare(a, b, "recall", rng=0)
    assert value == pytest.approx(apart[0].value - apart[1].value)
    assert high - low < 0.3 * (apart[0].high - apart[0].low)
    assert low > 0


def test_statistics_are_those_of_the_summed_counts():
    parts = stretches(np.random.default_rng(0), 0.7)
    total = sum(parts)
    for name in ("f1", "precision", "recall"):
        found = bootstrap(parts, name, rng=0)
        assert found.value == pytest.approx(getattr(total, name))
        assert found.low < found.value < found.high
        assert found == bootstrap(parts, name, rng=0)


def test_nothing_found_and_nothing_to_find():
    empty = [match([], [], 0)] * 3
    assert np.isnan(bootstrap(empty, rng=0)).all()
    assert bootstrap([match([1], [], 0)] * 3, "recall", rng=0) == (0, 0, 0)


def noisy(rng, length=6000, height=2.5, every=60):
    """Return a score with true times at which it is higher, for ``height`` standard deviations."""
    score, at = rng.normal(size=length), np.arange(every // 2, length, every)
    score[at] += height
    return score, at


HOW = {"tolerance": 1, "exclusion": 4}


def test_a_band_holds_the_curve_of_the_whole():
    score, at = noisy(np.random.default_rng(0))
    curve = precision_recall(score, at, **HOW)
    band = precision_recall_band(score, at, rng=0, **HOW)
    assert band.average_precision.value == pytest.approx(curve.average_precision)
    for level, precision in zip(band.recall, band.precision, strict=True):
        reached = curve.recall >= level - 1e-12
        expected = curve.precision[reached][-1] if reached.any() else 0
        assert precision == pytest.approx(expected)
    assert (band.low <= band.precision).all()
    assert (band.precision <= band.high).all()
    again = precision_recall_band(score, at, rng=0, **HOW)
    np.testing.assert_array_equal(again.low, band.low)


@pytest.mark.parametrize("levels", [0.4, [0.2, 0.7]])
def test_a_band_holds_the_truth_about_as_often_as_it_says(levels):
    rng = np.random.default_rng(1)
    long, at = noisy(rng, length=1_200_000)
    truth = precision_recall_band(long, at, recall=levels, stretches=2, n=100, rng=0, **HOW)
    inside = []
    for seed in range(100):
        part = precision_recall_band(
            *noisy(rng), recall=levels, stretches=40, n=300, rng=seed, **HOW
        )
        inside.append((part.low <= truth.precision) & (truth.precision <= part.high))
    assert (np.mean(inside, axis=0) > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 100)).all()
    assert np.mean(inside) < 1


def test_equal_heights_come_in_together_and_what_is_never_reached_is_0():
    score = np.zeros(400)
    score[10:400:20] = 1.0  # half of them true
    true = [*range(10, 400, 40), 399]  # the last one is found nowhere
    band = precision_recall_band(score, true, tolerance=0, exclusion=3, recall=[0.1, 0.9, 1], rng=0)
    assert band.precision.tolist() == [0.5, 0.5, 0]


def test_series_have_their_own_stretches():
    rng = np.random.default_rng(0)
    rows, times = zip(*(noisy(rng, length=1000) for _ in range(6)), strict=True)
    score = np.stack(rows)[:, :, None]
    band = precision_recall_band(score, list(times), stretches=2, rng=0, **HOW)
    joined, at = np.concatenate(rows), np.concatenate([t + 1000 * i for i, t in enumerate(times)])
    whole = precision_recall_band(joined, at, stretches=12, rng=0, **HOW)
    np.testing.assert_allclose(band.precision, whole.precision, atol=0.02)
    np.testing.assert_allclose(band.low, whole.low, atol=0.02)


def test_times_may_be_in_seconds():
    true, found = np.array([0.5, 1.25, 7.9]), np.array([0.503, 7.0])
    parts = match_stretches(true, found, 0.005, length=8.0, n=4)
    assert [(p.tp, p.fp, p.fn) for p in parts] == [(1, 0, 1), (0, 0, 0), (0, 0, 0), (0, 1, 1)]
    assert rates_per_hour(sum(parts), length=8.0, rate=1) == (900, 450)


def test_rates_are_counted_by_the_hour():
    found = match([10, 50, 90], [12, 30], tolerance=2)
    assert rates_per_hour(found, length=20_000 * 1800, rate=20_000) == (4, 2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: bootstrap([m], rng=0), ValueError, "bootstrap: give at least two stretches"),
        (lambda m: bootstrap([m, 3], rng=0), TypeError, "bootstrap: each must be a Match, got 3"),
        (lambda m: bootstrap([m, m], "f2"), ValueError, "statistic must be one of 'f1'"),
        (lambda m: bootstrap([m, m], confidence=95), ValueError, "confidence must be .* below 1"),
        (
            lambda m: precision_recall_band([0, 1, 0], [1], recall=0.0, **HOW),
            ValueError,
            "recall must lie above 0, up to 1, got 0.0",
        ),
        (
            lambda m: precision_recall_band(np.r_[np.zeros(50), 1, 0], [], **HOW),
            ValueError,
            "no event is a true one",
        ),
        (lambda m: compare([m, m], [m]), ValueError, "the same stretches, got 2 and 1"),
        (lambda m: rates_per_hour(m, 100, 0), ValueError, "rate must be .* above 0"),
        (lambda m: rates_per_hour(3, 100, 1), TypeError, "found must be a Match"),
        (
            lambda m: match_stretches([5], [200], 1, length=100),
            ValueError,
            "found_times must lie from 0 to below 100, got 200",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_told(call, error, words):
    with pytest.raises(error, match=words):
        call(match([1], [1], 0))
