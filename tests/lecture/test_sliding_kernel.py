"""One kernel sliding: neighbourhood, dot product, feature map; the same weights everywhere."""

import argparse

import numpy as np
import pytest

import tinynn as tnn


@pytest.fixture(scope="module")
def lesson(example):
    return example("sliding_kernel")


@pytest.fixture(params=[3, 5])
def kernel(request, lesson):
    return lesson.KERNELS[request.param]


def options(**given):
    default = {"seed": 0, "quick": False, "plot": None, "position": 9, "kernel_size": 3}
    return argparse.Namespace(**{**default, "animate": None, **given})


def test_a_neighbourhood_is_centred_on_its_location_with_zeros_beyond_the_ends(lesson):
    x = np.array([1.0, 2.0, 3.0, 4.0])
    seen = [lesson.neighbourhood(x, 3, j).tolist() for j in range(4)]
    assert seen == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]]
    assert lesson.neighbourhood(x, 5, 0).tolist() == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_the_layer_computes_the_dot_product_at_every_location(lesson, kernel, seed):
    x = lesson.series(np.random.default_rng(seed))
    y = lesson.feature_map(x, kernel)
    assert y.shape == x.shape == (lesson.LENGTH,)
    np.testing.assert_allclose(y, lesson.by_hand(x, kernel), rtol=0, atol=1e-14)
    np.testing.assert_allclose(y, np.convolve(x, kernel[::-1], "same"), rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", range(20))
def test_the_two_highest_entries_of_the_feature_map_are_the_spikes(lesson, kernel, seed):
    y = lesson.feature_map(lesson.series(np.random.default_rng(seed)), kernel)
    assert tuple(np.sort(np.argsort(y)[-2:])) == lesson.TIMES


def test_the_location_of_an_output_is_the_input_under_its_centre_tap(lesson, kernel):
    positions = lesson.convolution(kernel).output_positions(lesson.LENGTH)
    assert positions.tolist() == list(range(lesson.LENGTH))


@pytest.mark.parametrize("seed", range(5))
def test_a_shift_of_the_input_shifts_the_map_of_shared_weights_only(lesson, kernel, seed):
    rng = np.random.default_rng(seed)
    x = lesson.series(rng)
    dense = lesson.dense(lesson.LENGTH, rng)
    for shift in range(1, 10):
        margin = len(kernel) // 2
        assert lesson.shift_error(lambda v: lesson.feature_map(v, kernel), x, shift, margin) < 1e-14
        assert lesson.shift_error(dense, x, shift, margin) > 0.1


def test_the_table_shows_what_is_computed(lesson, capsys):
    x = np.array([1.0, 2.0, 3.0])
    lesson.show(x, lesson.KERNELS[3], [1])
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert [float(cell) for cell in row] == [1, 1, 2, 3, 0.5, 2, -1.5, 1, 1]


def test_the_run_reports_the_equality_and_returns_no_animation_unasked(lesson, capsys):
    assert lesson.run(options()) is None
    text = capsys.readouterr().out
    assert "the two highest entries at [8, 21]" in text
    assert "locations in the input: 30, entries in the feature map: 30" in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kernel_size": 4}, "--kernel-size must be 3 or 5, got 4."),
        ({"position": 30}, "--position must be from 0 to 29, got 30."),
        ({"position": -1}, "--position must be from 0 to 29, got -1."),
        ({"animate": "x.mp4"}, "must end in .gif or .html"),
        ({"animate": "/no/such/folder/x.gif"}, "there is no folder"),
    ],
)
def test_wrong_options_are_refused(lesson, wrong, message):
    with pytest.raises(ValueError, match=message):
        lesson.run(options(**wrong))


def test_the_picture_and_the_animation_show_the_same_numbers(lesson, tmp_path, capsys):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    still = tmp_path / "still.png"
    animation = lesson.run(options(plot=str(still), position=8))
    assert still.stat().st_size > 10_000
    x = lesson.series(np.random.default_rng(0))
    y = lesson.feature_map(x, lesson.KERNELS[3])
    figure = lesson.draw(x, lesson.KERNELS[3], 8)
    np.testing.assert_array_equal(figure.axes[2].lines[1].get_ydata(), y[:9])
    assert list(animation.new_frame_seq()) == list(range(lesson.LENGTH))
    assert isinstance(tnn.plots.sliding(x[:4], lesson.KERNELS[3], 0), type(figure))
    plt.close("all")


@pytest.mark.parametrize("name", ["sliding.gif", "sliding.html"])
def test_an_animation_is_saved_with_one_frame_for_each_location(lesson, tmp_path, name):
    plt = pytest.importorskip("matplotlib.pyplot")
    image = pytest.importorskip("PIL.Image")
    plt.switch_backend("Agg")
    lesson.animate(np.array([3.0, -1.0]), lesson.KERNELS[3], str(tmp_path / name))
    if name.endswith(".gif"):
        with image.open(tmp_path / name) as film:
            assert film.n_frames == 2
    else:
        assert (tmp_path / name).read_text(encoding="utf-8").count("data:image/png;base64") == 2
    plt.close("all")
