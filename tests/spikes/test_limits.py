"""The limits agree with linear algebra, with closed forms and with what simulation measures."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from tinynn.spikes import best_threshold, dprime, matched_filter, predicted_f1, simulate, waveform
from tinynn.spikes.limits import _all_below, _upcrossings

phi = NormalDist().cdf


def ar1_covariance(a, n):
    return a ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


def correlate_same(x, kernel):
    left = (kernel.size - 1) // 2
    padded = np.pad(x, (left, kernel.size - 1 - left))
    return np.correlate(padded, kernel, "valid")


# --- the matched filter and d'


@pytest.mark.parametrize("length", [24, 25])
def test_the_matched_filter_solves_the_normal_equations_of_a_long_window(length):
    s, margin = waveform("ricker", length), 60
    window = np.pad(s, margin)
    best = np.linalg.solve(ar1_covariance(0.8, window.size), window)
    kernel = matched_filter(s, [0.8])
    assert kernel.size == length + 2
    np.testing.assert_allclose(best[margin - 1 : margin + length + 1], kernel, atol=1e-10)
    assert dprime(kernel, s, [0.8]) == pytest.approx(math.sqrt(window @ best), abs=1e-10)


def test_the_matched_filter_in_white_noise_is_the_template():
    np.testing.assert_array_equal(matched_filter([1, -2, 3], "white"), [1, -2, 3])
    np.testing.assert_array_equal(matched_filter([1, -2, 3], [0.0, 0.0]), [0, 0, 1, -2, 3, 0, 0])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_no_kernel_has_a_larger_dprime_than_the_matched_filter(order):
    rng, noise = np.random.default_rng(0), [0.5, 0.2, -0.1][:order]
    s = waveform("triphasic", 20)
    best = matched_filter(s, noise)
    top = dprime(best, s, noise)
    for _ in range(200):
        nearby = best + rng.normal(scale=rng.choice([1e-3, 0.1, 1]), size=best.size)
        assert dprime(nearby, s, noise) < top


@pytest.mark.parametrize("taps", [1, 2, 4, 5, 6, 9])
@pytest.mark.parametrize("width", [4, 5])
def test_centres_of_kernel_and_template_lie_on_each_other(taps, width):
    rng = np.random.default_rng(1)
    w, s = rng.normal(size=taps), rng.normal(size=width)
    far = 20
    window = np.zeros(2 * far)
    window[far - (width - 1) // 2 :][:width] = s
    weights = np.zeros(2 * far)
    weights[far - (taps - 1) // 2 :][:taps] = w
    expected = weights @ window / math.sqrt(weights @ ar1_covariance(0.6, 2 * far) @ weights)
    assert dprime(w, s, [0.6]) == pytest.approx(expected, abs=1e-12)


def test_dprime_ignores_the_kernels_scale_but_not_its_sign():
    s = 4 * waveform()
    assert dprime(s, s, "white") == pytest.approx(4)
    assert dprime(1e-170 * s, s, "white") == pytest.approx(4)
    assert dprime(-3 * s, s, "white") == pytest.approx(-4)


@pytest.mark.parametrize("shape", [(25,), (25, 1), (25, 1, 1)])
def test_the_kernel_of_a_convolution_layer_is_taken_as_it_is(shape):
    assert dprime(waveform().reshape(shape), waveform(), "white") == pytest.approx(1)


def test_the_plain_template_wastes_most_of_the_signal_in_coloured_noise():
    s = waveform()
    efficiency = (dprime(s, s, [0.9]) / dprime(matched_filter(s, [0.9]), s, [0.9])) ** 2
    assert efficiency == pytest.approx(0.39, abs=0.005)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([0, 0], [1, 2], "white"), ValueError, "kernel must not be all zeros"),
        (
            (np.ones((5, 1, 2)), [1, 2], "white"),
            ValueError,
            r"kernel must be \(K,\), .*\(5, 1, 2\)",
        ),
        (([], [1, 2], "white"), ValueError, "kernel must be .* with at least one sample"),
        (([1], [1, np.nan], "white"), ValueError, "template must be finite, got nan at index 1"),
        (([1], [1], [2.0]), ValueError, r"noise must be a stable recursion, got \(2.0,\)"),
        (([1], [1], "pink"), ValueError, "noise must be .white. or a sequence"),
    ],
)
def test_dprime_refuses_what_detects_nothing(arguments, error, words):
    with pytest.raises(error, match="dprime: " + words):
        dprime(*arguments)


def test_matched_filter_refuses_what_is_no_template():
    with pytest.raises(ValueError, match=r"matched_filter: template must be .*shape \(2, 2, 1\)"):
        matched_filter(np.ones((2, 2, 1)), "white")
    with pytest.raises(ValueError, match="matched_filter: noise must be a stable recursion"):
        matched_filter([1.0], [1.5])


# --- the integrals behind the predicted F1


@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.5, 0.9, 0.9999])
def test_the_rate_of_upcrossings(rho):
    u = np.array([0.0, 0.7, 2.0, 4.0])
    expected = [math.acos(rho) / (2 * math.pi)]  # Rice, at the mean
    for level in u[1:]:  # P(z_0 <= u < z_1), by conditioning on z_1
        z = np.linspace(level, level + 10, 40_001)
        spread = math.sqrt(1 - rho**2)
        below = np.array([phi((level - rho * v) / spread) for v in z])
        expected.append(np.trapezoid(below * np.exp(-(z**2) / 2), z) / math.sqrt(2 * math.pi))
    np.testing.assert_allclose(_upcrossings(u, rho), expected, rtol=1e-4)


def test_the_maximum_over_independent_samples_is_a_product():
    u, rho = np.linspace(0, 6, 7), np.eye(1, 12).ravel()
    expected = [phi(v - 3.0) * phi(v) ** 6 for v in u]
    np.testing.assert_allclose(_all_below(u, 3.0, rho, 3), expected, atol=2e-4)


def test_the_maximum_over_dependent_samples_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    s = np.convolve(waveform(), [1.0, -0.9])
    rho = np.correlate(s, s, "full")[s.size - 1 :] / (s @ s)
    k = np.arange(-2, 3)
    covariance = rho[np.abs(np.subtract.outer(k, k))]
    law = stats.multivariate_normal(3.5 * rho[np.abs(k)], covariance, abseps=3e-5, releps=0)
    u = np.array([2.5, 4.0])
    expected = [law.cdf(np.full(5, v), rng=np.random.default_rng(0)) for v in u]
    np.testing.assert_allclose(_all_below(u, 3.5, rho, 2), expected, atol=3e-4)


def test_the_maximum_over_dependent_samples_agrees_with_draws():
    rho = 0.8 ** np.arange(9) * np.cos(np.arange(9))
    k = np.arange(-4, 5)
    law = rho[np.abs(np.subtract.outer(k, k))]
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal(2.5 * rho[np.abs(k)], law, 200_000, method="cholesky")
    u = np.array([1.0, 2.0, 3.0])
    measured = (z.max(axis=1)[:, np.newaxis] <= u).mean(axis=0)
    np.testing.assert_allclose(_all_below(u, 2.5, rho, 4), measured, atol=0.004)


# --- the predicted F1


@pytest.mark.parametrize(("d", "known"), [(3, 0.750), (4, 0.902), (5, 0.970)])
def test_predicted_f1_has_the_known_values(d, known):
    assert predicted_f1(d, 0.01) == pytest.approx(known, abs=6e-4)


def test_with_a_template_of_one_sample_the_predicted_f1_is_a_closed_form():
    # No neighbours, no tolerance: every sample is an independent decision.
    u = np.linspace(0, 8, 8001)
    tail = np.array([phi(-v) for v in u])
    found = np.array([phi(2.5 - v) for v in u])
    fp = tail * (1 - tail) * (1 - 0.02)
    best = (2 * 0.02 * found / (0.02 + 0.02 * found + fp)).max()
    result = predicted_f1(2.5, 0.02, tolerance=0, template=[3.0])
    assert result == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize(
    ("d", "noise", "seed"), [(3, "white", 1), (4, "white", 2), (5, "white", 3), (3.3, [0.9], 4)]
)
def test_the_matched_filter_reaches_the_predicted_f1_in_simulation(d, noise, seed):
    r = simulate(200_000, rate=0.01, dprime=d, noise=noise, rng=seed)
    score = correlate_same(r.x[0, :, 0], matched_filter(r.template, noise))
    _, m = best_threshold(score, r.times, tolerance=2, exclusion=2)
    error = math.sqrt(m.f1 * (1 - m.f1) / len(r.times[0]))
    assert m.f1 == pytest.approx(predicted_f1(d, 0.01, noise=noise), abs=0.005 + 3 * error)


def test_predicted_f1_grows_with_dprime_from_nearly_nothing_to_one():
    values = [predicted_f1(d, 0.01) for d in (0, 1, 2, 3, 5, 8, 50, 1000)]
    assert 0 < values[0] < 0.25
    assert (np.diff(values) > -1e-6).all()
    assert values[-1] == pytest.approx(1, abs=1e-6)


def test_predicted_f1_grows_with_tolerance_and_rate():
    assert predicted_f1(3, 0.01, tolerance=0) < predicted_f1(3, 0.01, tolerance=2)
    assert predicted_f1(3, 0.001) < predicted_f1(3, 0.01) < predicted_f1(3, 0.039)
    assert predicted_f1(3, 1e-12) == pytest.approx(0, abs=0.01)


def test_predicted_f1_is_a_plain_float_and_the_same_every_time():
    assert type(predicted_f1(3, 0.01)) is float
    assert predicted_f1(3, 0.01, noise=[0.5]) == predicted_f1(3, 0.01, noise=[0.5])
    assert predicted_f1(3, 0.01, template=7 * waveform()) == pytest.approx(predicted_f1(3, 0.01))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rate": 0}, ValueError, "rate must be a finite number above 0, got 0"),
        ({"rate": 0.04}, ValueError, "rate must be below 1 / 25, .* got 0.04"),
        ({"dprime": -1}, ValueError, "dprime must be a finite number at least 0, got -1"),
        ({"tolerance": -1}, ValueError, "tolerance must be a finite number at least 0, got -1"),
        ({"template": [0.0]}, ValueError, "template must not be all zeros"),
        ({"noise": [1.0]}, ValueError, "noise must be a stable recursion"),
    ],
)
def test_predicted_f1_refuses_what_it_cannot_predict(change, error, words):
    with pytest.raises(error, match="predicted_f1: " + words):
        predicted_f1(**({"dprime": 3.0, "rate": 0.01} | change))
