"""Callbacks: when they are called, what they change, and that their state is all they depend on."""

import csv
import os
import warnings

import numpy as np
import pytest

import tinynn as tnn
from tinynn import callbacks as cb
from tinynn.training.history import History


def problem(n=24):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    return x, (x @ [[1.0], [-2.0], [0.5]]).astype(np.float32)


def how(model, rate=0.1, **more):
    sgd = tnn.SGD(model.parameters(), rate)
    return {"loss": "mean_squared_error", "optimizer": sgd, "progress": False, "rng": 0, **more}


def train(*callbacks, epochs=3, batch_size=8, rate=0.1, **more):
    model = tnn.Dense(3, 1, rng=0)
    arguments = how(model, rate, **more)
    history = tnn.fit(
        model, *problem(), epochs=epochs, batch_size=batch_size, callbacks=callbacks, **arguments
    )
    return model, arguments["optimizer"], history


class Feed(tnn.Callback):
    """Adds figures to the logs, one an epoch, and moves the model so that epochs differ."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs):
        if self.values[epoch] is not None:
            logs[self.name] = self.values[epoch]
        self.model.bias.data = np.array([epoch], np.float32)


class Spy(tnn.Callback):
    def __init__(self):
        self.calls = []

    def on_train_begin(self):
        self.calls.append(("train begins", self.model, self.optimizer, self.history))

    def on_epoch_begin(self, epoch):
        self.calls.append(("epoch begins", epoch))

    def on_batch_end(self, batch, logs):
        self.calls.append(("batch", batch, dict(logs)))

    def on_epoch_end(self, epoch, logs):
        self.calls.append(("epoch ends", epoch, dict(logs)))

    def on_train_end(self):
        self.calls.append(("train ends",))


def test_each_method_is_called_in_turn_and_with_the_figures_so_far():
    spy = Spy()
    model, optimizer, history = train(spy, epochs=2, metrics=["mae"])
    assert spy.calls[0] == ("train begins", model, optimizer, history)
    order = ["epoch begins", "batch", "batch", "batch", "epoch ends"]
    assert [call[0] for call in spy.calls[1:]] == [*order, *order, "train ends"]
    assert [call[1] for call in spy.calls[1:6]] == [0, 0, 1, 2, 0]
    assert spy.calls[4][2] == spy.calls[5][2] == {n: v[0] for n, v in history.history.items()}


def test_what_a_callback_adds_is_seen_by_later_ones_and_kept():
    seen = []
    _, _, history = train(
        Feed("norm", [1.0, None, np.float32(3)]), lambda epoch, logs: seen.append(logs.get("norm"))
    )
    assert seen == [1.0, None, 3.0]
    np.testing.assert_array_equal(history.history["norm"], [1, np.nan, 3])


@pytest.mark.parametrize(
    "yes", [True, np.True_, 1, "enough", np.array([2.0]), np.array(True), tnn.Tensor([1.0])]
)
@pytest.mark.parametrize("where", ["function", "on_epoch_end", "on_batch_end"])
def test_a_truthy_answer_ends_the_training(yes, where):
    hook = lambda *_: yes  # noqa: E731
    if where != "function":
        hook = type("Ending", (tnn.Callback,), {where: lambda *_: yes})()
    spy = Spy()
    _, _, history = train(hook, spy)
    assert history.epoch == [0]
    assert history.stopped == ("<lambda>" if where == "function" else "Ending")
    assert [call[0] for call in spy.calls].count("batch") == (1 if where == "on_batch_end" else 3)
    assert [call[0] for call in spy.calls][-2:] == ["epoch ends", "train ends"]


@pytest.mark.parametrize("no", [None, False, np.False_, 0, np.array([0.0]), tnn.Tensor([0.0])])
def test_another_answer_does_not(no):
    assert len(train(lambda epoch, logs: no)[2].epoch) == 3


@pytest.mark.parametrize("answer", [np.ones(2), np.zeros(0), tnn.Tensor(np.ones((2, 2)))])
def test_an_answer_that_is_no_truth_is_said(answer):
    with pytest.raises(TypeError, match=r"(?s)the callback <lambda> returned .* neither true"):
        train(lambda epoch, logs: answer)


def test_an_exception_carries_the_history():
    def failing(epoch, logs):
        if epoch == 1:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine") as caught:
        train(failing)
    assert caught.value.history.epoch == [0, 1]
    assert caught.value.history.eager is None or "replay" in caught.value.history.eager


def test_figures_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match=r"fit: logs: 'note' must be a number, got 'good'"):
        train(lambda epoch, logs: logs.update(note="good"))


# ---------------------------------------------------------------- early stopping

CURVES = [
    [3, 2, 1, 2, 3, 4, 5, 6],
    [1, 1, 1, 1, 1, 1, 1, 1],
    [3, 2.9, 2.8, 2.7, 2.6, 2.5, 2.4, 2.3],
    [1, 2, 0.5, 3, 0.4, 3, 3, 3],
    [5, 4, 4, 4, 3, 3, 3, 3],
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("curve", CURVES, ids=str)
@pytest.mark.parametrize("patience", [0, 1, 2, 3])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("min_delta", [0.0, 0.5])
@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_is_keras(curve, patience, mode, min_delta, restore_best):
    keras = keras_or_skip()
    their = keras.callbacks.EarlyStopping(
        "figure", min_delta, patience, mode=mode, restore_best_weights=restore_best
    )
    their.set_model(FakeModel())
    their.on_train_begin()
    for epoch, value in enumerate(curve):
        their.model.epoch = epoch
        their.on_epoch_end(epoch, {"figure": value})
        if their.model.stop_training:
            break
    their.on_train_end()
    stopping = cb.EarlyStopping("figure", mode, patience, min_delta, restore_best)
    model, _, history = train(Feed("figure", curve), stopping, epochs=len(curve), rate=0.0)
    assert len(history.epoch) == epoch + 1
    assert model.bias.item() == their.model.epoch
    assert history.stopped == ("EarlyStopping" if their.model.stop_training else None)


class FakeModel:
    """What Keras's callbacks ask of a model; its only weight is the epoch."""

    stop_training, epoch, metrics = False, 0, ()

    def get_weights(self):
        return self.epoch

    def set_weights(self, epoch):
        self.epoch = epoch


