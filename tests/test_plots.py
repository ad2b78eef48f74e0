"""Pictures: the numbers drawn are the right ones, and wrong input is refused in words."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

import tinynn as tnn
from tinynn import plots, spikes

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Nothing may be shown, what is left open must be drawable (the first of each test is)."""

    def show(*args, **kwargs):
        raise AssertionError("plt.show was called")

    monkeypatch.setattr(plt, "show", show)
    yield
    for number in plt.get_fignums()[:1]:
        plt.figure(number).draw_without_rendering()
    plt.close("all")


@pytest.fixture(scope="module")
def made():
    return spikes.simulate(1200, rate=0.01, dprime=5, n_series=2, rng=0)


@pytest.fixture(scope="module")
def score(made):
    kernel = spikes.matched_filter(made.template, made.noise)[:, None, None]
    return tnn.conv1d(made.x.astype(float), kernel, padding="same")


def given_ax():
    return plt.subplots()[1]


def marks(ax, marker):
    """Return x and y of the lines drawn with a marker."""
    return [(*line.get_data(),) for line in ax.lines if line.get_marker() == marker]


def texts(ax):
    return {text.get_text(): text for text in ax.texts}


def title(ax):
    return ax.get_title(loc="left")


CURVE = spikes.precision_recall([0, 2, 0, 1, 0, 3], [1], tolerance=0, exclusion=1)
DRAW = {
    "recording": lambda ax: plots.recording([1.0, 3.0, 2.0], [1], ax=ax),
    "recording with score": lambda ax: plots.recording([1, 3, 2], [1], [0, 1, 0], 0.5, ax),
    "kernels": lambda ax: plots.kernels([1, 2, 1], [1, 1], ax=ax),
    "history": lambda ax: plots.history({"loss": [3, 2, 1]}, ax),
    "precision_recall": lambda ax: plots.precision_recall(CURVE, ax),
}


# ---------------------------------------------------------------- where it is drawn


@pytest.mark.parametrize("name", DRAW)
def test_it_draws_into_the_ax_given_and_returns_it(name):
    ax = given_ax()
    assert DRAW[name](ax) is ax
    assert ax.lines
    assert plt.get_fignums() == [ax.figure.number]


@pytest.mark.parametrize("name", DRAW)
def test_it_makes_one_figure_of_its_own_eight_inches_wide(name):
    ax = DRAW[name](None)
    assert ax.lines
    assert plt.get_fignums() == [ax.figure.number]
    assert ax.figure.get_size_inches()[0] == 8


@pytest.mark.parametrize("name", DRAW)
def test_every_axis_has_a_name_and_every_panel_a_title(name):
    ax = DRAW[name](None)
    for panel in ax.figure.axes:
        assert panel.get_ylabel()
        assert title(panel)
    assert ax.figure.axes[-1].get_xlabel()


@pytest.mark.parametrize("name", DRAW)
def test_an_ax_that_is_none_is_a_type_error_and_opens_no_figure(name):
    for wrong in ("axes", 3, np.array([None, None])):
        with pytest.raises(TypeError, match=r"^plots\.\w+: ax must be one Axes of Matplotlib, got"):
            DRAW[name](wrong)
    assert plt.get_fignums() == []


def test_several_rows_and_columns_have_the_same_look():
    _, axes = plots.figure(2, 3)
    assert axes.shape == (2, 3)
    assert not any(ax.spines["top"].get_visible() for ax in axes.flat)


@pytest.mark.parametrize("module", ["tinynn", "tinynn.plots"])
def test_importing_it_does_not_import_matplotlib(module):
    code = f"import sys, {module}; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---------------------------------------------------------------- recording


@pytest.mark.parametrize("series", [0, 1])
@pytest.mark.parametrize(("rate", "unit"), [(None, "samples"), (250.0, "s")])
def test_recording_draws_the_excerpt_and_its_events(made, series, rate, unit):
    ax = plots.recording(made, made.times[1], series=series, start=100, stop=900, rate=rate)
    per_unit = rate or 1
    t, x = ax.lines[0].get_data()
    np.testing.assert_array_equal(t, np.arange(100, 900) / per_unit)
    np.testing.assert_array_equal(x, made.x[series, 100:900, 0])
    (true, below), (found, lower) = marks(ax, "|")
    for ticks, times in ((true, made.times[series]), (found, made.times[1])):
        np.testing.assert_array_equal(ticks, times[(times >= 100) & (times < 900)] / per_unit)
    assert x.min() > below.max() > lower.max() > ax.get_ylim()[0]
    assert ax.get_xlabel() == f"time ({unit})"
    assert {"true", "found"} <= set(texts(ax))


