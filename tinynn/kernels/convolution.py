"""The three maps of a convolution on plain arrays, by the way that is fastest for their sizes.

``x`` is (n, length, channels), ``kernel`` (taps, channels // groups, filters), ``g`` the gradient
of the outputs (n, outputs, filters); ``padding`` is a pair, and stands for zeros. Sums of half
precision are made in single precision.
"""

import cmath
from functools import lru_cache
from typing import Any

import numpy as np

from tinynn.kernels import direct
from tinynn.kernels.choose import Plan, plan
from tinynn.kernels.geometry import Pair
from tinynn.kernels.overlap_save import OverlapSave
from tinynn.kernels.padded_batch import PaddedBatch

quietly = np.errstate(over="ignore", invalid="ignore")  # what is not finite is computed again


def conv(
    x: np.ndarray, kernel: np.ndarray, strides: int, padding: Pair, dilation: int, groups: int,
    bias: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Convolve x with kernel, add bias (filters,) -> (n, outputs, filters)."""
    how = strides, padding, dilation, groups
    single, dtype = _dtypes(x.dtype, kernel.dtype)
    x, kernel = x.astype(single, copy=False), kernel.astype(single, copy=False)
    outputs = x.shape[1] + sum(padding) - dilation * (len(kernel) - 1) - 1
    outputs = max(0, outputs // strides + 1)
    chosen = plan(x.shape[:2], kernel.shape, outputs, x.dtype, how)
    same = bias if bias is not None and bias.dtype == dtype == single else None
    y = _forward(chosen, x, kernel, outputs, same)
    if y is None:
        y, same = direct.forward(x, kernel, outputs, how), None
    y = y.astype(dtype, copy=False)
    return y if bias is same else y + bias


def conv_input(
    g: np.ndarray, kernel: np.ndarray, length: int, strides: int, padding: Pair, dilation: int,
    groups: int,
) -> np.ndarray:  # fmt: skip
    """Adjoint of :func:`conv` in x, the transposed convolution -> (n, length, channels)."""
    how = strides, padding, dilation, groups
    single, dtype = _dtypes(g.dtype, kernel.dtype)
    g, kernel = g.astype(single, copy=False), kernel.astype(single, copy=False)
    n, outputs, _ = g.shape
    chosen = plan((n, length), kernel.shape, outputs, g.dtype, how)
    x = _input_gradient(chosen, g, kernel, (n, length, kernel.shape[1] * groups))
    x = direct.input_gradient(g, kernel, length, how) if x is None else x
    return x.astype(dtype, copy=False)


def conv_kernel(
    x: np.ndarray, g: np.ndarray, kernel_size: int, strides: int, padding: Pair, dilation: int,
    groups: int,
) -> np.ndarray:  # fmt: skip
    """Adjoint of :func:`conv` in the kernel -> (kernel_size, channels // groups, filters)."""
    how = strides, padding, dilation, groups
    single, dtype = _dtypes(x.dtype, g.dtype, sums=True)
    x, g = x.astype(single, copy=False), g.astype(single, copy=False)
    shape = kernel_size, x.shape[2] // groups, g.shape[2]
    kernel = _kernel_gradient(plan(x.shape[:2], shape, g.shape[1], x.dtype, how), x, g, shape)
    kernel = direct.kernel_gradient(x, g, kernel_size, how) if kernel is None else kernel
    return kernel.astype(dtype, copy=False)


@lru_cache
def _dtypes(
    a: np.dtype[Any], b: np.dtype[Any], sums: bool = False
) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return the dtypes to compute in, and of the result."""
    dtype = np.promote_types(a, b)
    if sums and dtype.kind in "biu":  # sums of small integers do not fit into their type
        dtype = np.add.reduce(np.empty(0, dtype)).dtype
    return (np.dtype("float32") if dtype.char == "e" else dtype), dtype


def _if_finite(result: np.ndarray) -> np.ndarray | None:
    """Return an array if all of it is finite, else None; of large values it may be None, too."""
    flat = result.reshape(-1) if result.flags.c_contiguous else None
    total = np.add.reduce(result, None) if flat is None else flat.dot(flat)  # half the time
    return result if cmath.isfinite(total) else None


@quietly
def _forward(
    how: Plan, x: np.ndarray, kernel: np.ndarray, outputs: int, bias: np.ndarray | None
) -> np.ndarray | None:
    way, size, fold, left, (pitch, gap), _, room = how
    shape: tuple[int, ...] = len(x), outputs, kernel.shape[2]
    if not (shape[0] and outputs):
        return np.zeros(shape, x.dtype)
    way = way if size is None else OverlapSave(size, len(kernel), x.dtype)
    if fold is None:
        batch = PaddedBatch.of(x, pitch, gap, room, view=not way.needs_room)
    else:
        batch, kernel = fold.input(x, room), fold.kernel(kernel)
        shape = len(kernel), batch.series, fold.folded_outputs, kernel.shape[3]
    y = PaddedBatch(shape, pitch if room else outputs, 0, room, x.dtype, keeps_gaps=False)
    for function, args in way.forward(batch, kernel, left, y, bias if fold is None else None):
        function(*args)
    result = y.array if fold is None else fold.unfold_output(y.array)
    if fold is not None and bias is not None:
        result = result + bias
    return _if_finite(result) if way.spreads_nan else result


@quietly
def _input_gradient(
    how: Plan, g: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray | None:
    way, _, fold, left, _, (pitch, gap), room = how  # without block transforms, which round
    if not g.size:
        return np.zeros(shape, g.dtype)
    if fold is not None:
        g, kernel = fold.output(g), fold.kernel(kernel)
        shape = *g.shape[:2], fold.folded_steps, kernel.shape[2]
    batch = PaddedBatch.of(g, pitch, gap, room)
    x = PaddedBatch(shape, pitch if room else shape[1], 0, room, g.dtype, keeps_gaps=False)
    for function, args in way.input_gradient(batch, kernel, left, x):
        function(*args)
    return _if_finite(x.array if fold is None else fold.unfold_input(x.array))


@quietly
def _kernel_gradient(
    how: Plan, x: np.ndarray, g: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray | None:
    way, size, fold, left, (pitch, gap), _, room = how
    if not g.size:
        return np.zeros(shape, g.dtype)
    way = way if size is None else OverlapSave(size, shape[0], x.dtype)
    if fold is None:
        batch = PaddedBatch.of(x, pitch, gap, room, view=not way.needs_room)
    else:
        batch, g = fold.input(x, room), fold.output(g)
        shape = len(g), fold.folded_taps, batch.flat.shape[2], g.shape[3]
    kernel = np.empty(shape, g.dtype)
    pitch = pitch if room else g.shape[1]
    gradients = PaddedBatch.of(g, pitch, 0, room, view=not room)  # with room for zeros around
    for function, args in way.kernel_gradient(batch, gradients, left, kernel):
        function(*args)
    if way.spreads_nan and _if_finite(kernel) is None:
        return None
    return kernel if fold is None else fold.unfold_kernel(kernel)
