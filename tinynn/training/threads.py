"""The cores: how many there are for us, and BLAS kept to one thread while we use our own."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from threading import Lock
from typing import Any


def available() -> int:
    """Return how many cores this process may run on."""
    ours = getattr(os, "sched_getaffinity", None)
    return len(ours(0)) if ours else os.cpu_count() or 1


@cache
def _blas() -> list[Any]:
    """Return a control over the threads of each BLAS library that is loaded."""
    try:
        from threadpoolctl import ThreadpoolController  # takes as long as a training step to load
    except ImportError:  # of a copy that is run where it is, without its dependencies
        return []
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_threads(counts: Sequence[int]) -> None:
    for library, count in zip(_blas(), counts, strict=True):
        # Since version 3.8, only the thread that set a limit first is obeyed until it lets go.
        let_go = getattr(library, "clear_controlling_thread", lambda force: None)
        let_go(force=True)
        library.set_num_threads(count)
        let_go(force=True)


_lock = Lock()
_users: list[list[int]] = []  # for each, the counts that the first found and the last gives back


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Let each matrix product run on the thread that asks for it; tell whether that is so.

    BLAS's own threads gain little on the thin products of small models, and wait for each other
    when another process holds a core. False, and nothing changed, where no BLAS can be told.
    """
    libraries = _blas()
    with _lock:
        if not _users:
            before = [library.num_threads for library in libraries]
            if any(count != 1 for count in before):
                _set_threads([1] * len(libraries))
        _users.append(_users[0] if _users else before)
    try:
        yield bool(libraries)
    finally:
        with _lock:
            before = _users.pop()
            if not _users and any(count != 1 for count in before):
                _set_threads(before)


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
