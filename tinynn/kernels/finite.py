"""Whether an array is finite: asked of every product of which a nan must not spread."""

import math
from typing import Any

import numpy as np


def all_finite(array: Any) -> bool:
    """Tell whether no element is infinite or nan."""
    if array.dtype.kind == "c" or array.dtype.itemsize < 4:
        return bool(np.isfinite(array).all())
    if isinstance(array, np.ndarray) and array.flags.c_contiguous:
        flat = array.reshape(-1)
        total = flat.dot(flat)  # half the time of a sum
    else:
        total = np.add.reduce(array, axis=None)
    return math.isfinite(total) or bool(np.isfinite(array).all())  # large ones may overflow
