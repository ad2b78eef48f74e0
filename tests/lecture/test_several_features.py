"""Three kernels of one layer learn three shapes, and name them nearly as well as Bayes' rule."""

import itertools

import numpy as np
import pytest

import tinynn as tnn

SEEDS = range(5)
PAIRS = list(itertools.combinations(range(3), 2))


@pytest.fixture(scope="module")
def lesson(example):
    return example("several_features")


@pytest.fixture(scope="module")
def learned(lesson):
    """A layer trained for a second, with a recording to choose a threshold and one to test."""
    rng = np.random.default_rng(0)
    layer = lesson.trained(lesson.mixed(80, rng), rng)
    return layer, lesson.mixed(60, rng), lesson.mixed(150, rng)


def test_the_weights_are_one_array_of_taps_channels_and_features(learned):
    layer, _, test = learned
    assert layer.kernel.shape == (25, 1, 3)
    maps = tnn.predict(layer, test.x)
    assert maps.shape == (150, 1000, 3)
    for k in range(3):  # each map is what its own kernel gives alone
        alone = tnn.conv1d(test.x, layer.kernel.data[:, :, [k]], padding="same")
        np.testing.assert_allclose(maps[..., [k]], alone + layer.bias.data[k], atol=2e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_spike_is_added_at_its_time_with_its_shape(lesson, seed):
    made = lesson.mixed(5, np.random.default_rng(seed))
    bare = tnn.spikes.simulate(
        lesson.LENGTH, n_series=5, rate=lesson.RATE, dprime=0, rng=np.random.default_rng(seed)
    )
    for i, times in enumerate(made.times):
        assert np.array_equal(np.flatnonzero(made.kinds[i]), times)
        spikes = np.zeros(lesson.LENGTH)
        for t in times:
            spikes[t - 12 : t + 13] += lesson.shapes()[made.kinds[i, t] - 1]
        np.testing.assert_allclose(made.x[i, :, 0] - bare.x[i, :, 0], spikes, atol=2e-6)


def test_one_layer_and_a_softmax_give_the_posterior_of_bayes(lesson):
    rng = np.random.default_rng(0)
    window = rng.normal(size=25) + lesson.shapes()[1] / 2
    means = np.vstack([np.zeros(25), lesson.shapes()])
    rate = lesson.RATE / 3
    weights = np.array([1 - lesson.RATE, rate, rate, rate])
    weights *= np.exp(-0.5 * np.sum((window - means) ** 2, axis=1))
    maps = lesson.told(window[None, :, None])[0, 12]
    found = tnn.softmax(lesson.logits(maps))
    np.testing.assert_allclose(found, weights / weights.sum(), rtol=1e-12)


def test_samples_beside_a_spike_are_not_counted(lesson):
    kinds = np.zeros((1, 9), int)
    kinds[0, 4] = 2
    target = lesson.marked(kinds)
    assert target.tolist() == [[0, 0, -1, -1, 2, -1, -1, 0, 0]]
    maps = np.random.default_rng(0).normal(size=(1, 9, 3))
    changed = maps.copy()
    changed[0, [2, 3, 5, 6]] += 5
    assert lesson.loss(maps, target) == lesson.loss(changed, target)
    changed[0, 1] += 5
    assert lesson.loss(maps, target) != lesson.loss(changed, target)


@pytest.mark.parametrize("seed", SEEDS)
def test_shapes_are_mistaken_as_often_as_theory_says(lesson, seed):
    test = lesson.mixed(300, np.random.default_rng(seed))
    for k, m in PAIRS:
        n = np.isin(test.kinds, (k + 1, m + 1)).sum()
        theory = lesson.mistaken_in_theory(k, m)
        spread = np.sqrt(theory * (1 - theory) / n)
        found = lesson.mistaken(lesson.told(test.x), test, k, m)
        assert abs(found - theory) < 4 * spread + 1e-9
    assert lesson.mistaken_in_theory(0, 1) > 0.003  # A and B are alike enough to see it


def test_each_kernel_learns_its_own_shape(lesson, learned):
    kernels = learned[0].kernel.data[:, 0, :].T
    cosines = kernels @ lesson.shapes().T / np.linalg.norm(kernels, axis=1)[:, None]
    cosines /= lesson.DPRIME
    assert np.array_equal(cosines.argmax(axis=1), [0, 1, 2])
    assert np.all(np.diag(cosines) > 0.88)
    assert np.all(cosines - np.diag(np.diag(cosines)) < 0.75)


def test_the_names_are_nearly_as_right_as_those_of_bayes(lesson, learned):
    layer, validation, test = learned
    tables = {}
    for name, maps_of in (
        ("learned", lambda r: tnn.predict(layer, r.x)),
        ("told", lambda r: lesson.told(r.x)),
    ):
        threshold = lesson.threshold_for(maps_of(validation), validation)
        tables[name] = lesson.confusion(maps_of(test), test, threshold)
    true = [np.sum(test.kinds == k) for k in (1, 2, 3)]
    shares = {}
    for name, table in tables.items():
        assert table[:3].sum(axis=1).tolist() == true  # each true spike is in one column
        assert table[3, 3] == 0
        shares[name] = np.trace(table[:3, :3]) / sum(true)
        assert table[3].sum() < 0.1 * sum(true)
    assert shares["told"] > 0.92
    assert shares["learned"] > shares["told"] - 0.05


def test_confusion_puts_each_event_in_its_place(lesson):
    kinds = np.zeros((1, 200), int)
    kinds[0, [20, 60, 100]] = 1, 2, 3
    recording = lesson.Mixed(np.zeros((1, 200, 1)), kinds, [np.array([20, 60, 100])])
    maps = np.full((1, 200, 3), -9.0)
    maps[0, 21, 0] = maps[0, 60, 0] = maps[0, 150, 2] = 1.0  # right, misnamed, false; C is missed
    assert lesson.confusion(maps, recording, 0.0).tolist() == [
        [1, 0, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 1, 0],
    ]
