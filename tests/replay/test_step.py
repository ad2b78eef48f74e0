"""fit()'s ways to compute a step give the same numbers: eager, replayed, chunked, threaded."""

import time

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import cores
from tinynn.training import means, steps


def detector(dtype="float64", width=4):
    rng = np.random.default_rng(0)
    return tnn.Sequential(
        tnn.Conv1d(1, width, 5, padding="same", activation="relu", dtype=dtype, rng=rng),
        tnn.Conv1d(width, 1, 4, padding="same", dtype=dtype, rng=rng),
    )


def problem(n=23, length=30, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, length, 1))
    return x, (rng.random((n, length, 1)) < 0.2).astype(float)


def crossentropy(prediction, target):
    return tnn.losses.binary_crossentropy(prediction, target, from_logits=True)


def trained(model=None, loss=crossentropy, batch_size=8, epochs=3, **how):
    model = model or detector()
    optimizer = tnn.SGD(model.parameters(), 0.1, momentum=0.9)
    history = tnn.fit(
        model, *problem(), loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size,
        rng=0, progress=False, **how,
    )  # fmt: skip
    gradients = [p.grad for p in model.parameters()]
    return model.state_dict(), gradients, history


def assert_equal(a, b, rtol=1e-11):
    for path, value in a[0].items():
        np.testing.assert_allclose(b[0][path], value, rtol=rtol, atol=1e-13)
    for g, h in zip(a[1], b[1], strict=True):
        np.testing.assert_allclose(h, g, rtol=rtol, atol=1e-13)
    np.testing.assert_allclose(b[2].history["loss"], a[2].history["loss"], rtol=rtol)


WAYS = [
    {"chunk": None},
    {"chunk": 1},
    {"chunk": 3},
    {"chunk": 8},
    {"chunk": 1000},
    {"chunk": "auto"},
    {"chunk": 2, "threads": 2},
    {"chunk": 3, "threads": 3},
    {"chunk": 1, "threads": 1},
    {"threads": 2},
]


@pytest.mark.parametrize("how", WAYS, ids=str)
def test_all_ways_give_the_same_weights_gradients_and_losses(how):
    assert_equal(trained(compile=False), trained(**how))


@pytest.mark.parametrize("how", WAYS[:6], ids=str)
@pytest.mark.parametrize("kind", ["of a series", "of each step"])
def test_integer_classes_are_replayed_and_cut_too(kind, how):
    x, y = problem()
    classes = y[:, 0, 0].astype(int) if kind == "of a series" else y[:, :, 0].astype(int)

    def run(**how):
        first = tnn.Conv1d(1, 3, 5, padding="same", dtype="float64", rng=0)
        end = [tnn.Flatten(), tnn.Dense(90, 3, dtype="float64", rng=1)]
        model = tnn.Sequential(first, *(end if kind == "of a series" else []))
        optimizer = tnn.SGD(model.parameters(), 0.1)
        history = tnn.fit(
            model, x, classes, optimizer=optimizer, epochs=3, batch_size=8, rng=0, progress=False,
            loss=lambda p, t: tnn.losses.sparse_categorical_crossentropy(p, t, from_logits=True),
            **how,
        )  # fmt: skip
        return model.state_dict(), [p.grad for p in model.parameters()], history

    eager, replayed = run(compile=False), run(**how)
    assert replayed[2].eager is None
    assert_equal(eager, replayed)


@pytest.mark.parametrize("how", [{}, {"chunk": 2, "threads": 2}, {"chunk": 3}], ids=str)
def test_one_way_gives_the_same_bits_each_time(how):
    first, second = trained(**how), trained(**how)
    for path, value in first[0].items():
        np.testing.assert_array_equal(second[0][path], value)
    assert first[2].history == second[2].history


def test_replayed_is_the_default_and_the_history_says_when_it_is_not():
    assert trained()[2].eager is None
    assert trained(compile=False)[2].eager == "compile=False"


def test_the_model_is_run_at_the_first_steps_only():
    class Counted(tnn.Conv1d):
        calls = 0

        def forward(self, x):
            Counted.calls += 1
            return super().forward(x)

    trained(Counted(1, 1, 3, padding="same", dtype="float64", rng=0), epochs=20, chunk=None)
    assert Counted.calls == 4  # two for batches of 8, two for the last one of 7


class Branching(tnn.Layer):
    """Does one thing or another, as its input says."""

    def __init__(self):
        self.conv = tnn.Conv1d(1, 1, 3, padding="same", dtype="float64", rng=0)

    def forward(self, x):
        y = self.conv(x)
        return y * 2 if float(y.sum()) > 0 else y


