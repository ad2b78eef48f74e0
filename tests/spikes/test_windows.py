"""Labels, robust scales and windows of a long recording."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinynn as tnn
from tinynn.spikes import Windows, labels, robust_scale


@given(
    times=st.lists(st.integers(0, 29), max_size=8),
    shape=st.sampled_from([(1.0,), (0.5, 1.0, 0.5), (0.1, 0.7, 1.0, 0.9, 0.2)]),
)
def test_labels_are_the_largest_of_those_that_overlap(times, shape):
    times = sorted(times)
    expected = np.zeros(30)
    for t in times:
        for offset, value in enumerate(shape):
            at = t + offset - len(shape) // 2
            if 0 <= at < 30:
                expected[at] = max(expected[at], value)
    y = labels(times, 30, shape=shape)
    assert y.shape == (30, 1)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-6)


@given(
    length=st.integers(1, 40),
    times=st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True),
    share=st.sampled_from([None, 0.0, 0.3, 1.0]),
    seed=st.integers(0, 5),
)
def test_windows_are_stretches_of_the_recording_with_their_labels(length, times, share, seed):
    x, times = np.arange(200).reshape(100, 2), sorted(times)
    holds = [any(s <= t < s + length for t in times) for s in range(101 - length)]
    assume(share is None or share == 1 or not all(holds))
    data = Windows(x, times, length=length, batch_size=7, share=share, rng=seed)
    whole = labels(times, 100)
    batches = list(data)
    assert len(batches) == len(data)
    holding = 0
    for xs, ys in batches:
        assert (xs.dtype, ys.dtype) == (np.float32, np.float32)
        for window, label in zip(xs, ys, strict=True):
            start = int(window[0, 0]) // 2
            np.testing.assert_array_equal(window, x[start : start + length])
            np.testing.assert_array_equal(label, whole[start : start + length])
            holding += any(start <= t < start + length for t in times)
    windows = sum(len(xs) for xs, _ in batches)
    assert windows == 100 // length
    if share is not None:
        assert holding == round(share * windows)


def test_each_place_of_a_kind_is_equally_likely():
    x = np.arange(60)[:, None]
    data = Windows(x, [20, 22, 50], length=5, batch_size=12, share=0.5, rng=0)
    starts = np.array([int(w[0, 0]) for _ in range(2000) for xs, _ in data for w in xs])
    holds = {s for s in range(56) if any(s <= t < s + 5 for t in (20, 22, 50))}
    counts = np.bincount(starts, minlength=56)
    for kind in (holds, set(range(56)) - holds):
        drawn = counts[sorted(kind)]
        expected = 2000 * 6 / len(kind)
        assert abs(drawn - expected).max() < 5 * np.sqrt(expected)


def test_the_same_seed_gives_the_same_windows_and_each_epoch_others():
    x = np.random.default_rng(0).normal(size=(500, 1))
    a, b = (Windows(x, [100, 300], length=20, share=0.2, rng=4) for _ in range(2))
    first, again, second = list(a), list(b), list(a)
    for (x1, y1), (x2, y2) in zip(first, again, strict=True):
        np.testing.assert_array_equal(x1, x2)
        np.testing.assert_array_equal(y1, y2)
    assert not np.array_equal(first[0][0], second[0][0])


def test_no_window_sees_a_stretch_that_is_held_back():
    x = np.zeros((1000, 1), np.int16)
    x[600:] = 1000  # the stretch
    data = Windows(x[:600], [10, 590, 599], length=50, share=0.5, rng=0)
    assert all(xs.max() == 0 for _ in range(50) for xs, _ in data)


def test_windows_scale_each_channel():
    x = np.random.default_rng(0).normal([5, -3], [2, 0.1], (5000, 2))
    data = Windows(x, [], length=100, scale=robust_scale(x), rng=0)
    xs = np.concatenate([xs for xs, _ in data])
    np.testing.assert_allclose(xs.std((0, 1)), 1, atol=0.1)
    np.testing.assert_allclose(xs.mean((0, 1)), 0, atol=0.1)


def test_fit_takes_windows_and_goes_on_from_a_checkpoint_in_the_same_bits(tmp_path):
    r = tnn.spikes.simulate(5000, rate=0.01, dprime=5, rng=0)

    def run(epochs, **how):
        net = tnn.Conv1d(1, 1, 25, padding="same", rng=0)
        data = Windows(r.x[0], r.times[0], length=100, batch_size=8, share=0.5, rng=1)
        optimizer = tnn.SGD(net.parameters(), 0.1, momentum=0.9)
        tnn.fit(
            net, data, loss="mean_squared_error", optimizer=optimizer, epochs=epochs,
            progress=False, **how,
        )  # fmt: skip
        return net.kernel.numpy()

    whole = run(4)
    run(2, checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(run(4, checkpoint=tmp_path / "run"), whole)


def test_the_scale_is_that_of_the_noise_whatever_the_events():
    x = np.random.default_rng(0).normal(3, 2, (50_000, 2))
    x[::100] += 100
    x[5] = np.nan
    centre, scale = robust_scale(x)
    median = np.nanmedian(x, axis=0)
    np.testing.assert_allclose(centre, median)
    np.testing.assert_allclose(scale, np.nanmedian(abs(x - median), axis=0) / 0.6745)
    np.testing.assert_allclose(scale, 2, rtol=0.05)


def test_a_long_recording_is_looked_at_in_stretches():
    x = np.random.default_rng(0).normal(3, 2, (3, 400_000)).astype(np.float32)
    centre, scale = robust_scale(x, axis=1)
    np.testing.assert_allclose(centre, 3, atol=0.05)
    np.testing.assert_allclose(scale, 2, rtol=0.03)
    np.testing.assert_array_equal(scale, robust_scale(x, axis=1)[1])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"times": [3, 2]}, ValueError, r"times must be in ascending order, got times\[0\] = 3"),
        ({"times": [3, 100]}, ValueError, r"times must lie in 0 to 99, got times\[1\] = 100"),
        ({"times": [-1]}, ValueError, "times must lie in 0 to 99"),
        ({"times": [0.5]}, TypeError, "times must be a 1-D array of integers"),
        ({"times": [[1, 2]]}, ValueError, "times must be a 1-D array of integers"),
        ({"length": 101}, ValueError, "length must be at most that of the recording, 100"),
        ({"length": 0}, ValueError, "length must be a positive integer"),
        ({"labels": (1, 0.5)}, ValueError, "labels must have an odd length"),
        ({"share": 1.5}, ValueError, "share must be a finite number at least 0 and at most 1"),
        ({"times": [], "share": 0.5}, ValueError, "share=0.5 needs events, but times is empty"),
        ({"length": 99, "share": 0.0}, ValueError, "share=0 needs windows without an event"),
        ({"x": np.zeros((2, 100, 1))}, ValueError, r"one recording \(length, channels\)"),
        ({"scale": (0, 0)}, ValueError, "scale must be above 0"),
    ],
)
def test_windows_refuse_what_gives_none(change, error, words):
    given_ = {"x": np.zeros((100, 1)), "times": [50], "length": 10, "rng": 0} | change
    x, times = given_.pop("x"), given_.pop("times")
    with pytest.raises(error, match="Windows: .*" + words):
        Windows(x, times, **given_)


def test_labels_and_scales_name_what_they_are_given():
    with pytest.raises(ValueError, match="labels: times must lie in 0 to 9"):
        labels([10], 10)
    with pytest.raises(ValueError, match="labels: shape must have an odd length"):
        labels([1], 10, shape=[1, 1])
    with pytest.raises(ValueError, match="robust_scale: x must hold a number in each channel"):
        robust_scale(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="robust_scale: x must hold samples along axis 3"):
        robust_scale(np.ones((5, 2)), axis=3)


def test_labels_of_several_series_at_once_are_told_apart():
    times = tnn.spikes.simulate(500, n_series=3, rate=0.01, dprime=4, rng=0).times
    with pytest.raises(ValueError, match=r"those of one series.*recording\.times\[0\]"):
        labels(times, 500)
