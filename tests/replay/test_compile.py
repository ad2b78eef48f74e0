"""A compiled function does what the function does, only without running it."""

import gc
import re
import weakref

import numpy as np
import pytest

import tinynn as tnn
from tinynn import NotReplayable

RNG = np.random.default_rng


def conv_net(seed=0, padding="same", **options):
    rng = RNG(seed)
    return tnn.Sequential(
        tnn.Conv1d(2, 5, 4, padding=padding, activation="relu", rng=rng, **options),
        tnn.Conv1d(5, 3, 3, padding=padding, activation="tanh", rng=rng),
        tnn.Conv1d(3, 1, 5, padding=padding, rng=rng),
    )


def shifted_net(seed=0):
    """Activations that do, and do not, keep zeros zero, between convolutions that pad."""
    rng = RNG(seed)
    return tnn.Sequential(
        tnn.Conv1d(2, 4, 5, padding="same", activation=lambda x: 2 * x + 1, rng=rng),
        tnn.Conv1d(4, 4, 5, padding="causal", activation=lambda x: tnn.minimum(x, 0.5), rng=rng),
        tnn.Conv1d(4, 4, 3, padding="same", activation=lambda x: tnn.maximum(x, 0.1), rng=rng),
        tnn.Conv1d(4, 1, 3, padding="same", activation=lambda x: x / (1 + x * x), rng=rng),
    )


def pooled_net(seed=0):
    rng = RNG(seed)
    return tnn.Sequential(
        tnn.Conv1d(2, 4, 5, padding="same", activation="gelu", rng=rng),
        tnn.MaxPool1d(2),
        tnn.Conv1d(4, 3, 3, strides=2, dilation_rate=2, padding="causal", rng=rng),
        tnn.Activation("elu"),
        tnn.GlobalAvgPool1d(),
        tnn.Dense(3, 1, rng=rng),
    )


def grouped_net(seed=0):
    rng = RNG(seed)
    return tnn.Sequential(
        tnn.Conv1d(2, 4, 3, groups=2, padding_mode="reflect", padding=(2, 1), rng=rng),
        tnn.AvgPool1d(3, strides=2, padding="same"),
        tnn.Conv1d(4, 1, 2, padding="same_lower", activation="leaky_relu", rng=rng),
        tnn.GlobalMaxPool1d(),
    )


def dense_net(seed=0):
    rng = RNG(seed)
    return tnn.Sequential(
        tnn.Flatten(),
        tnn.Dense(40, 8, activation="silu", rng=rng),
        tnn.Dense(8, 1, activation="softplus", rng=rng),
    )


def sgd(parameters):
    return tnn.SGD(parameters, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01)


OPTIMIZERS = {
    "sgd": lambda p: tnn.SGD(p, 0.05),
    "momentum": sgd,
    "adam": lambda p: tnn.Adam(p, 0.01, weight_decay=0.001),
}
MODELS = {
    "conv": conv_net,
    "valid": lambda: conv_net(padding="valid"),
    "full": lambda: conv_net(padding=(2, 2)),
    "causal": lambda: conv_net(padding="causal", use_bias=False),
    "double": lambda: conv_net(dtype="float64"),
    "shifted": shifted_net,
    "pooled": pooled_net,
    "grouped": grouped_net,
    "dense": dense_net,
}


def batches(model, count, n=6, seed=1):
    rng = RNG(seed)
    for _ in range(count):
        x = rng.normal(size=(n, 20, 2))
        shape = tnn.predict(model, x).shape
        yield x.astype("float32"), rng.integers(0, 2, shape).astype("float32")


