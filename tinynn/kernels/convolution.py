"""The three maps of a convolution on plain arrays, by the way that is fastest for their sizes.

``x`` is (n, length, channels), ``kernel`` (taps, channels // groups, filters), ``g`` the gradient
of the outputs (n, outputs, filters); ``padding`` is a pair, and stands for zeros. Sums of half
precision are made in single precision.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tinynn.kernels import direct
from tinynn.kernels.choose import Plan, plan
from tinynn.kernels.finite import all_finite
from tinynn.kernels.geometry import Pair
from tinynn.kernels.overlap_save import OverlapSave
from tinynn.kernels.padded_batch import Call, Copy, PaddedBatch

# What is copied from the arrays given, the calls of a map, and the array of their result.
Prepared = tuple[list[Copy], list[Call], np.ndarray]
Map = Callable[..., Prepared]  # of a plan and arrays
KEPT = 64  # maps of small arrays whose memory is kept
_kept: OrderedDict[Any, tuple[list[np.ndarray], list[Call], np.ndarray]] = OrderedDict()

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
    fold, added = chosen.fold, None
    if fold is not None:
        y = _computed(_forward, chosen, fold.input(x), fold.kernel(kernel))
        y = y if y is None else fold.unfold_output(y)
    elif bias is not None and bias.dtype == dtype == single:
        y, added = _computed(_forward, chosen, x, kernel, bias), bias
    else:
        y = _computed(_forward, chosen, x, kernel)
    if y is None:
        y, added = direct.forward(x, kernel, outputs, how), None
    y = y.astype(dtype, copy=False)
    return y if bias is added else y + bias


def conv_input(
    g: np.ndarray, kernel: np.ndarray, length: int, strides: int, padding: Pair, dilation: int,
    groups: int,
) -> np.ndarray:  # fmt: skip
    """Adjoint of :func:`conv` in x, the transposed convolution -> (n, length, channels)."""
    how = strides, padding, dilation, groups
    single, dtype = _dtypes(g.dtype, kernel.dtype)
    g, kernel = g.astype(single, copy=False), kernel.astype(single, copy=False)
    chosen = plan((len(g), length), kernel.shape, g.shape[1], g.dtype, how)
    if (fold := chosen.fold) is None:
        x = _computed(_input_gradient, chosen, g, kernel)
    else:
        x = _computed(_input_gradient, chosen, fold.output(g), fold.kernel(kernel))
        x = x if x is None else fold.unfold_input(x)
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
    chosen = plan(x.shape[:2], shape, g.shape[1], x.dtype, how)
    if (fold := chosen.fold) is None:
        kernel = _computed(_kernel_gradient, chosen, x, g)
    else:
        kernel = _computed(_kernel_gradient, chosen, fold.input(x), fold.output(g))
        kernel = kernel if kernel is None else fold.unfold_kernel(kernel)
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


# ---------------------------------------------------------------- by a plan


@quietly
def _computed(prepare: Map, how: Plan, *given: np.ndarray) -> np.ndarray | None:
    """Return a map of the arrays ``given``, folded as the plan says; None if it is to be direct."""
    if how.small:
        result = _on_kept_memory(prepare, how, given)
    else:
        copies, calls, result = prepare(how, *given)
        for target, source in copies:
            target[...] = source
        for function, args in calls:
            function(*args)
    # Of the zeros around a gradient, which stand for nothing, an infinite kernel makes nan.
    checked = how.way.spreads_nan or prepare is _input_gradient
    return None if checked and not all_finite(result) else result


def _on_kept_memory(prepare: Map, how: Plan, given: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return a map of small arrays: to prepare it would take longer than to compute it."""
    key = prepare, how, len(given)
    kept = _kept.pop(key, None)  # nobody else writes to it, in a thread or a signal's handler
    if kept is None:
        places = [np.empty(array.shape, array.dtype) for array in given]
        copies, calls, result = prepare(how, *places)
        targets = {id(source): target for target, source in copies}
        kept = [targets.get(id(place), place) for place in places], calls, result
    places, calls, result = kept
    for place, array in zip(places, given, strict=True):
        place[...] = array
    for function, args in calls:
        function(*args)
    result = result.copy()
    _kept[key] = kept
    if len(_kept) > KEPT:
        _kept.popitem(last=False)
    return result


def _forward(
    how: Plan, x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None
) -> Prepared:
    (pitch, gap), room, shape = how.x_layout, how.room, how.g_shape
    if 0 in shape:
        return [], [], np.zeros(shape, x.dtype)
    way = how.way if how.size is None else OverlapSave(how.size, len(kernel), x.dtype)
    batch, copies = PaddedBatch.of(x, pitch, gap, room, view=not way.needs_room)
    y = PaddedBatch(shape, pitch if room else shape[-2], 0, room, x.dtype, keeps_gaps=False)
    return copies, way.forward(batch, kernel, how.left, y, bias), y.array


def _input_gradient(how: Plan, g: np.ndarray, kernel: np.ndarray) -> Prepared:
    (pitch, gap), room, shape = how.g_layout, how.room, how.x_shape
    if not g.size:
        return [], [], np.zeros(shape, g.dtype)
    batch, copies = PaddedBatch.of(g, pitch, gap, room)
    x = PaddedBatch(shape, pitch if room else shape[-2], 0, room, g.dtype, keeps_gaps=False)
    # Without block transforms, which round.
    return copies, how.way.input_gradient(batch, kernel, how.left, x), x.array


def _kernel_gradient(how: Plan, x: np.ndarray, g: np.ndarray) -> Prepared:
    (pitch, gap), room, shape = how.x_layout, how.room, how.kernel_shape
    if not g.size:
        return [], [], np.zeros(shape, g.dtype)
    way = how.way if how.size is None else OverlapSave(how.size, shape[-3], x.dtype)
    batch, copies = PaddedBatch.of(x, pitch, gap, room, view=not way.needs_room)
    # With room for zeros around.
    gradients, more = PaddedBatch.of(g, pitch if room else g.shape[-2], 0, room, view=not room)
    kernel = np.empty(shape, g.dtype)
    return copies + more, way.kernel_gradient(batch, gradients, how.left, kernel), kernel
