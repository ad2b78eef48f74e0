"""The Tensor among Python's and NumPy's protocols: a gradient is never lost in silence."""

import copy
import math
import pickle
import re
from functools import partial

import numpy as np
import pytest

import tinynn as tnn


def leaf(data, dtype=float):
    return tnn.Tensor(data, dtype=dtype, requires_grad=True)


# ---------------------------------------------------------------- NumPy on Tensors

ELEMENTWISE = (
    "exp log log1p expm1 sqrt square abs sign sin cos tan tanh sinh cosh arctan negative positive "
    "exp2 log2 log10 arcsin arccos"
).split()
BINARY = (
    "add subtract multiply divide power float_power maximum minimum arctan2 logaddexp"
).split()
ONES = np.ones((2, 3))
CALLS = {
    **{name: getattr(np, name) for name in ELEMENTWISE},
    **{name: lambda x, name=name: getattr(np, name)(x, x + 1) for name in BINARY},
    **{f"ones {name} x": lambda x, name=name: getattr(np, name)(ONES, x) for name in BINARY},
    "where": lambda x: np.where(np.asarray(x) > 0.5, x, 0),
    "clip": lambda x: np.clip(x, 0.4, 0.6),
    "sum": lambda x: np.sum(x, axis=0, keepdims=True),
    "mean": lambda x: np.mean(x, 1),
    "std": lambda x: np.std(x, axis=0, ddof=1),
    "var": lambda x: np.var(x, ddof=1, keepdims=True),
    "max": lambda x: np.max(x, axis=-1),
    "min": lambda x: np.min(x),
    "prod": lambda x: np.prod(x, axis=(0, 1)),
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "cumprod": lambda x: np.cumprod(x, axis=1),
    "diff": lambda x: np.diff(x, n=2, axis=1, prepend=0.5),
    "norm": lambda x: np.linalg.norm(x, ord=np.inf, axis=-1, keepdims=True),
    "norm of all": lambda x: np.linalg.norm(x),
    "tile": lambda x: np.tile(x, reps=(2, 1, 2)),
    "vstack": lambda x: np.vstack([x, np.ones((1, 3))]),
    "hstack": lambda x: np.hstack((x, x)),
    "take": lambda x: np.take(x, [0, 4], mode="wrap", axis=1),
    "take_along_axis": lambda x: np.take_along_axis(x, np.array([[0], [2]]), axis=1),
    "sort": lambda x: np.sort(x, axis=0),
    "reshape": lambda x: np.reshape(x, (3, 2)),
    "transpose": lambda x: np.transpose(x, (1, 0)),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "squeeze": lambda x: np.squeeze(x[:1], axis=0),
    "expand_dims": lambda x: np.expand_dims(x, axis=0),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 2, 3)),
    "concatenate": lambda x: np.concatenate([x, np.ones((1, 3)), x], axis=0),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "split": lambda x: np.split(x, 3, axis=1)[1],
    "pad": lambda x: np.pad(x, ((0, 1), (2, 0)), mode="edge"),
    "flip": lambda x: np.flip(x, axis=0),
    "roll": lambda x: np.roll(x, 1, axis=1),
    "repeat": lambda x: np.repeat(x, 2, axis=1),
    "ravel": lambda x: np.ravel(x),
    "matmul": lambda x: np.matmul(x, np.ones((3, 2))),
    "dot": lambda x: np.dot(np.ones((4, 2)), x),
    "tensordot": lambda x: np.tensordot(x, np.ones((3, 2)), axes=1),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, np.ones((2, 3))),
    "outer": lambda x: np.outer(np.ones(2), x),
    "array + x": lambda x: np.ones((2, 3)) + x,
    "array - x": lambda x: np.ones((2, 3)) - x,
    "array * x": lambda x: np.ones((2, 3)) * x,
    "array / x": lambda x: np.ones((2, 3)) / x,
    "array ** x": lambda x: np.full((2, 3), 2.0) ** x,
    "array @ x": lambda x: np.ones((4, 2)) @ x,
    "x @ array": lambda x: x @ np.ones((3, 2)),
    "scalar * x": lambda x: np.float64(3) * x,
    "scalar - x": lambda x: np.float64(3) - x,
    "list + x": lambda x: [1.0, 2.0, 3.0] + x,
    "list @ x": lambda x: [[1.0, 2.0]] @ x,
    "0-d array / x": lambda x: np.array(2.0) / x,
}


