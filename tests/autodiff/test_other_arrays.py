"""Arrays of other kinds beside a Tensor: a gradient or a mask is never lost in silence."""

import operator
import tempfile
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import tinynn as tnn

A = np.array([[1.0, 2.0], [3.0, 5.0]])
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "@": operator.matmul,
}
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


def leaf(data=A):
    return tnn.Tensor(data, requires_grad=True)


def of_pandas(kind):
    return lambda a: getattr(pytest.importorskip("pandas"), kind)(a)


def of_torch(a):
    return pytest.importorskip("torch").tensor(a)


def of_jax(a):
    return pytest.importorskip("jax.numpy").asarray(a, dtype="float32")


class Duck(np.lib.mixins.NDArrayOperatorsMixin):
    """An array built on NumPy's mixin, which would read the values of what it meets."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype=dtype)

    def __array_ufunc__(self, ufunc, method, *args, **kwargs):
        return Duck(getattr(ufunc, method)(*map(np.asarray, args), **kwargs))


class Prior:
    """An array that leaves operators to what has the higher __array_priority__."""

    __array_priority__ = 50

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype=dtype)

    def __add__(self, other):
        if getattr(other, "__array_priority__", 0) > self.__array_priority__:
            return NotImplemented
        return Prior(self.array + np.asarray(other))


def memory_map(a):
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, a.dtype, "w+", shape=a.shape)
    mapped[...] = a
    return mapped


KINDS = {
    "matrix": (lambda a: np.asmatrix(a), "+-/@"),
    "memmap": (memory_map, OPERATORS),
    "DataFrame": (of_pandas("DataFrame"), "+ - * / **".split()),
    "Series": (lambda a: of_pandas("Series")(a[0]), "+ - * / **".split()),
    "Index": (lambda a: of_pandas("Index")(a[0]), OPERATORS),
    "torch": (of_torch, OPERATORS),
    "jax": (of_jax, OPERATORS),
    "mixin": (Duck, OPERATORS),
    "priority": (Prior, "+"),
    "list": (lambda a: a.tolist(), OPERATORS),
    "tuple": (lambda a: tuple(map(tuple, a.tolist())), OPERATORS),
    "float64": (lambda a: np.float64(2), "+ - * / **".split()),
    "bool": (lambda a: np.bool_(True), "+ * / **".split()),
}


@pytest.mark.parametrize(
    ("name", "sign"), [(k, s) for k, (_, signs) in KINDS.items() for s in signs]
)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_an_array_of_another_kind_on_either_side(name, sign):
    other, x = KINDS[name][0](A), leaf()
    array = np.asarray(other)
    for call in (OPERATORS[sign], lambda a, b: OPERATORS[sign](b, a)):
        if name == "priority" and call is not OPERATORS[sign]:
            continue
        y, expected = call(other, x), leaf()
        z = call(array, expected)
        assert type(y) is tnn.Tensor
        assert type(y.numpy()) is np.ndarray
        np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-6)
        g = np.random.default_rng(0).normal(size=y.shape)
        np.testing.assert_allclose(tnn.grad(y, x, g)[0], tnn.grad(z, expected, g)[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["DataFrame", "Series", "torch", "jax", "mixin", "list", "memmap"])
@pytest.mark.parametrize("relation", COMPARISONS)
def test_comparisons_with_arrays_of_another_kind(name, relation):
    other, x = KINDS[name][0](A), leaf(A.T)
    for call in (relation, lambda a, b: relation(b, a)):
        y = call(other, x)
        assert type(y) is tnn.Tensor
        np.testing.assert_array_equal(y.numpy(), call(np.asarray(other), A.T))


def test_the_values_of_another_array_are_those_of_the_forward_pass():
    x, other = leaf(), of_torch(A)
    y = (x * other).sum()
    other[...] = 0  # np.asarray shares the memory of a torch tensor
    np.testing.assert_array_equal(tnn.grad(y, x)[0], A)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("sign", ["*", "**"])
def test_the_product_of_a_matrix_is_refused(sign):
    for pair in ((np.asmatrix(A), leaf()), (leaf(), np.asmatrix(A))):
        with pytest.raises(TypeError, match=r"numpy\.matrix means|exponent must be an integer"):
            OPERATORS[sign](*pair)


# ---------------------------------------------------------------- masks

MASKED = np.ma.masked_equal(A, 5.0)


@pytest.mark.parametrize(
    ("owner", "call"),
    [
        ("Tensor", lambda: tnn.Tensor(MASKED)),
        ("Tensor", lambda: tnn.Tensor([MASKED, MASKED])),
        ("Tensor", lambda: setattr(leaf(), "data", MASKED)),
        ("Tensor", lambda: setattr(leaf(), "grad", MASKED)),
        ("backward", lambda: (2 * leaf()).backward(MASKED)),
        ("grad", lambda: tnn.grad(2 * leaf(), leaf(), MASKED)),
        ("exp", lambda: tnn.exp(MASKED)),
        ("sum", lambda: tnn.sum(MASKED)),
        ("stack", lambda: tnn.stack([MASKED, leaf()])),
        ("concatenate", lambda: np.concatenate([MASKED, leaf()])),
        ("where", lambda: tnn.where(A > 1, leaf(), MASKED)),
        ("einsum", lambda: tnn.einsum("ij,ij", leaf(), MASKED)),
        ("multiply", lambda: np.multiply(MASKED, leaf())),
        ("value_and_grad", lambda: tnn.value_and_grad(tnn.sum)(MASKED)),
        ("jvp", lambda: tnn.jvp(tnn.exp, [A], [MASKED])),
        ("vjp", lambda: tnn.vjp(tnn.exp, A)[1](MASKED)),
        ("mean_squared_error", lambda: tnn.losses.mean_squared_error(leaf(), MASKED)),
        ("mean_absolute_error", lambda: tnn.losses.mean_absolute_error(MASKED, A)),
        ("Dense|dense", lambda: tnn.Dense(2, 1, rng=0)(MASKED)),
        ("predict", lambda: tnn.predict(tnn.Dense(2, 1, rng=0), MASKED)),
        ("batches|fit", lambda: list(tnn.batches(A, MASKED, 1))),
        *(("[a-z]+", lambda f=f: f(MASKED, leaf())) for f in OPERATORS.values()),
        *(("[a-z]+", lambda f=f: f(leaf(), MASKED)) for f in OPERATORS.values()),
    ],
)
def test_a_masked_array_is_refused_with_what_to_do(owner, call):
    with pytest.raises(TypeError, match=rf"^({owner}).*: .*mask.*filled\(value\).*sample_weight=~"):
        call()


# ---------------------------------------------------------------- what is no array of numbers

NO_NUMBERS = {
    "Decimal": Decimal(2),
    "Fraction": Fraction(1, 2),
    "objects": np.array([Fraction(1, 2), 2], dtype=object),
    "strings": np.array(["a", "b"]),
    "dates": np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[D]"),
    "spans": np.timedelta64(1, "D"),
    "dict": {1: 2},
    "string": "ab",
}


@pytest.mark.parametrize("name", NO_NUMBERS)
@pytest.mark.parametrize("sign", OPERATORS)
def test_what_holds_no_numbers_is_refused(name, sign):
    for pair in ((NO_NUMBERS[name], leaf()), (leaf(), NO_NUMBERS[name])):
        if isinstance(pair[0], Fraction) and sign == "**":
            continue  # Python makes a float of it
        with pytest.raises(
            TypeError, match=r"^[a-z]+: arrays must hold numbers, got|unsupported op"
        ):
            OPERATORS[sign](*pair)


def test_sparse_matrices_that_defer_are_refused():
    sparse = pytest.importorskip("scipy.sparse").csr_array(A)
    for call in (lambda: sparse + leaf(), lambda: sparse / leaf(), lambda: leaf() @ sparse):
        with pytest.raises(TypeError, match="arrays must hold numbers, got csr_array"):
            call()


def test_in_place_operators_on_other_arrays_lose_nothing():
    frame = of_pandas("DataFrame")(A)
    with pytest.raises((TypeError, AttributeError), match=r"Tensor|NotImplemented"):
        frame += leaf()
    np.testing.assert_array_equal(frame.to_numpy(), A)
    other = x = of_torch(A)
    other += leaf()  # a new Tensor under the old name
    assert type(other) is tnn.Tensor
    assert other.requires_grad
    np.testing.assert_array_equal(np.asarray(x), A)