def trainer(model, optimizer, max_norm=None):
    def step(x, y):
        optimizer.zero_grad()
        prediction = model(x)
        loss = tnn.losses.binary_crossentropy(prediction, y, from_logits=True)
        loss.backward()
        norm = tnn.clip_grad_norm(model.parameters(), max_norm) if max_norm else None
        optimizer.step()
        return {"loss": loss.item(), "prediction": prediction.detach(), "norm": norm}

    return step


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_training_step_equals_the_eager_one(name, optimizer):
    models = [MODELS[name](), MODELS[name]()]
    optimizers = [OPTIMIZERS[optimizer](m.parameters()) for m in models]
    eager, step = trainer(models[0], optimizers[0]), trainer(models[1], optimizers[1])
    compiled = tnn.compile(step)
    for x, y in batches(models[0], 7):
        expected, got = eager(x, y), compiled(x, y)
        assert_close(got["loss"], expected["loss"])
        assert_close(got["prediction"].numpy(), expected["prediction"].numpy())
        for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
            assert_close(q.grad, p.grad)
            assert_close(q.numpy(), p.numpy())
    ours, theirs = optimizers[1].state_dict(), optimizers[0].state_dict()
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert ours[key] == value if isinstance(value, str) else True
        if not isinstance(value, str):
            assert_close(ours[key], value)


def counted(f):
    def wrapped(*args):
        wrapped.calls += 1
        return f(*args)

    wrapped.calls = 0
    return wrapped


def test_the_function_itself_no_longer_runs():
    model = conv_net()
    step = counted(trainer(model, sgd(model.parameters())))
    compiled = tnn.compile(step)
    for x, y in batches(model, 10):
        compiled(x, y)
    assert step.calls == 5  # recorded, on Tensors and on arrays; verified at calls 2, 4 and 8


def test_clipping_is_replayed_whether_it_bites_or_not():
    models = [conv_net(), conv_net()]
    steps = [trainer(m, sgd(m.parameters()), max_norm=0.3) for m in models]
    compiled = tnn.compile(steps[1])
    norms = []
    for i, (x, y) in enumerate(batches(models[0], 8)):
        expected, got = steps[0](x * i, y), compiled(x * i, y)
        assert_close(got["norm"], expected["norm"])
        norms.append(expected["norm"])
    assert min(norms) < 0.3 < max(norms)
    assert_close(models[1][0].kernel.numpy(), models[0][0].kernel.numpy())


def test_a_changed_learning_rate_takes_effect():
    w = tnn.Tensor([1.0], requires_grad=True)
    optimizer = tnn.SGD([w], 0.1)

    @tnn.compile
    def step(x):
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    for x in (1.0, 2.0, 3.0):
        step(np.array([x]))
    before = w.item()
    optimizer.learning_rate = 10.0
    step(np.array([1.0]))
    assert w.item() == pytest.approx(before - 10)


def test_gradients_add_up_without_zero_grad():
    w = tnn.Tensor([2.0], requires_grad=True)

    @tnn.compile
    def add(x):
        (w * x).sum().backward()

    total = 0.0
    for x in (1.0, 2.0, 3.0, 4.0, 5.0):
        add(np.array([x]))
        total += x
        assert w.grad.tolist() == [total]


def test_each_shape_and_dtype_is_recorded_for_itself():
    f = counted(lambda x: tnn.exp(tnn.Tensor(x)).sum())
    compiled = tnn.compile(f)
    for _ in range(3):
        for x in (np.ones(2), np.zeros(3), np.ones(3, "float32")):
            y = compiled(x * RNG(f.calls).normal())
            assert y.dtype == x.dtype
    assert f.calls == 9  # at the first of three calls twice, and at the second


def test_only_so_many_programs_are_kept():
    compiled = tnn.compile(lambda x: tnn.Tensor(x) * 2)
    for n in range(1, 30):
        for i in range(3):
            assert compiled(np.full(n, i)).tolist() == [2 * i] * n
    assert len(compiled._plans._plans) <= 8


def test_random_numbers_are_drawn_anew_and_as_the_eager_function_draws_them():
    layers = [tnn.Dropout(0.5, rng=3) for _ in range(2)]
    compiled = tnn.compile(lambda x: layers[1](x))
    seen = set()
    for i in range(6):
        x = np.arange(1.0, 41) + i
        expected, got = layers[0](x).numpy(), compiled(x).numpy()
        assert got.tolist() == expected.tolist()
        seen.add(tuple(got == 0))
    assert len(seen) == 6


def test_evaluation_mode_is_noticed():
    layer = tnn.Dropout(0.5, rng=3)
    compiled = tnn.compile(lambda x: layer(x))
    for i in range(3):
        compiled(np.arange(1.0, 41) + i)
    layer.eval()
    assert compiled(np.arange(1.0, 41)).numpy().tolist() == list(range(1, 41))
    layer.train()
    assert 0 in compiled(np.arange(1.0, 41)).numpy()


