"""The base class of layers and models: finding parameters, state, modes, a summary."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Self

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.graph import RESULT, no_grad
from tinynn.autodiff.listening import effect
from tinynn.autodiff.tensor import Tensor


class Reach(NamedTuple):
    """Which steps of a series one output step sees: i sees i stride - left to i stride + right.

    ``left`` and ``right``: 0 or more steps. ``fixed`` is False if the length of the series moves
    the windows, as padding "same" can with strides.
    """

    stride: int = 1
    left: int = 0
    right: int = 0
    fixed: bool = True

    def then(self, after: "Reach") -> "Reach":
        """Return the reach of this layer with another one after it.

        >>> Reach(2, 0, 1).then(Reach(3, 4, 4))
        Reach(stride=6, left=8, right=9, fixed=True)
        """
        return Reach(
            self.stride * after.stride,
            self.left + self.stride * after.left,
            self.right + self.stride * after.right,
            self.fixed and after.fixed,
        )


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
    takes_series: bool = False  # an input with two axes is one series (length, channels)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls) and "reach" not in vars(cls):
            cls.reach = Layer.reach  # type: ignore[method-assign]  # what it inherits may not hold

    def __setattr__(self, name: str, value: Any) -> None:
        # self.mean = (0.9 * self.mean + ...).detach() goes on being state.
        old = self.__dict__.get(name)
        detached = isinstance(value, Tensor) and value._trace is None and value._ownership is RESULT
        if detached and isinstance(old, Tensor) and old._ownership is not RESULT:
            value = Tensor(value, requires_grad=value.requires_grad)
        object.__setattr__(self, name, value)

    def forward(self, x: Any) -> Any:
        """Compute the output for ``x``; each subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__}: write a forward(self, x) method.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; the same as ``forward``."""
        self._entered()
        return self.forward(*args, **kwargs)

    @effect("layer")
    def _entered(self) -> None:
        """Let it be known that the layer is called."""

    def reach(self) -> Reach | tuple[int, int, int] | None:
        """Return (stride, left, right): output step i sees i stride - left to i stride + right.

        Say it in a layer of your own, and ``predict`` can cut a long series and ``stream`` take it
        in pieces: ``return self.body.reach()``, or 1, 0, 0 if each step is computed from itself.
        None, as it is for every ``forward`` that is written anew: an output may depend on the
        whole series. It holds in evaluation, between the ends, which the layer may pad as it likes.
        """
        return None

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
            if t._ownership is not RESULT or (t.requires_grad and t._trace is None)
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

        ``input_shape``: the shape of one sample, without the batch axis (a leading None stands for
        that axis and is dropped). Notes follow on linear layers in a row, which are together one
        linear map. Raises ValueError if the model cannot take such a sample.

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
        shape: tuple[Any, ...] = tuple(input_shape)
        shape = shape[1:] if shape[:1] == (None,) else shape
        fault = f"summary: input_shape {shape}, the shape of one sample without the batch axis,"
        try:
            zeros = np.zeros((1, *shape), np.float32)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{fault} must be lengths, such as (100, 1): {error}.") from None
        path = takes_as_one_series(self, zeros)
        if path is not None:
            raise ValueError(
                f"{fault} leaves no axis for the time steps of {path}. Give (length, channels), "
                "such as (100, 1); a leading None stands for the batch axis."
            )
        try:
            with mode(self, training=False), _observed(self) as calls:
                self(Tensor(zeros, requires_grad=True))  # so that every operation is recorded
        except (ValueError, TypeError) as error:
            raise ValueError(f"{fault} does not fit the model: {error}") from error
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


def reach_of(layer: Layer) -> Reach | None:
    """Return a layer's reach, checked, for anyone may write one."""
    said = layer.reach()
    if said is None:
        return None
    owner = f"{type(layer).__name__}.reach"
    if not isinstance(said, tuple) or len(said) not in (3, 4):
        raise TypeError(f"{owner} must return (stride, left, right) or None, got {said!r}.")
    stride, left, right = (
        check.integer(owner, name, value, at_least=least)
        for name, value, least in zip(("stride", "left", "right"), said, (1, 0, 0), strict=False)
    )
    return Reach(stride, left, right, *said[3:])


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
    """Collect every call of a layer inside, in the order in which they end.

    It is a mere look: whatever attributes the layers have set are afterwards as they were before.
    """
    calls: list[_Call] = []
    layers = model.named_layers()
    attributes = [vars(layer).copy() for _, layer in layers]

    def observer(path: str, layer: Layer, forward: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*args: Any, **kwargs: Any) -> Any:
            y = None
            try:
                y = forward(*args, **kwargs)
            finally:
                calls.append((path, layer, args[0] if args else None, y))
            return y

        return observed

    try:
        for path, layer in layers:
            layer.__dict__["forward"] = observer(path, layer, layer.forward)
        yield calls
    finally:
        for (_, layer), before in zip(layers, attributes, strict=True):
            for name in vars(layer).keys() - before.keys():
                del vars(layer)[name]
            vars(layer).update(before)


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


def takes_as_one_series(model: Layer, x: np.ndarray) -> str | None:
    """Return the layer for which the rows of a matrix ``x`` are time steps, if there is one.

    A trial shows it, for the layers alone do not: a model may add the missing axis itself.
    """
    if np.ndim(x) != 2 or not any(layer.takes_series for _, layer in model.named_layers()):
        return None
    with no_grad(), mode(model, training=False), _observed(model) as calls:
        with suppress(Exception), np.errstate(all="ignore"):
            model(x)  # where it fails, it fails again when the results are needed
        for path, layer, given, _ in calls:
            if layer.takes_series and np.ndim(given) == 2 and len(given) == len(x):
                return f"{path or 'model'} ({type(layer).__name__})"
    return None


def _aligned(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [cell.ljust(w) for cell, w in zip(row[:-1], widths, strict=False)]
        lines.append("  ".join([*cells, row[-1].rjust(widths[-1])]))
    return lines


def _tensors(results: Any) -> list[Tensor]:
    parts = results if isinstance(results, (list, tuple)) else [results]
    return [part for part in parts if isinstance(part, Tensor)]


def _takers(results: list[Tensor]) -> dict[int, set[int]]:
    """Return which operations took a tensor on the way to the results, both by id."""
    takers: dict[int, set[int]] = {}
    stack, seen = list(results), set()
    while stack:
        node = stack.pop()
        if id(node) in seen or not node._trace:
            continue
        seen.add(id(node))
        for arg in node._trace[1]:
            if isinstance(arg, Tensor):
                takers.setdefault(id(arg), set()).add(id(node))
                stack.append(arg)
    return takers


def _linear_pairs(calls: list[_Call]) -> list[str]:
    """Say where one linear map feeds another, and nothing else, with nothing nonlinear between."""
    notes = []
    takers = _takers([part for *_, y in calls for part in _tensors(y)])
    final = {id(part) for part in _tensors(calls[-1][3])} if calls else set()
    made_by: dict[int, str] = {}  # by id of a result, the linear map that it came from
    for path, layer, x, y in calls:
        inside = _takers(_tensors(y)).get(id(x))
        alone = y is x or (inside == takers.get(id(x)) and id(x) not in final)
        before = made_by.get(id(x)) if alone else None
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
