"""Layers that are no mere row: replayed by fit, with running statistics moved once a batch."""

import warnings
from functools import partial

import numpy as np
import pytest

import tinynn as tnn
from tinynn.replay import step as steps

crossentropy = partial(tnn.losses.binary_crossentropy, from_logits=True)


def problem(n=22, length=32, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, length, 1))
    return x, (rng.random((n, length, 1)) < 0.2).astype(float)


def conv(a, b, seed, **how):
    how = {"padding": "same", "dtype": "float64", "rng": seed, **how}
    return tnn.Conv1d(a, b, 5, **how)


def normalized(seed=0):
    relu, norm = tnn.Activation("relu"), partial(tnn.BatchNorm, dtype="float64")
    parts = conv(1, 4, 0), norm(4), relu, conv(4, 3, 1), norm(3), relu, conv(3, 1, 2)
    return tnn.Sequential(*parts)


def unet(dropout=0.0):
    """A small U-Net of every new layer."""
    down = tnn.Sequential(
        tnn.MaxPool1d(2),
        conv(3, 4, 1),
        tnn.LayerNorm(4, dtype="float64"),
        tnn.Activation("relu"),
        tnn.Parallel(
            tnn.Sequential(),
            tnn.Sequential(tnn.MaxPool1d(2), conv(4, 2, 2), tnn.UpSample1d(2)),
        ),
        tnn.Dropout(dropout, rng=0),
        tnn.Conv1dTranspose(6, 3, 4, strides=2, padding="same", dtype="float64", rng=3),
    )
    return tnn.Sequential(
        tnn.ZeroPad1d((1, 3)),
        conv(1, 3, 0, padding="valid"),
        tnn.BatchNorm(3, dtype="float64"),
        tnn.Parallel(tnn.Sequential(), down),
        tnn.Residual(conv(6, 6, 4, activation="tanh")),
        conv(6, 1, 5),
    )


def trained(make, epochs=3, batch_size=8, **how):
    model = make()
    optimizer = tnn.SGD(model.parameters(), 0.1, momentum=0.9)
    history = tnn.fit(
        model, *problem(), loss=crossentropy, optimizer=optimizer, epochs=epochs, rng=0,
        batch_size=batch_size, progress=False, **how,
    )  # fmt: skip
    return model, history


WAYS = [
    {},
    {"chunk": None},
    {"chunk": 4},
    {"chunk": 1, "threads": 2},
    {"threads": 2},
    {"compile": True},
]


@pytest.mark.parametrize("how", WAYS, ids=str)
@pytest.mark.parametrize("make", [normalized, unet, partial(unet, 0.3)])
def test_replayed_steps_are_those_run_eagerly(make, how):
    (eager, history), (model, replayed) = trained(make, compile=False), trained(make, **how)
    assert replayed.eager is None
    np.testing.assert_allclose(replayed.history["loss"], history.history["loss"], rtol=1e-10)
    expected = eager.state_dict()
    for path, value in model.state_dict().items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-8, atol=1e-12, err_msg=path)


@pytest.mark.parametrize("how", [*WAYS, {"compile": False}], ids=str)
def test_statistics_move_once_for_each_batch_whatever_the_chunks(how):
    """With momentum 0.5 the share of the first values tells how often they were moved."""
    norm = tnn.BatchNorm(1, momentum=0.5, dtype="float64")
    norm.moving_mean.data = np.array([2.0**40])
    model = tnn.Sequential(norm, tnn.Dense(1, 1, dtype="float64", rng=0))
    x = np.random.default_rng(0).normal(size=(24, 1))
    optimizer = tnn.SGD(model.parameters(), 0.0)
    tnn.fit(
        *(model, x, x), loss="mean_squared_error", optimizer=optimizer, epochs=2, batch_size=8,
        validation_data=(x, x), rng=0, progress=False, **how,
    )  # fmt: skip
    assert norm.moving_mean.data == pytest.approx(2.0**34, rel=1e-6)  # 2 epochs of 3 batches


def test_a_batch_is_not_cut_though_a_chunk_is_asked_for(monkeypatch):
    sizes = []
    load = steps.Program.load

    def loading(program, piece):
        sizes.append(len(piece[0]))
        load(program, piece)

    monkeypatch.setattr(steps.Program, "load", loading)
    trained(normalized, epochs=1, chunk=2)
    assert set(sizes) == {8, 6}
    sizes.clear()
    trained(lambda: tnn.Residual(tnn.Parallel(conv(1, 1, 0))), epochs=1, chunk=2)
    assert set(sizes) == {2}  # these treat samples one by one


