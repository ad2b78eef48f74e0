"""Replayed, a gradient inside a differentiated function is a part of it, as it is eagerly."""

import numpy as np
import pytest

import tinynn as tnn

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 3)), RNG.normal(size=(16, 1))


def trained(compile):
    net = tnn.Sequential(
        tnn.Dense(3, 4, "tanh", rng=0, dtype="float64"), tnn.Dense(4, 1, rng=1, dtype="float64")
    )

    def loss(prediction, target):
        slope = tnn.value_and_grad(lambda x: net(x).sum())(X[:4])[1]
        return tnn.losses.mean_squared_error(prediction, target) + (slope**2).sum()

    optimizer = tnn.SGD(net.parameters(), 0.1)
    history = tnn.fit(
        *(net, X, Y), loss=loss, optimizer=optimizer, epochs=2, batch_size=8, shuffle=False,
        progress=False, compile=compile,
    )  # fmt: skip
    return np.concatenate([p.numpy().ravel() for p in net.parameters()]), history


def test_a_penalty_on_a_gradient_trains_the_same_model():
    eager, _ = trained(False)
    for compile in ("auto", True):
        found, history = trained(compile)
        np.testing.assert_allclose(found, eager, rtol=1e-12)
    assert history.eager is None


def curl(x):
    return tnn.sin(x) * tnn.flip(x) + tnn.exp(x[0] * x)


FUNCTIONS = {
    "penalty": lambda x: tnn.value_and_grad(
        lambda x: (tnn.value_and_grad(lambda z: curl(z).sum())(x)[1] ** 2).sum()
    )(x)[1],
    "hessian": tnn.hessian(lambda x: (curl(x) ** 2).sum()),
    "jacobian": tnn.jacobian(tnn.jacobian(curl)),
    "vjp": lambda x: tnn.jacobian(lambda x: tnn.vjp(curl, x)[1](x * x)[0])(x),
    "jvp": lambda x: tnn.jacobian(lambda x: tnn.jvp(curl, [x], [x * x])[1])(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_derivatives_of_derivatives(name):
    compiled = tnn.compile(FUNCTIONS[name])
    for _ in range(4):
        x = RNG.normal(size=3)
        np.testing.assert_allclose(compiled(x), FUNCTIONS[name](x), rtol=1e-10, atol=1e-12)
