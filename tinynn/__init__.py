"""tinynn: reverse-mode autodiff, Dense, Conv1d and spike detection in NumPy."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from tinynn._marks import pure
from tinynn.autodiff.graph import GradientShapeError, grad, no_grad
from tinynn.autodiff.ops import (
    abs, arctan, argmax, argmin, broadcast_to, clip, concatenate, cos, cosh, cumsum, dot, einsum,
    elementwise, elu, exp, expand_dims, expm1, flip, gelu, leaky_relu, log, log1p, log_softmax,
    logsumexp, matmul, max, maximum, mean, min, minimum, moveaxis, outer, pad, power, prod, ravel,
    relu, repeat, reshape, roll, sigmoid, sign, silu, sin, sinh, softmax, softplus, split, sqrt,
    square, squeeze, stack, std, sum, swapaxes, tan, tanh, tensordot, transpose, var, where,
)  # fmt: skip
from tinynn.autodiff.ops.convolution import avg_pool1d, conv1d, conv1d_transpose, max_pool1d, pad1d
from tinynn.autodiff.primitive import fresh, primitive
from tinynn.autodiff.tensor import Tensor
from tinynn.autodiff.transforms import hessian, jacobian, jvp, value_and_grad, vjp
from tinynn.nn import losses
from tinynn.nn.convolution import Conv1d
from tinynn.nn.layer import Layer
from tinynn.nn.layers import Activation, Dense, Dropout, Flatten, Sequential
from tinynn.nn.pooling import AvgPool1d, GlobalAvgPool1d, GlobalMaxPool1d, MaxPool1d
from tinynn.training.batches import batches
from tinynn.training.files import load, save
from tinynn.training.inference import predict
from tinynn.training.loop import History, fit
from tinynn.training.optimizers import SGD, Adam, Optimizer, clip_grad_norm
from tinynn.training.streaming import Stream, stream

if _TYPE_CHECKING:
    from tinynn import plots, spikes, testing
    from tinynn.debugging.finite import debug
    from tinynn.debugging.profiling import profile
    from tinynn.replay import NotReplayable, ReplayMismatch, compile

_LATE = {  # names, and where they are
    "NotReplayable": "replay",
    "ReplayMismatch": "replay",
    "compile": "replay",
    "debug": "debugging.finite",
    "profile": "debugging.profiling",
}


def __getattr__(name: str) -> _Any:
    """Load parts when they are first asked for: not all need them."""
    if name in ("plots", "spikes", "testing"):
        return _import_module(f"tinynn.{name}")
    if name in _LATE:
        return getattr(_import_module(f"tinynn.{_LATE[name]}"), name)
    raise AttributeError(
        f"module 'tinynn' has no attribute {name!r}", name=name, obj=_import_module("tinynn")
    )


__all__ = [
    "SGD", "Activation", "Adam", "AvgPool1d", "Conv1d", "Dense", "Dropout", "Flatten",
    "GlobalAvgPool1d", "GlobalMaxPool1d", "GradientShapeError", "History", "Layer", "MaxPool1d",
    "NotReplayable", "Optimizer", "ReplayMismatch", "Sequential", "Stream", "Tensor", "abs",
    "arctan", "argmax", "argmin", "avg_pool1d", "batches", "broadcast_to", "clip", "clip_grad_norm",
    "compile", "concatenate", "conv1d", "conv1d_transpose", "cos", "cosh", "cumsum", "debug", "dot",
    "einsum", "elementwise", "elu", "exp", "expand_dims", "expm1", "fit", "flip", "fresh", "gelu",
    "grad", "hessian", "jacobian", "jvp", "leaky_relu", "load", "log", "log1p", "log_softmax",
    "logsumexp", "losses", "matmul", "max", "max_pool1d", "maximum", "mean", "min", "minimum",
    "moveaxis", "no_grad", "outer", "pad", "pad1d", "plots", "power", "predict", "primitive",
    "prod", "profile", "pure", "ravel", "relu", "repeat", "reshape", "roll", "save", "sigmoid",
    "sign", "silu", "sin", "sinh", "softmax", "softplus", "spikes", "split", "sqrt", "square",
    "squeeze", "stack", "std", "stream", "sum", "swapaxes", "tan", "tanh", "tensordot", "testing",
    "transpose", "value_and_grad", "var", "vjp", "where",
]  # fmt: skip
