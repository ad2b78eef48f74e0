"""Layers and optimizers against Keras: weights copied in as they are give the same results."""

import os
import warnings

import numpy as np
import pytest

import tinynn as tnn

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("seed", range(60))
def test_conv1d(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    channels, filters = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    taps = int(rng.integers(1, 8))
    strides, dilation = ((int(rng.integers(1, 4)), 1), (1, int(rng.integers(1, 4))))[seed % 2]
    padding = ("valid", "same", "causal")[seed % 3]
    how = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups}
    length = int(rng.integers(dilation * (taps - 1) + 1, 40))
    x = rng.normal(size=(3, length, channels))
    activation = ("linear", "relu", "gelu", "silu", "elu", "softplus", "leaky_relu")[seed % 7]
    how |= {"activation": activation, "dtype": "float64"}
    ours = tnn.Conv1d(channels, filters, taps, rng=rng, **how)
    theirs = keras.layers.Conv1D(filters, taps, **how)
    theirs.build(x.shape)
    theirs.set_weights([ours.kernel.data, ours.bias.data])
    expected = keras.ops.convert_to_numpy(theirs(x))
    np.testing.assert_allclose(ours(x).data, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("seed", range(60))
def test_conv1d_transpose(seed):
    rng = np.random.default_rng(seed)
    channels, filters, taps, strides = (int(n) for n in rng.integers(1, 6, 4))
    output_padding = [None, int(rng.integers(0, strides))][seed // 2 % 2]
    how = {"strides": strides, "padding": ("valid", "same")[seed % 2]}
    how |= {"output_padding": output_padding, "activation": "tanh", "dtype": "float64"}
    if strides == 1 and seed % 3:
        how["dilation_rate"] = 2
    x = rng.normal(size=(2, int(rng.integers(2, 12)), channels))
    theirs = keras.layers.Conv1DTranspose(filters, taps, **how)
    theirs.build(x.shape)
    ours = tnn.Conv1dTranspose(channels, filters, taps, bias_initializer="ones", rng=rng, **how)
    theirs.set_weights([ours.kernel.data, ours.bias.data])
    expected = keras.ops.convert_to_numpy(theirs(x))
    assert ours.output_length(x.shape[1]) == expected.shape[1]
    np.testing.assert_allclose(ours(x).data, expected, rtol=1e-6, atol=1e-7)


def test_initial_values_of_a_transposed_convolution_have_the_same_spread():
    ours = tnn.Conv1dTranspose(40, 60, 5, rng=0).kernel.data
    theirs = keras.layers.Conv1DTranspose(60, 5)
    theirs.build((1, 9, 40))
    expected = keras.ops.convert_to_numpy(theirs.kernel)
    assert ours.std() == pytest.approx(expected.std(), rel=0.02)


def test_upsampling_and_zero_padding():
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    for ours, theirs in (
        (tnn.UpSample1d(3), keras.layers.UpSampling1D(3)),
        (tnn.UpSample1d(), keras.layers.UpSampling1D()),
        (tnn.ZeroPad1d((1, 3)), keras.layers.ZeroPadding1D((1, 3))),
        (tnn.ZeroPad1d(), keras.layers.ZeroPadding1D()),
    ):
        expected = keras.ops.convert_to_numpy(theirs(x))
        np.testing.assert_allclose(ours(x).data, expected, rtol=1e-6)


# Keras normalizes in single precision, whatever a layer's dtype.


@pytest.mark.parametrize("shape", [(6, 3), (1, 3), (4, 7, 3), (1, 1, 3)])
@pytest.mark.parametrize("how", [{}, {"momentum": 0.8, "epsilon": 0.1}])
def test_batch_norm(shape, how):
    rng = np.random.default_rng(0)
    ours = tnn.BatchNorm(3, dtype="float64", **how)
    theirs = keras.layers.BatchNormalization(dtype="float64", **how)
    theirs.build(shape)
    weights = [rng.uniform(0.5, 2, 3) for _ in range(4)]
    ours.load_state_dict(
        dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), weights, strict=True))
    )
    theirs.set_weights(weights)
    for _ in range(3):
        x = rng.normal(size=shape) + 2
        expected = keras.ops.convert_to_numpy(theirs(x, training=True))
        np.testing.assert_allclose(ours(x).data, expected, rtol=2e-5, atol=5e-6)
    for value, expected in zip(ours.state_dict().values(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    expected = keras.ops.convert_to_numpy(theirs(x, training=False))
    np.testing.assert_allclose(ours.eval()(x).data, expected, rtol=2e-5, atol=5e-6)


def test_layer_norm():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 4)) + 3
    ours = tnn.LayerNorm(4, dtype="float64")
    theirs = keras.layers.LayerNormalization(dtype="float64")
    theirs.build(x.shape)
    ours.gamma.data, ours.beta.data = rng.normal(size=(2, 4))
    theirs.set_weights([ours.gamma.data, ours.beta.data])
    expected = keras.ops.convert_to_numpy(theirs(x))
    np.testing.assert_allclose(ours(x).data, expected, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_twenty_steps_with_batch_norm_are_those_of_keras(compiled):
    rng = np.random.default_rng(0)
    how = {"padding": "same", "dtype": "float64"}
    first = tnn.Conv1d(2, 4, 5, activation="linear", rng=rng, **how)
    last = tnn.Conv1d(4, 1, 3, rng=rng, **how)
    model = tnn.Sequential(first, tnn.BatchNorm(4, dtype="float64"), tnn.Activation("relu"), last)
    theirs = [
        keras.layers.Conv1D(4, 5, **how),
        keras.layers.BatchNormalization(dtype="float64"),
        keras.layers.Conv1D(1, 3, **how),
    ]
    for layer, channels in zip(theirs, (2, 4, 4), strict=True):
        layer.build((None, 30, channels))
    theirs[0].set_weights([first.kernel.data, first.bias.data])
    theirs[2].set_weights([last.kernel.data, last.bias.data])
    ours = tnn.SGD(model.parameters(), 0.1, momentum=0.9)
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    variables = [v for layer in theirs for v in layer.trainable_variables]
    loss = keras.losses.BinaryCrossentropy(from_logits=True)

    def step(x, y):
        ours.zero_grad()
        value = tnn.losses.binary_crossentropy(model(x), y, from_logits=True)
        value.backward()
        ours.step()
        return value

    take = tnn.compile(step) if compiled else step
    for _ in range(20):
        x = rng.normal(size=(6, 30, 2)) + 1
        y = (rng.random((6, 30, 1)) < 0.3) * 1.0
        value = take(x, y)
        for v in variables:
            v.value.grad = None
        h = keras.ops.relu(theirs[1](theirs[0](x), training=True))
        expected = loss(y, theirs[2](h))
        expected.backward()
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        sgd.apply([v.value.grad for v in variables], variables)
    found = [model.state_dict()[f"layers.{path}"] for path in PATHS]
    expected = [keras.ops.convert_to_numpy(v) for layer in theirs for v in layer.weights]
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=5e-6)


