"""check_backward: right pairs pass, whatever they are made of; what it demands, and its words."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn.testing import GradcheckError, check_backward

from .pairs import RIGHT, dense, dense_back, product, product_back

RNG = np.random.default_rng(0)


def drawn(name, dtype=np.float64, seed=0):
    inputs = RIGHT[name][2](np.random.default_rng(seed))
    floats = [isinstance(x, np.ndarray) and x.dtype.kind == "f" for x in inputs]
    return [x.astype(dtype) if f else x for x, f in zip(inputs, floats, strict=True)]


def report_of(forward, backward, *inputs, **options):
    return check_backward(forward, backward, *inputs, raise_on_fail=False, **options)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", RIGHT)
def test_no_right_pair_is_accused(name, dtype):
    forward, backward, _ = RIGHT[name]
    for mode in ("auto", "full", "fast"):
        for seed in range(2):
            inputs = drawn(name, dtype, seed)
            report = check_backward(
                forward, backward, *inputs, mode=mode, rng=seed, allow_float32=True
            )
            assert all(entry.verdict == "ok" for entry in report.inputs), report
            assert "precision" not in str(report)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("change", [0.0, 1.01, -1.0])
@pytest.mark.parametrize("name", RIGHT)
def test_one_wrong_element_is_caught_and_located(name, change, dtype):
    forward, backward, _ = RIGHT[name]
    at = []

    def wrong(dy, *kept):
        found = backward(dy, *kept)
        found = [
            np.array(g) for g in (found if isinstance(found, tuple) else (found,)) if g is not None
        ]
        if not at:
            at.append(np.unravel_index(np.abs(found[0]).argmax(), found[0].shape))
        found[0][at[0]] *= change
        return tuple(found)

    report = report_of(forward, wrong, *drawn(name, dtype), allow_float32=True)
    (entry,) = [entry for entry in report.inputs if entry.verdict == "wrong"]
    assert entry.name == "input 0"
    assert entry.index == tuple(at[0])
    assert entry.count == 1


def test_inputs_that_are_not_floats_are_passed_on_as_they_are():
    seen = []

    def forward(x, size, name, flags, index):
        seen.extend([type(size), name, flags, index.dtype])
        return x[index] * size, index

    def backward(dy, index):
        d = np.zeros(4)
        np.add.at(d, index, 3 * dy)
        return d, None, None, None, None

    assert check_backward(forward, backward, RNG.normal(size=4), 3, "n", [True], np.array([0, 2]))
    assert seen[:4] == [int, "n", [True], np.dtype(int)]


def test_several_results_come_as_they_were_returned():
    kinds = []

    def backward(dy, x):
        kinds.append(type(dy))
        return dy[0] + 2 * dy[1]

    x = RNG.normal(size=3)
    assert check_backward(lambda x: ((x, 2 * x), None), backward, x)
    assert check_backward(lambda x: ([x, 2 * x], None), backward, x)
    assert check_backward(lambda x: [x, 2 * x], backward, x)
    assert check_backward(lambda x: (x, 2 * x, 0 * x), backward, x)
    assert {tuple, list} == set(kinds)


def test_dy_has_the_dtype_of_y():
    def backward(dy, x):
        assert dy.dtype == np.float32
        return 2 * dy

    assert check_backward(lambda x: 2 * x, backward, np.ones(3, "f4"), allow_float32=True)
    # A number stays a number, so that dy *= 2 changes nobody's array.
    assert check_backward(lambda x: float(x @ x), lambda dy, x: 2 * dy * x, RNG.normal(size=3))


def test_tensors_are_taken_as_arrays_and_inputs_left_as_they_were():
    x = tnn.Tensor([1.0, 2.0], requires_grad=True)
    w = np.array([3.0, 4.0])
    assert check_backward(product, product_back, x, w)
    assert w.tolist() == [3, 4]
    assert x.grad is None


def test_a_pair_that_keeps_its_inputs_in_float32_only():
    def only(x):
        assert x.dtype == np.float32
        return x**3

    x = RNG.normal(size=5).astype("f4")
    assert check_backward(only, lambda dy, x: 3 * dy * x * x, x, allow_float32=True)
    report = report_of(only, lambda dy, x: 3.1 * dy * x * x, x, allow_float32=True)
    assert report.cause.startswith("a constant factor 1.033")


def test_none_is_said_to_be_unchecked():
    report = check_backward(dense, lambda dy, c: (*dense_back(dy, c)[:2], None), *drawn("dense"))
    assert "input 2, shape (5,): inconclusive: backward returns None, though" in str(report)
    assert "it was not checked" in str(report)
    report = check_backward(lambda x, t: x * 2, lambda dy, x, t: (2 * dy, None), np.ones(3), 1.0)
    assert "input 1, shape (): ok: backward returns None, and the result does not" in str(report)
    report = report_of(dense, lambda dy, c: None, *drawn("dense"))
    assert report.cause == "backward returns no gradient at all"


def test_a_backward_of_less_precision_is_told_so():
    x, w = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))

    def forward(x, w):
        return x @ w, (x, w)

    def narrow(dy, cache):
        return (dy @ cache[1].T).astype("f4"), cache[0].T @ dy

    def partly(dy, cache):
        return dy @ cache[1].T.astype("f4"), cache[0].T @ dy

    def half(dy, cache):
        return dy @ cache[1].T.astype("f2"), cache[0].T @ dy

    assert "backward computes the gradient of input 0 in float32" in str(
        check_backward(forward, narrow, x, w)
    )
    words = " ".join(str(check_backward(forward, partly, x, w)).split())
    assert "in less than the inputs' precision, such as float32?" in words
    assert "and no better" in report_of(forward, half, x, w).cause
    rounded = check_backward(
        lambda x, w: ((x @ w).astype("f4").astype(float), (x, w)),
        lambda dy, c: (dy @ c[1].T, c[0].T @ dy),
        x,
        w,
    )
    assert "forward rounds to float32" in str(rounded)
    assert "inconclusive" not in str(rounded)


@pytest.mark.parametrize(
    ("forward", "backward", "cause"),
    [
        (lambda x: x * RNG.normal(), lambda dy, x: dy, "forward is not deterministic"),
        (lambda x: np.log(-x * x), lambda dy, x: dy, "the result of forward is not finite"),
        (lambda x: x.__imul__(2), lambda dy, x: dy, "forward changes input 0 in place"),
        (lambda x: 2 * x, lambda dy, x: {"x": dy}, "backward returns a dict"),
        (lambda x: 2 * x, lambda dy, x: (dy, dy), "backward returns 2 gradients for 1 inputs"),
        (lambda x: 2 * x, lambda dy, x: dy[0], "has shape (), not (3,)"),
        (lambda x: 2 * x, lambda dy, x: 2j * dy, "has dtype complex128"),
    ],
)
def test_faults_that_come_before_gradients(forward, backward, cause):
    with pytest.raises(GradcheckError, match="check_backward: FAILED at order 1") as caught:
        check_backward(forward, backward, RNG.normal(size=3))
    assert cause in str(caught.value).splitlines()[0]


def test_objects_as_caches_may_get_new_attributes_but_keep_their_arrays():
    class Layer:
        def forward(self, x):
            self.x = x
            return x * x, self

        def backward(self, dy, cache):
            self.dx = 2 * cache.x * dy
            return self.dx

        def spoils(self, dy, cache):
            found = 2 * cache.x * dy
            cache.x *= 0
            return found

    layer = Layer()
    assert check_backward(layer.forward, layer.backward, RNG.normal(size=3))
    report = report_of(layer.forward, layer.spoils, RNG.normal(size=3))
    assert report.cause == "backward changes cache.x (its cache) and input 0 in place"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_backward(3, product_back, 1.0), "forward must be a function of arrays"),
        (lambda: check_backward(product, 3, 1.0), "backward must be a function of arrays, got 3"),
        (lambda: check_backward(product, product_back), "give forward's inputs after backward"),
        (lambda: check_backward(product, product_back, 1, 2), "with arrays of floats"),
        (
            lambda: check_backward(product, product_back, np.ones(2, "f4"), 1.0),
            "check_backward: input 0 is float32.*allow_float32=True",
        ),
        (lambda: check_backward(np.argmax, product_back, np.ones(2)), "must return .* got dtype"),
        (lambda: check_backward(lambda x: None, product_back, 1.0), "must return .* got NoneType"),
        (lambda: check_backward(product, product_back, 1.0, np.inf), "input 1 must be finite"),
        (lambda: check_backward(product, product_back, 1.0, mode="slow"), "check_backward: mode"),
    ],
)
def test_misuse(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_an_error_of_backward_is_the_users():
    with pytest.raises(ZeroDivisionError) as caught:
        check_backward(product, lambda dy, a, b: 1 // 0, 1.0, 2.0)
    assert "Raised by backward" in caught.value.__notes__[0]


def test_a_backward_with_other_arguments_is_told_how_it_is_called():
    x = np.array([1.0, 2.0])
    with pytest.raises(TypeError, match="positional argument") as caught:
        check_backward(lambda x: x * x, lambda dy: 2 * dy, x)
    assert "calls as backward(dy, *inputs) after forward" in caught.value.__notes__[-1]