def test_parameters_changed_from_outside_take_effect():
    model = tnn.Dense(2, 1, rng=0, dtype="float64")
    optimizer = tnn.SGD(model.parameters(), 0.0)

    @tnn.compile
    def step(x):
        optimizer.zero_grad()
        y = model(x).sum()
        y.backward()
        optimizer.step()
        return y.item()

    def changes():
        yield lambda: model.kernel.data.__setitem__(..., 5.0)
        yield lambda: setattr(model.kernel, "data", np.array([[1.0], [2.0]]))
        yield lambda: model.load_state_dict({"kernel": np.ones((2, 1)), "bias": [7.0]})
        yield lambda: setattr(model, "kernel", tnn.Tensor([[3.0], [4.0]], requires_grad=True))

    for i in range(3):
        step(np.full((1, 2), float(i)))
    x = np.array([[1.0, 10.0]])
    for change in changes():
        change()
        for _ in range(2):
            assert step(x) == pytest.approx(model(x).item())
            x = x + 1


def test_data_handed_out_are_a_snapshot_that_training_does_not_touch():
    model = conv_net()
    compiled = tnn.compile(trainer(model, sgd(model.parameters())))
    for x, y in batches(model, 4):
        data, copy = model[0].kernel.data, model[0].kernel.numpy()
        grad = model[0].kernel.grad
        kept = None if grad is None else grad.copy()
        compiled(x, y)
        assert np.array_equal(data, copy)
        assert kept is None or np.array_equal(grad, kept)
        assert not np.array_equal(model[0].kernel.numpy(), copy)


def test_a_pending_eager_graph_keeps_the_values_it_was_computed_on():
    w = tnn.Tensor([3.0], requires_grad=True)
    optimizer = tnn.SGD([w], 1.0)

    @tnn.compile
    def step(x):
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    for i in range(3):
        step(np.array([0.1 * i]))
    before = w.item()
    pending = (w * w).sum()
    step(np.array([1.0]))
    optimizer.zero_grad()
    pending.backward()
    assert w.grad.tolist() == [2 * before]


def test_an_optimizer_goes_on_eagerly_and_compiled_alike():
    models = [conv_net(), conv_net()]
    optimizers = [sgd(m.parameters()) for m in models]
    steps = [trainer(m, o) for m, o in zip(models, optimizers, strict=True)]
    compiled = tnn.compile(steps[1])
    for i, (x, y) in enumerate(batches(models[0], 12)):
        steps[0](x, y)
        (compiled if i % 4 else steps[1])(x, y)
        if i == 8:
            state = optimizers[1].state_dict()
            compiled(x, y)
            optimizers[1].load_state_dict(state)
            models[1].load_state_dict(models[0].state_dict())
    assert optimizers[1].iterations == optimizers[0].iterations == 12
    assert_close(models[1][2].kernel.numpy(), models[0][2].kernel.numpy())


def test_numpy_on_arguments_and_gradients_is_recorded_too():
    w = tnn.Tensor(np.ones(3), requires_grad=True)

    @tnn.compile
    def step(x):
        w.grad = None
        scaled = np.abs(x[:, 0] - 0.5) / np.sum(np.square(x))
        (w * scaled).sum().backward()
        w.data = w.data - 0.5 * w.grad
        return scaled

    expected = np.ones(3)
    for i in range(5):
        x = RNG(i).normal(size=(3, 2))
        scaled = np.abs(x[:, 0] - 0.5) / np.sum(np.square(x))
        expected = expected - 0.5 * scaled
        assert_close(step(x), scaled)
        assert_close(w.numpy(), expected)


