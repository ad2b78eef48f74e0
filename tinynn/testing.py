"""Gradient checks: what the backward pass says, against what the function does.

The result of a function is reduced to one number, L = sum(cotangent * result), by a random
cotangent. The analytic gradient of L comes from the backward pass, the numeric one from moving the
inputs a little. (A cotangent of ones would pass a softmax whose vjp returns zeros.)
"""

import contextvars
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tinynn import _validate as check
from tinynn.autodiff.graph import Primitive, grad, no_grad, walk
from tinynn.autodiff.ops import values
from tinynn.autodiff.tensor import Tensor

__all__ = ["GradcheckError", "GradcheckReport", "InputReport", "check_grads"]

# Steps are relative to an input's scale. 0.7: no multiple of a step is a period of anything.
PLAIN_STEP = 0.7 * 2.0**-10  # for elements that give no cause for doubt
STEPS = [0.7 * 2.0 ** -(5 + 2 * k) for k in range(11)]  # for the others: 2e-2 to 2e-8
CONFIRMED = 16  # wrong elements examined closely; the rest are taken to be as wrong as they look
SCREEN = 1e-4  # of rtol: a direction must agree this well to spare its elements
VERDICTS = ("ok", "inconclusive", "wrong")


# ---------------------------------------------------------------- reports


@dataclass(frozen=True)
class InputReport:
    """What was found for one input; the numbers are those of its worst element.

    ``verdict``: "ok", "inconclusive" or "wrong", reached by ``count`` elements; ``cause`` names the
    reason in a few words, ``advice`` in a sentence. ``index``: the worst element's index tuple, or
    None if the numbers are slopes along a random direction. ``left``, ``right``: the one-sided
    slopes. ``error``: |analytic - numeric|. ``noise``: by how much ``numeric`` may be off.
    """

    name: str
    order: int
    shape: tuple[int, ...]
    verdict: str
    cause: str = ""
    advice: str = ""
    count: int = 0
    index: tuple[int, ...] | None = None
    analytic: float = 0.0
    numeric: float = 0.0
    left: float = 0.0
    right: float = 0.0
    error: float = 0.0
    noise: float = 0.0

    def __str__(self) -> str:
        head = f"  {self.name}, shape {self.shape}: {self.verdict.replace('wrong', 'WRONG')}"
        if self.verdict != "ok" and self.index is not None:
            head += f" at {self.count} of {math.prod(self.shape)} elements"
        head += f": {self.cause}" if self.cause else ""
        if 0 in self.shape:
            return head
        place = "along a random direction" if self.index is None else f"at {self.index}"
        text = f"worst {place}: analytic {self.analytic:.9g}, numeric {self.numeric:.9g}"
        if self.numeric:
            text += f" (relative error {self.error / abs(self.numeric):.2g})"
        if self.verdict == "ok":
            return f"{head}; {text}"
        sides = f"one-sided slopes: left {self.left:.9g}, right {self.right:.9g}"
        noise = f"; numeric may be off by {self.noise:.2g}" if self.noise else ""
        return "\n    ".join([head, text, sides + noise, *([self.advice] if self.advice else [])])


