"""Gradient checks: what the backward pass says, against what the function does.

The results of a function are reduced to one number, L = sum(g * results), by random cotangents g.
The analytic gradient of L comes from the backward pass, the numeric one from moving the inputs a
little. (With g all ones, a softmax whose vjp returns zeros would pass.)
"""

import contextvars
import copy
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tinynn import _validate as check
from tinynn.autodiff.graph import GradientShapeError, Primitive, grad, no_grad, walk
from tinynn.autodiff.ops import values
from tinynn.autodiff.tensor import Tensor

__all__ = ["GradcheckError", "GradcheckReport", "InputReport", "check_grads", "check_primitive"]

# Steps are relative to the scale of an input. 0.7: no multiple of a step is a period of anything.
PLAIN_STEP = 0.7 * 2.0**-10  # for elements that give no cause for doubt
STEPS = [0.7 * 2.0 ** -(5 + 2 * k) for k in range(11)]  # for the others: 2e-2 to 2e-8
SCREEN = 1e-4  # of rtol: a direction must agree this well to spare its elements
CONFIRMED = 8  # wrong elements examined closely; the rest are taken to be as wrong as they look
NOISE = "the difference is inside the noise"
VERDICTS = ("ok", "inconclusive", "wrong")

Graph = tuple[list[Tensor], list[Tensor]]  # leaves, and the results computed from them


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
        order = f" at order {self.order}" if self.order > 1 else ""
        head = f"  {self.name}{order}, shape {self.shape}: "
        head += "WRONG" if self.verdict == "wrong" else self.verdict
        if self.verdict != "ok" and self.index is not None:
            head += f" at {self.count} of {math.prod(self.shape)} elements"
        head += f": {self.cause}" if self.cause else ""
        if 0 in self.shape:
            return head
        place = "along a random direction" if self.index is None else f"at {self.index}"
        text = f"worst {place}: analytic {self.analytic:.9g}, numeric {self.numeric:.9g}"
        if self.numeric and math.isfinite(self.error):
            text += f" (relative error {self.error / abs(self.numeric):.2g})"
        if self.verdict == "ok":
            return f"{head}; {text}"
        sides = f"one-sided slopes: left {self.left:.9g}, right {self.right:.9g}"
        if 0 < self.noise < math.inf:
            sides += f"; numeric may be off by {self.noise:.2g}"
        return "\n    ".join([head, text, sides, *([self.advice] if self.advice else [])])


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
        head = f"{self.owner}: {'passed' if self.ok else 'FAILED'}"
        head += f" at order {self.order}" if self.order else ""
        if not self.ok and self.order > 1:
            head += f" (the gradient of order {self.order - 1} is right, its own gradient is not)"
        lines = [head, *map(str, self.inputs)]
        if self.cause and all(entry.verdict != "wrong" for entry in self.inputs):
            lines = [f"{head}: {self.cause}", f"  {self.advice}", *lines[1:]]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    __repr__ = __str__


class GradcheckError(AssertionError):
    """A gradient is wrong; ``.report`` is the falsy :class:`GradcheckReport`."""

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(report)
        self.report = report


def _fault(cause: str, advice: str, order: int, owner: str = "check_grads") -> NoReturn:
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
    ``eps``: the step; by default steps are scaled to the inputs, and the central differences are
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
    # no_grad() is a matter of the context: in one of its own, the check works inside it too.
    recording = (Tensor(0.0, requires_grad=True) + 0).requires_grad
    context = contextvars.copy_context() if recording else contextvars.Context()
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
    arrays = []
    for i, given in enumerate(inputs):
        try:
            x = np.array(values(given))
        except ValueError:  # rows of different lengths
            x = np.array(None)
        arrays.append(x)
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
            point = _Point(f, arrays, settings, level)
            report = _compare(point, names)
    except (TypeError, ValueError) as error:
        if level > 1 or isinstance(error, GradientShapeError):
            error.add_note(f"Raised while check_grads took the gradient of order {level}.")
        raise
    if not report or level == order:
        return report
    known = [entry.cause != NOISE for entry in report.inputs]
    if not any(known):
        note = f"Order {level + 1} was not checked: what is inside the noise has no gradient."
        return replace(report, notes=(*report.notes, note))

    def gradients(*tensors: Tensor) -> list[Any]:
        xs, cotangents = list(tensors[: len(arrays)]), tensors[len(arrays) :]
        found = _pull_back((xs, _results(f(*xs))), cotangents, create_graph=True)
        return [
            Tensor(np.zeros(x.shape, x.dtype)) if g is None else g
            for g, x in itertools.compress(zip(found, xs, strict=True), known)
        ]

    several, later = len(point.cotangents) > 1, level > 1
    names = names + [
        "cotangent" + f" {k}" * several + f" (of order {level})" * later
        for k in range(len(point.cotangents))
    ]
    deeper = _check(gradients, arrays + point.cotangents, names, order, settings, level + 1)
    notes = tuple(dict.fromkeys(report.notes + deeper.notes))
    return replace(deeper, inputs=report.inputs + deeper.inputs, notes=notes)


# ---------------------------------------------------------------- a function at a point


