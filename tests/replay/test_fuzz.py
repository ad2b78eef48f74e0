"""Random graphs, and calls that once went wrong: compiled and eager agree, or it is refused."""

import copy
import pickle

import numpy as np
import pytest

import tinynn as tnn

T = tnn.Tensor


def random_step(seed):
    """Return a training step on a random graph of 12 operations, and its parameters."""
    rng = np.random.default_rng(seed)
    w = T(rng.normal(size=(3, 4)), requires_grad=True)
    v = T(rng.normal(size=4), requires_grad=True)
    m = T(rng.normal(size=(4, 4)) / 2, requires_grad=True)
    frozen = T(rng.normal(size=(3, 4)))
    plan = rng.integers(0, 1000, size=(12, 3)).tolist()
    parameters = [m, w, v]
    optimizer = (
        tnn.Adam(parameters, 0.01, weight_decay=0.1)
        if seed % 2
        else tnn.SGD(parameters, 0.01, momentum=0.9)
    )
    operations = [
        lambda a, b: a + b,
        lambda a, b: tnn.tanh(a * b),
        lambda a, b: a - b,
        lambda a, b: tnn.tanh(a / (b * b + 1)),
        lambda a, b: tnn.tanh(a),
        lambda a, b: tnn.exp(-a * a),
        lambda a, b: (a.T * b.T).T,
        lambda a, b: a.reshape(4, 3).reshape(12)[::-1].reshape(3, 4) * b,
        lambda a, b: a - a.mean(axis=1, keepdims=True),
        lambda a, b: tnn.tanh(a * b.sum() * 0.05),
        lambda a, b: tnn.concatenate([a[1:], b[:1]]),
        lambda a, b: a[[2, 0, 0]] * a[[1, 0, 2]],
        lambda a, b: tnn.tanh(a @ m),
        lambda a, b: tnn.where(b > 0, a, b * 0.5),
        lambda a, b: tnn.maximum(a, b),
        lambda a, b: tnn.broadcast_to(a.sum(axis=0) * 0.2, (3, 4)),
        lambda a, b: a.astype("float32").astype("float64") * b,
        lambda a, b: tnn.flip(a, 1) + v,
        lambda a, b: tnn.tanh(tnn.cumsum(a, 1) * 0.3),
        lambda a, b: a / (a.max(axis=1, keepdims=True) ** 2 + 1),
        lambda a, b: a.T.reshape(3, 4),
        lambda a, b: tnn.stack([a, b]).mean(axis=0),
    ]

    def step(x, y):
        optimizer.zero_grad()
        pool = [T(x), T(y), w, v + frozen, frozen * T(x)]
        for number, i, j in plan:
            operation = operations[number % len(operations)]
            pool.append(operation(pool[i % len(pool)], pool[j % len(pool)]))
        loss = (tnn.tanh(pool[-1] * pool[-2]) + pool[-3]).mean() + 0.01 * (w * w).mean()
        loss = loss + 0.01 * (v**2).sum() + 0.01 * tnn.sqrt((m * m).sum())
        loss.backward()
        gradients = [p.grad for p in parameters]
        norm = tnn.clip_grad_norm(parameters, 0.5) if seed % 3 == 0 else None
        optimizer.step()
        return loss.item(), gradients, norm, pool[-1].detach() if seed % 2 else None

    return step, parameters


@pytest.mark.parametrize("seed", range(40))
def test_random_steps_are_replayed_as_they_run(seed):
    (eager, expected), (step, found) = random_step(seed), random_step(seed)
    compiled, rng = tnn.compile(step), np.random.default_rng(seed)
    for _ in range(6):
        x, y = rng.normal(size=(2, 3, 4))
        a, b = eager(x, y), compiled(x, y)
        np.testing.assert_allclose(b[0], a[0], rtol=1e-9)
        for g, h in zip(a[1], b[1], strict=True):
            np.testing.assert_allclose(h, g, rtol=1e-7, atol=1e-10)
        for p, q in zip(expected, found, strict=True):
            np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-7, atol=1e-10)
        if a[3] is not None:
            np.testing.assert_allclose(b[3].numpy(), a[3].numpy(), rtol=1e-7, atol=1e-10)


def both(make, *calls):
    """Call what ``make`` returns, eagerly and compiled; return the results side by side."""
    eager, compiled = make(), tnn.compile(make())
    return [(eager(*args), compiled(*args)) for args in calls]


