"""Nested tuples, lists and dicts: the one way to go through them."""

import copy
import functools
import types
from collections import deque
from collections.abc import Callable, Iterator, MappingView
from typing import Any

import numpy as np


def tree_map(f: Callable[[Any], Any], value: Any) -> Any:
    """Return nested tuples, lists and dicts with ``f(leaf)`` for each part that is none of these.

    >>> tree_map(abs, {"a": [-1, (2, -3)]})
    {'a': [1, (2, 3)]}
    """
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(tree_map(f, part) for part in value))
    if isinstance(value, (tuple, list)):
        return type(value)(tree_map(f, part) for part in value)
    if isinstance(value, dict):
        found = {} if type(value) is dict else copy.copy(value)  # an OrderedDict, a defaultdict
        found.update({key: tree_map(f, part) for key, part in value.items()})
        return found
    return f(value)


def tree_items(
    value: Any, path: str = "", above: tuple[Any, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, leaf) for each part that is no tuple, list or dict, in order.

    ``above``: the containers that ``value`` is in, none of which is gone through once more.

    >>> list(tree_items({"a": [-1, (2,)]}))
    [('a.0', -1), ('a.1.0', 2)]
    """
    if isinstance(value, (tuple, list)):
        children: Any = enumerate(value)
    elif isinstance(value, dict):
        children = value.items()
    else:
        yield path, value
        return
    if any(value is container for container in above):
        return
    for key, part in children:
        yield from tree_items(part, f"{path}.{key}" if path else str(key), (*above, value))


def tree_leaves(value: Any) -> list[Any]:
    """Return the leaves of nested tuples, lists and dicts, in order.

    >>> tree_leaves({"a": [-1, (2,)]})
    [-1, 2]
    """
    return [leaf for _, leaf in tree_items(value)]


PLAIN = {int, float, complex, str, bool, bytes, type(None)}  # types of most that holds nothing
_CLOSED = (np.dtype, type, types.FunctionType, types.ModuleType)


def hidden_parts(value: Any, kinds: tuple[type, ...], depth: int = 3) -> Iterator[Any]:
    """Yield what is of one of ``kinds`` in a leaf: in a set, an object, or what else holds parts.

    :func:`tree_items` does not look there. Nothing is called or used up; closures stay closed.

    >>> list(hidden_parts({"a", (2.0, "b")}, (float,)))
    [2.0]
    """
    if type(value) in PLAIN or isinstance(value, (*kinds, *_CLOSED)):
        return
    held: Any
    if isinstance(value, np.ndarray):
        held = value.tolist() if value.dtype == object else None
    elif isinstance(value, (set, frozenset, deque, MappingView)):
        held = [*value]  # type: ignore[misc]
    elif isinstance(value, types.MappingProxyType):
        held = dict(value)
    elif isinstance(value, functools.partial):
        held = [value.func, value.args, value.keywords]
    elif isinstance(value, types.MethodType):
        held = value.__self__
    else:
        slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
        held = [getattr(value, name, None) for name in slots] + [getattr(value, "__dict__", None)]
    for part in tree_leaves(held):
        if isinstance(part, kinds):
            yield part
        elif depth:
            yield from hidden_parts(part, kinds, depth - 1)
