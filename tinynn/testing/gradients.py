"""Gradient checks: what the backward pass says, against what the function does.

The result of a function is reduced to one number, L = sum(cotangent * result), by a random
cotangent. The analytic gradient of L comes from the backward pass, the numeric one from moving the
inputs a little. (A cotangent of ones would pass a softmax whose vjp returns zeros.)
"""

import contextvars
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.primitive import values
from tinynn.autodiff.protocols import numpy_calls
from tinynn.autodiff.tensor import Tensor
from tinynn.testing import points
from tinynn.testing.cases import Case, cases
from tinynn.testing.causes import UNNAMED, why_inconclusive, why_wrong
from tinynn.testing.reports import VERDICTS, GradcheckError, GradcheckReport, InputReport
from tinynn.testing.tables import along_a_direction, compared

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours
UNCHECKED = (
    "the parameters of this {} are not inputs: their gradients were not checked. check_layer "
    "checks them."
)
OPERATORS = {"add", "subtract", "multiply", "divide", "power", "matmul", "negative"}  # array * x
THROUGH_NUMPY = (
    "f calls {} of NumPy on Tensors. tinynn computed these and their gradients: a backward that "
    "you wrote by hand was not called. tinynn.testing.check_backward(forward, backward, *inputs) "
    "checks it."
)


def check_grads(
    f: Callable[..., Any], *inputs: Any, order: int = 1, eps: float | None = None,
    rtol: float = 1e-5, atol: float = 1e-8, mode: str = "auto", rng: "check.Seed" = None,
    raise_on_fail: bool = True, allow_float32: bool = False,
) -> GradcheckReport:  # fmt: skip
    """Check the gradients of ``f`` at ``inputs`` against numeric ones.

    Parameters
    ----------
    f : callable
        It takes Tensors, and returns a Tensor of any shape, or a list or tuple of them.
    *inputs : array_like of float
        Where it is checked: arrays, Tensors or scalars, which are copied. What needs no gradient, f
        closes over.
    order : int, default 1
        2 also checks the gradient's own gradient, 3 the next.
    eps : float, default None
        The step. None: steps scaled to the inputs; their differences are extrapolated to step 0.
    rtol : float, default 1e-05
        By which share of the numeric gradient an element may be off.
    atol : float, default 1e-08
        By which share of the largest element of its input an element may be off.
    mode : "auto", "fast" or "full", default "auto"
        "full" moves every element. "fast" moves each input once, in a random direction. "auto" is
        fast, and goes through the elements where a direction leaves any doubt.
    rng : Generator or int, default None
        What cotangents and directions are drawn from. None: the same ones every time.
    raise_on_fail : bool, default True
        Whether a wrong gradient raises. If not, the falsy report is returned.
    allow_float32 : bool, default False
        Whether float32 inputs are taken. They are compared at ``rtol=1e-3, atol=1e-4``.

    Returns
    -------
    GradcheckReport
        Truthy if no gradient is wrong. Printed, it shows the worst element of each input.

    Raises
    ------
    GradcheckError
        If a gradient is wrong. It is an AssertionError, and carries the report.
    TypeError
        For inputs that are not floats, or are float32, and for a result that is no Tensor.
    ValueError
        For other misuse.

    Notes
    -----
    An element passes if ``|analytic - numeric| <= rtol * |numeric| + atol * G``. G is the largest
    ``min(|analytic|, |numeric|)`` in its input. There is no absolute floor: a zero gradient of
    ``1e-7 * x`` fails. A direction must agree within ``rtol`` / 10 of one element's typical share
    in it.

    These are inconclusive: a difference within the noise of ``numeric``; a jump; a kink where
    ``analytic`` is 0 or between the one-sided slopes. From order 2 on all kinks are. They are
    shown, none fails.

    Where f takes complex numbers and the complex step agrees with the differences, it tells what
    they cannot.

    References
    ----------
    - C. Ridders, Accurate computation of F'(x) and F'(x) F''(x), 1982: the extrapolation.
    - W. Squire and G. Trapp, Using complex variables to estimate derivatives of real functions,
      1998: the complex step.

    Examples
    --------
    >>> x, w = np.ones((2, 3)), np.array([0.5, -1.0, 2.0])
    >>> report = check_grads(lambda x, w: (x @ w).sum(), x, w)
    >>> bool(report), [entry.verdict for entry in report.inputs]
    (True, ['ok', 'ok'])
    """
    if not callable(f):
        raise TypeError(f"check_grads: f must be a function of Tensors, got {check.shown(f)}.")
    order = check.integer("check_grads", "order", order, at_least=1)
    settings = settings_for("check_grads", eps=eps, rtol=rtol, atol=atol, mode=mode, rng=rng)
    if not inputs:
        raise TypeError("check_grads: give f's inputs after it, as arrays of floats.")
    allow_float32 = check.flag("check_grads", "allow_float32", allow_float32)
    names = [f"input {i}" for i in range(len(inputs))]
    arrays = [np.array(values(x)) for x in inputs]
    for name, x in zip(names, arrays, strict=True):
        check_floats("check_grads", name, x, allow_float32)
    report, calls = checked_tensors(f, arrays, names, order, settings)
    notes = report.notes
    if calls := calls - OPERATORS:
        notes += (THROUGH_NUMPY.format(", ".join(sorted(calls)[:5])),)
    if callable(getattr(f, "parameters", None)):
        notes += (UNCHECKED.format(type(f).__name__),)
    return concluded(replace(report, notes=notes), raise_on_fail)


