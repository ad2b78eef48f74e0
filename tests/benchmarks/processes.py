"""What needs a process of its own: the cold start, the peak of memory, a busy neighbour."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from . import columns, pool, tables
from .settings import Settings
from .workloads import SIZES

MODE = "two-cores"
Once = dict[str, float]


def _once(settings: Settings, what: str, column: str, size: str) -> Once | str:
    """Run once.py; return its figures with wall and CPU time, or why there are none."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = pool.start(
        MODE, ["-m", f"{__package__}.once", what, column, size],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, errors = process.communicate()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        return (errors.strip().splitlines() or ["died"])[-1]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer = json.loads(out.splitlines()[-1])
    settings.versions |= {k: v for k, v in answer.pop("versions").items() if "threads" not in k}
    return {"wall": wall, "cpu": cpu, **answer}


def _repeated(settings: Settings, what: str, size: str, rounds: int) -> tuple[dict[str, Once], str]:
    """Let the columns take turns; return the medians, and notes."""
    seen: dict[str, list[Once]] = {}
    notes: dict[str, str] = {}
    for _ in range(rounds):
        for column in columns.TRAINING:
            answer = notes.get(column) or _once(settings, what, column, size)
            if isinstance(answer, str):
                notes[column] = answer
            else:
                seen.setdefault(column, []).append(answer)
    medians = {
        column: {k: statistics.median(r[k] for r in runs) for k in runs[0]}
        for column, runs in seen.items()
    }
    return medians, " ".join(f"{column}: {note}." for column, note in notes.items())


def cold(settings: Settings) -> str:
    """Measure a process from its start to 100 training steps of small."""
    seen, notes = _repeated(settings, "cold", "small", 1 if settings.quick else settings.rounds)
    differ = pool.disagreement({name: [run["value"]] for name, run in seen.items()})
    peers = [run["wall"] for name, run in seen.items() if not columns.is_ours(name)]
    rows = []
    for name, run in seen.items():
        ahead = min(peers) / run["wall"] if peers and columns.is_ours(name) else None
        figures = tables.duration(run["wall"]), tables.duration(run["cpu"])
        rows.append([name, *figures, tables.times(ahead)])
    note = "x: the best peer's wall time over ours (goal 5). Compilers may use what they cached."
    title = "A cold process, to 100 training steps of small"
    differ = differ and f"**The losses differ: {differ}.**"
    return tables.markdown(title, ["", "wall", "CPU", "x"], rows, note, notes, differ)


def memory(settings: Settings) -> str:
    """Measure the peak of memory of a medium training step, beyond what the import left."""
    seen, notes = _repeated(settings, "memory", "medium", 1 if settings.quick else 3)
    peer = seen.get("PyTorch", {}).get("peak")
    rows = []
    for name, run in seen.items():
        ratio = run["peak"] / peer if peer else None
        whole = f"{run['imported'] + run['peak']:.0f} MB"
        rows.append([name, f"{run['peak']:.0f} MB", tables.times(ratio), whole])
    header = ["", "step", "over PyTorch's", "whole process"]
    note = (
        "Peak resident memory of five steps, over that after the import; goal: at most PyTorch's. "
        "Compiling counts. fit holds five batches of data, the others one."
    )
    return tables.markdown("Peak memory of a medium training step", header, rows, note, notes)


@contextmanager
def _spinning() -> Iterator[None]:
    """Keep one core busy."""
    process = pool.start(MODE, ["-c", "while True: pass"])
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


def neighbour(settings: Settings) -> str:
    """Measure steps with and without a process beside them that never rests."""
    sizes = ["small"] if settings.quick else ["small", "medium", "large"]
    lines, rows = [], {}
    with settings.pool(columns.TRAINING, MODE) as workers:
        for size in sizes:
            row = rows[size] = workers.prepare(SIZES[size], settings.turn)
            busy: dict[str, list[float]] = {name: [] for name in row.times}
            for number in range(settings.rounds):
                for name, seconds in workers.round(row, number).items():
                    row.times[name].append(seconds)
                with _spinning():
                    for name, seconds in workers.round(row, number).items():
                        busy[name].append(seconds)
            workers.drop()
            lines += [_beside(size, name, row.median(name), busy[name]) for name in row.times]
        settings.note(workers)
    header = ["", "quiet", "busy", "worst", "busy / quiet", "per core left"]
    note = (
        "Two cores, a spinning process on one of them. Per core left: busy over quiet, halved "
        "because half of the cores are left (goal: at most 1.5)."
    )
    return tables.markdown(
        "A busy neighbour", header, lines, note, tables.remarks(rows)
    )  # fmt: skip


def _beside(size: str, name: str, quiet: float, busy: list[float]) -> list[str]:
    taken = statistics.median(busy)
    shown = [tables.duration(t) for t in (quiet, taken, max(busy))]
    return [f"{size}, {name}", *shown, tables.times(taken / quiet), tables.times(taken / quiet / 2)]


if sys.platform == "win32":
    raise ImportError("The benchmarks need a POSIX system.")
