"""Mini-batches, shuffled by an explicit generator."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.primitive import as_array


class Batches:
    """An iterable of (x, y) pieces; each iteration shuffles anew. See :func:`batches`."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, size: int, rng: "np.random.Generator | None", drop: bool
    ) -> None:
        self._x, self._y, self._size, self._rng, self._drop = x, y, size, rng, drop

    def __len__(self) -> int:
        n = len(self._x)
        return n // self._size if self._drop else -(-n // self._size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = None if self._rng is None else self._rng.permutation(len(self._x))
        for i in range(len(self)):
            chosen = slice(i * self._size, (i + 1) * self._size)
            if order is None:
                yield self._x[chosen].copy(), self._y[chosen].copy()
            else:
                yield self._x[order[chosen]], self._y[order[chosen]]


def paired(owner: str, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets as arrays of equal, non-zero length."""
    xs, ys = (ops.values(as_array(owner, a)) for a in (x, y))
    for name, array in (("x", xs), ("y", ys)):
        if array.ndim == 0 or array.dtype.kind not in "fiub":
            raise TypeError(
                f"{owner}: {name} must be an array of numbers with samples along its first axis, "
                f"got shape {array.shape}, dtype {array.dtype}."
            )
    if len(xs) != len(ys):
        raise ValueError(
            f"{owner}: x and y must have the same number of samples, got {len(xs)} and {len(ys)} "
            f"(shapes {xs.shape} and {ys.shape})."
        )
    if not len(xs):
        raise ValueError(f"{owner}: x and y hold no samples.")
    return xs, ys


def batches(
    x: Any,
    y: Any,
    batch_size: int,
    *,
    shuffle: bool = True,
    rng: "check.Seed" = None,
    drop_last: bool = False,
) -> Batches:
    """Cut samples into mini-batches: an iterable of pairs ``(x_batch, y_batch)`` with a length.

    ``x``: (samples, ...), ``y``: (samples, ...); the pieces are copies. With ``shuffle`` each
    iteration draws a new order from ``rng``, a Generator or a seed. The last batch may be smaller
    unless ``drop_last``. Raises ValueError if the lengths differ.

    >>> [y.tolist() for x, y in batches(np.zeros((5, 2)), np.arange(5), 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    """
    xs, ys = paired("batches", x, y)
    size = check.integer("batches", "batch_size", batch_size, at_least=1)
    drop = check.flag("batches", "drop_last", drop_last)
    if drop and size > len(xs):
        raise ValueError(
            f"batches: batch_size {size} is larger than the {len(xs)} samples, and drop_last "
            "leaves no batch at all. Choose a smaller batch_size."
        )
    shuffled = check.flag("batches", "shuffle", shuffle)
    generator = check.generator("batches", rng) if shuffled else None
    return Batches(xs, ys, size, generator, drop)
