"""What a layer is made of: found, or refused by name; copies; what forward is given."""

import copy
import functools
import itertools
import pickle
import types
from collections import UserDict, UserList, deque, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import tinynn as tnn

Pair = namedtuple("Pair", ["first", "second"])


def dense():
    return tnn.Dense(2, 2, rng=0)


def array_of(part):
    array = np.empty(1, object)
    array[0] = part
    return array


@dataclass(eq=False)
class Data:
    part: object


@dataclass(slots=True, eq=False)
class Slotted:
    part: object


class Plain:
    def __init__(self, part):
        self.part = part


class Holder(tnn.Layer):
    def __init__(self, blocks):
        self.blocks = blocks

    def forward(self, x):
        return x


HIDING = {
    "set": lambda part: {part},
    "frozenset": lambda part: frozenset([part]),
    "deque": lambda part: deque([part]),
    "ndarray": array_of,
    "Data": Data,
    "Slotted": Slotted,
    "Plain": Plain,
    "SimpleNamespace": lambda part: types.SimpleNamespace(part=[part]),
    "UserList": lambda part: UserList([part]),
    "UserDict": lambda part: UserDict(part=part),
    "mappingproxy": lambda part: types.MappingProxyType({"part": part}),
    "dict_values": lambda part: {"part": part}.values(),
    "dict_items": lambda part: {"part": part}.items(),
    "partial": lambda part: functools.partial(tnn.dot, part),
}


@pytest.mark.parametrize("ask", ["parameters", "named_parameters", "state_dict"])
@pytest.mark.parametrize("kind", HIDING)
def test_a_layer_in_what_is_not_searched_is_refused_by_name(kind, ask):
    words = rf"^Holder: the attribute 'blocks' is a {kind} that holds a Dense, .* tuple or dict"
    with pytest.raises(TypeError, match=words):
        getattr(Holder(HIDING[kind](dense())), ask)()


@pytest.mark.parametrize("kind", HIDING)
def test_so_is_a_parameter_and_what_is_nested(kind):
    weight = tnn.Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=f"'blocks' is a {kind} that holds a Tensor"):
        Holder(HIDING[kind](weight)).parameters()
    with pytest.raises(TypeError, match=rf"^Sequential: .* 'layers\.0\.blocks\.a\.1' is a {kind}"):
        tnn.Sequential(Holder({"a": [1, HIDING[kind](dense())]})).parameters()
    with pytest.raises(TypeError, match=f"'blocks' is a Plain that holds a {Holder.__name__}"):
        Holder(Plain(Plain(Holder(None)))).state_dict()


@pytest.mark.parametrize(
    "make",
    [
        lambda parts: (part for part in parts),
        lambda parts: map(tnn.Sequential, parts),
        lambda parts: filter(None, parts),
        lambda parts: zip(parts, parts, strict=True),
        lambda parts: reversed(parts),
        lambda parts: itertools.chain(parts),
        lambda parts: itertools.cycle(parts),
    ],
)
def test_an_iterator_is_refused(make):
    with pytest.raises(TypeError, match=r"^Holder: the attribute 'blocks' is a .* Make it a list"):
        Holder(make([dense()])).parameters()


def test_a_method_of_a_layer_that_is_nowhere_else_is_refused():
    with pytest.raises(TypeError, match="'blocks' is a method that holds a Dense"):
        Holder(dense().forward).parameters()


def test_keys_and_attributes_of_the_class_are_refused():
    with pytest.raises(TypeError, match=r"'blocks' is a dict with Layers or Tensors for keys"):
        Holder({dense(): 1}).parameters()

    class Shared(tnn.Layer):
        body = dense()

    with pytest.raises(TypeError, match=r"'body' belongs to the class Shared, .* __init__: self"):
        Shared().parameters()

    class Listed(tnn.Layer):
        parts = (1, [dense()])

    with pytest.raises(TypeError, match=r"'layers\.0\.parts' belongs to the class Listed"):
        tnn.Sequential(Listed()).state_dict()


def test_what_is_found_elsewhere_too_is_not_missed():
    class Model(tnn.Layer):
        def __init__(self):
            self.body, self.weight = dense(), tnn.Tensor([1.0], requires_grad=True)
            self.order = {self.body: 0}
            self.recent = deque([self.body, self.weight])
            self.call = self.body.forward
            self.optimizer = tnn.SGD(self.parameters(), 0.1)
            self.owner = Plain(self)

    model = Model()
    assert [path for path, _ in model.named_parameters()] == ["body.kernel", "body.bias", "weight"]


