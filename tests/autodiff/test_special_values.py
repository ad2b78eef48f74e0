"""Derivatives at 0, at infinity and behind where: right where one exists, else to be seen."""

import math

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the forward pass
INF, NAN = math.inf, math.nan


def leaf(values):
    return tnn.Tensor(values, requires_grad=True)


def derivatives(f, x):
    """Return value, first and second derivative of an elementwise function."""
    x = leaf(x)
    y = f(x)
    [first] = tnn.grad(y.sum(), x, create_graph=True)
    [second] = tnn.grad((first + tnn.where(False, x, 0)).sum(), x)  # x is part of it
    return y.numpy(), first.numpy(), second


# ---------------------------------------------------------------- powers


@pytest.mark.parametrize(
    ("exponent", "x", "first", "second"),
    [
        (0, [0.0, INF, -2.0], [0, 0, 0], [0, 0, 0]),
        (1, [0.0, INF, -2.0], [1, 1, 1], [0, 0, 0]),
        (2, [0.0, INF, -2.0], [0, INF, -4], [2, 2, 2]),
        (3, [0.0, -INF, -2.0], [0, INF, 12], [0, -INF, -12]),
        (0.5, [0.0, INF, 4.0], [INF, 0, 0.25], [-INF, 0, -1 / 32]),
        (-1, [INF, -2.0, -INF], [0, -0.25, 0], [0, -0.25, 0]),
        (1.5, [0.0, INF, 4.0], [0, INF, 3], [INF, 0, 3 / 8]),
    ],
)
@pytest.mark.parametrize("form", [float, int, np.array, lambda p: tnn.Tensor([p] * 3)])
def test_powers_in_the_base(exponent, x, first, second, form):
    if form is int and exponent != int(exponent):
        pytest.skip("no whole number")
    _, got, again = derivatives(lambda v: v ** form(exponent), x)
    np.testing.assert_allclose(got, first)
    np.testing.assert_allclose(again, second)


@pytest.mark.parametrize(
    ("x", "p", "slope"),
    [
        (0.0, 2.0, 0),
        (0.0, 0.5, 0),
        (0.0, 0.0, 0),
        (0.0, -1.0, -INF),
        (INF, -1.0, 0),
        (INF, 2.0, INF),
        (1.0, 5.0, 0),
        (-2.0, 3.0, NAN),
    ],
)
def test_powers_in_the_exponent(x, p, slope):
    base, exponent = leaf(x), leaf(p)
    dx, dp = tnn.grad(base**exponent, [base, exponent])
    np.testing.assert_equal(dp, slope)
    with np.errstate(all="ignore"):
        np.testing.assert_equal(dx, p * np.float64(x) ** (p - 1) if p else 0)


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, -1.0, 0.5])
@pytest.mark.parametrize("x", [23.0, 0.25])
def test_mixed_derivatives_of_a_power(x, p):
    log = math.log(x)
    expected = [
        [p * (p - 1) * x ** (p - 2), x ** (p - 1) * (1 + p * log)],
        [x ** (p - 1) * (1 + p * log), x**p * log**2],
    ]
    found = tnn.hessian(lambda v: v[0] ** v[1])(np.array([x, p]))
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-300)


# ---------------------------------------------------------------- zeros that say "no gradient"

BASE = np.array([0.7, 1.3, 0.4, 2.0])
TAKEN = np.array([False, True, False, True])
MIX = np.random.default_rng(0).normal(size=(4, 4))

