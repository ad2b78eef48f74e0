"""Convolution by block transforms: fewer multiplications for long kernels and many channels.

The series are cut into blocks of ``size`` steps that overlap by taps - 1, so that each gives
``step`` = size - taps + 1 new outputs. A block is taken to its Fourier coefficients by one product
with a fixed matrix, the coefficients are multiplied with the kernel's, frequency by frequency, and
a second fixed matrix leads back: matrix products throughout, no FFT (overlap-save; the adjoint in x
is overlap-add). Real and imaginary parts stand side by side, channel by channel; the two real
coefficients, of frequency 0 and size / 2, share the first pair of places.
"""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from tinynn.kernels.padded_batch import Call, PaddedBatch
from tinynn.kernels.toeplitz import outputs_per_row

SLOWER = 1.6  # how much longer a multiplication takes in these many small products
KERNEL = 4  # the same, for the transform of a kernel, which is also sorted into a table


@lru_cache(maxsize=512)
def best_size(taps: int, channels: int, filters: int, steps: float = math.inf) -> int | None:
    """Return the size of the blocks, or None where the direct products are faster.

    Multiplications are counted; the transform of the kernel is shared by all ``steps``.
    """
    t = outputs_per_row(taps, channels, filters)
    direct = (t + taps - 1) * channels * filters
    found: dict[int, float] = {}
    for size in range(2 * (taps // 2) + 8, 8 * taps + 16, 8):
        step = size - taps + 1
        if step >= taps - 1:  # the parts that overlap-add joins come from neighbours only
            work = size * size * channels + 2 * size * channels * filters + step * size * filters
            once = size * taps * channels * filters
            found[size] = SLOWER * work / step + KERNEL * once / steps
    best = min(found, key=found.__getitem__)
    return best if found[best] < direct and min(channels, filters) >= 8 else None


def room(taps: int, channels: int, filters: int) -> int:
    """Return how many rows behind the last pitch the blocks of a convolution may touch."""
    size = best_size(taps, channels, filters)
    return 2 * size + taps if size else 0


@cache
def _matrices(size: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the transform (size, size) and its inverse; rows, or columns, are coefficients."""
    t = np.arange(size)
    angle = 2 * math.pi / size * np.outer(np.arange(1, size // 2), t)
    there = np.empty((size, size))
    there[0], there[1] = 1, (-1.0) ** t
    there[2::2], there[3::2] = np.cos(angle), -np.sin(angle)
    back = there.T * 2 / size
    back[:, :2] /= 2
    return there.astype(dtype), np.ascontiguousarray(back, dtype)


class OverlapSave:
    """The three maps by block transforms, for one group; see the protocol ``Way``.

    ``known``: transforms, that the maps of one convolution share, and scratch, by name; ``names``:
    those of the map's first and second argument. A name stands for one array of one content.
    """

    spreads_nan = needs_room = True

    def __init__(
        self, size: int, taps: int, dtype: np.dtype[Any],
        known: dict[Any, np.ndarray] | None = None, names: Sequence[Any] = (0, 1),
    ) -> None:  # fmt: skip
        self.size, self.taps, self.step, self.dtype = size, taps, size - taps + 1, dtype
        self.there, self.back = _matrices(size, dtype.str)
        self.known = {} if known is None else known
        self.names = [(name, size, taps) for name in names]

    def _count(self, batch: PaddedBatch) -> int:
        return -(-batch.pitch * batch.series // self.step)

    def _blocks(self, batch: PaddedBatch, first: int, length: int) -> np.ndarray:
        """View (count, length, channels): blocks of ``length`` steps, ``step`` apart."""
        channels, item = batch.flat.shape[2], self.dtype.itemsize
        by_row = channels * item
        shape, strides = (self._count(batch), length, channels), (self.step * by_row, by_row, item)
        return np.ndarray(shape, self.dtype, batch.flat, (batch.gap + first) * by_row, strides)

    def _scratch(self, *shape: int) -> np.ndarray:
        """Return memory that the next map may use again."""
        return self.known.setdefault(("scratch", shape, self.dtype), np.empty(shape, self.dtype))

    def _by_frequency(self, spectrum: np.ndarray) -> np.ndarray:
        """View (count, size, channels) as (size / 2, count, 2 channels)."""
        count, size, channels = spectrum.shape
        return spectrum.reshape(count, size // 2, 2 * channels).transpose(1, 0, 2)

    def _spectrum(self, key: Any, batch: PaddedBatch, first: int, length: int) -> list[Call]:
        """Return the calls, if any are left, that transform blocks, zeros behind, to ``known``."""
        if key in self.known:
            return []
        blocks = self._blocks(batch, first, length)
        self.known[key] = np.empty((len(blocks), self.size, blocks.shape[2]), self.dtype)
        return [(np.matmul, (self.there[:, :length], blocks, self.known[key]))]

    def _kernel(self, key: Any, kernel: np.ndarray) -> list[Call]:
        """Transform a kernel (taps, channels, filters) into (size / 2, 2 channels, 2 filters)."""
        if key in self.known:
            return []
        taps, channels, filters = kernel.shape
        flat = np.empty((taps, channels * filters), self.dtype)
        parts = np.empty((self.size, channels * filters), self.dtype)
        table = np.zeros((self.size // 2, 2, channels, 2, filters), self.dtype)
        real, imaginary = parts.reshape(-1, 2, channels, filters).transpose(1, 0, 2, 3)
        self.known[key] = table.reshape(-1, 2 * channels, 2 * filters)
        return [
            (np.copyto, (flat.reshape(kernel.shape), kernel)),
            (np.matmul, (self.there[:, :taps], flat, parts)),
            (np.copyto, (table[:, 0, :, 0], real)),
            (np.copyto, (table[1:, 1, :, 1], real[1:])),
            (np.copyto, (table[1:, 1, :, 0], imaginary[1:])),
            (np.negative, (imaginary[1:], table[1:, 0, :, 1])),
            (np.copyto, (table[0, 1, :, 1], imaginary[0])),
        ]

    def forward(
        self, x: PaddedBatch, kernel: np.ndarray, left: int, y: PaddedBatch,
        bias: np.ndarray | None = None,
    ) -> list[Call]:  # fmt: skip
        """Correlate the series of ``x`` with ``kernel`` into ``y``; add ``bias`` (filters,)."""
        kernel = kernel if kernel.ndim == 3 else kernel[0]
        calls = self._spectrum(self.names[0], x, -left, self.size)
        calls += self._kernel(self.names[1], kernel)
        count = self._count(x)
        product = self._scratch(count, self.size, kernel.shape[2])
        spectrum, table = self._by_frequency(self.known[self.names[0]]), self.known[self.names[1]]
        calls.append((np.matmul, (spectrum, table, self._by_frequency(product))))
        if bias is not None:  # a constant is all of frequency 0
            constant = np.empty_like(bias)
            calls.append((np.multiply, (bias, np.array(self.size, bias.dtype), constant)))
            calls.append((np.add, (product[:, 0], constant, product[:, 0])))
        calls.append((np.matmul, (self.back[: self.step], product, self._blocks(y, 0, self.step))))
        return calls + y.clear(count * self.step)

    def input_gradient(
        self, g: PaddedBatch, kernel: np.ndarray, left: int, x: PaddedBatch
    ) -> list[Call]:
        """Multiply with the conjugate coefficients; where the blocks of ``x`` overlap, add."""
        kernel = kernel if kernel.ndim == 3 else kernel[0]
        calls = self._spectrum(self.names[0], g, 0, self.step)
        calls += self._kernel(self.names[1], kernel)
        count, channels = self._count(g), kernel.shape[1]
        product = self._scratch(count, self.size, channels)
        table = self.known[self.names[1]].transpose(0, 2, 1)
        spectrum = self._by_frequency(self.known[self.names[0]])
        rest = self._scratch(count, self.taps - 1, channels)
        after = self._blocks(x, self.step - left, self.taps - 1)
        last = x.flat[0, x.gap - left + count * self.step :][: self.taps - 1]
        return [
            *calls,
            (np.matmul, (spectrum, table, self._by_frequency(product))),
            (np.matmul, (self.back[: self.step], product, self._blocks(x, -left, self.step))),
            (last.fill, (0,)),
            (np.matmul, (self.back[self.step :], product, rest)),
            (np.add, (after, rest, after)),
            (x.flat[0, : x.gap].fill, (0,)),
            *x.clear(count * self.step + self.taps),
        ]

    def kernel_gradient(
        self, x: PaddedBatch, g: PaddedBatch, left: int, out: np.ndarray
    ) -> list[Call]:
        """Multiply the coefficients of ``x`` and ``g``, summed over all blocks, and lead back."""
        out = out if out.ndim == 3 else out[0]
        taps, channels, filters = out.shape
        calls = self._spectrum(self.names[0], x, -left, self.size)
        calls += self._spectrum(self.names[1], g, 0, self.step)
        products = np.empty((self.size // 2, 2, channels, 2, filters), self.dtype)
        table = products.reshape(-1, 2 * channels, 2 * filters)
        xs, gs = (self._by_frequency(self.known[name]) for name in self.names)
        parts = np.empty((self.size // 2, 2, channels, filters), self.dtype)
        kernel = np.empty((taps, channels * filters), self.dtype)
        return [
            *calls,
            (np.matmul, (xs.transpose(0, 2, 1), gs, table)),
            (np.add, (products[:, 0, :, 0], products[:, 1, :, 1], parts[:, 0])),
            (np.subtract, (products[:, 1, :, 0], products[:, 0, :, 1], parts[:, 1])),
            (np.copyto, (parts[0, 0], products[0, 0, :, 0])),
            (np.copyto, (parts[0, 1], products[0, 1, :, 1])),
            (np.matmul, (self.back[:taps], parts.reshape(self.size, -1), kernel)),
            (np.copyto, (out, kernel.reshape(out.shape))),
        ]
