"""Transformations nest: a gradient taken inside a differentiated function is a part of it."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff.transforms import differentiating

RNG = np.random.default_rng(0)


def gradient(f, argnums=0):
    return lambda *args: tnn.value_and_grad(f, argnums)(*args)[1]


def cubes(x):
    return (x**3).sum()


def curl(x):
    """A function of 3 elements to 3 with every kind of second and third derivative."""
    return tnn.sin(x) * tnn.flip(x) + tnn.exp(x[0] * x)


X, V, W = RNG.normal(size=(3, 3))


def differences(f, x, h=1e-5):
    """The Jacobian of a function of arrays, by central differences."""
    x = np.asarray(x, float)
    columns = [
        (np.asarray(f(x + h * unit)) - np.asarray(f(x - h * unit))) / (2 * h)
        for unit in np.eye(x.size).reshape(-1, *x.shape)
    ]
    return np.moveaxis(np.array(columns), 0, -1).reshape(np.shape(f(x)) + x.shape)


# ---------------------------------------------------------------- closed forms

SQUARED_SLOPE = {  # sum of 9 x^4, each by way of another transformation
    "value_and_grad": lambda x: (gradient(cubes)(x) ** 2).sum(),
    "several argnums": lambda x: (
        sum(gradient(lambda a, b: (a * a * b).sum(), (0, 1))(x, x)) ** 2
    ).sum(),
    "vjp": lambda x: (tnn.vjp(cubes, x)[1](np.ones(()))[0] ** 2).sum(),
    "jvp": lambda x: (tnn.jvp(lambda z: z**3, [x], [np.ones(2)])[1] ** 2).sum(),
    "jacobian": lambda x: (tnn.jacobian(lambda z: z**3)(x) ** 2).sum(),
    "hessian": lambda x: (tnn.hessian(lambda z: (z**4).sum() / 4)(x) ** 2).sum(),
    "closure": lambda x: (gradient(lambda z: (x * x * 3 * z).sum())(np.ones(2)) ** 2).sum(),
    "closure of a jvp": lambda x: (
        tnn.jvp(lambda z: x * x * z, [np.ones(2)], [3 * np.ones(2)])[1] ** 2
    ).sum(),
    "tangents": lambda x: (tnn.jvp(lambda z: 3 * z, [np.ones(2)], [x * x])[1] ** 2).sum(),
    "what is pulled back": lambda x: (tnn.vjp(lambda z: 3 * z, np.ones(2))[1](x * x)[0] ** 2).sum(),
    "value": lambda x: tnn.value_and_grad(lambda z: (9 * z**4).sum())(x)[0],
    "value of a vjp": lambda x: tnn.vjp(lambda z: (9 * z**4).sum(), x)[0],
    "value of a jvp": lambda x: tnn.jvp(lambda z: 9 * z**4, [x], [x])[0].sum(),
    "an expression": lambda x: (gradient(cubes)(2 * x) ** 2).sum() / 16,
    "a list of one": lambda x: (gradient(cubes)(tnn.stack([x[0], x[1]])) ** 2).sum(),
    "keyword": lambda x: (
        tnn.value_and_grad(lambda z, *, w: (w * z).sum())(np.ones(2), w=3 * x * x)[1] ** 2
    ).sum(),
}


@pytest.mark.parametrize("name", SQUARED_SLOPE)
def test_a_gradient_inside_has_its_gradient(name):
    x = np.array([0.7, -1.3])
    value, g = tnn.value_and_grad(SQUARED_SLOPE[name])(x)
    assert isinstance(g, np.ndarray)
    assert not value.requires_grad
    np.testing.assert_allclose(value.item(), (9 * x**4).sum(), rtol=1e-12)
    np.testing.assert_allclose(g, 36 * x**3, rtol=1e-12)
    np.testing.assert_allclose(
        tnn.hessian(SQUARED_SLOPE[name])(x), np.diag(108 * x**2), rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_derivatives_of_any_order(order):
    f = tnn.sin
    for _ in range(order):
        f = tnn.jacobian(f)
    expected = [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)][order % 4](0.4)
    np.testing.assert_allclose(f(0.4), expected, rtol=1e-13)
    g = lambda x: tnn.sin(x).sum()  # noqa: E731
    for _ in range(order):
        g = lambda x, g=g: gradient(g)(x).sum()  # noqa: E731
    np.testing.assert_allclose(g(np.float64(0.4)), expected, rtol=1e-13)


PAIRS = {
    "jacobian": tnn.jacobian,
    "value_and_grad": lambda f: gradient(lambda x: (f(x) * V).sum()),
    "hessian": lambda f: tnn.hessian(lambda x: (f(x) * V).sum()),
    "vjp": lambda f: lambda x: tnn.vjp(f, x)[1](W)[0],
    "jvp": lambda f: lambda x: tnn.jvp(f, [x], [W])[1],
}


@pytest.mark.parametrize("inner", PAIRS)
@pytest.mark.parametrize("outer", PAIRS)
def test_every_transformation_in_every_other(inner, outer):
    """The outer one of the inner one, against differences of the inner one alone."""

    def inside(x):
        return tnn.reshape(PAIRS[inner](curl)(x), (-1, 3))[0]  # one row, if it is a matrix

    found = PAIRS[outer](inside)(X)
    if outer == "hessian":
        expected = differences(
            lambda x: differences(lambda z: (inside(z) * V).sum(), x, 1e-3), X, 1e-3
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        return
    slopes = differences(inside, X)
    expected = {
        "jacobian": slopes,
        "value_and_grad": V @ slopes,
        "vjp": W @ slopes,
        "jvp": slopes @ W,
    }
    np.testing.assert_allclose(found, expected[outer], rtol=1e-7, atol=1e-8)


# ---------------------------------------------------------------- uses


def test_penalty_on_the_gradient_of_a_network():
    """d/dw of the squared slope in x of a network, against PyTorch."""
    torch = pytest.importorskip("torch")
    w1, w2, x = RNG.normal(size=(3, 5)), RNG.normal(size=(5, 1)), RNG.normal(size=(4, 3))

    def loss(w1, w2):
        def total(z):
            return (tnn.tanh(z @ w1) @ w2).sum()

        y, slope = tnn.value_and_grad(total)(x)
        return (slope**2).sum() + y * y

    _, found = tnn.value_and_grad(loss, (0, 1))(w1, w2)
    t1, t2, tx = (torch.tensor(a, requires_grad=True) for a in (w1, w2, x))
    y = (torch.tanh(tx @ t1) @ t2).sum()
    (slope,) = torch.autograd.grad(y, tx, create_graph=True)
    expected = torch.autograd.grad((slope**2).sum() + y * y, [t1, t2])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-10)


def test_gradient_of_a_product_of_hessian_and_vector():
    def f(x):
        return (curl(x) ** 2).sum()

    def curvature(x):  # v' H v
        return (tnn.jvp(gradient(f), [x], [V])[1] * V).sum()

    hessian = tnn.hessian(f)
    np.testing.assert_allclose(curvature(X), V @ hessian(X) @ V, rtol=1e-10)
    third = differences(hessian, X)
    np.testing.assert_allclose(gradient(curvature)(X), V @ (V @ third), rtol=1e-6)
    np.testing.assert_allclose(tnn.jacobian(hessian)(X), third, rtol=1e-6, atol=1e-6)


def test_a_pull_may_be_called_later():
    def f(x):
        y, pull = tnn.vjp(lambda z: z**3, x)
        return (pull(y)[0] * x).sum()  # 3 x^2 x^3 x

    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(gradient(f)(x), 18 * x**5)
    _, pull = tnn.vjp(lambda z: z**3, x)  # made outside, called inside
    np.testing.assert_allclose(gradient(lambda g: (pull(g)[0] ** 2).sum())(x), 18 * x**5)
    kept = []
    gradient(lambda z: kept.append(tnn.vjp(cubes, z)[1]) or z.sum())(x)  # made inside
    [g] = kept[0](np.ones(()))
    assert type(g) is np.ndarray
    np.testing.assert_allclose(g, 3 * x**2)


def test_layers_and_no_dependence():
    layer = tnn.Dense(2, 1, "tanh", rng=0, dtype="float64")
    x = np.array([[0.3, -0.4]])

    def slope(z):
        return (gradient(lambda z: layer(z).sum())(z) ** 2).sum()

    np.testing.assert_allclose(gradient(slope)(x), differences(slope, x), rtol=1e-8)
    for constant in (lambda z: tnn.Tensor(2.0), lambda z: (x * z).sum()):
        inner = tnn.jacobian(gradient(constant))(x)
        np.testing.assert_array_equal(inner, np.zeros((1, 2, 1, 2)))
    np.testing.assert_array_equal(
        tnn.jacobian(tnn.hessian(lambda z: tnn.Tensor(1.0)))(X), np.zeros((3,) * 3)
    )
    empty = tnn.jacobian(lambda a: tnn.jacobian(lambda b: b[:0])(a))(np.ones(3, np.float32))
    assert (empty.shape, empty.dtype) == ((0, 3, 3), np.float32)
    third = tnn.jacobian(tnn.jacobian(lambda z: z**3))(np.float32([1, 2]))
    assert (third.shape, third.dtype) == ((2, 2, 2), np.float32)


# ---------------------------------------------------------------- what stays as it was


def test_outside_of_any_transformation_gradients_are_arrays():
    layer = tnn.Dense(2, 1, rng=0)
    x = tnn.Tensor(np.ones((1, 2)), requires_grad=True)
    value, g = tnn.value_and_grad(lambda z: layer(z).sum())(x * 2)
    assert type(g) is np.ndarray
    assert not value.requires_grad
    assert type(tnn.jacobian(layer)(x * 2)) is np.ndarray
    assert type(tnn.jvp(layer, [x * 2], [x])[1]) is np.ndarray
    assert type(tnn.vjp(layer, x * 2)[1](layer(x))[0]) is np.ndarray


def test_what_does_not_depend_on_the_outer_inputs_is_an_array():
    kinds = []

    def f(x):
        value, g = tnn.value_and_grad(cubes)(np.ones(2))
        kinds.extend([type(g), value.requires_grad])
        return (x * g).sum()

    np.testing.assert_array_equal(gradient(f)(np.ones(2)), [3, 3])
    assert kinds == [np.ndarray, False]


def test_only_transformations_are_nested():
    """grad() says itself whether its result can be differentiated again."""
    x = tnn.Tensor([2.0], requires_grad=True)

    def f(z):
        y = cubes(z)
        assert type(tnn.grad(y, [z])[0]) is np.ndarray
        return (tnn.grad(y, [z], create_graph=True)[0] ** 2).sum()

    np.testing.assert_array_equal(gradient(f)(x), [36 * 8])


def test_an_error_or_no_grad_ends_the_nesting():
    def fails(x):
        raise ZeroDivisionError("on purpose")

    x = tnn.Tensor([2.0], requires_grad=True)
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        tnn.value_and_grad(fails)(x)
    assert type(gradient(cubes)(x)) is np.ndarray

    def detached(z):
        with tnn.no_grad(), pytest.raises(ValueError, match="under no_grad"):
            gradient(cubes)(z)
        return z.sum()

    np.testing.assert_array_equal(gradient(detached)(x), [1])


def test_differentiating_names_the_inputs_of_a_function():
    w = tnn.Tensor([2.0], requires_grad=True)

    def loss():  # (w x^2)' at 3, squared: 36 w^2
        return (gradient(lambda x: (w * x * x).sum())(np.array([3.0])) ** 2).sum()

    assert not isinstance(loss(), tnn.Tensor)
    with differentiating([w]):
        y = loss()
    y.backward()
    np.testing.assert_array_equal(w.grad, [144])


def test_a_list_does_not_hide_a_gradient():
    with pytest.raises(TypeError, match=r"^value_and_grad: the list holds Tensors .*tinynn\.stack"):
        gradient(lambda x: gradient(cubes)([x[0], x[1]]).sum())(np.ones(2))
    with pytest.raises(TypeError, match=r"^jvp: the list holds Tensors .*tinynn\.stack"):
        gradient(lambda x: tnn.jvp(cubes, [np.ones(2)], [[x[0], x[1]]])[1])(np.ones(2))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["value_and_grad", "closure", "jacobian", "what is pulled back"])
def test_check_grads_of_a_function_that_takes_gradients(name, order):
    assert tnn.testing.check_grads(SQUARED_SLOPE[name], np.array([0.7, -1.3]), order=order)


def test_check_grads_finds_a_wrong_gradient_inside_a_gradient():
    @tnn.elementwise(lambda g, y, x: g * 2.1 * x)
    def wrong(x):
        return x * x

    report = tnn.testing.check_grads(
        lambda x: (gradient(lambda z: wrong(z).sum())(x) ** 2).sum() + tnn.vjp(wrong, x)[0].sum(),
        np.array([0.7, -1.3]),
        raise_on_fail=False,
    )
    assert not report
