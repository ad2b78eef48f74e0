"""The state of a training: kept after any batch, it goes on to the same bits; metrics; Ctrl-C."""

import json
import threading
from functools import partial

import numpy as np
import pytest

import tinynn as tnn
from tinynn.training.run import Run


def problem(n=23, length=12):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, length, 1))
    return x, (rng.random((n, length, 1)) < 0.3).astype(float)


class Loader:
    """Shuffles by a generator of its own, which it also draws from on the way."""

    def __init__(self):
        self.rng = np.random.default_rng(5)

    def __len__(self):
        return 5

    def __iter__(self):
        x, y = problem()
        for rows in np.array_split(self.rng.permutation(len(x)), 5):
            yield x[rows] + 0.1 * self.rng.normal(), y[rows]


def made(data="arrays", compile="auto", shared=False, **more):
    """Return the arguments of a training in which everything has a state."""
    rng = np.random.default_rng(3)
    model = tnn.Sequential(
        tnn.Conv1d(1, 4, 3, padding="same", activation="relu", dtype="float64", rng=0),
        tnn.Dropout(0.3, rng=rng),
        tnn.Conv1d(4, 1, 3, padding="same", dtype="float64", rng=1),
        tnn.Dropout(0.1, rng=rng),
        tnn.Activation("sigmoid"),
    )
    x, y = problem()
    how = {"x": x, "y": y, "rng": rng if shared else np.random.default_rng(7), "batch_size": 5}
    if data != "arrays":
        how = {"x": Loader()}
    callbacks = [
        tnn.callbacks.EarlyStopping("val_mae", patience=2),
        tnn.callbacks.ReduceOnPlateau("val_loss", patience=0, factor=0.5),
    ]
    optimizer = tnn.Adam(model.parameters(), tnn.schedules.constant(0.05))
    optimizer.learning_rate = 0.05
    return {
        "model": model, "loss": "binary_crossentropy", "optimizer": optimizer,
        "epochs": 6, "validation_data": (x[::2], y[::2]), "metrics": ["mae"], "progress": False,
        "callbacks": callbacks, "compile": compile, **how, **more,
    }  # fmt: skip


def plain(state):
    """Demand what a file can hold: dicts, lists, numbers, strings, None, arrays."""
    if isinstance(state, dict):
        assert all(isinstance(key, str) for key in state)
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [plain(value) for value in state]
    if isinstance(state, np.ndarray):
        return state.copy()
    return json.loads(json.dumps(state))


def trained(monkeypatch, how, state=None, keep=None):
    """Train, from a state if there is one; ``keep`` collects the states after each batch."""
    train, means = Run.train, Run._means

    def kept(self):
        if keep is not None:
            keep.append(plain(self.state_dict()))
        return means(self)

    watch = type("Watch", (tnn.Callback,), {"on_batch_end": lambda *_: None})()
    how = how | {"callbacks": [*how["callbacks"], watch]}
    with monkeypatch.context() as patched:
        patched.setattr(Run, "train", lambda self, _=None: train(self, state))
        patched.setattr(Run, "_means", kept)
        history = tnn.fit(**how)
    model, optimizer = how["model"], how["optimizer"]
    return model.state_dict() | {"rate": optimizer.learning_rate}, history


@pytest.mark.parametrize("compile", ["auto", False])
@pytest.mark.parametrize(
    "how", [{}, {"shared": True}, {"data": "dataset"}, {"class_weight": {1: 3.0}}], ids=str
)
def test_a_training_goes_on_from_any_batch_in_the_same_bits(how, compile, monkeypatch):
    states = []
    end, history = trained(monkeypatch, made(compile=compile, **how), keep=states)
    assert len({(state["epoch"], state["batch"]) for state in states}) >= 10
    for state in states[::3]:
        other, again = trained(monkeypatch, made(compile=compile, **how), state)
        np.testing.assert_equal(other, end)
        np.testing.assert_equal(again.history, history.history)
        assert again.stopped == history.stopped


class Ragged(Loader):
    """More shapes than there are recordings kept, so that replaying soon does not pay."""

    def __len__(self):
        return 14

    def __iter__(self):
        for length in self.rng.permutation(14) + 5:
            x = self.rng.normal(size=(4, length, 1))
            yield x, (x > 0) * 1.0


def test_a_training_that_turns_eager_does_so_at_the_same_step(monkeypatch):
    states, how = [], {"data": "dataset", "epochs": 3, "callbacks": [], "metrics": []}
    end, history = trained(monkeypatch, made(**how, x=Ragged()), keep=states)
    assert "recorded" in (history.eager or "") or "not installed" in history.eager
    for state in states[::7]:
        other, _ = trained(monkeypatch, made(**how, x=Ragged()), state)
        np.testing.assert_equal(other, end)


def test_a_state_names_generators_once_by_who_holds_them(monkeypatch):
    states = []
    trained(monkeypatch, made(shared=True), keep=states)
    assert list(states[0]["generators"]) == ["data.rng"]
    trained(monkeypatch, made(data="dataset"), keep=states)
    assert list(states[-1]["generators"]) == ["data.rng", "model layers.1.rng"]