def test_a_model_that_cannot_be_replayed_is_trained_eagerly():
    expected, found = trained(Branching(), compile=False), trained(Branching())
    assert "computes or decides in Python" in found[2].eager
    assert_equal(expected, found)


def test_a_loss_that_is_no_mean_is_computed_whole():
    def total(prediction, target):
        return tnn.losses.mean_squared_error(prediction, target, reduction="sum") * 0.01

    def forced(self, plan, samples):
        self._fitting = 2

    expected = trained(loss=total, compile=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps.ReplayedStep, "_measure", forced)
        assert_equal(expected, trained(loss=total))
    with pytest.raises(ValueError, match=r"is not the mean of those of its chunks.*chunk=None"):
        trained(loss=total, chunk=4)


def masked(prediction, target):
    mask = (target >= 0).astype(prediction.dtype)
    return ((prediction - target) ** 2 * mask).sum() / mask.sum()


def penalised(prediction, target):
    return crossentropy(prediction, target) + 0.5 * tnn.losses.huber(prediction, target)


MEANS = [
    (crossentropy, True),
    (tnn.losses.mean_squared_error, True),
    (tnn.losses.mean_absolute_error, True),
    (tnn.losses.huber, True),
    (lambda p, t: tnn.losses.focal(p, t, from_logits=True), True),
    (lambda p, t: tnn.losses.binary_crossentropy(tnn.sigmoid(p), t), True),
    (lambda p, t: tnn.losses.binary_crossentropy(p, t, from_logits=True, pos_weight=9.0), True),
    (penalised, True),
    (lambda p, t: ((p - t) ** 2).sum(axis=(1, 2)).mean(), True),
    (masked, False),
    (lambda p, t: tnn.sqrt(((p - t) ** 2).mean()), False),
    (lambda p, t: tnn.log(((p - t) ** 2).mean()), False),
    (lambda p, t: ((p - p.mean()) ** 2 - t).mean(), False),
    (lambda p, t: ((p - p.mean(axis=0)) * t).mean(), False),
    (lambda p, t: tnn.std(p - t), False),
    (lambda p, t: (p * t).mean() * p.mean(), False),
    (lambda p, t: 1 - (p * t).sum() / (p * p).sum(), False),
    (lambda p, t: (p[::-1] * t).mean(), False),
    (lambda p, t: tnn.max((p - t) ** 2), False),
    (lambda p, t: tnn.softmax(p, axis=0).mean() + t.mean() * p.mean(), False),
]


@pytest.mark.parametrize(("loss", "mean"), MEANS)
def test_the_form_of_a_loss_tells_whether_it_may_be_chunked(loss, mean):
    model, (x, y) = detector(), problem(6)
    optimizer = tnn.SGD(model.parameters(), 0.1)
    step = steps.ReplayedStep(model, loss, optimizer, "auto", None)
    step(x, y)
    (plan,) = step._plans.values()
    assert means.is_over_samples(plan.recording, 6) == mean
    if mean:  # and it is one
        whole = loss(model(x), y).item()
        halves = [loss(model(x[part]), y[part]).item() for part in (slice(0, 2), slice(2, 6))]
        assert whole == pytest.approx((2 * halves[0] + 4 * halves[1]) / 6)


def test_models_of_all_layers_are_known_to_work_sample_by_sample():
    rng = np.random.default_rng(0)
    model = tnn.Sequential(
        tnn.Conv1d(1, 4, 3, padding="same", activation="relu", dtype="float64", rng=rng),
        tnn.MaxPool1d(2),
        tnn.Conv1d(4, 4, 3, activation="gelu", dtype="float64", rng=rng),
        tnn.AvgPool1d(2),
        tnn.Flatten(),
        tnn.Dense(24, 3, activation="tanh", dtype="float64", rng=rng),
        tnn.Dense(3, 1, dtype="float64", rng=rng),
    )
    x = rng.normal(size=(5, 30, 1))
    optimizer = tnn.SGD(model.parameters(), 0.1)
    step = steps.ReplayedStep(model, tnn.losses.mean_squared_error, optimizer, "auto", None)
    step(x, np.ones((5, 1)))
    (plan,) = step._plans.values()
    assert means.is_over_samples(plan.recording, 5)


