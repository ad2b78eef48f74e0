"""Gradients of a layer: of its inputs, and of every parameter under its path."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.primitive import values
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.layer import Layer
from tinynn.testing.gradients import check_floats, checked_tensors, concluded, settings_for
from tinynn.testing.reports import GradcheckReport

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours
OWNER = "check_layer"


def check_layer(
    layer: Layer, *inputs: Any, order: int = 1, eps: float | None = None, rtol: float = 1e-5,
    atol: float = 1e-8, mode: str = "auto", rng: "check.Seed" = None, raise_on_fail: bool = True,
    allow_float32: bool = False,
) -> GradcheckReport:  # fmt: skip
    """Check the gradients of a layer or model: its inputs, and every parameter under its path.

    Parameters
    ----------
    layer : Layer
        What is checked, on a copy. It is left as it was.
    *inputs : array_like
        What it is called with. Floats are checked; all else, such as integer labels, is passed on.
    order : int, default 1
        2 also checks the gradient's own gradient, 3 the next.
    eps : float, default None
        The step, as of :func:`check_grads`.
    rtol : float, default 1e-05
        By which share of the numeric gradient an element may be off.
    atol : float, default 1e-08
        By which share of the largest element of its input an element may be off.
    mode : "auto", "fast" or "full", default "auto"
        How thorough the check is, as of :func:`check_grads`.
    rng : Generator or int, default None
        What cotangents and directions are drawn from. None: the same ones every time.
    raise_on_fail : bool, default True
        Whether a wrong gradient raises. If not, the falsy report is returned.
    allow_float32 : bool, default False
        Whether layer and inputs keep their own precision. If not, all are turned into float64.

    Returns
    -------
    GradcheckReport
        Truthy if no gradient is wrong, with an entry for each input and each parameter.

    Raises
    ------
    GradcheckError
        If a gradient is wrong. It carries the report.
    TypeError
        If ``layer`` is no Layer, cannot be copied, or has neither parameters nor inputs of floats.

    Notes
    -----
    The copy is made anew for each call, so that its state and its random numbers are those that the
    layer has now.

    Examples
    --------
    >>> from tinynn import Dense
    >>> report = check_layer(Dense(3, 2, activation="tanh", rng=0), np.ones((4, 3)))
    >>> bool(report), [entry.name for entry in report.inputs]
    (True, ['input 0', 'kernel', 'bias'])
    """
    if not isinstance(layer, Layer):
        raise TypeError(
            f"{OWNER}: layer must be a tinynn.Layer, got {check.shown(layer)}. Of functions "
            "check_grads checks the gradients, of a forward and a backward check_backward."
        )
    order = check.integer(OWNER, "order", order, at_least=1)
    settings = settings_for(OWNER, eps=eps, rtol=rtol, atol=atol, mode=mode, rng=rng)
    own = check.flag(OWNER, "allow_float32", allow_float32)
    model = _copied(layer, {})
    if not own:
        _to_double(model)
    given = [_input(x, own) for x in inputs]
    places = [i for i, x in enumerate(given) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    parameters = model.named_parameters()
    arrays = [given[i] for i in places] + [np.array(values(p)) for _, p in parameters]
    names = [f"input {i}" for i in places] + [path or "parameter" for path, _ in parameters]
    if not arrays:
        raise TypeError(f"{OWNER}: there is nothing to check. Give inputs of floats to the layer.")
    for name, x in zip(names, arrays, strict=True):
        check_floats(OWNER, name, x, allow_float32=own)

    def f(*tensors: Tensor) -> Any:
        arguments = list(given)
        for i, x in zip(places, tensors, strict=False):
            arguments[i] = x
        mine = tensors[len(places) :]
        pairs = zip(parameters, mine, strict=True)
        return _copied(model, {id(old): new for (_, old), new in pairs})(*arguments)

    report, _ = checked_tensors(f, arrays, names, order, settings)
    return concluded(replace(report, owner=OWNER), raise_on_fail)


def _copied(layer: Layer, instead: dict[int, Tensor]) -> Layer:
    """Return a copy with other parameters, ``instead`` of those whose identity is given."""
    try:
        return copy.deepcopy(layer, dict(instead))
    except Exception as error:
        raise TypeError(
            f"{OWNER}: this {type(layer).__name__} cannot be copied: {error}. It is checked on a "
            "copy, so as to leave it as it was: what it holds must permit copy.deepcopy."
        ) from error


def _to_double(model: Layer) -> None:
    """Turn all Tensors of floats, and the dtype of each layer that states one, into float64."""
    for _, tensor in model._named_tensors():
        if tensor.dtype.kind == "f":
            tensor._replace(values(tensor).astype(float))
    for _, layer in model.named_layers():
        if isinstance(vars(layer).get("dtype"), (np.dtype, str, type)):
            layer.dtype = np.dtype(float)


def _input(x: Any, own: bool) -> Any:
    """Return an input as an array if it is one of floats; else as it is."""
    if isinstance(x, (Tensor, np.ndarray, float, list)):
        array = np.array(values(x))
        if array.dtype.kind == "f":
            return array if own else array.astype(float)
    return x
