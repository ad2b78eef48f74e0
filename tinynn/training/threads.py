"""The cores: how many there are for us, and BLAS kept to one thread while we use our own."""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np


def available() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _blas() -> tuple[Any, Any] | None:
    """Return the functions that tell and set the threads of the OpenBLAS inside NumPy's wheels."""
    root = Path(np.__file__).parent
    for folder in (root.parent / "numpy.libs", root / ".dylibs", root.parent / "numpy" / ".libs"):
        for path in sorted(folder.glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for prefix in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_"):
                try:
                    return (
                        getattr(library, prefix.format("get")),
                        getattr(library, prefix.format("set")),
                    )
                except AttributeError:
                    continue
    return None


class _Single:
    """Who wants BLAS to keep to one thread: of several at a time, the last one gives it back."""

    def __init__(self) -> None:
        self.lock, self.users, self.before = Lock(), 0, 1


_single = _Single()


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Let each matrix product run on the thread that asks for it; tell whether that is so.

    BLAS's own threads gain little on the thin products of small models, and wait for each other
    when another process holds a core. False where NumPy comes with another BLAS than OpenBLAS.
    """
    found = _blas()
    if found is None:
        yield False
        return
    get, set_ = found
    with _single.lock:
        if not _single.users:
            _single.before = get()
            set_(1)
        _single.users += 1
    try:
        yield True
    finally:
        with _single.lock:
            _single.users -= 1
            if not _single.users:
                set_(_single.before)


def pool(threads: int) -> Any:
    """Return an executor of so many threads."""
    from concurrent.futures import ThreadPoolExecutor  # takes a while to load

    return ThreadPoolExecutor(threads, thread_name_prefix="tinynn")


def spread(work: Callable[[int, int], Any], count: int, threads: int) -> list[Any]:
    """Return ``work(i, thread)`` for i below ``count``; thread k takes i = k, k + threads, ...

    Each runs in a copy of the caller's context, so under its ``no_grad`` and ``errstate``.
    """
    if threads <= 1 or count <= 1:
        return [work(i, 0) for i in range(count)]
    results: list[Any] = [None] * count

    def run(thread: int) -> None:
        for i in range(thread, count, threads):
            results[i] = work(i, thread)

    with pool(threads) as executor:
        tasks = [executor.submit(copy_context().run, run, k) for k in range(min(threads, count))]
    for task in tasks:
        task.result()
    return results
