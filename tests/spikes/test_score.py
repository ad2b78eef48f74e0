"""Matching is a maximum matching; thresholds are the best of all; NaN where nothing is defined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynn.spikes import best_threshold, find_events, match, precision_recall
from tinynn.spikes.score import _gains


def maximum_matching(true, found, tolerance):
    """Size of a maximum bipartite matching, by augmenting paths."""
    partner = {}

    def augment(i, seen):
        for j, f in enumerate(found):
            if abs(true[i] - f) <= tolerance and j not in seen:
                seen.add(j)
                if j not in partner or augment(partner[j], seen):
                    partner[j] = i
                    return True
        return False

    return sum(augment(i, set()) for i in range(len(true)))


def pooled(score, times, threshold, tolerance, exclusion):
    return sum(
        match(t, find_events(row, threshold, exclusion=exclusion), tolerance)
        for row, t in zip(score, times, strict=True)
    )


# --- match


@pytest.mark.parametrize("kind", ["int", "float"])
def test_matching_is_a_maximum_matching(kind):
    rng = np.random.default_rng(0)
    for _ in range(2000):
        span = rng.integers(5, 60)
        n_true, n_found = rng.integers(0, 14, 2)
        draw = rng.uniform if kind == "float" else rng.integers
        true, found = draw(0, span, n_true), draw(0, span, n_found)
        tolerance = draw(0, 6)
        m = match(true, found, tolerance)
        assert m.tp == maximum_matching(true, found, tolerance)
        assert (m.tp + m.fn, m.tp + m.fp) == (n_true, n_found)
        i, j = m.pairs.T
        assert len(set(i)) == len(set(j)) == m.tp
        np.testing.assert_array_equal(m.timing_error, np.sort(found)[j] - np.sort(true)[i])
        assert not m.tp or np.abs(m.timing_error).max() <= tolerance


def test_a_distance_equal_to_the_tolerance_matches():
    assert match([10], [12], 2).tp == 1
    assert match([10], [13], 2).tp == 0
    assert match([10], [8], 2).timing_error.tolist() == [-2]
    assert match([5], [5], 0).tp == 1


def test_pairs_point_into_the_sorted_times():
    m = match([50, 10], [11, 70, 52], tolerance=3)
    assert m.pairs.tolist() == [[0, 0], [1, 1]]
    assert m.timing_error.tolist() == [1, 2]
    assert m.timing_error.dtype == np.int64
    assert match([0.25], [0.5], 1).timing_error.tolist() == [0.25]


def test_the_scores_of_a_match():
    m = match([10, 50, 90, 130], [10, 50, 51, 70, 200], tolerance=2)
    assert (m.tp, m.fp, m.fn) == (2, 3, 2)
    assert (m.precision, m.recall) == (0.4, 0.5)
    assert m.f1 == pytest.approx(4 / 9)


def test_scores_are_nan_where_they_are_not_defined():
    nothing_found, nothing_there, neither = match([5], [], 1), match([], [5], 1), match([], [], 1)
    assert math.isnan(nothing_found.precision)
    assert (nothing_found.recall, nothing_found.f1) == (0, 0)
    assert math.isnan(nothing_there.recall)
    assert (nothing_there.precision, nothing_there.f1) == (0, 0)
    assert all(map(math.isnan, (neither.precision, neither.recall, neither.f1)))
    assert neither.pairs.shape == (0, 2)


def test_matches_of_several_series_add_up():
    parts = [match([1, 9], [9], 0), match([4], [4, 6], 0), match([], [3], 0), match([7], [7], 0)]
    m = sum(parts)
    assert (m.tp, m.fp, m.fn) == (3, 2, 1)
    true, found = np.array([1, 9, 4, 7]), np.array([9, 4, 6, 3, 7])
    assert true[m.pairs[:, 0]].tolist() == found[m.pairs[:, 1]].tolist() == [9, 4, 7]
    with pytest.raises(TypeError, match="unsupported operand"):
        m + 1


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([[1, 2]], [1], 1), ValueError, r"true_times must be 1-D, .*got shape \(1, 2\)"),
        (([1], [[1], [2]], 1), ValueError, r"found_times must be 1-D, .*got shape \(2, 1\)"),
        (([[1], [1, 2]], [1], 1), TypeError, "true_times must be an array of real numbers"),
        (([1, np.nan], [1], 1), ValueError, "true_times must be finite, got nan at index 1"),
        (([1], np.array([True]), 1), TypeError, "found_times must be .*, got a bool array"),
        (([1], [1], -1), ValueError, "tolerance must be a finite number at least 0, got -1"),
        (([1], [1], None), TypeError, "tolerance must be a finite number at least 0, got None"),
    ],
)
def test_match_refuses_what_are_no_times(arguments, error, words):
    with pytest.raises(error, match="match: " + words):
        match(*arguments)


def test_each_event_enlarges_a_maximum_matching_by_what_it_gains():
    rng = np.random.default_rng(1)
    for _ in range(1000):
        true, found = np.sort(rng.integers(0, 25, 7)), rng.integers(0, 25, 10)
        tolerance = rng.integers(0, 6)
        first = np.searchsorted(true, found - tolerance, "left")
        last = np.searchsorted(true, found + tolerance, "right")
        sizes = [maximum_matching(true, found[: n + 1], tolerance) for n in range(10)]
        assert np.cumsum(_gains(first, last)).tolist() == sizes


# --- thresholds

cases = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def drawn_case(rng):
    """Scores with many ties or few, one series or three, few spikes or many."""
    n_series, length = rng.choice([1, 3]), rng.integers(1, 40)
    score = rng.integers(0, rng.choice([3, 8, 1000]), (n_series, length)) / 4
    if rng.random() < 0.2:
        score[rng.random(score.shape) < 0.2] = rng.choice([np.inf, -np.inf])
    times = [np.flatnonzero(rng.random(length) < rng.choice([0, 0.1, 0.5])) for _ in score]
    return score, times, int(rng.choice([0, 1, 2, 5, 60])), int(rng.choice([0, 2, 4, 9]))


def every_threshold(score):
    levels = np.unique(score)
    return np.concatenate(([-np.inf], levels))


@settings(max_examples=150)
@given(cases)
def test_no_threshold_has_a_larger_f1_than_the_best(rng):
    score, times, tolerance, exclusion = drawn_case(rng)
    threshold, best = best_threshold(
        score[:, :, np.newaxis], times, tolerance=tolerance, exclusion=exclusion
    )
    reproduced = pooled(score, times, threshold, tolerance, exclusion)
    assert (best.tp, best.fp, best.fn) == (reproduced.tp, reproduced.fp, reproduced.fn)
    np.testing.assert_array_equal(best.pairs, reproduced.pairs)
    f1s = [pooled(score, times, u, tolerance, exclusion).f1 for u in every_threshold(score)]
    if sum(map(len, times)):
        assert best.f1 == np.nanmax(f1s)
    else:
        assert best.fp == 0


@settings(max_examples=150)
@given(cases)
def test_the_curve_is_reproduced_at_each_of_its_thresholds(rng):
    score, times, tolerance, exclusion = drawn_case(rng)
    pr = precision_recall(score[:, :, np.newaxis], times, tolerance=tolerance, exclusion=exclusion)
    assert (np.diff(pr.thresholds) > 0).all()
    assert pr.precision.size == pr.recall.size == pr.thresholds.size + 1
    matches = [pooled(score, times, u, tolerance, exclusion) for u in pr.thresholds]
    np.testing.assert_array_equal(pr.precision[:-1], [m.precision for m in matches])
    np.testing.assert_array_equal(pr.recall[:-1], [m.recall for m in matches])
    counts = {m.tp + m.fp for m in matches} | {0}
    every = {
        (m.tp + m.fp)
        for u in every_threshold(score)
        for m in [pooled(score, times, u, tolerance, exclusion)]
    }
    assert counts == every


def test_the_threshold_lies_halfway_between_the_heights_of_events():
    score = [0, 5, 0, 3, 0, 4, 0, 1]
    assert best_threshold(score, [1, 5], tolerance=0, exclusion=1)[0] == 3.5
    assert best_threshold(score, [1, 3, 5, 7], tolerance=0, exclusion=1)[0] == 0.5
    # Equally good: 5 alone (F1 2/3) or 5, 4, 3, 1 (F1 2/3): the higher.
    assert best_threshold(score, [1, 7], tolerance=0, exclusion=1)[0] == 4.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbouring_floats_are_told_apart(dtype):
    high = np.nextafter(dtype(1), dtype(2))
    score = np.array([0, high, 0, 1, 0], dtype)
    threshold, m = best_threshold(score, [1], tolerance=0, exclusion=0)
    assert m.f1 == 1
    assert find_events(score, threshold, exclusion=0).tolist() == [1]


@pytest.mark.parametrize("score", [np.zeros(9), np.array([0, 0, 0, 7.0, 0, 0, 0, 0, 0])])
def test_where_no_event_is_true_nothing_is_found(score):
    threshold, m = best_threshold(score, [0], tolerance=1, exclusion=1)
    assert threshold == score.max()
    assert (m.tp, m.fp, m.fn, m.f1) == (0, 0, 1, 0)
    threshold, m = best_threshold(score, [], tolerance=1, exclusion=1)
    assert threshold == score.max()
    assert math.isnan(m.f1)


def test_average_precision_is_the_area_under_the_steps():
    score = [0, 5, 0, 3, 0, 4, 0, 1]
    pr = precision_recall(score, [1, 3], tolerance=0, exclusion=1)
    assert pr.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    np.testing.assert_allclose(pr.precision, [0.5, 2 / 3, 0.5, 1, 1])
    assert pr.recall.tolist() == [1, 1, 0.5, 0.5, 0]
    assert repr(pr) == "PrecisionRecall(thresholds=4, average_precision=0.833)"


def test_the_curve_of_nothing():
    flat = precision_recall(np.zeros(5), [2], tolerance=0, exclusion=0)
    assert (flat.precision.tolist(), flat.recall.tolist()) == ([1], [0])
    assert (flat.thresholds.size, flat.average_precision) == (0, 0)
    empty = precision_recall([0, 1, 0], [], tolerance=0, exclusion=0)
    assert empty.precision.tolist() == [0, 1]
    assert np.isnan(empty.recall).all()
    assert math.isnan(empty.average_precision)


def test_times_of_one_series_come_alone_or_in_a_list():
    score = np.array([0, 5, 0, 3, 0, 4, 0, 1.0])
    alone = best_threshold(score, np.array([1, 5]), tolerance=0, exclusion=1)
    for form in (score, score[:, np.newaxis], score[np.newaxis, :, np.newaxis]):
        assert best_threshold(form, [np.array([1, 5])], tolerance=0, exclusion=1)[0] == alone[0]


@pytest.mark.parametrize("function", [best_threshold, precision_recall])
@pytest.mark.parametrize(
    ("score", "times", "options", "error", "words"),
    [
        ([0, np.nan], [1], {}, ValueError, "score must not hold NaN, got nan at index 1"),
        (np.zeros((2, 5, 1)), [1, 2], {}, ValueError, "true_times must be a list of 2 arrays"),
        (np.zeros((2, 5, 1)), [[1]], {}, ValueError, "true_times must be a list of 2 .* got 1"),
        (np.zeros((5, 3, 2)), [], {}, ValueError, r"score must have shape .*got shape \(5, 3, 2\)"),
        (np.zeros(5), [5], {}, ValueError, "true_times must lie inside the score, .* got 5"),
        (np.zeros(5), [-1, 2], {}, ValueError, "true_times must lie inside .* in 0 to 4, got -1"),
        (np.zeros(5), np.zeros((5, 1)), {}, ValueError, "true_times must be 1-D"),
        (np.zeros(5), None, {}, TypeError, "true_times must be an array of real numbers"),
        (np.zeros(5), [1], {"tolerance": -1}, ValueError, "tolerance must be a finite number"),
        (np.zeros(5), [1], {"exclusion": "no"}, TypeError, "exclusion must be a finite number"),
    ],
)
def test_what_cannot_be_scored_is_refused(function, score, times, options, error, words):
    with pytest.raises(error, match=f"{function.__name__}: {words}"):
        function(score, times, **({"tolerance": 1, "exclusion": 1} | options))
