"""Memory for arrays, used again when nobody reads what was there."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any


class Buffers:
    """Places by the number of the array that lives there; free ones by what fits there."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[Any, Any, set[int]]] = {}  # place, what fits, who lives there
        self._free: dict[Any, list[Any]] = defaultdict(list)

    def take(self, index: int, fitting: Any, make: Callable[[], Any]) -> Any:
        """Return a place for an array: a free one for what is ``fitting``, or a new one."""
        place = self._free[fitting].pop() if self._free[fitting] else make()
        self._of[index] = place, fitting, {index}
        return place

    def share(self, index: int, other: int) -> None:
        """Let an array live where another one does, as a view of it."""
        if other in self._of:
            self._of[index] = self._of[other]
            self._of[index][2].add(index)

    def alone(self, index: int) -> bool:
        """Tell whether nothing else lives where an array does, so that it may be overwritten."""
        return index in self._of and self._of[index][2] == {index}

    def release(self, index: int) -> None:
        """Note that an array is not read any more."""
        if index in self._of:
            place, fitting, living = self._of.pop(index)
            living.discard(index)
            if not living:
                self._free[fitting].append(place)
