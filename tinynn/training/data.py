"""What fit is fed with: arrays or a dataset, batch by batch, and how much each loss counts."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.nn import losses
from tinynn.training.batches import count, cut, data, paired

EDGES = 2  # places of a table of class weights for all classes below 0, and above the largest named
Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # x, y, and weights of the losses


class Weighing:
    """How much the losses of a batch count: by sample, by class, or by the product of both."""

    def __init__(self, loss: Callable[..., Any], class_weight: Any, dtype: np.dtype[Any]) -> None:
        self._loss, self._dtype = loss, dtype
        function: Any = loss.func if isinstance(loss, partial) else loss
        own = any(function is known for known in losses.TABLE.values())
        self._kind = function.__name__ if own else ""
        self.table = None if class_weight is None else _table(class_weight, dtype)
        self._given = "sample_weight" in getattr(loss, "keywords", {})
        if class_weight is not None:
            self._demand_taken()

    def __call__(self, y: np.ndarray, weight: np.ndarray | None, what: str) -> Any:
        """Return weights that broadcast to the unreduced loss; None if all count 1.

        ``what``: what the weights of the samples are called.
        """
        if weight is None and self.table is None:
            return None
        self._demand_taken()
        by_sample = None if weight is None else self._by_sample(y, weight, what)
        by_class = None if self.table is None else self._by_class(y, self.table)
        if by_sample is None or by_class is None:
            return by_class if by_sample is None else by_sample
        return by_sample * by_class

    def _demand_taken(self) -> None:
        """Refuse a loss that takes no weights, by its name."""
        name = getattr(self._loss, "__name__", type(self._loss).__name__)
        if self._given:
            raise ValueError(
                "fit: the loss holds a sample_weight already, which weights given to fit would "
                "replace. Give one of them."
            )
        try:
            named = inspect.signature(self._loss).parameters
        except (TypeError, ValueError):  # it cannot be known
            return
        if "sample_weight" not in named and not any(
            p.kind is p.VAR_KEYWORD for p in named.values()
        ):
            raise TypeError(
                f"fit: the loss {name} takes no sample_weight, so weights cannot reach it. Write "
                "it as a function (prediction, target, sample_weight=None), and hand that on to "
                "one of tinynn.losses, or multiply the losses by it before the mean."
            )

    def _shape(self, y: np.ndarray) -> tuple[int, ...]:
        """Return the shape of the loss before it is reduced; of a user's loss, that of targets."""
        shapes = {"categorical_crossentropy": y.shape[:-1], "dice": y.shape[:1]}
        return shapes.get(self._kind, y.shape)

    def _by_sample(self, y: np.ndarray, weight: np.ndarray, what: str) -> np.ndarray:
        shape, given = self._shape(y), weight.shape
        while weight.ndim > len(shape) and weight.shape[-1] == 1:
            weight = weight[..., 0]
        weight = weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim))
        fits = weight.ndim == len(shape) and weight.shape[:1] == shape[:1]
        if not fits or any(weight.shape[i] not in (1, n) for i, n in enumerate(shape)):
            raise ValueError(
                f"{what} must have one number for each sample, (samples,), or for each time step "
                f"too, (samples, length), got shape {given} for targets of shape {y.shape}."
            )
        with np.errstate(over="ignore"):  # the loss refuses what is not finite
            return weight.astype(self._dtype)

    def _by_class(self, y: np.ndarray, table: np.ndarray) -> np.ndarray:
        largest = len(table) - EDGES - 1
        if self._kind == "categorical_crossentropy":
            y = y.argmax(axis=-1)
        elif largest > 1 and y.ndim > 1 and y.shape[-1] > 1 and y.size and y.max() <= 1:
            raise ValueError(
                f"fit: class_weight names class {largest}, but targets of shape {y.shape} "
                "are 0 and 1. One-hot rows are classes for categorical_crossentropy alone; for "
                "another loss give sample_weight, one number for each row."
            )
        if y.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                whole = y.astype(np.intp)
            if not np.array_equal(whole, y):
                raise ValueError(
                    "fit: class_weight needs targets that are classes: integers, one-hot rows for "
                    "categorical_crossentropy, or 0 and 1. Got other values in y. For soft labels "
                    "give sample_weight, or the loss its pos_weight."
                )
            y = whole
        return np.take(table, y.astype(np.intp) + 1, mode="clip")


