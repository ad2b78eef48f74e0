"""What a check says: misuse, the report of each verdict, the causes that come before gradients."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn.testing import GradcheckError, GradcheckReport, check_grads


@tnn.elementwise(lambda g, y, x: 3 * g * x)
def wrong_square(x):
    return x * x


def numpy_forward(x, w):
    return np.maximum(np.exp(x @ w), 2.0)


def text(f, *inputs, **options):
    return str(check_grads(f, *inputs, raise_on_fail=False, **options))


def test_a_passing_report_is_truthy_and_short():
    report = check_grads(tnn.sin, np.ones((2, 3)))
    assert isinstance(report, GradcheckReport)
    assert report
    assert str(report).startswith("check_grads: passed at order 1\n  input 0, shape (2, 3): ok")
    assert len(str(report).splitlines()) == 2


def test_a_failure_raises_an_assertion_error_that_carries_the_report():
    with pytest.raises(AssertionError, match="check_grads: FAILED at order 1") as caught:
        check_grads(wrong_square, np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert isinstance(caught.value, GradcheckError)
    assert not caught.value.report
    (entry,) = caught.value.report.inputs
    assert entry.index == (1, 1)
    assert entry.analytic == pytest.approx(1.5 * entry.numeric)
    assert entry.left == pytest.approx(entry.numeric, rel=1e-2)


def test_a_failure_names_the_element_the_values_and_the_sides():
    shown = text(wrong_square, np.array([[1.0, 2.0], [3.0, 4.0]]))
    for part in ("input 0, shape (2, 2): WRONG at 4 of 4 elements", "a constant factor 1.5"):
        assert part in shown
    for part in ("worst at (1, 1): analytic", "numeric", "one-sided slopes: left", "right"):
        assert part in shown


def test_the_second_order_is_named():
    @tnn.elementwise(lambda g, y, x: g * 2 * tnn.Tensor(np.asarray(x)))
    def stops(x):
        return x * x

    shown = text(stops, np.array([1.0, 2.0]), order=2)
    assert "FAILED at order 2 (the gradient of order 1 is right, its own gradient is not)" in shown
    assert "\n  input 0, order 2, shape (2,): WRONG at 2 of 2 elements: the graph is cut" in shown
    assert text(stops, np.array([1.0, 2.0])).startswith("check_grads: passed at order 1")


def test_a_kink_is_inconclusive_only_between_the_slopes():
    report = check_grads(tnn.relu, np.array([0.0, 1.0]))
    assert report
    assert report.inputs[0].verdict == "inconclusive"
    assert "a kink" in str(report)
    assert "at (0,)" in str(report)

    @tnn.elementwise(lambda g, y, x: 2 * g * (x >= 0) - g * (x < 0) - g * (x > 0))
    def outside(x):
        return np.abs(x)

    assert not check_grads(outside, np.array([0.0, 1.0]), raise_on_fail=False)


def test_a_difference_inside_the_noise_is_inconclusive_and_shown():
    report = check_grads(lambda x: (tnn.abs(x * 1.3) + 1e12) - 1e12, np.array([0.3]))
    assert report
    assert "inconclusive" in str(report)
    assert "inside the noise" in str(report)


def test_a_zero_gradient_of_a_small_function_fails():
    @tnn.elementwise(lambda g, y, x: g * 0)
    def zero(x):
        return 1e-7 * x

    for mode in ("auto", "fast", "full"):
        assert not check_grads(zero, np.ones(3), mode=mode, raise_on_fail=False)


def test_float32_is_refused_by_name_unless_allowed():
    x = np.ones(3, np.float32)
    with pytest.raises(TypeError, match=r"input 1 is float32.*allow_float32=True"):
        check_grads(lambda a, b: a * b, np.ones(3), x)
    assert check_grads(lambda b: b * b, x, allow_float32=True)
    assert not check_grads(wrong_square, x, allow_float32=True, raise_on_fail=False)
    layer = tnn.Dense(3, 2, rng=0)
    assert 'With dtype="float64" there, smaller errors would show' in text(layer, np.ones((1, 3)))


def test_a_function_that_is_not_deterministic_is_told_apart():
    rng = np.random.default_rng(0)
    shown = text(lambda x: x * rng.normal(), np.ones(3))
    assert "f is not deterministic" in shown
    assert "model.eval()" in shown


def test_a_cut_graph_is_told_apart():
    assert "the graph is cut" in text(lambda x, y: x * y.detach(), np.ones(3), np.ones(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_grads(3, np.ones(2)), "f must be a function of Tensors, got 3"),
        (lambda: check_grads(tnn.sin), "give f's inputs after it"),
        (lambda: check_grads(tnn.sin, np.ones(2), order=0), "order must be a positive integer"),
        (lambda: check_grads(tnn.sin, np.ones(2), mode="slow"), "mode must be one of"),
        (lambda: check_grads(tnn.sin, np.ones(2), eps=-1), "eps must be .* above 0"),
        (lambda: check_grads(tnn.sin, np.ones(2), rtol="a"), "rtol must be a finite number"),
        (lambda: check_grads(tnn.sin, np.arange(3)), "input 0 must be floats, got dtype int64"),
        (lambda: check_grads(tnn.sin, [1.0, np.nan]), r"input 0 must be finite, got nan at \(1,\)"),
        (lambda: check_grads(np.asarray, np.ones(2)), "f must return a Tensor.* got ndarray"),
        (lambda: check_grads(lambda x: x > 0, np.ones(2)), "must return floats, got dtype bool"),
        (
            lambda: check_grads(lambda x: tnn.Tensor(1.0), np.ones(2)),
            "depends on none of its inputs",
        ),
    ],
)
def test_misuse(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_function_of_numpy_is_told_what_to_use():
    x, w = np.ones((2, 3)), np.ones((3, 2)) / 3
    words = " ".join(text(numpy_forward, x, w).split())
    assert "note: f calls exp, maximum of NumPy on Tensors." in words
    assert "tinynn.testing.check_backward(forward, backward, *inputs) checks it." in words
    assert "note" not in text(lambda x: np.ones(3) * x + np.ones(3), np.ones(3))
    with pytest.raises(TypeError, match=r"got ndarray. It computes through NumPy.*check_backward"):
        check_grads(lambda x, w: numpy_forward(np.asarray(x), np.asarray(w)), x, w)
    with pytest.raises(TypeError, match=r"got dict. Use tinynn's.*check_backward\(forward, back"):
        check_grads(lambda x: (x * x, {"x": x}), x)
    cut = text(lambda x: tnn.Tensor(numpy_forward(np.asarray(x), w)), x)
    assert "the graph is cut" in cut.splitlines()[0]
    assert "use check_backward" in " ".join(cut.split())
    with pytest.raises(ValueError, match=r"depends on none of its inputs.*check_layer"):
        check_grads(lambda x: tnn.Tensor(1.0) * 2, x)


def test_a_failing_report_begins_with_the_cause_and_the_worst_element():
    lines = text(wrong_square, np.array([[1.0, 2.0], [3.0, 4.0]])).splitlines()
    assert lines[0] == "check_grads: FAILED at order 1: a constant factor 1.5"
    assert lines[1].startswith("  input 0, worst at (1, 1): analytic -16.95")
    assert lines[-1] == "  input 0, shape (2, 2): WRONG at 4 of 4 elements: a constant factor 1.5"


def test_a_report_fits_a_terminal():
    def f(*xs):
        return sum((wrong_square(x) for x in xs[1:]), xs[0])

    lines = text(f, *[np.array([1.0, 2.0])] * 60).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120
    assert lines[-1].startswith("  ... and")
    passed = str(check_grads(lambda *xs: sum(xs[1:], xs[0]), *[np.ones(2)] * 60)).splitlines()
    assert len(passed) == 40
    name = "a" * 150
    op = tnn.elementwise(lambda g, y, x: 3 * g * x)(lambda x: x * x)
    op.__name__ = name
    with pytest.raises(GradcheckError) as caught:
        tnn.testing.check_primitive(op, [np.ones(2)])
    assert len(str(caught.value).splitlines()[0]) == 120


def test_a_long_cause_goes_without_its_places():
    @tnn.elementwise(lambda g, y, x: g * np.where(np.asarray(x) < 0, 2 * x * np.asarray(y), 2 * x))
    def square(x):
        return x * x

    x = np.linspace(-2, 2, 12).reshape(3, 4)
    report = check_grads(square, x, raise_on_fail=False)
    assert report.cause.startswith("wrong only at indices 0 to 0") or "negative" in report.cause
    assert len(str(report).splitlines()[0]) <= 120


def last_line_shown(call):
    with pytest.raises(Exception, match=r"check|cut") as caught:
        call()
    return str(caught.traceback.filter(caught)[-1].path)


def test_pytest_shows_the_users_line():
    assert last_line_shown(lambda: check_grads(wrong_square, np.ones(3))) == __file__
    assert last_line_shown(lambda: check_grads(lambda x, y: x * y.detach(), 1.0, 1.0)) == __file__
    assert last_line_shown(lambda: check_grads(lambda x: 3, 1.0)) == __file__
    assert last_line_shown(lambda: tnn.testing.check_primitive(wrong_square, [1.0])) == __file__
    widens = tnn.elementwise(lambda g, y, x: g * np.float64(2))(lambda x: x * np.float64(2))
    assert last_line_shown(lambda: tnn.testing.check_primitive(widens, [np.ones(3)])) == __file__
    pair = np.square, lambda dy, x: 3 * dy * x
    assert last_line_shown(lambda: tnn.testing.check_backward(*pair, np.ones(3))) == __file__
    pair = np.square, lambda dy, x: np.linalg.check(dy)
    assert last_line_shown(lambda: tnn.testing.check_backward(*pair, np.ones(3))) == __file__
    layer = tnn.Lambda(wrong_square) if hasattr(tnn, "Lambda") else tnn.Activation(wrong_square)
    assert last_line_shown(lambda: tnn.testing.check_layer(layer, np.ones(3))) == __file__


def test_the_parameters_of_a_layer_are_said_to_be_unchecked():
    layer = tnn.Dense(3, 2, dtype="float64", rng=0)
    shown = text(layer, np.ones((1, 3)))
    assert "note: the parameters of this Dense are not inputs: their gradients were not" in shown
    assert "note" not in text(lambda x: layer(x), np.ones((1, 3)))


def mean_over_the_batch(factor):
    def vjp(g, y, a, b):
        return factor * tnn.sum(g, 0)

    return tnn.primitive(lambda g, y, a, b: g, vjp)(lambda a, b: a + b)


def test_a_mean_for_a_sum_is_only_guessed_where_there_is_a_sum():
    rng = np.random.default_rng(0)
    guess = "= 4 is how many terms its sum has: a mean for a sum?"
    inputs = rng.normal(size=(4, 3)), rng.normal(size=3)
    assert guess in text(mean_over_the_batch(1 / 4), *inputs)
    assert "a mean for a sum" not in text(mean_over_the_batch(1 / 3), *inputs)  # not summed over
    two = rng.normal(size=(2, 3)), rng.normal(size=3)
    assert "a mean for a sum" not in text(mean_over_the_batch(1 / 2), *two)
    quarter = tnn.elementwise(lambda g, y, x: g * x / 2)(lambda x: x * x)
    assert "a constant factor 0.25" in text(quarter, rng.normal(size=4))
    assert "a mean for a sum" not in text(quarter, rng.normal(size=4))
