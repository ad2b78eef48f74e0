"""One library in a process of its own: sets up a workload, runs it, answers in lines of JSON."""

import gc
import json
import os
import sys
import time
from typing import Any

from . import columns
from .workloads import CHECK_STEPS, Spec, Task


def seconds(task: Task, n: int) -> float:
    """Time n repetitions, after one that is not timed: the caches are another worker's."""
    task.prepare(n)
    task.run(1)
    start = time.perf_counter()
    task.run(n)
    return time.perf_counter() - start


def repetitions(task: Task, turn: float) -> int:
    """Return how many repetitions fill a turn."""
    n = task.least
    while True:
        taken = seconds(task, n)
        if taken > turn / 4:
            return max(task.least, round(n * turn / taken))
        n *= 4


def checked(task: Task, spec: Spec) -> list[float]:
    """Return the numbers that every library must agree on: losses, or the size of results."""
    values = task.value()
    if spec["task"] == "train":
        task.run(CHECK_STEPS)
        values += task.value()
    return values


class Server:
    """What the parent may ask for; each method answers with a dict."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.task: Task | None = None
        self.n = 1

    def hello(self) -> dict[str, Any]:
        """Import the library."""
        try:
            self.side, self.variant = columns.side(self.column)
            return {"versions": self.side.versions(self.variant)}
        except ImportError as error:
            return {"missing": str(error)}

    def setup(self, spec: Spec, turn: float) -> dict[str, Any]:
        """Build a workload, run it until it is warm."""
        self.task = None
        gc.collect()
        self.task = getattr(self.side, spec["task"])(spec, self.variant)
        values = checked(self.task, spec)
        self.n = repetitions(self.task, turn)
        return {"values": values}

    def run(self) -> dict[str, Any]:
        """Take one turn; answer with the seconds of a repetition, and of CPU a second."""
        assert self.task is not None
        start, used = time.perf_counter(), time.process_time()
        taken = seconds(self.task, self.n) / self.n
        share = (time.process_time() - used) / (time.perf_counter() - start)
        return {"seconds": taken, "share": share}

    def drop(self) -> dict[str, Any]:
        """Free the workload."""
        self.task = None
        gc.collect()
        return {}


def main() -> None:
    """Answer lines on stdin until it ends. Whatever a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server(sys.argv[1])
    busy_until = time.process_time()
    for line in sys.stdin:
        message = json.loads(line)
        idle = time.process_time() - busy_until  # CPU used while another worker had its turn
        try:
            answer = getattr(server, message.pop("do"))(**message)
        except Exception as error:
            server.drop()
            text = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {text[0][:120]}"}
        busy_until = time.process_time()
        print(json.dumps({**answer, "idle": idle}), file=answers, flush=True)


if __name__ == "__main__":
    main()
