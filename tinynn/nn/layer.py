"""The base class of layers and models: finding parameters, state, modes, a summary."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from tinynn import _validate as check
from tinynn.autodiff import ops
from tinynn.autodiff.graph import RESULT, no_grad
from tinynn.autodiff.tensor import Tensor


class Layer:
    """A function with parameters. Subclass it and write ``forward``.

    Attributes that are Tensors or Layers, also in lists, tuples and dicts, are found in the order
    of assignment: there is nothing to register, and no ``super().__init__()`` to call. Those
    Tensors that require a gradient are its parameters; all of them are its state. (A computed
    Tensor kept for inspection is not; assigned to the name of a state Tensor, it takes its place.)

    >>> class Scale(Layer):
    ...     def __init__(self):
    ...         self.factor = Tensor([2.0], requires_grad=True)
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(np.array([1.0, 3.0]))
    Tensor([2., 6.], requires_grad=True)
    >>> [path for path, _ in Scale().named_parameters()]
    ['factor']
    """

    training: bool = True

    def __setattr__(self, name: str, value: Any) -> None:
        # self.mean = (0.9 * self.mean + ...).detach() goes on being state.
        old = self.__dict__.get(name)
        detached = isinstance(value, Tensor) and value._trace is None and value._hold == RESULT
        if detached and isinstance(old, Tensor) and old._hold != RESULT:
            value = Tensor(value, requires_grad=value.requires_grad)
        object.__setattr__(self, name, value)

    def forward(self, x: Any) -> Any:
        """Compute the output for ``x``; each subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__}: write a forward(self, x) method.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; the same as ``forward``."""
        return self.forward(*args, **kwargs)

    # ------------------------------------------------------------ what it is made of

    def named_layers(self) -> list[tuple[str, "Layer"]]:
        """Return this layer, under "", and all below it, each once with its dotted path."""
        return [(path, item) for path, item in _members(self, "", {}) if isinstance(item, Layer)]

    def _named_tensors(self) -> list[tuple[str, Tensor]]:
        found = [(p, item) for p, item in _members(self, "", {}) if isinstance(item, Tensor)]
        # A result kept for inspection, say as self.last_output, is not state.
        found = [
            (path, t)
            for path, t in found
            if t._hold != RESULT or (t.requires_grad and t._trace is None)
        ]
        paths = [path for path, _ in found]
        if len(set(paths)) != len(paths):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise ValueError(
                f"{type(self).__name__}: two Tensors have the path {twice!r}; rename a dict key."
            )
        return found

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """Return the trainable Tensors, each once, with their dotted paths."""
        return [(path, tensor) for path, tensor in self._named_tensors() if tensor.requires_grad]

    def parameters(self) -> list[Tensor]:
        """Return the trainable Tensors, each once, in order of assignment."""
        return [tensor for _, tensor in self.named_parameters()]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all Tensors' values by dotted path, such as ``layers.0.kernel``."""
        return {path: tensor.numpy() for path, tensor in self._named_tensors()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take all values from ``state``, as :meth:`state_dict` returned them.

        Raises ValueError with every missing, unexpected or misshapen entry; then nothing changes.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"load_state_dict: state must be a dict of arrays, got {type(state).__name__}."
            )
        tensors = dict(self._named_tensors())
        faults = [f"missing: {path} {tensors[path].shape}" for path in tensors if path not in state]
        faults += [f"unexpected: {path}" for path in state if path not in tensors]
        values = {}
        for path in tensors.keys() & state.keys():
            fault, values[path] = _fitted(state[path], tensors[path])
            faults += [f"{fault[0]}: {path} {fault[1]}"] if fault else []
        if faults:
            lines = "\n  ".join(sorted(faults))
            raise ValueError(
                f"load_state_dict: the state does not fit this {type(self).__name__}:\n  {lines}\n"
                "Nothing was changed. Build the model as it was when the state was taken."
            )
        for path, tensor in tensors.items():
            tensor._replace(values[path])

    # ------------------------------------------------------------ modes

    def train(self, mode: bool = True) -> Self:
        """Switch this layer and all below to training (Dropout drops); return it."""
        training = check.flag(type(self).__name__, "mode", mode)
        for _, layer in self.named_layers():
            layer.training = training
        return self

    def eval(self) -> Self:
        """Switch this layer and all below to evaluation; return it."""
        return self.train(False)

    # ------------------------------------------------------------ a look at it

    def summary(self, input_shape: Iterable[int | None]) -> str:
        """Return a table of the layers: activation, output shape, number of parameters.

        ``input_shape``: the shape of one sample, without the batch axis (a leading None is
        dropped). Notes follow on linear layers in a row, which are together one linear map.

        >>> from tinynn.nn.layers import Dense
        >>> print(Dense(3, 2, rng=0).summary((3,)))
        layer  type   activation  output     parameters
        (self) Dense  linear      (batch, 2)          8
        8 parameters
        """
        if not isinstance(input_shape, Iterable):
            raise TypeError(
                f"summary: input_shape must be a tuple such as (length, channels), got "
                f"{input_shape!r}."
            )
        shape = [n for i, n in enumerate(input_shape) if not (i == 0 and n is None)]
        try:
            with no_grad(), mode(self, training=False), _observed(self) as calls:
                self(np.zeros([1, *shape], np.float32))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"summary: input_shape {tuple(shape)}, the shape of one sample without the batch "
                f"axis, does not fit the model: {error}"
            ) from error
        counted: set[int] = set()
        table: list[tuple[str, ...]] = [("layer", "type", "activation", "output", "parameters")]
        for path, layer, _, output in calls:
            below = {id(t) for _, part in layer.named_layers()[1:] for t in part.parameters()}
            own = [t for t in layer.parameters() if id(t) not in below]
            if below and not own:
                continue  # only holds other layers
            size = sum(t.size for t in own if id(t) not in counted)
            counted |= {id(t) for t in own}
            batched = ", ".join(["batch", *map(str, np.shape(output)[1:])])
            kind, name = type(layer).__name__, getattr(layer, "activation_name", "-")
            table.append((path or "(self)", kind, name, f"({batched})", f"{size:,}"))
        total = sum(t.size for t in self.parameters())
        return "\n".join([*_aligned(table), f"{total:,} parameters", *_linear_pairs(calls)])


