"""Whatever a user changes or brings along, fit gives what its eager steps give."""

from dataclasses import dataclass
from functools import partial
from unittest import mock

import numpy as np
import pytest

import tinynn as tnn

mse = tnn.losses.mean_squared_error
RNG = np.random.default_rng


def data(samples=64):
    x = RNG(0).normal(size=(samples, 6)).astype("float32")
    return x, np.tanh(x[:, :1])


def net(*between, **how):
    first = tnn.Dense(6, 8, activation="tanh", rng=1, **how)
    return tnn.Sequential(first, *between, tnn.Dense(8, 1, rng=2))


def trained(make, **how):
    """Return losses, weights, gradients and what the case counts, of a fit."""
    model, options, seen = make()
    x, y = options.pop("data", data())
    optimizer = options.pop("optimizer", None) or tnn.SGD(model.parameters(), 0.1)
    options = {"loss": mse, "epochs": 6, "batch_size": 16, **options, **how}
    history = tnn.fit(model, x, y, optimizer=optimizer, rng=0, progress=False, **options)
    gradients = [p.grad for p in optimizer.parameters]
    return [
        history.history["loss"],
        *model.state_dict().values(),
        *gradients,
        seen(),
    ], history.eager


def assert_as_eager(make, reason=None):
    (want, _), (got, eager) = trained(make, compile=False), trained(make)
    for a, b in zip(got, want, strict=True):
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert eager is None if reason is None else reason in eager


def nothing():
    return 0


def counts_zero_grad():
    class Counting(tnn.SGD):
        calls = 0

        def zero_grad(self):
            self.calls += 1
            super().zero_grad()

    x, y = data()
    y[3] = np.nan
    weight = np.ones((16, 1), "float32")
    weight[3] = 0  # what is not finite sends the step back to eager code
    model = net()
    optimizer = Counting(model.parameters(), 0.1)
    loss = partial(mse, sample_weight=weight)
    options = {"optimizer": optimizer, "loss": loss, "data": (x, y), "shuffle": False}
    return model, options, lambda: optimizer.calls


def two_dropouts_share_a_generator():
    rng = RNG(3)
    model = net(tnn.Dropout(0.3, rng=rng), tnn.Dense(8, 8, rng=3), tnn.Dropout(0.2, rng=rng))
    return model, {}, rng.random


def dtypes_are_mixed():
    return net(dtype="float64"), {}, nothing


def half_precision_is_mixed_in():
    return net(dtype="float16"), {}, nothing


def a_class_attribute_is_changed():
    class Dropout(tnn.Dropout):
        rate = 0.5

    layer = Dropout(0.5, rng=0)
    del layer.__dict__["rate"]

    def change(epoch, logs):
        Dropout.rate = 0.1 * epoch

    return net(layer), {"callbacks": [change]}, layer.rng.random


def the_optimizer_switches_a_layer():
    layer = tnn.Dropout(0.1, rng=0)
    model = net(layer)

    class Switching(tnn.SGD):
        def step(self):
            super().step()
            layer.rate = 0.1 if self.iterations < 12 else 0.2

    return model, {"optimizer": Switching(model.parameters(), 0.1)}, layer.rng.random


@pytest.mark.parametrize(
    "make",
    [
        counts_zero_grad,
        two_dropouts_share_a_generator,
        dtypes_are_mixed,
        half_precision_is_mixed_in,
        a_class_attribute_is_changed,
        the_optimizer_switches_a_layer,
    ],
)
def test_replayed_steps_are_eager_steps(make):
    assert_as_eager(make)


def a_layer_gets_another_class():
    class Growing(tnn.Dense):
        calls = 0

        def forward(self, x):
            Growing.calls += 1
            return super().forward(x) * (1 + 0.01 * Growing.calls)

    model = net()

    def change(epoch, logs):
        model[0].__class__ = Growing

    return model, {"callbacks": [change]}, lambda: Growing.calls


def a_layer_is_replaced_by_the_users():
    class Odd(tnn.Layer):
        calls = 0

        def forward(self, x):
            Odd.calls += 1
            return x * (Odd.calls % 2 + 1)

    model = net()

    def change(epoch, logs):
        if epoch == 2:
            model.layers.insert(1, Odd())

    return model, {"callbacks": [change]}, lambda: Odd.calls


def a_weight_is_an_object():
    class Weight:
        calls = 0

        def __array__(self, dtype=None, copy=None):
            Weight.calls += 1
            return np.full((16, 1), 1 / Weight.calls, "float32")

    return net(), {"loss": partial(mse, sample_weight=Weight())}, lambda: Weight.calls


def a_generator_counts():
    class Generator(np.random.Generator):
        calls = 0

        def random(self, *args, **kwargs):
            Generator.calls += 1
            return super().random(*args, **kwargs)

    return net(tnn.Dropout(0.3, rng=Generator(np.random.PCG64(0)))), {}, lambda: Generator.calls


def a_parameter_has_its_own_sum():
    class Loud(tnn.Tensor):
        calls = 0

        def __radd__(self, other):
            Loud.calls += 1
            return super().__radd__(other)

    model = net()
    model[0].bias = Loud(np.zeros(8, "float32"), requires_grad=True)
    return model, {}, lambda: Loud.calls


