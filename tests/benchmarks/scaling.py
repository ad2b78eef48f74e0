"""Cost against size: batch, length and depth over three decades each."""

import math

import numpy as np

from . import columns, tables
from .pool import Row
from .settings import Settings
from .workloads import Spec, training

Curves = dict[str, dict[int, Row]]  # axis -> size -> times

AXES = {
    "batch": "(n, 256, 1-8-1)",
    "length": "(4, n, 1-8-1)",
    "depth": "(4, 256, 1-8-...-8-1), n layers of 8 filters",
}
# PyTorch's compiler takes minutes for deep stacks; JAX's is tried, within the limit.
DEEPEST = {"torch.compile": 30}
SLOWEST = "torch.compile"  # left out of a first look: it compiles for seconds at every point


def workload(axis: str, n: int) -> Spec:
    """Return the training step of size n along an axis."""
    if axis == "batch":
        return training(n, 256, (1, 8, 1))
    if axis == "length":
        return training(4, n, (1, 8, 1))
    return training(4, 256, (1, *[8] * n, 1))


def points(axis: str, quick: bool) -> list[int]:
    """Return sizes over three decades, two each; for a first look over one and a half."""
    first = 100 if axis == "length" else 1
    return [first * n for n in (1, 3, 10, 30, 100, 300, 1000)][: 4 if quick else None]


def measure(settings: Settings) -> Curves:
    """Measure all curves on one core; a library that fails at a size is not asked for more."""
    curves: Curves = {}
    rounds, turn = min(settings.rounds, 5), settings.turn / 2
    for axis in AXES:
        curves[axis] = {}
        with settings.pool(columns.TRAINING, "one-core") as pool:
            failed = {SLOWEST} if settings.quick else set()
            for n in points(axis, settings.quick):
                late = {c for c, most in DEEPEST.items() if axis == "depth" and n > most}
                skipped = pool.workers.keys() & (failed | late)
                names = [c for c in pool.workers if c not in skipped]
                row = pool.measure(workload(axis, n), rounds=rounds, turn=turn, names=names)
                failed |= row.notes.keys() - pool.missing.keys()
                row.notes |= dict.fromkeys(skipped, "left out, its compilation takes too long")
                curves[axis][n] = row
            settings.note(pool)
    return curves


def slope(curve: dict[int, float]) -> float | None:
    """Return the slope of log(time) over log(size): 1 is linear."""
    if len(curve) < 2:
        return None
    x, y = zip(*((math.log(n), math.log(t)) for n, t in curve.items()), strict=True)
    return float(np.polyfit(x, y, 1)[0])


def curve(curves: Curves, axis: str, column: str) -> dict[int, float]:
    """Return a library's times by size."""
    rows = curves[axis].items()
    return {n: row.median(column) for n, row in rows if row.times.get(column)}


def table(curves: Curves) -> str:
    """Return the times, and slopes over everything and over the last decade."""
    blocks = []
    for axis, rows in curves.items():
        lines = [
            [f"{n:,}", *(tables.cell(row, c) for c in columns.TRAINING)] for n, row in rows.items()
        ]
        for name, first in (("slope", 0), ("slope, last decade", max(rows) / 10)):
            found = [
                slope({n: t for n, t in curve(curves, axis, c).items() if n >= first})
                for c in columns.TRAINING
            ]
            lines.append([name, *map(tables.times, found)])
        title = f"Cost against {axis}, one core: {AXES[axis]}"
        reasons = tables.remarks({f"{n:,}": row for n, row in rows.items()})
        blocks.append(tables.markdown(title, ["", *columns.TRAINING], lines, reasons))
    note = "\nSlope of log time over log size: 1 is linear, below 1 a fixed cost still counts.\n"
    return "\n".join(blocks) + note