@dataclass(frozen=True, repr=False)
class GradcheckReport:
    """The outcome of a check: truthy if no gradient is wrong, and made to be printed.

    ``order``: the order reached, that of the failure or the one asked for. ``inputs``: an
    :class:`InputReport` for each input and order; from order 2 on the cotangent is an input too.
    ``cause``, ``advice``: the first fault and what to do about it, "" without one. ``notes``:
    remarks that are no faults.
    """

    ok: bool
    order: int = 1
    inputs: tuple[InputReport, ...] = ()
    cause: str = ""
    advice: str = ""
    notes: tuple[str, ...] = ()
    owner: str = "check_grads"

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        head = f"{self.owner}: {'passed' if self.ok else 'FAILED'} at order {self.order}"
        if not self.ok and self.order > 1:
            head += f" (the gradient of order {self.order - 1} is right, its own gradient is not)"
        lines = [head, *map(str, self.inputs)]
        if self.cause and all(entry.verdict != "wrong" for entry in self.inputs):
            lines[0] += f": {self.cause}"
            lines.insert(1, f"  {self.advice}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    __repr__ = __str__


class GradcheckError(AssertionError):
    """A gradient is wrong; ``.report`` is the falsy :class:`GradcheckReport`."""

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(report)
        self.report = report


def _fault(cause: str, advice: str, order: int = 1, owner: str = "check_grads") -> NoReturn:
    raise GradcheckError(GradcheckReport(False, order, (), cause, advice, owner=owner))


# ---------------------------------------------------------------- the check


@dataclass(frozen=True)
class _Settings:
    rtol: float
    atol: float
    eps: float | None
    mode: str
    rng: np.random.Generator


def check_grads(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    eps: float | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    mode: str = "auto",
    rng: check.Seed = None,
    raise_on_fail: bool = True,
    allow_float32: bool = False,
) -> GradcheckReport:
    """Check the gradients of ``f`` at ``inputs`` against numeric ones.

    ``f``: takes Tensors, returns a Tensor of any shape, or a list or tuple of them; what needs no
    gradient it closes over. ``inputs``: arrays, Tensors or scalars of floats; they are copied.
    ``order``: 2 also checks the gradient's own gradient, 3 the next.

    ``mode``: "full" moves every element of every input; "fast" moves each input once, in a random
    direction; "auto" is fast, and goes through the elements where a direction leaves any doubt.
    ``eps``: the step; by default steps are scaled to the inputs and the central differences are
    extrapolated to step 0. Where f takes complex numbers and the complex step agrees with the
    differences, it tells what they cannot. ``rng``: a Generator or seed for cotangents and
    directions; None means the same ones every time.

    An element passes if ``|analytic - numeric| <= rtol * |numeric| + atol * G``, where G is the
    largest ``min(|analytic|, |numeric|)`` in its input. There is no absolute floor: a zero gradient
    of ``1e-7 * x`` fails. (A direction must agree within ``rtol`` / 10 of one element's typical
    share in it.) A difference within the noise of ``numeric`` is "inconclusive", and so is a kink
    if ``analytic`` lies between the one-sided slopes: both are shown, neither fails.

    Returns a truthy report. Raises GradcheckError, an AssertionError that carries the report, if a
    gradient is wrong; with ``raise_on_fail=False`` the falsy report is returned. Raises TypeError
    for inputs that are not floats, or are float32 (with ``allow_float32=True`` they are compared
    at ``rtol=1e-3, atol=1e-4``), and for a result that is no Tensor; ValueError for other misuse.

    >>> check_grads(lambda x, w: (x @ w).sum(), np.ones((2, 3)), np.array([0.5, -1.0, 2.0]))
    check_grads: passed at order 1
      input 0, shape (2, 3): ok; worst along a random direction: analytic ..., numeric ...
      input 1, shape (3,): ok; worst along a random direction: analytic ..., numeric ...
    """
    if not callable(f):
        raise TypeError(f"check_grads: f must be a function of Tensors, got {check.shown(f)}.")
    order = check.integer("check_grads", "order", order, at_least=1)
    raise_on_fail = check.flag("check_grads", "raise_on_fail", raise_on_fail)
    settings = _Settings(
        rtol=check.real("check_grads", "rtol", rtol, at_least=0),
        atol=check.real("check_grads", "atol", atol, at_least=0),
        eps=None if eps is None else check.real("check_grads", "eps", eps, above=0),
        mode=check.choice("check_grads", "mode", mode, ("auto", "fast", "full")),
        # One seed for all: a test that passes today passes tomorrow.
        rng=check.generator("check_grads", 0 if rng is None else rng),
    )
    arrays = _checked_inputs(inputs, check.flag("check_grads", "allow_float32", allow_float32))
    names = [f"input {i}" for i in range(len(arrays))]
    recording = (Tensor(0.0, requires_grad=True) + 0).requires_grad
    context = contextvars.copy_context() if recording else contextvars.Context()  # out of no_grad
    try:
        report = context.run(_check, f, arrays, names, order, settings)
    except GradcheckError as fault:  # one that makes comparisons pointless
        report = fault.report
    if raise_on_fail and not report:
        raise GradcheckError(report)
    return report


def _checked_inputs(inputs: Sequence[Any], allow_float32: bool) -> list[np.ndarray]:
    if not inputs:
        raise TypeError("check_grads: give f's inputs after it, as arrays of floats.")
    arrays = [np.array(values(x)) for x in inputs]
    for i, x in enumerate(arrays):
        if x.dtype.kind != "f":
            raise TypeError(
                f"check_grads: input {i} must be floats, got dtype {x.dtype}. Convert it with "
                ".astype(float), or close over it if it needs no gradient."
            )
        if x.dtype.itemsize < 8 and not allow_float32:
            raise TypeError(
                f"check_grads: input {i} is {x.dtype}, whose rounding hides wrong gradients. Pass "
                "float64, or allow_float32=True for a coarse check."
            )
        if not np.isfinite(x).all():
            place = _first(~np.isfinite(x))
            raise ValueError(f"check_grads: input {i} must be finite, got {x[place]} at {place}.")
    return arrays


def _check(
    f: Callable[..., Any],
    arrays: list[np.ndarray],
    names: list[str],
    order: int,
    settings: _Settings,
    level: int = 1,
) -> GradcheckReport:
    """Check the gradient of ``f``; then that gradient, as a function of inputs and cotangents."""
    try:
        with np.errstate(all="ignore"):  # steps may leave the domain of f
            point = _point(f, arrays, settings, level)
            report = _compare(point, names)
    except (TypeError, ValueError, RuntimeError) as error:
        error.add_note(f"Raised while check_grads took the gradient of order {level}.")
        raise
    if not report or level == order:
        return report

    def gradients(*tensors: Tensor) -> list[Any]:
        xs, cotangents = list(tensors[: len(arrays)]), tensors[len(arrays) :]
        found = _pull_back((xs, _outputs(f(*xs))), cotangents, create_graph=True)
        return [
            Tensor(np.zeros(x.shape, x.dtype)) if g is None else g
            for g, x in zip(found, xs, strict=True)
        ]

    several = len(point.cotangents) > 1
    names = names + [
        "cotangent" + (f" {k}" if several else "") + (f" of order {level}" if level > 1 else "")
        for k in range(len(point.cotangents))
    ]
    deeper = _check(gradients, arrays + point.cotangents, names, order, settings, level + 1)
    notes = tuple(dict.fromkeys(report.notes + deeper.notes))
    return replace(deeper, inputs=report.inputs + deeper.inputs, notes=notes)


# ---------------------------------------------------------------- a function at a point


Graph = tuple[list[Tensor], list[Tensor]]  # leaves and the outputs computed from them


@dataclass
class _Point:
    """f at one point: its graph, and L = sum(cotangents * f) as a function of the inputs."""

    f: Callable[..., Any]
    settings: _Settings
    level: int
    graph: Graph
    twins: tuple[Graph, Graph] | None  # the same, in double and in single precision
    cotangents: list[np.ndarray]
    inputs: list[np.ndarray]  # as the numeric side takes them: in float64 if f permits
    base: np.ndarray  # f there, flat
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        self.flat = np.concatenate([v.ravel() for v in self.cotangents]).astype(float)
        self.eps = float(np.finfo(self.base.dtype).eps)
        # What rounding does to L by way of each output.
        self.noise = np.abs(self.flat) * self.eps * np.abs(self.base)
        if self.twins:
            double, single = (_flat(outputs) for _, outputs in self.twins)
            self.noise = np.fmax(self.noise, np.abs(self.flat) * _rounding(double, single))


def _rounding(double: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Return how far off a result in double precision may be, given the same in single."""
    ratio = np.finfo(np.float64).eps / np.finfo(np.float32).eps
    error = 4 * ratio * np.abs(double - single)
    return np.where(np.isfinite(error), error, 0)


def _point(
    f: Callable[..., Any], arrays: list[np.ndarray], settings: _Settings, level: int
) -> _Point:
    """Call f, make sure that it can be checked at all, and draw cotangents."""
    leaves, outputs = graph = _graph(f, arrays)
    for i, (leaf, x) in enumerate(zip(leaves, arrays, strict=True)):
        if not np.array_equal(values(leaf), x):
            advice = "A value that was overwritten has no gradient: compute a new Tensor instead."
            _fault(f"f changes input {i} in place", advice, level)
    base = _flat(outputs)
    if not np.isfinite(base).all():
        advice = f"f returned {base[~np.isfinite(base)][0]}. Move the inputs into its domain."
        _fault("the result of f is not finite", advice, level)
    _repeat(f, arrays, base, level)
    inputs = [x.astype(np.result_type(x, float)) for x in arrays]
    if any(x.dtype.itemsize < 8 for x in arrays):
        try:
            base = _flat(_graph(f, inputs)[1])
        except Exception:  # f insists on the narrow dtype
            inputs = arrays
    settings, notes = _coarser(settings, [x.dtype for x in arrays], [y.dtype for y in outputs])
    cotangents = [_random(settings.rng, y.shape).astype(y.dtype) for y in outputs]
    return _Point(
        f, settings, level, graph, _twins(f, arrays, base), cotangents, inputs, base, notes
    )


def _twins(
    f: Callable[..., Any], arrays: list[np.ndarray], base: np.ndarray
) -> tuple[Graph, Graph] | None:
    """Compute f in double and in single precision, if it lets us, from the same inputs."""
    single = [x.astype(np.float32) for x in arrays]
    double = [x.astype(np.float64) for x in single]
    try:
        graphs = _graph(f, double), _graph(f, single)
    except Exception:
        return None
    return graphs if all(_flat(outputs).shape == base.shape for _, outputs in graphs) else None


def _graph(f: Callable[..., Any], inputs: Sequence[np.ndarray]) -> Graph:
    """Call f with Tensors that nobody else has; return them and the results, all of floats."""
    leaves = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    return leaves, _outputs(f(*leaves))


class _Slope(NamedTuple):
    numeric: float
    noise: float
    left: float
    right: float
    kink: bool = False
    h: float = 0.0  # the step that showed it


@dataclass
class _Line:
    """L along a line through the point: input i moves in ``direction``."""

    point: _Point
    i: int
    direction: np.ndarray

    def __post_init__(self) -> None:
        self.moved = np.zeros(self.point.base.shape, bool)  # outputs that have, so far
        self.peak = np.abs(self.point.flat * self.point.base)  # size of each, so far
        x = self.point.inputs[self.i]
        self.grain = self.point.eps * float(np.linalg.norm(x * self.direction))

    def products(self, h: complex) -> np.ndarray:
        """Return by how much each output moves L, for a step of h."""
        inputs = list(self.point.inputs)
        moved = inputs[self.i] + h * self.direction
        inputs[self.i] = moved if np.iscomplexobj(moved) else moved.astype(inputs[self.i].dtype)
        try:
            there = _flat(_graph(self.point.f, inputs)[1])
            return self.point.flat * (there - self.point.base)
        except Exception:  # f worked at the point itself: the step has left its domain
            return np.full(self.point.base.shape, np.nan)

    def change(self, h: float) -> float:
        """Return by how much L changes. Outputs that stay put contribute no rounding to it."""
        products = self.products(h)
        self.moved |= products != 0
        self.peak = np.fmax(self.peak, np.abs(products))
        return float(np.sum(products))

    def noise(self, slope: _Slope) -> float:
        """How far off the slope may be for the rounding of inputs, and of outputs that moved."""
        outputs = np.fmax(self.point.noise, self.point.eps * self.peak)[self.moved]
        inputs = self.grain * (abs(slope.left) + abs(slope.right))
        return (float(np.linalg.norm(outputs)) + inputs) / slope.h

    def hidden(self, h: float, analytic: float) -> float:
        """How much of the analytic slope rests on outputs that move less than rounding shows."""
        shapes = [v.shape for v in self.point.cotangents]
        ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
        parts = np.split(self.point.flat * self.moved, ends)
        cotangents = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        share = _pull_back(self.point.graph, cotangents)[self.i]
        if share is None or not np.isfinite(share).all():
            return 0.0
        rounding = float(np.linalg.norm(self.point.noise[~self.moved])) / h
        return min(abs(analytic - float(np.sum(share * self.direction))), rounding)

    def complex_slope(self) -> float:
        """Return the slope of L by the complex step; nan if f does not take complex numbers."""
        h = 2.0**-60 / float(np.abs(self.direction).max())
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns of an imaginary part that it drops
            products = self.products(1j * h)
        return float(np.sum(products.imag)) / h if np.iscomplexobj(products) else math.nan


def _repeat(
    f: Callable[..., Any], inputs: list[np.ndarray], before: np.ndarray, level: int
) -> None:
    """Call f again, and refuse to go on if its values are not those of ``before``."""
    after = _flat(_graph(f, inputs)[1])
    gap = math.nan
    if after.shape == before.shape:
        gap = float(np.abs(after - before).max(initial=0))
    if not gap <= 1e3 * np.finfo(before.dtype).eps * np.abs(before).max(initial=0):
        advice = (
            f"Two calls at the same inputs differ by {gap:.3g}. Switch dropout and the like off "
            "(model.eval()), or make f draw from a new generator of fixed seed at every call."
        )
        _fault("f is not deterministic", advice, level)


def _coarser(
    settings: _Settings, inputs: list[np.dtype[Any]], outputs: list[np.dtype[Any]]
) -> tuple[_Settings, tuple[str, ...]]:
    """Widen the tolerances to what the narrowest of the dtypes allows, and say so."""
    narrowest = min(inputs + outputs, key=lambda dtype: dtype.itemsize)
    if narrowest.itemsize >= 8:
        return settings, ()
    rtol, atol = (factor * math.sqrt(np.finfo(narrowest).eps) for factor in (3, 0.3))
    settings = replace(settings, rtol=max(settings.rtol, rtol), atol=max(settings.atol, atol))
    note = f"{narrowest}: compared at rtol={settings.rtol:.1g}, atol={settings.atol:.1g}."
    if narrowest not in inputs:
        note = (
            f"f rounds to {note} The inputs are float64, so something inside f is not (a layer's "
            'parameters?). With dtype="float64" there, smaller errors would show.'
        )
    return settings, (note,)


def _outputs(result: Any) -> list[Tensor]:
    """Return the results of f as a list of Tensors of floats."""
    outputs = list(result) if isinstance(result, (list, tuple)) else [result]
    for y in outputs or [result]:
        if not isinstance(y, Tensor):
            raise TypeError(
                "check_grads: f must return a Tensor, or a list or tuple of them, got "
                f"{type(y).__name__}. Compute with tinynn's operations, from f's arguments on."
            )
        if y.dtype.kind not in "fc":
            raise TypeError(
                f"check_grads: f must return floats, got dtype {y.dtype}, which has no gradient. "
                "Leave it out of the result."
            )
    return outputs


def _flat(outputs: Sequence[Tensor]) -> np.ndarray:
    return np.concatenate([values(y).ravel() for y in outputs])


def _pull_back(graph: Graph, cotangents: Sequence[Any], create_graph: bool = False) -> list[Any]:
    """Return the gradients of sum(cotangents * outputs); None for an input outside the graph."""
    inputs, outputs = graph
    totals: list[Any] = [None] * len(inputs)
    births = {x._birth for x in inputs}
    for y, cotangent in zip(outputs, cotangents, strict=True):
        if not y.requires_grad and y.dtype.kind == "f":
            continue
        found = walk(y, cotangent, births, create_graph=create_graph, caller="check_grads")
        for k, x in enumerate(inputs):
            if x._birth in found:
                g = found[x._birth][1]
                g = g if create_graph else np.array(g)  # it may be the cotangent itself
                totals[k] = g if totals[k] is None else totals[k] + g
    return totals


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw numbers of either sign, none of them near 0, where it would hide an error."""
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape))


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(np.argwhere(mask)[0].tolist())