@pytest.mark.parametrize("name", CALLS)
def test_numpy_on_a_tensor_gives_a_tensor_with_its_gradient(name):
    f = CALLS[name]
    x = leaf([[0.3, 0.45, 0.7], [0.55, 0.9, 0.1]])
    y = f(x)
    assert type(y) is tnn.Tensor
    assert y.requires_grad
    np.testing.assert_allclose(y.numpy(), f(x.numpy()), rtol=1e-14, strict=True)
    g = np.random.default_rng(0).normal(size=y.shape)
    [grad] = tnn.grad(y, x, g)
    v = np.random.default_rng(1).normal(size=x.shape)
    h = 1e-6
    slope = np.sum(g * (f(x.numpy() + h * v) - f(x.numpy() - h * v))) / (2 * h)
    np.testing.assert_allclose(np.sum(grad * v), slope, rtol=1e-7, atol=1e-8)


ON_VALUES = {
    "shape": (2, 2),
    "ndim": 2,
    "size": 4,
    "all": True,
    "any": True,
    "argmax": 3,
    "argmin": 0,
    "count_nonzero": 4,
    "iscomplexobj": False,
    "argsort": [[0, 1], [0, 1]],
    "zeros_like": [[0, 0], [0, 0]],
    "ones_like": [[1, 1], [1, 1]],
}


@pytest.mark.parametrize("name", ON_VALUES)
def test_questions_about_values_are_answered(name):
    answer = getattr(np, name)(leaf([[1.0, 2.0], [3.0, 4.0]]))
    assert not isinstance(answer, tnn.Tensor)
    np.testing.assert_array_equal(answer, ON_VALUES[name])


def numpy_functions():
    """Yield every public ufunc and every function that NumPy lets other arrays take over."""
    for module, prefix in ((np, ""), (np.linalg, "linalg."), (np.fft, "fft.")):
        for name in dir(module):
            f = getattr(module, name)
            if isinstance(f, np.ufunc) or hasattr(f, "_implementation"):
                yield prefix + name, f


HANDLED = {
    *(name for name in CALLS if hasattr(np, name)),
    *ON_VALUES,
    *"equal not_equal less less_equal greater greater_equal isnan isfinite isinf invert".split(),
    *"bitwise_and bitwise_or bitwise_not bitwise_invert logical_and logical_or logical_not".split(),
    *"absolute true_divide pow permute_dims concat max min atan atleast_1d".split(),
    *"acos asin atan2 linalg.norm".split(),
    *"allclose isclose array_equal array_equiv nonzero flatnonzero full_like empty_like".split(),
    *"result_type isrealobj can_cast shares_memory may_share_memory".split(),
    *"array2string array_repr array_str astype".split(),
} - {"atleast_1d"}


