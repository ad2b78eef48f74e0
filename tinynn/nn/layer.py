"""The base class of layers and models: what it is made of, its state, its modes."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tinynn import _checks as check
from tinynn._trees import PLAIN, hidden_parts, tree_items, tree_leaves, tree_map
from tinynn.autodiff.graph import RESULT, Node
from tinynn.autodiff.listening import effect
from tinynn.autodiff.primitive import Primitive, as_array, values
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.receptive_field import ReceptiveField
from tinynn.nn.summary import summary


class Layer:
    """A function with parameters. Subclass it and write ``forward``.

    Attributes that are Tensors or Layers, also in lists, tuples and dicts, are found in the order
    of assignment: there is nothing to register, and no ``super().__init__()`` to call. Those
    Tensors that require a gradient are its parameters; all of them are its state. (A computed
    Tensor kept for inspection is not; assigned to the name of a state Tensor, it takes its place.)
    Parameters in other containers only, such as sets and dataclasses, are refused when parameters
    are asked for. Arrays that the layer is called with arrive in ``forward`` as Tensors.

    ``per_sample``: a layer of your own may state that it treats the samples of a batch one by one.

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
    per_sample: bool = False  # what it makes of a sample depends on no other one of the batch
    keeps_linear: bool = False  # between two linear maps it leaves them one linear map

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls):  # what was said of another forward may not hold
            cls.reach = vars(cls).get("reach", Layer.reach)  # type: ignore[method-assign]
            for said in ("per_sample", "keeps_linear"):
                setattr(cls, said, vars(cls).get(said, getattr(Layer, said)))

    def __setattr__(self, name: str, value: Any) -> None:
        # self.mean = (0.9 * self.mean + ...).detach() goes on being state.
        if isinstance(value, Tensor) and value._trace is None and value._ownership is RESULT:
            old = self.__dict__.get(name)
            if isinstance(old, Tensor) and old._ownership is not RESULT:
                value = Tensor(value, requires_grad=value.requires_grad)
        object.__setattr__(self, name, value)

    def forward(self, x: Any) -> Any:
        """Compute the output for ``x``; each subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__}: write a forward(self, x) method.")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the output, as ``forward`` does; arrays are given to it as Tensors."""
        args, kwargs = self._enter(args, kwargs)
        y: Any = self.forward(*args, **kwargs)
        if y is None:
            owner = type(self).__name__
            raise TypeError(f"{owner}: forward returned None. Does it end with a return?")
        return y

    @effect
    def _enter(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return the arguments of a call, arrays as Tensors."""
        if kwargs or len(args) != 1 or type(args[0]) is not Tensor:
            args = tuple([_entering(self, arg) for arg in args])
            kwargs = {name: _entering(self, arg) for name, arg in kwargs.items()}
        return args, kwargs

    def reach(self) -> ReceptiveField | tuple[Any, ...] | None:
        """Return (stride, left, right): output step i sees i stride - left to i stride + right.

        Say it in a layer of your own, and ``predict`` can cut a long series and ``stream`` take it
        in pieces: ``return self.body.reach()``, or 1, 0, 0 if each step is computed from itself.
        A layer that repeats each step says Fraction(1, 2), 1, 0. If the input must come in
        multiples of some steps, as where pooled steps are upsampled and joined to the input, say
        so in a fourth number: 1, 8, 8, 4. Pieces then begin, and are as long, as in the whole.
        None, as for every ``forward`` written anew: an output may depend on the whole series. It
        holds in evaluation, between the ends, which the layer may pad as it likes.
        """
        return None

    def named_layers(self) -> list[tuple[str, "Layer"]]:
        """Return this layer, under "", and all below it, each once with its dotted path."""
        members = _members(self, "", {}, [])
        return [(path, item) for path, item in members if isinstance(item, Layer)]

    def _layers(self) -> list["Layer"]:
        """Return the layers of :meth:`named_layers`, in any order: without paths it is quick."""
        found: list[Layer] = []
        seen: set[int] = set()
        holders: list[Any] = [self]
        for item in holders:  # which grows meanwhile
            if id(item) in seen:
                continue
            seen.add(id(item))
            parts = item
            if isinstance(item, Layer):
                found.append(item)
                parts = item.__dict__
            for part in parts.values() if isinstance(parts, dict) else parts:
                if issubclass(type(part), HOLDERS):  # quicker than isinstance
                    holders.append(part)
        return found

    def _named_tensors(self) -> list[tuple[str, Tensor]]:
        seen: dict[int, Any] = {}
        others: list[tuple[str, Any]] = []
        members = list(_members(self, "", seen, others))
        for fault in _hidden(members, others, seen):
            raise TypeError(f"{type(self).__name__}: the attribute {fault}")
        found = [(p, item) for p, item in members if isinstance(item, Tensor) and not _kept(item)]
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
        named = self.named_parameters()
        found = Parameters(tensor for _, tensor in named)
        found.named = named
        return found

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
            try:
                values[path] = fitted(path, state[path], tensors[path])
            except ValueError as error:
                faults.append(str(error))
        if faults:
            lines = "\n  ".join(sorted(faults))
            raise ValueError(
                f"load_state_dict: the state does not fit this {type(self).__name__}:\n  {lines}\n"
                "Nothing was changed. Build the model as it was when the state was taken."
            )
        for path, tensor in tensors.items():
            tensor._replace(values[path])

    def __getstate__(self) -> Any:
        """Return what copies are made of; results that are kept go detached."""
        state = super().__getstate__()
        if not isinstance(state, dict):  # there are slots, or nothing at all
            return state
        for name, value in state.items():
            if any(isinstance(part, Tensor) and part._trace for part in tree_leaves(value)):
                state = state | {name: tree_map(_detached, value)}
        return state

    def train(self, mode: bool = True) -> Self:
        """Switch this layer and all below to training (Dropout drops); return it."""
        training = check.flag(type(self).__name__, "mode", mode)
        for layer in self._layers():
            layer.training = training
        return self

    def eval(self) -> Self:
        """Switch this layer and all below to evaluation; return it."""
        return self.train(False)

    def summary(self, input_shape: Iterable[int | None]) -> str:
        """Return a table of the layers: activation, output shape, number of parameters.

        Of a model on series it also shows how many input steps an output step sees, and how many
        input steps lie from one output to the next (1/2 after upsampling; - if it is not known).
        ``input_shape``: the shape of one sample; a leading None stands for the batch axis. Notes
        follow on linear layers in a row. Raises ValueError if the model takes no such sample.

        >>> from tinynn.nn.layers import Dense
        >>> print(Dense(3, 2, rng=0).summary((3,)))
        layer  type   activation  output     parameters
        (self) Dense  linear      (batch, 2)          8
        8 parameters
        """
        return summary(self, input_shape)


class Parameters(list[Tensor]):
    """A list of Tensors; ``named`` are those of a model with their paths, for an optimizer."""

    named: Sequence[tuple[str, Tensor]] = ()


HOLDERS = (Layer, tuple, list, dict)  # where a layer is looked for


def _entering(layer: Layer, arg: Any) -> Any:
    """Return an argument of a layer: an array of numbers as a Tensor, all else as it is."""
    if isinstance(arg, (Node, np.generic)) or not hasattr(arg, "__array__"):
        return arg
    array = as_array(type(layer).__name__, arg)
    return Tensor(array).detach() if array.dtype.kind in "fiub" else arg


def _detached(part: Any) -> Any:
    return part.detach() if isinstance(part, Tensor) and part._trace else part


def _kept(tensor: Tensor) -> bool:
    """Tell whether it is a result that is kept for inspection, and so no state."""
    trained = tensor.requires_grad and tensor._trace is None
    return tensor._ownership is RESULT and not trained


def _members(
    item: Any, path: str, seen: dict[int, Any], others: list[tuple[str, Any]]
) -> Iterator[tuple[str, Any]]:
    """Yield every Tensor and Layer in ``item``, once, with its path; put all else in ``others``."""
    for at, part in tree_items(item, path):
        if not isinstance(part, (Tensor, Layer)):
            others.append((at, part))
        elif id(part) not in seen:
            seen[id(part)] = part
            yield at, part
            if isinstance(part, Layer):
                held = {k: v for k, v in vars(part).items() if type(v) not in PLAIN}
                yield from _members(held, at, seen, others)


def _hidden(
    members: list[tuple[str, Any]], others: list[tuple[str, Any]], seen: Mapping[int, Any]
) -> Iterator[str]:
    """Say which attributes hold Layers or parameters where the search does not look."""

    def missed(part: Any) -> bool:
        trained = isinstance(part, Tensor) and part.requires_grad and part._trace is None
        return (trained or isinstance(part, Layer)) and id(part) not in seen

    advice = "Keep it in a list, tuple or dict, or as an attribute of its own."
    for at, value in others:
        if type(value) in PLAIN or isinstance(value, (Primitive, np.dtype)):
            continue
        kind = type(value).__name__
        chained = isinstance(value, (itertools.chain, itertools.cycle))
        if chained or (hasattr(value, "__next__") and type(value).__module__ == "builtins"):
            yield (
                f"{at!r} is a {kind}: whether it holds layers cannot be seen. Make it a list; if "
                "it holds no layers, keep it in the closure of a function."
            )
        for part in filter(missed, hidden_parts(value, (Tensor, Layer))):
            what = f"holds a {type(part).__name__}, but is not searched for any"
            yield f"{at!r} is a {kind} that {what}. {advice}"
    for path, layer in members:
        for name, value in vars(layer).items() if isinstance(layer, Layer) else ():
            if isinstance(value, dict) and any(map(missed, value)):
                at = f"{path}.{name}".lstrip(".")
                what = "is a dict with Layers or Tensors for keys, which are not searched"
                yield f"{at!r} {what}. {advice}"
        for cls in type(layer).__mro__:
            ours = cls is object or cls.__module__.startswith("tinynn.")
            for name, value in () if ours else vars(cls).items():
                if any(map(missed, tree_leaves(value))):
                    at = f"{path}.{name}".lstrip(".")
                    what = f"belongs to the class {cls.__name__}, and so to all its objects"
                    yield f"{at!r} {what}. Assign it in __init__: self.{name} = ..."


def fitted(path: str, value: Any, tensor: Tensor) -> np.ndarray:
    """Return the value in the tensor's dtype; raise ValueError if it does not fit."""
    if isinstance(value, np.ndarray) and hasattr(value, "filled"):
        raise ValueError(f"masked: {path} needs numbers without a mask; give .filled(value)")
    given = value  # what has a shape and a dtype is not read before these fit
    try:
        if not isinstance(getattr(value, "dtype", None), np.dtype) or not hasattr(value, "shape"):
            given = values(value)
    except ValueError:
        raise ValueError(f"ragged: {path} has nested lists of unequal lengths") from None
    if given.dtype.kind not in "fiub":
        raise ValueError(f"wrong type: {path} needs real numbers, got dtype {given.dtype}")
    if given.shape != tensor.shape:
        raise ValueError(f"wrong shape: {path} needs {tensor.shape}, got {given.shape}")
    array = values(given)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(tensor.dtype)
    lost = np.isinf(cast) & np.isfinite(array) if tensor.dtype.kind == "f" else cast != array
    if lost.any():
        raise ValueError(f"out of range: {path} has values that {tensor.dtype} cannot hold")
    return cast
