"""The ranks of a communicator as a group that trains: what training/together.py asks, answered.

Each computes its part of every batch. mpi4py itself is not imported: the communicator is enough.
"""

import os
import platform
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.normalization import BatchNorm
from tinynn.nn.observe import title
from tinynn.nn.sharing import mixing_layers, over_samples, sharing
from tinynn.training.data import Batch, Samples
from tinynn.training.groups import checked_parameters
from tinynn.training.nested import differences
from tinynn.training.resume import TOLD, settings
from tinynn.training.run import Run
from tinynn.training.together import Alone

METHODS = ("Allreduce", "Iallreduce", "allgather", "bcast", "gather", "Dup", "Is_inter", "Get_size")
GRACE = 2.0  # seconds in which all may raise, before one who has raised ends the job

T = TypeVar("T")


def sum_gradients(parameters: Iterable[Tensor], communicator: Any, weight: float) -> None:
    """Add up the gradients of all ranks, in a loop of your own between backward and step.

    All ranks hold the same parameters in the same order, and get the sum of weight times gradient.
    A rank without a gradient counts as zero; if none has one, there is none afterwards. BatchNorm
    has the statistics of its own rank in such a loop.

    Parameters
    ----------
    parameters : iterable of Tensor
        Such as ``model.parameters()``; their ``.grad`` is set.
    communicator : mpi4py.MPI.Intracomm
        Such as ``MPI.COMM_WORLD``.
    weight : float
        Of this rank, not negative. Of a loss that is a mean: its samples over those of all ranks.

    Raises
    ------
    TypeError, ValueError
        For what is no communicator, a null one, or one between two groups.
    """
    tensors = checked_parameters("sum_gradients", parameters, frozen=True)
    share = check.real("sum_gradients", "weight", weight, at_least=0)
    _summed(checked("sum_gradients", communicator), tensors, share)


def checked(owner: str, comm: Any) -> Any:
    """Return what is a communicator between the ranks of one group."""
    if isinstance(comm, type) or not all(callable(getattr(comm, m, None)) for m in METHODS):
        got = check.shown(comm)
        raise TypeError(
            f"{owner}: communicator must be one of mpi4py, such as MPI.COMM_WORLD, got {got}."
        )
    if not comm:
        raise ValueError(f"{owner}: communicator is MPI.COMM_NULL, which has no ranks.")
    if comm.Is_inter():
        raise ValueError(
            f"{owner}: communicator joins two groups of ranks. Make one of them: .Merge()."
        )
    return comm


def _summed(
    comm: Any, parameters: Sequence[Tensor], weight: float, told: Sequence[float] = (),
    mean: bool = False,
) -> Any:  # fmt: skip
    """Add up weighted gradients and what is told, at one go; return the sums of what is told.

    ``mean``: the first of these is what the gradients are divided by.
    """
    size = sum(p.size for p in parameters)
    dtype = np.result_type(*[p.dtype for p in parameters] or [np.dtype(float)], np.float32)
    ours = np.zeros(size + len(parameters) + len(told), dtype)
    ours[size:] = [*(p.grad is not None for p in parameters), *told]
    places = [
        slice(end - p.size, end)
        for p, end in zip(parameters, np.cumsum([p.size for p in parameters]), strict=True)
    ]
    for p, place in zip(parameters, places, strict=True):
        if p.grad is not None and weight:
            np.multiply(p.grad, weight, out=ours[place].reshape(p.shape), dtype=dtype)
    total = _added(comm, ours)
    there, sums = np.split(total[size:], [len(parameters)])
    if mean:
        total[:size] /= sums[0] or 1
    for p, place, any_has in zip(parameters, places, there, strict=True):
        if any_has:
            p.grad = total[place].reshape(p.shape).astype(p.dtype)
    return sums.tolist()


def _added(comm: Any, ours: Any) -> Any:
    total = np.empty(ours.shape, ours.dtype)
    comm.Allreduce(np.ascontiguousarray(ours), total)
    return total


