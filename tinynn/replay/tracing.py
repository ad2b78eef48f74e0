"""The rehearsal of a function: it runs once on Tensors, and changes nothing.

A :class:`Tracer` is a listener. Each operation is computed as ever, on the real values, and noted.
Effects are noted in place of being done: reading a leaf that was given new data gives the new
values, though the leaf itself is as it was. Whatever would turn values into plain numbers, which
Python or NumPy could use unheard, is refused.
"""

import copy
import os
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from traceback import walk_stack, walk_tb
from typing import Any, NoReturn

import numpy as np

from tinynn._trees import hidden_parts, tree_leaves, tree_map
from tinynn.autodiff import graph, ops
from tinynn.autodiff.graph import RELEASED, RESULT, Node, Trace
from tinynn.autodiff.listening import heard_by
from tinynn.autodiff.primitive import Primitive, primitive
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.layer import Layer
from tinynn.replay.guards import Guards
from tinynn.replay.recording import (
    ArraySpec,
    Assign,
    Check,
    Recording,
    Ref,
    Returned,
    Source,
    Step,
    Update,
)

PACKAGE = str(Path(__file__).parents[1]) + os.sep


class NotReplayable(RuntimeError):
    """A function given to :func:`tinynn.compile` does what a recording cannot repeat."""


class Traced(Tensor):
    """A Tensor of a rehearsal; ``_ref`` is its number."""

    __slots__ = ("_ref",)
    _ref: Ref


class TracedArray(Traced):
    """What would be a plain array if nobody listened."""

    __slots__ = ()

    def _in_place(self, other: Any) -> Any:
        raise TypeError("an array is changed in place, which other names of it would see")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __imatmul__ = _in_place
    __ifloordiv__ = __imod__ = __iand__ = __ior__ = __ixor__ = _in_place

    def __getattr__(self, name: str) -> Any:
        if hasattr(np.ndarray, name) and not name.startswith("__"):
            raise TypeError(f"a Tensor in place of an array has no {name!r}")
        raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")


@primitive(lambda g, y, x: g, passes_nan=True)
def current(x: Any) -> Any:
    """The value that a leaf has at this point of a rehearsal; never a step of its own."""
    return x


class Item:
    """What ``item()`` gives while a rehearsal goes on: it can be returned, and nothing else."""

    def __init__(self, ref: Ref, value: Any, refuse: Callable[[str], NoReturn]) -> None:
        self.ref, self.value, self.refuse = ref, value, refuse

    __class__ = property(lambda self: type(self.value))

    def _used(self, *args: Any) -> Any:
        self.refuse("it computes or decides in Python with a value of a Tensor")

    __bool__ = __int__ = __float__ = __complex__ = __index__ = __hash__ = __array__ = _used
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __format__ = __str__ = __repr__ = _used
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _used
    __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __divmod__ = _used
    __pow__ = __rpow__ = __neg__ = __pos__ = __abs__ = __round__ = __trunc__ = __ceil__ = _used


