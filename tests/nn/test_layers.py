"""Layers: shapes, semantics of the padding table, defaults, messages, state, summary."""

import copy
import gc
import pickle
import re
import weakref

import numpy as np
import pytest

import tinynn as tnn
from tinynn.nn import activations, initializers


def slow_conv(x, kernel, bias, strides, left, right, dilation, groups):
    """The definition, written out: x (length, channels) -> (outputs, filters)."""
    taps, width, filters = kernel.shape
    x = np.pad(x, ((left, right), (0, 0)))
    outputs = (len(x) - dilation * (taps - 1) - 1) // strides + 1
    y = np.tile(bias, (outputs, 1)).astype(float)
    for t in range(outputs):
        for j in range(taps):
            for f in range(filters):
                group = f // (filters // groups)
                for c in range(width):
                    y[t, f] += x[t * strides + j * dilation, group * width + c] * kernel[j, c, f]
    return y


def expected_padding(padding, length, extent, stride):
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return extent - 1, 0
    if padding in ("same", "same_lower"):
        total = max(0, (-(-length // stride) - 1) * stride + extent - length)
        pair = total // 2, total - total // 2
        return pair if padding == "same" else pair[::-1]
    return (padding, padding) if isinstance(padding, int) else padding


@pytest.mark.parametrize("seed", range(120))
def test_conv1d_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    channels, filters = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    taps, strides, dilation = (int(n) for n in rng.integers(1, (8, 4, 4)))
    choices = ["valid", "same", "same_lower", "causal", 2, (0, 3), (4, 1)]
    padding = choices[seed % len(choices)]
    length = int(rng.integers(dilation * (taps - 1) + 1, 40))
    layer = tnn.Conv1d(
        *(channels, filters, taps),
        strides=strides,
        padding=padding,
        dilation_rate=dilation,
        groups=groups,
        bias_initializer="random_normal",
        dtype="float64",
        rng=rng,
    )
    x = rng.normal(size=(2, length, channels))
    left, right = expected_padding(padding, length, layer.receptive_field, strides)
    args = (layer.kernel.data, layer.bias.data, strides, left, right, dilation, groups)
    expected = np.stack([slow_conv(series, *args) for series in x])
    y = layer(x)
    np.testing.assert_allclose(y.data, expected, atol=1e-12)
    np.testing.assert_allclose(layer(x[0]).data, expected[0], atol=1e-12)  # (length, channels)
    assert layer.output_length(length) == y.shape[1]
    positions = layer.output_positions(length)
    assert positions.shape == (y.shape[1],)
    np.testing.assert_array_equal(
        positions, np.arange(y.shape[1]) * strides - left + dilation * ((taps - 1) // 2)
    )


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["same", "same_lower", "causal", 2, (1, 3)])
def test_padding_modes_fill_the_padded_steps(mode, padding):
    rng = np.random.default_rng(0)
    layer = tnn.Conv1d(2, 3, 4, padding=padding, padding_mode=mode, dtype="float64", rng=rng)
    x = rng.normal(size=(11, 2))
    left, right = expected_padding(padding, 11, 4, 1)
    numpys = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    padded = np.pad(x, ((left, right), (0, 0)), mode=numpys)
    expected = slow_conv(padded, layer.kernel.data, layer.bias.data, 1, 0, 0, 1, 1)
    np.testing.assert_allclose(layer(x).data, expected, atol=1e-12)


def test_gradients_reach_kernel_bias_and_input():
    rng = np.random.default_rng(0)
    layer = tnn.Conv1d(4, 6, 3, strides=2, padding="same", groups=2, dtype="float64", rng=rng)
    x = tnn.Tensor(rng.normal(size=(2, 9, 4)), requires_grad=True)

    def through(x, kernel, bias):
        return tnn.conv1d(x, kernel, bias, strides=2, padding="same", groups=2)

    tnn.testing.check_grads(through, x, layer.kernel, layer.bias, order=2)
    y = layer(x).sum()
    assert [g.shape for g in tnn.grad(y, [x, *layer.parameters()])] == [
        (2, 9, 4),
        (3, 2, 6),
        (6,),
    ]


def test_dense_is_a_product_on_the_last_axis():
    layer = tnn.Dense(3, 2, dtype="float64", rng=0)
    x = np.random.default_rng(1).normal(size=(4, 5, 3))
    np.testing.assert_allclose(layer(x).data, x @ layer.kernel.data + layer.bias.data)
    assert layer(x[0, 0]).shape == (2,)


@pytest.mark.parametrize(
    "make", [lambda **k: tnn.Dense(3, 2, **k), lambda **k: tnn.Conv1d(3, 2, 1, **k)]
)
def test_the_activation_is_linear_unless_given(make):
    x = np.random.default_rng(0).normal(size=(5, 3))
    plain = make(rng=0)
    assert plain.activation_name == "linear"
    for activation in ("linear", None):
        np.testing.assert_array_equal(make(activation=activation, rng=0)(x).data, plain(x).data)
    relu = make(activation="relu", rng=0)(x).data
    np.testing.assert_array_equal(relu, np.maximum(plain(x).data, 0))
    assert (plain(x).data < 0).any()
    own = make(activation=lambda y: y * 3.0, rng=0)(x).data
    np.testing.assert_allclose(own, 3 * plain(x).data, rtol=1e-6)


@pytest.mark.parametrize("name", activations.TABLE)
def test_every_activation_is_found_by_name_and_differentiable(name):
    x = np.array([[-2.0, -0.3, 0.4, 1.5]])
    tnn.testing.check_grads(tnn.Activation(name), x, order=2)


def test_layers_compute_in_their_own_dtype():
    for dtype in ("float32", "float64"):
        model = tnn.Sequential(
            tnn.Conv1d(1, 2, 3, dtype=dtype, rng=0), tnn.Dense(2, 1, dtype=dtype)
        )
        for given in ("float32", "float64", "int64", "bool"):
            assert model(np.ones((1, 5, 1), given)).dtype == dtype
    layer = tnn.Dense(2, 1, rng=0)
    x = tnn.Tensor(np.ones((1, 2)), requires_grad=True)
    (g,) = tnn.grad(layer(x).sum(), [x])
    assert g.dtype == np.float64


def test_the_same_seed_gives_the_same_weights():
    a, b, c = (tnn.Conv1d(2, 3, 5, rng=seed).kernel.data for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize("name", initializers.TABLE)
def test_initializers_have_their_spread(name):
    values = tnn.Conv1d(40, 60, 5, kernel_initializer=name, rng=0).kernel.data
    fan_in, fan_out = 200, 300
    variance = {
        "zeros": 0,
        "ones": 0,
        "glorot": 2 / (fan_in + fan_out),
        "he": 2 / fan_in,
        "lecun": 1 / fan_in,
        "random_normal": 0.05**2,
        "random_uniform": 0.05**2 / 3,
    }
    expected = variance.get(name, variance.get(name.split("_")[0]))
    assert values.var() == pytest.approx(expected, rel=0.05)
    assert values.mean() == pytest.approx(1.0 if name == "ones" else 0.0, abs=0.005)


def test_an_own_initializer_is_called_with_shape_and_generator():
    layer = tnn.Dense(2, 3, kernel_initializer=lambda shape, rng: np.full(shape, 7.0))
    assert (layer.kernel.data == 7).all()
    with pytest.raises(ValueError, match=r"kernel_initializer must return .* shape \(2, 3\)"):
        tnn.Dense(2, 3, kernel_initializer=lambda shape, rng: np.zeros(4))


# ---------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 0}, "Conv1d: kernel_size must be a positive integer, got 0."),
        ({"kernel_size": 2.5}, "Conv1d: kernel_size must be a positive integer, got 2.5."),
        ({"kernel_size": True}, "Conv1d: kernel_size must be a positive integer, got True."),
        ({"kernel_size": np.int64(-1)}, "Conv1d: kernel_size must be a positive integer, got -1."),
        ({"filters": "3"}, "Conv1d: filters must be a positive integer, got '3'."),
        ({"strides": 0}, "Conv1d: strides must be a positive integer, got 0."),
        ({"dilation_rate": -1}, "Conv1d: dilation_rate must be a positive integer, got -1."),
        ({"groups": 3}, "Conv1d: groups must divide in_channels, got 3 and 4."),
        ({"groups": 4}, "Conv1d: groups must divide filters, got 4 and 6."),
        (
            {"padding": "full"},
            "padding must be one of 'causal', 'same', 'same_lower', 'valid'",
        ),
        ({"padding": "sam"}, "Did you mean 'same'"),
        ({"padding": -1}, "Conv1d: padding[0] must be a non-negative integer, got -1."),
        ({"padding": 1.5}, "or a pair (left, right), got 1.5."),
        ({"padding": (1, 2, 3)}, "or a pair (left, right), got (1, 2, 3)."),
        ({"padding_mode": "zero"}, "Did you mean 'zeros'"),
        ({"activation": "Relu"}, "Did you mean 'relu'"),
        ({"activation": 3}, "Conv1d: activation must be a name, a callable on Tensors or None"),
        ({"activation": tnn.Dense}, "Conv1d: activation must be a name, a callable on Tensors"),
        ({"use_bias": 1}, "Conv1d: use_bias must be True or False, got 1."),
        ({"kernel_initializer": "glorot"}, "kernel_initializer must be one of"),
        ({"dtype": "int32"}, "Conv1d: dtype must be a floating-point type such as 'float32'"),
        ({"dtype": "floaty"}, "Conv1d: dtype must be a floating-point type such as 'float32'"),
        ({"rng": "seed"}, "Conv1d: rng must be a numpy.random.Generator"),
    ],
)
def test_conv1d_names_the_bad_argument(arguments, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        tnn.Conv1d(**{"in_channels": 4, "filters": 6, "kernel_size": 3} | arguments)


def test_a_wrong_channel_count_recognizes_the_other_layout():
    layer = tnn.Conv1d(3, 2, 5)
    with pytest.raises(ValueError, match=r"looks like \(batch, channels, length\).*swapaxes"):
        layer(np.zeros((8, 3, 100)))
    with pytest.raises(ValueError, match=r"must be \(batch, length, 3\).*got shape \(8, 100, 4\)"):
        layer(np.zeros((8, 100, 4)))
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        layer(np.zeros(3))


def test_an_input_too_short_states_the_shortest():
    layer = tnn.Conv1d(1, 1, 5, dilation_rate=3)
    with pytest.raises(ValueError, match=r"Conv1d: the input has 12 steps.*spans 13.*has 13 steps"):
        layer(np.zeros((1, 12, 1)))
    assert layer(np.zeros((1, 13, 1))).shape == (1, 1, 1)
    with pytest.raises(ValueError, match="Conv1d: the input has 3 steps"):
        layer.output_length(3)


def test_dense_names_the_feature_count():
    with pytest.raises(ValueError, match=r"Dense: the last axis .* 3 features, got shape \(2, 4\)"):
        tnn.Dense(3, 2)(np.zeros((2, 4)))
    with pytest.raises(TypeError, match="Dense: the input must be real numbers, got dtype <U1"):
        tnn.Dense(3, 2)(np.array(["a", "b", "c"]))
    with pytest.raises(TypeError, match="got dtype complex128"):
        tnn.Dense(3, 2)(np.zeros(3, complex))


def test_a_missing_axis_of_one_channel_is_named():
    layer = tnn.Conv1d(1, 2, 5)
    for shape in ((8, 100), (100,)):
        with pytest.raises(ValueError, match=r"add the channel's axis: x\[\.\.\., None\]"):
            layer(np.zeros(shape))
    with pytest.raises(ValueError, match=r"looks like \(batch, channels, length\)"):
        layer(np.zeros((8, 1, 100)))


WEIGHT = tnn.Tensor(1.0, requires_grad=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tnn.SGD([WEIGHT], lr=0.1), "SGD: there is no argument 'lr'. It is learning_rate"),
        (lambda: tnn.Adam([WEIGHT], betas=(0.9, 0.99)), "'betas'. It is beta_1 and beta_2 here."),
        (lambda: tnn.Conv1d(1, 2, 3, stride=2), "no argument 'stride'. It is strides here."),
        (lambda: tnn.Conv1d(1, 2, 3, dilation=2), "'dilation'. It is dilation_rate here."),
        (lambda: tnn.Conv1d(1, kernel_size=3, out_channels=2), "'out_channels'. It is filters"),
        (lambda: tnn.MaxPool1d(kernel_size=2), "'kernel_size'. It is pool_size here."),
        (lambda: tnn.Dropout(p=0.5), "Dropout: there is no argument 'p'. It is rate here."),
        (lambda: tnn.BatchNorm(num_features=2), "'num_features'. It is channels here."),
        (lambda: tnn.LayerNorm(normalized_shape=2), "'normalized_shape'. It is features here."),
        (lambda: tnn.UpSample1d(scale_factor=2), "'scale_factor'. It is size here."),
        (lambda: tnn.Residual(layer=2), "Residual: there is no argument 'layer'. Give body."),
        (lambda: tnn.Lambda(), "Write Lambda(f, ...)"),
        (lambda: tnn.Dense(1, 2, qqq=3), "no argument 'qqq'. Give in_features, units, activation,"),
        (
            lambda: tnn.Dense(10),
            "Dense: missing a required argument: 'units'. Write Dense(in_features, units, ...)",
        ),
        (lambda: tnn.Conv1d(4, 3), "Write Conv1d(in_channels, filters, kernel_size, ...): these"),
        (lambda: tnn.Conv1d(1, 2, 3, 4), "Conv1d: too many positional arguments. Write Conv1d("),
    ],
)
def test_words_of_other_libraries_are_understood(make, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        make()


def test_a_subclass_is_explained_under_its_own_name():
    class Unit(tnn.Dense):
        def __init__(self, **options):
            super().__init__(1, 1, **options)

    assert Unit(rng=0).units == 1
    with pytest.raises(TypeError, match=r"Unit: there is no argument 'bias'\. It is use_bias here"):
        Unit(bias=False)


def test_activations_have_kerass_other_names():
    assert tnn.Activation("swish").activation_name == "silu"
    assert tnn.Dense(1, 1, "swish").activation is tnn.silu


# ---------------------------------------------------------------- pooling, dropout, the rest


def test_pooling_layers():
    x = np.array([1.0, 3.0, 2.0, 0.0, 5.0])[None, :, None]
    assert tnn.MaxPool1d(2)(x).data.ravel().tolist() == [3, 2]
    assert tnn.MaxPool1d(2, padding="same")(x).data.ravel().tolist() == [3, 2, 5]
    assert tnn.MaxPool1d(3, strides=1)(x).data.ravel().tolist() == [3, 3, 5]
    assert tnn.AvgPool1d(2, padding="same")(x).data.ravel().tolist() == [2, 1, 5]
    assert tnn.GlobalMaxPool1d()(x).data.tolist() == [[5]]
    assert tnn.GlobalAvgPool1d()(x).data.tolist() == [[2.2]]
    assert tnn.Flatten()(np.zeros((2, 3, 4))).shape == (2, 12)
    with pytest.raises(ValueError, match="MaxPool1d: pool_size must be a positive integer, got 0"):
        tnn.MaxPool1d(0)
    with pytest.raises(ValueError, match="at least one step"):
        tnn.GlobalAvgPool1d()(np.zeros((1, 0, 2)))


def test_dropout_drops_in_training_only_and_keeps_the_mean():
    layer = tnn.Dropout(0.25, rng=0)
    x = np.ones((100, 100))
    y = layer(x).data
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    assert y.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(layer.eval()(x).data, x)
    again = [tnn.Dropout(0.5, rng=3)(x).data for _ in range(2)]
    np.testing.assert_array_equal(*again)
    with pytest.raises(ValueError, match=r"Dropout: rate must be .* at least 0 and below 1, got 1"):
        tnn.Dropout(1.0)


def test_sequential_is_a_sequence():
    layers = [tnn.Dense(2, 3), tnn.Activation("relu"), tnn.Dense(3, 1)]
    model = tnn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[1] is layers[1]
    assert len(model[:2]) == 2
    assert len(tnn.Sequential(layers)) == 3
    with pytest.raises(TypeError, match=r"layers\[1\] must be a Layer.*tinynn.Activation\(f\)"):
        tnn.Sequential(tnn.Dense(1, 1), tnn.relu)
    with pytest.raises(TypeError, match=r"layers\[1\] .* as tinynn\.Activation\('relu'\)"):
        tnn.Sequential(tnn.Dense(1, 1), "relu")
    with pytest.raises(TypeError, match="Sequential: give Layers, got 3"):
        tnn.Sequential(3)


# ---------------------------------------------------------------- finding what a layer is made of


class Composite(tnn.Layer):
    def __init__(self):
        self.blocks = [tnn.Dense(2, 2, rng=0), tnn.Dense(2, 2, rng=1)]
        self.heads = {"left": tnn.Dense(2, 1, rng=2), "right": tnn.Dense(2, 1, use_bias=False)}
        self.scale = tnn.Tensor([1.0], requires_grad=True)
        self.seen = tnn.Tensor([0.0])
        self.again = self.blocks[0]
        self.note = "not a tensor"

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        self.last = x
        return self.heads["left"](x) * self.scale


def test_attributes_are_found_in_order_of_assignment_each_once():
    model = Composite()
    paths = [path for path, _ in model.named_parameters()]
    assert paths == [
        *("blocks.0.kernel", "blocks.0.bias", "blocks.1.kernel", "blocks.1.bias"),
        *("heads.left.kernel", "heads.left.bias", "heads.right.kernel", "scale"),
    ]
    assert list(model.state_dict()) == [*paths, "seen"]
    model(np.ones((1, 2))).sum().backward()  # keeps a result as an attribute: that is not state
    assert list(model.state_dict()) == [*paths, "seen"]
    assert [path for path, _ in model.named_parameters()] == paths


def test_the_documented_state_keys():
    assert list(tnn.Conv1d(1, 1, 3).state_dict()) == ["kernel", "bias"]
    assert list(tnn.Sequential(tnn.Dense(1, 1)).state_dict()) == [
        "layers.0.kernel",
        "layers.0.bias",
    ]


def test_a_buffer_that_is_replaced_goes_on_being_state():
    class Average(tnn.Layer):
        def __init__(self):
            self.mean = tnn.Tensor(np.zeros(2))
            self.mask = tnn.Tensor([True, False])
            self.count = tnn.Tensor([0])

        def forward(self, x):
            self.mean = (0.9 * self.mean + 0.1 * x).detach()
            return x - self.mean

    layer = Average()
    layer(tnn.Tensor(np.ones(2), requires_grad=True))
    state = layer.state_dict()
    assert list(state) == ["mean", "mask", "count"]
    assert state["mean"].tolist() == [0.1, 0.1]
    layer.load_state_dict(state)
    with pytest.raises(ValueError, match="out of range: count has values that int64 cannot hold"):
        layer.load_state_dict(state | {"count": np.array([1.5])})


def test_paths_that_collide_are_an_error():
    class Colliding(tnn.Layer):
        def __init__(self):
            self.parts = {0: tnn.Tensor([1.0]), "0": tnn.Tensor([2.0])}

    with pytest.raises(ValueError, match=r"Colliding: two Tensors have the path 'parts\.0'"):
        Colliding().state_dict()


def test_models_can_be_pickled():
    model = tnn.Sequential(tnn.Conv1d(1, 2, 3, activation="exponential", rng=0), tnn.Dropout(0.5))
    twin = pickle.loads(pickle.dumps(model))
    assert copy.deepcopy(model)[0].activation is model[0].activation
    assert twin[0].activation_name == "exponential"
    x = np.ones((1, 5, 1))
    np.testing.assert_array_equal(twin.eval()(x).data, model.eval()(x).data)


def test_state_is_a_copy_and_loads_back():
    a, b = Composite(), Composite()
    a.blocks[0].kernel.data[...] = 5
    state = a.state_dict()
    state["blocks.0.kernel"][...] = 6
    assert (a.blocks[0].kernel.data == 5).all()
    b.load_state_dict(a.state_dict())
    x = np.ones((3, 2))
    np.testing.assert_array_equal(a(x).data, b(x).data)


def test_a_refused_state_lists_every_fault_and_changes_nothing():
    model = Composite()
    before = model.state_dict()
    state = model.state_dict()
    del state["scale"]
    state["extra"] = np.zeros(3)
    state["blocks.0.kernel"] = np.zeros((3, 3))
    state["blocks.1.bias"] = np.array(["a", "b"])
    state["heads.left.bias"] = np.array([1e300])
    state["blocks.1.kernel"] = np.ones((2, 2))
    with pytest.raises(ValueError, match="does not fit this Composite") as caught:
        model.load_state_dict(state)
    for fault in (
        "missing: scale (1,)",
        "unexpected: extra",
        "wrong shape: blocks.0.kernel needs (2, 2), got (3, 3)",
        "wrong type: blocks.1.bias needs real numbers, got dtype <U1",
        "out of range: heads.left.bias has values that float32 cannot hold",
    ):
        assert fault in str(caught.value)
    for path, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[path])


def test_modes_reach_every_layer():
    model = tnn.Sequential(tnn.Dropout(0.5), tnn.Sequential(tnn.Dropout(0.5)))
    assert model.eval() is model
    assert not model[0].training
    assert not model[1][0].training
    assert model.train()[1][0].training


def test_models_can_be_copied_and_die_by_reference_counting():
    model = tnn.Sequential(tnn.Dense(2, 2, rng=0), tnn.Dropout(0.5))
    twin = copy.deepcopy(model)
    twin[0].kernel.data[...] = 0
    assert model[0].kernel.data.any()
    twin_loss = (twin(np.ones((1, 2))) + model(np.ones((1, 2)))).sum()
    assert len(tnn.grad(twin_loss, model.parameters() + twin.parameters())) == 4
    gc.disable()
    try:
        model.summary((2,))
        gone = weakref.ref(model)
        del model, twin_loss
        assert gone() is None
    finally:
        gc.enable()


def test_summary_shows_activations_shapes_and_counts():
    model = tnn.Sequential(
        tnn.Conv1d(1, 8, 9, padding="same", activation="relu"),
        tnn.MaxPool1d(2),
        tnn.Conv1d(8, 1, 9, strides=2),
    )
    lines = model.summary((100, 1)).splitlines()
    columns = ["layer", "type", "activation", "output", "receptive field", "stride", "parameters"]
    assert re.split("  +", lines[0]) == columns
    assert [line.split()[-3:-1] for line in lines[1:4]] == [["9", "1"], ["10", "2"], ["26", "4"]]
    assert "relu" in lines[1]
    assert "(batch, 100, 8)" in lines[1]
    assert lines[1].endswith(" 80")
    assert "(batch, 21, 1)" in lines[3]
    assert "linear" in lines[3]
    assert lines[4] == "153 parameters"
    assert model.summary((None, 100, 1)) == model.summary((100, 1))
    with pytest.raises(ValueError, match=r"summary: input_shape \(100, 2\).*does not fit"):
        model.summary((100, 2))
    with pytest.raises(ValueError, match=r"\(None, 1\), .* must be lengths, such as \(100, 1\)"):
        model.summary((None, None, 1))


@pytest.mark.parametrize("shape", [(None, 1), (1,)])
def test_summary_asks_for_a_length(shape):
    model = tnn.Sequential(tnn.Conv1d(1, 8, 9), tnn.GlobalMaxPool1d())
    with pytest.raises(
        ValueError, match=r"no axis for the time steps of layers\.0 \(Conv1d\)\. Give"
    ):
        model.summary(shape)
    assert tnn.Dense(1, 2).summary(shape) == tnn.Dense(1, 2).summary((1,))


def test_summary_leaves_no_trace():
    class Counting(tnn.Layer):
        def __init__(self):
            self.inner = tnn.Dense(2, 2, rng=0)
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            self.last = self.inner(x)
            return self.last

    model = Counting()
    model.summary((2,))
    assert not hasattr(model, "last")  # a result with its graph, which could not be copied
    assert copy.deepcopy(model).calls == 0


def test_summary_points_out_two_linear_maps_in_a_row():
    conv = tnn.Conv1d(1, 2, 3, padding="same")
    relu = tnn.Activation("relu")
    two = tnn.Sequential(conv, tnn.Dropout(0.1), tnn.Dense(2, 1))
    assert "note: layers.0 and layers.2 are two linear maps in a row" in two.summary((9, 1))
    assert "note" not in tnn.Sequential(conv, relu, tnn.Dense(2, 1)).summary((9, 1))
    assert "note" not in tnn.Sequential(conv, tnn.MaxPool1d(2), tnn.Dense(2, 1)).summary((9, 1))
    activated = tnn.Conv1d(1, 2, 3, activation="tanh")
    assert "note" not in tnn.Sequential(activated, tnn.Dense(2, 1)).summary((9, 1))


def test_summary_follows_what_is_really_fed_to_what():
    class Model(tnn.Layer):
        def __init__(self, between):
            self.a, self.b = tnn.Dense(3, 3), tnn.Dense(3, 3)
            self.gain = tnn.Tensor(np.ones(3), requires_grad=True)
            self.between = between

        def forward(self, x):
            return self.b(self.between(self.a(x))) * self.gain

    assert "note" not in Model(tnn.relu).summary((3,))
    assert "note: a and b" in Model(lambda x: x).summary((3,))
    rows = Model(tnn.relu).summary((3,)).splitlines()
    assert [row.split()[-1] for row in rows[1:4]] == ["12", "12", "3"]
    parallel = Model(tnn.relu)
    parallel.forward = lambda x: parallel.a(x) + parallel.b(x)
    assert "note" not in parallel.summary((3,))
    assert "forward" in vars(parallel)


class Residual(tnn.Layer):
    def __init__(self, inner, join):
        self.inner, self.join = inner, join

    def forward(self, x):
        return self.join(x, self.inner(x))


@pytest.mark.parametrize(
    ("join", "noted"),
    [
        (lambda x, y: x + y, False),
        (lambda x, y: x + tnn.relu(y), False),
        (lambda x, y: tnn.relu(x) * 0.5 + y, False),
        (lambda x, y: (x, y), False),
        (lambda x, y: tnn.relu(y), True),
        (lambda x, y: y, True),
    ],
)
def test_summary_claims_nothing_of_an_input_that_is_used_elsewhere_too(join, noted):
    before = tnn.Conv1d(1, 2, 3, padding="same")
    block = Residual(tnn.Conv1d(2, 2, 3, padding="same"), join)
    text = tnn.Sequential(before, block).summary((9, 1))
    assert ("note: layers.0 and layers.1.inner are two linear maps" in text) == noted
    assert ("note" in text) == noted


def test_reprs_say_what_was_asked_for():
    layer = tnn.Conv1d(1, 8, 9, padding="same", dilation_rate=2, activation="relu")
    text = "Conv1d(1, 8, kernel_size=9, padding='same', dilation_rate=2, activation='relu')"
    assert repr(layer) == text
    assert text in repr(tnn.Sequential(layer))


def test_a_layer_without_forward_says_so():
    class Empty(tnn.Layer):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty: write a forward\(self, x\) method"):
        Empty()(1.0)


def test_a_forward_without_a_return_is_told_so():
    class Forgetful(tnn.Layer):
        def forward(self, x):
            x + 1

    with pytest.raises(TypeError, match="Forgetful: forward returned None"):
        tnn.Sequential([Forgetful(), tnn.Dense(2, 1)])(np.ones((3, 2)))


# ---------------------------------------------------------------- in the layer's own name


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (tnn.MaxPool1d(4), (1, 3, 2), "^MaxPool1d: the input has 3 steps .* a window spans 4"),
        (tnn.AvgPool1d(4), (3, 2), "^AvgPool1d: the input has 3 steps .* a window spans 4"),
        (tnn.MaxPool1d(2), (3,), r"^MaxPool1d: x must be .* got shape \(3,\)"),
        (tnn.GlobalMaxPool1d(), (3,), r"^GlobalMaxPool1d: x must be .* got shape \(3,\)"),
        (tnn.GlobalAvgPool1d(), (0, 2), "^GlobalAvgPool1d: the input must have at least one step"),
        (
            tnn.Conv1d(2, 1, 9, padding="same", padding_mode="reflect"),
            (4, 2),
            r"^Conv1d: padding_mode='reflect' can add at most 3 steps to a series of 4, got \(4, 4",
        ),
        (
            tnn.Conv1d(2, 1, 9, padding=5, padding_mode="circular"),
            (1, 4, 2),
            r"^Conv1d: padding_mode='circular' can add at most 4 steps to a series of 4",
        ),
        (tnn.Flatten(), (), "^Flatten: the input must have a batch axis"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_in_the_layers_name(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(np.ones(shape))


def test_settings_that_are_changed_later_are_checked_in_the_layers_name():
    layer = tnn.Conv1d(1, 2, 3, rng=0)
    x = np.ones((1, 9, 1))
    layer(x)
    layer.padding = "same"
    assert layer(x).shape == (1, 9, 2)
    layer.padding = [2, 1]
    assert layer(x).shape == (1, 10, 2)
    layer.padding = "full"
    with pytest.raises(ValueError, match=r"^Conv1d: padding must be one of"):
        layer(x)
    layer.padding, layer.bias = "same", tnn.Tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises(ValueError, match=r"^Conv1d: a kernel \(3, 1, 2\) .* a bias \(3,\) do not"):
        layer(x)


@pytest.mark.parametrize("name", ["seed", "generator", "random_state"])
def test_a_seed_by_another_name(name):
    with pytest.raises(TypeError, match=f"no argument '{name}'. It is rng here"):
        tnn.Dropout(0.5, **{name: 0})


def test_dropout_leaves_integers_and_dtypes_alone():
    x = np.ones((50, 4))
    assert tnn.Dropout(0.5, rng=0)(x.astype("float16")).dtype == np.float16
    assert tnn.Dropout(0.5, rng=0)(x.astype(int)).dtype == np.float64
    expected = x * (np.random.default_rng(3).random(x.shape) >= 0.25) / 0.75
    np.testing.assert_array_equal(tnn.Dropout(0.25, rng=3)(x).data, expected)


def test_a_first_layer_gets_a_tensor_like_all_others():
    given = []
    spy = tnn.Activation(lambda x: given.append(type(x)) or x)
    tnn.Sequential(spy, spy)(np.ones((2, 3)))
    assert given == [tnn.Tensor, tnn.Tensor]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: tnn.Sequential(tnn.Dense(1, 1), tnn.Flatten),
            *(
                TypeError,
                r"layers\[1\] must be a Layer, .* Call it with its sizes: Flatten\(\.\.\.\)",
            ),
        ),
        (
            lambda: tnn.Sequential(("first", tnn.Dense(1, 1))),
            *(TypeError, r"layers\[0\] must be a Layer, got 'first'\.$"),
        ),
        (
            lambda: tnn.MaxPool1d(2, 2),
            *(TypeError, r"Write MaxPool1d\(pool_size, \.\.\.\): all others go by name\."),
        ),
        (
            lambda: tnn.Dense(1, 1, kernel_initializer=np.ones((1, 1))),
            *(
                TypeError,
                r"kernel_initializer must be a name or a function \(shape, rng\) -> array",
            ),
        ),
    ],
)
def test_advice_fits_the_mistake(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_note_on_linear_maps_is_of_the_layers_as_they_are():
    class Squares(tnn.Flatten):
        def forward(self, x):
            return super().forward(x) ** 2

    class Twice(tnn.Layer):
        def __init__(self):
            self.a, self.b = tnn.Dense(2, 2, rng=0), tnn.Dense(2, 2, rng=1)

        def forward(self, x):
            y = self.a(x)
            return self.b(y) + y

    between = tnn.Activation("linear")
    ends = tnn.Dense(2, 2, rng=0), tnn.Dense(2, 2, rng=1)
    assert "linear maps" in tnn.Sequential(ends[0], between, ends[1]).summary((2,))
    between.activation = tnn.relu
    assert "linear maps" not in tnn.Sequential(ends[0], between, ends[1]).summary((2,))
    assert "linear maps" not in tnn.Sequential(ends[0], Squares(), ends[1]).summary((2,))
    with tnn.no_grad():
        assert "linear maps" not in Twice().summary((2,))


def test_a_layer_that_does_not_fit_in_a_sequential_is_named():
    model = tnn.Sequential(tnn.Conv1d(1, 4, 3), tnn.Conv1d(1, 1, 3))
    with pytest.raises(ValueError, match="the input must be") as caught:
        model(np.ones((5, 30, 1)))
    assert caught.value.__notes__ == [
        "It is layers.1 of a Sequential, which gets what layers.0 returns, (5, 28, 4)."
    ]
    shared = tnn.Activation("relu")
    again = tnn.Sequential(shared, tnn.Lambda(lambda x: (x, x[:1])), shared)
    with pytest.raises((TypeError, ValueError), match=r"It is layers\.2 of a Sequential"):
        again(np.ones((5, 30, 1)))
    with pytest.raises(ValueError, match="the input must be") as first:
        model(np.ones((5, 30, 2)))
    assert not hasattr(first.value, "__notes__")
