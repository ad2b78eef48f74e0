"""Events are the local maxima above the threshold, the highest first, none too close."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.spikes import events, find_events


def events_by_the_definition(score, threshold, exclusion):
    maxima = []
    for i, height in enumerate(score):
        if i and score[i - 1] == height:
            continue  # not the first of its plateau
        end = i
        while end + 1 < len(score) and score[end + 1] == height:
            end += 1
        sides = [score[k] for k in (i - 1, end + 1) if 0 <= k < len(score)]
        if sides and all(height > side for side in sides) and height > threshold:
            maxima.append(i)
    taken = []
    for i in sorted(maxima, key=lambda i: (-score[i], i)):
        if all(abs(i - t) > exclusion for t in taken):
            taken.append(i)
    return sorted(taken)


heights = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, np.inf])


@given(
    score=st.lists(heights, min_size=1, max_size=30),
    threshold=st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 1.0, np.inf]),
    exclusion=st.sampled_from([0, 1, 2, 2.5, 3, 7, 100]),
)
def test_events_are_those_of_the_definition(score, threshold, exclusion):
    found = find_events(score, threshold, exclusion=exclusion)
    assert found.dtype == np.int64
    assert found.tolist() == events_by_the_definition(score, threshold, exclusion)


@given(
    score=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    exclusion=st.sampled_from([0, 1, 2, 2.5, 3, 7, 100]),
    block=st.integers(1, 9),
    many=st.integers(0, 4),
)
def test_no_event_depends_on_how_a_score_is_cut_into_blocks(score, exclusion, block, many):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "BLOCK", block)
        patch.setattr(events, "MANY", many)
        found = find_events(score, -1, exclusion=exclusion)
    assert found.tolist() == events_by_the_definition(score, -1, exclusion)


@given(
    times=st.lists(st.integers(0, 99), unique=True, max_size=40).map(sorted),
    exclusion=st.integers(0, 30),
    seed=st.integers(0, 9),
)
def test_the_highest_are_those_that_none_around_exceeds(times, exclusion, seed):
    heights = np.random.default_rng(seed).integers(0, 5, len(times)).astype(float)
    expected = [
        all(
            (-heights[i], i) <= (-heights[j], j)
            for j in range(len(times))
            if abs(times[i] - times[j]) <= exclusion
        )
        for i in range(len(times))
    ]
    found = events.highest(np.array(times, np.int64), heights, exclusion)
    assert found.tolist() == expected


@pytest.mark.parametrize("threshold", [3.0, -np.inf])
def test_memory_is_below_a_quarter_of_the_scores_also_where_every_maximum_counts(threshold):
    score = np.random.default_rng(0).standard_normal(3_000_000, np.float32)
    find_events(score[:1000], threshold, exclusion=20)
    tracemalloc.start()
    try:
        found = find_events(score, threshold, exclusion=20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) > 3_000
    assert peak - 2 * found.nbytes < score.nbytes / 4


@given(
    score=st.lists(st.integers(0, 6), min_size=2, max_size=40),
    threshold=st.integers(-1, 6),
    exclusion=st.integers(0, 8),
)
def test_events_of_a_threshold_are_the_high_ones_among_the_events_of_none(
    score, threshold, exclusion
):
    every = find_events(score, -np.inf, exclusion=exclusion)
    expected = [t for t in every.tolist() if score[t] > threshold]
    assert find_events(score, threshold, exclusion=exclusion).tolist() == expected


@pytest.mark.parametrize(
    ("score", "exclusion", "expected"),
    [
        ([0, 2, 0, 1, 0], 0, [1, 3]),
        ([0, 2, 0, 1, 0], 2, [1]),  # a distance equal to the exclusion is too close
        ([0, 2, 0, 0, 1, 0], 2, [1, 4]),
        ([0, 1, 0, 1, 0], 2, [1]),  # equally high: the earlier
        ([0, 1, 0, 2, 0, 3, 0], 2, [1, 5]),  # what is dropped drops nothing
        ([3, 1, 2], 0, [0, 2]),  # ends
        ([0, 1, 1, 0], 0, [1]),  # plateaus
        ([0, 1, 1, 2, 0], 0, [3]),
        ([1, 1, 0, 2, 2], 0, [0, 3]),
        ([1, 1, 1], 0, []),  # constant
        ([5], 0, []),
    ],
)
def test_events_of_small_scores(score, exclusion, expected):
    assert find_events(score, -10, exclusion=exclusion).tolist() == expected


def test_the_threshold_has_to_be_exceeded():
    score = np.array([0, 0.1, 0], np.float32)
    assert find_events(score, float(score[1]), exclusion=0).tolist() == []
    assert find_events(score, 0.1, exclusion=0).tolist() == [1]  # float32(0.1) > 0.1


@pytest.mark.parametrize("shape", [(5,), (5, 1), (1, 5, 1)])
def test_a_single_series_may_come_in_any_of_its_shapes(shape):
    score = np.array([0, 2, 0, 1, 0]).reshape(shape)
    assert find_events(score, 0, exclusion=0).tolist() == [1, 3]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            (np.zeros((2, 5, 1)), 0, 1),
            ValueError,
            r"one series, got shape \(2, 5, 1\). Call",
        ),
        ((np.zeros((1, 5, 2)), 0, 1), ValueError, r"score must have shape \(length,\) or"),
        (([], 0, 1), ValueError, "at least one sample"),
        (([0, np.nan, 0], 0, 1), ValueError, "score must not hold NaN, got nan at index 1"),
        (([True, False], 0, 1), TypeError, "score must be an array of real numbers"),
        (([1j], 0, 1), TypeError, "score must be an array of real numbers"),
        (([0, 1], np.float32("nan"), 1), ValueError, "threshold must be a finite number, got nan"),
        (([0, 1], "high", 1), TypeError, "threshold must be a finite number, got 'high'"),
        (([0, 1], 0, -1), ValueError, "exclusion must be a finite number at least 0, got -1"),
        (([0, 1], 0, None), TypeError, "exclusion must be a finite number at least 0, got None"),
    ],
)
def test_find_events_refuses_what_has_no_events(arguments, error, words):
    score, threshold, exclusion = arguments
    with pytest.raises(error, match="find_events: .*" + words):
        find_events(score, threshold, exclusion=exclusion)
