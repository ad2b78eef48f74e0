"""In coloured noise a trained kernel comes close to the whitened template, and F1 to theory."""

import numpy as np
import pytest

from tinynn import spikes

SEEDS = range(5)
NAMES = ("white", "AR(1), a = 0.5", "AR(1), a = 0.9", "AR(2), 1.2, -0.5")


@pytest.fixture(scope="module")
def lesson(example):
    return example("coloured_noise")


def covariance(noise, n):
    """Sigma of unit-variance noise, from the response of its recursion to one innovation."""
    past = [] if isinstance(noise, str) else noise
    answer = np.zeros(4000)
    answer[0] = 1
    for t in range(1, len(answer)):
        answer[t] = sum(a * answer[t - i] for i, a in enumerate(past, 1) if t >= i)
    lags = np.array([answer[: len(answer) - k] @ answer[k:] for k in range(n)])
    return (lags / lags[0])[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]


@pytest.mark.parametrize("name", NAMES)
def test_the_whitened_template_solves_sigma_w_equals_s(lesson, name):
    noise, spike = lesson.NOISES[name], spikes.waveform()
    best = spikes.matched_filter(spike, noise)
    sigma = covariance(noise, len(best))
    margin = (len(best) - len(spike)) // 2
    padded = np.pad(spike, margin)
    np.testing.assert_allclose(sigma @ best, padded, atol=1e-10)
    share = (spike @ spike) ** 2 / (padded @ sigma @ padded) / (padded @ best)
    np.testing.assert_allclose(lesson.efficiency(spike, spike, noise), share, rtol=1e-10)
    np.testing.assert_allclose(lesson.efficiency(best, spike, noise), 1, rtol=1e-12)


def test_in_ar1_noise_the_whitened_template_is_the_formula_of_the_text(lesson):
    a, spike = 0.9, spikes.waveform()
    s = np.pad(spike, 2)
    formula = (1 + a**2) * s[1:-1] - a * (s[:-2] + s[2:])
    found = spikes.matched_filter(spike, [a])
    np.testing.assert_allclose(found, formula / (1 - a**2), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_whitening_divides_the_spectrum_by_the_noise_power(lesson, name):
    noise, spike = lesson.NOISES[name], spikes.waveform()
    at = np.linspace(0, 0.5, 50)
    power = lesson.noise_power(noise, at)
    n = 500
    lags = covariance(noise, n)[0]
    expected = lags[0] + 2 * np.cos(2 * np.pi * np.outer(at, np.arange(1, n))) @ lags[1:]
    np.testing.assert_allclose(power, expected, rtol=1e-8)
    best = spikes.matched_filter(spike, noise)
    np.testing.assert_allclose(
        lesson.gain(best, at), lesson.gain(spike, at) / power, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_measured_efficiency_is_that_of_theory(lesson, seed):
    rng, noise = np.random.default_rng(seed), [0.9]
    heard = lesson.recordings(250, noise, 4.0, rng)
    silent = spikes.simulate(lesson.LENGTH, n_series=100, rate=0, dprime=0, noise=noise, rng=rng)
    for kernel in (heard.template, spikes.matched_filter(heard.template, noise)):
        theory = lesson.efficiency(kernel, heard.template, noise)
        found = lesson.measured_efficiency(kernel, 4.0, heard, silent)
        # d' has the standard error 1 / sqrt(spikes); its square twice the relative one.
        error = 2 / (4 * np.sqrt(theory) * np.sqrt(heard.y.sum()))
        assert abs(found / theory - 1) < 4 * error + 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_the_trained_kernel_leaves_the_template_for_the_whitened_one(lesson, seed):
    rng = np.random.default_rng(seed)
    spike, kernels = lesson.kernels_for([0.9], 4.0, 60, rng)
    learned = kernels["trained kernel"]
    assert lesson.efficiency(spike, spike, [0.9]) < 0.4
    assert lesson.efficiency(learned, spike, [0.9]) > 0.96
    whitened = kernels["whitened template"]

    def likeness(shape):
        wide = np.pad(shape, (lesson.TAPS - len(shape)) // 2)
        return learned @ wide / np.linalg.norm(learned) / np.linalg.norm(wide)

    assert likeness(whitened) > 0.95 > 0.8 > likeness(spike)


@pytest.mark.parametrize("seed", SEEDS)
def test_f1_lies_on_the_curve_of_theory_and_below_the_posterior(lesson, seed):
    theory, f1 = lesson.f1_at(4.0, [0.9], (40, 20, 50), np.random.default_rng(seed))
    assert abs(f1["whitened template"] - theory) < 0.05
    assert abs(f1["trained kernel"] - f1["whitened template"]) < 0.03
    assert f1["exact posterior"] > f1["trained kernel"] - 0.015
    assert f1["plain template"] < f1["trained kernel"] - 0.15


def test_sliding_a_kernel_is_a_correlation_at_its_centre_tap(lesson):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 100, 1)), rng.normal(size=lesson.TAPS)
    expected = [np.convolve(row, kernel[::-1], "same") for row in x[:, :, 0]]
    np.testing.assert_allclose(lesson.slide(x, kernel)[:, :, 0], expected, atol=1e-12)
