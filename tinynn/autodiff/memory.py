"""Memory for arrays: aligned, and several of them side by side."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
LARGEST = 2**25 - 2**16  # bytes: just below what glibc always takes from the system anew

# Linux's C library gives an array of more than 128 KB back to the system when it is freed, and the
# next one is mapped and zeroed page by page, until a larger one has been freed: then it keeps what
# is smaller than that (mallopt(3), M_MMAP_THRESHOLD, "dynamic"). So free a large one, never
# touched.
np.empty(LARGEST, np.uint8)


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialised array that starts on a cache line."""
    dtype = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.intp)) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + nbytes].view(dtype).reshape(shape)


def parts_of(flat: np.ndarray, like: Sequence[Any]) -> list[np.ndarray]:
    """Cut a flat array into parts with the shapes of ``like``."""
    ends = list(itertools.accumulate(array.size for array in like))
    return [
        flat[end - array.size : end].reshape(array.shape)
        for end, array in zip(ends, like, strict=True)
    ]


def side_by_side(like: Sequence[Any]) -> tuple[np.ndarray | None, list[np.ndarray]]:
    """Return a flat array and its parts in the shapes of ``like``; None if dtypes differ."""
    if len({array.dtype for array in like}) != 1:
        return None, []
    flat = aligned((sum(array.size for array in like),), like[0].dtype)
    return flat, parts_of(flat, like)


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return one flat view of arrays that lie side by side, or None if they do not."""
    first = arrays[0]
    start = first.ctypes.data
    for array in arrays:
        if array.ctypes.data != start or array.dtype != first.dtype or not array.flags.c_contiguous:
            return None
        start += array.nbytes
    size = sum(array.size for array in arrays)
    return np.lib.stride_tricks.as_strided(first.reshape(-1), (size,), (first.itemsize,))