def layers_stand_in_a_list_of_its_own():
    class Flipping(list):
        calls = 0

        def __iter__(self):
            Flipping.calls += 1
            return super().__iter__()

    model = net()
    model.layers = Flipping(model.layers)
    Flipping.calls = 0
    return model, {}, nothing


def attributes_are_counted():
    class Counting(tnn.Dense):
        calls = 0

        def __getattribute__(self, name):
            if name == "bias":
                Counting.calls += 1
            return super().__getattribute__(name)

    return tnn.Sequential(Counting(6, 1, rng=0)), {}, lambda: Counting.calls


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (a_layer_gets_another_class, "Growing.forward"),
        (a_layer_is_replaced_by_the_users, "Odd.forward"),
        (a_weight_is_an_object, "Weight (test_watched.py"),
        (a_generator_counts, "Dropout.rng: Generator (test_watched.py"),
        (a_parameter_has_its_own_sum, "Dense.bias: Loud (test_watched.py"),
        (layers_stand_in_a_list_of_its_own, "Sequential.layers: Flipping (test_watched.py"),
        (attributes_are_counted, "Counting.__getattribute__ (test_watched.py"),
    ],
)
def test_a_part_with_code_of_the_users_is_named(make, reason):
    assert_as_eager(make, reason)


def test_a_method_of_ours_that_was_exchanged_is_called():
    calls = []
    own = tnn.Layer.__call__

    def spying(layer, *args):
        calls.append(layer)
        return own(layer, *args)

    with mock.patch.object(tnn.Layer, "__call__", spying):
        _, eager = trained(lambda: (net(), {}, nothing))
    assert len(calls) == 6 * 4 * 3
    assert "Layer.__call__ (test_watched.py" in eager


@pytest.mark.parametrize(
    "activation", [tnn.flip, partial(tnn.softmax, axis=0)], ids=["flip", "softmax"]
)
def test_what_mixes_the_samples_of_a_batch_is_not_cut(activation):
    def make():
        model = net(tnn.Activation(activation))
        return model, {}, nothing

    (want, _), (got, _) = trained(make, compile=False), trained(make, chunk=4)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_layers_that_come_and_draw_do_so_for_whole_batches():
    def make():
        rng = RNG(0)
        model = tnn.Sequential(tnn.Dense(6, 64, rng=0), tnn.Dense(64, 1, rng=1))

        def come(epoch, logs):
            model.layers[:0] = [tnn.Dropout(0.2, rng=rng)]
            model.layers[2:2] = [tnn.Dropout(0.2, rng=rng)]

        options = {"data": data(20_000), "batch_size": 10_000, "callbacks": [come], "epochs": 2}
        return model, options, rng.random

    assert_as_eager(make)


@pytest.mark.parametrize("mark", [tnn.pure, lambda cls: cls])
def test_models_that_are_equal_are_not_taken_for_each_other(mark):
    @mark
    @dataclass(eq=True)
    class Scaled(tnn.Layer):
        factor: float
        body: tnn.Dense

        def forward(self, x):
            return self.body(x) * self.factor

        def __hash__(self):
            return 0

        def __eq__(self, other):
            return True

    x, _ = data()
    for factor in (1.0, 2.0):
        body = tnn.Dense(6, 1, rng=0)
        found = tnn.predict(Scaled(factor, body), x, batch_size=8)
        np.testing.assert_allclose(found, factor * body(x).numpy(), rtol=1e-5)


def test_a_part_that_is_exchanged_between_pushes_is_run():
    class Doubling(tnn.Layer):
        calls = 0

        def forward(self, x):
            Doubling.calls += 1
            return x * 2

        def reach(self):
            return 1, 0, 0

    model = tnn.Sequential(tnn.Conv1d(1, 1, 3, padding="same", rng=0))
    stream, x = tnn.stream(model), np.ones((4, 1), "float32")
    for _ in range(4):
        stream.push(x)
    model.layers.append(Doubling())
    for _ in range(4):
        stream.push(x)
    assert Doubling.calls == 4


def test_the_reason_names_what_kept_changing_and_where_a_recording_failed():
    layer = tnn.Dropout(0.1, rng=0)

    def change(epoch, logs):
        layer.rate = 0.01 * epoch

    _, eager = trained(lambda: (net(layer), {"callbacks": [change]}, nothing), epochs=30)
    assert eager.endswith("at last Dropout.rate")

    @tnn.pure
    def loss(prediction, target):
        return mse(prediction, np.nan_to_num(target))

    _, eager = trained(lambda: (net(), {"loss": loss}, nothing))
    assert "(test_watched.py, line" in eager
    assert "in loss)" in eager


def test_two_predictions_of_one_model_at_a_time():
    from concurrent.futures import ThreadPoolExecutor

    model = tnn.Sequential(tnn.Conv1d(2, 4, 5, padding="same", rng=0)).eval()
    xs = [RNG(i).normal(size=(64, 128, 2)).astype("float32") for i in range(4)]
    want = [model(x).numpy() for x in xs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: tnn.predict(model, xs[i % 4], batch_size=4), range(40)))
    for i, y in enumerate(found):
        np.testing.assert_allclose(y, want[i % 4], rtol=1e-4, atol=1e-5)
