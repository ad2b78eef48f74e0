"""predict(): a model's output for arrays of any length, in bounded memory."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.graph import no_grad
from tinynn.autodiff.tensor import Tensor
from tinynn.nn import activations, observe
from tinynn.nn.layer import Layer
from tinynn.nn.layers import Sequential
from tinynn.nn.observe import mode, title
from tinynn.nn.receptive_field import ReceptiveField, receptive_field_of
from tinynn.training.batches import data
from tinynn.training.progress import progress_bar
from tinynn.training.steps import Forward, eager_forward, forward
from tinynn.training.threads import available, one_blas_thread, spread

WHOLE = 2**20  # numbers that a series may be in a layer before it is cut
SMALL = 2**12  # numbers of an input, up to which to ask how to cut it takes longer than to compute
PIECE = 2**16  # numbers that a piece is then, 256 KB of float32: larger ones are hardly faster


def predict(
    model: Layer,
    x: Any,
    *,
    batch_size: int | None = None,
    piece_length: int | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Return the model's output for ``x`` as an ndarray, in evaluation mode and without a tape.

    ``x``: (samples, ...), (series, length, channels), or one series (length, channels); also a
    numpy.memmap, which is read and converted piece by piece. ``batch_size``: samples at a time, by
    default about as many as fit a cache. ``piece_length``: steps of a series at a time; by default
    a long series is cut into pieces that fit a cache, if the model's layers allow it. Pieces
    overlap by what an output sees, and the result is that of the whole series, to rounding: the
    same sum may be rounded otherwise elsewhere in a matrix product (where nothing needs rounding it
    is exact). Memory is needed for the result and one piece for each thread. ``threads``: how
    many pieces at a time, by default one for each core. ``progress``: a tqdm bar over the steps.
    Each layer's mode is restored; threads that share a model must take turns.

    Raises ValueError if ``batch_size`` would cut a series along time, if ``piece_length`` is
    shorter than what an output sees, and if it is given for a model that needs the whole series;
    the message names the layer (see ``Layer.reach``).

    >>> from tinynn import Conv1d
    >>> total = Conv1d(1, 1, 3, padding="same", kernel_initializer="ones", rng=0)
    >>> predict(total, np.arange(6.0)[:, None], piece_length=4).ravel()
    array([ 1.,  3.,  6.,  9., 12.,  9.], dtype=float32)
    """
    check_model("predict", model)
    array = data("predict", "x", x)
    if array.ndim == 0:
        raise TypeError(f"predict: x must be an array of numbers, got {check.shown(x)}.")
    shown = check.flag("predict", "progress", progress)
    if threads is not None:
        threads = check.integer("predict", "threads", threads, at_least=1)
    reach, piece, size = _portions(model, array, piece_length)
    if batch_size is not None:
        size = check.integer("predict", "batch_size", batch_size, at_least=1)
    cut = batch_size is not None and size < len(array)
    small = array.size <= SMALL
    advice = "Add a batch axis, x[None], or leave out batch_size."
    with (
        no_grad(),
        mode(model, training=False),
        one_series_refused("predict", model, array, size if cut else None, advice),
        progress_bar(shown, _steps(array), "predict", unit=" steps", unit_scale=True) as bar,
        nullcontext(False) if small else one_blas_thread() as alone,
    ):
        if threads is None:
            threads = available() if alone and reach is not None else 1
        run = _Run(
            (eager_forward if small else forward)(model), reach or ReceptiveField(), piece, bar
        )
        return run.in_groups(array, size, threads)


