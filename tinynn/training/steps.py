"""One training step of fit(), one forward pass of predict(): eager, or replayed where that can be.

These two functions are the only places that ask for the fast path, and each works without it.
"""

import math
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import numpy as np

from tinynn.autodiff.graph import Node
from tinynn.autodiff.primitive import values
from tinynn.autodiff.tensor import Tensor
from tinynn.autodiff.transforms import differentiating
from tinynn.nn.layer import Layer
from tinynn.training.optimizers import Optimizer
from tinynn.training.together import Alone

Loss = Callable[..., Any]
Forward = Callable[..., np.ndarray]
Outcome = tuple[float, np.ndarray | None]  # the loss before a step, and the prediction if kept
CHOSEN, ALONE = "compile=False", "tinynn.replay is not installed"  # why steps are eager


class EagerStep:
    """A training step as a user would write it. ``eager``: why it is not replayed, if it is not.

    ``keep``: whether the predictions are wanted; ``group``: who computes other parts of a batch.
    """

    eager: str | None = CHOSEN

    def __init__(
        self, model: Layer, loss: Loss, optimizer: Optimizer, keep: bool = False,
        group: Alone | None = None,
    ) -> None:  # fmt: skip
        self.model, self.loss, self.optimizer, self.keep = model, loss, optimizer, keep
        self.group = group or Alone()

    def __call__(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> Outcome:
        """Take a step, unless the loss is not finite."""
        self.optimizer.zero_grad()
        return self.go_on(x, y, weight)

    def go_on(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> Outcome:
        """Take the step whose ``zero_grad`` was called already."""
        with self.group.meeting():
            with differentiating(self.optimizer.parameters):
                prediction = self.model(x)
                value = trainable(weighed(self.loss, prediction, y, weight))
            number = float(value.item())
            kept = np.array(plain(prediction)) if self.keep else None
            if math.isfinite(number) or self.group.coupled:  # others wait on the way back
                value.backward()
        number = self.group.sum(self.optimizer.parameters, number)
        if math.isfinite(number):
            self.optimizer.step()
        return number, kept

    def state_dict(self) -> dict[str, Any]:
        """Return what decides how later steps are computed."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""

    def begin_epoch(self, *, alone: bool) -> None:
        """Callbacks may have changed something, which is for steps that keep what they know.

        ``alone``: whether no code but tinynn's runs between the steps of this epoch.
        """

    def close(self) -> None:
        """No step follows."""


def training_step(
    model: Layer, loss: Loss, optimizer: Optimizer, *, keep: bool, compile: Any, chunk: Any,
    threads: Any, group: Alone,
) -> EagerStep:  # fmt: skip
    """Return the quickest step that these allow."""
    eager = EagerStep(model, loss, optimizer, keep, group)
    if not compile:
        return eager
    try:
        from tinynn.replay import training_step as replayed
    except ImportError:
        eager.eager = ALONE
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
        eagerly, lock = eager_forward(model), Lock()

        def in_turn(x: np.ndarray, worker: int = 0) -> np.ndarray:
            with lock:  # layers may keep something of a call
                return eagerly(x)

        return in_turn
    return replayed(model)


def quiet() -> np.errstate:
    """Silence NumPy where it would warn, for results that are checked as a whole."""
    warned = {kind: "ignore" for kind, action in np.geterr().items() if action == "warn"}
    return np.errstate(**warned)  # type: ignore[arg-type]


def weighed(loss: Loss, prediction: Any, y: Any, weight: Any) -> Any:
    """Return the loss, with weights if there are any."""
    return loss(prediction, y) if weight is None else loss(prediction, y, sample_weight=weight)


def plain(prediction: Any) -> Any:
    """Return the values of a prediction that a metric is to be taken of."""
    if isinstance(prediction, (Node, np.ndarray)):
        return values(prediction)
    raise TypeError(
        f"fit: metrics are taken of a model's one output, got {type(prediction).__name__}. Write "
        "a callback, such as tinynn.callbacks.Evaluate."
    )


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
