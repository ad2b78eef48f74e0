"""tinynn: reverse-mode autodiff, Dense, Conv1d and spike detection in NumPy."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from tinynn._marks import pure
from tinynn.autodiff.graph import GradientShapeError, grad, no_grad
from tinynn.autodiff.ops import (
    abs, arccos, arcsin, arctan, arctan2, argmax, argmin, broadcast_to, clip, concatenate, cos,
    cosh, cumprod, cumsum, diff, dot, einsum, elementwise, elu, exp, exp2, expand_dims, expm1, flip,
    gelu, hstack, leaky_relu, log, log10, log1p, log2, log_softmax, logaddexp, logsumexp, matmul,
    max, maximum, mean, min, minimum, moveaxis, norm, outer, pad, power, prod, ravel, relu, repeat,
    reshape, roll, sigmoid, sign, silu, sin, sinh, softmax, softplus, sort, split, sqrt, square,
    squeeze, stack, std, sum, swapaxes, take, take_along_axis, tan, tanh, tensordot, tile,
    transpose, var, vstack, where,
)  # fmt: skip
from tinynn.autodiff.ops.convolution import avg_pool1d, conv1d, conv1d_transpose, max_pool1d, pad1d
from tinynn.autodiff.primitive import fresh, primitive
from tinynn.autodiff.tensor import Tensor
from tinynn.autodiff.transforms import hessian, jacobian, jvp, value_and_grad, vjp
from tinynn.nn import losses
from tinynn.nn.branches import Lambda, Parallel, Residual
from tinynn.nn.convolution import Conv1d
from tinynn.nn.layer import Layer
from tinynn.nn.layers import Activation, Dense, Dropout, Flatten, Sequential
from tinynn.nn.normalization import BatchNorm, LayerNorm
from tinynn.nn.pooling import AvgPool1d, GlobalAvgPool1d, GlobalMaxPool1d, MaxPool1d
from tinynn.nn.upsampling import Conv1dTranspose, UpSample1d, ZeroPad1d
from tinynn.training import callbacks, schedules
from tinynn.training.batches import batches
from tinynn.training.callbacks import Callback
from tinynn.training.checkpoint import Checkpoint
from tinynn.training.clipping import clip_grad_norm, clip_grad_value, global_norm
from tinynn.training.files import Loaded, load, load_model, save
from tinynn.training.history import History
from tinynn.training.inference import predict
from tinynn.training.loop import fit
from tinynn.training.optimizers import Optimizer
from tinynn.training.rules import SGD, Adam, AdamW, RMSprop
from tinynn.training.streaming import Stream, stream

if _TYPE_CHECKING:
    from tinynn import distributed, formats, metrics, plots, spikes, testing
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
    if name in ("distributed", "formats", "metrics", "plots", "spikes", "testing"):
        return _import_module(f"tinynn.{name}")
    if name in _LATE:
        return getattr(_import_module(f"tinynn.{_LATE[name]}"), name)
    raise AttributeError(
        f"module 'tinynn' has no attribute {name!r}", name=name, obj=_import_module("tinynn")
    )


__all__ = [
    "SGD", "Activation", "Adam", "AdamW", "AvgPool1d", "BatchNorm", "Callback", "Checkpoint",
    "Conv1d", "Conv1dTranspose", "Dense", "Dropout", "Flatten", "GlobalAvgPool1d",
    "GlobalMaxPool1d", "GradientShapeError", "History", "Lambda", "Layer", "LayerNorm", "Loaded",
    "MaxPool1d", "NotReplayable", "Optimizer", "Parallel", "RMSprop", "ReplayMismatch", "Residual",
    "Sequential", "Stream", "Tensor", "UpSample1d", "ZeroPad1d", "abs", "arccos", "arcsin",
    "arctan", "arctan2", "argmax", "argmin", "avg_pool1d", "batches", "broadcast_to", "callbacks",
    "clip", "clip_grad_norm", "clip_grad_value", "compile", "concatenate", "conv1d",
    "conv1d_transpose", "cos", "cosh", "cumprod", "cumsum", "debug", "diff", "distributed", "dot",
    "einsum", "elementwise", "elu", "exp", "exp2", "expand_dims", "expm1", "fit", "flip", "formats",
    "fresh",
    "gelu", "global_norm", "grad", "hessian", "hstack", "jacobian", "jvp", "leaky_relu", "load",
    "load_model", "log", "log1p", "log2", "log10", "log_softmax", "logaddexp", "logsumexp",
    "losses", "matmul", "max", "max_pool1d", "maximum", "mean", "metrics", "min", "minimum",
    "moveaxis", "no_grad", "norm", "outer", "pad", "pad1d", "plots", "power", "predict",
    "primitive", "prod", "profile", "pure", "ravel", "relu", "repeat", "reshape", "roll", "save",
    "schedules", "sigmoid", "sign", "silu", "sin", "sinh", "softmax", "softplus", "sort", "spikes",
    "split", "sqrt", "square", "squeeze", "stack", "std", "stream", "sum", "swapaxes", "take",
    "take_along_axis", "tan", "tanh", "tensordot", "testing", "tile", "transpose", "value_and_grad",
    "var", "vjp", "vstack", "where",
]  # fmt: skip
