"""The posterior of several units is exact: enumeration, independence, calibration, refusals."""

import math
from itertools import combinations, product

import numpy as np
import pytest

from tinynn.spikes import posterior, simulate, waveform

from ..benchmarks import two_units
from .test_channels import covariance
from .test_overlaps import prior

NEAR = np.array([[1.0, 0.5], [0.5, 1.0]])


def configurations(n_onsets, rate, refractory):
    """Yield the sets of onsets that one unit may have, and their probabilities."""
    for count in range(n_onsets + 1):
        for onsets in combinations(range(n_onsets), count):
            if chance := prior(onsets, n_onsets, rate, refractory):
                yield onsets, chance


def posterior_by_enumeration(x, shapes, noise, rates, refractories):
    inverse = np.linalg.inv(covariance(noise, len(x), NEAR))
    total, at = 0.0, np.zeros((len(x), len(shapes)))
    each = [
        list(configurations(len(x) - len(s) + 1, rate, dead))
        for s, rate, dead in zip(shapes, rates, refractories, strict=True)
    ]
    for chosen in product(*each):
        left = x.copy()
        for s, (onsets, _) in zip(shapes, chosen, strict=True):
            for t in onsets:
                left[t : t + len(s)] -= s
        weight = math.prod(chance for _, chance in chosen)
        weight *= math.exp(-0.5 * left.ravel() @ inverse @ left.ravel())
        total += weight
        for u, (s, (onsets, _)) in enumerate(zip(shapes, chosen, strict=True)):
            for t in onsets:
                at[t + (len(s) - 1) // 2, u] += weight
    return at / total


@pytest.mark.parametrize("noise", ["white", (0.7,), (0.9, -0.5)])
@pytest.mark.parametrize("refractories", [(3, 2), (2, 4)])
def test_the_posterior_of_two_units_is_that_of_all_configurations(noise, refractories):
    rng = np.random.default_rng(2)
    shapes = [1.4 * rng.normal(size=(3, 2)), 1.1 * rng.normal(size=(2, 2))]
    x = rng.normal(size=(8, 2))
    x[2:5] += shapes[0]
    x[3:5] += shapes[1]  # they overlap
    rates = 0.15, 0.08
    expected = posterior_by_enumeration(x, shapes, noise, rates, refractories)
    got = posterior(x, shapes, noise, rates, refractories, NEAR)
    np.testing.assert_allclose(got, expected, atol=1e-9)
    assert got.shape == (8, 2)
    turned = posterior(x, shapes[::-1], noise, rates[::-1], refractories[::-1], NEAR)
    np.testing.assert_allclose(turned, expected[:, ::-1], atol=1e-9)
    several = posterior(np.stack([-x, x]), shapes, noise, rates, refractories, NEAR)
    np.testing.assert_allclose(several[1], expected, atol=1e-9)


def test_units_on_channels_of_their_own_do_not_know_of_each_other():
    one = simulate(3_000, rate=0.02, dprime=3, noise=[0.5], rng=0)
    other = simulate(
        3_000, rate=0.01, dprime=2, template=waveform("ricker", 15), noise=[0.5], rng=1
    )
    shapes = [one.template[:, None] * [1, 0], other.template[:, None] * [0, 1]]
    both = posterior(np.concatenate([one.x, other.x], 2), shapes, [0.5], [0.02, 0.01])
    assert both.shape == (1, 3_000, 2)
    for u, (r, rate) in enumerate([(one, 0.02), (other, 0.01)]):
        alone = posterior(r.x, r.template, [0.5], rate)
        np.testing.assert_allclose(both[..., u : u + 1], alone, atol=1e-9)


def test_a_list_of_one_template_is_that_template():
    r = simulate(600, rate=0.02, dprime=4, template=waveform()[:, None] * [1, 0.5], rng=0)
    alone = posterior(r.x[0], r.template, "white", 0.02)
    np.testing.assert_array_equal(posterior(r.x[0], [r.template], "white", 0.02)[:, 0], alone)
    nested = posterior(r.x[0], r.template.tolist(), "white", 0.02)  # rows, not templates
    np.testing.assert_array_equal(nested, alone)


def test_the_posterior_of_two_units_is_calibrated():
    shapes = [waveform("biphasic", 13), waveform("ricker", 13)]
    made = [
        simulate(200, rate=0.04, dprime=2.5, template=s[:, None] * gains, n_series=60, rng=u)
        for u, (s, gains) in enumerate(zip(shapes, ([1, 0.7], [0.7, 1]), strict=True))
    ]
    alone = simulate(200, rate=0, dprime=2.5, template=made[1].template, n_series=60, rng=1)
    x = made[0].x + made[1].x - alone.x  # the same draws of noise
    y = np.concatenate([r.y for r in made], axis=2).ravel()
    p = posterior(x, [r.template for r in made], "white", 0.04).ravel()
    for low, high in [(0, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1)]:
        inside = (low <= p) & (p < high + (high == 1))
        error = math.sqrt((p * (1 - p))[inside].sum()) / inside.sum()
        assert y[inside].mean() == pytest.approx(p[inside].mean(), abs=4 * error)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"template": [np.ones((5, 2)), np.ones((5, 3))]}, "on the same channels, got shapes"),
        ({"template": [np.ones((5, 2)), np.ones(5)]}, "on the same channels, got shapes"),
        ({"template": [np.ones((5, 2)), np.ones((60, 2))]}, "as long as the template's 60 samples"),
        ({"template": [np.ones((80, 2))] * 2, "x": np.zeros((90, 2)), "rate": 0.001},
         "more than 5,000 hidden states. The states of all"),
        ({"rate": [0.01] * 3}, r"rate must be one for all .* each of 2, got shape \(3,\)"),
        ({"refractory": [5]}, r"refractory must be one for all .* got shape \(1,\)"),
        ({"rate": [0.01, 0.3]}, "rate must be below 1 / refractory"),
        ({"x": np.zeros((50, 3))}, r"x must be \(length, 2\)"),
    ],
)  # fmt: skip
def test_what_has_no_posterior_is_refused(change, words):
    given = {"x": np.zeros((50, 2)), "template": [np.ones((5, 2))] * 2, "noise": "white"}
    given |= {"rate": 0.01}
    with pytest.raises(ValueError, match="posterior: .*" + words):
        posterior(**(given | change))


def test_a_network_tells_two_units_apart():
    lengths = {"train": 200_000, "valid": 20_000, "test": 20_000}
    rows, overlap = two_units.measure(1, "white", 5, lengths=lengths, epochs=(6, 16))
    assert overlap > 0.5
    exact, linear, deep = (np.array(rows[k]) for k in ("exact", "one layer", "four layers"))
    assert (deep[:2] > exact[:2] - 0.1).all()
    assert (deep[:2] < exact[:2] + 0.02).all()
    assert (deep[:2] > linear[:2] + 0.02).all(), "one layer cannot subtract the other unit"
    assert exact[2] < deep[2] < 0.15 < linear[2]
