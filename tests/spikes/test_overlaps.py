"""The posterior is exact: enumeration on small problems, calibration and known scores on large."""

import math
from itertools import combinations

import numpy as np
import pytest

from tinynn.spikes import best_threshold, overlaps, posterior, simulate, waveform


def covariance(noise, n):
    """Covariance of AR(1) or AR(2) noise of unit variance, from the Yule-Walker equations."""
    a, b = (*noise, 0.0, 0.0)[:2] if noise != "white" else (0.0, 0.0)
    rho = [1.0, a / (1 - b)]
    while len(rho) < n:
        rho.append(a * rho[-1] + b * rho[-2])
    return np.array(rho)[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]


def prior(onsets, n_onsets, rate, refractory):
    """Probability of these onsets, and no others, in the equilibrium renewal process."""
    p = rate / (1 - rate * (refractory - 1))
    survival = 1 - rate * np.minimum(np.arange(n_onsets + 1), refractory)  # no onset before t
    for t in range(refractory + 1, n_onsets + 1):
        survival[t] = survival[t - 1] * (1 - p)
    if not onsets:
        return survival[n_onsets]
    probability = survival[onsets[0]] - survival[onsets[0] + 1]
    for gap in np.diff(onsets):
        probability *= p * (1 - p) ** (gap - refractory) if gap >= refractory else 0
    return probability * (1 - p) ** max(0, n_onsets - onsets[-1] - refractory)


