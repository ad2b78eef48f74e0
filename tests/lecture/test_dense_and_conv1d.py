"""A Dense unit knows one place; a small kernel, slid, knows them all."""

import numpy as np
import pytest

import tinynn as tnn

SHIFTS = np.array([-40, -20, -9, -3, -2, -1, 0, 1, 2, 3, 9, 20, 40])
FAR = np.abs(SHIFTS) >= 2
N = 2000


@pytest.fixture(scope="module")
def lesson(example):
    return example("dense_and_conv1d")


@pytest.fixture(scope="module", params=[0, 3])
def trained(request, lesson):
    rng = np.random.default_rng(request.param)
    x, labels = lesson.training_series(2000, rng)
    layers = lesson.trained_dense(x, labels, 20, rng), lesson.trained_conv1d(x, labels, 10, rng)
    measured = lesson.measure(*layers, SHIFTS, N, rng)
    return *layers, measured, lesson.predict(*layers, SHIFTS, measured["threshold"])


def test_the_dprime_of_ideal_weights_is_the_autocorrelation(lesson):
    by_weights = [lesson.dprime_of_weights(lesson.placed(0), s) for s in range(-43, 44)]
    closed_form = [lesson.dprime_of_template(s) for s in range(-43, 44)]
    np.testing.assert_allclose(by_weights, closed_form, rtol=0, atol=1e-12)
    assert lesson.dprime_of_template(0) == pytest.approx(lesson.DPRIME, abs=1e-12)
    assert max(closed_form[:43] + closed_form[44:]) < 0.7 * lesson.DPRIME


def test_a_unit_and_a_kernel_have_as_many_parameters_as_inputs_that_they_see(lesson, trained):
    dense, conv1d, *_ = trained
    assert lesson.parameters(dense) == 101 + 1
    assert lesson.parameters(conv1d) == 15 + 1


@pytest.mark.parametrize("name", ["dense", "conv1d"])
def test_the_measured_dprime_is_that_of_theory(trained, name):
    *_, measured, theory = trained
    error = np.sqrt(1 / N + 1 / (8 * N) + theory[name] ** 2 / (16 * N))
    assert (np.abs(measured[name] - theory[name]) < 5 * error).all()


def test_dense_loses_a_spike_that_moves(trained):
    *_, measured, theory = trained
    for found in (measured["dense"], theory["dense"]):
        assert found[SHIFTS == 0] > 4.3
        assert (found[FAR] < 1.3).all()
    assert measured["dense found"][SHIFTS == 0] > 0.97
    assert (measured["dense found"][FAR] < 0.2).all()


def test_conv1d_sees_it_everywhere_alike(trained):
    *_, measured, theory = trained
    assert (measured["conv1d"] > 4.7).all()
    assert np.ptp(measured["conv1d"]) < 0.3
    assert (measured["conv1d found"] > theory["conv1d found"] - 0.03).all()  # there or elsewhere
    assert np.ptp(measured["conv1d found"]) < 0.06


def test_at_the_one_place_that_dense_knows_it_finds_more(trained):
    *_, measured, _ = trained
    at = SHIFTS == 0
    assert measured["dense found"][at] > measured["conv1d found"][at] + 0.03


def test_the_scores_of_conv1d_move_with_the_spike(lesson, trained):
    _, conv1d, *_ = trained
    still, moved = (
        tnn.predict(conv1d, lesson.placed(shift)[None, :, None])[0, :, 0] for shift in (0, 7)
    )
    np.testing.assert_allclose(moved[7:], still[:-7], rtol=0, atol=1e-5)
