"""Parts of a batch, computed one by one or by others: what is known to be put together from them.

Who shares a batch out says in ``sharing`` how arrays are added up. A layer need not know who it is.
"""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from tinynn._trees import tree_leaves
from tinynn.autodiff.primitive import primitive
from tinynn.nn import activations, losses
from tinynn.nn.layer import Layer

Add = Callable[[np.ndarray, bool], np.ndarray]

sharing: ContextVar[Add | None] = ContextVar("tinynn_sharing", default=None)


def over_samples(loss: Any) -> str | None:
    """Return "mean" or "sum" if the loss of a batch is surely that of its samples' losses."""
    f, options = loss, {}
    if isinstance(loss, partial) and not loss.args:
        f, options = loss.func, loss.keywords
    of_one = all(np.ndim(value) == 0 for value in options.values())
    copied = hasattr(f, "__wrapped__") and f not in losses.TABLE.values()  # attributes of another
    if not of_one or copied or not hasattr(f, "over_samples"):
        return None
    return {"mean": "mean", "sum": "sum"}.get(options.get("reduction", "mean"))


def mixing_layers(model: Layer) -> Iterator[tuple[str, Layer]]:
    """Yield (path, layer) of layers that may mix the samples of a batch, or hold what may."""
    for path, layer in model.named_layers():
        held = [part for part in tree_leaves(vars(layer)) if callable(part)]
        ours = activations.TABLE.values()  # other functions of ours, too, may mix samples
        alone = all(isinstance(f, Layer) or f in ours for f in held)
        if not (alone and layer.per_sample):
            yield path, layer


def over_batch(x: Any) -> Any:
    """Return sums over the whole batch, of those over the samples that are here."""
    return x if sharing.get() is None else _total(x, weighed=False)


def _back(g: Any, y: Any, x: Any, weighed: bool) -> Any:
    return _total(g, weighed=not weighed)


@primitive(_back, passes_nan=True)
def _total(x: Any, weighed: bool) -> Any:
    """Add up what all have. ``weighed``: what another has counts as its weight over that of ours.

    So do gradients: the loss is a weighted sum of those of the parts, and each computes its own.
    """
    add = sharing.get()
    return x.copy() if add is None else add(x, weighed)