def posterior_by_enumeration(x, s, noise, rate, refractory):
    n_onsets = x.size - s.size + 1
    inverse = np.linalg.inv(covariance(noise, x.size))
    total, at = 0.0, np.zeros(x.size)
    for count in range(n_onsets + 1):
        for onsets in combinations(range(n_onsets), count):
            chance = prior(onsets, n_onsets, rate, refractory)
            if not chance:
                continue
            left = x.copy()
            for t in onsets:
                left[t : t + s.size] -= s
            weight = chance * math.exp(-0.5 * left @ inverse @ left)
            total += weight
            for t in onsets:
                at[t + (s.size - 1) // 2] += weight
    return at / total


@pytest.mark.parametrize("noise", ["white", (0.7,), (-0.4,), (0.9, -0.5)])
@pytest.mark.parametrize("refractory", [1, 2, 3, 4, 5, 9])
def test_the_posterior_is_that_of_all_configurations(noise, refractory, monkeypatch):
    monkeypatch.setattr(overlaps, "_BLOCK", 40)  # several blocks even here
    rng = np.random.default_rng(refractory)
    for width in (1, 3, 4):
        s = rng.normal(scale=1.5, size=width)
        x = rng.normal(size=11)
        x[4 : 4 + width] += s
        rate = 0.8 / (refractory + 1)
        expected = posterior_by_enumeration(x, s, noise, rate, refractory)
        result = posterior(x, s, noise, rate, refractory)
        np.testing.assert_allclose(result, expected, atol=1e-9)


@pytest.mark.parametrize(("rate", "refractory"), [(0.02, 25), (0.05, 12), (0.01, 40), (0.3, 3)])
def test_where_nothing_can_be_seen_every_place_has_the_rate(rate, refractory):
    s = np.zeros(6)
    result = posterior(np.random.default_rng(0).normal(size=100), s, [0.5], rate, refractory)
    np.testing.assert_allclose(result[2:97], rate, atol=1e-12)
    assert not result[:2].any()
    assert not result[97:].any()


def test_the_dead_time_defaults_to_the_templates_length():
    r = simulate(300, rate=0.02, dprime=2, rng=0)
    np.testing.assert_array_equal(
        posterior(r.x, r.template, r.noise, 0.02), posterior(r.x, r.template, r.noise, 0.02, 25)
    )


@pytest.mark.parametrize(
    ("rate", "refractory", "noise"), [(0.03, 25, "white"), (0.05, 9, "white"), (0.03, 25, [0.8])]
)
def test_the_posterior_is_calibrated(rate, refractory, noise):
    r = simulate(
        250, rate=rate, dprime=2.5, refractory=refractory, noise=noise, n_series=100, rng=1
    )
    p, y = posterior(r.x, r.template, noise, rate, refractory).ravel(), r.y.ravel()
    for low, high in [(0, 0.005), (0.005, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1)]:
        inside = (low <= p) & (p < high + (high == 1))
        error = math.sqrt((p * (1 - p))[inside].sum()) / inside.sum()
        assert y[inside].mean() == pytest.approx(p[inside].mean(), abs=4 * error)


@pytest.mark.parametrize(
    ("d", "rate", "refractory", "noise", "known"),
    [
        (3, 0.01, 25, "white", 0.77),
        (4, 0.01, 25, "white", 0.92),
        (5, 0.01, 25, "white", 0.97),
        (5, 0.03, 13, "white", 0.99),
        (3.3, 0.01, 25, (0.9,), 0.80),
    ],
)
def test_the_posterior_scores_as_known(d, rate, refractory, noise, known):
    r = simulate(40_000, rate=rate, dprime=d, refractory=refractory, noise=noise, rng=6)
    p = posterior(r.x, r.template, r.noise, rate, refractory)
    _, m = best_threshold(p, r.times, tolerance=2, exclusion=5)
    error = math.sqrt(known * (1 - known) / len(r.times[0]))
    assert m.f1 == pytest.approx(known, abs=0.01 + 2 * error)


def test_series_are_independent_and_keep_their_shape():
    r = simulate(200, rate=0.03, dprime=3, noise=[0.5], n_series=3, rng=0)
    together = posterior(r.x, r.template, r.noise, r.rate)
    assert together.shape == (3, 200, 1)
    assert together.dtype == np.float64
    for x, p in zip(r.x, together, strict=True):
        np.testing.assert_allclose(posterior(x[:, 0], r.template, r.noise, r.rate), p[:, 0])


@pytest.mark.parametrize("noise", ["white", [0.9]])
def test_spikes_that_tower_over_the_noise_are_certain(noise):
    r = simulate(2000, rate=0.05, dprime=1e5, refractory=8, noise=noise, dtype="float64", rng=0)
    p = posterior(r.x, r.template, r.noise, 0.05, 8)
    np.testing.assert_allclose(p, r.y, atol=1e-6)


def test_an_artefact_disturbs_nothing_far_from_it():
    r = simulate(500, rate=0.02, dprime=4, noise=[0.5], dtype="float64", rng=0)
    clean = posterior(r.x, r.template, r.noise, 0.02)
    r.x[0, 200:230] = 1e8
    r.x[0, 300] = -1e8
    p = posterior(r.x, r.template, r.noise, 0.02)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p[0, :120], clean[0, :120], atol=1e-4)
    np.testing.assert_allclose(p[0, 400:], clean[0, 400:], atol=1e-4)


def test_no_rate_no_spikes():
    assert not posterior(np.ones(50), waveform(), "white", 0).any()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"x": np.zeros(24)},
            ValueError,
            "at least as long as the .* 25 samples, got 24",
        ),
        ({"x": np.zeros((3, 50, 2))}, ValueError, r"x must have shape .* got shape \(3, 50, 2\)"),
        ({"x": [np.nan] * 50}, ValueError, "x must be finite, got nan at index 0"),
        ({"rate": 0.04}, ValueError, "rate must be below 1 / refractory = 0.04"),
        ({"rate": 0.01, "refractory": 0}, ValueError, "refractory must be a positive integer"),
        ({"refractory": 1}, ValueError, "refractory=1 and a template of 25 .* more than 5,000"),
        ({"refractory": 6000, "rate": 1e-5}, ValueError, "Bring refractory closer to 25"),
        ({"noise": [1.0]}, ValueError, "noise must be a stable recursion"),
        ({"template": np.ones((5, 1, 1))}, ValueError, r"template must be \(K,\), or"),
    ],
)
def test_posterior_refuses_what_has_none(change, error, words):
    arguments = {"x": np.zeros(50), "template": waveform(), "noise": "white", "rate": 0.01}
    with pytest.raises(error, match="posterior: .*" + words):
        posterior(**(arguments | change))
