"""Functions of functions: against closed forms, and against each other."""

import numpy as np
import pytest

import tinynn as tnn

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 3))


def tangled(x, k):
    """A function of two arrays with everything in it: (3, 2), (2, 2) -> (4,)."""
    y = tnn.tanh(x @ k) / (2 + tnn.cos(x))
    return tnn.concatenate([y.sum(axis=0), tnn.logsumexp(y, axis=0) * k[0]])


X, K = RNG.normal(size=(3, 2)), RNG.normal(size=(2, 2))


def test_value_and_grad_and_its_argnums():
    def f(a, b, *, scale=1.0):
        return (a * a * b).sum() * scale

    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    value, g = tnn.value_and_grad(f)(a, b)
    assert type(value) is tnn.Tensor
    assert not value.requires_grad
    assert value.item() == 19
    assert type(g) is np.ndarray
    np.testing.assert_array_equal(g, [6, 16])
    np.testing.assert_array_equal(tnn.value_and_grad(f, 1)(a, b)[1], [1, 4])
    np.testing.assert_array_equal(tnn.value_and_grad(f, -1)(a, b, scale=2)[1], [2, 8])
    np.testing.assert_array_equal(tnn.value_and_grad(f, np.int64(1))(a, b)[1], [1, 4])
    _, both = tnn.value_and_grad(f, (1, 0))(tnn.Tensor(a), b)
    assert isinstance(both, tuple)
    np.testing.assert_array_equal(both, [[1, 4], [6, 16]])
    _, one = tnn.value_and_grad(f, (0,))(a, b)
    assert isinstance(one, tuple)
    assert len(one) == 1


def test_value_and_grad_leaves_its_arguments_alone():
    x = tnn.Tensor([1.0, 2.0], requires_grad=True)
    a = np.array([3.0, 4.0])
    a.flags.writeable = False
    _, g = tnn.value_and_grad(lambda x, a: (x * a).sum(), (0, 1))(x, a)
    np.testing.assert_array_equal(g, [[3, 4], [1, 2]])
    assert x.grad is None
    assert x.requires_grad
    _, g = tnn.value_and_grad(lambda i: (i * i).sum())([1, 2])  # whole numbers become floats
    np.testing.assert_array_equal(g, [2, 4])
    _, g = tnn.value_and_grad(lambda x: x.sum())(np.float32([1, 2]))
    assert g.dtype == np.float32


def test_vjp_pulls_back_as_often_as_asked():
    x = X.copy()
    y, pull = tnn.vjp(tangled, x, K)
    x[...] = 0  # what is pulled back belongs to the values at the time
    g1, g2 = RNG.normal(size=(2, *y.shape))
    first, second, total = pull(g1), pull(tnn.Tensor(g2)), pull(g1 + 2 * g2)
    assert [a.shape for a in first] == [(3, 2), (2, 2)]
    for a, b, c in zip(first, second, total, strict=True):
        np.testing.assert_allclose(a + 2 * b, c, rtol=1e-12)
    assert not y.requires_grad


def test_jvp_and_vjp_are_transposed():
    vs = [RNG.normal(size=X.shape), RNG.normal(size=K.shape)]
    y, tangent = tnn.jvp(tangled, [X, K], vs)
    g = RNG.normal(size=y.shape)
    value, pull = tnn.vjp(tangled, X, K)
    np.testing.assert_array_equal(y.numpy(), value.numpy())
    inner = sum(np.sum(a * v) for a, v in zip(pull(g), vs, strict=True))
    assert np.sum(g * tangent) == pytest.approx(inner, rel=1e-12)
    h = 1e-6
    plus = tangled(X + h * vs[0], K + h * vs[1])
    minus = tangled(X - h * vs[0], K - h * vs[1])
    np.testing.assert_allclose(tangent, (plus - minus) / (2 * h), rtol=1e-8)


def test_jacobian():
    jacobian = tnn.jacobian(lambda x: tangled(x, K))(X)
    assert jacobian.shape == (4, 3, 2)
    for place in np.ndindex(3, 2):
        unit = np.zeros((3, 2))
        unit[place] = 1
        _, tangent = tnn.jvp(lambda x: tangled(x, K), [X], [unit])
        np.testing.assert_allclose(jacobian[:, *place], tangent, rtol=1e-12)
    np.testing.assert_array_equal(tnn.jacobian(lambda x: A @ x)(np.ones(3)), A)
    np.testing.assert_array_equal(tnn.jacobian(lambda x: x * x)(3.0), 6)
    assert tnn.jacobian(lambda x: x[:0])(np.ones(3)).shape == (0, 3)
    assert tnn.jacobian(lambda x: x)(np.ones(2, np.float32)).dtype == np.float32


