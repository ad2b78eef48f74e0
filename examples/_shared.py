"""What the examples share: the command line, labels, windows, training, tables, pictures."""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tinynn as tnn

PICTURES = (".png", ".pdf", ".svg")

# Of log-odds with the probabilities ``target``. A partial of a loss of tinynn is replayed by fit.
crossentropy = partial(tnn.losses.binary_crossentropy, from_logits=True)


def soft_labels(recording):
    """Return targets (n_series, length, 1) of a simulated recording, softer than its ``.y``."""
    return np.stack([tnn.spikes.labels(t, recording.y.shape[1]) for t in recording.times])


def windows(series, size):
    """Cut (series, length, 1) into (pieces, size, 1); what is left over at the end is dropped."""
    n = series.shape[1] // size
    return series[:, : n * size].reshape(-1, size, 1)


def train(model, x, y, *, epochs, learning_rate, batch_size=16, **options):
    """Train with momentum, the last third of the epochs at a fifth of the learning rate.

    ``options`` go to ``tnn.fit``. Returns the History.
    """
    if epochs < 1:
        raise ValueError(f"--epochs must be at least 1, got {epochs}.")
    later = (epochs - epochs // 3) * len(tnn.batches(x, y, batch_size))
    rate = tnn.schedules.piecewise({0: learning_rate, later: learning_rate / 5})
    how = {"loss": crossentropy, "epochs": epochs, "batch_size": batch_size, **options}
    return tnn.fit(model, x, y, optimizer=tnn.SGD(model.parameters(), rate, momentum=0.9), **how)


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
        extra = "plots" if error.name == "matplotlib" else "ecg"
        parser.error(f"{error.name} is not installed: python -m pip install -e '.[{extra}]'")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def detector_page(title: str, recording: Any, history: Any = None) -> tuple[Any, Any]:
    """Return the picture of a detector, and the Axes into which its kernel is still to be drawn.

    ``recording``: the arguments of ``tnn.plots.recording``, without ``ax``; its title follows
    ``title``. ``history``: of the training, None if there was none.
    """
    page, axes = tnn.plots.figure(2, 2, height=3.1, gridspec_kw={"height_ratios": (2, 1.1)})
    grid = axes[0, 0].get_gridspec()
    for ax in axes[0]:
        ax.remove()
    top = tnn.plots.recording(ax=page.add_subplot(grid[0, :]), **recording)
    top.set_title(f"{title}: {top.get_title(loc='left')}", loc="left", fontsize=10)
    kernel, curve = axes[1]
    if history is None:
        curve.remove()
        kernel.set_subplotspec(grid[1, :])
    else:
        tnn.plots.history(history, curve)
        curve.set(ylabel="crossentropy")
        curve.set_title("Training", loc="left", fontsize=10)
    return page, kernel
