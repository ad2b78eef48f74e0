"""tinynn.debug: an error where the first nan or infinity is made, forward or backward."""

import copy
from contextlib import ContextDecorator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.graph import Node
from tinynn.autodiff.listening import heard_by, listener
from tinynn.debugging.noting import Birth, Noted, Walk, Watch, is_recorded, listen
from tinynn.debugging.places import is_users, name
from tinynn.debugging.wording import (
    arguments,
    called,
    counted,
    described,
    faults,
    first,
    of_gradient,
    values_of,
    within,
)  # fmt: skip

_entered: ContextVar[tuple[Any, ...]] = ContextVar("tinynn_debugs", default=())


def unwarned() -> Any:
    """Silence what NumPy would warn of, where the values are looked at."""
    return np.errstate(divide="ignore", invalid="ignore", over="ignore")


class debug(ContextDecorator):
    """Raise where the first nan or infinity is made: a context manager, or a decorator.

    Inside, each result of an operation, each gradient that is asked for, and each new value of a
    parameter is looked at.

    Parameters
    ----------
    infinities : bool, default True
        Whether an infinity is a fault, too. If not, only nan is.

    Raises
    ------
    FloatingPointError
        For what is found. It names the operation, the layer by its path, the elements, what the
        operation was given, and your line, at which the traceback ends.

    Notes
    -----
    For a gradient the line is that of the forward pass: where the operation was called whose
    gradient was the first. A nan that comes in with data or a parameter is said to, when an
    operation passes it on. An infinity that comes in as a constant, such as the -inf of a mask, is
    no fault. In an argument or a parameter of the model it is.

    Results are the same bits. ``fit``, ``predict`` and compiled functions run eagerly. Threads of
    your own are not looked at. It may be nested: the innermost counts.

    Examples
    --------
    >>> from tinynn import Tensor, log
    >>> x = Tensor([1.0, 0.0, -0.5], requires_grad=True)
    >>> with debug():
    ...     log(x).sum()
    Traceback (most recent call last):
      ...
    FloatingPointError: log makes 1 nan and 1 -inf, the first at [1] of shape (3,).
      x: (3,) float64, from -0.5 to 1; 2 values <= 0, the smallest -0.5; at [1] it is 0
      Called in <doctest ...>, line 2, in <module>: log(x).sum()
    """

    def __init__(self, *, infinities: bool = True) -> None:
        self.infinities = check.flag("debug", "infinities", infinities)

    def __enter__(self) -> None:
        outer = listener.get()
        watch = copy.copy(outer) if isinstance(outer, _Watch) else _Watch(outer)  # which knows more
        watch.infinities = self.infinities
        _entered.set((*_entered.get(), (listen(watch), watch)))

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        *before, (token, watch) = _entered.get()
        _entered.set(tuple(before))
        listener.reset(token)
        if error is not None and error is watch.raised:
            watch.raised = last = None
            while trace is not None:
                last, trace = trace if is_users(trace.tb_frame) else last, trace.tb_next
            if last is not None:
                last.tb_next = None  # the traceback ends at the user's line

    def __call__(self, func: Any) -> Any:
        """Decorate ``func``; a generator or coroutine is refused, it would run outside."""
        return super().__call__(check.run_at_once("debug", func))


