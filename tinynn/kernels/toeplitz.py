"""Convolution by products with a block-Toeplitz matrix: the usual way.

A row of ``width`` = t + taps - 1 steps gives t neighbouring outputs by one product with a matrix
that holds the kernel t times, one step further down for each output. Rows that start phases * t
steps apart do not overlap. So they are a view of a padded batch, which BLAS takes as it is.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from tinynn.kernels.padded_batch import Call, PaddedBatch

FEW = 32  # rows of a product, fewer than which it is faster to copy them and make one product
TILE = 2048  # numbers of a repeated bias: adding short rows costs more than their arithmetic


def outputs_per_row(taps: int, channels: int, filters: int) -> int:
    """Return t. Thin products are slow, wide ones waste arithmetic: (t + taps - 1) / taps."""
    thin = max(1, min(channels, filters))
    return 8 if thin == 1 else max(1, min(8, taps, 32 // thin))


@lru_cache
def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of ``number`` that is no larger than ``most``, or 1."""
    return next((d for d in range(most, 1, -1) if number % d == 0), 1)


class RowTiling:
    """How the outputs of all series are divided: ``t`` neighbours by one row of ``width`` steps.

    ``phases`` views with ``count`` rows each hold all rows, for ``written`` outputs, those that
    belong to nobody included. With ``copied``, for a few rows: one phase, of rows that overlap.
    """

    def __init__(self, taps: int, channels: int, filters: int, steps: int) -> None:
        self.sizes = taps, channels, filters
        self.t = outputs_per_row(taps, channels, filters)
        self.width = self.t + taps - 1
        self.phases = -(-self.width // self.t)
        self.count = -(-steps // (self.phases * self.t))
        self.copied = self.phases > 2 and self.count < FEW
        if self.copied:
            self.phases, self.count = 1, -(-steps // self.t)
        self.every = self.phases * self.t  # steps from one row of a phase to the next
        self.written = self.count * self.every

    def view(self, flat: np.ndarray, first: int, width: int, count: int) -> np.ndarray:
        """View flat (groups, rows, channels) as (groups, phases, count, width * channels)."""
        groups, rows, channels = flat.shape
        by_row = channels * flat.itemsize
        shape = groups, self.phases, count, width * channels
        strides = rows * by_row, self.t * by_row, self.every * by_row, flat.itemsize
        return np.ndarray(shape, flat.dtype, flat, first * by_row, strides)

    def windows(
        self, batch: PaddedBatch, first: int
    ) -> tuple[list[Call], list[tuple[slice, np.ndarray]]]:
        """View the rows of ``batch`` from step ``first`` on, those past its end in a copy.

        Returns the calls that copy, and pairs: which of the rows of each phase, and their view.
        """
        flat, start = batch.flat, batch.gap + first
        inside = max(0, (flat.shape[1] - start - self.width + self.t) // self.every)
        inside = min(inside, self.count)
        calls: list[Call] = []
        parts: list[tuple[slice, np.ndarray]] = []
        if rest := self.count - inside:
            shape = len(flat), rest * self.every + self.width, flat.shape[2]
            tail = np.zeros(shape, flat.dtype)
            left = flat[:, start + inside * self.every :][:, : shape[1]]
            calls.append((np.copyto, (tail[:, : left.shape[1]], left)))
            parts.append((slice(inside, None), self.view(tail, 0, self.width, rest)))
        if inside:
            parts.append((slice(inside), self.view(flat, start, self.width, inside)))
        if self.copied:
            copied = np.empty((len(flat), 1, self.count, self.width * flat.shape[2]), flat.dtype)
            for part, view in parts:
                calls.append((np.copyto, (copied[:, :, part], view)))
            parts = [(slice(None), copied)]
        return calls, parts

    def matrix(self, groups: int, phases: int, dtype: np.dtype[Any]) -> tuple[Any, Any]:
        """Return zeros (groups, phases, width * channels, t * filters), and the kernel's places.

        These are a view of it, (groups, phases, t, taps, channels, filters).
        """
        taps, channels, filters = self.sizes
        matrix = np.zeros((groups, phases, self.width * channels, self.t * filters), dtype)
        by_group, by_phase, by_row, by_filter = matrix.strides
        by_step = channels * by_row
        strides = by_group, by_phase, by_step + filters * by_filter, by_step, by_row, by_filter
        shape = groups, phases, self.t, taps, channels, filters
        return matrix, np.ndarray(shape, dtype, matrix, 0, strides)


tiling = lru_cache(maxsize=256)(RowTiling)


class Toeplitz:
    """The three maps by products with block-Toeplitz matrices; see the protocol ``Way``."""

    spreads_nan, needs_room = True, False

    @staticmethod
    def room(taps: int, channels: int, filters: int) -> int:
        """Return how many rows behind the last pitch the products may touch."""
        return 2 * (outputs_per_row(taps, channels, filters) + taps)

    @staticmethod
    def pitch_multiple(sizes: Iterable[tuple[int, int, int]], longest: int) -> int:
        """Return of what number a pitch should be a multiple, so that rows end where series do.

        ``sizes``: (taps, channels, filters) of all convolutions; ``longest``: the longest series.
        """
        multiple = 1
        for taps, channels, filters in sizes:
            t = outputs_per_row(taps, channels, filters)  # the same with both exchanged
            multiple = math.lcm(multiple, -(-(t + taps - 1) // t) * t)
        return multiple if 8 * multiple <= longest else 1

    def forward(
        self, x: PaddedBatch, kernel: np.ndarray, left: int, y: PaddedBatch,
        bias: np.ndarray | None = None,
    ) -> list[Call]:  # fmt: skip
        """Correlate the series of ``x`` with ``kernel`` into ``y``; add ``bias`` (filters,)."""
        kernel = kernel[None] if kernel.ndim == 3 else kernel
        rows = tiling(*kernel.shape[1:], x.series * x.pitch)
        matrix, places = rows.matrix(len(kernel), 1, kernel.dtype)
        outputs = rows.view(y.flat, y.gap, rows.t, rows.count)
        calls, parts = rows.windows(x, -left)
        calls.append((np.copyto, (places, kernel[:, None, None])))
        for part, windows in parts:
            calls.append((np.matmul, (windows, matrix, outputs[:, :, part])))
        if bias is not None:
            filters, every = len(bias), rows.written // rows.t
            times = largest_divisor(every, min(TILE // (rows.t * filters), math.isqrt(every)))
            tile = np.empty((times * rows.t, filters), kernel.dtype)
            flat = y.flat[:, y.gap : y.gap + rows.written].reshape(-1, tile.size)
            calls += [(np.copyto, (tile, bias)), (np.add, (flat, tile.reshape(-1), flat))]
        return calls + y.clear(rows.written) if y.keeps_gaps else calls

    def input_gradient(
        self, g: PaddedBatch, kernel: np.ndarray, left: int, x: PaddedBatch
    ) -> list[Call]:
        """Correlate ``g`` with the kernel flipped, channels and filters exchanged, into ``x``."""
        taps = kernel.shape[-3]
        return self.forward(g, kernel[..., ::-1, :, :].swapaxes(-1, -2), taps - 1 - left, x)

    def kernel_gradient(
        self, x: PaddedBatch, g: PaddedBatch, left: int, out: np.ndarray
    ) -> list[Call]:
        """Multiply the rows of ``x`` and ``g``; add up the places where each tap stood."""
        out = out[None] if out.ndim == 3 else out
        rows = tiling(*out.shape[1:], x.series * x.pitch)
        products, places = rows.matrix(len(out), rows.phases, out.dtype)
        gradients = rows.view(g.flat, g.gap, rows.t, rows.count)
        calls, parts = rows.windows(x, -left)
        for i, (part, windows) in enumerate(parts):
            transposed = windows.transpose(0, 1, 3, 2)
            calls.append((np.matmul, (transposed, gradients[:, :, part], products)))
            total = np.empty_like(out) if i else out
            calls.append((np.add.reduce, (places, (1, 2), None, total)))
            if i:
                calls.append((np.add, (out, total, out)))
        return calls
