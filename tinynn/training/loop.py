"""The training loop: fit() with progress bar, history and validation; predict()."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinynn import _validate as check
from tinynn.autodiff import ops
from tinynn.autodiff.graph import as_array, no_grad
from tinynn.autodiff.tensor import Tensor
from tinynn.nn import losses
from tinynn.nn.layer import Layer, first_nonfinite_layer, mode
from tinynn.training.batches import batches, paired
from tinynn.training.optimizers import Optimizer

Callback = Callable[[int, dict[str, float]], Any]


@dataclass
class History:
    """What :func:`fit` has seen: ``history["loss"]``, ``history["val_loss"]``, one an epoch."""

    history: dict[str, list[float]] = field(default_factory=dict)

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
) -> History:
    """Train ``model`` on ``x``, ``y``: for each batch a forward pass, a backward pass, a step.

    ``x``, ``y``: arrays (samples, ...); ``validation_data``: such a pair. ``loss``: a function of
    (prediction, target) that returns a scalar, or the name of one of ``tinynn.losses``.
    ``optimizer`` holds the model's parameters. ``rng``: Generator or seed of the shuffling.
    ``callbacks``: functions ``(epoch, logs)``, called after each epoch, counted from 0; one that
    returns True ends the training. ``progress``: a tqdm bar for each epoch, with the running loss.

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
    _check_model("fit", model)
    xs, ys = paired("fit", x, y)
    criterion = losses.get("fit", loss)
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
    pieces = batches(xs, ys, size, shuffle=shuffle, rng=rng)
    history = History()
    with mode(model, training=True):
        for epoch in range(epochs):
            title = f"Epoch {epoch + 1}/{epochs}"
            with _bar(len(pieces), title, progress) as bar:
                logs = {"loss": _epoch(model, pieces, criterion, optimizer, title, bar)}
                if validation is not None:
                    logs["val_loss"] = _evaluate(model, *validation, criterion, size, title)
                bar.set_postfix({name: f"{value:.4g}" for name, value in logs.items()})
            history.append(logs)
            answers = [hook(epoch, dict(logs)) for hook in hooks]
            if any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers):
                break
    return history


def _bar(total: int, title: str, progress: bool) -> Any:
    from tqdm import tqdm  # costs more to import than all of tinynn

    return tqdm(total=total, desc=title, disable=not progress)


def _epoch(
    model: Layer, pieces: Any, criterion: Callable[..., Any], optimizer: Optimizer, title: str,
    bar: Any,
) -> float:  # fmt: skip
    total, samples = 0.0, 0
    for i, (x, y) in enumerate(pieces):
        optimizer.zero_grad()
        value = _scalar(criterion(model(x), y))
        number = value.item()
        if not math.isfinite(number):
            where = f"{title}, batch {i + 1}/{len(pieces)}".lower()
            raise _nonfinite(model, x, y, f"fit: the loss is {number} in {where}")
        value.backward()
        optimizer.step()
        total += number * len(x)
        samples += len(x)
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
            number = _scalar(criterion(model(xb), yb)).item()
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


def _check_model(owner: str, model: Any) -> None:
    if not isinstance(model, Layer):
        raise TypeError(f"{owner}: model must be a Layer, got {check.shown(model)}.")


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


def predict(model: Layer, x: Any, *, batch_size: int | None = None) -> np.ndarray:
    """Return the model's output for ``x`` as an ndarray, in evaluation mode and without a tape.

    ``x``: (samples, ...), or one series (length, channels), which must go in one piece.
    ``batch_size``: samples a piece, along the first axis whatever it is; by default as many series
    as hold about a million numbers. Each layer's mode is restored; threads that share a model must
    take turns.

    >>> from tinynn import Dense
    >>> predict(Dense(3, 2, rng=0), np.zeros((4, 3)))
    array([[0., 0.],
           [0., 0.],
           [0., 0.],
           [0., 0.]], dtype=float32)
    """
    _check_model("predict", model)
    array = ops.values(as_array("predict", x))
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise TypeError(f"predict: x must be an array of numbers, got {check.shown(x)}.")
    if batch_size is None:
        # Only with three axes is the first one surely that of the samples.
        per_sample = max(1, math.prod(array.shape[1:]))
        size = max(1, 2**20 // per_sample) if array.ndim >= 3 else max(1, len(array))
    else:
        size = check.integer("predict", "batch_size", batch_size, at_least=1)
    with no_grad(), mode(model, training=False):
        pieces = [
            np.array(ops.values(model(array[i : i + size])))
            for i in range(0, max(1, len(array)), size)
        ]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
