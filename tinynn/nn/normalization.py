"""BatchNorm and LayerNorm: values of mean 0 and variance 1, then scaled and shifted."""

import math
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.graph import no_grad
from tinynn.autodiff.ops import convolution as conv
from tinynn.autodiff.tensor import Tensor
from tinynn.nn import initializers
from tinynn.nn.layer import Layer
from tinynn.nn.layers import as_input, float_dtype
from tinynn.nn.receptive_field import ReceptiveField
from tinynn.nn.sharing import over_batch, sharing

LONG = 2**13  # steps: a sum of more, one after the other, is too far from exact in single precision


class _Normalization(Layer):
    """A layer with ``gamma`` and ``beta`` for each channel. Half precision becomes single."""

    def _make(self, size: int, epsilon: float, dtype: Any) -> None:
        owner = type(self).__name__
        self.epsilon = check.real(owner, "epsilon", epsilon, above=0)
        self.dtype = float_dtype(owner, dtype)
        initializers.demand_room(owner, "gamma", (size,), self.dtype)
        self.gamma = Tensor(np.ones(size), dtype=self.dtype, requires_grad=True)
        self.beta = Tensor(np.zeros(size), dtype=self.dtype, requires_grad=True)

    @property
    def _wide(self) -> np.dtype[Any]:
        return np.promote_types(self.dtype, np.float32)

    def _scale(self, variance: Any) -> Any:
        """Return gamma over the standard deviation."""
        return self.gamma / ops.sqrt(variance + self.epsilon)

    def _of_each_step(self) -> ReceptiveField:
        """Return that, in evaluation, each step is computed from itself."""
        return ReceptiveField()


class BatchNorm(_Normalization):
    """Give each channel mean 0 and variance 1 over a batch, then scale and shift it.

    Takes and returns (batch, channels) or (batch, length, channels). In training,

        y = (x - mean) / sqrt(variance + epsilon) * gamma + beta

    with mean and variance over all axes but the last. The variance is the mean of squared
    deviations.

    Parameters
    ----------
    channels : int
        Length of the last axis.
    momentum : float, default 0.99
        How slowly the running statistics move, as in Keras. With each training batch
        moving = momentum * moving + (1 - momentum) * that of the batch, also under ``no_grad``.
    epsilon : float, default 1e-3
        What is added to the variance.
    dtype : dtype, default "float32"
        Of the weights. The input is converted to it.

    Attributes
    ----------
    gamma, beta : (channels,) Tensor
        Scale and shift, which are learned.
    moving_mean, moving_variance : (channels,) Tensor
        They stand in place of the batch's in evaluation. They are state, not parameters.

    Raises
    ------
    ValueError, TypeError
        For arguments or inputs that do not fit, and for an empty batch.

    Notes
    -----
    Samples of a batch depend on each other. So ``fit`` never cuts a batch in chunks, whatever its
    ``chunk=``; with a ``communicator`` the statistics are those of the whole batch. Of a batch with
    one value for each channel the output is ``beta``.

    References
    ----------
    Ioffe and Szegedy 2015, Batch normalization: accelerating deep network training by reducing
    internal covariate shift.

    Examples
    --------
    >>> norm = BatchNorm(1)
    >>> norm([[1.0], [3.0]]).data.round(2)
    array([[-1.],
           [ 1.]], dtype=float32)
    >>> norm.moving_mean, norm.moving_variance
    (Tensor([0.02], dtype=float32), Tensor([1.], dtype=float32))
    """

    keeps_linear = True
    reach = _Normalization._of_each_step

    @check.with_hints
    def __init__(
        self, channels: int, *, momentum: float = 0.99, epsilon: float = 1e-3,
        dtype: Any = "float32",
    ) -> None:  # fmt: skip
        self.channels = check.integer("BatchNorm", "channels", channels, at_least=1)
        self.momentum = check.real("BatchNorm", "momentum", momentum, at_least=0, at_most=1)
        self._make(self.channels, epsilon, dtype)
        self.moving_mean = Tensor(np.zeros(self.channels), dtype=self._wide)
        self.moving_variance = Tensor(np.ones(self.channels), dtype=self._wide)

    def __repr__(self) -> str:
        return f"BatchNorm({self.channels}, momentum={self.momentum:g}, epsilon={self.epsilon:g})"

    def forward(self, x: Any) -> Tensor:
        """Return x normalized; in training, move the running statistics."""
        x = as_input("BatchNorm", x, self._wide)
        self._check(x.shape)
        if not self.training:
            scale = self._scale(self.moving_variance)
            return ops.astype(x * scale + (self.beta - self.moving_mean * scale), self.dtype)
        # The mean itself is rounded: about it, what is left of it is found exactly.
        near = _means(x)[0].detach()
        centred = x - near
        rest, energy = _means(centred, ops.square(centred))
        variance = energy - ops.square(rest)
        variance = ops.maximum(variance, 0)  # but for rounding it is
        with no_grad():
            self._move(self.moving_mean, near + rest)
            self._move(self.moving_variance, variance)
        scale = self._scale(variance)
        return ops.astype(centred * scale + (self.beta - rest * scale), self.dtype)

    def _move(self, moving: Tensor, now: Tensor) -> None:
        moving.data = self.momentum * moving + (1 - self.momentum) * now

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) not in (2, 3) or shape[-1] != self.channels:
            hint = conv.channels_hint(shape, self.channels) if len(shape) == 3 else ""
            raise ValueError(
                f"BatchNorm: the input must be (batch, {self.channels}) or (batch, length, "
                f"{self.channels}), got shape {shape}.{hint}"
            )
        if self.training and 0 in shape:
            raise ValueError(f"BatchNorm: a batch of shape {shape} has no mean. Give samples.")