def test_what_holds_no_parameter_is_nobodys_business():
    other = dense()
    layer = Holder([{1, 2}, deque([tnn.Tensor([1.0])]), Plain(np.ones(2)), lambda x: other(x)])
    layer.rng, layer.kept = np.random.default_rng(0), deque([other(np.ones((1, 2)))])
    layer.module, layer.activation, layer.kind = np, tnn.relu, tnn.Dense
    layer.array, layer.objects = np.ones(3), np.array([None, "a"], object)
    assert layer.parameters() == []
    assert layer.state_dict() == {}


def test_tuples_with_names_are_searched():
    layer = Holder(Pair(dense(), [dense()]))
    assert [path for path, _ in layer.named_parameters()] == [
        *("blocks.0.kernel", "blocks.0.bias", "blocks.1.0.kernel", "blocks.1.0.bias"),
    ]


def test_structures_that_hold_themselves_are_gone_through_once():
    tree = {"part": dense(), "parts": []}
    tree["parts"].append(tree)
    assert [path for path, _ in Holder(tree).named_parameters()] == [
        *("blocks.part.kernel", "blocks.part.bias")
    ]


# ---------------------------------------------------------------- copies


class Keeps(tnn.Layer):
    def __init__(self):
        self.inner = tnn.Dense(2, 2, rng=0)
        self.seen = {"all": []}

    def forward(self, x):
        self.given = x
        self.last = self.inner(x)
        self.seen["all"].append(self.last)
        return self.last


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "copy", "pickle"],
)
def test_a_layer_that_kept_results_can_be_copied(copied):
    model = Keeps()
    y = model(np.ones((1, 2)))
    twin = copied(model)
    for part in (twin.last, twin.seen["all"][0]):
        np.testing.assert_array_equal(part.data, y.data)
        assert not part.requires_grad
    assert list(twin.state_dict()) == list(model.state_dict()) == ["inner.kernel", "inner.bias"]
    assert model.last is y
    twin.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(twin(np.ones((1, 2))).data, y.data)
    assert len(tnn.grad(y.sum(), model.parameters())) == 2  # the graph of the first one is whole


def test_a_copy_is_independent_and_keeps_what_is_shared():
    model = Keeps()
    model.again = model.inner
    model(np.ones((1, 2)))
    twin = copy.deepcopy(model)
    assert twin.again is twin.inner
    twin.inner.kernel.data[...] = 0
    assert model.inner.kernel.data.any()


# ---------------------------------------------------------------- what forward is given


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint16", "bool"])
def test_an_array_arrives_as_a_tensor_of_its_dtype(dtype):
    given = []

    class Looks(tnn.Layer):
        def forward(self, x, *, mask=None):
            given.append((x, mask))
            return x * 1

    array = np.ones((2, 3), dtype)
    for x in (array, tnn.Tensor(array)):
        tnn.Sequential(Looks())(x)
        Looks()(x, mask=array)
    for x, mask in given:
        assert isinstance(x, tnn.Tensor)
        assert x.dtype == dtype
        assert mask is None or isinstance(mask, tnn.Tensor)
    array[...] = 0  # the caller's array is the caller's
    assert all(x.data.all() for x, _ in given)


def test_what_is_no_array_of_numbers_arrives_as_it_is():
    class Same(tnn.Layer):
        def forward(self, *args):
            return args

    args = ({"a": 1}, [1.0, 2.0], "text", 3, np.float64(2.0), np.array(["a"]), None)
    found = Same()(*args)
    assert all(a is b for a, b in zip(found, args, strict=True))


def test_an_input_that_is_kept_is_no_state():
    class Remembers(tnn.Layer):
        def forward(self, x):
            self.x = x
            return x

    layer = Remembers()
    layer(np.ones(2))
    assert layer.state_dict() == {}


def test_a_forward_written_anew_says_itself_what_it_does_to_samples():
    class Centred(tnn.Dense):
        def forward(self, x):
            return super().forward(x - x.mean(axis=0))

    class Scaled(tnn.Dense):
        per_sample = True

        def forward(self, x):
            return super().forward(2 * x)

    assert not Centred(1, 1).per_sample
    assert Scaled(1, 1).per_sample
    assert not tnn.Layer.per_sample
    own = (tnn.Dense, tnn.Conv1d, tnn.Activation, tnn.Flatten, tnn.Dropout, tnn.Sequential)
    pools = (tnn.MaxPool1d, tnn.AvgPool1d, tnn.GlobalMaxPool1d, tnn.GlobalAvgPool1d)
    longer = (tnn.Conv1dTranspose, tnn.UpSample1d, tnn.ZeroPad1d, tnn.Residual, tnn.Parallel)
    assert all(layer.per_sample for layer in (*own, *pools, *longer, tnn.LayerNorm))
    assert not any(layer.per_sample for layer in (tnn.BatchNorm, tnn.Lambda))
