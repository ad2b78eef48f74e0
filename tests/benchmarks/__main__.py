"""Benchmarks of tinynn beside PyTorch eager, torch.compile and JAX jit.

From the repository's root, with the peers (torch first, by itself):

    python -m pip install -e ".[peers,plots]"
    python -m tests.benchmarks --markdown benchmarks.md --plot cost.png

A first look takes a minute or two, one size a little longer:

    python -m tests.benchmarks --quick --only tiny,small
    python -m tests.benchmarks --only medium --mode one-core

Every library runs in a process of its own, with the same weights and data; they take turns, in an
order that rotates from round to round, and only one works at a time. A figure is the median over
the rounds, a ratio the median of the rounds' ratios. A row whose losses differ after 10 steps (by
more than 1e-4 of their size) is refused. On one core each process is pinned and has one thread; on
two cores each library chooses its own threading. The cold start, the memory and the busy neighbour
are measured on two cores, the curves and the grid on one. Needs Linux (macOS runs it, unpinned).
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import figure, grid, processes, scaling, speed, tables
from .pool import MODES
from .settings import Settings
from .workloads import SIZES

SECTIONS: dict[str, Callable[[Settings], str]] = {
    "cold": processes.cold,
    "memory": processes.memory,
    "neighbour": processes.neighbour,
    "grid": grid.measure,
}
PARTS = (*SIZES, "inference", *SECTIONS, "scaling")


def options() -> argparse.Namespace:
    """Read the command line; refuse what could not be done before an hour is spent."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = f"some of {','.join(PARTS)} (default: all)"
    parser.add_argument("--only", metavar="A,B", default=",".join(PARTS), help=parts)
    parser.add_argument("--mode", choices=MODES, help="of training and inference (default: both)")
    parser.add_argument("--rounds", type=int, help="turns of each library (default: 9, quick: 3)")
    parser.add_argument("--limit", type=float, default=180, help="seconds to compile (default 180)")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables here, too")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw cost against size")
    parser.add_argument("--quick", action="store_true", help="shorter turns, smaller sizes")
    given = parser.parse_args()
    given.only = given.only.split(",")
    if unknown := set(given.only) - set(PARTS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is unknown; known: {', '.join(PARTS)}")
    if given.rounds is not None and given.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {given.rounds}")
    for path in filter(None, (given.markdown, given.plot)):
        if not path.resolve().parent.is_dir():
            parser.error(f"{path}: there is no folder {path.resolve().parent}")
    if given.plot and "scaling" not in given.only:
        parser.error("--plot draws the curves of 'scaling', which --only leaves out")
    if given.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot: python -m pip install -e '.[plots]'")
    return given


def sections(settings: Settings, only: list[str], plot: Path | None) -> Iterator[str]:
    """Measure one section after the other; yield its tables."""
    for mode in settings.modes:
        if settings.sizes:
            yield speed.training(settings, mode)
        if "inference" in only:
            yield speed.prediction(settings, mode)
    for name, section in SECTIONS.items():
        if name in only:
            yield section(settings)
    if "scaling" in only:
        curves = scaling.measure(settings)
        if plot:
            figure.save(curves, str(plot))
        yield scaling.table(curves)


def footer(settings: Settings, load: str, start: float) -> str:
    """Return what the figures depend on: machine, load, versions, threads."""
    minutes = (time.monotonic() - start) / 60
    versions = ", ".join(f"{name} {version}" for name, version in settings.versions.items())
    parts = [
        f"{tables.machine()}.",
        f"Load average {load} before, {tables.load()} after {minutes:.0f} minutes.",
        f"{versions}. {settings.rounds} rounds.",
    ]
    if settings.idle:
        idle = f"{100 * max(settings.idle):.1f} % of a core"
        parts.append(f"Workers that waited for their turn used at most {idle}.")
    if settings.shares:
        shares = f"{100 * statistics.median(settings.shares):.0f} %"
        least = f"{100 * min(settings.shares):.0f} %"
        parts.append(
            f"Turns on one core got {shares} of it (median; {least} at worst): where that is far "
            "below 100 %, other processes were in the way."
        )
    return " ".join(parts) + "\n"


def main() -> None:
    """Measure, print, write."""
    given = options()
    settings = Settings(
        modes=(given.mode,) if given.mode else tuple(MODES),
        sizes=tuple(size for size in SIZES if size in given.only),
        rounds=given.rounds or (3 if given.quick else 9),
        turn=0.03 if given.quick else 0.3,
        quick=given.quick,
        limit=given.limit,
    )
    load, start, blocks = tables.load(), time.monotonic(), []
    for block in sections(settings, given.only, given.plot):
        print(block, flush=True)
        blocks.append(block)
        if given.markdown:  # after each section: a run that is stopped leaves what it has
            text = "\n".join([*blocks, footer(settings, load, start)])
            given.markdown.write_text(text, encoding="utf-8")
    print(footer(settings, load, start))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
