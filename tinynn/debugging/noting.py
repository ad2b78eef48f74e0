"""Listeners that have all done as it is written, and note in the graph where operations are called.

In the graph a :class:`Noted` stands for the operation. The walk back asks it for each gradient.
"""

from collections.abc import Callable
from typing import Any

from tinynn.autodiff.graph import Node
from tinynn.autodiff.listening import Listener, effect, heard_by, listener
from tinynn.debugging.places import Models, Place

Birth = int | None


class Noted:
    """An operation in a graph, with where it was called. All else is the operation's."""

    __slots__ = ("birth", "births", "layer", "name", "op", "place")

    def __init__(self, node: Any, name: str, layer: str, place: Place | None) -> None:
        self.op, self.name, self.layer, self.place = node._trace.op, name, layer, place
        self.birth: Birth = node._birth
        self.births: list[Birth] = [getattr(arg, "_birth", None) for arg in node._trace.args]
        node._trace = node._trace._replace(op=self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.op, name)

    def vjp(self, i: int, g: Any, y: Any, arrays: Any, params: dict[str, Any]) -> Any:
        """Return the gradient of argument ``i``; who follows the walk back computes it."""
        walk = listener.get()
        rule = walk.gradient if isinstance(walk, Walk) else Noted.gradient
        return rule(self, i, g, y, arrays, params)

    def gradient(self, *args: Any) -> Any:
        """Return the same, unheard of."""
        return self.op.vjp(*args)


class Watch:
    """A listener that has all done as it is written. ``outer``: who listened before."""

    def __init__(self, outer: Listener | None) -> None:
        self.outer, self.models = outer, Models()

    def operation(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Compute; what the operation itself computes with is not heard."""
        with heard_by(self.outer):
            if self.outer is None:
                return op.apply(args, params)
            return self.outer.operation(op, args, params)

    def effect(self, verb: str, plain: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Do it, by a method ``on_...`` if there is one for it."""
        own = getattr(self, f"on_{verb}", None)
        if own is not None:
            return own(plain, *args)
        return plain(*args) if self.outer is None else self.outer.effect(verb, plain, args)


class Walk(Watch):
    """Listens to a walk back; ``of``: to what computes the gradient of one operation."""

    def __init__(self, outer: Listener | None, of: Noted | None = None) -> None:
        super().__init__(outer)
        self.of = of

    def operation(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Compute, and note for which gradient: a second derivative may ask."""
        result = super().operation(op, args, params)
        of, name = self.of, f"{op.title} of gradients"
        if of is not None:
            name = f"{op.title} in the gradient of {of.name}"
        if is_recorded(result):
            Noted(result, name, of.layer if of else "", of.place if of else None)
        return result

    def gradient(self, noted: Noted, i: int, g: Any, y: Any, *rest: Any) -> Any:
        """Return the gradient of argument ``i`` of an operation."""
        # Given plain arrays nothing is recorded, and there is nothing to note.
        with heard_by(Walk(self.outer, noted) if isinstance(y, Node) else self.outer):
            return noted.op.vjp(i, g, y, *rest)


def is_recorded(result: Any) -> bool:
    """Tell whether a result is part of a graph."""
    return isinstance(result, Node) and result._trace is not None


@effect
def listen(watch: Watch) -> Any:
    """Let ``watch`` listen from now on; return a token for ``listener.reset``."""
    return listener.set(watch)
