"""Descriptions of models: what is described is built again, and nothing else is."""

import contextlib
import inspect
import json
import tracemalloc

import numpy as np
import pytest

import tinynn as tnn
from tinynn.nn import config, initializers

A = "tinynn.Dense"


def again(model, classes=None, nbytes=10**6):
    described = json.loads(json.dumps(config.describe(model), allow_nan=False))
    return config.build(described, classes or {}, np.random.default_rng(0), nbytes)


def layers(*entries, model=-1, trainable=(), evaluation=(), version=1):
    listed = [{"class": name, "arguments": arguments} for name, arguments in entries]
    place = range(len(listed))[model]
    return {
        "format": "tinynn model", "version": version, "layers": listed, "model": place,
        "trainable": list(trainable), "evaluation": list(evaluation),
    }  # fmt: skip


def built(*entries, classes=None, nbytes=10**6, **rest):
    rng = np.random.default_rng(0)
    return config.build(layers(*entries, **rest), classes or {}, rng, nbytes)


EXAMPLES = {
    "Activation": lambda: tnn.Activation("gelu"),
    "AvgPool1d": lambda: tnn.AvgPool1d(3, strides=2, padding="same"),
    "BatchNorm": lambda: tnn.BatchNorm(3, momentum=0.5, epsilon=1e-5, dtype="float64"),
    "Conv1d": lambda: tnn.Conv1d(
        4, 6, 5, strides=2, padding=(3, 1), padding_mode="reflect", dilation_rate=3, groups=2,
        activation="elu", use_bias=False, dtype="float64", kernel_initializer="he_normal",
    ),
    "Conv1dTranspose": lambda: tnn.Conv1dTranspose(
        4, 6, 5, strides=2, padding="same", output_padding=1, groups=2, activation="tanh"
    ),
    "Dense": lambda: tnn.Dense(3, 2, "relu", use_bias=False, dtype="float16"),
    "Dropout": lambda: tnn.Dropout(0.25),
    "Flatten": lambda: tnn.Flatten(),
    "GlobalAvgPool1d": lambda: tnn.GlobalAvgPool1d(),
    "GlobalMaxPool1d": lambda: tnn.GlobalMaxPool1d(),
    "LayerNorm": lambda: tnn.LayerNorm(3, epsilon=1e-5, dtype="float64"),
    "MaxPool1d": lambda: tnn.MaxPool1d(3, strides=2, padding="same"),
    "Parallel": lambda: tnn.Parallel(tnn.Dense(2, 3), tnn.Sequential()),
    "Residual": lambda: tnn.Residual(tnn.Dense(2, 2)),
    "Sequential": lambda: tnn.Sequential(tnn.Dense(2, 3), tnn.Flatten()),
    "UpSample1d": lambda: tnn.UpSample1d(3),
    "ZeroPad1d": lambda: tnn.ZeroPad1d((2, 1)),
}  # fmt: skip
UNDESCRIBED = {"Lambda"}


def own_layers():
    public = {name: getattr(tnn, name) for name in tnn.__all__}
    return {
        name: thing
        for name, thing in public.items()
        if inspect.isclass(thing) and issubclass(thing, tnn.Layer) and thing is not tnn.Layer
    }


def test_every_layer_is_known_by_its_name():
    assert config._own_classes() == own_layers()


@pytest.mark.parametrize("name", sorted(own_layers()))
def test_every_layer_comes_back_with_all_its_arguments(name):
    if name in UNDESCRIBED:
        return
    cls, layer = own_layers()[name], EXAMPLES[name]()
    other = again(layer)
    assert type(other) is cls
    assert repr(other) == repr(layer)
    for argument in inspect.signature(cls).parameters:
        if argument == "rng" or argument.endswith("_initializer"):
            continue
        ours, theirs = getattr(layer, argument), getattr(other, argument)
        assert repr(theirs) == repr(ours)
        if not isinstance(ours, (list, tnn.Layer)):
            assert theirs == ours
    shapes = [[(p, t.shape, t.dtype) for p, t in m._named_tensors()] for m in (layer, other)]
    assert shapes[0] == shapes[1]


def test_what_was_changed_after_a_layer_was_made_is_described_as_it_is_now():
    layer = tnn.Conv1d(1, 1, 3)
    layer.padding, layer.bias, layer.activation = "causal", None, tnn.relu
    other = again(layer)
    assert (other.padding, other.bias, other.activation) == ("causal", None, tnn.relu)


def test_a_layer_at_two_places_is_one_layer_again():
    shared = tnn.Dense(2, 2)
    other = again(tnn.Sequential(shared, tnn.Activation("relu"), tnn.Sequential(shared)))
    assert other[0] is other[2][0]
    assert len(other.parameters()) == 2


