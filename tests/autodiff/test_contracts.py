"""The contracts of gradients: what is stored, saved, promised about dtypes, ties and branches."""

import threading

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops


def leaf(data, dtype=float):
    return tnn.Tensor(data, dtype=dtype, requires_grad=True)


# ---------------------------------------------------------------- grad()


def test_grad_stores_nothing_and_may_be_repeated():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = (x * w).sum()
    first, again = tnn.grad(y, [x, w]), tnn.grad(y, [x, w])
    np.testing.assert_array_equal(first, [[3, 4], [1, 2]])
    np.testing.assert_array_equal(again, first)
    assert x.grad is None
    assert w.grad is None
    assert y.grad is None


def test_grad_takes_one_tensor_or_any_iterable_in_its_order():
    x, w = leaf(2.0), leaf(3.0)
    y = x * w * w
    np.testing.assert_array_equal(tnn.grad(y, x), [9])
    np.testing.assert_array_equal(tnn.grad(y, (t for t in (w, x))), [12, 9])
    np.testing.assert_array_equal(tnn.grad(y, [x, w, x]), [9, 12, 9])
    assert tnn.grad(y, []) == []


def test_grad_with_respect_to_results_and_to_y_itself():
    x = leaf(3.0)
    square = x * x
    y = 2 * square
    np.testing.assert_array_equal(tnn.grad(y, [square, y, x]), [2, 1, 12])
    np.testing.assert_array_equal(tnn.grad(x, [x], 5), [5])


@pytest.mark.parametrize("g", [[1, 2], (1.0, 2.0), np.float32([1, 2]), tnn.Tensor([1.0, 2.0])])
@pytest.mark.parametrize("create_graph", [False, True])
def test_g_may_be_anything_of_the_shape_of_y(g, create_graph):
    x = leaf([3.0, 4.0])
    y = x * x
    for grad, expected in zip(
        tnn.grad(y, [x, y], g, create_graph=create_graph), ([6, 16], [1, 2]), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(grad), expected)
        assert grad.dtype == float


def test_g_of_another_dtype_does_not_change_that_of_a_gradient():
    x = leaf([3.0, 4.0], "float32")
    y = x * x
    for g in (np.ones(2), tnn.Tensor(np.ones(2)), tnn.Tensor(np.ones(2, np.float16))):
        for create_graph in (False, True):
            assert {a.dtype for a in tnn.grad(y, [x, y], g, create_graph=create_graph)} == {
                np.dtype("float32")
            }


def test_grad_errors_say_what_to_do():
    x, w, c = leaf([1.0, 2.0]), leaf(1.0), tnn.Tensor([1.0, 2.0])
    y = (x * c).sum()
    with pytest.raises(TypeError, match=r"^grad: xs\[1\] must be a Tensor, got ndarray\.$"):
        tnn.grad(y, [x, np.ones(2)])
    with pytest.raises(ValueError, match=r"^grad: xs\[0\], of shape \(2,\), does not require"):
        tnn.grad(y, [c])
    with pytest.raises(ValueError, match=r"^grad: xs\[1\], of shape \(\), is not part of the gr"):
        tnn.grad(y, [x, w])
    with pytest.raises(TypeError, match=r"^grad: y must be a Tensor, got float\.$"):
        tnn.grad(1.0, [x])
    with pytest.raises(ValueError, match=r"^grad: y does not depend on any tensor that requires"):
        tnn.grad(c.sum(), [x])
    with tnn.no_grad():
        y0 = x.sum()
    with pytest.raises(ValueError, match=r"or was computed under no_grad"):
        tnn.grad(y0, [x])
    with pytest.raises(ValueError, match=r"y has shape \(2,\), and only a scalar .*\.sum\(\)"):
        tnn.grad(x * x, [x])
    with pytest.raises(ValueError, match=r"g must have y's shape \(2,\), got \(3,\)"):
        tnn.grad(x * x, [x], np.ones(3))
    with pytest.raises(ValueError, match=r"g must have y's shape \(2,\), got \(\)"):
        tnn.grad(x * x, [x], leaf(1.0), create_graph=True)
    with pytest.raises(TypeError, match="g must be real numbers, got dtype complex128"):
        tnn.grad(x * x, [x], np.ones(2, complex))


def test_one_element_of_any_rank_is_a_scalar():
    x = leaf([[2.0]])
    np.testing.assert_array_equal(tnn.grad(x * x, x)[0], [[4]])


def test_derivatives_of_every_order():
    x = leaf(2.0)
    y = x**5
    for expected in (5 * 16, 20 * 8, 60 * 4, 120 * 2, 120):
        [y] = tnn.grad(y, x, create_graph=True)
        assert isinstance(y, tnn.Tensor)
        assert y.item() == pytest.approx(expected, rel=1e-14)
    with pytest.raises(ValueError, match="not part of the graph"):
        tnn.grad(y, leaf(1.0), create_graph=True)


# ---------------------------------------------------------------- backward()


def test_backward_adds_owned_writable_arrays_to_leaves_only():
    for shape in ((), (2,)):
        x, c = leaf(np.full(shape, 3.0)), tnn.Tensor(np.ones(shape))
        for n in (1, 2, 3):
            y = x * x * c
            assert y.sum().backward() is None
            assert type(x.grad) is np.ndarray
            assert x.grad.flags.writeable
            assert x.grad.flags.owndata
            np.testing.assert_array_equal(x.grad, np.full(shape, 6.0 * n))
        assert c.grad is None
        assert y.grad is None


def test_backward_takes_a_gradient_and_a_leaf_is_its_own_graph():
    x = leaf([1.0, 2.0])
    (x * x).backward([1, 10])
    np.testing.assert_array_equal(x.grad, [2, 40])
    x.backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [3, 41])
    with pytest.raises(ValueError, match=r"^backward: y has shape"):
        (x * x).backward()


