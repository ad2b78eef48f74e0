"""predict over long series: pieces overlap, and the result is that of the whole series."""

import subprocess
import sys
import tracemalloc
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinynn as tnn
from tinynn.nn.receptive_field import ReceptiveField
from tinynn.training import inference
from tinynn.training.inference import WHOLE, shortest_piece


def rounded(found, whole):
    """Assert equality to the rounding of sums in another order."""
    assert found.shape == whole.shape
    assert found.dtype == whole.dtype
    eps = np.finfo(whole.dtype).eps
    np.testing.assert_allclose(found, whole, rtol=0, atol=50 * eps * max(1, abs(whole).max()))


PADDINGS = st.one_of(
    st.sampled_from(["valid", "same", "same_lower", "causal"]),
    st.integers(0, 6),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)


@st.composite
def layers(draw, channels):
    kinds = ["conv", "conv", "conv", "max", "avg", "other", "transposed", "longer", "skip", "norm"]
    kind = draw(st.sampled_from(kinds))
    if kind == "conv":
        filters = draw(st.integers(1, 3))
        layer = tnn.Conv1d(
            *(channels, filters, draw(st.integers(1, 6))),
            strides=draw(st.integers(1, 3)),
            dilation_rate=draw(st.integers(1, 3)),
            padding=draw(PADDINGS),
            padding_mode=draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate"])),
            activation=draw(st.sampled_from(["linear", "tanh", "softmax"])),
            bias_initializer="ones",  # what an inner layer pads is then not what was there
            dtype="float64",
            rng=draw(st.integers(0, 9)),
        )
        return layer, filters
    if kind == "transposed":
        padding = draw(st.sampled_from(["valid", "same", 1, (0, 2)]))
        strides = draw(st.integers(1, 3))
        layer = tnn.Conv1dTranspose(
            *(channels, 2, draw(st.integers(2, 6))),
            strides=strides,
            padding=padding,
            output_padding=draw(st.one_of(st.none(), st.integers(0, strides - 1))),
            bias_initializer="ones",
            dtype="float64",
            rng=draw(st.integers(0, 9)),
        )
        return layer, 2
    if kind == "longer":
        ends = st.tuples(st.integers(0, 3), st.integers(0, 3))
        size, pair = draw(st.integers(1, 3)), draw(ends)
        return draw(st.sampled_from([tnn.UpSample1d(size), tnn.ZeroPad1d(pair)])), channels
    if kind == "skip":
        size = draw(st.integers(1, 3))
        inner = tnn.Conv1d(channels, 2, 3, padding="same", dtype="float64", rng=0)
        up = tnn.Conv1dTranspose(2, 2, size + 1, strides=size, padding="same", dtype="float64")
        body = tnn.Sequential(tnn.MaxPool1d(size), inner, up)
        return tnn.Parallel(tnn.Sequential(), body), channels + 2
    if kind == "norm":
        norm = tnn.BatchNorm(channels, dtype="float64").eval()
        norm.moving_mean.data, norm.moving_variance.data = [1.0] * channels, [2.0] * channels
        return tnn.Residual(tnn.Sequential(norm, tnn.LayerNorm(channels, dtype="f8"))), channels
    if kind != "other":
        pool = tnn.MaxPool1d if kind == "max" else tnn.AvgPool1d
        how = {
            "strides": draw(st.integers(1, 3)),
            "padding": draw(st.sampled_from(["valid", "same"])),
        }
        return pool(draw(st.integers(1, 4)), **how), channels
    dense = tnn.Dense(channels, 2, "relu", bias_initializer="ones", dtype="float64", rng=0)
    return tnn.Sequential(tnn.Dropout(0.5, rng=0), dense, tnn.Activation("sigmoid")), 2


@st.composite
def problems(draw):
    """A model, a series, and the model's output for the whole of it."""
    parts, channels = [], 2
    for _ in range(draw(st.integers(1, 3))):
        layer, channels = draw(layers(channels))
        parts.append(layer)
    model = tnn.Sequential(*parts)
    shape = (*draw(st.sampled_from([(), (2,)])), draw(st.integers(1, 150)), 2)
    x = np.random.default_rng(draw(st.integers(0, 9))).normal(size=shape)
    try:
        whole = model.eval()(x).data
    except ValueError:  # the series is too short
        assume(False)
    return model, x, whole