# ---------------------------------------------------------------- metrics


@pytest.mark.parametrize(
    "step", [{"compile": False}, {}, {"chunk": 2}, {"chunk": 2, "threads": 2}], ids=str
)
def test_metrics_are_a_mean_over_batches_and_taken_of_validation_data_as_a_whole(step):
    x, y = problem()
    seen = []

    def largest(prediction, target):
        assert type(prediction) is type(target) is np.ndarray
        seen.append((prediction, target))
        return np.abs(prediction - target).max()

    model = tnn.Conv1d(1, 1, 3, padding="same", dtype="float64", rng=0)
    history = tnn.fit(
        model, x, y, loss="mse", optimizer=tnn.SGD(model.parameters(), 0.0), epochs=2,
        batch_size=5, metrics=[largest, "mae"], validation_data=(x, y), progress=False, rng=0,
        **step,
    )  # fmt: skip
    assert list(history.history) == ["loss", "largest", "mae", "val_loss", "val_largest", "val_mae"]
    errors = np.abs(model(x).data - y)
    np.testing.assert_allclose(history.history["val_largest"], errors.max(), rtol=1e-12)
    for name in ("mae", "val_mae"):
        np.testing.assert_allclose(history.history[name], errors.mean(), rtol=1e-12)
    order = np.random.default_rng(0).permutation(len(x))
    pieces = [order[i : i + 5] for i in range(0, len(x), 5)]
    expected = sum(errors[rows].max() * len(rows) for rows in pieces) / len(x)
    assert history.history["largest"][0] == pytest.approx(expected, rel=1e-12)
    for (prediction, target), rows in zip(seen, pieces, strict=False):
        np.testing.assert_array_equal(target, y[rows])
        np.testing.assert_allclose(prediction, model(x[rows]).data, rtol=1e-10, atol=1e-13)


def test_the_model_runs_no_more_often_for_metrics():
    calls = []

    class Counted(tnn.Dense):
        def forward(self, x):
            calls.append(len(x))
            return super().forward(x)

    def run(metrics):
        calls.clear()
        model = Counted(3, 1, rng=0)
        tnn.fit(
            model, np.ones((9, 3)), np.ones((9, 1)), loss="mse", epochs=2, batch_size=4, rng=0,
            optimizer=tnn.SGD(model.parameters(), 0.1), metrics=metrics, progress=False,
        )  # fmt: skip
        return list(calls)

    assert run(["mae"]) == run([])


def test_an_impure_metric_that_writes_to_what_it_is_given_changes_nothing():
    def rude(prediction, target):
        prediction[...] = 0
        target[...] = 0
        return 0.0

    ends = []
    for metrics in ([], [rude]):
        how = made(metrics=metrics, callbacks=[])
        tnn.fit(**how)
        ends.append(how["model"].state_dict())
    np.testing.assert_equal(*ends)


class Figure:
    """A metric that is no function, and has an attribute which functools.partial has, too."""

    func = "largest"

    def __call__(self, prediction, target, scale=1.0):
        return scale * float(np.max(prediction - target))


class Nowhere(Figure):
    __module__ = None


@pytest.mark.parametrize("metric", [Figure(), partial(Figure(), scale=2.0), Nowhere()])
@pytest.mark.parametrize("compile", ["auto", False])
def test_any_callable_may_be_a_metric(metric, compile):
    ends = []
    for metrics in ([], [metric]):
        how = made(metrics=metrics, callbacks=[], compile=compile)
        history = tnn.fit(**how).history
        ends.append(how["model"].state_dict())
    np.testing.assert_equal(*ends)
    (figures,) = (values for name, values in history.items() if name[:3] in ("Fig", "Now"))
    assert np.isfinite(figures).all()


def test_parameters_that_the_optimizer_lacks_are_noted_by_path(tmp_path):
    how = made(callbacks=[], checkpoint=tmp_path / "run", epochs=1)
    assert tnn.fit(**how).notes == []
    model = how["model"]
    first, second = model[0], model[2]
    how |= {"optimizer": tnn.SGD([first.kernel], 0.1), "checkpoint": tmp_path / "other"}
    note = "the optimizer does not hold layers.0.bias, layers.2.kernel, layers.2.bias, which "
    assert tnn.fit(**how).notes == [f"{note}will not change"]
    assert tnn.fit(**how | {"epochs": 2}).notes == [f"{note}will not change"]  # resumed: once
    second.kernel.requires_grad = first.bias.requires_grad = False
    note = "the optimizer does not hold layers.2.bias, which will not change"
    assert tnn.fit(**how | {"checkpoint": None}).notes == [note]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("mae", r'metrics must be a list of names and functions, such as \["accuracy"\]'),
        (["accurancy"], "metrics must be one of .* Did you mean 'accuracy'"),
        ([3], "metrics must be one of"),
        (["mae", "mae"], "two metrics are called 'mae'"),
        ([tnn.losses.get("fit", "mse"), lambda p, t: "good"], "metric <lambda> must be a number"),
        ([lambda p, t: p], "the metric <lambda> must be a number, got an array"),
    ],
)
def test_metrics_are_checked(metrics, message):
    with pytest.raises((TypeError, ValueError), match=f"^fit: .*{message}"):
        tnn.fit(**made(metrics=metrics, callbacks=[]))