def keras_or_skip():
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras")


def test_best_weights_are_restored_when_the_epochs_run_out():
    model, _, history = train(Feed("f1", [1, 3, 2]), cb.EarlyStopping("f1", patience=9), rate=0.0)
    assert history.stopped is None
    assert model.bias.item() == 1


@pytest.mark.parametrize(
    ("monitor", "rises"),
    [("val_accuracy", True), ("event_F1", True), ("auc", True), ("val_loss", False), ("x", False)],
)
def test_mode_auto_knows_what_is_better_when_larger(monitor, rises):
    stopping = cb.EarlyStopping(monitor)
    better = [stopping._improved(0, {monitor: v}) for v in (1.0, 2.0, 0.5)]
    assert better == [True, rises, not rises]


def test_a_figure_that_is_not_finite_is_no_improvement_and_is_said(capsys):
    curve = [np.nan, 1.0, np.nan, np.inf, 0.9]
    stopping = cb.EarlyStopping("f1", patience=3)
    model, _, history = train(Feed("f1", curve), stopping, epochs=5, rate=0.0, progress=True)
    assert len(history.epoch) == 5
    assert model.bias.item() == 1
    note = "epoch 3: EarlyStopping follows f1, which is nan: no improvement"
    assert history.notes[1] == note
    assert len(history.notes) == 3
    assert note in capsys.readouterr().err


@pytest.mark.parametrize("kind", [cb.EarlyStopping, cb.ReduceOnPlateau])
def test_a_monitored_name_that_is_not_there_is_said_with_those_that_are(kind):
    message = r"monitor must be one of .*'loss', 'mae', got 'val_los'"
    with pytest.raises(ValueError, match=f"{kind.__name__}: {message}"):
        train(kind("val_los"), metrics=["mae"])


@pytest.mark.parametrize("kind", [cb.EarlyStopping, cb.SaveBest, cb.ReduceOnPlateau])
def test_a_figure_of_validation_data_that_are_not_there_asks_for_them(kind, tmp_path):
    made = kind(tmp_path / "best.npz") if kind is cb.SaveBest else kind()
    message = r"one of .*'loss', got 'val_loss'\. .*give fit validation_data or validation_split"
    with pytest.raises(ValueError, match=f"{kind.__name__}: monitor must be {message}"):
        train(made)


def test_an_epoch_without_the_figure_does_not_count():
    evaluate = cb.Evaluate(lambda model: {"f1": 1.0}, every=2)
    _, _, history = train(evaluate, cb.EarlyStopping("f1", patience=2), epochs=9)
    assert len(history.epoch) == 5
    np.testing.assert_array_equal(history.history["f1"], [1, np.nan, 1, np.nan, 1])


