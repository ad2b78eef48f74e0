"""Who trains with us: here nobody. tinynn.distributed answers the same questions for several."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from tinynn.autodiff.tensor import Tensor
from tinynn.training.interrupts import Interrupts

if TYPE_CHECKING:
    from tinynn.training.data import Batch
    from tinynn.training.run import Run

T = TypeVar("T")
AS_EVER = nullcontext()


class Alone:
    """A group of one, which has nobody to ask.

    ``first``: whether this one writes and draws; ``part``: which of how many; ``near``: how many
    share our cores; ``coupled``: whether computing a step takes the others. ``interrupts`` and
    ``due`` tell whether this one wants to end the training, and to keep its state.
    """

    alone, first, coupled = True, True, False
    part, near = (0, 1), 1
    interrupts: Interrupts

    @staticmethod
    def due() -> bool:
        """Tell whether it is time to keep the state; a checkpoint may tell it in its place."""
        return False

    def agreed(self, f: Callable[[], T]) -> T:
        """Return ``f()``; if it raises anywhere, so it does everywhere."""
        return f()

    def begin(self, run: "Run") -> None:
        """Let all begin with the same, or refuse to begin."""

    def demand_same(self, run: "Run") -> None:
        """Refuse to go on if callbacks have set one of us apart."""

    def together(self) -> AbstractContextManager[None]:
        """Return a context in which nobody is left waiting for one who has failed."""
        return AS_EVER

    def meeting(self) -> AbstractContextManager[None]:
        """Return a context in which all compute the same step."""
        return AS_EVER

    def share(self, batch: "Batch") -> "Batch":
        """Return our part of a batch as it can be computed with."""
        return batch

    def sum(self, parameters: Sequence[Tensor], number: float) -> float:
        """Add up gradients, each counting as its part of the batch; return the loss of all."""
        return number

    def count(self, samples: int) -> int:
        """Return how many samples the last sum was over, of which so many are here."""
        return samples

    def whole(self, *arrays: Any) -> Iterable[Any]:
        """Return arrays of the whole batch, of which these are our part."""
        return arrays

    def heard(self) -> tuple[bool, bool]:
        """Tell whether anyone wants to end, and to keep the state, since the last sum."""
        return self.interrupts.pressed, self.due()

    def first_of(self, value: T) -> T:
        """Return the value of the first who has one."""
        return value

    def from_first(self, value: T) -> T:
        """Return the value of the first of all."""
        return value

    def others(self, own: Any) -> list[Any]:
        """Return what all but the first have of their own, for the one who writes."""
        return []

    def own(self, state: Any) -> Any:
        """Return a state with what is our own in it."""
        return state


def group_of(owner: str, communicator: Any) -> Alone:
    """Return the group that a communicator stands for."""
    if communicator is None:
        return Alone()
    from tinynn.distributed.ranks import group

    return group(owner, communicator)
