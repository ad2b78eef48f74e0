"""check_primitive: right operations pass, and each broken contract is named."""

import re

import numpy as np
import pytest

import tinynn as tnn
from tinynn.testing import GradcheckError, check_primitive

X = np.array([-1.0, 0.5, 2.0])


@pytest.mark.parametrize("name", "exp tanh sigmoid softplus square sin arctan".split())
def test_right_operations_pass(name):
    assert check_primitive(getattr(tnn, name), [X])


def test_an_own_operation_passes():
    op = tnn.elementwise(lambda g, y, x, k: g * k * np.cos(k * x))(lambda x, k: np.sin(k * x))
    assert check_primitive(op, [X], {"k": 3.0})


def test_several_arguments_and_parameters():
    assert check_primitive(tnn.maximum, [X, X[::-1] + 0.1])
    assert check_primitive(tnn.matmul, [np.ones((2, 3)), np.ones((3, 4))])
    assert check_primitive(tnn.sum, [np.ones((2, 3))], {"axis": 1})
    assert check_primitive(tnn.where, [X > 0, X, 2 * X])


def in_place_forward(x):
    x *= 2
    return x * 1.0


def in_place_vjp(g, y, x):
    g *= 2
    return g


def widening(x):
    return x * np.float64(2)


BROKEN = {
    "the forward writes to argument 0": tnn.elementwise(lambda g, y, x: 2 * g)(in_place_forward),
    "the vjp of argument 0 writes to g": tnn.elementwise(in_place_vjp)(lambda x: 2.0 * x),
    "float32 arguments give a float64 result": tnn.elementwise(lambda g, y, x: 2 * g)(widening),
    "float32 arguments give a float64 gradient of argument 0": tnn.elementwise(
        lambda g, y, x: g * np.float64(2)
    )(lambda x: 2 * x),
    "a vjp returns another shape than its argument's": tnn.primitive(lambda g, y, x: g.sum())(
        lambda x: 2 * x
    ),
    "a constant factor 1.5": tnn.elementwise(lambda g, y, x: 3 * g * x)(lambda x: x * x),
    "(the gradient of order 1 is right, its own gradient is not)": tnn.elementwise(
        lambda g, y, x: 2 * g * np.asarray(x)
    )(lambda x: x * x),
    "the result has dtype int64": tnn.elementwise(lambda g, y, x: g)(
        lambda x: np.round(x).astype(int)
    ),
    "plain arrays give a Tensor": tnn.elementwise(lambda g, y, x: g)(lambda x: tnn.Tensor(x)),
}


@pytest.mark.parametrize("contract", BROKEN)
def test_each_broken_contract_is_named(contract):
    with pytest.raises(GradcheckError, match=re.escape(contract)) as caught:
        check_primitive(BROKEN[contract], [X])
    assert str(caught.value).startswith("check_primitive(")


def test_operations_for_first_order_only():
    first = tnn.elementwise(lambda g, y, x: g * np.cos(np.asarray(x)))(lambda x: np.sin(x))
    with pytest.raises(GradcheckError, match="orders=1 asks for none"):
        check_primitive(first, [X])
    assert check_primitive(first, [X], orders=1).order == 1
    assert check_primitive(tnn.sin, [X], orders=3).order == 3
    wrong = tnn.elementwise(lambda g, y, x: 2 * g * np.cos(np.asarray(x)))(lambda x: np.sin(x))
    with pytest.raises(GradcheckError, match="FAILED at order 1: a constant factor 2"):
        check_primitive(wrong, [X], orders=1)
    with pytest.raises(ValueError, match="check_primitive: orders must be a positive integer"):
        check_primitive(tnn.sin, [X], orders=0)


def test_misuse():
    with pytest.raises(TypeError, match=r"op must be made by @tinynn\.primitive"):
        check_primitive(np.sin, [X])
    with pytest.raises(TypeError, match="give the arguments as a list"):
        check_primitive(tnn.exp, X)
    with pytest.raises(TypeError, match="no floating-point argument with a vjp"):
        check_primitive(tnn.exp, [np.arange(3)])