class _Point:
    """f at one point, and L = sum(cotangents * results) as a function of each input."""

    def __init__(
        self, f: Callable[..., Any], arrays: list[np.ndarray], settings: _Settings, level: int
    ) -> None:
        self.f, self.inputs, self.settings, self.level = f, arrays, settings, level
        self.graph = leaves, results = _graph(f, arrays)
        self.base = _flat(results)
        self.notes: tuple[str, ...] = ()
        for i, (leaf, x) in enumerate(zip(leaves, arrays, strict=True)):
            if not np.array_equal(values(leaf), x):
                advice = "A value that is overwritten has no gradient: compute a new Tensor."
                _fault(f"f changes input {i} in place", advice, level)
        if not np.isfinite(self.base).all():
            value = self.base[~np.isfinite(self.base)][0]
            advice = f"f returned {value}. Move the inputs to where it is finite."
            _fault("the result of f is not finite", advice, level)
        self.call_again()
        dtypes = [*(x.dtype for x in arrays), *(y.dtype for y in results)]
        narrowest = min(dtypes, key=lambda dtype: dtype.itemsize)
        if narrowest.itemsize < 8:
            self._widen(narrowest)
        self.eps = float(np.finfo(self.base.dtype).eps)
        self.cotangents = [_random(settings.rng, y.shape).astype(y.dtype) for y in results]
        self.flat = np.concatenate([v.ravel() for v in self.cotangents]).astype(float)
        self.twins = list(self._in_two_precisions())
        rounding = self.eps * np.abs(self.base)
        for double, single in self.twins:
            rounding = np.fmax(rounding, _rounding(_flat(double[1]), _flat(single[1])))
        self.noise = float(np.linalg.norm(self.flat * rounding))  # of L

    def call_again(self) -> None:
        """Refuse to go on if f returns something else this time."""
        again = _flat(_graph(self.f, self.inputs)[1])
        same = again.shape == self.base.shape
        gap = float(np.abs(again - self.base).max(initial=0)) if same else math.inf
        if not gap <= 1e3 * np.finfo(again.dtype).eps * np.abs(self.base).max(initial=0):
            advice = (
                f"Two calls at the same inputs differ by {gap:.3g}. Switch dropout and the like "
                "off (model.eval()), or seed a new generator inside f at every call."
            )
            _fault("f is not deterministic", advice, self.level)

    def _widen(self, narrowest: np.dtype[Any]) -> None:
        """Allow for a narrow dtype, and compute the numeric side in float64 if f permits."""
        rtol, atol = (factor * math.sqrt(np.finfo(narrowest).eps) for factor in (3, 0.3))
        rtol, atol = max(self.settings.rtol, rtol), max(self.settings.atol, atol)
        self.settings = replace(self.settings, rtol=rtol, atol=atol)
        note = f"{narrowest}: compared at rtol={rtol:.1g}, atol={atol:.1g}."
        if all(x.dtype.itemsize >= 8 for x in self.inputs):
            note = (
                f"f rounds to {note} The inputs are float64, so something inside f is not (a "
                'layer\'s parameters?). With dtype="float64" there, smaller errors would show.'
            )
        self.notes = (note,)
        wide = [x.astype(float) for x in self.inputs]
        try:
            self.base, self.inputs = _flat(_graph(self.f, wide)[1]), wide
        except Exception:
            return

    def _in_two_precisions(self) -> Iterator[tuple[Graph, Graph]]:
        """Compute f near the point in double and in single precision, if it permits."""
        for _ in range(2):
            nudges = [1 + 1e-4 * _random(self.settings.rng, x.shape) for x in self.inputs]
            near = [(x * u).astype(np.float32) for x, u in zip(self.inputs, nudges, strict=True)]
            try:
                double, single = (_graph(self.f, [x.astype(t) for x in near]) for t in (float, "f"))
            except Exception:
                return
            if _flat(double[1]).shape == _flat(single[1]).shape == self.base.shape:
                yield double, single

    def products(self, i: int, step: np.ndarray) -> np.ndarray:
        """Return by how much each result moves L when ``step`` is added to input i.

        The difference is taken first: results that stay put contribute no rounding.
        """
        inputs = list(self.inputs)
        moved = inputs[i] + step
        inputs[i] = moved if np.iscomplexobj(moved) else moved.astype(inputs[i].dtype)
        try:
            return self.flat * (_flat(_graph(self.f, inputs)[1]) - self.base)
        except Exception:  # f worked at the point itself: the step has left its domain
            return np.full(self.base.shape, np.nan)


def _graph(f: Callable[..., Any], inputs: Sequence[np.ndarray]) -> Graph:
    """Call f with Tensors that nobody else has; return them and the results."""
    leaves = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    return leaves, _results(f(*leaves))


def _results(result: Any) -> list[Tensor]:
    """Return what f returned as a list of Tensors of floats."""
    results = list(result) if isinstance(result, (list, tuple)) else [result]
    for y in results or [result]:
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
    return results


def _flat(results: Sequence[Tensor]) -> np.ndarray:
    return np.concatenate([values(y).ravel() for y in results])


def _pull_back(graph: Graph, cotangents: Sequence[Any], create_graph: bool = False) -> list[Any]:
    """Return the gradients of L; None for a leaf that the graph does not lead back to."""
    leaves, results = graph
    totals: list[Any] = [None] * len(leaves)
    births = {x._birth for x in leaves}
    for y, cotangent in zip(results, cotangents, strict=True):
        if not y.requires_grad and y.dtype.kind == "f":
            continue
        found = walk(y, cotangent, births, create_graph=create_graph, caller="check_grads")
        for k, x in enumerate(leaves):
            if x._birth in found:
                g = found[x._birth][1]
                g = g if create_graph else np.array(g)  # it may be the cotangent itself
                totals[k] = g if totals[k] is None else totals[k] + g
    return totals


