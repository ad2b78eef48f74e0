"""Convolution tap by tap: what it is. Slow, and right for values that are not finite, too.

A zero of a fast way's matrix times a nan is a nan, in an output that does not see it. Here an
output is computed from what it sees and from nothing else. All arguments are as in convolution.py.
"""

from typing import Any

import numpy as np

from tinynn.kernels.geometry import Settings

quietly = np.errstate(invalid="ignore")


def _in_groups(array: np.ndarray, groups: int) -> np.ndarray:
    """View (n, m, groups * k) as (groups, n, m, k)."""
    n, m, width = array.shape
    return array.reshape(n, m, groups, width // groups).transpose(2, 0, 1, 3)


def _joined(array: np.ndarray) -> np.ndarray:
    """Return (groups, n, m, k) as (n, m, groups * k)."""
    groups, n, m, width = array.shape
    return array.transpose(1, 2, 0, 3).reshape(n, m, groups * width)


@quietly
def forward(x: np.ndarray, kernel: np.ndarray, outputs: int, how: Settings) -> np.ndarray:
    """Convolve: x (n, length, channels) -> (n, outputs, filters)."""
    strides, padding, dilation, groups = how
    last = (outputs - 1) * strides + 1
    series = _in_groups(np.pad(x, ((0, 0), padding, (0, 0))), groups)
    y: Any = 0
    for j, tap in enumerate(_in_groups(kernel, groups).transpose(1, 0, 2, 3)):
        y = y + series[:, :, j * dilation :][:, :, :last:strides] @ tap[:, None]
    return _joined(y)


@quietly
def input_gradient(g: np.ndarray, kernel: np.ndarray, length: int, how: Settings) -> np.ndarray:
    """Adjoint in x: g (n, outputs, filters) -> (n, length, channels)."""
    strides, padding, dilation, groups = how
    last = (g.shape[1] - 1) * strides + 1
    series = _in_groups(g, groups)
    extent = max(length + sum(padding), dilation * (len(kernel) - 1) + last)
    x = np.zeros((groups, len(g), extent, kernel.shape[1]), np.result_type(g, kernel))
    for j, tap in enumerate(_in_groups(kernel, groups).transpose(1, 0, 3, 2)):
        x[:, :, j * dilation :][:, :, :last:strides] += series @ tap[:, None]
    return _joined(x[:, :, padding[0] : padding[0] + length])


@quietly
def kernel_gradient(x: np.ndarray, g: np.ndarray, taps: int, how: Settings) -> np.ndarray:
    """Adjoint in the kernel -> (taps, channels // groups, filters)."""
    strides, padding, dilation, groups = how
    n, outputs, _ = g.shape
    last = (outputs - 1) * strides + 1
    series = _in_groups(np.pad(x, ((0, 0), padding, (0, 0))), groups)
    gradients = _in_groups(g, groups).reshape(groups, n * outputs, g.shape[2] // groups)
    every = (series[:, :, j * dilation :][:, :, :last:strides] for j in range(taps))
    shape = groups, n * outputs, x.shape[2] // groups
    products = [seen.reshape(shape).transpose(0, 2, 1) @ gradients for seen in every]
    return _joined(np.stack(products, axis=1))
