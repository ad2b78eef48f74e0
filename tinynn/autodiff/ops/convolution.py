"""One-dimensional convolution, transposed convolution, padding and pooling.

Arrays are ``(batch, length, channels)``, kernels ``(kernel_size, channels // groups, filters)``.
As in all deep-learning libraries the kernel is not flipped: y[t] = sum_j x[t s + j d] k[j], a
correlation. With the gradient g of y there are three maps: the convolution (x, k) -> y, its
adjoint in x, (g, k) -> x, and its adjoint in the kernel, (x, g) -> k. Each is bilinear, and the
vjps of each are the other two, so derivatives of every order come from these three. How they are
computed is in tinynn/kernels.
"""

import numbers
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.primitive import as_array, dtype_of, operation, primitive, shape_of
from tinynn.kernels import convolution
from tinynn.kernels.geometry import Padding as Padding
from tinynn.kernels.geometry import Pair
from tinynn.kernels.geometry import output_length as output_length
from tinynn.kernels.geometry import padding_pair as padding_pair

PADDINGS = ("valid", "same", "same_lower", "causal")
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


# ---------------------------------------------------------------- padding


def checked_padding(owner: str, padding: Any, words: tuple[str, ...] = PADDINGS) -> str | Pair:
    """Return a padding as one of ``words``, or as the pair of an int or pair."""
    if isinstance(padding, str) and words:
        return check.choice(owner, "padding", padding, words)
    if isinstance(padding, np.ndarray):
        padding = padding.tolist()
    if isinstance(padding, numbers.Integral) and not isinstance(padding, (bool, np.bool_)):
        padding = (padding, padding)
    if isinstance(padding, (tuple, list)) and len(padding) == 2:
        left, right = padding
        return (
            check.integer(owner, "padding[0]", left, at_least=0),
            check.integer(owner, "padding[1]", right, at_least=0),
        )
    named = f"one of {', '.join(map(repr, words))}, " if words else ""
    raise TypeError(
        f"{owner}: padding must be {named}a non-negative integer or a pair (left, right), got "
        f"{check.shown(padding)}."
    )


def checked_groups(owner: str, groups: Any, **sizes: int) -> int:
    """Return a number of groups that divides each of the sizes."""
    groups = check.integer(owner, "groups", groups, at_least=1)
    for name, n in sizes.items():
        if n % groups:
            raise ValueError(f"{owner}: groups must divide {name}, got {groups} and {n}.")
    return groups


@operation
def pad1d(x: Any, padding: Any, mode: str = "zeros") -> Any:
    """Lengthen a series at both ends.

    Parameters
    ----------
    x : (batch, length, channels) or (length, channels) array_like
        The series.
    padding : (left, right) or int
        Steps at the two ends, or at either of them.
    mode : str, default "zeros"
        What is added: "zeros", "reflect" (without the end sample; padding < length), "replicate"
        (the end sample) or "circular" (padding <= length).

    Returns
    -------
    Tensor or ndarray
        (..., left + length + right, channels).

    Raises
    ------
    ValueError
        For another rank or mode, or too much padding.

    Examples
    --------
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
    check_rank("pad1d", x.shape)
    length = x.shape[-2]
    limit = {"reflect": length - 1, "replicate": np.inf if length else 0, "circular": length}
    if max(left, right) > limit.get(mode, np.inf):
        raise ValueError(
            f"pad1d: mode={mode!r} can add at most {max(0, limit[mode])} steps to a series of "
            f"{length}, got {(left, right)}. Use mode='zeros', or a longer series."
        )
    if left == right == 0:
        return x
    return ops.pad(x, {-2: (left, right)}, PADDING_MODES[mode])


def check_rank(owner: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError if what ``owner`` was given has not the shape of series."""
    if len(shape) not in (2, 3):
        raise ValueError(
            f"{owner}: x must be (batch, length, channels) or (length, channels), "
            f"got shape {shape}."
        )


# ---------------------------------------------------------------- the three maps