def _table(weights: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Return the weights of classes -1, 0, 1, ... up to one that is not named; these count 1."""
    if not isinstance(weights, Mapping):
        raise TypeError(
            "fit: class_weight must be a dict {class: weight}, such as {0: 1.0, 1: 5.0}, got "
            f"{check.shown(weights)}."
        )
    if not weights:
        raise ValueError(
            "fit: class_weight names no class, got {}. Give one such as {0: 1.0, 1: 5.0}, or "
            "leave it out."
        )
    classes = [check.integer("fit", "a class of class_weight", c, at_least=0) for c in weights]
    table = np.ones(1 + max(classes) + EDGES, dtype)
    for c, weight in zip(classes, weights.values(), strict=True):
        table[c + 1] = check.real("fit", f"class_weight[{c}]", weight, at_least=0)
    return table


class Samples:
    """Arrays, cut into batches; with a generator ``rng``, in a new order each epoch."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None, size: int,
        weighing: Weighing, what: str, rng: "np.random.Generator | None" = None,
    ) -> None:  # fmt: skip
        self.x, self.y, self.size, self.rng = x, y, size, rng
        self.part = 0, 1  # of each batch: which of how many
        self._late = isinstance(y, np.memmap) and weighing.table is not None
        self._weighing, self._what = weighing, what
        # Once is quicker than batch by batch, but reads all of y.
        self.weight: Any = weight if self._late else weighing(y, weight, what)

    def __len__(self) -> int:
        return count(len(self.x), self.size)

    def epoch(self, start: int = 0) -> Iterator[Batch]:
        """Draw the order of an epoch; return its batches, from number ``start`` on."""
        order = None if self.rng is None else self.rng.permutation(len(self.x))
        arrays = [self.x, self.y] if self.weight is None else [self.x, self.y, self.weight]
        return map(self._batch, cut(arrays, self.size, order, start, self.part))

    def _batch(self, parts: tuple[np.ndarray, ...]) -> Batch:
        x, y, *weights = parts
        weight = weights[0] if weights else None
        return x, y, self._weighing(y, weight, self._what) if self._late else weight


class Dataset:
    """Batches that an object of the user's makes, read once an epoch and checked."""

    def __init__(self, batches: Any, weighing: Weighing, owner: str = "fit") -> None:
        self.batches, self._weighing, self._owner = batches, weighing, owner
        self.part = 0, 1  # which of how many parts of each batch it yields
        try:
            self._length = len(batches)
        except TypeError as error:  # PyTorch's DataLoader of what has no length
            raise TypeError(f"{owner}: {_kind(batches)} has no length: {error}.") from None
        if not self._length:
            raise ValueError(f"{owner}: {_kind(batches)} holds no batches.")

    def __len__(self) -> int:
        return self._length

    def epoch(self, start: int = 0) -> Iterator[Batch]:
        """Begin an epoch; return its batches, from number ``start`` on."""
        found = iter(self.batches)
        skipped = sum(1 for _ in islice(found, start))
        return self._checked(found, skipped)

    def _checked(self, found: Iterator[Any], read: int) -> Iterator[Batch]:
        for given in found:
            read += 1
            if read > self._length:
                break
            yield self._batch(f"{self._owner}: batch {read}", given)
        if read != self._length:
            more = "more" if read > self._length else f"{read}"
            raise ValueError(
                f"{self._owner}: len() of {_kind(self.batches)} promises {self._length} batches, "
                f"but an epoch gave {more}. __iter__ must begin anew each time, and __len__ say "
                "how many batches follow."
            )

    def _batch(self, where: str, given: Any) -> Batch:
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            got = check.shown(given)
            if isinstance(given, (tuple, list)):
                got = f"a {type(given).__name__} of length {len(given)}"
            raise TypeError(f"{where} must be (x, y) or (x, y, weight), got {got}.")
        x, y = paired(where, given[0], given[1], empty=self.part[1] > 1)
        weight = None
        if len(given) == 3 and given[2] is not None:
            weight = data(where, "weight", given[2])
        return x, y, self._weighing(y, weight, f"{where}: weight")


Source = Samples | Dataset


def _kind(batches: Any) -> str:
    return f"the {type(batches).__name__}"


def is_dataset(x: Any) -> bool:
    """Tell whether an object gives batches, and is no array and nothing like one."""
    batches = hasattr(x, "__len__") and hasattr(x, "__iter__")
    return batches and not hasattr(x, "__array__") and not isinstance(x, (str, bytes, Mapping))