def test_recording_circles_misses_and_false_alarms(made):
    true = made.times[0]
    found = np.concatenate([true[2:] + 2, [true[1] + 3]])  # 0 and 1 missed, one is too late
    ax = plots.recording(made, found, tolerance=2)
    (missed, y_true), (alarms, y_found) = marks(ax, "o")
    assert missed.tolist() == true[:2].tolist()
    assert alarms.tolist() == [true[1] + 3]
    ticks = marks(ax, "|")
    assert y_true[0] == ticks[0][1][0]
    assert y_found[0] == ticks[1][1][0]
    n = len(true)
    assert title(ax) == f"{n - 2} of {n} events found (circled: 2 missed, 1 false)"
    assert title(plots.recording(made, true)) == f"{n} of {n} events found, 0 missed, 0 false"


def test_recording_takes_labels_where_it_has_no_truth_or_another(made):
    labels = made.times[0][3:]
    for given in (made, made.x, made.x[0, :, 0]):
        ax = plots.recording(given, made.times[0], labels=labels)
        assert marks(ax, "|")[0][0].tolist() == labels.tolist()
        assert {"labels", "found"} <= set(texts(ax))
        assert "true" not in texts(ax)
        n = len(labels)
        assert title(ax) == f"{n} of {n} events found (circled: 0 missed, 3 false)"
    assert set(texts(plots.recording(made.x, labels=labels))) == {"labels"}


def test_recording_does_not_part_a_pair_at_the_end_of_an_excerpt():
    made = spikes.simulate(300, rate=0.005, dprime=5, rng=3)
    true = made.times[0]
    ax = plots.recording(made, true + 1, start=int(true[0]) + 1, tolerance=2)
    assert "circled" not in title(ax)
    ax = plots.recording(made, true + 1, stop=int(true[0]) + 1, tolerance=2)
    assert title(ax) == "1 of 1 events found, 0 missed, 0 false"


def test_recording_takes_samples_without_truth_in_any_shape(made):
    for x in (made.x[0, :, 0], made.x[0], made.x, tnn.Tensor(made.x[0]), made.x[0, :, 0].tolist()):
        ax = plots.recording(x)
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), made.x[0, :, 0])
        assert title(ax) == "Recording"
    ax = plots.recording(made.x, [7], series=1)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), made.x[1, :, 0])
    assert [x.tolist() for x, _ in marks(ax, "|")] == [[7]]
    assert marks(ax, "o") == [] or not len(marks(ax, "o")[0][0])


def test_recording_without_events_or_variation_can_be_drawn():
    silent = spikes.simulate(100, rate=0, dprime=5, rng=0)
    assert title(plots.recording(silent, [])) == "0 of 0 events found, 0 missed, 0 false"
    plots.recording([2.0], [0])
    plots.recording(np.zeros(5, int), [1, 3], np.zeros(5), 0)


@pytest.mark.parametrize("own", [True, False])
def test_the_score_is_drawn_below_with_its_threshold_and_maxima(made, score, own):
    found = spikes.find_events(score[0], 3.0, exclusion=12)
    ax = plots.recording(made, found, score, 3.0, None if own else given_ax(), start=50, stop=800)
    upper, lower = ax.figure.axes
    assert upper is ax
    t, y = lower.lines[0].get_data()
    np.testing.assert_array_equal(t, np.arange(50, 800))
    np.testing.assert_array_equal(y, score[0, 50:800, 0])
    assert set(lower.lines[1].get_ydata()) == {3.0}
    assert "threshold" in texts(lower)
    ((at, height),) = marks(lower, "o")
    inside = found[(found >= 50) & (found < 800)]
    np.testing.assert_array_equal(at, inside)
    np.testing.assert_allclose(height, score[0, inside, 0], rtol=0, atol=1e-12)
    assert lower.get_xlabel() == "time (samples)"
    assert not upper.get_xlabel()
    ax.figure.draw_without_rendering()
    assert lower.get_position().y1 < upper.get_position().y0


