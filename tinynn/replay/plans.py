"""Recordings of one function by the kind of its arguments: made, verified, replayed, let go."""

import threading
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import numpy as np

from tinynn._trees import tree_leaves
from tinynn.autodiff.graph import Node
from tinynn.autodiff.listening import heard_by
from tinynn.autodiff.primitive import values
from tinynn.replay.planning import NotFinite
from tinynn.replay.program import Program
from tinynn.replay.recording import Recording, Returned
from tinynn.replay.tracing import NotReplayable, Tracer, place

KEPT = 8  # recordings of one function; the oldest is dropped
CREDIT = 3.0  # recordings that may be made before any has paid
PAID = 0.05  # of a recording, by each replay: one costs about ten eager calls

T = TypeVar("T")
Call = Callable[[Tracer], Any]  # the function, on the Tensors that the tracer makes of arguments


class ReplayMismatch(NotReplayable):
    """A replayed call, repeated eagerly, gave something else: the function is not pure."""


class Unrecorded(Exception):
    """A rehearsal failed: by the function's own fault, or because its data were Tensors."""


def rehearsed(call: Call, draws: Sequence[np.ndarray] | None = None) -> Tracer:
    """Run a rehearsal. If it fails, everything is as it was, generators of layers included.

    With ``draws``, of an earlier one, the call gets arrays as arrays, and these draws.
    """
    tracer = Tracer(draws)
    try:
        with heard_by(tracer):
            tracer.finish(call(tracer))
    except BaseException as error:
        tracer.guards.undo_draws()
        if isinstance(error, NotReplayable) or not isinstance(error, Exception):
            raise
        what = f"{type(error).__name__} while it was recorded"
        raise Unrecorded(f"{what}{place(error)}: {error}") from error
    finally:
        tracer.close()
    return tracer