@given(problems(), st.integers(0, 40))
def test_pieces_give_the_result_of_the_whole_series(problem, more):
    model, x, whole = problem
    piece_length = shortest_piece(model.reach()) + more
    rounded(tnn.predict(model, x, piece_length=piece_length), whole)


@given(problems())
def test_no_step_beyond_the_reach_changes_an_output(problem):
    """And the reach is no wider than it need be for layers in the middle of the series."""
    model, x, whole = problem
    reach = model.reach()
    at = x.shape[-2] // 2
    changed = x.copy()
    changed[..., at, :] += np.pi
    moved = np.flatnonzero(
        (model(changed).data != whole).any(axis=-1).any(tuple(range(x.ndim - 2)))
    )
    for output in moved:
        assert output * reach.stride - reach.left <= at <= output * reach.stride + reach.right


def detector(filters=4, kernel_size=9, **how):
    how = {"padding": "same", "bias_initializer": "ones", **how}
    return tnn.Sequential(
        tnn.Conv1d(1, filters, kernel_size, activation="relu", rng=0, **how),
        tnn.Conv1d(filters, filters, kernel_size, activation="relu", rng=1, **how),
        tnn.Conv1d(filters, 1, kernel_size, rng=2, **how),
    )


def test_whole_numbers_leave_nothing_to_round_so_pieces_are_exact():
    model = detector(3, 6, strides=2, dtype="float64")
    for i, p in enumerate(model.parameters()):
        p.data[...] = np.random.default_rng(i).integers(-4, 5, p.shape)
    x = np.random.default_rng(0).integers(-9, 9, (1001, 1))
    whole = model(x).data
    for piece_length in (60, 77, 100, 500, 1000):
        np.testing.assert_array_equal(tnn.predict(model, x, piece_length=piece_length), whole)


@pytest.mark.parametrize(
    ("layer", "reach"),
    [
        (tnn.Conv1d(1, 1, 25), (1, 0, 24)),
        (tnn.Conv1d(1, 1, 25, padding="same"), (1, 12, 12)),
        (tnn.Conv1d(1, 1, 4, padding="same"), (1, 1, 2)),
        (tnn.Conv1d(1, 1, 4, padding="same_lower"), (1, 2, 1)),
        (tnn.Conv1d(1, 1, 25, dilation_rate=2, padding="causal"), (1, 48, 0)),
        (tnn.Conv1d(1, 1, 5, padding=(9, 0)), (1, 9, 0)),
        (tnn.Conv1d(1, 1, 3, strides=2, padding="same"), (2, 1, 2, 1, False, 2)),
        (tnn.Conv1d(1, 1, 3, strides=2, padding=1, padding_mode="reflect"), (2, 1, 1, 1, True, 2)),
        (tnn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), None),
        (tnn.Conv1d(1, 1, 3, activation=lambda x: x - x.mean()), None),
        (tnn.MaxPool1d(3), (3, 0, 2, 1, True, 3)),
        (tnn.AvgPool1d(2, padding="same"), (2, 0, 1, 1, True, 2)),
        (tnn.Dense(2, 1), (1, 0, 0)),
        (tnn.BatchNorm(1), (1, 0, 0)),
        (tnn.UpSample1d(3), (Fraction(1, 3), Fraction(2, 3), 0)),
        (tnn.ZeroPad1d((2, 1)), (1, 2, 0)),
        (tnn.Conv1dTranspose(1, 1, 5), (1, 4, 0)),
        (tnn.Conv1dTranspose(1, 1, 5, padding="same"), (1, 2, 2)),
        (
            tnn.Conv1dTranspose(1, 1, 4, strides=2, padding="same"),
            (Fraction(1, 2), 1, Fraction(1, 2)),
        ),
        (tnn.Conv1dTranspose(1, 1, 3, activation=lambda x: x - x.mean()), None),
        (tnn.Sequential(tnn.MaxPool1d(2), tnn.UpSample1d(2)), (1, 1, 1, 1, True, 2)),
        (tnn.Residual(tnn.Sequential(tnn.MaxPool1d(2), tnn.UpSample1d(2))), (1, 1, 1, 2, True, 2)),
        (tnn.Activation("softmax"), (1, 0, 0)),
        (tnn.Flatten(), None),
        (tnn.GlobalMaxPool1d(), None),
        (detector(), (1, 12, 12)),
        (detector(strides=2, padding="causal"), (8, 56, 0, 1, True, 8)),
    ],
    ids=lambda v: repr(v).replace("\n", "") if isinstance(v, tnn.Layer) else "",
)
def test_the_reach_of_each_layer(layer, reach):
    assert layer.reach() == (None if reach is None else ReceptiveField(*reach))


