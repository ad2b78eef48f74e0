"""stream(): a model's scores for a series that arrives piece by piece."""

import math
from typing import Any

import numpy as np

from tinynn.autodiff.graph import no_grad
from tinynn.nn.layer import Layer
from tinynn.nn.observe import mode
from tinynn.training.batches import data
from tinynn.training.inference import (
    begin,
    certain,
    check_model,
    first_layer,
    known_reach,
    shortest_piece,
)
from tinynn.training.steps import forward


def stream(model: Layer) -> "Stream":
    """Return a :class:`Stream` that gives the model's scores for a series while it arrives.

    Parameters
    ----------
    model : Layer
        Each of its outputs must see a few steps only.

    Returns
    -------
    Stream

    Raises
    ------
    ValueError
        For a model that needs the whole series (see ``Layer.reach``); it names the layer. Also for
        padding "same" with a stride, if its place depends on the length.

    Examples
    --------
    >>> from tinynn import Conv1d
    >>> scores = stream(Conv1d(1, 1, 3, padding="same", kernel_initializer="ones", rng=0))
    >>> [scores.push(np.array([[value]])).ravel().tolist() for value in (1.0, 2.0, 3.0)]
    [[], [3.0], [6.0]]
    >>> scores.delay, scores.finish().ravel().tolist()
    (1, [5.0])
    """
    return Stream(model)


