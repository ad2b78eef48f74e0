"""tinynn.compile: record a function's array operations once, then replay them without Python."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial, update_wrapper
from typing import Any

import numpy as np

from tinynn.autodiff import graph
from tinynn.autodiff.cores import one_blas_thread
from tinynn.autodiff.graph import Node, Watched, unwatched, watched
from tinynn.autodiff.record import NotReplayable, Number, Recorder, Recording, mapped
from tinynn.autodiff.replay import NotFinite, Program, Result, quiet
from tinynn.autodiff.tensor import Tensor

ARRAY = ("array",)
KEPT = 8  # programs of one function, for different shapes; the oldest is dropped


class Compiled:
    """What :func:`compile` returns: called as the function, it replays the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function)
        self._function = function
        self._plans: dict[Any, Plan] = {}
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay the function for these arguments, or record it."""
        if graph._recorder.get() is not None:  # inside another compiled function
            return self._function(*args, **kwargs)
        arrays: list[np.ndarray] = []
        shape = _flattened((args, kwargs), arrays)
        key = shape, *[(a.shape, a.dtype) for a in arrays], graph._paused.get() > 0
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                if len(self._plans) >= KEPT:
                    del self._plans[next(iter(self._plans))]
                plan = self._plans[key] = Plan(self._function)
            return plan(arrays, shape)


class Plan:
    """What is known of a function for one kind of arguments: a recording, and its programs.

    ``homes``: arrays that parameters are to live in, by the id of the Tensor.
    """

    def __init__(
        self, function: Callable[..., Any], homes: dict[int, np.ndarray] | None = None
    ) -> None:
        self.function = function
        self.recording: Recording | None = None
        self._homes = homes or {}
        self._agreed = False  # whether two recordings were the same
        self._programs: dict[int, Program] = {}
        self.draws = False  # whether anything is drawn anew at each replay, as by Dropout
        self._seen: list[bytes] = []  # the arguments' elements at the last recording
        self._varied: list[bool] = []  # whether an argument has ever changed between recordings
        self._attempts = 0

    def __call__(self, arrays: list[np.ndarray], shape: Any) -> Any:
        """Replay the function, or record it; return what it returns."""
        program = self.program(arrays)
        if program is None:
            return self.record(arrays, shape)
        try:
            with quiet(), one_blas_thread() if program.light else nullcontext():
                program.run(arrays)
        except NotFinite:
            args, kwargs = _unflattened(shape, iter(arrays))
            return self.function(*args, **kwargs)
        return program.hand_out()

    def program(self, arrays: list[np.ndarray], worker: int = 0) -> Program | None:
        """Return the program of a worker (each has its own), if a replay would be right.

        An argument that was the same at each recording might have been taken for a constant, so
        the first time that it differs is recorded too, and compared.
        """
        recording = self.recording
        if recording is None or not self._agreed or _changed(recording):
            return None
        for varied, now, seen in zip(self._varied, arrays, self._seen, strict=True):
            if not varied and now.tobytes() != seen:
                return None
        program = self._programs.get(worker)
        if program is None:
            program = self._programs[worker] = Program(recording, len(arrays), self._homes)
        return program

    def doubt(self) -> None:
        """Have the next call recorded and compared with the last one."""
        self._agreed = False

    def record(self, arrays: list[np.ndarray], shape: Any) -> Any:
        """Run the function and listen; compare what is heard with the time before."""
        arrays = [a.copy() for a in arrays]  # each in memory of its own
        recorder = Recorder(arrays)
        args, kwargs = _unflattened(shape, iter([watched(a) for a in arrays]))
        with recorder.listening():
            returned = self.function(*args, **kwargs)
            recorder.recording.result = mapped(partial(_result, recorder), returned)
        self._compare(recorder.finish(), arrays)
        return mapped(_plain, returned)

    def _compare(self, new: Recording, arrays: list[np.ndarray]) -> None:
        old, self.recording = self.recording, new
        self.draws = any(source.kind == "fresh" for source in new.sources.values())
        seen, self._seen = self._seen, [a.tobytes() for a in arrays]
        self._programs.clear()
        self._attempts += 1
        if old is None or _changed(old):
            self._agreed, self._attempts, self._varied = False, 1, [False] * len(arrays)
            return
        difference = new.differences(old)
        self._agreed = difference is None
        if self._agreed:
            self._varied = [
                varied or a != b
                for varied, a, b in zip(self._varied, self._seen, seen, strict=True)
            ]
        elif self._attempts > 3:
            raise NotReplayable(f"compile: {self.function!r} cannot be replayed: {difference}.")


def _changed(recording: Recording) -> bool:
    """Tell whether something that a recording relies on is not as it was."""
    return any(ask() != was for ask, was in recording.guards.values())


def _flattened(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return the structure of arguments, hashable, and add their arrays to ``arrays``."""
    if type(value) is np.ndarray and value.dtype.kind == "f":  # what comes most often
        arrays.append(value)
        return ARRAY
    if isinstance(value, Node):
        if value._requires_grad:
            raise TypeError(
                "compile: an argument is a Tensor that requires a gradient. Give arrays as "
                "arguments; parameters are found by themselves where the function uses them."
            )
        arrays.append(value._data)
        return ("tensor",)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiubc":
            raise TypeError(f"compile: an array must hold numbers, got dtype {value.dtype}.")
        arrays.append(unwatched(value))
        return ARRAY
    if isinstance(value, (tuple, list)):
        return (type(value), *(_flattened(part, arrays) for part in value))
    if isinstance(value, dict):
        return (dict, *((key, _flattened(part, arrays)) for key, part in value.items()))
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            "compile: an argument must be an array, a plain value, or a list, tuple or dict of "
            f"such, got {type(value).__name__}."
        ) from None
    return ("value", type(value), value)


