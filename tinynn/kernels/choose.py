"""Which way for which sizes.

- A filter for each channel, stride 1, at most four taps: tap by tap (depthwise.py).
- Long kernels of many channels, in single or double precision, stride 1, one group: by block
  transforms (overlap_save.py), where these need less work. Their rounding is relative to the
  largest output nearby, so the input gradient of a single operation, the public transposed
  convolution, does without them.
- All else: products with block-Toeplitz matrices (toeplitz.py).
- A result that is not finite is computed again, directly (direct.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from tinynn.kernels import overlap_save
from tinynn.kernels.depthwise import Depthwise
from tinynn.kernels.geometry import Fold, Pair, Settings, layout
from tinynn.kernels.overlap_save import OverlapSave, best_size
from tinynn.kernels.padded_batch import Way
from tinynn.kernels.toeplitz import Toeplitz

TOEPLITZ = Toeplitz()
SMALL = 2**16  # numbers of an array, up to which memory is kept for the next convolution
FEW_TAPS = 4  # of a depthwise convolution: with more, products are faster


def room(taps: int, channels: int, filters: int) -> int:
    """Return the room that padded batches need for the products of a convolution, done any way."""
    return max(f(taps, channels, filters) for f in (Toeplitz.room, overlap_save.room))


def way(
    taps: int, channels: int, filters: int, dtype: np.dtype[Any],
    known: dict[Any, np.ndarray] | None = None, names: Sequence[Any] = (0, 1),
) -> Way:  # fmt: skip
    """Return the way for calls that are repeated, of one group, stride 1 and dilation 1.

    ``known`` and ``names``: transforms to share, see :class:`OverlapSave`.
    """
    size = best_size(taps, channels, filters)
    return TOEPLITZ if size is None else OverlapSave(size, taps, dtype, known, names)


@dataclass(frozen=True, eq=False)
class Plan:
    """How a single convolution is computed: a way, and where series stand in padded batches."""

    way: Way
    size: int | None  # of blocks, if forward and kernel gradient are by a new OverlapSave
    fold: Fold | None  # how to fold stride, dilation and groups away; None if the way needs none
    left: int
    x_layout: Pair  # pitch and gap of batches of inputs
    g_layout: Pair  # the same of gradients of outputs, for the input gradient
    room: int
    x_shape: tuple[int, ...]  # of the inputs, kernel and outputs as they are folded
    kernel_shape: tuple[int, ...]
    g_shape: tuple[int, ...]

    @cached_property
    def small(self) -> bool:
        """Whether no array is larger than what is copied sooner than new memory is found."""
        return max(map(math.prod, (self.x_shape, self.kernel_shape, self.g_shape))) <= SMALL


@lru_cache(maxsize=512)
def plan(
    x: tuple[int, int], kernel: tuple[int, ...], outputs: int, dtype: np.dtype[Any], how: Settings
) -> Plan:
    """Return the plan for (n, length) of the inputs and the shape of the kernel."""
    (series, length), (taps, width, filters) = x, kernel
    strides, padding, dilation, groups = how
    left, reach, room = padding[0], dilation * (taps - 1), 0
    way: Way = TOEPLITZ
    fold = size = None
    shapes: tuple[tuple[int, ...], ...]
    shapes = (series, length, width * groups), kernel, (series, outputs, filters)
    floats = dtype.char in "fd"
    if floats and groups == filters > 1 == width == strides and taps <= FEW_TAPS:
        way = Depthwise(dilation)
    elif series and outputs:
        if not strides == dilation == groups == 1:
            fold = Fold(length, taps, outputs, how)
            left, taps, width = 0, fold.folded_taps, width * fold.chunk
            length, outputs, reach = fold.folded_steps, fold.folded_outputs, taps - 1
            shapes = fold.shapes(series, width, filters // groups)
        elif floats:
            size = best_size(taps, width, filters, max(1, series * outputs))
        room = Toeplitz.room(taps, width, filters // groups)
        room = room if size is None else 2 * size + taps  # which is more
    layouts = layout(length, left, outputs, reach), layout(outputs, reach - left, length, reach)
    return Plan(way, size, fold, left, *layouts, room, *shapes)
