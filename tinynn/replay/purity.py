"""What is known to be pure: tinynn's own parts, and what its author has marked.

A pure function's result depends on its arguments and on Tensors that it holds. Nothing is inferred
from what a function does: it is ours, or marked with :func:`tinynn.pure`, or not known.
"""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from tinynn._marks import is_marked
from tinynn._trees import tree_leaves
from tinynn.autodiff.primitive import Primitive
from tinynn.nn.layer import Layer
from tinynn.replay.tracing import PACKAGE

# What a class body may hold without doing anything that its bases do not do.
HARMLESS = set(dir(object)) - {"__getattribute__"} | {
    *("__module__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__"),
    *("__static_attributes__", "__orig_bases__", "__parameters__", "__annotate__"),
    *("__annotate_func__", "__annotations_cache__", "__classdictcell__"),
}


# Types of values in which there is no code of anybody's.
HARMLESS_TYPES = {int, float, bool, complex, str, np.ndarray, np.memmap, np.random.Generator}
NUMBERLIKE = "__array__", "__float__", "__index__"


def unknown_part(model: Layer, loss: Callable[..., Any] | None = None) -> str | None:
    """Return what is not known to be pure, and what to do about it; None if all is."""
    part = unknown_layer(model)
    if part is None and loss is not None:
        part = _in_function(loss)
    if part is None:
        return None
    return (
        f"{part} is not known to depend on its arguments and Tensors alone. If that is so, mark it "
        "with @tnn.pure, or give compile=True, and it is replayed. If not, the result is right all "
        "the same"
    )


def trusted(model: Layer, loss: Any = None) -> bool:
    """Tell whether all is tinynn's own, so that nobody's word is relied on."""
    loss = loss.func if isinstance(loss, partial) else loss
    layers = all(is_own(type(layer)) for _, layer in model.named_layers())
    return layers and (loss is None or is_own(loss))


def is_own(thing: Any) -> bool:
    """Tell whether a function, class or operation is one of tinynn's."""
    module = getattr(thing, "__module__", None) or ""
    if module != "tinynn" and not module.startswith("tinynn."):
        return False
    found: Any = sys.modules.get(module)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


def known_function(f: Any) -> bool:
    """Tell whether a function is known to be pure; an object of ours is, if what it holds is."""
    if is_own(type(f)):
        return all(map(known_function, filter(callable, vars(f).values())))
    return _in_function(f) is None


def unknown_layer(model: Layer) -> str | None:
    """Return the part of a layer, or of one below, that is not known to be pure."""
    return next((p for _, layer in model.named_layers() if (p := _in_layer(layer))), None)


def _in_layer(layer: Layer) -> str | None:
    """Return the part of a layer that is not known to be pure."""
    cls = type(layer)
    for base in cls.__mro__[:-1]:
        if is_marked(base):
            continue
        own = is_own(base)
        for name, value in vars(base).items():
            if own and not _exchanged(value):
                continue
            if name not in HARMLESS and (callable(value) or hasattr(value, "__get__")):
                inherited = name == "reach" and value is Layer.reach
                if not inherited:
                    return f"{base.__name__}.{name}{_place(value)}"
    for name, value in vars(layer).items():
        if hasattr(cls, name) and callable(getattr(cls, name)):
            return f"{cls.__name__}.{name}{_place(value)}"
        part = None if isinstance(value, Layer) else _in_value(value)
        if part is not None:
            return f"{cls.__name__}.{name}: {part}"
    return None


def _exchanged(member: Any) -> bool:
    """Tell whether a member of one of tinynn's classes was put there by somebody else."""
    member = getattr(member, "fget", getattr(member, "__func__", member))
    if isinstance(member, FunctionType):
        return not inspect.getfile(member).startswith(PACKAGE)
    if isinstance(member, Primitive):
        return not is_own(member)
    return callable(member) and not isinstance(member, type)


def _in_value(value: Any) -> str | None:
    """Return what may run code of a user's when a value is used: a function, or an odd number."""
    kind = type(value)
    if isinstance(value, (list, tuple, dict)):
        if kind.__module__ not in ("builtins", "collections") and not hasattr(kind, "_fields"):
            return f"{kind.__name__}{_place(kind)}"
        held = value.values() if isinstance(value, dict) else value
        parts = (_in_value(part) for part in held if not isinstance(part, Layer))
        return next(filter(None, parts), None)
    if kind in HARMLESS_TYPES or isinstance(value, (type, np.generic)):
        return None
    if callable(value):
        return _in_function(value)
    if is_own(kind):
        return None
    odd = isinstance(value, np.random.Generator) or any(hasattr(kind, n) for n in NUMBERLIKE)
    return f"{kind.__name__}{_place(value)}" if odd and not is_marked(kind) else None


def _in_function(f: Any) -> str | None:
    """Return the part of a function that is not known to be pure."""
    if isinstance(f, partial):
        layers = [part for part in tree_leaves([f.args, f.keywords]) if isinstance(part, Layer)]
        parts = [_in_value([f.func, f.args, f.keywords]), *map(unknown_layer, layers)]
        return next(filter(None, parts), None)
    if isinstance(f, np.ufunc):
        return None
    if isinstance(f, Layer):
        return unknown_layer(f)
    known = f.__func__ if isinstance(f, MethodType) else f
    if is_marked(known) or (isinstance(f, (FunctionType, Primitive)) and is_own(f)):
        return None
    if not isinstance(f, (FunctionType, MethodType, Primitive, type)) and is_marked(type(f)):
        return None
    name = getattr(f, "__qualname__", type(f).__qualname__)
    return f"{name.rpartition('<locals>.')[2]}{_place(f)}"


def _place(thing: Any) -> str:
    """Return where a function or class is written, as " (train.py, line 12)"."""
    thing = getattr(thing, "fget", None) or getattr(thing, "forward", None) or thing
    for there in (thing, type(thing)):
        try:
            path, line = inspect.getsourcefile(there), inspect.getsourcelines(there)[1]
        except (TypeError, OSError):
            continue
        return f" ({Path(path or '').name}, line {line})"
    return ""
