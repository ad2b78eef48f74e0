"""Data as arrays, and mini-batches of them, shuffled by an explicit generator."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.primitive import as_array, values


def data(owner: str, name: str, given: Any) -> np.ndarray:
    """Return data as an array of real numbers; a map of a file is not read."""
    if type(given) is np.ndarray and given.dtype.kind in "fiub":
        return given
    if isinstance(given, Iterator):
        kind = type(given).__name__
        kind = f"a {kind}" if kind == "generator" else f"an iterator ({kind}), like a generator"
        raise TypeError(
            f"{owner}: {name} is {kind}, which has no length and can be read only once. "
            "Make an array of it: numpy.stack(list(...))."
        )
    try:
        array = values(as_array(f"{owner}: {name}", given))
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(
            f"{owner}: {name}: nested lists must have equal lengths. Pad them. (NumPy: {error})"
        ) from None
    if array.dtype.kind in "fiub":
        return array
    got, advice = check.shown(given), ""
    if hasattr(given, "to_numpy"):  # pandas, with columns of several kinds
        got = f"a {type(given).__name__}"
        advice = f" Give {name}.to_numpy(float), of its columns of numbers."
    raise TypeError(
        f"{owner}: {name} must be an array of numbers, got {got}, of dtype {array.dtype}.{advice}"
    )


def paired(owner: str, x: Any, y: Any, *, empty: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets as arrays of equal length, not 0 unless they may be ``empty``."""
    xs, ys = data(owner, "x", x), data(owner, "y", y)
    for name, array in (("x", xs), ("y", ys)):
        if array.ndim == 0:
            raise TypeError(
                f"{owner}: {name} must be an array of numbers with samples along its first axis, "
                f"got {check.shown(array)}."
            )
    if len(xs) != len(ys):
        raise ValueError(
            f"{owner}: x and y must have the same number of samples, got {len(xs)} and {len(ys)} "
            f"(shapes {xs.shape} and {ys.shape})."
        )
    if not (len(xs) or empty):
        raise ValueError(f"{owner}: x and y hold no samples.")
    return xs, ys


def count(samples: int, size: int) -> int:
    """Return how many batches samples make, the last of which may be smaller."""
    return -(-samples // size)


def cut(
    arrays: Sequence[np.ndarray], size: int, order: np.ndarray | None, start: int = 0,
    part: tuple[int, int] = (0, 1),
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """Yield copies of the batches of arrays of one length, in an ``order`` if there is one.

    ``part``: (k, n) for part k of n of each batch, which may be empty.
    """
    (k, parts), samples = part, len(arrays[0])
    for first in range(start * size, samples, size):
        n = min(size, samples - first)
        chosen = slice(first + n * k // parts, first + n * (k + 1) // parts)
        if order is None:
            yield tuple([array[chosen].copy() for array in arrays])
        else:
            yield tuple([array[order[chosen]] for array in arrays])


class Batches:
    """What :func:`batches` returns."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, size: int, rng: "np.random.Generator | None",
        drop_last: bool,
    ) -> None:  # fmt: skip
        self.x, self.y, self.size, self.rng, self.drop_last = x, y, size, rng, drop_last

    def __len__(self) -> int:
        n = len(self.x)
        return n // self.size if self.drop_last else count(n, self.size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = None if self.rng is None else self.rng.permutation(len(self.x))
        yield from islice(cut((self.x, self.y), self.size, order), len(self))


def batches(
    x: Any, y: Any, batch_size: int, *, shuffle: bool = True, rng: "check.Seed" = None,
    drop_last: bool = False,
) -> Batches:  # fmt: skip
    """Cut samples into mini-batches: an iterable of pairs ``(x_batch, y_batch)`` with a length.

    Parameters
    ----------
    x : (samples, ...) array_like
        The input.
    y : (samples, ...) array_like
        The targets.
    batch_size : int
        Samples of a batch. The last batch may be smaller.
    shuffle : bool, default True
        Whether each iteration draws a new order.
    rng : Generator or int, default None
        What the orders are drawn from. An int is a seed.
    drop_last : bool, default False
        Whether a last batch that is smaller is left out.

    Returns
    -------
    Batches
        Its pieces are copies. ``len()`` is the number of batches.

    Raises
    ------
    ValueError
        If the lengths differ, or no batch is left.
    TypeError
        For what is no array of numbers.

    Examples
    --------
    >>> [y.tolist() for x, y in batches(np.zeros((5, 2)), np.arange(5), 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    """
    xs, ys = paired("batches", x, y)
    size = check.integer("batches", "batch_size", batch_size, at_least=1)
    shuffle = check.flag("batches", "shuffle", shuffle)
    drop_last = check.flag("batches", "drop_last", drop_last)
    found = Batches(xs, ys, size, check.generator("batches", rng) if shuffle else None, drop_last)
    if not len(found):
        raise ValueError(
            f"batches: batch_size {found.size} is larger than the {len(found.x)} samples, and "
            "drop_last leaves no batch at all. Choose a smaller batch_size."
        )
    return found
