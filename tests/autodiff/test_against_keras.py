"""Keras's convolutions and pooling, weights taken over as they are: lengths and values."""

import os

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinynn as tnn

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch").set_num_threads(1)
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # torch under Keras


def normal(*shape):
    return np.random.default_rng(list(shape)).normal(size=shape).astype("float32")


def values(y):
    return keras.ops.convert_to_numpy(y)


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 20), st.integers(1, 3)),
    st.tuples(st.integers(1, 6), st.integers(1, 3)),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from(["valid", "same", "causal"]),
)
def test_conv1d(x_shape, kernel_shape, sizes, padding):
    strides, dilation, groups = sizes
    assume(strides == 1 or dilation == 1)  # Keras refuses both
    assume(padding != "valid" or x_shape[1] > dilation * (kernel_shape[0] - 1))
    taps, per_group = kernel_shape
    how = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups}
    x = normal(*x_shape[:2], groups * x_shape[2])
    layer = keras.layers.Conv1D(groups * per_group, taps, **how)
    layer.build(x.shape)
    kernel, bias = normal(*layer.kernel.shape), normal(*layer.bias.shape)
    layer.set_weights([kernel, bias])
    y = tnn.conv1d(x, kernel, bias, **how)
    assert y.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(y, values(layer(x)), rtol=1e-4, atol=1e-4)


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 12), st.integers(1, 3)),
    st.tuples(st.integers(1, 6), st.integers(1, 3)),
    st.tuples(st.integers(1, 4), st.integers(1, 3)),
    st.sampled_from(["valid", "same"]),
)
def test_conv1d_transpose(x_shape, kernel_shape, sizes, padding):
    strides, dilation = sizes
    assume(strides == 1 or dilation == 1)
    taps, filters = kernel_shape
    how = {"strides": strides, "padding": padding, "dilation_rate": dilation}
    x = normal(*x_shape)
    layer = keras.layers.Conv1DTranspose(filters, taps, **how)
    layer.build(x.shape)
    kernel, bias = normal(*layer.kernel.shape), normal(filters)
    layer.set_weights([kernel, bias])
    y = tnn.conv1d_transpose(x, kernel, bias, **how)
    assert y.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(y, values(layer(x)), rtol=1e-4, atol=1e-4)


@settings(max_examples=60)
@given(
    st.integers(1, 15),
    st.integers(1, 5),
    st.none() | st.integers(1, 5),
    st.sampled_from(["valid", "same"]),
)
def test_pooling(length, size, strides, padding):
    assume(padding == "same" or length >= size)
    stride = strides or size
    padded = max(0, (-(-length // stride) - 1) * stride + size - length)
    pairs = [(tnn.max_pool1d, keras.layers.MaxPooling1D)]
    if padding == "valid" or padded % 2 == 0:
        # On PyTorch, Keras repeats the last sample if the padding is odd; elsewhere it does not.
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
