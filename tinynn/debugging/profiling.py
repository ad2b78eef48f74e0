"""tinynn.profile: where the time and memory of a step go, by layer and operation."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.listening import heard_by, listener
from tinynn.debugging.noting import Noted, Walk, Watch, is_recorded, listen
from tinynn.debugging.wording import values_of

SHOWN = 20  # rows that are printed
LINE = "{:24.24} {:15.15} {:8} {:>5} {:>8} {:>6} {:>8}"  # as wide as a terminal
HEAD = LINE.format("layer", "operation", "pass", "calls", "ms", "share", "KB")


class Row(NamedTuple):
    """One line of a profile; ``time`` in seconds, ``share`` of the whole, ``memory`` in bytes."""

    layer: str
    operation: str
    phase: str
    calls: int
    time: float
    share: float
    memory: int

    def __str__(self) -> str:
        figures = f"{1e3 * self.time:.3f}", f"{self.share:.1%}", f"{1e-3 * self.memory:.1f}"
        return LINE.format(*self[:4], *figures)


class Profile:
    """What :func:`profile` returns. Printed, it is a table of the rows that take longest.

    ``rows``: named tuples (layer, operation, phase, calls, time, share, memory), the slowest first,
    with ``elsewhere`` at the end; ``total``: seconds of the call, the sum of the times of all rows;
    ``peak``: bytes at most.
    """

    def __init__(self, rows: list[Row], total: float, peak: int) -> None:
        self.rows = sorted(rows, key=lambda row: (row.operation == "-", -row.time))
        self.total, self.peak = total, peak

    def __repr__(self) -> str:
        *parts, elsewhere = self.rows
        lines, rest = parts[:SHOWN], parts[SHOWN:]
        if rest:
            lines.append(_joined(f"{len(rest)} more", rest))
        lines += [elsewhere, _joined("total", self.rows)]
        peak = f"at its peak {1e-3 * self.peak:.1f} KB more than before the call"
        return "\n".join([HEAD, *map(str, lines), peak])


def _joined(name: str, rows: list[Row]) -> Row:
    sums = [sum(column) for column in zip(*(row[4:] for row in rows), strict=True)]
    return Row(name, "", "", sum(row.calls for row in rows), *sums)


def profile(f: Callable[..., Any], *args: Any, repeat: int = 3) -> Profile:
    """Return where the time and memory of ``f(*args)`` go, by layer and operation.

    Parameters
    ----------
    f : callable
        Any function, such as one step of a training loop.
    *args : object
        What it is called with.
    repeat : int, default 3
        How often it is timed. The times are those of the call whose total is the median.

    Returns
    -------
    Profile
        It prints as a table. ``rows`` are named tuples (layer, operation, phase, calls, time,
        share, memory), the slowest first. ``total`` is the time of the call in seconds, ``peak``
        the bytes that it holds at most.

    Raises
    ------
    TypeError
        If ``f`` is no function.
    ValueError
        For ``repeat`` below 1.

    Notes
    -----
    ``f`` is called ``repeat`` + 1 times: first for its memory, then timed. What it changes is
    changed by each call.

    A row is a layer, by its path, an operation and a phase: forward, backward or update. ``time``
    is in seconds. ``memory`` counts the bytes of the new arrays that results, gradients and
    parameters are. The last row, ``elsewhere``, is the Python around them: the times of all rows
    add up to ``total``. Times of threads add up.

    Everything runs eagerly, also a compiled function and ``fit``: a replay has no operations that
    could be told apart.

    Examples
    --------
    >>> from tinynn import Dense
    >>> found = profile(Dense(8, 4, activation="relu", rng=0), np.ones((2, 8), "float32"))
    >>> sorted(row.operation for row in found.rows)
    ['-', 'add', 'matmul', 'relu']
    >>> bool(np.isclose(sum(row.time for row in found.rows), found.total))
    True
    """
    if not callable(f):
        raise TypeError(f"profile: give a function and its arguments, got {check.shown(f)}.")
    repeat = check.integer("profile", "repeat", repeat, at_least=1)
    peak = _peak(f, args)
    runs = sorted((_watched(f, args) for _ in range(repeat)), key=lambda run: run[1])
    sums, total = runs[repeat // 2]
    rows = [Row._make((*key, n, t, t / total, size)) for key, (n, t, size) in sums]
    return Profile(rows, total, peak)


def _watched(f: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float]:
    """Call ``f``; return its rows, and the seconds that it took."""
    watch = _Watch(listener.get())
    token, begin = listen(watch), perf_counter()
    try:
        f(*args)
    finally:
        end = perf_counter()
        listener.reset(token)
    known = sum(seconds for _, seconds, _ in watch.sums.values())
    total = max(end - begin - watch.own, known)
    return [*watch.sums.items(), (("elsewhere", "-", "-"), (1, total - known, 0))], total


def _peak(f: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """Return how many bytes a call of ``f`` holds at most, beyond those held before."""
    mine = not tracemalloc.is_tracing()
    if mine:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        _watched(f, args)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if mine:
            tracemalloc.stop()


class _Watch(Watch):
    """Times operations and steps. ``own``: the seconds that looking takes, which do not count."""

    def __init__(self, outer: Any) -> None:
        super().__init__(outer)
        self.sums: dict[tuple[str, str, str], tuple[int, float, int]] = {}
        self.own = 0.0

    def add(self, layer: str, name: str, phase: str, seconds: float, given: Any, made: Any) -> None:
        """Add a call to a row; views of what was given take no memory."""
        array = values_of(made)
        shared = any(np.may_share_memory(array, values_of(x)) for x in given if x is not None)
        key = layer or "-", name, phase
        calls, before, size = self.sums.get(key, (0, 0.0, 0))
        self.sums[key] = calls + 1, before + seconds, size + (0 if shared else array.nbytes)

    def operation(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Compute, and take the time."""
        entered = perf_counter()
        place, layer = self.models.look()
        compute = op.apply if self.outer is None else partial(self.outer.operation, op)
        with heard_by(self.outer):
            begin = perf_counter()
            result = compute(args, params)
            seconds = perf_counter() - begin
        self.add(layer, op.title, "forward", seconds, args, result)
        if is_recorded(result):
            Noted(result, op.title, layer, place)
        self.own += perf_counter() - entered - seconds
        return result

    def on_gradients(self, plain: Any, *args: Any) -> Any:
        """Walk back, and take the time of each operation's gradients."""
        with heard_by(_Walk(self)):
            return plain(*args)

    def on__step(self, plain: Any, optimizer: Any) -> None:
        """Take an optimizer's step, and the time."""
        with heard_by(self.outer):
            begin = perf_counter()
            plain(optimizer)
            end = perf_counter()
        made = np.concatenate([p._data.ravel() for p in optimizer.parameters])
        self.add(type(optimizer).__name__, "step", "update", end - begin, (), made)
        self.own += perf_counter() - end


class _Walk(Walk):
    """Times the gradients of operations."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__(watch.outer)
        self.watch = watch

    def gradient(self, noted: Noted, i: int, g: Any, y: Any, *rest: Any) -> Any:
        """Return the gradient of argument ``i``, and add its time."""
        begin = perf_counter()
        share = super().gradient(noted, i, g, y, *rest)
        end = perf_counter()
        given = (g, y, *rest[0])
        self.watch.add(noted.layer, noted.name, "backward", end - begin, given, share)
        self.watch.own += perf_counter() - end
        return share
