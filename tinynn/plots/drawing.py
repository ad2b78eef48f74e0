"""Pictures of recordings, scores and kernels, and the look that all pictures share."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tinynn import _checks as check
from tinynn.nn.convolution import Conv1d
from tinynn.nn.layer import Layer
from tinynn.spikes._arguments import numbers, times
from tinynn.spikes.score import match
from tinynn.spikes.synthetic import Recording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GRAY, BLUE, ORANGE = "#333333", "#999999", "#0072B2", "#D55E00"
SKY, GREEN, PINK, AMBER = "#56B4E9", "#009E73", "#CC79A7", "#E69F00"
MANY = 24  # kernels, up to which each is a line
CYCLE = (ORANGE, BLUE, GREEN, PINK, INK)
STYLES = ("-", "--", "-.", ":")


def figure(rows: int = 1, columns: int = 1, *, height: float = 2.4, **options: Any) -> Any:
    """Return ``(figure, axes)`` in the look of all pictures here, 8 inches wide.

    Parameters
    ----------
    rows : int, default 1
        Panels one below the other.
    columns : int, default 1
        Panels side by side.
    height : float, default 2.4
        The height of a row, in inches.
    **options : object
        Further options of ``plt.subplots``.

    Returns
    -------
    Figure
        The figure.
    Axes or ndarray of Axes
        Its panels, as ``plt.subplots`` returns them.

    Examples
    --------
    >>> page, (above, below) = figure(2)  # doctest: +SKIP
    """
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        error.add_note("tinynn.plots draws with Matplotlib: python -m pip install matplotlib")
        raise

    options = {"figsize": (8, height * rows + 0.3), "layout": "constrained", **options}
    made, axes = plt.subplots(rows, columns, **options)
    for ax in np.ravel(axes):
        _clean(ax)
    return made, axes


def _clean(ax: "Axes") -> "Axes":
    """Take away the frame's upper and right side, and make the letters small."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_fontsize(9)
    return ax


def _own(owner: str, ax: Any, height: float = 2.4) -> "Axes":
    if ax is not None and not hasattr(ax, "plot"):
        raise TypeError(f"{owner}: ax must be one Axes of Matplotlib, got {check.shown(ax)}.")
    return figure(height=height)[1] if ax is None else _clean(ax)


def _title(ax: "Axes", text: str) -> None:
    ax.set_title(text, loc="left", fontsize=10)


def _beside(ax: "Axes", y: float, text: str, color: str) -> None:
    """Write ``text`` in the right margin, at the height of what it names."""
    place = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8}
    ax.annotate(text, (1.004, y), color=color, annotation_clip=False, **place)


def _look(i: int) -> dict[str, Any]:
    return {"color": CYCLE[i % len(CYCLE)], "linestyle": STYLES[i % len(STYLES)]}


def _series(owner: str, name: str, x: Any, series: int = 0, *, finite: bool = True) -> np.ndarray:
    """Return one series (length,) of ``x``: (length,), (length, 1) or (n_series, length, 1)."""
    array = given = numbers(owner, name, x, finite=finite)
    if array.ndim == 3 and series < len(array):
        array = array[series]
    array = array[:, 0] if array.ndim == 2 and array.shape[-1] == 1 else array
    if array.ndim != 1 or not array.size:
        shapes = "(length,), (length, 1) or (n_series, length, 1), length at least 1"
        which = f" and series={series}" if series else ""
        raise ValueError(f"{owner}: {name} must be {shapes}, got shape {given.shape}{which}.")
    return array.astype(float)


def _traces(owner: str, name: str, x: Any, series: int) -> np.ndarray:
    """Return one recording (length, channels) of ``x``."""
    array = numbers(owner, name, x)
    if array.ndim != 3 and not (array.ndim == 2 and 1 < array.shape[1] < len(array)):
        return _series(owner, name, x, series)[:, np.newaxis]
    if not array.size or (array.ndim == 3 and series >= len(array)):
        raise ValueError(
            f"{owner}: {name} must be (n_series, length, channels) with a series {series}, got "
            f"shape {array.shape}."
        )
    return (array[series] if array.ndim == 3 else array).astype(float)