class Residual(tnn.Layer):
    def __init__(self, body):
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class OpenResidual(Residual):
    def reach(self):
        return self.body.reach()


def test_a_layer_of_ones_own_says_its_reach():
    body = tnn.Conv1d(1, 1, 5, padding="same", rng=0)
    x = np.random.default_rng(0).normal(size=(90, 1)).astype(np.float32)
    model = tnn.Sequential(OpenResidual(body), OpenResidual(body))
    assert model.reach() == (1, 4, 4, 1, True, 1)
    rounded(tnn.predict(model, x, piece_length=20), model(x).data)
    closed = tnn.Sequential(body, Residual(body))
    assert closed.reach() is None
    with pytest.raises(ValueError, match=r"output of layers\.1 \(Residual\) may depend on the who"):
        tnn.predict(closed, x, piece_length=20)


class Coarse(tnn.Layer):
    """The mean of each block of steps beside the steps: blocks must be whole."""

    def __init__(self, size):
        self.size = size

    def forward(self, x):
        blocks = x.reshape(*x.shape[:-2], -1, self.size, x.shape[-1])
        means = tnn.repeat(blocks.mean(axis=-2), self.size, axis=-2)
        return tnn.concatenate([x, means], axis=-1)

    def reach(self):
        return 1, self.size - 1, self.size - 1, self.size


def test_a_layer_of_ones_own_says_in_which_multiples_it_takes_a_series():
    x = np.random.default_rng(0).normal(size=(2, 90, 1))
    conv = tnn.Conv1d(2, 1, 5, padding="same", dtype="float64", rng=0)
    for first in (tnn.Sequential(), tnn.MaxPool1d(3), tnn.UpSample1d(2)):
        model = tnn.Sequential(first, Coarse(5), conv)
        whole = model(x).data
        for piece_length in (70, 71, 75, 89):
            rounded(tnn.predict(model, x, piece_length=piece_length), whole)
        scores = tnn.stream(model)
        parts = [scores.push(x[:, i : i + 7]) for i in range(0, 90, 7)]
        rounded(np.concatenate([*parts, scores.finish()], axis=1), whole)
    with pytest.raises(ValueError, match="reshape"):
        tnn.predict(Coarse(5), x[:, :83], piece_length=40)
    Coarse.reach = lambda self: (1, 4, 4, True)
    with pytest.raises(
        TypeError, match=r"Coarse\.reach: multiple must be a positive integer, got T"
    ):
        tnn.predict(Coarse(5), x, piece_length=40)


def unet():
    def conv(a, b):
        return tnn.Conv1d(a, b, 5, padding="same", activation="relu", rng=0)

    deep = tnn.Sequential(tnn.MaxPool1d(2), conv(8, 8), tnn.BatchNorm(8), tnn.UpSample1d(2))
    up = tnn.Conv1dTranspose(16, 4, 4, strides=2, padding="same", activation="relu", rng=1)
    below = tnn.Sequential(tnn.MaxPool1d(2), conv(4, 8), tnn.Parallel(tnn.Sequential(), deep), up)
    ends = conv(1, 4), tnn.Conv1d(8, 1, 5, padding="same", rng=2)
    return tnn.Residual(tnn.Sequential(ends[0], tnn.Parallel(tnn.Sequential(), below), ends[1]))


