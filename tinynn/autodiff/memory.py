"""Freed memory is kept for the next arrays, rather than given back to the system."""

from functools import cache

import numpy as np

LARGEST = 2**25 - 2**16  # bytes: just below what glibc always takes from the system anew


@cache
def keep_freed_memory() -> None:
    """Have the C library keep what is freed; done once, before the first large arrays.

    Linux's gives an array of more than 128 KB back to the system when it is freed, and the next
    one is mapped and zeroed page by page, until a larger one has been freed: then it keeps what is
    smaller than that (mallopt(3), M_MMAP_THRESHOLD, "dynamic"). So free a large one, untouched.
    """
    np.empty(LARGEST, np.uint8)
