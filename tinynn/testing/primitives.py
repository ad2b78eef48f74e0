"""All the contracts of an operation, checked at once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.graph import GradientShapeError, grad, no_grad
from tinynn.autodiff.primitive import Primitive, values
from tinynn.autodiff.tensor import Tensor
from tinynn.testing.gradients import check_grads
from tinynn.testing.reports import GradcheckError, GradcheckReport, fault

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours


def check_primitive(
    op: Primitive[Any],
    args: Sequence[Any],
    params: dict[str, Any] | None = None,
    *,
    rng: "check.Seed" = None,
) -> GradcheckReport:
    """Hold an operation to all contracts: derivatives, dtypes, shapes, nothing overwritten.

    ``op``: made by :func:`tinynn.primitive` or :func:`tinynn.elementwise`; ``args``: its array
    arguments, in float64 where a gradient flows; ``params``: its other parameters.

    Checked are first and second derivatives (:func:`check_grads`); that plain arrays give a plain
    array with the values that Tensors give; that float32 stays float32, forward and backward; that
    neither forward nor vjp writes to an argument or to the gradient that it is given; that nothing
    is recorded under no_grad; that only those gradients are computed that are asked for.

    Returns a truthy report. Raises GradcheckError, whose text names the broken contract; TypeError
    if ``op`` is no such operation or no argument can have a gradient.

    >>> from tinynn import tanh
    >>> bool(check_primitive(tanh, [np.array([-1.0, 0.5])]))
    True
    """
    if not isinstance(op, Primitive):
        raise TypeError(
            "check_primitive: op must be made by @tinynn.primitive or @tinynn.elementwise, got "
            f"{check.shown(op)}. For any other function use check_grads."
        )
    if not isinstance(args, (list, tuple)) or not (params is None or isinstance(params, dict)):
        raise TypeError("check_primitive: give the arguments as a list, the parameters as a dict.")
    params = params or {}
    arrays = [np.array(values(x)) for x in args]
    places = [i for i, x in enumerate(arrays) if op.differentiable(i) and x.dtype.kind == "f"]
    if not places:
        raise TypeError(
            f"check_primitive: {op.__name__} has no floating-point argument with a vjp among the "
            f"{len(arrays)} given. Give float64 arrays."
        )
    generator = check.generator("check_primitive", 0 if rng is None else rng)
    y = _check_forward(op, arrays, places, params)
    g = np.asarray(generator.normal(size=y.shape), y.dtype)
    _check_backward(op, arrays, places, params, g)
    _check_float32(op, arrays, places, params)

    def on_differentiable(*tensors: Tensor) -> Any:
        inputs: list[Any] = list(arrays)
        for i, tensor in zip(places, tensors, strict=True):
            inputs[i] = tensor
        return op(*inputs, **params)

    chosen = [arrays[i] for i in places]
    report = check_grads(on_differentiable, *chosen, order=2, rng=generator, raise_on_fail=False)
    report = replace(report, owner=f"check_primitive({op.__name__})")
    if not report:
        raise GradcheckError(report)
    return report


def _broken(op: Primitive[Any], cause: str, advice: str) -> NoReturn:
    fault(cause, advice, owner=f"check_primitive({op.__name__})")


def _leaves(arrays: list[np.ndarray], places: list[int]) -> list[Any]:
    return [Tensor(x, requires_grad=True) if i in places else x for i, x in enumerate(arrays)]


def _check_forward(
    op: Primitive[Any], arrays: list[np.ndarray], places: list[int], params: dict[str, Any]
) -> np.ndarray:
    """Return the result for plain arrays, having compared it with that for Tensors."""
    given = [x.copy() for x in arrays]
    plain = op(*given, **params)
    for i, (x, before) in enumerate(zip(given, arrays, strict=True)):
        if not np.array_equal(x, before, equal_nan=True):
            _broken(op, f"the forward writes to argument {i}", "Work on a copy of it.")
    if isinstance(plain, Tensor):
        _broken(op, "plain arrays give a Tensor", "Write the forward with NumPy alone.")
    recorded = op(*_leaves(arrays, places), **params)
    if not recorded.requires_grad:
        _broken(op, f"the result has dtype {recorded.dtype}", "A gradient needs a float result.")
    if not np.array_equal(values(recorded), plain, equal_nan=True):
        _broken(op, "Tensors and plain arrays give different values", "Is the forward random?")
    with no_grad():
        if op(*_leaves(arrays, places), **params).requires_grad:
            _broken(op, "no_grad does not stop the recording", "Call no Tensor in the forward.")
    return np.asarray(plain)


def _check_backward(
    op: Primitive[Any],
    arrays: list[np.ndarray],
    places: list[int],
    params: dict[str, Any],
    g: np.ndarray,
) -> None:
    """Call each vjp by itself, on arrays that must not be written to."""
    y = np.asarray(op(*arrays, **params))
    for i in places:
        given, cotangent = [x.copy() for x in arrays], g.copy()
        try:
            gradient = op.vjp(i, cotangent, y.copy(), tuple(given), {**op._defaults, **params})
        except TypeError as error:
            error.add_note(f"Raised by the vjp of argument {i} of {op.__name__}, on plain arrays.")
            raise
        for name, now, before in (
            ("g", cotangent, g),
            *((f"argument {k}", x, arrays[k]) for k, x in enumerate(given)),
        ):
            if not np.array_equal(now, before, equal_nan=True):
                _broken(op, f"the vjp of argument {i} writes to {name}", "Work on a copy of it.")
        if isinstance(gradient, Tensor):
            _broken(
                op,
                f"the vjp of argument {i} makes a Tensor of plain arrays",
                "Write it with operations on g, y and the arguments, and build no Tensor in it.",
            )
    leaves = _leaves(arrays, places)
    chosen = [leaves[i] for i in places]
    try:
        gradients = grad(op(*leaves, **params), chosen, g)
    except GradientShapeError as error:
        _broken(op, "a vjp returns another shape than its argument's", str(error))
    for i, x, gradient in zip(places, chosen, gradients, strict=True):
        alone: list[Any] = list(arrays)
        alone[i] = x
        (single,) = grad(op(*alone, **params), [x], g)
        if not np.allclose(single, gradient, rtol=1e-12, atol=0, equal_nan=True):
            _broken(
                op,
                f"the gradient of argument {i} depends on which others are asked for",
                "A vjp must not keep anything between calls.",
            )


def _check_float32(
    op: Primitive[Any], arrays: list[np.ndarray], places: list[int], params: dict[str, Any]
) -> None:
    narrow = [x.astype(np.float32) if x.dtype == np.float64 else x for x in arrays]
    y = np.asarray(op(*narrow, **params))
    if y.dtype != np.float32:
        _broken(
            op,
            f"float32 arguments give a {y.dtype} result",
            "Use Python numbers for constants; NumPy's float64 scalars and arrays widen float32.",
        )
    g = np.ones(y.shape, np.float32)
    for i in places:
        gradient = op.vjp(i, g, y, tuple(narrow), {**op._defaults, **params})
        dtype = values(gradient).dtype
        if dtype != np.float32:
            _broken(
                op,
                f"float32 arguments give a {dtype} gradient of argument {i}",
                "Use Python numbers for constants in the vjp.",
            )
