"""Dense does not notice a shuffled series; Conv1d does."""

import numpy as np
import pytest

import tinynn as tnn


@pytest.fixture(scope="module")
def lesson(example):
    return example("order")


@pytest.fixture(scope="module", params=[0, 3])
def runs(request, lesson):
    """Return the permutation, models and losses of the four runs, and unseen series."""
    rng = np.random.default_rng(request.param)
    perm = rng.permutation(lesson.LENGTH)
    x, labels = lesson.with_and_without(1000, rng)
    fresh = lesson.with_and_without(4000, rng)
    return perm, *lesson.four_runs(x, labels, perm, 12, request.param), fresh


@pytest.mark.parametrize("seed", range(5))
def test_permuted_weights_on_permuted_inputs_say_the_same(lesson, seed):
    rng = np.random.default_rng(seed)
    a, b = lesson.identity(rng.normal(size=300), rng.normal(size=300), rng.permutation(300))
    assert abs(a - b) < 1e-12


def test_dense_has_the_same_loss_at_every_step(runs):
    _, _, losses, _ = runs
    ordered, shuffled = losses["Dense"]
    assert ordered.shape == (12, 20)
    np.testing.assert_allclose(ordered, shuffled, rtol=0, atol=1e-12)
    assert ordered[-1].mean() < 0.2 * ordered[0, 0]  # and it does learn


def test_dense_learns_the_permuted_weights(runs):
    perm, models, _, _ = runs
    first, second = (model.kernel.data for model in models["Dense"])
    np.testing.assert_allclose(first[perm], second, rtol=0, atol=1e-12)
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(models["Dense"][0].bias.data, models["Dense"][1].bias.data, 0, 1e-12)


def test_weights_that_start_unpermuted_take_another_way(lesson):
    rng = np.random.default_rng(0)
    x, labels = lesson.with_and_without(200, rng)
    perm, weights = rng.permutation(lesson.LENGTH), rng.normal(scale=0.1, size=lesson.LENGTH)
    ordered = lesson.train(lesson.dense_unit(weights), x, labels, 1, 0.05, 0)
    shuffled = lesson.train(lesson.dense_unit(weights), x[:, perm], labels, 1, 0.05, 0)
    assert np.abs(ordered - shuffled).max() > 1e-2


def test_conv1d_loses_on_the_shuffled_series(lesson, runs):
    perm, models, losses, (fresh, truth) = runs
    ordered, shuffled = (run[-1].mean() for run in losses["Conv1d"])
    assert shuffled > 1.5 * ordered
    right = [
        lesson.accuracy(model, x[:, :, None], truth)
        for model, x in zip(models["Conv1d"], (fresh, fresh[:, perm]), strict=True)
    ]
    assert right[0] > right[1] + 0.04


def test_dense_judges_both_alike_and_as_theory_says(lesson, runs):
    perm, models, _, (fresh, truth) = runs
    first, second = models["Dense"]
    ordered, shuffled = tnn.predict(first, fresh), tnn.predict(second, fresh[:, perm])
    np.testing.assert_allclose(ordered, shuffled, rtol=0, atol=1e-11)
    weights = first.kernel.data[:, 0]
    dprime = weights @ lesson.spike_series() / np.linalg.norm(weights)
    expected = lesson.expected_accuracy(dprime)
    assert lesson.accuracy(first, fresh, truth) == pytest.approx(expected, abs=0.01)


def test_a_neighbourhood_holds_the_whole_spike_only_in_order(lesson):
    spike = lesson.spike_series()
    assert lesson.energy_in_sight(spike, lesson.TAPS) == pytest.approx(1, abs=1e-12)
    assert lesson.energy_in_sight(np.array([3.0, 0, 0, 4.0]), 2) == pytest.approx(16 / 25)
    for seed in range(5):
        shuffled = spike[np.random.default_rng(seed).permutation(lesson.LENGTH)]
        assert lesson.energy_in_sight(shuffled, lesson.TAPS) < 0.95