def assert_pairs(pairs):
    for a, b in pairs:
        np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=1e-9, atol=1e-12)


RNG = np.random.default_rng(0)
X = [(RNG.normal(size=(3, 4)),) for _ in range(7)]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (tnn.broadcast_to(T(x).sum(), (3, 4)) * T(x)).detach(),
        lambda x: (T(x) - T(x).mean()) .detach() / tnn.std(T(x)),
        lambda x: tnn.sqrt(((T(x) - 1) ** 2).mean()),
        lambda x: (T(x) - x.mean(axis=0) + np.mean(x)).detach(),
        lambda x: (tnn.broadcast_to(T(x).sum(), (4, 4)) @ T(x.T)).detach(),
        lambda x: (tnn.exp(T(x)) * tnn.exp(T(x)) + tnn.exp(T(x))).detach(),
        lambda x: tnn.where(T(x) > 1.5, T(x) * 2, 1.0) + tnn.where(T(x) > 1.5, 0.0, T(x)),
        lambda x: (T(x)[[0, 1]] * T(x)[[2, 1]]).sum(),
    ],
)  # fmt: skip
def test_graphs_that_once_went_wrong(f):
    assert_pairs(both(lambda: f, *X))


def test_one_array_for_two_arguments():
    x, y, z = (args[0] for args in X[:3])
    pairs = both(lambda: lambda a, b: (T(a) * 2 + T(b)).sum(), (x, x), (y, y), (x, z), (z, y))
    assert_pairs(pairs)
    pairs = both(
        lambda: lambda a, b: (T(a[1:]) * T(b)).sum(), (x, x[1:]), (y, y[1:]), (x, z[1:]), (z, y[:2])
    )
    assert_pairs(pairs)


def test_evaluation_beside_training_sees_the_trained_weights():
    w = T(np.ones((4, 1)), requires_grad=True)
    optimizer = tnn.SGD([w], 0.1)

    @tnn.compile
    def train(x):
        optimizer.zero_grad()
        ((T(x) @ w - 1) ** 2).mean().backward()
        optimizer.step()

    evaluate = tnn.compile(lambda x: (T(x) @ w).detach())
    for (x,) in X:
        train(x)
        np.testing.assert_allclose(evaluate(x).numpy(), x @ w.numpy(), rtol=1e-12)