OTHERS = {name: f for name, f in numpy_functions() if name not in HANDLED}


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_function_of_numpy_raises(name):
    f = OTHERS[name]
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    words = r"^numpy\.[\w.]+ has no counterpart in tinynn.*numpy\.asarray\(tensor\)"
    call = f if isinstance(f, np.ufunc) else partial(x.__array_function__, f, (tnn.Tensor,))
    with pytest.raises(TypeError, match=words):
        call(*[x] * f.nin) if isinstance(f, np.ufunc) else call((x,), {})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (np.cbrt, r"numpy\.cbrt .* Compose it: tinynn\.sign\(x\) \* tinynn\.abs.*\. Or call it"),
        (np.reciprocal, r"numpy\.reciprocal .* Compose it: 1 / x\. Or call it on numpy\.asarray"),
        (np.linalg.svd, r"numpy\.linalg\.svd has no counterpart .* would be lost\. Call it on"),
        (np.floor, r"numpy\.floor has no counterpart .* would be lost\. Call it on numpy\.asarray"),
        (np.linalg.inv, r"numpy\.linalg\.inv has no counterpart .* would be lost\. Call it on"),
        (lambda x: np.quantile(x, 0.5), r"numpy\.quantile .* would be lost\. Call it on numpy"),
        (lambda x: np.divide.outer(x, x), r"numpy\.divide\.outer has no counterpart"),
        (lambda x: np.add.at(np.ones(2), 0, x), r"numpy\.add\.at has no counterpart"),
        (lambda x: np.add(x, x, where=np.array([True, False])), r"numpy\.add with where= has no"),
        (lambda x: np.add(x, x, dtype="float32"), r"numpy\.add with dtype= has no counterpart"),
        (
            lambda x: np.sum(x, dtype="float32"),
            r"^sum: got an unexpected keyword .* 'dtype'\. Of a",
        ),
        (lambda x: np.var(x, correction=1), r"^var: got an unexpected .*'correction'.*\(x.*ddof"),
        (lambda x: np.mean(x, where=x > 0), r"^mean: got an unexpected keyword argument 'where'"),
        (lambda x: np.where(x > 0), r"^where: missing a required argument: 'a'\. Of a Tensor it"),
    ],
)
def test_the_error_names_an_alternative(call, words):
    with pytest.raises(TypeError, match=words):
        call(leaf([1.0, 2.0]))


def test_out_and_in_place_operators_on_arrays_raise():
    x, a = leaf([1.0, 2.0]), np.ones(2)
    for call in (
        lambda: np.add(x, 1, out=a),
        lambda: np.sum(x, out=np.array(0.0)),
        lambda: exec("a += x", {"a": a, "x": x}),
        lambda: exec("a *= x", {"a": a, "x": x}),
        lambda: exec("a @= x", {"a": np.eye(2), "x": x}),
    ):
        with pytest.raises(TypeError, match=r"out=.* cannot hold a Tensor's result, its gradient"):
            call()
    np.testing.assert_array_equal(a, 1)


def test_asarray_gives_the_values_and_no_way_to_spoil_them():
    x = leaf([1.0, 2.0])
    view = np.asarray(x)
    np.testing.assert_array_equal(view, [1, 2])
    assert type(view) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5
    assert np.asarray(x, dtype="float32").dtype == np.float32
    mine = np.array(x)
    mine[0] = 5
    assert x.numpy()[0] == 1
    mine = x.numpy()
    mine[0] = 5
    assert x.numpy()[0] == 1
    np.testing.assert_array_equal(np.asarray([leaf(1.0), leaf(2.0)]), [1, 2])
    np.testing.assert_allclose(x, [1, 2])