def _rounding(double: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Return how far rounding may have put off what was computed in double, given it in single."""
    info = np.finfo(np.float32)
    error = 4 * np.abs(double - single) * (np.finfo(np.float64).eps / info.eps)
    error = np.where(np.abs(double) < info.tiny, np.abs(double), error)  # underflow: unknown
    return np.where(np.isfinite(error), error, 0)


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw numbers of either sign, none of them near 0, where it would hide an error."""
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape))


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(np.argwhere(mask)[0].tolist())


# ---------------------------------------------------------------- numeric slopes


class _Slope(NamedTuple):
    numeric: float
    noise: float  # how far off it may be
    left: float
    right: float
    kink: bool = False
    h: float = 0.0  # the step that showed it


NO_SLOPE = _Slope(math.nan, math.inf, math.nan, math.nan)


class _Line:
    """L along a line through the point: input i moves in ``direction``."""

    def __init__(self, point: _Point, i: int, direction: np.ndarray) -> None:
        self.point, self.i, self.direction = point, i, direction
        self.grain = point.eps * float(np.linalg.norm(point.inputs[i] * direction))

    def slope(self, h: float) -> _Slope:
        """Return the central difference of step h, with the noise that rounding puts into it."""
        moves = [self.point.products(self.i, s * self.direction) / s for s in (-h, h)]
        left, right = (float(np.sum(move)) for move in moves)
        noise = self.point.noise + self.grain * float(np.linalg.norm(moves))
        return _Slope((left + right) / 2, noise / h, left, right, h=h)

    @functools.cached_property
    def complex_slope(self) -> float:
        """The slope by the complex step; nan if f does not take complex numbers."""
        h = 2.0**-60 / float(np.abs(self.direction).max())
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns of an imaginary part that it drops
            products = self.point.products(self.i, 1j * h * self.direction)
        return float(np.sum(products.imag)) / h if np.iscomplexobj(products) else math.nan

    def agrees(self, slope: _Slope) -> bool:
        """Tell whether the complex step agrees with a slope within its noise."""
        return abs(self.complex_slope - slope.numeric) <= slope.noise

    def ladder(self, scale: float) -> Iterator[_Slope]:
        """Yield slopes from steps that shrink, extrapolated to step 0.

        The difference between neighbours in the tableau bounds the error of the extrapolation
        (C. Ridders 1982, "Accurate computation of F'(x) and F'(x) F''(x)").
        """
        row: list[float] = []
        for step in STEPS:
            slope = self.slope(scale * step)
            if not math.isfinite(slope.numeric):
                row = []
                continue
            coarser, row = row[:4], [slope.numeric]
            best = math.inf, slope.numeric
            for j, c in enumerate(coarser):
                row.append(row[j] + (row[j] - c) / (16 ** (j + 1) - 1))
                error = 2 * max(abs(row[j + 1] - row[j]), abs(row[j + 1] - c))
                best = min(best, (error, row[j + 1]))
            yield slope._replace(numeric=best[1], noise=slope.noise + best[0])


def _slope(
    line: _Line, scales: Iterable[float], target: float, goal: float, trust: float
) -> _Slope:
    """Return the most certain slope along the line, from steps relative to each of ``scales``.

    Stops at the first within ``goal`` of ``target`` whose noise is below ``trust``, for no wrong
    target is met by chance; or where the complex step, too, contradicts the target.
    """
    found: list[_Slope] = []
    kink = None
    for scale in scales:
        ladder: list[_Slope] = []
        for slope in line.ladder(scale):
            ladder.append(slope)
            gap = abs(slope.numeric - target)
            if len(ladder) == 3 and not any((target, *(s.left or s.right for s in ladder))):
                return slope._replace(noise=0.0)
            if _drawn_together(ladder, goal):
                if gap <= goal and slope.noise <= trust:
                    return slope
                if slope.noise <= 0.01 * gap and line.agrees(slope):
                    return slope._replace(numeric=line.complex_slope, noise=0.0)
        noise, straddling = _unevenness(ladder)
        if straddling and noise > 100 * line.point.noise:
            kink = ladder[straddling - 1]._replace(noise=0.0, kink=True)
            ladder = ladder[straddling:]
        found += [s._replace(noise=s.noise + 4 * noise / s.h) for s in ladder]
    seen = [s for s in found if s.left or s.right]  # other steps were too short for f to change
    best = _consistent(seen or found)
    if kink and not best.noise <= 0.1 * abs(kink.right - kink.left):
        return kink._replace(numeric=(kink.left + kink.right) / 2)
    # Where the complex step agrees only within a great noise, it may confirm but not refute.
    sharp = best.noise <= 0.01 * abs(best.numeric)
    if (
        best.noise > 0.1 * goal
        and line.agrees(best)
        and (sharp or abs(line.complex_slope - target) <= goal)
    ):
        return best._replace(numeric=line.complex_slope, noise=0.0)
    return best


def _drawn_together(ladder: list[_Slope], goal: float) -> bool:
    """Tell whether left and right slope approach each other, as at a kink they do not."""
    bends = [abs(s.right - s.left) for s in ladder[-2:]]
    return bends[-1] <= goal or (len(bends) > 1 and bends[1] <= 0.5 * bends[0])