class Tracer:
    """Listens to one call; ``recording`` is what it heard, ``draws`` what was drawn meanwhile."""

    def __init__(self, draws: Sequence[np.ndarray] | None = None) -> None:
        self.recording = Recording()
        self.guards = Guards()
        self.draws: list[np.ndarray] = []
        self._given = None if draws is None else iter(draws)  # in place of drawing
        self.assigned: list[np.ndarray] = []  # what leaves were given
        self.outcome: list[np.ndarray] = []  # what was returned, and the gradients
        self._leaves: dict[int, tuple[Any, Traced]] = {}  # by id: leaf, and its current value
        self._made: dict[int, Tensor] = {}  # leaves that the call makes itself, by id
        self._constants: dict[int, tuple[Any, Traced]] = {}  # by id of the array
        self._gradients: dict[int, tuple[Any, Traced | None]] = {}  # by id of the leaf
        self._twins: dict[int, tuple[Any, Any]] = {}  # copies of optimizers, by id
        self._nodes: list[weakref.ref[Traced]] = []
        self.given: set[int] = set()  # Tensors that are arguments, by id
        self._refused: NotReplayable | None = None  # which the function may have caught
        self._walking = False  # a walk back goes on, which makes a seed
        self._born = next(graph._births)

    def argument(self, place: int, array: np.ndarray, as_tensor: bool) -> Any:
        """Return the Tensor that stands for an argument of the call, or an array as it is."""
        if self._given is not None and not as_tensor:
            array = array.view()  # no copy, which of a large one would take long
            array.flags.writeable = False
            return array
        kind = Traced if as_tensor else TracedArray
        return self._source(kind, array, Source("argument", place))

    def finish(self, result: Any) -> Recording:
        """Return the recording of a call that returned ``result``."""
        if self._refused is not None:
            raise self._refused
        self.recording.result = tree_map(self._returned, result)
        for leaf, node in self._gradients.values():
            if id(leaf) not in self._made:
                self.leave_gradient(leaf, node)
        for leaf, node in self._leaves.values():
            if id(leaf) not in self._made and node._data is not leaf._data:
                self.assigned.append(node._data)
        changed = self.guards.restore()
        if changed is not None:
            self.refuse(
                f"it sets {changed}, which a replay would not do. Make layers outside, and let "
                "them keep nothing of a call"
            )
        return self.recording

    def leave_gradient(self, leaf: Any, node: Any) -> None:
        """Note the gradient that the call leaves in a leaf: a Traced, or None."""
        self.recording.gradients.append((leaf, None if node is None else node._ref))
        if node is not None:
            self.outcome.append(node._data)

    def close(self) -> None:
        """End the rehearsal: layers are as they were, and nothing of it can be used any more."""
        self.guards.restore()
        for node in (reference() for reference in self._nodes):
            if node is not None:
                node._data, node._trace = Gone(node._data), None  # type: ignore[assignment]

    def refuse(self, what: str) -> NoReturn:
        """Raise NotReplayable: ``what`` the function does."""
        self._refused = NotReplayable(
            f"compile: the function cannot be replayed: {what}{place()}. "
            "Keep that outside of it, or do not compile it."
        )
        raise self._refused

    # ------------------------------------------------------------ numbers

    def _number(self, node: Traced) -> Traced:
        node._ref = Ref(len(self.recording.specs))
        self.recording.specs.append(ArraySpec(node._data.shape, node._data.dtype))
        self._nodes.append(weakref.ref(node))
        return node

    def _source(self, kind: type[Traced], array: np.ndarray, source: Source) -> Traced:
        node = self._number(kind._result(array, None))
        self.recording.sources[node._ref.index] = source
        return node

    def _alias(self, node: Traced, kind: type[Traced], trace: Trace | None = None) -> Traced:
        """Return another Tensor for the same array."""
        other = kind._result(node._data, trace)
        other._ref = node._ref
        self._nodes.append(weakref.ref(other))
        return other

    def _constant(self, array: np.ndarray, owner: Any) -> Traced:
        known = self._constants.get(id(owner))
        if known is None:
            node = self._source(TracedArray, array, Source("constant", array))
            known = self._constants[id(owner)] = owner, node
        return known[1]

    def node(self, x: Any) -> Any:
        """Return the Traced that stands for an array or Tensor; plain values as they are."""
        if isinstance(x, Traced):
            if not hasattr(x, "_ref"):
                self._refuse_thread(not self._walking)
                self._number(x)  # a seed of the walk back
                self.recording.sources[x._ref.index] = Source("constant", x._data)
            return x
        if isinstance(x, Item):
            self.refuse("it computes or decides in Python with a value of a Tensor")
        if isinstance(x, Node):
            return self._outside(x) if x._ownership is RESULT else self._leaf(x)
        if isinstance(x, np.ndarray):
            return self._constant(x, x)
        if isinstance(x, (list, tuple)):
            return self._constant(np.asarray(x), x)
        return x

    def _outside(self, x: Node) -> Traced:
        """Return a Tensor that was computed before the call: a constant."""
        if x._requires_grad and not graph._paused.get():
            self.refuse(
                "it goes on computing with a Tensor that was computed outside of it from others "
                "that require a gradient"
            )
        self._refuse_thread(x._birth > self._born)
        return self._alias(self._constant(x._data, x), Traced)

    def _refuse_thread(self, unheard: bool) -> None:
        if unheard:
            self.refuse("it computes with a Tensor in another thread")

    def _leaf(self, leaf: Any) -> Traced:
        """Return the value that a leaf has now."""
        if id(leaf) not in self._leaves:
            node = self._source(Traced, leaf._data, Source("leaf", leaf))
            self._leaves[id(leaf)] = leaf, self._at(leaf, node)
            self.guards.requires_grad(leaf)
        _, value = self._leaves[id(leaf)]
        if value._trace is RELEASED or (value._trace is None and leaf._requires_grad):
            # A backward() inside has consumed its graph, or the call has just made the leaf.
            value = self._at(leaf, value)
            self._leaves[id(leaf)] = leaf, value
        return value

    def _at(self, leaf: Any, node: Traced) -> Traced:
        """Return ``node`` as the value of a leaf, through which gradients reach it."""
        # The walk back compares what an argument holds with what it held: so that of the leaf.
        trace = Trace(current, (leaf,), (leaf._data,), {}) if leaf._requires_grad else None
        return self._alias(node, Traced, trace)

    # ------------------------------------------------------------ operations

    def operation(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Compute, and note the step."""
        if any(isinstance(part, (Node, Item)) for part in tree_leaves(params)):
            self.refuse(f"a parameter of {op.__name__} depends on its data")
        inputs = tuple([self.node(x) for x in args])
        traced = [x for x in inputs if isinstance(x, Traced)]
        with heard_by(None):
            result = op.apply(inputs, params)
        if not traced:
            return result
        plain = all(type(x) is TracedArray for x in traced)
        result.__class__ = TracedArray if plain else Traced
        self._number(result)
        refs = tuple([x._ref if isinstance(x, Traced) else x for x in inputs])
        self.recording.steps.append(Step(op, refs, params, result._ref))
        return result

    def effect(self, verb: str, plain: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Note an effect in place of it."""
        handler = getattr(self, f"_do_{verb}")
        return handler(plain, *args)

    def _do_values(self, plain: Any, x: Any) -> Any:
        node = self.node(x)
        return self._alias(node, TracedArray) if isinstance(node, Traced) else plain(x)

    _do_data = _do_numpy = _do_owned = _do_values

    def _do_detach(self, plain: Any, x: Any) -> Any:
        return self._alias(self.node(x), Traced)

    def _do_item(self, plain: Any, x: Any) -> Any:
        node = self.node(x)
        with heard_by(None):
            return Item(node._ref, plain(node), self.refuse)

    def _do__read(self, plain: Any, x: Any, how: str) -> NoReturn:
        self.refuse(f"the values of a Tensor become plain numbers by {how}")

    def _do__fill(self, plain: Any, leaf: Any, data: Any, dtype: Any) -> None:
        node = self.node(data)
        with heard_by(None):
            plain(leaf, node if isinstance(node, Traced) else data, dtype)
        if not isinstance(node, Traced):
            node = self._constant(leaf._data.copy(), leaf)
        node = self._cast(node, leaf)
        self._made[id(leaf)] = leaf
        self._leaves[id(leaf)] = leaf, self._alias(node, Traced)

    def _do_requires_grad(self, plain: Any, x: Any) -> Any:
        return plain(x)

    def _do_set_requires_grad(self, plain: Any, x: Any, value: Any) -> None:
        if not isinstance(x, Traced) and id(x) not in self._made and value is not x._requires_grad:
            self.refuse("it changes the requires_grad of a Tensor")
        plain(x, value)

    def _do_set_data(self, plain: Any, leaf: Any, value: Any) -> None:
        if isinstance(leaf, Traced) or id(leaf) in self.given:
            self.refuse("it changes a Tensor that is an argument")
        before = self.node(leaf)
        node = self.node(value if isinstance(value, (Node, Item)) else np.asarray(value))
        fits = np.can_cast(node._data.dtype, leaf._data.dtype, "same_kind")
        if leaf._trace is not None or not fits or node._data.shape != before._data.shape:
            plain(leaf, node)  # raises what there is to say
        node = self._cast(node, leaf)
        self._leaves[id(leaf)] = leaf, self._at(leaf, node)
        if id(leaf) not in self._made:
            self.recording.steps.append(Assign(leaf, node._ref))

    def _cast(self, node: Traced, leaf: Any) -> Any:
        same = node._data.dtype == leaf._data.dtype
        return node if same else ops.astype(node, leaf._data.dtype)

    # ------------------------------------------------------------ gradients

    def _do_gradients(
        self, plain: Any, caller: str, y: Any, g: Any, targets: Sequence[Any] | None,
        as_nodes: bool = False, release: bool = False,
    ) -> list[tuple[Any, Any]]:  # fmt: skip
        if isinstance(y, Node):
            y = self.node(y)
        before, self._walking = self._walking, True
        try:
            found = plain(caller, y, g if g is None else self.node(g), targets, True, release)
        finally:
            self._walking = before
        if as_nodes:
            return found
        return [(x, self._alias(self.node(g), TracedArray)) for x, g in found]

    def _do_grad(self, plain: Any, leaf: Any) -> Traced | None:
        if id(leaf) not in self._gradients:
            with heard_by(None):
                array = plain(leaf)
            self.guards.gradient(leaf, array is None)
            if array is None:
                return None
            node = self._source(TracedArray, array, Source("gradient", leaf))
            self._gradients[id(leaf)] = leaf, node
        return self._gradients[id(leaf)][1]

    def _do_set_grad(self, plain: Any, leaf: Any, value: Any) -> None:
        if isinstance(leaf, Traced) or id(leaf) in self.given:
            self.refuse("it changes a Tensor that is an argument")
        if value is None:
            self._gradients[id(leaf)] = leaf, None
            return
        node = self.node(value if isinstance(value, Node) else np.asarray(value))
        if node._data.shape != leaf._data.shape:
            plain(leaf, node)  # raises what there is to say
        self._gradients[id(leaf)] = leaf, self._alias(self._cast(node, leaf), TracedArray)

    def _do__add_gradient(self, plain: Any, leaf: Any, share: Any) -> None:
        before = self._do_grad(lambda leaf: getattr(leaf, "_grad", None), leaf)
        self._do_set_grad(plain, leaf, share if before is None else before + share)

    # ------------------------------------------------------------ other effects

    def _do_fresh(self, plain: Any, make: Callable[[], Any]) -> Traced:
        with heard_by(None):
            array = np.asarray(make() if self._given is None else next(self._given))
        self.draws.append(array)
        return self._source(TracedArray, array, Source("draw", make))

    def _do_inspected(self, plain: Any, check: Callable[..., None], *arrays: Any) -> None:
        nodes = [self.node(x) for x in arrays]
        with heard_by(None):
            check(*[x._data if isinstance(x, Traced) else x for x in nodes])
        refs = tuple(x._ref if isinstance(x, Traced) else x for x in nodes)
        self.recording.steps.append(Check(check, refs))

    def _do__enter(self, plain: Any, layer: Any, args: Any, kwargs: Any) -> Any:
        self.guards.layer(layer)

        def entering(x: Any) -> Any:  # a Tensor also if it stands for an array
            return self._alias(x, Traced) if type(x) is TracedArray else x

        return tree_map(entering, plain(layer, args, kwargs))

    def _do__set(self, plain: Any, descriptor: Any, optimizer: Any, value: Any) -> None:
        if descriptor.name in vars(optimizer):  # it was made before
            self.refuse(f"it sets {type(optimizer).__name__}.{descriptor.name}")
        plain(descriptor, optimizer, value)

    def _do__set_own(self, plain: Any, name: str, optimizer: Any, *args: Any) -> None:
        self.refuse(f"it sets {name} of a group of {type(optimizer).__name__}")

    def _do_read(self, plain: Any, setting: Any, optimizer: Any, schedule: Any) -> None:
        self.refuse(f"it reads {type(optimizer).__name__}.{setting.name}, which a schedule changes")

    def _do_listen(self, plain: Any, other: Any) -> NoReturn:
        self.refuse("it looks at each operation, as tinynn.debug and tinynn.profile do")

    def _do__step(self, plain: Any, optimizer: Any) -> None:
        if any(id(p) in self._made for p in optimizer.parameters):
            self.refuse("it makes an optimizer and its parameters, which a replay would not")
        parameters = list(optimizer.parameters)
        gradients = [self._do_grad(lambda leaf: leaf._grad, p) for p in parameters]
        with heard_by(None):  # on a copy of the optimizer, which changes nothing
            if id(optimizer) not in self._twins:
                self._twins[id(optimizer)] = copy.deepcopy(optimizer), optimizer
            twin = self._twins[id(optimizer)][0]
            for p, other, g in zip(parameters, twin.parameters, gradients, strict=True):
                other._replace(self.node(p)._data.copy())
                other._grad = None if g is None else g._data
            plain(twin)
        nodes = [self._number(Traced._result(other._data, None)) for other in twin.parameters]
        for p, node in zip(parameters, nodes, strict=True):
            self._leaves[id(p)] = p, self._at(p, node)
        refs = [None if g is None else g._ref for g in gradients]
        step = Update(lambda: plain(optimizer), parameters, refs, [node._ref for node in nodes])
        self.recording.steps.append(step)

    # ------------------------------------------------------------ what is returned

    def _returned(self, value: Any) -> Any:
        if isinstance(value, Item):
            self.outcome.append(np.asarray(value.value))
            return Returned(value.ref, "number")
        if isinstance(value, np.generic):  # a sum of a plain array, for instance
            value = np.asarray(value)
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in "fiubc"
        kind = "array" if numbers or isinstance(value, TracedArray) else "tensor"
        if numbers or id(value) in self._made:
            value = self.node(value)
        if not isinstance(value, Traced):
            lasting = isinstance(value, (Node, Layer, Primitive, type, np.dtype))
            passing = callable(value) or hasattr(value, "__next__") or not value.__hash__
            if not lasting and (passing or any(hidden_parts(value, (Traced, Item)))):
                self.refuse(f"it returns a {type(value).__name__}, which a replay cannot make anew")
            return value
        if value._requires_grad and value._trace is not RELEASED:
            self.refuse(
                "it returns a Tensor that still has a graph. Call backward() inside, or return "
                ".detach()"
            )
        self.outcome.append(value._data)
        return Returned(value._ref, kind)


class Gone:
    """In place of the values of a Tensor that has outlived its rehearsal; its shape is known."""

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self.ndim, self.size = array.ndim, array.size

    def _asked(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotReplayable(
            "This Tensor is left over from the recording of a compiled function, which kept it "
            "somewhere. A replay keeps nothing: return it from the function instead."
        )

    __getattr__ = __array__ = __array_ufunc__ = _asked


def place(error: BaseException | None = None) -> str:
    """Return where the user's code stands, or was: " (train.py, line 23, in forward)"."""
    trace = error and error.__traceback__
    frames = walk_tb(trace) if trace else reversed([*walk_stack(sys._getframe(1))])
    theirs = [(f.f_code, n) for f, n in frames if not f.f_code.co_filename.startswith(PACKAGE)]
    if not theirs:
        return ""
    code, line = theirs[-1]
    return f" ({Path(code.co_filename).name}, line {line}, in {code.co_name})"