class Repeating:
    """A listener by which all is done as it is written, with draws that were made before."""

    def __init__(self, draws: Sequence[np.ndarray]) -> None:
        self._draws = iter(draws)

    def operation(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Compute."""
        return op.apply(args, params)

    def effect(self, verb: str, plain: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Do it, but draw nothing anew."""
        again = next(self._draws, None) if verb == "fresh" else None
        return plain(*args) if again is None else again.copy()


class Plan:
    """One recording, and the programs that replay it: one for each thread.

    ``order``: leaves whose gradients the programs compute side by side (see :class:`Program`).
    """

    def __init__(self, tracer: Tracer, order: list[Any] | None) -> None:
        self.recording, self.guards = tracer.recording, tracer.guards
        self.order, self.draws = order, bool(tracer.draws)
        self.programs: dict[int, Program] = {}
        self.runs = 0
        self.rehearsal: Tracer | None = tracer  # of the next replay, with what was drawn in it

    def verify(self, call: Call, owner: str) -> None:
        """Rehearse ``call`` again; raise ReplayMismatch if it is not what was recorded."""
        again = rehearsed(call)
        _demand_same(self.recording, again, owner)
        self.rehearsal = again

    def program(self, worker: int = 0) -> Program:
        """Return the program of a worker."""
        if worker not in self.programs:
            self.programs[worker] = Program(self.recording, order=self.order)
        return self.programs[worker]

    def begin(self) -> Tracer | None:
        """Prepare the next replay, by the first worker; return its rehearsal, if there was one."""
        self.runs += 1
        rehearsal, self.rehearsal = self.rehearsal, None
        if self.draws:
            self.program().draws = None if rehearsal is None else rehearsal.draws
        return rehearsal

    def forget_rehearsal(self) -> None:
        """Have the next replay draw for itself."""
        if self.rehearsal is not None:
            self.rehearsal.guards.undo_draws()
            self.rehearsal = None

    def replay(
        self, arrays: Sequence[np.ndarray], again: Callable[[], Any], compare: bool = False
    ) -> Any:
        """Replay on arrays; where that may be wrong, return ``again()``, the eager call."""
        rehearsal = self.begin()
        try:
            result = self.program().run(arrays)
        except NotFinite:
            with heard_by(Repeating(self.program().drawn)):
                return again()
        if rehearsal is not None and compare:
            leaves = zip(tree_leaves(self.recording.result), tree_leaves(result), strict=True)
            found = [values(value) for leaf, value in leaves if isinstance(leaf, Returned)]
            left = [leaf._grad for leaf, ref in self.recording.gradients if ref is not None]
            there = rehearsal.outcome
            # A gradient may be rounding alone: that of a bias that a BatchNorm takes away again.
            floor = 100 * max((np.finfo(g.dtype).eps * _largest(g) for g in left), default=0)
            same = map(_near, found + left, there, [0] * len(found) + [floor] * len(left))
            if not all(same):
                raise ReplayMismatch(
                    "compile: a replayed call gave other numbers than the same call run eagerly. "
                    "An operation of your own may keep or read something that changes; do not "
                    "compile it."
                )
        return result


class Plans:
    """The plans of one function, by the kind of arguments.

    ``owner``: in whose name errors are raised; ``credit``: how many recordings may be made before
    replays have paid for some.
    """

    def __init__(self, owner: str, credit: float = CREDIT) -> None:
        self.owner, self.credit, self.made = owner, credit, 0
        self._plans: dict[Hashable, Plan | None] = {}  # None: to be made again, and paid for
        self._seen: dict[Hashable, int] = {}
        self._changed = "other shapes or plain values"  # why the last recording was made
        self.lock = threading.RLock()

    def get(
        self, key: Hashable, call: Call, *, word: Callable[[], bool], verify: bool = False,
        after: int = 0, order: bool = False,
    ) -> Plan | None:  # fmt: skip
        """Return the plan for a kind of arguments, which holds; None if recording does not pay.

        ``call`` is rehearsed where there is none yet, but only once such arguments have come
        ``after`` times before; with ``verify`` also at replays 2, 4, 8, ... and compared. If
        ``word()``, if somebody has given a word, it is rehearsed on arrays, too, for it may ask
        what it is given. ``order``: whether gradients are computed side by side.
        """
        plan, known = self._plans.get(key), key in self._plans
        if plan is not None and plan.guards.hold():
            self.replayed(verify)
            if verify and plan.runs and not plan.runs & (plan.runs + 1):
                plan.verify(call, self.owner)
            return plan
        if not known and self._count(key) <= after:
            return None
        if plan is not None:
            self._plans.pop(key)
            self._changed = plan.guards.changed() or self._changed
        paid = known and plan is None
        if paid:
            self.replayed()
        elif self.credit < 1:
            return None
        else:
            self.credit -= 1
            self.made += 1
        tracer = rehearsed(call)
        if word() and not _alike(tracer, rehearsed(call, tracer.draws)):
            _demand_same(tracer.recording, rehearsed(call), self.owner)
            raise ReplayMismatch(
                f"{self.owner}: a call on arrays did something else than one on Tensors. It may "
                "ask of what type its arguments are. Do not compile it, or take that out of it."
            )
        if len(self._plans) >= KEPT and not paid:
            del self._plans[next(iter(self._plans))]
        leaves = [leaf for leaf, _ in tracer.recording.gradients] if order else None
        plan = self._plans[key] = Plan(tracer, leaves)
        return plan

    def kinds(self) -> list[Any]:
        """Return the kinds of arguments of which there are recordings, in order."""
        return list(self._plans)

    def go_on(self, credit: float, kinds: Sequence[Hashable]) -> None:
        """Go on as other plans of the function, whose recordings are made again at no cost."""
        self.credit = credit
        self._plans = {kind: self._plans.get(kind) for kind in kinds}

    def replayed(self, verify: bool = False) -> None:
        """Earn credit, a quarter where recordings and some replays are verified."""
        self.credit = min(KEPT, self.credit + (PAID / 4 if verify else PAID))

    def postpone(self, key: Hashable) -> bool:
        """Tell whether arguments are of a new kind, to be recorded when they come again.

        The recording is paid for now, and the kind is one of :meth:`kinds` from now on.
        """
        new = key not in self._plans and self.credit >= 1 and len(self._plans) < KEPT
        if new:
            self.credit -= 1
            self.made += 1
            self._plans[key] = None
        return new

    def _count(self, key: Hashable) -> int:
        """Return how often a kind of arguments has come, this time included."""
        seen = self._seen[key] = self._seen.pop(key, 0) + 1
        if len(self._seen) > 8 * KEPT:
            del self._seen[next(iter(self._seen))]
        return seen

    def reason(self) -> str:
        """Say why the function runs eagerly when there is no credit left."""
        return (
            f"it was recorded {self.made} times, and hardly ever replayed: other shapes, plain "
            f"values, layers or attributes came, at last {self._changed}"
        )


def kept_with(model: Any, known: dict[int, T], make: Callable[[], T]) -> T:
    """Return what is kept for a model as long as it lives; made when it is first asked for."""
    key = id(model)  # a layer may define equality, and have no hash
    if key not in known:
        known[key] = make()
        weakref.finalize(model, known.pop, key, None)
    return known[key]


# ---------------------------------------------------------------- are two recordings the same?


def _demand_same(recording: Recording, again: Tracer, owner: str) -> None:
    """Raise ReplayMismatch, and say what differs, unless two rehearsals were the same."""
    found = difference(recording, again.recording)
    if found is not None:
        again.guards.undo_draws()
        raise ReplayMismatch(
            f"{owner}: a call repeated eagerly is not what was recorded: {found}. What changes "
            "must be an argument, a Tensor, or made by tinynn.fresh. Else do not compile it"
            f"{', and remove @tnn.pure' if owner != 'compile' else ''}."
        )


def difference(old: Recording, new: Recording) -> str | None:
    """Say why two recordings of one function are not the same program; None if they are."""
    for mine, theirs in zip(old.steps, new.steps, strict=False):
        (name, facts), (now, others) = _facts(mine), _facts(theirs)
        if name != now:
            return f"it ran {name} at one call where it ran {now} at another"
        if not _same(facts, others):
            return f"{name} was given other plain values or arrays at one call than at another"
    if len(old.steps) != len(new.steps):
        return f"it ran {len(old.steps)} operations at one call and {len(new.steps)} at another"
    for index, source in old.sources.items():
        other = new.sources.get(index)
        if other is None or source.kind != other.kind or old.specs[index] != new.specs[index]:
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


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def _near(got: np.ndarray, there: np.ndarray, floor: float = 0) -> bool:
    """Tell whether two arrays are the same to rounding, or differ by no more than ``floor``."""
    if got.dtype != there.dtype or got.shape != there.shape:
        return False
    if got.dtype.kind != "f":
        return bool(np.array_equal(got, there))
    info = np.finfo(got.dtype)
    near = max(floor, 20 * np.sqrt(info.eps) * max(_largest(there), info.tiny))
    return bool(np.allclose(got, there, rtol=0, atol=near, equal_nan=True))


def _alike(a: Tracer, b: Tracer) -> bool:
    """Tell whether two rehearsals, on Tensors and on arrays, came to the same."""
    results = [
        [getattr(leaf, "kind", leaf) for leaf in tree_leaves(t.recording.result)] for t in (a, b)
    ]
    arrays = [[*t.outcome, *t.assigned] for t in (a, b)]
    counts = len(arrays[0]) == len(arrays[1]) and _same(*results)
    return counts and all(map(_near, *arrays))


def _facts(step: Any) -> tuple[str, list[Any]]:
    """Return the name of a step, and what of it must be the same: not functions made anew."""
    name = getattr(step, "op", type(step)).__name__
    return name, [value for key, value in vars(step).items() if key not in ("check", "step")]


def _same(a: Any, b: Any) -> bool:
    if a is b or isinstance(a, Node) or isinstance(b, Node):
        return a is b
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        same = type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
        return same and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
    if isinstance(a, (tuple, list)) and type(a) is type(b):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return type(a) is type(b) and (bool(a == b) or (a != a and b != b))
