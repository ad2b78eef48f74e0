"""Keras's convolutions and pooling, weights taken over as they are: lengths and values."""

import os

import numpy as np
import pytest

import tinynn as tnn

from . import oracles

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch").set_num_threads(1)
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # torch under Keras


def normal(*shape):
    return np.random.default_rng(list(shape)).normal(size=shape).astype("float32")


def values(y):
    return keras.ops.convert_to_numpy(y)


def check(layer, ours, x_shape):
    """Compare a layer with our function of the same weights."""
    x = normal(*x_shape)
    layer.build(x.shape)
    weights = [normal(*w.shape) for w in layer.get_weights()]
    layer.set_weights(weights)
    y = ours(x, *weights)
    assert y.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(y, values(layer(x)), rtol=1e-4, atol=1e-4)


def not_both(how, seed):
    """Keras refuses strides and dilation together."""
    how[["strides", "dilation_rate"][seed % 2]] = 1


@pytest.mark.parametrize("seed", range(100))
def test_conv1d(seed):
    x, (taps, _, filters), how = oracles.draw_convolution(seed, ["valid", "same", "causal"])
    not_both(how, seed)
    layer = keras.layers.Conv1D(filters, taps, **how)
    check(layer, lambda *arrays: tnn.conv1d(*arrays, **how), x)


@pytest.mark.parametrize("seed", range(80))
def test_conv1d_transpose(seed):
    x, (taps, _, filters), how = oracles.draw_convolution(seed, ["valid", "same"])
    not_both(how, seed)
    del how["groups"]  # Keras has none here
    layer = keras.layers.Conv1DTranspose(filters, taps, **how)
    check(layer, lambda *arrays: tnn.conv1d_transpose(*arrays, **how), x)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("strides", [None, 1, 2, 6])
def test_pooling(size, strides, padding):
    for length in range(size, 12):
        stride = strides or size
        padded = max(0, (-(-length // stride) - 1) * stride + size - length)
        pairs = [(tnn.max_pool1d, keras.layers.MaxPooling1D)]
        if padding == "valid" or padded % 2 == 0:
            # On PyTorch, Keras repeats the last sample if the padding is odd; elsewhere not.
            pairs.append((tnn.avg_pool1d, keras.layers.AveragePooling1D))
        x = normal(2, length, 3)
        for ours, theirs in pairs:
            y = ours(x, size, strides=strides, padding=padding)
            expected = values(theirs(size, strides, padding)(x))
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", "linear relu leaky_relu elu gelu silu sigmoid softplus softmax log_softmax tanh".split()
)
def test_activations(name):
    x = np.linspace(-4, 4, 34, dtype="float32").reshape(2, 17)
    ours = x if name == "linear" else getattr(tnn, name)(x)
    np.testing.assert_allclose(
        ours, values(getattr(keras.activations, name)(x)), rtol=1e-5, atol=1e-6
    )
