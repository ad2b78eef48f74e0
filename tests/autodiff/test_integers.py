"""Small and unsigned integers and booleans: what NumPy gives, and no wrap-around of ours."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops

VALUES = {
    "bool": [True, False, True],
    "uint8": [3, 200, 0],
    "int8": [3, -128, 127],
    "uint16": [3, 60000, 0],
    "int16": [3, -200, 7],
    "uint64": [3, 100, 0],
    "int64": [3, -100, 0],
}
OURS = "sigmoid softplus gelu silu elu leaky_relu softmax log_softmax logsumexp".split()
NUMPYS = (
    "exp sqrt tanh sin log1p arctan square mean var std sum prod cumsum max min argmax "
    "exp2 log2 log10 arcsin arccos cumprod diff sort vstack hstack"
).split()


@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("name", OURS)
def test_functions_of_our_own_compute_in_floats(name, dtype):
    f, x = getattr(tnn, name), np.array(VALUES[dtype], dtype)
    expected = f(x.astype(float))
    for y in (f(x), np.asarray(f(tnn.Tensor(x)))):
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, which it gives as well
@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("name", NUMPYS)
def test_functions_of_numpys_name_give_what_numpy_gives(name, dtype):
    x = np.array(VALUES[dtype], dtype)
    if dtype == "bool" and name == "square":
        pytest.skip("NumPy has none")
    ours, theirs = getattr(tnn, name), getattr(np, name)(x)
    for y in (ours(x), np.asarray(ours(tnn.Tensor(x)))):
        assert y.dtype == theirs.dtype
        np.testing.assert_allclose(y, theirs, rtol=1e-3 if y.dtype == np.float16 else 1e-12)


def test_ends_of_the_range():
    assert tnn.abs(np.array([-128], np.int8))[0] == np.abs(np.array([-128], np.int8))[0]
    np.testing.assert_array_equal(tnn.relu(np.array([-128, 127], np.int8)), [0, 127])
    clipped = tnn.clip(tnn.Tensor(np.array([0, 255], np.uint8)), 7)
    np.testing.assert_array_equal(clipped.numpy(), [7, 255])
    np.testing.assert_allclose(ops.erf(np.array([0, 200], np.uint8)), [0, 1], atol=1e-15)


def test_integer_exponents_of_every_size():
    x = tnn.Tensor([1e10, -2.0, 3.0], requires_grad=True)
    for dtype in ("uint8", "int8", "int64", "bool"):
        p = np.array([0, 1, 1], dtype) if dtype == "bool" else np.array([0, 3, 2], dtype)
        [gradient] = tnn.grad((x**p).sum(), x)
        np.testing.assert_array_equal(gradient, [0, 1, 1] if dtype == "bool" else [0, 12, 6])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, which it gives as well
@pytest.mark.parametrize("dtype", VALUES)
def test_functions_of_several_arguments_too(dtype):
    x = np.array(VALUES[dtype], dtype)
    for ours, theirs in (
        (tnn.logaddexp(tnn.Tensor(x), x[::-1]), np.logaddexp(x, x[::-1])),
        (tnn.arctan2(tnn.Tensor(x), x[::-1]), np.arctan2(x, x[::-1])),
        (tnn.norm(tnn.Tensor(x)), np.linalg.norm(x)),
        (tnn.norm(tnn.Tensor(x), 1), np.linalg.norm(x.astype(float), 1)),
        (tnn.tile(tnn.Tensor(x), 2), np.tile(x, 2)),
        (tnn.take(tnn.Tensor(x), [2, 0]), np.take(x, [2, 0])),
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint64", "int64"])
def test_indices_of_every_size(dtype):
    x = tnn.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    index = np.array([[2, 0], [1, 1]], dtype)
    for y in (tnn.take(x, index, axis=1)[0], tnn.take_along_axis(x, index, axis=1)):
        assert y[0, 0].item() == 2
        np.testing.assert_array_equal(tnn.grad(y.sum(), x)[0].sum(), 4)