def settings_for(
    owner: str, *, eps: float | None, rtol: float, atol: float, mode: str, rng: "check.Seed",
    f: str = "f", rule: str = "the vjp", g: str = "g",
) -> points.Settings:  # fmt: skip
    """Return the options that all checks have in common, in the name of ``owner``."""
    return points.Settings(
        rtol=check.real(owner, "rtol", rtol, at_least=0),
        atol=check.real(owner, "atol", atol, at_least=0),
        eps=None if eps is None else check.real(owner, "eps", eps, above=0),
        mode=check.choice(owner, "mode", mode, ("auto", "fast", "full")),
        rng=check.generator(owner, 0 if rng is None else rng),  # passes today and tomorrow
        owner=owner,
        f=f,
        rule=rule,
        g=g,
    )


def check_floats(owner: str, name: str, x: np.ndarray, allow_float32: bool) -> None:
    """Raise unless ``x`` is an array of finite floats, precise enough to be checked."""
    if x.dtype.kind != "f":
        raise TypeError(
            f"{owner}: {name} must be floats, got dtype {x.dtype}. Convert it with "
            ".astype(float), or close over it if it needs no gradient."
        )
    if x.dtype.itemsize < 8 and not allow_float32:
        raise TypeError(
            f"{owner}: {name} is {x.dtype}, whose rounding hides wrong gradients. Pass "
            "float64, or allow_float32=True for a coarse check."
        )
    if not np.isfinite(x).all():
        place = points.first_place(~np.isfinite(x))
        raise ValueError(f"{owner}: {name} must be finite, got {x[place]} at {place}.")


def checked_tensors(
    f: Callable[..., Any], arrays: list[np.ndarray], names: list[str], order: int,
    settings: points.Settings,
) -> tuple[GradcheckReport, set[str]]:  # fmt: skip
    """Check a function of Tensors; return the functions of NumPy that it called on them, too."""
    recording = (Tensor(0.0, requires_grad=True) + 0).requires_grad
    context = contextvars.copy_context() if recording else contextvars.Context()  # out of no_grad
    calls: set[str] = set()
    context.run(numpy_calls.set, calls)
    subject = points.OnTensors(f, settings.owner)
    try:
        return context.run(checked, subject, arrays, names, order, settings), calls
    except GradcheckError as fault:  # one that makes comparisons pointless
        return fault.report, calls


def concluded(report: GradcheckReport, raise_on_fail: bool) -> GradcheckReport:
    """Return the report, or raise what it says."""
    if check.flag(report.owner, "raise_on_fail", raise_on_fail) and not report:
        raise GradcheckError(report)
    return report


def checked(
    subject: points.Differentiated, arrays: list[np.ndarray], names: list[str], order: int,
    settings: points.Settings, level: int = 1,
) -> GradcheckReport:  # fmt: skip
    """Check the gradient of ``f``; then that gradient, as a function of inputs and cotangents."""
    try:
        with np.errstate(all="ignore"):  # steps may leave the domain of f
            point = points.point_at(subject, arrays, names, settings, level)
            report = _compare(point, names)
    except (TypeError, ValueError, RuntimeError) as error:
        error.add_note(f"Raised while {settings.owner} took the gradient of order {level}.")
        raise
    if not report or level == order or not isinstance(subject, points.OnTensors):
        return report
    found = [g for g in point.here.pull(point.cotangents) if g is not None]
    if not all(np.isfinite(g).all() for g in found):
        note = f"order {level + 1} was not checked: the gradient of order {level} is not finite."
        return replace(report, notes=(*report.notes, note))
    f, owner = subject.f, settings.owner

    def gradients(*tensors: Tensor) -> list[Any]:
        xs, cotangents = list(tensors[: len(arrays)]), tensors[len(arrays) :]
        graph = points.Graph(owner, xs, points.float_tensors(owner, f(*xs)))
        found = graph.pull(cotangents, create_graph=True)
        zeros = (Tensor(np.zeros(x.shape, x.dtype)) for x in xs)
        return [zero if g is None else g for g, zero in zip(found, zeros, strict=True)]

    numbers = [f" {k}" if len(point.cotangents) > 1 else "" for k in range(len(point.cotangents))]
    of_order = f" of order {level}" if level > 1 else ""
    names = names + [f"cotangent{k}{of_order}" for k in numbers]
    deeper = checked(
        points.OnTensors(gradients, owner), arrays + point.cotangents, names, order, settings,
        level + 1,
    )  # fmt: skip
    notes = tuple(dict.fromkeys(report.notes + deeper.notes))
    return replace(deeper, inputs=report.inputs + deeper.inputs, notes=notes)


