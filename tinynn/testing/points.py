"""A function at one point: its graph, its values, what rounding does to them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from tinynn.autodiff.graph import gradients
from tinynn.autodiff.primitive import values
from tinynn.autodiff.tensor import Tensor
from tinynn.autodiff.transforms import differentiating
from tinynn.testing.reports import fault

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours


@dataclass(frozen=True)
class Settings:
    """The arguments of a check that its parts need, and how it names things."""

    rtol: float
    atol: float
    eps: float | None
    mode: str
    rng: "np.random.Generator"
    owner: str = "check_grads"
    f: str = "f"
    rule: str = "the vjp"  # what computes the gradient, and from what
    g: str = "g"


class Evaluation(Protocol):
    """A function at some inputs: its results, and their gradients."""

    @property
    def inputs(self) -> list[np.ndarray]:
        """The inputs, as the call has left them."""

    @property
    def outputs(self) -> list[np.ndarray]:
        """The results, all of floats."""

    def pull(self, cotangents: Sequence[np.ndarray]) -> list[Any]:
        """Return the gradients of sum(cotangents * outputs); None where there is none."""


class Differentiated(Protocol):
    """What is checked: a function on arrays of floats, and its gradient."""

    narrows: bool  # it may be called with less precision than its inputs have
    reasons: tuple[str, ...]  # remarks on what was found on the way

    def at(self, inputs: Sequence[np.ndarray]) -> Evaluation:
        """Return the function at these inputs, which it does not change."""


@dataclass
class Graph:
    """A function of Tensors at some inputs."""

    owner: str
    leaves: list[Tensor]
    tensors: list[Tensor]

    @property
    def inputs(self) -> list[np.ndarray]:
        """The values of the leaves."""
        return [values(x) for x in self.leaves]

    @property
    def outputs(self) -> list[np.ndarray]:
        """The results."""
        return [values(y) for y in self.tensors]

    def pull(self, cotangents: Sequence[Any], create_graph: bool = False) -> list[Any]:
        """Return the gradients of sum(cotangents * results); None outside the graph."""
        totals: list[Any] = [None] * len(self.leaves)
        for y, cotangent in zip(self.tensors, cotangents, strict=True):
            if not y.requires_grad and y.dtype.kind == "f":
                continue
            for x, g in gradients(self.owner, y, cotangent, self.leaves, create_graph):
                share = g if create_graph else np.array(g)  # it may be the cotangent itself
                k = next(k for k, other in enumerate(self.leaves) if other is x)
                totals[k] = share if totals[k] is None else totals[k] + share
        return totals


@dataclass
class OnTensors:
    """A function of Tensors, which tinynn differentiates."""

    f: Callable[..., Any]
    owner: str
    narrows: bool = True
    reasons: tuple[str, ...] = ()

    def at(self, inputs: Sequence[np.ndarray]) -> Graph:
        """Call f with Tensors that nobody else has."""
        leaves = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
        with differentiating(leaves):
            return Graph(self.owner, leaves, float_tensors(self.owner, self.f(*leaves)))


@dataclass
class Point:
    """f at one point, and L = sum(cotangents * f) as a function of the inputs."""

    f: Differentiated
    settings: Settings
    level: int
    here: Evaluation
    twins: tuple[Evaluation, Evaluation] | None  # the same, in double and in single precision
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
            double, single = (flattened(twin.outputs) for twin in self.twins)
            self.noise = np.fmax(self.noise, np.abs(self.flat) * rounding_between(double, single))

    def at(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Return f at other inputs, flat."""
        return flattened(self.f.at(inputs).outputs)

    def pull(self, flat: np.ndarray) -> list[Any]:
        """Return the analytic gradients for another cotangent, given flat."""
        parts = zip(self.split(flat), self.cotangents, strict=True)
        return self.here.pull([part.astype(v.dtype) for part, v in parts])

    def split(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return a flat array of outputs in the shapes of the outputs."""
        ends = np.cumsum([v.size for v in self.cotangents])[:-1]
        parts = zip(np.split(flat, ends), self.cotangents, strict=True)
        return [part.reshape(v.shape) for part, v in parts]


def rounding_between(double: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Return how far off a result in double precision may be, given the same in single."""
    ratio = np.finfo(np.float64).eps / np.finfo(np.float32).eps
    error = 4 * ratio * np.abs(double - single)
    return np.where(np.isfinite(error), error, 0)


def point_at(
    f: Differentiated, arrays: list[np.ndarray], names: list[str], settings: Settings, level: int
) -> Point:
    """Call f, make sure that it can be checked at all, and draw cotangents."""
    here = f.at([x.copy() for x in arrays])
    for name, now, x in zip(names, here.inputs, arrays, strict=True):
        if not np.array_equal(now, x):
            advice = "A value that was overwritten has no gradient: compute a new array instead."
            fault(f"{settings.f} changes {name} in place", advice, level, settings.owner)
    base = flattened(here.outputs)
    if not np.isfinite(base).all():
        advice = (
            f"{settings.f} returned {base[~np.isfinite(base)][0]}. Move the inputs into its domain."
        )
        fault(f"the result of {settings.f} is not finite", advice, level, settings.owner)
    call_again(f, arrays, base, level, settings)
    inputs = [x.astype(np.result_type(x, float)) for x in arrays]
    if any(x.dtype.itemsize < 8 for x in arrays):
        wide = _in_double(f, inputs, base)
        inputs, base = (arrays, base) if wide is None else (inputs, wide)
    cotangents = [random_signs(settings.rng, y.shape).astype(y.dtype) for y in here.outputs]
    dtypes = [x.dtype for x in arrays], [y.dtype for y in here.outputs]
    settings, notes = _coarser(settings, *dtypes)
    twins = _twins(f, arrays, base) if f.narrows else None
    return Point(f, settings, level, here, twins, cotangents, inputs, base, notes)


def _in_double(
    f: Differentiated, inputs: list[np.ndarray], narrow: np.ndarray
) -> np.ndarray | None:
    """Return f in double precision; None if it insists on the narrow dtype."""
    try:
        wide = flattened(f.at(inputs).outputs)
    except Exception:
        return None
    size = float(np.abs(narrow).max(initial=0))
    same = wide.shape == narrow.shape and bool((np.abs(wide - narrow) <= 0.1 * size).all())
    return wide if same else None


def _twins(
    f: Differentiated, arrays: list[np.ndarray], base: np.ndarray
) -> tuple[Evaluation, Evaluation] | None:
    """Compute f in double and in single precision, if it lets us, from the same inputs."""
    single = [x.astype(np.float32) for x in arrays]
    double = [x.astype(np.float64) for x in single]
    try:
        found = f.at(double), f.at(single)
    except Exception:
        return None
    return found if all(flattened(twin.outputs).shape == base.shape for twin in found) else None


def call_again(
    f: Differentiated,
    inputs: list[np.ndarray],
    before: np.ndarray,
    level: int,
    settings: Settings,
) -> None:
    """Call f again, and refuse to go on if its values are not those of ``before``."""
    after = flattened(f.at([x.copy() for x in inputs]).outputs)
    same = after.shape == before.shape
    gap = float(np.abs(after - before).max(initial=0)) if same else math.nan
    if not gap <= 1e3 * np.finfo(before.dtype).eps * np.abs(before).max(initial=0):
        advice = (
            f"Two calls at the same inputs differ by {gap:.3g}. Switch dropout and the like off "
            f"(model.eval()), or make {settings.f} draw from a new generator of fixed seed at "
            "every call."
        )
        fault(f"{settings.f} is not deterministic", advice, level, settings.owner)


def _coarser(
    settings: Settings, inputs: list[np.dtype[Any]], outputs: list[np.dtype[Any]]
) -> tuple[Settings, tuple[str, ...]]:
    """Widen the tolerances to what the narrowest of the dtypes allows, and say so."""
    narrowest = min(inputs + outputs, key=lambda dtype: dtype.itemsize)
    if narrowest.itemsize >= 8:
        return settings, ()
    settings = coarsened(settings, narrowest)
    note = f"{narrowest}: compared at rtol={settings.rtol:.1g}, atol={settings.atol:.1g}."
    if narrowest not in inputs:
        note = (
            f"{settings.f} rounds to {note} The inputs are float64, so something inside it is not "
            '(a layer\'s parameters?). With dtype="float64" there, smaller errors would show.'
        )
    return settings, (note,)


def coarsened(settings: Settings, dtype: np.dtype[Any]) -> Settings:
    """Return the settings with tolerances that results of this dtype allow."""
    rtol, atol = (factor * math.sqrt(np.finfo(dtype).eps) for factor in (3, 0.3))
    return replace(settings, rtol=max(settings.rtol, rtol), atol=max(settings.atol, atol))


def float_tensors(owner: str, result: Any) -> list[Tensor]:
    """Return the results of f as a list of Tensors of floats."""
    outputs = list(result) if isinstance(result, (list, tuple)) else [result]
    for y in outputs or [result]:
        if not isinstance(y, Tensor):
            plain = isinstance(y, (np.ndarray, np.generic, float, int)) or hasattr(y, "__array__")
            what = "It computes through NumPy, where gradients are lost: use" if plain else "Use"
            raise TypeError(
                f"{owner}: f must return a Tensor, or a list or tuple of them, got "
                f"{type(y).__name__}. {what} tinynn's operations from f's arguments on. A gradient "
                "written by hand is checked by tinynn.testing.check_backward(forward, backward, "
                "*inputs)."
            )
        if y.dtype.kind not in "fc":
            raise TypeError(
                f"{owner}: f must return floats, got dtype {y.dtype}, which has no gradient. "
                "Leave it out of the result."
            )
    return outputs


def flattened(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return all outputs, end to end."""
    return np.concatenate([y.ravel() for y in outputs])


def random_signs(rng: "np.random.Generator", shape: tuple[int, ...]) -> np.ndarray:
    """Draw numbers of either sign, none of them near 0, where it would hide an error."""
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape))


def length(x: np.ndarray) -> float:
    """Return the Euclidean length of an array, whose squares may be too large or small."""
    largest = float(np.abs(x).max(initial=0))
    if not 0 < largest < math.inf:
        return largest
    return largest * float(np.linalg.norm(x / largest))


def first_place(mask: np.ndarray) -> tuple[int, ...]:
    """Return the index tuple of the first element that is true."""
    return tuple(np.argwhere(mask)[0].tolist())
