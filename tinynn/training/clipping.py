"""Gradients kept within bounds: each element, or all of them together by their norm."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.ops import clip
from tinynn.autodiff.primitive import as_array, inspected, primitive, values, variadic
from tinynn.autodiff.tensor import Tensor
from tinynn.training.groups import checked_parameters

TINY, HUGE = 1e-200, 1e300  # sums of squares between which none was lost


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients together so that their joint Euclidean norm is at most ``max_norm``.

    Parameters
    ----------
    parameters : iterable of Tensor
        The parameters whose ``.grad`` is scaled, such as ``model.parameters()``.
    max_norm : float
        The bound, above 0.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    FloatingPointError
        If the norm is not finite. The gradients are then left as they are.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks,
    ICML 2013.

    Examples
    --------
    >>> w = Tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward(); clip_grad_norm([w], 1.0), w.grad
    (10.0, array([0.6, 0.8]))
    """
    tensors = checked_parameters("clip_grad_norm", parameters, frozen=True)
    limit = check.real("clip_grad_norm", "max_norm", max_norm, above=0)
    given = [p.grad for p in tensors]
    norm = _finite_norm("clip_grad_norm", given)
    for p, g in zip(tensors, given, strict=True):
        if g is not None:
            p.grad = _limited(g, norm, limit)
    return norm.item()


def clip_grad_value(parameters: Iterable[Tensor], limit: float) -> None:
    """Keep each element of all gradients between ``-limit`` and ``limit``; a nan stays one.

    Parameters
    ----------
    parameters : iterable of Tensor
        The parameters whose ``.grad`` is clipped, such as ``model.parameters()``.
    limit : float
        The bound, above 0.

    Examples
    --------
    >>> w = Tensor([3.0, -0.25], requires_grad=True)
    >>> (w * w).sum().backward(); clip_grad_value([w], 1.0); w.grad
    array([ 1. , -0.5])
    """
    tensors = checked_parameters("clip_grad_value", parameters, frozen=True)
    limit = check.real("clip_grad_value", "limit", limit, above=0)
    for p in tensors:
        if p.grad is not None:
            p.grad = _bounded(p.grad, limit)


def global_norm(arrays: Iterable[Any]) -> float:
    """Return the Euclidean norm of all elements of ``arrays`` together.

    It is added up in double precision, and exact to rounding. That holds also where squares would
    be too large or too small.

    Parameters
    ----------
    arrays : iterable of array_like and Tensor
        A None among them, as of a parameter without gradient, counts for nothing.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        For what is no array of real numbers.

    Examples
    --------
    >>> global_norm([np.array([3.0]), Tensor([[4e200]]), None])
    4e+200
    """
    alone = isinstance(arrays, (np.ndarray, Tensor))
    if not alone and (isinstance(arrays, str) or not isinstance(arrays, Iterable)):
        got = check.shown(arrays)
        raise TypeError(f"global_norm: give a list of arrays or Tensors, got {got}.")
    given = [
        values(as_array("global_norm", a)) for a in ([arrays] if alone else arrays) if a is not None
    ]
    for array in given:
        if array.dtype.kind not in "fiub":
            raise TypeError(f"global_norm: needs real numbers, got dtype {array.dtype}.")
    return _norm(*given).item() if given else 0.0


def clipped(owner: str, gradients: list[Any], value: float | None, norm: float | None) -> list[Any]:
    """Return gradients, each an array or None, within the bounds that there are."""
    if value is not None:
        gradients = [None if g is None else _bounded(g, value) for g in gradients]
    if norm is not None:
        total = _finite_norm(owner, gradients)
        gradients = [None if g is None else _limited(g, total, norm) for g in gradients]
    return gradients


def _finite_norm(owner: str, gradients: Sequence[Any]) -> Any:
    """Return the joint norm; raise FloatingPointError if it is not finite."""
    norm = _norm(*[g for g in gradients if g is not None] or [np.zeros(1)])

    def refuse(norm: Any) -> None:
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"{owner}: the norm of the gradients is {norm}. Look for the first value "
                "that is not finite: a smaller learning rate, or input that holds nan?"
            )

    inspected(refuse, norm)
    return norm


@variadic(lambda i, g, y, xs: g * xs[i] / y, passes_nan=True)
def _norm(*xs: Any) -> Any:
    with np.errstate(over="ignore", under="ignore"):
        energy = sum((np.sum(np.square(x, dtype=np.float64)) for x in xs), np.float64(0))
        if TINY < energy < HUGE:
            return np.sqrt(energy)
        largest = np.max([np.abs(x.astype(np.float64)).max(initial=0) for x in xs])
        if not 0 < largest < math.inf:
            return largest
        return largest * np.sqrt(sum(np.sum(np.square(x / largest)) for x in xs))


@primitive(None, None)
def _limited(g: Any, norm: Any, limit: float) -> Any:
    """Scale ``g`` so that a joint norm of ``norm`` becomes at most ``limit``."""
    return g * (1.0 if norm <= limit else float(limit / norm))


def _bounded(g: Any, limit: float) -> Any:
    limit = min(limit, float(np.finfo(g.dtype).max))
    return clip(g, -limit, limit)
