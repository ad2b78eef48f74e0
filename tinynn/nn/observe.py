"""A look at a model at work: which layer is called with what, without a change to any of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn._trees import tree_leaves
from tinynn.autodiff.graph import LENT, PRIVATE, no_grad
from tinynn.autodiff.primitive import shape_of, values
from tinynn.autodiff.tensor import Tensor
from tinynn.nn import activations

if TYPE_CHECKING:
    from tinynn.nn.layer import Layer

Call = tuple[str, "Layer", Any, Any]  # path, layer, input, output


class mode:
    """Switch a model's mode, and afterwards each layer back to the one that it was in."""

    def __init__(self, model: "Layer", *, training: bool) -> None:
        self.model, self.training = model, training

    def __enter__(self) -> None:
        training = self.training
        self.before = before = [(layer, layer.training) for layer in self.model._layers()]
        try:
            others = [layer for layer, was in before if was is not training]
            if others and self.model.train.__module__ != "tinynn.nn.layer":  # the user's
                self.model.train(training)
                return
            for layer in others:
                object.__setattr__(layer, "training", training)  # quicker than Layer's own
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc: object) -> None:
        for layer, was in self.before:
            if layer.training is not was:
                object.__setattr__(layer, "training", was)


def title(path: str, layer: "Layer") -> str:
    """Return a layer's path and class, as messages name it."""
    return f"{path or 'model'} ({type(layer).__name__})"


@contextmanager
def _watched(
    layers: list[tuple[str, "Layer"]],
    before: Callable[[str, "Layer", Any], None] = lambda *call: None,
    after: Callable[[Call], None] = lambda call: None,
) -> Iterator[None]:
    """Call ``before`` and ``after`` with each call of a layer's ``forward`` inside."""
    own = [vars(layer).get("forward") for _, layer in layers]

    def watching(path: str, layer: "Layer", forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            x, y = args[0] if args else None, None
            before(path, layer, x)
            try:
                y = forward(*args, **kwargs)
            finally:
                after((path, layer, x, y))
            return y

        return watched

    try:
        for path, layer in layers:
            vars(layer)["forward"] = watching(path, layer, layer.forward)
        yield
    finally:
        for (_, layer), forward in zip(layers, own, strict=True):
            vars(layer)["forward"] = forward
            if forward is None:
                del vars(layer)["forward"]


@contextmanager
def observed(model: "Layer") -> Iterator[list[Call]]:
    """Collect every call of a layer inside, in the order in which they end.

    It is a mere look: whatever attributes the layers have set, and data their Tensors were given,
    are afterwards as they were before.
    """
    calls: list[Call] = []
    layers = model.named_layers()
    attributes = [vars(layer).copy() for _, layer in layers]
    held = [t for t in tree_leaves(attributes) if isinstance(t, Tensor) and t._trace is None]
    data = [(tensor._data, tensor._ownership) for tensor in held]
    try:
        with _watched(layers, after=calls.append):
            yield calls
    finally:
        for tensor, (array, owner) in zip(held, data, strict=True):
            if tensor._data is not array:  # which the results may have kept
                tensor._data = array
                tensor._ownership = LENT if owner is PRIVATE else owner
        for (_, layer), before in zip(layers, attributes, strict=True):
            for name in vars(layer).keys() - before.keys():
                del vars(layer)[name]
            vars(layer).update(before)


def first_nonfinite_layer(model: "Layer", x: Any) -> str | None:
    """Return the path of the first layer whose output for ``x`` is not finite, if there is one."""
    with no_grad(), observed(model) as calls:
        with np.errstate(all="ignore"):
            model(x)
        for path, layer, _, y in calls:
            if not all(map(_finite, tree_leaves(y))):
                return title(path, layer)
    return None


def _finite(part: Any) -> bool:
    array = np.asarray(values(part))
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def takes_as_series(layer: "Layer", x: Any, steps: int) -> bool:
    """Tell whether a layer takes ``x`` for one series of so many ``steps``."""
    return layer.takes_series and len(shape_of(x)) == 2 and shape_of(x)[0] == steps


@contextmanager
def one_series_refused(
    owner: str, model: "Layer", x: np.ndarray, size: int, advice: str
) -> Iterator[None]:
    """Refuse, inside, one series (length, channels) whose steps are cut up as if samples.

    ``size``: how many rows of ``x`` the model is given at a time. Of tinynn's own layers it is
    known what they make of them; if one is the user's, or holds a function of his, the model may
    add the missing axis itself, and what a layer is called with shows it.
    """

    def refuse(path: str, layer: "Layer") -> None:
        first = f"{owner}: x must be (samples, length, channels), got shape {x.shape}"
        if getattr(layer, "in_channels", None) == 1 != x.shape[1]:
            raise ValueError(f"{first}. Add the axis of the only channel: x[..., None].")
        raise ValueError(
            f"{first}, which {title(path, layer)} takes for one series (length, channels). {advice}"
        )

    def look(path: str, layer: "Layer", given: Any) -> None:
        if takes_as_series(layer, given, len(x[:size])):
            refuse(path, layer)

    layers = model.named_layers() if x.ndim == 2 else []
    takers = [pair for pair in layers if pair[1].takes_series]
    held = [getattr(layer, "activation", activations.linear) for _, layer in layers]
    ours = all(type(layer).__module__.startswith("tinynn.") for _, layer in layers)
    if takers and ours and all(function in activations.TABLE.values() for function in held):
        refuse(*takers[0])
    with _watched(takers, before=look):
        yield
