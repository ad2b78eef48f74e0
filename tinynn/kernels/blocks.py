"""Convolution by block transforms: fewer multiplications for long kernels and many channels.

The series are cut into blocks of ``size`` steps that overlap by taps - 1, so that each gives
``step`` = size - taps + 1 new outputs. A block is taken to its Fourier coefficients by one product
with a fixed matrix, the coefficients are multiplied with the kernel's, frequency by frequency, and
a second fixed matrix leads back: matrix products throughout, no FFT (overlap-save; the adjoint in x
is overlap-add). Real and imaginary parts stand side by side, channel by channel; the two real
coefficients, of frequency 0 and size / 2, share the first pair of places.

As lanes.py, of which these are the fast counterparts, it makes lists of calls to be replayed.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinynn.autodiff.conv import outputs_per_row
from tinynn.kernels.lanes import Call, Lane

SLOWER = 1.6  # how much longer a multiplication takes in these many small products


@cache
def best_size(taps: int, channels: int, filters: int) -> int | None:
    """Return the size of the blocks, or None where the direct products are faster.

    Multiplications for one output step: directly (t + taps - 1) channels * filters; with blocks
    (size^2 channels + 2 size channels filters + step size filters) / step, done somewhat slower.
    """
    t = outputs_per_row(taps, channels, filters)
    direct = (t + taps - 1) * channels * filters
    found: dict[int, float] = {}
    for size in range(2 * (taps // 2) + 8, 8 * taps + 16, 8):
        step = size - taps + 1
        if step >= taps - 1:  # the parts that overlap-add joins come from neighbours only
            work = size * size * channels + 2 * size * channels * filters + step * size * filters
            found[size] = SLOWER * work / step
    best = min(found, key=found.__getitem__)
    return best if found[best] < direct and min(channels, filters) >= 8 else None


def room(taps: int, channels: int, filters: int) -> int:
    """Return how many rows behind the last gap the blocks of a convolution may touch."""
    return 2 * (best_size(taps, channels, filters) or 0) + taps


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


class Blocks:
    """The blocks of a lane for kernels of ``taps`` steps, and what was transformed already.

    ``known``: arrays by name, transforms that the maps of one convolution share, and scratch;
    ``names``: of the first and of the second argument of the map, in there.
    """

    def __init__(
        self, size: int, taps: int, lane: Lane, known: dict[Any, np.ndarray], names: Sequence[Any]
    ) -> None:
        self.size, self.taps, self.step = size, taps, size - taps + 1
        self.dtype = lane.flat.dtype
        self.count = -(-lane.pitch * len(lane.array) // self.step)
        self.there, self.back = _matrices(size, self.dtype.str)
        self.known, self.names = known, names

    def _view(self, lane: Lane, first: int, length: int) -> np.ndarray:
        """View (count, length, channels): blocks of ``length`` steps, ``step`` apart."""
        channels = lane.flat.shape[1]
        start = lane.flat[lane.gap + first :]
        one, item = channels * self.dtype.itemsize, self.dtype.itemsize
        return as_strided(start, (self.count, length, channels), (self.step * one, one, item))

    def _scratch(self, *shape: int) -> np.ndarray:
        """Return memory that the next map may use again."""
        name = "scratch", shape, self.dtype
        if name not in self.known:
            self.known[name] = np.empty(shape, self.dtype)
        return self.known[name]

    def _by_frequency(self, spectrum: np.ndarray) -> np.ndarray:
        """View (count, size, channels) as (size / 2, count, 2 channels)."""
        count, size, channels = spectrum.shape
        return spectrum.reshape(count, size // 2, 2 * channels).transpose(1, 0, 2)

    def _spectrum(self, key: Any, matrix: np.ndarray, blocks: np.ndarray) -> list[Call]:
        """Return the calls, if any are left, that transform blocks into ``known[key]``."""
        if key in self.known:
            return []
        self.known[key] = np.empty((self.count, self.size, blocks.shape[2]), self.dtype)
        return [(np.matmul, (matrix, blocks, self.known[key]))]

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

    def correlate(
        self, x: Lane, kernel: np.ndarray, left: int, y: Lane, bias: np.ndarray | None = None
    ) -> list[Call]:
        """As :func:`tinynn.autodiff.lanes.correlate`."""
        calls = self._spectrum(self.names[0], self.there, self._view(x, -left, self.size))
        calls += self._kernel(self.names[1], kernel)
        product = self._scratch(self.count, self.size, kernel.shape[2])
        spectrum = self._by_frequency(self.known[self.names[0]])
        calls.append(
            (np.matmul, (spectrum, self.known[self.names[1]], self._by_frequency(product)))
        )
        if bias is not None:  # a constant is all of frequency 0
            constant = np.empty_like(bias)
            calls.append((np.multiply, (bias, np.array(self.size, bias.dtype), constant)))
            calls.append((np.add, (product[:, 0], constant, product[:, 0])))
        outputs = self._view(y, 0, self.step)
        calls.append((np.matmul, (self.back[: self.step], product, outputs)))
        return calls + y.clear(self.count * self.step)

    def correlate_input(self, g: Lane, kernel: np.ndarray, left: int, x: Lane) -> list[Call]:
        """As :func:`tinynn.autodiff.lanes.correlate_input`."""
        calls = self._spectrum(
            self.names[0], self.there[:, : self.step], self._view(g, 0, self.step)
        )
        calls += self._kernel(self.names[1], kernel)
        product = self._scratch(self.count, self.size, kernel.shape[1])
        table = self.known[self.names[1]].transpose(0, 2, 1)
        spectrum = self._by_frequency(self.known[self.names[0]])
        rest = self._scratch(self.count, self.taps - 1, kernel.shape[1])
        after = self._view(x, self.step - left, self.taps - 1)
        last = x.flat[x.gap - left + self.count * self.step :][: self.taps - 1]
        return [
            *calls,
            (np.matmul, (spectrum, table, self._by_frequency(product))),
            (np.matmul, (self.back[: self.step], product, self._view(x, -left, self.step))),
            (last.fill, (0,)),
            (np.matmul, (self.back[self.step :], product, rest)),
            (np.add, (after, rest, after)),
            (x.flat[: x.gap].fill, (0,)),
            *x.clear(self.count * self.step + self.taps),
        ]

    def correlate_kernel(self, x: Lane, g: Lane, left: int, kernel: np.ndarray) -> list[Call]:
        """As :func:`tinynn.autodiff.lanes.correlate_kernel`."""
        taps, channels, filters = kernel.shape
        calls = self._spectrum(self.names[0], self.there, self._view(x, -left, self.size))
        calls += self._spectrum(
            self.names[1], self.there[:, : self.step], self._view(g, 0, self.step)
        )
        products = np.empty((self.size // 2, 2, channels, 2, filters), self.dtype)
        table = products.reshape(-1, 2 * channels, 2 * filters)
        xs, gs = (self._by_frequency(self.known[name]) for name in self.names)
        parts = np.empty((self.size // 2, 2, channels, filters), self.dtype)
        out = np.empty((taps, channels * filters), self.dtype)
        return [
            *calls,
            (np.matmul, (xs.transpose(0, 2, 1), gs, table)),
            (np.add, (products[:, 0, :, 0], products[:, 1, :, 1], parts[:, 0])),
            (np.subtract, (products[:, 1, :, 0], products[:, 0, :, 1], parts[:, 1])),
            (np.copyto, (parts[0, 0], products[0, 0, :, 0])),
            (np.copyto, (parts[0, 1], products[0, 1, :, 1])),
            (np.matmul, (self.back[:taps], parts.reshape(self.size, -1), out)),
            (np.copyto, (kernel, out.reshape(kernel.shape))),
        ]
