"""Conv1dTranspose, UpSample1d and ZeroPad1d: layers that make a series longer."""

from fractions import Fraction
from typing import Any

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.ops import convolution as conv
from tinynn.autodiff.tensor import Tensor
from tinynn.kernels.geometry import Padding
from tinynn.nn import activations
from tinynn.nn.activations import Activation as ActivationFunction
from tinynn.nn.initializers import Initializer
from tinynn.nn.layers import Weighted, as_input
from tinynn.nn.pooling import OverSteps
from tinynn.nn.receptive_field import ReceptiveField


class Conv1dTranspose(Weighted):
    """Transposed convolution: each input step adds a scaled kernel, ``strides`` steps apart.

    Takes (batch, length, in_channels) or (length, in_channels), returns (..., output length,
    filters).

    Parameters
    ----------
    in_channels : int
        Length of the last axis of the input.
    filters : int
        Length of the last axis of the output.
    kernel_size : int
        How many taps a kernel has.
    strides : int, default 1
        Steps between the kernels of neighbouring inputs.
    padding : str, int or (left, right), default "valid"
        "valid" keeps all, "same" gives length * strides. Numbers are steps that are cropped.
    output_padding : int, default None
        Steps by which the output is longer than the shortest possible, below ``strides``.
    dilation_rate : int, default 1
        Steps between neighbouring taps.
    groups : int, default 1
        Parts into which channels and filters are divided.
    activation : str, callable or None, default "linear"
        A name, or a function of a Tensor. Linear, as None, changes nothing.
    use_bias : bool, default True
        Whether a number is added to each output channel.
    kernel_initializer, bias_initializer : str or callable, default "glorot_uniform", "zeros"
        A name, or a function of (shape, rng).
    dtype : dtype, default "float32"
        Of the weights. The input is converted to it.
    rng : Generator or int, default None
        What the first weights are drawn from. An int is a seed.

    Attributes
    ----------
    kernel : (kernel_size, filters // groups, in_channels) Tensor
        The weights.
    bias : (filters,) Tensor or None
        The numbers that are added.

    Raises
    ------
    ValueError, TypeError
        For arguments or inputs that do not fit.

    Notes
    -----
    The output length is, as in Keras, for Ke = dilation_rate (kernel_size - 1) + 1

        "valid"   length * strides + max(Ke - strides, 0)
        "same"    length * strides
        with an output_padding: (length - 1) * strides + output_padding, and Ke or, "same", Ke % 2

    An int or a pair crops that much from (length - 1) * strides + Ke.

    Examples
    --------
    >>> layer = Conv1dTranspose(4, 2, kernel_size=3, strides=2, padding="same", rng=0)
    >>> layer(Tensor([[0.0, 1.0, 2.0, 3.0]] * 10)).shape
    (20, 2)
    """

    takes_series = per_sample = True

    @check.with_hints
    def __init__(
        self, in_channels: int, filters: int, kernel_size: int, *, strides: int = 1,
        padding: Padding = "valid", output_padding: int | None = None, dilation_rate: int = 1,
        groups: int = 1, activation: str | ActivationFunction | None = "linear",
        use_bias: bool = True, kernel_initializer: "str | Initializer" = "glorot_uniform",
        bias_initializer: "str | Initializer" = "zeros", dtype: Any = "float32",
        rng: "check.Seed" = None,
    ) -> None:  # fmt: skip
        owner = "Conv1dTranspose"
        self.in_channels = check.integer(owner, "in_channels", in_channels, at_least=1)
        self.filters = check.integer(owner, "filters", filters, at_least=1)
        self.kernel_size = check.integer(owner, "kernel_size", kernel_size, at_least=1)
        self.strides = check.integer(owner, "strides", strides, at_least=1)
        self.padding = conv.checked_padding(owner, padding, ("valid", "same"))
        self.output_padding = conv.checked_output_padding(owner, output_padding, self.strides)
        self.dilation_rate = check.integer(owner, "dilation_rate", dilation_rate, at_least=1)
        sizes = {"in_channels": self.in_channels, "filters": self.filters}
        self.groups = conv.checked_groups(owner, groups, **sizes)
        shape = (self.kernel_size, self.filters // self.groups, self.in_channels)
        initial = kernel_initializer, bias_initializer
        self._make(shape, self.filters, activation, use_bias, *initial, dtype, rng)

    def output_length(self, length: int) -> int:
        """Return the number of output steps for ``length`` input steps.

        >>> Conv1dTranspose(1, 1, 5, strides=2).output_length(10)
        23
        """
        length = check.integer("Conv1dTranspose", "length", length, at_least=0)
        return max(0, (length - 1) * self.strides + self._window()[1])

    def _window(self) -> tuple[int, int]:
        extent = self.dilation_rate * (self.kernel_size - 1) + 1
        how = self.strides, self.padding, self.output_padding
        return conv.transposed_window(extent, *how)

    def __repr__(self) -> str:
        given = {"strides": 1, "padding": "valid", "output_padding": None, "dilation_rate": 1}
        return self._shown(**given, groups=1)

    def forward(self, x: Any) -> Tensor:
        """Return activation(transposed convolution of x with the kernel + bias)."""
        x = as_input("Conv1dTranspose", x, self.dtype)
        how = self.strides, self.padding, self.output_padding, self.dilation_rate, self.groups
        y = conv.transposed("Conv1dTranspose", x, self.kernel, self.bias, *how)
        return y if self.activation is activations.linear else self.activation(y)

    def reach(self) -> ReceptiveField | None:
        """Return the part of a step from one output to the next, and the steps that it sees."""
        if self._pointwise() is None:
            return None
        cropped, reach = self._window()[0], self.dilation_rate * (self.kernel_size - 1)
        left, right = (
            Fraction(max(0, reach - cropped), self.strides),
            Fraction(cropped, self.strides),
        )
        return ReceptiveField().then(ReceptiveField(Fraction(1, self.strides), left, right))


class UpSample1d(OverSteps):
    """Repeat each step ``size`` times: (..., length, channels) to (..., length * size, channels).

    >>> UpSample1d(2)([[1.0], [3.0]]).ravel()
    Tensor([1., 1., 3., 3.])
    """

    per_sample = keeps_linear = True

    @check.with_hints
    def __init__(self, size: int = 2) -> None:
        self.size = check.integer("UpSample1d", "size", size, at_least=1)

    def __repr__(self) -> str:
        return f"UpSample1d({self.size})"

    def forward(self, x: Any) -> Tensor:
        """Return x with each step repeated."""
        return ops.repeat(self._series(x), self.size, axis=-2)

    def reach(self) -> ReceptiveField:
        """Return the part of a step from one output to the next, and the step that it sees."""
        part = Fraction(1, self.size)
        return ReceptiveField().then(ReceptiveField(part, 1 - part))


class ZeroPad1d(OverSteps):
    """Put zeros before and after a series: (..., length, channels) to a longer one.

    ``padding``: steps at each end, or a pair (left, right).

    >>> ZeroPad1d((1, 2))([[3.0]]).ravel()
    Tensor([0., 3., 0., 0.])
    """

    per_sample = keeps_linear = True

    @check.with_hints
    def __init__(self, padding: int | tuple[int, int] = 1) -> None:
        self.padding = conv.checked_padding("ZeroPad1d", padding, ())

    def __repr__(self) -> str:
        return f"ZeroPad1d({self.padding})"

    def forward(self, x: Any) -> Tensor:
        """Return x with zeros around it."""
        return conv.pad1d(self._series(x), self.padding)

    def reach(self) -> ReceptiveField:
        """Return how far before or behind its own place an output finds its step."""
        left, _ = conv.padding_pair(self.padding, 0, 0, 1)
        return ReceptiveField(1, left, 0)
