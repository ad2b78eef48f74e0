"""Pooling: one value for the steps of a window, or for all steps of a series."""

from typing import Any, ClassVar

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.ops import convolution as conv
from tinynn.autodiff.tensor import Tensor
from tinynn.kernels import geometry
from tinynn.nn.layer import Layer
from tinynn.nn.layers import as_input
from tinynn.nn.receptive_field import ReceptiveField, of_windows


class OverSteps(Layer):
    """A layer that puts one value in the place of several steps."""

    takes_series = True

    def _series(self, x: Any) -> Tensor:
        owner = type(self).__name__
        x = as_input(owner, x)
        conv.check_rank(owner, x.shape)
        return x


class _Pool1d(OverSteps):
    per_sample = True
    _pool: ClassVar[Any]

    @check.with_hints
    def __init__(
        self, pool_size: int = 2, *, strides: int | None = None, padding: str = "valid"
    ) -> None:
        owner = type(self).__name__
        self.pool_size = check.integer(owner, "pool_size", pool_size, at_least=1)
        strides = self.pool_size if strides is None else strides
        self.strides = check.integer(owner, "strides", strides, at_least=1)
        self.padding = check.choice(owner, "padding", padding, ("valid", "same"))

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}({self.pool_size}, strides={self.strides}, padding={self.padding!r})"

    def forward(self, x: Any) -> Tensor:
        """Return one value for each window and channel."""
        x, how = self._series(x), (self.pool_size, self.strides, self.padding)
        geometry.output_length(type(self).__name__, x.shape[-2], *how)
        return self._pool(x, self.pool_size, strides=self.strides, padding=self.padding)

    def reach(self) -> ReceptiveField:
        """Return the stride, and the steps before and after that an output sees."""
        return of_windows(self.pool_size, self.strides, self.padding)


class MaxPool1d(_Pool1d):
    """Largest value in each window: (..., length, channels) to fewer steps.

    Parameters
    ----------
    pool_size : int
        Steps of a window.
    strides : int, default None
        Steps from one window to the next; None means ``pool_size``.
    padding : "valid" or "same", default "valid"
        Whether a window that reaches beyond the ends counts. Padded steps never win.

    Examples
    --------
    >>> MaxPool1d(2)([[1.0], [3.0], [2.0], [0.0]]).ravel()
    Tensor([3., 2.])
    """

    _pool = staticmethod(conv.max_pool1d)


class AvgPool1d(_Pool1d):
    """Mean of each window, of real samples only: (..., length, channels) to fewer steps.

    Parameters
    ----------
    pool_size : int
        Steps of a window.
    strides : int, default None
        Steps from one window to the next; None means ``pool_size``.
    padding : "valid" or "same", default "valid"
        Whether a window that reaches beyond the ends counts. The mean is one of real samples, as in
        Keras.

    Examples
    --------
    >>> AvgPool1d(2, padding="same")([[1.0], [3.0], [4.0]]).ravel()
    Tensor([2., 4.])
    """

    keeps_linear = True
    _pool = staticmethod(conv.avg_pool1d)


class _GlobalPool1d(OverSteps):
    per_sample = True
    _over: ClassVar[Any]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def forward(self, x: Any) -> Tensor:
        """Return one value for each channel."""
        x = self._series(x)
        if x.shape[-2] == 0:
            owner = type(self).__name__
            raise ValueError(f"{owner}: the input must have at least one step, got {x.shape}.")
        return self._over(x, axis=-2)


class GlobalMaxPool1d(_GlobalPool1d):
    """Largest value over all steps: (batch, length, channels) to (batch, channels).

    >>> GlobalMaxPool1d()([[[1.0], [3.0]], [[2.0], [0.0]]]).ravel()
    Tensor([3., 2.])
    """

    _over = staticmethod(ops.max)


class GlobalAvgPool1d(_GlobalPool1d):
    """Mean over all steps: (batch, length, channels) to (batch, channels).

    >>> GlobalAvgPool1d()([[[1.0], [3.0]], [[2.0], [0.0]]]).ravel()
    Tensor([2., 1.])
    """

    keeps_linear = True
    _over = staticmethod(ops.mean)