# ---------------------------------------------------------------- numeric slopes


def _ladder(line: _Line, scale: float) -> Iterator[_Slope]:
    """Yield slopes of L along the line, from steps that shrink.

    Central differences, extrapolated to step 0; the difference between neighbours in the tableau
    bounds the error (C. Ridders 1982, "Accurate computation of F'(x) and F'(x) F''(x)").
    """
    row: list[float] = []
    for h in (scale * step for step in STEPS):
        left, right = -line.change(-h) / h, line.change(h) / h
        if not math.isfinite(left + right):
            row = []
            continue
        coarser, row = row[:4], [(left + right) / 2]
        best = math.inf, row[0]
        for j, c in enumerate(coarser):
            row.append(row[j] + (row[j] - c) / (16 ** (j + 1) - 1))
            error = 2 * max(abs(row[j + 1] - row[j]), abs(row[j + 1] - c))
            best = min(best, (error, row[j + 1]))
        yield _Slope(best[1], best[0], left, right, h=h)


def _slope(
    line: _Line, scales: Iterable[float], target: float, goal: float, trust: float
) -> _Slope:
    """Return the most certain slope of L along the line, from steps relative to each of ``scales``.

    Stops at the first within ``goal`` of ``target`` whose noise is below ``trust``: no wrong target
    is met by chance.
    """
    found: list[_Slope] = []
    kink = None
    for scale in scales:
        ladder: list[_Slope] = []
        for slope in _ladder(line, scale):
            ladder.append(slope)
            if len(ladder) == 3 and target == 0 and not line.moved.any():
                return slope._replace(noise=0.0)
            noise = slope.noise + line.noise(slope)
            agrees = abs(slope.numeric - target) <= goal and noise <= trust
            if agrees and _drawn_together(ladder, goal):
                return slope._replace(noise=noise)
        noise, straddling = _unevenness(ladder)
        if straddling and noise > 100 * line.noise(ladder[-1]) * ladder[-1].h:
            kink = ladder[straddling - 1]._replace(noise=0.0, kink=True)
            ladder = ladder[straddling:]
        found += [s._replace(noise=s.noise + line.noise(s) + noise / s.h) for s in ladder]
    seen = [s for s in found if s.left or s.right]  # other steps were too short for f to change
    best = _consistent(seen or found)
    if kink and not best.noise <= 0.1 * abs(kink.right - kink.left):
        return kink._replace(numeric=(kink.left + kink.right) / 2)
    if best.noise > 0.1 * goal:
        best = _sharpened(best, line.complex_slope(), target, goal)
    if abs(best.numeric - target) > goal:
        best = best._replace(noise=best.noise + line.hidden(best.h, target))
    return best


