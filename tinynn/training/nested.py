"""Nested states as JSON and arrays: dicts, lists, numbers, texts, arrays, back bit for bit."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinynn import _checks as check

DEEPEST = 100  # dicts in dicts


class NotKept(TypeError):
    """A state holds what cannot be kept."""


def flattened(state: Any) -> tuple[str, dict[str, np.ndarray]]:
    """Return a state as JSON, and the arrays that it refers to; raise NotKept, with the path.

    A JSON object is a dict with texts for keys; a JSON list begins with what it stands for.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        return json.dumps(_plain(state, "", arrays, 0), allow_nan=False), arrays
    except ValueError as error:  # an integer of thousands of digits
        raise NotKept(f"the state cannot be kept: {error}") from error


def _plain(value: Any, path: str, arrays: dict[str, np.ndarray], depth: int) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        exact = math.isfinite(value)
        return value if exact else ["float", struct.pack(">d", value).hex()]
    if depth > DEEPEST:
        raise NotKept(f"{path[:80]}... is nested too deeply. Does it hold itself?")
    if isinstance(value, dict):
        parts = {key: _plain(v, _below(path, key), arrays, depth + 1) for key, v in value.items()}
        if all(type(key) is str for key in parts):
            return parts
        keys = [_plain(key, f"{path}: a key", arrays, depth + 1) for key in parts]
        return ["items", *map(list, zip(keys, parts.values(), strict=True))]
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, *(_plain(v, _below(path, i), arrays, depth + 1) for i, v in enumerate(value))]
    known = isinstance(value, (np.ndarray, np.generic)) and not hasattr(value, "filled")
    if not known or value.dtype.hasobject or value.dtype.names is not None:
        raise NotKept(
            f"{path or 'the state'} is {check.shown(value)}, a {type(value).__name__}. A state is "
            "kept if it is made of dicts, lists, tuples, numbers, texts, None and arrays."
        )
    arrays[name := str(len(arrays))] = np.asarray(value)
    return ["array" if isinstance(value, np.ndarray) else "scalar", name]


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def restored(plain: Any, array: Callable[[str], np.ndarray]) -> Any:
    """Return the state in parsed JSON; ``array`` gives the array of a name."""
    if isinstance(plain, dict):
        return {key: restored(part, array) for key, part in plain.items()}
    if not isinstance(plain, list):
        return plain
    kind, *parts = plain
    if kind in ("list", "tuple"):
        found = [restored(part, array) for part in parts]
        return found if kind == "list" else tuple(found)
    if kind == "items":
        return {restored(key, array): restored(part, array) for key, part in parts}
    [name] = parts
    if kind == "float":
        return struct.unpack(">d", bytes.fromhex(name))[0]
    if kind in ("array", "scalar"):
        return array(name) if kind == "array" else array(name)[()]
    raise ValueError(f"{check.shown(kind)} is no kind of value")


# ---------------------------------------------------------------- what differs


def differences(there: Any, here: Any, path: str = "") -> list[str]:
    """Return a line for each part in which two nested settings differ.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    ['a.c: 2 there, 3 here']
    """
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        lines = []
        for key in dict.fromkeys([*there, *here]):
            lines += differences(there.get(key), here.get(key), _below(path, key))
        return lines
    same = type(there) is type(here) and there == here
    return [] if same else [f"{path}: {_shown(there)} there, {_shown(here)} here"]


def _shown(value: Any) -> str:
    return "none" if value is None else check.shown(value)
