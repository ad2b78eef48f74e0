"""Words for what is not finite, and for the arrays that it was made of."""

from typing import Any

import numpy as np

from tinynn.autodiff.graph import Node
from tinynn.debugging.noting import Noted
from tinynn.debugging.places import Place

SHOWN = 4  # arguments that a message describes


def values_of(x: Any) -> np.ndarray:
    """Return the values of a Tensor, array or number."""
    return x._data if isinstance(x, Node) else np.asarray(x)


def faults(x: Any, infinities: bool = True) -> Any:
    """Return where ``x`` is nan, or infinite if that counts; None if it is nowhere."""
    array = values_of(x)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    found = ~np.isfinite(array) if infinities else np.isnan(array)
    return found if found.any() else None


def first(mask: Any) -> tuple[int, ...]:
    """Return the index of the first element that is true."""
    return tuple(int(i) for i in np.argwhere(mask)[0])


def counted(x: Any, where: Any = True) -> str:
    """Return how many nan and infinities there are: "3 nan and 1 -inf, the first at [0] of ..."."""
    array = values_of(x)
    kinds = {"nan": np.isnan(array), "inf": np.isposinf(array), "-inf": np.isneginf(array)}
    found = {name: mask & where for name, mask in kinds.items() if (mask & where).any()}
    if not array.ndim:
        return next(iter(found))
    text = " and ".join(f"{mask.sum()} {name}" for name, mask in found.items())
    which = "" if text.startswith("1 ") and len(found) == 1 else "the first "
    return f"{text}, {which}at {list(first(sum(found.values())))} of shape {array.shape}"


def described(name: str, x: Any, at: tuple[int, ...] | None = None) -> str:
    """Return a line for what an array holds; ``at``: an element of special interest."""
    array = values_of(x)
    if not array.ndim:
        return f"\n  {name} = {array.item()!r}"
    text, finite = f"\n  {name}: {array.shape} {array.dtype}", array[np.isfinite(array)]
    if array.dtype.kind == "b" or not array.size:
        return text
    if finite.size:
        text += f", from {finite.min():.4g} to {finite.max():.4g}"
    if finite.size < array.size:
        text += f", with {counted(array)}"
    if low := int((finite <= 0).sum()):
        text += f"; {low} value{'s' * (low > 1)} <= 0, the smallest {finite.min():.4g}"
    return text if at is None else f"{text}; at {list(at)} it is {array[at]:.6g}"


def arguments(op: Any, args: Any, at: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Return lines for what an operation was given, whose result is not finite ``at``."""
    names = [f"argument {i}" for i in range(len(args))] if op.variadic else op._array_names
    given = [(name, x) for name, x in zip(names, args, strict=True) if x is not None]
    text = ""
    for name, x in given[:SHOWN]:
        there, own = None, values_of(x).shape
        if op.elementwise:  # the element that it was made of
            inner = at[len(shape) - len(own) :]
            there = tuple(i if n > 1 else 0 for i, n in zip(inner, own, strict=True))
        text += described(name, x, there)
    return text + (f"\n  and {len(given) - SHOWN} more" if len(given) > SHOWN else "")


def of_gradient(noted: Noted, i: int, g: Any, share: Any, arrays: Any) -> str:
    """Say that the gradient ``share`` of an operation is not finite, and from what it was made."""
    at, shape = first(faults(share)), values_of(share).shape
    name = f"argument {i}" if noted.variadic else noted._array_names[i]
    same = at if shape == values_of(g).shape else None
    return (
        f"the gradient of {noted.name} makes {counted(share)}, for its {name}{within(noted.layer)}."
        f"{arguments(noted, arrays, at, shape)}{described('gradient of its result', g, same)}"
        f"{called(noted.place)}"
    )


def within(layer: str) -> str:
    """Return ", in layers.2 (Dense)", or nothing."""
    return f", in {layer}" if layer else ""


def called(place: Place | None) -> str:
    """Return a line for a place."""
    return "" if place is None else f"\n  Called in {place}"