def _members(item: Any, path: str, seen: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every Tensor and Layer in ``item``, each once, with its path."""
    if id(item) in seen or not isinstance(item, (Tensor, Layer, dict, list, tuple)):
        return
    seen[id(item)] = item
    if isinstance(item, (Tensor, Layer)):
        yield path, item
    if isinstance(item, Tensor):
        return
    if isinstance(item, (list, tuple)):
        children: Iterable[tuple[Any, Any]] = enumerate(item)
    else:
        children = (vars(item) if isinstance(item, Layer) else item).items()
    for key, child in children:
        yield from _members(child, f"{path}.{key}" if path else str(key), seen)


def _fitted(value: Any, tensor: Tensor) -> tuple[tuple[str, str] | None, np.ndarray]:
    """Return the value in the tensor's dtype; or what is wrong with it."""
    array = ops.values(value)
    if array.dtype.kind not in "fiub":
        return ("wrong type", f"needs real numbers, got dtype {array.dtype}"), array
    if array.shape != tensor.shape:
        return ("wrong shape", f"needs {tensor.shape}, got {array.shape}"), array
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(tensor.dtype)
    lost = np.isinf(cast) & np.isfinite(array) if tensor.dtype.kind == "f" else cast != array
    if lost.any():
        return ("out of range", f"has values that {tensor.dtype} cannot hold"), array
    return None, cast


@contextmanager
def mode(model: Layer, *, training: bool) -> Iterator[None]:
    """Switch a model's mode, and afterwards each layer back to the one that it was in."""
    before = [(layer, layer.training) for _, layer in model.named_layers()]
    try:
        model.train(training)
        yield
    finally:
        for layer, was in before:
            layer.training = was


_Call = tuple[str, Layer, Any, Any]  # path, layer, input, output


@contextmanager
def _observed(model: Layer) -> Iterator[list[_Call]]:
    """Collect every call of a layer inside, in the order in which they end."""
    calls: list[_Call] = []
    layers = model.named_layers()
    own = {id(layer): layer.__dict__.get("forward") for _, layer in layers}

    def observer(path: str, layer: Layer, forward: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*args: Any, **kwargs: Any) -> Any:
            y = forward(*args, **kwargs)
            calls.append((path, layer, args[0] if args else None, y))
            return y

        return observed

    try:
        for path, layer in layers:
            layer.__dict__["forward"] = observer(path, layer, layer.forward)
        yield calls
    finally:
        for _, layer in layers:
            layer.__dict__.pop("forward", None)
            if own[id(layer)] is not None:
                layer.__dict__["forward"] = own[id(layer)]


def first_nonfinite_layer(model: Layer, x: Any) -> str | None:
    """Return the path of the first layer whose output for ``x`` is not finite, if there is one."""
    with no_grad(), _observed(model) as calls:
        with np.errstate(all="ignore"):
            model(x)
        for path, layer, _, y in calls:
            for part in y if isinstance(y, (list, tuple)) else [y]:
                if not np.isfinite(ops.values(part)).all():
                    return f"{path or 'model'} ({type(layer).__name__})"
    return None


def _aligned(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [cell.ljust(w) for cell, w in zip(row[:-1], widths, strict=False)]
        lines.append("  ".join([*cells, row[-1].rjust(widths[-1])]))
    return lines


def _linear_pairs(calls: list[_Call]) -> list[str]:
    """Say where one linear map feeds another with nothing nonlinear between."""
    notes = []
    made_by: dict[int, str] = {}  # by id of a result, the linear map that it came from
    for path, layer, x, y in calls:
        before = made_by.get(id(x))
        if hasattr(layer, "kernel"):
            if before is not None:
                notes.append(
                    f"note: {before} and {path} are two linear maps in a row, which are one linear "
                    "map; give the first an activation."
                )
            if getattr(layer, "activation_name", None) == "linear":
                made_by[id(y)] = path
        elif before is not None and getattr(layer, "keeps_linear", False):
            made_by[id(y)] = before
    return notes