SINGULAR = {
    "1/x": lambda x: 1 / x,
    "x/x": lambda x: x / x,
    "sqrt": tnn.sqrt,
    "1/sqrt": lambda x: 1 / tnn.sqrt(x),
    "log": tnn.log,
    "-log": lambda x: -tnn.sqrt(x) - tnn.log(x),
    "x log x": lambda x: x * tnn.log(x),
    "x ** -0.5": lambda x: x**-0.5,
    "x ** x": lambda x: x**x,
    "arctan(1/x)": lambda x: tnn.arctan(1 / x),
    "exp(1/x)": lambda x: tnn.exp(1 / x),
    "silu(1/x)": lambda x: tnn.silu(1 / x),
    "gelu(log)": lambda x: tnn.gelu(tnn.log(x)),
    "softplus(log)": lambda x: tnn.softplus(tnn.log(x)),
    "norm": lambda x: tnn.sqrt(x * x),
    "std": lambda x: tnn.std(tnn.stack([x, 2 * x, x * x]), axis=0),
    "var": lambda x: tnn.var(tnn.stack([1 / x, x]), axis=0),
    "logsumexp": lambda x: tnn.logsumexp(tnn.stack([tnn.log(x), 1 / x]), axis=0),
    "softmax": lambda x: tnn.softmax(tnn.stack([tnn.log(x), 1 / x]), axis=0)[0],
    "log_softmax": lambda x: tnn.log_softmax(tnn.stack([tnn.log(x), 1 / x]), axis=0)[0],
    "max": lambda x: tnn.max(tnn.stack([1 / x, x]), axis=0),
    "maximum": lambda x: tnn.maximum(1 / x, tnn.log(x)),
    "prod": lambda x: tnn.prod(tnn.stack([1 / x, x, tnn.log(x)]), axis=0),
}
AFTER = {
    "": lambda y: y,
    "squared": lambda y: y * y,
    "mixed": lambda y: tnn.tanh(y @ MIX),
}


@pytest.mark.parametrize("bad", [0.0, -1.0, INF, NAN])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("name", SINGULAR)
def test_a_branch_not_taken_leaves_no_trace_up_to_second_order(name, after, bad):
    def f(x):
        return AFTER[after](tnn.where(TAKEN, SINGULAR[name](x), 0.3)).sum()

    def penalty(x):
        x = leaf(x)
        [slope] = tnn.grad(f(x), x, create_graph=True)
        return tnn.grad((slope * slope).sum() + (0 * tnn.where(TAKEN, x, 0)).sum(), x)[0]

    x = np.where(TAKEN, BASE, bad)
    for g in (lambda x: tnn.value_and_grad(f)(x)[1], tnn.hessian(f), penalty):
        np.testing.assert_allclose(g(x), g(BASE), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("f", "second"),
    [
        (lambda x: tnn.sqrt(x) ** 2, 0),
        (lambda x: (x**0.5) ** 2, 0),
        (lambda x: tnn.square(tnn.sqrt(x)), 0),
        (lambda x: tnn.exp(tnn.log(x)), 0),
        (lambda x: 1 / (1 / x), 0),
        (lambda x: tnn.sqrt(x * x) ** 2, 2),
        (lambda x: tnn.sqrt(x) ** 4, 2),
        (lambda x: x * tnn.sqrt(x), INF),
        (lambda x: tnn.sigmoid(tnn.log(x)), -2),
        (lambda x: tnn.std(tnn.stack([x, -x]), axis=0) ** 2, 2),
    ],
)
def test_no_silent_zero_at_second_order(f, second):
    found = derivatives(f, [0.0])[2][0]
    assert not np.isfinite(found) or found == second


def test_hessian_of_a_squared_norm_at_zero_is_right_or_seen():
    found = tnn.hessian(lambda x: tnn.sqrt((x * x).sum()) ** 2)(np.zeros(2))
    assert not np.isfinite(found).all() or np.allclose(found, 2 * np.eye(2))
    np.testing.assert_allclose(tnn.hessian(lambda x: (x * x).sum())(np.zeros(2)), 2 * np.eye(2))


def test_an_infinite_gradient_does_not_reach_what_was_not_chosen():
    x = leaf([-1.0, 0.0, 1.0])
    for f in (tnn.relu, lambda x: tnn.maximum(x, 0.0), lambda x: tnn.clip(x, 0, None)):
        assert tnn.grad(tnn.sqrt(f(x)).sum(), x)[0][0] == 0
    for f, slope in ((tnn.sign, 0), (tnn.relu, 0)):
        np.testing.assert_array_equal(tnn.grad(f(x), x, [INF, INF, 0])[0][:2], slope)


# ---------------------------------------------------------------- deviations


@pytest.mark.parametrize("value", [1.0, 0.1, 1e-3, 1e8])
@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("f", [tnn.std, lambda x, axis: tnn.log(tnn.std(x, axis=axis) + 1e-5)])
def test_the_deviation_of_a_constant_row_has_gradient_0(value, count, f):
    rows = np.stack([np.full(count, value), np.arange(count) + value])
    x = leaf(rows)
    [both] = tnn.grad(f(x, axis=1).sum(), x)
    np.testing.assert_array_equal(both[0], 0)
    alone = leaf(rows[1:])
    np.testing.assert_array_equal(both[1:], tnn.grad(f(alone, axis=1).sum(), alone)[0])
    np.testing.assert_allclose(tnn.grad(tnn.var(x, axis=1).sum(), x)[0][0] / value, 0, atol=1e-15)
    assert tnn.std(rows[0]) == 0


