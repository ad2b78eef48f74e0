"""The epochs of one call of fit, and their state, from which a training can go on anywhere."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn._trees import tree_items
from tinynn.autodiff.graph import no_grad
from tinynn.nn.layer import Layer
from tinynn.nn.observe import first_nonfinite_layer, mode, one_series_refused
from tinynn.training.callbacks import Callback, Evaluate, name_of, truth
from tinynn.training.data import Batch, Samples, Source
from tinynn.training.history import History, as_figure
from tinynn.training.interrupts import Interrupts
from tinynn.training.optimizers import Optimizer
from tinynn.training.progress import Bars
from tinynn.training.steps import ALONE, CHOSEN, EagerStep, Loss, plain, quiet, scalar, weighed
from tinynn.training.threads import one_blas_thread
from tinynn.training.together import Alone

if TYPE_CHECKING:
    from tinynn.training.resume import Kept

Metrics = Sequence[tuple[str, Callable[[np.ndarray, np.ndarray], Any]]]
ADVICE = "Use a smaller learning rate, or tinynn.clip_grad_norm."
CTRL_C = "Ctrl-C"
AS_EVER = nullcontext()


class Run:
    """A training: ``epoch``, and of it ``batch`` batches of ``samples`` samples, are done.

    ``sums`` holds the loss and the metrics times the samples they were taken of, added up over the
    epoch. Beside these, :meth:`state_dict` has all that the rest of the training depends on. The
    state is whole, and may be kept, after each batch and after each epoch.
    """

    def __init__(
        self, model: Layer, loss: Loss, optimizer: Optimizer, step: EagerStep, epochs: int,
        data: Source, held_out: Source | None, metrics: Metrics, callbacks: Sequence[Callback],
        progress: bool, group: Alone,
    ) -> None:  # fmt: skip
        self.model, self.loss, self.optimizer, self.step = model, loss, optimizer, step
        self.epochs, self.data, self.held_out = epochs, data, held_out
        self.metrics, self.callbacks, self.group = metrics, callbacks, group
        for source in [data, held_out] if held_out is not None else [data]:
            source.part = group.part
        self.history = History(notes=_left_out(model, optimizer))
        self.keeper: Kept | None = None
        self.epoch = self.batch = self.samples = 0
        self.sums = dict.fromkeys(["loss", *(name for name, _ in metrics)], 0.0)
        self._bars = Bars(progress and group.first, epochs, len(data))
        self._interrupts = group.interrupts = Interrupts()
        self._batches: Iterator[Batch] | None = None  # of an epoch that is resumed
        self._began: dict[str, Any] = {}  # states of the data's generators when the epoch began
        self._dataset: Any = None  # the dataset's own state then
        self._first = True  # no batch has come yet
        self._watching = [c for c in callbacks if _overrides(c, "on_batch_end")]
        self.watched = bool(self._watching)  # by one of the group
        between = [metric.func if isinstance(metric, partial) else metric for _, metric in metrics]
        between += [] if isinstance(data, Samples) else [type(data.batches)]
        own = all(str(getattr(part, "__module__", "")).startswith("tinynn.") for part in between)
        self._alone = own and not self._watching

    # ------------------------------------------------------------ its state

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest depends on: nested dicts and lists of numbers, strings, arrays.

        ``order``: the states of the data's generators when the epoch began, which give the same
        order again, and ``dataset`` the state of its own that a dataset had then; ``generators``:
        the states of all of them, those of layers included, now. ``others``: what each other one of
        a group has of these, of ``validation`` data, and of ``step``.
        """
        own = {
            "order": self._began,
            "dataset": self._dataset if self.batch else _own_state(self.data),
            "validation": _own_state(self.held_out),
            "generators": _states(self.generators()),
            "step": self.step.state_dict(),
        }
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "samples": self.samples,
            "sums": dict(self.sums),
            "history": deepcopy(vars(self.history)),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            **own,
            "others": self.group.others(own),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict` of a run with the same settings."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for callback, its in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(its)
        self.epoch, self.batch, self.samples = state["epoch"], state["batch"], state["samples"]
        self.sums = dict(state["sums"])
        vars(self.history).update(deepcopy(state["history"]))
        _restore_own(self.data, state["dataset"])
        _restore_own(self.held_out, state["validation"])
        if self.batch:
            self._dataset, self._began = state["dataset"], dict(state["order"])
            self.restore(self._began)
            self._batches = self.data.epoch(self.batch)
        self.restore(state["generators"])
        self.step.load_state_dict(state["step"])

    def generators(self, *, of_data: bool = False) -> dict[str, "np.random.Generator"]:
        """Return the generators that a training draws from, or its data alone, by their holders."""
        holders = [("data", self.data), ("data", getattr(self.data, "batches", None))]
        if not of_data:
            holders += [("validation", getattr(self.held_out, "batches", None))]
            holders += [("optimizer", self.optimizer)]
            holders += [(f"model {path}", layer) for path, layer in self.model.named_layers()]
        found: dict[int, tuple[str, Any]] = {}  # each once, by the name of its first holder
        for title, holder in holders:
            for path, part in tree_items(getattr(holder, "__dict__", {})):
                if isinstance(part, np.random.Generator):
                    found.setdefault(id(part), (f"{title}.{path}", part))
        return dict(found.values())

    def restore(self, states: Mapping[str, Any]) -> None:
        """Let generators go on from such states."""
        generators = self.generators()
        for name, state in states.items():
            generators[name].bit_generator.state = state

    def _keep(self, state: Mapping[str, Any] | None = None) -> None:
        """Keep a state, by default that of now, if there is a checkpoint."""
        if self.keeper is not None:
            state = self.state_dict() if state is None else state
            if self.group.first:
                self.keeper.keep(state)

    def _pressed(self) -> bool:
        return self.group.heard()[0]

    # ------------------------------------------------------------ training

    def train(self, state: Mapping[str, Any] | None = None) -> History:
        """Train until the epochs run out or somebody ends it, from a ``state`` if there is one."""
        with self.group.together():
            return self._trained(state)

    def _trained(self, state: Mapping[str, Any] | None) -> History:
        try:
            with mode(self.model, training=True), one_blas_thread(), self._interrupts:
                self._check_samples()
                for callback in self.callbacks:
                    callback.model, callback.optimizer = self.model, self.optimizer
                    callback.history, callback.writes = self.history, self.group.first
                    callback.on_train_begin()
                if state is None:
                    self._keep()  # also shows at once that it can be kept
                else:
                    self.load_state_dict(self.group.own(state))
                    self._say_if_ended()
                self._until_stopped()
                for callback in self.callbacks:
                    callback.on_train_end()
        except BaseException as error:
            with suppress(AttributeError, TypeError):  # of an exception that takes no attributes
                error.history = self.history  # type: ignore[attr-defined]
            raise
        finally:
            self._bars.close()
            self.history.eager = self.step.eager
            self.step.close()
        return self.history

    def _say_if_ended(self) -> None:
        """Say that a checkpoint holds a training that is over, so that nothing is left to do."""
        why = self.history.stopped or f"its {self.epochs} epochs are over"
        if self.history.stopped is not None or self.epoch >= self.epochs:
            self._bars.say(
                f"fit: the checkpoint holds a training that has ended after epoch {self.epoch}: "
                f"{why}. To begin anew give another path, or remove the file."
            )

    def _until_stopped(self) -> None:
        """Run the epochs. Ctrl-C ends them after a whole step, and its epoch counts no more."""
        try:
            while self.epoch < self.epochs and self.history.stopped is None:
                self._epoch()
                if self._pressed():
                    self.history.stopped = CTRL_C
        except KeyboardInterrupt:
            if self._interrupts.pressed or not self.group.alone:
                raise
            self.history.stopped = CTRL_C

    def _epoch(self) -> None:
        """Go on with an epoch to its end, unless Ctrl-C comes before."""
        title = f"Epoch {self.epoch + 1}/{self.epochs}"
        if not self.batch:
            self.samples, self.sums = 0, dict.fromkeys(self.sums, 0.0)
            for callback in self.callbacks:
                callback.on_epoch_begin(self.epoch)
        self.step.begin_epoch(alone=self._alone)
        with self._bars.epoch(title, self.epoch, self.batch):
            with quiet():
                self._train_batches(title)
                # Validation may draw, so if it is interrupted, this is where to go on.
                ended_early = self.keeper is None or self.history.stopped is not None
                trained = None if ended_early else self.state_dict()
                if path := _nonfinite_parameter(self.model):
                    what = f"fit: parameter {path} is no longer finite after {title.lower()}"
                    raise FloatingPointError(f"{what}. {ADVICE}")
                logs = self._means()
                if self.held_out is not None:
                    logs |= self._validated(self.held_out, title)
            if self._pressed():
                if trained is not None:
                    self._keep(trained)
                return
            for callback in self.callbacks:
                if isinstance(callback, Evaluate):
                    callback.on_epoch_end(self.epoch, logs)
            logs = self.group.from_first(logs)
            self._bars.show(logs, self._is_eager())
        self._end_epoch(logs)

    def _end_epoch(self, logs: dict[str, float]) -> None:
        """Call the callbacks, and keep the figures, also if one of them raises."""
        said = len(self.history.notes)
        try:
            for callback in self.callbacks:
                if not isinstance(callback, Evaluate):
                    self._heed(callback, callback.on_epoch_end(self.epoch, logs))
        finally:
            self.history.append({k: as_figure("fit: logs", repr(k), v) for k, v in logs.items()})
        for note in self.history.notes[said:]:
            self._bars.say(note)
        self.history.stopped = self.group.first_of(self.history.stopped)
        self.group.demand_same(self)
        self.epoch, self.batch = self.epoch + 1, 0
        self._keep()

    def _heed(self, callback: Callback, answer: Any) -> None:
        if truth(callback, answer) and self.history.stopped is None:
            self.history.stopped = name_of(callback)

    def _train_batches(self, title: str) -> None:
        """Take the steps of an epoch that are left."""
        if self._batches is None:
            self._dataset = _own_state(self.data)
            if isinstance(self.data, Samples):  # in one order for all
                self.restore(self.group.from_first(_states(self.generators(of_data=True))))
            self._began = _states(self.generators(of_data=True))
            self._batches = self.data.epoch()
        batches, self._batches = self._batches, None
        for batch in batches:
            x, y, weight = self.group.share(batch)
            with self._at_first(x) if self._first else AS_EVER:
                number, prediction = self.step(x, y, weight)
            if not math.isfinite(number):
                where = f"{title.lower()}, batch {self.batch + 1}/{len(self.data)}"
                what = f"fit: the loss is {number} in {where}"
                raise self._nonfinite(x, y, what)
            count = self.group.count(len(x))
            if self.metrics:
                prediction, y = self.group.whole(prediction, y)
            for name, metric in self.metrics:
                self.sums[name] += self._figure(name, metric, prediction, y) * count
            self.sums["loss"] += number * count
            self.samples += count
            self.batch += 1
            if self._bars.shown:
                self._bars.update(self._means, self._is_eager())
            if self.watched and self._after_batch():
                return
            pressed, due = self.group.heard()
            if pressed:
                return
            if due:
                self._keep()

    def _after_batch(self) -> bool:
        logs = self._means()
        for callback in self._watching:
            self._heed(callback, callback.on_batch_end(self.batch - 1, logs))
        self.history.stopped = self.group.first_of(self.history.stopped)
        return self.history.stopped is not None

    def _means(self) -> dict[str, float]:
        return {name: total / self.samples for name, total in self.sums.items()}

    def _validated(self, held_out: Source, title: str) -> dict[str, float]:
        """Return the figures of held-out data: the mean loss, and metrics of them as a whole."""
        total, samples, predictions, targets = 0.0, 0, [], []
        with no_grad(), mode(self.model, training=False):
            for i, batch in enumerate(held_out.epoch()):
                x, y, weight = self.group.share(batch)
                with self._as_samples(x, len(x)) if not self.epoch and not i else nullcontext():
                    prediction = self.model(x)
                value = scalar(weighed(self.loss, prediction, y, weight))
                number = self.group.sum((), value.item())
                if not math.isfinite(number):
                    what = f"fit: the validation loss is {number} in {title.lower()}, batch {i + 1}"
                    raise self._nonfinite(x, y, what)
                count = self.group.count(len(x))
                total += number * count
                samples += count
                if self.metrics:
                    made, target = self.group.whole(np.array(plain(prediction)), y)
                    predictions.append(made)
                    targets.append(target)
                if self._pressed():
                    return {}
        logs = {"val_loss": total / samples}
        if self.metrics:
            whole = _joined(predictions), _joined(targets)
            logs |= {f"val_{n}": self._figure(n, metric, *whole) for n, metric in self.metrics}
        return logs

    def _figure(self, name: str, metric: Callable[..., Any], prediction: Any, y: Any) -> float:
        value = metric(prediction, y)
        return value if type(value) is float else as_figure("fit", f"the metric {name}", value)

    def _is_eager(self) -> bool:
        """Tell whether steps are eager for a reason that the user can change."""
        return self.step.eager not in (None, CHOSEN, ALONE)

    def _nonfinite(self, x: np.ndarray, y: np.ndarray, what: str) -> FloatingPointError:
        """Return the error for a loss that is not finite, with the first place that explains it."""
        place = self.group.first_of(_nonfinite_place(self.model, x, y))
        if place is None:
            place = "all parameters and outputs of layers are finite, so it arises in the loss "
            place += f"itself. {ADVICE}"
        return FloatingPointError(f"{what}: {place}")

    # ------------------------------------------------------------ checks

    def _check_samples(self) -> None:
        """Say what is known without calling the model, before anything is changed."""
        sources = [part for part in (self.data, self.held_out) if isinstance(part, Samples)]
        for source in sources:
            with self._as_samples(source.x, source.size):
                pass
        for name in ("x", "y") if len(sources) == 2 else ():
            ours, theirs = (getattr(source, name).shape for source in sources)
            if len(ours) != len(theirs):
                raise ValueError(
                    f"fit: validation_data: {name} must have as many axes as {name}, {ours}, "
                    f"got {theirs}."
                )

    def _at_first(self, x: np.ndarray) -> AbstractContextManager[None]:
        """Watch the first call of the model for one series that is taken for samples."""
        self._first = False
        shown = self.data.x if isinstance(self.data, Samples) else x
        return self._as_samples(shown, len(x))

    def _as_samples(self, x: np.ndarray, size: int) -> AbstractContextManager[None]:
        advice = "Add a batch axis: x[None] and y[None]."
        return one_series_refused("fit", self.model, x, size, advice)


def _left_out(model: Layer, optimizer: Optimizer) -> list[str]:
    """Return a note on parameters that the optimizer does not hold, if there are any."""
    held = {id(p) for p in optimizer.parameters}
    paths = [path for path, p in model.named_parameters() if id(p) not in held]
    note = f"the optimizer does not hold {', '.join(paths)}, which will not change"
    return [note] if paths else []


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    shapes = dict.fromkeys(part.shape[1:] for part in parts)
    if len(shapes) > 1:
        raise ValueError(
            "fit: metrics are taken over the validation data as a whole, but its batches have "
            f"samples of several shapes: {', '.join(map(str, shapes))}. Make them equally long, or "
            "take such figures in a tinynn.callbacks.Evaluate."
        )
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _overrides(callback: Callback, name: str) -> bool:
    own = getattr(type(callback), name) is not getattr(Callback, name)
    return own or name in vars(callback)


def _own_state(source: Source | None) -> Any:
    """Return the state that a dataset says it has."""
    batches = getattr(source, "batches", None)
    both = all(hasattr(batches, name) for name in ("state_dict", "load_state_dict"))
    return batches.state_dict() if both else None  # type: ignore[union-attr]


def _restore_own(source: Source | None, state: Any) -> None:
    if state is not None:
        source.batches.load_state_dict(state)  # type: ignore[union-attr]


def _states(generators: Mapping[str, Any]) -> dict[str, Any]:
    return {name: generator.bit_generator.state for name, generator in generators.items()}


def _nonfinite_parameter(model: Layer) -> str | None:
    named = model.named_parameters()
    return next((path for path, p in named if not np.isfinite(p._data).all()), None)


def _nonfinite_place(model: Layer, x: np.ndarray, y: np.ndarray) -> str | None:
    """Return the first place that explains a loss that is not finite, and what to do."""
    for name, array in (("x", x), ("y", y)):
        if not np.isfinite(array).all():
            return f"{name} itself is not finite in this batch. Clean the data."
    if path := _nonfinite_parameter(model):
        return f"parameter {path} is not finite. {ADVICE}"
    if layer := first_nonfinite_layer(model, x):
        return f"first in the output of layer {layer}. {ADVICE}"
    return None
