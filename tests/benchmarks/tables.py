"""Figures as text: times, ratios, Markdown tables, the line about the machine."""

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .pool import ROOT, Row


def duration(seconds: float) -> str:
    """Return a time with three digits and its unit.

    >>> duration(0.000046)
    '46.0 µs'
    """
    for unit, scale in (("µs", 1e6), ("ms", 1e3), ("s", 1)):
        value = seconds * scale
        if value < 1000 or unit == "s":
            break
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} {unit}"


def cell(row: Row, column: str) -> str:
    """Return a column's median time, or a dash; notes say why."""
    return duration(row.median(column)) if row.times.get(column) else "–"


def times(value: float | None) -> str:
    """Return a ratio."""
    return "–" if value is None else f"{value:.2f}"


def spread(row: Row) -> str:
    """Return how far apart the rounds of the noisiest column are: half of them lie within this."""
    widths = []
    for seconds in row.times.values():
        if len(seconds) > 1:
            low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
            widths.append((high - low) / statistics.median(seconds))
    return f"{100 * max(widths):.0f} %" if widths else "–"


def markdown(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *notes: str) -> str:
    """Return a heading, a table, and notes below it."""
    lines = [f"### {title}", "", _line(header), _line(["---"] + ["--:"] * (len(header) - 1))]
    lines += [_line(row) for row in rows]
    for note in filter(None, notes):
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def remarks(rows: Mapping[str, Row]) -> str:
    """Return why cells are empty: each reason once, with the rows it holds for."""
    where: dict[str, list[str]] = {}
    for name, row in rows.items():
        for column, note in row.notes.items():
            where.setdefault(f"{column}: {note}", []).append(name)
        if row.refused:
            where.setdefault(f"refused, the values differ: {row.refused}", []).append(name)
    lines = []
    for reason, names in where.items():
        lines.append(reason + ("." if len(names) == len(rows) else f" ({', '.join(names)})."))
    return " ".join(lines)


def machine() -> str:
    """Return processor, cores, system, and the commit that was measured."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        fields = dict(
            (part.strip() for part in line.split(":", 1))
            for line in info.read_text().split("\n\n")[0].splitlines()
            if ":" in line
        )
        numbers = f"family {fields.get('cpu family')}, model {fields.get('model')}"
        cpu = f"{fields.get('model name', cpu)} ({numbers})"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    return (
        f"{cpu}, {usable} cores, {platform.system()} {platform.release()}, "
        f"Python {sys.version.split()[0]}, tinynn at {commit.stdout.strip() or 'no commit'}"
    )


def load() -> str:
    """Return the load average of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"