def test_shapes_that_do_not_broadcast_name_the_operation_and_both():
    x = leaf(np.ones((2, 3)))
    for call, words in (
        (lambda: x + np.ones(4), r"^add: shapes \(2, 3\) and \(4,\) do not fit"),
        (lambda: np.ones((3, 3)) * x, r"^multiply: shapes \(3, 3\) and \(2, 3\) do not fit"),
        (lambda: x @ x, r"^matmul: shapes \(2, 3\) and \(2, 3\) do not fit"),
        (lambda: tnn.where(x > 0, x, leaf([1.0, 2.0])), r"^where: shapes .*\(2,\) do not fit"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_a_vjp_of_wrong_arity_is_refused_or_says_how_it_is_called():
    with pytest.raises(TypeError, match=r"^primitive: <lambda> takes 2 arguments, .* here 3 at le"):
        tnn.primitive(lambda g, y: 2 * g)
    with pytest.raises(TypeError, match=r"^primitive: <lambda> takes 3 arguments, .* here 4 at le"):
        tnn.primitive(None, lambda g, y, a: a * g)
    y = tnn.elementwise(lambda g, y: 2 * g)(lambda x, p=1: p * x)(leaf([1.0]))
    with pytest.raises(TypeError, match="unexpected keyword argument 'p'") as caught:
        y.backward()
    assert "calls it as vjp(g, y, x, p=...)" in caught.value.__notes__[0]
    for several in (lambda *all: all[0], lambda g, *rest: g, np.multiply):
        assert tnn.primitive(several)(lambda x: x)(2.0) == 2.0


def test_a_primitive_without_vjps_says_what_is_missing():
    def product(x, y):
        return x * y

    with pytest.raises(TypeError, match=r"^primitive: product takes 2 arg.*Write @primitive\(vjp"):
        tnn.primitive(product)
    with pytest.raises(TypeError, match=r"got Tensor in place of .* function.*@primitive\(vjp_x"):
        tnn.elementwise(lambda x: 2 * x)(leaf([1.0]))


# ---------------------------------------------------------------- making Tensors


def test_data_are_copied():
    a = np.array([1.0, 2.0])
    x = tnn.Tensor(a)
    a[0] = 9
    np.testing.assert_array_equal(x.numpy(), [1, 2])
    again = tnn.Tensor(x)
    x.data[0] = 9
    np.testing.assert_array_equal(again.numpy(), [1, 2])


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (3, "int64", ()),
        (3.0, "float64", ()),
        (True, "bool", ()),
        ([1, 2.5], "float64", (2,)),
        (np.float32([[1]]), "float32", (1, 1)),
        ([], "float64", (0,)),
        (range(3), "int64", (3,)),
        (np.int8(3), "int8", ()),
    ],
)
def test_data_are_what_numpy_makes_of_them(data, dtype, shape):
    x = tnn.Tensor(data)
    assert (x.dtype, x.shape, x.ndim, x.size) == (dtype, shape, len(shape), int(np.prod(shape)))
    assert (x.requires_grad, x.grad) == (False, None)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: tnn.Tensor("abc"), TypeError, r"^Tensor: data must be numbers, got dtype <U3"),
        (lambda: tnn.Tensor(None), TypeError, r"^Tensor: data must be numbers, got dtype object"),
        (lambda: tnn.Tensor([1, None]), TypeError, r"got dtype object\. Give an array, or nested"),
        (
            lambda: tnn.Tensor([[1], [2, 3]]),
            ValueError,
            "^Tensor: nested lists must have equal len",
        ),
        (lambda: tnn.Tensor(["a"], dtype=float), ValueError, "could not convert string to float"),
        (lambda: tnn.Tensor(1.0, requires_grad=1), TypeError, "requires_grad must be True or Fal"),
        (lambda: tnn.Tensor(1.0, requires_grad="no"), TypeError, "True or False, got 'no'"),
        (lambda: setattr(leaf(1.0) * 2, "requires_grad", False), ValueError, r"Use \.detach\(\)"),
    ],
)
def test_what_is_no_tensor(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_requires_grad_can_be_set_on_leaves():
    x = tnn.Tensor([1.0, 2.0])
    x.requires_grad = True
    np.testing.assert_array_equal(tnn.grad((x * x).sum(), x)[0], [2, 4])
    x.requires_grad = False
    assert not (x * x).requires_grad
    d = (leaf([3.0]) * 2).detach()
    d.requires_grad = True
    np.testing.assert_array_equal(tnn.grad((d * d).sum(), d)[0], [12])


def test_detach_and_copy():
    x = leaf([1.0, 2.0])
    assert not x.detach().requires_grad
    np.testing.assert_array_equal(tnn.grad((x * x.detach()).sum(), x)[0], [1, 2])
    np.testing.assert_array_equal(tnn.grad((x * x.copy()).sum(), x)[0], [2, 4])
    assert tnn.Tensor([True]).copy().dtype == bool


# ---------------------------------------------------------------- Python's protocols


def test_writing_an_element_names_the_alternative():
    x = leaf([1.0, 2.0])
    for write in (lambda: x.__setitem__(0, 5), lambda: exec("x[0] += 1", {"x": x})):
        with pytest.raises(TypeError, match=r"elements cannot be assigned.*tinynn\.where"):
            write()
    y = x
    y += 1  # a new tensor under the old name
    assert y is not x
    np.testing.assert_array_equal(x.numpy(), [1, 2])


def test_repr_and_format():
    assert repr(leaf([1.0, 2.0])) == "Tensor([1., 2.], requires_grad=True)"
    assert repr(tnn.Tensor([[1, 2]])) == "Tensor([[1, 2]])"
    assert repr(tnn.Tensor(1.5, dtype="float32")) == "Tensor(1.5, dtype=float32)"
    assert f"{tnn.Tensor([[1.23456]]):.2f}" == "1.23"
    assert f"{tnn.Tensor(2.5)}" == "Tensor(2.5)"
    assert f"{tnn.Tensor([1, 2])}" == "Tensor([1, 2])"
    with pytest.raises(TypeError, match=r"format '\.2f' is for one number, got shape \(2,\)"):
        f"{tnn.Tensor([1.0, 2.0]):.2f}"
    assert "..." in repr(tnn.Tensor(np.zeros(10_000)))


def test_len_iter_bool_and_numbers():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    rows = list(x)
    assert all(type(row) is tnn.Tensor for row in rows)
    a, b = x
    np.testing.assert_array_equal(tnn.grad((a * b).sum(), x)[0], [[3, 4], [1, 2]])
    one = leaf([[2.5]])
    assert (float(one), int(one), bool(one), one.item()) == (2.5, 2, True, 2.5)
    assert not tnn.Tensor(0.0)
    assert [10, 20, 30][tnn.Tensor(1)] == 20
    assert x.tolist() == [[1, 2], [3, 4]]
    assert x.all()
    for call, error, words in (
        (lambda: len(leaf(1.0)), TypeError, "len"),
        (lambda: iter(leaf(1.0)), TypeError, r"cannot be iterated over; use \.item\(\)"),
        (lambda: bool(x), ValueError, r"truth of a tensor of shape \(2, 2\) is ambiguous"),
        (lambda: float(x), ValueError, r"^float\(\): .* must have one element, got shape \(2, 2\)"),
        (
            lambda: int(x),
            ValueError,
            r"^int\(\): the tensor must have one element, got shape \(2, 2",
        ),
        (
            lambda: x.item(),
            ValueError,
            r"^item\(\): the tensor must .*\. Select one, or use \.tolist",
        ),
        (lambda: "ab"[tnn.Tensor([0, 1])], ValueError, r"^an index: the tensor must have one elem"),
        (lambda: [1, 2][leaf(1.0)], TypeError, "only an integer can be an index, got dtype float"),
        (lambda: range(tnn.Tensor(True)), TypeError, "got dtype bool"),
    ):
        with pytest.raises(error, match=words):
            call()


def test_comparisons_are_elementwise_without_gradient_and_hash_is_identity():
    x, y = leaf([1.0, 2.0]), leaf([1.0, 3.0])
    for result, expected in (
        (x == y, [True, False]),
        (x != y, [False, True]),
        (x < y, [False, True]),
        (x <= y.numpy(), [True, True]),
        (y.numpy() > x, [False, True]),
        (np.float64(2) >= x, [True, True]),
        ((x > 0) & (y < 2), [True, False]),
        (~(x > 1) | np.array([False, True]), [True, True]),
    ):
        assert isinstance(result, tnn.Tensor)
        assert (result.dtype, result.requires_grad) == (bool, False)
        np.testing.assert_array_equal(result.numpy(), expected)
    assert {x: 1, y: 2}[x] == 1
    assert len({x, y, x}) == 2


def test_leaves_can_be_copied_and_pickled_and_results_not():
    x = leaf([1.0, 2.0], "float32")
    (x * x).sum().backward()
    for clone in (copy.deepcopy(x), copy.copy(x), pickle.loads(pickle.dumps(x))):
        assert clone is not x
        assert (clone.dtype, clone.requires_grad) == (np.float32, True)
        np.testing.assert_array_equal(clone.numpy(), [1, 2])
        np.testing.assert_array_equal(clone.grad, [2, 4])
        clone.data[...] = 0
        clone.grad[...] = 0
        np.testing.assert_array_equal(x.numpy(), [1, 2])
        np.testing.assert_array_equal(x.grad, [2, 4])
    both = copy.deepcopy([x, x])
    assert both[0] is both[1]
    assert not copy.deepcopy(x.detach()).requires_grad
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"computed tensor cannot be copied .*\.detach\(\)"):
            call(x * x)