def _drawn_together(ladder: list[_Slope], goal: float) -> bool:
    """Tell whether left and right slope approach each other, as at a kink they do not."""
    bends = [abs(s.right - s.left) for s in ladder[-2:]]
    return bends[-1] <= goal or (len(bends) > 1 and bends[1] <= 0.5 * bends[0])


def _unevenness(ladder: list[_Slope]) -> tuple[float, int]:
    """Return the noise of the function, and how many steps straddle a kink.

    The second difference of a smooth function shrinks 16-fold from step to step, that at a kink
    4-fold (so its one-sided slopes stay apart), and that of noise does not shrink.
    """
    seconds = [(s.right - s.left) * s.h for s in ladder]
    ratios = [a / b if b else 0.0 for a, b in itertools.pairwise(seconds)]
    fourfold = [2.8 < ratio < 5.6 for ratio in ratios]
    straddling = max([k + 4 for k in range(len(ratios) - 2) if all(fourfold[k : k + 3])], default=0)
    seen = [s for s in ladder if s.left or s.right]
    last = seconds[len(seen) - 4 : len(seen)] if len(seen) > 4 else seconds[: len(seen)]
    noise = max([abs(b - a / 16) for a, b in itertools.pairwise(last)], default=0.0)
    if seen and len(seen) < len(ladder):  # shorter steps changed nothing: it moves in jumps
        noise = max(noise, *(abs(side) * seen[-1].h for side in (seen[-1].left, seen[-1].right)))
    return noise, straddling