def test_times_between_samples_lie_on_the_score_s_line():
    ax = plots.recording([0.0, 1.0, 2.0, 1.0], [1.5], [0.0, 2.0, 6.0, -np.inf])
    ((at, height),) = marks(ax.figure.axes[1], "o")
    assert (at.tolist(), height.tolist()) == ([1.5], [4.0])


X = np.zeros(50)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: plots.recording("abc"), TypeError, "recording must be an array of real numbers"),
        (lambda r: plots.recording(None), TypeError, "recording must be an array of real numbers"),
        (lambda r: plots.recording(X + 1j), TypeError, "recording must be an array of real"),
        (lambda r: plots.recording([]), ValueError, r"length at least 1, got shape \(0,\)"),
        (lambda r: plots.recording(np.zeros((2, 50))), ValueError, r"got shape \(2, 50\)"),
        (lambda r: plots.recording(np.zeros((2, 0, 3))), ValueError, r"got shape \(2, 0, 3\)"),
        (lambda r: plots.recording([1, np.nan]), ValueError, "recording must be finite, got nan"),
        (lambda r: plots.recording(r, series=2), ValueError, "with a series 2, got shape"),
        (lambda r: plots.recording(r, series=-1), ValueError, "series must be a non-negative"),
        (lambda r: plots.recording(r, series=0.0), TypeError, "series must be a non-negative"),
        (
            lambda r: plots.recording(X, [50]),
            ValueError,
            "found must lie in the series, in 0 to 49",
        ),
        (lambda r: plots.recording(X, [-1, 3]), ValueError, "found must lie in the series"),
        (lambda r: plots.recording(X, labels=[50]), ValueError, "labels must lie in the series"),
        (lambda r: plots.recording(X, labels="all"), TypeError, "labels must be an array of real"),
        (lambda r: plots.recording(X, [[1, 2]]), ValueError, "found must be 1-D"),
        (lambda r: plots.recording(X, [np.nan]), ValueError, "found must be finite"),
        (lambda r: plots.recording(X, "all"), TypeError, "found must be an array of real numbers"),
        (lambda r: plots.recording(X, X > 0), TypeError, "found must be .* got a bool array"),
        (lambda r: plots.recording(X, score=X[:46]), ValueError, "got 46 and 50 samples; padding="),
        (lambda r: plots.recording(X, score=X * np.nan), ValueError, "score must not hold NaN"),
        (lambda r: plots.recording(X, score=True), TypeError, "score must be an array of real"),
        (lambda r: plots.recording(X, threshold=1), ValueError, "give score too"),
        (
            lambda r: plots.recording(X, None, X, "1"),
            TypeError,
            "threshold must be a finite number",
        ),
        (lambda r: plots.recording(X, start=9, stop=9), ValueError, "stop must be .* at least 10"),
        (lambda r: plots.recording(X, start=9, stop=3), ValueError, "stop must be .* at least 10"),
        (lambda r: plots.recording(X, start=50), ValueError, "start must be below the 50 samples"),
        (lambda r: plots.recording(X, start=-1), ValueError, "start must be a non-negative"),
        (lambda r: plots.recording(X, stop=3.5), TypeError, "stop must be a positive integer"),
        (lambda r: plots.recording(X, rate=0), ValueError, "rate must be .* above 0"),
        (lambda r: plots.recording(r, [1], tolerance=-1), ValueError, "tolerance must be"),
    ],
)
def test_recording_refuses_wrong_input_in_words(made, call, error, message):
    with pytest.raises(error, match=r"^plots\.recording: .*" + message):
        call(made)
    assert plt.get_fignums() == []


def test_a_score_needs_an_ax_that_can_be_split():
    ax = plt.figure().add_axes((0.1, 0.1, 0.8, 0.8))
    with pytest.raises(ValueError, match=r"ax must come from plt\.subplots"):
        plots.recording(X, score=X, ax=ax)


# ---------------------------------------------------------------- kernels