def test_a_masked_mean_is_not_chunked_though_its_first_batch_would_do():
    x, y = problem(64, 200)
    y[16:, 100:] = -1

    def run(**how):
        model = detector()
        optimizer = tnn.SGD(model.parameters(), 0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(steps, "CHUNK_BYTES", 2**12)
            history = tnn.fit(
                model, x, y, loss=masked, optimizer=optimizer, epochs=2, batch_size=16,
                shuffle=False, progress=False, **how,
            )  # fmt: skip
        return model.state_dict(), [], history

    assert_equal(run(compile=False), run())


def test_a_callback_may_change_what_a_loss_of_ones_own_reads():
    def run(**how):
        scale = [1.0]

        def loss(prediction, target):
            return crossentropy(prediction, target) * scale[0]

        model = detector()
        optimizer = tnn.SGD(model.parameters(), 0.1)
        history = tnn.fit(
            model, *problem(), loss=loss, optimizer=optimizer, epochs=4, batch_size=8, rng=0,
            progress=False, callbacks=[lambda epoch, logs: scale.__setitem__(0, 3.0 + epoch)],
            **how,
        )  # fmt: skip
        return model.state_dict(), [], history

    assert_equal(run(compile=False), run())


def test_a_changed_layer_is_noticed():
    def run(**how):
        model = detector()
        optimizer = tnn.SGD(model.parameters(), 0.1)

        def callback(epoch, logs):
            model[0].activation = tnn.tanh

        history = tnn.fit(
            model, *problem(), loss="mse", optimizer=optimizer, epochs=4, batch_size=8, rng=0,
            progress=False, callbacks=[callback], **how,
        )  # fmt: skip
        return model.state_dict(), [], history

    assert_equal(run(compile=False), run())


def test_dropout_draws_for_whole_batches():
    def model():
        rng = np.random.default_rng(3)
        return tnn.Sequential(
            tnn.Conv1d(1, 4, 3, padding="same", dtype="float64", rng=rng),
            tnn.Dropout(0.5, rng=rng),
            tnn.Conv1d(4, 1, 3, padding="same", dtype="float64", rng=rng),
        )

    assert_equal(trained(model(), compile=False), trained(model()))


@pytest.mark.parametrize("threads", [1, 2])
def test_dropout_may_be_chunked_on_request_and_draws_in_one_order(threads):
    def run():
        rng = np.random.default_rng(3)
        model = tnn.Sequential(
            tnn.Conv1d(1, 4, 3, padding="same", dtype="float64", rng=rng),
            tnn.Dropout(0.5, rng=rng),
            tnn.Conv1d(4, 1, 3, padding="same", dtype="float64", rng=rng),
        )
        return trained(model, chunk=2, threads=threads)

    first, second = run(), run()
    assert first[2].eager is None
    assert first[2].history == second[2].history


@pytest.mark.parametrize("change", ["rate", "weights", "state", "freeze"])
def test_changes_between_epochs_take_effect(change):
    def run(**how):
        model = detector()
        optimizer = tnn.SGD(model.parameters(), 0.1, momentum=0.5)

        def callback(epoch, logs):
            if change == "rate":
                optimizer.learning_rate *= 0.5
            elif change == "weights":
                model[0].kernel.data[...] *= 0.9
            elif change == "state":
                model[1].load_state_dict({"kernel": np.full((4, 4, 1), 0.1), "bias": [epoch]})
            elif epoch == 1:
                model[0].kernel.requires_grad = False

        history = tnn.fit(
            model, *problem(), loss=crossentropy, optimizer=optimizer, epochs=4, batch_size=8,
            rng=0, progress=False, callbacks=[callback], **how,
        )  # fmt: skip
        return model.state_dict(), [], history

    assert_equal(run(compile=False), run())


def test_one_fit_after_another_goes_on_with_what_was_recorded():
    class Counted(tnn.Conv1d):
        calls = 0

        def forward(self, x):
            Counted.calls += 1
            return super().forward(x)

    model = Counted(1, 1, 3, padding="same", dtype="float64", rng=0)
    optimizer = tnn.SGD(model.parameters(), 0.1)
    x, y = problem(16)
    for _ in range(5):
        tnn.fit(
            model, x, y, loss="mse", optimizer=optimizer, epochs=1, batch_size=8,
            progress=False, rng=0,
        )  # fmt: skip
    assert Counted.calls == 2


def test_a_finite_step_beside_an_infinite_slope_is_the_eager_one():
    # sqrt has an infinite slope at 0, which `where` does not take: the replay's nan is noticed
    class Guarded(tnn.Layer):
        def __init__(self):
            self.w = tnn.Tensor(np.array([[1.0]]), requires_grad=True)

        def forward(self, x):
            y = x @ self.w
            return tnn.where(x > 0, tnn.sqrt(tnn.maximum(y, 0)), y)

    x = np.maximum(np.random.default_rng(0).normal(size=(12, 1)), 0)

    def run(**how):
        model = Guarded()
        optimizer = tnn.SGD(model.parameters(), 0.1)
        history = tnn.fit(
            model, x, x, loss="mse", optimizer=optimizer, epochs=6, batch_size=4, rng=0,
            progress=False, **how,
        )  # fmt: skip
        return model.state_dict(), [], history

    expected = run(compile=False)
    assert np.isfinite(expected[0]["w"]).all()
    assert_equal(expected, run())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"chunk": 0}, "fit: chunk must be a positive integer, got 0"),
        ({"chunk": 2.5}, "fit: chunk must be a positive integer, got 2.5"),
        ({"chunk": "some"}, "fit: chunk must be a positive integer, got 'some'"),
        ({"threads": 0}, "fit: threads must be a positive integer, got 0"),
        ({"compile": 1}, "fit: compile must be True or False, got 1"),
        ({"compile": False, "chunk": 4}, "need compile=True"),
        ({"compile": False, "threads": 2}, "need compile=True"),
    ],
)
def test_wrong_settings_are_refused(how, message):
    with pytest.raises((TypeError, ValueError), match=message):
        trained(**how)


