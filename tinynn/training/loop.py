"""The training loop: fit() with progress bar, history and validation."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.graph import no_grad
from tinynn.nn import losses
from tinynn.nn.layer import Layer
from tinynn.nn.observe import first_nonfinite_layer, mode, one_series_refused
from tinynn.training.batches import Batches, paired, shuffled
from tinynn.training.inference import check_model
from tinynn.training.optimizers import Optimizer
from tinynn.training.progress import progress_bar
from tinynn.training.steps import EagerStep, Loss, quiet, scalar, training_step
from tinynn.training.threads import one_blas_thread

Callback = Callable[[int, dict[str, float]], Any]
ADVICE = "Use a smaller learning rate, or tinynn.clip_grad_norm."


@dataclass
class History:
    """What :func:`fit` has seen: ``history["loss"]``, ``history["val_loss"]``, one per epoch.

    ``eager``: why steps were not replayed, by the part that stood in the way; None if they were.
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    eager: str | None = None

    def append(self, logs: dict[str, float]) -> None:
        """Add the figures of one epoch."""
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


def fit(
    model: Layer, x: Any, y: Any, *, loss: str | Callable[..., Any], optimizer: Optimizer,
    epochs: int, batch_size: int = 32, validation_data: tuple[Any, Any] | None = None,
    shuffle: bool = True, rng: "check.Seed" = None, callbacks: Sequence[Callback] = (),
    progress: bool = True, compile: bool | str = "auto", chunk: int | str | None = "auto",
    threads: int | None = None,
) -> History:  # fmt: skip
    """Train ``model`` on ``x``, ``y``: for each batch a forward pass, a backward pass, a step.

    ``x``, ``y``: arrays (samples, ...); ``validation_data``: such a pair. ``loss``: a function of
    (prediction, target) that returns a scalar, or the name of one of ``tinynn.losses``.
    ``optimizer`` holds the model's parameters. ``rng``: Generator or seed of the shuffling.
    ``callbacks``: functions ``(epoch, logs)``, called after each epoch, counted from 0; one that
    returns True ends the training. ``progress``: a tqdm bar for each epoch, with the running loss.

    With ``compile="auto"`` the steps are recorded once and replayed, which is quicker and equal to
    rounding, where every part is known to depend on its arguments and Tensors alone: tinynn's own
    layers and losses, and what :func:`tinynn.pure` marks. All else runs as it is written, and the
    History's ``eager`` says why. ``compile=True`` is your word that it holds for all parts; False:
    never. ``chunk``: samples computed at a time where the loss is a mean over them, "auto" for as
    many as fit the cache, None for the batch; where a layer couples them, as BatchNorm does, a
    batch is never cut. ``threads``: how many chunks at a time, None for as
    many as pay. Equal settings give equal numbers.

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
    pieces = shuffled("fit", x, y, batch_size, shuffle, rng)
    given = losses.get("fit", loss)
    epochs = check.integer("fit", "epochs", epochs, at_least=1)
    check.flag("fit", "progress", progress)
    _check_optimizer(model, optimizer)
    how = _checked_compilation(compile, chunk, threads)
    hooks = _checked_callbacks(callbacks)
    held_out = None
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            got = check.shown(validation_data)
            raise TypeError(f"fit: validation_data must be a pair (x, y), got {got}.")
        held_out = Batches(*paired("fit: validation_data", *validation_data), pieces.size)
    step = training_step(model, given, optimizer, **how)
    return _Run(model, given, step, epochs, progress).train(pieces, held_out, hooks)


class _Run(NamedTuple):
    """The epochs of one call of fit()."""

    model: Layer
    loss: Loss
    step: EagerStep
    epochs: int
    progress: bool

    def train(
        self, pieces: Batches, held_out: Batches | None, hooks: Sequence[Callback]
    ) -> History:
        """Run the epochs, until a callback ends it."""
        for data in filter(None, (pieces, held_out)):
            with self._as_samples(data):
                pass  # what is known without calling the model is said before anything is changed
        for name in ("x", "y") if held_out else ():
            ours, theirs = getattr(pieces, name).shape, getattr(held_out, name).shape
            if len(ours) != len(theirs):
                raise ValueError(
                    f"fit: validation_data: {name} must have as many axes as {name}, {ours}, "
                    f"got {theirs}."
                )
        history = History()
        try:
            with mode(self.model, training=True), one_blas_thread():
                for epoch in range(self.epochs):
                    logs = self._epoch(epoch, pieces, held_out)
                    history.append(logs)
                    answers = [hook(epoch, dict(logs)) for hook in hooks]
                    if any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers):
                        break
        finally:
            history.eager = self.step.eager
            self.step.close()
        return history

    def _as_samples(self, pieces: Batches) -> AbstractContextManager[None]:
        """Refuse, at the model's first call inside, one series that is taken for samples."""
        advice = "Add a batch axis: x[None] and y[None]."
        return one_series_refused("fit", self.model, pieces.x, pieces.size, advice)

    def _epoch(self, epoch: int, pieces: Batches, held_out: Batches | None) -> dict[str, float]:
        """Take the steps of an epoch, return its figures."""
        title, first = f"Epoch {epoch + 1}/{self.epochs}", not epoch
        self.step.begin_epoch()
        with progress_bar(self.progress, len(pieces), title) as bar, quiet():
            logs = {"loss": self._mean("loss", self.step, pieces, title, first, bar)}
            if path := _nonfinite_parameter(self.model):
                what = f"fit: parameter {path} is no longer finite after {title.lower()}"
                raise FloatingPointError(f"{what}. {ADVICE}")
            if held_out is not None:
                with no_grad(), mode(self.model, training=False):
                    mean = self._mean("validation loss", self._validate, held_out, title, first)
                    logs["val_loss"] = mean
            bar.set_postfix({name: f"{value:.4g}" for name, value in logs.items()})
        return logs

    def _mean(
        self, what: str, of: Loss, pieces: Batches, title: str, first: bool, bar: Any = None
    ) -> float:
        """Return the mean over the samples of the losses ``of(x, y)``, which must be finite."""
        total, samples, shown = 0.0, 0, 0.0
        for i, (x, y) in enumerate(pieces):
            with self._as_samples(pieces) if first and not i else nullcontext():
                number = of(x, y)
            if not math.isfinite(number):
                where = f"{title.lower()}, batch {i + 1}" + (
                    "" if bar is None else f"/{len(pieces)}"
                )
                raise _nonfinite(self.model, x, y, f"fit: the {what} is {number} in {where}")
            total += number * len(x)
            samples += len(x)
            if bar is None:
                continue
            if not bar.disable and time.monotonic() - shown > 0.1:
                shown = time.monotonic()
                bar.set_postfix({what: f"{total / samples:.4g}"}, refresh=False)
            bar.update()
        return total / samples

    def _validate(self, x: np.ndarray, y: np.ndarray) -> Any:
        return scalar(self.loss(self.model(x), y)).item()


