"""BatchNorm and LayerNorm: formulas, running statistics, gradients, precision, messages."""

import copy
import pickle
import re

import numpy as np
import pytest

import tinynn as tnn

RNG = np.random.default_rng


def batch_norm(shape=(4, 5, 3), seed=0, **how):
    """Return a BatchNorm with weights that are no ones and zeros, and an input."""
    rng = RNG(seed)
    layer = tnn.BatchNorm(shape[-1], **{"dtype": "float64", **how})
    for tensor in (layer.gamma, layer.beta, layer.moving_mean):
        tensor.data = rng.normal(size=shape[-1])
    layer.moving_variance.data = rng.uniform(0.5, 2, shape[-1])
    return layer, rng.normal(size=shape)


def normalized(x, mean, variance, layer):
    shift, scale = layer.beta.data, layer.gamma.data
    return (x - mean) / np.sqrt(variance + layer.epsilon) * scale + shift


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (1, 3), (1, 1, 3), (2, 1, 3), (1, 7, 3)])
def test_batch_norm_is_its_definition_and_moves_its_statistics(shape):
    layer, x = batch_norm(shape, momentum=0.9, epsilon=0.01)
    axes = tuple(range(len(shape) - 1))
    mean, variance = x.mean(axes), x.var(axes)
    moved = [
        0.9 * layer.moving_mean.data + 0.1 * mean,
        0.9 * layer.moving_variance.data + 0.1 * variance,
    ]
    np.testing.assert_allclose(layer(x).data, normalized(x, mean, variance, layer), atol=1e-12)
    np.testing.assert_allclose(layer.moving_mean.data, moved[0], atol=1e-14)
    np.testing.assert_allclose(layer.moving_variance.data, moved[1], atol=1e-14)
    state = layer.eval().state_dict()
    np.testing.assert_allclose(layer(x).data, normalized(x, *moved, layer), atol=1e-12)
    np.testing.assert_array_equal(layer.moving_mean.data, state["moving_mean"])  # nothing moves


def test_one_value_a_channel_gives_beta():
    layer, x = batch_norm((1, 1, 3))
    np.testing.assert_array_equal(layer(x).data, np.broadcast_to(layer.beta.data, x.shape))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3)])
def test_gradients_of_batch_norm(shape, training):
    layer, x = batch_norm(shape)
    layer.train(training)

    def through(x, gamma, beta):
        layer.gamma, layer.beta = gamma, beta
        return layer(x)

    given = x, layer.gamma.data.copy(), layer.beta.data.copy()
    assert tnn.testing.check_grads(through, *given, order=2, mode="full")


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 4, 3)])
def test_layer_norm_is_its_definition_and_its_gradients(shape):
    rng = RNG(0)
    layer = tnn.LayerNorm(3, epsilon=0.01, dtype="float64")
    layer.gamma.data, layer.beta.data = rng.normal(size=3), rng.normal(size=3)
    x = rng.normal(size=shape)
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    expected = normalized(x, mean, variance, layer)
    for training in (True, False):
        np.testing.assert_allclose(layer.train(training)(x).data, expected, atol=1e-12)

    def through(x, gamma, beta):
        layer.gamma, layer.beta = gamma, beta
        return layer(x)

    given = x, layer.gamma.data.copy(), layer.beta.data.copy()
    assert tnn.testing.check_grads(through, *given, order=2, mode="full")


@pytest.mark.parametrize("shape", [(50_000, 2), (64, 1024, 2), (1, 10**6, 2)])
def test_offsets_leave_single_precision_whole(shape):
    rng = RNG(0)
    x = (rng.normal(size=shape) + [3e4, -1e3]).astype(np.float32)
    layer = tnn.BatchNorm(2, momentum=0.0, epsilon=1e-6)
    wide, axes = x.astype(float), tuple(range(len(shape) - 1))
    y = layer(x).data
    expected = (wide - wide.mean(axes)) / np.sqrt(wide.var(axes) + 1e-6)
    np.testing.assert_allclose(y, expected, atol=2e-5)
    np.testing.assert_allclose(layer.moving_mean.data, wide.mean(axes), rtol=3e-7)
    np.testing.assert_allclose(layer.moving_variance.data, wide.var(axes), rtol=1e-5)


def test_a_constant_channel_far_from_zero_gives_beta():
    x = np.full((64, 1000, 1), 123456789.0, np.float32)
    layer = tnn.BatchNorm(1)
    y = layer(x).data
    assert np.isfinite(y).all()
    assert layer.moving_variance.data >= 0
    np.testing.assert_allclose(y, 0, atol=1e-2)