@pytest.mark.parametrize("size", [8, 9])
def test_kernels_are_of_unit_norm_and_centred_on_the_centre_tap(size):
    layer = tnn.Conv1d(2, 3, size, rng=0)
    model = tnn.Sequential(tnn.Dense(2, 2, rng=0), layer, tnn.Conv1d(3, 1, 5, rng=0))
    template = np.arange(1.0, 6.0)
    for ax in (plots.kernels(model, template), plots.kernels(layer.kernel, template)):
        broad, *lines = ax.lines[:-1]  # the last one is zero
        assert broad.get_xdata().tolist() == [-2, -1, 0, 1, 2]
        np.testing.assert_allclose(broad.get_ydata(), template / 55**0.5, rtol=1e-12)
        names = [f"kernel {f}, channel {c}" for c in range(2) for f in range(3)]
        assert [line.get_label() for line in lines] == names
        for i, line in enumerate(lines):
            values = layer.kernel.data[:, i // 3, i % 3]
            np.testing.assert_array_equal(line.get_xdata(), np.arange(size) - (size - 1) // 2)
            np.testing.assert_allclose(line.get_ydata(), values / np.linalg.norm(values), rtol=1e-6)


def test_a_kernel_of_zeros_stays_zero_and_milliseconds_are_right():
    ax = plots.kernels(np.zeros(3), rate=500)
    assert ax.lines[0].get_ydata().tolist() == [0, 0, 0]
    assert ax.lines[0].get_xdata().tolist() == [-2, 0, 2]
    assert ax.get_xlabel() == "from the centre tap (ms)"
    assert ax.get_legend() is None


@pytest.mark.parametrize(
    ("templates", "names"),
    [
        ([1, 2, 1], ["template"]),
        ([[1, 2], [3, 4]], ["template 0", "template 1"]),
        ({"spike": [1, 2], "long": np.ones((4, 1))}, ["spike", "long"]),
    ],
)
def test_templates_are_named_in_the_legend(templates, names):
    ax = plots.kernels([1, 2, 1], templates, names=["mine"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*names, "mine"]


def test_many_kernels_are_told_apart_without_colour_and_named_outside_the_axes():
    ax = plots.kernels(np.random.default_rng(0).normal(size=(7, 1, 20)), np.eye(3, 7))
    lines = ax.lines[3:-1]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20
    for pair in pairwise(lines):
        assert len({line.get_linestyle() for line in pair}) == 2
    ax.figure.draw_without_rendering()
    legend = ax.get_legend()
    assert legend.get_window_extent().x0 >= ax.get_window_extent().x1
    assert legend.get_window_extent().x1 <= ax.figure.bbox.x1
    assert legend.get_window_extent().y0 >= ax.figure.bbox.y0
    assert len(legend.get_texts()) == 23


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plots.kernels(tnn.Dense(2, 2)), ValueError, "the model has no Conv1d layer"),
        (lambda: plots.kernels("kernel"), TypeError, "the kernel must be an array of real numbers"),
        (lambda: plots.kernels(np.zeros((3, 2))), ValueError, r"got shape \(3, 2\)"),
        (lambda: plots.kernels([]), ValueError, r"got shape \(0,\)"),
        (lambda: plots.kernels(3.0), ValueError, r"got shape \(\)"),
        (lambda: plots.kernels([1, np.inf]), ValueError, "the kernel must be finite"),
        (lambda: plots.kernels([1, 2], []), ValueError, "template must be"),
        (lambda: plots.kernels([1, 2], "x"), TypeError, "templates must be an array of real"),
        (lambda: plots.kernels([1, 2], [[1], [1, 2]]), TypeError, "templates must be an array"),
        (lambda: plots.kernels([1, 2], {"a": [[1, 2]]}), ValueError, r"a must be \(length,\)"),
        (
            lambda: plots.kernels([1, 2], names="k"),
            ValueError,
            "names must be a list of 1, got 'k'",
        ),
        (lambda: plots.kernels([1, 2], names=["a", "b"]), ValueError, "names must be a list of 1"),
        (lambda: plots.kernels([1, 2], rate=-1), ValueError, "rate must be"),
    ],
)
def test_kernels_refuses_wrong_input_in_words(call, error, message):
    with pytest.raises(error, match=r"^plots\.kernels: .*" + message):
        call()
    assert plt.get_fignums() == []


# ---------------------------------------------------------------- sliding

SERIES = np.random.default_rng(5).normal(size=9)


