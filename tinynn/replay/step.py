"""fit's training step from recordings: each chunk of a batch replayed, the gradients added up.

A loss that is a mean over samples is the mean of its chunks' losses, weighted by their sizes, and
so are its gradients. Only a loss and a model that are known to be so are cut in chunks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from operator import is_
from typing import Any

import numpy as np

from tinynn._trees import PLAIN
from tinynn.autodiff.graph import gradients
from tinynn.autodiff.listening import heard_by, listener
from tinynn.autodiff.transforms import differentiating
from tinynn.nn.layer import Layer
from tinynn.nn.sharing import mixing_layers, over_samples
from tinynn.replay.planning import NotFinite
from tinynn.replay.plans import (
    Plan,
    Plans,
    Repeating,
    ReplayMismatch,
    Unrecorded,
    kept_with,
    rehearsed,
)
from tinynn.replay.program import Program
from tinynn.replay.purity import is_own, known_function, trusted, unknown_part
from tinynn.replay.tracing import NotReplayable, Tracer
from tinynn.training import threads
from tinynn.training.steps import Outcome, plain, scalar, weighed

CHUNK_BYTES = 2**20  # of the largest array of a chunk: a few fit a cache, and two pay a thread
SAMPLE = 8  # part of a batch from which is learnt how large its arrays are
HUGE = 2**24  # bytes of a batch that is not cut: a first step alone does not pay a recording
RECORDINGS = 8.0  # that may be made before any has paid: batches of a few sizes, some changes
SELDOM = 20  # steps of an epoch, below which not every epoch is verified

Given = tuple[np.ndarray, ...]  # x, y, and weights if there are any

# By id of the model: loss, parameters, their plans and sizes, whether batches were shared out.
_known: dict[int, list[Any]] = {}


def _nothing() -> list[Any]:
    return [None, [], Plans("fit", RECORDINGS), {}, None]


def training_step(
    model: Layer, loss: Callable[..., Any], optimizer: Any, eager_step: Any, *, compile: Any,
    chunk: Any, threads: int | None,
) -> Any:  # fmt: skip
    """Return a step for fit: replayed, or ``eager_step`` with the reason in its ``eager``."""
    reason = "compile=False" if compile is False else None
    if listener.get() is not None:
        reason = "each operation is looked at, as by tinynn.debug and tinynn.profile"
    elif compile == "auto":
        reason = unknown_part(model, loss)
    if reason is not None:
        eager_step.eager = reason
        return eager_step
    return ReplayedStep(eager_step, compile is True, chunk, threads)


class ReplayedStep:
    """A step from recordings; it returns the loss before it, and the prediction if it is kept.

    ``eager``: None, or why steps run eagerly now. The optimizer's own ``zero_grad`` and ``step``
    are called each time, whatever they have become.
    """

    def __init__(self, eager_step: Any, by_word: bool, chunk: Any, threads: int | None) -> None:
        e = self.eager_step = eager_step
        self.model, self.loss, self.optimizer, self.group = e.model, e.loss, e.optimizer, e.group
        self.keep, self.by_word, self.threads = e.keep, by_word, threads
        self.eager: str | None = None
        self._known = kept_with(self.model, _known, _nothing)
        self._look_up()
        self.over_samples = _over_samples(self.model, self.loss)
        self.chunk = None if self.over_samples is None else chunk
        self._pool: Any = None
        self._steps = self._verified = self._epochs = 0
        self._verify = self._alone = False
        self._ready: dict[Any, list[Plan]] = {}  # by shapes: plans that hold until the epoch ends

    def _look_up(self) -> None:
        """Go on with the plans of an earlier fit, if they are for this loss and these parameters.

        The parameters decide what is differentiated, also by a loss that takes gradients itself.
        """
        loss, held, plans, _, shared = self._known
        same, parameters = _same_loss(loss, self.loss), self.optimizer.parameters
        same = same and shared == (not self.group.alone)
        if not same or len(held) != len(parameters) or not all(map(is_, held, parameters)):
            plans = Plans("fit", plans.credit if same else RECORDINGS)
            self._known[:] = self.loss, list(parameters), plans, {}, not self.group.alone
        self.plans: Plans = self._known[2]
        self._sizes: dict[Any, int] = self._known[3]  # by shapes: samples a piece

    def state_dict(self) -> dict[str, Any]:
        """Return what decides whether later steps are replayed: these round in another way."""
        kinds = [
            [keep, [list(shape) for shape, _ in arrays], [dtype.str for _, dtype in arrays]]
            for keep, *arrays in self.plans.kinds()
        ]
        return {"eager": self.eager, "credit": self.plans.credit, "kinds": kinds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        if state:
            self.eager = state["eager"]
            kinds = [
                (keep, *zip(map(tuple, shapes), map(np.dtype, dtypes), strict=True))
                for keep, shapes, dtypes in state["kinds"]
            ]
            self.plans.go_on(state["credit"], kinds)

    def begin_epoch(self, *, alone: bool) -> None:
        """Have the next step verified, if somebody's word is relied on.

        ``alone``: whether no code but tinynn's runs between the steps of this epoch.
        """
        self._epochs += 1
        often = self._steps - self._verified >= SELDOM or not self._epochs & (self._epochs - 1)
        self._verify = often and self._on_a_word()
        self._alone = alone and _is_ours(self.optimizer)
        self._ready.clear()

    def close(self) -> None:
        """Let the threads go."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __call__(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> Outcome:
        """Take a step, unless the loss is not finite."""
        self.optimizer.zero_grad()
        given = (x, y) if weight is None else (x, y, weight)
        if listener.get() is not None:  # who listens to each operation hears none of a replay
            return self.eager_step.go_on(*given)
        key = self._key(given)
        plans = self._ready.get(key)
        if plans is not None:
            self.plans.replayed()
        elif self.eager is None:
            try:
                plans = self._prepared(given)
            except ReplayMismatch:
                raise
            except (NotReplayable, Unrecorded) as error:
                self.eager = str(error).removeprefix("compile: ")
                self._ready.clear()
        if plans is None:
            return self.eager_step.go_on(*given)
        if self._alone:  # nobody else's code is run before the epoch ends
            self._ready[key] = plans
        pieces = self._pieces(given, key)
        self._steps += 1
        if len(plans) > 1:
            for plan in reversed(plans):
                plan.forget_rehearsal()  # pieces draw one after the other
        plans[0].begin()
        try:
            number, total, kept = self._computed(plans, pieces, len(x))
        except NotFinite:
            self._ready.clear()
            if self.group.coupled:  # the others do not compute it again
                return self.group.sum(self.optimizer.parameters, math.nan), None
            with heard_by(Repeating(plans[0].program().drawn if len(plans) == 1 else [])):
                return self.eager_step.go_on(*given)
        if math.isfinite(number):
            _leave(plans[0].order or [], total)
        number = self.group.sum(self.optimizer.parameters, number)
        if math.isfinite(number):
            self.optimizer.step()
        return number, kept

    # ------------------------------------------------------------ recording

    def _key(self, given: Given) -> Any:
        return self.keep, *[(array.shape, array.dtype) for array in given]

    def _pieces(self, given: Given, key: Any) -> list[Given]:
        size, samples = self._piece_size(given, key), len(given[0])
        if size >= samples:
            return [given]
        return [tuple([a[i : i + size] for a in given]) for i in range(0, samples, size)]

    def _prepared(self, given: Given) -> list[Plan] | None:
        """Return a plan, which holds, for each piece of a batch; None if this step is eager."""
        self._look_up()
        key = self._key(given)
        pieces, plans = self._pieces(given, key), list[Plan]()
        large = len(pieces) == 1 and given[0].nbytes >= HUGE
        if large and self.group.alone and self.plans.postpone(key):
            return None
        for piece in pieces:
            call = partial(self._call, piece=piece)
            plan = self.plans.get(self._key(piece), call, word=self._on_a_word, order=True)
            if plan is None:
                raise NotReplayable(self.plans.reason())
            if plan.draws and len(pieces) > 1 and self.chunk == "auto":
                plan.forget_rehearsal()  # a layer has come that draws for whole batches
                self._sizes[key] = len(given[0])
                return self._prepared(given)
            plans.append(plan)
        if self._verify:
            self._verify, self._verified = False, self._steps
            if plans[0].runs:
                plans[0].verify(partial(self._call, piece=pieces[0]), "fit")
        return plans

    def _on_a_word(self) -> bool:
        return not trusted(self.model, self.loss)

    def _call(self, tracer: Tracer, piece: Given) -> Any:
        """Compute loss and gradients of a piece, under a tracer; return the loss, what is kept."""
        if self._steps:  # a callback may have changed a part
            reason = None if self.by_word else unknown_part(self.model, self.loss)
            over = _over_samples(self.model, self.loss)
            if reason is None and self.chunk is not None and over != self.over_samples:
                reason = "the loss, or the model, is no longer known to be one over samples"
            if reason is not None:
                raise NotReplayable(reason)
        if isinstance(self.loss, partial):
            tracer.guards.value(self.loss, "the loss")
        arrays = [tracer.argument(i, array, as_tensor=i == 0) for i, array in enumerate(piece)]
        x, y, weight = arrays if len(arrays) == 3 else (*arrays, None)
        with differentiating(self.optimizer.parameters):
            prediction = self.model(x)
            value = scalar(weighed(self.loss, prediction, y, weight))
        for leaf, share in gradients("backward", value, None, None):
            tracer.leave_gradient(leaf, tracer.node(share))
        return (value.item(), plain(prediction)) if self.keep else value.item()

    def _piece_size(self, given: Given, key: Any) -> int:
        """Return how many samples of a batch to compute at a time; the same for equal shapes."""
        x = given[0]
        if self.chunk != "auto":
            return self.chunk or len(x)
        if key not in self._sizes:
            part = -(-len(x) // SAMPLE)
            piece = tuple([array[:part] for array in given])
            tracer = rehearsed(partial(self._call, piece=piece))
            tracer.guards.undo_draws()
            each = max(spec.nbytes for spec in tracer.recording.specs) / part
            fitting = max(1, round(CHUNK_BYTES / each))
            size = len(x)  # two unequal pieces gain nothing, and draws are those of whole batches
            if fitting * 2 <= len(x) and not tracer.draws:
                size = -(-len(x) // -(-len(x) // fitting))
            self._sizes[key] = size
        return self._sizes[key]

    # ------------------------------------------------------------ running

    def _computed(
        self, plans: list[Plan], pieces: list[Given], samples: int
    ) -> tuple[float, np.ndarray, np.ndarray | None]:
        """Return the loss of a batch, its gradients side by side, what is kept; all fresh."""
        workers, weights = 1, [1.0] * len(plans)
        if len(plans) > 1:
            if self.over_samples != "sum":
                weights = [len(piece[0]) / samples for piece in pieces]
            if not any(plan.draws for plan in plans):  # which are drawn in one order
                workers = min(self._workers(), len(plans))
        programs = [plan.program(i % workers) for i, plan in enumerate(plans)]
        whole = self.group.coupled
        if workers == 1:
            with self.group.meeting():  # for programs that are there: planning one meets nobody
                number, total, kept = _added(programs, pieces, weights, whole)
            return number, total, _joined(kept)
        if self._pool is None:
            self._pool = threads.pool(workers)
        tasks = [
            self._pool.submit(
                *(copy_context().run, _added, programs[i::workers], pieces[i::workers]),
                *(weights[i::workers], whole),
            )
            for i in range(workers)
        ]
        errors = [task.exception() for task in tasks]  # waits for all of them
        for error in filter(None, errors):
            raise error
        numbers, totals, parts = zip(*(task.result() for task in tasks), strict=True)
        kept = [parts[i % workers][i // workers] for i in range(len(pieces))]
        return math.fsum(numbers), np.add.reduce(totals, axis=0), _joined(kept)

    def _workers(self) -> int:
        if self.threads is not None:
            return self.threads
        if self.chunk != "auto":
            return 1  # pieces may be too small
        return max(1, threads.available() // self.group.near)


def _added(
    programs: Sequence[Program], pieces: Sequence[Given], weights: Sequence[float], whole: bool
) -> tuple[float, Any, list[Any]]:
    """Replay pieces one after another; return weighted sums of losses and gradients, what is kept.

    The sum of the gradients is a fresh array.
    """
    number, total, kept = 0.0, None, []
    for program, piece, weight in zip(programs, pieces, weights, strict=True):
        program.load(piece)
        program.execute(whole)
        result = program.result()
        loss, prediction = result if isinstance(result, tuple) else (result, None)
        number += weight * loss
        kept.append(prediction)
        gradient: Any = program.flat_gradient
        total = gradient * weight if total is None else np.add(total, gradient * weight, out=total)
    return number, total, kept


def _joined(kept: list[Any]) -> Any:
    return kept[0] if len(kept) == 1 or kept[0] is None else np.concatenate(kept)


def _leave(leaves: Sequence[Any], total: np.ndarray) -> None:
    """Add gradients, which lie side by side in an array that nobody else has, to the leaves'."""
    start = 0
    for leaf in leaves:
        data = leaf._data
        part = total[start : start + data.size].reshape(data.shape)
        if part.dtype != data.dtype:
            part = part.astype(data.dtype)
        start += data.size
        leaf._grad = part if leaf._grad is None else leaf._grad + part


def _is_ours(optimizer: Any) -> bool:
    """Tell whether no code runs in a step of an optimizer but tinynn's, or what is marked."""
    names = ("zero_grad", "step", "_step", "updated", "_updated")
    cls = type(optimizer)
    own = is_own(cls) and all(is_own(getattr(cls, name)) for name in names)
    own = own and vars(optimizer).keys().isdisjoint(names)
    return own and all(map(known_function, optimizer.schedules.values()))


def _same_loss(a: Any, b: Any) -> bool:
    """Tell whether two losses are one, or partials of one with equal plain options."""
    if a is b or not (type(a) is type(b) is partial and a.func is b.func):
        return a is b
    options = [[p.args, *p.keywords, *p.keywords.values(), *p.args] for p in (a, b)]
    plain = all(type(value) in PLAIN for values in options for value in values[1:])
    return plain and repr(options[0]) == repr(options[1])  # 1 is not True, and nan is nan


def _over_samples(model: Layer, loss: Any) -> str | None:
    """Return "mean" or "sum" if the loss of a batch is surely that of its samples' losses."""
    return None if next(mixing_layers(model), None) else over_samples(loss)