@pytest.mark.parametrize("make", [tnn.BatchNorm, tnn.LayerNorm])
def test_half_precision_is_computed_in_single(make):
    x = (300 + 10 * RNG(0).normal(size=(40, 30, 4))).astype(np.float16)  # squares overflow
    layer = make(4, dtype="float16")
    y = layer(x)
    assert y.dtype == np.float16
    expected = make(4)(x.astype(np.float32)).data
    np.testing.assert_array_equal(y.data, expected.astype(np.float16))
    assert make(4)(x).dtype == np.float32  # a layer computes in its own dtype
    if make is tnn.BatchNorm:
        assert layer.moving_mean.dtype == layer.moving_variance.dtype == np.float32
    (g,) = tnn.grad((y * y).sum(), [layer.gamma])
    assert g.dtype == np.float16


def test_running_statistics_move_under_no_grad_and_get_no_gradient():
    layer, x = batch_norm()
    before = layer.moving_mean.data.copy()
    with tnn.no_grad():
        layer(x)
    moved = layer.moving_mean.data.copy()
    assert (moved != before).all()
    y = layer(tnn.Tensor(x, requires_grad=True))
    assert not layer.moving_mean.requires_grad
    y.sum().backward()
    assert layer.moving_mean.grad is None
    assert [path for path, _ in layer.named_parameters()] == ["gamma", "beta"]


def test_the_state_and_its_copies():
    layer, x = batch_norm()
    layer(x)
    state = layer.state_dict()
    assert list(state) == ["gamma", "beta", "moving_mean", "moving_variance"]
    other = tnn.BatchNorm(3, dtype="float64")
    other.load_state_dict(state)
    for twin in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin.eval()(x).data, layer.eval()(x).data)
        twin.train()(x)  # which leaves the other's statistics alone
        np.testing.assert_array_equal(layer.moving_mean.data, state["moving_mean"])
    assert list(tnn.LayerNorm(2).state_dict()) == ["gamma", "beta"]


def test_a_look_at_a_model_moves_no_statistics():
    layer, x = batch_norm()
    before = layer.state_dict()
    layer.summary((5, 3))
    tnn.predict(layer, x)
    assert layer.training
    tnn.nn.observe.first_nonfinite_layer(layer, x)
    for path, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[path])


def test_what_they_say_of_themselves():
    assert not tnn.BatchNorm(1).per_sample
    assert tnn.LayerNorm(1).per_sample
    for layer in (tnn.BatchNorm(1), tnn.LayerNorm(1)):
        assert layer.reach()[:3] == (1, 0, 0)
    assert repr(tnn.BatchNorm(3)) == "BatchNorm(3, momentum=0.99, epsilon=0.001)"
    assert repr(tnn.LayerNorm(3)) == "LayerNorm(3, epsilon=0.001)"
    conv = tnn.Conv1d(1, 2, 3, padding="same"), tnn.Conv1d(2, 1, 3, padding="same")
    note = "layers.0 and layers.2 are two linear maps in a row"
    assert note in tnn.Sequential(conv[0], tnn.BatchNorm(2), conv[1]).summary((9, 1))
    assert "note" not in tnn.Sequential(conv[0], tnn.LayerNorm(2), conv[1]).summary((9, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tnn.BatchNorm(0), "BatchNorm: channels must be a positive integer, got 0."),
        (lambda: tnn.BatchNorm(2, momentum=1.5), "BatchNorm: momentum must be a finite number"),
        (lambda: tnn.BatchNorm(2, epsilon=0), "BatchNorm: epsilon must be a finite number above 0"),
        (lambda: tnn.BatchNorm(2, dtype=int), "BatchNorm: dtype must be a floating-point type"),
        (lambda: tnn.BatchNorm(2, eps=1e-5), "no argument 'eps'. It is epsilon here"),
        (lambda: tnn.BatchNorm(), "Write BatchNorm(channels, ...)"),
        (lambda: tnn.LayerNorm("2"), "LayerNorm: features must be a positive integer, got '2'."),
        (
            lambda: tnn.BatchNorm(2)(np.ones((4, 3))),
            "BatchNorm: the input must be (batch, 2) or (batch, length, 2), got shape (4, 3).",
        ),
        (lambda: tnn.BatchNorm(2)(np.ones((4, 2, 9))), "looks like (batch, channels, length)"),
        (lambda: tnn.BatchNorm(2)(np.ones(2)), "BatchNorm: the input must be (batch, 2)"),
        (lambda: tnn.BatchNorm(2)(np.ones((0, 9, 2))), "a batch of shape (0, 9, 2) has no mean"),
        (lambda: tnn.LayerNorm(2)(np.ones((4, 3))), "LayerNorm: the last axis of the input must"),
        (lambda: tnn.BatchNorm(2)(np.array([["a", "b"]])), "must be real numbers, got dtype <U1"),
    ],
)
def test_bad_input_is_refused_in_the_layers_name(call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()


def test_an_empty_batch_can_be_evaluated():
    assert tnn.BatchNorm(2).eval()(np.ones((0, 9, 2))).shape == (0, 9, 2)
