"""The training loop: fit() checks what it is given, and starts a run."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn import metrics as measures
from tinynn.nn import losses
from tinynn.nn.layer import Layer
from tinynn.training.callbacks import Callback, as_callbacks
from tinynn.training.checkpoint import Checkpoint
from tinynn.training.data import Weighing, training_data
from tinynn.training.data import validation_data as validating
from tinynn.training.history import History
from tinynn.training.inference import check_model
from tinynn.training.optimizers import Optimizer
from tinynn.training.resume import Kept, as_checkpoint
from tinynn.training.run import Metrics, Run
from tinynn.training.steps import training_step
from tinynn.training.together import Alone, group_of


@check.with_hints
def fit(
    model: Layer, x: Any, y: Any = None, *, loss: str | Callable[..., Any], optimizer: Optimizer,
    epochs: int, batch_size: int = 32, validation_data: Any = None, validation_split: float = 0.0,
    sample_weight: Any = None, class_weight: Mapping[int, float] | None = None,
    metrics: Sequence[str | Callable[..., Any]] = (), shuffle: bool = True,
    rng: "check.Seed" = None, callbacks: Sequence[Callback | Callable[..., Any]] = (),
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None, progress: bool = True,
    compile: bool | str = "auto", chunk: int | str | None = "auto", threads: int | None = None,
    communicator: Any = None,
) -> History:  # fmt: skip
    """Train ``model``: for each batch a forward pass, a backward pass, a step of ``optimizer``.

    Parameters
    ----------
    model : Layer
        What is trained, in place.
    x : (samples, ...) array_like, or dataset
        The input. A dataset has a length, and gives its batches anew each time one iterates over
        it, as PyTorch's DataLoader does.
    y : (samples, ...) array_like, default None
        The targets. Leave them out beside a dataset, whose batches are (x, y) or (x, y, weight).
    loss : str or callable
        A name in ``tinynn.losses``, or a function of (prediction, target) that returns a scalar.
    optimizer : Optimizer
        What moves the parameters. Make it with ``model.parameters()``.
    epochs : int
        How often the training goes through all samples.
    batch_size : int, default 32
        Samples of a batch. The last batch may be smaller.
    validation_data : (x, y), (x, y, weight) or dataset, default None
        Data that are not trained on. Loss and metrics are taken over them after each epoch.
    validation_split : float, default 0.0
        In its place: a share of the samples to hold out, the last ones before shuffling.
    sample_weight : (samples,) or (samples, length) array_like, default None
        How much the loss of each sample, or of each time step, counts.
    class_weight : dict of class to weight, default None
        How much the losses of a class count. A class that is not named counts 1.
    metrics : list of str and callables, default ()
        Names in ``tinynn.metrics``, or functions of arrays (prediction, target).
    shuffle : bool, default True
        Whether each epoch takes the samples in a new order.
    rng : Generator or int, default None
        What the orders are drawn from. An int is a seed.
    callbacks : list of Callback and callables, default ()
        Functions are called as ``(epoch, logs)`` after each epoch. A truthy answer ends the
        training.
    checkpoint : path or Checkpoint, default None
        A file that keeps the state after each epoch. A script that is started anew goes on from it.
    progress : bool, default True
        Whether to show a tqdm bar: one for each epoch, or one for all if the output is no terminal.
    compile : bool or "auto", default "auto"
        Whether steps are recorded once and replayed. "auto": where every part is known to be pure.
    chunk : int, "auto" or None, default "auto"
        Samples computed at a time: a number, as many as fit the cache, or (None) the whole batch.
    threads : int, default None
        Chunks computed at the same time; None for as many as pay.
    communicator : mpi4py.MPI.Intracomm, default None
        Its ranks call fit alike, and each computes its part of every batch
        (:doc:`/how/many-machines`).

    Returns
    -------
    History
        The mean loss over the samples of each epoch, and all other figures.

    Raises
    ------
    FloatingPointError
        If the loss or a parameter is no longer finite. It names epoch, batch (from 1) and place.
    KeyboardInterrupt
        If Ctrl-C is pressed twice. Pressed once, it ends the training after the last whole step.
    ValueError, TypeError
        If an argument does not fit, or a checkpoint is of other settings, data or another model.

    Notes
    -----
    An error that is raised during the training has the History as ``error.history``.

    *Weights.* Classes are integer targets, 0 and 1, or one-hot rows of categorical_crossentropy.
    Weights multiply, and the loss gets them as ``sample_weight``. They have as many axes as the
    loss before it is reduced, for a function of your own as many as the target. As in Keras, the
    mean divides by the number of losses.

    *Metrics* are means over training batches. Those of the validation data, ``val_...``, are taken
    over all of them as a whole.

    *Checkpoints.* A resumed training ends in the same bits, and one that had finished returns its
    History at once. Give each training a path of its own. More epochs are accepted. The file keeps
    generators that layers and data hold as attributes, and the ``state_dict()`` of callbacks and of
    a dataset.

    *Replay* equals eager steps to rounding. A part is pure if it depends on its arguments and
    Tensors alone. Known to be so are tinynn's own layers and losses, and what :func:`tinynn.pure`
    marks. All else runs as it is written, and the History's ``eager`` says why. The bar says
    "eager" where steps could be quicker. ``compile=True`` is your word that all parts are pure;
    False never replays. A batch is cut into chunks only if the loss is a mean over samples and no
    layer couples them, as BatchNorm does.

    Examples
    --------
    >>> from tinynn import Dense, SGD
    >>> model = Dense(1, 1, rng=0)
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> history = fit(model, x, 3 * x, loss="mean_squared_error", epochs=30, rng=0,
    ...               optimizer=SGD(model.parameters(), 0.5), progress=False)
    >>> round(model.kernel.item(), 2)
    3.0
    """
    return _trained(**locals())


def _trained(communicator: Any, **given: Any) -> History:
    """Train alone, or with all who agree that they are given the same."""
    group = group_of("fit", communicator)
    run = group.agreed(lambda: _checked_run(**given, group=group))
    group.begin(run)
    found = group.agreed(lambda: run.keeper.state() if run.keeper and group.first else None)
    return run.train(group.from_first(found))


def _checked_run(
    model: Layer, x: Any, y: Any, *, loss: Any, optimizer: Any, epochs: Any, batch_size: Any,
    validation_data: Any, class_weight: Any, metrics: Any, callbacks: Any, checkpoint: Any,
    progress: Any, compile: Any, chunk: Any, threads: Any, group: Alone, **data: Any,
) -> Run:  # fmt: skip
    """Return the run of one call of fit, having checked the arguments."""
    check_model("fit", model)
    loss = losses.get("fit", loss)
    epochs = check.integer("fit", "epochs", epochs, at_least=1)
    progress = check.flag("fit", "progress", progress)
    how = _checked_compilation(compile, chunk, threads)
    file = as_checkpoint(checkpoint)
    hooks, figures = as_callbacks(callbacks), _checked_metrics(metrics)
    dtype = np.result_type(*[p.dtype for p in model.parameters()], np.float32)
    unweighed = Weighing(loss, None, dtype)
    weighing = unweighed if class_weight is None else Weighing(loss, class_weight, dtype)
    training, held_out = training_data(x, y, weighing, unweighed, batch_size=batch_size, **data)
    if validation_data is not None:
        if held_out is not None:
            raise ValueError("fit: give validation_data or validation_split, not both.")
        held_out = validating(validation_data, unweighed, batch_size)
    _check_optimizer(model, optimizer)
    step = training_step(model, loss, optimizer, keep=bool(figures), group=group, **how)
    parts = training, held_out, figures, hooks, progress, group
    run = Run(model, loss, optimizer, step, epochs, *parts)
    if file is not None:
        run.keeper, group.due = Kept(file, run), file.due  # type: ignore[method-assign]
    return run


def _checked_metrics(given: Any) -> Metrics:
    """Return metrics by name."""
    if isinstance(given, (str, Mapping)) or not hasattr(given, "__iter__"):
        got = check.shown(given)
        raise TypeError(
            f'fit: metrics must be a list of names and functions, such as ["accuracy"], got {got}.'
        )
    found = [measures.get("fit", metric) for metric in given]
    names = ["loss", *(name for name, _ in found)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"fit: two metrics are called {name!r}. Give a function of your own another "
                "__name__."
            )
    return found


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
