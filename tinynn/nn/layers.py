"""Dense, Activation, Flatten, Dropout and Sequential, in Keras's words."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.primitive import as_array, fresh
from tinynn.autodiff.tensor import Tensor
from tinynn.nn import activations, initializers
from tinynn.nn.activations import Activation as ActivationFunction
from tinynn.nn.initializers import Initializer
from tinynn.nn.layer import Layer
from tinynn.nn.receptive_field import ReceptiveField, receptive_field_of


def float_dtype(owner: str, dtype: Any) -> np.dtype[Any]:
    """Return ``dtype`` as one of floating-point numbers, or raise TypeError."""
    try:
        resolved = np.dtype(object if dtype is None else dtype)
        if resolved.kind == "f":
            return resolved
    except TypeError:
        pass
    got = check.shown(dtype)
    raise TypeError(f"{owner}: dtype must be a floating-point type such as 'float32', got {got}.")


def as_input(owner: str, x: Any, dtype: np.dtype[Any] | None = None) -> Tensor:
    """Return ``x`` as a Tensor; real numbers are converted to ``dtype`` if one is given."""
    array = x if isinstance(x, Tensor) else as_array(owner, x)  # forward was called itself
    given = array._data.dtype if isinstance(array, Tensor) else array.dtype
    if given.kind not in "fiub":
        raise TypeError(f"{owner}: the input must be real numbers, got dtype {given}.")
    if not isinstance(array, Tensor):
        array = Tensor(array)
    return array if dtype is None or given == dtype else array.astype(dtype)


class Activated(Layer):
    """A layer that ends in an activation."""

    activation: ActivationFunction

    @property
    def activation_name(self) -> str:
        """The activation, as a person would name it."""
        return activations.name(self.activation)

    def _pointwise(self) -> ReceptiveField | None:
        """Return that each step is computed from itself, if the activation has a name."""
        return ReceptiveField() if self.activation in activations.TABLE.values() else None


class Weighted(Activated):
    """A linear map with kernel, bias or None, and an activation."""

    def _make(
        self, shape: tuple[int, ...], units: int, activation: str | ActivationFunction | None,
        use_bias: bool, kernel_initializer: "str | Initializer",
        bias_initializer: "str | Initializer", dtype: Any, rng: "check.Seed",
    ) -> None:  # fmt: skip
        owner = type(self).__name__
        self.activation = activations.get(owner, activation)
        self.dtype = float_dtype(owner, dtype)
        use_bias = check.flag(owner, "use_bias", use_bias)
        rng = check.generator(owner, rng)
        make = initializers.parameter
        self.kernel = make(owner, "kernel", shape, kernel_initializer, rng, self.dtype)
        self.bias: Tensor | None = None
        if use_bias:
            self.bias = make(owner, "bias", (units,), bias_initializer, rng, self.dtype)

    @property
    def use_bias(self) -> bool:
        """Whether there is a bias."""
        return self.bias is not None

    def _shown(self, **usual: Any) -> str:
        """Return the sizes of a convolution, and what is not as usual, as they are written."""
        given = {name: getattr(self, name) for name in ("in_channels", "filters", "kernel_size")}
        a, b, size = given.values()
        extra = [f"{k}={getattr(self, k)!r}" for k, v in usual.items() if getattr(self, k) != v]
        options = [f"kernel_size={size}", *extra, f"activation={self.activation_name!r}"]
        return f"{type(self).__name__}({a}, {b}, {', '.join(options)})"


class Dense(Weighted):
    """Fully connected layer: each unit weighs all features, ``activation(x @ kernel + bias)``.

    Takes (..., in_features), returns (..., units).

    Parameters
    ----------
    in_features : int
        Length of the last axis of the input.
    units : int
        Length of the last axis of the output.
    activation : str, callable or None, default "linear"
        A name, or a function of a Tensor. Linear, as None, changes nothing.
    use_bias : bool, default True
        Whether a number is added for each unit.
    kernel_initializer, bias_initializer : str or callable, default "glorot_uniform", "zeros"
        A name, or a function of (shape, rng).
    dtype : dtype, default "float32"
        Of the weights. The input is converted to it.
    rng : Generator or int, default None
        What the first weights are drawn from. An int is a seed.

    Attributes
    ----------
    kernel : (in_features, units) Tensor
        The weights.
    bias : (units,) Tensor or None
        The numbers that are added.

    Raises
    ------
    ValueError, TypeError
        For arguments or inputs that do not fit.

    Examples
    --------
    >>> Dense(3, 2, activation="relu", rng=0)(np.ones((5, 3))).shape
    (5, 2)
    """

    per_sample = True
    reach = Activated._pointwise

    @check.with_hints
    def __init__(
        self, in_features: int, units: int, activation: str | ActivationFunction | None = "linear",
        *, use_bias: bool = True, kernel_initializer: "str | Initializer" = "glorot_uniform",
        bias_initializer: "str | Initializer" = "zeros", dtype: Any = "float32",
        rng: "check.Seed" = None,
    ) -> None:  # fmt: skip
        self.in_features = check.integer("Dense", "in_features", in_features, at_least=1)
        self.units = check.integer("Dense", "units", units, at_least=1)
        shape = (self.in_features, self.units)
        initial = kernel_initializer, bias_initializer
        self._make(shape, self.units, activation, use_bias, *initial, dtype, rng)

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


class Activation(Activated):
    """An activation as a layer of its own: a name or any callable on Tensors.

    >>> Activation("relu")(np.array([-1.0, 2.0]))
    Tensor([0., 2.])
    """

    per_sample = True
    reach = Activated._pointwise

    def __init__(self, activation: str | ActivationFunction | None) -> None:
        self.activation = activations.get("Activation", activation)

    @property
    def keeps_linear(self) -> bool:  # type: ignore[override]
        """Whether the activation is linear now."""
        return self.activation is activations.linear

    def __repr__(self) -> str:
        return f"Activation({self.activation_name!r})"

    def forward(self, x: Any) -> Tensor:
        """Return the activation of ``x``."""
        return self.activation(as_input("Activation", x))


class Flatten(Layer):
    """Join all axes but the first: (batch, ...) to (batch, features).

    >>> Flatten()(np.ones((2, 3, 4))).shape
    (2, 12)
    """

    keeps_linear = per_sample = True

    def __repr__(self) -> str:
        return "Flatten()"

    def forward(self, x: Any) -> Tensor:
        """Return ``x`` as (batch, features)."""
        x = as_input("Flatten", x)
        if x.ndim == 0:
            raise ValueError("Flatten: the input must have a batch axis, got a scalar.")
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Dropout(Layer):
    """In training, zero each element with probability ``rate`` and scale the others to make up.

    In evaluation it returns its input.

    Parameters
    ----------
    rate : float
        The probability, at least 0 and below 1.
    rng : Generator or int, default None
        What is drawn from. An int is a seed.

    References
    ----------
    Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting.

    Examples
    --------
    >>> Dropout(0.5, rng=0).eval()(np.ones(3))
    Tensor([1., 1., 1.])
    """

    keeps_linear = per_sample = True

    @check.with_hints
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
        dtype = x.dtype if x.dtype.kind == "f" else np.dtype(float)
        return x * ops.astype(ops.divide(kept, 1 - self.rate), dtype)

    def reach(self) -> ReceptiveField:
        """Return that each step is computed from itself."""
        return ReceptiveField()


def as_layer(owner: str, name: str, layer: Any) -> Layer:
    """Return ``layer`` if it is one; raise TypeError with what to do if not."""
    if isinstance(layer, Layer):
        return layer
    advice = ""
    if isinstance(layer, type):
        advice = f" Call it with its sizes: {layer.__name__}(...)."
    elif callable(layer):
        advice = " Wrap a function as tinynn.Activation(f), or tinynn.Lambda(f) for other shapes."
    elif isinstance(layer, str) and layer in activations.TABLE:
        advice = f" Write an activation as tinynn.Activation({layer!r})."
    raise TypeError(f"{owner}: {name} must be a Layer, got {check.shown(layer)}.{advice}")


class Several(Layer):
    """A layer made of a list of others. Iterable, with a length."""

    def __init__(self, *layers: Layer | Iterable[Layer]) -> None:
        owner = type(self).__name__
        if len(layers) == 1 and not isinstance(layers[0], Layer):
            if not isinstance(layers[0], Iterable) or isinstance(layers[0], (str, dict)):
                raise TypeError(f"{owner}: give Layers, got {check.shown(layers[0])}.")
            layers = tuple(layers[0])
        self.layers: list[Any] = [
            as_layer(owner, f"layers[{i}]", layer) for i, layer in enumerate(layers)
        ]

    def __repr__(self) -> str:
        below = "".join(f"\n{layer!r}," for layer in self.layers).replace("\n", "\n  ")
        return f"{type(self).__name__}({below}\n)"

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)


class Sequential(Several):
    """Layers one after the other; also from one list. Indexable, iterable, with a length.

    >>> model = Sequential(Dense(3, 4, activation="relu", rng=0), Dense(4, 1, rng=1))
    >>> model(np.ones((2, 3))).shape
    (2, 1)
    """

    per_sample = True

    def forward(self, x: Any) -> Tensor:
        """Return the last layer's output."""
        for at, layer in enumerate(self.layers):
            given = x
            try:
                x = layer(x)
            except (TypeError, ValueError) as error:
                if at:
                    what = getattr(given, "shape", None) or check.shown(given)
                    what = f"what layers.{at - 1} returns, {what}"
                    error.add_note(f"It is layers.{at} of a Sequential, which gets {what}.")
                raise
        return x

    def reach(self) -> ReceptiveField | None:
        """Return the layers' receptive fields put together, or None if one is unknown."""
        total = ReceptiveField()
        for layer in self.layers:
            field = receptive_field_of(layer)
            if field is None:
                return None
            total = total.then(field)
        return total

    def __getitem__(self, index: int | slice) -> Layer:
        found: Any = self.layers[index]
        return Sequential(found) if isinstance(index, slice) else found