@primitive(
    lambda g, y, x, kernel, bias, **p: conv_input(g, kernel, length=x.shape[1], **p),
    lambda g, y, x, kernel, bias, **p: conv_kernel(x, g, kernel_size=kernel.shape[0], **p),
    lambda g, y, x, kernel, bias, **p: ops.sum_to(g, bias.shape),
    passes_nan=True,
)
def conv(
    x: Any, kernel: Any, bias: Any = None, *, strides: int, padding: Pair, dilation: int,
    groups: int,
) -> Any:  # fmt: skip
    """Convolve x with kernel, add bias -> (batch, outputs, filters); padding as a pair, zeros."""
    return convolution.conv(x, kernel, strides, padding, dilation, groups, bias)


@primitive(
    lambda h, x, g, kernel, length, **p: conv(h, kernel, None, **p),
    lambda h, x, g, kernel, length, **p: conv_kernel(h, g, kernel_size=kernel.shape[0], **p),
    passes_nan=True,
)
def conv_input(
    g: Any, kernel: Any, *, length: int, strides: int, padding: Pair, dilation: int, groups: int
) -> Any:
    """Adjoint of :func:`conv` in x, the transposed convolution -> (batch, length, channels)."""
    return convolution.conv_input(g, kernel, length, strides, padding, dilation, groups)


@primitive(
    lambda h, k, x, g, kernel_size, **p: conv_input(g, h, length=x.shape[1], **p),
    lambda h, k, x, g, kernel_size, **p: conv(x, h, None, **p),
    passes_nan=True,
)
def conv_kernel(
    x: Any, g: Any, *, kernel_size: int, strides: int, padding: Pair, dilation: int, groups: int
) -> Any:
    """Adjoint of :func:`conv` in the kernel -> (kernel_size, channels // groups, filters)."""
    return convolution.conv_kernel(x, g, kernel_size, strides, padding, dilation, groups)


