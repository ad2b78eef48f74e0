"""Padding: who sees whom, how many outputs there are, and what zeros do to spikes at the ends."""

import argparse

import numpy as np
import pytest

from tinynn import spikes


@pytest.fixture(scope="module")
def lesson(example):
    return example("padding")


SIZES = range(1, 8)


@pytest.mark.parametrize("size", SIZES)
def test_every_output_sees_the_inputs_under_its_window_and_no_others(lesson, size):
    for padding in lesson.PADDINGS:
        seen = lesson.connectivity(padding, size)
        steps = lesson.window_steps(padding, size)
        assert len(seen) == len(steps) == lesson.layer(padding, size).output_length(lesson.SHORT)
        for row, window in zip(seen, steps, strict=True):
            inside = window[(window >= 0) & (window < lesson.SHORT)]
            assert np.flatnonzero(row).tolist() == inside.tolist()


@pytest.mark.parametrize("size", SIZES)
def test_lengths_and_zeros_are_those_of_each_padding(lesson, size):
    def zeros(padding):
        return size - lesson.connectivity(padding, size).sum(axis=1)

    n = lesson.SHORT
    assert zeros("valid").tolist() == [0] * (n - size + 1)
    expected = {
        "same": ((size - 1) // 2, size // 2),
        "same_lower": (size // 2, (size - 1) // 2),
        "causal": (size - 1, 0),
    }
    for padding, ends in expected.items():
        assert len(zeros(padding)) == n
        assert (zeros(padding)[0], zeros(padding)[-1]) == ends


@pytest.mark.parametrize("size", SIZES)
def test_same_lower_is_same_for_odd_kernels_and_one_output_later_for_even_ones(lesson, size):
    same, lower = (lesson.connectivity(p, size) for p in ("same", "same_lower"))
    if size % 2:
        np.testing.assert_array_equal(same, lower)
    else:
        np.testing.assert_array_equal(same[:-1], lower[1:])
        assert not np.array_equal(same, lower)


@pytest.mark.parametrize("size", SIZES)
def test_causal_outputs_see_no_later_input(lesson, size):
    assert not np.triu(lesson.connectivity("causal", size), 1).any()
    if size > 2:
        assert np.triu(lesson.connectivity("same", size), 1).any()


def test_the_series_hold_the_spike_cropped_at_the_ends(lesson):
    clean, spike = lesson.spikes_at_each_location(dprime=1.0), lesson.spike()
    before = (lesson.TAPS - 1) // 2
    np.testing.assert_array_equal(clean[0, : before + 1], spike[before:])
    np.testing.assert_array_equal(clean[-1, -before - 1 :], spike[: before + 1])
    np.testing.assert_array_equal(clean[15, 15 - before : 16 + before], spike)
    assert np.count_nonzero(clean[0]) == np.count_nonzero(clean[-1]) == before + 1


def test_the_kernel_is_the_matched_filter_and_energy_inside_its_efficiency(lesson):
    whole = lesson.spike()
    best = spikes.matched_filter(whole, "white")
    np.testing.assert_allclose(best / np.linalg.norm(best), whole, rtol=0, atol=1e-14)
    # At the ends the kernel is used with its taps outside cut off: the cropped spike itself.
    share = lesson.energy_inside()
    for t, cropped in enumerate(lesson.spikes_at_each_location(dprime=1.0)):
        seen = cropped[cropped > 0]
        assert share[t] == pytest.approx(spikes.dprime(seen, seen, "white") ** 2, abs=1e-12)


def test_the_score_of_a_spike_alone_is_dprime_times_its_energy_inside(lesson):
    clean = lesson.spikes_at_each_location()
    own = np.diag(lesson.score(clean, "same"))
    np.testing.assert_allclose(own, lesson.DPRIME * lesson.energy_inside(), rtol=0, atol=1e-12)


def test_outputs_exist_where_the_padding_puts_them(lesson):
    exists = {p: ~np.isnan(lesson.score(np.zeros(30), p)) for p in lesson.PADDINGS}
    middle, until = np.zeros(30, bool), np.zeros(30, bool)
    middle[6:24], until[:24] = True, True
    np.testing.assert_array_equal(exists["valid"], middle)
    np.testing.assert_array_equal(exists["causal"], until)
    assert exists["same"].all()
    assert exists["same_lower"].all()


@pytest.mark.parametrize("seed", range(5))
def test_recall_and_efficiency_at_every_location_are_those_of_theory(lesson, seed):
    n = 1500
    share = lesson.energy_inside()
    recall, efficiency = lesson.measured("same", np.random.default_rng(seed), n)
    theory = lesson.predicted_recall(share)
    error = np.sqrt(theory * (1 - theory) / n)
    assert (np.abs(recall - theory) < 5 * error).all()
    # The ratio's relative error: 2 sqrt(1 / (n snr^2) + 1 / (2 n)).
    error = 2 * share * np.sqrt(1 / (n * share * lesson.DPRIME**2) + 1 / (2 * n))
    assert (np.abs(efficiency - share) < 5 * error).all()


@pytest.mark.parametrize("seed", range(5))
def test_without_padding_every_spike_at_the_ends_is_missed(lesson, seed):
    rng = np.random.default_rng(seed)
    valid, same, causal = (lesson.measured(p, rng, 300)[0] for p in ("valid", "same", "causal"))
    ends = np.r_[0:6, 24:30]
    assert (valid[ends] == 0).all()
    assert (valid[6:24] > 0.93).all()
    assert (same[np.r_[0:6, 24:28]] > 0.7).all()
    assert (same[:-1] > 0.4).all()
    assert (causal[24:] == 0).all()


def test_an_adapted_threshold_finds_more_where_the_spike_is_cropped(lesson):
    share = lesson.energy_inside()
    fixed, adapted = lesson.predicted_recall(share), lesson.adapted_recall(share)
    cropped = share < 0.999
    assert cropped.sum() >= 6
    assert (adapted[cropped] > fixed[cropped]).all()
    np.testing.assert_allclose(adapted[6:24], fixed[6:24], rtol=0, atol=1e-12)


def test_the_run_prints_the_tables_and_draws(lesson, tmp_path, capsys):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    picture = tmp_path / "padding.png"
    lesson.run(argparse.Namespace(seed=0, quick=True, plot=str(picture)))
    text = capsys.readouterr().out
    assert "same_lower    4        8            -1 to 6             2     1" in text
    assert picture.stat().st_size > 10_000
    plt.close("all")


def test_the_strips_draw_a_cell_for_each_tap_and_hatch_the_zeros(lesson):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    _, ax = plt.subplots()
    lesson.strip(ax, "same")
    hatched = [cell for cell in ax.patches if cell.get_hatch()]
    assert len(ax.patches) == 8 * 4
    assert len(hatched) == 1 + 1 + 2
    plt.close("all")
