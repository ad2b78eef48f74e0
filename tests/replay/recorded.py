"""Recordings for tests: of a function, rehearsed on arrays."""

import numpy as np

from tinynn.autodiff.listening import heard_by
from tinynn.replay.program import Program
from tinynn.replay.tracing import Tracer


def recorded(f, *arrays):
    """Return the recording of ``f`` on arrays, which it gets as arrays."""
    tracer = Tracer()
    try:
        with heard_by(tracer):
            handed = [tracer.argument(i, np.asarray(a), False) for i, a in enumerate(arrays)]
            recording = tracer.finish(f(*handed))
    finally:
        tracer.close()
    return recording


def program(f, *arrays, order=None):
    """Return a program that does what ``f`` does on such arrays."""
    return Program(recorded(f, *arrays), order=order)


def names(program):
    """Return the names of the functions that a program calls, whole operations by their own."""
    found = []
    for function, args in program.calls:
        whole = getattr(function, "__name__", "") == "_run"
        function = args[0] if whole else getattr(function, "func", function)
        owner = getattr(function, "__self__", None)
        prefix = f"{owner.__name__}." if isinstance(owner, np.ufunc) else ""
        found.append(prefix + function.__name__)
    return found
