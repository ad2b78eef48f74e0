"""tinynn.compile: record a function's array operations once, then replay them without Python."""

import threading
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np

from tinynn.autodiff import graph
from tinynn.autodiff.graph import Node, Watched, unwatched
from tinynn.autodiff.record import NotReplayable, Number, Recorder, Recording
from tinynn.autodiff.replay import Program, Result
from tinynn.autodiff.tensor import Tensor

KEPT = 8  # programs of one function, for different shapes; the oldest is dropped


class Compiled:
    """What :func:`compile` returns: called as the function, it replays the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function)
        self._function = function
        self._plans: dict[Any, _Plan] = {}
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay the function for these arguments, or record it."""
        if graph._recorder.get() is not None:  # inside another compiled function
            return self._function(*args, **kwargs)
        arrays: list[np.ndarray] = []
        shape = _flattened((args, kwargs), arrays)
        key = shape, tuple((a.shape, a.dtype.str) for a in arrays), graph._paused.get() > 0
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                if len(self._plans) >= KEPT:
                    del self._plans[next(iter(self._plans))]
                plan = self._plans[key] = _Plan(self._function)
            return plan(arrays, shape)


class _Plan:
    """What is known of a function for one kind of arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.recording: Recording | None = None
        self.program: Program | None = None
        self.seen: list[np.ndarray] = []
        self.varied: list[bool] = []  # whether an argument has ever changed between recordings
        self.attempts = 0

    def __call__(self, arrays: list[np.ndarray], shape: Any) -> Any:
        if self.program is not None and self._trusted(arrays):
            with np.errstate(all="ignore"):
                self.program.run(arrays)
            return self.program.hand_out()
        return self._record(arrays, shape)

    def _trusted(self, arrays: list[np.ndarray]) -> bool:
        """Tell whether a replay is right: nothing it relies on has changed.

        An argument that was the same at each recording might have been taken for a constant, so
        the first time that it differs is recorded too, and compared.
        """
        recording = self.recording
        if recording is None or any(ask() != was for ask, was in recording.guards.values()):
            return False
        if all(self.varied):
            return True
        return all(
            varied or np.array_equal(now, seen, equal_nan=now.dtype.kind == "f")
            for varied, now, seen in zip(self.varied, arrays, self.seen, strict=True)
        )

    def _record(self, arrays: list[np.ndarray], shape: Any) -> Any:
        recorder = Recorder(arrays)
        watched = iter([a.view(Watched) for a in arrays])
        args, kwargs = _unflattened(shape, watched)
        with recorder.listening():
            returned = self.function(*args, **kwargs)
            recorder.recording.result = _template(returned, recorder)
        self._compare(recorder.recording, arrays)
        return _plain(returned)

    def _compare(self, new: Recording, arrays: list[np.ndarray]) -> None:
        old, self.recording = self.recording, new
        if old is None or any(ask() != was for ask, was in old.guards.values()):
            self.program, self.attempts = None, 1
            self.seen, self.varied = [a.copy() for a in arrays], [False] * len(arrays)
            return
        difference = new.differences(old)
        self.attempts += 1
        if difference is None:
            self.varied = [
                varied or not np.array_equal(a, b)
                for varied, a, b in zip(self.varied, arrays, self.seen, strict=True)
            ]
            self.seen = [a.copy() for a in arrays]
            self.program = Program(new, len(arrays))
        elif self.attempts > 3:
            raise NotReplayable(f"compile: {self.function!r} cannot be replayed: {difference}.")


def _flattened(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return the structure of arguments, hashable, and add their arrays to ``arrays``."""
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
        return ("array",)
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


def _template(value: Any, recorder: Recorder) -> Any:
    """Return what a call returned with a Result in the place of each array."""
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
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_template(part, recorder) for part in value))
    if isinstance(value, (tuple, list)):
        return type(value)(_template(part, recorder) for part in value)
    if isinstance(value, dict):
        return {key: _template(part, recorder) for key, part in value.items()}
    return value


def _plain(value: Any) -> Any:
    """Return what a recorded call returned, free of what recording put around it."""
    if isinstance(value, Number):
        return float(value)
    if isinstance(value, Watched):
        return np.array(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_plain, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def compile(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``f`` so that it is recorded at its first calls and replayed afterwards."""
    if not callable(f):
        raise TypeError(f"compile: give a function, got {type(f).__name__}.")
    return f if isinstance(f, Compiled) else Compiled(f)