class Stream:
    """A series on its way through a model; what :func:`stream` returns.

    All that it has returned, joined, is what ``predict`` returns for the whole series, to rounding.
    It keeps only the steps that later outputs see. At each push it runs the model as it is, in
    evaluation mode and without a tape. The model's modes are restored.

    Parameters
    ----------
    model : Layer
        The model, as of :func:`stream`.

    Examples
    --------
    >>> from tinynn import Conv1d
    >>> scores = Stream(Conv1d(1, 1, 3, padding="causal", kernel_initializer="ones", rng=0))
    >>> scores.push([[1.0], [2.0]]).ravel(), scores.delay
    (array([1., 3.], dtype=float32), 0)
    """

    def __init__(self, model: Layer) -> None:
        check_model("stream", model)
        reach = known_reach("stream", model, "Use predict")
        if not reach.fixed:
            raise ValueError(
                f"stream: where the windows of {first_layer(model, lambda r: not r or not r.fixed)}"
                " begin depends on the length of the series, which a stream cannot know. With "
                "strides, give padding='causal' or a pair (left, right) in place of 'same'."
            )
        self.model, self._reach, self._forward = model, reach, forward(model)
        self.reset()

    @property
    def delay(self) -> int:
        """By how many input steps a score lags.

        Output i is returned with input step i stride + delay. It may come sooner where a model
        takes its input in multiples of some steps (``Layer.reach``).
        """
        return math.ceil(self._reach.right) + self._reach.multiple - 1

    def __repr__(self) -> str:
        return f"Stream({self.model!r}, delay={self.delay})"

    def reset(self) -> None:
        """Forget the series and begin another one."""
        self._kept: np.ndarray | None = None  # the input from step _start on
        self._none: np.ndarray | None = None  # no outputs, of their shape and dtype, once known
        self._start = self._given = 0  # input steps let go, output steps returned
        self._beside = 0  # by how many steps the lengths that the model takes are no multiple
        self._ended = False

    def push(self, x: Any) -> np.ndarray:
        """Take the next steps, return the scores that are now certain, in order.

        Parameters
        ----------
        x : (steps, channels) or (series, steps, channels) array_like
            Any number of steps, also none; several series in step.

        Returns
        -------
        (output steps, output channels) or (series, output steps, output channels) ndarray

        Raises
        ------
        ValueError
            For a shape that does not fit the model or the steps before. Nothing has changed then.
        RuntimeError
            After :meth:`finish`.
        """
        given, kept = self._joined(x)
        first, none = int(self._start / self._reach.stride), self._none
        if none is None and self._reach.multiple > 1:
            none = self._learn(given)
        beyond = (kept.shape[-2] - self._beside) % self._reach.multiple
        whole = max(0, kept.shape[-2] - beyond)
        stop = max(self._given, first + certain(self._reach, whole))
        if stop == self._given:
            scores = self._learn(given) if none is None else none
        else:
            try:
                scores = self._scores(kept[..., :whole, :], stop)
            except ValueError as error:
                if none is not None:
                    raise
                raise _unfit(given, error) from error
        # One output more than is needed, so that finish() never lacks the steps of a window.
        start = max(self._start, begin(self._reach, stop - 1))
        self._kept = kept[..., start - self._start :, :].copy()
        self._none = scores[..., :0, :].copy()
        self._start, self._given = start, stop
        return scores

    def _learn(self, given: np.ndarray) -> np.ndarray:
        """Return no outputs, of the shape and dtype of an output, as zeros for steps show them.

        Learn too by how many steps a length is no multiple: those that a layer without padding
        takes away before the one that needs a multiple.
        """
        multiple, faults = self._reach.multiple, list[ValueError]()
        steps = -(-shortest_piece(self._reach) // multiple) * multiple
        for beside in range(multiple):
            trial = np.zeros((*given.shape[:-2], steps + beside, given.shape[-1]), given.dtype)
            try:
                with np.errstate(all="ignore"):
                    scores = self._run(trial)
            except ValueError as error:
                faults.append(error)
                continue
            self._beside = beside
            return scores[..., :0, :]
        raise _unfit(given, faults[0]) from faults[0]

    def finish(self) -> np.ndarray:
        """End the series, return the remaining scores, which see the padding at its end.

        Returns
        -------
        (output steps, output channels) or (series, output steps, output channels) ndarray

        Raises
        ------
        ValueError
            If the series is shorter than the model takes.
        RuntimeError
            If nothing was pushed, or after an earlier :meth:`finish`.
        """
        self._check_going("finish")
        if self._kept is None:
            raise RuntimeError("Stream.finish: nothing was pushed.")
        scores = self._scores(self._kept, None)
        self._ended, self._kept = True, None
        return scores

    def _check_going(self, what: str) -> None:
        if self._ended:
            raise RuntimeError(
                f"Stream.{what}: finish() has ended this series. Call reset() to begin another."
            )

    def _joined(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return ``x`` as an array, and the steps kept with it."""
        self._check_going("push")
        array = data("Stream.push", "x", x)
        if array.ndim not in (2, 3):
            raise ValueError(
                "Stream.push: x must be (steps, channels) or (series, steps, channels), got shape "
                f"{array.shape}. Of a single channel, give x[:, None]."
            )
        if self._kept is None:
            return array, array
        shape = self._kept.shape
        if (*array.shape[:-2], array.shape[-1]) != (*shape[:-2], shape[-1]):
            expected = ", ".join(map(str, (*shape[:-2], "steps", shape[-1])))
            raise ValueError(f"Stream.push: x must be ({expected}) as before, got {array.shape}.")
        return array, np.concatenate([self._kept, array], axis=-2)

    def _scores(self, kept: np.ndarray, stop: int | None) -> np.ndarray:
        """Return the outputs from the first one not yet returned, up to ``stop``."""
        first = int(self._start / self._reach.stride)
        last = None if stop is None else stop - first
        before = (slice(None),) * (kept.ndim - 2)
        return self._run(kept)[(*before, slice(self._given - first, last))].copy()

    def _run(self, x: np.ndarray) -> np.ndarray:
        with no_grad(), mode(self.model, training=False):
            return self._forward(x)


def _unfit(given: np.ndarray, error: ValueError) -> ValueError:
    what = f"x of shape {given.shape} does not fit the model"
    return ValueError(f"Stream.push: {what}: {error}")
