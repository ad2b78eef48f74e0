"""The three maps of a convolution (stride 1) on fixed arrays, as lists of calls to be replayed.

A :class:`Lane` holds all series of a batch end to end in one buffer, with zeros between them that
serve both neighbours as padding. In it a row of T + taps - 1 steps is a run of memory, rows that
start T * phases steps apart do not overlap, and so one stacked matrix product with a block-Toeplitz
matrix gives all outputs of all series, without a copy; those that fall into the gaps are set to
zero again. conv.py has the same maps for any stride and dilation, without lanes.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinynn.autodiff.conv import Rows, largest_divisor, outputs_per_row, toeplitz

TILE = 2048  # numbers of a repeated bias: adding short rows costs more than their arithmetic
Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Lane:
    """A buffer (rows, channels) with ``series`` series, ``pitch`` rows from one to the next.

    Each stands ``gap`` rows after the start or after the series before it, and ``room`` rows of
    zeros follow the last gap. ``array``: the view (series, length, channels) of the series;
    ``body``: that with the gaps behind them, (series, pitch * channels), in one piece.
    """

    def __init__(
        self, shape: tuple[int, ...], pitch: int, gap: int, room: int, dtype: np.dtype[Any]
    ) -> None:
        series, length, channels = shape
        self.pitch, self.gap, self.holders = pitch, gap, set[int]()
        self.flat = np.zeros((gap + series * pitch + room, channels), dtype)
        blocks = self.flat[gap : gap + series * pitch].reshape(series, pitch, channels)
        self.array = blocks[:, :length]
        self.body = blocks.reshape(series, -1)
        self._behind = blocks[:, length:]
        self._room = self.flat[gap + series * pitch :]

    def rows(self, rows: Rows, width: int, first: int = 0) -> np.ndarray:
        """View (phases, count, width * channels), from step ``first`` of the first series on."""
        return rows.view(self.flat[None, self.gap + first :], width)[0]

    def fits(self, other: "Lane") -> bool:
        """Tell whether both hold series of equal shape at the same places."""
        return self.pitch == other.pitch and self.array.shape == other.array.shape

    def empty_gaps(self) -> None:
        """Set to zero whatever belongs to no series."""
        for between in (self.flat[: self.gap], self._behind, self._room):
            between[...] = 0

    def clear(self, written: int) -> list[Call]:
        """Return the calls that set to zero what a product wrote behind the series."""
        calls: list[Call] = []
        if self._behind.size:
            calls.append((self._behind.fill, (0,)))
        over = written - self.pitch * len(self.array)
        if over > 0:
            calls.append((self._room[:over].fill, (0,)))
        return calls


def total(g: Lane, out: np.ndarray) -> Call:
    """Return the call that sums a lane over series and steps into ``out`` (channels,)."""
    if g.flat.shape[1] == 1:
        return np.add.reduce, (g.flat.reshape(-1), None, None, out.reshape(()))
    return np.matmul, (np.ones((1, len(g.flat)), g.flat.dtype), g.flat, out.reshape(1, -1))


def common(sizes: Iterable[tuple[int, int, int]], longest: int) -> int:
    """Return of what number a pitch should be a multiple, so that rows end where series do.

    ``sizes``: (taps, channels, filters) of all convolutions; ``longest``: the longest series.
    """
    multiple = 1
    for taps, channels, filters in sizes:
        for c, f in ((channels, filters), (filters, channels)):
            rows = Rows(taps, c, f, 1)
            multiple = math.lcm(multiple, rows.phases * rows.t)
    return multiple if 8 * multiple <= longest else 1


def room(taps: int, channels: int, filters: int) -> int:
    """Return how many rows behind the last gap the products of a convolution may touch."""
    t = max(outputs_per_row(taps, channels, filters), outputs_per_row(taps, filters, channels))
    return 2 * (t + taps)


def correlate(
    x: Lane, kernel: np.ndarray, left: int, y: Lane, bias: np.ndarray | None = None
) -> list[Call]:
    """Correlate the series of ``x`` with ``kernel`` (taps, channels, filters), plus bias, into y.

    Output 0 of a series is that over inputs -left, 1 - left, ...; both lanes have one pitch.
    """
    taps, channels, filters = kernel.shape
    rows = Rows(taps, channels, filters, x.pitch * len(x.array))
    matrix, places = toeplitz(kernel.shape, rows, kernel.dtype)
    windows, outputs = x.rows(rows, rows.width, -left), y.rows(rows, rows.t)
    calls: list[Call] = [(np.copyto, (places, kernel)), (np.matmul, (windows, matrix, outputs))]
    if bias is not None:
        times = largest_divisor(rows.written // rows.t, TILE // (rows.t * filters))
        tile = np.empty((times * rows.t, filters), kernel.dtype)
        flat = y.flat[y.gap : y.gap + rows.written].reshape(-1, tile.size)
        calls += [(np.copyto, (tile, bias)), (np.add, (flat, tile.reshape(-1), flat))]
    return calls + y.clear(rows.written)


def correlate_input(g: Lane, kernel: np.ndarray, left: int, x: Lane) -> list[Call]:
    """Adjoint of :func:`correlate` in x: correlate ``g`` with the kernel flipped."""
    return correlate(g, kernel[::-1].transpose(0, 2, 1), len(kernel) - 1 - left, x)


def correlate_kernel(x: Lane, g: Lane, left: int, kernel: np.ndarray) -> list[Call]:
    """Adjoint of :func:`correlate` in the kernel, into ``kernel``."""
    taps, channels, filters = kernel.shape
    rows = Rows(taps, channels, filters, x.pitch * len(x.array))
    products, places = toeplitz((rows.phases, *kernel.shape), rows, kernel.dtype)
    windows, outputs = x.rows(rows, rows.width, -left), g.rows(rows, rows.t)
    return [
        (np.matmul, (windows.transpose(0, 2, 1), outputs, products)),
        (np.add.reduce, (places, (0, 1), None, kernel)),
    ]
