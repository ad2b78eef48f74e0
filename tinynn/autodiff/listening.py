"""The one place to listen: what happens beside operations goes through here, too.

Without a listener everything is done as it is written. A listener is told of each operation and
of each effect (a gradient is set, values are read, an optimizer steps) and does it in its own way.
"""

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class Listener(Protocol):
    """Does in its own way what it is told of."""

    def operation(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Return the result of an operation on arrays and Nodes."""

    def effect(self, verb: str, plain: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Return what ``plain(*args)`` would return; ``verb`` says what it is for."""


listener: ContextVar[Listener | None] = ContextVar("tinynn_listener", default=None)


def effect(verb: str) -> Callable[[F], F]:
    """Let a listener take over a function of positional arguments; a decorator."""

    def decorate(plain: F) -> F:
        @wraps(plain)
        def done(*args: Any) -> Any:
            heard = listener.get()
            return plain(*args) if heard is None else heard.effect(verb, plain, args)

        return cast("F", done)

    return decorate
