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
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.layer import Layer

# What a class body may hold without doing anything that its bases do not do.
HARMLESS = set(dir(object)) | {
    *("__module__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__"),
    *("__static_attributes__", "__orig_bases__", "__parameters__", "__annotate__"),
    *("__annotate_func__", "__annotations_cache__", "__classdictcell__"),
}


def unknown_part(model: Layer, loss: Callable[..., Any] | None = None) -> str | None:
    """Return what is not known to be pure, and what to do about it; None if all is."""
    part = next((p for _, layer in model.named_layers() if (p := _in_layer(layer))), None)
    if part is None and loss is not None:
        part = _in_function(loss)
    if part is None:
        return None
    return (
        f"{part} is not known to depend on its arguments and Tensors alone. If that is so, mark it "
        "with @tnn.pure, or give compile=True, and it is replayed; else all is well as it is"
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


def _in_layer(layer: Layer) -> str | None:
    """Return the part of a layer that is not known to be pure."""
    cls = type(layer)
    for base in cls.__mro__:
        if base is object or is_marked(base):
            continue
        own = is_own(base)
        for name, value in vars(base).items():
            if own and not (isinstance(value, FunctionType) and _foreign(value)):
                continue
            if name not in HARMLESS and (callable(value) or hasattr(value, "__get__")):
                inherited = name == "reach" and value is Layer.reach
                if not inherited:
                    return f"{base.__name__}.{name}{_place(value)}"
    for name, value in vars(layer).items():
        if hasattr(cls, name) and callable(getattr(cls, name)):
            return f"{cls.__name__}.{name}{_place(value)}"
        for leaf in tree_leaves(value):
            if callable(leaf) and not isinstance(leaf, (Layer, Tensor, type, np.random.Generator)):
                part = _in_function(leaf)
                if part is not None:
                    return f"{cls.__name__}.{name}: {part}"
    return None


def _foreign(function: FunctionType) -> bool:
    """Tell whether somebody else has put a function into one of tinynn's classes."""
    return not function.__module__.startswith("tinynn.")


def _in_function(f: Any) -> str | None:
    """Return the part of a function that is not known to be pure."""
    if isinstance(f, partial):
        inner = [p for p in tree_leaves([f.args, f.keywords]) if callable(p)]
        return next((part for g in (f.func, *inner) if (part := _in_function(g))), None)
    if isinstance(f, np.ufunc):
        return None
    if isinstance(f, Layer):
        return _in_layer(f)
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