def training_data(
    x: Any, y: Any, weighing: Weighing, unweighed: Weighing, *, batch_size: int,
    validation_split: float, sample_weight: Any, shuffle: bool, rng: Any,
) -> tuple[Source, Source | None]:  # fmt: skip
    """Return what to train on, and what ``validation_split`` holds out, where classes count 1."""
    share = check.real("fit", "validation_split", validation_split, at_least=0, below=1)
    size = check.integer("fit", "batch_size", batch_size, at_least=1)
    shuffle = check.flag("fit", "shuffle", shuffle)
    if y is None:
        _refuse_no_dataset(x)
        given = {"validation_split": share > 0, "sample_weight": sample_weight is not None}
        given |= {"batch_size": size != 32, "rng": rng is not None, "shuffle": not shuffle}
        for name in (name for name, is_given in given.items() if is_given):
            raise ValueError(
                f"fit: {name} is for arrays x and y, but x is a dataset, which makes its batches "
                f"itself. Leave out {name}: a dataset yields (x, y) or (x, y, weight), in an order "
                "of its own."
            )
        return Dataset(x, weighing), None
    xs, ys = paired("fit", x, y)
    generator = check.generator("fit", rng) if shuffle else None
    what = "fit: sample_weight"
    weight = None if sample_weight is None else _weights("fit", "sample_weight", sample_weight)
    if weight is not None and len(weight) != len(xs):
        raise ValueError(
            f"{what} must have as many samples as x, {len(xs)}, got shape {weight.shape}."
        )
    kept = math.floor(len(xs) * (1.0 - share))  # as in Keras
    if not kept or (share and kept == len(xs)):
        raise ValueError(
            f"fit: validation_split {share:g} of {len(xs)} samples leaves {kept} to train on and "
            f"{len(xs) - kept} to validate. Choose another one."
        )
    parts = [
        (xs[of], ys[of], None if weight is None else weight[of])
        for of in (slice(kept), slice(kept, None))
    ]
    held_out = Samples(*parts[1], size, unweighed, what) if share else None
    return Samples(*parts[0], size, weighing, what, generator), held_out


def _refuse_no_dataset(x: Any) -> None:
    advice = "__len__ and an __iter__ that yields batches (x, y) or (x, y, weight) anew each epoch"
    if isinstance(x, Iterator) and not hasattr(x, "__len__"):
        raise TypeError(
            f"fit: x is a {type(x).__name__}, which can be read only once and has no length. Write "
            f"a class with {advice}."
        )
    if not is_dataset(x):
        lacks = " and ".join(f"no {n}" for n in ("__len__", "__iter__") if not hasattr(x, n))
        raise TypeError(
            f"fit: y is missing. Without it x must be a dataset: an object with {advice}. "
            f"Got {check.shown(x)}{lacks and f', which has {lacks}'}."
        )


def _weights(owner: str, name: str, given: Any) -> np.ndarray:
    weight = data(owner, name, given)
    if weight.ndim == 0:
        raise TypeError(f"{owner}: {name} must be an array (samples,), got {check.shown(weight)}.")
    if weight.size and not (weight.min() >= 0 and weight.max() < np.inf):
        raise ValueError(
            f"{owner}: {name} must be finite and not negative, got values from {weight.min()} to "
            f"{weight.max()}."
        )
    return weight


def validation_data(given: Any, weighing: Weighing, size: int) -> Source:
    """Return what is validated on: of (x, y), (x, y, weight), or a dataset."""
    owner = "fit: validation_data"
    listed = isinstance(given, list) and given and isinstance(given[0], (tuple, list))
    batches = listed and all(isinstance(part, tuple) for part in given)
    if isinstance(given, (tuple, list)) and len(given) in (2, 3) and not batches:
        x, y = paired(owner, given[0], given[1])
        weight = None
        if len(given) == 3 and given[2] is not None:
            weight = _weights(owner, "weight", given[2])
        return Samples(x, y, weight, size, weighing, f"{owner}: weight")
    if not is_dataset(given) or (isinstance(given, (tuple, list)) and not batches):
        raise TypeError(
            f"{owner} must be a pair (x, y), a triple (x, y, weight), or a dataset of such batches "
            f"with a length, got {check.shown(given)}."
        )
    return Dataset(given, weighing, owner)
