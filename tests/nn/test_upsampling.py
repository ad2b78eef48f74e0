"""Conv1dTranspose, UpSample1d, ZeroPad1d: lengths, definitions, gradients, messages."""

import pickle
import re

import numpy as np
import pytest

import tinynn as tnn


def slow_transpose(x, kernel, bias, strides, dilation, groups, left, length):
    """The definition, written out: x (steps, channels) -> (length, filters)."""
    taps, width, channels = kernel.shape
    y = np.zeros((length, width * groups))
    for t in range(len(x)):
        for j in range(taps):
            at = t * strides + j * dilation - left
            if 0 <= at < length:
                for c in range(channels):
                    g = c // (channels // groups)
                    y[at, g * width : (g + 1) * width] += x[t, c] * kernel[j, :, c]
    return y + bias


def lengths(padding, output_padding, steps, strides, extent):
    """Return what is cropped on the left, and the output length, as api.md and Keras have it."""
    if not isinstance(padding, str):
        pair = (padding, padding) if isinstance(padding, int) else padding
        return pair[0], (steps - 1) * strides + extent + (output_padding or 0) - sum(pair)
    if output_padding is None:
        surplus = max(extent - strides, 0)
        whole = steps * strides
        return (surplus // 2, whole) if padding == "same" else (0, whole + surplus)
    if padding == "valid":
        return 0, (steps - 1) * strides + extent + output_padding
    crop = extent - extent % 2 - output_padding
    return max(0, crop) // 2, (steps - 1) * strides + extent % 2 + output_padding


@pytest.mark.parametrize("seed", range(150))
def test_conv1d_transpose_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    channels, filters = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    taps, strides, dilation = (int(n) for n in rng.integers(1, (6, 5, 3)))
    padding = ["valid", "same", 1, (0, 2)][seed % 4]
    output_padding = [None, int(rng.integers(0, strides))][seed // 4 % 2]
    layer = tnn.Conv1dTranspose(
        *(channels, filters, taps),
        strides=strides,
        padding=padding,
        output_padding=output_padding,
        dilation_rate=dilation,
        groups=groups,
        bias_initializer="random_normal",
        dtype="float64",
        rng=rng,
    )
    x = rng.normal(size=(2, int(rng.integers(4, 9)), channels))
    extent = dilation * (taps - 1) + 1
    left, length = lengths(padding, output_padding, x.shape[1], strides, extent)
    how = layer.bias.data, strides, dilation, groups, left, length
    expected = np.stack([slow_transpose(series, layer.kernel.data, *how) for series in x])
    np.testing.assert_allclose(layer(x).data, expected, atol=1e-12)
    np.testing.assert_allclose(layer(x[0]).data, expected[0], atol=1e-12)
    assert layer.output_length(x.shape[1]) == length
    y = tnn.conv1d_transpose(
        *(x, layer.kernel.data, layer.bias.data),
        strides=strides,
        padding=padding,
        output_padding=output_padding,
        dilation_rate=dilation,
        groups=groups,
    )
    np.testing.assert_array_equal(y, layer(x).data)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("output_padding", [None, 1])
def test_gradients_of_conv1d_transpose(padding, output_padding):
    rng = np.random.default_rng(0)
    x, kernel, bias = rng.normal(size=(2, 5, 4)), rng.normal(size=(3, 1, 4)), rng.normal(size=2)
    how = {"strides": 2, "padding": padding, "output_padding": output_padding, "groups": 2}

    def through(x, kernel, bias):
        return tnn.conv1d_transpose(x, kernel, bias, **how)

    assert tnn.testing.check_grads(through, x, kernel, bias, order=2)


def test_defaults_state_and_words():
    layer = tnn.Conv1dTranspose(4, 2, 3, strides=2, rng=0)
    assert list(layer.state_dict()) == ["kernel", "bias"]
    assert layer.kernel.shape == (3, 2, 4)
    assert layer.bias.shape == (2,)
    assert tnn.Conv1dTranspose(4, 6, 3, groups=2).bias.shape == (6,)
    text = "Conv1dTranspose(4, 2, kernel_size=3, strides=2, activation='linear')"
    assert repr(layer) == text
    assert tnn.Conv1dTranspose(1, 1, 3, use_bias=False).bias is None
    assert not tnn.Conv1dTranspose(1, 1, 3, use_bias=False).use_bias
    x = np.ones((2, 5, 4))
    assert layer(x).dtype == np.float32
    relu = tnn.Conv1dTranspose(4, 2, 3, strides=2, activation="relu", rng=0)
    np.testing.assert_array_equal(relu(x).data, np.maximum(layer(x).data, 0))
    twin = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(twin(x).data, layer(x).data)
    half = tnn.Conv1dTranspose(4, 2, 3, dtype="float16", rng=0)(x)
    assert half.dtype == np.float16
    assert layer.per_sample
    assert layer.takes_series


def test_upsampling_repeats_and_zero_padding_pads():
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    np.testing.assert_array_equal(tnn.UpSample1d(3)(x).data, np.repeat(x, 3, axis=1))
    np.testing.assert_array_equal(tnn.UpSample1d()(x[0]).data, np.repeat(x[0], 2, axis=0))
    padded = np.pad(x, ((0, 0), (1, 2), (0, 0)))
    np.testing.assert_array_equal(tnn.ZeroPad1d((1, 2))(x).data, padded)
    np.testing.assert_array_equal(tnn.ZeroPad1d(1)(x[0]).data, padded[0, :-1])
    for layer in (tnn.UpSample1d(3), tnn.ZeroPad1d((1, 2))):
        assert tnn.testing.check_grads(layer, x, order=2)
        assert layer(x.astype(np.float16)).dtype == np.float16
        assert layer.per_sample
        assert layer.takes_series
        assert layer.state_dict() == {}
    assert [repr(layer) for layer in (tnn.UpSample1d(3), tnn.ZeroPad1d(2))] == [
        "UpSample1d(3)",
        "ZeroPad1d((2, 2))",
    ]


def test_linear_maps_in_a_row_are_seen_through_them():
    conv = tnn.Conv1d(1, 2, 3, padding="same"), tnn.Conv1dTranspose(2, 1, 3)
    for between in (tnn.UpSample1d(2), tnn.ZeroPad1d(1)):
        text = tnn.Sequential(conv[0], between, conv[1]).summary((9, 1))
        assert "note: layers.0 and layers.2 are two linear maps in a row" in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tnn.Conv1dTranspose(0, 1, 3), "Conv1dTranspose: in_channels must be a positive"),
        (lambda: tnn.Conv1dTranspose(1, 1, 3, padding="causal"), "must be one of 'same', 'valid'"),
        (
            lambda: tnn.Conv1dTranspose(1, 1, 3, strides=2, output_padding=2),
            "Conv1dTranspose: output_padding must be below strides=2, got 2.",
        ),
        (
            lambda: tnn.conv1d_transpose(np.ones((4, 1)), np.ones((3, 1, 1)), output_padding=-1),
            "conv1d_transpose: output_padding must be a non-negative integer, got -1.",
        ),
        (lambda: tnn.Conv1dTranspose(3, 2, 3, groups=2), "groups must divide in_channels, got 2"),
        (lambda: tnn.Conv1dTranspose(1, 1, 3, stride=2), "'stride'. It is strides here."),
        (
            lambda: tnn.Conv1dTranspose(3, 2, 5)(np.ones((8, 3, 100))),
            "Conv1dTranspose: a kernel of shape (5, 2, 3) with groups=1 takes 3 channels, but x "
            "has 100 (shape (8, 3, 100)). It looks like (batch, channels, length)",
        ),
        (lambda: tnn.Conv1dTranspose(3, 2, 5)(np.ones(3)), "Conv1dTranspose: x must be (batch,"),
        (
            lambda: tnn.Conv1dTranspose(1, 1, 3, padding=9)(np.ones((4, 1))),
            "Conv1dTranspose: padding=(9, 9) crops all of the 6 output steps. Crop less.",
        ),
        (
            lambda: [
                tnn.conv1d_transpose(np.ones((4, 1)), np.ones((3, 1, 1)), padding=pair)
                for pair in [(1, 1), (True, 1)]
            ],
            "conv1d_transpose: padding[0] must be a non-negative integer, got True.",
        ),
        (lambda: tnn.UpSample1d(0), "UpSample1d: size must be a positive integer, got 0."),
        (lambda: tnn.UpSample1d(2)(np.ones(3)), "UpSample1d: x must be (batch, length, channels)"),
        (lambda: tnn.ZeroPad1d(-1), "ZeroPad1d: padding[0] must be a non-negative integer"),
        (
            lambda: tnn.ZeroPad1d("same"),
            "ZeroPad1d: padding must be a non-negative integer or a pair (left, right), got 'same'",
        ),
    ],
)
def test_bad_input_is_refused_in_the_layers_name(call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()
