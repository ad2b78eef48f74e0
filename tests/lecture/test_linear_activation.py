"""Two linear layers are one; with ReLU between them they are more."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn import spikes


@pytest.fixture(scope="module")
def lesson(example):
    return example("linear_activation")


@pytest.fixture(scope="module", params=[0, 4])
def data(request, lesson):
    rng = np.random.default_rng(request.param)
    return rng, *(lesson.either_way(n, rng) for n in (100_000, 50_000, 50_000))


def fitted(lesson, model, training, rng):
    made, x, _ = training
    return lesson.trained(
        model, lesson.windows(x, 500), lesson.windows(lesson.soft_labels(made), 500), 6, rng
    )


def f1(lesson, score, data):
    return lesson.judge(score, *data[2:])[2].f1


@pytest.mark.parametrize("taps", [(7, 4), (1, 5), (6, 1), (1, 1)])
def test_two_linear_layers_equal_their_composed_kernel(lesson, taps):
    rng = np.random.default_rng(0)
    layers = [
        tnn.Conv1d(*channels, n, bias_initializer="random_normal", dtype="float64", rng=rng)
        for channels, n in zip(((2, 3), (3, 4)), taps, strict=True)
    ]
    x = rng.normal(size=(3, 40, 2))
    kernel, bias = lesson.composed(*layers)
    assert kernel.shape == (sum(taps) - 1, 2, 4)
    stacked = tnn.predict(tnn.Sequential(layers), x)
    np.testing.assert_allclose(tnn.conv1d(x, kernel, bias), stacked, rtol=0, atol=1e-12)


def test_one_map_between_is_numpys_convolution_and_one_tap_a_matrix_product(lesson):
    rng = np.random.default_rng(1)
    first, second = (tnn.Conv1d(1, 1, n, dtype="float64", rng=rng) for n in (9, 4))
    expected = np.convolve(first.kernel.data.ravel(), second.kernel.data.ravel())
    kernel, _ = lesson.composed(first, second)
    np.testing.assert_allclose(kernel.ravel(), expected, rtol=0, atol=1e-14)
    first, second = (tnn.Conv1d(*size, 1, dtype="float64", rng=rng) for size in ((5, 4), (4, 2)))
    kernel, _ = lesson.composed(first, second)
    expected = first.kernel.data[0] @ second.kernel.data[0]
    np.testing.assert_allclose(kernel[0], expected, rtol=0, atol=1e-14)


def test_the_stack_and_its_one_layer_agree_up_to_the_ends(lesson):
    model = lesson.stack("linear", np.random.default_rng(2))
    model[0].bias.data[:] = [1.0, -2.0, 3.0, 0.5]
    x = np.random.default_rng(3).normal(size=(2, 60, 1))
    expected = tnn.predict(model, x)
    assert expected.shape == x.shape
    single = lesson.as_one_layer(model)
    np.testing.assert_allclose(tnn.predict(single, x), expected, rtol=0, atol=1e-12)
    for layer in model:  # the other way to add the zeros: they differ in the outer two samples
        layer.padding = "same"
    apart = np.abs(tnn.predict(single, x) - tnn.predict(model, x))[:, :, 0]
    assert apart[:, 2:-2].max() < 1e-12
    assert apart[:, [0, 1, -2, -1]].min() > 1e-6


def test_a_linear_score_falls_for_the_spike_turned_over(lesson):
    rng = np.random.default_rng(5)
    linear, relu = (lesson.stack(name, rng) for name in ("linear", "relu"))
    x = rng.normal(size=(1, 500, 1))
    assert lesson.not_linear(linear, x) < 1e-12
    assert lesson.not_linear(relu, x) > 0.1
    template = lesson.DPRIME * spikes.waveform()
    down, none, up = lesson.response(linear, template, np.array([-1.0, 0.0, 1.0]))
    assert up + down == pytest.approx(2 * none, abs=1e-12)


def test_the_spikes_are_those_of_the_recording_turned_over(lesson):
    made, x, signs = lesson.either_way(20_000, np.random.default_rng(6))
    assert 0.3 < np.mean(signs > 0) < 0.7
    noise = x.copy()
    size = len(made.template)
    for time, sign in zip(made.times[0], signs, strict=True):
        onset = time - (size - 1) // 2
        noise[0, onset : onset + size, 0] -= sign * made.template
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert np.abs(noise).max() < 6


def test_relu_finds_what_no_linear_stack_can(lesson, data):
    rng, training, *_ = data
    template = training[0].template
    linear, relu = (
        fitted(lesson, lesson.stack(name, rng), training, rng) for name in ("linear", "relu")
    )
    assert f1(lesson, lambda x: tnn.predict(relu, x), data) > 0.88
    assert f1(lesson, lambda x: tnn.predict(linear, x), data) < 0.7
    assert f1(lesson, lambda x: lesson.matched(x, template), data) < 0.7
    down, none, up = lesson.response(relu, template, np.array([-1.0, 0.0, 1.0]))
    assert min(down, up) > none + 3  # a V


def test_the_matched_filter_of_either_sign_is_as_good_as_theory_says(lesson, data):
    template = data[1][0].template
    reached = f1(lesson, lambda x: np.abs(lesson.matched(x, template)), data)
    predicted = spikes.predicted_f1(lesson.DPRIME, lesson.RATE / 2, tolerance=lesson.TOLERANCE)
    assert reached == pytest.approx(predicted, abs=0.03)


def test_the_summary_notes_two_linear_maps_in_a_row_and_only_those(lesson):
    rng = np.random.default_rng(7)
    note = "two linear maps in a row"
    assert note in lesson.stack("linear", rng).summary((100, 1))
    assert note not in lesson.stack("relu", rng).summary((100, 1))