def _means(*xs: Tensor) -> list[Tensor]:
    """Return means over all axes but the last, and over the whole batch if it is shared out."""
    rows, channels = math.prod(xs[0].shape[:-1]), xs[0].shape[-1]
    sums = [_sum(x) for x in xs]
    if sharing.get() is None:
        return [total / rows for total in sums]
    total = over_batch(ops.concatenate([*sums, np.full(1, rows, sums[0].dtype)]))  # at one go
    return [total[i * channels : (i + 1) * channels] / total[-1:] for i in range(len(xs))]


def _sum(x: Tensor) -> Tensor:
    """Return the sum over all axes but the last."""
    rows, channels = math.prod(x.shape[:-1]), x.shape[-1:]
    if max(x.shape[:-1]) <= LONG:
        return ops.sum_to(x, channels)
    size = 2 ** (rows.bit_length() // 2)  # sums of so many, and then a sum of those
    flat = ops.reshape(x, (rows, *channels))
    parts = ops.reshape(flat[: rows // size * size], (-1, size, *channels))
    return ops.sum_to(parts, channels) + ops.sum(flat[rows // size * size :], 0)


class LayerNorm(_Normalization):
    """Give the features of each step mean 0 and variance 1, then scale and shift them.

    Takes and returns (..., features), y = (x - mean) / sqrt(variance + epsilon) * gamma + beta with
    mean and variance over the last axis, in training and evaluation alike.

    Parameters
    ----------
    features : int
        Length of the last axis.
    epsilon : float, default 1e-3
        What is added to the variance.
    dtype : dtype, default "float32"
        Of the weights. The input is converted to it.

    Attributes
    ----------
    gamma, beta : (features,) Tensor
        Scale and shift, which are learned.

    Raises
    ------
    ValueError, TypeError
        For arguments or inputs that do not fit.

    References
    ----------
    Ba, Kiros and Hinton 2016, Layer normalization.

    Examples
    --------
    >>> LayerNorm(2)([[1.0, 3.0], [10.0, 30.0]]).data.round(2)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    per_sample = True
    reach = _Normalization._of_each_step

    @check.with_hints
    def __init__(self, features: int, *, epsilon: float = 1e-3, dtype: Any = "float32") -> None:
        self.features = check.integer("LayerNorm", "features", features, at_least=1)
        self._make(self.features, epsilon, dtype)

    def __repr__(self) -> str:
        return f"LayerNorm({self.features}, epsilon={self.epsilon:g})"

    def forward(self, x: Any) -> Tensor:
        """Return x normalized over its last axis."""
        x = as_input("LayerNorm", x, self._wide)
        if x.ndim == 0 or x.shape[-1] != self.features:
            raise ValueError(
                f"LayerNorm: the last axis of the input must have {self.features} features, got "
                f"shape {x.shape}. Check features."
            )
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        y = centred / ops.sqrt(variance + self.epsilon) * self.gamma + self.beta
        return ops.astype(y, self.dtype)
