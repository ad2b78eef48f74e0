"""Residual, Parallel and Lambda: models that are no mere row of layers."""

from collections.abc import Callable, Iterable
from typing import Any

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.layer import Layer
from tinynn.nn.layers import Several, as_input, as_layer
from tinynn.nn.receptive_field import ReceptiveField, beside, receptive_field_of


class Residual(Layer):
    """Add to the input what a layer makes of it: ``x + body(x)`` (He et al. 2016).

    ``body``: a Layer that keeps the shape, such as a Sequential of convolutions with padding
    "same". The input is converted to the dtype of its output. Raises ValueError if the shapes
    differ.

    >>> Residual(Lambda(lambda x: 2 * x))([1.0, 2.0])
    Tensor([3., 6.])
    """

    per_sample = True

    @check.with_hints
    def __init__(self, body: Layer) -> None:
        self.body = as_layer("Residual", "body", body)

    def __repr__(self) -> str:
        return f"Residual({self.body!r})"

    def forward(self, x: Any) -> Tensor:
        """Return x + body(x)."""
        x = as_input("Residual", x)
        y = self.body(x)
        if y.shape != x.shape:
            raise ValueError(
                f"Residual: the body must keep the shape of its input, {x.shape}, but returned "
                f"{y.shape}. Use padding='same' without strides, and as many filters as channels."
            )
        return ops.astype(x, y.dtype) + y if x.dtype != y.dtype else x + y

    def reach(self) -> ReceptiveField | None:
        """Return the receptive field of the body, and each step itself."""
        return beside([ReceptiveField(), receptive_field_of(self.body)])


class Parallel(Several):
    """Give the input to several layers, and join their outputs along channels; also from one list.

    All must return the same number of steps. ``Sequential()`` hands the input on as it is, for a
    skip connection. Raises ValueError if anything but the last axis differs.

    >>> from tinynn import MaxPool1d, Sequential, UpSample1d
    >>> up_and_down = Parallel(Sequential(), Sequential(MaxPool1d(2), UpSample1d(2)))
    >>> up_and_down([[1.0], [3.0]])
    Tensor([[1., 3.],
            [3., 3.]])
    """

    per_sample = True

    def __init__(self, *layers: Layer | Iterable[Layer]) -> None:
        super().__init__(*layers)
        if not self.layers:
            raise ValueError("Parallel: give at least one Layer.")

    def forward(self, x: Any) -> Tensor:
        """Return the outputs of all layers, joined along the last axis."""
        x = as_input("Parallel", x)
        outputs = [layer(x) for layer in self.layers]
        shapes = [y.shape for y in outputs]
        if len({shape[:-1] for shape in shapes}) > 1 or () in shapes:
            raise ValueError(
                f"Parallel: the outputs must differ in their channels alone, got shapes "
                f"{', '.join(map(str, shapes))} of an input {x.shape}. Use padding='same'. What is "
                "pooled and upsampled again has its length back if that is a multiple of the pools."
            )
        return ops.concatenate(outputs, axis=-1)

    def reach(self) -> ReceptiveField | None:
        """Return the steps that any layer sees; None if their strides differ."""
        return beside(map(receptive_field_of, self.layers))

    def __getitem__(self, index: int) -> Layer:
        found: Layer = self.layers[index]
        return found


class Lambda(Layer):
    """A function of a Tensor as a layer: ``f(x)``.

    What ``f`` holds is not searched for parameters. What it makes of samples and of time steps is
    not known, so ``fit`` does not cut batches of a model with one, nor ``predict`` series. ``fit``
    replays steps only if ``f`` is marked with :func:`tinynn.pure`. Raises TypeError if ``f`` is
    no function.

    >>> Lambda(lambda x: x[..., :1])(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([[1.],
            [3.]])
    """

    @check.with_hints
    def __init__(self, f: Callable[[Any], Any]) -> None:
        if isinstance(f, (type, Layer)) or not callable(f):
            advice = " A Layer is used as it is." if isinstance(f, Layer) else ""
            got = check.shown(f)
            raise TypeError(f"Lambda: f must be a function of a Tensor, got {got}.{advice}")
        self.f = f

    def __repr__(self) -> str:
        return f"Lambda({getattr(self.f, '__name__', type(self.f).__name__)})"

    def forward(self, x: Any) -> Any:
        """Return f(x)."""
        return self.f(x)
