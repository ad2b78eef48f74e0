"""One training step for fit()."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.autodiff.primitive import values
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.layer import Layer
from tinynn.training.optimizers import Optimizer

Loss = Callable[[Any, Any], Tensor]


class EagerStep:
    """A step as a user would write it; ``step(x, y)`` returns the loss before it."""

    def __init__(self, model: Layer, loss: Loss, optimizer: Optimizer) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        """Take a step, unless the loss is not finite."""
        self.optimizer.zero_grad()
        value = self.loss(self.model(x), y)
        number = float(value.item())
        if math.isfinite(number):
            value.backward()
            self.optimizer.step()
        return number


class Forward:
    """A model's output for plain arrays."""

    def __init__(self, model: Layer) -> None:
        self.model = model

    def __call__(self, x: np.ndarray, worker: int = 0) -> np.ndarray:
        """Return the output, in a fresh array."""
        return np.array(values(self.model(np.asarray(x))))