def _portions(
    model: Layer, x: np.ndarray, piece_length: int | None
) -> tuple[ReceptiveField | None, int | None, int]:
    """Return the model's reach if it was asked, the steps of a piece, the samples at a time.

    None for the steps: all of them.
    """
    if piece_length is not None:
        _check_piece(model, x, piece_length)
    elif x.size <= SMALL:
        return None, None, max(1, len(x))
    reach = receptive_field_of(model) if x.ndim in (2, 3) else None
    if reach is None:
        # Only with three axes is the first one surely that of the samples.
        size = WHOLE // max(1, math.prod(x.shape[1:])) if x.ndim >= 3 else len(x)
        return None, None, max(1, size)
    steps, widest = x.shape[-2], max([x.shape[-1], *_widths(model), 1])
    if piece_length is None and steps * widest > WHOLE:
        piece_length = max(PIECE // widest, 8 * shortest_piece(reach))  # little is computed twice
    at_a_time = max(1, steps if piece_length is None else min(steps, piece_length))
    size = PIECE // (at_a_time * widest) if x.ndim == 3 else len(x)
    return reach, piece_length, max(1, size)


def _widths(model: Layer) -> list[int]:
    """Return the last axis of each parameter: how many numbers it makes of a step, as a rule."""
    held = (value for _, layer in model.named_layers() for value in vars(layer).values())
    return [value.shape[-1] for value in held if isinstance(value, Tensor) and value.ndim]


def _check_piece(model: Layer, x: np.ndarray, piece_length: Any) -> None:
    piece = check.integer("predict", "piece_length", piece_length, at_least=1)
    if x.ndim not in (2, 3):
        raise ValueError(
            "predict: piece_length is for a series (length, channels) or (series, length, "
            f"channels), got shape {x.shape}."
        )
    reach = known_reach("predict", model, "Leave out piece_length")
    shortest = shortest_piece(reach)
    if piece < min(shortest, x.shape[-2]):
        raise ValueError(
            f"predict: piece_length must be at least {shortest} for this model, whose outputs see "
            f"{reach.left} steps back and {reach.right} ahead, got {piece}."
        )


# ---------------------------------------------------------------- cutting along time


def known_reach(owner: str, model: Layer, otherwise: str) -> ReceptiveField:
    """Return the model's reach, or raise ValueError that names the layer that has none."""
    reach = receptive_field_of(model)
    if reach is None:
        raise ValueError(
            f"{owner}: an output of {first_layer(model, lambda r: r is None)} may depend on the "
            f"whole series, which can therefore not be cut. {otherwise}; or, if it depends on a "
            "few steps only, say so in a method reach() of that layer."
        )
    return reach


def first_layer(model: Layer, test: Callable[[ReceptiveField | None], bool]) -> str:
    """Return the first layer whose reach is such; a Sequential's is that of its layers."""
    return next(
        title(path, layer) for path, layer in _links(model) if test(receptive_field_of(layer))
    )


def _links(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield the layers, one after the other, whose reaches make up that of ``layer``."""
    if not isinstance(layer, Sequential) or type(layer).reach is not Sequential.reach:
        yield path, layer
        return
    for i, part in enumerate(layer):
        yield from _links(part, f"{path}.layers.{i}" if path else f"layers.{i}")


def shortest_piece(reach: ReceptiveField) -> int:
    """Return how long a piece must be to give an output that sees no cut, wherever it begins."""
    back = -(-reach.left // reach.stride)
    return (back + 2) * reach.stride + reach.right - 1


def _cuts(
    length: int, reach: ReceptiveField, piece: int
) -> Iterator[tuple[int, int, int, int | None]]:
    """Yield (start, stop, first, last): of x[start:stop] the outputs [first:last] are right.

    A piece begins at a multiple of the stride, and its length has the same remainder by it as the
    whole length: so every layer pads it and places its windows as in the whole series. Left out
    are the outputs that see a cut, where each layer has padded what in the whole series goes on.
    """
    stride = reach.stride
    back = -(-reach.left // stride)
    start = stop = 0
    while stop < length:
        stop = min(length, start + piece - (piece - length) % stride)
        last = None if stop == length else (stop - start - 1 - reach.right) // stride + 1
        yield start, stop, back if start else 0, last
        start += ((last or 0) - back) * stride


class _Run:
    """A run of a model over series, in pieces."""

    def __init__(
        self, forward: Forward, reach: ReceptiveField, piece: int | None, bar: Any
    ) -> None:
        self.forward, self.reach, self.piece, self.bar = forward, reach, piece, bar

    def in_groups(self, x: np.ndarray, size: int, threads: int) -> np.ndarray:
        """Return the model's output for ``x``, so many samples at a time."""
        if size >= len(x):
            return self.over_time(x, threads)
        groups = spread(
            lambda i, worker: self.over_time(x[i * size : (i + 1) * size], 1, worker),
            -(-len(x) // size),
            threads,
        )
        return np.concatenate(groups)

    def over_time(self, x: np.ndarray, threads: int, worker: int = 0) -> np.ndarray:
        """Return the model's output for ``x``, piece by piece, on this or on several threads."""
        if self.piece is None or self.piece >= x.shape[-2]:
            y = self.forward(x, worker)
            self.bar.update(_steps(x))
            return y
        before, stride = (slice(None),) * (x.ndim - 2), self.reach.stride
        axis, length = x.ndim - 2, x.shape[-2]
        cuts = list(_cuts(length, self.reach, self.piece))
        start, stop, _, last = cuts[0]
        y = self.forward(x[(*before, slice(start, stop))], worker)
        outputs = y.shape[axis] + (length - stop) // stride
        result = np.empty((*y.shape[:axis], outputs, *y.shape[axis + 1 :]), y.dtype)
        result[(*before, slice(0, last))] = y[(*before, slice(0, last))]
        self.bar.update(_steps(x[(*before, slice(0, stop))]))

        def run(i: int, thread: int) -> None:
            start, stop, first, last = cuts[i + 1]
            y = self.forward(x[(*before, slice(start, stop))], max(worker, thread))
            at = start // stride
            kept = slice(at + first, outputs if last is None else at + last)
            result[(*before, kept)] = y[(*before, slice(first, last))]
            self.bar.update(_steps(x[(*before, slice(cuts[i][1], stop))]))

        spread(run, len(cuts) - 1, threads)
        return result


def _steps(x: np.ndarray) -> int:
    return math.prod(x.shape[: max(1, x.ndim - 1)])


# ---------------------------------------------------------------- checks that fit shares


def check_model(owner: str, model: Any) -> None:
    """Raise TypeError if ``model`` is no Layer."""
    if not isinstance(model, Layer):
        raise TypeError(f"{owner}: model must be a Layer, got {check.shown(model)}.")


def one_series_refused(
    owner: str, model: Layer, x: np.ndarray, size: int | None, advice: str
) -> AbstractContextManager[None]:
    """Refuse, inside, one series (length, channels) whose steps would be cut up as if samples.

    ``size``: how many rows of ``x`` the model is given at a time, None if all is well. Of tinynn's
    own layers it is known what they make of them. Where a layer is the user's own, which may add
    the missing axis itself, a call shows it.
    """
    if size is None or x.ndim != 2:
        return nullcontext()

    def message(layer: str) -> str:
        return (
            f"{owner}: x must be (samples, length, channels), got shape {x.shape}, which {layer} "
            f"takes for one series (length, channels). {advice}"
        )

    layers = model.named_layers()
    taker = next((title(path, layer) for path, layer in layers if layer.takes_series), None)
    if taker and all(_known(layer) for _, layer in layers):
        raise ValueError(message(taker))
    return observe.one_series_refused(model, x[:size], message)


def _known(layer: Layer) -> bool:
    """Tell whether a layer is tinynn's own, its activation included: a callable may add an axis."""
    own = type(layer).__module__.startswith("tinynn.")
    return own and getattr(layer, "activation", activations.linear) in activations.TABLE.values()