def agreed(owner: str, comm: Any, f: Callable[[], T]) -> T:
    """Return ``f()``; if it raises on one rank, raise on all of them."""
    fault: Exception | None = None
    try:
        found = f()
    except Exception as error:
        fault = error
    told = comm.allgather(fault and f"{type(fault).__name__}: {fault}")
    if fault is not None:
        raise fault
    for rank, text in enumerate(told):
        if text is not None:
            raise RuntimeError(f"{owner}: rank {rank} has raised {text}")
    return found


def group(owner: str, communicator: Any) -> Alone:
    """Return the ranks of a communicator as a group to train with."""
    return Ranks(checked(owner, communicator))


class Ranks(Alone):
    """Answers what training asks, for the ranks of a communicator: rank 0 is the first of all."""

    def __init__(self, comm: Any) -> None:
        self.rank, self.size = self.part = comm.Get_rank(), comm.Get_size()
        self.alone, self.first = self.size == 1, self.rank == 0
        self._comm = comm
        here = platform.node(), sorted(getattr(os, "sched_getaffinity", lambda pid: ())(0))
        self.near = self._comm.allgather(here).count(here)
        self._spare: Batch | None = None
        self._samples = self._weight = self._count = 0
        self._heard, self._meeting = (False, False), False

    # ------------------------------------------------------------ before the first step

    def agreed(self, f: Callable[[], T]) -> T:
        """Return ``f()``; if it raises anywhere, so it does everywhere."""
        return agreed("fit", self._comm, f)

    def begin(self, run: Run) -> None:
        """Let all begin with rank 0's weights and draws; refuse ranks with other settings."""
        self.agreed(lambda: self._demand_parts(run))
        mine = settings(run) | {"epochs": run.epochs, "checkpoint": run.keeper is not None}
        del mine["callbacks"]
        lines = differences(mine, self._comm.bcast(mine))
        for rank, found in enumerate(self._comm.allgather(lines)):
            if found:
                told = "\n  ".join(found[:TOLD])
                raise ValueError(
                    f"fit: rank {rank} (there) was given something else than rank 0 (here):\n  "
                    f"{told}\nGive every rank the same; each takes its part of a batch by itself."
                )
        draws = {name: rng.bit_generator.state for name, rng in run.generators().items()}
        theirs = run.model.state_dict(), run.optimizer.state_dict(), draws
        weights, slots, draws = self._comm.bcast(theirs)
        if not self.first:
            run.model.load_state_dict(weights)
            run.optimizer.load_state_dict(slots)
            own = ("validation",) if isinstance(run.data, Samples) else ("validation", "data")
            draws = {name: s for name, s in draws.items() if not name.startswith(own)}
            run.restore({name: self._drawing(name, state) for name, state in draws.items()})
        run.watched = any(self._comm.allgather(run.watched))

    def _demand_parts(self, run: Run) -> None:
        """Refuse a loss or a model that is not known to be put together from parts of a batch."""
        self._mean = over_samples(run.loss) == "mean"
        if over_samples(run.loss) is None:
            raise ValueError(
                f"fit: with a communicator the loss must be known to be a mean over samples, but "
                f"{check.shown(run.loss)} is not. If it is one, mark it with "
                "@tinynn.losses.mean_over_samples; arrays among its options are not allowed."
            )
        for path, layer in mixing_layers(run.model):
            self.coupled = not self.alone
            if getattr(type(layer), "forward", None) is not BatchNorm.forward:
                raise ValueError(
                    f"fit: layer {title(path, layer)} may mix the samples of a batch, which the "
                    "ranks of a communicator share. If it does not, make it a class that says "
                    "per_sample = True and holds no functions."
                )

    def _drawing(self, name: str, state: Any) -> Any:
        """Return a state from which this rank draws, made of that of rank 0."""
        kind = getattr(np.random, state["bit_generator"], None)
        if self.first or kind is None or not name.startswith("model"):
            return state
        return kind([self.rank, zlib.crc32(repr((name, state)).encode())]).state

    # ------------------------------------------------------------ steps

    def share(self, batch: Batch) -> Batch:
        """Return our part of a batch; of an empty one, a sample that counts for nothing."""
        self._samples = len(batch[0])
        self._weight = self._samples if self._mean else min(self._samples, 1)
        if self._spare is None:
            x, y, weight = batch
            self._spare = _one(x), _one(y), None if weight is None else _one(weight)
        return batch if self._samples else self._spare

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """Compute with the others inside; outside, layers compute as if alone."""
        self._meeting = True
        try:
            yield
        finally:
            self._meeting = False

    def _over_batch(self, x: np.ndarray, weighed: bool) -> np.ndarray:
        """Add up sums over a batch, or the gradients of such, each of a loss of its own."""
        if not self._meeting:
            return x.copy()
        if not self._weight:  # not even a nan counts
            total = _added(self._comm, np.zeros_like(x))
            return np.zeros_like(x) if weighed else total
        if not weighed:
            return _added(self._comm, x)
        return _added(self._comm, x * self._weight) / self._weight

    def sum(self, parameters: Sequence[Tensor], number: float) -> float:
        """Add up gradients, each counting as its part of the batch; return the loss of all."""
        ours = self._weight and self._weight * number
        told = [self._samples, ours, self.interrupts.pressed, self.first and self.due()]
        told = _summed(self._comm, parameters, self._weight, told, self._mean)
        samples, total, *wishes = told
        if not samples:
            raise ValueError("fit: a batch holds no samples on any rank.")
        self._count, self._heard = round(samples), (wishes[0] > 0, wishes[1] > 0)
        return total / samples if self._mean else total

    def count(self, samples: int) -> int:
        """Return how many samples the last sum was over."""
        return self._count

    def whole(self, *arrays: Any) -> Iterable[Any]:
        """Return arrays of the whole batch, of which these are our part."""
        ours = [
            array[: self._samples] for array in arrays if self._samples
        ]  # a spare has its shape
        parts = filter(None, self._comm.allgather(ours))
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def heard(self) -> tuple[bool, bool]:
        """Tell whether anyone wanted to end, and rank 0 to keep the state, at the last sum."""
        return self._heard

    # ------------------------------------------------------------ epochs, and the end

    def first_of(self, value: T) -> T:
        """Return the value of the first rank that has one."""
        return next((v for v in self._comm.allgather(value) if v is not None), value)

    def from_first(self, value: T) -> T:
        """Return rank 0's value."""
        found: T = self._comm.bcast(value)
        return found

    def others(self, own: Any) -> list[Any]:
        """Return what the other ranks have of their own; on those, nothing."""
        return (self._comm.gather(own) or [])[1:]

    def own(self, state: Any) -> Any:
        """Return a state with what was ours; of another number of ranks, with draws of our own."""
        others = state.get("others", [])
        if not self.first and len(others) == self.size - 1:
            return state | others[self.rank - 1]
        draws = {name: self._drawing(name, s) for name, s in state["generators"].items()}
        return state | {"generators": draws}

    @contextmanager
    def together(self) -> Iterator[None]:
        """End the job, with the error, if one rank raises; if all do, each raises its own."""
        given = self._comm
        self._comm, failing = given.Dup(), given.Dup()
        token = sharing.set(None if self.alone else self._over_batch)
        try:
            yield
        except BaseException as error:
            if not _all_come(failing):
                print(f"fit: rank {self.rank} has failed, and ends all:", file=sys.stderr)
                traceback.print_exception(error)
                sys.stderr.flush()
                self._comm.Abort(1)
            raise
        finally:
            sharing.reset(token)
            self._comm.Free()
            failing.Free()
            self._comm = given


def _all_come(comm: Any) -> bool:
    """Tell whether every rank comes here, too, and soon."""
    request = comm.Iallreduce(np.ones(1), np.empty(1))
    end = time.monotonic() + GRACE
    while not request.Test():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _one(array: np.ndarray) -> np.ndarray:
    return array[:1].copy() if len(array) else np.zeros((1, *array.shape[1:]), array.dtype)
