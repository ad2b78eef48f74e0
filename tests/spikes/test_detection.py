"""Detection on long recordings: the events of the whole at once, in bounded memory, with gaps."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn as tnn
from tinynn import spikes


def model(channels=2, taps=7, padding="same"):
    return tnn.Sequential(
        tnn.Conv1d(channels, 4, taps, padding=padding, activation="relu", rng=0),
        tnn.Conv1d(4, 1, 5, padding="same", rng=1),
    )


def recording(length=3000, channels=2, seed=0):
    x = np.random.default_rng(seed).normal(0, 900, (length, channels))
    return x.astype(np.int16)


def at_once(net, x, threshold, exclusion, scale, gone):
    """Do it on the whole, stretch by stretch, by predict and find_events."""
    centre, size = scale
    block = ((x - centre) / size).astype(np.float32)
    block[gone] = 0
    score = tnn.predict(net, block)[:, 0]
    reach = net.reach()
    blind = np.zeros(len(x), bool)
    for t in np.flatnonzero(gone):
        blind[max(0, t - reach.right) : t + reach.left + 1] = True
    found, start = [], 0
    for stop in [*np.flatnonzero(blind), len(x)]:
        if stop > start:
            part = spikes.find_events(score[start:stop], threshold, exclusion=exclusion)
            found += (part + start).tolist()
        start = stop + 1
    return found, int(blind.sum())


@given(
    length=st.integers(1, 400),
    piece=st.integers(1, 200),
    exclusion=st.integers(0, 30),
    gaps=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 20)), max_size=4),
    padding=st.sampled_from(["same", "causal", "same_lower"]),
    seed=st.integers(0, 3),
)
def test_pieces_and_streams_find_the_events_of_the_whole(
    length, piece, exclusion, gaps, padding, seed
):
    net, x = model(padding=padding), recording(length, seed=seed)
    scale = spikes.robust_scale(recording())
    gone = np.zeros(length, bool)
    for start, size in gaps:
        gone[start : start + size] = True
    x[gone, seed % 2] = -32768
    expected, blind = at_once(net, x, 0.1, exclusion, scale, gone)
    how = {"exclusion": exclusion, "scale": scale, "missing": -32768, "rate": 100.0}
    found = spikes.detect(net, x, 0.1, piece_length=piece, **how)
    assert found.times.tolist() == expected
    assert found.blind == blind
    live = spikes.stream_events(net, 0.1, channels=2, **how)
    parts = [live.push(x[i : i + piece]) for i in range(0, length, piece)] + [live.finish()]
    assert np.concatenate([part.times for part in parts]).tolist() == expected
    assert sum(part.blind for part in parts) == blind
    for missing in (found.missing, np.concatenate([part.missing for part in parts])):
        covered = np.zeros(length, bool)
        for start, stop in missing:
            covered[start:stop] = True
        np.testing.assert_array_equal(covered, gone)
        assert (missing[1:, 0] > missing[:-1, 1]).all()
    np.testing.assert_allclose(found.seconds, found.times / 100)


def test_the_scores_are_those_of_the_model():
    net, x = model(), recording().astype(np.float32) / 900
    found = spikes.detect(net, x, 0.3, exclusion=3)
    np.testing.assert_allclose(found.scores, tnn.predict(net, x)[found.times, 0], rtol=1e-5)
    assert len(found) > 10
    assert found.seconds is None
    assert found.times.dtype == np.int64


def test_nan_is_missing_without_being_told():
    net, x = model(), recording(500).astype(float)
    x[200:210, 0] = np.nan
    found = spikes.detect(net, x, 0.0, exclusion=3)
    assert found.missing.tolist() == [[200, 210]]
    assert found.blind == 10 + 2 * (3 + 2)
    assert not ((found.times > 194) & (found.times < 215)).any()


def test_a_pooled_and_upsampled_model_detects_in_pieces():
    net = tnn.Sequential(
        tnn.Conv1d(1, 3, 5, padding="same", activation="relu", rng=0),
        tnn.MaxPool1d(4),
        tnn.UpSample1d(4),
        tnn.Conv1d(3, 1, 3, padding="same", rng=1),
    )
    x = recording(4000, 1).astype(np.float32) / 900
    expected = spikes.find_events(tnn.predict(net, x), 0.1, exclusion=9)
    for piece in (333, 1000):
        found = spikes.detect(net, x, 0.1, exclusion=9, piece_length=piece)
        assert found.times.tolist() == expected.tolist()


def test_a_long_recording_takes_little_memory(tmp_path):
    path = tmp_path / "long.npy"
    written = np.lib.format.open_memmap(path, "w+", np.int16, (1_000_000, 4))
    written[::1000] = 300
    net = tnn.Conv1d(4, 1, 9, padding="same", kernel_initializer="ones", rng=0)
    x = np.load(path, mmap_mode="r")
    spikes.detect(net, x[:1000], 500.0, exclusion=20)
    tracemalloc.start()
    try:
        found = spikes.detect(net, x, 500.0, exclusion=20)
        assert tracemalloc.get_traced_memory()[1] < 30e6  # as floats it would be 16 MB
    finally:
        tracemalloc.stop()
    assert len(found) == 1000


def test_a_delay_is_told_in_samples_and_seconds():
    live = spikes.stream_events(model(), 0.1, channels=2, exclusion=10, rate=1000.0)
    assert live.delay == 3 + 2 + 1 + 10
    assert live.delay_seconds == pytest.approx(0.016)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": tnn.Conv1d(2, 1, 3, rng=0)}, ValueError, r"one score for each .* \(50, 1\)"),
        ({"model": tnn.Conv1d(2, 3, 3, padding="same", rng=0)}, ValueError, "one score for each"),
        ({"model": tnn.Conv1d(2, 1, 3, padding="causal", strides=2, rng=0)}, ValueError, "for 2"),
        ({"model": tnn.GlobalMaxPool1d()}, ValueError, "may depend on the whole series"),
        ({"model": abs}, TypeError, "model must be a Layer"),
        ({"x": np.ones((50, 3))}, ValueError, "channels"),
        ({"x": np.ones((1, 50, 2))}, ValueError, r"one recording \(length, channels\)"),
        ({"x": [["a"]]}, TypeError, "x must be an array of real numbers"),
        ({"x": np.full((50, 2), np.inf)}, ValueError, "nan at sample|not hold|infinities"),
        ({"rate": 0}, ValueError, "rate must be a finite number above 0"),
        ({"rate": "fast"}, TypeError, "rate must be"),
        ({"scale": (0.0, 0.0)}, ValueError, "scale must be above 0 in each channel"),
        ({"scale": 2.0}, TypeError, r"scale must be a pair \(centre, scale\)"),
        ({"scale": (np.zeros(3), np.ones(3))}, ValueError, "one for each of 2 channels"),
        ({"threshold": np.nan}, ValueError, "threshold must be a finite number"),
        ({"exclusion": -1}, ValueError, "exclusion must be"),
        ({"missing": "no"}, TypeError, "missing must be"),
        ({"piece_length": 0}, ValueError, "piece_length must be a positive integer"),
    ],
)
def test_detect_refuses_what_gives_no_events(change, error, words):
    given_ = {"model": model(), "x": np.ones((50, 2)), "threshold": 0.1, "exclusion": 3} | change
    net, x, threshold = (given_.pop(name) for name in ("model", "x", "threshold"))
    with np.errstate(all="ignore"), pytest.raises(error, match=words):
        spikes.detect(net, x, threshold, **given_)