def test_a_model_of_several_outputs_has_no_metrics():
    class Pair(tnn.Layer):
        def __init__(self):
            self.body = tnn.Dense(1, 1, rng=0)

        def forward(self, x):
            return self.body(x), self.body(x)

    model = Pair()
    how = {"loss": lambda p, t: tnn.losses.mean_squared_error(p[0], t), "progress": False}
    how |= {"optimizer": tnn.SGD(model.parameters(), 0.1), "epochs": 1}
    x = np.ones((4, 1))
    for compile in ("auto", True):
        tnn.fit(model, x, x, compile=compile, **how)
        with pytest.raises(TypeError, match="metrics are taken of a model's one output, got tuple"):
            tnn.fit(model, x, x, metrics=["mae"], compile=compile, **how)


def test_validation_batches_of_several_lengths_have_no_metrics():
    model = tnn.Conv1d(1, 1, 3, padding="same", rng=0)
    batches = [(np.ones((2, n, 1)), np.ones((2, n, 1))) for n in (5, 6)]
    how = {"loss": "mse", "optimizer": tnn.SGD(model.parameters(), 0.1), "progress": False}
    tnn.fit(model, batches, validation_data=batches, epochs=1, **how)
    with pytest.raises(ValueError, match=r"samples of several shapes: \(5, 1\), \(6, 1\)"):
        tnn.fit(model, batches, validation_data=batches, metrics=["mae"], epochs=1, **how)


def test_names_of_other_libraries_are_hinted_at():
    for wrong, message in (
        ({"verbose": 0}, "fit: there is no argument 'verbose'. It is progress here"),
        ({"criterion": "mse"}, "fit: there is no argument 'criterion'. It is loss here"),
        ({"metric": []}, "fit: there is no argument 'metric'. It is metrics here"),
    ):
        with pytest.raises(TypeError, match=message):
            tnn.fit(**made(), **wrong)
    with pytest.raises(TypeError, match=r"Write fit\(model, x, loss=..., optimizer=..., epochs="):
        tnn.fit(made()["model"], *problem())


# ---------------------------------------------------------------- Ctrl-C


def test_ctrl_c_in_a_thread_ends_the_training_too():
    """No handler can be set there: what a user's code raises is caught."""
    found = []

    def work():
        calls = []

        def loss(prediction, target):
            calls.append(1)
            if len(calls) == 12:
                raise KeyboardInterrupt
            return tnn.losses.mean_squared_error(prediction, target)

        found.append(tnn.fit(**made(loss=loss, callbacks=[])))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (found[0].stopped, found[0].epoch) == ("Ctrl-C", [0])


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_waits_for_a_whole_step_and_raises_when_pressed_again(presses):
    import signal

    how = made(callbacks=[tnn.callbacks.EarlyStopping("val_loss", patience=9)], compile=False)
    before = signal.getsignal(signal.SIGINT)

    def loss(prediction, target):
        if how["optimizer"].iterations == 7:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)
        return tnn.losses.binary_crossentropy(prediction, target)

    how["loss"] = loss
    if presses == 1:
        history = tnn.fit(**how)
        assert (history.stopped, history.epoch) == ("Ctrl-C", [0])
        assert how["optimizer"].iterations == 8  # and its weights are those of the best epoch
        np.testing.assert_equal(how["model"].state_dict(), how["callbacks"][0].weights)
    else:
        with pytest.raises(KeyboardInterrupt, match=r"^$") as caught:
            tnn.fit(**how)
        assert caught.value.history.epoch == [0]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_of_the_users_own_stays():
    import signal

    presses = []
    before = signal.signal(signal.SIGINT, lambda *_: presses.append(1))
    try:
        how = made(callbacks=[lambda epoch, logs: signal.raise_signal(signal.SIGINT)])
        assert len(tnn.fit(**how).epoch) == 6
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(presses) == 6


def test_the_forgotten_axis_of_the_only_channel_is_named():
    model = tnn.Conv1d(1, 1, 3, padding="same", rng=0)
    sgd = tnn.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"Add the axis of the only channel: x\[\.\.\., None\]"):
        tnn.fit(
            model, np.ones((20, 100)), np.ones((20, 100, 1)), loss="mse", optimizer=sgd, epochs=1
        )


def test_a_callback_that_is_in_no_list_is_told_where_to_put_it():
    model = tnn.Dense(2, 1, rng=0)
    sgd = tnn.SGD(model.parameters(), 0.1)
    with pytest.raises(TypeError, match=r"Put it in a list: \[callback\]"):
        tnn.fit(
            *(model, np.ones((4, 2)), np.ones((4, 1))), loss="mse", optimizer=sgd, epochs=1,
            callbacks=tnn.callbacks.EarlyStopping("loss"),
        )  # fmt: skip