class _Watch(Watch):
    """Looks at what operations, gradients and updates make."""

    def __init__(self, outer: Any) -> None:
        super().__init__(outer)
        self.infinities = True
        self.meant: set[int] = set()  # births of results whose infinities are no fault
        self.raised: BaseException | None = None

    def fail(self, text: str) -> NoReturn:
        """Raise the error."""
        self.raised = FloatingPointError(text)
        raise self.raised

    def operation(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Compute, and look at the result."""
        with unwarned():
            result = super().operation(op, args, params)
        wrong = faults(result, self.infinities) is not None
        if wrong or is_recorded(result):
            place, layer = self.models.look()
            if wrong:
                self.judge(op, args, params, result, f"{within(layer)}.", called(place))
            if is_recorded(result):
                Noted(result, op.title, layer, place)
        return result

    def judge(
        self, op: Any, args: Any, params: dict[str, Any], result: Any, layer: str, place: str
    ) -> None:
        """Raise for a result that is not finite, unless it only passes on what is meant."""
        constants = [x for x in params.values() if isinstance(x, float)]  # such as pad's
        given = [x for x in (*args, *constants) if x is not None]
        array = values_of(result)
        nans = [x for x in given if faults(x, infinities=False) is not None]
        infinite = [x for x in given if faults(x) is not None]
        made = np.isnan(array) & (not nans)
        if self.infinities and not nans and (op.elementwise or not infinite):
            new = np.isinf(array)
            for x in infinite:
                new &= ~np.isinf(values_of(x))
            made |= new
        if made.any():
            lines = arguments(op, args, first(made), array.shape)
            self.fail(f"{op.title} makes {counted(array, made)}{layer}{lines}{place}")
        passed = nans if np.isnan(array).any() else infinite
        for x in passed:
            if getattr(x, "_birth", None) in self.meant:
                continue
            who = self.models.name(x)
            if who or nans:
                who = who or name(x) or f"an argument of {op.title}"
                told = f"{op.title} is given what is not finite: {who} holds {counted(x)}{layer}"
                self.fail(f"{told}\n  It came from outside, or was made before debug().{place}")
        if isinstance(result, Node):
            self.meant.add(result._birth)

    def on_gradients(self, plain: Any, caller: str, y: Any, g: Any, *rest: Any) -> Any:
        """Walk back, and look at the gradients that were asked for."""
        for what, x in (("y", y), ("g", g)):
            if x is not None and faults(x, self.infinities) is not None:
                told = f"{caller}: {what} itself holds {counted(x)}"
                self.fail(f"{told}.\n  It came from outside, or was made before debug().")
        walk = _Walk(self.outer)
        with heard_by(walk):
            found = plain(caller, y, g, *rest)
        for x, gradient in found:
            if faults(gradient, self.infinities) is not None:
                who = self.models.name(x) or name(x) or f"a Tensor of shape {x.shape}"
                unknown = "a gradient is not finite. Its operation was called before debug()."
                origin = walk.origins.get(x._birth, unknown)
                told = f"Then the gradient of {who} has {counted(gradient)}"
                self.fail(f"{caller}: {origin}\n  {told}.")
        return found

    def on_set_data(self, plain: Any, x: Any, value: Any) -> None:
        """Assign, and look at the new values."""
        plain(x, value)
        if faults(x, self.infinities) is not None:
            who = self.models.name(x) or name(x) or "a Tensor"
            self.fail(f"Tensor: the new data of {who} hold {counted(x)}.")

    def on__step(self, plain: Any, optimizer: Any) -> None:
        """Take an optimizer's step, and look at the parameters."""
        before = [(p._data, p.grad) for p in optimizer.parameters]
        with unwarned():
            plain(optimizer)
        for i, (p, (old, gradient)) in enumerate(zip(optimizer.parameters, before, strict=True)):
            wrong = faults(p, self.infinities)
            if wrong is not None:
                told = f"{type(optimizer).__name__}: the step makes {counted(p)}"
                who = self.models.name(p) or name(p) or f"parameters[{i}]"
                told += f", in {who}"
                told += described("before", old, first(wrong))
                told += "" if gradient is None else described("gradient", gradient, first(wrong))
                place = called(self.models.look()[0])
                self.fail(f"{told}\n  learning_rate = {optimizer.learning_rate!r}{place}")


class _Walk(Walk):
    """Remembers where each gradient that is not finite was made first."""

    def __init__(self, outer: Any) -> None:
        super().__init__(outer)
        self.origins: dict[Birth, str] = {}  # by birth of the node whose gradient it is

    def gradient(self, noted: Noted, i: int, g: Any, y: Any, *rest: Any) -> Any:
        """Return the gradient of argument ``i``, having looked at it."""
        share = super().gradient(noted, i, g, y, *rest)
        if share is None or faults(share) is None or noted.births[i] in self.origins:
            return share
        if faults(g) is None:
            origin = of_gradient(noted, i, g, share, rest[0])
        else:
            added = f"the gradients that reach the result of {noted.name} add up to {counted(g)}"
            added += f"{within(noted.layer)}.{called(noted.place)}"
            origin = self.origins.get(noted.birth, added)
        self.origins[noted.births[i]] = origin
        return share
