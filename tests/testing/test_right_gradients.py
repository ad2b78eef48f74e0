"""Right gradients, on points that are hard for difference quotients: the check never cries wolf."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn.testing import check_grads


def normal(*shapes, scale=1.0, shift=0.0):
    return lambda rng: [shift + scale * rng.normal(size=shape) for shape in shapes]


def uniform(low, high, *shapes):
    return lambda rng: [rng.uniform(low, high, shape) for shape in shapes]


def apart(*shapes):
    """Distinct values, 0.1 from each other and 0.05 from 0."""

    def draw(rng):
        sizes = [int(np.prod(shape)) for shape in shapes]
        drawn = [(rng.permutation(n) - n // 2 + 0.5) * 0.1 for n in sizes]
        return [x.reshape(shape) for x, shape in zip(drawn, shapes, strict=True)]

    return draw


def fixed(*values):
    return lambda rng: [np.array(values)]


LARGE = np.random.default_rng(5).normal(size=10_000)
CASES = {name: (getattr(tnn, name), normal((3, 4))) for name in (
    "exp sin cos tanh sinh cosh arctan square sigmoid softplus silu gelu expm1 softmax log_softmax "
    "logsumexp cumsum cumprod exp2 diff norm sort prod mean var std sum"
).split()}  # fmt: skip
CASES |= {
    name: (getattr(tnn, name), uniform(0.2, 3, (3, 4)))
    for name in "log sqrt log1p log2 log10".split()
}
CASES |= {
    name: (getattr(tnn, name), apart((3, 4)))
    for name in ("relu", "leaky_relu", "elu", "abs", "sign", "max", "min")
}
CASES |= {
    "power": (lambda a, b: a**b, uniform(0.2, 3, (3, 4), ())),
    "matmul": (lambda a, b: a @ b, normal((3, 4), (4, 2))),
    "a factor of 1e-7": (lambda x: 1e-7 * x, normal(5)),
    "a factor of 1e9": (lambda x: 1e9 * tnn.sin(x), normal(5)),
    "inputs of 1e-6": (lambda x: tnn.sin(x * 1e6), normal(4, scale=1e-6)),
    "inputs of 1e8": (tnn.log, uniform(1e8, 2e8, 4)),
    "inputs of all sizes": (
        lambda x: tnn.sin(x) + x * x,
        lambda rng: [rng.normal(size=8) * 10.0 ** rng.integers(-6, 4, 8)],
    ),
    "gradients of all sizes": (lambda x: x * np.array([1e9, 1e-7, 1, 0]), normal(4)),
    "a large sum": (lambda x: (tnn.sin(x) * LARGE).sum(), normal(())),
    "a large result": (lambda x: tnn.tanh(x * LARGE), normal(())),
    "exp(20)": (tnn.exp, normal(4, shift=20.0)),
    "log near 0": (tnn.log, uniform(1e-7, 1e-6, 5)),
    "sqrt near 0": (tnn.sqrt, uniform(1e-10, 1e-9, 5)),
    "1 / x near 0": (lambda x: 1 / x, uniform(0.01, 0.1, 5)),
    "high curvature": (lambda x: tnn.sin(50 * x), normal(6)),
    "a constant that cancels": (lambda x: (tnn.sin(x) + 1e6) - 1e6, normal(5)),
    "a sum that cancels": (lambda x: (x - x.mean()).sum(), normal(7)),
    "a gradient of 0": (lambda x: x * 0, normal(4)),
    "a softmax summed": (lambda x: tnn.softmax(x).sum(), normal((2, 5))),
    "a saturated softmax": (tnn.softmax, normal((2, 4), scale=30.0)),
    "a saturated sigmoid": (tnn.sigmoid, fixed(30.0, -30.0, 25.0, -25.0, 0.0)),
    "large logits": (
        lambda z: tnn.losses.binary_crossentropy(z, [1, 0, 1.0, 0, 1], from_logits=True),
        fixed(1.0, -10.0, 30.0, 100.0, -900.0),
    ),
    "prod with zeros": (
        lambda x: tnn.prod(x, axis=1),
        lambda rng: [np.where(rng.random((3, 4)) < 0.3, 0, rng.normal(size=(3, 4)))],
    ),
    "convolution": (
        lambda x, k, b: tnn.conv1d(x, k, b, strides=2, padding="same", groups=2),
        normal((2, 9, 4), (3, 2, 4), (4,)),
    ),
    "dilated convolution": (
        lambda x, k: tnn.conv1d(x, k, dilation_rate=2, padding="causal"),
        normal((2, 9, 2), (3, 2, 3)),
    ),
    "pooling": (lambda x: tnn.max_pool1d(x, 3, strides=2, padding="same"), apart((2, 9, 2))),
    "empty": (lambda x, y: (x.sum() + y) * 1.0, normal((0, 3), (2,))),
    "0-d": (tnn.sin, normal(())),
    "several results": (lambda x, y: (x * y, tnn.sin(x)), normal(3, 3)),
    "a stationary point": (lambda x: x**4, fixed(0.0, 0.0)),
    "a whole number of periods": (lambda x: tnn.sin(2 * np.pi * x), fixed(3.0, -1000.0, 7.0)),
    "near a kink": (tnn.relu, fixed(1.0, -1e-1, 1e-2, -1e-3, 1e-4, -1e-5)),
    "near a pole": (lambda x: 1 / (1 - x), uniform(0.9, 0.999, 4)),
    "a gradient penalty": (
        lambda x: (tnn.value_and_grad(lambda z: (z**3).sum())(x)[1] ** 2).sum(),
        normal(3),
    ),
    "a Hessian": (lambda x: tnn.hessian(lambda z: (tnn.sin(z) * z).sum())(x).sum(), normal(3)),
    "layer normalisation": (
        lambda x: (x - x.mean(-1, keepdims=True)) / tnn.sqrt(x.var(-1, keepdims=True) + 1e-5),
        normal((3, 6)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_false_alarm(name):
    f, draw = CASES[name]
    for seed in range(3):
        inputs = draw(np.random.default_rng(seed))
        for mode in ("auto", "full", "fast"):
            if mode == "full" and seed:
                continue
            report = check_grads(f, *inputs, order=1 + (seed == 0), mode=mode, rng=seed)
            assert report, report


def test_the_inputs_are_left_as_they_were():
    x = np.ones(3)
    t = tnn.Tensor([1.0, 2.0], requires_grad=True)
    check_grads(lambda x, t: x.sum() * t, x, t)
    assert x.tolist() == [1, 1, 1]
    assert t.grad is None


def test_it_works_under_no_grad():
    with tnn.no_grad():
        assert check_grads(tnn.sin, np.ones(2), order=2)


def test_a_layer_can_be_checked_as_it_is():
    layer = tnn.Conv1d(2, 3, 5, activation="tanh", dtype="float64", rng=0)
    x = np.random.default_rng(0).normal(size=(2, 12, 2))
    assert check_grads(layer, x, order=2)

    def of_the_kernel(kernel):
        layer.kernel = kernel
        return layer(x)

    assert check_grads(of_the_kernel, layer.kernel, order=2)
