"""Several channels: closed forms, enumeration and simulation, as for one."""

import math
from itertools import combinations

import numpy as np
import pytest

from tinynn.spikes import (
    best_threshold,
    dprime,
    matched_filter,
    posterior,
    predicted_f1,
    simulate,
    waveform,
)

SPATIAL = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, 0.5], [0.2, 0.5, 1.0]])
NOISES = ["white", (0.7,), (0.9, -0.5)]


def covariance(noise, n, spatial):
    """Covariance of n samples of AR(1) or AR(2) noise on several channels, (n C, n C)."""
    a, b = (*noise, 0.0, 0.0)[:2] if noise != "white" else (0.0, 0.0)
    rho = [1.0, a / (1 - b)]
    while len(rho) < n:
        rho.append(a * rho[-1] + b * rho[-2])
    lags = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return np.kron(np.array(rho)[lags], spatial)


def template(width=6, channels=3, seed=0):
    return np.random.default_rng(seed).normal(size=(width, channels))


@pytest.mark.parametrize("noise", NOISES)
def test_the_matched_filter_solves_the_normal_equations_of_a_long_window(noise):
    s, far = template(), 40
    n = 2 * far + len(s)
    long = np.zeros((n, 3))
    long[far : far + len(s)] = s
    best = np.linalg.solve(covariance(noise, n, SPATIAL), long.ravel()).reshape(n, 3)
    w = matched_filter(s, noise, SPATIAL)
    order = (len(w) - len(s)) // 2
    np.testing.assert_allclose(w, best[far - order : far - order + len(w)], atol=1e-9)
    energy = long.ravel() @ best.ravel()
    assert dprime(w, s, noise, SPATIAL) == pytest.approx(math.sqrt(energy))


@pytest.mark.parametrize("noise", NOISES)
def test_dprime_is_that_of_the_definition(noise):
    rng, s = np.random.default_rng(3), template()
    for taps in (6, 7, 9):
        w = rng.normal(size=(taps, 3))
        at = (taps - 1) // 2 - (len(s) - 1) // 2
        signal = sum(
            w[t] @ s[t - at] for t in range(taps) if 0 <= t - at < len(s)
        )  # centre on centre
        power = w.ravel() @ covariance(noise, taps, SPATIAL) @ w.ravel()
        expected = signal / math.sqrt(power)
        assert dprime(w, s, noise, SPATIAL) == pytest.approx(expected)
        assert dprime(w[..., None], s, noise, SPATIAL) == pytest.approx(expected)


@pytest.mark.parametrize("noise", NOISES)
def test_the_noise_has_the_covariance_asked_for(noise):
    r = simulate(8, rate=0, dprime=0, template=np.zeros((3, 3)), noise=noise, spatial=SPATIAL,
                 n_series=40_000, dtype="float64", rng=0)  # fmt: skip
    x = r.x.reshape(len(r.x), -1)
    expected = covariance(noise, 8, SPATIAL)
    error = np.sqrt((1 + expected**2) / len(x))
    assert (abs(x.T @ x / len(x) - expected) < 5 * error).all()


def test_a_simulated_recording_has_the_dprime_asked_for():
    r = simulate(20_000, rate=0.01, dprime=4, template=template(), noise=[0.8], spatial=SPATIAL,
                 dtype="float64", rng=0)  # fmt: skip
    assert (r.x.shape, r.y.shape) == ((1, 20_000, 3), (1, 20_000, 1))
    np.testing.assert_array_equal(r.spatial, SPATIAL)
    w = matched_filter(r.template, r.noise, r.spatial)
    assert dprime(w, r.template, r.noise, r.spatial) == pytest.approx(4)
    half = (len(w) - 1) // 2
    z = sum(np.convolve(r.x[0, :, c], w[::-1, c], "full") for c in range(3))
    z = z[len(w) - 1 - half :][: r.x.shape[1]] / 4  # z[t] is centred on t, of unit variance
    away = np.ones(len(z), bool)
    for t in r.times[0]:
        away[max(0, t - 12) : t + 13] = False
    assert z[away].std() == pytest.approx(1, abs=0.03)
    assert z[r.times[0]].mean() == pytest.approx(4, abs=5 / math.sqrt(len(r.times[0])))


