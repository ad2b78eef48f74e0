"""Memory for arrays: aligned, side by side, and used again when nobody reads it any more."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinynn.replay.recording import ArraySpec

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialised array that starts on a cache line."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + nbytes].view(dtype).reshape(shape)


def parts_of(flat: np.ndarray, shapes: Iterable[tuple[int, ...]]) -> list[np.ndarray]:
    """Cut a flat array into parts of these shapes."""
    shapes = list(shapes)
    ends = itertools.accumulate(map(math.prod, shapes))
    return [flat[e - math.prod(s) : e].reshape(s) for e, s in zip(ends, shapes, strict=True)]


class Buffer:
    """Memory that holds one array at a time; ``holders``: the numbers that live in it now."""

    def __init__(self, place: Any, key: Any) -> None:
        self.place, self.key = place, key  # plain memory or a padded batch, and what fits in
        self.holders: set[int] = set()


class Buffers:
    """Buffers by the number of the array that lives there, and those that are free."""

    def __init__(self) -> None:
        self._of: dict[int, Buffer] = {}
        self._free: list[Buffer] = []

    def array(self, index: int, spec: ArraySpec) -> np.ndarray:
        """Return memory for an array: the smallest free buffer that it fits in, or a new one."""
        n = spec.nbytes
        fits = [b for b in self._free if b.key is None and n <= b.place.nbytes <= 2 * n + 4096]
        if fits:
            buffer = min(fits, key=lambda b: b.place.nbytes)
            self._free.remove(buffer)
        else:
            buffer = Buffer(aligned((n,), np.uint8), None)
        self._hold(index, buffer)
        return buffer.place[:n].view(spec.dtype).reshape(spec.shape)

    def free_place(self, index: int, key: Any) -> Any:
        """Take a free buffer that was held under ``key``; return its place, or None."""
        for buffer in self._free:
            if buffer.key == key:
                self._free.remove(buffer)
                self._hold(index, buffer)
                return buffer.place
        return None

    def hold(self, index: int, place: Any, key: Any) -> None:
        """Let an array live in a new place, which others of the same key get afterwards."""
        self._hold(index, Buffer(place, key))

    def _hold(self, index: int, buffer: Buffer) -> None:
        buffer.holders.add(index)
        self._of[index] = buffer

    def share(self, index: int, other: int) -> None:
        """Let an array live where another one does, as a view of it."""
        if other in self._of:
            self._hold(index, self._of[other])

    def alone(self, index: int) -> bool:
        """Tell whether nothing else lives where an array does, so that it may be overwritten."""
        return index in self._of and self._of[index].holders == {index}

    def release(self, index: int) -> None:
        """Note that an array is not read any more."""
        buffer = self._of.pop(index, None)
        if buffer is not None:
            buffer.holders.discard(index)
            if not buffer.holders:
                self._free.append(buffer)
