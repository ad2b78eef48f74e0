"""A process that does one thing and ends: a cold start to 100 steps, or a step's peak memory."""

import json
import resource
import sys
from pathlib import Path

from . import columns
from .workloads import SIZES

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mb() -> float:
    """Return the peak of resident memory so far, in MB."""
    if STATUS.exists():
        fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def restart_peak() -> None:
    """Let the peak start anew at what is resident now (Linux only)."""
    if RESET.exists():
        RESET.write_text("5")


def main(what: str, column: str, size: str) -> None:
    """Print a JSON line."""
    side, variant = columns.side(column)
    versions = side.versions(variant)
    restart_peak()
    baseline = peak_mb()
    task = side.train(SIZES[size], variant)
    task.run(100 if what == "cold" else 5)
    answer = {"peak": peak_mb() - baseline} if what == "memory" else {"value": task.value()[0]}
    print(json.dumps({**answer, "imported": baseline, "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
