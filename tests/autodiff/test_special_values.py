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
    "cumprod": lambda x: tnn.cumprod(tnn.stack([1 / x, x, tnn.log(x), x]), axis=0)[2],
    "log2": tnn.log2,
    "log10": lambda x: x * tnn.log10(x),
    "exp2(1/x)": lambda x: tnn.exp2(1 / x),
    "arcsin(1/x)": lambda x: tnn.arcsin(1 / x),
    "arccos(1/x)": lambda x: tnn.arccos(1 / x),
    "arctan2": lambda x: tnn.arctan2(x, x * x),
    "arctan2(1/x)": lambda x: tnn.arctan2(tnn.log(x), 1 / x),
    "logaddexp": lambda x: tnn.logaddexp(tnn.log(x), 1 / x),
    "logaddexp, equal": lambda x: tnn.logaddexp(1 / x, 1 / x),
    "norm over axes": lambda x: tnn.norm(tnn.stack([x, x * x]), axis=0),
    "norm 1": lambda x: tnn.norm(tnn.stack([x, 1 / x]), 1, axis=0),
    "norm inf": lambda x: tnn.norm(tnn.stack([x, tnn.log(x)]), INF, axis=0),
    "sort": lambda x: tnn.sort(tnn.stack([x, 1 / x, tnn.sqrt(x)]), axis=0)[1],
    "diff": lambda x: tnn.diff(tnn.stack([x, 1 / x, tnn.log(x)]), n=2, axis=0)[0],
    "take": lambda x: tnn.take(tnn.stack([x, 1 / x]), [1, 1], axis=0)[0],
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
        (tnn.exp2, [-INF, -2000.0], [0, 0], [0, 0]),
        (tnn.log2, [INF], [INF], [0]),
        (tnn.log10, [INF], [INF], [0]),
        (lambda x: tnn.arctan2(x, 1.0), [INF, -INF], [math.pi / 2, -math.pi / 2], [0, 0]),
        (lambda x: tnn.arctan2(1.0, x), [INF, -INF], [0, math.pi], [0, 0]),
        (lambda x: tnn.logaddexp(x, 0.0), [INF, -INF, 1e4, -1e4], [INF, 0, 1e4, 0], [1, 0, 1, 0]),
        (lambda x: tnn.logaddexp(x, -INF), [INF, 3.0, -INF], [INF, 3, -INF], [1, 1, 0]),
        (lambda x: tnn.logaddexp(INF, x), [3.0, -INF], [INF, INF], [0, 0]),
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


# ---------------------------------------------------------------- angles, norms, running products


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200, 1e-320])
@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, 2.5, math.pi, -0.7, -math.pi / 2, -3.0])
def test_the_slope_of_an_angle_is_right_at_every_length(angle, scale):
    sine, cosine = (0.0 if abs(v) < 1e-15 else v for v in (math.sin(angle), math.cos(angle)))
    y, x = leaf(sine * scale), leaf(cosine * scale)
    found = np.array(tnn.grad(tnn.arctan2(y, x), [y, x]))
    if scale > 1e-300:
        np.testing.assert_allclose(found * scale, [cosine, -sine], rtol=1e-13)
    else:  # beyond the largest number
        assert np.isinf(found).any()


def test_angles_in_half_precision_do_not_overflow():
    y, x = (tnn.Tensor(v, dtype=np.float16, requires_grad=True) for v in ([300.0], [400.0]))
    slopes = tnn.grad(tnn.arctan2(y, x), [y, x], [100.0])
    np.testing.assert_allclose(slopes, [[0.16], [-0.12]], rtol=2e-3)