@pytest.mark.parametrize("padding", ["valid", "same", "same_lower", "causal", 2, (0, 3)])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_sliding_shows_the_window_the_products_and_the_map_of_conv1d(padding, size):
    kernel = np.random.default_rng(size).normal(size=size)
    y = tnn.conv1d(SERIES[:, None], kernel[:, None, None], padding=padding)[:, 0]
    layer = tnn.Conv1d(1, 1, size, padding=padding)
    centre = layer.output_positions(len(SERIES))
    for position in {0, len(y) // 2, len(y) - 1}:
        top, middle, bottom, weight = plots.sliding(SERIES, kernel, position, padding).axes
        steps = centre[position] - (size - 1) // 2 + np.arange(size)
        inside = (steps >= 0) & (steps < len(SERIES))
        seen = np.where(inside, SERIES[np.clip(steps, 0, len(SERIES) - 1)], 0)
        assert top.lines[-1].get_xdata().tolist() == steps[inside].tolist()
        np.testing.assert_array_equal(top.lines[-1].get_ydata(), seen[inside])
        bars = middle.patches
        at = [bar.get_x() + bar.get_width() / 2 for bar in bars]
        np.testing.assert_allclose(at, steps, rtol=0, atol=1e-12)
        heights = [bar.get_height() for bar in bars]
        np.testing.assert_allclose(heights, seen * kernel, rtol=0, atol=1e-14)
        assert sum(heights) == pytest.approx(y[position], abs=1e-12)
        np.testing.assert_array_equal(weight.lines[-1].get_ydata(), kernel)
        so_far, now = bottom.lines[-2:]
        np.testing.assert_array_equal(so_far.get_xdata(), centre[: position + 1])
        np.testing.assert_array_equal(so_far.get_ydata(), y[: position + 1])
        assert (now.get_xdata()[0], now.get_ydata()[0]) == (centre[position], y[position])
        assert f"output {position} is {y[position]:.3g}" in title(bottom)
        zeros = size - inside.sum()
        assert ("padded zero" in title(top)) == bool(zeros)
        plt.close("all")


def test_sliding_marks_the_padded_zeros():
    top = plots.sliding(SERIES, [1, 1, 1, 1], 0).axes[0]
    at, values = next(line.get_data() for line in top.lines if line.get_mfc() == "white")
    assert (at.tolist(), values.tolist()) == ([-1, 9, 10], [0, 0, 0])


def test_sliding_has_the_same_axes_at_all_positions():
    def limits(position):
        page = plots.sliding(SERIES, [1, -2, 1], position)
        page.draw_without_rendering()
        return [(ax.get_xlim(), ax.get_ylim(), ax.get_position().bounds) for ax in page.axes]

    assert limits(0) == limits(8)


def test_the_products_and_the_weights_fit_into_their_axes():
    for scale in (0.01, 1, 100):
        for j in range(3):
            _, middle, _, weight = plots.sliding([scale, -2 * scale, 1], [3, 1, -2], j, "same").axes
            low, high = middle.get_ylim()
            assert all(low < bar.get_height() < high for bar in middle.patches)
            low, high = weight.get_ylim()
            assert (
                (low < weight.lines[-1].get_ydata()) & (weight.lines[-1].get_ydata() < high)
            ).all()
            plt.close("all")


def test_sliding_without_a_position_is_an_animation_over_all_of_them():
    film = plots.sliding(SERIES, [1, 2, 1], padding="valid", interval=40)
    assert isinstance(film, matplotlib.animation.FuncAnimation)
    assert list(film.new_frame_seq()) == list(range(7))
    y = np.convolve(SERIES, [1, 2, 1], "valid")
    bottom = plt.gcf().axes[2]
    for j in (6, 2):  # back too: nothing of a later frame is left
        film._func(j)
        np.testing.assert_allclose(bottom.lines[-2].get_ydata(), y[: j + 1], rtol=0, atol=1e-12)
        assert len(bottom.lines) == 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plots.sliding("x", [1], 0), TypeError, "x must be an array of real numbers"),
        (lambda: plots.sliding([1, np.nan], [1], 0), ValueError, "x must be finite"),
        (lambda: plots.sliding([], [1], 0), ValueError, "x must be"),
        (lambda: plots.sliding(SERIES, [], 0), ValueError, "kernel must be"),
        (lambda: plots.sliding(SERIES, np.ones((3, 2)), 0), ValueError, r"got shape \(3, 2\)"),
        (lambda: plots.sliding(SERIES, [1, 2], 9), ValueError, "position must be below 9 outputs"),
        (lambda: plots.sliding(SERIES, [1, 2], -1), ValueError, "position must be a non-negative"),
        (lambda: plots.sliding(SERIES, [1, 2], 1.5), TypeError, "position must be a non-negative"),
        (lambda: plots.sliding(SERIES, [1, 2], 0, "some"), ValueError, "padding must be one of"),
        (lambda: plots.sliding(SERIES, [1, 2], 0, 1.5), TypeError, "padding must be one of"),
    ],
)
def test_sliding_refuses_wrong_input_in_words(call, error, message):
    with pytest.raises(error, match=r"^plots\.sliding: .*" + message):
        call()
    assert plt.get_fignums() == []


