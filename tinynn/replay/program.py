"""A program: what a recording does, as calls on fixed arrays; running it is a loop over a list."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn._trees import tree_map
from tinynn.autodiff.graph import EXPOSED
from tinynn.autodiff.tensor import Tensor
from tinynn.replay.lowering import lower
from tinynn.replay.planning import NotFinite, Plan, fill
from tinynn.replay.recording import Recording, Ref, Returned, Update
from tinynn.replay.speculation import read_at_the_end

__all__ = ["NotFinite", "Program", "quiet"]


def quiet() -> np.errstate:
    """Silence NumPy where it would warn, for results that are checked as a whole."""
    warned = {kind: "ignore" for kind, action in np.geterr().items() if action == "warn"}
    return np.errstate(**warned)  # type: ignore[arg-type]


class Program:
    """A recording bound to memory of its own. Not for two threads at once.

    ``order``: leaves whose final gradients are computed side by side into ``flat_gradient``, in
    their order, and not set on the leaves. A leaf without gradient has zeros there. The dtype is
    that of the leaves, the widest if they differ.

    ``draws``: arrays that the next execution uses in place of drawing, once; ``drawn``: those that
    the last one has used; ``light``: whether
    no product is worth several threads.
    """

    def __init__(self, recording: Recording, *, order: Sequence[Any] | None = None) -> None:
        lowered = lower(recording)
        plan = Plan(lowered, order)
        self.calls, self.late = plan.calls, plan.late
        self.flat_gradient = plan.flat_gradient if order is not None else None
        self.light = plan.light
        self.draws: list[np.ndarray] | None = None
        self.drawn: list[np.ndarray] = []
        self._lock = threading.RLock()
        self._sources = plan.sources
        self._leaves = [[leaf, array, None] for leaf, array in plan.sources["leaf"]]
        self.padded = plan.layout.every
        self._result = lowered.result
        self._arrays = {ref: plan.arrays[ref.index] for ref in read_at_the_end(lowered)}
        self._left = [] if order is not None else _left(lowered)

    def run(self, arguments: Sequence[np.ndarray]) -> Any:
        """Do what the recorded call did, for other arguments of the same shapes and dtypes.

        Returns its result, in fresh arrays, and sets the gradients that it left. Raises NotFinite
        before anything has been changed, if the call has to be run eagerly.
        """
        with self._lock:  # two predictions of one model, for instance
            self.load(arguments)
            self.refresh()
            self.execute()
            for leaf, ref in self._left:
                leaf._grad = None if ref is None else self._arrays[ref].copy()
            return self.result()

    def load(self, arguments: Sequence[np.ndarray]) -> None:
        """Take over the arguments."""
        for place, array in self._sources["argument"]:
            np.copyto(array, arguments[place])

    def refresh(self) -> None:
        """Take over the data of leaves that changed since, and gradients from before the call."""
        for entry in self._leaves:
            leaf, array, last = entry
            if leaf._data is not last or leaf._ownership is EXPOSED:
                np.copyto(array, leaf._data)
                entry[2] = leaf._data
        for leaf, array in self._sources["gradient"]:
            np.copyto(array, leaf._grad)

    def execute(self) -> None:
        """Make the calls, on the arguments and leaves as they were taken over."""
        calls = self.calls
        try:
            with quiet():
                self._draw()
                for function, args in calls:
                    function(*args)
                calls = self.late
                for function, args in calls:
                    function(*args)
        except BaseException as error:
            for batch in self.padded:  # a product may have filled the gaps
                batch.empty_gaps()
            if calls is self.calls and isinstance(error, FloatingPointError):
                raise NotFinite("compile: NumPy raised it where eager code may not.") from error
            if calls is self.late and isinstance(error, NotFinite):
                raise RuntimeError(str(error)) from None  # too late to run it again
            raise

    def _draw(self) -> None:
        draws, self.draws, self.drawn = self.draws, None, []
        for i, (make, array) in enumerate(self._sources["draw"]):
            self.drawn.append(np.asarray(make() if draws is None else draws[i]))
            fill(array, self.drawn[-1], "a draw")

    def result(self) -> Any:
        """Return what the call returned, in fresh arrays."""
        return tree_map(self._handed_out, self._result)

    def _handed_out(self, x: Any) -> Any:
        if not isinstance(x, Returned):
            return x
        array = self._arrays[x.ref]
        if x.kind == "number":
            return array.item()
        if x.kind == "tensor":
            return Tensor._result(array.copy(), None)
        return array.copy() if array.ndim else array[()]  # a NumPy scalar, as of eager code


def _left(lowered: Recording) -> list[tuple[Any, Ref | None]]:
    """Return the gradients to be set at the end: but not those with which an optimizer stepped."""
    set_before: dict[int, Ref | None] = {}
    for part in lowered.steps:
        if isinstance(part, Update):
            set_before |= zip(map(id, part.parameters), part.gradients, strict=True)
    missing = object()
    return [
        (leaf, ref) for leaf, ref in lowered.gradients if set_before.get(id(leaf), missing) != ref
    ]
