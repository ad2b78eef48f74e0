"""Simulated recordings obey the model of spikes: noise, times, shapes, amplitudes, edges."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from tinynn.spikes import dprime, matched_filter, simulate, waveform
from tinynn.spikes.noise import Noise

NAMES = ["biphasic", "exponential", "gaussian", "monophasic", "ricker", "triphasic"]
RECURSIONS = [(0.9,), (-0.6,), (1.5, -0.8), (0.3, 0.2, -0.4), (0.999,), (0.0, 0.5), (1.98, -0.9801)]


def stationary_covariance(coefficients, n):
    """Covariance matrix of n samples, from the Lyapunov equation of the companion form."""
    p = len(coefficients)
    step = np.zeros((p, p))
    step[0] = coefficients
    step[1:, :-1] = np.eye(p - 1)
    kick = np.zeros((p, p))
    kick[0, 0] = 1
    state = np.linalg.solve(np.eye(p * p) - np.kron(step, step), kick.ravel()).reshape(p, p)
    lags = []
    for _ in range(n):
        lags.append(state[0, 0])
        state = step @ state
    rho = np.array(lags) / lags[0]
    return rho[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]


# --- the waveform


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [5, 6, 25, 64])
def test_a_waveform_has_unit_norm_and_its_peak_at_the_centre_sample(name, length):
    s = waveform(name, length)
    assert s.shape == (length,)
    assert s.dtype == np.float64
    assert np.linalg.norm(s) == pytest.approx(1, abs=1e-12)
    assert np.argmax(s) == (length - 1) // 2


def test_the_default_waveform_is_biphasic_with_25_samples():
    np.testing.assert_array_equal(waveform(), waveform("biphasic", 25))
    assert waveform().min() < -0.1


def test_waveform_refuses_unknown_names_and_short_lengths():
    with pytest.raises(ValueError, match=r"one of 'biphasic', .*got 'bifasic'\. Did you mean"):
        waveform("bifasic")
    with pytest.raises(ValueError, match="length must be an integer of at least 5, got 4"):
        waveform(length=4)


# --- the noise


@pytest.mark.parametrize("noise", RECURSIONS)
def test_the_law_of_the_noise_is_that_of_the_stationary_recursion(noise):
    # Whitening by `predictors` is a triangular factor of the inverse covariance.
    n = 12
    factor = Noise("test", noise).whiten(np.eye(n)[..., None])[..., 0].T
    whitened = factor @ stationary_covariance(noise, n) @ factor.T
    np.testing.assert_allclose(whitened, np.eye(n), atol=1e-7)


@pytest.mark.parametrize("noise", RECURSIONS)
@pytest.mark.parametrize("length", [1, 2, 5, 700])
def test_noise_drawn_by_blocks_follows_the_recursion_at_every_sample(noise, length):
    drawn = Noise("test", noise).draw(3, length, np.random.default_rng(1))
    fresh = np.random.default_rng(1).standard_normal((3, length))[..., None]
    np.testing.assert_allclose(Noise("test", noise).whiten(drawn), fresh, atol=1e-8)


def test_noise_has_unit_variance_from_the_first_sample_to_the_last():
    x = simulate(600, rate=0, dprime=1, noise=[0.999], n_series=4000, rng=0).x[:, :, 0]
    error = math.sqrt(2 / 4000)
    assert np.abs(x.var(axis=0) - 1).max() < 5 * error


@pytest.mark.parametrize("noise", [(0.9,), (1.5, -0.8)])
def test_autocovariances_measured_are_those_of_the_closed_form(noise):
    x = simulate(400_000, rate=0, dprime=1, noise=noise, rng=2).x[0, :, 0].astype(float)
    measured = [np.mean(x[: x.size - k] * x[k:]) for k in range(6)]
    if len(noise) == 1:
        expected = 0.9 ** np.arange(6)
    else:  # damped cosine: poles r exp(+-i w), Box & Jenkins 3.2.4
        a, b = noise
        expected = [1, a / (1 - b)]
        for _ in range(4):
            expected.append(a * expected[-1] + b * expected[-2])
    np.testing.assert_allclose(measured, expected, atol=0.02)


@pytest.mark.parametrize("noise", [[1.0], [-1.0], [0.5, 0.5], [1.98, -0.98], [0, 0, 1.2]])
def test_an_unstable_recursion_is_refused(noise):
    with pytest.raises(ValueError, match="simulate: noise must be a stable recursion, got"):
        simulate(100, rate=0.01, dprime=1, noise=noise)


@pytest.mark.parametrize(
    ("noise", "error", "words"),
    [
        ("pink", ValueError, 'must be "white" or a sequence of AR coefficients such as .0.9., got'),
        (0.9, TypeError, "sequence of AR coefficients such as .0.9., got 0.9"),
        (None, TypeError, "sequence of AR coefficients such as .0.9., got None"),
        ([[0.9]], ValueError, "noise must be 1-D"),
        ([float("nan")], ValueError, "noise must be finite, got nan at index 0"),
        (["a"], TypeError, "noise must be an array of real numbers"),
    ],
)
def test_noise_that_is_no_noise_is_refused(noise, error, words):
    with pytest.raises(error, match=words):
        simulate(100, rate=0.01, dprime=1, noise=noise)


def test_the_noise_is_recorded_as_white_or_a_tuple():
    assert simulate(30, rate=0, dprime=1, rng=0).noise == "white"
    assert simulate(30, rate=0, dprime=1, noise=[], rng=0).noise == "white"
    assert simulate(30, rate=0, dprime=1, noise=np.array([0.5, 0.1]), rng=0).noise == (0.5, 0.1)


# --- the spikes


@pytest.mark.parametrize("width", [24, 25])
def test_the_series_is_the_noise_plus_the_template_around_each_time(width):
    options = {"dprime": 3.0, "noise": [0.7], "n_series": 3, "dtype": "float64", "rng": 5}
    options["template"] = waveform(length=width)
    noise = simulate(2000, rate=0, **options).x[:, :, 0]
    r = simulate(2000, rate=0.05, refractory=4, **options)  # many overlap
    expected = noise.copy()
    for row, times in zip(expected, r.times, strict=True):
        for t in times:
            start = t - (width - 1) // 2
            assert start >= 0
            row[start : start + width] += r.template  # raises if the end were cut
    np.testing.assert_allclose(r.x[:, :, 0], expected, atol=1e-12)


def test_labels_are_one_at_the_times_and_zero_elsewhere():
    r = simulate(500, rate=0.03, dprime=3, n_series=4, rng=0)
    assert r.y.shape == r.x.shape == (4, 500, 1)
    assert len(r.times) == 4
    for y, times in zip(r.y[:, :, 0], r.times, strict=True):
        assert times.dtype == np.int64
        np.testing.assert_array_equal(np.flatnonzero(y), times)
        assert set(y.tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("float64")])
def test_samples_and_labels_have_the_dtype_asked_for(dtype):
    r = simulate(100, rate=0.01, dprime=3, dtype=dtype, rng=0)
    assert r.x.dtype == r.y.dtype == np.dtype(dtype)
    wide = simulate(100, rate=0.01, dprime=3, dtype="float64", rng=0)
    np.testing.assert_array_equal(r.x, wide.x.astype(dtype))


@pytest.mark.parametrize(("rate", "refractory"), [(0.02, 25), (0.1, 1), (0.05, 13), (0.039, 25)])
def test_gaps_are_the_dead_time_plus_a_geometric_number(rate, refractory):
    r = simulate(400_000, rate=rate, dprime=1, refractory=refractory, rng=3)
    gaps = np.diff(r.times[0])
    assert gaps.min() == refractory
    assert gaps.mean() == pytest.approx(1 / rate, abs=5 * gaps.std() / math.sqrt(gaps.size))
    p = rate / (1 - rate * (refractory - 1))
    for extra in range(4):
        share = p * (1 - p) ** extra
        error = math.sqrt(share * (1 - share) / gaps.size)
        assert np.mean(gaps == refractory + extra) == pytest.approx(share, abs=5 * error + 1e-9)


@pytest.mark.parametrize(("rate", "refractory"), [(0.02, 25), (0.1, 1), (0.15, 6)])
def test_a_spike_is_equally_likely_at_every_place_where_it_fits(rate, refractory):
    n_series, template = 40_000, [1.0, 2.0, 1.0]
    r = simulate(
        60, rate=rate, dprime=1, template=template, refractory=refractory, n_series=n_series, rng=4
    )
    share = r.y[:, :, 0].mean(axis=0)
    assert share[0] == share[-1] == 0
    error = math.sqrt(rate * (1 - rate) / n_series)
    assert np.abs(share[1:-1] - rate).max() < 4.5 * error


def test_a_series_of_the_templates_length_holds_one_spike_at_most():
    r = simulate(25, rate=0.03, dprime=1, n_series=2000, rng=0)
    assert {tuple(t) for t in r.times} == {(), (12,)}


def test_no_rate_no_spikes():
    r = simulate(100, rate=0, dprime=3, refractory=10**6, n_series=2, rng=0)
    assert [t.tolist() for t in r.times] == [[], []]
    assert not r.y.any()


def test_amplitudes_spread_log_normally_about_one():
    r = simulate(
        400_000, rate=0.02, dprime=1e6, template=[1.0], amplitude_cv=0.3, dtype="float64", rng=0
    )
    amplitudes = r.x[0, r.times[0], 0] / 1e6
    assert amplitudes.min() > 0
    assert amplitudes.mean() == pytest.approx(1, abs=0.02)
    assert amplitudes.std() == pytest.approx(0.3, abs=0.02)
    skew = np.mean(
        ((np.log(amplitudes) - np.log(amplitudes).mean()) / np.log(amplitudes).std()) ** 3
    )
    assert abs(skew) < 0.15


def test_the_same_seed_gives_the_same_bits_and_series_differ():
    one, two = (simulate(500, rate=0.01, dprime=3, n_series=2, noise=[0.5], rng=7) for _ in "ab")
    np.testing.assert_array_equal(one.x, two.x)
    assert abs(np.corrcoef(one.x[0, :, 0], one.x[1, :, 0])[0, 1]) < 0.2
    other = simulate(500, rate=0.01, dprime=3, n_series=2, noise=[0.5], rng=8)
    assert not np.array_equal(one.x, other.x)
    generator = np.random.default_rng(7)
    np.testing.assert_array_equal(
        simulate(500, rate=0.01, dprime=3, n_series=2, noise=[0.5], rng=generator).x, one.x
    )


@pytest.mark.parametrize("noise", ["white", *RECURSIONS])
@pytest.mark.parametrize("name", ["biphasic", "gaussian"])
def test_the_template_has_the_detectability_asked_for(noise, name):
    r = simulate(100, rate=0.01, dprime=3.7, template=7 * waveform(name, 24), noise=noise, rng=0)
    best = dprime(matched_filter(r.template, r.noise), r.template, r.noise)
    assert best == pytest.approx(3.7, abs=1e-10)


def test_an_undetectable_spike_is_a_template_of_zeros():
    r = simulate(100, rate=0.01, dprime=0, rng=0)
    assert not r.template.any()
    assert dprime(matched_filter(r.template, r.noise), r.template, r.noise) == 0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_the_scale_of_the_template_given_does_not_matter(scale):
    r = simulate(100, rate=0.01, dprime=2, template=scale * waveform(), rng=0)
    np.testing.assert_allclose(r.template, 2 * waveform(), atol=1e-12)


def area_under_roc(without, with_spike):
    ranks = np.argsort(np.argsort(np.concatenate((without, with_spike))))
    n, m = without.size, with_spike.size
    return (ranks[n:].sum() - m * (m - 1) / 2) / (n * m)


@pytest.mark.parametrize(
    ("noise", "wanted", "kernel", "known"),
    [("white", 2.0, "best", 0.9214), ([0.9], 3.3, "best", 0.990), ([0.9], 3.3, "plain", 0.926)],
)
def test_spikes_of_known_time_are_told_from_noise_as_well_as_theory_says(
    noise, wanted, kernel, known
):
    r = simulate(100, rate=0.01, dprime=wanted, noise=noise, rng=0)
    w = matched_filter(r.template, noise) if kernel == "best" else r.template
    length = max(w.size, r.template.size)
    x = simulate(length, rate=0, dprime=1, noise=noise, n_series=40_000, rng=1).x[:, :, 0]
    start = (length - 1) // 2 - (r.template.size - 1) // 2
    x[:20_000, start : start + r.template.size] += r.template.astype(x.dtype)
    score = x[:, (length - w.size) // 2 :][:, : w.size] @ w
    measured = area_under_roc(score[20_000:], score[:20_000])
    theory = NormalDist().cdf(dprime(w, r.template, noise) / math.sqrt(2))
    assert measured == pytest.approx(theory, abs=0.006)
    assert theory == pytest.approx(known, abs=0.0015)


# --- what a person can get wrong


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"length": 24}, ValueError, "length must be at least the template's 25 samples, got 24"),
        ({"length": 100.0}, TypeError, "length must be a positive integer, got 100.0"),
        ({"length": 0}, ValueError, "length must be a positive integer, got 0"),
        ({"rate": 0.04}, ValueError, "rate must be below 1 / refractory = 0.04 .*got 0.04"),
        ({"rate": 0.4, "refractory": 5}, ValueError, "below 1 / refractory = 0.2 .*here 5 samples"),
        ({"rate": -0.1}, ValueError, "rate must be a finite number at least 0, got -0.1"),
        ({"rate": float("nan")}, ValueError, "rate must be a finite number at least 0, got nan"),
        ({"dprime": -1}, ValueError, "dprime must be a finite number at least 0, got -1"),
        ({"dprime": "3"}, TypeError, "dprime must be a finite number at least 0, got '3'"),
        ({"refractory": 0}, ValueError, "refractory must be a positive integer, got 0"),
        ({"refractory": 2.5}, TypeError, "refractory must be a positive integer, got 2.5"),
        ({"n_series": 0}, ValueError, "n_series must be a positive integer, got 0"),
        ({"amplitude_cv": -0.1}, ValueError, "amplitude_cv must be a finite number at least 0"),
        (
            {"dtype": "float16"},
            ValueError,
            "dtype must be one of 'float32', 'float64', got 'float1",
        ),
        ({"dtype": "nonsense"}, ValueError, "dtype must be one of 'float32', 'float64', got"),
        ({"rng": -1}, TypeError, "rng must be a numpy.random.Generator, a non-negative integer"),
        (
            {"template": np.zeros(5)},
            ValueError,
            "template must not be all zeros unless dprime is 0",
        ),
        ({"template": []}, ValueError, "template must be .* with at least one sample"),
        ({"template": np.ones((5, 1, 1))}, ValueError, r"template must be .*got shape \(5, 1, 1\)"),
        ({"template": [1, np.inf]}, ValueError, "template must be finite, got inf at index 1"),
        ({"template": "ricker"}, TypeError, "template must be an array of real numbers, got 'rick"),
        ({"template": [[1], [1, 2]]}, TypeError, "template must be an array of real numbers"),
    ],
)
def test_simulate_refuses_what_makes_no_recording(change, error, words):
    arguments = {"length": 1000, "rate": 0.01, "dprime": 3.0} | change
    with pytest.raises(error, match="simulate: .*" + words):
        simulate(arguments.pop("length"), **arguments)


def test_a_recording_introduces_itself_in_a_line():
    r = simulate(1000, rate=0.01, dprime=3, n_series=2, noise=[0.5], rng=0)
    spikes = sum(map(len, r.times))
    assert repr(r) == f"Recording(n_series=2, length=1000, spikes={spikes}, noise=(0.5,))"
    assert (r.rate, r.refractory) == (0.01, 25)