def test_sliding_says_so_if_no_window_fits():
    with pytest.raises(ValueError, match="the input has 2 steps"):
        plots.sliding([1, 2], [1, 2, 3], 0, "valid")


# ---------------------------------------------------------------- history


def test_history_draws_each_curve_against_the_epoch_from_one():
    seen = tnn.History({"loss": [4.0, 2.0, 1.0], "val_loss": [5.0, 3.0, 2.0]})
    ax = plots.history(seen)
    for line, (name, curve) in zip(
        ax.lines, {"training": [4, 2, 1], "validation": [5, 3, 2]}.items(), strict=True
    ):
        assert line.get_xdata().tolist() == [1, 2, 3]
        assert line.get_ydata().tolist() == curve
        assert line.get_label() == name
    assert len({line.get_linestyle() for line in ax.lines}) == 2
    assert ax.get_yscale() == "log"


def test_history_takes_several_trainings_and_a_linear_axis_where_the_logarithm_fails():
    gaps = plots.history(tnn.History({"loss": [3.0, 2.0, 1.0], "f1": [0.5, np.nan, 0.7]}))
    assert gaps.lines[1].get_xydata().tolist() == [[1, 0.5], [3, 0.7]]
    assert gaps.get_yscale() == "log"
    ax = plots.history({"Dense": tnn.History({"loss": [1.0, 0.5]}), "Conv1d": [1.0, 0.0]})
    assert [line.get_label() for line in ax.lines] == ["Dense", "Conv1d"]
    assert ax.lines[0].get_ydata().tolist() == [1.0, 0.5]
    assert ax.get_yscale() == "linear"
    assert plots.history({"loss": [2.0, 1.0]}, log=False).get_yscale() == "linear"


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 40, 1000])
def test_epochs_are_whole_numbers(epochs):
    ax = plots.history({"loss": np.linspace(2, 1, epochs)})
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    shown = [t for t in ax.get_xticks() if low <= t <= high]
    assert shown
    assert all(t == round(t) for t in shown)


@pytest.mark.parametrize("ratio", [1.001, 1.5, 4, 100, 1e6])
def test_the_logarithmic_axis_has_names_at_every_range(ratio):
    ax = plots.history({"loss": [0.69, 0.69 / ratio]})
    ax.figure.draw_without_rendering()
    low, high = ax.get_ylim()
    shown = [t.get_text() for t in ax.get_yticklabels() if low <= t.get_position()[1] <= high]
    assert len([text for text in shown if text]) >= 2
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plots.history("loss"), TypeError, "history must be a History or dict, got 'loss'"),
        (lambda: plots.history([1, 2]), TypeError, "history must be a History or dict"),
        (lambda: plots.history(tnn.History()), ValueError, "history is empty"),
        (lambda: plots.history({"loss": []}), ValueError, "loss must be"),
        (lambda: plots.history({"loss": "x"}), TypeError, "loss must be an array of real numbers"),
        (lambda: plots.history({"loss": [[1, 2]]}), ValueError, r"got shape \(1, 2\)"),
        (lambda: plots.history({"loss": [1, np.nan]}), ValueError, "loss must be finite"),
        (lambda: plots.history({"a": tnn.History()}), ValueError, "a must be"),
        (lambda: plots.history({"loss": [1]}, log=1), TypeError, "log must be True or False"),
    ],
)
def test_history_refuses_wrong_input_in_words(call, error, message):
    with pytest.raises(error, match=r"^plots\.history: .*" + message):
        call()
    assert plt.get_fignums() == []


# ---------------------------------------------------------------- precision and recall


