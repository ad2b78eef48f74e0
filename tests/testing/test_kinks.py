"""Points without a gradient: kinks, jumps and ties prove nothing, and hide nothing beside them."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn import Tensor
from tinynn.autodiff import ops
from tinynn.testing import check_grads


def wrong_at(factor, where):
    """Return x * x whose gradient is ``factor`` too large wherever ``where`` holds."""

    def vjp(g, y, x):
        return 2 * g * x * np.where(where(ops.values(x)), factor, 1.0)

    return tnn.elementwise(vjp)(lambda x: x * x)


def in_order(x):
    return x[np.argsort(ops.values(x), kind="stable")]


root = tnn.elementwise(lambda g, y, x: 0.5 * g * ops.sign(x) / (y + (x == 0)))(
    lambda x: np.sqrt(np.abs(x))
)
WEIGHTS = np.arange(1.0, 5)
ONE_AMONG_SMOOTH = [1.0, 2.0, 0.0, -1.0, 0.3]
# name: f, point, the first order at which it is not smooth there
POINTS = {
    "abs": (lambda x: tnn.abs(x).sum() ** 4 + tnn.exp(x[1]), [1.0, 0.0], 2),
    "abs, as a factor": (lambda x: tnn.abs(x) * tnn.sin(x + 1), [1.0, 0.0], 1),
    "abs, one among smooth": (lambda x: (tnn.sin(x) + tnn.abs(x)).sum() ** 2, ONE_AMONG_SMOOTH, 2),
    "abs, steep": (lambda x: 1e4 * tnn.abs(x).sum() ** 2 + x.sum(), [0.0, 1.0], 2),
    "abs, far from 0": (lambda x: tnn.abs(x - 1e3).sum() ** 2, [1e3, 1.0], 2),
    "abs, at all elements": (lambda x: tnn.abs(x).sum() ** 2, [0.0, 0.0, 0.0], 2),
    "x |x|": (lambda x: tnn.abs(x) * x + tnn.exp(3 * x), [0.0, 1.0], 3),
    "relu": (lambda x: tnn.relu(x).sum() ** 3, [1.0, 0.0, -2.0], 1),
    "relu, far from 0": (lambda x: tnn.relu(x - 1e6).sum() ** 2 + x.sum(), [1e6, 1e6 + 1], 1),
    "relu, squared": (lambda x: tnn.relu(x) ** 2, [1.0, 0.0, -2.0], 2),
    "max": (lambda x: tnn.max(x) ** 2, [1.0, 1.0, 0.0], 2),
    "min": (lambda x: tnn.min(x) ** 3 + x[0] ** 2, [1.0, 1.0, 2.0], 2),
    "range": (lambda x: (tnn.max(x) - tnn.min(x)) ** 2, [1.0, 1.0, 1.0], 2),
    "maximum": (lambda x: tnn.maximum(x, 1.0) ** 2 * x, [1.0, 2.0], 1),
    "pooling": (lambda x: tnn.max_pool1d(x, 2) ** 2, [[[1.0], [1.0], [2.0], [0.0]]], 2),
    "pooling, ties of 0": (
        lambda x: tnn.max_pool1d(x, 3, strides=1) ** 2,
        [[[0.0], [0.0], [0.0], [2.0], [2.0]]],
        2,
    ),
    "clip": (lambda x: tnn.clip(x, -1, 1) ** 2 * x, [1.0, 0.5, -1.0], 1),
    "sorted": (lambda x: (in_order(x) * WEIGHTS).sum() ** 3, [1.0, 1.0, 0.0, 3.0], 1),
    "median": (lambda x: in_order(x)[2] ** 2, [1.0, 1.0, 0.0, 3.0, 1.0], 1),
    "huber": (lambda x: tnn.losses.huber(x, np.zeros(3)) ** 3 * x[0], [1.0, 0.5, -1.0], 2),
    "elu": (lambda x: tnn.elu(x, 0.5) ** 2, [0.0, 1.0], 2),
    "sign, a jump": (lambda x: tnn.sign(x - 0.5) * x * x, [0.5, 1.0], 1),
    "sign, smooth first": (lambda x: tnn.sign(x) * x * x, [0.0, 1.0], 3),
    "where": (lambda x: tnn.where(x > 0, x * x, x), [0.0, 1.0], 1),
    "where, a jump": (lambda x: tnn.where(x > 0, x * x + 1, x), [0.0, 1.0], 1),
    "where, a step": (lambda x: tnn.where(x >= 0, 1.0, 0.0) * tnn.exp(x), [0.0, 1.2], 1),
    "rounding": (lambda x: Tensor(np.round(ops.values(x))) * x, [0.5, 1.2], 1),
    "a vertical slope": (lambda x: tnn.abs(x) * root(x), [0.0, 1.0], 2),
    "a logarithmic slope": (
        lambda x: tnn.where(x == 0, 0.0, x**2 * tnn.log(tnn.abs(tnn.where(x == 0, 1.0, x)))),
        [0.0, 1.0],
        2,
    ),
    "a network at 0": (
        lambda x: tnn.relu(x @ np.array([[1.0, -2.0], [0.5, 3.0]])) @ np.array([1.0, -2.5]),
        [[0.0, 0.0]],
        1,
    ),
    "a layer": (lambda x: tnn.exp(tnn.relu(x @ np.array([[1.0, 2], [1, 1]]))), [[1.0, -1.0]], 1),
}


@pytest.mark.parametrize("mode", ["auto", "full", "fast"])
@pytest.mark.parametrize("name", POINTS)
def test_a_kink_is_never_called_wrong(name, mode):
    f, point, first = POINTS[name]
    for seed in range(2):
        report = check_grads(f, np.array(point), order=3, mode=mode, rng=seed)
        assert report, report
        verdicts = {(entry.order, entry.verdict) for entry in report.inputs}
        early = [order for order, verdict in verdicts if verdict != "ok" and order < first]
        assert mode == "fast" or not early


@pytest.mark.parametrize("name", ["abs", "max", "sign, a jump", "clip", "range", "median"])
def test_a_kink_is_shown_as_one(name):
    f, point, first = POINTS[name]
    report = check_grads(f, np.array(point), order=first, mode="full")
    causes = {entry.cause for entry in report.inputs if entry.verdict == "inconclusive"}
    assert causes & {"a kink", "a kink (the gradient jumps)", "a jump"}


@pytest.mark.parametrize("mode", ["auto", "full", "fast"])
@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5, 1e-6])
def test_close_to_a_kink_or_jump_a_right_gradient_is_confirmed(distance, mode):
    for f in (tnn.abs, lambda x: tnn.sign(x) * (x + 1), lambda x: tnn.relu(x) ** 2):
        x = np.array([distance, -2 * distance, 1.0])
        report = check_grads(f, x, order=2, mode=mode)
        assert all(entry.verdict == "ok" for entry in report.inputs), report


@pytest.mark.parametrize("mode", ["auto", "full"])
@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5])
def test_close_to_a_kink_a_wrong_second_derivative_is_caught(distance, mode):
    constant = tnn.elementwise(lambda g, y, x: 2 * g * ops.abs(x) + 0 * g * x)
    half = tnn.elementwise(  # (x |x|)' is right, but half of it is taken for a constant
        lambda g, y, x: g * (ops.abs(x) + np.abs(ops.values(x)))
    )
    x = np.array([distance, -2 * distance, 1.0])
    assert check_grads(constant(lambda x: x * np.abs(x)), x, order=2, mode=mode)
    report = check_grads(half(lambda x: x * np.abs(x)), x, order=2, mode=mode, raise_on_fail=False)
    assert not report
    assert report.order == 2
    assert report.cause == "a constant factor 0.5"


KINKS = {
    "abs": lambda x: tnn.abs(x),
    "a jump": lambda x: tnn.sign(x) * (x + 2),
    "x |x|": lambda x: tnn.abs(x) * x,
    "root": lambda x: tnn.sqrt(tnn.abs(x) + 1),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("mode", ["auto", "full"])
@pytest.mark.parametrize("name", KINKS)
def test_a_kink_hides_no_wrong_gradient_of_another_element(name, mode, order):
    wrong = wrong_at(1.01, lambda x: x > 1.5)
    f = (
        (lambda x: (wrong(x) + KINKS[name](x)).sum())
        if order == 1
        else (lambda x: (wrong(x) * x + KINKS[name](x)).sum())
    )
    report = check_grads(
        f, np.array([0.0, 1.0, 2.0, -0.5]), order=order, mode=mode, raise_on_fail=False
    )
    assert not report
    assert "wrong only at (2,)" in report.cause


def test_each_output_may_have_a_kink_of_its_own():
    def f(x):
        return tnn.concatenate([tnn.clip(x, -1, 1), tnn.maximum(x, 0.5 * x + 0.5)])

    for seed in range(10):  # of the cotangent, which weighs the kinks
        for mode in ("auto", "full", "fast"):
            assert check_grads(f, np.array([1.0, 0.3]), mode=mode, rng=seed)


def test_an_element_that_proves_nothing_does_not_stand_in_the_way_of_the_cause():
    @tnn.elementwise(lambda g, y, x: 3 * g * np.sign(ops.values(x)))
    def jumps(x):
        return np.where(x > 0, 1, -1) * (x + 2)

    report = check_grads(jumps, np.array([0.0, 2.0, -1.0]), raise_on_fail=False)
    assert report.cause == "a constant factor 3"


def test_a_wrong_gradient_at_a_tie_is_wrong_if_no_direction_explains_it():
    @tnn.primitive(lambda g, y, x: 1.5 * g * (x == y))
    def largest(x):
        return np.max(x)

    report = check_grads(largest, np.array([2.0, 2.0, 1.0]), raise_on_fail=False)
    assert not report
    assert report.inputs[0].count == 2


@tnn.primitive(lambda g, y, x: ops.expand_dims(g, 1) * (x == np.min(ops.values(x), 1)[:, None]))
def max_that_says_min(x):
    return np.max(x, axis=1)


def test_gradients_without_an_element_in_common_are_told():
    x = np.random.default_rng(0).normal(size=(3, 4))
    report = check_grads(max_that_says_min, x, raise_on_fail=False)
    assert report.cause == "the gradient goes to other elements"


UNDEFINED = np.array([0.0, 1.0, 2.0, 3.0])  # a step to the left of 0 has no root


@pytest.mark.parametrize(
    ("vjp", "cause"),
    [
        (lambda g, y, x: g / x**0.5, "a constant factor 2"),
        (lambda g, y, x: -g / (2 * x**0.5), "a flipped sign"),
        (lambda g, y, x: g * x, "a wrong gradient"),
        (lambda g, y, x: g / (2 * x**0.5) * (1 + (x == 2)), r"wrong only at (2,)"),
        (lambda g, y, x: g / (x - 1), "the analytic gradient is"),
    ],
)
def test_a_wrong_gradient_beside_an_undefined_one_is_named(vjp, cause):
    root = tnn.elementwise(vjp)(lambda x: np.sqrt(x))
    report = check_grads(root, UNDEFINED, raise_on_fail=False)
    assert not report
    assert report.cause.startswith(cause)


@pytest.mark.parametrize("size", [1e-200, 1e-160, 1e160, 1e200])
def test_very_large_and_small_slopes_are_compared_too(size):
    right = tnn.elementwise(lambda g, y, x: size * g * ops.cos(x))(lambda x: size * np.sin(x))
    wrong = tnn.elementwise(lambda g, y, x: 1.1 * size * g * ops.cos(x))(lambda x: size * np.sin(x))
    x = np.array([1.0, 2.0])
    for mode in ("auto", "full", "fast"):
        assert check_grads(right, x, mode=mode)
        report = check_grads(wrong, x, mode=mode, raise_on_fail=False)
        assert not report
        assert mode == "fast" or report.cause == "a constant factor 1.1"


def test_no_order_is_checked_beyond_a_gradient_that_is_not_finite():
    bare = tnn.elementwise(lambda g, y, x: 0.5 * g * ops.sign(x) / y)(lambda x: np.abs(x) ** 0.5)
    report = check_grads(bare, np.array([0.0, 1.0]), order=2)
    assert report.inputs[0].cause == "a jump"
    assert "order 2 was not checked: the gradient of order 1 is not finite." in str(report)