def test_unknown_attributes_raise():
    x = leaf([1.0])
    with pytest.raises(AttributeError, match="require_grad"):
        x.require_grad = True
    with pytest.raises(AttributeError, match="no_such"):
        _ = x.no_such


METHODS = (
    "sum mean var std max min prod cumsum cumprod take argmax argmin reshape transpose swapaxes "
    "squeeze ravel flatten repeat clip dot all any astype copy item tolist"
).split()


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_numpys(name):
    arguments = {
        "reshape": (4,),
        "swapaxes": (0, 1),
        "repeat": (2,),
        "take": ([[3, 0]],),
        "clip": (1.5, 2.5),
        "dot": ([1.0, 2.0],),
        "astype": ("float32",),
    }.get(name, ())
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    if name == "item":
        a = a[:1, :1]
    expected = getattr(a, name)(*arguments)
    result = getattr(leaf(a), name)(*arguments)
    np.testing.assert_allclose(np.asarray(result), np.asarray(expected), strict=True)
    if name not in ("argmax", "argmin", "all", "any", "item", "tolist"):
        assert result.requires_grad


def test_forms_of_reshape_and_transpose():
    x = leaf(np.arange(24.0).reshape(2, 3, 4))
    for y, shape in (
        (x.reshape(6, 4), (6, 4)),
        (x.reshape((6, -1)), (6, 4)),
        (x.reshape([24]), (24,)),
        (x.reshape(-1), (24,)),
        (x.transpose(), (4, 3, 2)),
        (x.transpose(1, 0, 2), (3, 2, 4)),
        (x.transpose((1, 0, 2)), (3, 2, 4)),
        (x.transpose([-1, 0, 1]), (4, 2, 3)),
        (x.T, (4, 3, 2)),
    ):
        assert y.shape == shape