def _unevenness(ladder: list[_Slope]) -> tuple[float, int]:
    """Return the noise of the function, and how many of the steps straddle a kink.

    The second difference of a smooth function shrinks 16-fold from step to step, that at a kink
    4-fold (so its one-sided slopes stay apart), and that of noise does not shrink.
    """
    seconds = [(s.right - s.left) * s.h for s in ladder]
    fourfold = [bool(b) and 2.8 < a / b < 5.6 for a, b in itertools.pairwise(seconds)]
    windows = (k for k in range(len(fourfold) - 2) if all(fourfold[k : k + 3]))
    straddling = max((k + 4 for k in windows), default=0)
    seen = [s for s in ladder if s.left or s.right]
    noise = 0.0
    for s, t in itertools.pairwise(seen[-4:]):
        bend = (t.right - t.left) * t.h - (s.right - s.left) * s.h / 16
        drift = (t.right + t.left - s.right - s.left) / 2 * t.h  # of a smooth slope: next to none
        noise = max(noise, abs(bend), abs(drift))
    if seen and len(seen) < len(ladder):  # shorter steps changed nothing: f moves in jumps
        noise = max(noise, *(abs(side) * seen[-1].h for side in (seen[-1].left, seen[-1].right)))
    return noise, straddling


def _consistent(slopes: list[_Slope]) -> _Slope:
    """Return the slope of least noise that all shorter steps bear out.

    (Steps longer than a period, say, may agree with each other on a slope of 0.)
    """
    for s in sorted(slopes, key=lambda s: s.noise):
        if all(abs(s.numeric - t.numeric) <= s.noise + t.noise for t in slopes if t.h < s.h):
            return s
    return NO_SLOPE


def _scales(x: np.ndarray, eps: float | None) -> list[np.ndarray]:
    """Return the scales of ``x`` to which steps are relative, in the order in which to try them."""
    if eps is not None:
        return [np.full(x.shape, eps / PLAIN_STEP)]
    size = np.abs(x).astype(float)
    typical = np.maximum(size, 2.0**-10 * (float(size.max(initial=0)) or 2.0**10))
    return [typical, np.where(size > 0, size, typical), np.ones(x.shape)]


# ---------------------------------------------------------------- analytic against numeric


class _Comparison:
    """Slopes side by side: of every element of an input, or one along a random direction."""

    def __init__(self, point: _Point, i: int, analytic: Any, *, whole: bool) -> None:
        self.point, self.i, self.whole = point, i, whole
        self.analytic = np.asarray(analytic)
        shape = self.analytic.shape
        self.numeric, self.noise, self.left, self.right = (np.zeros(shape) for _ in range(4))
        self.kink = np.zeros(shape, bool)
        self.tolerance: Any = 0.0
        self.reached = True  # by the way back through the graph
        self.linear = True  # in the cotangents
        self.ignoring = False  # them

    def enter(self, place: tuple[int, ...], slope: _Slope) -> None:
        self.numeric[place], self.noise[place] = slope.numeric, slope.noise
        self.left[place], self.right[place] = slope.left, slope.right
        self.kink[place] = slope.kink

    def verdicts(self) -> np.ndarray:
        """Return the verdict on each slope, as a position in VERDICTS."""
        gap = np.abs(self.analytic - self.numeric)
        low, high = np.minimum(self.left, self.right), np.maximum(self.left, self.right)
        margin = self.tolerance + 1e-3 * (high - low)
        between = (low - margin <= self.analytic) & (self.analytic <= high + margin)
        unclear = np.where(self.kink, between, gap <= self.tolerance + self.noise)
        unclear |= np.isnan(self.numeric)
        right = (gap <= self.tolerance) & ~self.kink
        return np.where(right, 0, np.where(unclear, 1, 2))

    def floor(self) -> float:
        """Return atol * G, where G is the size of the gradient as far as both sides agree on it."""
        smaller = np.minimum(np.abs(self.analytic), np.abs(self.numeric))
        size = np.max(smaller, initial=0, where=np.isfinite(smaller))
        return self.point.settings.atol * float(size)


def _comparison(point: _Point, i: int, analytic: np.ndarray) -> _Comparison:
    if point.settings.mode != "full" and analytic.size:
        comparison, clean = _along_a_direction(point, i, analytic)
        if clean or point.settings.mode == "fast":
            return comparison
    return _element_by_element(point, i, analytic)


def _along_a_direction(point: _Point, i: int, analytic: np.ndarray) -> tuple[_Comparison, bool]:
    """Compare along a random direction of length 1; tell also whether that leaves no doubt."""
    rtol, x = point.settings.rtol, point.inputs[i]
    random = _random(point.settings.rng, x.shape)
    steepness = np.where(np.isfinite(analytic), np.abs(analytic), 0)
    choices: list[tuple[int, float, int, _Comparison]] = []
    for scale in _scales(x, point.settings.eps):
        length = float(np.linalg.norm(scale * random))
        d = scale * random / length
        target, size = float(np.sum(analytic * d)), float(np.linalg.norm(steepness * d))
        goal, trust = max(SCREEN * rtol, 100 * point.eps) * size, 0.1 * rtol * size
        slope = _slope(_Line(point, i, d), [length], target, goal, trust)
        c = _Comparison(point, i, target, whole=False)
        c.enter((), slope)
        c.tolerance = max(goal, trust / math.sqrt(x.size))
        if abs(slope.numeric - target) <= goal and slope.noise <= trust:
            return c, True
        # Steps that are too long may give a sharp slope that is wrong: prefer one that fits.
        rank = int(c.verdicts()) if slope.noise <= 0.01 * size else 2
        choices.append((rank, slope.noise, len(choices), c))
    return min(choices)[-1], False