def posterior_by_enumeration(x, s, noise, spatial, p):
    """The posterior where no two spikes overlap: refractory is the width, from equilibrium."""
    n, width = len(x), len(s)
    inverse = np.linalg.inv(covariance(noise, n, spatial))
    rate = p / (1 + p * (width - 1))
    starts = n - width + 1
    survival = [1 - rate * min(t, width) for t in range(starts + 1)]
    for t in range(width + 1, starts + 1):
        survival[t] = survival[t - 1] * (1 - p)
    total, at = 0.0, np.zeros(n)
    for count in range(starts + 1):
        for onsets in combinations(range(starts), count):
            gaps = np.diff(onsets)
            if (gaps < width).any():
                continue
            if onsets:
                chance = survival[onsets[0]] - survival[onsets[0] + 1]
                for gap in gaps:
                    chance *= p * (1 - p) ** (gap - width)
                chance *= (1 - p) ** max(0, starts - onsets[-1] - width)
            else:
                chance = survival[starts]
            left = x.copy()
            for t in onsets:
                left[t : t + width] -= s
            weight = chance * math.exp(-0.5 * left.ravel() @ inverse @ left.ravel())
            total += weight
            for t in onsets:
                at[t + (width - 1) // 2] += weight
    return at / total, rate


@pytest.mark.parametrize("noise", NOISES)
def test_the_posterior_is_that_of_all_configurations(noise):
    rng = np.random.default_rng(1)
    for width in (2, 3):
        s = 1.2 * template(width, seed=width)
        x = rng.normal(size=(9, 3))
        x[3 : 3 + width] += s
        expected, rate = posterior_by_enumeration(x, s, noise, SPATIAL, 0.2)
        got = posterior(x, s, noise, rate, spatial=SPATIAL)
        assert got.shape == (9,)
        np.testing.assert_allclose(got, expected, atol=1e-9)
        several = posterior(np.stack([x, -x]), s, noise, rate, spatial=SPATIAL)
        assert several.shape == (2, 9, 1)
        np.testing.assert_allclose(several[0, :, 0], expected, atol=1e-9)


def test_one_channel_as_a_column_is_one_channel():
    s = 4 * waveform()
    r = simulate(500, rate=0.01, dprime=4, noise=[0.5], rng=0)
    np.testing.assert_allclose(
        posterior(r.x[0], s[:, None], [0.5], 0.01), posterior(r.x[0, :, 0], s, [0.5], 0.01)
    )
    np.testing.assert_allclose(matched_filter(s[:, None], [0.5])[:, 0], matched_filter(s, [0.5]))
    column = simulate(500, rate=0.01, dprime=4, template=waveform()[:, None], noise=[0.5], rng=0)
    np.testing.assert_array_equal(column.x, r.x)
    f1 = [predicted_f1(4, 0.01, template=t, noise=[0.5]) for t in (s, s[:, None])]
    assert f1[0] == f1[1]


def test_independent_channels_of_one_shape_are_one_channel_of_more():
    s = np.repeat(waveform()[:, None], 4, axis=1)
    assert predicted_f1(3, 0.01, template=s) == pytest.approx(predicted_f1(3, 0.01))


@pytest.mark.parametrize("noise", ["white", (0.8,)])
def test_matched_filter_and_posterior_reach_the_predicted_f1(noise):
    shapes = [waveform(name) * gain for name, gain in (("biphasic", 1), ("ricker", -0.6))]
    s = np.stack([*shapes, 0 * shapes[0]], axis=1)
    r = simulate(60_000, rate=0.01, dprime=4, template=s, noise=noise, spatial=SPATIAL, rng=1)
    w = matched_filter(r.template, noise, SPATIAL)
    half = (len(w) - 1) // 2
    x = np.pad(r.x[0].astype(float), ((half, len(w) - 1 - half), (0, 0)))
    score = sum(np.correlate(x[:, c], w[:, c], "valid") for c in range(3))
    exact = posterior(r.x[0], r.template, noise, 0.01, spatial=SPATIAL)
    how = {"tolerance": 2, "exclusion": 12}
    f1, best = (best_threshold(z, r.times[0], **how)[1].f1 for z in (score, exact))
    predicted = predicted_f1(4, 0.01, template=r.template, noise=noise, spatial=SPATIAL)
    assert f1 == pytest.approx(predicted, abs=0.03)
    assert best > f1 - 0.01


@pytest.mark.parametrize(
    ("spatial", "words"),
    [
        (np.eye(2), r"of shape \(3, 3\), one row for each channel, got \(2, 2\)"),
        (SPATIAL + np.triu(np.full((3, 3), 0.1), 1), "symmetric"),
        (2 * np.eye(3), "of unit diagonal"),
        (np.ones((3, 3)), "positive definite, got an eigenvalue of"),
        (np.full((3, 3), np.nan), "spatial must be finite"),
    ],
)
def test_spatial_must_be_a_covariance_of_unit_variances(spatial, words):
    s = template()
    calls = {
        "simulate": lambda: simulate(50, rate=0.01, dprime=1, template=s, spatial=spatial),
        "matched_filter": lambda: matched_filter(s, "white", spatial),
        "dprime": lambda: dprime(s, s, "white", spatial),
        "predicted_f1": lambda: predicted_f1(3, 0.01, template=s, spatial=spatial),
        "posterior": lambda: posterior(np.ones((9, 3)), s, "white", 0.01, spatial=spatial),
    }
    for owner, call in calls.items():
        with pytest.raises(
            ValueError, match=rf"{owner}: .*{words.removeprefix('spatial must be ')}"
        ):
            call()


def test_channels_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match=r"posterior: x must be \(length, 3\) or"):
        posterior(np.ones((9, 2)), template(), "white", 0.01)
    with pytest.raises(ValueError, match="dprime: kernel and template must have as many channels"):
        dprime(np.ones((5, 2)), template(), "white")