def test_modes_and_frozen_parameters_come_back():
    model = tnn.Sequential(tnn.Dense(2, 2), tnn.Dropout(0.5), tnn.Dense(2, 1))
    model[0].kernel.requires_grad = False
    model[1].eval()
    other = again(model)
    assert [path for path, _ in other.named_parameters()] == [
        "layers.0.bias", "layers.2.kernel", "layers.2.bias",
    ]  # fmt: skip
    assert [layer.training for layer in other] == [True, False, True]


def test_a_layer_may_be_an_activation():
    other = again(tnn.Dense(2, 2, activation=tnn.Dense(2, 2, "relu")))
    assert repr(other.activation) == "Dense(2, 2, activation='relu')"


class Scaled(tnn.Layer):
    def __init__(self, body, factors, dtype="float32"):
        self.body, self.factors, self.dtype = body, factors, np.dtype(dtype)

    def forward(self, x):
        return self.body(x) * self.factors["all"][0]

    def to_config(self):
        return {"body": self.body, "factors": self.factors, "dtype": self.dtype}


class Made(Scaled):
    @classmethod
    def from_config(cls, config):
        return cls(config.pop("body"), **config)


@pytest.mark.parametrize("cls", [Scaled, Made])
def test_a_class_of_ones_own_says_its_arguments(cls):
    model = tnn.Sequential(cls(tnn.Dense(2, 2), {"all": [np.float64(2.5), None, "a", True]}))
    other = again(model, {cls.__name__: cls})
    assert type(other[0]) is cls
    assert other[0].factors == {"all": [2.5, None, "a", True]}
    assert repr(other[0].body) == repr(model[0].body)
    with pytest.raises(ValueError, match=r"the class is not tinynn.s\. Give classes="):
        again(model)


class Plain(tnn.Layer):
    def forward(self, x):
        return x


class Wider(tnn.Dense):
    pass


class Within(tnn.Layer):
    def __init__(self):
        self.itself = self

    def to_config(self):
        return {"itself": self}


def replaced():
    layer = tnn.Dense(1, 1)
    layer.forward = lambda x: x
    return layer


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (lambda: tnn.Activation(lambda x: x), "its activation is the function <lambda>"),
        (lambda: tnn.Dense(1, 1, activation=tnn.sqrt), "its activation is .*sqrt"),
        (lambda: Plain(), "it is no layer of tinynn's. Write a method to_config"),
        (lambda: Wider(1, 1), "it is no layer of tinynn's. Write a method to_config"),
        (lambda: replaced(), "its method forward was replaced"),
        (lambda: Within(), "it holds itself"),
        (lambda: Scaled(None, np.zeros(3)), r"its factors is an array of shape \(3,\)"),
        (lambda: Scaled(None, float("nan")), "its factors is nan"),
        (lambda: Scaled(None, {1: 2}), r"its factors is \{1: 2\}"),
        (lambda: Scaled(tnn.Tensor(1.0), 1), "its body is Tensor"),
    ],
)
def test_what_cannot_be_described_is_told_with_its_path(layer, told):
    model = tnn.Sequential(tnn.Dense(1, 1), layer())
    with pytest.raises(ValueError, match=r"(?s)not say how all of .*  layers.1, a \w+: " + told):
        again(model, {"Scaled": Scaled, "Within": Within})


def test_a_to_config_that_returns_no_dict_is_an_error_of_its_class():
    class Odd(Plain):
        def to_config(self):
            return [1]

    with pytest.raises(TypeError, match=r"Odd.to_config: must return a dict of arguments, got \[1"):
        config.describe(Odd())