def test_a_closed_over_array_may_change_in_place():
    offset = np.zeros(2)
    compiled = tnn.compile(lambda x: tnn.Tensor(x) + offset)
    for i in range(3):
        compiled(np.full(2, float(i)))
    offset[:] = 7
    assert compiled(np.ones(2)).tolist() == [8, 8]


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
def test_a_bias_of_another_dtype_is_added_as_numpy_adds_it(dtype):
    x, k = RNG(0).normal(size=(2, 40, 1)), RNG(1).normal(size=(5, 1, 2))
    kernel = tnn.Tensor(k.astype("float32"), requires_grad=True)
    bias = np.array([16_777_217, -3]).astype(dtype)  # 2**24 + 1 is no float32

    def f(x):
        return tnn.conv1d(x, kernel, bias, padding="same").detach()

    compiled = tnn.compile(f)
    for i in range(4):
        given = (x + i).astype("float32")
        expected, found = f(given), compiled(given)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)
        if dtype != "float32":
            assert abs(found.numpy() - expected.numpy()).max() < 1e-5


def test_a_layer_that_is_changed_inside_is_refused():
    class Keeps(tnn.Layer):
        def forward(self, x):
            self.last = x
            return x * 2

    layer = Keeps()
    with pytest.raises(
        NotReplayable, match=r"sets Keeps\.last, which a replay would not do\. Make"
    ):
        tnn.compile(lambda x: layer(x).detach())(A)
    assert "last" not in vars(layer)


def compiled_equals_eager(f, *shapes, calls=4):
    compiled = tnn.compile(f)
    for i in range(calls):
        arrays = [RNG(10 * i + n).normal(size=shape) for n, shape in enumerate(shapes)]
        assert_close(compiled(*arrays).numpy(), f(*arrays).numpy())


@pytest.mark.parametrize("kernel", [(12, 2, 4), (3, 2, 1), (12, 2, 1)], ids=["time", "one", "both"])
@pytest.mark.parametrize("batch", [5, 1])
def test_a_convolution_may_be_broadcast_over_another(kernel, batch):
    wide = tnn.Tensor(RNG().normal(size=(3, 2, 4)))
    narrow = tnn.Tensor(RNG(1).normal(size=kernel))
    padding = "valid" if kernel[0] == 12 else "same"

    def f(x):
        return tnn.conv1d(x, wide, padding="same") * tnn.conv1d(x, narrow, padding=padding)

    compiled_equals_eager(f, (batch, 12, 2))


def test_the_sign_of_a_zero_between_series_does_not_matter():
    first, second = (tnn.Tensor(RNG(i).normal(size=(3, 4, 4))) for i in range(2))

    def f(x):
        y = tnn.conv1d(x, first, padding="same").data
        angle = np.arctan2(y, -y)  # of (0, 0) it is 0, of (0, -0) pi
        return tnn.conv1d(angle, second, padding="same")

    compiled_equals_eager(f, (3, 9, 4))


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("what", ["where", "booleans", "fmax"])
def test_a_value_that_is_not_finite_and_is_hidden_later_changes_nothing_else(what):
    kernel = tnn.Tensor(np.abs(RNG().normal(size=(5, 3, 3))))

    def f(x):
        y = tnn.conv1d(tnn.log(x), kernel, padding="same")
        if what == "where":
            return tnn.where(y > -1e300, y, 0.0).detach()
        return y.data > 0 if what == "booleans" else np.fmax(y.data, -1e300)

    compiled = tnn.compile(f)
    for i in range(5):
        x = np.abs(RNG(i).normal(size=(2, 40, 3)))
        if i == 4:
            x[0, 20, 0] = 0
        assert_close(np.asarray(compiled(x)), np.asarray(f(x)))


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_value_that_is_not_finite_after_an_update_does_not_make_it_update_twice():
    kernel = tnn.Tensor(np.ones((3, 1, 1)), requires_grad=True)
    optimizer = tnn.SGD([kernel], 0.1)

    @tnn.compile
    def step(x):
        optimizer.zero_grad()
        tnn.conv1d(x, kernel, padding="same").mean().backward()
        optimizer.step()
        y = tnn.conv1d(tnn.log(x), kernel, padding="same")
        return tnn.where(y > -1e300, y, 0.0).detach()

    for i in range(6):
        x = np.abs(RNG(i).normal(size=(2, 20, 1)))
        if i == 4:
            x[0, 10, 0] = 0
        before = kernel.numpy()
        step(x)
        padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
        slope = np.array([padded[:, j : j + 20].mean() for j in range(3)]).reshape(3, 1, 1)
        assert_close(kernel.numpy(), before - 0.1 * slope)
    assert optimizer.iterations == 6


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("assigned", [False, True])
def test_a_call_that_is_not_finite_leaves_parameters_in_padded_batches_as_they_are(assigned):
    kernel = tnn.Tensor(RNG().normal(size=(3, 2, 4)))

    def make():
        w = tnn.Tensor(np.ones((1, 9, 4)), requires_grad=True)

        def step(x):
            w.grad = None
            y = tnn.conv1d(x, kernel, padding="same") + w
            loss = tnn.where(x.sum() == x.sum(), (w * w).sum() + 0 * y.sum(), 1.0)
            loss.backward()
            if assigned:
                w.data = w.data - 0.1 * w.grad
            return y.detach()

        return w, step

    (w, step), (expected, eager) = make(), make()
    compiled = tnn.compile(step)
    for i in range(6):
        x = RNG(i).normal(size=(1, 9, 2))
        if i == 4:
            x[0, 4] = np.nan
        assert_close(compiled(x).numpy(), eager(x).numpy())
        assert_close(w.numpy(), expected.numpy())


