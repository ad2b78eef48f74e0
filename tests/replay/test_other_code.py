"""Other people's code runs between steps and beside them: what it changes is seen at once."""

import numpy as np
import pytest

import tinynn as tnn

X = np.random.default_rng(0).normal(size=(64, 6, 2)).astype("float32")
Y = np.tanh(X.sum(axis=2, keepdims=True))


def network():
    return tnn.Sequential(
        tnn.Conv1d(2, 4, 3, padding="same", activation="relu", rng=0),
        tnn.Dropout(0.5, rng=1),
        tnn.BatchNorm(4),
        tnn.Dense(4, 1, rng=2),
    )


def freeze(model):
    model[0].kernel.requires_grad = False


def keep_all(model):
    model[1].rate = 0.0


def evaluate(model):
    model[2].training = False


def exchange(model):
    model.layers[0] = tnn.Conv1d(2, 4, 3, padding="same", rng=9)


CHANGES = [freeze, keep_all, evaluate, exchange]


class AtBatch(tnn.Callback):
    def __init__(self, change, at):
        self.change, self.at = change, at

    def on_batch_end(self, batch, logs):
        if batch == self.at:
            self.change(self.model)


class Batches:
    def __init__(self, model, change, at):
        self.model, self.change, self.at = model, change, at

    def __len__(self):
        return 16

    def __iter__(self):
        for i in range(16):
            if i == self.at:
                self.change(self.model)
            yield X[4 * i : 4 * i + 4], Y[4 * i : 4 * i + 4]


def trained(compile, change, where):
    model, seen = network(), []

    def metric(prediction, target):
        seen.append(0)
        if len(seen) == 6:
            change(model)
        return 0.0

    options = {"rng": 0, "batch_size": 4}
    data = (X, Y)
    if where == "callback":
        options["callbacks"] = [AtBatch(change, 5)]
    elif where == "metric":
        options["metrics"] = [metric]
    else:
        options, data = {}, (Batches(model, change, 6),)
    history = tnn.fit(
        model, *data, loss="mean_squared_error", optimizer=tnn.SGD(model.parameters(), 0.1),
        epochs=1, progress=False, compile=compile, **options,
    )  # fmt: skip
    return [*history.history["loss"], *(value for value in model.state_dict().values())]


@pytest.mark.parametrize("where", ["callback", "metric", "dataset"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_change_in_the_middle_of_an_epoch_is_seen_at_the_next_step(change, where):
    for now, eager in zip(
        trained("auto", change, where), trained(False, change, where), strict=True
    ):
        np.testing.assert_allclose(now, eager, rtol=2e-4, atol=2e-6)


def test_debug_that_begins_within_a_training_is_heard():
    class Begin(tnn.Callback):
        def on_batch_end(self, batch, logs):
            if batch == 2:
                self.debug = tnn.debug()
                self.debug.__enter__()
            if batch == 4:
                self.model[0].kernel.data = self.model[0].kernel.data * np.nan

        def on_train_end(self):
            self.debug.__exit__(None, None, None)

    model, begin = network(), Begin()
    with pytest.raises(FloatingPointError, match=r"layers\.0"):
        tnn.fit(
            model, X, Y, loss="mean_squared_error", optimizer=tnn.SGD(model.parameters(), 0.1),
            epochs=1, batch_size=4, progress=False, callbacks=[begin],
        )  # fmt: skip
    begin.debug.__exit__(None, None, None)


class Gate(tnn.Layer):
    """Keeps an intermediate result where another thread would overwrite it."""

    per_sample = True

    def __init__(self):
        self.a = tnn.Conv1d(1, 8, 9, padding="same", rng=0)
        self.b = tnn.Conv1d(8, 1, 9, padding="same", rng=1)

    def forward(self, x):
        self.h = tnn.relu(self.a(x))
        gate = tnn.tanh(self.h)
        return self.b(self.h * gate)

    def reach(self):
        return 1, 8, 8


@pytest.mark.parametrize("marked", [False, True])
def test_layers_that_keep_something_take_turns(marked):
    class Own(Gate):
        forward = Gate.forward
        reach = Gate.reach

    model = (tnn.pure(Own) if marked else Own)()
    x = np.random.default_rng(0).normal(size=(400_000, 1)).astype("f")
    alone = tnn.predict(model, x, threads=1, piece_length=2_000)
    for _ in range(4):
        together = tnn.predict(model, x, threads=4, piece_length=2_000)
        np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("pool", [tnn.GlobalMaxPool1d, tnn.GlobalAvgPool1d])
def test_a_model_that_ends_in_a_global_pool_is_replayed(pool):
    model = tnn.Sequential(tnn.Conv1d(2, 4, 3, rng=0), pool(), tnn.Dense(4, 1, rng=1))
    history = tnn.fit(
        model, X, Y[:, 0], loss="mean_squared_error", optimizer=tnn.SGD(model.parameters(), 0.1),
        epochs=1, progress=False,
    )  # fmt: skip
    assert history.eager is None
