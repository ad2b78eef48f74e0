"""One training step of fit(), one forward pass of predict(): eager, or replayed where that can be.

These two functions are the only places that ask for the fast path, and each works without it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.autodiff.primitive import values
from tinynn.autodiff.tensor import Tensor
from tinynn.autodiff.transforms import differentiating
from tinynn.nn.layer import Layer
from tinynn.training.optimizers import Optimizer

Loss = Callable[[Any, Any], Any]
Forward = Callable[..., np.ndarray]


class EagerStep:
    """A training step as a user would write it. ``eager``: why it is not replayed, if it is not."""

    eager: str | None = "compile=False"

    def __init__(self, model: Layer, loss: Loss, optimizer: Optimizer) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        """Take a step, unless the loss is not finite; return the loss before it."""
        self.optimizer.zero_grad()
        return self.go_on(x, y)

    def go_on(self, x: np.ndarray, y: np.ndarray) -> float:
        """Take the step whose ``zero_grad`` was called already."""
        with differentiating(self.optimizer.parameters):
            value = trainable(self.loss(self.model(x), y))
        number = float(value.item())
        if math.isfinite(number):
            value.backward()
            self.optimizer.step()
        return number

    def begin_epoch(self) -> None:
        """Callbacks may have changed something, which is for steps that keep what they know."""

    def close(self) -> None:
        """No step follows."""


def training_step(
    model: Layer, loss: Loss, optimizer: Optimizer, *, compile: Any, chunk: Any, threads: Any
) -> EagerStep:
    """Return the quickest step that these allow."""
    eager = EagerStep(model, loss, optimizer)
    if not compile:
        return eager
    try:
        from tinynn.replay import training_step as replayed
    except ImportError:
        eager.eager = "tinynn.replay is not installed"
        return eager
    return replayed(model, loss, optimizer, eager, compile=compile, chunk=chunk, threads=threads)


def eager_forward(model: Layer) -> Forward:
    """Return a function (x, worker=0) of plain arrays: the model's output, in a fresh array."""
    return lambda x, worker=0: np.array(values(model(x)))


def forward(model: Layer) -> Forward:
    """Return the same, as quick as it can be when it is called many times."""
    try:
        from tinynn.replay import forward as replayed
    except ImportError:
        return eager_forward(model)
    return replayed(model)


def quiet() -> np.errstate:
    """Silence NumPy where it would warn, for results that are checked as a whole."""
    warned = {kind: "ignore" for kind, action in np.geterr().items() if action == "warn"}
    return np.errstate(**warned)  # type: ignore[arg-type]


def scalar(value: Any) -> Tensor:
    """Return what a loss has returned, a Tensor with one element."""
    if isinstance(value, Tensor) and value.size == 1:
        return value
    got = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
    advice = "Use reduction='mean', and tinynn's operations."
    if value is None:
        got, advice = "None", "Does it end with a return?"
    raise TypeError(f"fit: the loss must return a scalar Tensor, got {got}. {advice}")


def trainable(value: Any) -> Tensor:
    """Return the same, which must depend on a parameter."""
    value = scalar(value)
    if not value._requires_grad:
        raise ValueError(
            "fit: the loss does not depend on any parameter that the optimizer holds. Compute it "
            "from the prediction itself, not from its data or under no_grad."
        )
    return value