def test_structures_go_in_and_out():
    compiled = tnn.compile(
        lambda batch, *, scale, name: (tnn.Tensor(batch["x"]) * scale, [batch["y"], name], None)
    )
    for i in range(4):
        x = np.full(2, float(i))
        first, (second, third), fourth = compiled({"x": x, "y": x + 1}, scale=3, name="a")
        assert first.tolist() == (3 * x).tolist()
        assert second.tolist() == (x + 1).tolist()
        assert (third, fourth) == ("a", None)


def test_results_are_fresh_arrays():
    compiled = tnn.compile(lambda x: tnn.Tensor(x) * 1.0)
    kept = [compiled(np.full(2, float(i))) for i in range(5)]
    assert [t.tolist() for t in kept] == [[float(i)] * 2 for i in range(5)]


def run(f, *calls):
    compiled = tnn.compile(f)
    for args in calls:
        compiled(*args)


A, B, C = (np.full(3, float(i)) for i in (1, 2, 3))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: tnn.Tensor(x) * 2 if tnn.Tensor(x).sum() > 2 else x, "numbers by its truth"),
        (lambda x: tnn.Tensor(x) * 2 if x.sum() > 2 else x, "plain numbers by its truth"),
        (lambda x: tnn.Tensor(x) * tnn.Tensor(x).sum().item(), "computes or decides in Python"),
        (lambda x: tnn.Tensor(x) * float(np.sum(x)), "plain numbers by float()"),
        (lambda x: tnn.Tensor(x)[: int(x.max())], "plain numbers by int()"),
        (lambda x: sum(float(v) for v in x), "plain numbers by float()"),
        (lambda x: print(f"{tnn.Tensor(x).sum().item():.3f}"), "computes or decides in Python"),
        (lambda x: tnn.Tensor(x)[np.argsort(x)], "plain numbers by NumPy"),
        (lambda x: tnn.Tensor(x) * np.array(tnn.Tensor(x) + 1), "plain numbers by NumPy"),
        (lambda x: tnn.Tensor(x) * np.array(x), "plain numbers by NumPy"),
        (lambda x: tnn.Tensor(x)[x > 1], "plain numbers by NumPy"),
        (lambda x: tnn.Tensor(x).tolist(), "plain numbers by tolist()"),
        (
            lambda x: tnn.Tensor(x, requires_grad=True) * 2,
            "a Tensor that still has a graph",
        ),
    ],
)
def test_what_cannot_be_replayed_is_refused_naming_the_line(f, message):
    with pytest.raises(NotReplayable, match=re.escape(message) + r".*test_compile\.py, line \d+"):
        run(f, (A,))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: tnn.Tensor(x) * np.ptp(x),
        lambda x: tnn.Tensor(np.correlate(x, x)),
        lambda x: (x.__setitem__(0, 7.0), tnn.Tensor(x) * 2)[1],
        lambda x: (x.sort(), tnn.Tensor(x) * 2)[1],
        lambda x: tnn.Tensor(x) * len(x.strides),
    ],
)
def test_what_takes_no_tensors_runs_as_it_is_and_says_so(f):
    compiled = tnn.compile(f)
    assert compiled.eager is None
    for x in (A, B, C, A):
        np.testing.assert_array_equal(compiled(x.copy()).numpy(), f(x.copy()).numpy())
    assert "Error while it was recorded" in compiled.eager