def _unflattened(shape: Any, arrays: Any) -> Any:
    kind = shape[0]
    if kind == "array":
        return next(arrays)
    if kind == "tensor":
        return Tensor._result(next(arrays).view(np.ndarray), None)
    if kind == "value":
        return shape[2]
    if kind is dict:
        return {key: _unflattened(part, arrays) for key, part in shape[1:]}
    return kind(_unflattened(part, arrays) for part in shape[1:])


def _result(recorder: Recorder, value: Any) -> Any:
    """Return the Result that stands for an array of what a call returned, all else as it is."""
    if isinstance(value, Number):
        return Result(value.ref, lambda array: array.item())
    if isinstance(value, Node):
        if id(value) in recorder._variables:
            return value
        if value._trace:
            recorder.refuse(
                "it returns a Tensor that still has a graph. Call backward() inside, or return "
                ".detach()"
            )
        cls = type(value)
        return Result(recorder.ref(value), lambda array: cls._result(array.copy(), None))
    if isinstance(value, np.ndarray):
        return Result(recorder.ref(value), np.copy)
    return value


def _plain(value: Any) -> Any:
    """Return a part of what a recorded call returned, free of what recording put around it."""
    if isinstance(value, Number):
        return float(value)
    return np.array(value) if isinstance(value, Watched) else value


def compile(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``f`` so that its array operations are recorded once and replayed afterwards.

    ``f``: a function of arrays (alone, or in lists, tuples and dicts) and plain values, such as a
    whole training step; it may close over a model and an optimizer and call ``zero_grad``,
    ``backward``, ``clip_grad_norm`` and ``step``. Its first two calls for each combination of
    shapes, dtypes and plain values run as ever, and are listened to; from the third on the same
    operations are run into buffers that are planned once, and ``f`` itself is not run any more. At
    most eight such programs are kept. Results, gradients and updates are those of ``f`` to
    rounding: convolutions add up in another order, or by block transforms.

    Parameters and optimizer settings are read at each call, so a changed learning rate, loaded
    weights or ``eval()`` take effect; Dropout, and what goes through :func:`tinynn.fresh`, draws
    anew. Whatever else Python does, prints and counters for instance, happens at the recorded calls
    only. Raises NotReplayable, a RuntimeError, where a value decides what is computed next, where
    NumPy computes with it unheard, or where two calls differ; TypeError for arguments that do not
    fit. A branch that goes the same way at both recorded calls cannot be noticed: keep such
    decisions out of ``f``.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> @compile
    ... def step(x):
    ...     w.grad = None
    ...     loss = ((w * x - 6) ** 2).mean()
    ...     loss.backward()
    ...     w.data = w.data - 0.1 * w.grad
    ...     return loss.item()
    >>> [round(step(np.array([2.0])), 3) for _ in range(4)]
    [16.0, 0.64, 0.026, 0.001]
    """
    if not callable(f):
        raise TypeError(f"compile: give a function, got {type(f).__name__}.")
    return f if isinstance(f, Compiled) else Compiled(f)
