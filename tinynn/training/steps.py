"""One training step for fit(): eager, or replayed, in chunks that fit the cache, on all cores.

The loss of a batch is a mean over its samples, so it is the mean of its chunks' losses, weighted
by their sizes, and so are its gradients. That the loss is such a mean is tried on the first batch.
"""

import math
import sys
from collections.abc import Callable
from contextvars import copy_context
from threading import Lock
from typing import Any

import numpy as np

from tinynn.autodiff import cores
from tinynn.autodiff.compile import KEPT, Plan
from tinynn.autodiff.graph import no_grad
from tinynn.autodiff.memory import parts_of, side_by_side
from tinynn.autodiff.ops import values
from tinynn.autodiff.record import NotReplayable
from tinynn.autodiff.replay import NotFinite, Program
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.layer import Layer
from tinynn.training.means import is_over_samples
from tinynn.training.optimizers import Optimizer

CHUNK_BYTES = 2**20  # of the largest array of a chunk: a few of them fit the cache of a core
WORTH_A_THREAD = 2**21  # bytes of that array for the whole batch, from which a thread pays
FIRST = 8  # pieces of the first batch, from which it is learnt how many samples fit
LARGE = 2**18  # bytes of a batch, from which on that is worth the care
ARGUMENTS = (tuple, (tuple, ("array",), ("array",)), (dict,))  # of a call f(x, y)
ONE_ARGUMENT = (tuple, (tuple, ("array",)), (dict,))  # of a call f(x)

Loss = Callable[[Any, Any], Tensor]


class EagerStep:
    """A step as a user would write it; ``step(x, y)`` returns the loss before it."""

    def __init__(self, model: Layer, loss: Loss, optimizer: Optimizer) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        """Take a step, unless the loss is not finite."""
        self.optimizer.zero_grad()
        value = self.loss(self.model(x), y)
        number = float(value.item())
        if math.isfinite(number):
            value.backward()
            self.optimizer.step()
        return number