PATHS = [
    *("0.kernel", "0.bias", "1.gamma", "1.beta", "1.moving_mean", "1.moving_variance"),
    *("3.kernel", "3.bias"),
]


def test_dense():
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    ours = tnn.Dense(3, 4, "sigmoid", dtype="float64", rng=0)
    theirs = keras.layers.Dense(4, "sigmoid", dtype="float64")
    theirs.build(x.shape)
    theirs.set_weights([ours.kernel.data, ours.bias.data])
    np.testing.assert_allclose(ours(x).data, keras.ops.convert_to_numpy(theirs(x)), rtol=1e-7)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "strides"), [(2, 2), (3, 1), (3, 2), (2, 3)])
def test_pooling(size, strides, padding):
    x = np.random.default_rng(0).normal(size=(2, 11, 3))
    for ours, theirs in (
        (tnn.MaxPool1d, keras.layers.MaxPooling1D),
        (tnn.AvgPool1d, keras.layers.AveragePooling1D),
    ):
        expected = theirs(size, strides=strides, padding=padding, dtype="float64")(x)
        found = ours(size, strides=strides, padding=padding)(x)
        np.testing.assert_allclose(found.data, keras.ops.convert_to_numpy(expected), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("SGD", {}),
        ("SGD", {"momentum": 0.9}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
        ("SGD", {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
        ("Adam", {}),
        ("Adam", {"weight_decay": 0.1, "beta_1": 0.8}),
    ],
)
def test_optimizers(name, how):
    rng = np.random.default_rng(0)
    w = tnn.Tensor(rng.normal(size=5), requires_grad=True)
    variable = keras.Variable(w.data, dtype="float64")
    ours = getattr(tnn, name)([w], 0.05, **how)
    theirs = getattr(keras.optimizers, name)(0.05, **how)
    for step in range(6):
        gradient = rng.normal(size=5)
        ours.learning_rate = theirs.learning_rate = 0.05 / (1 + step)
        w.grad = gradient
        ours.step()
        theirs.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    np.testing.assert_allclose(w.data, keras.ops.convert_to_numpy(variable), rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_losses(seed):
    rng = np.random.default_rng(seed)
    p, y = rng.uniform(0.05, 0.95, (6, 4)), rng.random((6, 4))
    z, w = rng.normal(size=(6, 4)), rng.random(6)
    one_hot, classes = np.eye(4)[rng.integers(0, 4, 6)], rng.integers(0, 4, 6)
    rows = p / p.sum(-1, keepdims=True)
    cases = [
        (tnn.losses.mean_squared_error(z, y), keras.losses.MeanSquaredError()(y, z)),
        (tnn.losses.mean_absolute_error(z, y), keras.losses.MeanAbsoluteError()(y, z)),
        (tnn.losses.huber(z, y, delta=0.5), keras.losses.Huber(delta=0.5)(y, z)),
        (tnn.losses.binary_crossentropy(p, y), keras.losses.BinaryCrossentropy()(y, p)),
        (
            tnn.losses.binary_crossentropy(z, y, from_logits=True, sample_weight=w[:, None]),
            keras.losses.BinaryCrossentropy(from_logits=True)(y, z, sample_weight=w),
        ),
        (
            tnn.losses.categorical_crossentropy(rows, one_hot),
            keras.losses.CategoricalCrossentropy()(one_hot, rows),
        ),
        (
            tnn.losses.sparse_categorical_crossentropy(z, classes, from_logits=True),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True)(classes, z),
        ),
        (
            tnn.losses.focal(p, (y > 0.5) * 1.0),
            keras.losses.BinaryFocalCrossentropy()((y > 0.5) * 1.0, p),
        ),
        (
            tnn.losses.focal(p, (y > 0.5) * 1.0, label_smoothing=0.3, alpha=0.25),
            keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, label_smoothing=0.3)(
                (y > 0.5) * 1.0, p
            ),
        ),
        (
            tnn.losses.binary_crossentropy(z, y, from_logits=True, label_smoothing=0.3),
            keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.3)(y, z),
        ),
        (
            tnn.losses.categorical_crossentropy(rows, one_hot, label_smoothing=0.3),
            keras.losses.CategoricalCrossentropy(label_smoothing=0.3)(one_hot, rows),
        ),
        (
            tnn.losses.dice(p, y, sample_weight=w),
            keras.losses.Dice(axis=1)(y, p, sample_weight=w),
        ),
    ]
    for ours, theirs in cases:
        assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
