"""All the contracts of an operation, checked at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    op: Primitive[Any], args: Sequence[Any], params: dict[str, Any] | None = None, *,
    orders: int = 2, rng: "check.Seed" = None,
) -> GradcheckReport:  # fmt: skip
    """Hold an operation to all contracts: derivatives, dtypes, shapes, nothing overwritten.

    Parameters
    ----------
    op : primitive
        Made by :func:`tinynn.primitive` or :func:`tinynn.elementwise`.
    args : list of array_like
        Its array arguments, in float64 where a gradient flows.
    params : dict, default None
        Its other parameters.
    orders : int, default 2
        Up to which order it has derivatives. 1 for a vjp written in NumPy, which has no gradient.
    rng : Generator or int, default None
        What cotangents and directions are drawn from. None: the same ones every time.

    Returns
    -------
    GradcheckReport
        A truthy one.

    Raises
    ------
    GradcheckError
        If a contract is broken. Its text names it.
    TypeError
        If ``op`` is no such operation or no argument can have a gradient.

    Notes
    -----
    These are the contracts:

    - derivatives of all these orders are right (:func:`check_grads`);
    - plain arrays give a plain array, with the values that Tensors give;
    - float32 stays float32, forward and backward;
    - neither forward nor vjp writes to an argument or to the gradient that it is given;
    - nothing is recorded under no_grad;
    - only those gradients are computed that are asked for.

    Examples
    --------
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
    orders = check.integer("check_primitive", "orders", orders, at_least=1)
    params = params or {}
    arrays = [np.array(values(x)) for x in args]
    places = [i for i, x in enumerate(arrays) if op.differentiable(i) and x.dtype.kind == "f"]
    if not places:
        raise TypeError(
            f"check_primitive: {op.__name__} has no floating-point argument with a vjp among the "
            f"{len(arrays)} given. Give float64 arrays."
        )
    generator = check.generator("check_primitive", 0 if rng is None else rng)
    trial = _Trial(op, arrays, places, params)
    y = trial.check_forward()
    trial.check_backward(y, np.asarray(generator.normal(size=y.shape), y.dtype))
    trial.check_float32()
    chosen = [arrays[i] for i in places]
    report = check_grads(trial.call, *chosen, order=orders, rng=generator, raise_on_fail=False)
    report = replace(report, owner=f"check_primitive({op.__name__})")
    if report.order > 1 and not report:
        note = f"if {op.__name__} needs no second derivative, orders=1 asks for none."
        report = replace(report, notes=(*report.notes, note))
    if not report:
        raise GradcheckError(report)
    return report


@dataclass
class _Trial:
    """An operation with arguments, of which those at ``places`` have gradients."""

    op: Primitive[Any]
    arrays: list[np.ndarray]
    places: list[int]
    params: dict[str, Any]

    def call(self, *chosen: Any) -> Any:
        """Call the operation with ``chosen`` at the places."""
        inputs: list[Any] = list(self.arrays)
        for i, x in zip(self.places, chosen, strict=True):
            inputs[i] = x
        return self.op(*inputs, **self.params)

    def leaves(self) -> list[Tensor]:
        return [Tensor(self.arrays[i], requires_grad=True) for i in self.places]

    def vjp(self, i: int, g: Any, y: Any, arrays: list[np.ndarray]) -> Any:
        return self.op.vjp(i, g, y, tuple(arrays), {**self.op._defaults, **self.params})

    def broken(self, cause: str, advice: str) -> NoReturn:
        fault(cause, advice, owner=f"check_primitive({self.op.__name__})")

    def check_forward(self) -> np.ndarray:
        """Return the result for plain arrays, having compared it with that for Tensors."""
        given = [x.copy() for x in self.arrays]
        plain = self.op(*given, **self.params)
        for i, (x, before) in enumerate(zip(given, self.arrays, strict=True)):
            if not np.array_equal(x, before, equal_nan=True):
                self.broken(f"the forward writes to argument {i}", "Work on a copy of it.")
        if isinstance(plain, Tensor):
            self.broken("plain arrays give a Tensor", "Write the forward with NumPy alone.")
        recorded = self.call(*self.leaves())
        if not recorded.requires_grad:
            self.broken(
                f"the result has dtype {recorded.dtype}", "A gradient needs a float result."
            )
        if not np.array_equal(values(recorded), plain, equal_nan=True):
            self.broken("Tensors and plain arrays give different values", "Is the forward random?")
        with no_grad():
            if self.call(*self.leaves()).requires_grad:
                self.broken("no_grad does not stop the recording", "Call no Tensor in the forward.")
        return np.asarray(plain)

    def check_backward(self, y: np.ndarray, g: np.ndarray) -> None:
        """Call each vjp by itself, on arrays that must not be written to; then the backward."""
        for i in self.places:
            given, cotangent = [x.copy() for x in self.arrays], g.copy()
            try:
                gradient = self.vjp(i, cotangent, y.copy(), given)
            except TypeError as error:
                where = f"argument {i} of {self.op.__name__}"
                error.add_note(f"Raised by the vjp of {where}, on plain arrays.")
                raise
            names = ["g", *(f"argument {k}" for k in range(len(given)))]
            pairs = zip([cotangent, *given], [g, *self.arrays], strict=True)
            for name, (now, before) in zip(names, pairs, strict=True):
                if not np.array_equal(now, before, equal_nan=True):
                    cause = f"the vjp of argument {i} writes to {name}"
                    self.broken(cause, "Work on a copy of it.")
            if isinstance(gradient, Tensor):
                cause = f"the vjp of argument {i} makes a Tensor of plain arrays"
                advice = "Write it with operations on g, y and the arguments"
                self.broken(cause, f"{advice}, and build no Tensor in it.")
        leaves = self.leaves()
        try:
            gradients = grad(self.call(*leaves), leaves, g)
        except GradientShapeError as error:
            self.broken("a vjp returns another shape than its argument's", str(error))
        for k, (x, gradient) in enumerate(zip(leaves, gradients, strict=True)):
            alone: list[Any] = [self.arrays[i] for i in self.places]
            alone[k] = x
            (single,) = grad(self.call(*alone), [x], g)
            if not np.allclose(single, gradient, rtol=1e-12, atol=0, equal_nan=True):
                i = self.places[k]
                cause = f"the gradient of argument {i} depends on which others are asked for"
                self.broken(cause, "A vjp must not keep anything between calls.")

    def check_float32(self) -> None:
        """Make sure that single precision stays single, forward and backward."""
        narrow = [x.astype(np.float32) if x.dtype == np.float64 else x for x in self.arrays]
        y = np.asarray(self.op(*narrow, **self.params))
        advice = "Use Python numbers for constants"
        if y.dtype != np.float32:
            cause = f"float32 arguments give a {y.dtype} result"
            self.broken(cause, f"{advice}; NumPy's float64 scalars and arrays widen float32.")
        for i in self.places:
            dtype = values(self.vjp(i, np.ones(y.shape, np.float32), y, narrow)).dtype
            if dtype != np.float32:
                cause = f"float32 arguments give a {dtype} gradient of argument {i}"
                self.broken(cause, f"{advice} in the vjp.")
