"""Nested tuples, lists and dicts: the one way to go through them."""

from collections.abc import Callable, Iterator
from typing import Any


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
        return {key: tree_map(f, part) for key, part in value.items()}
    return f(value)


def tree_items(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, leaf) for each part that is no tuple, list or dict, in order.

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
    for key, part in children:
        at = f"{path}.{key}" if path else str(key)
        if isinstance(part, (tuple, list, dict)):
            yield from tree_items(part, at)
        else:  # without another call, for there are many
            yield at, part


def tree_leaves(value: Any) -> list[Any]:
    """Return the leaves of nested tuples, lists and dicts, in order.

    >>> tree_leaves({"a": [-1, (2,)]})
    [-1, 2]
    """
    return [leaf for _, leaf in tree_items(value)]
