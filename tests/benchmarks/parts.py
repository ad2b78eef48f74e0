"""What each part of tinynn brings: a training step through fit with everything, and without it.

    python -m tests.benchmarks.parts --markdown parts.md
    python -m tests.benchmarks.parts --only tiny,small --rounds 9

One process, one thread (but for the column of the second one); the variants take turns, in an
order that rotates from round to round. A figure is the median of the rounds' ratios. A part is
taken away by an argument of fit, or by a patch. A row whose losses differ after 10 steps is
refused, and so is one whose programs were built anew.
"""

import argparse
import gc
import platform
import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import tinynn as tnn
from tinynn.replay import step as replayed
from tinynn.training import threads

from . import tables, tinynn_side, workloads
from .pool import Row, disagreement
from .worker import checked, repetitions, seconds
from .workloads import SIZES, Spec, Task

DEFAULT = "small,medium,large,wide,wider"
TURN = 0.15  # seconds a variant runs before the next has its turn; one step at least

ALL, SECOND = "step", "second thread"


class Variant:
    """A step without one part: arguments of fit, or what stands where while it runs."""

    def __init__(self, *patch: Any, sizes: Iterable[str] = SIZES, **options: Any) -> None:
        self.patch, self.sizes, self.options = patch, sizes, {"threads": 1} | options


VARIANTS = {
    ALL: Variant(),
    "replay": Variant(compile=False),
    "padded batches": Variant("tinynn.replay.layout.Layout._is_served", lambda *_: False),
    "block transforms": Variant("tinynn.kernels.choose.best_size", lambda *_: None),
    "chunks": Variant(chunk=None),
    "joint update": Variant(
        "tinynn.training.optimizers.Optimizer._may_join", lambda *_: False, sizes=("tiny", "small")
    ),
    SECOND: Variant(threads=2),
}
NOTE = (
    "Step: one with everything, on one thread. Operations: recorded; calls: what they are replayed "
    "as, for one chunk, without the update. Without padded batches a convolution is the eager one. "
    "Where a part is not used (block transforms of short kernels and few channels, chunks and "
    "threads for a batch that is one chunk) the figure shows the noise."
)


class Run:
    """Training through fit as one variant does it, with a model of its own."""

    def __init__(self, spec: Spec, variant: Variant) -> None:
        self.model, (self.x, self.y) = tinynn_side._model(spec), workloads.series(spec)
        self.optimizer = tnn.SGD(self.model.parameters(), workloads.learning_rate(spec))
        self.variant = variant
        self.data: list[np.ndarray] = []
        self.task = Task(self.run, self.value, self.prepare)

    def build(self, spec: Spec) -> list[float]:
        """Record and plan; return the losses on the way."""
        values = checked(self.task, spec)
        self.built = self.programs()
        self.n = repetitions(self.task, TURN)
        return values

    def prepare(self, n: int) -> None:
        """Have the batches of an epoch side by side."""
        if not self.data or len(self.data[0]) < n * len(self.x):
            self.data = [np.tile(a, (n, 1, 1)) for a in (self.x, self.y)]

    def run(self, n: int) -> None:
        """Take n steps."""
        self.prepare(n)
        size = len(self.x)
        with mock.patch(*self.variant.patch) if self.variant.patch else nullcontext():
            history = tnn.fit(
                self.model, *(a[: n * size] for a in self.data), loss=tinynn_side._loss,
                optimizer=self.optimizer, epochs=1, batch_size=size, shuffle=False, progress=False,
                **self.variant.options,
            )  # fmt: skip
        if history.eager and self.variant.options.get("compile", True):
            raise RuntimeError(f"the steps were not replayed: {history.eager}")

    def value(self) -> list[float]:
        """Return the loss."""
        with tnn.no_grad():
            return [tinynn_side._loss(self.model(self.x), self.y).item()]

    def plans(self) -> dict[Any, Any]:
        """Return what is replayed, by the shapes and dtypes of a chunk."""
        known = replayed._known.get(id(self.model))
        return known[2]._plans if known else {}

    def programs(self) -> list[Any]:
        """Return the programs: for each shape of chunk one for each thread."""
        return [program for plan in self.plans().values() for program in plan.programs.values()]

    def counts(self) -> list[str]:
        """Return the chunks of a batch, the operations recorded for one, the calls replayed."""
        (_, (x_shape, _), *_), plan = next(iter(self.plans().items()))
        chunks = -(-len(self.x) // x_shape[0])
        return [str(chunks), str(len(plan.recording.steps)), str(len(plan.program().calls))]


def measure(size: str, rounds: int) -> tuple[Row, list[str]]:
    """Let the variants of a size take turns; return the times, and the counts of the step."""
    spec, here = SIZES[size], threads.available()
    names = [n for n, v in VARIANTS.items() if size in v.sizes and v.options["threads"] <= here]
    runs = {name: Run(spec, VARIANTS[name]) for name in names}
    row = Row(refused=disagreement({name: run.build(spec) for name, run in runs.items()}))
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(0 if row.refused else rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            times[name].append(seconds(runs[name].task, runs[name].n) / runs[name].n)
    if any(run.programs() != run.built for run in runs.values()):
        row.notes["parts"] = "left out, the programs were built anew, without the patches"
    elif not row.refused:
        row.times = times
    return row, runs[ALL].counts()


def table(rows: dict[str, Row], counts: dict[str, list[str]]) -> str:
    """Return the ratios: without a part over with it."""
    lines = []
    for size, row in rows.items():
        ratios = [row.ratio(ALL, name) for name in VARIANTS if name not in (ALL, SECOND)]
        ratios.append(row.ratio(SECOND, ALL))  # which the others do without
        cells = tables.cell(row, ALL), *map(tables.times, ratios), tables.spread(row)
        lines.append([size, *cells, *counts[size]])
    header = ["", *VARIANTS, "spread", "chunks a step", "operations", "calls"]
    title = "How many times as long a training step takes without ..."
    return tables.markdown(title, header, lines, NOTE, tables.remarks(rows))


def main() -> None:
    """Measure, print, write."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    sizes = f"some of {','.join(SIZES)} (default: all but tiny)"
    parser.add_argument("--only", metavar="A,B", default=DEFAULT, help=sizes)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each variant (default: 5)")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table here, too")
    given = parser.parse_args()
    only = given.only.split(",")
    if unknown := set(only) - set(SIZES):
        parser.error(f"--only: {', '.join(sorted(unknown))} is unknown; known: {', '.join(SIZES)}")
    if given.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {given.rounds}")
    if given.markdown and not (folder := given.markdown.resolve().parent).is_dir():
        parser.error(f"{given.markdown}: there is no folder {folder}")
    load, start = tables.load(), time.monotonic()
    rows, counts = {}, {}
    for size in only:
        rows[size], counts[size] = measure(size, given.rounds)
        gc.collect()
    versions = {"Python": platform.python_version()} | tinynn_side.versions("fit")
    text = (
        f"{table(rows, counts)}\n{', '.join(f'{k} {v}' for k, v in versions.items())}; "
        f"{threads.available()} cores of a shared machine, load average {load} before and "
        f"{tables.load()} after {time.monotonic() - start:.0f} seconds; {given.rounds} rounds.\n"
    )
    print(text)
    if given.markdown:
        given.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