def _consistent(slopes: list[_Slope]) -> _Slope:
    """Return the slope of least noise that all shorter steps bear out.

    Steps longer than a period, say, may agree with each other on a slope of 0.
    """
    for s in sorted(slopes, key=lambda s: s.noise):
        if all(abs(s.numeric - t.numeric) <= s.noise + t.noise for t in slopes if t.h < s.h):
            return s
    return _Slope(math.nan, math.inf, math.nan, math.nan)


def _sharpened(slope: _Slope, exact: float, target: float, goal: float) -> _Slope:
    """Take the complex step's value where it agrees with the differences.

    Agreement within a great noise is no proof: then it may confirm a gradient, but not refute one.
    """
    agree = abs(exact - slope.numeric) <= slope.noise
    if agree and (slope.noise <= 0.01 * abs(slope.numeric) or abs(exact - target) <= goal):
        return slope._replace(numeric=exact, noise=0.0)
    return slope


def _scales(x: np.ndarray, eps: float | None) -> list[np.ndarray]:
    """Return scales of ``x`` to which steps are relative, in the order in which to try them."""
    if eps is not None:
        return [np.full(x.shape, eps / PLAIN_STEP)]
    size = np.abs(x).astype(float)
    typical = np.maximum(size, 2.0**-10 * (float(size.max(initial=0)) or 2.0**10))
    return [typical, np.where(size > 0, size, typical), np.ones(x.shape)]


# ---------------------------------------------------------------- analytic against numeric


@dataclass
class _Table:
    """Slopes side by side: of every element of an input, or one along a random direction."""

    whole: bool  # every element
    analytic: np.ndarray
    numeric: np.ndarray
    noise: np.ndarray
    left: np.ndarray
    right: np.ndarray
    kink: np.ndarray
    tolerance: np.ndarray

    def verdicts(self) -> np.ndarray:
        """Return the verdict on each slope, as a position in VERDICTS."""
        gap = np.abs(self.analytic - self.numeric)
        low, high = np.minimum(self.left, self.right), np.maximum(self.left, self.right)
        margin = self.tolerance + 1e-3 * (high - low)
        between = (low - margin <= self.analytic) & (self.analytic <= high + margin)
        unclear = np.where(self.kink, between, gap <= self.tolerance + self.noise)
        unclear |= np.isnan(self.numeric)
        return np.where(gap <= self.tolerance, 0, np.where(unclear, 1, 2))

    def common_size(self) -> float:
        """Return the size of the gradient, as far as both sides agree on it."""
        smaller = np.minimum(np.abs(self.analytic), np.abs(self.numeric))
        return float(np.max(smaller, initial=0, where=np.isfinite(smaller)))


def _table(point: _Point, i: int, analytic: np.ndarray) -> _Table:
    if point.settings.mode != "full" and analytic.size:
        table, clean = _along_a_direction(point, i, analytic)
        if clean or point.settings.mode == "fast":
            return table
    return _element_by_element(point, i, analytic)


