"""Every operation: values against NumPy, derivatives of first and second order, dtypes."""

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops, protocols
from tinynn.autodiff.primitive import PRIMITIVES

from . import oracles

OWN = {  # tinynn's primitives: folder and name, whatever the file
    f"{full.split('.')[2]}.{op.__name__}": op
    for full, op in PRIMITIVES.items()
    if full.startswith("tinynn.autodiff.")
}
RNG = np.random.default_rng(0)
I64 = np.int64


# ---------------------------------------------------------------- domains


def normal(*shape):
    return RNG.normal(size=shape)


def positive(*shape):
    return RNG.uniform(0.5, 2.0, size=shape)


def small(*shape):
    return RNG.uniform(-0.9, 0.9, size=shape)


def apart(*shape):
    """Values at least 0.1 from each other, and 0.05 from 0: no kink nearby."""
    n = math.prod(shape)
    return np.asarray((RNG.permutation(n) - n // 2 + 0.5).reshape(shape) * 0.1)


# ---------------------------------------------------------------- rows


@dataclass
class Row:
    name: str
    op: object
    reference: object  # plain NumPy: the values and, unless op's forward is analytic, derivatives
    args: tuple
    analytic: bool
    params: dict = field(default_factory=dict)

    def __str__(self):
        shapes = " ".join(str(np.shape(a)).replace(" ", "") for a in self.args)
        return f"{self.name} {shapes} {self.params or ''}"

    def call(self, *args):
        return self.op(*args, **self.params)

    def expected(self, *args):
        return self.reference(*args, **self.params)


def row(name, reference, *args, **params):
    """One row for a primitive ("ops.add") or a public function ("mean"); params go to both."""
    op = OWN[name] if "." in name else getattr(tnn, name)
    return Row(name, op, reference, args, True, params)


def kinked(*args, **params):
    """Mark a row whose reference is not complex analytic: central differences check it."""
    made = row(*args, **params)
    made.analytic = False
    return made


def both(name, f, *args):
    """One row for ``f(module, *args)``, the same expression in tinynn and in NumPy."""
    return Row(name, partial(f, tnn), partial(f, np), args, True)


def tiny_sigmoid(x):
    return 1 / (1 + np.exp(-x))


def tiny_softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def tiny_log_softmax(x, axis=-1):
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def tiny_logsumexp(x, axis=None, keepdims=False):
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def tiny_elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * (np.exp(x) - 1))


def tiny_var(x, axis=None, ddof=0, keepdims=False):
    """numpy.var takes absolute squares of complex numbers, which is not analytic."""
    total = ((x - x.mean(axis=axis, keepdims=True)) ** 2).sum(axis=axis, keepdims=keepdims)
    return total / (x.size // np.sum(x.real, axis=axis).size - ddof)


def tiny_norm(x, axis=None, keepdims=False):
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


def tiny_std(*args, **params):
    return np.sqrt(tiny_var(*args, **params))


erf = np.vectorize(math.erf, otypes=[float])


def tiny_gelu(x, approximate=False):
    if approximate:
        return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x / 2 * (1 + erf(x / np.sqrt(2)))


def scattered(x, index, shape):
    y = np.zeros(shape, x.dtype)
    np.add.at(y, index, x)
    return y


def picked(x, index, axis, mode, along):
    if along:
        return np.take_along_axis(x, index, axis)
    return np.take(x, index, axis, mode=mode)


def unpicked(x, index, axis, mode, along, shape):
    """The adjoint, by its definition: what each element of unit size is picked into."""
    y = np.zeros(shape, x.dtype)
    for place in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[place] = 1
        y[place] = np.sum(x * picked(unit, index, axis, mode, along))
    return y


def tiny_length(x, ord=None, axis=None, keepdims=False):
    """numpy.linalg.norm takes squares of absolute values, which is not analytic."""
    return tiny_norm(x, axis, keepdims)


def summed_to(x, shape):
    while x.ndim > len(shape):
        x = x.sum(axis=0)
    for i, n in enumerate(shape):
        x = x.sum(axis=i, keepdims=True) if n == 1 else x
    return x


def same_broadcast(name, reference, left=normal, right=normal, kind=row):
    """Rows that broadcast an elementwise function of two arguments in every position."""
    shapes = [((2, 3), (2, 3)), ((2, 3), (3,)), ((1,), (2, 3)), ((2, 1), (1, 3)), ((2, 3), ())]
    shapes += [((), ()), ((0, 3), (1, 3)), ((2, 1, 2), (3, 1))]
    return [kind(f"ops.{name}", reference, left(*a), right(*b)) for a, b in shapes]


def where_apart(name, reference, make=kinked):
    a, b = apart(2, 3), apart(2, 3) + 0.037
    pairs = [(a, b), (a, b[0]), (a[:, :1], b[:1]), (np.array(0.41), b)]
    return [make(f"ops.{name}", reference, *pair) for pair in pairs]


MASK = np.array([[True, False, True], [False, False, True]])
INDEX = np.array([[2, 0], [-1, 2]])
HOW = {"strides": 2, "padding": (1, 2), "dilation": 1, "groups": 2}
DILATED = {"strides": 1, "padding": (0, 3), "dilation": 2, "groups": 1}

PRIMITIVE_ROWS = [
    row("ops.broadcast_to", np.broadcast_to, normal(3), shape=(2, 3)),
    row("ops.broadcast_to", np.broadcast_to, normal(2, 1), shape=(I64(2), 2, 3)),
    row("ops.broadcast_to", np.broadcast_to, np.array(1.5), shape=(0, 2)),
    row("ops.broadcast_to", np.broadcast_to, np.array(1.5), shape=()),
    row("ops.sum_to", summed_to, normal(2, 3), shape=(3,)),
    row("ops.sum_to", summed_to, normal(4, 2, 3), shape=(1, 3)),
    row("ops.sum_to", summed_to, normal(4, 2, 3), shape=(3,)),
    row("ops.add", np.add, normal(3, 2, 4), normal(4)),
    row("ops.sum_to", summed_to, normal(2, 1), shape=()),
    *same_broadcast("add", np.add),
    *same_broadcast("subtract", np.subtract),
    *same_broadcast("multiply", np.multiply),
    *same_broadcast("divide", np.divide, right=positive),
    *same_broadcast("guarded_multiply", np.multiply),
    *same_broadcast("guarded_divide", np.divide, right=positive),
    *same_broadcast("product_of_gradients", np.multiply),
    row(
        "ops._seen_product",
        lambda h, slope, g: h * slope,
        normal(2, 3),
        normal(3),
        np.zeros(3, bool),
    ),
    row(
        "ops._seen_product",
        lambda h, slope, g: h * slope,
        normal(2, 3),
        normal(3),
        np.ones(3, bool),
    ),
    row("ops._seen_quotient", lambda h, d, g: h / d, normal(2, 3), positive(3), np.zeros(3, bool)),
    row("ops._seen_quotient", lambda h, d, g: h / d, normal(2, 3), positive(3), np.ones(3, bool)),
    *same_broadcast("power", np.power, left=positive),
    row("ops.power", np.power, normal(3), 2),
    row("ops.power", np.power, normal(3), 3.0),
    row("ops.power", np.power, normal(3), 1),
    row("ops.power", np.power, normal(3), 0),
    row("ops.power", np.power, positive(3), -0.5),
    row("ops.power", np.power, positive(3), np.array([1, 2, 3], np.int8)),
    row("ops.power", np.power, 2.0, normal(3)),
    row("ops.power", np.power, 2, normal(3)),
    row("ops.negative", np.negative, normal(2, 3)),
    row("ops.square", np.square, normal(2, 3)),
    kinked("ops.abs", np.abs, apart(2, 3)),
    kinked("ops.sign", np.sign, apart(2, 3)),
    row("ops.exp", np.exp, normal(2, 3)),
    row("ops.expm1", np.expm1, normal(2, 3)),
    row("ops.log", np.log, positive(2, 3)),
    row("ops.exp2", np.exp2, normal(2, 3)),
    row("ops.log2", np.log2, positive(2, 3)),
    row("ops.log10", np.log10, positive(2, 3)),
    row("ops.log1p", np.log1p, positive(2, 3) - 1),
    row("ops.sqrt", np.sqrt, positive(2, 3)),
    row("ops.sin", np.sin, normal(2, 3)),
    row("ops.cos", np.cos, normal(2, 3)),
    row("ops.tan", np.tan, small(2, 3)),
    row("ops.arcsin", np.arcsin, small(2, 3)),
    row("ops.arccos", np.arccos, small(2, 3)),
    row("ops.arctan", np.arctan, small(2, 3)),
    *same_broadcast("arctan2", np.arctan2, kind=kinked),
    kinked("ops.arctan2", np.arctan2, *np.array([[1, 3, -1, -1, 2, 0], [2, 1, 2, -2, -2, 1.0]])),
    row("ops.sinh", np.sinh, normal(2, 3)),
    row("ops.cosh", np.cosh, normal(2, 3)),
    row("ops.tanh", np.tanh, normal(2, 3)),
    kinked("ops.erf", erf, normal(2, 3)),
    row("ops.where", np.where, MASK, normal(2, 3), normal(2, 3)),
    row("ops.where", np.where, MASK, normal(3), normal(2, 1)),
    row("ops.where", np.where, True, normal(3), 0.0),
    row("ops.where", np.where, MASK, 0.0, normal()),
    *where_apart("maximum", np.maximum),
    *where_apart("minimum", np.minimum),
    kinked("ops._clip", np.clip, apart(2, 5), -0.1, 0.2),
    kinked("ops._clip", np.clip, apart(2, 5), small(5) - 1.01, np.array([[0.113], [0.291]])),
    kinked("ops._clip", np.clip, apart(5), np.array(0.311), np.array(-0.113)),
    row("ops.sum", np.sum, normal(2, 3)),
    row("ops.sum", np.sum, normal(2, 3, 2), axis=(0, -1), keepdims=True),
    row("ops.sum", np.sum, normal(2, 3), axis=I64(-1)),
    row("ops.sum", np.sum, normal(2, 3), axis=()),
    row("ops.sum", np.sum, normal(), axis=0),
    row("ops.sum", np.sum, normal(0, 3), axis=0),
    *[
        kinked(f"ops.{name}", reference, x, **params)
        for name, reference in (("max", np.max), ("min", np.min))
        for x, params in (
            (apart(2, 3), {}),
            (apart(2, 3, 2), {"axis": (0, -1)}),
            (apart(2, 3, 2), {"axis": I64(-2), "keepdims": True}),
            (apart(2, 3), {"axis": ()}),
            (apart(), {"axis": -1}),
            (apart(0, 3), {"axis": 1}),
        )
    ],
    row("ops._norm", tiny_norm, normal(2, 3)),
    row("ops._norm", tiny_norm, normal(2, 3, 2), axis=(0, -1), keepdims=True),
    row("ops._norm", tiny_norm, normal(2, 3), axis=I64(-1)),
    row("ops._cumprod", np.cumprod, normal(2, 3), axis=1),
    row("ops._cumprod", np.cumprod, normal(5, 2), axis=I64(-2)),
    row("ops._mean", np.mean, normal(2, 3), axis=None, keepdims=False),
    row("ops._mean", np.mean, normal(2, 3, 2), axis=(0, -1), keepdims=True),
    row("ops._cumsum", np.cumsum, normal(2, 3), axis=1),
    row("ops._cumsum", np.cumsum, normal(2, 3), axis=I64(-2)),
    row("ops.logsumexp", tiny_logsumexp, normal(2, 3)),
    row("ops.logsumexp", tiny_logsumexp, normal(2, 3, 2), axis=(0, -1), keepdims=True),
    row("ops.logsumexp", tiny_logsumexp, normal(2, 3), axis=I64(-1)),
    row("ops.logsumexp", tiny_logsumexp, normal(2, 3), axis=()),
    row("ops.logsumexp", tiny_logsumexp, normal(), axis=0),
    row("ops.logsumexp", tiny_logsumexp, normal(0, 3), axis=1),
    row("ops.reshape", lambda x, shape: x.reshape(shape), normal(2, 3), shape=(3, -1)),
    row("ops.reshape", lambda x, shape: x.reshape(shape), normal(2, 3), shape=I64(6)),
    row("ops.reshape", lambda x, shape: x.reshape(shape), normal(1, 1), shape=()),
    row("ops.reshape", lambda x, shape: x.reshape(shape), normal(0, 3), shape=(3, 0)),
    row("ops._transpose", np.transpose, normal(2, 3, 2), axes=(2, 0, 1)),
    row("ops._transpose", np.transpose, normal(2, 3), axes=None),
    row("ops._transpose", np.transpose, normal(), axes=()),
    row(
        "ops._concatenate",
        lambda *xs, axis, ends: np.concatenate(xs, axis=axis),
        normal(2, 1),
        normal(2, 0),
        normal(2, 3),
        axis=1,
        ends=(1, 1, 4),
    ),
    row(
        "ops._pad",
        lambda x, widths, value: np.pad(x, widths, constant_values=value),
        normal(2, 3),
        widths=((1, 0), (2, 1)),
        value=0.5,
    ),
    row("ops.flip", np.flip, normal(2, 3)),
    row("ops.flip", np.flip, normal(2, 3, 2), axis=(0, -1)),
    row("ops.flip", np.flip, normal(2, 3), axis=I64(1)),
    row("ops.flip", np.flip, normal()),
    row("ops.roll", np.roll, normal(2, 3), shift=2),
    row("ops.roll", np.roll, normal(2, 3), shift=I64(-1), axis=I64(-1)),
    row("ops.roll", np.roll, normal(2, 3), shift=(1, -2), axis=(0, 1)),
    row("ops.roll", np.roll, normal(2, 3), shift=np.array([1, 4]), axis=[1, 1]),
    row("ops.roll", np.roll, normal(2, 3), shift=1, axis=(0, 1)),
    row("ops.astype", lambda x, dtype: x * np.ones((), dtype), normal(3), dtype=np.float64),
    row("ops._getitem", lambda x, index: x[index], normal(3), index=np.array([0, 0, -1])),
    row("ops._getitem", lambda x, index: x[index], normal(2, 3), index=MASK),
    row("ops._scatter", scattered, normal(3), index=np.array([0, 0, -1]), shape=(4,)),
    row("ops._scatter", scattered, normal(2), index=(slice(0, 2), 1), shape=(3, 2)),
    *[
        row("ops._tile", np.tile, normal(*shape), reps=reps)
        for shape, reps in (((2, 3), (2,)), ((2, 3), (2, 1, 3)), ((3,), (0, 2)), ((), (2, 2)))
    ],
    row("ops._pick", picked, normal(2, 3), INDEX, axis=1, mode="raise", along=False),
    row("ops._pick", picked, normal(3, 2), INDEX, axis=0, mode="raise", along=True),
    row("ops._pick", picked, normal(3), np.array(5), axis=0, mode="wrap", along=False),
    row(
        *("ops._unpick", unpicked, normal(2, 2, 2), INDEX),
        axis=1,
        mode="raise",
        along=False,
        shape=(2, 3),
    ),
    row(
        *("ops._unpick", unpicked, normal(2, 2), INDEX),
        axis=0,
        mode="raise",
        along=True,
        shape=(3, 2),
    ),
    row(
        *("ops._unpick", unpicked, normal(2, 1), INDEX[:, 1:]),
        axis=1,
        mode="raise",
        along=True,
        shape=(2, 3),
    ),
    *[
        row("ops.matmul", np.matmul, normal(*a), normal(*b))
        for a, b in (
            ((2, 3), (3, 2)),
            ((3,), (3,)),
            ((3,), (3, 2)),
            ((2, 3), (3,)),
            ((2, 2, 3), (3, 2)),
            ((2, 3), (2, 3, 2)),
            ((2, 1, 2, 3), (2, 3, 1)),
            ((3,), (2, 3, 2)),
            ((2, 2, 3), (3,)),
            ((2, 0), (0, 3)),
            ((0, 2), (2, 3)),
            ((2, 0, 3), (3, 0)),
            ((0,), (0, 2)),
        )
    ],
    row(
        "ops._einsum",
        lambda *xs, subscripts: np.einsum(subscripts, *xs),
        normal(2, 3),
        normal(3, 2),
        normal(2),
        subscripts="ij,jk,l->ki",
    ),
    kinked("ops.relu", lambda x: np.maximum(x, 0), apart(2, 3)),
    kinked("ops.leaky_relu", lambda x: np.where(x > 0, x, 0.2 * x), apart(2, 3)),
    kinked(
        "ops.leaky_relu",
        lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
        apart(2, 3),
        negative_slope=-0.5,
    ),
    kinked("ops.elu", tiny_elu, apart(2, 3)),
    kinked("ops.elu", tiny_elu, apart(2, 3), alpha=0.3),
    row("ops.sigmoid", tiny_sigmoid, normal(2, 3)),
    row("ops.silu", lambda x: x * tiny_sigmoid(x), normal(2, 3)),
    row("ops.softplus", lambda x: np.log1p(np.exp(x)), normal(2, 3)),
    *same_broadcast("logaddexp", lambda a, b: np.log(np.exp(a) + np.exp(b))),
    row("ops.logit_crossentropy", lambda x, y: np.log1p(np.exp(x)) - x * y, normal(2, 3), 0.3),
    row("ops.logit_slope", lambda x, y: tiny_sigmoid(x) - y, normal(2, 3), 0.3),
    row("ops.softmax", tiny_softmax, normal(2, 3)),
    row("ops.softmax", tiny_softmax, normal(2, 3, 2), axis=(0, 2)),
    row("ops.softmax", tiny_softmax, normal(2, 0)),
    row("ops.log_softmax", tiny_log_softmax, normal(2, 3)),
    row("ops.log_softmax", tiny_log_softmax, normal(2, 3), axis=I64(0)),
    row("ops.log_softmax", tiny_log_softmax, normal(0, 0)),
    row("ops.conv", oracles.conv, normal(2, 5, 2), normal(3, 1, 4), **HOW),
    row("ops.conv", oracles.conv, normal(1, 5, 1), normal(2, 1, 1), **DILATED),
    row("ops.conv_input", oracles.conv_input, normal(2, 3, 4), normal(3, 1, 4), length=5, **HOW),
    row(
        "ops.conv_input", oracles.conv_input, normal(1, 6, 1), normal(2, 1, 1), length=5, **DILATED
    ),
    row(
        "ops.conv_kernel",
        oracles.conv_kernel,
        normal(2, 5, 2),
        normal(2, 3, 4),
        kernel_size=3,
        **HOW,
    ),
    row(
        "ops.conv_kernel",
        oracles.conv_kernel,
        normal(1, 5, 1),
        normal(1, 6, 1),
        kernel_size=2,
        **DILATED,
    ),
    row("ops.add", np.add, normal(3, 2, 1), normal(4)),
]

ZERO, TWO_ZEROS = np.array([1.5, 0.0, -2.0]), np.array([[1.5, 0.0, 0.0], [0.5, 2.0, -1.0]])

COMPOSITE_ROWS = [
    row("mean", np.mean, normal(2, 3)),
    row("mean", np.mean, normal(2, 3, 2), axis=(0, -1), keepdims=True),
    row("mean", np.mean, normal(2, 3), axis=I64(1)),
    row("var", tiny_var, normal(2, 3)),
    row("var", tiny_var, normal(2, 3, 2), axis=(0, -1), ddof=1, keepdims=True),
    row("std", tiny_std, normal(2, 3), axis=-1),
    row("std", tiny_std, normal(2, 3), ddof=1.5),
    row("prod", np.prod, normal(2, 3)),
    row("prod", np.prod, normal(2, 5, 2), axis=(-2, 0), keepdims=True),
    row("prod", np.prod, normal(2, 7), axis=I64(-1)),
    row("prod", np.prod, ZERO),
    row("prod", np.prod, TWO_ZEROS, axis=1),
    row("prod", np.prod, normal(0, 2), axis=0),
    row("prod", np.prod, normal()),
    row("cumsum", np.cumsum, normal(2, 3)),
    row("cumsum", np.cumsum, normal(2, 3), axis=0),
    row("cumsum", np.cumsum, normal(), axis=0),
    row("cumprod", np.cumprod, normal(2, 3)),
    row("cumprod", np.cumprod, normal(2, 9), axis=I64(1)),
    row("cumprod", np.cumprod, ZERO),
    row("cumprod", np.cumprod, TWO_ZEROS, axis=-1),
    row("cumprod", np.cumprod, normal(0, 2), axis=0),
    row("cumprod", np.cumprod, normal(), axis=0),
    *[
        row("diff", np.diff, normal(2, 5), **params)
        for params in (
            {},
            {"n": 2, "axis": 0},
            {"n": I64(3), "axis": I64(-1)},
            {"n": 0},
            {"n": 9},
            {"prepend": 1.5, "append": np.float32(0.5)},
        )
    ],
    both("diff", lambda m, x, y: m.diff(x, prepend=y, append=x[0, 0]), normal(1, 3), normal(1, 2)),
    row("norm", tiny_length, normal(2, 3, 2)),
    row("norm", tiny_length, normal(2, 3), "fro"),
    row("norm", tiny_length, normal(2, 3, 2), axis=(0, -1), keepdims=True),
    row("norm", tiny_length, normal(2, 3), ord=2, axis=I64(-1)),
    row("norm", tiny_length, normal(3), 2),
    row("norm", tiny_length, normal()),
    *[
        kinked("norm", np.linalg.norm, apart(2, 3) + 0.013, ord=ord, **params)
        for ord in (1, np.inf, -np.inf)
        for params in ({"axis": 1}, {"axis": (0,), "keepdims": True})
    ],
    kinked("norm", np.linalg.norm, apart(4), 1),
    row("tile", np.tile, normal(2, 3), 2),
    row("tile", np.tile, normal(2, 3), (I64(2), 1)),
    both("vstack", lambda m, *xs: m.vstack(xs), normal(3), normal(2, 3), normal(1, 3)),
    both("vstack", lambda m, *xs: m.vstack(xs), normal(), normal(1)),
    both("hstack", lambda m, *xs: m.hstack(xs), normal(2, 1), normal(2, 3)),
    both("hstack", lambda m, *xs: m.hstack(xs), normal(2), normal(3), normal()),
    row("take", np.take, normal(2, 3), INDEX),
    row("take", np.take, normal(2, 3, 2), [0, 0, -1], axis=I64(-2)),
    row("take", np.take, normal(2, 3), 1, axis=0),
    row("take", np.take, normal(3), np.array([-1, 7, 3]), mode="wrap"),
    row("take", np.take, normal(3), np.array([-1, 7, 3]), 0, mode="clip"),
    row("take", np.take, normal(3), np.zeros((0, 2), int)),
    row("take_along_axis", np.take_along_axis, normal(3, 2), INDEX, axis=0),
    row("take_along_axis", np.take_along_axis, normal(2, 3), INDEX.astype("uint8") % 3, axis=-1),
    row("take_along_axis", np.take_along_axis, normal(1, 3), INDEX, axis=1),
    row("take_along_axis", np.take_along_axis, normal(2, 3, 4), INDEX[:, None], axis=I64(2)),
    row("take_along_axis", np.take_along_axis, normal(2, 3), INDEX.ravel(), axis=None),
    kinked("sort", np.sort, apart(2, 4)),
    kinked("sort", np.sort, apart(3, 2), axis=I64(0)),
    kinked("sort", np.sort, apart(3, 2), axis=None),
    kinked("clip", np.clip, apart(5), -0.1, None),
    kinked("clip", np.clip, apart(5), a_min=None, a_max=np.float32(0.1)),
    kinked("clip", np.clip, apart(2, 3), small(3) - 1.2, 0.1),
    row("ravel", np.ravel, normal(2, 3)),
    row("squeeze", np.squeeze, normal(1, 2, 1)),
    row("squeeze", np.squeeze, normal(1, 2, 1), axis=(0, -1)),
    row("squeeze", np.squeeze, normal(1, 2, 1), axis=I64(-1)),
    row("expand_dims", np.expand_dims, normal(2, 3), axis=(0, -1)),
    row("expand_dims", np.expand_dims, normal(2), axis=I64(1)),
    row("transpose", np.transpose, normal(2, 3, 4)),
    row("transpose", np.transpose, normal(2, 3, 4), axes=(I64(-1), 0, 1)),
    row("swapaxes", np.swapaxes, normal(2, 3, 4), I64(0), -1),
    row("moveaxis", np.moveaxis, normal(2, 3, 4), source=0, destination=-1),
    row("moveaxis", np.moveaxis, normal(2, 3, 4), source=(I64(0), -1), destination=[1, 0]),
    both("concatenate", lambda m, *xs: m.concatenate(xs), normal(2, 3), normal(0, 3), normal(1, 3)),
    both("concatenate", lambda m, *xs: m.concatenate(xs, axis=I64(-1)), normal(2, 1), normal(2, 2)),
    both("concatenate", lambda m, *xs: m.concatenate(xs, axis=None), normal(2, 2), normal()),
    both("concatenate", lambda m, x: m.concatenate([x, x, np.ones((1, 2), bool)]), normal(2, 2)),
    both("stack", lambda m, *xs: m.stack(xs), normal(2, 3), normal(2, 3)),
    both("stack", lambda m, *xs: m.stack(xs, axis=-1), normal(2), normal(2), normal(2)),
    both("stack", lambda m, *xs: m.stack(xs, axis=I64(1)), normal(2, 3), normal(2, 3)),
    both("split", lambda m, x: m.split(x, 2)[1] * m.split(x, 2)[0], normal(4, 2)),
    both("split", lambda m, x: m.split(x, [1, I64(3)], axis=-1)[1], normal(2, 5)),
    both("split", lambda m, x: m.split(x, (3, 1, -1), axis=1)[2], normal(2, 5)),
    both("split", lambda m, x: m.split(x, [9])[1], normal(2)),
    *[
        row("pad", np.pad, normal(*shape), width, **params)
        for shape, width, params in (
            ((2, 3), 1, {}),
            ((2, 3), ((0, 1), (2, 0)), {"constant_values": -1.5}),
            ((3,), (I64(1), 2), {"constant_values": (1.0, 2.0)}),
            ((2, 3), (1, 2), {"mode": "edge"}),
            ((2, 3), 1, {"mode": "reflect"}),
            ((3,), (5, 7), {"mode": "reflect"}),
            ((2, 3), np.array([[1, 1], [3, 2]]), {"mode": "symmetric"}),
            ((3,), (4, 2), {"mode": "wrap"}),
            ((0, 2), 1, {}),
        )
    ],
    row("pad", lambda x, widths: np.pad(x, ((0, 0), (1, 2))), normal(2, 3), {-1: (1, 2)}),
    row("pad", lambda x, widths: np.pad(x, ((2, 2), (0, 0))), normal(2, 3), {0: 2}),
    row("flip", np.flip, normal(3)),
    row("roll", np.roll, normal(3), 1),
    row("repeat", np.repeat, normal(2, 3), 2),
    row("repeat", np.repeat, normal(2, 3), I64(2), axis=-1),
    row("repeat", np.repeat, normal(2, 3), np.array([0, 1, 3]), axis=1),
    row("repeat", np.repeat, normal(), 3),
    *[
        row("dot", np.dot, normal(*a), normal(*b))
        for a, b in (
            ((), (2, 3)),
            ((2,), ()),
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((2, 3), (3, 2)),
            ((2, 2, 3), (3,)),
            ((3,), (2, 3, 2)),
            ((2, 3), (2, 3, 2)),
            ((1, 2, 3), (2, 3, 1)),
        )
    ],
    row("tensordot", np.tensordot, normal(2, 3, 2), normal(3, 2, 2)),
    row("tensordot", np.tensordot, normal(2, 3), normal(3, 2), axes=I64(1)),
    row("tensordot", np.tensordot, normal(2), normal(3), axes=0),
    row("tensordot", np.tensordot, normal(2, 3, 4), normal(4, 2), axes=((0, -1), [1, 0])),
    row("tensordot", np.tensordot, normal(2, 3), normal(2, 3), axes=(0, 0)),
    row("tensordot", np.tensordot, normal(2, 0), normal(0, 2), axes=1),
    row("outer", np.outer, normal(2), normal(3)),
    row("outer", np.outer, normal(2, 2), normal()),
    *[
        both(f"einsum {subscripts}", lambda m, *xs, s=subscripts: m.einsum(s, *xs), *arrays)
        for subscripts, arrays in (
            ("ij,jk->ik", (normal(2, 3), normal(3, 2))),
            ("ij,jk", (normal(2, 3), normal(3, 2))),
            ("ba", (normal(2, 3),)),
            ("i,i", (normal(3), normal(3))),
            ("ij->", (normal(2, 3),)),
            ("ij->j", (normal(2, 3),)),
            ("ij,k->i", (normal(2, 3), normal(2))),
            ("ii", (normal(3, 3),)),
            ("ii->i", (normal(3, 3),)),
            ("iij,j->i", (normal(2, 2, 3), normal(3))),
            ("iijj->ij", (normal(2, 2, 3, 3),)),
            ("iji,k->kj", (normal(2, 3, 2), normal(2))),
            ("...ij,...jk->...ik", (normal(2, 2, 3), normal(3, 2))),
            ("...i,...i", (normal(2, 3), normal(1, 3))),
            ("i...->...i", (normal(2, 3, 2),)),
            ("i...,...->i...", (normal(2, 3), normal(3))),
            ("...,...", (normal(2, 3), normal())),
            ("ij,ij->ij", (normal(1, 3), normal(2, 1))),
            ("ij,ij->", (normal(1, 3), normal(2, 3))),
            (" ij , jk -> ik ", (normal(2, 3), normal(3, 2))),
            ("i,j,k->kji", (normal(2), normal(3), normal(2))),
            ("aB,Bc->aBc", (normal(2, 3), normal(3, 2))),
            (",i->i", (normal(), normal(3))),
            ("ij,jk->ik", (normal(2, 0), normal(0, 2))),
        )
    ],
    kinked("gelu", tiny_gelu, normal(2, 3)),
    row("gelu", tiny_gelu, normal(2, 3), approximate=np.True_),
    both("T", lambda m, x: x.T @ x, normal(2, 3)),
    both(
        "operators",
        lambda m, a, b: -a + 2 * b - a / 3 * b**2 @ np.array([[1], [2]], np.int8),
        normal(2, 2),
        normal(2, 2),
    ),
    both("reflected", lambda m, a: (1 - a) / (3 + 2**a) * (2 / (5 + a)), small(3)),
]

ROWS = PRIMITIVE_ROWS + COMPOSITE_ROWS
every_row = pytest.mark.parametrize("row", ROWS, ids=str)


def test_every_primitive_has_a_row():
    with_gradient = {name for name, op in OWN.items() if op.variadic or any(op.vjps)}
    assert {row.name for row in PRIMITIVE_ROWS} == with_gradient


INNER = {  # functions of tinynn.autodiff.ops that have no public name of their own
    *"add subtract multiply divide negative getitem astype equal compare holds erf".split(),
    *"guarded_multiply guarded_divide product_of_gradients sum_to".split(),
    *"logit_crossentropy logit_slope long_row all_finite values".split(),
}
NOT_IN_ROWS = {"argmax", "argmin", "elementwise"}  # no gradient, or no operation


def test_every_operation_has_its_public_name_its_place_in_numpy_and_in_the_reference():
    reference = Path(__file__).parents[2] / "docs" / "reference"
    text = "".join(page.read_text(encoding="utf-8") for page in reference.glob("*.rst"))
    missing, rows = [], {row.name.split()[0].removeprefix("ops.") for row in ROWS}
    for name, f in vars(ops).items():
        if not callable(f) or name.startswith("_") or isinstance(f, type) or name == "Axis":
            continue
        if name not in INNER:
            if getattr(tnn, name, None) is not f:
                missing.append(f"tinynn/__init__.py: import {name}, and name it in __all__")
            if name not in rows | NOT_IN_ROWS:
                missing.append(f"a row for {name!r} in the table above")
            if f".. autofunction:: {name}\n" not in text:
                missing.append(f"docs/reference/functions.rst: {name}")
            if not f.__doc__ or ">>> " not in f.__doc__:
                missing.append(f"{name}: a docstring with an example")
        if hasattr(np, name) and protocols.COUNTERPARTS.get(getattr(np, name)) is not f:
            missing.append(f"numpy.{name} is not the counterpart of {name}")
    files = [part for part in vars(ops).values() if isinstance(part, ModuleType)]
    files.remove(ops.convolution)  # what it offers has no namesakes in NumPy
    for file in files:
        missing += [
            f"tinynn/autodiff/ops/__init__.py: import {name}"
            for name, f in vars(file).items()
            if getattr(f, "__module__", "") == file.__name__ and ">>> " in (f.__doc__ or "")
            if getattr(ops, name, None) is not f
        ]
    assert missing == []


@pytest.mark.parametrize(
    "row", [row for row in PRIMITIVE_ROWS if OWN[row.name].passes_nan], ids=str
)
def test_a_nan_shows_in_every_result_computed_from_it(row):
    y = np.array(row.call(*row.args))
    for i, arg in enumerate(row.args):
        if not isinstance(arg, np.ndarray) or arg.dtype.kind != "f":
            continue
        for place in np.ndindex(arg.shape):
            results = []
            for value in (arg[place] + 0.377, np.nan):
                args = list(row.args)
                args[i] = arg.copy()
                args[i][place] = value
                with np.errstate(invalid="ignore"):
                    results.append(np.array(row.call(*args)))
            moved, spoilt = results
            assert np.isnan(spoilt[moved != y]).all(), (i, place)


def test_what_may_hide_a_nan_does_not_promise_to_show_it():
    for name in "where compare holds power guarded_multiply guarded_divide astype".split():
        assert not OWN[f"ops.{name}"].passes_nan


@every_row
def test_values_are_those_of_numpy(row):
    plain, expected = row.call(*row.args), row.expected(*row.args)
    assert not isinstance(plain, tnn.Tensor)
    oracles.assert_close(plain, expected, rtol=1e-12, noise=1e-13)
    recorded = row.call(*oracles.leaves(row.args))
    assert type(recorded) is tnn.Tensor
    assert recorded.requires_grad
    oracles.assert_close(recorded.numpy(), plain, rtol=1e-15, noise=1e-15)


@every_row
def test_first_derivative(row):
    rng = np.random.default_rng(1)
    oracles.check_first_order(
        row.call, row.args, rng, reference=row.expected, analytic=row.analytic
    )


@every_row
def test_second_derivative(row):
    oracles.check_second_order(row.call, row.args, np.random.default_rng(2))


@every_row
def test_float32_stays_float32(row):
    def narrow(a):
        return a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a

    args = [narrow(a) for a in row.args]
    y = row.call(*oracles.leaves(args))
    assert y.dtype == (np.float64 if row.name == "ops.astype" else np.float32)
    oracles.assert_close(y.numpy(), row.expected(*row.args), rtol=1e-4, noise=1e-5)
    g = np.ones(y.shape)  # float64: a gradient has the dtype of its tensor all the same
    for create_graph in (False, True):
        for grad in oracles.pulled_back(row.call, args, g, create_graph=create_graph):
            assert grad.dtype == np.float32


@every_row
def test_arguments_are_left_alone(row):
    args = [a.copy() if isinstance(a, np.ndarray) else a for a in row.args]
    tensors = oracles.leaves(args)
    y = row.call(*tensors)
    tnn.grad(y, [t for t in tensors if isinstance(t, tnn.Tensor)], np.ones(y.shape))
    row.call(*args)
    for before, after, tensor in zip(row.args, args, tensors, strict=True):
        np.testing.assert_array_equal(after, before)
        np.testing.assert_array_equal(np.asarray(tensor), before)


def test_no_axis_is_broadcast_to_a_length_below_zero():
    for shape in ((-1,), (2, -1)):
        with pytest.raises(ValueError, match="non-negative"):
            tnn.broadcast_to(np.array(1.0), shape)
        with pytest.raises(ValueError, match="non-negative"):
            tnn.broadcast_to(tnn.Tensor(1.0), shape)


@pytest.mark.parametrize("dtype", [bool, "int8", "float16", "float32"])
def test_relu_of_many_numbers_is_that_of_few(dtype):
    x = (RNG.normal(size=(3, 1000)) * 3).astype(dtype)
    y = tnn.relu(x)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    assert y.dtype == tnn.relu(x[:, :3]).dtype == np.maximum(x, 0).dtype
