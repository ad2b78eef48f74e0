"""What the examples share: the command line, labels, windows, training, tables, pictures."""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tinynn as tnn

# Shades that stay apart for colour-blind eyes and in print (Okabe and Ito 2008).
INK, BLUE, ORANGE, SKY = "#333333", "#0072B2", "#D55E00", "#56B4E9"
PICTURES = (".png", ".pdf", ".svg")


def soft_labels(y, sides=(0.5,)):
    """Return targets that also credit the samples next to an event's centre.

    ``y``: (series, length, 1) with 1 at each centre; ``sides``: the credit 1, 2, ... samples away.
    A hard 0/1 label punishes a detector for being one sample off, which noise often makes it.
    """
    soft = y.copy()
    for distance, credit in enumerate(sides, start=1):
        soft[:, distance:] = np.maximum(soft[:, distance:], credit * y[:, :-distance])
        soft[:, :-distance] = np.maximum(soft[:, :-distance], credit * y[:, distance:])
    return soft


def windows(series, size):
    """Cut (series, length, 1) into (pieces, size, 1); what is left over at the end is dropped."""
    n = series.shape[1] // size
    return series[:, : n * size].reshape(-1, size, 1)


def train(model, x, y, *, epochs, learning_rate, batch_size=16, rng=None):
    """Train on windows with momentum: two thirds of the epochs, then a third at a fifth the rate.

    Returns the loss of every epoch.
    """
    if epochs < 1:
        raise ValueError(f"--epochs must be at least 1, got {epochs}.")

    def loss(prediction, target):
        return tnn.losses.binary_crossentropy(prediction, target, from_logits=True)

    optimizer = tnn.SGD(model.parameters(), learning_rate, momentum=0.9)
    losses = []
    for stage in (epochs - epochs // 3, epochs // 3):
        if stage:
            history = tnn.fit(
                model,
                x,
                y,
                loss=loss,
                optimizer=optimizer,
                epochs=stage,
                batch_size=batch_size,
                rng=rng,
            )
            losses += history.history["loss"]
        optimizer.learning_rate = learning_rate / 5
    return losses


def table(rows):
    """Print (name, Match) rows: precision, recall and F1."""
    print(f"{'':34s}precision  recall     F1")
    for name, match in rows:
        print(f"{name:34s}{match.precision:9.3f}{match.recall:8.3f}{match.f1:7.3f}")


def command_line(doc: str | None, **text: str) -> argparse.ArgumentParser:
    """Return a parser with what every example takes: ``--seed``, ``--quick`` and ``--plot``.

    ``text`` may replace the help of ``quick`` or ``plot``.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick = text.get("quick", "less data and fewer epochs, for a first look")
    plot = text.get("plot", "save a picture (needs the extra 'plots')")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--plot", metavar="FILE", help=plot)
    return parser


def start(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], Any]) -> Any:
    """Parse the command line and run; what a person gave wrong is a usage error, no traceback."""
    options = parser.parse_args()
    with plain_errors(parser):
        check_outputs(plot=options.plot)
        return run(options)


def save(figure: Any, path: str) -> None:
    """Save a Matplotlib figure."""
    figure.savefig(path, dpi=150)
    print(f"picture: {path}")


def check_outputs(*files, plot=None):
    """Refuse files that cannot be written before any work is done for them."""
    for path in filter(None, (*files, plot)):
        if not Path(path).resolve().parent.is_dir():
            raise ValueError(f"{path}: there is no folder {Path(path).resolve().parent}.")
        if Path(path).is_dir():
            raise ValueError(f"{path} is a folder; give the name of a file.")
    if plot and Path(plot).suffix not in PICTURES:
        raise ValueError(f"{plot}: the picture's name must end in .png, .pdf or .svg.")
    if plot and importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    if plot:
        import matplotlib

        matplotlib.use("Agg")  # files only: no window, no display needed


def generator(seed):
    """Return the generator for ``--seed``."""
    if seed < 0:
        raise ValueError(f"--seed must not be negative, got {seed}.")
    return np.random.default_rng(seed)


@contextmanager
def plain_errors(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Show what a person gave wrong as a usage error, not as a traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except ModuleNotFoundError as error:
        extra = {"matplotlib": "plots", "sleepecg": "ecg"}.get(error.name or "", "")
        parser.error(f"{error.name} is not installed: python -m pip install -e '.[{extra}]'")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def figure(
    path,
    *,
    x,
    score,
    threshold,
    true,
    found,
    tolerance,
    kernels,
    losses,
    series_title,
    kernel_title,
    amplitude,
    rate=None,
    true_name="true",
):
    """Save the picture of a detector: series, score, kernels over the template, loss.

    ``x``, ``score``: (length,) excerpts; ``true``, ``found``: event times in them, in samples;
    ``kernels``: (label, line style, values) each; ``rate``: samples a second, None to count
    samples. ``losses`` may be empty.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    plt.rcParams.update(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10}
    )
    page = plt.figure(figsize=(9, 6.5), layout="constrained")
    grid = page.add_gridspec(3, 2, height_ratios=(1.1, 1.1, 1))
    per_unit = rate or 1
    t = np.arange(len(x)) / per_unit
    hits = tnn.spikes.match(true, found, tolerance)

    series = page.add_subplot(grid[0, :])
    series.plot(t, x, color=INK, linewidth=0.7)
    low, high = x.min(), x.max()
    for times, color, name, depth in (
        (true, BLUE, true_name, 0.12),
        (found, ORANGE, "found", 0.26),
    ):
        y = low - depth * (high - low)
        series.plot(times / per_unit, np.full(len(times), y), "|", color=color, ms=9, mew=1.8)
        _beside(series, y, name, color)
    series.set_ylabel(amplitude)
    series.set_title(
        f"{series_title}: {hits.tp} of the {len(true)} here found, {hits.fp} false", loc="left"
    )
    series.margins(x=0.005)

    trace = page.add_subplot(grid[1, :], sharex=series)
    trace.plot(t, score, color=INK, linewidth=0.7)
    trace.axhline(threshold, color=ORANGE, linestyle="--", linewidth=1)
    trace.plot(found / per_unit, score[found], "o", color=ORANGE, ms=4, fillstyle="none")
    _beside(trace, threshold, "threshold", ORANGE)
    trace.set_ylabel("score (log-odds)")
    trace.set_xlabel("time (s)" if rate else "time (samples)")
    trace.set_title("The detector's score, and its maxima above the threshold", loc="left")

    shapes = page.add_subplot(grid[2, 0] if losses else grid[2, :])
    for label, style, values in kernels:
        taps = np.arange(len(values)) - (len(values) - 1) // 2
        taps = taps / rate * 1000 if rate else taps
        shapes.plot(taps, values / np.linalg.norm(values), label=label, **style)
    shapes.set_xlabel("from the centre tap (ms)" if rate else "from the centre tap (samples)")
    shapes.set_ylabel("weight (unit norm)")
    shapes.set_title(kernel_title, loc="left")
    shapes.legend(frameon=False, fontsize=8)

    if losses:
        curve = page.add_subplot(grid[2, 1])
        curve.plot(np.arange(1, len(losses) + 1), losses, color=BLUE, marker=".", lw=1.2)
        curve.set_yscale("log")
        curve.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
        curve.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        curve.yaxis.set_minor_formatter(NullFormatter())
        curve.set_xlabel("epoch")
        curve.set_ylabel("crossentropy")
        curve.set_title("Training loss", loc="left")
    page.savefig(path, dpi=150)
    plt.close(page)
    print(f"picture: {path}")


def _beside(axes, y, text, color):
    """Write a label in the right margin, at the height of what it names."""
    place = {"xycoords": ("axes fraction", "data"), "va": "center"}
    axes.annotate(text, (1.003, y), color=color, **place)
