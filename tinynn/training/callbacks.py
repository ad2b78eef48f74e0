"""Callbacks: what happens between the epochs of a training, and ends it.

Give them to :func:`tinynn.fit`. All that one depends on is in its ``state_dict``, so a training
that goes on later is the same one. In their place a function ``(epoch, logs)`` will do.
"""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.graph import no_grad
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.layer import Layer
from tinynn.nn.observe import mode
from tinynn.training.archive import checked_path
from tinynn.training.files import save
from tinynn.training.history import History, as_figure, write_table
from tinynn.training.optimizers import Optimizer

__all__ = ["CSVLogger", "EarlyStopping", "Evaluate", "ReduceOnPlateau", "SaveBest"]

# In the names of figures that are better when they are larger.
RISING = "accuracy", "auc", "f1", "precision", "recall"


class Callback:
    """Base of the callbacks: subclass it and write the methods that you need.

    ``logs`` holds the figures of the epoch: "loss", "val_loss" and metrics. At the end of a batch
    they are the means so far. What a callback adds to it at the end of an epoch is seen by those
    after it, and kept in the History. A truthy answer of ``on_epoch_end`` or ``on_batch_end`` ends
    the training; after a batch, the epoch is ended first.

    Attributes
    ----------
    model : Layer
        The model in training. ``fit`` sets all three before ``on_train_begin``.
    optimizer : Optimizer
        Its optimizer.
    history : History
        The figures so far.
    writes : bool
        False where another process trains the same model, and is the one that writes files.

    Examples
    --------
    >>> class Patient(Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         return logs["loss"] < 0.1
    """

    model: Layer
    optimizer: Optimizer
    history: History
    writes: bool = True

    def on_train_begin(self) -> Any:
        """Begin anew: called once, before the first epoch, also when the training is resumed."""

    def on_epoch_begin(self, epoch: int) -> Any:
        """Prepare for an epoch, before its first batch.

        Parameters
        ----------
        epoch : int
            Its number, from 0.
        """

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> Any:
        """Look at a batch after its step; a truthy answer ends the training.

        Parameters
        ----------
        batch : int
            Its number in the epoch, from 0.
        logs : dict of str to float
            The means over the epoch so far.
        """

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> Any:
        """Look at an epoch after its validation; a truthy answer ends the training.

        Parameters
        ----------
        epoch : int
            Its number, from 0.
        logs : dict of str to float
            The figures of the epoch. Figures may be added.
        """

    def on_train_end(self) -> Any:
        """After the last epoch, or when the training is ended otherwise."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that later calls depend on: numbers, strings, arrays, None, nested at will."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; called after ``on_train_begin``.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` has returned.
        """


class _Monitor(Callback):
    """Follows one figure; ``_state`` names the attributes that are its state."""

    _state: tuple[str, ...] = ("best", "seen", "wait")
    min_delta = 0.0

    def __init__(self, monitor: str, mode: str) -> None:
        self._owner = type(self).__name__
        if not isinstance(monitor, str):
            got = check.shown(monitor)
            raise TypeError(f"{self._owner}: monitor must be a name in the logs, got {got}.")
        self.monitor = monitor
        self.mode = check.choice(self._owner, "mode", mode, ("auto", "min", "max"))
        rising = any(word in monitor.lower() for word in RISING) or "r2" in monitor.split("_")
        self._sign = -1 if mode == "max" or (mode == "auto" and rising) else 1
        self.on_train_begin()

    def on_train_begin(self) -> None:
        """Forget what was best."""
        self.best: float | None = None
        self.seen = False  # whether the figure was there before: Evaluate may leave epochs out
        self.wait = 0  # epochs since it has improved

    def state_dict(self) -> dict[str, Any]:
        """Return what later calls depend on."""
        return {name: getattr(self, name) for name in self._state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        for name in self._state:
            setattr(self, name, state[name])

    def _improved(self, epoch: int, logs: Mapping[str, float]) -> bool | None:
        """Tell whether the figure is the best so far; None in an epoch without it."""
        if self.monitor not in logs:
            if self.seen:
                return None
            self._refuse_missing(logs)
        self.seen = True
        value = as_figure(self._owner, self.monitor, logs[self.monitor])
        finite, sign = math.isfinite(value), self._sign
        if not finite:
            self.history.notes.append(
                f"epoch {epoch + 1}: {self._owner} follows {self.monitor}, which is {value}: "
                "no improvement"
            )
        moved = value + sign * self.min_delta  # rounds as in Keras
        better = finite and (self.best is None or sign * moved < sign * self.best)
        self.best = value if better else self.best
        self.wait = 0 if better else self.wait + 1
        return better

    def _refuse_missing(self, logs: Mapping[str, float]) -> None:
        if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in logs):
            raise ValueError(
                f"{self._owner}: monitor must be one of {', '.join(map(repr, sorted(logs)))}, got "
                f"{self.monitor!r}. For figures val_... give fit validation_data or "
                "validation_split."
            )
        check.choice(self._owner, "monitor", self.monitor, logs)  # raises, with all that is