def test_a_unet_is_trained_and_predicts_a_long_series_in_pieces():
    rng = np.random.default_rng(0)
    model = unet()
    clean = np.sin(np.arange(64) / 4 + rng.uniform(0, 6, (64, 1)))[..., None]
    noisy = clean + 0.5 * rng.normal(size=clean.shape)
    history = tnn.fit(
        *(model, noisy, clean), loss="mean_squared_error", epochs=5, batch_size=8, rng=0,
        optimizer=tnn.Adam(model.parameters(), 0.01), progress=False,
    )  # fmt: skip
    assert history.history["loss"][-1] < history.history["loss"][0] / 2
    long = rng.normal(size=(100_000, 1)).astype(np.float32)
    whole = model.eval()(long).data
    rounded(tnn.predict(model, long), whole)
    rounded(tnn.predict(model, long, piece_length=1000), whole)
    scores = tnn.stream(model)
    found = [scores.push(part) for part in np.array_split(long[:4000], 57)]
    joined = np.concatenate([*found, scores.finish()])
    rounded(joined, model(long[:4000]).data)
    with pytest.raises(ValueError, match=r"Parallel: .* a multiple of the pools"):
        tnn.predict(model, long[:4001])
    scores.reset()
    scores.push(long[:4001])
    with pytest.raises(ValueError, match=r"Parallel: .* a multiple of the pools"):
        scores.finish()


def test_what_stands_in_the_way_is_found_in_branches():
    centred = tnn.Lambda(lambda x: x - x.mean())
    for model, where in (
        (tnn.Residual(tnn.Sequential(tnn.Dense(1, 1), centred)), r"body\.layers\.1 \(Lambda\)"),
        (tnn.Sequential(tnn.Parallel(tnn.Dense(1, 1), centred)), r"layers\.0\.layers\.1 \(L"),
    ):
        with pytest.raises(ValueError, match=rf"an output of {where}.* may depend on the whole"):
            tnn.predict(model, np.ones((90, 1)), piece_length=20)


def test_a_forward_written_anew_does_not_inherit_a_reach():
    class Centred(tnn.Conv1d):
        def forward(self, x):
            return super().forward(x - x.mean())

    class Tuple(OpenResidual):
        def reach(self):
            return self.said

    assert Centred(1, 1, 3).reach() is None
    wrong = Tuple(tnn.Activation("relu"))
    wrong.said = (1, -2, 0)
    with pytest.raises(
        ValueError, match=r"Tuple.reach: left must be a non-negative integer, got -2"
    ):
        tnn.predict(wrong, np.ones((3, 1)), piece_length=2)
    wrong.said = 3
    with pytest.raises(
        TypeError, match=r"Tuple.reach must return \(stride, left, right\), .* or None"
    ):
        tnn.predict(tnn.Sequential(wrong), np.ones((5000, 1)))


def test_a_long_series_is_cut_by_itself_and_a_short_one_is_not(monkeypatch):
    lengths = []

    def counting(make, model):
        forward = make(model)
        return lambda x, worker=0: (lengths.append(x.shape[-2]), forward(x, worker))[1]

    for name in ("forward", "eager_forward"):
        monkeypatch.setattr(inference, name, partial(counting, getattr(inference, name)))
    model = detector()
    long = np.random.default_rng(0).normal(size=(WHOLE // 4 + 1, 1)).astype(np.float32)
    for x, pieces in ((long, 17), (long[:-1], 1), (long[None], 17), (np.stack([long, long]), 34)):
        lengths.clear()
        found = tnn.predict(model, x)
        assert len(lengths) == pieces
        rounded(found, model(x).data)


def test_a_model_that_needs_the_whole_series_gets_it():
    x = np.random.default_rng(0).normal(size=(WHOLE + 1, 1)).astype(np.float32)
    model = tnn.Sequential(*detector(1, 3), tnn.GlobalMaxPool1d())
    np.testing.assert_array_equal(tnn.predict(model, x[None]), model(x[None]).data)


@pytest.mark.parametrize("dtype", ["int16", "float64", "float32"])
def test_a_memmap_is_never_in_memory_as_a_whole(dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "available", lambda: 2)  # each thread has buffers of its own
    length, model = 4_000_000, detector(2, 5)
    path = tmp_path / "recording.raw"
    (np.random.default_rng(0).normal(size=length) * 100).astype(dtype).tofile(path)
    x = np.memmap(path, dtype, "r").reshape(-1, 1)
    tnn.predict(model, x[:1000])  # whatever is loaded late
    tracemalloc.start()
    try:
        found = tnn.predict(model, x)
        peak = tracemalloc.get_traced_memory()[1] - found.nbytes
    finally:
        tracemalloc.stop()
    assert peak < 5 * 2**20  # the series in float32 has 16 MB, the widest layer 32
    for start in (0, 1_234_567, length - 1000):
        stop = start + 1000
        part = model(np.asarray(x[max(0, start - 6) : stop + 6])).data
        begin = min(6, start)
        rounded(found[start:stop], part[begin : begin + 1000])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(500, 1), (3, 500, 1)])