@check.remembered
def _geometry(
    owner: str, x: tuple[int, ...], kernel: tuple[int, ...], bias: tuple[int, ...] | None,
    strides: Any, padding: Padding, dilation_rate: Any, groups: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return, for the shapes of a convolution, its checked settings, padding as a pair."""
    padding = checked_padding(owner, padding)
    strides, dilation, groups = _checked_sizes(owner, strides, dilation_rate, groups)
    _check_shapes(owner, x, kernel, bias, groups, channels_at=1)
    extent = dilation * (kernel[0] - 1) + 1
    output_length(owner, x[-2], extent, strides, padding)
    pair = padding_pair(padding, x[-2], extent, strides)
    return {"strides": strides, "padding": pair, "dilation": dilation, "groups": groups}


@operation
def conv1d(
    x: Any, kernel: Any, bias: Any = None, *, strides: int = 1, padding: Padding = "valid",
    dilation_rate: int = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Slide a kernel over a series: y[t] = bias + sum_j x[t strides + j dilation_rate] kernel[j].

    Parameters
    ----------
    x : (batch, length, channels) or (length, channels) array_like
        The series.
    kernel : (kernel_size, channels // groups, filters) array_like
        The weights, not flipped.
    bias : (filters,) array_like, default None
        What is added to each feature map.
    strides : int, default 1
        Steps from one window to the next.
    padding : str, int or (left, right), default "valid"
        "valid" adds nothing, "same" as much as keeps the length (an odd zero goes right, as in
        Keras; with "same_lower" left), "causal" all in front. Numbers are steps at both ends.
    dilation_rate : int, default 1
        Steps between the inputs of neighbouring taps.
    groups : int, default 1
        Parts into which channels and filters are divided.

    Returns
    -------
    Tensor or ndarray
        (..., output length, filters).

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, and for an input shorter than the window.

    Examples
    --------
    >>> conv1d(np.array([[1.0], [2.0], [3.0]]), np.ones((2, 1, 1))).ravel()
    array([3., 5.])
    """
    x, kernel = as_array("conv1d", x), as_array("conv1d", kernel)
    if type(padding) is not str:  # a pair of other types may be equal to one that has passed
        padding = checked_padding("conv1d", padding)
    shapes = shape_of(x), shape_of(kernel), None if bias is None else shape_of(bias)
    how = _geometry("conv1d", *shapes, strides, padding, dilation_rate, groups)
    single = len(shapes[0]) == 2
    y = conv(ops.expand_dims(x, 0) if single else x, kernel, bias, **how)
    return ops.reshape(y, y.shape[1:]) if single else y


@operation
def conv1d_transpose(
    x: Any, kernel: Any, bias: Any = None, *, strides: int = 1, padding: Padding = "valid",
    output_padding: int | None = None, dilation_rate: int = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Add a scaled copy of the kernel for every step: the adjoint of :func:`conv1d` in x.

    Parameters
    ----------
    x : (batch, length, channels) or (length, channels) array_like
        The series.
    kernel : (kernel_size, out_channels // groups, channels) array_like
        The weights.
    bias : (out_channels,) array_like, default None
        What is added to each output channel.
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

    Returns
    -------
    Tensor or ndarray
        (..., output length, out_channels).

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit.

    Notes
    -----
    With Ke = dilation_rate (kernel_size - 1) + 1 the output length is, as in Keras, length *
    strides + max(Ke - strides, 0) for "valid", and length * strides for "same" (max(0, Ke -
    strides) // 2 cropped on the left). An int or pair crops that much from (length - 1) * strides +
    Ke. With ``output_padding`` it is (length - 1) * strides + Ke + output_padding, with Ke % 2 in
    place of Ke for "same" (half of what is cropped, rounded down, on the left).

    Examples
    --------
    >>> conv1d_transpose(np.array([[1.0], [0.0], [2.0]]), np.ones((2, 1, 1))).ravel()
    array([1., 1., 2., 2.])
    """
    x, kernel = as_array("conv1d_transpose", x), as_array("conv1d_transpose", kernel)
    how = strides, padding, output_padding, dilation_rate, groups
    return transposed("conv1d_transpose", x, kernel, bias, *how)


def transposed(
    owner: str, x: Any, kernel: Any, bias: Any, strides: int, padding: Padding, *how: Any
) -> Any:
    """Return the transposed convolution for ``owner``; ``how``: its other settings in order."""
    if type(padding) is not str:  # a pair of other types may be equal to one that has passed
        padding = checked_padding(owner, padding, ("valid", "same"))
    shapes = shape_of(x), shape_of(kernel), None if bias is None else shape_of(bias)
    settings = _transposed_geometry(owner, *shapes, strides, padding, *how)
    single = len(shapes[0]) == 2
    y = conv_input(ops.expand_dims(x, 0) if single else x, kernel, **settings)
    y = y if bias is None else ops.add(y, bias)
    return ops.reshape(y, y.shape[1:]) if single else y


def transposed_window(
    extent: int, strides: int, padding: str | Pair, output_padding: int | None
) -> Pair:
    """Return what a transposed convolution crops on the left, and its length for one step."""
    if isinstance(padding, str):
        if output_padding is None:
            length = strides if padding == "same" else max(extent, strides)
        else:
            length = (extent % 2 if padding == "same" else extent) + output_padding
        return (max(0, extent - length) // 2 if padding == "same" else 0), length
    return padding[0], extent + (output_padding or 0) - sum(padding)


def checked_output_padding(owner: str, output_padding: Any, strides: int) -> int | None:
    """Return a number of steps below the stride, or None."""
    if output_padding is None:
        return None
    found = check.integer(owner, "output_padding", output_padding, at_least=0)
    if found >= strides:
        raise ValueError(
            f"{owner}: output_padding must be below strides={strides}, got {found}. It chooses "
            "between the lengths that a convolution with this stride makes equal."
        )
    return found


@check.remembered
def _transposed_geometry(
    owner: str, x: tuple[int, ...], kernel: tuple[int, ...], bias: tuple[int, ...] | None,
    strides: Any, padding: Padding, output_padding: Any, dilation_rate: Any, groups: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return, for the shapes of a transposed convolution, its checked settings and length."""
    strides, dilation, groups = _checked_sizes(owner, strides, dilation_rate, groups)
    padding = checked_padding(owner, padding, ("valid", "same"))
    output_padding = checked_output_padding(owner, output_padding, strides)
    _check_shapes(owner, x, kernel, bias, groups, channels_at=2)
    extent, before = dilation * (kernel[0] - 1) + 1, (x[-2] - 1) * strides
    left, length = transposed_window(extent, strides, padding, output_padding)
    length += before
    if length <= 0 and not isinstance(padding, str):
        whole = before + extent + (output_padding or 0)
        raise ValueError(
            f"{owner}: padding={padding} crops all of the {whole} output steps. Crop less."
        )
    length = max(0, length)
    pair = left, max(0, before + extent - left - length)
    how = {"strides": strides, "padding": pair, "dilation": dilation, "groups": groups}
    return how | {"length": length}


def _checked_sizes(owner: str, strides: Any, dilation_rate: Any, groups: Any) -> tuple[int, ...]:
    sizes = {"strides": strides, "dilation_rate": dilation_rate, "groups": groups}
    return tuple(check.integer(owner, name, n, at_least=1) for name, n in sizes.items())


def _check_shapes(
    owner: str, x: tuple[int, ...], k: tuple[int, ...], bias: tuple[int, ...] | None, groups: int,
    *, channels_at: int,
) -> None:  # fmt: skip
    """Check that all shapes fit; the kernel counts x's channels on axis ``channels_at``."""
    check_rank(owner, x)
    if len(k) != 3 or 0 in k:
        axes = ("", "channels // groups, filters", "out_channels // groups, channels")[channels_at]
        raise ValueError(f"{owner}: kernel must be (kernel_size, {axes}), got shape {k}.")
    if k[2] % groups:
        raise ValueError(
            f"{owner}: groups must divide the kernel's last axis, got groups={groups} and a "
            f"kernel of shape {k}."
        )
    channels = k[1] * groups if channels_at == 1 else k[2]
    if x[-1] != channels:
        raise ValueError(
            f"{owner}: a kernel of shape {k} with groups={groups} takes {channels} channels, "
            f"but x has {x[-1]} (shape {x}).{channels_hint(x, channels)}"
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
    check_rank(owner, x.shape)
    length = x.shape[-2]
    outputs = output_length(owner, length, size, stride, padding)
    left, right = padding_pair(padding, length, size, stride)
    if left or right:
        x = ops.pad(x, {-2: (left, right)}, constant_values=fill)
    index: Any = stride * np.arange(outputs)[:, None] + np.arange(size)
    real = (index >= left) & (index < left + length)
    before = (slice(None),) * (len(x.shape) - 2)
    if stride != size:
        return ops.getitem(x, (*before, index)), real
    x = ops.getitem(x, (*before, slice(0, outputs * size)))
    return ops.reshape(x, (*x.shape[:-2], outputs, size, x.shape[-1])), real


@operation
def max_pool1d(
    x: Any, pool_size: int, *, strides: int | None = None, padding: str = "valid"
) -> Any:
    """Largest value in each window; ties share the gradient equally.

    Parameters
    ----------
    x : (batch, length, channels) or (length, channels) array_like
        The series.
    pool_size : int
        Steps of a window.
    strides : int, default None
        Steps from one window to the next; None means ``pool_size``.
    padding : "valid" or "same", default "valid"
        Whether a window that reaches beyond the ends counts. Padded steps never win.

    Returns
    -------
    Tensor or ndarray
        (..., output length, channels).

    Raises
    ------
    ValueError
        If no window fits.

    Examples
    --------
    >>> max_pool1d(np.array([[1.0], [3.0], [2.0], [0.0]]), 2).ravel()
    array([3., 2.])
    """
    dtype = dtype_of(x)
    lowest = np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf
    windows, _ = _windows("max_pool1d", x, pool_size, strides, padding, lowest)
    return ops.max(windows, axis=-2)


@operation
def avg_pool1d(
    x: Any, pool_size: int, *, strides: int | None = None, padding: str = "valid"
) -> Any:
    """Mean of each window.

    Parameters
    ----------
    x : (batch, length, channels) or (length, channels) array_like
        The series.
    pool_size : int
        Steps of a window.
    strides : int, default None
        Steps from one window to the next; None means ``pool_size``.
    padding : "valid" or "same", default "valid"
        Whether a window that reaches beyond the ends counts. The mean is one of real samples, as in
        Keras.

    Returns
    -------
    Tensor or ndarray
        (..., output length, channels).

    Raises
    ------
    ValueError
        If no window fits.

    Examples
    --------
    >>> avg_pool1d(np.array([[1.0], [3.0], [2.0]]), 2, padding="same").ravel()
    array([2., 2.])
    """
    windows, real = _windows("avg_pool1d", x, pool_size, strides, padding, 0)
    dtype = dtype_of(windows)
    counts = real.sum(axis=-1)[:, None].astype(dtype if dtype.kind == "f" else float)
    return ops.sum(windows, axis=-2) / counts
