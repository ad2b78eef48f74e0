"""Intervals of an evaluation hold what they say they hold, and stretches add up to the whole."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.spikes import bootstrap, compare, match, match_stretches, rates_per_hour

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
        (lambda m: compare([m, m], [m]), ValueError, "the same stretches, got 2 and 1"),
        (lambda m: rates_per_hour(m, 100, 0), ValueError, "rate must be .* above 0"),
        (lambda m: rates_per_hour(3, 100, 1), TypeError, "found must be a Match"),
        (
            lambda m: match_stretches([5], [200], 1, length=100),
            ValueError,
            "found_times must lie in 0 to 99, got 200",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_told(call, error, words):
    with pytest.raises(error, match=words):
        call(match([1], [1], 0))