@pytest.mark.parametrize("again", ["backward", "grad"])
def test_a_released_graph_raises(again):
    x = leaf(2.0)
    z = x * x
    y = z + 1
    y.backward()
    for result in (y, z, z * 3):
        with pytest.raises(RuntimeError, match=rf"^{again}: a backward\(\) has already released"):
            result.backward() if again == "backward" else tnn.grad(result, x)
    np.testing.assert_array_equal(x.grad, 4)


def test_grad_before_backward_keeps_the_graph():
    x = leaf(2.0)
    y = x * x
    tnn.grad(y, x, create_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, 4)


def failing_vjp(g, y, x):
    raise RuntimeError("no gradient today")


@tnn.primitive(failing_vjp)
def fails_backward(x):
    return x * 1.0


def test_a_failed_backward_stores_nothing_and_can_be_repeated():
    x, w = leaf(2.0), leaf(3.0)
    y = fails_backward(x) * w
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no gradient today"):
            y.backward()
        assert x.grad is None
        assert w.grad is None
    assert (2 * x).requires_grad  # recording is on again
    np.testing.assert_array_equal(tnn.grad(y, w), [2])  # and the graph is whole


def test_grad_attribute_is_checked_copied_and_cast():
    x = leaf([1.0, 2.0], "float32")
    mine = np.array([3.0, 4.0])
    x.grad = mine
    mine[0] = 9
    np.testing.assert_array_equal(x.grad, [3, 4])
    assert x.grad.dtype == np.float32
    x.grad = None
    assert x.grad is None
    with pytest.raises(ValueError, match=r"gradient must have the tensor's shape \(2,\), got \(3,"):
        x.grad = np.ones(3)


# ---------------------------------------------------------------- fan-out and aliasing


def test_gradients_of_all_uses_add_up():
    x = leaf([1.0, 2.0, 3.0])
    y = x + x
    z = (y * x + tnn.sin(y)[::-1] * x[0] + y.sum()).sum()
    # z = 2 x.x + x0 sum sin 2x + 6 sum x
    a = x.numpy()
    expected = 4 * a + 2 * a[0] * np.cos(2 * a) + 6
    expected[0] += np.sin(2 * a).sum()
    np.testing.assert_allclose(tnn.grad(z, x)[0], expected, rtol=1e-14)


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: a + b,
        lambda a, b: a + a + b + b,
        lambda a, b: a - (-b),
        lambda a, b: tnn.stack([a, b]).sum(axis=0),
        lambda a, b: (a + b).reshape(3, 1)[:, 0],
        lambda a, b: tnn.where(True, a, 0) + b,
    ],
)
def test_returned_gradients_share_no_memory(f):
    a, b = leaf([1.0, 2.0, 3.0]), leaf([4.0, 5.0, 6.0])
    g = np.ones(3)
    first, second = tnn.grad(f(a, b), [a, b], g)
    same = tnn.grad(f(a, b), [a, a, b], g)
    f(a, b).backward(g)
    arrays = [first, second, *same, a.grad, b.grad, g, a._data, b._data]
    for i, x in enumerate(arrays):
        assert x.flags.writeable
        assert not any(np.shares_memory(x, other) for other in arrays[:i])


# ---------------------------------------------------------------- nothing saved may change unseen


def add_in_place(t):
    t.data += 9.0


def replace(t):
    t.data = np.full(t.shape, 9.0)


WRITES = {
    "t.data[...] = v": lambda t: t.data.__setitem__(..., 9.0),
    "t.data += v": add_in_place,
    "t.data = v": replace,
    "t.data.fill(v)": lambda t: t.data.fill(9.0),
    "np.copyto(t.data, v)": lambda t: np.copyto(t.data, 9.0),
    "t.data.T[0] = v": lambda t: t.data.T.__setitem__(0, 9.0),
}

USES = {
    "t * t": lambda t: t * t,
    "t * t * c": lambda t: t * t * np.arange(6.0).reshape(2, 3),
    "exp": lambda t: tnn.exp(t),
    "tanh": lambda t: tnn.tanh(t),
    "matmul": lambda t: t @ t.T,
    "conv1d": lambda t: tnn.conv1d(np.arange(8.0).reshape(1, 4, 2), t.reshape(1, 2, 3)) ** 2,
    "view": lambda t: t[1:] * t.reshape(3, 2)[:2, :1].T[:, 0],
    "max": lambda t: tnn.max(t, axis=0) * tnn.logsumexp(t),
    "where": lambda t: tnn.where(t > 1.5, t * t, 2 * t),
    "prod": lambda t: t.prod(axis=1),
    "astype": lambda t: t.astype("float32") ** 2,
    "softmax": lambda t: tnn.softmax(t) * tnn.log_softmax(t),
    "asarray": lambda t: tnn.exp(t * np.asarray(t)),
    "detach": lambda t: tnn.sin(t * t.detach()),
    "clip": lambda t: tnn.clip(t, t / 2, 1.2) ** 2,
}