DENSE = {"in_features": 2, "units": 3, "activation": "relu", "use_bias": True, "dtype": "float32"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (("tinynn.Danse", {}), "a tinynn.Danse: tinynn has no such layer. It has Activation,"),
        (("tinynn.Layer", {}), "tinynn has no such layer"),
        (("tinynn.Weighted", {}), "tinynn has no such layer"),
        (("tinynn._Pool1d", {}), "tinynn has no such layer"),
        (("tinynn.nn.layers.Dense", DENSE), "tinynn has no such layer"),
        (("os.system", {"command": "ls"}), "the class is not tinynn's"),
        (("Dense", DENSE), "the class is not tinynn's"),
        ((A, DENSE | {"colour": 1}), "there is no argument 'colour'. Was it written by a newer"),
        ((A, DENSE | {"rng": 1}), "there is no argument 'rng'"),
        ((A, DENSE | {"kernel_initializer": "ones"}), "no argument 'kernel_initializer'"),
        ((A, {"units": 3}), "the argument 'in_features' is missing"),
        ((A, DENSE | {"units": "3"}), "Dense: units must be a positive integer, got '3'"),
        ((A, DENSE | {"units": True}), "units must be a positive integer, got True"),
        ((A, DENSE | {"units": 1e3}), "units must be a positive integer, got 1000.0"),
        (
            (A, DENSE | {"units": 10**12}),
            r"the kernel of shape \(2, 1000000000000\) is larger than",
        ),
        ((A, DENSE | {"units": 10**30}), "1000000000000000000000000000000 is too large a number"),
        ((A, DENSE | {"units": -1}), "units must be a positive integer, got -1"),
        ((A, DENSE | {"dtype": "object"}), "dtype must be a floating-point type"),
        ((A, DENSE | {"dtype": "f4,f4"}), "dtype must be a floating-point type"),
        ((A, DENSE | {"activation": "eval"}), "activation must be one of"),
        ((A, DENSE | {"activation": {"layer": 0}}), "there is no layer 0 before it"),
        ((A, DENSE | {"activation": {"code": "1"}}), r"\{'code': '1'\} is no value"),
        ((A, [1, 2]), "its arguments are no dict"),
        (("tinynn.Sequential", {"layers": [{"layer": -1}]}), "there is no layer -1"),
        (("tinynn.Sequential", {"layers": [{"layer": True}]}), "there is no layer True"),
        (("tinynn.Sequential", {"layers": [{"layer": 0}]}), "there is no layer 0"),
        (("tinynn.Sequential", {"layers": 5}), "'int' object is not iterable"),
        (("tinynn.Sequential", {"layers": ["relu"]}), "Sequential: give Layers, got .relu"),
        (("tinynn.Dropout", {"rate": 2}), "rate must be a finite number at least 0 and below 1"),
    ],
)
def test_what_a_hostile_description_asks_for_is_refused(entry, told):
    with pytest.raises(ValueError, match=f"layer 0 of the file.*{told}"):
        built(entry)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "in version 2, but this tinynn knows version 1"),
        ({"version": True}, "in version True"),
        ({"version": None}, "in version None"),
        ({"format": "keras"}, "does not say how a model of tinynn is made"),
        ({"layers": {}}, "layers is missing, or no list"),
        ({"layers": [3]}, "layer 0 of the file is no class with arguments"),
        ({"model": 1.0}, "model is missing, or no int"),
        ({"model": 7}, "there is no layer 7"),
        ({"trainable": ["kernel", "gain"]}, "there is no parameter 'gain'"),
        ({"trainable": [["kernel"]]}, r"there is no parameter \['kernel'\]"),
        ({"evaluation": ["layers.0"]}, "there is no layer 'layers.0'"),
    ],
)
def test_a_description_of_another_form_is_refused(change, told):
    description = layers((A, DENSE)) | change
    with pytest.raises(ValueError, match=told):
        config.build(description, {}, None, 10**6)
    for broken in (None, [], "model", 3):
        with pytest.raises(ValueError, match="does not say how a model of tinynn is made"):
            config.build(broken, {}, None, 10**6)


def test_a_from_config_must_return_a_layer():
    class Odd:
        @classmethod
        def from_config(cls, config):
            return 3

    with pytest.raises(ValueError, match=r"Odd\.from_config: must return a Layer, got 3"):
        built(("Odd", {}), classes={"Odd": Odd})


def test_parameters_are_not_made_beyond_what_is_given():
    with initializers.at_most(3 * 4 * 4 + 4 * 4):
        tnn.Dense(3, 4)
        with pytest.raises(ValueError, match=r"Dense: the kernel of shape \(1, 1\) is larger than"):
            tnn.Dense(1, 1)
    tnn.Dense(100, 100)


def test_layers_of_the_file_draw_from_one_generator():
    rng = np.random.default_rng(3)
    described = config.describe(tnn.Sequential(tnn.Dropout(0.5), tnn.Dropout(0.5)))
    model = config.build(described, {}, rng, 0)
    assert model[0].rng is rng
    assert model[1].rng is rng


@pytest.mark.parametrize("name", sorted(own_layers().keys() - UNDESCRIBED))
def test_no_layer_allocates_what_a_number_claims(name):
    description = config.describe(EXAMPLES[name]())
    numbers = {k: v for e in description["layers"] for k, v in e["arguments"].items()}
    for key in [key for key, value in numbers.items() if type(value) is int]:
        for entry in description["layers"]:
            changed = {**entry["arguments"], **({key: 10**8} if key in entry["arguments"] else {})}
            entry["changed"] = {"class": entry["class"], "arguments": changed}
        hostile = description | {"layers": [entry["changed"] for entry in description["layers"]]}
        tracemalloc.start()
        try:
            with contextlib.suppress(ValueError):
                config.build(hostile, {}, np.random.default_rng(0), 10**4)
            assert tracemalloc.get_traced_memory()[1] < 10**6
        finally:
            tracemalloc.stop()
