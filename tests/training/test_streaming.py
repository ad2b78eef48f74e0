"""stream: whatever the pieces, their scores joined are those of the whole series."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinynn as tnn


def streamed(scores, x, sizes):
    """Push ``x`` in pieces of the sizes, again and again, and return all scores."""
    found, at = [], 0
    while at < x.shape[-2]:
        for size in sizes:
            found.append(scores.push(x[..., at : at + size, :]))
            at += size
    return np.concatenate([*found, scores.finish()], axis=-2)


PADDINGS = st.one_of(
    st.sampled_from(["valid", "same", "same_lower", "causal"]),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)


def layer_same(seed):
    return tnn.Conv1d(2, 2, 3, padding="same", dtype="float64", rng=seed)


@st.composite
def models(draw):
    parts = []
    for i in range(draw(st.integers(1, 3))):
        layer = tnn.Conv1d(
            *(2, 2, draw(st.integers(1, 6))),
            strides=draw(st.integers(1, 3)),
            dilation_rate=draw(st.integers(1, 3)),
            padding=draw(PADDINGS),
            padding_mode=draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate"])),
            activation="tanh",
            bias_initializer="ones",
            dtype="float64",
            rng=i,
        )
        pool = draw(st.sampled_from([tnn.MaxPool1d, tnn.AvgPool1d]))
        padding = draw(st.sampled_from(["valid", "same"]))
        up = tnn.Conv1dTranspose(
            *(2, 2, draw(st.integers(2, 5))),
            strides=draw(st.integers(1, 3)),
            padding=padding,
            dtype="float64",
            rng=i,
        )
        size = draw(st.integers(2, 3))
        skip = tnn.Residual(tnn.Sequential(pool(size), layer_same(i), tnn.UpSample1d(size)))
        parts.append(draw(st.sampled_from([layer, layer, pool(2, padding=padding), up, skip])))
    return tnn.Sequential(*parts)


@given(
    models(),
    st.integers(1, 120),
    st.lists(st.integers(0, 30), min_size=1, max_size=4).filter(any),
    st.sampled_from([(), (3,)]),
)
def test_the_scores_joined_are_those_of_the_whole_series(model, length, sizes, series):
    assume(model.reach().fixed)
    x = np.random.default_rng(0).normal(size=(*series, length, 2))
    try:
        whole = model(x).data
    except ValueError as error:  # too short for the model, which the stream says as well
        with pytest.raises(ValueError, match=str(error)[:20]):
            streamed(tnn.stream(model), x, sizes)
        return
    found = streamed(tnn.stream(model), x, sizes)
    assert found.shape == whole.shape
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-14 * max(1, abs(whole).max()))


def detector(**how):
    how = {"padding": "same", "bias_initializer": "ones", **how}
    return tnn.Sequential(
        tnn.Conv1d(1, 4, 9, activation="relu", rng=0, **how),
        tnn.Dropout(0.5, rng=0),
        tnn.Conv1d(4, 2, 4, rng=1, **how),
    )


@pytest.mark.parametrize(
    ("model", "delay"),
    [
        (detector(padding="causal"), 0),
        (detector(), 4 + 2),
        (detector(padding="valid"), 8 + 3),
        (detector(padding=(8, 0), strides=2), 0),
        (detector(padding=(4, 0), strides=2), 4),
        (tnn.AvgPool1d(3), 2),
        (tnn.Dense(1, 1), 0),
        (tnn.Sequential(tnn.BatchNorm(1), tnn.LayerNorm(1), tnn.ZeroPad1d(3)), 0),
    ],
)
def test_an_output_is_returned_with_the_step_that_the_delay_promises(model, delay):
    scores, stride = tnn.stream(model), model.reach()[0]
    assert scores.delay == delay
    counts = np.cumsum([len(scores.push(np.ones((1, 1)))) for _ in range(60)])
    for output in range(40 // stride):
        step = output * stride + delay
        assert counts[step] >= output + 1 > counts[step - 1] * (step > 0)


def test_where_lengths_must_be_multiples_the_delay_is_the_longest():
    pooled = tnn.Sequential(tnn.MaxPool1d(4), layer_same(0), tnn.UpSample1d(4))
    model = tnn.Sequential(tnn.Conv1d(2, 2, 3, dtype="float64", rng=1), tnn.Residual(pooled))
    scores, x = tnn.stream(model), np.random.default_rng(0).normal(size=(82, 2))
    counts = np.cumsum([len(scores.push(row[None])) for row in x])
    lags = [np.searchsorted(counts, output + 1) - output for output in range(50)]
    assert max(lags) == scores.delay == 2 + (4 + 3) + 3  # a tap, a pool and a step, a block
    assert counts[-1] + len(scores.finish()) == 80


def test_it_keeps_only_what_later_outputs_see():
    scores = tnn.stream(detector())
    x = np.zeros((300, 1), np.float32)
    scores.push(x)
    tracemalloc.start()
    try:
        held = []
        for _ in range(30):
            scores.push(x)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[4] < 10_000  # 30 pieces have 36,000 bytes
    assert scores._kept.shape[-2] == 5 + 6 + 1
    assert scores._kept.base is None


def test_evaluation_mode_no_tape_and_the_parameters_of_the_moment():
    model = detector()
    scores = tnn.stream(model)
    x = np.random.default_rng(0).normal(size=(50, 1))
    first = scores.push(x)
    assert type(first) is np.ndarray
    assert model.training
    assert all(layer.training for layer in model)
    np.testing.assert_array_equal(first, tnn.predict(model, x)[: len(first)])  # nothing dropped
    first[...] = 0  # it belongs to the caller
    model[2].bias.data[...] += 10
    again = scores.push(x)
    np.testing.assert_allclose(again, tnn.predict(model, np.concatenate([x, x]))[44:94], atol=1e-5)


def test_nan_passes_through_and_is_forgotten():
    scores = tnn.stream(detector())
    x = np.zeros((300, 1))
    x[100] = np.nan
    found = streamed(scores, x, [10])
    bad = np.flatnonzero(np.isnan(found).any(axis=1))
    assert set(range(100 - 6, 100 + 5)) <= set(bad)
    assert len(bad) < 30


def test_after_the_end_it_says_so_until_it_is_reset():
    scores, x = tnn.stream(detector()), np.random.default_rng(0).normal(size=(70, 1))
    first = streamed(scores, x, [7])
    for call in (lambda: scores.push(x), scores.finish):
        with pytest.raises(RuntimeError, match=r"has ended this series\. Call reset\(\) to begin"):
            call()
    scores.reset()
    np.testing.assert_allclose(streamed(scores, x, [9]), first, atol=1e-6)
    with pytest.raises(RuntimeError, match=r"Stream\.finish: nothing was pushed"):
        tnn.stream(detector()).finish()


def test_no_steps_give_no_scores_of_the_right_shape_and_dtype():
    scores = tnn.stream(detector())
    for _ in range(2):
        empty = scores.push(np.zeros((0, 1), np.int16))
        assert empty.shape == (0, 2)
        assert empty.dtype == np.float32
    assert len(scores.push(np.zeros((20, 1), np.int16))) == 14


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros(5),
            r"must be \(steps, channels\) or .*, got shape \(5,\)\. .* give x\[:, None\]",
        ),
        (np.zeros((1, 1, 5, 1)), r"got shape \(1, 1, 5, 1\)"),
        (np.zeros((5, 3)), r"Stream\.push: x must be \(steps, 1\) as before, got \(5, 3\)"),
        (np.zeros((2, 5, 1)), r"must be \(steps, 1\) as before, got \(2, 5, 1\)"),
        (np.array([["a"]]), "x must be an array of numbers, got"),
        (np.array([[1j]]), "x must be an array of numbers, got"),
    ],
)
def test_a_bad_push_changes_nothing(x, message):
    scores, good = tnn.stream(detector()), np.random.default_rng(0).normal(size=(40, 1))
    before = scores.push(good[:20])
    with pytest.raises((ValueError, TypeError), match=message):
        scores.push(x)
    found = np.concatenate([before, scores.push(good[20:]), scores.finish()])
    np.testing.assert_allclose(found, tnn.predict(detector(), good), atol=1e-6)


def test_the_first_push_shows_what_does_not_fit():
    with pytest.raises(
        ValueError, match=r"Stream\.push: x of shape \(5, 3\) does not fit the model: Conv1d"
    ):
        tnn.stream(detector()).push(np.zeros((5, 3)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (len, "stream: model must be a Layer, got <built-in function len>"),
        (
            tnn.Sequential(detector(), tnn.GlobalAvgPool1d()),
            r"stream: an output of layers\.1 \(GlobalAvgPool1d\) may depend on the whole .* Use",
        ),
        (
            tnn.Sequential(tnn.Dense(1, 1), detector(strides=2)),
            r"where the windows of layers\.1\.layers\.0 \(Conv1d\) begin depends on the length",
        ),
    ],
)
def test_stream_refuses(model, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tnn.stream(model)