@pytest.mark.parametrize("seen_before", [False, True], ids=["", "data seen before"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("use", USES)
def test_writing_to_a_leaf_after_the_forward_pass_is_harmless(use, write, seen_before):
    start = np.linspace(1, 2, 6).reshape(2, 3)
    x = leaf(start)
    g = np.random.default_rng(0).normal(size=USES[use](x).shape)
    [expected] = tnn.grad(USES[use](x), x, g)
    [first] = tnn.grad(USES[use](x), x, g, create_graph=True)
    [second] = tnn.grad((first * first).sum(), x)

    x = leaf(start)
    before = x.data if seen_before else None
    y = USES[use](x)
    values = y.numpy()
    [first] = tnn.grad(y, x, g, create_graph=True)
    late = (first * first).sum()
    WRITES[write](x)
    if seen_before:
        before[...] = -7.0  # a view from before the forward pass is written to as well
    np.testing.assert_array_equal(y.numpy(), values)
    np.testing.assert_array_equal(tnn.grad(y, x, g)[0], expected)
    np.testing.assert_array_equal(tnn.grad(late, x)[0], second)
    with pytest.raises(RuntimeError, match="was changed after the forward pass"):
        tnn.grad(y, x, g, create_graph=True)
    y.backward(g)
    np.testing.assert_array_equal(x.grad, expected)


@pytest.mark.parametrize("write", WRITES)
def test_a_write_before_the_forward_pass_counts(write):
    x = leaf([[1.0, 2.0]])
    view = x.data
    WRITES[write](x)
    assert x.numpy()[0, 0] in (9, 10)
    np.testing.assert_array_equal(tnn.grad((x * x).sum(), x)[0], 2 * x.numpy())
    if write != "t.data = v":
        view[0, 1] = 5.0  # the view from .data stays the tensor's own array
        np.testing.assert_array_equal(tnn.grad((x * x).sum(), x)[0], 2 * x.numpy())
        assert x.numpy()[0, 1] == 5


def test_new_data_are_copied_checked_and_keep_the_dtype():
    x = leaf([1.0, 2.0], "float32")
    mine = np.array([3.0, 4.0])
    x.data = mine
    mine[...] = 9
    np.testing.assert_array_equal(x.numpy(), [3, 4])
    assert x.dtype == np.float32
    other = leaf([5.0, 6.0], "float32")
    x.data = other.data
    other.data[...] = 7
    np.testing.assert_array_equal(x.numpy(), [5, 6])
    with pytest.raises(ValueError, match=r"new data must have shape \(2,\), got \(2, 1\)"):
        x.data = np.ones((2, 1))
    with pytest.raises(TypeError, match="data of a computed tensor cannot be replaced"):
        (2 * x).data = np.ones(2)


def test_data_of_a_result_cannot_be_written():
    x = leaf([1.0, 2.0])
    for result in (x * x, x.T, x[:1], x.detach(), x.reshape(2, 1)):
        with pytest.raises(ValueError, match="read-only"):
            result.data[...] = 0
    x.data[...] = 3  # the leaf itself can be written all the same
    np.testing.assert_array_equal(x.numpy(), [3, 3])


def test_views_and_detached_copies_keep_their_values_when_a_leaf_is_written():
    for requires_grad in (False, True):
        for seen in (False, True):
            x = tnn.Tensor([1.0, 2.0], requires_grad=requires_grad)
            kept = x.data if seen else None
            with tnn.no_grad():
                unrecorded = x[:]
            results = [x.detach(), x.T, x[:], x.reshape(2), np.asarray(x), unrecorded]
            x.data[...] = 9
            if seen:
                kept[...] = 8
            for result in results:
                np.testing.assert_array_equal(np.asarray(result), [1, 2])


def frozen_view(a):
    view = a.view()
    view.flags.writeable = False
    return view


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "make",
    [lambda a: a, lambda a: a[...], frozen_view, lambda a: np.broadcast_to(a, (2, 3))],
    ids=["array", "view", "read-only view", "broadcast"],
)
def test_arrays_may_be_changed_after_the_forward_pass(make, create_graph):
    x = leaf(np.ones((2, 3)))
    a = np.array([1.0, 2.0, 3.0])
    y = x * make(a) + tnn.conv1d(x, make(a).reshape(-1, 3, 1)[:1]) + tnn.where(make(a) > 2, x, 0)
    y = y + x ** make(a)
    a[...] = 100
    [grad] = tnn.grad(y.sum(), x, create_graph=create_graph)
    np.testing.assert_array_equal(np.asarray(grad), [[1 + 3 + 1, 2 + 6 + 2, 3 + 9 + 1 + 3]] * 2)


PARAMETERS = {  # name: (function of x and a parameter, the parameter, what becomes of its start)
    "integers": (lambda x, p: x[p], np.array([0, 0, 1]), 2),
    "integers among others": (lambda x, p: x[None][0, p], np.array([0, 0, 1]), 2),
    "list": (lambda x, p: x[p], [0, 2, 2], 1),
    "list among others": (lambda x, p: x[p, None], [0, 2, 2], 1),
    "mask": (lambda x, p: x[:2][p], np.array([True, False]), False),
    "Tensor's own array": (lambda x, p: x[tnn.Tensor(p)], np.array([0, 0, 1]), 2),
    "roll": (lambda x, p: tnn.roll(x, p, [0]), [1], 2),
    "roll by an array": (lambda x, p: tnn.roll(x, p, 0), np.array([1]), 2),
    "flip": (lambda x, p: tnn.flip(x[None], p), [1], 0),
    "repeat": (lambda x, p: tnn.repeat(x, p), np.array([1, 2, 0]), 3),
    "pad": (lambda x, p: tnn.pad(x, [p], "edge"), [1, 2], 2),
    "transpose": (lambda x, p: tnn.transpose(x[None, None], p) ** 2, [2, 1, 0], 0),
    "slopes": (lambda x, p: tnn.leaky_relu(-x, p), np.array([1.0, 2.0, 3.0]), 9),
    "scales": (lambda x, p: tnn.elu(-x, p), np.array([1.0, 2.0, 3.0]), 9),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_may_be_changed_after_the_forward_pass(name):
    f, parameter, other = PARAMETERS[name]
    parameter = parameter.copy()
    x = leaf([1.0, 2.0, 3.0])
    y = f(x, parameter)
    g = np.random.default_rng(0).normal(size=y.shape)
    [expected] = tnn.grad(y, x, g)
    parameter[0] = other
    np.testing.assert_array_equal(tnn.grad(y, x, g)[0], expected)
    np.testing.assert_array_equal(tnn.grad(y, x, g, create_graph=True)[0].numpy(), expected)


# ---------------------------------------------------------------- dtypes

BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "maximum": tnn.maximum,
    "minimum": tnn.minimum,
    "np.maximum": np.maximum,
    "where": lambda a, b: tnn.where(np.array([True, False]), a, b),
    "clip": lambda a, b: tnn.clip(a, 0, b),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("scalar", [2, 0.5, True])
@pytest.mark.parametrize("name", BINARY)
def test_python_scalars_are_weak(name, scalar, dtype):
    if name == "-" and scalar is True:
        scalar = 1  # NumPy has no boolean subtract
    x = leaf([1.5, 2.5], dtype)
    for y in (BINARY[name](x, scalar), BINARY[name](scalar, x) if name != "clip" else x):
        assert y.dtype == dtype
        assert tnn.grad(y.sum(), x)[0].dtype == dtype
        assert tnn.grad(y.sum(), x, create_graph=True)[0].dtype == dtype


def test_arrays_promote_and_gradients_come_back_in_each_dtype():
    x, w = leaf([1.0, 2.0], "float32"), leaf([3.0, 4.0], "float64")
    y = x * w + np.ones(2)
    assert y.dtype == np.float64
    gx, gw = tnn.grad(y.sum(), [x, w])
    assert (gx.dtype, gw.dtype) == ("float32", "float64")
    y.sum().backward()
    assert (x.grad.dtype, w.grad.dtype) == ("float32", "float64")


def test_astype_and_whole_numbers():
    x = leaf([1.5, 2.5])
    y = (x.astype("float32") * 2).sum()
    assert y.dtype == np.float32
    assert tnn.grad(y, x)[0].dtype == float
    whole = x.astype(int)
    assert (whole.dtype.kind, whole.requires_grad) == ("i", False)
    with pytest.raises(TypeError, match=r"only floating-point .* got dtype int64\. Give floats"):
        tnn.Tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="only floating-point"):
        tnn.Tensor([True]).requires_grad = True
    assert tnn.Tensor([1, 2], dtype="float32", requires_grad=True).dtype == np.float32
    mean = tnn.Tensor([1, 2]).mean()
    assert (mean.dtype, mean.item()) == (np.float64, 1.5)


# ---------------------------------------------------------------- ties and branches not taken


def test_ties():
    x, y = leaf([1.0, 2.0, 3.0]), leaf([1.0, 3.0, 2.0])
    for f, left in ((tnn.maximum, [0.5, 0, 1]), (tnn.minimum, [0.5, 1, 0])):
        gx, gy = tnn.grad(f(x, y).sum(), [x, y])
        np.testing.assert_array_equal(gx, left)
        np.testing.assert_array_equal(gy, 1 - np.array(left))
    zeros = leaf([0.0, -0.0])
    for f, slope in (
        (tnn.relu, 0),
        (tnn.abs, 0),
        (tnn.sign, 0),
        (tnn.leaky_relu, 0.2),
        (lambda x: tnn.elu(x, 0.5), 0.5),
        (lambda x: tnn.clip(x, 0, 1), 1),
        (lambda x: tnn.clip(x, None, 0), 1),
        (lambda x: x**0, 0),
        (lambda x: x**1, 1),
        (lambda x: x ** np.array([0, 0.0]), 0),
        (lambda x: x ** np.array([1, 1.0]), 1),
    ):
        np.testing.assert_array_equal(tnn.grad(f(zeros).sum(), zeros)[0], [slope, slope])
    exponent = leaf([2.0, 0.5])
    np.testing.assert_array_equal(tnn.grad((zeros**exponent).sum(), exponent)[0], [0, 0])
    x = leaf([[2.0, 2.0, 1.0], [2.0, 0.0, 1.0]])
    third = 1 / 3
    np.testing.assert_allclose(tnn.grad(x.max(), x)[0], [[third, third, 0], [third, 0, 0]])
    np.testing.assert_allclose(tnn.grad(x.min(axis=0).sum(), x)[0], [[0.5, 0, 0.5], [0.5, 1, 0.5]])


UNSAFE = {  # name: (function, where it is bad)
    "sqrt": (tnn.sqrt, [0.0, -1.0]),
    "log": (tnn.log, [0.0, -1.0]),
    "log1p": (tnn.log1p, [-1.0, -2.0]),
    "1 / x": (lambda x: 1 / x, [0.0]),
    "x / x": (lambda x: x / x, [0.0, np.inf]),
    "x / |x|": (lambda x: x / abs(x), [0.0]),
    "x ** 0.5": (lambda x: x**0.5, [0.0, -1.0]),
    "x ** -1": (lambda x: x**-1.0, [0.0]),
    "x ** -2": (lambda x: x**-2, [0.0]),
    "x ** (1/3)": (lambda x: x ** (1 / 3), [0.0, -1.0]),
    "x ** x": (lambda x: x**x, [0.0, -0.5]),
    "x log x": (lambda x: x * tnn.log(x), [0.0, -1.0]),
    "exp": (lambda x: tnn.exp(x) * x, [1000.0]),
    "exp(1/x)": (lambda x: tnn.exp(1 / x), [0.0, 1e-9]),
    "expm1": (tnn.expm1, [1000.0]),
    "sinh / cosh": (lambda x: tnn.sinh(x) / tnn.cosh(x), [1000.0]),
    "sqrt of relu": (lambda x: tnn.sqrt(tnn.relu(x)), [0.0, -1.0]),
    "norm": (lambda x: tnn.sqrt(x * x), [0.0]),
    "log of sigmoid": (lambda x: tnn.log(tnn.sigmoid(x)), [-1000.0]),
    "x * inf": (lambda x: x * np.inf, [0.0, 1.0]),
    "prod": (lambda x: tnn.prod(tnn.stack([1 / x, tnn.log(x)]), axis=0), [0.0]),
    "arctan(1/x)": (lambda x: tnn.arctan(1 / x), [0.0]),
    **{
        name: (getattr(tnn, name), [np.nan, np.inf, -np.inf])
        for name in "sin cos tan tanh sigmoid softplus gelu silu elu relu abs square exp".split()
    },
}


@pytest.mark.parametrize("name", UNSAFE)
def test_no_nan_from_the_branch_not_taken(name):
    f, bad = UNSAFE[name]
    x = leaf([*bad, 0.5])
    taken = np.arange(len(bad) + 1) == len(bad)
    with np.errstate(all="ignore"):  # NumPy's own warnings of the forward pass
        y = tnn.where(taken, f(x), 1.0)
        safe = leaf([0.5])
        z = f(safe)
    for _ in range(3):  # three orders
        [y] = tnn.grad((y * y).sum(), x, create_graph=True)
        [z] = tnn.grad((z * z).sum(), safe, create_graph=True)
        np.testing.assert_array_equal(y.numpy()[:-1], 0)
        np.testing.assert_allclose(y.numpy()[-1:], z.numpy(), rtol=1e-12)


@pytest.mark.parametrize("choose", [tnn.maximum, tnn.minimum, tnn.where], ids=lambda f: f.__name__)
def test_an_infinite_slope_does_not_spoil_the_operand_not_chosen(choose):
    x, other = leaf([-1.0, -2.0]), leaf([0.0, 0.0])
    if choose is tnn.minimum:
        x, other = leaf([1.0, 2.0]), leaf([0.0, 0.0])
    chosen = tnn.where(False, x, other) if choose is tnn.where else choose(x, other)
    gx, go = tnn.grad(tnn.sqrt(chosen).sum(), [x, other])
    np.testing.assert_array_equal(gx, 0)
    np.testing.assert_array_equal(go, np.inf)
    for f in (tnn.relu, lambda x: tnn.clip(x, 0, 1), lambda x: tnn.clip(x, 0)):
        x = leaf([-1.0, 0.25])
        np.testing.assert_array_equal(tnn.grad(tnn.sqrt(f(x)).sum(), x)[0], [0, 1])


def test_infinite_values_do_not_warn_in_reductions():
    x = leaf([-np.inf, 0.0, 1.0])
    np.testing.assert_allclose(tnn.grad(tnn.logsumexp(x), x)[0], tnn.softmax(x.numpy()))
    none = leaf([-np.inf, -np.inf])
    assert tnn.logsumexp(none).item() == -np.inf
    np.testing.assert_array_equal(tnn.grad(tnn.logsumexp(none), none)[0], [0, 0])
    big = leaf([1000.0, -1000.0])
    np.testing.assert_array_equal(tnn.softmax(big).numpy(), [1, 0])
    np.testing.assert_array_equal(tnn.log_softmax(big).numpy(), [0, -2000])
    for f, value, slope in (
        (tnn.sigmoid, [1, 0], [0, 0]),
        (tnn.softplus, [1000, 0], [1, 0]),
        (tnn.elu, [1000, -1], [1, 0]),
        (tnn.gelu, [1000, 0], [1, 0]),
        (tnn.silu, [1000, 0], [1, 0]),
        (lambda x: tnn.gelu(x, True), [1000, 0], [1, 0]),
    ):
        np.testing.assert_array_equal(f(big).numpy(), value)
        np.testing.assert_array_equal(tnn.grad(f(big).sum(), big)[0], slope)


# ---------------------------------------------------------------- no_grad


def test_no_grad_as_context_and_decorator_nested_and_after_errors():
    x = leaf(1.0)

    @tnn.no_grad()
    def twice(x):
        """Doc."""
        return 2 * x

    with tnn.no_grad() as nothing:
        assert nothing is None
        with tnn.no_grad():
            assert not (2 * x).requires_grad
        assert not (2 * x).requires_grad
        assert not twice(x).requires_grad
        assert not (2 * x).requires_grad
    assert (2 * x).requires_grad
    assert not twice(x).requires_grad
    assert (twice.__name__, twice.__doc__) == ("twice", "Doc.")
    with pytest.raises(KeyError, match="out"), tnn.no_grad():
        raise KeyError("out")
    assert (2 * x).requires_grad
    assert tnn.Tensor(1.0, requires_grad=True).requires_grad


def test_no_grad_refuses_what_would_run_outside():
    def numbers():
        yield 1

    async def later():
        pass

    for f in (numbers, later):
        with pytest.raises(TypeError, match=rf"^no_grad: {f.__name__} is a generator or coroutine"):
            tnn.no_grad()(f)


def test_one_no_grad_serves_two_threads_at_once():
    x, shared = leaf(1.0), tnn.no_grad()
    inside, leave = threading.Event(), threading.Event()
    seen = {}

    def other():
        seen["before"] = (2 * x).requires_grad
        with shared:
            inside.set()
            assert leave.wait(10)
            seen["within"] = (2 * x).requires_grad
        seen["after"] = (2 * x).requires_grad

    thread = threading.Thread(target=other)
    with shared:
        thread.start()
        assert inside.wait(10)
    seen["here"] = (2 * x).requires_grad  # while the other thread is still inside
    leave.set()
    thread.join()
    assert seen == {"before": True, "within": False, "after": True, "here": True}


def test_a_vjp_records_only_for_a_graph_of_the_gradient():
    recording = []

    @tnn.primitive(lambda g, y, x: recording.append((2 * x0).requires_grad) or g)
    def watched(x):
        return x * 1.0

    x0 = leaf(1.0)
    y = watched(x0)
    tnn.grad(y, x0)
    tnn.grad(y, x0, create_graph=True)
    with tnn.no_grad():
        tnn.grad(y, x0, create_graph=True)
    y.backward()
    assert recording == [False, True, True, False]


def test_gradients_of_a_graph_recorded_before_no_grad():
    x = leaf(3.0)
    y = x**3
    with tnn.no_grad():
        np.testing.assert_array_equal(tnn.grad(y, x), [27])
        [first] = tnn.grad(y, x, create_graph=True)
        assert not (2 * x).requires_grad
    np.testing.assert_array_equal(tnn.grad(first, x), [18])


# ---------------------------------------------------------------- operations of one's own


def registered(name):
    return next(op for key, op in tnn.autodiff.primitive.PRIMITIVES.items() if key.endswith(name))


def test_a_custom_operation_has_gradients_of_every_order():
    @tnn.primitive(lambda g, y, x, p: g * p * x ** (p - 1))
    def raised(x, p=3):
        """Raise."""
        return x**p

    x = leaf([1.0, 2.0])
    for call in (
        lambda: raised(x),
        lambda: raised(x, 3),
        lambda: raised(x=x),
        lambda: raised(x, p=3),
    ):
        np.testing.assert_array_equal(tnn.grad(call().sum(), x)[0], [3, 12])
    [first] = tnn.grad(raised(x).sum(), x, create_graph=True)
    np.testing.assert_array_equal(tnn.grad(first.sum(), x)[0], [6, 12])
    assert type(raised(np.ones(2))) is np.ndarray
    assert (raised.__name__, raised.__doc__, repr(raised)) == (
        *("raised", "Raise."),
        "<primitive raised(x, p=3)>",
    )
    assert registered("raised") is raised


def test_elementwise_sums_over_broadcast_axes():
    @tnn.elementwise(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
    def product(a, b):
        return a * b

    a, b = leaf(np.ones((2, 1))), leaf([1.0, 2.0, 3.0])
    for create_graph in (False, True):
        ga, gb = tnn.grad(product(a, b).sum(), [a, b], create_graph=create_graph)
        np.testing.assert_array_equal(np.asarray(ga), [[6], [6]])
        np.testing.assert_array_equal(np.asarray(gb), [2, 2, 2])


def test_an_argument_without_vjp_is_a_constant():
    @tnn.primitive(None, lambda g, y, c, x: g * c)
    def scaled(c, x):
        return c * x

    c, x = leaf([2.0, 3.0]), leaf([1.0, 1.0])
    y = scaled(c, x).sum()
    np.testing.assert_array_equal(tnn.grad(y, x)[0], [2, 3])
    with pytest.raises(ValueError, match="not part of the graph"):
        tnn.grad(y, c)
    assert not scaled(c, np.ones(2)).requires_grad


@pytest.mark.parametrize("make", [tnn.primitive, tnn.elementwise], ids=["primitive", "elementwise"])
@pytest.mark.parametrize(
    ("vjp", "error", "words"),
    [
        (lambda g, y, x: g.sum(), tnn.GradientShapeError, r"returned shape \(\), but the argument"),
        (lambda g, y, x: g[:1], tnn.GradientShapeError, r"returned shape \(1,\), but .* \(3,\)"),
        (lambda g, y, x: 2.0, tnn.GradientShapeError, r"returned shape \(\), but .* \(3,\)"),
        (lambda g, y, x: None, TypeError, r"returned None\. Return the gradient"),
    ],
    ids=["sum", "slice", "constant", "None"],
)
def test_a_wrong_vjp_is_named(make, vjp, error, words):
    @make(vjp)
    def careless(x):
        return x * 1.0

    x = leaf([1.0, 2.0, 3.0])
    with pytest.raises(error, match=rf"^careless: the vjp of argument 0 {words}"):
        careless(x).sum().backward()
    assert x.grad is None


def test_a_vjp_in_plain_numpy_serves_the_first_order_only():
    @tnn.primitive(lambda g, y, x: np.asarray(g) * 3 * np.asarray(x) ** 2)
    def cube(x):
        return x**3

    x = leaf([1.0, 2.0])
    np.testing.assert_array_equal(tnn.grad(cube(x).sum(), x)[0], [3, 12])
    with pytest.raises(TypeError, match=r"^cube: the vjp of argument 0 returned ndarray where"):
        tnn.grad(cube(x).sum(), x, create_graph=True)


def test_a_vjp_of_another_dtype_is_cast():
    @tnn.primitive(lambda g, y, x: g * np.float64(2))
    def doubled(x):
        return x * np.float32(2)

    x = leaf([1.0, 2.0], "float32")
    for create_graph in (False, True):
        [grad] = tnn.grad(doubled(x).sum(), x, create_graph=create_graph)
        assert grad.dtype == np.float32


def test_a_tensor_among_parameters_is_refused():
    x, slope = leaf([1.0, -2.0]), leaf(0.1)
    words = r"^leaky_relu: negative_slope takes plain values, got a Tensor; .*asarray\(negative_slo"
    for call in (
        lambda: tnn.leaky_relu(x, slope),
        lambda: tnn.leaky_relu(x, negative_slope=slope),
        lambda: tnn.leaky_relu(np.ones(2), slope),
    ):
        with pytest.raises(TypeError, match=words):
            call()


def test_a_tensor_inside_a_list_is_refused():
    t, x = leaf(1.0), leaf([1.0, 2.0])
    for call, name in (
        (lambda: x + [t, 1.0], "add"),
        (lambda: tnn.exp([[t, t]]), "exp"),
        (lambda: tnn.sum([t, 2.0]), "sum"),
        (lambda: tnn.mean((t, 2.0)), "mean"),
        (lambda: tnn.einsum("i,i", [t, t], x), "einsum"),
        (lambda: tnn.concatenate([[t], x]), "concatenate"),
        (lambda: tnn.gelu([t]), "gelu"),
        (lambda: tnn.exp(x=(t, t)), "exp"),
        (lambda: tnn.maximum(a=(t, t), b=0.0), "maximum"),
        (lambda: tnn.conv1d([[t], [t]], np.ones((1, 1, 1))), "conv1d"),
        (lambda: tnn.Tensor([t, 2.0]), "Tensor"),
    ):
        words = rf"^{name}: the list holds Tensors that require a gradient, .*tinynn\.stack"
        with pytest.raises(TypeError, match=words):
            call()


@pytest.mark.parametrize("name", ["mean", "var", "std", "prod", "cumsum", "cumprod", "norm"])
@pytest.mark.parametrize("x", ["a", ["a", "b"], np.array(["a"]), None, [None]])
def test_a_reduction_refuses_what_is_no_number(name, x):
    with pytest.raises(TypeError, match=rf"^{name}: arrays must hold numbers, got .*Give floats"):
        getattr(tnn, name)(x)


def test_wrong_definitions_and_calls_are_refused():
    with pytest.raises(TypeError, match=r"^primitive: f needs one vjp .*Write @primitive\(vjp_x"):
        tnn.primitive()(function_of_x())
    with pytest.raises(TypeError, match=r"^primitive: f needs one vjp"):
        tnn.primitive("no function")(function_of_x())
    with pytest.raises(TypeError, match=r"^primitive: f has 1 arguments, got 2 vjps"):
        tnn.primitive(None, None)(function_of_x())
    with pytest.raises(
        TypeError, match=r"^primitive: f\(x, \*\*options\) must name each of its arg"
    ):
        tnn.primitive(None)(function_with_options())
    with pytest.raises(TypeError, match=r"^exp: missing a required argument: 'x'\.$"):
        tnn.exp()
    with pytest.raises(TypeError, match=r"^sum: got an unexpected keyword argument 'axes'\.$"):
        tnn.sum(leaf(1.0), axes=0)
    with pytest.raises(TypeError, match=r"^maximum: too many positional arguments\.$"):
        tnn.maximum(1, 2, 3)
    with pytest.raises(TypeError, match=r"^reshape: multiple values for argument 'shape'\.$"):
        tnn.reshape(leaf(1.0), (1,), shape=(1,))

    @tnn.primitive(lambda g, y, x: g)
    def two(x):
        return x, x

    with pytest.raises(TypeError, match=r"^two: an operation must return one array, got tuple\.$"):
        two(leaf(1.0))


def function_with_options():
    def f(x, **options):
        return x

    return f


def function_of_x():
    def f(x):
        return x

    return f


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.exp([0.0, 1.0]),
        lambda m: m.power([1.0, 2.0], 2),
        lambda m: m.power(2, [1.0, 2.0]),
        lambda m: m.mean([[1.0, 2.0], [3.0, 5.0]], axis=0),
        lambda m: m.var([1.0, 2.0]),
        lambda m: m.prod([[1, 2], [3, 4]], axis=1),
        lambda m: m.prod(np.array([100, 100], np.int8)),
        lambda m: m.cumsum([[1, 2], [3, 4]]),
        lambda m: m.cumprod([[1, 2], [3, 4]]),
        lambda m: m.diff([True, False, False]),
        lambda m: m.diff([[1, 2], [4, 8]], axis=0, append=[[3, 3]]),
        lambda m: m.diff([1, 4], 1, -1, 0, 9),
        lambda m: m.tile([1, 2], [2, 2]),
        lambda m: m.vstack([1, 2]),
        lambda m: m.hstack([1, [2, 3]]),
        lambda m: m.vstack(np.ones((2, 3, 2))),
        lambda m: m.take([1, 2, 3], [[0, 1]]),
        lambda m: m.take_along_axis(np.array([[1, 2], [3, 4]]), np.array([[0], [1]]), 1),
        lambda m: m.sort([[3, 1], [2, 4]], axis=None),
        lambda m: m.arctan2([1, 0], -1),
        lambda m: m.logaddexp([1, 0], 2),
        lambda m: m.log2([1, 8]),
        lambda m: getattr(m, "linalg", m).norm([[3, 4], [0, 2]], axis=1),
        lambda m: m.stack([[1, 2], [3, 4]], axis=1),
        lambda m: m.split([1, 2, 3], [1])[1],
        lambda m: m.pad([1, 2], 1, "edge"),
        lambda m: m.roll([1, 2, 3], 1),
        lambda m: m.repeat([1, 2], 2),
        lambda m: m.dot([1, 2], [3, 4]),
        lambda m: m.tensordot([[1, 2]], [[3], [4]], 1),
        lambda m: m.outer([1, 2], [3, 4]),
        lambda m: m.einsum("i,i", [1, 2], [3, 4]),
        lambda m: m.clip([1, 5, 9], 2, None),
        lambda m: m.where([True, False], [1, 2], [3, 4]),
        lambda m: m.squeeze([[1]]),
        lambda m: m.moveaxis([[1, 2]], 0, 1),
        lambda m: m.argmax([[1, 3], [4, 2]], axis=1),
        lambda m: m.argmin([1, 3], keepdims=True),
    ],
)
def test_lists_and_whole_numbers_give_what_numpy_gives(call):
    ours, theirs = call(tnn), call(np)
    np.testing.assert_allclose(ours, theirs, rtol=1e-15)
    assert np.asarray(ours).dtype == np.asarray(theirs).dtype


