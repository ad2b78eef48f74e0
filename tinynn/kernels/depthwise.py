"""Convolution of each channel with a filter of its own, for a few taps.

Matrix products would need the channels in front, a transposition that costs more than they do.
Here each tap is a product with all the steps that it sees, element by element.
"""

import numpy as np

from tinynn.kernels.padded_batch import Call, PaddedBatch
from tinynn.kernels.toeplitz import largest_divisor

ROW = 2048  # numbers: NumPy combines long rows several times as fast as rows of some channels


class Depthwise:
    """The three maps for kernels (taps, 1, channels) of any dilation; see the protocol ``Way``.

    The batches may have different pitches, and need no room.
    """

    spreads_nan = needs_room = False

    def __init__(self, dilation: int = 1) -> None:
        self.dilation = dilation

    def forward(
        self, x: PaddedBatch, kernel: np.ndarray, left: int, y: PaddedBatch,
        bias: np.ndarray | None = None,
    ) -> list[Call]:  # fmt: skip
        """Correlate the series of ``x`` with ``kernel`` into ``y``; add ``bias`` (channels,)."""
        taps, _, channels = kernel.shape
        outputs = y.array.shape[1]
        times = largest_divisor(outputs, min(ROW // channels, outputs // 16))  # cheap to fill
        rows = np.empty((taps, times, channels), kernel.dtype)
        out = y.seen(0, outputs, times)[0]
        part = np.empty(out.shape, kernel.dtype)
        calls: list[Call] = [(np.copyto, (rows, kernel))]
        every = x.seen(-left, outputs, times, taps, self.dilation)
        for seen, row in zip(every, rows.reshape(taps, -1), strict=True):
            first = len(calls) == 1
            calls.append((np.multiply, (seen, row, out if first else part)))
            calls += [] if first else [(np.add, (out, part, out))]
        return calls if bias is None else [*calls, (np.add, (y.array, bias, y.array))]

    def input_gradient(
        self, g: PaddedBatch, kernel: np.ndarray, left: int, x: PaddedBatch
    ) -> list[Call]:
        """Correlate ``g`` with the kernel reversed into ``x``."""
        return self.forward(g, kernel[::-1], self.dilation * (len(kernel) - 1) - left, x)

    def kernel_gradient(
        self, x: PaddedBatch, g: PaddedBatch, left: int, out: np.ndarray
    ) -> list[Call]:
        """Multiply ``g`` with the steps that each tap sees, and sum."""
        _, outputs, channels = g.array.shape
        ones, part = np.ones(g.series * outputs, out.dtype), np.empty(g.array.shape, out.dtype)
        calls: list[Call] = []
        every = x.seen(-left, outputs, 1, len(out), self.dilation)
        for seen, target in zip(every, out[:, 0], strict=True):
            calls.append((np.multiply, (seen, g.array, part)))
            calls.append((np.matmul, (ones, part.reshape(-1, channels), target)))
        return calls