@pytest.mark.parametrize("taps", [(32, 33), (40, 41), (60, 61)])
def test_two_convolutions_of_one_series(taps):
    def make():
        layers = [tnn.Conv1d(16, 16, k, padding="valid", dtype="float64", rng=k) for k in taps]

        def f(x):
            first, second = (layer(x) for layer in layers)
            loss = (first[:, 1:] * second).mean()
            parameters = [p for layer in layers for p in layer.parameters()]
            return tnn.grad(loss, parameters)

        return f

    calls = [(np.random.default_rng(i).normal(size=(2, 150, 16)),) for i in range(4)]
    eager, compiled = make(), tnn.compile(make())
    for args in calls:
        for a, b in zip(eager(*args), compiled(*args), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("padding", [(4, 1), (4, 4), (0, 4), (1, 0)])
def test_convolutions_that_change_the_length_keep_their_biases(padding):
    def make():
        return tnn.Sequential(
            *[
                tnn.Conv1d(
                    1 if i == 0 else 3, 3, 5, padding=padding, rng=i, bias_initializer="ones"
                )
                for i in range(4)
            ]
        )

    calls = [
        (np.random.default_rng(i).normal(size=(3, 40, 1)).astype("float32"),) for i in range(4)
    ]
    eager, model = make(), make()
    compiled = tnn.compile(lambda x: model(x).detach())
    for args in calls:
        np.testing.assert_allclose(
            compiled(*args).numpy(), eager(*args).numpy(), rtol=1e-4, atol=1e-5
        )


def test_a_gradient_that_is_a_view_is_checked_too():
    def make():
        w = T(np.ones((2, 4)), requires_grad=True)
        optimizer = tnn.SGD([w], 0.1)

        def f(x):
            optimizer.zero_grad()
            q = T(x) * w.reshape(8)
            loss = tnn.where(x > 0, tnn.sqrt(q), q * q).sum()
            loss.backward()
            optimizer.step()
            return w.numpy()

        return f

    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        pairs = both(make, *[(np.maximum(rng.normal(size=8), 0),) for _ in range(6)])
    assert all(np.isfinite(a).all() for a, _ in pairs)
    assert_pairs(pairs)


def old_values(take):
    w = T([1.0, 2.0], requires_grad=True)
    optimizer = tnn.SGD([w], 0.5)

    def f(x):
        old = take(w)
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()
        return (T(old) * 1).detach()

    return f


@pytest.mark.parametrize(
    "take", [lambda w: w.detach(), lambda w: w + 0, lambda w: w.numpy(), lambda w: (w * 1)[:1]]
)
def test_old_values_of_a_parameter_are_kept(take):
    assert_pairs(both(lambda: old_values(take), *[(np.array([i, 1.0]),) for i in range(6)]))


@pytest.mark.parametrize("take", [lambda w: w.data, lambda w: w[:2], lambda w: w.reshape(2, 1)])
def test_views_of_a_parameter_from_before_its_update_keep_the_old_values(take):
    compiled, step = tnn.compile(old_values(take)), old_values(lambda w: take(T(w.numpy())))
    for i in range(6):
        x = np.array([i, 1.0])
        np.testing.assert_allclose(compiled(x).numpy(), step(x).numpy())


def test_a_detached_copy_from_outside_is_no_parameter():
    w = T([1.0, 2.0], requires_grad=True)
    start = w.detach()
    compiled = tnn.compile(lambda x: (T(x) * (w - start + 1)).mean().item())
    x = np.array([1.0, 3.0])
    for i in range(6):
        expected = float((x * i * (w.numpy() - [1, 2] + 1)).mean())
        assert compiled(x * i) == pytest.approx(expected)
        w.data = w.data + 1


def test_gradients_that_are_sometimes_reset_add_up_rightly():
    w = T([2.0], requires_grad=True)

    @tnn.compile
    def add(x):
        (w * x).sum().backward()

    total = 0.0
    for i in range(12):
        if i % 4 == 0:
            w.grad, total = None, 0.0
        add(np.array([float(i)]))
        total += i
        assert w.grad.tolist() == [total]


def test_operations_of_a_users_own_may_have_any_name():
    @tnn.primitive(lambda g, y, x: 2 * g)
    def astype(x):
        return x * 2

    @tnn.primitive(lambda g, y, x: g)
    def update(x):
        return x + 1

    assert_pairs(both(lambda: lambda x: update(astype(T(x))).detach(), *X))


def test_copies_and_pickles_after_fit():
    model = tnn.Dense(4, 1, rng=0)
    optimizer = tnn.SGD(model.parameters(), 0.1)
    x, y = X[0][0], np.ones((3, 1))

    def fit(model, optimizer):
        how = {"loss": "mse", "optimizer": optimizer, "epochs": 4, "progress": False, "rng": 0}
        return tnn.fit(model, x, y, **how).history["loss"]

    fit(model, optimizer)
    twin = copy.deepcopy((model, optimizer))
    third = pickle.loads(pickle.dumps((model, optimizer)))
    losses = fit(model, optimizer)
    np.testing.assert_allclose(fit(*twin), losses, rtol=1e-6)
    np.testing.assert_allclose(fit(*third), losses, rtol=1e-6)


def remove(layers, spare):
    del layers[1]


def swap(layers, spare):
    layers[1] = spare


def reorder(layers, spare):
    layers.insert(0, layers.pop(1))


@pytest.mark.parametrize("change", [remove, swap, reorder])
def test_a_list_of_layers_that_changes_in_place_is_noticed(change):
    spare = tnn.Activation("sigmoid")
    model = tnn.Sequential(tnn.Dense(4, 4, rng=0), tnn.Activation("tanh"), tnn.Dense(4, 1, rng=1))
    compiled = tnn.compile(lambda x: model(x).detach())
    for (x,) in X:
        compiled(x)
    change(model.layers, spare)
    for (x,) in X:
        np.testing.assert_allclose(compiled(x).numpy(), model(x).numpy(), rtol=1e-6)


def test_a_nan_that_an_activation_hides_reaches_no_other_output():
    layer = tnn.Conv1d(
        *(1, 1, 5), padding="same", rng=0, kernel_initializer="ones",
        activation=lambda t: tnn.where(t > 0, t, 0.0),
    )  # fmt: skip
    x = np.ones((4, 60, 1), "float32")
    compiled = tnn.compile(lambda x: layer(x).detach())
    for i in range(5):
        bad = x * (i + 1)
        bad[0, 30 + i] = np.nan
        np.testing.assert_array_equal(compiled(bad).numpy(), layer(bad).numpy())
