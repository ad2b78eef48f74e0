"""What ties a checkpoint to one training: the settings that must be as they were."""

import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn._trees import PLAIN
from tinynn.nn import activations
from tinynn.nn.config import NotHeld, arguments
from tinynn.nn.layer import Layer
from tinynn.training.callbacks import name_of
from tinynn.training.checkpoint import Checkpoint
from tinynn.training.data import Samples, Source
from tinynn.training.nested import differences
from tinynn.training.run import Run
from tinynn.training.schedules import shown

DIGESTED = 2**26  # bytes of data, above which samples of them are compared
BLOCKS = 1024
VERSION = 1  # of what Run.state_dict returns
TOLD = 12  # differences


def as_checkpoint(given: Any, owner: str = "fit") -> Checkpoint | None:
    """Return what a function was given as a checkpoint."""
    if given is None or isinstance(given, Checkpoint):
        return given
    if isinstance(given, (str, bytes, os.PathLike)):
        return Checkpoint(os.fsdecode(given))
    got = check.shown(given)
    raise TypeError(f"{owner}: checkpoint must be a path or a tinynn.Checkpoint, got {got}.")


class Kept:
    """The checkpoint of a run, which it keeps its state in, with its settings."""

    def __init__(self, checkpoint: Checkpoint, run: Run) -> None:
        self._checkpoint, self._epochs = checkpoint, run.epochs
        self._settings = settings(run)

    def keep(self, state: Mapping[str, Any]) -> None:
        """Keep a state of the run."""
        self._checkpoint.save({"settings": self._settings, "run": state})

    def state(self) -> dict[str, Any] | None:
        """Return the state to go on from; raise ValueError if it is one of another training."""
        found, name = self._checkpoint.load(), f"fit: the checkpoint {self._checkpoint.path}"
        if found is None:
            return None
        if not isinstance(found, dict) or found.keys() != {"settings", "run"}:
            raise ValueError(f"{name} is none of fit, but holds another state. Give another path.")
        there, state, here = found["settings"], found["run"], self._settings
        if here["optimizer"] == (now := of_an_optimizer(state["optimizer"])):
            there = there | {"optimizer": now}  # as callbacks have left it
        refuse_other(name, "training", there, here)
        done = state["epoch"] + bool(state["batch"])
        if done > self._epochs:
            raise ValueError(
                f"{name} is in epoch {done} already, so epochs must be at least that, got "
                f"{self._epochs}. Begin anew with another path, or remove the file."
            )
        return dict(state)


def refuse_other(name: str, what: str, there: Any, here: Any) -> None:
    """Raise ValueError, with what differs, if the checkpoint ``name`` has other settings."""
    if lines := differences(there, here):
        more = [f"and {len(lines) - TOLD} more"] if len(lines) > TOLD else []
        told = "\n  ".join([*lines[:TOLD], *more])
        raise ValueError(
            f"{name} is of a {what} with other settings:\n  {told}\nNothing was changed. Set "
            "them as they were, or begin anew: give another path, or remove the file."
        )


def settings(run: Run) -> dict[str, Any]:
    """Return what decides how a run goes, beside its state and the number of epochs."""
    model = run.model
    return {
        "version of the state": VERSION,
        "model": {path or "itself": of_a_layer(layer) for path, layer in model.named_layers()},
        "parameters": {
            path: f"{kind(p._data)}{'' if p.requires_grad else ', frozen'}"
            for path, p in model._named_tensors()
        },
        "optimizer": of_an_optimizer(run.optimizer.state_dict()),
        "loss": shown(run.loss),
        "metrics": [name for name, _ in run.metrics],
        "callbacks": [name_of(callback) for callback in run.callbacks],
        "data": _of_data(run.data),
        "validation data": None if run.held_out is None else _of_data(run.held_out),
        "generators": {
            name: type(rng.bit_generator).__name__ for name, rng in run.generators().items()
        },
    }


def of_a_layer(layer: Layer) -> dict[str, Any]:
    """Return a layer's class and those of its arguments that can be compared."""
    name, given = type(layer).__name__, dict[str, Any]()
    with suppress(NotHeld):
        name, given = arguments(layer)
    return {"class": name} | {
        key: activations.name(value) if hasattr(value, "__name__") else shown(value)
        for key, value in given.items()
        if type(value) in PLAIN or isinstance(value, (tuple, np.dtype)) or callable(value)
    }


def of_an_optimizer(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in an optimizer's state: what is neither a slot nor the step."""
    found = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
    found = {key: getattr(value, "item", lambda v=value: v)() for key, value in found.items()}
    found.pop("iterations", None)
    return found | {"groups": np.ravel(state.get("groups", 0)).tolist()}


def _of_data(source: Source) -> dict[str, Any]:
    if not isinstance(source, Samples):
        return {"class": type(source.batches).__name__, "batches": len(source)}
    arrays = {"x": source.x, "y": source.y, "weights": source.weight}
    found: dict[str, Any] = {"batch_size": source.size, "shuffle": source.rng is not None}
    for name, array in arrays.items():
        if array is not None:
            found |= {name: kind(array), f"values of {name}": digest(array)}
    return found


def kind(array: np.ndarray) -> str:
    """Return shape and dtype."""
    return f"{array.shape} {array.dtype}"


def digest(array: np.ndarray) -> str:
    """Return a number that other values would hardly have, of blocks of them if there are many."""
    if array.nbytes > DIGESTED:
        flat = array.reshape(-1) if array.flags.c_contiguous else array
        each = max(1, DIGESTED // BLOCKS // flat[:1].nbytes)
        starts = np.linspace(0, max(0, len(flat) - each), BLOCKS).astype(int)
        array = np.concatenate([flat[i : i + each] for i in starts])
    return f"{zlib.crc32(array.tobytes()):08x}"
