"""NumPy's protocols: which of its functions is which operation, and advice for all the others."""

import inspect
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinynn._trees import tree_map
from tinynn.autodiff import ops
from tinynn.autodiff.graph import Node

# An operation is found by the name that it shares with NumPy's function.
COUNTERPARTS: dict[Any, Any] = {
    getattr(np, name): f for name, f in vars(ops).items() if callable(f) and hasattr(np, name)
}
COUNTERPARTS |= {np.positive: lambda x: x, np.float_power: ops.power, np.linalg.norm: ops.norm}

COMPARISONS = {
    *(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
    *(np.isnan, np.isfinite, np.isinf, np.bitwise_and, np.bitwise_or, np.invert),
    *(np.logical_and, np.logical_or, np.logical_not),
}

ON_SHAPES = {  # these ask for shape and dtype alone
    *(np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like),
    *(np.iscomplexobj, np.isrealobj),
}

ON_VALUES = {
    *(np.all, np.any, np.allclose, np.isclose, np.array_equal, np.array_equiv, np.argsort),
    *(np.nonzero, np.flatnonzero, np.count_nonzero, np.full_like, np.result_type, np.can_cast),
    *(np.shares_memory, np.may_share_memory, np.array2string, np.array_repr, np.array_str),
}

# What gives the same value from tinynn's operations, for NumPy's default arguments. A test
# computes each of these and compares it with NumPy.
ADVICE = {
    "reciprocal": "1 / x",
    "cbrt": "tinynn.sign(x) * tinynn.abs(x) ** (1 / 3)",
    "fabs": "tinynn.abs(x)",
    "hypot": "tinynn.sqrt(x * x + y * y)",
    "arcsinh": "tinynn.sign(x) * tinynn.log(tinynn.abs(x) + tinynn.sqrt(x * x + 1))",
    "arccosh": "tinynn.log(x + tinynn.sqrt(x * x - 1))",
    "arctanh": "0.5 * tinynn.log((1 + x) / (1 - x))",
    "radians": "x * (math.pi / 180)",
    "deg2rad": "x * (math.pi / 180)",
    "degrees": "x * (180 / math.pi)",
    "rad2deg": "x * (180 / math.pi)",
    "sinc":
        "tinynn.where(x == 0, 1, tinynn.sin(math.pi * x) / tinynn.where(x == 0, 1, math.pi * x))",
    "remainder": "x - y * numpy.floor(numpy.asarray(x / y))",
    "amax": "tinynn.max(x)",
    "amin": "tinynn.min(x)",
    "ptp": "tinynn.max(x) - tinynn.min(x)",
    "average": "tinynn.mean(x)",
    "nansum": "tinynn.sum(tinynn.where(numpy.isnan(x), 0, x))",
    "nanmean":
        "tinynn.sum(tinynn.where(numpy.isnan(x), 0, x)) / numpy.count_nonzero(~numpy.isnan(x))",
    "nan_to_num": "tinynn.where(numpy.isnan(x), 0, x)",
    "median":
        "tinynn.mean(tinynn.sort(x, axis=None)[(x.size - 1) // 2 : x.size // 2 + 1])",
    "cov":
        "(x - tinynn.mean(x, -1, keepdims=True)) @ (x - tinynn.mean(x, -1, keepdims=True)).T "
        "/ (x.shape[-1] - 1)",
    "trace": "tinynn.sum(x[numpy.diag_indices(min(x.shape[:2]))], axis=0)",
    "diagonal": "tinynn.moveaxis(x[numpy.diag_indices(min(x.shape[:2]))], 0, -1)",
    "tril": "tinynn.where(numpy.tri(*x.shape[-2:], dtype=bool), x, 0)",
    "triu": "tinynn.where(numpy.tri(*x.shape[-2:], -1, dtype=bool), 0, x)",
    "fliplr": "x[:, ::-1]",
    "flipud": "x[::-1]",
    "column_stack":
        "tinynn.concatenate([tinynn.reshape(x, (-1, 1)) if x.ndim < 2 else x for x in xs], axis=1)",
    "inner": "tinynn.tensordot(x, y, axes=(-1, -1))",
    "vdot": "tinynn.sum(tinynn.ravel(x) * tinynn.ravel(y))",
    "convolve":
        "tinynn.conv1d(x[None, :, None], tinynn.flip(y)[:, None, None], padding=y.size - 1)"
        "[0, :, 0]",
    "correlate": "tinynn.conv1d(x[None, :, None], y[:, None, None])[0, :, 0]",
    "add.reduce": "tinynn.sum(x, axis=0)",
    "multiply.reduce": "tinynn.prod(x, axis=0)",
    "maximum.reduce": "tinynn.max(x, axis=0)",
    "minimum.reduce": "tinynn.min(x, axis=0)",
    "add.accumulate": "tinynn.cumsum(x, axis=0)",
    "multiply.accumulate": "tinynn.cumprod(x, axis=0)",
    "logaddexp.reduce": "tinynn.logsumexp(x, axis=0)",
    "add.outer": "tinynn.reshape(x, x.shape + (1,) * y.ndim) + y",
    "subtract.outer": "tinynn.reshape(x, x.shape + (1,) * y.ndim) - y",
    "multiply.outer": "tinynn.reshape(x, x.shape + (1,) * y.ndim) * y",
}  # fmt: skip

# Where the names of NumPy's functions go that are called on Tensors, if somebody asks.
numpy_calls: ContextVar[set[str] | None] = ContextVar("tinynn_numpy_calls", default=None)


class OperatorsDefer:
    """A method that NumPy finds in the class, while an instance says None.

    NumPy looks in the class, for its functions and operators. Masked arrays and arrays built on
    NDArrayOperatorsMixin look at the instance: None lets a Tensor's own operators do the work.
    """

    def __init__(self, method: Any) -> None:
        self.method = method

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.method if instance is None else None


def array_ufunc(tensor: Node, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
    """Return what a ufunc of NumPy gives for Tensors, or say what to do."""
    name = ufunc.__name__
    _note_call(name)
    refuse_out(name, kwargs)
    if method == "__call__" and not kwargs:
        if ufunc in COMPARISONS:
            return ops.holds(*args, ufunc) if ufunc.nin == 1 else ops.compare(*args, ufunc)
        if ufunc in COUNTERPARTS:
            return COUNTERPARTS[ufunc](*args)
    wanted = name if method == "__call__" else f"{name}.{method}"
    if kwargs and ufunc in COUNTERPARTS:
        wanted += f" with {', '.join(sorted(kwargs))}="
    raise no_counterpart(wanted)


def array_function(tensor: Node, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Return what a function of NumPy gives for Tensors, or say what to do."""
    _note_call(func.__name__)
    if func in COUNTERPARTS:
        refuse_out(func.__name__, kwargs)
        op = COUNTERPARTS[func]
        try:
            inspect.signature(op).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{op.__name__}: {error}. Of a Tensor it takes {inspect.signature(op)}."
            ) from None
        return op(*args, **kwargs)
    if func in ON_SHAPES or func in ON_VALUES:
        plain = _of_its_shape if func in ON_SHAPES else np.asarray
        args, kwargs = tree_map(lambda x: plain(x) if isinstance(x, Node) else x, (args, kwargs))
        return func(*args, **kwargs)
    module = func.__module__.removeprefix("numpy").lstrip(".")
    raise no_counterpart(f"{module}.{func.__name__}".lstrip("."))


def _note_call(name: str) -> None:
    calls = numpy_calls.get()
    if calls is not None:
        calls.add(name)


def _of_its_shape(x: Node) -> np.ndarray:
    return np.empty(x._data.shape, x._data.dtype)


def refuse_out(name: str, kwargs: dict[str, Any]) -> None:
    """Raise TypeError if a result is to go into an array."""
    if kwargs.get("out") is not None:
        raise TypeError(
            f"numpy.{name}: out= (or an in-place operator on an ndarray) cannot hold a Tensor's "
            "result, its gradient would be lost. Assign the result instead."
        )


def no_counterpart(name: str) -> TypeError:
    """Return the error for a function of NumPy that no operation stands for."""
    advice = ADVICE.get(name)
    compose = f"Compose it: {advice}. Or call" if advice else "Call"
    return TypeError(
        f"numpy.{name} has no counterpart in tinynn, and its gradient would be lost. {compose} it "
        "on numpy.asarray(tensor) if no gradient is wanted."
    )