def _along_a_direction(point: _Point, i: int, analytic: np.ndarray) -> tuple[_Table, bool]:
    """Compare along a random direction of length 1; tell also whether that leaves no doubt."""
    settings, x = point.settings, point.inputs[i]
    random = _random(settings.rng, x.shape)
    steepness = np.where(np.isfinite(analytic), np.abs(analytic), 0)
    tables = []
    for scale in _scales(x, settings.eps):
        length = float(np.linalg.norm(scale * random))
        d = scale * random / length
        target, size = float(np.sum(analytic * d)), float(np.linalg.norm(steepness * d))
        goal = max(SCREEN * settings.rtol, 100 * point.eps) * size
        trust = 0.1 * settings.rtol * size
        slope = _slope(_Line(point, i, d), [length], target, goal, trust)
        tolerance = max(goal, trust / math.sqrt(x.size))
        table = _Table(False, *map(np.asarray, (target, *slope[:5], tolerance)))
        if abs(slope.numeric - target) <= goal and slope.noise <= trust:
            return table, True
        tables.append(table)
    return min(tables, key=lambda t: (t.verdicts(), t.noise)), False


def _element_by_element(point: _Point, i: int, analytic: np.ndarray) -> _Table:
    """Compare every element: by plain differences first, with care where those disagree."""
    settings, x = point.settings, point.inputs[i]
    scales = _scales(x, settings.eps)
    left, right, step = np.empty(x.shape), np.empty(x.shape), np.zeros(x.shape)
    numeric, noise = np.empty(x.shape), np.empty(x.shape)
    for place in np.ndindex(x.shape):
        step[place], h = 1, PLAIN_STEP * scales[0][place]
        line = _Line(point, i, step)
        right[place], left[place] = line.change(h) / h, -line.change(-h) / h
        numeric[place] = (left[place] + right[place]) / 2
        noise[place] = line.noise(_Slope(numeric[place], 0.0, left[place], right[place], h=h))
        step[place] = 0
    kink = np.zeros(x.shape, bool)
    table = _Table(True, analytic, numeric, noise, left, right, kink, tolerance=noise)
    floor = settings.atol * table.common_size()
    bend = np.abs(right - left)
    straight = (bend <= 0.1 * (np.abs(left) + np.abs(right))) | (bend <= floor)
    excess = np.abs(analytic - numeric) - settings.rtol * np.abs(numeric) - floor
    doubtful = np.flatnonzero(~((excess <= 0) & straight))
    refuted = 0
    for flat in doubtful[np.argsort(-np.nan_to_num(excess, nan=np.inf).ravel()[doubtful])]:
        place = tuple(int(k) for k in np.unravel_index(flat, x.shape))
        _examine(point, i, table, place, [float(scale[place]) for scale in scales])
        table.tolerance = settings.rtol * np.abs(table.numeric) + floor
        refuted += int(table.verdicts()[place] == 2)
        if refuted == CONFIRMED:
            break
    table.tolerance = settings.rtol * np.abs(table.numeric) + settings.atol * table.common_size()
    return table


def _examine(
    point: _Point, i: int, table: _Table, place: tuple[int, ...], scales: list[float]
) -> None:
    """Enter into the table the numeric slope of one element as well as it can be found."""
    target, settings = float(table.analytic[place]), point.settings
    unit = np.zeros(table.analytic.shape)
    unit[place] = 1
    goal = settings.rtol * abs(target) + settings.atol * table.common_size()
    goal = goal if math.isfinite(goal) else 0.0
    slope = _slope(_Line(point, i, unit), dict.fromkeys(scales), target, 0.5 * goal, 0.5 * goal)
    if not math.isnan(slope.numeric):
        columns = table.numeric, table.noise, table.left, table.right, table.kink
        for column, value in zip(columns, slope, strict=False):
            column[place] = value
    else:
        table.numeric[place] = slope.numeric


# ---------------------------------------------------------------- findings


@dataclass
class _Case:
    """One input whose slopes have been compared, with all that may explain a difference."""

    point: _Point
    i: int
    names: list[str]
    tables: list[_Table]  # of all inputs
    found: np.ndarray | None  # the analytic gradient; None if the graph does not reach the input
    halved: np.ndarray | None  # that for -1/2 of the cotangent

    def __post_init__(self) -> None:
        self.table = self.tables[self.i]
        self.analytic, self.numeric = self.table.analytic, self.table.numeric
        self.verdicts = self.table.verdicts()
        self.wrong = self.verdicts == 2
        gap, size = np.abs(self.analytic - self.numeric), np.abs(self.numeric).max(initial=0)
        # How alike arrays must be for one to explain the other, when they themselves differ little.
        self.likeness = min(1e-3, 0.05 * float(gap.max(initial=0) / size)) if size else 0.0

    @property
    def linear(self) -> bool:
        """Whether the analytic gradient is linear in the cotangent, as it must be."""
        if self.found is None or self.halved is None or not np.isfinite(self.found).all():
            return True
        return _alike(-2.0 * self.halved, self.found, self.point.settings.rtol)


def _alike(a: np.ndarray, b: np.ndarray, likeness: float) -> bool:
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= likeness * np.abs(b).max(initial=0)))