def test_hessian():
    x = np.array([0.3, -0.7, 1.1])
    np.testing.assert_allclose(tnn.hessian(lambda x: x @ (A @ x))(x), A + A.T, rtol=1e-14)
    a, b = 0.4, 1.5
    rosenbrock = tnn.hessian(lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)
    expected = [[2 - 400 * b + 1200 * a**2, -400 * a], [-400 * a, 200]]
    np.testing.assert_allclose(rosenbrock(np.array([a, b])), expected, rtol=1e-14)
    p = np.exp(x) / np.exp(x).sum()
    np.testing.assert_allclose(
        tnn.hessian(tnn.logsumexp)(x), np.diag(p) - np.outer(p, p), rtol=1e-13
    )
    r = np.sqrt(x @ x)
    norm = np.eye(3) / r - np.outer(x, x) / r**3
    np.testing.assert_allclose(tnn.hessian(lambda x: tnn.sqrt((x * x).sum()))(x), norm, rtol=1e-13)
    hessian = tnn.hessian(lambda x: tangled(x, K).sum())(X)
    assert hessian.shape == (3, 2, 3, 2)
    square = hessian.reshape(6, 6)
    np.testing.assert_allclose(square, square.T, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(tnn.hessian(lambda x: (A @ x).sum())(x), np.zeros((3, 3)))


def test_what_does_not_depend_on_an_input_has_gradient_zero():
    def first(a, b):
        return (a * a).sum()

    _, (ga, gb) = tnn.value_and_grad(first, (0, 1))(np.ones(2), np.ones((2, 3)))
    np.testing.assert_array_equal(ga, [2, 2])
    np.testing.assert_array_equal(gb, np.zeros((2, 3)))
    _, pull = tnn.vjp(lambda a: tnn.Tensor([1.0, 2.0]), np.ones(3))
    np.testing.assert_array_equal(pull(np.ones(2)), [np.zeros(3)])
    _, tangent = tnn.jvp(lambda a: tnn.Tensor([1.0, 2.0]), [np.ones(3)], [np.ones(3)])
    np.testing.assert_array_equal(tangent, [0, 0])
    np.testing.assert_array_equal(
        tnn.jacobian(lambda a: tnn.Tensor([1.0, 2.0]))(np.ones(3)), np.zeros((2, 3))
    )
    np.testing.assert_array_equal(
        tnn.hessian(lambda a: tnn.Tensor(1.0))(np.ones(2)), np.zeros((2, 2))
    )


def test_infinite_inputs_and_values_need_not_warn():
    x = np.array([np.inf, 1.0, -np.inf])
    _, g = tnn.value_and_grad(lambda x: tnn.where(np.isfinite(x.numpy()), x * x, 0).sum())(x)
    np.testing.assert_array_equal(g, [0, 2, 0])
    y, tangent = tnn.jvp(lambda x: 2 * x, [x], [np.ones(3)])
    np.testing.assert_array_equal(y.numpy(), 2 * x)
    np.testing.assert_array_equal(tangent, [2, 2, 2])
    np.testing.assert_array_equal(tnn.jacobian(lambda x: 2 * x)(x), 2 * np.eye(3))


def test_nothing_is_recorded_to_transform_under_no_grad():
    with pytest.raises(ValueError, match="under no_grad"), tnn.no_grad():
        tnn.value_and_grad(lambda x: (x * x).sum())(np.ones(2))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: tnn.value_and_grad(lambda x: x * 2)(np.ones(2)),
            ValueError,
            r"^value_and_grad: the function must return a scalar, got shape \(2,\).*jacobian",
        ),
        (
            lambda: tnn.value_and_grad(lambda x: 3.0)(np.ones(2)),
            TypeError,
            r"^value_and_grad: the function must return one Tensor, got float\. Compute with",
        ),
        (
            lambda: tnn.value_and_grad(lambda x: (x, x))(np.ones(2)),
            TypeError,
            "must return one Tensor, got tuple",
        ),
        (
            lambda: tnn.value_and_grad(lambda x: x, 1)(1.0),
            IndexError,
            r"argnums=1 asks for an argument that is not among the 1 given by position",
        ),
        (
            lambda: tnn.value_and_grad(lambda x: (x > 0).sum())(np.ones(2)),
            ValueError,
            "does not depend on any tensor that requires a gradient",
        ),
        (lambda: tnn.value_and_grad(lambda x: x, True), TypeError, "argnums must be an integer"),
        (
            lambda: tnn.value_and_grad(lambda x: x, 0.0),
            TypeError,
            "argnums must be an int.*got 0.0",
        ),
        (
            lambda: tnn.value_and_grad(lambda x: x)("ab"),
            TypeError,
            "^value_and_grad: argument 0 must be real numbers, got dtype <U2",
        ),
        (
            lambda: tnn.vjp(lambda x: x, np.ones(2, complex)),
            TypeError,
            r"^vjp: xs\[0\] must be real numbers, got dtype complex128",
        ),
        (
            lambda: tnn.vjp(lambda x: x, np.ones(2))[1](np.ones(3)),
            ValueError,
            r"^vjp: g must have the result's shape \(2,\), got \(3,\)",
        ),
        (
            lambda: tnn.jvp(lambda x: x, np.ones(2), np.ones(2)),
            TypeError,
            r"^jvp: xs and vs must be lists: jvp\(f, \[x1, x2\], \[v1, v2\]\)",
        ),
        (
            lambda: tnn.jvp(lambda x: x, [np.ones(2)], [np.ones(3)]),
            ValueError,
            r"^jvp: xs and vs must match, got shapes \[\(2,\)\] and \[\(3,\)\]",
        ),
        (
            lambda: tnn.hessian(lambda x: x)(np.ones(2)),
            ValueError,
            r"^hessian: the function must return a scalar, got shape \(2,\)",
        ),
        (
            lambda: tnn.hessian(lambda x: 1.0)(np.ones(2)),
            TypeError,
            "^hessian: the function must ret",
        ),
    ],
)
def test_misuse(call, error, words):
    with pytest.raises(error, match=words):
        call()