# ---------------------------------------------------------------- reduce on plateau


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("curve", CURVES, ids=str)
@pytest.mark.parametrize("patience", [0, 1, 2])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("min_delta", [0.0, 1e-4, 0.5])
def test_reduce_on_plateau_is_keras(curve, patience, mode, min_delta):
    keras = keras_or_skip()
    their = keras.callbacks.ReduceLROnPlateau(
        "figure", 0.5, patience, mode=mode, min_delta=min_delta, min_lr=0.02
    )
    model = FakeModel()
    model.optimizer = type("Fake", (), {"learning_rate": keras.Variable(0.1)})()
    their.set_model(model)
    their.on_train_begin()
    expected = []
    for epoch, value in enumerate(curve):
        logs = {"figure": value}
        their.on_epoch_end(epoch, logs)
        expected.append(logs["learning_rate"])
    reducing = cb.ReduceOnPlateau("figure", mode, 0.5, patience, min_delta, 0.02)
    _, _, history = train(Feed("figure", curve), reducing, epochs=len(curve))
    np.testing.assert_allclose(history.history["learning_rate"], expected, rtol=1e-6)


def test_rates_of_groups_are_reduced_too_and_schedules_are_refused():
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    groups = [{"parameters": [model.kernel], "learning_rate": 0.4}, {"parameters": [model.bias]}]
    sgd = tnn.SGD(groups, 0.1)
    arguments = how(model, optimizer=sgd, epochs=2)
    reducing = cb.ReduceOnPlateau("x", patience=0, factor=0.5)
    tnn.fit(model, x, y, callbacks=[Feed("x", [1, 1]), reducing], **arguments)
    assert [group.learning_rate for group in sgd.groups] == [0.2, 0.05]
    sgd.learning_rate = 0.3
    assert sgd.groups[1].learning_rate == 0.3
    sgd.learning_rate = tnn.schedules.constant(0.1)
    with pytest.raises(TypeError, match=r"ReduceOnPlateau: .*rate is a schedule"):
        tnn.fit(model, x, y, callbacks=[cb.ReduceOnPlateau("loss")], **arguments)


# ---------------------------------------------------------------- files


def test_save_best_holds_the_best_epoch(tmp_path):
    path = tmp_path / "best.npz"
    train(Feed("x", [3, 1, 2]), cb.SaveBest(path, "x"), rate=0.0)
    other = tnn.Dense(3, 1, rng=1)
    tnn.load(path, other)
    assert other.bias.item() == 1


def test_csv_logger_writes_what_the_history_holds(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("something old")
    _, _, history = train(Feed("x", [None, 2.5, None]), cb.CSVLogger(path), metrics=["mae"])
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "mae", "x"]
    assert [float(row["mae"]) for row in rows] == history.history["mae"]
    assert [row["x"] for row in rows] == ["", "2.5", ""]


def test_csv_logger_drops_what_an_interrupted_run_wrote_beyond_its_state(tmp_path):
    logger = cb.CSVLogger(tmp_path / "log.csv")
    logger.on_epoch_end(0, {"loss": 1.0})
    state = logger.state_dict()
    logger.on_epoch_end(1, {"loss": 2.0})
    again = cb.CSVLogger(tmp_path / "log.csv")
    again.load_state_dict(state)
    again.on_epoch_end(1, {"loss": 3.0})
    assert (tmp_path / "log.csv").read_text() == "epoch,loss\n0,1.0\n1,3.0\n"


# ---------------------------------------------------------------- evaluate


def test_evaluate_runs_first_in_evaluation_mode_without_a_tape():
    seen = []

    def f(model):
        seen.append((model.training, model(problem()[0]).requires_grad))
        return {"f1": np.float32(0.5)}

    first = []
    _, _, history = train(
        lambda epoch, logs: first.append(logs.get("f1")), cb.Evaluate(f, every=2), epochs=4
    )
    assert seen == [(False, False)] * 2
    assert history.history["f1"][::2] == [0.5, 0.5]
    assert first == [0.5, None, 0.5, None]


def failing_first(epoch, logs):
    raise AssertionError("not reached")


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda model: 0.5, TypeError, r"must return a dict of numbers by name.*got 0\.5"),
        (lambda model: {"f1": "good"}, TypeError, "Evaluate: f1 must be a number, got 'good'"),
        (lambda model: {1: 0.5}, TypeError, "must return a dict"),
        (lambda model: {"loss": 0.5}, ValueError, "the logs hold 'loss' already"),
    ],
)
def test_evaluate_refuses(f, error, message):
    with pytest.raises(error, match=message):
        train(cb.Evaluate(f), failing_first)