def _stacked(ax: "Axes", x: np.ndarray) -> np.ndarray:
    """Return channels (length, channels) one below the other, and name them beside the axis."""
    n = x.shape[1]
    if n == 1:
        ax.set_ylabel("amplitude")
        return x
    places = -1.05 * (np.ptp(x, axis=0).max() or 1.0) * np.arange(n)
    shown = np.arange(0, n, -(-n // 16))
    ax.set_yticks(places[shown], [str(i) for i in shown])
    ax.set_ylabel("channel")
    return x - np.median(x, axis=0) + places


def recording(
    recording: Recording | ArrayLike, found: ArrayLike | None = None,
    score: ArrayLike | None = None, threshold: float | None = None, ax: "Axes | None" = None, *,
    labels: ArrayLike | None = None, series: int = 0, start: int = 0, stop: int | None = None,
    rate: float | None = None, tolerance: float = 2,
) -> "Axes":  # fmt: skip
    """Draw a recording with its true and found events; with ``score``, that in a panel below.

    Found events without a true one nearby are circled as false alarms, true ones not found as
    missed.

    Parameters
    ----------
    recording : Recording or array_like
        What is drawn. An array is (length,), (length, channels) or (n_series, length, channels).
        Channels stand one below the other, on one scale.
    found : (n_found,) array_like, default None
        Times of found events in samples, whole or not.
    score : (length,), (length, 1) or (n_series, length, 1) array_like, default None
        A detector's score for each sample.
    threshold : float, default None
        A line across the score.
    ax : Axes, default None
        Where to draw; None for a figure of its own.
    labels : (n_labels,) array_like, default None
        Times in samples, in the place of the Recording's true events.
    series : int, default 0
        Which series is drawn, of several.
    start : int, default 0
        The first sample that is drawn.
    stop : int, default None
        The sample behind the last one; None for all.
    rate : float, default None
        Samples per second, for an axis in seconds; None to count samples.
    tolerance : float, default 2
        How far apart a found and a true event may lie, in samples.

    Returns
    -------
    Axes
        Those of the series.

    Raises
    ------
    ValueError
        For shapes that do not fit, times outside the series and NaN.

    Examples
    --------
    >>> from tinynn import spikes
    >>> made = spikes.simulate(2000, rate=0.01, dprime=5, rng=0)
    >>> ax = recording(made, found=made.times[0], stop=500)  # doctest: +SKIP
    >>> ax.figure.savefig("recording.png")  # doctest: +SKIP
    """
    owner = "plots.recording"
    series = check.integer(owner, "series", series, at_least=0)
    given: Any = recording.x if isinstance(recording, Recording) else recording
    x = _traces(owner, "recording", given, series)
    events = _times(owner, "found", found, len(x))
    true = _times(owner, "labels", labels, len(x))
    if true is None and isinstance(recording, Recording):
        true = recording.times[series]
    tolerance = check.real(owner, "tolerance", tolerance, at_least=0)
    per_unit = 1 if rate is None else check.real(owner, "rate", rate, above=0)
    start = check.integer(owner, "start", start, at_least=0)
    stop = len(x) if stop is None else check.integer(owner, "stop", stop, at_least=start + 1)
    if start >= len(x):
        raise ValueError(f"{owner}: start must be below the {len(x)} samples, got {start}.")
    if score is None and threshold is not None:
        raise ValueError(f"{owner}: threshold is drawn across the score, so give score too.")
    window, below = slice(start, min(stop, len(x))), None
    if score is None:
        ax = _own(owner, ax, height=min(2.1 + 0.3 * x.shape[1], 9))
    else:
        values = _series(owner, "score", score, series, finite=False)
        if len(values) != len(x):
            lengths = f"{len(values)} and {len(x)} samples; padding='same' makes it so"
            raise ValueError(f"{owner}: score must be as long as the series, got {lengths}.")
        level = None if threshold is None else check.real(owner, "threshold", threshold)
        tall = min(1.7 + 0.3 * x.shape[1], 6)
        ax, below = figure(2, height=tall, sharex=True)[1] if ax is None else _split(owner, ax)
        _score(below, values, level, events, window, per_unit)
        ax.tick_params(labelbottom=False)
    shown = _stacked(ax, x[window])
    ax.plot(np.arange(window.start, window.stop) / per_unit, shown, color=INK, linewidth=0.7)
    rows = "true" if labels is None else "labels", "found"
    _events(ax, shown, true, events, window, per_unit, tolerance, rows)
    ax.set(xmargin=0.005, ymargin=0.08)
    (below or ax).set_xlabel("time (samples)" if rate is None else "time (s)")
    return ax


def _split(owner: str, ax: "Axes") -> tuple["Axes", "Axes"]:
    """Give the lower half of the place of ``ax`` to new Axes."""
    place = _own(owner, ax).get_subplotspec()
    if place is None:
        raise ValueError(f"{owner}: to draw a score too, ax must come from plt.subplots.")
    upper, lower = place.subgridspec(2, 1)
    ax.set_subplotspec(upper)
    return ax, _clean(ax.figure.add_subplot(lower, sharex=ax))


def _times(owner: str, name: str, given: Any, length: int) -> np.ndarray | None:
    if given is None:
        return None
    events = times(owner, name, given)
    if not ((events >= 0) & (events <= length - 1)).all():
        raise ValueError(f"{owner}: {name} must lie in the series, in 0 to {length - 1}.")
    return events


def _inside(times: np.ndarray, window: slice) -> np.ndarray:
    return times[(times >= window.start) & (times <= window.stop - 1)]


def _events(
    ax: "Axes", x: np.ndarray, true: Any, found: Any, window: slice, per_unit: float, tol: float,
    names: tuple[str, str],
) -> None:  # fmt: skip
    """Draw a row of ticks for the true and one for the found events, below the series."""
    missed, alarms, title = np.zeros(0), np.zeros(0), "Recording"
    if true is not None and found is not None:
        # Matched as a whole: an excerpt's end may part a true event from the found one.
        pairs = match(true, found, tol).pairs
        missed = _inside(np.delete(true, pairs[:, 0]), window)
        alarms = _inside(np.delete(found, pairs[:, 1]), window)
        n, fn, fp = len(_inside(true, window)), len(missed), len(alarms)
        title = f"{n - fn} of {n} events found{' (circled:' if fn or fp else ','} {fn} missed, "
        title += f"{fp} false{')' * bool(fn or fp)}"
    low, span = x.min(), (np.ptp(x) or 1.0) / math.sqrt(x.shape[1])
    rows = ((true, missed, BLUE, 0.12), (found, alarms, ORANGE, 0.28))
    for name, (at, circled, color, depth) in zip(names, rows, strict=True):
        if at is None:
            continue
        tick, ring = {"marker": "|", "mew": 1.8}, {"marker": "o", "fillstyle": "none"}
        for t, look in ((_inside(at, window), tick), (circled, ring)):
            y = np.full(len(t), low - depth * span)
            ax.plot(t / per_unit, y, linestyle="", color=color, ms=9, **look)
        _beside(ax, low - depth * span, name, color)
    _title(ax, title)


def _score(
    ax: "Axes", score: np.ndarray, threshold: Any, found: Any, window: slice, per_unit: float
) -> None:
    t = np.arange(len(score))
    ax.plot(t[window] / per_unit, score[window], color=INK, linewidth=0.7)
    if threshold is not None:
        ax.axhline(threshold, color=ORANGE, linestyle="--", linewidth=1)
        _beside(ax, threshold, "threshold", ORANGE)
    if found is not None:
        at = _inside(found, window)
        ax.plot(at / per_unit, np.interp(at, t, score), "o", color=ORANGE, ms=4, mfc="none")
    ax.set(ylabel="score", xmargin=0.005)
    _title(ax, "Score" if found is None else "Score, and the events found in it (circles)")


def kernels(
    model_or_kernel: Layer | ArrayLike,
    templates: ArrayLike | Mapping[str, ArrayLike] | None = None, ax: "Axes | None" = None, *,
    names: Sequence[str] | None = None, rate: float | None = None,
) -> "Axes":  # fmt: skip
    """Draw kernels tap by tap, each of unit norm, over the templates of what they look for.

    More than 24 kernels are an image, with a row for each template and kernel.

    Parameters
    ----------
    model_or_kernel : Layer, or (kernel_size,) or (kernel_size, channels, filters) array_like
        Of a model its first Conv1d is taken.
    templates : (length,) or (n_templates, length) array_like, or dict by name, default None
        Drawn broad and pale behind the kernels, centred on the centre tap.
    ax : Axes, default None
        Where to draw; None for a figure of its own.
    names : list of str, default None
        One for each kernel.
    rate : float, default None
        Samples per second, for an axis in milliseconds; None to count samples.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        For shapes that do not fit or a model without Conv1d.

    Examples
    --------
    >>> from tinynn import Conv1d
    >>> ax = kernels(Conv1d(1, 3, 9, rng=0))  # doctest: +SKIP
    """
    owner = "plots.kernels"
    taps = _kernel(owner, model_or_kernel)
    lines = taps.reshape(len(taps), -1).T  # one row for each channel of each filter
    labels = _names(owner, names, *taps.shape[1:])
    per_unit = 1 if rate is None else check.real(owner, "rate", rate, above=0) / 1000
    shapes = _templates(owner, templates)
    ax = _own(owner, ax, height=3)

    curves = [*shapes.items(), *zip(labels, lines, strict=True)]
    unit = "samples" if rate is None else "ms"
    if len(lines) > MANY:
        return _image(ax, curves, per_unit, f"from the centre tap ({unit})")
    for i, (name, values) in enumerate(curves):
        look = {**_look(i - len(shapes)), "marker": ".", "markersize": 4, "linewidth": 1.4}
        if i < len(shapes):
            look = {"linestyle": STYLES[i % 4], "linewidth": 6, "alpha": 0.45}
            look["color"] = (SKY, AMBER, GRAY)[i % 3]
        t = (np.arange(len(values)) - (len(values) - 1) // 2) / per_unit
        ax.plot(t, values / (np.linalg.norm(values) or 1), label=name, **look)
    ax.axhline(0, color=GRAY, linewidth=0.5, zorder=0)
    ax.set(xlabel=f"from the centre tap ({unit})", ylabel="weight (unit norm)")
    # Beside the lines if there are many: among them there is no room.
    aside = {"loc": "upper left", "bbox_to_anchor": (1, 1), "ncols": -(-len(curves) // 16)}
    if len(curves) > 1:
        ax.legend(frameon=False, fontsize=8, handlelength=3, **(aside if len(curves) > 4 else {}))
    _title(ax, "Kernel" if len(lines) == 1 else f"{len(lines)} kernels")
    return ax


def _image(ax: "Axes", curves: list[tuple[str, np.ndarray]], per_unit: float, along: str) -> "Axes":
    """Draw many kernels as the rows of an image, centred on each other."""
    longest = max(len(values) for _, values in curves)
    rows = np.zeros((len(curves), longest))
    for row, (_, values) in zip(rows, curves, strict=True):
        start = (longest - 1) // 2 - (len(values) - 1) // 2
        row[start : start + len(values)] = values / (np.linalg.norm(values) or 1)
    left, most = -((longest - 1) // 2), np.abs(rows).max()
    place = (left - 0.5) / per_unit, (left + longest - 0.5) / per_unit, len(rows) - 0.5, -0.5
    how = {"aspect": "auto", "cmap": "RdBu_r", "interpolation": "nearest"}
    drawn = ax.imshow(rows, extent=place, vmin=-most, vmax=most, **how)
    every = -(-len(rows) // 32)
    ax.set_yticks(range(0, len(rows), every), [name for name, _ in curves[::every]], fontsize=7)
    ax.set_xlabel(along)
    ax.figure.colorbar(drawn, ax=ax, label="weight (unit norm)")
    _title(ax, f"{len(rows)} kernels")
    return ax


def _kernel(owner: str, model_or_kernel: Any) -> np.ndarray:
    if isinstance(model_or_kernel, Layer):
        found = [x for _, x in model_or_kernel.named_layers() if isinstance(x, Conv1d)]
        if not found:
            raise ValueError(f"{owner}: the model has no Conv1d layer. Give a kernel instead.")
        model_or_kernel = found[0].kernel
    kernel = numbers(owner, "the kernel", model_or_kernel)
    if kernel.ndim not in (1, 3) or not kernel.size:
        shapes = "(kernel_size,) or (kernel_size, channels, filters)"
        raise ValueError(f"{owner}: the kernel must be {shapes}, got shape {kernel.shape}.")
    return kernel.reshape(len(kernel), 1, 1) if kernel.ndim == 1 else kernel


def _names(owner: str, names: Any, channels: int, filters: int) -> list[str]:
    n = channels * filters
    if names is None:
        channel = [f", channel {c}" * (channels > 1) for c in range(channels)]
        names = [f"kernel {f}{c}" if n > 1 else "kernel" for c in channel for f in range(filters)]
    if isinstance(names, str) or np.shape(names) != (n,):
        raise ValueError(f"{owner}: names must be a list of {n}, got {check.shown(names)}.")
    return [str(name) for name in names]


def _templates(owner: str, templates: Any) -> dict[str, np.ndarray]:
    if templates is not None and not isinstance(templates, Mapping):
        given = numbers(owner, "templates", templates)
        rows = [given] if given.ndim < 2 or not given.size else given
        templates = {f"template{f' {i}' * (len(rows) > 1)}": row for i, row in enumerate(rows)}
    return {str(name): _series(owner, str(name), t) for name, t in (templates or {}).items()}