def test_the_origin_has_no_angle_and_a_sphere_no_corner_but_at_0():
    y, x = leaf([0.0, 1.0]), leaf([0.0, 0.0])
    for slope in tnn.grad(tnn.arctan2(y, x).sum(), [y, x]):
        assert np.isnan(slope).tolist() == [True, False]
    hessian = tnn.hessian(lambda v: tnn.arctan2(v[0], v[1]))(np.array([3.0, 4.0]))
    np.testing.assert_allclose(hessian * 625, [[-24, -7], [-7, 24]], rtol=1e-12)
    hessian = tnn.hessian(lambda v: tnn.arctan2(v[0], v[1]))(np.array([2.0, 2.0]))
    np.testing.assert_allclose(hessian * 8, [[-1, 0], [0, 1]], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("ord", [None, 1, 2, INF, -INF])
def test_the_norm_of_a_zero_vector_has_gradient_0(ord):
    x = leaf([[0.0, 0.0], [3.0, 4.0]])
    [slope] = tnn.grad(tnn.norm(x, ord, axis=1).sum(), x)
    np.testing.assert_array_equal(slope[0], 0)
    assert np.abs(slope[1]).max() > 0.5
    if ord in (None, 2):
        found = tnn.hessian(lambda v: tnn.norm(v, ord) ** 2)(np.zeros(2))
        assert not np.isfinite(found).all() or np.allclose(found, 2 * np.eye(2))


def test_logaddexp_of_equal_infinities_is_logsumexp():
    for value, share in ((INF, 0.5), (-INF, 0.0), (1.0, 0.5)):
        a, b = leaf([value]), leaf([value])
        np.testing.assert_array_equal(tnn.grad(tnn.logaddexp(a, b), [a, b]), [[share], [share]])
        rows = tnn.stack([a, b])
        np.testing.assert_array_equal(tnn.grad(tnn.logsumexp(rows), [a, b]), [[share], [share]])
    hessian = tnn.hessian(lambda v: tnn.logaddexp(v[0], v[1]))(np.ones(2))  # equal, but finite
    np.testing.assert_allclose(hessian, [[0.25, -0.25], [-0.25, 0.25]])


@pytest.mark.parametrize("zeros", [[], [0], [3], [1, 4], [0, 1, 2, 3, 4]])
def test_running_products_with_zeros_to_third_order(zeros):
    x = np.random.default_rng(0).normal(size=5)
    x[zeros] = 0
    w = np.array([1.0, -2.0, 0.5, 3.0, 1.5])

    found, expected = leaf(x), leaf(x)
    y = (tnn.cumprod(found) * w).sum()
    z = sum(w[i] * tnn.prod(expected[: i + 1]) for i in range(5))
    for _ in range(3):
        [y] = tnn.grad(y, found, create_graph=True)
        [z] = tnn.grad(z, expected, create_graph=True)
        np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-12, atol=1e-13)
        y, z = ((g * (w + 1)).sum() for g in (y, z))


def test_a_running_product_does_not_overflow_before_its_time():
    x = np.array([1e-200, 1e200, 1e200, 1e-200])
    np.testing.assert_array_equal(tnn.cumprod(leaf(x)).numpy(), np.cumprod(x))


def test_of_equal_elements_sort_keeps_the_order():
    x = leaf([2.0, 1.0, 2.0, 1.0, NAN])
    np.testing.assert_array_equal(tnn.sort(x).numpy(), [1, 1, 2, 2, NAN])
    [slope] = tnn.grad(tnn.sort(x), x, [1.0, 2.0, 3.0, 4.0, 5.0])
    np.testing.assert_array_equal(slope, [3, 1, 4, 2, 5])


def test_an_element_that_is_taken_twice_gets_both_gradients():
    x = leaf([[1.0, 2.0, 3.0]])
    [slope] = tnn.grad(tnn.take(x, [[2, 2], [0, -1]], axis=1).sum(), x)
    np.testing.assert_array_equal(slope, [[1, 0, 3]])
    [slope] = tnn.grad(tnn.take_along_axis(x, [[1, 1, 1, 0]], axis=1).sum(), x)
    np.testing.assert_array_equal(slope, [[1, 3, 0]])
    [slope] = tnn.grad(tnn.take_along_axis(x, [[1], [1]], axis=1).sum(), x)  # rows that broadcast
    np.testing.assert_array_equal(slope, [[0, 2, 0]])


def test_inverse_sines_are_steep_at_their_ends_and_precise_beside_them():
    x = leaf([1.0, -1.0, 1 - 3.3e-13])
    below = 1 - x.numpy()[2]  # exact
    for f, sign in ((tnn.arcsin, 1), (tnn.arccos, -1)):
        slope = tnn.grad(f(x).sum(), x)[0] * sign
        np.testing.assert_array_equal(slope[:2], INF)
        assert slope[2] == pytest.approx(1 / math.sqrt(below * (2 - below)), rel=1e-14)
        assert not np.isfinite(derivatives(f, [1.0])[2]).any()