def test_a_function_that_fails_fails_as_it_would_and_runs_as_often():
    calls = []

    def f(x):
        calls.append(1)
        return tnn.Tensor(x).reshape(7)

    with pytest.raises(ValueError, match="reshape"):
        tnn.compile(f)(A)
    assert len(calls) == 2  # once rehearsed, once as it is


CHANGING = [
    (lambda x, n: tnn.Tensor(x) * next(n), "multiply was given other plain values"),
    (lambda x, n: tnn.Tensor(x) * RNG(next(n)).normal(size=3), r"an array of shape \(3,\)"),
    (
        lambda x, n: sum(([tnn.Tensor(x)] * (next(n) + 2))[1:], tnn.Tensor(x)),
        r"it ran \d operations at one call and \d at another",
    ),
    (lambda x, n: (tnn.exp, tnn.tanh)[next(n) % 2](tnn.Tensor(x)), "on arrays did something else"),
    (lambda x, n: (tnn.Tensor(x), next(n)), "it returned other plain values"),
]


@pytest.mark.parametrize(("f", "message"), CHANGING)
def test_what_changes_from_call_to_call_is_noticed(f, message):
    numbers = iter(range(100))
    compiled = tnn.compile(lambda x: f(x, numbers))
    with pytest.raises(tnn.ReplayMismatch, match=rf"^compile: a call .*{message}"):
        compiled(A)


def test_a_coin_is_noticed_at_one_of_the_calls_that_are_verified():
    coins = iter([0, 0, 0, 0, 1, 0, 0])
    compiled = tnn.compile(lambda x: tnn.Tensor(x) * 2 if next(coins) else tnn.Tensor(x))
    for _ in range(7):
        compiled(A)
    with pytest.raises(tnn.ReplayMismatch, match="it ran 0 operations at one call and 1"):
        compiled(A)


def test_verification_can_be_turned_off():
    numbers = iter(range(100))
    compiled = tnn.compile(lambda x: tnn.Tensor(x) * (next(numbers) + 1), verify=False)
    assert [compiled(A).tolist() for _ in range(9)] == [[1, 1, 1]] * 9


def test_an_operation_of_ones_own_that_keeps_count_is_noticed():
    count = []

    @tnn.primitive(lambda g, y, x: g)
    def counting(x):
        count.append(1)
        return x * len(count)

    with pytest.raises(tnn.ReplayMismatch, match="on arrays did something else"):
        run(lambda x: counting(tnn.Tensor(x)), (A,))


def test_a_rehearsal_changes_nothing():
    class Keeps(tnn.Layer):
        def __init__(self):
            self.w, self.rng = tnn.Tensor([1.0], requires_grad=True), RNG(0)
            self.drop = tnn.Dropout(0.5, rng=1)

        def forward(self, x):
            self.w.data = self.w.data + 1
            tnn.fresh(lambda: self.rng.random(3))
            y = (self.drop(x) * self.w).sum()
            y.backward()
            return y.item() + 1  # refused, after all that

    model = Keeps()
    states = [g.bit_generator.state for g in (model.rng, model.drop.rng)]
    with pytest.raises(NotReplayable, match="computes or decides in Python"):
        tnn.compile(model)(A)
    assert model.w.tolist() == [1.0]
    assert model.w.grad is None
    assert [g.bit_generator.state for g in (model.rng, model.drop.rng)] == states


def test_a_tensor_kept_from_a_recording_says_what_it_is():
    kept = []
    compiled = tnn.compile(lambda x: kept.append(tnn.Tensor(x) * 2))
    compiled(A)
    for use in (lambda t: t + 1, lambda t: t.numpy(), np.asarray):
        with pytest.raises(RuntimeError, match="left over from the recording"):
            use(kept[0])
    assert kept[0].shape == A.shape  # which is the same at each call


