"""PaddedBatch: the series of a batch end to end in one buffer, with zeros between them.

The zeros behind one series stand before the next, and serve both as padding. So a convolution of
all series is one of a single long series, which needs no copy of its windows; outputs whose window
lies across two series are computed too, and belong to nobody.

A way to compute a convolution gives a list of calls on such batches. Whoever repeats a convolution
on the same memory keeps the list, as is done for small arrays; all others run it at once.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

SMALL = 2**14  # numbers of an array that is copied in less time than a tail is treated apart
Call = tuple[Callable[..., Any], tuple[Any, ...]]
Copy = tuple[np.ndarray, np.ndarray]  # to, from


class PaddedBatch:
    """A buffer ``flat`` (groups, rows, channels) with ``series`` series, ``pitch`` rows apart.

    The first series begins at row ``gap``; ``room`` rows follow the last pitch. ``array``: the view
    of all series, ([groups,] series, length, channels). ``flat``: memory in place of new zeros.
    With ``keeps_gaps`` False nobody reads what is between the series, which is not set to zero.
    """

    def __init__(
        self, shape: tuple[int, ...], pitch: int, gap: int, room: int, dtype: np.dtype[Any],
        *, flat: np.ndarray | None = None, keeps_gaps: bool = True,
    ) -> None:  # fmt: skip
        groups = shape[0] if len(shape) == 4 else 1
        series, _, channels = shape[-3:]
        rows = gap + series * pitch + room
        if flat is None:
            flat = (np.zeros if keeps_gaps else np.empty)((groups, rows, channels), dtype)
        item = dtype.itemsize
        by_row = channels * item
        strides = (rows * by_row, pitch * by_row, by_row, item)[-len(shape) :]
        self.series, self.pitch, self.gap, self.keeps_gaps = series, pitch, gap, keeps_gaps
        self.flat = flat
        self.array: np.ndarray = np.ndarray(shape, dtype, flat, gap * by_row, strides)

    @classmethod
    def of(
        cls, array: np.ndarray, pitch: int, gap: int = 0, room: int = 0, *, view: bool = True
    ) -> tuple["PaddedBatch", list[Copy]]:
        """Return a batch for the series in ``array``, and what is to be copied into it.

        With ``view`` it is the array itself, if it can be. That has no room: to make room for a
        small array takes less time than to do without.
        """
        shape = array.shape
        as_it_is = view and not gap and pitch == shape[-2] and (array.size > SMALL or not room)
        if as_it_is and array.flags.c_contiguous:
            groups = shape[0] if len(shape) == 4 else 1
            flat = array.reshape(groups, shape[-3] * pitch, shape[-1])
            return cls(shape, pitch, 0, 0, array.dtype, flat=flat), []
        batch = cls(shape, pitch, gap, room, array.dtype)
        return batch, [(batch.array, array)]

    def seen(
        self, first: int, length: int, joined: int = 1, taps: int = 1, dilation: int = 1
    ) -> np.ndarray:
        """View what each of ``taps`` sees: steps first + tap * dilation, ... of each series.

        For one group. Returns (taps, series, length // joined, joined * channels): with
        ``joined`` > 1, so many steps count as one.
        """
        flat = self.flat
        channels, item = flat.shape[2], flat.itemsize
        by_row = channels * item
        shape = taps, self.series, length // joined, joined * channels
        strides = dilation * by_row, self.pitch * by_row, joined * by_row, item
        return np.ndarray(shape, flat.dtype, flat, (self.gap + first) * by_row, strides)

    @property
    def body(self) -> np.ndarray:
        """The series of one group with what is behind each: (series, pitch * channels)."""
        return self.seen(0, self.pitch, self.pitch)[0, :, 0]

    def _between(self) -> tuple[np.ndarray, np.ndarray]:
        """View the rows behind each series, up to the next, and the room behind them all."""
        length = self.array.shape[-2]
        groups, _, channels = self.flat.shape
        end = self.gap + self.series * self.pitch
        shape = groups, self.series, self.pitch, channels
        return self.flat[:, self.gap : end].reshape(shape)[:, :, length:], self.flat[:, end:]

    def fits(self, other: "PaddedBatch") -> bool:
        """Tell whether both hold series of equal shape at the same places."""
        return self.pitch == other.pitch and self.array.shape == other.array.shape

    def empty_gaps(self) -> None:
        """Set to zero whatever belongs to no series."""
        for between in (self.flat[:, : self.gap], *self._between()):
            between[...] = 0

    def clear(self, written: int) -> list[Call]:
        """Return the calls that set to zero what a product of ``written`` rows left in the gaps."""
        behind, room = self._between()
        over = written - self.pitch * self.series
        calls: list[Call] = [(behind.fill, (0,))] if behind.size else []
        return [*calls, (room[:, :over].fill, (0,))] if over > 0 else calls

    def total(self, out: np.ndarray) -> Call:
        """Return the call that sums one group over series and steps into ``out`` (channels,)."""
        flat = self.flat[0]
        if flat.shape[1] == 1:
            return np.add.reduce, (flat.reshape(-1), None, None, out.reshape(()))
        return np.matmul, (np.ones((1, len(flat)), flat.dtype), flat, out.reshape(1, -1))


class Way(Protocol):
    """One way to compute the three maps of a convolution of stride 1, as lists of calls.

    ``kernel`` is (taps, channels, filters), or (groups, taps, ...). Output 0 of a series is that
    over its steps -left, 1 - left, ...; both batches of a map have one pitch, and the room that
    :func:`tinynn.kernels.choose.room` tells. ``spreads_nan``: a value that is not finite may reach
    results that do not see it; ``needs_room``: of inputs, too (else rows past the end are copied).
    """

    spreads_nan: bool
    needs_room: bool

    def forward(
        self, x: PaddedBatch, kernel: np.ndarray, left: int, y: PaddedBatch,
        bias: np.ndarray | None = None,
    ) -> list[Call]:  # fmt: skip
        """Correlate the series of ``x`` with ``kernel`` into ``y``; add ``bias`` (filters,)."""

    def input_gradient(
        self, g: PaddedBatch, kernel: np.ndarray, left: int, x: PaddedBatch
    ) -> list[Call]:
        """Adjoint of ``forward`` in x: from the gradient ``g`` of y into ``x``."""

    def kernel_gradient(
        self, x: PaddedBatch, g: PaddedBatch, left: int, out: np.ndarray
    ) -> list[Call]:
        """Adjoint of ``forward`` in the kernel, into ``out``, of the kernel's shape."""
