"""How close to the exact posterior one trained linear Conv1d comes, on 1, 4 and 16 channels.

From the repository's root:

    python -m tests.benchmarks.detectors --markdown limit.md
    python -m tests.benchmarks.detectors --quick

Spikes come at .01 a sample, 25 apart at least; the threshold is chosen on one recording of 100,000
samples, and the F1 (tolerance 2) is that of another. Each seed has its own training recording of
400,000 samples (800,000 of 16 channels), its own first weights and its own windows. The whole takes
half an hour on one core, --quick a minute or two: two seeds, d' 4, a quarter of the data for
training.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from . import tables
from .simulated import LENGTHS, cases, measure

HEADER = ("channels", "noise", "d'", "exact", "median", "worst", "largest gap", "efficiency",
          "least efficiency")  # fmt: skip


def row(case, limit, reached):
    """Return a line of the table."""
    f1, efficiency = reached.T
    gap, low, high = limit - f1.min(), np.median(efficiency), efficiency.min()
    figures = [limit, np.median(f1), f1.min(), gap, low, high]
    digits = [f"{figure:.3f}".replace("0.", ".", 1) for figure in figures]
    return [str(case.channels), case.noise, f"{case.dprime:g}", *digits]


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.detectors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="two seeds, d' 4, less data")
    parser.add_argument("--seeds", type=int, help="trainings of each kind (default 10, quick: 2)")
    parser.add_argument("--channels", default="1,4,16", help="some of 1,4,16 (default: all)")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table here, too")
    given = parser.parse_args()
    seeds = range(given.seeds or (2 if given.quick else 10))
    lengths = LENGTHS | ({"train": LENGTHS["train"] // 4} if given.quick else {})
    start, rows = time.monotonic(), []
    wanted = cases(map(int, given.channels.split(",")), (4,) if given.quick else (3, 4, 5))
    for case in wanted:
        rows.append(row(case, *measure(case, seeds, lengths)))
        print("  ".join(rows[-1]), flush=True)
        minutes = (time.monotonic() - start) / 60
        note = f"{len(seeds)} seeds, {minutes:.0f} minutes, {tables.machine()}."
        table = tables.markdown("One trained kernel beside the exact posterior", HEADER, rows, note)
        if given.markdown:  # after each row: a run that is stopped leaves what it has
            given.markdown.write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
