"""Memory for arrays: aligned, side by side, and used again when nobody reads it any more."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialised array that starts on a cache line."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + nbytes].view(dtype).reshape(shape)


def side_by_side(shapes: Sequence[tuple[int, ...]], dtype: Any) -> tuple[Any, list[np.ndarray]]:
    """Return a flat array of zeros, and its parts of these shapes."""
    ends = [0, *itertools.accumulate(map(math.prod, shapes))]
    flat = aligned((ends[-1],), dtype)
    flat[...] = 0
    bounds = zip(itertools.pairwise(ends), shapes, strict=True)
    return flat, [flat[start:end].reshape(shape) for (start, end), shape in bounds]


class Buffers:
    """Places by the number of the array that lives there; free ones by what fits there."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[Any, Any, set[int]]] = {}  # place, what fits, who lives there
        self._free: dict[Any, list[Any]] = {}

    def take(self, index: int, fitting: Any, make: Callable[[], Any]) -> Any:
        """Return a place for an array: a free one for what is ``fitting``, or a new one."""
        free = self._free.get(fitting)
        place = free.pop() if free else make()
        self._of[index] = place, fitting, {index}
        return place

    def share(self, index: int, other: int) -> None:
        """Let an array live where another one does, as a view of it."""
        if other in self._of:
            self._of[index] = self._of[other]
            self._of[index][2].add(index)

    def alone(self, index: int) -> bool:
        """Tell whether nothing else lives where an array does, so that it may be overwritten."""
        return index in self._of and self._of[index][2] == {index}

    def release(self, index: int) -> None:
        """Note that an array is not read any more."""
        if index in self._of:
            place, fitting, living = self._of.pop(index)
            living.discard(index)
            if not living:
                self._free.setdefault(fitting, []).append(place)
