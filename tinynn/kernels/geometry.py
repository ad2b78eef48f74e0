"""Lengths and padding of convolutions, and how stride, dilation and groups are folded away.

Output t reads input t s + j d. With e = gcd(s, d), the outputs t = r, r + d/e, ... read only
inputs r s + d m: for each of the d/e phases r, a plain convolution of stride s/e over every d-th
input. And a stride is folded away by counting s/e steps of c channels as one step of s/e c.
"""

import math

import numpy as np

Pair = tuple[int, int]
Padding = str | int | Pair
Settings = tuple[int, Pair, int, int]  # strides, padding, dilation, groups


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


def layout(length: int, left: int, outputs: int, reach: int) -> Pair:
    """Return pitch and gap of a padded batch whose gaps are padding enough, and its outputs fit.

    Output t of a series is that over steps t - left to t - left + reach.
    """
    right = outputs + reach - left - length
    return max(length + max(left, right, 0), outputs), max(left, 0)


class Fold:
    """How one convolution is folded to stride 1, dilation 1, and unfolded.

    Folded inputs are (groups, phases * n, steps // chunk, chunk * width), outputs (groups, phases *
    n, outputs of one phase, filters // groups), kernels (groups, taps, chunk * width, ...).
    Padding is part of the steps.
    """

    def __init__(self, length: int, taps: int, outputs: int, how: Settings) -> None:
        strides, padding, dilation, groups = how
        common = math.gcd(strides, dilation)
        self.length, self.taps, self.groups, self.outputs = length, taps, groups, outputs
        self.phases, self.chunk = dilation // common, strides // common
        self.folded_taps = -(-taps // self.chunk)
        self.folded_outputs = -(-outputs // self.phases)
        self.folded_steps = self.folded_outputs + self.folded_taps - 1
        self.steps = self.folded_steps * self.chunk
        self.begin = padding[0]
        self.simple = dilation == groups == 1  # there is nothing to fold but a stride
        self.fits = self.simple and self.begin == 0 and self.steps == length
        self.pieces = []  # for each phase: the inputs that it reads, their places in its steps
        for r in range(self.phases):
            first = r * strides - self.begin  # the input step under step 0 of this phase
            skip = max(0, -(first // dilation))
            start = first + skip * dilation
            stop = max(start, min(length, first + self.steps * dilation))
            count = -(-(stop - start) // dilation)
            self.pieces.append((slice(start, stop, dilation), slice(skip, skip + count)))

    def shapes(self, n: int, width: int, filters: int) -> tuple[tuple[int, ...], ...]:
        """Return the folded shapes of inputs, kernel and outputs."""
        first, series = self.groups, self.phases * n
        kernel = first, self.folded_taps, width, filters
        inputs, outputs = (self.folded_steps, width), (self.folded_outputs, filters)
        return (first, series, *inputs), kernel, (first, series, *outputs)

    def input(self, x: np.ndarray) -> np.ndarray:
        """Return inputs (n, length, channels) folded: x itself where that is possible."""
        n, _, channels = x.shape
        width = channels // self.groups
        shape = self.groups, self.phases * n, self.folded_steps, self.chunk * width
        if self.fits and x.flags.c_contiguous:
            return x.reshape(shape)
        folded = np.zeros((self.groups, self.phases, n, self.steps, width), x.dtype)
        grouped = x.reshape(n, self.length, self.groups, width).transpose(2, 0, 1, 3)
        for r, (source, target) in enumerate(self.pieces):
            folded[:, r, :, target] = grouped[:, :, source]
        return folded.reshape(shape)

    def unfold_input(self, folded: np.ndarray) -> np.ndarray:
        """Return folded inputs as they are."""
        n, width = folded.shape[1] // self.phases, folded.shape[3] // self.chunk
        if self.simple and self.begin + self.length <= self.steps:
            return folded.reshape(n, -1, width)[:, self.begin : self.begin + self.length]
        folded = folded.reshape(self.groups, self.phases, n, -1, width)
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
        kernel = kernel.reshape(*kernel.shape[:2], self.groups, shape[3]).transpose(2, 0, 1, 3)
        return kernel.reshape(shape)

    def unfold_kernel(self, folded: np.ndarray) -> np.ndarray:
        """Return the gradient of a kernel as the kernel is."""
        groups, taps, channels, filters = folded.shape
        width = channels // self.chunk
        kernel = folded.reshape(groups, taps * self.chunk, width, filters)[:, : self.taps]
        return kernel.transpose(1, 2, 0, 3).reshape(self.taps, width, groups * filters)

    def output(self, y: np.ndarray) -> np.ndarray:
        """Return outputs (n, outputs, filters) folded; those that a phase lacks are zeros."""
        if self.simple:
            return y[None]
        n, outputs, filters = y.shape
        if self.folded_outputs * self.phases != outputs:
            whole = np.zeros((n, self.folded_outputs * self.phases, filters), y.dtype)
            whole[:, :outputs] = y
            y = whole
        y = y.reshape(n, self.folded_outputs, self.phases, self.groups, filters // self.groups)
        y = y.transpose(3, 2, 0, 1, 4)
        return y.reshape(self.groups, self.phases * n, self.folded_outputs, -1)

    def unfold_output(self, folded: np.ndarray) -> np.ndarray:
        """Return folded outputs as they are."""
        if self.simple:
            return folded[0]
        n, filters = folded.shape[1] // self.phases, folded.shape[3]
        y = folded.reshape(self.groups, self.phases, n, self.folded_outputs, filters)
        y = y.transpose(2, 3, 1, 0, 4).reshape(n, self.folded_outputs * self.phases, -1)
        return y[:, : self.outputs]
