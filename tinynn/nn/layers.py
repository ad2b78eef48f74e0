"""The layers: Dense, Conv1d, pooling, Flatten, Dropout, Activation, Sequential. Keras's words."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import conv
from tinynn.autodiff.primitive import as_array, fresh
from tinynn.autodiff.tensor import Tensor
from tinynn.nn import activations, initializers
from tinynn.nn.activations import Activation as ActivationFunction
from tinynn.nn.initializers import Initializer
from tinynn.nn.layer import Layer, Reach, reach_of
from tinynn.nn.words import explained


def _float_dtype(owner: str, dtype: Any) -> np.dtype[Any]:
    try:
        resolved = np.dtype(object if dtype is None else dtype)
    except TypeError:
        resolved = np.dtype(object)
    if resolved.kind != "f":
        raise TypeError(
            f"{owner}: dtype must be a floating-point type such as 'float32', "
            f"got {check.shown(dtype)}."
        )
    return resolved


def as_input(owner: str, x: Any, dtype: np.dtype[Any] | None = None) -> Tensor:
    """Return ``x`` as a Tensor; real numbers are converted to ``dtype`` if one is given."""
    array = as_array(owner, x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{owner}: the input must be real numbers, got dtype {array.dtype}.")
    if not isinstance(array, Tensor):
        return Tensor(array, dtype=dtype)
    return array if dtype is None or array.dtype == dtype else array.astype(dtype)


class _Activated(Layer):
    """A layer that ends in an activation."""

    activation: ActivationFunction

    @property
    def activation_name(self) -> str:
        """The activation, as a person would name it."""
        return activations.name(self.activation)

    def _pointwise(self) -> Reach | None:
        """Return the reach of the activation: nobody knows what a callable does over time."""
        return Reach() if self.activation in activations.TABLE.values() else None


class _Weighted(_Activated):
    """A linear map with kernel, bias or None, and an activation."""

    def _make(
        self,
        shape: tuple[int, ...],
        activation: str | ActivationFunction | None,
        use_bias: bool,
        kernel_initializer: "str | Initializer",
        bias_initializer: "str | Initializer",
        dtype: Any,
        rng: "check.Seed",
    ) -> None:
        owner = type(self).__name__
        self.activation = activations.get(owner, activation)
        self.dtype = _float_dtype(owner, dtype)
        use_bias = check.flag(owner, "use_bias", use_bias)
        rng = check.generator(owner, rng)
        make = initializers.parameter
        self.kernel = make(owner, "kernel", shape, kernel_initializer, rng, self.dtype)
        self.bias: Tensor | None = None
        if use_bias:
            self.bias = make(owner, "bias", shape[-1:], bias_initializer, rng, self.dtype)


class Dense(_Weighted):
    """Fully connected layer: each unit weighs all features, ``activation(x @ kernel + bias)``.

    Takes (..., in_features), returns (..., units). ``kernel``: (in_features, units); ``bias``:
    (units,). The activation is linear unless given, as in Keras: a name, a callable or None.
    Raises ValueError or TypeError for arguments or inputs that do not fit.

    >>> Dense(3, 2, activation="relu", rng=0)(np.ones((5, 3))).shape
    (5, 2)
    """

    @explained
    def __init__(
        self,
        in_features: int,
        units: int,
        activation: str | ActivationFunction | None = "linear",
        *,
        use_bias: bool = True,
        kernel_initializer: "str | Initializer" = "glorot_uniform",
        bias_initializer: "str | Initializer" = "zeros",
        dtype: Any = "float32",
        rng: "check.Seed" = None,
    ) -> None:
        self.in_features = check.integer("Dense", "in_features", in_features, at_least=1)
        self.units = check.integer("Dense", "units", units, at_least=1)
        shape = (self.in_features, self.units)
        initial = kernel_initializer, bias_initializer
        self._make(shape, activation, use_bias, *initial, dtype, rng)

    def __repr__(self) -> str:
        return f"Dense({self.in_features}, {self.units}, activation={self.activation_name!r})"

    def forward(self, x: Any) -> Tensor:
        """Return activation(x @ kernel + bias)."""
        x = as_input("Dense", x, self.dtype)
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"Dense: the last axis of the input must have {self.in_features} features, got "
                f"shape {x.shape}. Check in_features, or put a Flatten() before it."
            )
        y = x @ self.kernel
        return self.activation(y if self.bias is None else y + self.bias)

    def reach(self) -> Reach | None:
        """Return that each step is computed from itself."""
        return self._pointwise()


class Conv1d(_Weighted):
    """One-dimensional convolution: small kernels slid over a series, one feature map each.

    Takes (batch, length, in_channels) or (length, in_channels), returns (..., output length,
    filters). ``kernel``: (kernel_size, in_channels // groups, filters), not flipped; ``bias``:
    (filters,). ``padding``: "valid", "same" (an odd zero goes right), "same_lower" (left),
    "causal", an int or a pair (left, right); ``padding_mode`` fills the padded steps: zeros,
    reflect, replicate or circular. Strides and dilation may be combined. The activation is linear
    unless given, as in Keras: a name, a callable or None. Raises ValueError or TypeError for
    arguments or inputs that do not fit.

    >>> layer = Conv1d(1, 4, kernel_size=3, padding="same", activation="relu", rng=0)
    >>> layer(np.ones((2, 10, 1))).shape
    (2, 10, 4)
    """

    takes_series = True

    @explained
    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_size: int,
        *,
        strides: int = 1,
        padding: conv.Padding = "valid",
        padding_mode: str = "zeros",
        dilation_rate: int = 1,
        groups: int = 1,
        activation: str | ActivationFunction | None = "linear",
        use_bias: bool = True,
        kernel_initializer: "str | Initializer" = "glorot_uniform",
        bias_initializer: "str | Initializer" = "zeros",
        dtype: Any = "float32",
        rng: "check.Seed" = None,
    ) -> None:
        self.in_channels = check.integer("Conv1d", "in_channels", in_channels, at_least=1)
        self.filters = check.integer("Conv1d", "filters", filters, at_least=1)
        self.kernel_size = check.integer("Conv1d", "kernel_size", kernel_size, at_least=1)
        self.strides = check.integer("Conv1d", "strides", strides, at_least=1)
        self.padding = conv.checked_padding("Conv1d", padding)
        self.padding_mode = check.choice("Conv1d", "padding_mode", padding_mode, conv.PADDING_MODES)
        self.dilation_rate = check.integer("Conv1d", "dilation_rate", dilation_rate, at_least=1)
        self.groups = check.integer("Conv1d", "groups", groups, at_least=1)
        for name, n in (("in_channels", self.in_channels), ("filters", self.filters)):
            if n % self.groups:
                raise ValueError(f"Conv1d: groups must divide {name}, got {self.groups} and {n}.")
        shape = (self.kernel_size, self.in_channels // self.groups, self.filters)
        initial = kernel_initializer, bias_initializer
        self._make(shape, activation, use_bias, *initial, dtype, rng)

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
        return conv.output_length("Conv1d", length, field, stride, self.padding)

    def output_positions(self, length: int) -> np.ndarray:
        """Return the input index under the centre tap, (kernel_size - 1) // 2, of each output.

        >>> Conv1d(1, 1, 5, strides=2).output_positions(10)
        array([2, 4, 6])
        """
        steps = np.arange(self.output_length(length))
        left, _ = conv.padding_pair(self.padding, length, self.receptive_field, self.strides)
        return steps * self.strides - left + self.dilation_rate * ((self.kernel_size - 1) // 2)

    def __repr__(self) -> str:
        shown = {"strides": 1, "padding": "valid", "padding_mode": "zeros", "dilation_rate": 1}
        shown["groups"] = 1
        extra = [f"{k}={getattr(self, k)!r}" for k, v in shown.items() if getattr(self, k) != v]
        sizes = [f"{self.in_channels}", f"{self.filters}", f"kernel_size={self.kernel_size}"]
        return f"Conv1d({', '.join([*sizes, *extra, f'activation={self.activation_name!r}'])})"

    def _axis_hint(self, shape: tuple[int, ...]) -> str:
        if self.in_channels == 1 and len(shape) in (1, 2):
            return " If it is (batch, length) or (length,), add the channel's axis: x[..., None]."
        return conv.channels_hint(shape, self.in_channels)

    def forward(self, x: Any) -> Tensor:
        """Return activation(convolution of x with the kernel + bias)."""
        x = as_input("Conv1d", x, self.dtype)
        if x.ndim not in (2, 3) or x.shape[-1] != self.in_channels:
            raise ValueError(
                f"Conv1d: the input must be (batch, length, {self.in_channels}) or (length, "
                f"{self.in_channels}), got shape {x.shape}." + self._axis_hint(x.shape)
            )
        self.output_length(x.shape[-2])  # an input too short is refused in the layer's own name
        padding = self.padding
        if self.padding_mode != "zeros":
            length, field = x.shape[-2], self.receptive_field
            pair = conv.padding_pair(padding, length, field, self.strides)
            x, padding = conv.pad1d(x, pair, self.padding_mode), "valid"
        y = conv.conv1d(
            *(x, self.kernel, self.bias),
            strides=self.strides,
            padding=padding,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
        )
        return self.activation(y)

    def reach(self) -> Reach | None:
        """Return the stride, and the steps before and after that an output sees."""
        if self.padding_mode == "circular" or self._pointwise() is None:
            return None
        mirrored = self.padding_mode == "reflect"
        return _window_reach(self.receptive_field, self.strides, self.padding, mirrored)


def _window_reach(extent: int, stride: int, padding: conv.Padding, mirrored: bool = False) -> Reach:
    """Return the reach of windows that span ``extent`` steps, ``stride`` apart.

    Padding "same" with a stride depends on the remainder of the length by it: the furthest counts.
    At the ends, a mirror shows steps outside the window.
    """
    left = right = 0
    pairs = {conv.padding_pair(padding, n, extent, stride) for n in range(1, stride + 1)}
    for before, after in pairs:
        beyond = max(0, before + after - extent + 1)  # how far past the end a window may begin
        left = max(left, before, beyond + (after if mirrored else 0))
        right = max(right, extent - 1 - before, *((before, after) if mirrored else ()))
    return Reach(stride, left, right, fixed=len({before for before, _ in pairs}) == 1)


class Activation(_Activated):
    """An activation as a layer of its own: a name or any callable on Tensors.

    >>> Activation("relu")(np.array([-1.0, 2.0]))
    Tensor([0., 2.])
    """

    def __init__(self, activation: str | ActivationFunction | None) -> None:
        self.activation = activations.get("Activation", activation)
        self.keeps_linear = self.activation is activations.linear

    def __repr__(self) -> str:
        return f"Activation({self.activation_name!r})"

    def forward(self, x: Any) -> Tensor:
        """Return the activation of ``x``."""
        return self.activation(as_input("Activation", x))

    def reach(self) -> Reach | None:
        """Return that each step is computed from itself, if the activation has a name."""
        return self._pointwise()


class Flatten(Layer):
    """Join all axes but the first: (batch, ...) to (batch, features).

    >>> Flatten()(np.ones((2, 3, 4))).shape
    (2, 12)
    """

    keeps_linear = True

    def __repr__(self) -> str:
        return "Flatten()"

    def forward(self, x: Any) -> Tensor:
        """Return ``x`` as (batch, features)."""
        x = as_input("Flatten", x)
        if x.ndim == 0:
            raise ValueError("Flatten: the input must have a batch axis, got a scalar.")
        return x.reshape(x.shape[0], int(np.prod(x.shape[1:])))


class Dropout(Layer):
    """In training, zero each element with probability ``rate`` and scale the others to make up.

    In evaluation it returns its input (Srivastava et al. 2014). Draws come from ``rng``, a
    Generator or a seed.

    >>> Dropout(0.5, rng=0).eval()(np.ones(3))
    Tensor([1., 1., 1.])
    """

    keeps_linear = True

    @explained
    def __init__(self, rate: float, *, rng: "check.Seed" = None) -> None:
        self.rate = check.real("Dropout", "rate", rate, at_least=0, below=1)
        self.rng = check.generator("Dropout", rng)

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"

    def forward(self, x: Any) -> Tensor:
        """Return ``x`` with elements dropped, or as it is in evaluation."""
        x = as_input("Dropout", x)
        if not self.training or self.rate == 0:
            return x
        shape = x.shape
        kept = fresh(lambda: self.rng.random(shape) >= self.rate)
        dtype = x.dtype if x.dtype.kind == "f" else np.float64
        return x * (kept / (1 - self.rate)).astype(dtype)

    def reach(self) -> Reach:
        """Return that each step is computed from itself."""
        return Reach()


class _Pool1d(Layer):
    takes_series = True

    @explained
    def __init__(
        self, pool_size: int = 2, *, strides: int | None = None, padding: str = "valid"
    ) -> None:
        owner = type(self).__name__
        self.pool_size = check.integer(owner, "pool_size", pool_size, at_least=1)
        self.strides = self.pool_size
        if strides is not None:
            self.strides = check.integer(owner, "strides", strides, at_least=1)
        self.padding = check.choice(owner, "padding", padding, ("valid", "same"))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.pool_size}, strides={self.strides}, "
            f"padding={self.padding!r})"
        )


class MaxPool1d(_Pool1d):
    """Largest value in each window: (..., length, channels) to fewer steps.

    ``strides`` is by default ``pool_size``; ``padding``: "valid" or "same".

    >>> MaxPool1d(2)(np.ones((1, 6, 3))).shape
    (1, 3, 3)
    """

    def forward(self, x: Any) -> Tensor:
        """Return the maxima."""
        how: dict[str, Any] = {"strides": self.strides, "padding": self.padding}
        return conv.max_pool1d(as_input("MaxPool1d", x), self.pool_size, **how)

    def reach(self) -> Reach:
        """Return the stride, and the steps before and after that an output sees."""
        return _window_reach(self.pool_size, self.strides, self.padding)


class AvgPool1d(_Pool1d):
    """Mean of each window, of real samples only: (..., length, channels) to fewer steps.

    ``strides`` is by default ``pool_size``; ``padding``: "valid" or "same".

    >>> AvgPool1d(2)(np.ones((1, 6, 3))).shape
    (1, 3, 3)
    """

    keeps_linear = True

    def forward(self, x: Any) -> Tensor:
        """Return the means."""
        how: dict[str, Any] = {"strides": self.strides, "padding": self.padding}
        return conv.avg_pool1d(as_input("AvgPool1d", x), self.pool_size, **how)

    def reach(self) -> Reach:
        """Return the stride, and the steps before and after that an output sees."""
        return _window_reach(self.pool_size, self.strides, self.padding)


class _GlobalPool1d(Layer):
    takes_series = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _checked(self, x: Any) -> Tensor:
        x = as_input(type(self).__name__, x)
        if x.ndim not in (2, 3) or x.shape[-2] == 0:
            raise ValueError(
                f"{type(self).__name__}: the input must be (batch, length, channels) with at least "
                f"one step, got shape {x.shape}."
            )
        return x


class GlobalMaxPool1d(_GlobalPool1d):
    """Largest value over all steps: (batch, length, channels) to (batch, channels).

    >>> GlobalMaxPool1d()(np.ones((2, 6, 3))).shape
    (2, 3)
    """

    def forward(self, x: Any) -> Tensor:
        """Return the maxima over the steps."""
        return self._checked(x).max(axis=-2)


class GlobalAvgPool1d(_GlobalPool1d):
    """Mean over all steps: (batch, length, channels) to (batch, channels).

    >>> GlobalAvgPool1d()(np.ones((2, 6, 3))).shape
    (2, 3)
    """

    keeps_linear = True

    def forward(self, x: Any) -> Tensor:
        """Return the means over the steps."""
        return self._checked(x).mean(axis=-2)


class Sequential(Layer):
    """Layers one after the other; also from one list. Indexable, iterable, with a length.

    >>> model = Sequential(Conv1d(1, 4, 9, padding="same", activation="relu", rng=0),
    ...                    Conv1d(4, 1, 9, padding="same", rng=1))
    >>> model(np.ones((2, 50, 1))).shape
    (2, 50, 1)
    """

    def __init__(self, *layers: Layer | Iterable[Layer]) -> None:
        if len(layers) == 1 and not isinstance(layers[0], Layer):
            if not isinstance(layers[0], Iterable) or isinstance(layers[0], (str, dict)):
                raise TypeError(f"Sequential: give Layers, got {check.shown(layers[0])}.")
            layers = tuple(layers[0])
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                advice = " Wrap a function as tinynn.Activation(f)." if callable(layer) else ""
                if isinstance(layer, str):
                    advice = f" Write an activation as tinynn.Activation({layer!r})."
                raise TypeError(
                    f"Sequential: layers[{i}] must be a Layer, got {check.shown(layer)}.{advice}"
                )
        self.layers: list[Layer] = [layer for layer in layers if isinstance(layer, Layer)]

    def forward(self, x: Any) -> Any:
        """Return the last layer's output."""
        for layer in self.layers:
            x = layer(x)
        return x

    def reach(self) -> Reach | None:
        """Return the layers' reaches put together, or None if one is unknown."""
        total = Reach()
        for layer in self.layers:
            reach = reach_of(layer)
            if reach is None:
                return None
            total = total.then(reach)
        return total

    def __repr__(self) -> str:
        return "Sequential(" + "".join(f"\n  {layer!r}," for layer in self.layers) + "\n)"

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Layer:
        if isinstance(index, slice):
            return Sequential(self.layers[index])
        return self.layers[index]