def _nonfinite_parameter(model: Layer) -> str | None:
    named = model.named_parameters()
    return next((path for path, p in named if not np.isfinite(p._data).all()), None)


def _nonfinite(model: Layer, x: np.ndarray, y: np.ndarray, what: str) -> FloatingPointError:
    """Return the error for a loss that is not finite, with the first place that explains it."""
    for name, array in (("x", x), ("y", y)):
        if not np.isfinite(array).all():
            place = f"{name} itself is not finite in this batch. Clean the data."
            return FloatingPointError(f"{what}: {place}")
    if path := _nonfinite_parameter(model):
        return FloatingPointError(f"{what}: parameter {path} is not finite. {ADVICE}")
    layer = first_nonfinite_layer(model, x)
    place = f"first in the output of layer {layer}"
    if layer is None:
        place = "all parameters and the outputs of all layers are finite, so it arises in the loss"
        place += " itself"
    return FloatingPointError(f"{what}: {place}. {ADVICE}")


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


def _checked_compilation(compile: Any, chunk: Any, threads: Any) -> dict[str, Any]:
    automatic = isinstance(compile, str) and compile == "auto"
    if not (isinstance(compile, (bool, np.bool_)) or automatic):
        kind = ValueError if isinstance(compile, str) else TypeError
        raise kind(f'fit: compile must be "auto", True or False, got {check.shown(compile)}.')
    if not (chunk is None or (isinstance(chunk, str) and chunk == "auto")):
        chunk = check.integer("fit", "chunk", chunk, at_least=1)
    if threads is not None:
        threads = check.integer("fit", "threads", threads, at_least=1)
    if not compile and (chunk not in ("auto", None) or threads not in (None, 1)):
        raise ValueError(
            f'fit: chunk={chunk!r} and threads={threads!r} need compile="auto" or True, got '
            f"{compile}."
        )
    compile = compile if automatic else bool(compile)
    return {"compile": compile, "chunk": chunk, "threads": threads}


def _checked_callbacks(callbacks: Any) -> list[Callback]:
    hooks = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    if callable(callbacks) or not all(map(callable, hooks)):
        got = check.shown(callbacks)
        raise TypeError(f"fit: callbacks must be a list of functions (epoch, logs), got {got}.")
    return hooks
