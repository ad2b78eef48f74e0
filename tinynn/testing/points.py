"""A function at one point: its graph, its values, what rounding does to them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinynn.autodiff.graph import gradients
from tinynn.autodiff.primitive import values
from tinynn.autodiff.tensor import Tensor
from tinynn.autodiff.transforms import differentiating
from tinynn.testing.reports import fault

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours


@dataclass(frozen=True)
class Settings:
    """The arguments of a check that its parts need."""

    rtol: float
    atol: float
    eps: float | None
    mode: str
    rng: "np.random.Generator"


Graph = tuple[list[Tensor], list[Tensor]]  # leaves and the outputs computed from them


@dataclass
class Point:
    """f at one point: its graph, and L = sum(cotangents * f) as a function of the inputs."""

    f: Callable[..., Any]
    settings: Settings
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
            double, single = (flattened(outputs) for _, outputs in self.twins)
            self.noise = np.fmax(self.noise, np.abs(self.flat) * rounding_between(double, single))


def rounding_between(double: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Return how far off a result in double precision may be, given the same in single."""
    ratio = np.finfo(np.float64).eps / np.finfo(np.float32).eps
    error = 4 * ratio * np.abs(double - single)
    return np.where(np.isfinite(error), error, 0)


def point_at(f: Any, arrays: list[np.ndarray], settings: Settings, level: int) -> Point:
    """Call f, make sure that it can be checked at all, and draw cotangents."""
    leaves, outputs = graph = graph_at(f, arrays)
    for i, (leaf, x) in enumerate(zip(leaves, arrays, strict=True)):
        if not np.array_equal(values(leaf), x):
            advice = "A value that was overwritten has no gradient: compute a new Tensor instead."
            fault(f"f changes input {i} in place", advice, level)
    base = flattened(outputs)
    if not np.isfinite(base).all():
        advice = f"f returned {base[~np.isfinite(base)][0]}. Move the inputs into its domain."
        fault("the result of f is not finite", advice, level)
    call_again(f, arrays, base, level)
    inputs = [x.astype(np.result_type(x, float)) for x in arrays]
    if any(x.dtype.itemsize < 8 for x in arrays):
        try:
            base = flattened(graph_at(f, inputs)[1])
        except Exception:  # f insists on the narrow dtype
            inputs = arrays
    settings, notes = _coarser(settings, [x.dtype for x in arrays], [y.dtype for y in outputs])
    cotangents = [random_signs(settings.rng, y.shape).astype(y.dtype) for y in outputs]
    twins = _twins(f, arrays, base)
    return Point(f, settings, level, graph, twins, cotangents, inputs, base, notes)


def _twins(f: Any, arrays: list[np.ndarray], base: np.ndarray) -> tuple[Graph, Graph] | None:
    """Compute f in double and in single precision, if it lets us, from the same inputs."""
    single = [x.astype(np.float32) for x in arrays]
    double = [x.astype(np.float64) for x in single]
    try:
        graphs = graph_at(f, double), graph_at(f, single)
    except Exception:
        return None
    return graphs if all(flattened(outputs).shape == base.shape for _, outputs in graphs) else None


def graph_at(f: Callable[..., Any], inputs: Sequence[np.ndarray]) -> Graph:
    """Call f with Tensors that nobody else has; return them and the results, all of floats."""
    leaves = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    with differentiating(leaves):
        return leaves, float_outputs(f(*leaves))


def call_again(f: Any, inputs: list[np.ndarray], before: np.ndarray, level: int) -> None:
    """Call f again, and refuse to go on if its values are not those of ``before``."""
    after = flattened(graph_at(f, inputs)[1])
    same = after.shape == before.shape
    gap = float(np.abs(after - before).max(initial=0)) if same else math.nan
    if not gap <= 1e3 * np.finfo(before.dtype).eps * np.abs(before).max(initial=0):
        advice = (
            f"Two calls at the same inputs differ by {gap:.3g}. Switch dropout and the like off "
            "(model.eval()), or make f draw from a new generator of fixed seed at every call."
        )
        fault("f is not deterministic", advice, level)


def _coarser(
    settings: Settings, inputs: list[np.dtype[Any]], outputs: list[np.dtype[Any]]
) -> tuple[Settings, tuple[str, ...]]:
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


def float_outputs(result: Any) -> list[Tensor]:
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


def flattened(outputs: Sequence[Tensor]) -> np.ndarray:
    """Return the values of all outputs, end to end."""
    return np.concatenate([values(y).ravel() for y in outputs])


def pull_back(graph: Graph, cotangents: Sequence[Any], create_graph: bool = False) -> list[Any]:
    """Return the gradients of sum(cotangents * outputs); None for an input outside the graph."""
    inputs, outputs = graph
    totals: list[Any] = [None] * len(inputs)
    for y, cotangent in zip(outputs, cotangents, strict=True):
        if not y.requires_grad and y.dtype.kind == "f":
            continue
        for x, g in gradients("check_grads", y, cotangent, inputs, create_graph):
            share = g if create_graph else np.array(g)  # it may be the cotangent itself
            k = next(k for k, other in enumerate(inputs) if other is x)
            totals[k] = share if totals[k] is None else totals[k] + share
    return totals


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
