"""Wrong rules are found and named, and difference quotients err as theory says."""

import numpy as np
import pytest

import tinynn as tnn

SEEDS = range(5)


@pytest.fixture(scope="module")
def lesson(example):
    return example("gradient_checking")


def problem(lesson, seed):
    return lesson.problem(np.random.default_rng(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_right_rule_is_the_gradient_of_the_cubed_slopes(lesson, seed):
    x, _, c = problem(lesson, seed)
    moves = 1e-30j * np.eye(x.size)
    expected = [np.sum(c * ((x + m)[2:] - (x + m)[:-2]) ** 3).imag / 8e-30 for m in moves]
    np.testing.assert_allclose(lesson.right(c, None, x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_report_names_each_fault(lesson, seed):
    x, _, _ = problem(lesson, seed)
    assert "shape (10,), but the argument has shape (12,)" in lesson.complaint_of(
        lambda: lesson.report_of(lesson.wrong_length, x)
    )
    assert lesson.report_of(lesson.wrong_sign, x).cause == "a flipped sign"
    assert lesson.report_of(lesson.slightly_wrong, x).cause == "a constant factor 1.0001"
    assert lesson.report_of(lesson.frozen, x)  # right at first order
    second = lesson.report_of(lesson.frozen, x, order=2)
    assert (second.ok, second.order, second.cause) == (False, 2, "the graph is cut")
    assert lesson.report_of(lesson.wide, x, order=2)  # only check_primitive looks at float32
    assert "a float64 gradient" in lesson.complaint_of(
        lambda: tnn.testing.check_primitive(lesson.operation(lesson.wide), [x])
    )


def test_the_right_rule_passes_every_check(lesson):
    x, _, _ = problem(lesson, 0)
    assert lesson.report_of(lesson.right, x, order=3)
    assert tnn.testing.check_primitive(lesson.operation(lesson.right), [x])


@pytest.mark.parametrize("seed", SEEDS)
def test_every_line_of_a_report_is_explained(lesson, seed):
    x, _, _ = problem(lesson, seed)
    for report, words in (
        (lesson.report_of(lesson.wrong_sign, x), lesson.SIGN),
        (lesson.report_of(lesson.frozen, x, order=2), lesson.FROZEN),
        (tnn.testing.check_primitive(lesson.operation(lesson.right), [x]), lesson.PASSED),
    ):
        text = lesson.explained(report, words).splitlines()
        assert max(map(len, text)) <= 96
        own = " ".join(line for line in text if not line.startswith("    |"))
        assert own.split() == str(report).split()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_derivatives_are_those_of_the_polynomial(lesson, seed):
    x, d, c = problem(lesson, seed)
    s, v = lesson.slopes(x), lesson.slopes(d)
    expected = [np.sum(c * p) for p in (s**3, 3 * s**2 * v, 6 * s * v**2, 6 * v**3)]
    np.testing.assert_allclose(lesson.derivatives(x, d, c), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", SEEDS)
def test_long_steps_err_by_the_truncation_error(lesson, seed):
    x, d, c = problem(lesson, seed)
    slope = lesson.slope_by_rule(lesson.right, x, d, c)
    for h in (1.0, 0.3, 0.1):
        found = np.array(lesson.quotients(x, d, c, h)) - slope
        np.testing.assert_allclose(found, lesson.truncation(x, d, c, h), rtol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_short_steps_err_by_about_the_rounding_error(lesson, seed):
    x, d, c = problem(lesson, seed)
    slope = lesson.slope_by_rule(lesson.right, x, d, c)
    steps = np.logspace(-13, -10, 200)
    errors = lesson.relative_errors(slope, x, d, c, steps)
    theory = lesson.rounding(x, c) / steps / abs(slope)
    assert np.all(errors[:2] < 4 * theory)
    assert np.all(np.median(errors[:2] / theory, axis=1) > 0.03)
    assert np.all(errors[2] < 4e-15)  # the complex step subtracts nothing


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_step_is_near_the_bottom_of_the_v(lesson, seed):
    x, d, c = problem(lesson, seed)
    slope = lesson.slope_by_rule(lesson.right, x, d, c)
    for row, best in enumerate(lesson.best_steps(x, d, c)):

        def typical(h, row=row):
            around = h * np.logspace(-0.2, 0.2, 41)
            return np.median(lesson.relative_errors(slope, x, d, c, around)[row])

        assert typical(best) < 0.3 * min(typical(best / 100), typical(best * 100))


@pytest.mark.parametrize("seed", SEEDS)
def test_only_some_steps_tell_right_from_slightly_wrong(lesson, seed):
    x, d, c = problem(lesson, seed)
    steps = np.logspace(-16, 0, 97)
    good, bad = (
        lesson.relative_errors(lesson.slope_by_rule(rule, x, d, c), x, d, c, steps)
        for rule in (lesson.right, lesson.slightly_wrong)
    )
    decades = []
    for row in range(3):
        low, high = lesson.window(good[row], bad[row], steps)
        inside = (steps >= low) & (steps <= high)
        assert np.all(good[row, inside] <= lesson.RTOL)
        assert np.all(bad[row, inside] > lesson.RTOL)
        decades.append(np.log10(high / low))
    forward, central, complex_step = decades
    assert forward + 1.5 < central < complex_step - 3
    assert good[1, :3].max() > 0.01  # far too short: the right gradient looks wrong
    assert good[1, -1] > 1e-3  # and far too long
