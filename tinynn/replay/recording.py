"""What a rehearsal heard, as plain data: sources, steps in order, and what is left at the end.

Every array has a number, a :class:`Ref`, and is computed once: when a leaf is given new data, later
steps take another number. So no step depends on an effect having taken place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class ArraySpec:
    """Shape and dtype of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take."""
        return math.prod(self.shape) * self.dtype.itemsize


class Ref(NamedTuple):
    """The number of an array of the recording."""

    index: int  # type: ignore[assignment]


@dataclass
class Source:
    """Where an array comes from that no step computes.

    ``kind`` and ``value``: "argument" and its place; "leaf" and the Tensor whose data are read;
    "gradient" and the Tensor whose gradient is read; "constant" and the array itself, read at each
    replay; "draw" and the function that makes it anew.
    """

    kind: str
    value: Any


@dataclass(eq=False)
class Step:
    """An operation: ``op(*args, **params)`` makes ``result``. An argument is a Ref or plain."""

    op: Any  # a Primitive
    args: tuple[Any, ...]
    params: dict[str, Any]
    result: Ref


@dataclass(eq=False)
class Check:
    """Call ``check`` on arrays, for the errors that it raises."""

    check: Callable[..., None]
    args: tuple[Any, ...]


@dataclass(eq=False)
class Assign:
    """Give a leaf new data."""

    leaf: Any
    value: Ref


@dataclass(eq=False)
class Update:
    """A step of an optimizer.

    ``step()`` takes it; before, each parameter gets its gradient (a Ref, or None), and afterwards
    its new data are those of ``results`` (a Ref each, in the same order).
    """

    step: Callable[[], None]
    parameters: list[Any]
    gradients: list[Ref | None]
    results: list[Ref]


@dataclass
class Returned:
    """A part of what the call returned: an array, handed out as "tensor", "array" or "number"."""

    ref: Ref
    kind: str


@dataclass
class Recording:
    """What one call did. ``gradients``: those that it left, by leaf; None for one taken away."""

    specs: list[ArraySpec] = field(default_factory=list)  # by number
    sources: dict[int, Source] = field(default_factory=dict)  # by number
    steps: list[Any] = field(default_factory=list)  # Step, Check, Assign, Update
    gradients: list[tuple[Any, Ref | None]] = field(default_factory=list)
    result: Any = None  # nested, with a Returned for each array