class ReplayedStep:
    """The same step from recordings: each chunk of a batch replayed, the gradients added up.

    ``chunk``: samples in a piece, None for all, "auto" to choose; ``threads``: None to choose.
    Raises NotReplayable, before anything has changed, if the model or loss cannot be recorded.
    """

    def __init__(
        self, model: Layer, loss: Loss, optimizer: Optimizer, chunk: Any, threads: int | None
    ) -> None:
        self.eager = EagerStep(model, loss, optimizer)
        self.optimizer, self.threads = optimizer, threads
        self.chunk = chunk
        self._fitting: int | None = None  # samples that fit the cache, once that is known
        parameters = optimizer.parameters
        weights = [p._data for p in parameters]
        homes = side_by_side(weights)[1]
        self._homes = {id(p): home for p, home in zip(parameters, homes, strict=True)}
        self._total = np.zeros(sum(w.size for w in weights), weights[0].dtype)
        self._gradients = parts_of(self._total, weights)
        self._update = optimizer._bound(homes, self._gradients, range(len(parameters)))
        self._plans: dict[Any, Plan] = {}
        self._pool: Any = None
        self._sums: list[np.ndarray] = []
        self._tried = self._last_was_replayed = False
        self.largest = 0.0  # bytes of the largest array of a sample
        self.cores = 1  # that may be used without asking

    @staticmethod
    def possible(optimizer: Optimizer, model: Layer) -> bool:
        """Tell whether the parameters of both are the same, and of one dtype."""
        own = {id(p) for p in model.parameters()}
        return own == {id(p) for p in optimizer.parameters} and (
            len({p.dtype for p in optimizer.parameters}) == 1
        )

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        """Take a step, unless the loss is not finite; return the loss before it."""
        self._last_was_replayed = False
        pieces = self._pieces(x, y)
        plans = [self._plan(piece) for piece in pieces]
        in_order = any(plan.draws for plan in plans)  # what is drawn, is drawn in one order
        workers = 1 if in_order else min(self._workers(x), len(pieces))
        programs = [
            plan.program(list(piece), i % workers)
            for i, (plan, piece) in enumerate(zip(plans, pieces, strict=True))
        ]
        if any(program is None for program in programs):
            return self._record(pieces, plans, x, y)
        ready = [program for program in programs if program is not None]
        for program in ready:
            program.settle()
        weights = [len(piece[0]) / len(x) for piece in pieces]
        try:
            if workers == 1:
                number = self._run(ready, pieces, weights, self._total)
            else:
                number = self._run_on_threads(ready, pieces, weights, workers)
        except NotFinite:
            return self.eager(x, y)
        self._update()
        self._last_was_replayed = True
        return number

    # ------------------------------------------------------------ pieces

    def _pieces(self, x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        size = self._chunk(len(x))
        if size >= len(x) and self._fitting is not None:
            return [(x, y)]
        if self.chunk == "auto" and self._fitting is None and x.nbytes >= LARGE:
            size = -(-len(x) // FIRST)  # a recording keeps all arrays for a while
        return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]

    def _plan(self, piece: tuple[np.ndarray, np.ndarray]) -> Plan:
        x, y = piece
        key = x.shape, x.dtype, y.shape, y.dtype
        if key not in self._plans:
            if len(self._plans) >= KEPT:
                del self._plans[next(iter(self._plans))]
            self._plans[key] = Plan(self._forward_and_backward, self._homes)
        return self._plans[key]

    def _forward_and_backward(self, x: Any, y: Any) -> float:
        self.optimizer.zero_grad()
        value = self.eager.loss(self.eager.model(x), y)
        value.backward()
        return value.item()

    def _workers(self, x: np.ndarray) -> int:
        if self.threads is not None:
            return self.threads
        return self.cores if self.largest * len(x) >= WORTH_A_THREAD else 1

    # ------------------------------------------------------------ recording

    def _record(
        self,
        pieces: list[tuple[np.ndarray, np.ndarray]],
        plans: list[Plan],
        x: np.ndarray,
        y: np.ndarray,
    ) -> float:
        """Compute the step eagerly, and listen."""
        number = 0.0
        parameters = self.optimizer.parameters
        total = np.zeros_like(self._total)
        for piece, plan in zip(pieces, plans, strict=True):
            self.optimizer.zero_grad()
            weight = len(piece[0]) / len(x)
            number += weight * plan.record(list(piece), ARGUMENTS)
            for p, part in zip(parameters, parts_of(total, self._gradients), strict=True):
                if p.grad is None:
                    raise NotReplayable("fit: a parameter has no gradient")
                part += weight * p.grad
        if not math.isfinite(number):
            return number
        if len(pieces) > 1 and not self._tried and not any(plan.draws for plan in plans):
            self._try(number, x, y)
        for p, part in zip(parameters, parts_of(total, self._gradients), strict=True):
            p.grad = part
        self.optimizer.step()
        if self.chunk == "auto" and self._fitting is None:
            self._measure(plans[0], len(pieces[0][0]))
        return number

    def _chunk(self, batch: int) -> int:
        """Return how many samples of a batch to compute at a time."""
        if self.chunk != "auto":
            return self.chunk or batch
        if self._fitting is None or self._fitting * 2 > batch:  # two unequal pieces gain nothing
            return batch
        return -(-batch // -(-batch // self._fitting))

    def _measure(self, plan: Plan, samples: int) -> None:
        """Find out how many samples fit the cache, now that their arrays are known."""
        recording = plan.recording
        if recording is not None:
            whole = not is_over_samples(recording, samples)
            self.largest = max(array.nbytes for array in recording.arrays) / samples
            self._fitting = sys.maxsize if whole else max(1, round(CHUNK_BYTES / self.largest))

    def _try(self, number: float, x: np.ndarray, y: np.ndarray) -> None:
        """Compare the loss of a batch with that of its chunks."""
        with no_grad():
            whole = float(self.eager.loss(self.eager.model(x), y).item())
        if not math.isclose(whole, number, rel_tol=1e-4, abs_tol=1e-12):
            raise NotAMean(
                f"fit: the loss of a batch, {whole:.6g}, is not the mean of those of its chunks, "
                f"{number:.6g}, so it cannot be computed in chunks. Use chunk=None."
            )
        self._tried = True

    # ------------------------------------------------------------ running

    def _run(
        self,
        programs: list[Program],
        pieces: list[tuple[np.ndarray, np.ndarray]],
        weights: list[float],
        total: np.ndarray,
    ) -> float:
        """Replay pieces one after another; add up their gradients in ``total``."""
        number = 0.0
        for i, (program, piece, weight) in enumerate(zip(programs, pieces, weights, strict=True)):
            program.load(piece)
            program.execute()
            number += weight * program.result()
            if program.flat_gradient is not None and program.flat_gradient.size == total.size:
                if i == 0:
                    np.multiply(program.flat_gradient, weight, out=total)
                else:
                    total += weight * program.flat_gradient
                continue
            found = {id(leaf): g for leaf, g in program.gradients() if g is not None}
            parts = parts_of(total, self._gradients)
            for p, part in zip(self.optimizer.parameters, parts, strict=True):
                if i == 0:
                    np.multiply(found[id(p)], weight, out=part)
                else:
                    part += weight * found[id(p)]
        return number

    def _run_on_threads(
        self,
        programs: list[Program],
        pieces: list[tuple[np.ndarray, np.ndarray]],
        weights: list[float],
        workers: int,
    ) -> float:
        """Replay every workers-th piece on a thread; add up in one order, whoever is first."""
        if self._pool is None:
            self._pool = cores.pool(workers)
            self._sums = [np.zeros_like(self._total) for _ in range(workers)]
        tasks = [
            self._pool.submit(
                copy_context().run,
                self._run,
                programs[i::workers],
                pieces[i::workers],
                weights[i::workers],
                total,
            )
            for i, total in enumerate(self._sums[:workers])
        ]
        errors = [task.exception() for task in tasks]  # waits for all of them
        for error in filter(None, errors):
            raise error
        numbers = [task.result() for task in tasks]
        np.add.reduce(self._sums[:workers], axis=0, out=self._total)
        return math.fsum(numbers)

    def doubt(self) -> None:
        """Have the next step of each shape recorded and compared once more."""
        for plan in self._plans.values():
            plan.doubt()

    def finish(self) -> None:
        """Leave the parameters' gradients as the last step had them."""
        if self._last_was_replayed:
            for p, gradient in zip(self.optimizer.parameters, self._gradients, strict=True):
                p.grad = gradient

    def close(self) -> None:
        """Let the threads go."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


class Forward:
    """A model's output for plain arrays: replayed from the third time on that a shape comes.

    ``worker``: which of several threads asks; each has a program of its own.
    """

    def __init__(self, model: Layer) -> None:
        self.model = model
        self._plans: dict[Any, Plan] | None = {}
        self._lock = Lock()

    def __call__(self, x: np.ndarray, worker: int = 0) -> np.ndarray:
        """Return the output, in a fresh array."""
        x = np.asarray(x)
        with self._lock:
            program = self._program(x, worker)
            if program is None:
                return self._recorded(x)
        try:
            program.run([x])
        except NotFinite:
            return self._eager(x)
        return program.result()

    def _program(self, x: np.ndarray, worker: int) -> Program | None:
        if self._plans is None:
            return None
        key = x.shape, x.dtype
        if key not in self._plans:
            if len(self._plans) >= KEPT:
                del self._plans[next(iter(self._plans))]
            self._plans[key] = Plan(self._values)
        return self._plans[key].program([x], worker)

    def _recorded(self, x: np.ndarray) -> np.ndarray:
        if self._plans is not None:
            try:
                return self._plans[x.shape, x.dtype].record([x], ONE_ARGUMENT)
            except NotReplayable:
                self._plans = None
        return self._eager(x)

    def _values(self, x: Any) -> Any:
        y = self.model(x)
        return y.data if isinstance(y, Tensor) else y

    def _eager(self, x: np.ndarray) -> np.ndarray:
        return np.array(values(self.model(x)))


class NotAMean(ValueError):
    """A loss is not a mean over the samples, so a batch cannot be computed in chunks."""