def _element_by_element(point: _Point, i: int, analytic: np.ndarray) -> _Comparison:
    """Compare every element: by plain differences first, with care where those disagree."""
    x, rtol = point.inputs[i], point.settings.rtol
    scales = _scales(x, point.settings.eps)
    c = _Comparison(point, i, analytic, whole=True)
    for place in np.ndindex(x.shape):
        step = PLAIN_STEP * float(scales[0][place])
        c.enter(place, _Line(point, i, _unit(x.shape, place)).slope(step))
    floor = c.floor()
    c.tolerance = rtol * np.abs(c.numeric) + floor
    bend = np.abs(c.right - c.left)
    bent = ~(bend <= np.maximum(0.1 * (np.abs(c.left) + np.abs(c.right)), floor))
    excess = np.nan_to_num(np.abs(analytic - c.numeric) - c.tolerance, nan=np.inf)
    doubtful = np.argwhere((c.verdicts() > 0) | bent).tolist()
    refuted = 0
    for place in sorted(map(tuple, doubtful), key=lambda place: -excess[place]):
        target = float(analytic[place])
        goal = 0.5 * (rtol * abs(target) + floor) if math.isfinite(target) else 0.0
        line = _Line(point, i, _unit(x.shape, place))
        slope = _slope(line, dict.fromkeys(float(s[place]) for s in scales), target, goal, goal)
        if not slope.kink:  # the sides of the plain step are as good, and exist at the edge of f
            slope = slope._replace(left=float(c.left[place]), right=float(c.right[place]))
        c.enter(place, slope)
        c.tolerance = rtol * np.abs(c.numeric) + floor
        refuted += int(c.verdicts()[place] == 2)
        if refuted == CONFIRMED:
            break
    c.tolerance = rtol * np.abs(c.numeric) + c.floor()
    return c


def _unit(shape: tuple[int, ...], place: tuple[int, ...]) -> np.ndarray:
    unit = np.zeros(shape)
    unit[place] = 1
    return unit


def _alike(a: np.ndarray, b: np.ndarray, likeness: float) -> bool:
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= likeness * np.abs(b).max(initial=0)))


# ---------------------------------------------------------------- findings


def _compare(point: _Point, names: list[str]) -> GradcheckReport:
    """Compare the gradients of all inputs, and say what was found."""
    found = _pull_back(point.graph, point.cotangents)
    halved = _pull_back(point.graph, [-0.5 * v for v in point.cotangents])
    comparisons = []
    for i, (x, g, half) in enumerate(zip(point.inputs, found, halved, strict=True)):
        c = _comparison(point, i, np.zeros(x.shape) if g is None else g.astype(float))
        c.reached = g is not None
        if c.reached and np.isfinite(g).all():
            c.linear = _alike(-2 * half, g, point.settings.rtol)
            c.ignoring = not c.linear and _alike(half, g, 1e-3)
        comparisons.append(c)
    if any((c.verdicts() == 2).any() for c in comparisons):
        _allow_for_rounding(point, comparisons)
    entries = tuple(_entry(c, names, comparisons) for c in comparisons)
    doubt = any(entry.verdict != "ok" for entry in entries)
    for _ in range(4 if doubt else 1):  # what only varies now and then passed the first test
        point.call_again()
    for entry in entries:
        if entry.verdict == "wrong":
            cause, advice = entry.cause, entry.advice
            return GradcheckReport(False, point.level, entries, cause, advice, point.notes)
    if point.level == 1 and not any(c.reached for c in comparisons):
        raise ValueError(
            "check_grads: the result of f depends on none of its inputs, so there is nothing to "
            "check. Compute with the arguments that f is given, not with tensors it closes over "
            "(to check a layer's kernel, assign it inside f: layer.kernel = kernel)."
        )
    return GradcheckReport(True, point.level, entries, notes=point.notes)


def _allow_for_rounding(point: _Point, comparisons: list[_Comparison]) -> None:
    """Add to the noise what rounding may have put into the analytic gradients.

    In the tail of a saturated softmax, say, they may consist of it.
    """
    errors = [0.0] * len(comparisons)
    for double, single in point.twins:
        u, v = ([_random(point.settings.rng, y.shape) for y in double[1]] for _ in range(2))
        both = [a + b for a, b in zip(u, v, strict=True)]
        backs = [_pull_back(double, g) for g in (u, v, both)] + [_pull_back(single, u)]
        for i, (a, b, total, coarse) in enumerate(zip(*backs, strict=True)):
            if a is not None and comparisons[i].linear:
                error = np.fmax(_rounding(a, coarse), 4 * np.abs(a + b - total))
                errors[i] = max(errors[i], float(error.max(initial=0)))
    for c, error in zip(comparisons, errors, strict=True):
        c.noise = c.noise + error