def test_what_is_made_anew_may_ask_for_the_shape_of_a_tensor():
    rng = np.random.default_rng(0)

    def noisy(x):
        x = tnn.Tensor(x)
        return x + tnn.fresh(lambda: rng.normal(size=x.shape).astype(x.dtype))

    compiled, again = tnn.compile(noisy), np.random.default_rng(0)
    for _ in range(4):
        expected = A + again.normal(size=A.shape)
        np.testing.assert_allclose(compiled(A).numpy(), expected)


@pytest.mark.parametrize("length", [3, 40])
def test_a_plain_number_or_shape_that_varies_is_left_alone_and_said(length):
    compiled = tnn.compile(lambda x, k: tnn.Tensor(x) * k)
    recorded = counted(compiled._function)
    compiled._function = recorded
    for k in range(50):
        assert compiled(np.ones(length + k % 30), k).tolist() == [k] * (length + k % 30)
    assert "recorded 3 times" in compiled.eager
    assert recorded.calls == 50 + 3  # rehearsals on arrays


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (np.array(["a"]), "an array must hold numbers"),
        ({1, 2}, "must be an array, a plain value"),
        (tnn.Tensor([1.0], requires_grad=True), "a Tensor that requires a gradient"),
    ],
)
def test_wrong_arguments_are_refused(argument, message):
    with pytest.raises(TypeError, match=message):
        tnn.compile(lambda x: x)(argument)


def test_only_functions_are_compiled():
    with pytest.raises(TypeError, match="compile: give a function, got int"):
        tnn.compile(3)


def test_targets_are_checked_at_each_replay():
    compiled = tnn.compile(
        lambda x, y: tnn.losses.binary_crossentropy(tnn.Tensor(x), y, from_logits=True)
    )
    for x in (A, B, C):
        compiled(x, x / 3)
    with pytest.raises(ValueError, match=r"target must lie in \[0, 1\]"):
        compiled(A, B)


def test_second_derivatives_are_replayed():
    w = tnn.Tensor([1.0, 2.0], requires_grad=True)

    @tnn.compile
    def f(x):
        (g,) = tnn.grad((tnn.exp(w * x)).sum(), [w], create_graph=True)
        (h,) = tnn.grad((g * g).sum(), [w])
        return h

    for i in range(4):
        x = np.array([0.1, 0.2]) * (i + 1)
        expected = 2 * x**3 * np.exp(2 * w.numpy() * x)
        assert_close(f(x), expected)


def test_a_compiled_function_frees_its_model():
    model = conv_net()
    compiled = tnn.compile(trainer(model, sgd(model.parameters())))
    for x, y in batches(model, 4):
        compiled(x, y)
    gone = weakref.ref(model[0].kernel)
    del model, compiled
    gc.collect()
    assert gone() is None


def test_a_compiled_function_inside_another_is_recorded_with_it():
    inner = tnn.compile(lambda x: tnn.Tensor(x) * 2)
    outer = tnn.compile(lambda x: inner(x) + 1)
    for i in range(4):
        assert outer(np.full(2, float(i))).tolist() == [2 * i + 1] * 2


@pytest.mark.parametrize("at", range(1, 9))
def test_an_interrupt_of_a_replayed_step_leaves_a_whole_step(at, monkeypatch):
    model = tnn.Sequential(tnn.Dense(3, 4, rng=0), tnn.Dense(4, 1, rng=1))
    optimizer = tnn.Adam(model.parameters(), 0.1)
    x, whole, calls = np.ones((5, 3), "float32"), [model.state_dict()], []

    @tnn.compile
    def step(x):
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()

    def interrupted(*args):
        calls.append(args)
        if len(calls) == at:
            raise KeyboardInterrupt
        return replace(*args)

    step(x)
    whole.append(model.state_dict())
    replace = tnn.Tensor._replace
    monkeypatch.setattr(tnn.Tensor, "_replace", interrupted)

    def train():
        while True:
            step(x)
            whole.append(model.state_dict())

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train()
    assert optimizer.iterations == len(whole) - 1
    for path, array in model.state_dict().items():
        np.testing.assert_array_equal(array, whole[-1][path])