def test_what_only_asks_for_values_gets_them():
    """As the conventions say: a Tensor cannot tell these from a mere look."""
    s, a = leaf(3.0), np.zeros(2)
    a[0] = s
    assert a.tolist() == [3, 0]
    assert math.exp(s) == math.exp(3)
    assert np.array([s, s]).tolist() == [3, 3]
    assert np.sum([s, s]) == 6
    report = tnn.testing.check_grads(
        lambda x: x[0] * np.array([x[1], x[2]]), np.array([1.0, 2.0, 3.0]), raise_on_fail=False
    )
    assert not report
    with pytest.raises(TypeError, match=r"tinynn\.stack"):
        tnn.Tensor([s, s])


@pytest.mark.parametrize(
    ("owner", "call"),
    [
        ("comparison", lambda x: x < np.ones(3)),
        ("clip", lambda x: tnn.clip(x, np.ones(3), 2)),
        ("clip", lambda x: x.clip("a", 1)),
        ("concatenate", lambda x: tnn.concatenate([x, np.ones((2, 3))])),
        ("concatenate", lambda x: np.concatenate([np.ones((2, 3)), np.ones((3, 2)), x[None]])),
        ("stack", lambda x: tnn.stack([x, "ab"])),
        ("pad", lambda x: tnn.pad("ab", 1)),
        ("var", lambda x: np.var(x, 0, ddof=1, correction=0)),
        ("float()", lambda x: float(x)),
        ("int()", lambda x: int(x)),
    ],
)
def test_errors_are_in_the_name_of_what_was_called(owner, call):
    with pytest.raises((TypeError, ValueError), match="^" + re.escape(owner) + ": .+"):
        call(leaf([1.0, 2.0]))