def test_the_same_bits_whenever_it_was_recorded():
    """The first replay, and one long after, move statistics and weights alike."""
    model, _ = trained(normalized)
    state = model.state_dict()
    later, _ = trained(normalized, epochs=2)  # and then one more epoch, by itself
    fresh = normalized()
    x, y = problem()
    results = []
    for target in (later, fresh):
        target.load_state_dict(state)
        optimizer = tnn.SGD(target.parameters(), 0.1)
        tnn.fit(
            *(target, x, y), loss=crossentropy, optimizer=optimizer, epochs=1, batch_size=8, rng=5,
            progress=False,
        )  # fmt: skip
        results.append(target.state_dict())
    for path, value in results[0].items():
        np.testing.assert_array_equal(value, results[1][path])


def test_a_rehearsal_moves_no_statistics():
    model = normalized()
    x, _ = problem(8)
    before = model.state_dict()
    failing = tnn.compile(lambda x: (model(x), np.ones(3).tolist()[int(x.sum().item() * 0)])[0])
    with pytest.raises(tnn.NotReplayable):
        failing(tnn.Tensor(x))
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[path])


def test_a_compiled_step_with_a_batch_norm_passes_its_own_verification():
    """The gradient of a bias before it is rounding alone, which no replay can repeat."""
    model = tnn.Sequential(
        *(tnn.Conv1d(1, 16, 9, padding="same", rng=0), tnn.BatchNorm(16)),
        *(tnn.Activation("relu"), tnn.Conv1d(16, 1, 9, padding="same", rng=1)),
    )
    optimizer = tnn.SGD(model.parameters(), 0.05)
    x, y = problem(16, 256)

    @tnn.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = crossentropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    twin = tnn.BatchNorm(16)
    losses = [float(step(x, y)) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert (model[1].moving_mean.data != twin.moving_mean.data).all()


def test_evaluation_is_replayed_with_the_statistics_of_the_moment():
    model, _ = trained(normalized)
    x = np.random.default_rng(0).normal(size=(6, 1024, 1))
    norm = model[1]
    for shift in (0.0, 1.0, 2.0):
        norm.moving_mean.data = norm.moving_mean.data + shift
        for _ in range(3):  # replayed from the second time on
            found = tnn.predict(model, x)
        np.testing.assert_allclose(found, model.eval()(x).data, rtol=1e-10, atol=1e-12)
        model.train()


def test_a_nan_in_a_batch_ends_as_eagerly(recwarn):
    x, y = problem()
    x[20] = np.nan
    found = []
    for compile in (False, "auto"):
        model = normalized()
        with pytest.raises(FloatingPointError, match="x itself is not finite in this batch"):
            tnn.fit(
                *(model, x, y), loss=crossentropy, optimizer=tnn.SGD(model.parameters(), 0.1),
                epochs=1, batch_size=8, shuffle=False, progress=False, compile=compile,
            )  # fmt: skip
        found.append(model.state_dict())
    for path, value in found[0].items():
        np.testing.assert_allclose(found[1][path], value, rtol=1e-9, atol=1e-12)


def test_a_lambda_is_eager_unless_its_function_is_marked():
    def double(x):
        return 2 * x

    def model(f):
        return lambda: tnn.Sequential(conv(1, 2, 0), tnn.Lambda(f), conv(2, 1, 1))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, history = trained(model(double))
    assert history.eager.startswith("Lambda.f: double (test_layers.py, line ")
    assert "mark it with @tnn.pure, or give compile=True" in history.eager
    for f, how in ((tnn.pure(lambda x: 2 * x), {}), (double, {"compile": True}), (tnn.relu, {})):
        assert trained(model(f), **how)[1].eager is None


def test_a_subclass_or_a_patched_forward_is_eager():
    class Mine(tnn.BatchNorm):
        def forward(self, x):
            return super().forward(x) * 1.0

    def with_norm(norm):
        return lambda: tnn.Sequential(conv(1, 2, 0), norm, conv(2, 1, 1))

    patched = tnn.BatchNorm(2)
    patched.forward = patched.forward
    for norm, words in ((Mine(2), r"Mine.forward (test_layers.py"), (patched, "BatchNorm.forward")):
        assert trained(with_norm(norm))[1].eager.startswith(words)
    assert Mine(2).reach() is None
    assert trained(with_norm(tnn.pure(Mine)(2)))[1].eager is None