# ---------------------------------------------------------------- the ends of the range


@pytest.mark.parametrize(
    ("f", "x", "value", "first"),
    [
        (tnn.sigmoid, [INF, -INF], [1, 0], [0, 0]),
        (tnn.softplus, [INF, -INF], [INF, 0], [1, 0]),
        (tnn.silu, [INF, -INF, 2000.0, -2000.0], [INF, 0, 2000, 0], [1, 0, 1, 0]),
        (tnn.gelu, [INF, -INF, 1e200, -50.0], [INF, 0, 1e200, 0], [1, 0, 1, 0]),
        (lambda x: tnn.gelu(x, True), [INF, -INF, 1e200], [INF, 0, 1e200], [1, 0, 1]),
        (tnn.elu, [INF, -INF], [INF, -1], [1, 0]),
        (tnn.tanh, [INF, -INF], [1, -1], [0, 0]),
        (tnn.arctan, [INF, -INF], [math.pi / 2, -math.pi / 2], [0, 0]),
        (ops.erf, [INF, -INF], [1, -1], [0, 0]),
        (lambda x: ops.logit_crossentropy(x, 0.0), [-INF, INF], [0, INF], [0, 1]),
        (lambda x: ops.logit_crossentropy(x, 1.0), [-INF, INF], [INF, 0], [-1, 0]),
        (lambda x: ops.logit_crossentropy(x, 0.3), [-INF, INF], [INF, INF], [-0.3, 0.7]),
    ],
)
def test_ends(f, x, value, first):
    y, slope, second = derivatives(f, x)
    np.testing.assert_allclose(y, value)
    np.testing.assert_allclose(slope, first, atol=1e-15)
    np.testing.assert_array_equal(second, 0)


@pytest.mark.parametrize("f", [tnn.silu, tnn.gelu, tnn.relu, tnn.elu, tnn.softplus, tnn.sigmoid])
def test_a_nan_stays_one(f):
    assert np.isnan(f(np.array([NAN, 1.0])))[0]


@pytest.mark.parametrize(
    ("x", "shares"),
    [
        ([-INF, 0.0, math.log(3)], [0, 0.25, 0.75]),
        ([INF, 0.0, -INF], [1, 0, 0]),
        ([INF, INF, 1.0], [0.5, 0.5, 0]),
        ([1e4, -1e4, 1e4], [0.5, 0, 0.5]),
    ],
)
def test_softmax_with_infinite_elements(x, shares):
    np.testing.assert_allclose(tnn.softmax(np.array(x)), shares)
    np.testing.assert_allclose(np.exp(tnn.log_softmax(np.array(x))), shares)
    t = leaf(x)
    for axis, rows in ((None, t), (0, t), (-1, tnn.stack([t, t]))):
        y = tnn.logsumexp(rows, axis=axis)
        [gradient] = tnn.grad(y.sum(), t)
        np.testing.assert_allclose(gradient, np.multiply(shares, y.size))
    weights = np.array([1.0, 2.0, 4.0])
    [gradient] = tnn.grad((tnn.softmax(t) * weights).sum(), t)
    np.testing.assert_allclose(gradient, shares * (weights - np.dot(shares, weights)), atol=1e-15)
    chosen = int(np.argmax(shares))
    [gradient] = tnn.grad(tnn.log_softmax(t)[chosen], t)
    np.testing.assert_allclose(gradient, np.eye(3)[chosen] - shares, atol=1e-15)


def test_sums_and_extremes_of_infinity():
    x = leaf([INF, 1.0, INF])
    np.testing.assert_array_equal(tnn.grad(tnn.sum(x), x)[0], 1)
    np.testing.assert_array_equal(tnn.grad(tnn.max(x), x)[0], [0.5, 0, 0.5])
    np.testing.assert_array_equal(tnn.grad(tnn.max(x), x, INF)[0], [INF, 0, INF])
    y = leaf([INF, INF, 0.0])
    np.testing.assert_array_equal(tnn.grad(tnn.maximum(x, y).sum(), x)[0], [0.5, 0, 1])
