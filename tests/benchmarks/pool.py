"""The parent's end: starts a worker for each column, lets them take turns, keeps the times."""

import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import columns
from .workloads import TOLERANCE, Spec

ROOT = Path(__file__).parents[2]
# Seconds between turns: on two cores longer than the threads of a BLAS spin after their work.
PAUSE = {"one-core": 0.02, "two-cores": 0.1}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
MODES = {"one-core": 1, "two-cores": 2}


def environment(mode: str) -> dict[str, str]:
    """Return the environment of a worker: one thread each, or every library's own choice."""
    ours = {
        *(*THREADS, "XLA_FLAGS", "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "OMP_PROC_BIND"),
        "PYTHONDONTWRITEBYTECODE",  # an installed package has its bytecode beside it
    }
    env = {k: v for k, v in os.environ.items() if k not in ours}
    if mode == "one-core":
        env |= dict.fromkeys(THREADS, "1")
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    # No compiler processes that wait beside the workers; JAX on the CPU, as the others.
    return env | {"TORCHINDUCTOR_COMPILE_THREADS": "1", "JAX_PLATFORMS": "cpu"}


def cores(mode: str) -> set[int]:
    """Return the cores that a worker may use: the last ones, far from the system's own work."""
    if not hasattr(os, "sched_getaffinity"):
        return set()  # macOS cannot pin
    return set(sorted(os.sched_getaffinity(0))[-MODES[mode] :])


def start(mode: str, arguments: Iterable[str], **pipes: Any) -> subprocess.Popen:
    """Start Python in the repository, pinned: a child inherits the cores of its parent."""
    own = os.sched_getaffinity(0) if cores(mode) else set()
    if own:
        os.sched_setaffinity(0, cores(mode))
    try:
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment(mode), text=True, **pipes
        )
    finally:
        if own:
            os.sched_setaffinity(0, own)


class Worker:
    """A process that runs one column."""

    def __init__(self, column: str, mode: str) -> None:
        self.column, self.mode = column, mode
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed with the worker
        self.process = start(
            mode, ["-m", f"{__package__}.worker", column],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
        )  # fmt: skip
        self.idle, self.heard = 0.0, time.monotonic()
        self.waited = 0.0

    def ask(self, do: str, limit: float | None = None, **message: Any) -> dict[str, Any]:
        """Return the answer; {"error": ...} also when the worker dies or exceeds the limit."""
        self.waited += time.monotonic() - self.heard
        try:
            print(json.dumps({"do": do, **message}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            return self._lost("died")
        if not select.select([self.process.stdout], [], [], limit)[0]:
            return self._lost(f"not ready in {limit:g} s")
        line = self.process.stdout.readline()
        if not line:
            return self._lost("died")
        answer = json.loads(line)
        self.idle += answer.pop("idle")
        self.heard = time.monotonic()
        return answer

    def _lost(self, why: str) -> dict[str, Any]:
        self.close()
        return {"error": why}

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(BrokenPipeError):
                file.close()


@dataclass
class Row:
    """What a workload took: seconds by column, one a round; notes on what could not be measured."""

    times: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    refused: str = ""

    def median(self, column: str) -> float:
        """Return the median over rounds."""
        return statistics.median(self.times[column])

    def best_peer(self) -> str | None:
        """Return the fastest peer."""
        peers = [c for c in self.times if not columns.is_ours(c)]
        return min(peers, key=self.median, default=None)

    def ratio(self, ours: str, peer: str | None = None) -> float | None:
        """Return a peer's time (the best one's) over ours: the median of the rounds' ratios."""
        peer = peer or self.best_peer()
        if peer not in self.times or ours not in self.times:
            return None
        pairs = zip(self.times[peer], self.times[ours], strict=True)
        return statistics.median(p / o for p, o in pairs)


class Pool:
    """Workers of one mode. One works at a time, the others wait for a line on stdin."""

    def __init__(self, names: Iterable[str], mode: str, limit: float = 180) -> None:
        self.mode, self.limit = mode, limit
        self.workers: dict[str, Worker] = {}
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.shares: list[float] = []  # of a core that a turn got
        for name in names:
            self._add(name)

    def _add(self, name: str) -> None:
        worker = Worker(name, self.mode)
        answer = worker.ask("hello", limit=120)
        if "versions" in answer:
            self.workers[name] = worker
            self.versions |= answer["versions"]
        else:
            self.missing[name] = answer.get("missing") or answer["error"]
            worker.close()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.close()

    def idle_share(self) -> float:
        """Return the CPU time of all waiting workers over the time that they waited."""
        waited = sum(w.waited for w in self.workers.values())
        return sum(w.idle for w in self.workers.values()) / max(waited, 1e-9)

    def prepare(self, spec: Spec, turn: float, names: Iterable[str] | None = None) -> Row:
        """Set a workload up in every worker; refuse the row when the libraries disagree."""
        row, values = Row(notes=dict(self.missing)), {}
        for name in list(self.workers) if names is None else names:
            _show(f"{self.mode}: {', '.join(f'{k} {v}' for k, v in spec.items())}: {name}")
            answer = self.workers[name].ask("setup", limit=self.limit, spec=spec, turn=turn)
            if "error" in answer:
                row.notes[name] = answer["error"]
                self._revive(name)
            else:
                values[name], row.times[name] = answer["values"], []
        row.refused = disagreement(values)
        if row.refused:
            row.times = {}
        return row

    def round(self, row: Row, number: int) -> dict[str, float]:
        """Let every worker take one turn; the order rotates with the round's number."""
        names, times = list(row.times), {}
        shift = number % max(1, len(names))
        for name in names[shift:] + names[:shift]:
            time.sleep(PAUSE[self.mode])
            answer = self.workers[name].ask("run", limit=self.limit)
            if "error" in answer:
                row.notes[name] = answer["error"]
                del row.times[name]
                self._revive(name)
            else:
                times[name] = answer["seconds"]
                self.shares.append(answer["share"])
        return times

    def measure(
        self, spec: Spec, *, rounds: int, turn: float, names: Iterable[str] | None = None
    ) -> Row:
        """Set up, take turns, free."""
        row = self.prepare(spec, turn, names)
        for number in range(rounds):
            for name, taken in self.round(row, number).items():
                row.times[name].append(taken)
        self.drop()
        _show("")
        return row

    def drop(self) -> None:
        """Let every worker free its workload."""
        for worker in self.workers.values():
            worker.ask("drop")

    def _revive(self, name: str) -> None:
        """Replace a worker that has ended; what it cannot do is no reason to leave later rows."""
        if self.workers[name].process.poll() is not None:
            del self.workers[name]
            self._add(name)


def _show(text: str) -> None:
    """Say on a terminal what is going on, in one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r{text[:110]}\033[K", end="", file=sys.stderr, flush=True)


def disagreement(values: Mapping[str, list[float]]) -> str:
    """Return "" if all columns have the same numbers, and else which numbers they have."""
    if not values:
        return ""
    reference = next(iter(values.values()))
    close = all(
        len(v) == len(reference)
        and all(abs(a - b) <= TOLERANCE * abs(b) for a, b in zip(v, reference, strict=True))
        for v in values.values()
    )
    shown = {name: [float(f"{a:.7g}") for a in v] for name, v in values.items()}
    return "" if close else "; ".join(f"{name} {v}" for name, v in shown.items())