class EarlyStopping(_Monitor):
    """Ends the training when a figure has not improved for ``patience`` epochs, as in Keras.

    A figure that is not finite is no improvement, and is noted in ``History.notes``.

    Parameters
    ----------
    monitor : str, default "val_loss"
        The figure's name in the logs.
    mode : "auto", "min" or "max", default "auto"
        Which is better. "auto": "max" for names with accuracy, auc, f1, precision, recall or r2.
    patience : int, default 0
        Epochs without an improvement after which the training ends. 0 acts as 1.
    min_delta : float, default 0.0
        What a better value must be better by.
    restore_best : bool, default True
        Whether in the end, however it comes, the model gets the weights of the best epoch.

    Raises
    ------
    ValueError
        If the logs have no such figure. It lists those that there are.

    Examples
    --------
    >>> stopping = EarlyStopping("val_f1", patience=5)
    """

    _state = ("best", "seen", "wait", "weights")

    @check.with_hints
    def __init__(
        self, monitor: str = "val_loss", mode: str = "auto", patience: int = 0,
        min_delta: float = 0.0, restore_best: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode)
        self.patience = check.integer(self._owner, "patience", patience, at_least=0)
        self.min_delta = abs(check.real(self._owner, "min_delta", min_delta))
        self.restore_best = check.flag(self._owner, "restore_best", restore_best)

    def on_train_begin(self) -> None:
        """Begin anew."""
        super().on_train_begin()
        self.weights: dict[str, np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Tell whether it is enough."""
        better = self._improved(epoch, logs)
        if better is None:
            return False
        if self.restore_best and (better or self.weights is None):
            self.weights = self.model.state_dict()
        return self.wait >= max(self.patience, 1) and epoch > 0

    def on_train_end(self) -> None:
        """Give the model its best weights."""
        if self.weights is not None:
            self.model.load_state_dict(self.weights)


class SaveBest(_Monitor):
    """Writes the model to a file, by :func:`tinynn.save`, after each epoch that is the best so far.

    The file is replaced as a whole.

    Parameters
    ----------
    path : path
        The file.
    monitor : str, default "val_loss"
        The figure's name in the logs.
    mode : "auto", "min" or "max", default "auto"
        Which is better, as of :class:`EarlyStopping`.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If the logs have no such figure.

    Examples
    --------
    >>> saving = SaveBest("best.npz", monitor="val_accuracy")
    """

    @check.with_hints
    def __init__(
        self, path: str | os.PathLike[str], monitor: str = "val_loss", mode: str = "auto"
    ) -> None:
        super().__init__(monitor, mode)
        self.path = checked_path(self._owner, path)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Save the model if it is the best so far."""
        if self._improved(epoch, logs) and self.writes:
            save(self.path, self.model)


class ReduceOnPlateau(_Monitor):
    """Multiplies the learning rate by ``factor`` when a figure has not improved, as in Keras.

    Rates that groups of parameters have of their own are reduced, too. The optimizer's rate is in
    the logs, as "learning_rate".

    Parameters
    ----------
    monitor : str, default "val_loss"
        The figure's name in the logs.
    mode : "auto", "min" or "max", default "auto"
        Which is better, as of :class:`EarlyStopping`.
    factor : float, default 0.1
        Between 0 and 1.
    patience : int, default 10
        Epochs without an improvement after which the rate is reduced. They are then counted anew.
    min_delta : float, default 0.0001
        What a better value must be better by.
    min_learning_rate : float, default 0.0
        The rate goes no lower.

    Raises
    ------
    TypeError
        If a learning rate is a schedule.
    ValueError
        If the logs have no such figure.

    Examples
    --------
    >>> reducing = ReduceOnPlateau("loss", factor=0.5, patience=3)
    """

    @check.with_hints
    def __init__(
        self, monitor: str = "val_loss", mode: str = "auto", factor: float = 0.1,
        patience: int = 10, min_delta: float = 1e-4, min_learning_rate: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode)
        self.factor = check.real(self._owner, "factor", factor, above=0, below=1)
        self.patience = check.integer(self._owner, "patience", patience, at_least=0)
        self.min_delta = check.real(self._owner, "min_delta", min_delta, at_least=0)
        self.min_learning_rate = check.real(
            self._owner, "min_learning_rate", min_learning_rate, at_least=0
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Reduce the rate if it is time."""
        if any(name.endswith("learning_rate") for name in self.optimizer.schedules):
            raise TypeError(
                f"{self._owner}: the optimizer's learning_rate is a schedule. Give it a number."
            )
        logs["learning_rate"] = self.optimizer.learning_rate
        if self._improved(epoch, logs) is False and self.wait >= self.patience:
            holders: list[Any] = [self.optimizer]
            holders += [group for group in self.optimizer.groups if "learning_rate" in group.own]
            for holder in holders:
                if holder.learning_rate > self.min_learning_rate:
                    rate = max(holder.learning_rate * self.factor, self.min_learning_rate)
                    holder.learning_rate = rate
                    self.wait = 0


class Evaluate(Callback):
    """Adds ``f(model)``, a dict of figures by name, to the logs; it runs before all others.

    Parameters
    ----------
    f : callable
        A function of the model. It is called in evaluation mode and under ``no_grad``.
    every : int, default 1
        It is called in epochs 0, ``every``, 2 ``every``, ...; in the others the History has nan.

    Raises
    ------
    TypeError
        Unless ``f`` returns a dict of numbers.
    ValueError
        For a name that the logs hold already.

    Notes
    -----
    A callback that monitors such a figure leaves out the epochs without it.

    Examples
    --------
    >>> size = Evaluate(lambda model: {"norm": float(np.linalg.norm(model.kernel.data))})
    """

    @check.with_hints
    def __init__(self, f: Callable[[Any], Mapping[str, Any]], every: int = 1) -> None:
        if not callable(f):
            raise TypeError(f"Evaluate: give a function of the model, got {check.shown(f)}.")
        self.f, self.every = f, check.integer("Evaluate", "every", every, at_least=1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Evaluate the model, if it is time."""
        if epoch % self.every:
            return
        with no_grad(), mode(self.model, training=False):
            found = self.f(self.model)
        if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
            raise TypeError(
                "Evaluate: the function must return a dict of numbers by name, such as "
                f'{{"f1": 0.9}}, got {check.shown(found)}.'
            )
        for name, value in found.items():
            if name in logs:
                raise ValueError(f"Evaluate: the logs hold {name!r} already. Choose another name.")
            logs[name] = as_figure("Evaluate", name, value)


class CSVLogger(Callback):
    """Writes the logs of each epoch as a row of a CSV file: the epoch, from 0, and the figures.

    It sees what callbacks before it have added to the logs.

    Parameters
    ----------
    path : path
        The file, which is written anew.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> log = CSVLogger("training.csv")
    """

    @check.with_hints
    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = checked_path("CSVLogger", path)
        self.on_train_begin()

    def on_train_begin(self) -> None:
        """Begin anew."""
        self.rows: list[dict[str, float]] = []
        self._written: list[str] | None = None  # the columns of the file, once it is ours

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Add a row; for a new column, or after a resume, write all of them."""
        row = {name: as_figure("CSVLogger", name, value) for name, value in logs.items()}
        self.rows.append({"epoch": epoch} | row)
        if not self.writes:
            return
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        if columns == self._written:
            write_table(self.path, columns, self.rows[-1:], mode="a")
        else:
            write_table(self.path, columns, self.rows)
        self._written = columns

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after such rows; what an interrupted run has written beyond them is dropped."""
        self.rows = [dict(row) for row in state["rows"]]


# ---------------------------------------------------------------- what fit is given


class Function(Callback):
    """A function ``(epoch, logs)`` as a callback."""

    def __init__(self, f: Callable[[int, dict[str, float]], Any]) -> None:
        self.f = f

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> Any:
        """Call it."""
        return self.f(epoch, logs)


def name_of(callback: Callback) -> str:
    """Return what a callback is called: the name of its class or function."""
    f = callback.f if isinstance(callback, Function) else type(callback)
    return getattr(f, "__name__", type(f).__name__)


def as_callbacks(given: Any) -> list[Callback]:
    """Return what ``fit`` was given as callbacks, those first that evaluate."""
    alone = callable(given) or isinstance(given, (str, Callback))
    listed = not alone and hasattr(given, "__iter__")
    hooks = list(given) if listed else [given]
    for hook in hooks:
        if isinstance(hook, type) and issubclass(hook, Callback):
            raise TypeError(
                f"fit: callbacks: {hook.__name__} is a class. Give an object: {hook.__name__}(...)."
            )
        if not listed or not (isinstance(hook, Callback) or callable(hook)):
            raise TypeError(
                "fit: callbacks must be a list of functions (epoch, logs) and tinynn.Callbacks, "
                f"got {check.shown(given)}.{'' if listed else ' Put it in a list: [callback].'}"
            )
    own = [id(hook) for hook in hooks if isinstance(hook, Callback)]
    if len(set(own)) < len(own):
        raise ValueError("fit: callbacks: one is listed twice. Make one object for each.")
    found = [hook if isinstance(hook, Callback) else Function(hook) for hook in hooks]
    return sorted(found, key=lambda hook: not isinstance(hook, Evaluate))  # stable


def truth(callback: Callback, answer: Any) -> bool:
    """Tell whether an answer says that the training is to end."""
    try:
        return bool(answer.item() if isinstance(answer, (np.ndarray, Tensor)) else answer)
    except (TypeError, ValueError, RuntimeError) as error:  # an array of several, or a table
        raise TypeError(
            f"fit: the callback {name_of(callback)} returned {check.shown(answer)}, which is "
            "neither true nor false. Return True to end the training, None or False to go on."
        ) from error