def _compare(point: _Point, names: list[str]) -> GradcheckReport:
    """Compare the gradients of all inputs, and say what was found."""
    found = _pull_back(point.graph, point.cotangents)
    halved = _pull_back(point.graph, [-0.5 * v for v in point.cotangents])
    tables = [
        _table(point, i, np.zeros(x.shape) if g is None else g.astype(float))
        for i, (x, g) in enumerate(zip(point.inputs, found, strict=True))
    ]
    if any((table.verdicts() == 2).any() for table in tables):
        for table, error in zip(tables, _rounding_of_gradients(point), strict=True):
            table.noise = table.noise + (error if table.whole else np.linalg.norm(error))
    entries = tuple(
        _entry(_Case(point, i, names, tables, *gs))
        for i, gs in enumerate(zip(found, halved, strict=True))
    )
    wrong = [entry for entry in entries if entry.verdict == "wrong"]
    if wrong:  # a function that only varies now and then may have passed the first test
        for _ in range(4):
            _repeat(point.f, point.inputs, point.base, point.level)
        cause, advice = wrong[0].cause, wrong[0].advice
        return GradcheckReport(False, point.level, entries, cause, advice, point.notes)
    if point.level == 1 and all(g is None for g in found):
        raise ValueError(
            "check_grads: the result of f depends on none of its inputs, so there is nothing to "
            "check. Compute with the arguments that f is given, not with tensors it closes over "
            "(to check a layer's kernel, assign it inside f: layer.kernel = kernel)."
        )
    return GradcheckReport(True, point.level, entries, notes=point.notes)


def _rounding_of_gradients(point: _Point) -> list[np.ndarray]:
    """Return how far off rounding may have put the analytic gradients.

    In the tail of a saturated softmax, say, they may consist of it.
    """
    errors = [np.zeros(x.shape) for x in point.inputs]
    if point.twins:
        double, single = (_pull_back(twin, point.cotangents) for twin in point.twins)
        for k, (a, b) in enumerate(zip(double, single, strict=True)):
            if a is not None and b is not None:
                errors[k] = _rounding(a, b)
    return errors


def _entry(case: _Case) -> InputReport:
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
    cause, advice = "", ""
    if verdict == "wrong":
        cause, advice = _why_wrong(case)
    elif verdict == "inconclusive":
        cause, advice = _why_inconclusive(case)
    elif case.found is None:
        cause = "the result does not depend on it"
    return replace(
        entry,
        verdict=verdict,
        cause=cause,
        advice=advice,
        count=int(np.sum(case.verdicts == worst_verdict)),
        index=worst if table.whole else None,
        analytic=float(table.analytic[worst]),
        numeric=float(table.numeric[worst]),
        left=float(table.left[worst]),
        right=float(table.right[worst]),
        error=float(gap[worst]),
        noise=float(table.noise[worst]),
    )


def _why_inconclusive(case: _Case) -> tuple[str, str]:
    unclear = case.verdicts == 1
    if case.table.kink[unclear].any():
        return (
            "a kink",
            "The slopes to the left and right differ and analytic lies between them, as it may. "
            "Move the point away from the kink to check the slopes beside it.",
        )
    if np.isnan(case.numeric[unclear]).any():
        return (
            "f is undefined beside this point",
            "A step gives nan or an error, on one side at least. Move the input into f's domain.",
        )
    return (
        "the difference is inside the noise",
        "Rounding moves f by about as much as the input does, so no step shows the slope better. "
        "Drop large constants from f, or choose inputs where it is steeper.",
    )


def _why_wrong(case: _Case) -> tuple[str, str]:
    for rule in (_wrong_altogether, _lookalike, _one_slice, _right_for_ones, _wrong_in_places):
        if cause := rule(case):
            return cause
    if case.point.level > 1:
        return (
            "a wrong gradient of the gradient",
            "Does a vjp take for a constant what depends on its arguments (.data, numpy.asarray)? "
            "Write it with tinynn's operations.",
        )
    if not case.table.whole:
        return "a wrong gradient", 'mode="full" names the elements and looks for the cause.'
    return "a wrong gradient", "It fits no common mistake. Compare the vjp with the formula."


def _wrong_altogether(case: _Case) -> tuple[str, str] | None:
    """Recognise a gradient that has lost touch with the function."""
    if case.found is None:
        return (
            "the graph is cut",
            "The result moves with this input, but the graph does not lead back to it. Look for "
            ".data, .detach(), numpy.asarray, float() or no_grad in f or a vjp, or a vjp of None.",
        )
    if not case.linear and case.halved is not None:
        if _alike(case.halved, case.found, 1e-3):
            return "the vjp ignores g", "Scaling g, the gradient of the result, changes nothing."
        return (
            "the vjp is not linear in g",
            "-1/2 of g, the gradient of the result, does not give -1/2 of this gradient. Multiply "
            "by g itself: no abs(g), no g * g, nothing kept between calls, nothing overwritten.",
        )
    broken = case.wrong & ~np.isfinite(case.analytic)
    if broken.any():
        return (
            f"the analytic gradient is {case.analytic[_first(broken)]}",
            f"{_places(case, broken)}, where f has a finite slope. Does the vjp divide by 0?",
        )
    if not case.analytic.any():
        return (
            "a zero gradient",
            "Analytic is 0 everywhere, but the result moves with this input.",
        )
    if not case.numeric.any():
        return (
            "f does not move with this input",
            "Numeric is 0 everywhere. If f rounds, compares or counts, that is its gradient.",
        )
    return None


