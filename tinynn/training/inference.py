"""predict(): a model's output for arrays of any length, in bounded memory."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.graph import no_grad
from tinynn.autodiff.listening import listener
from tinynn.autodiff.primitive import values
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.branches import Parallel, Residual
from tinynn.nn.layer import Layer
from tinynn.nn.layers import Sequential
from tinynn.nn.observe import mode, one_series_refused, title
from tinynn.nn.receptive_field import ReceptiveField, receptive_field_of
from tinynn.training.batches import data
from tinynn.training.progress import progress_bar
from tinynn.training.steps import Forward, eager_forward, forward
from tinynn.training.threads import available, one_blas_thread, spread

WHOLE = 2**20  # numbers that a series may be in a layer before it is cut
SMALL = 2**12  # numbers of an input, up to which to ask how to cut it takes longer than to compute
PIECE = 2**16  # numbers that a piece is then, 256 KB of float32: larger ones are hardly faster


def predict(
    model: Layer, x: Any, *, batch_size: int | None = None, piece_length: int | None = None,
    threads: int | None = None, progress: bool = False,
) -> np.ndarray:  # fmt: skip
    """Return the model's output for ``x`` as an ndarray, in evaluation mode and without a tape.

    Parameters
    ----------
    model : Layer
        It is left as it was: each layer's mode is restored.
    x : (samples, ...), (series, length, channels) or (length, channels) array_like
        The input. A numpy.memmap is read and converted piece by piece.
    batch_size : int, default None
        Samples at a time. None: about as many as fit a cache.
    piece_length : int, default None
        Steps of a series at a time. None: a long series is cut if the model's layers allow it.
    threads : int, default None
        Pieces at a time. None: one for each core. Layers of your own take turns.
    progress : bool, default False
        Whether a tqdm bar counts the steps.

    Returns
    -------
    ndarray
        The output. Of a series that was cut it is that of the whole series, to rounding.

    Raises
    ------
    ValueError
        If ``batch_size`` would cut a series along time, ``piece_length`` is shorter than what an
        output sees, or the model needs the whole series (see ``Layer.reach``).
    TypeError
        If ``model`` is no Layer or ``x`` no array of numbers.

    Notes
    -----
    Pieces overlap by what an output sees. Memory is needed for the result and one piece for each
    thread. Threads of your own that share a model must take turns.

    Examples
    --------
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
    small = array.size <= SMALL
    if small and batch_size is piece_length is threads is None and not shown:
        given: Any = array
        if listener.get() is None:  # as the first layer would do it, which takes longer
            given = Tensor._result(np.array(array), None)
        with no_grad(), mode(model, training=False):
            return np.array(values(model(given)))
    reach, piece, size = _portions(model, array, piece_length)
    guard: AbstractContextManager[None] = nullcontext()
    if batch_size is not None:
        size = check.integer("predict", "batch_size", batch_size, at_least=1)
        if size < len(array):
            advice = "Add a batch axis, x[None], or leave out batch_size."
            guard = one_series_refused("predict", model, array, size, advice)
    with (
        no_grad(),
        mode(model, training=False),
        guard,
        progress_bar(shown, _steps(array), "predict", unit=" steps", unit_scale=True) as bar,
        nullcontext(False) if small else one_blas_thread() as alone,
    ):
        if threads is None:
            threads = available() if alone and reach is not None else 1
        function = (eager_forward if small else forward)(model)
        run = _Run(function, reach or ReceptiveField(), piece, bar)
        return run.in_groups(array, size, threads)


