"""One-dimensional convolution: padding, the three bilinear maps, pooling windows.

Arrays are ``(batch, length, channels)``, kernels ``(kernel_size, channels // groups, filters)``.
As in all deep-learning libraries the kernel is not flipped: y[t] = sum_j x[t s + j d] k[j], a
correlation. With the gradient g of y there are three maps: the convolution (x, k) -> y, its
adjoint in x, (g, k) -> x, and its adjoint in the kernel, (x, g) -> k. Each is bilinear, and the
vjps of each are the other two, so derivatives of every order come from these three.
"""

import math
import numbers
from functools import lru_cache
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.primitive import as_array, primitive

Pair = tuple[int, int]
Padding = str | int | Pair

PADDINGS = ("valid", "same", "same_lower", "causal")
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


# ---------------------------------------------------------------- lengths and padding


def checked_padding(owner: str, padding: Any, words: tuple[str, ...] = PADDINGS) -> Padding:
    """Return a padding as one of ``words``, or as the pair of an int or pair."""
    if isinstance(padding, str):
        if padding in words:
            return padding
        check.choice(owner, "padding", padding, words)
    if isinstance(padding, np.ndarray):
        padding = padding.tolist()
    if isinstance(padding, numbers.Integral) and not isinstance(padding, (bool, np.bool_)):
        padding = (padding, padding)
    if isinstance(padding, (tuple, list)) and len(padding) == 2:
        left, right = (
            check.integer(owner, f"padding[{i}]", p, at_least=0) for i, p in enumerate(padding)
        )
        return left, right
    raise TypeError(
        f"{owner}: padding must be one of {', '.join(map(repr, words))}, a non-negative integer "
        f"or a pair (left, right), got {check.shown(padding)}."
    )


