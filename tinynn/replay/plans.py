"""Recordings of one function by the kind of its arguments: made, verified, run, let go."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from tinynn._trees import tree_leaves
from tinynn.replay.program import NotFinite, Program, quiet
from tinynn.replay.recording import Assign, Check, Recording, Returned, Step, Update
from tinynn.replay.tracing import NotReplayable, Tracer

KEPT = 8  # recordings of one function; the oldest is dropped
CREDIT = 3.0  # recordings that may be made before any has paid
PAID = 0.05  # of a recording, by each replay: one costs about ten eager calls

Call = Callable[[Tracer], Any]  # the function, on the Tensors that the tracer makes of arguments


class ReplayMismatch(NotReplayable):
    """A replayed call, repeated eagerly, gave something else: the function is not pure."""


class Unrecorded(Exception):
    """A rehearsal failed: by the function's own fault, or because its data were Tensors."""


class Plan:
    """One recording, and the programs that replay it: one for each thread."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None  # of the rehearsal that was recorded
        self.programs: dict[int, Program] = {}
        self.runs = 0
        self.order: list[Any] | None = None

    @property
    def recording(self) -> Recording:
        """What was recorded."""
        if self.tracer is None:
            raise RuntimeError("replay: nothing has been recorded yet")
        return self.tracer.recording

    def holds(self) -> bool:
        """Tell whether there is a recording, and all that it relies on is as it was."""
        return self.tracer is not None and self.tracer.guards.hold()

    def record(self, call: Call) -> list[np.ndarray]:
        """Rehearse ``call`` and keep what was heard; return what was drawn meanwhile."""
        self.tracer = None
        self.programs.clear()
        self.tracer = rehearsed(call)
        self.runs = 0
        return self.tracer.draws

    def verify(self, call: Call, owner: str) -> Tracer:
        """Rehearse ``call`` again; raise ReplayMismatch if it is not what was recorded."""
        again = rehearsed(call)
        found = difference(self.recording, again.recording)
        if found is not None:
            again.guards.undo_draws()
            raise ReplayMismatch(
                f"{owner}: a call repeated eagerly is not what was recorded: {found}. What changes "
                "must be an argument, a Tensor, or made by tinynn.fresh. Else do not compile it"
                f"{', and remove @tnn.pure' if owner != 'compile' else ''}."
            )
        return again

    def program(self, worker: int = 0) -> Program:
        """Return the program of a worker."""
        if worker not in self.programs:
            self.programs[worker] = Program(self.recording, order=self.order)
        return self.programs[worker]

    def states(self) -> list[tuple[Any, Any]]:
        """Return the generators that the function draws from, and their states."""
        if self.tracer is None or not self.tracer.draws:
            return []
        generators = self.tracer.guards.generators.values()
        return [(generator, generator.bit_generator.state) for generator in generators]


class Plans:
    """The plans of one function, by the kind of arguments."""

    def __init__(self, credit: float = CREDIT) -> None:
        self._plans: dict[Hashable, Plan] = {}
        self.credit = credit
        self.made = 0
        self._seen: dict[Hashable, int] = {}

    def get(self, key: Hashable, *, first_time: int = 0) -> Plan | None:
        """Return the plan for a kind of arguments; None if recording does not pay.

        ``first_time``: how often such arguments must have come before they are worth a recording.
        """
        plan = self._plans.get(key)
        if plan is not None and plan.holds():
            self.credit = min(KEPT, self.credit + PAID)
            return plan
        if plan is None and first_time:
            seen = self._seen[key] = self._seen.pop(key, 0) + 1
            if len(self._seen) > 8 * KEPT:
                del self._seen[next(iter(self._seen))]
            if seen <= first_time:
                return None
        if self.credit < 1:
            return None
        self.credit -= 1
        self.made += 1
        if plan is None:
            if len(self._plans) >= KEPT:
                del self._plans[next(iter(self._plans))]
            plan = self._plans[key] = Plan()
        return plan

    def forget(self, key: Hashable) -> None:
        """Drop a plan that could not be recorded."""
        self._plans.pop(key, None)

    def reason(self) -> str:
        """Say why the function runs eagerly when there is no credit left."""
        return (
            f"it was recorded {self.made} times, for other shapes, plain values, layers or "
            "attributes, and hardly ever replayed"
        )


def rehearsed(call: Call) -> Tracer:
    """Run a rehearsal. If it fails, everything is as it was, generators of layers included."""
    tracer = Tracer()
    try:
        with tracer.listening():
            tracer.finish(call(tracer))
    except BaseException as error:
        tracer.close()
        tracer.guards.undo_draws()
        if isinstance(error, NotReplayable) or not isinstance(error, Exception):
            raise
        raise Unrecorded(f"{type(error).__name__} while it was recorded: {error}") from error
    tracer.close()
    return tracer


def run(
    plan: Plan, call: Call, again: Callable[[], Any], arrays: Sequence[np.ndarray], verify: bool
) -> Any:
    """Replay a plan; record it first if it does not hold. ``again`` runs the function eagerly."""
    draws, check = None, None
    if not plan.holds():
        draws = plan.record(call)
        check = plan.tracer if verify else None
    elif verify and not plan.runs & (plan.runs + 1):  # calls 1, 2, 4, 8, ...
        check = plan.verify(call, "compile")
        draws = check.draws
    plan.runs += 1
    program, states = plan.program(), plan.states()
    program.draws = draws
    try:
        with quiet():
            result = program.run(arrays)
    except NotFinite:
        for generator, state in states:
            generator.bit_generator.state = state
        if draws is not None and plan.tracer is not None:
            (check or plan.tracer).guards.undo_draws()
        return again()
    if check is not None:
        gradients = [leaf._grad for leaf, ref in plan.recording.gradients if ref is not None]
        compare("compile", [*map(np.asarray, _arrays(plan.recording, result)), *gradients], check)
    return result


def _arrays(recording: Recording, result: Any) -> list[Any]:
    leaves = zip(tree_leaves(recording.result), tree_leaves(result), strict=True)
    return [
        value._data if leaf.kind == "tensor" else value
        for leaf, value in leaves
        if isinstance(leaf, Returned)
    ]


def compare(owner: str, found: Sequence[Any], rehearsal: Tracer) -> None:
    """Raise ReplayMismatch if results or gradients are not those of the rehearsal."""
    for got, expected in zip(found, rehearsal.outcome, strict=True):
        if got.dtype.kind != "f" or not got.size:
            continue
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=0)
        near = 20 * np.sqrt(np.finfo(got.dtype).eps) * (scale + np.finfo(got.dtype).tiny)
        if not np.allclose(got, expected, rtol=0, atol=near, equal_nan=True):
            raise ReplayMismatch(
                f"{owner}: a replayed call gave other numbers than the same call run eagerly: "
                f"{np.ravel(got)[:3]} for {np.ravel(expected)[:3]}. An operation of your own may "
                "keep or read something that changes; do not compile it."
            )


# ---------------------------------------------------------------- are two recordings the same?


def difference(old: Recording, new: Recording) -> str | None:
    """Say why two recordings of one function are not the same program; None if they are."""
    for mine, theirs in zip(old.steps, new.steps, strict=False):
        found = _between(mine, theirs)
        if found is not None:
            return found
    if len(old.steps) != len(new.steps):
        return f"it ran {len(old.steps)} operations at one call and {len(new.steps)} at another"
    if old.sources.keys() != new.sources.keys():
        return "its operations took other arrays at one call than at another"
    for index, source in old.sources.items():
        other = new.sources[index]
        if source.kind != other.kind or old.specs[index] != new.specs[index]:
            return "its operations took other arrays at one call than at another"
        if source.kind == "constant" and not _same(source.value, other.value):
            return (
                f"an array of shape {source.value.shape} that it made with NumPy was another at "
                "the next call"
            )
        if source.kind in ("leaf", "gradient") and source.value is not other.value:
            return "it computed on other Tensors at one call than at another"
    if [ref for _, ref in old.gradients] != [ref for _, ref in new.gradients]:
        return "it left other gradients at one call than at another"
    if not _same(old.result, new.result):
        return "it returned other plain values at one call than at another"
    return None


def _between(mine: Any, theirs: Any) -> str | None:
    """Say how two steps differ."""
    names = [getattr(getattr(s, "op", None), "__name__", type(s).__name__) for s in (mine, theirs)]
    if type(mine) is not type(theirs) or names[0] != names[1]:
        return f"it ran {names[0]} at one call where it ran {names[1]} at another"
    if isinstance(mine, Step):
        if mine.op is not theirs.op or mine.result != theirs.result:
            return f"it ran {names[0]} at one call where it ran another operation at another"
        if not (_same(mine.args, theirs.args) and _same(mine.params, theirs.params)):
            return f"{names[0]} was given other plain values at one call than at another"
    if isinstance(mine, Assign) and (mine.leaf is not theirs.leaf or mine.value != theirs.value):
        return "it gave other Tensors new data at one call than at another"
    if isinstance(mine, Check) and not _same(mine.args, theirs.args):
        return "it checked other arrays at one call than at another"
    if isinstance(mine, Update) and mine.gradients != theirs.gradients:
        return "an optimizer got other gradients at one call than at another"
    return None


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        same = type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
        return same and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
    if isinstance(a, (tuple, list)) and type(a) is type(b):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    return type(a) is type(b) and bool(a == b)
