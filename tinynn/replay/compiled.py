"""tinynn.compile: record a function's operations once, then replay them without Python."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial, update_wrapper
from itertools import count
from types import MethodType
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn._trees import tree_leaves, tree_map
from tinynn.autodiff.graph import Node, _paused
from tinynn.autodiff.listening import listener
from tinynn.replay.plans import Plans, Unrecorded
from tinynn.replay.tracing import Tracer
from tinynn.training.threads import one_blas_thread


class Compiled:
    """What :func:`compile` returns: called as the function, it replays the function.

    ``eager``: None, or why the function runs as it is.
    """

    def __init__(self, function: Callable[..., Any], verify: bool) -> None:
        update_wrapper(self, function)
        self._function, self._verify = function, verify
        self._plans = Plans("compile")
        self.eager: str | None = None
        self._for_good = False

    def __get__(self, instance: Any, owner: Any = None) -> Any:  # as of a method
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> str:  # copied and pickled by name, as functions are
        return self.__qualname__  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay the function for these arguments; record it when they are of a new kind."""
        if self._for_good or listener.get() is not None:  # in another compiled function, in debug()
            return self._function(*args, **kwargs)
        arrays: list[np.ndarray] = []
        key = (
            _kind((args, kwargs), arrays),
            *[(a.shape, a.dtype) for a in arrays],
            _paused.get() > 0,
        )
        with self._plans.lock:

            def call(tracer: Tracer) -> Any:
                places = count()

                def handed(x: Any) -> Any:
                    if not isinstance(x, (Node, np.ndarray)):
                        return x
                    place = next(places)
                    return tracer.argument(place, arrays[place], as_tensor=isinstance(x, Node))

                given, named = tree_map(handed, (args, kwargs))
                tracer.given = {id(x) for x in tree_leaves([args, kwargs]) if isinstance(x, Node)}
                before = tree_leaves([given, named])
                result = self._function(*given, **named)
                after = tree_leaves([given, named])
                if list(map(id, before)) != list(map(id, after)):
                    tracer.refuse("it changes a list or dict that is an argument")
                return result

            try:
                plan = self._plans.get(key, call, word=lambda: self._verify, verify=self._verify)
            except Unrecorded as error:
                result = self._function(*args, **kwargs)  # raises again if the fault is the user's
                self.eager, self._for_good = str(error), True
                return result
            if plan is None:
                self.eager = self._plans.reason()
                return self._function(*args, **kwargs)
            with one_blas_thread() if plan.program().light else nullcontext():
                again = partial(self._function, *args, **kwargs)
                return plan.replay(arrays, again, compare=self._verify)


def _kind(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return what kind of arguments these are, hashable, and add their arrays to ``arrays``."""
    if isinstance(value, Node):
        if value._requires_grad:
            raise TypeError(
                "compile: an argument is a Tensor that requires a gradient. Give arrays as "
                "arguments; parameters are found by themselves where the function uses them."
            )
        arrays.append(value._data)
        return Node
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiubc":
            raise TypeError(f"compile: an array must hold numbers, got dtype {value.dtype}.")
        arrays.append(value)
        return np.ndarray
    if isinstance(value, (tuple, list)):
        return (type(value), *(_kind(part, arrays) for part in value))
    if isinstance(value, dict):
        return (type(value), *((key, _kind(part, arrays)) for key, part in value.items()))
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            "compile: an argument must be an array, a plain value, or a list, tuple or dict of "
            f"such, got {type(value).__name__}."
        ) from None
    # 0.0 is not -0.0, and nan is nan.
    return (None, type(value), repr(value) if isinstance(value, float) else value)


def compile(f: Callable[..., Any], *, verify: bool = True) -> Callable[..., Any]:
    """Return ``f`` so that its array operations are recorded once and replayed afterwards.

    Results, gradients and updates are those of ``f`` to rounding.

    Parameters
    ----------
    f : callable
        A function of arrays (alone, or in lists, tuples and dicts) and plain values, such as a
        whole training step. Its result must depend on its arguments and on the Tensors that it
        closes over.
    verify : bool, default True
        Whether replays are compared with what ``f`` does, now and then.

    Returns
    -------
    callable
        It has the signature of ``f``. Its ``eager`` says why it is not replayed, or is None.

    Raises
    ------
    NotReplayable
        Where a value becomes a plain number or array that could decide something. A RuntimeError.
    ReplayMismatch
        Where a repeated call differs. A RuntimeError.
    TypeError
        For arguments that do not fit.

    Notes
    -----
    *What f may do.* It may call ``zero_grad``, ``backward``, ``clip_grad_norm`` and ``step``.
    Dropout, and what goes through :func:`tinynn.fresh`, draws anew. Other effects, such as prints
    and counters, are not repeated.

    *What is recorded.* For each combination of shapes, dtypes and plain values ``f`` is rehearsed
    once on Tensors, which changes nothing. Its operations are replayed in buffers that are planned
    once. At most eight recordings are kept. Parameters and optimizer settings are read at each
    call. ``eval()``, a layer that is exchanged or another attribute has it recorded anew. Other
    Python values are read when it is recorded. Where recording does not pay, or fails for Tensors
    in place of arrays, ``f`` runs as it is.

    *What is verified.* A recording is rehearsed on plain arrays, too, and must come to the same.
    Its first replay is compared with the rehearsal. At replays 2, 4, 8, ... the call is rehearsed
    again and compared.

    Examples
    --------
    >>> from tinynn import Tensor
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
    verify = check.flag("compile", "verify", verify)
    return f if isinstance(f, Compiled) else Compiled(f, verify)