def _compare(point: points.Point, names: list[str]) -> GradcheckReport:
    """Compare the gradients of all inputs, and say what was found."""
    found = point.here.pull(point.cotangents)
    halved = point.here.pull([-0.5 * v for v in point.cotangents])
    tables = [
        compared(point, i, name, np.zeros(x.shape) if g is None else g.astype(float))
        for i, (name, x, g) in enumerate(zip(names, point.inputs, found, strict=True))
    ]
    if any((table.verdicts() == 2).any() for table in tables):
        for table, error in zip(tables, _rounding_of_gradients(point), strict=True):
            table.noise = table.noise + (error if table.whole else points.length(error))
    entries = tuple(_entry(case) for case in cases(point, names, tables, found, halved))
    wrong = [entry for entry in entries if entry.verdict == "wrong"]
    notes = point.notes + tuple(table.note for table in tables if table.note) + point.f.reasons
    owner = point.settings.owner
    if wrong:  # a function that only varies now and then may have passed the first test
        for _ in range(4):
            points.call_again(point.f, point.inputs, point.base, point.level, point.settings)
        told = [entry for entry in wrong if entry.cause not in UNNAMED] or wrong
        cause, advice = told[0].cause, told[0].advice
        return GradcheckReport(False, point.level, entries, cause, advice, notes, owner)
    if point.level == 1 and all(g is None for g in found):
        raise ValueError(
            f"{owner}: the result of f depends on none of its inputs, so there is nothing to "
            "check. Compute with the arguments that f is given, not with tensors it closes over "
            "(the kernel of a layer is checked by tinynn.testing.check_layer)."
        )
    notes += tuple(_less_precise(point, names, found))
    return GradcheckReport(True, point.level, entries, notes=notes, owner=owner)


def _less_precise(
    point: points.Point, names: list[str], found: list[np.ndarray | None]
) -> Iterator[str]:
    """Say which gradients, written by hand, agree less well than their precision promises."""
    if point.settings.rule != "backward" or point.eps > 1e-12 or point.settings.rtol > 1e-4:
        return
    for i, (name, g) in enumerate(zip(names, found, strict=True)):
        if g is None or not g.size:
            continue
        worst = 0.0
        for _ in range(3):
            table, clean, _ = along_a_direction(point, i, g.astype(float))
            gap, size = float(np.abs(table.analytic - table.numeric)), float(np.abs(table.numeric))
            if not clean and table.verdicts() == 0 and gap > 10 * float(table.noise):
                worst = max(worst, gap / (size or 1))
        if worst > 1e-9:
            yield (
                f"the gradient of {name} is right to {worst:.1g} only: does backward compute a "
                "part of it in less than the inputs' precision, such as float32?"
            )


def _rounding_of_gradients(point: points.Point) -> list[np.ndarray]:
    """Return how far off rounding may have put the analytic gradients, as in a softmax's tail."""
    errors = [np.zeros(x.shape) for x in point.inputs]
    if point.twins:
        double, single = (twin.pull(point.cotangents) for twin in point.twins)
        for k, (a, b) in enumerate(zip(double, single, strict=True)):
            if a is not None and b is not None:
                errors[k] = points.rounding_between(a, b)
    return errors


def _entry(case: Case) -> InputReport:
    """Sum up one input: its verdict, the worst element, the cause."""
    table, shape = case.table, case.point.inputs[case.i].shape
    entry = InputReport(case.names[case.i], case.point.level, shape, "ok")
    if 0 in shape:
        return replace(entry, cause="it is empty")
    worst_verdict = case.verdicts.max()
    verdict = VERDICTS[worst_verdict] if case.linear else "wrong"
    gap = np.abs(table.analytic - table.numeric)
    rank = np.where(case.verdicts == worst_verdict, np.nan_to_num(gap, nan=np.inf), -1)
    worst = tuple(int(k) for k in np.unravel_index(np.argmax(rank), gap.shape))
    cause, advice = "the result does not depend on it" if case.found is None else "", ""
    if verdict != "ok":
        cause, advice = why_wrong(case) if verdict == "wrong" else why_inconclusive(case)
    entry = replace(entry, verdict=verdict, cause=cause, advice=advice, error=float(gap[worst]))
    columns = "analytic", "numeric", "left", "right", "noise"
    numbers: dict[str, Any] = {name: float(getattr(table, name)[worst]) for name in columns}
    count, index = int(np.sum(case.verdicts == worst_verdict)), worst if table.whole else None
    return replace(entry, count=count, index=index, **numbers)