def _entry(c: _Comparison, names: list[str], others: list[_Comparison]) -> InputReport:
    """Sum up one input: its verdict, the worst element, the cause."""
    shape = c.point.inputs[c.i].shape
    entry = InputReport(names[c.i], c.point.level, shape, "ok")
    if 0 in shape:
        return replace(entry, cause="it is empty")
    verdicts, gap = c.verdicts(), np.abs(c.analytic - c.numeric)
    mask = verdicts == verdicts.max()
    rank = np.where(mask, np.nan_to_num(gap, nan=np.inf), -1)
    worst = tuple(int(k) for k in np.unravel_index(np.argmax(rank), gap.shape))
    verdict = VERDICTS[verdicts.max()] if c.linear else "wrong"
    if verdict == "wrong":
        cause, advice = _why_wrong(c, names, others)
    elif verdict == "inconclusive":
        cause, advice = _why_inconclusive(c, mask)
    else:
        cause, advice = "" if c.reached else "the result does not depend on it", ""
    columns = (c.analytic, c.numeric, c.left, c.right, gap, c.noise)
    numbers = (float(column[worst]) + 0.0 for column in columns)  # no minus before a 0
    index, count = worst if c.whole else None, int(mask.sum())
    return InputReport(
        names[c.i], c.point.level, shape, verdict, cause, advice, count, index, *numbers
    )


def _why_inconclusive(c: _Comparison, mask: np.ndarray) -> tuple[str, str]:
    if c.kink[mask].any():
        return "a kink", (
            "The slopes to the left and right differ and analytic lies between them, as it may. "
            "Move the point away from the kink to check the slopes beside it."
        )
    if np.isnan(c.numeric[mask]).any():
        return "f is undefined beside this point", (
            "A step gives nan or an error, on one side at least. Move the input into f's domain."
        )
    return NOISE, (
        "Rounding moves f by about as much as this input does, so no step shows the slope better. "
        "If the right gradient is not 0, drop large constants from f or scale the input."
    )


def _why_wrong(c: _Comparison, names: list[str], others: list[_Comparison]) -> tuple[str, str]:
    wrong = c.verdicts() == 2
    what = "The result" if c.point.level == 1 else "The gradient"
    if not c.reached:
        return "the graph is cut", (
            f"{what} moves with this input, but the graph does not lead back to it. Look for "
            ".data, .detach(), numpy.asarray, float() or no_grad in f or a vjp, or a vjp of None."
        )
    if c.ignoring:
        return "the vjp ignores g", "Scaling g, the gradient of the result, changes nothing."
    if not c.linear:
        return "the vjp is not linear in g", (
            "-1/2 of g, the gradient of the result, does not give -1/2 of this gradient. Multiply "
            "by g itself: no abs(g), no g * g, nothing kept between calls, nothing overwritten."
        )
    if (broken := wrong & ~np.isfinite(c.analytic)).any():
        return f"the analytic gradient is {c.analytic[_first(broken)]}", (
            f"It is so {_places(c, broken)}, where f has a finite slope. Does the vjp divide by 0?"
        )
    if not c.analytic.any():
        return "a zero gradient", f"Analytic is 0 everywhere, but {what.lower()} moves."
    if not c.numeric.any():
        return "f does not move with this input", (
            "Numeric is 0 everywhere. If f rounds, compares or counts, that is its gradient."
        )
    if np.isfinite(c.numeric).all():
        gap, size = np.abs(c.analytic - c.numeric).max(), np.abs(c.numeric).max()
        likeness = min(1e-3, 0.05 * float(gap / size))  # closer than the two compared
        for candidate, cause, advice in _lookalikes(c, names, others):
            if _alike(c.analytic, candidate, likeness):
                return cause, advice
        if c.whole and (where := _one_slice(c, wrong, likeness)):
            return "a missing sum over a broadcast axis", (
                f"Analytic is what index {where} of the result contributes, alone. Sum g over the "
                "axes along which this input is broadcast (@elementwise does it)."
            )
    if _right_for_ones(c):
        return "right only for a cotangent of ones", (
            "Were g, the gradient of the result, all ones, this gradient would be right: the vjp "
            "takes the sum or the mean of g, or mixes up its elements."
        )
    if c.whole and not wrong.all():
        text = "The other elements are right."
        if c.kink[wrong].any():
            text += " At a kink analytic must lie between the slopes to the left and right."
        return f"wrong only {_places(c, wrong)}", text
    if c.point.level > 1:
        return "a wrong gradient of the gradient", (
            "Does a vjp take for a constant what depends on its arguments (.data, numpy.asarray)? "
            "Write it with tinynn's operations."
        )
    if not c.whole:
        return "a wrong gradient", 'mode="full" names the elements and looks for the cause.'
    return "a wrong gradient", "It fits no common mistake. Compare the vjp with the formula."


