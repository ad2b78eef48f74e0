"""Conv1d: small kernels slid over a series."""

from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.ops import convolution as conv
from tinynn.autodiff.tensor import Tensor
from tinynn.kernels import geometry
from tinynn.nn import activations
from tinynn.nn.activations import Activation as ActivationFunction
from tinynn.nn.initializers import Initializer
from tinynn.nn.layers import Weighted, as_input
from tinynn.nn.receptive_field import ReceptiveField, of_windows


class Conv1d(Weighted):
    """One-dimensional convolution: small kernels slid over a series, one feature map each.

    Takes (batch, length, in_channels) or (length, in_channels), returns (..., output length,
    filters). The kernel is not flipped. Strides and dilation may be combined.

    Parameters
    ----------
    in_channels : int
        Length of the last axis of the input.
    filters : int
        How many kernels there are, and feature maps.
    kernel_size : int
        How many taps a kernel has.
    strides : int, default 1
        Steps from one window to the next.
    padding : str, int or (left, right), default "valid"
        "valid" adds nothing, "same" as much as keeps the length (an odd zero goes right, as in
        Keras; with "same_lower" left), "causal" all in front. Numbers are steps at both ends.
    padding_mode : str, default "zeros"
        What fills the added steps: "zeros", "reflect", "replicate" or "circular".
    dilation_rate : int, default 1
        Steps between the inputs of neighbouring taps.
    groups : int, default 1
        Parts into which channels and filters are divided; a filter sees the channels of its part.
    activation : str, callable or None, default "linear"
        A name, or a function of a Tensor. Linear, as None, changes nothing, as in Keras.
    use_bias : bool, default True
        Whether a number is added to each feature map.
    kernel_initializer, bias_initializer : str or callable, default "glorot_uniform", "zeros"
        A name, or a function of (shape, rng).
    dtype : dtype, default "float32"
        Of the weights. The input is converted to it.
    rng : Generator or int, default None
        What the first weights are drawn from. An int is a seed.

    Attributes
    ----------
    kernel : (kernel_size, in_channels // groups, filters) Tensor
        The weights.
    bias : (filters,) Tensor or None
        The numbers that are added.

    Raises
    ------
    ValueError, TypeError
        For arguments or inputs that do not fit.

    Examples
    --------
    >>> layer = Conv1d(1, 4, kernel_size=3, padding="same", activation="relu", rng=0)
    >>> layer(np.ones((2, 10, 1))).shape
    (2, 10, 4)
    """

    takes_series = per_sample = True

    @check.with_hints
    def __init__(
        self, in_channels: int, filters: int, kernel_size: int, *, strides: int = 1,
        padding: geometry.Padding = "valid", padding_mode: str = "zeros", dilation_rate: int = 1,
        groups: int = 1, activation: str | ActivationFunction | None = "linear",
        use_bias: bool = True, kernel_initializer: "str | Initializer" = "glorot_uniform",
        bias_initializer: "str | Initializer" = "zeros", dtype: Any = "float32",
        rng: "check.Seed" = None,
    ) -> None:  # fmt: skip
        self.in_channels = check.integer("Conv1d", "in_channels", in_channels, at_least=1)
        self.filters = check.integer("Conv1d", "filters", filters, at_least=1)
        self.kernel_size = check.integer("Conv1d", "kernel_size", kernel_size, at_least=1)
        self.strides = check.integer("Conv1d", "strides", strides, at_least=1)
        self.padding = conv.checked_padding("Conv1d", padding)
        self.padding_mode = check.choice("Conv1d", "padding_mode", padding_mode, conv.PADDING_MODES)
        self.dilation_rate = check.integer("Conv1d", "dilation_rate", dilation_rate, at_least=1)
        sizes = {"in_channels": self.in_channels, "filters": self.filters}
        self.groups = conv.checked_groups("Conv1d", groups, **sizes)
        shape = (self.kernel_size, self.in_channels // self.groups, self.filters)
        initial = kernel_initializer, bias_initializer
        self._make(shape, self.filters, activation, use_bias, *initial, dtype, rng)

    @property
    def receptive_field(self) -> int:
        """How many input steps one output sees, first to last."""
        return self.dilation_rate * (self.kernel_size - 1) + 1

    def output_length(self, length: int) -> int:
        """Return the number of output steps for ``length`` input steps.

        >>> Conv1d(1, 1, 5, strides=2).output_length(20)
        8
        """
        length = check.integer("Conv1d", "length", length, at_least=0)
        field, stride = self.receptive_field, self.strides
        return geometry.output_length("Conv1d", length, field, stride, self.padding)

    def output_positions(self, length: int) -> np.ndarray:
        """Return the input index under the centre tap, (kernel_size - 1) // 2, of each output.

        >>> Conv1d(1, 1, 5, strides=2).output_positions(10)
        array([2, 4, 6])
        """
        steps = np.arange(self.output_length(length))
        left, _ = geometry.padding_pair(self.padding, length, self.receptive_field, self.strides)
        return steps * self.strides - left + self.dilation_rate * ((self.kernel_size - 1) // 2)

    def __repr__(self) -> str:
        return self._shown(
            strides=1, padding="valid", padding_mode="zeros", dilation_rate=1, groups=1
        )

    def forward(self, x: Any) -> Tensor:
        """Return activation(convolution of x with the kernel + bias)."""
        x = as_input("Conv1d", x, self.dtype)
        shape, bias = x.shape, None if self.bias is None else self.bias.shape
        filled, how = _settings(
            shape, self.kernel.shape, bias, self.padding, self.padding_mode, self.strides,
            self.dilation_rate, self.groups,
        )  # fmt: skip
        single = len(shape) == 2
        if filled:
            x = conv.pad1d(x, filled, self.padding_mode)
        y = conv.conv(ops.expand_dims(x, 0) if single else x, self.kernel, self.bias, **how)
        y = ops.reshape(y, y.shape[1:]) if single else y
        return y if self.activation is activations.linear else self.activation(y)

    def reach(self) -> ReceptiveField | None:
        """Return the stride, and the steps before and after that an output sees."""
        if self.padding_mode == "circular" or self._pointwise() is None:
            return None
        mirrored = self.padding_mode == "reflect"
        return of_windows(self.receptive_field, self.strides, self.padding, mirrored)


@check.remembered
def _settings(
    x: tuple[int, ...], kernel: tuple[int, ...], bias: tuple[int, ...] | None, padding: Any,
    padding_mode: str, strides: int, dilation_rate: int, groups: int,
) -> tuple[geometry.Pair | None, dict[str, Any]]:  # fmt: skip
    """Check that all fits; return what to pad by the mode, and the settings of the convolution."""
    channels = kernel[1] * groups
    if len(x) not in (2, 3) or x[-1] != channels:
        hint = " If it is (batch, length) or (length,), add the channel's axis: x[..., None]."
        if channels != 1 or len(x) not in (1, 2):
            hint = conv.channels_hint(x, channels)
        raise ValueError(
            f"Conv1d: the input must be (batch, length, {channels}) or (length, {channels}), "
            f"got shape {x}.{hint}"
        )
    if kernel[2] % groups or bias not in (None, kernel[2:]):
        raise ValueError(
            f"Conv1d: a kernel {kernel} of {groups} groups and a bias {bias} do not fit. Make a "
            "new layer for another size."
        )
    extent = dilation_rate * (kernel[0] - 1) + 1
    padding = conv.checked_padding("Conv1d", padding)
    geometry.output_length("Conv1d", x[-2], extent, strides, padding)
    pair = geometry.padding_pair(padding, x[-2], extent, strides)
    how: dict[str, Any] = {"strides": strides, "dilation": dilation_rate, "groups": groups}
    if padding_mode == "zeros" or pair == (0, 0):
        return None, how | {"padding": pair}
    most = {"reflect": x[-2] - 1, "circular": x[-2]}.get(padding_mode, max(pair))
    if max(pair) > most:
        raise ValueError(
            f"Conv1d: padding_mode={padding_mode!r} can add at most {max(0, most)} steps to a "
            f"series of {x[-2]}, got {pair}. Use padding_mode='zeros', or a longer series."
        )
    return pair, how | {"padding": (0, 0)}