def test_blas_has_its_threads_back_afterwards():
    get = cores._blas()
    if get is None:
        pytest.skip("NumPy's BLAS is not OpenBLAS here")
    before = get[0]()
    seen = []
    model = detector()
    with cores.one_blas_thread() as alone:
        seen.append((alone, get[0]()))
    trained(model)
    assert seen == [(True, 1)]
    assert get[0]() == before


@pytest.mark.skipif(cores._blas() is None, reason="NumPy comes with another BLAS than OpenBLAS")
def test_whoever_leaves_last_gives_blas_its_threads_back():
    get, set_ = cores._blas()
    before = get()
    set_(2)
    try:
        first, second = cores.one_blas_thread(), cores.one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)  # not in the order in which they came
        assert get() == 1
        second.__exit__(None, None, None)
        assert get() == 2
    finally:
        set_(before)


def test_threads_end_with_fit():
    import threading

    trained(chunk=2, threads=2)
    for _ in range(100):
        left = [t for t in threading.enumerate() if t.name.startswith("tinynn")]
        if not left:
            break
        time.sleep(0.01)
    assert left == []


def test_a_forward_replays_and_reads_changed_weights():
    model = detector()
    forward = steps.Forward(model)
    x, _ = problem(3)
    with tnn.no_grad():
        for i in range(5):
            np.testing.assert_allclose(forward(x + i), model(x + i).numpy(), rtol=1e-11)
        model[1].kernel.data[...] *= 2
        np.testing.assert_allclose(forward(x), model(x).numpy(), rtol=1e-11)
        model[1].bias = tnn.Tensor([3.0], requires_grad=True)
        for i in range(3):
            np.testing.assert_allclose(forward(x + i), model(x + i).numpy(), rtol=1e-11)


def test_a_forward_that_cannot_be_replayed_runs_eagerly():
    model = Branching()
    forward = steps.Forward(model)
    x, _ = problem(3)
    with tnn.no_grad():
        for i in range(5):
            np.testing.assert_array_equal(forward(x - i), model(x - i).numpy())


@pytest.mark.parametrize("method", ["load", "execute", "settle", "result"])
def test_an_interrupt_of_a_replayed_step_leaves_a_whole_step(method, monkeypatch):
    from tinynn.autodiff.replay import Program

    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 3)).astype(np.float32)
    y = (x @ [[1.0], [-2.0], [0.5]]).astype(np.float32)

    def how(model):
        sgd = tnn.SGD(model.parameters(), 0.1)
        return {"loss": "mean_squared_error", "optimizer": sgd, "progress": False, "rng": 0}

    models = [tnn.Sequential(tnn.Dense(3, 4, rng=0), tnn.Dense(4, 1, rng=1)) for _ in range(2)]
    arguments, whole = how(models[0]), []
    step = arguments["optimizer"].step
    arguments["optimizer"].step = lambda: (step(), whole.append(models[0].state_dict()))
    tnn.fit(models[0], x, y, epochs=4, batch_size=8, compile=False, **arguments)
    original, calls = getattr(Program, method), []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(Program, method, interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        tnn.fit(models[1], x, y, epochs=4, batch_size=8, **how(models[1]))
    state = models[1].state_dict()
    assert any(
        all(np.allclose(state[path], step[path], rtol=1e-5) for path in state) for step in whole
    )