def _lookalikes(
    c: _Comparison, names: list[str], others: list[_Comparison]
) -> Iterator[tuple[np.ndarray, str, str]]:
    """Yield what a common mistake would make of the numeric gradient: with its name and advice."""
    n = c.numeric
    yield -n, "a flipped sign", "Analytic = -1 * numeric: one minus too many, or too few."
    factor = float(np.sum(c.analytic * n) / np.sum(n * n))
    if n.size > 1 or min(abs(k - round(k)) for k in (factor, 1 / factor)) < 1e-6:
        advice = f"Analytic = {factor:.6g} * numeric, at every element."
        shapes = [n.shape, *(y.shape for y in c.point.graph[1])]
        lengths = {k for shape in shapes for k in (math.prod(shape), *shape)}
        for ratio, what in ((factor, "a sum for a mean"), (1 / factor, "a mean for a sum")):
            if round(ratio) in lengths - {1} and abs(ratio - round(ratio)) < 1e-4:
                advice += f" {round(ratio)} is a length here: {what}?"
        yield factor * n, f"a constant factor {factor:.6g}", advice
    if not c.whole:
        return
    for axes in itertools.islice(itertools.permutations(range(n.ndim)), 1, 120):
        advice = f"Analytic holds the numeric values with the axes in the order {axes}."
        yield n.transpose(axes).reshape(n.shape), "a transposed gradient", advice
    for count in range(1, n.ndim + 1):
        for axes in itertools.combinations(range(n.ndim), count):
            named = f"ax{'is' if count == 1 else 'es'} {', '.join(map(str, axes))}"
            advice = "Analytic holds the numeric values backwards: one flip too many, or too few."
            yield np.flip(n, axes), f"a gradient reversed along {named} (time-flipped)", advice
    for axis, by in itertools.product(range(n.ndim), (1, -1)):
        if n.shape[axis] > 2:
            shifted, edge = np.roll(n, by, axis), (*(slice(None),) * axis, 0 if by == 1 else -1)
            shifted[edge] = c.analytic[edge]
            advice = f"Off by one: analytic at t is numeric at t {'-' if by == 1 else '+'} 1."
            yield shifted, f"a gradient shifted by one along axis {axis}", advice
    for other in others:
        if other.whole and other is not c:
            cause = f"swapped inputs: this is the gradient of {names[other.i]}"
            yield other.numeric, cause, "Are the vjps in the order of the arguments?"


def _one_slice(c: _Comparison, wrong: np.ndarray, likeness: float) -> str:
    """Name the slice of the result whose contribution alone the gradient holds, if one does."""
    results = c.point.graph[1]
    places = [tuple(place) for place in np.argwhere(wrong)[:8].tolist()]
    target = np.array([c.analytic[place] for place in places])
    if len(results) != 1 or not target.all():
        return ""
    shape, shares = results[0].shape, []
    for place in places:
        h = PLAIN_STEP * (abs(float(c.point.inputs[c.i][place])) or 1.0)
        step = h * _unit(c.numeric.shape, place)
        moves = c.point.products(c.i, step) - c.point.products(c.i, -step)
        shares.append(moves.reshape(shape) / (2 * h))
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            rest = tuple(k + 1 for k in range(len(shape)) if k not in axes)
            slices = np.sum(shares, axis=rest).reshape(len(places), -1).T
            hits = np.all(np.abs(slices - target) <= likeness * np.abs(target), axis=1)
            if hits.any():
                at = np.unravel_index(int(np.argmax(hits)), [shape[axis] for axis in axes])
                return ", ".join(f"{k} of axis {axis}" for k, axis in zip(at, axes, strict=True))
    return ""


def _right_for_ones(c: _Comparison) -> bool:
    point = copy.copy(c.point)
    point.cotangents = [np.ones(y.shape, y.dtype) for y in point.graph[1]]
    point.flat = np.ones(point.flat.shape)
    found = _pull_back(point.graph, point.cotangents)[c.i].astype(float)
    return point.flat.size > 1 and not _along_a_direction(point, c.i, found)[0].verdicts()


def _places(c: _Comparison, mask: np.ndarray) -> str:
    """Say in words which elements are meant."""
    if not c.whole:
        return "along a random direction"
    x, places = c.point.inputs[c.i], np.argwhere(mask)
    text = "at " + ", ".join(str(tuple(place)) for place in places[:3].tolist())
    text += ", ..." * (len(places) > 3)
    if len(places) == 1:
        return text
    for axis, length in enumerate(x.shape):
        indices = sorted(set(places[:, axis].tolist()))
        if len(indices) <= min(2, length - 1):
            text = f"at index {' and '.join(map(str, indices))} of axis {axis}"
            break
    for words, pattern in (("negative", x < 0), ("positive", x > 0), ("0", x == 0)):
        if np.array_equal(mask, pattern):
            text += f", where the input is {words}"
    return text


# ---------------------------------------------------------------- the contracts of a primitive


