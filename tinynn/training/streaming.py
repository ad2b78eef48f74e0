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

    Raises ValueError, naming the layer, for a model that needs the whole series (see
    ``Layer.reach``), and for padding "same" with a stride if its place depends on the length.

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

    All that it has returned, joined, is what ``predict`` returns for the whole series, to
    rounding. It keeps only the steps that later outputs see, and runs the model as it is at each
    push, in evaluation mode and without a tape; the model's modes are restored.
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
        # How many steps are taken at a time: a skip connection joins what is pooled and upsampled.
        self._portion = 1 if reach.multiple == reach.stride else reach.multiple
        self.reset()

    @property
    def delay(self) -> int:
        """How many input steps a score lags: output i is returned with step i stride + delay.

        At most so many, where a model takes its input in multiples of some steps (``Layer.reach``).
        """
        return math.ceil(self._reach.right) + self._portion - 1

    def __repr__(self) -> str:
        return f"Stream({self.model!r}, delay={self.delay})"

    def reset(self) -> None:
        """Forget the series and begin another one."""
        self._kept: np.ndarray | None = None  # the input from step _start on
        self._none: np.ndarray | None = None  # no outputs, of their shape and dtype, once known
        self._start = self._given = 0  # input steps let go, output steps returned
        self._ended = False

    def push(self, x: Any) -> np.ndarray:
        """Take the next steps, return the scores that are now certain, in order.

        ``x``: (steps, channels), or (series, steps, channels) for several series in step; any
        number of steps, also none. Returns (..., output steps, output channels). Raises ValueError
        for a shape that does not fit the model or the steps before, RuntimeError after
        :meth:`finish`; then nothing has changed.
        """
        given, kept = self._joined(x)
        whole = kept.shape[-2] // self._portion * self._portion
        first = int(self._start / self._reach.stride)
        stop = max(self._given, first + certain(self._reach, whole))
        try:
            if stop > self._given:
                scores = self._scores(kept[..., :whole, :], stop)
            elif self._none is not None:
                scores = self._none
            else:  # too few steps: zeros in their place show shape and dtype of an output
                steps = -(-shortest_piece(self._reach) // self._portion) * self._portion
                trial = np.zeros((*given.shape[:-2], steps, given.shape[-1]), given.dtype)
                with np.errstate(all="ignore"):
                    scores = self._run(trial)[..., :0, :]
        except ValueError as error:
            if self._none is not None:
                raise
            raise ValueError(
                f"Stream.push: x of shape {given.shape} does not fit the model: {error}"
            ) from error
        # One output more than is needed, so that finish() never lacks the steps of a window.
        start = max(self._start, begin(self._reach, stop - 1))
        self._kept = kept[..., start - self._start :, :].copy()
        self._none = scores[..., :0, :].copy()
        self._start, self._given = start, stop
        return scores

    def finish(self) -> np.ndarray:
        """End the series, return the remaining scores, which see the padding at its end.

        Raises ValueError if the series is shorter than the model takes, RuntimeError if nothing
        was pushed, or after an earlier :meth:`finish`.
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
