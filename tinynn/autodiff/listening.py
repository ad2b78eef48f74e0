"""The one place to listen: what happens beside operations goes through here, too.

Without a listener everything is done as it is written. A listener is told of each operation and
of each effect (a gradient is set, values are read, an optimizer steps) and does it in its own way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)


class Listener(Protocol):
    """Does in its own way what it is told of."""

    def operation(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Return the result of an operation on arrays and Nodes."""

    def effect(self, verb: str, plain: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Return what ``plain(*args)`` would return; ``verb`` is the function's name."""


listener: ContextVar[Listener | None] = ContextVar("tinynn_listener", default=None)


@contextmanager
def heard_by(heard: Listener | None) -> Iterator[None]:
    """Let a listener, or nobody, listen to what this thread does inside."""
    token = listener.set(heard)
    try:
        yield
    finally:
        listener.reset(token)


def effect(plain: F, verb: str = "") -> F:
    """Let a listener take over a function of positional arguments; a decorator."""
    verb = verb or plain.__name__

    @wraps(plain)
    def done(*args: Any) -> Any:
        heard = listener.get()
        return plain(*args) if heard is None else heard.effect(verb, plain, args)

    return cast("F", done)


def effects(*names: str) -> Callable[[C], C]:
    """Let a listener take over methods and properties of a class; a decorator."""

    def decorate(cls: C) -> C:
        for name in names:
            member = vars(cls)[name]
            if isinstance(member, property):
                getter = effect(cast("Any", member.fget))
                setter = member.fset and effect(member.fset, f"set_{name}")
                setattr(cls, name, property(getter, setter, doc=member.__doc__))
            else:
                setattr(cls, name, effect(member))
        return cls

    return decorate
