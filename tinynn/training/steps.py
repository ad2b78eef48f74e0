"""One training step of fit(), one forward pass of predict(): eager, or replayed where that can be.

These two functions are the only places that ask for the fast path, and each works without it.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tinynn.autodiff.primitive import values
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.layer import Layer
from tinynn.training.optimizers import Optimizer

Loss = Callable[[Any, Any], Any]


class Step(Protocol):
    """A training step; ``eager`` says why it is not replayed, None if it is."""

    eager: str | None

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        """Take a step, unless the loss is not finite; return the loss before it."""

    def begin_epoch(self) -> None:
        """Prepare for another epoch: callbacks may have changed something."""

    def close(self) -> None:
        """Let go of threads and memory."""


class EagerStep:
    """A step as a user would write it."""

    def __init__(
        self, model: Layer, loss: Loss, optimizer: Optimizer, eager: str | None = None
    ) -> None:
        self.model, self.loss, self.optimizer, self.eager = model, loss, optimizer, eager

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        """Take a step, unless the loss is not finite; return the loss before it."""
        self.optimizer.zero_grad()
        value = scalar(self.loss(self.model(x), y))
        number = float(value.item())
        if math.isfinite(number):
            value.backward()
            self.optimizer.step()
        return number

    def begin_epoch(self) -> None:
        """Nothing is kept from one step to the next."""

    def close(self) -> None:
        """Nothing is held."""


def training_step(
    model: Layer, loss: Loss, optimizer: Optimizer, *, compile: Any, chunk: Any, threads: Any
) -> Step:
    """Return the quickest step that these allow."""
    eager = EagerStep(model, loss, optimizer, "compile=False")
    if not compile:
        return eager
    try:
        from tinynn.replay import training_step as replayed
    except ImportError:
        eager.eager = "tinynn.replay is not installed"
        return eager
    step: Step = replayed(
        model, loss, optimizer, eager, compile=compile, chunk=chunk, threads=threads
    )
    return step


def forward(model: Layer) -> Callable[..., np.ndarray]:
    """Return a function (x, worker=0) of plain arrays: the model's output, in a fresh array."""
    try:
        from tinynn.replay import forward as replayed
    except ImportError:
        return lambda x, worker=0: np.array(values(model(x)))
    found: Callable[..., np.ndarray] = replayed(model)
    return found


def scalar(value: Any) -> Tensor:
    """Return what a loss has returned, a Tensor with one element."""
    if not isinstance(value, Tensor) or value.size != 1:
        raise TypeError(
            "fit: the loss must return a scalar Tensor, got "
            f"{'shape ' + str(value.shape) if isinstance(value, Tensor) else type(value).__name__}."
            " Use reduction='mean', and tinynn's operations."
        )
    return value