# ---------------------------------------------------------------- state and refusals


@pytest.mark.parametrize(
    "make",
    [
        lambda: cb.EarlyStopping("x", patience=2),
        lambda: cb.ReduceOnPlateau("x", patience=1, factor=0.5),
    ],
)
@pytest.mark.parametrize("curve", [*CURVES, [np.nan, 3, 2, 2, 2, 2, 2, 2]], ids=str)
def test_a_state_is_all_that_a_callback_depends_on(make, curve):
    expected = train(Feed("x", curve), make(), epochs=8)
    for cut in range(1, 7):
        model = tnn.Dense(3, 1, rng=0)
        optimizer = how(model)["optimizer"]
        first, answers = make(), []
        for part in (range(cut), range(cut, 8)):
            if part.start:
                state, first = first.state_dict(), make()
            first.model, first.optimizer, first.history = model, optimizer, History()
            if part.start:
                first.load_state_dict(state)
            for epoch in part:
                answers.append(first.on_epoch_end(epoch, {"x": curve[epoch]}))
                if answers[-1]:
                    break
            if answers[-1]:
                break
        assert len(answers) == len(expected[2].epoch)
        assert optimizer.learning_rate == expected[1].learning_rate


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: cb.EarlyStopping(patience=-1), ValueError, "patience must be a non-negative"),
        (lambda: cb.EarlyStopping(mode="up"), ValueError, "mode must be one of 'auto', 'max', 'm"),
        (lambda: cb.EarlyStopping(3), TypeError, "EarlyStopping: monitor must be a name"),
        (
            lambda: cb.EarlyStopping(restore_best_weights=True),
            TypeError,
            "no argument 'restore_best_weights'. It is restore_best here",
        ),
        (lambda: cb.ReduceOnPlateau(factor=1.0), ValueError, "factor must be .* below 1"),
        (lambda: cb.ReduceOnPlateau(min_lr=0), TypeError, "It is min_learning_rate here"),
        (lambda: cb.Evaluate({}), TypeError, "Evaluate: give a function of the model"),
        (lambda: cb.Evaluate(len, every=0), ValueError, "every must be a positive integer"),
        (lambda: cb.SaveBest(3), TypeError, "SaveBest: path must be a path"),
        (lambda: cb.CSVLogger("no/such/folder/x"), FileNotFoundError, "there is no folder"),
        (lambda: cb.CSVLogger(), TypeError, r"Write CSVLogger\(path, ...\)"),
    ],
)
def test_wrong_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([cb.EarlyStopping], r"EarlyStopping is a class. Give an object: EarlyStopping\(\.\.\.\)"),
        (cb.EarlyStopping(), "callbacks must be a list of functions"),
        (["stop"], "callbacks must be a list of functions"),
        ("stop", "callbacks must be a list of functions"),
        ([cb.CSVLogger("x")] * 2, "one is listed twice"),
    ],
)
def test_fit_refuses(given, message):
    model = tnn.Dense(3, 1, rng=0)
    with pytest.raises((TypeError, ValueError), match=message):
        tnn.fit(model, *problem(), epochs=1, callbacks=given, **how(model))


@pytest.mark.parametrize(
    ("monitor", "rises"),
    [
        ("val_precision", True),
        ("recall", True),
        ("average_precision", True),
        ("val_r2", True),
        ("val_auc", True),
        ("val_loss", False),
        ("root_mean_squared_error", False),
    ],
)
def test_auto_knows_which_way_the_metrics_of_tinynn_are_better(monitor, rises):
    stopping = tnn.callbacks.EarlyStopping(monitor, patience=1)
    stopping.model = tnn.Dense(1, 1, rng=0)
    stopping.on_train_begin()
    stopping.on_epoch_end(0, {monitor: 0.5})
    stopping.on_epoch_end(1, {monitor: 0.6})
    assert stopping.best == (0.6 if rises else 0.5)


@pytest.mark.parametrize("make", [cb.SaveBest, cb.CSVLogger])
def test_a_folder_in_the_place_of_a_file_is_refused_at_once(make, tmp_path):
    with pytest.raises(ValueError, match=rf"{make.__name__}: .* is a folder, not a file"):
        make(tmp_path)