def _portions(
    model: Layer, x: np.ndarray, piece: int | None
) -> tuple[ReceptiveField | None, int | None, int]:
    """Return the model's reach if it was asked, steps of a piece (None: all), samples at a time."""
    if piece is not None:
        reach: ReceptiveField | None = _reach_for(model, x, piece)
    elif x.size <= SMALL:
        return None, None, max(1, len(x))
    else:
        reach = receptive_field_of(model) if x.ndim in (2, 3) else None
    if reach is None:
        # Only with three axes is the first one surely that of the samples.
        size = WHOLE // max(1, math.prod(x.shape[1:])) if x.ndim >= 3 else len(x)
        return None, None, max(1, size)
    held = (value for _, layer in model.named_layers() for value in vars(layer).values())
    # The last axis of a parameter: how many numbers it makes of a step, as a rule.
    made = [value.shape[-1] for value in held if isinstance(value, Tensor) and value.ndim]
    steps, widest = x.shape[-2], max(x.shape[-1], *made, 1)
    if piece is None and steps * widest > WHOLE:
        piece = max(PIECE // widest, 8 * shortest_piece(reach))  # little is computed twice
    at_a_time = max(1, steps if piece is None else min(steps, piece))
    return reach, piece, max(1, PIECE // (at_a_time * widest) if x.ndim == 3 else len(x))


def _reach_for(model: Layer, x: np.ndarray, piece: Any) -> ReceptiveField:
    """Return the reach of a model that can work on ``x`` in pieces of the length asked for."""
    piece = check.integer("predict", "piece_length", piece, at_least=1)
    if x.ndim not in (2, 3):
        raise ValueError(
            "predict: piece_length is for a series (length, channels) or (series, length, "
            f"channels), got shape {x.shape}."
        )
    reach = known_reach("predict", model, "Leave out piece_length")
    if piece < min(shortest := shortest_piece(reach), x.shape[-2]):
        raise ValueError(
            f"predict: piece_length must be at least {shortest} for this model, whose outputs see "
            f"{math.ceil(reach.left)} steps back and {math.ceil(reach.right)} ahead, got {piece}."
        )
    return reach


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


def first_layer(layer: Layer, test: Callable[[ReceptiveField | None], bool], path: str = "") -> str:
    """Return the first layer whose reach is such; a container's is that of its layers."""
    if type(layer).reach in (Sequential.reach, Residual.reach, Parallel.reach):
        for below, part in layer.named_layers()[1:]:
            if test(receptive_field_of(part)):
                return first_layer(part, test, f"{path}.{below}".lstrip("."))
    return title(path, layer)


def shortest_piece(reach: ReceptiveField) -> int:
    """Return how long a piece must be to give an output that sees no cut, wherever it begins."""
    back = math.ceil(reach.left / reach.stride)
    return math.ceil(back * reach.stride + 2 * reach.grid + reach.right) - 1


def certain(reach: ReceptiveField, steps: int) -> int:
    """Return how many outputs of a piece, from its first on, see no step behind its end."""
    return math.floor((steps - 1 - reach.right) / reach.stride) + 1


def begin(reach: ReceptiveField, output: int) -> int:
    """Return the last input step at which a piece may begin that is to give an output."""
    first = math.floor((output - math.ceil(reach.left / reach.stride)) * reach.stride)
    return max(0, first // reach.grid * reach.grid)


def _cuts(
    length: int, reach: ReceptiveField, piece: int
) -> Iterator[tuple[int, int, int, int | None]]:
    """Yield (start, stop, first, last): of x[start:stop] the outputs [first:last] are right.

    A piece begins at a multiple of the strides, and its length has the same remainder by it as the
    whole length: so every layer pads it and places its windows as in the whole series. Left out
    are the outputs that see a cut, where each layer has padded what in the whole series goes on.
    """
    start = stop = given = 0
    while stop < length:
        stop = min(length, start + piece - (piece - length) % reach.grid)
        last = None if stop == length else certain(reach, stop - start)
        at = int(start / reach.stride)
        yield start, stop, given - at, last
        given = at + (last or 0)
        start = begin(reach, given)


class _Run(NamedTuple):
    """A run of a model over series, in pieces."""

    forward: Forward
    reach: ReceptiveField
    piece: int | None
    bar: Any

    def in_groups(self, x: np.ndarray, size: int, threads: int) -> np.ndarray:
        """Return the model's output for ``x``, so many samples at a time."""
        if size >= len(x):
            return self.over_time(x, threads)

        def group(i: int, worker: int) -> np.ndarray:
            return self.over_time(x[i * size : (i + 1) * size], 1, worker)

        return np.concatenate(spread(group, -(-len(x) // size), threads))

    def over_time(self, x: np.ndarray, threads: int, worker: int = 0) -> np.ndarray:
        """Return the model's output for ``x``, piece by piece, on this or on several threads."""
        if self.piece is None or self.piece >= x.shape[-2]:
            y = self.forward(x, worker)
            self.bar.update(_steps(x))
            return y
        axis, length, stride = x.ndim - 2, x.shape[-2], Fraction(self.reach.stride)
        cuts = list(_cuts(length, self.reach, self.piece))
        result: Any = None

        def steps(start: int | None, stop: int | None) -> tuple[slice, ...]:
            return (*[slice(None)] * axis, slice(start, stop))

        def run(i: int, thread: int) -> None:
            nonlocal result
            start, stop, first, last = cuts[i]
            y = self.forward(x[steps(start, stop)], max(worker, thread))
            if result is None:  # the first piece shows shape and dtype
                outputs = y.shape[axis] + int((length - stop) / stride)
                result = np.empty((*y.shape[:axis], outputs, *y.shape[axis + 1 :]), y.dtype)
            at = int(start / stride)
            kept = steps(at + first, None if last is None else at + last)
            result[kept] = y[steps(first, last)]
            self.bar.update(_steps(x[steps(cuts[i - 1][1] if i else 0, stop)]))

        run(0, 0)
        spread(lambda i, thread: run(i + 1, thread), len(cuts) - 1, threads)
        return result


def _steps(x: np.ndarray) -> int:
    return math.prod(x.shape[: max(1, x.ndim - 1)])


def check_model(owner: str, model: Any) -> None:
    """Raise TypeError if ``model`` is no Layer."""
    if not isinstance(model, Layer):
        raise TypeError(f"{owner}: model must be a Layer, got {check.shown(model)}.")