def check_primitive(
    op: Primitive[Any],
    args: Sequence[Any],
    params: dict[str, Any] | None = None,
    *,
    rng: check.Seed = None,
) -> GradcheckReport:
    """Check that an operation keeps all the contracts of a primitive.

    ``op``: made with ``tinynn.primitive`` or ``tinynn.elementwise``; ``args``: its array arguments,
    of which arrays and Tensors of floats are checked and all others taken as they are; ``params``:
    its parameters by name. In float64 and in float32: arrays give arrays, Tensors give Tensors of
    the same values and dtype, nothing is recorded under ``no_grad``, nothing that op was given is
    changed, each vjp has the shape and dtype of its argument, a gradient is the same whichever
    other arguments want theirs and with ``create_graph``, and no two share memory. Then the first
    and second derivatives, by :func:`check_grads`.

    Returns the report of those. Raises GradcheckError that names the contract which is broken;
    TypeError if ``op`` is no primitive or there is nothing to check.

    >>> from tinynn.autodiff import ops
    >>> bool(check_primitive(ops.multiply, [np.ones((2, 3)), np.array([1.0, 2.0, 3.0])]))
    True
    """
    if not isinstance(op, Primitive):
        raise TypeError(
            f"check_primitive: op must be made with tinynn.primitive or tinynn.elementwise, got "
            f"{check.shown(op)}. Check other functions with check_grads."
        )
    generator = check.generator("check_primitive", 0 if rng is None else rng)
    given = [np.array(values(x)) if isinstance(x, (Tensor, np.ndarray)) else x for x in args]
    places = [
        i
        for i, x in enumerate(given)
        if _is_float(x) and (op.variadic or (i < op.arity and op.differentiable(i)))
    ]
    if not places:
        raise TypeError(
            f"check_primitive: {op.__name__} has no differentiable argument that is an array of "
            "floats here, so there is nothing to check. Give arrays of floats."
        )
    for dtype in (np.float32, np.float64):
        arrays = [x.astype(dtype) if _is_float(x) else x for x in given]
        trial = _Trial(op, arrays, params or {}, places, np.dtype(dtype), generator)
        owner = f"check_primitive({op.__name__})"
        for faults in (trial.forward_faults, trial.vjp_faults, trial.gradient_faults):
            for contract, advice in faults():
                _fault(f"{contract} (in {np.dtype(dtype)})", advice, 0, owner)
    report = check_grads(
        trial.call, *[arrays[i] for i in places], order=2, rng=generator, raise_on_fail=False
    )
    report = replace(report, owner=owner)
    if not report:
        raise GradcheckError(report)
    return report


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _equal(before: Iterable[Any], after: Iterable[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


KEEP_DTYPE = "Keep the dtype of what is given: a NumPy number or array of float64 widens float32."
WORK_ON_COPY = "Others hold the same array. Work on a copy: x = x.copy()."


@dataclass
class _Trial:
    """An operation, with arguments to try it on."""

    op: Primitive[Any]
    arrays: list[Any]
    params: dict[str, Any]
    places: list[int]  # of the arguments to differentiate
    dtype: np.dtype[Any]
    rng: np.random.Generator

    def call(self, *tensors: Any) -> Any:
        """Call op with ``tensors`` for the arguments to differentiate."""
        args = list(self.arrays)
        for i, tensor in zip(self.places, tensors, strict=True):
            args[i] = tensor
        return self.op(*args, **self.params)

    def leaves(self, wanted: Sequence[int]) -> list[Tensor]:
        return [Tensor(self.arrays[i], requires_grad=i in wanted) for i in self.places]

    def forward_faults(self) -> Iterator[tuple[str, str]]:
        before = copy.deepcopy(self.arrays)
        plain, y = self.op(*self.arrays, **self.params), self.call(*self.leaves(self.places))
        if not _equal(before, self.arrays):
            yield "the forward changes an argument", WORK_ON_COPY
        if isinstance(plain, Tensor):
            yield "arrays give a Tensor", "Write the forward in NumPy: it is handed arrays."
        if (
            not np.array_equal(plain, values(y), equal_nan=True)
            or np.asarray(plain).dtype != y.dtype
        ):
            yield "arrays and Tensors give different results", "The forward must keep no state."
        if y.dtype != self.dtype:
            yield f"the result is {y.dtype}", KEEP_DTYPE
        with no_grad():
            if self.call(*self.leaves(self.places)).requires_grad:
                yield "no_grad is ignored", "Leave the recording to the decorator."

    def vjp_faults(self) -> Iterator[tuple[str, str]]:
        """Call each vjp with arrays, as the backward pass does."""
        arrays, params = self.op._bind(tuple(self.arrays), self.params)
        y = np.asarray(self.op.forward(*arrays, **params))
        g = _random(self.rng, y.shape).astype(self.dtype)
        before = copy.deepcopy((*arrays, y, g))
        for i in self.places:
            gradient, vjp = (
                np.asarray(self.op.vjp(i, g, y, arrays, params)),
                f"the vjp of argument {i}",
            )
            if not _equal(before, (*arrays, y, g)):
                yield f"{vjp} changes what it is given", WORK_ON_COPY
            if gradient.shape != arrays[i].shape:
                text = f"{vjp} returns shape {gradient.shape}, its argument has {arrays[i].shape}"
                yield text, "Sum or reshape it (@elementwise sums over what was broadcast)."
            if gradient.dtype != self.dtype:
                yield f"{vjp} returns {gradient.dtype}", KEEP_DTYPE

    def gradient_faults(self) -> Iterator[tuple[str, str]]:
        leaves = self.leaves(self.places)
        y = self.call(*leaves)
        g = _random(self.rng, y.shape).astype(self.dtype)
        gradients = grad(y, leaves, g)
        for k, (i, gradient) in enumerate(zip(self.places, gradients, strict=True)):
            others = (values(y), g, *map(values, leaves), *gradients[:k])
            if any(np.shares_memory(gradient, x) for x in others):
                yield f"the gradient of argument {i} is another array too", WORK_ON_COPY
            only = self.leaves([i])
            if not _alike(grad(self.call(*only), [only[k]], g)[0], gradient, 1e-6):
                text = f"the gradient of argument {i} depends on which others require one"
                yield text, "A vjp must compute from the values of its arguments alone."
            try:
                again = values(grad(y, [leaves[k]], g, create_graph=True)[0])
            except (TypeError, ValueError) as error:
                yield f"the vjp of argument {i} fails with create_graph", str(error)
                continue
            if not _alike(again, gradient, 1e-4):
                text = f"the gradient of argument {i} is another one with create_graph"
                yield text, "The vjp must compute the same from Tensors as from arrays."