def test_so_many_threads_as_are_asked_for_give_the_same_result(shape, threads, monkeypatch):
    seen, whole = set(), inference.spread

    def counted(work, count, threads):
        seen.add(threads)
        return whole(work, count, threads)

    monkeypatch.setattr(inference, "spread", counted)
    x, model = np.random.default_rng(0).normal(size=shape).astype("float32"), detector()
    found = tnn.predict(model, x, piece_length=60, threads=threads)
    rounded(found, model(x).data)
    assert max(seen) == threads


def test_threads_are_counted_in_whole_numbers():
    with pytest.raises(ValueError, match="predict: threads must be a positive integer, got 0"):
        tnn.predict(detector(), np.ones((9, 1)), threads=0)


def test_a_single_series_is_named_as_it_was_given_and_once(capsys):
    with pytest.raises(ValueError, match=r"got shape \(7, 3\)"):
        tnn.predict(detector(), np.ones((7, 3)), progress=True)
    assert (
        capsys.readouterr().err.count("predict:") <= 2
    )  # tqdm draws a bar when it begins and ends


def test_progress_counts_the_steps_and_tqdm_is_loaded_only_for_it(capsys):
    x = np.zeros((2, 500, 1), np.float32)
    tnn.predict(detector(), x, piece_length=100, batch_size=1, progress=True)
    text = capsys.readouterr().err
    assert "predict: 100%" in text
    assert "1.00k/1.00k" in text
    tnn.predict(detector(), x, progress=True)
    assert "1.00k/1.00k" in capsys.readouterr().err
    tnn.predict(detector(), x, piece_length=100)
    assert capsys.readouterr().err == ""
    code = (
        "import sys, numpy as np, tinynn as tnn\n"
        "tnn.predict(tnn.Dense(1, 1), np.zeros((9, 1)), piece_length=3)\n"
        "print('tqdm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("model", "shape", "how", "message"),
    [
        (
            detector(),
            (90, 1),
            {"piece_length": 0},
            "piece_length must be a positive integer, got 0",
        ),
        (detector(), (90, 1), {"piece_length": 9.5}, "piece_length must be a positive integer"),
        (
            detector(),
            (90, 1),
            {"piece_length": 24},
            "at least 25 for this model, whose outputs see 12 steps back and 12 ahead, got 24",
        ),
        (tnn.Dense(3, 1), (3,), {"piece_length": 2}, r"\(length, channels\).*, got shape \(3,\)"),
        (
            tnn.Sequential(tnn.Sequential(detector(), tnn.Flatten()), tnn.Dense(90, 1)),
            (1, 90, 1),
            {"piece_length": 50},
            r"predict: an output of layers\.0\.layers\.1 \(Flatten\) may depend on the whole s",
        ),
        (
            tnn.Activation(lambda x: tnn.softmax(x, axis=-2)),
            (90, 1),
            {"piece_length": 50},
            r"an output of model \(Activation\) may .* in a method reach\(\) of that layer",
        ),
        (detector(), (90, 1), {"progress": 1}, "predict: progress must be True or False, got 1"),
    ],
)
def test_predict_refuses(model, shape, how, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tnn.predict(model, np.zeros(shape), **how)