def test_activations_take_lists_and_floats():
    for f in (tnn.relu, tnn.leaky_relu, tnn.elu, tnn.sigmoid, tnn.softplus, tnn.silu, tnn.gelu):
        np.testing.assert_allclose(f([1.0, -1.0]), f(np.array([1.0, -1.0])))
        np.testing.assert_allclose(f(1.0), f(np.array(1.0)))
        np.testing.assert_allclose(f(tnn.Tensor([1, -1])).numpy(), f(np.array([1.0, -1.0])))
    assert ops.sum_to(np.ones((2, 3)), (3,)).shape == (3,)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: tnn.clip(x), ValueError, "^clip: a_min and a_max are both None; give at least"),
        (lambda x: tnn.stack([]), ValueError, r"^stack: give at least one array, and all of the"),
        (lambda x: tnn.stack([x, x[:1]]), ValueError, r"same shape, got shapes \[\(1,\), \(3,\)\]"),
        (lambda x: tnn.concatenate([]), ValueError, "^concatenate: give at least one array"),
        (lambda x: tnn.concatenate([x, x[None]]), ValueError, "number of dimensions"),
        (lambda x: tnn.concatenate([x, 1.0]), ValueError, "dimension"),
        (lambda x: tnn.concatenate([x, x], axis=1), IndexError, "axis 1 is out of bounds"),
        (lambda x: tnn.split(x, 2), ValueError, "equal division"),
        (lambda x: tnn.pad(x, -1), ValueError, r"^pad: pad_width must be non-negative .* got -1"),
        (lambda x: tnn.pad(x, 1.5), ValueError, r"^pad: pad_width must be .* got 1\.5"),
        (lambda x: tnn.pad(x, 1, "mean"), ValueError, "^pad: mode must be .* got 'mean'"),
        (lambda x: tnn.sum(x, axis=1), IndexError, "axis 1 is out of bounds"),
        (lambda x: tnn.mean(x, axis=(0, 0)), ValueError, "duplicate value in 'axis'"),
        (lambda x: tnn.prod(x, axis=1), IndexError, "axis 1 is out of bounds"),
        (lambda x: tnn.cumsum(x, axis=1), IndexError, "axis 1 is out of bounds"),
        (lambda x: tnn.repeat(x, -1), ValueError, "negative"),
        (lambda x: tnn.cumprod(x, axis=1), IndexError, "axis 1 is out of bounds"),
        (
            lambda x: tnn.diff(x, n=-1),
            ValueError,
            "^diff: n must be a non-negative int.*got -1",
        ),
        (lambda x: tnn.diff(x[0]), ValueError, "^diff: x must have an axis, got a scalar"),
        (lambda x: tnn.diff(x, prepend=np.ones((1, 1))), ValueError, "number of dimensions"),
        (lambda x: tnn.tile(x, -1), ValueError, "^tile: reps must be a non-negative integer"),
        (lambda x: tnn.tile(x, 1.5), TypeError, "^tile: reps must be a non-negative integer"),
        (lambda x: tnn.vstack([]), ValueError, "^vstack: give at least one array"),
        (lambda x: tnn.hstack([]), ValueError, "^hstack: give at least one array"),
        (lambda x: tnn.take(x, 3), IndexError, "index 3 is out of bounds"),
        (lambda x: tnn.take(x, [0.5]), TypeError, "^take: indices must be integers, got dtype"),
        (lambda x: tnn.take(x, [True]), TypeError, "^take: indices must be integers, got dtype"),
        (lambda x: tnn.take(x, 0, mode="rais"), ValueError, "^take: mode must be .*mean 'raise'"),
        (lambda x: tnn.take(x, 0, axis=1), IndexError, "axis 1 is out of bounds"),
        (
            lambda x: tnn.take_along_axis(x, [[0]]),
            ValueError,
            r"^take_along_axis: x and indices .* shapes \(3,\) and \(1, 1\)\. Use take",
        ),
        (lambda x: tnn.take_along_axis(x, [3]), IndexError, "index 3 is out of bounds"),
        (lambda x: tnn.sort(x, axis=1), IndexError, "axis 1 is out of bounds"),
        (
            lambda x: tnn.norm(x, 3),
            ValueError,
            "^norm: over 1 axes ord must be .* got ord=3",
        ),
        (lambda x: tnn.norm(x, "fro"), ValueError, "^norm: over 1 axes ord must be one of"),
        (lambda x: tnn.norm(x[None], 2), ValueError, r"^norm: over 2 axes ord must be .* x\.ravel"),
        (lambda x: tnn.norm(x[None], "nuc"), ValueError, "^norm: over 2 axes ord must be"),
        (
            lambda x: tnn.norm(x[None, None], 2),
            ValueError,
            "^norm: over 3 axes there must be",
        ),
        (lambda x: tnn.norm(x, axis=1), IndexError, "axis 1 is out of bounds"),
        (lambda x: tnn.reshape(x, (2, 2)), ValueError, "cannot reshape array of size 3"),
        (lambda x: tnn.transpose(x, (0, 0)), ValueError, "repeated axis"),
        (lambda x: tnn.squeeze(x, 0), ValueError, "not equal to one"),
        (
            lambda x: tnn.tensordot(x, x[:2], 1),
            ValueError,
            r"^tensordot: axes \[0\] of shape \(3,\)",
        ),
        (lambda x: x @ x[:2], ValueError, "matmul"),
        (lambda x: tnn.einsum(x, "i"), TypeError, "^einsum: the first argument must be the subscr"),
        (lambda x: tnn.einsum("ij", x), ValueError, "too many subscripts for operand 0"),
        (
            lambda x: tnn.einsum("i,i", x, x[:2]),
            ValueError,
            r"^einsum: in 'i,i' one subscript stands for axes of lengths 3 and 2: the shapes",
        ),
        (
            lambda x: tnn.einsum("ii->i", x[None]),
            ValueError,
            r"stands for axes of lengths 3 and 1: the shapes are \[\(1, 3\)\]\.$",
        ),
        (lambda x: tnn.einsum("i...->i", x[None]), ValueError, r"no '\.\.\.' ellipsis provided"),
        (lambda x: tnn.einsum("i->ii", x), ValueError, "multiple times"),
        (lambda x: tnn.einsum("i,j", x), ValueError, "more operands"),
        (lambda x: tnn.einsum("i->j", x), ValueError, "never appeared in an input"),
        (lambda x: x[3], IndexError, "index 3 is out of bounds"),
        (lambda x: x[0, 0], IndexError, "too many indices"),
        (lambda x: x["a"], IndexError, "arrays used as indices must be of integer"),
        (lambda x: x[1.0], IndexError, "arrays used as indices must be of integer"),
        (lambda x: x[np.array([True, False])], IndexError, "boolean index did not match"),
    ],
)
def test_misuse_of_a_function(call, error, words):
    with pytest.raises(error, match=words):
        call(leaf([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: setattr(tnn.Tensor([1.0]), "grad", np.array(["1"])), "gradient must be real"),
        (lambda: setattr(tnn.Tensor([1.0]), "grad", [1j]), "gradient must be real numbers, got"),
        (lambda: tnn.jvp(lambda x: x * x, [np.ones(1)], [np.array([1j])]), r"jvp: vs\[0\] must be"),
        (
            lambda: tnn.value_and_grad(len, [0, 1]),
            r"tuple of ints, got \[0, 1\]. Write \(0, 1",
        ),
        (lambda: tnn.pad(np.ones(2), 1, mode="edge", constant_values=5), "for mode='constant'. Le"),
    ],
)
def test_what_would_be_lost_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_copy_keeps_the_sign_of_zero():
    assert np.signbit(tnn.Tensor([-0.0]).copy().numpy()).all()


def test_no_grad_refuses_what_runs_after_it():
    async def later():
        yield 1

    with pytest.raises(TypeError, match="no_grad: later is a generator or coroutine"):
        tnn.no_grad()(later)