def padding_pair(padding: Padding, length: int, extent: int, stride: int) -> Pair:
    """Return the steps to add left and right; ``extent`` is d (K - 1) + 1."""
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return extent - 1, 0
    if isinstance(padding, str):
        total = max(0, (-(-length // stride) - 1) * stride + extent - length)
        short, long = total // 2, total - total // 2
        return (short, long) if padding == "same" else (long, short)
    return (padding, padding) if isinstance(padding, int) else padding


def output_length(owner: str, length: int, extent: int, stride: int, padding: Padding) -> int:
    """Return the number of output steps; raise ValueError if no window fits."""
    left, right = padding_pair(padding, length, extent, stride)
    empty = length == 0 and padding in ("same", "same_lower", "causal")
    if length + left + right < extent and not empty:
        raise ValueError(
            f"{owner}: the input has {length} steps and {left} + {right} of padding, but a window "
            f"spans {extent}. The shortest input for padding={padding!r} has "
            f"{max(1, extent - left - right)} steps; pad more, or use a smaller kernel or dilation."
        )
    return max(0, (length + left + right - extent) // stride + 1)


def pad1d(x: Any, padding: Any, mode: str = "zeros") -> Any:
    """Lengthen a series at both ends.

    ``x``: (batch, length, channels) or (length, channels); ``padding``: (left, right) steps, or
    one int for both; ``mode``: zeros, reflect (without the end sample; padding < length),
    replicate (the end sample) or circular (padding <= length). Returns (..., left + length +
    right, channels). Raises ValueError for another rank, mode, or too much padding.

    >>> pad1d(np.array([[1], [2], [3]]), (2, 1), mode="reflect").ravel()
    array([3, 2, 1, 2, 3, 2])
    """
    check.choice("pad1d", "mode", mode, PADDING_MODES)
    if isinstance(padding, str):
        raise TypeError(
            f"pad1d: padding must be an integer or a pair (left, right), got {padding!r}. "
            "Words such as 'same' are for conv1d, which knows the kernel."
        )
    left, right = padding_pair(checked_padding("pad1d", padding), 0, 0, 1)
    x = as_array("pad1d", x)
    shape = x.shape
    if len(shape) not in (2, 3):
        raise ValueError(
            f"pad1d: x must be (batch, length, channels) or (length, channels), got shape {shape}."
        )
    length = shape[-2]
    limit = {"reflect": length - 1, "replicate": np.inf if length else 0, "circular": length}
    if max(left, right) > limit.get(mode, np.inf):
        raise ValueError(
            f"pad1d: mode={mode!r} can add at most {max(0, limit[mode])} steps to a series of "
            f"{length}, got {(left, right)}. Use mode='zeros', or a longer series."
        )
    if left == right == 0:
        return x
    widths = ((0, 0),) * (len(shape) - 2) + ((left, right), (0, 0))
    return ops.pad(x, widths, PADDING_MODES[mode])


# ---------------------------------------------------------------- the convolution as products
#
# Below, x is (groups, series, steps, channels) and kernels are (groups, taps, channels, filters);
# stride and dilation are 1. All series are laid end to end as one: outputs whose window straddles
# two of them are computed and dropped. A row of `width` = T + taps - 1 steps gives T neighbouring
# outputs by one product with a block-Toeplitz matrix of the kernel. Rows that start T * phases
# steps apart do not overlap, so they are a view of x that the matrix product takes as it is.


FEW = 32  # rows of a product, fewer than which it is faster to copy them and make one product


def outputs_per_row(taps: int, channels: int, filters: int) -> int:
    """Return T. Thin products are slow, wide ones waste arithmetic: (T + taps - 1) / taps."""
    thin = max(1, min(channels, filters))
    return 8 if thin == 1 else max(1, min(8, taps, 32 // thin))


def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of ``number`` that is no larger than ``most``, or 1."""
    return next((d for d in range(most, 1, -1) if number % d == 0), 1)


class Rows:
    """How the outputs of all series are divided: ``t`` neighbours by one row of ``width`` steps.

    ``phases`` views with ``count`` rows each hold all rows, for ``written`` outputs, those that are
    dropped included. With ``copied``, for a few rows: one phase, of rows that overlap.
    """

    def __init__(self, taps: int, channels: int, filters: int, steps: int) -> None:
        self.t = outputs_per_row(taps, channels, filters)
        self.width = self.t + taps - 1
        self.phases = -(-self.width // self.t)
        self.count = -(-steps // (self.phases * self.t))
        self.copied = False

    @property
    def written(self) -> int:
        """How many outputs a product of all rows makes."""
        return self.phases * self.count * self.t

    @classmethod
    @lru_cache(maxsize=256)
    def few_copied(cls, taps: int, channels: int, filters: int, steps: int) -> "Rows":
        """Return the Rows, copied if each product of a phase would have only a few of them."""
        rows = cls(taps, channels, filters, steps)
        if rows.phases > 1 and rows.count < FEW:
            rows.copied, rows.phases, rows.count = True, 1, -(-steps // rows.t)
        return rows

    def view(self, flat: np.ndarray, width: int, count: int | None = None) -> np.ndarray:
        """View flat (groups, steps, channels) as (groups, phases, count, width * channels)."""
        groups, _, channels = flat.shape
        by_group, by_step, by_channel = flat.strides
        shape = groups, self.phases, self.count if count is None else count, width * channels
        strides = by_group, self.t * by_step, self.phases * self.t * by_step, by_channel
        return np.ndarray(shape, flat.dtype, flat, 0, strides)

    def within(self, flat: np.ndarray) -> list[tuple[slice, np.ndarray]]:
        """View the rows of ``flat``: those inside it as they lie, those past its end in a copy.

        Returns pairs: which of the ``count`` rows of each phase, and their view.
        """
        every = self.phases * self.t  # steps from one row of a phase to the next
        steps = flat.shape[1]
        inside = (steps - self.width + self.t) // every
        if inside >= self.count:
            view = self.view(flat, self.width)
            return [(slice(None), view.copy() if self.copied else view)]
        inside = max(0, inside)
        rest = self.count - inside
        tail = np.zeros((len(flat), rest * every + self.width, flat.shape[2]), flat.dtype)
        tail[:, : steps - inside * every] = flat[:, inside * every :]
        views = [self.view(flat, self.width, inside), self.view(tail, self.width, rest)]
        parts = [slice(inside), slice(inside, None)]
        return [
            (part, v.copy() if self.copied else v) for part, v in zip(parts, views, strict=True)
        ]


def _series(shape: tuple[int, ...], taps: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return zeros, flat (groups, steps, channels), with room for the rows' last steps to reach.

    Also returns the view (groups, series, steps, channels), of ``shape``, that is to be filled.
    """
    groups, series, steps, channels = shape
    room = 2 * (taps + 8)  # one row reaches width - 1 steps behind the last but phases * t
    flat = np.zeros((groups, series * steps + room, channels), dtype)
    return flat, flat[:, : series * steps].reshape(shape)


def toeplitz(shape: tuple[int, ...], rows: Rows, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return zeros (.., width * channels, t * filters) and the view of the kernel's t places.

    ``shape``: (.., taps, channels, filters); the view is (.., t, taps, channels, filters).
    """
    *lead, taps, channels, filters = shape
    matrix = np.zeros((*lead, rows.width, channels, rows.t, filters), dtype)
    *by_lead, by_step, by_channel, by_output, by_filter = matrix.strides
    places = np.ndarray(
        (*lead, rows.t, taps, channels, filters),
        dtype,
        matrix,
        0,
        (*by_lead, by_step + by_output, by_step, by_channel, by_filter),
    )
    return matrix.reshape(*lead, rows.width * channels, rows.t * filters), places


def _correlate(flat: np.ndarray, shape: tuple[int, ...], kernel: np.ndarray) -> np.ndarray:
    """Correlate each series: -> (groups, series, steps - taps + 1, filters).

    ``flat``: the series (groups, series, steps, channels) of ``shape`` end to end, with or without
    room behind them.
    """
    groups, series, steps, channels = shape
    taps, filters = kernel.shape[1], kernel.shape[3]
    rows = Rows.few_copied(taps, channels, filters, series * steps)
    matrix, places = toeplitz(kernel.shape, rows, kernel.dtype)
    places[...] = kernel[:, None]
    out = np.empty((groups, rows.written, filters), flat.dtype)
    outputs = rows.view(out, rows.t)
    for part, windows in rows.within(flat):
        np.matmul(windows, matrix[:, None], out=outputs[:, :, part])
    return out[:, : series * steps].reshape(groups, series, steps, filters)[
        :, :, : steps - taps + 1
    ]


def _correlate_input(g: np.ndarray, kernel: np.ndarray, left: int, length: int) -> np.ndarray:
    """Adjoint in x: g (groups, series, outputs, filters) -> (groups, series, length, channels).

    Output 0 of g is that over steps -left, 1 - left, ... of the result.
    """
    taps = kernel.shape[1]
    shape = (*g.shape[:2], length + taps - 1, g.shape[3])
    flat, places = _series(shape, taps, g.dtype)
    first = taps - 1 - left  # the step under output 0
    kept = g[:, :, max(0, -first) : max(0, shape[2] - first)]
    start = max(0, first)
    places[:, :, start : start + kept.shape[2]] = kept
    return _correlate(flat, shape, kernel[:, ::-1].transpose(0, 1, 3, 2))


def _correlate_kernel(
    flat: np.ndarray, shape: tuple[int, ...], g: np.ndarray, taps: int
) -> np.ndarray:
    """Adjoint in the kernel: -> (groups, taps, channels, filters)."""
    groups, series, steps, channels = shape
    filters = g.shape[3]
    rows = Rows.few_copied(taps, channels, filters, series * steps)
    gaps = np.zeros((groups, rows.written, filters), g.dtype)  # no gradient from straddlers
    gaps[:, : series * steps].reshape(groups, series, steps, filters)[:, :, : g.shape[2]] = g
    products, places = toeplitz((groups, rows.phases, taps, channels, filters), rows, g.dtype)
    gradients = rows.view(gaps, rows.t)
    total: Any = 0
    for part, windows in rows.within(flat):
        np.matmul(windows.transpose(0, 1, 3, 2), gradients[:, :, part], out=products)
        total = total + np.add.reduce(places, axis=(1, 2))
    return total


# ---------------------------------------------------------------- stride, dilation and groups
#
# Output t reads input t s + j d. With e = gcd(s, d), the outputs t = r, r + d/e, ... read only
# inputs r s + d m: for each of the d/e phases r, a plain convolution of stride s/e over every d-th
# input. And a stride is folded away by counting s/e steps of c channels as one step of s/e c.


class _Fold:
    """How one convolution is folded to stride 1, dilation 1, and unfolded."""

    def __init__(
        self, length: int, taps: int, outputs: int, strides: int, padding: Pair, dilation: int,
        groups: int,
    ) -> None:  # fmt: skip
        common = math.gcd(strides, dilation)
        self.length, self.taps, self.outputs, self.groups = length, taps, outputs, groups
        self.phases = dilation // common
        self.chunk = strides // common
        self.folded_taps = -(-taps // self.chunk)
        self.folded_outputs = -(-outputs // self.phases)
        self.steps = (self.folded_outputs + self.folded_taps - 1) * self.chunk
        self.left = padding[0]
        self.inside = max(0, min(length, self.steps - self.left))  # steps of x that are read
        self.simple = dilation == groups == 1  # there is nothing to fold but a stride
        # For each phase: which inputs it reads, and where they stand among its steps.
        self.pieces: list[tuple[slice, slice]] = []
        for r in range(self.phases):
            first = r * strides - self.left  # the input step under step 0 of this phase
            skip = max(0, -(first // dilation))
            start = first + skip * dilation
            stop = max(start, min(length, first + self.steps * dilation))
            count = -(-(stop - start) // dilation)
            self.pieces.append((slice(start, stop, dilation), slice(skip, skip + count)))

    def x(self, x: np.ndarray, dtype: Any) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the series end to end, x itself where that is possible, and their shape there."""
        n, _, channels = x.shape
        width = channels // self.groups
        shape = (self.groups, self.phases * n, self.steps // self.chunk, self.chunk * width)
        as_it_is = self.simple and self.left == 0 and self.steps == self.length
        if as_it_is and x.dtype == dtype and x.flags.c_contiguous:
            return x.reshape(1, -1, shape[3]), shape
        flat, places = _series(shape, self.folded_taps, dtype)
        if self.simple:
            series = places.reshape(n, self.steps, channels)
            series[:, self.left : self.left + self.inside] = x[:, : self.inside]
            return flat, shape
        folded = places.reshape(self.groups, self.phases, n, self.steps, width)
        grouped = x.reshape(n, self.length, self.groups, width).transpose(2, 0, 1, 3)
        for r, (source, target) in enumerate(self.pieces):
            folded[:, r, :, target] = grouped[:, :, source]
        return flat, shape

    def x_from(self, g: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """Return the adjoint in x, unfolded, of folded arguments."""
        if self.simple and self.chunk == 1:
            return _correlate_input(g, kernel, self.left, self.length)[0]
        folded = _correlate_input(g, kernel, 0, self.steps // self.chunk)
        n, width = g.shape[1] // self.phases, folded.shape[-1] // self.chunk
        if self.simple and self.inside == self.length:
            x = folded.reshape(n, self.steps, width)
            return x[:, self.left : self.left + self.length]
        folded = folded.reshape(self.groups, self.phases, n, self.steps, width)
        x = np.zeros((n, self.length, self.groups, width), folded.dtype)
        for r, (source, target) in enumerate(self.pieces):
            x[:, source] = folded[:, r, :, target].transpose(1, 2, 0, 3)
        return x.reshape(n, self.length, self.groups * width)

    def kernel(self, kernel: np.ndarray) -> np.ndarray:
        """Return a kernel (taps, channels, filters) folded; taps that a stride lacks are zeros."""
        taps, width, filters = kernel.shape
        if self.folded_taps * self.chunk != taps:
            whole = np.zeros((self.folded_taps * self.chunk, width, filters), kernel.dtype)
            whole[:taps] = kernel
            kernel = whole
        shape = self.groups, self.folded_taps, self.chunk * width, filters // self.groups
        if self.groups != 1:
            kernel = kernel.reshape(*kernel.shape[:2], self.groups, -1).transpose(2, 0, 1, 3)
        return kernel.reshape(shape)

    def unfold_kernel(self, folded: np.ndarray) -> np.ndarray:
        """Return the gradient of a kernel as the kernel is."""
        if self.simple:
            return folded.reshape(-1, folded.shape[2] // self.chunk, folded.shape[3])[: self.taps]
        width = folded.shape[2] // self.chunk
        kernel = folded.reshape(self.groups, -1, width, folded.shape[3])[:, : self.taps]
        return kernel.transpose(1, 2, 0, 3).reshape(self.taps, width, -1)

    def y(self, y: np.ndarray) -> np.ndarray:
        """Return outputs (n, outputs, filters) folded; those that a phase lacks are zeros."""
        if self.simple:
            return y[None]
        n, outputs, filters = y.shape
        if self.folded_outputs * self.phases != outputs:
            whole = np.zeros((n, self.folded_outputs * self.phases, filters), y.dtype)
            whole[:, :outputs] = y
            y = whole
        width = filters // self.groups
        y = y.reshape(n, self.folded_outputs, self.phases, self.groups, width)
        return y.transpose(3, 2, 0, 1, 4).reshape(
            self.groups, self.phases * n, self.folded_outputs, width
        )

    def unfold_y(self, folded: np.ndarray, n: int) -> np.ndarray:
        """Return outputs as they are."""
        if self.simple:
            return folded[0]
        filters = folded.shape[-1]
        folded = folded.reshape(self.groups, self.phases, n, self.folded_outputs, filters)
        y = folded.transpose(2, 3, 1, 0, 4)
        y = y.reshape(n, self.folded_outputs * self.phases, self.groups * filters)
        return y[:, : self.outputs]


_fold = lru_cache(maxsize=256)(_Fold)


# Depthwise, one filter to a channel, with a few taps: no product of matrices is worth the
# transposition of channels to the front. Each tap is a product with all steps, elementwise.


class _FewTaps:
    """The steps that the taps of a depthwise convolution see: x with zeros, or less, around it."""

    def __init__(self, x: np.ndarray, left: int, outputs: int, taps: int, dilation: int) -> None:
        n, _, self.channels = x.shape
        self.outputs, self.taps, self.dilation = outputs, taps, dilation
        self.steps = np.zeros((n, outputs + dilation * (taps - 1), self.channels), x.dtype)
        kept = x[:, max(0, -left) :][:, : max(0, self.steps.shape[1] - max(0, left))]
        self.steps[:, max(0, left) : max(0, left) + kept.shape[1]] = kept

    @staticmethod
    def serve(
        taps: int, channels: int, filters: int, strides: int, groups: int, dtype: np.dtype[Any]
    ) -> bool:
        """Tell whether a convolution is of that kind, and in single or double precision."""
        depthwise = groups == channels == filters > 1 and strides == 1
        return depthwise and taps <= 4 and dtype.char in "fd" and dtype.isnative

    def _seen(self, tap: int) -> np.ndarray:
        return self.steps[:, tap * self.dilation :][:, : self.outputs]

    def correlate(self, kernel: np.ndarray) -> np.ndarray:
        """Return the outputs, for a kernel (taps, channels)."""
        repeats = largest_divisor(self.outputs, 2048 // self.channels)
        shape = len(self.steps), self.outputs // repeats, repeats * self.channels
        rows = np.repeat(kernel[:, None], repeats, axis=1).reshape(self.taps, -1)  # long ones
        y = self._seen(0).reshape(shape) * rows[0]
        part = np.empty_like(y)
        for tap in range(1, self.taps):
            y += np.multiply(self._seen(tap).reshape(shape), rows[tap], out=part)
        return y.reshape(len(self.steps), self.outputs, self.channels)

    def kernel(self, g: np.ndarray) -> np.ndarray:
        """Return the gradient (taps, channels) of the kernel, given that of the outputs."""
        ones, part = np.ones(g.size // self.channels, g.dtype), np.empty_like(g, order="C")
        return np.stack(
            [
                ones @ np.multiply(self._seen(tap), g, out=part).reshape(-1, self.channels)
                for tap in range(self.taps)
            ]
        )


# A nan times a zero of the matrix is a nan: the products spread it to outputs that do not see it.
# What is not finite is therefore computed again, in the obvious way.


def _in_groups(array: np.ndarray, groups: int) -> np.ndarray:
    """View (n, m, groups * k) as (groups, n, m, k)."""
    return array.reshape(*array.shape[:2], groups, -1).transpose(2, 0, 1, 3)


def _tap_by_tap(
    x: Any, kernel: Any, outputs: int, *, strides: int, padding: Pair, dilation: int, groups: int
) -> Any:
    """As :func:`conv`, slowly."""
    last = (outputs - 1) * strides + 1
    series = _in_groups(np.pad(x, ((0, 0), padding, (0, 0))), groups)
    y: Any = 0
    for j, part in enumerate(_in_groups(kernel, groups).transpose(1, 0, 2, 3)):
        y = y + series[:, :, j * dilation :][:, :, :last:strides] @ part[:, None]
    return y.transpose(1, 2, 0, 3).reshape(len(x), outputs, -1)


def _input_tap_by_tap(
    g: Any, kernel: Any, length: int, *, strides: int, padding: Pair, dilation: int, groups: int
) -> Any:
    """As :func:`conv_input`, slowly."""
    last = (g.shape[1] - 1) * strides + 1
    series = _in_groups(g, groups)
    shape = groups, len(g), length + sum(padding), kernel.shape[1]
    x = np.zeros(shape, np.result_type(g, kernel))
    for j, part in enumerate(_in_groups(kernel, groups).transpose(1, 0, 3, 2)):
        x[:, :, j * dilation :][:, :, :last:strides] += series @ part[:, None]
    x = x[:, :, padding[0] : padding[0] + length].transpose(1, 2, 0, 3)
    return x.reshape(len(g), length, -1)


# ---------------------------------------------------------------- the three maps


@primitive(
    lambda g, y, x, kernel, **p: conv_input(g, kernel, length=x.shape[1], **p),
    lambda g, y, x, kernel, **p: conv_kernel(x, g, kernel_size=kernel.shape[0], **p),
)
def conv(x: Any, kernel: Any, *, strides: int, padding: Pair, dilation: int, groups: int) -> Any:
    """Convolve x with kernel -> (batch, outputs, filters); padding as a pair, zeros."""
    taps = len(kernel)
    outputs = max(0, (x.shape[1] + sum(padding) - dilation * (taps - 1) - 1) // strides + 1)
    dtype = np.result_type(x, kernel)
    series, weights = x.astype(dtype, copy=False), kernel.astype(dtype, copy=False)
    with np.errstate(invalid="ignore"):
        if _FewTaps.serve(taps, x.shape[2], kernel.shape[2], strides, groups, dtype):
            few = _FewTaps(series, padding[0], outputs, taps, dilation)
            return few.correlate(weights[:, 0])
        fold = _fold(x.shape[1], taps, outputs, strides, padding, dilation, groups)
        folded = _correlate(*fold.x(series, dtype), fold.kernel(weights))
        y = fold.unfold_y(folded, x.shape[0])
        if _all_finite(y):
            return y
        how = {"strides": strides, "dilation": dilation, "groups": groups}
        return _tap_by_tap(x, kernel, outputs, padding=padding, **how)


@primitive(
    lambda h, x, g, kernel, length, **p: conv(h, kernel, **p),
    lambda h, x, g, kernel, length, **p: conv_kernel(h, g, kernel_size=kernel.shape[0], **p),
)
def conv_input(
    g: Any, kernel: Any, *, length: int, strides: int, padding: Pair, dilation: int, groups: int
) -> Any:
    """Adjoint of :func:`conv` in x, the transposed convolution -> (batch, length, channels)."""
    dtype, taps = np.result_type(g, kernel), len(kernel)
    if not g.shape[1]:
        return np.zeros((len(g), length, kernel.shape[1] * groups), dtype)
    series, weights = g.astype(dtype, copy=False), kernel.astype(dtype, copy=False)
    with np.errstate(invalid="ignore"):
        if _FewTaps.serve(taps, kernel.shape[1] * groups, kernel.shape[2], strides, groups, dtype):
            left = dilation * (taps - 1) - padding[0]
            x = _FewTaps(series, left, length, taps, dilation).correlate(weights[::-1, 0])
        else:
            fold = _fold(length, taps, g.shape[1], strides, padding, dilation, groups)
            x = fold.x_from(fold.y(series), fold.kernel(weights))
        if _all_finite(x):
            return x
        how = {"strides": strides, "dilation": dilation, "groups": groups}
        return _input_tap_by_tap(g, kernel, length, padding=padding, **how)


@primitive(
    lambda h, k, x, g, kernel_size, **p: conv_input(g, h, length=x.shape[1], **p),
    lambda h, k, x, g, kernel_size, **p: conv(x, h, **p),
)
def conv_kernel(
    x: Any, g: Any, *, kernel_size: int, strides: int, padding: Pair, dilation: int, groups: int
) -> Any:
    """Adjoint of :func:`conv` in the kernel -> (kernel_size, channels // groups, filters)."""
    dtype = np.result_type(x, g)
    series, g = x.astype(dtype, copy=False), g.astype(dtype, copy=False)
    with np.errstate(invalid="ignore"):
        if _FewTaps.serve(kernel_size, x.shape[2], g.shape[2], strides, groups, dtype):
            few = _FewTaps(series, padding[0], g.shape[1], kernel_size, dilation)
            return few.kernel(g)[:, None]
        fold = _fold(x.shape[1], kernel_size, g.shape[1], strides, padding, dilation, groups)
        folded = _correlate_kernel(*fold.x(series, dtype), fold.y(g), fold.folded_taps)
        return fold.unfold_kernel(folded)


def _all_finite(array: np.ndarray) -> bool:
    with np.errstate(over="ignore"):  # of a sum that is not needed for itself
        return ops.all_finite(array)


@check.remembered
def _geometry(
    owner: str, x: tuple[int, ...], kernel: tuple[int, ...], bias: tuple[int, ...] | None,
    strides: Any, padding: Padding, dilation_rate: Any, groups: Any,
) -> tuple[dict[str, int], Pair]:  # fmt: skip
    """Return, for the shapes of a convolution, its checked settings and the padding as a pair."""
    strides, dilation, groups = _checked_sizes(owner, strides, dilation_rate, groups)
    _check_shapes(owner, x, kernel, bias, groups, channels_at=1)
    extent = dilation * (kernel[0] - 1) + 1
    output_length(owner, x[-2], extent, strides, padding)
    how = {"strides": strides, "dilation": dilation, "groups": groups}
    return how, padding_pair(padding, x[-2], extent, strides)


def conv1d(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    strides: int = 1,
    padding: Padding = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
) -> Any:
    """Slide a kernel over a series: y[t] = bias + sum_j x[t strides + j dilation_rate] kernel[j].

    ``x``: (batch, length, channels) or (length, channels); ``kernel``: (kernel_size, channels //
    groups, filters), not flipped; ``bias``: (filters,). ``padding``: "valid", "same" (an odd zero
    goes right, as in Keras), "same_lower" (left), "causal", an int, or a pair (left, right).
    Returns (..., output length, filters). Raises ValueError or TypeError for shapes that do not
    fit and for an input shorter than the window.

    >>> conv1d(np.array([[1.0], [2.0], [3.0]]), np.ones((2, 1, 1))).ravel()
    array([3., 5.])
    """
    x, kernel = as_array("conv1d", x), as_array("conv1d", kernel)
    how, pair = _geometry(
        *("conv1d", x.shape, kernel.shape, None if bias is None else ops.shape_of(bias)),
        *(strides, checked_padding("conv1d", padding), dilation_rate, groups),
    )
    single = len(x.shape) == 2
    if single:
        x = ops.expand_dims(x, 0)
    y = conv(x, kernel, padding=pair, **how)
    y = y if bias is None else ops.add(y, bias)
    return ops.reshape(y, y.shape[1:]) if single else y


def conv1d_transpose(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    strides: int = 1,
    padding: Padding = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
) -> Any:
    """Add a scaled copy of the kernel for every step: the adjoint of :func:`conv1d` in x.

    ``x``: (batch, length, channels) or (length, channels); ``kernel``: (kernel_size, out_channels
    // groups, channels); ``bias``: (out_channels,). With Ke = dilation_rate (kernel_size - 1) + 1
    the output length is, as in Keras, length * strides + max(Ke - strides, 0) for "valid" and
    length * strides for "same" (max(0, Ke - strides) // 2 cropped on the left); an int or pair
    crops that much from (length - 1) * strides + Ke. Returns (..., output length, out_channels).
    Raises ValueError or TypeError for shapes that do not fit.

    >>> conv1d_transpose(np.array([[1.0], [0.0], [2.0]]), np.ones((2, 1, 1))).ravel()
    array([1., 1., 2., 2.])
    """
    x, kernel = as_array("conv1d_transpose", x), as_array("conv1d_transpose", kernel)
    strides, dilation, groups = _checked_sizes("conv1d_transpose", strides, dilation_rate, groups)
    padding = checked_padding("conv1d_transpose", padding, ("valid", "same"))
    biases = None if bias is None else ops.shape_of(bias)
    _check_shapes("conv1d_transpose", x.shape, kernel.shape, biases, groups, channels_at=2)
    single = len(x.shape) == 2
    if single:
        x = ops.expand_dims(x, 0)
    steps, extent = x.shape[1], dilation * (kernel.shape[0] - 1) + 1
    surplus = max(extent - strides, 0)
    pair = (0, 0)
    if padding == "same":
        pair = surplus // 2, surplus - surplus // 2
    length = steps * strides + surplus - sum(pair)
    if not isinstance(padding, str):
        pair = padding_pair(padding, 0, 0, 1)
        length = (steps - 1) * strides + extent - sum(pair)
        if length < 1:
            raise ValueError(
                f"conv1d_transpose: padding={pair} crops all of the {length + sum(pair)} output "
                "steps. Crop less."
            )
    how = {"strides": strides, "padding": pair, "dilation": dilation, "groups": groups}
    y = conv_input(x, kernel, length=length, **how)  # type: ignore[arg-type]
    y = y if bias is None else ops.add(y, bias)
    return ops.reshape(y, y.shape[1:]) if single else y


def _checked_sizes(owner: str, strides: Any, dilation_rate: Any, groups: Any) -> tuple[int, ...]:
    return (
        check.integer(owner, "strides", strides, at_least=1),
        check.integer(owner, "dilation_rate", dilation_rate, at_least=1),
        check.integer(owner, "groups", groups, at_least=1),
    )


def _check_shapes(
    owner: str, x: tuple[int, ...], k: tuple[int, ...], bias: tuple[int, ...] | None, groups: int,
    *, channels_at: int,
) -> None:  # fmt: skip
    """Check that all shapes fit; the kernel counts x's channels on axis ``channels_at``."""
    names = ("kernel_size", "channels // groups", "filters")
    if channels_at == 2:
        names = ("kernel_size", "out_channels // groups", "channels")
    if len(x) not in (2, 3):
        raise ValueError(
            f"{owner}: x must be (batch, length, channels) or (length, channels), got shape {x}."
        )
    if len(k) != 3 or 0 in k:
        raise ValueError(f"{owner}: kernel must be ({', '.join(names)}), got shape {k}.")
    if k[2] % groups:
        raise ValueError(
            f"{owner}: groups must divide the kernel's last axis, got groups={groups} and a "
            f"kernel of shape {k}."
        )
    channels = k[1] * groups if channels_at == 1 else k[2]
    if x[-1] != channels:
        hint = channels_hint(x, channels)
        raise ValueError(
            f"{owner}: a kernel of shape {k} with groups={groups} takes {channels} channels, "
            f"but x has {x[-1]} (shape {x}).{hint}"
        )
    filters = k[2] if channels_at == 1 else k[1] * groups
    if bias is not None and bias != (filters,):
        raise ValueError(f"{owner}: bias must have shape ({filters},), got {bias}.")


def channels_hint(shape: tuple[int, ...], channels: int) -> str:
    """Return what to do if ``shape`` looks like (batch, channels, length)."""
    if len(shape) < 2 or shape[-2] != channels:
        return " Give x as (batch, length, channels)."
    return (
        " It looks like (batch, channels, length), PyTorch's layout: "
        "tinynn's is (batch, length, channels). Swap with x.swapaxes(-1, -2)."
    )


# ---------------------------------------------------------------- pooling


def _windows(owner: str, x: Any, pool_size: Any, strides: Any, padding: Any, fill: float) -> Any:
    """Return the pooling windows of x as (..., outputs, pool_size, channels), and their padding."""
    size = check.integer(owner, "pool_size", pool_size, at_least=1)
    stride = size if strides is None else check.integer(owner, "strides", strides, at_least=1)
    check.choice(owner, "padding", padding, ("valid", "same"))
    x = as_array(owner, x)
    if len(x.shape) not in (2, 3):
        raise ValueError(
            f"{owner}: x must be (batch, length, channels) or (length, channels), "
            f"got shape {x.shape}."
        )
    length = x.shape[-2]
    outputs = output_length(owner, length, size, stride, padding)
    left, right = padding_pair(padding, length, size, stride)
    before = (slice(None),) * (len(x.shape) - 2)
    if left or right:
        widths = ((0, 0),) * (len(x.shape) - 2) + ((left, right), (0, 0))
        x = ops.pad(x, widths, constant_values=fill)
    index = stride * np.arange(outputs)[:, None] + np.arange(size)
    if stride == size:
        x = ops.getitem(x, (*before, slice(0, outputs * size)))
        windows = ops.reshape(x, (*x.shape[:-2], outputs, size, x.shape[-1]))
    else:
        windows = ops.getitem(x, (*before, index))
    real = (index >= left) & (index < left + length)
    return windows, real


def max_pool1d(
    x: Any, pool_size: int, *, strides: int | None = None, padding: str = "valid"
) -> Any:
    """Largest value in each window; ties share the gradient equally.

    ``x``: (batch, length, channels) or (length, channels); ``strides``: steps from one window to
    the next, by default ``pool_size``; ``padding``: "valid" or "same" (padded steps never win).
    Returns (..., output length, channels). Raises ValueError if no window fits.

    >>> max_pool1d(np.array([[1.0], [3.0], [2.0], [0.0]]), 2).ravel()
    array([3., 2.])
    """
    dtype = ops.values(x).dtype
    lowest = np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf
    windows, _ = _windows("max_pool1d", x, pool_size, strides, padding, lowest)
    return ops.max(windows, axis=-2)


def avg_pool1d(
    x: Any, pool_size: int, *, strides: int | None = None, padding: str = "valid"
) -> Any:
    """Mean of each window; with "same", of its real samples only, as in Keras.

    ``x``: (batch, length, channels) or (length, channels); ``strides``: steps from one window to
    the next, by default ``pool_size``. Returns (..., output length, channels). Raises ValueError
    if no window fits.

    >>> avg_pool1d(np.array([[1.0], [3.0], [2.0]]), 2, padding="same").ravel()
    array([2., 2.])
    """
    windows, real = _windows("avg_pool1d", x, pool_size, strides, padding, 0)
    dtype = ops.values(windows).dtype
    counts = real.sum(axis=-1)[:, None].astype(dtype if dtype.kind == "f" else float)
    return ops.sum(windows, axis=-2) / counts
