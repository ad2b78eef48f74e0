"""Half precision: added up in single precision and rounded once, forward and backward."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 7)).astype(np.float16)
TAPS = RNG.integers(4, size=20000)

FUNCTIONS = {
    "sum": lambda x: tnn.sum(x, axis=0),
    "mean": lambda x: tnn.mean(x, axis=0),
    "var": lambda x: tnn.var(x, axis=0),
    "std": lambda x: tnn.std(x),
    "norm": lambda x: tnn.sqrt(tnn.sum(x * x)),
    "prod": lambda x: tnn.prod(x[:9], axis=0),
    "cumsum": lambda x: tnn.cumsum(abs(x), axis=0),
    "cumprod": lambda x: tnn.cumprod(1 + x[:40] / 100, axis=0),
    "length": lambda x: tnn.norm(x, axis=0),
    "length 1": lambda x: tnn.norm(x, 1, axis=0),
    "tile": lambda x: tnn.tile(x[:3], (3000, 1)),
    "take": lambda x: tnn.take(x, TAPS, axis=0),
    "take_along_axis": lambda x: tnn.take_along_axis(x[:, :1], TAPS[:, None], axis=0),
    "sort": lambda x: tnn.sort(x, axis=0),
    "diff": lambda x: tnn.diff(x, axis=0),
    "log2": lambda x: tnn.log2(abs(x) + 1),
    "exp2": tnn.exp2,
    "arctan2": lambda x: tnn.arctan2(x[1:], x[:-1]),
    "logaddexp": lambda x: tnn.logaddexp(x[1:], x[:-1]),
    "logsumexp": lambda x: tnn.logsumexp(x, axis=0),
    "softmax": lambda x: 100 * tnn.softmax(x, axis=0),
    "log_softmax": lambda x: tnn.log_softmax(x, axis=0),
    "matmul": lambda x: x.T @ x,
    "einsum": lambda x: tnn.einsum("ij,ik->jk", x, x),
    "repeat": lambda x: tnn.repeat(x[:3], 3000, axis=0),
    "indices": lambda x: x[TAPS],
    "broadcast": lambda x: x[:2, None] + np.zeros((2, 3000, 7), np.float16),
    "edges": lambda x: tnn.pad(x[:5], ((3000, 3000), (0, 0)), "edge"),
    "gelu": tnn.gelu,
    "silu": tnn.silu,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_precise_as_the_format(name):
    f = FUNCTIONS[name]
    x, exact = (tnn.Tensor(X.astype(dtype), requires_grad=True) for dtype in ("e", "d"))
    y, wanted = f(x), f(exact)
    g = np.linspace(-0.125, 0.25, y.size).reshape(y.shape).astype(np.float16)
    [gradient], [right] = tnn.grad(y, [x], g), tnn.grad(wanted, [exact], g)
    for got, expected in ((y.numpy(), wanted.numpy()), (gradient, right)):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_sums_go_beyond_the_largest_whole_number():
    ones = np.ones((8192, 2), np.float16)
    np.testing.assert_array_equal(tnn.sum(ones, axis=0), 8192)  # step by step it stops at 2048
    np.testing.assert_array_equal(ops.sum_to(ones, (2,)), 8192)
    np.testing.assert_array_equal(ops.sum_to(ones.reshape(1, 8192, 2), (2,)), 8192)
    np.testing.assert_array_equal(tnn.cumsum(ones, axis=0)[-1], 8192)
    x = tnn.Tensor(np.ones(2, np.float16), requires_grad=True)
    np.testing.assert_array_equal(tnn.grad(x[np.zeros(5000, int)].sum(), x)[0], [5000, 0])


def test_means_of_more_elements_than_the_format_counts():
    x = tnn.Tensor(np.full(70000, 0.5, np.float16), requires_grad=True)
    for f, value in ((tnn.mean, 0.5), (tnn.std, 0), (tnn.var, 0)):
        assert f(x).dtype == np.float16
        assert f(x).item() == value
    [gradient] = tnn.grad(tnn.mean(x), x)
    np.testing.assert_allclose(gradient, 1 / 70000, rtol=0.01)  # of the smallest numbers there are
    assert tnn.sum(x).item() == 35008  # the nearest in half precision


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_sum_beyond_the_format_is_infinite():
    assert np.isinf(tnn.sum(np.full(70000, 1, np.float16)))
    assert tnn.mean(np.full(3, 60000, np.float16)) == 60000
