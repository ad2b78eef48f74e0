"""Test the tester: every wrong gradient here must be caught, and its cause named."""

import re

import numpy as np
import pytest

import tinynn as tnn
from tinynn import Tensor
from tinynn.autodiff import ops
from tinynn.autodiff.ops.convolution import conv, conv_input, conv_kernel
from tinynn.testing import GradcheckError, check_grads

SEEDS = range(20)


def unary(forward, vjp):
    return tnn.elementwise(vjp)(forward)


def normal(*shapes):
    return lambda rng: [rng.normal(size=shape) for shape in shapes]


def apart(*shapes):
    """Values in 0.1 steps, none near 0 or another: no kink and no tie in reach of a step."""

    def draw(rng):
        return [
            (rng.permutation(np.prod(shape, dtype=int)) - np.prod(shape) // 2 + 0.5).reshape(shape)
            * 0.1
            for shape in shapes
        ]

    return draw


def sin_with(slope):
    return unary(lambda x: np.sin(x), lambda g, y, x: slope(g, x))


def masked(x, index, factor):
    """Return 1 everywhere but ``factor`` at ``index``."""
    ones = np.ones(x.shape)
    ones[index] = factor
    return ones


@tnn.primitive(lambda g, y, a, b: ops.transpose(g @ ops.transpose(b)).reshape(a.shape), None)
def matmul_transposed(a, b):
    return a @ b


@tnn.primitive(
    lambda g, y, a, b: g @ ops.transpose(b), lambda g, y, a, b: ops.transpose(ops.transpose(a) @ g)
)
def matmul_square_transposed(a, b):
    return a @ b


def flipped_conv(wrong):
    @tnn.primitive(
        lambda g, y, x, k, **p: (
            ops.flip(conv_input(g, k, length=x.shape[1], **p), 1)
            if wrong == 0
            else conv_input(g, k, length=x.shape[1], **p)
        ),
        lambda g, y, x, k, **p: (
            ops.flip(conv_kernel(x, g, kernel_size=k.shape[0], **p), 0)
            if wrong == 1
            else conv_kernel(x, g, kernel_size=k.shape[0], **p)
        ),
    )
    def convolve(x, k, strides=1, padding=(1, 1), dilation=1, groups=1):
        return conv(x, k, strides=strides, padding=padding, dilation=dilation, groups=groups)

    return convolve


def broadcast_add(vjp_b):
    @tnn.primitive(lambda g, y, a, b: g, vjp_b)
    def add(a, b):
        return a * 1.0 + b

    return add


@tnn.primitive(lambda g, y, x: np.roll(g, 1, axis=0) * 2 * ops.values(x) if False else 2 * x * g)
def square(x):
    return x * x


def shifted_diff(by):
    """A first difference; its gradient is off by one."""

    @tnn.primitive(lambda g, y, x: ops.roll(ops.pad(g, (1, 0)) - ops.pad(g, (0, 1)), by))
    def diff(x):
        return x[1:] - x[:-1]

    return diff


@tnn.primitive(lambda g, y, x: 0 * g)
def softmax_zeros(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@tnn.primitive(lambda g, y, x: y * g)
def softmax_diagonal(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@tnn.primitive(lambda g, y, a, b: g * ops.sin(b), lambda g, y, a, b: g * a * ops.cos(b))
def product_right(a, b):
    return a * np.sin(b)


@tnn.primitive(lambda g, y, a, b: g * a * ops.cos(b), lambda g, y, a, b: g * ops.sin(b))
def product_swapped(a, b):
    return a * np.sin(b)


@tnn.primitive(lambda g, y, x: ops.broadcast_to(ops.mean(g), x.shape) * ops.cos(x))
def sin_mean_g(x):
    return np.sin(x)


@tnn.primitive(lambda g, y, x: ops.broadcast_to(g, x.shape) / x.size)
def sum_as_mean(x):
    return np.sum(x)


@tnn.primitive(lambda g, y, x: ops.broadcast_to(g, x.shape))
def mean_as_sum(x):
    return np.mean(x)


@tnn.primitive(lambda g, y, x: ops.expand_dims(g, 1) * np.ones(x.shape))
def prod_as_sum(x):
    return np.prod(x, axis=1)


@tnn.primitive(lambda g, y, x: ops.flip(ops.cumsum(g), 0))
def cumsum_backwards(x):
    return np.cumsum(x)


@tnn.primitive(lambda g, y, x: g)
def straight_through(x):
    return np.round(x)


@tnn.primitive(lambda g, y, x: ops.reshape(g, (-1,)).reshape(x.shape))
def transpose_as_reshape(x):
    return x.T


@tnn.primitive(lambda g, y, x, axis: ops.expand_dims(g, axis) * (x == ops.expand_dims(y, axis)))
def max_right(x, axis):
    return np.max(x, axis=axis)


@tnn.primitive(lambda g, y, x: ops.broadcast_to(ops.expand_dims(g, 1), x.shape))
def max_everywhere(x):
    return np.max(x, axis=1)


def pad_replicate(x):
    return np.concatenate([x[:1], x, x[-1:]])


# The gradient of the edges must collect what was copied from them; this one forgets it.
pad_edges_lost = tnn.primitive(lambda g, y, x: g[1:-1])(pad_replicate)
ALL = "everywhere"

# name, f, inputs, pattern of the cause
CASES = [
    ("sign", sin_with(lambda g, x: -g * ops.cos(x)), normal((3, 4)), "a flipped sign"),
    ("factor 2", sin_with(lambda g, x: 2 * g * ops.cos(x)), normal(5), "constant factor 2$"),
    ("factor 1/2", sin_with(lambda g, x: g * ops.cos(x) / 2), normal(5), "constant factor 0.5$"),
    ("factor 1.001", sin_with(lambda g, x: 1.001 * g * ops.cos(x)), normal(5), "factor 1.001$"),
    ("factor 1.0001", sin_with(lambda g, x: 1.0001 * g * ops.cos(x)), normal(5), "factor 1.0001$"),
    ("factor, scalar", sin_with(lambda g, x: 3 * g * ops.cos(x)), normal(()), "factor 3$"),
    ("zeros", sin_with(lambda g, x: 0 * g), normal((2, 3)), "a zero gradient"),
    ("zeros, tiny f", unary(lambda x: 1e-7 * x, lambda g, y, x: 0 * g), normal(4), "zero gradient"),
    ("zeros, 1e-20 f", unary(lambda x: 1e-20 * x, lambda g, y, x: 0 * g), normal(()), "zero grad"),
    ("zeros, 1 + 1e-7 x", unary(lambda x: 1 + 1e-7 * x, lambda g, y, x: 0 * g), normal(4), "zero"),
    (
        "factor of tiny f",
        unary(lambda x: 1e-7 * np.sin(x), lambda g, y, x: 1.01e-7 * g * ops.cos(x)),
        normal(4),
        "constant factor 1.01",
    ),
    ("ignores g", sin_with(lambda g, x: ops.cos(x)), normal(4), "the vjp ignores g"),
    ("abs(g)", sin_with(lambda g, x: abs(g) * ops.cos(x)), normal(()), "not linear in g"),
    ("g squared", sin_with(lambda g, x: g * g * ops.cos(x)), normal(4), "not linear in g"),
    ("mean of g", sin_mean_g, normal(6), "right only for a cotangent of ones|wrong gradient"),
    ("nan", sin_with(lambda g, x: g * masked(x, 1, np.nan)), normal(4), "gradient is nan"),
    ("inf", sin_with(lambda g, x: g * masked(x, 2, np.inf)), normal(4), "gradient is -?inf"),
    (
        "one element",
        sin_with(lambda g, x: g * ops.cos(x) * masked(x, (1, 2), 1.0001)),
        normal((3, 40)),
        r"wrong only at \(1, 2\)",
    ),
    (
        "one element zero",
        sin_with(lambda g, x: g * ops.cos(x) * masked(x, (0, 0), 0)),
        normal((2, 50)),
        r"wrong only at \(0, 0\)",
    ),
    (
        "last row",
        sin_with(lambda g, x: g * ops.cos(x) * masked(x, -1, 1.5)),
        normal((4, 3)),
        "wrong only at index 3 of axis 0",
    ),
    (
        "negative values",
        sin_with(lambda g, x: g * ops.cos(x) * np.where(ops.values(x) < 0, -1, 1)),
        apart((4, 3)),
        "wrong only .*where the input is negative",
    ),
    (
        "relu passes all",
        unary(lambda x: np.maximum(x, 0), lambda g, y, x: g),
        apart((4, 3)),
        "wrong only .*where the input is negative",
    ),
    (
        "abs without sign",
        unary(lambda x: np.abs(x), lambda g, y, x: g),
        apart((4, 3)),
        "wrong only .*where the input is negative",
    ),
    ("matmul, transposed", matmul_transposed, normal((3, 4), (4, 2)), "a transposed gradient"),
    ("matmul, square", matmul_square_transposed, normal((3, 3), (3, 3)), "a transposed gradient"),
    ("transpose by reshape", transpose_as_reshape, normal((3, 4)), "a transposed gradient"),
    ("conv input flipped", flipped_conv(0), normal((1, 7, 2), (3, 2, 2)), "reversed along axis 1"),
    ("conv kernel flipped", flipped_conv(1), normal((1, 7, 2), (3, 2, 2)), "reversed along axis 0"),
    ("diff, off by one", shifted_diff(1), normal(7), "shifted by one along axis 0"),
    ("diff, off by minus one", shifted_diff(-1), normal(7), "shifted by one along axis 0"),
    ("cumsum, backwards", cumsum_backwards, normal(6), "right only for a cotangent of ones"),
    ("softmax of zeros", softmax_zeros, normal((3, 4)), "a zero gradient"),
    ("softmax, diagonal only", softmax_diagonal, normal((3, 4)), "wrong gradient"),
    ("swapped vjps", product_swapped, normal((3, 2), (3, 2)), "gradient of input 1"),
    ("sum as mean", sum_as_mean, normal((2, 3)), "constant factor 0.166667"),
    ("mean as sum", mean_as_sum, normal((2, 3)), "constant factor 6"),
    ("prod as sum", prod_as_sum, normal((2, 3)), "wrong gradient"),
    (
        "no sum over the batch",
        broadcast_add(lambda g, y, a, b: g[0]),
        normal((4, 3), 3),
        "missing sum over a broadcast axis",
    ),
    (
        "last of the batch",
        broadcast_add(lambda g, y, a, b: g[-1]),
        normal((4, 3), 3),
        "missing sum over a broadcast axis",
    ),
    (
        "mean over the batch",
        broadcast_add(lambda g, y, a, b: ops.mean(g, 0)),
        normal((4, 3), 3),
        "constant factor 0.25",
    ),
    (
        "sum over one axis of two",
        broadcast_add(lambda g, y, a, b: ops.sum(g[:, 0])),
        normal((4, 3), ()),
        "missing sum over a broadcast axis",
    ),
    (
        "kept axis not summed",
        broadcast_add(lambda g, y, a, b: g[:, :1]),
        normal((4, 3), (4, 1)),
        "missing sum over a broadcast axis",
    ),
    (
        "wrong axis summed",
        broadcast_add(lambda g, y, a, b: ops.sum(g, 1)),
        normal((3, 3), 3),
        "wrong gradient|ones",
    ),
    ("straight through", straight_through, apart((3, 2)), "f does not move"),
    ("max to all", max_everywhere, apart((3, 4)), "wrong only|wrong gradient"),
    ("edges lost", pad_edges_lost, normal(6), "wrong only at index 0 and 5 of axis 0"),
    ("detached factor", lambda x: x * x.detach(), normal(4), "constant factor 0.5"),
    ("detached", lambda x: tnn.sin(x.detach()), normal(4), "the graph is cut"),
    ("data", lambda x: Tensor(np.sin(x.data)), normal((2, 2)), "the graph is cut"),
    ("no_grad", tnn.no_grad()(lambda x: tnn.sin(x)), normal(3), "the graph is cut"),
    (
        "one input cut",
        lambda a, b: a * np.sin(np.asarray(b)),
        normal(3, 3),
        "the graph is cut",
    ),
]


@pytest.mark.parametrize("mode", ["auto", "full"])
@pytest.mark.parametrize(("f", "draw", "cause"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_is_caught_and_named(f, draw, cause, mode):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        with pytest.raises(GradcheckError, match="WRONG") as caught:
            check_grads(f, *draw(rng), mode=mode, rng=rng)
        assert re.search(cause, caught.value.report.cause), str(caught.value)
