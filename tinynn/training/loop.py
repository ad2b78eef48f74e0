"""The training loop: fit() with progress bar, history and validation."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.graph import no_grad
from tinynn.autodiff.tensor import Tensor
from tinynn.nn import losses
from tinynn.nn.layer import Layer, first_nonfinite_layer, mode
from tinynn.training.batches import batches, paired
from tinynn.training.inference import check_model, check_samples
from tinynn.training.optimizers import Optimizer
from tinynn.training.steps import EagerStep

Callback = Callable[[int, dict[str, float]], Any]


@dataclass
class History:
    """What :func:`fit` has seen: ``history["loss"]``, ``history["val_loss"]``, one an epoch."""

    history: dict[str, list[float]] = field(default_factory=dict)
    eager: str | None = None  # why the steps were not replayed, if they were not

    def append(self, logs: dict[str, float]) -> None:
        """Add the figures of one epoch."""
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


def fit(
    model: Layer,
    x: Any,
    y: Any,
    *,
    loss: str | Callable[..., Any],
    optimizer: Optimizer,
    epochs: int,
    batch_size: int = 32,
    validation_data: tuple[Any, Any] | None = None,
    shuffle: bool = True,
    rng: "check.Seed" = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    compile: bool = True,
    chunk: int | str | None = "auto",
    threads: int | None = None,
) -> History:
    """Train ``model`` on ``x``, ``y``: for each batch a forward pass, a backward pass, a step.

    ``x``, ``y``: arrays (samples, ...); ``validation_data``: such a pair. ``loss``: a function of
    (prediction, target) that returns a scalar, or the name of one of ``tinynn.losses``.
    ``optimizer`` holds the model's parameters. ``rng``: Generator or seed of the shuffling.
    ``callbacks``: functions ``(epoch, logs)``, called after each epoch, counted from 0; one that
    returns True ends the training. ``progress``: a tqdm bar for each epoch, with the running loss.

    By default the first two steps on each shape of batch are recorded, and the later ones replayed
    as :func:`tinynn.compile` does, equal to rounding; where that cannot be, or with
    ``compile=False``, every step runs eagerly, and the History's ``eager`` says why. A loss of your
    own that reads Python values which change during an epoch needs ``compile=False``. ``chunk``:
    samples of a batch that are computed at a time, their gradients added up with the weights of
    the loss's mean; "auto" for as many as fit the cache, None for all. ``threads``: how many
    chunks at a time, None for as many as pay. Equal settings give equal numbers.

    Returns a History: the mean loss over the samples of each epoch, and the validation loss.
    Raises FloatingPointError when the loss or a parameter is no longer finite, naming epoch,
    batch (counted from 1, as on the bar) and place. Ctrl-C leaves the model in its last whole step.

    >>> from tinynn import Dense, SGD
    >>> model = Dense(1, 1, rng=0)
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> history = fit(model, x, 3 * x, loss="mean_squared_error", epochs=30, rng=0,
    ...               optimizer=SGD(model.parameters(), 0.5), progress=False)
    >>> round(model.kernel.item(), 2)
    3.0
    """
    check_model("fit", model)
    xs, ys = paired("fit", x, y)
    given = losses.get("fit", loss)

    def criterion(prediction: Any, target: Any) -> Tensor:
        return _scalar(given(prediction, target))

    epochs = check.integer("fit", "epochs", epochs, at_least=1)
    size = check.integer("fit", "batch_size", batch_size, at_least=1)
    check.flag("fit", "progress", progress)
    _check_optimizer(model, optimizer)
    hooks = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    if callable(callbacks) or not all(callable(hook) for hook in hooks):
        raise TypeError(
            f"fit: callbacks must be a list of functions (epoch, logs), got "
            f"{check.shown(callbacks)}."
        )
    validation = None if validation_data is None else _validation(validation_data)
    for array in (xs, *(validation or ())[:1]):
        check_samples("fit", model, array, size, "Add a batch axis: x[None] and y[None].")
    pieces = batches(xs, ys, size, shuffle=shuffle, rng=rng)
    history = History()
    step = EagerStep(model, criterion, optimizer)
    with mode(model, training=True):
        for epoch in range(epochs):
            title = f"Epoch {epoch + 1}/{epochs}"
            with _bar(len(pieces), title, progress) as bar, quiet():
                logs = {"loss": _epoch(model, pieces, step, title, bar)}
                if validation is not None:
                    logs["val_loss"] = _evaluate(model, *validation, criterion, size, title)
                bar.set_postfix({name: f"{value:.4g}" for name, value in logs.items()})
            history.append(logs)
            answers = [hook(epoch, dict(logs)) for hook in hooks]
            if any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers):
                break
    return history


def _bar(total: int, title: str, progress: bool) -> Any:
    if not progress:
        return nullcontext(_NoBar())
    from tqdm import tqdm  # costs more to import than all of tinynn

    return tqdm(total=total, desc=title)


class _NoBar:
    disable = True

    def update(self) -> None:
        """Show nothing."""

    def set_postfix(self, logs: Any) -> None:
        """Show nothing."""


def quiet() -> np.errstate:
    """Silence NumPy where it would warn, for results that are checked as a whole."""
    warned = {kind: "ignore" for kind, action in np.geterr().items() if action == "warn"}
    return np.errstate(**warned)  # type: ignore[arg-type]


def _epoch(model: Layer, pieces: Any, step: EagerStep, title: str, bar: Any) -> float:
    total, samples, shown = 0.0, 0, 0.0
    for i, (x, y) in enumerate(pieces):
        number = step(x, y)
        if not math.isfinite(number):
            where = f"{title}, batch {i + 1}/{len(pieces)}".lower()
            raise _nonfinite(model, x, y, f"fit: the loss is {number} in {where}")
        total += number * len(x)
        samples += len(x)
        if not bar.disable and time.monotonic() - shown > 0.1:
            shown = time.monotonic()
            bar.set_postfix({"loss": f"{total / samples:.4g}"}, refresh=False)
        bar.update()
    for path, parameter in model.named_parameters():
        if not np.isfinite(parameter._data).all():
            raise FloatingPointError(
                f"fit: parameter {path} is no longer finite after {title.lower()}. "
                "Use a smaller learning rate, or tinynn.clip_grad_norm."
            )
    return total / samples


def _evaluate(
    model: Layer, x: np.ndarray, y: np.ndarray, criterion: Callable[..., Any], size: int, title: str
) -> float:
    total = 0.0
    with no_grad(), mode(model, training=False):
        for i, (xb, yb) in enumerate(batches(x, y, size, shuffle=False)):
            number = criterion(model(xb), yb).item()
            if not math.isfinite(number):
                where = f"{title}, batch {i + 1}".lower()
                raise _nonfinite(model, xb, yb, f"fit: the validation loss is {number} in {where}")
            total += number * len(xb)
    return total / len(x)


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.size != 1:
        raise TypeError(
            "fit: the loss must return a scalar Tensor, got "
            f"{'shape ' + str(value.shape) if isinstance(value, Tensor) else type(value).__name__}."
            " Use reduction='mean', and tinynn's operations."
        )
    return value


def _nonfinite(model: Layer, x: np.ndarray, y: np.ndarray, what: str) -> FloatingPointError:
    """Return the error for a loss that is not finite, with the first place that explains it."""
    advice = "Use a smaller learning rate, or tinynn.clip_grad_norm."
    for name, array in (("x", x), ("y", y)):
        if not np.isfinite(array).all():
            return FloatingPointError(
                f"{what}: {name} itself is not finite in this batch. Clean the data."
            )
    for path, parameter in model.named_parameters():
        if not np.isfinite(parameter._data).all():
            return FloatingPointError(f"{what}: parameter {path} is not finite. {advice}")
    place = first_nonfinite_layer(model, x)
    if place is None:
        return FloatingPointError(
            f"{what}: all parameters and the outputs of all layers are finite, so it arises in the "
            f"loss itself. {advice}"
        )
    return FloatingPointError(f"{what}: first in the output of layer {place}. {advice}")


def _check_optimizer(model: Layer, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            "fit: optimizer must be an Optimizer, such as tinynn.SGD(model.parameters(), 0.01), "
            f"got {check.shown(optimizer)}."
        )
    own = {id(p) for p in model.parameters()}
    if not own:
        raise ValueError("fit: the model has no parameter that requires a gradient.")
    if not any(id(p) in own for p in optimizer.parameters):
        raise ValueError(
            "fit: the optimizer holds none of the model's parameters. "
            "Make it with this model's model.parameters()."
        )


def _validation(data: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"fit: validation_data must be a pair (x, y), got {check.shown(data)}.")
    return paired("fit: validation_data", *data)