def _lookalike(case: _Case) -> tuple[str, str] | None:
    """Recognise the right numbers with a factor, or in the wrong places."""
    a, n = case.analytic, case.numeric
    c = float(np.sum(a * n) / np.sum(n * n))
    if abs(c + 1) < 1e-4 and _alike(a, -n, case.likeness):
        return (
            "a flipped sign",
            "Analytic = -1 * numeric everywhere: one minus too many or too few.",
        )
    simple = min(abs(k - round(k)) for k in (c, 1 / c)) < 1e-6  # one slope is a multiple anyway
    if _alike(a, c * n, case.likeness) and (n.size > 1 or simple):
        text = f"Analytic = {c:.6g} * numeric everywhere."
        lengths = {k for y in case.point.graph[1] for k in (y.size, *y.shape)}
        for k in sorted(lengths - {0, 1}):
            if abs(c * k - 1) < 1e-4:
                text += f" 1 / {c:.6g} = {k} is a length of the result: a mean for a sum?"
        return f"a constant factor {c:.6g}", text
    for candidate, cause in _arrangements(case) if case.table.whole else ():
        if _alike(a, candidate, case.likeness):
            return cause, "Analytic holds the numeric values, in other places."
    return None


def _arrangements(case: _Case) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the numeric gradient in wrong orders that are easy to get, each with its name."""
    n = case.numeric
    for axes in itertools.islice(itertools.permutations(range(n.ndim)), 1, 120):
        turned = n.transpose(axes)
        yield turned.reshape(n.shape), f"a transposed gradient, axes in the order {axes}"
    for count in range(1, n.ndim + 1):
        for axes in itertools.combinations(range(n.ndim), count):
            named = f"ax{'is' if count == 1 else 'es'} {', '.join(map(str, axes))}"
            yield np.flip(n, axes), f"a gradient reversed along {named} (time-flipped)"
    for axis, length in enumerate(n.shape):
        for by in (1, -1) if length > 2 else ():
            shifted = np.roll(n, by, axis)
            edge = (*(slice(None),) * axis, 0 if by == 1 else -1)
            shifted[edge] = case.analytic[edge]
            yield shifted, f"a gradient shifted by one along axis {axis} (off by one)"
    for name, table in zip(case.names, case.tables, strict=True):
        if table.whole and table is not case.table:
            yield table.numeric, f"swapped inputs: this is the gradient of {name}"


def _one_slice(case: _Case) -> tuple[str, str] | None:
    """Recognise what one slice of the result contributes to the gradient."""
    if not case.table.whole or len(case.point.graph[1]) != 1:
        return None
    shape = case.point.graph[1][0].shape
    places = [tuple(place) for place in np.argwhere(case.wrong)[:8].tolist()]
    shares = []
    for place in places:
        unit = np.zeros(case.numeric.shape)
        unit[place] = 1
        line = _Line(case.point, case.i, unit)
        h = PLAIN_STEP * (abs(float(case.point.inputs[case.i][place])) or 1.0)
        share = (line.products(h) - line.products(-h)) / (2 * h)
        shares.append(np.broadcast_to(share, math.prod(shape)).reshape(shape))
    target = np.array([case.analytic[place] for place in places])
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            rest = tuple(k + 1 for k in range(len(shape)) if k not in axes)
            slices = np.sum(shares, axis=rest).reshape(len(places), -1).T
            hits = np.all(np.abs(slices - target) <= case.likeness * np.abs(target), axis=1)
            if hits.any() and target.all():
                at = np.unravel_index(int(np.argmax(hits)), [shape[axis] for axis in axes])
                where = ", ".join(f"{k} of axis {axis}" for k, axis in zip(at, axes, strict=True))
                return (
                    "a missing sum over a broadcast axis",
                    f"Analytic is what index {where} of the result contributes, alone. Sum g over "
                    "the axes along which this input is broadcast (@elementwise does it).",
                )
    return None


def _right_for_ones(case: _Case) -> tuple[str, str] | None:
    point = case.point
    ones = [np.ones(y.shape, y.dtype) for y in point.graph[1]]
    found = _pull_back(point.graph, ones)[case.i]
    if point.flat.size < 2:
        return None
    table, _ = _along_a_direction(replace(point, cotangents=ones), case.i, found.astype(float))
    if table.verdicts() != 0:
        return None
    return (
        "right only for a cotangent of ones",
        "With g, the gradient of the result, all ones the gradient is right: the vjp takes the sum "
        "or mean of g, or mixes up its elements.",
    )


def _wrong_in_places(case: _Case) -> tuple[str, str] | None:
    if not case.table.whole or case.wrong.all():
        return None
    a, n = case.analytic[case.wrong], case.numeric[case.wrong]
    text = "The other elements are right."
    c = float(np.sum(a * n) / np.sum(n * n)) if n.any() else math.nan
    if a.size > 1 and _alike(a, c * n, 1e-3):
        text += f" There analytic = {c:.6g} * numeric."
    if case.table.kink[case.wrong].all():
        text += " They are kinks, and analytic is not between the slopes."
    return f"wrong only {_places(case, case.wrong)}", text


def _places(case: _Case, mask: np.ndarray) -> str:
    """Say in words which elements are meant."""
    x = case.point.inputs[case.i]
    if not case.table.whole:
        return "along a random direction"
    listed = [str(tuple(place)) for place in np.argwhere(mask).tolist()]
    text = "at " + ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
    for axis, length in enumerate(x.shape):
        places = sorted(set(np.argwhere(mask)[:, axis].tolist()))
        if 1 < len(listed) and len(places) <= min(2, length - 1):
            text = f"at index {' and '.join(map(str, places))} of axis {axis}"
            break
    for words, pattern in (("negative", x < 0), ("positive", x > 0), ("0", x == 0)):
        if len(listed) > 1 and np.array_equal(mask, pattern):
            text += f", where the input is {words}"
    return text