def test_precision_recall_draws_the_curves_and_marks_the_best_f1(made, score):
    curves = {
        name: spikes.precision_recall(s, made.times, tolerance=2, exclusion=12)
        for name, s in {"matched filter": score, "amplitude": made.x}.items()
    }
    ax = plots.precision_recall(curves)
    lines = [line for line in ax.lines if line.get_marker() != "None"]
    for line, (name, curve) in zip(lines, curves.items(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), curve.recall)
        np.testing.assert_array_equal(line.get_ydata(), curve.precision)
        (best,) = line.get_markevery()
        p, r = curve.precision[best], curve.recall[best]
        _, match = spikes.best_threshold(
            score if name == "matched filter" else made.x, made.times, tolerance=2, exclusion=12
        )
        assert 2 * p * r / (p + r) == pytest.approx(match.f1, abs=1e-12)
        assert line.get_label() == f"{name}: best F1 {match.f1:.3f} (marked)"
    assert len({line.get_linestyle() for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == 2
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [line.get_label() for line in lines]


def test_lines_of_equal_f1_are_named_in_the_right_margin_inside_the_figure():
    ax = plots.precision_recall(CURVE)
    ax.figure.draw_without_rendering()
    lines = [line for line in ax.lines if line.get_marker() == "None"]
    assert len(lines) == 5
    for line, f1 in zip(lines, (0.5, 0.6, 0.7, 0.8, 0.9), strict=True):
        recall, precision = line.get_data()
        np.testing.assert_allclose(2 * recall * precision / (recall + precision), f1, rtol=1e-12)
        assert precision.max() <= 1 + 1e-12
        place = texts(ax)[f"F1 = {f1}"].get_window_extent()
        assert place.x0 >= ax.get_window_extent().x1
        assert place.x1 <= ax.figure.bbox.x1


def test_precision_recall_draws_bands_around_their_curves(made):
    at, score = made.times[0], made.x[0]
    how = {"tolerance": 2, "exclusion": 12}
    curve = spikes.precision_recall(score, at, **how)
    band = spikes.precision_recall_band(score, at, n=100, rng=0, **how)
    [drawn] = plots.precision_recall(curve, bands=band).collections
    [path] = drawn.get_paths()
    inside = path.get_extents()
    assert inside.y0 == pytest.approx(band.low.min())
    assert inside.y1 == pytest.approx(band.high.max())
    both = plots.precision_recall({"a": curve, "b": curve}, bands={"b": band})
    assert len(both.collections) == 1
    with pytest.raises(ValueError, match=r"bands must have the names of curves, got \['b'\]"):
        plots.precision_recall({"a": curve}, bands={"b": band})
    with pytest.raises(TypeError, match="bands must be a PrecisionRecallBand or a dict"):
        plots.precision_recall({"a": curve}, bands={"a": curve})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plots.precision_recall("x"), TypeError, "curves must be a PrecisionRecall or"),
        (lambda: plots.precision_recall({}), TypeError, "curves must be a PrecisionRecall or"),
        (
            lambda: plots.precision_recall({"a": 1}),
            TypeError,
            "curves must be a PrecisionRecall or",
        ),
        (
            lambda: plots.precision_recall(
                spikes.precision_recall([0, 1, 0], [], tolerance=0, exclusion=1)
            ),
            ValueError,
            "recall is NaN, for there was nothing to find",
        ),
    ],
)
def test_precision_recall_refuses_wrong_input_in_words(call, error, message):
    with pytest.raises(error, match=r"^plots\.precision_recall: .*" + message):
        call()
    assert plt.get_fignums() == []


def test_channels_are_drawn_one_below_the_other_on_one_scale():
    x = np.random.default_rng(0).normal(size=(2, 300, 5))
    ax = tnn.plots.recording(x, found=[10, 50], series=1, stop=200)
    traces = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 200]
    assert len(traces) == 5
    for c, y in enumerate(traces):
        np.testing.assert_allclose(np.diff(y), np.diff(x[1, :200, c]), atol=1e-9)
    middles = [np.median(y) for y in traces]
    assert (np.diff(middles) < 0).all()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1", "2", "3", "4"]
    with pytest.raises(ValueError, match=r"plots.recording: .*with a series 2, got shape"):
        tnn.plots.recording(x, series=2)


def test_many_kernels_are_an_image():
    model = tnn.Conv1d(4, 8, 9, rng=0)
    ax = tnn.plots.kernels(model, templates={"spike": np.ones(5)})
    (image,) = ax.images
    rows = image.get_array()
    assert rows.shape == (33, 9)
    np.testing.assert_allclose(rows[0], [0, 0, *[1 / np.sqrt(5)] * 5, 0, 0])
    kernel = model.kernel.numpy().reshape(9, -1)
    np.testing.assert_allclose(rows[1:].T, kernel / np.linalg.norm(kernel, axis=0), rtol=1e-5)
