"""Keras: the same numbers both ways, and the same file there and back."""

import os
import re
import warnings

import numpy as np
import pytest

import tinynn as tnn

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

import torch

torch.set_num_threads(1)

from .drawn import drawn_model, file_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
to_keras, from_keras = tnn.formats.to_keras, tnn.formats.from_keras


NOT_THERE = "Keras has no such padding|Keras has no (groups|strides)|padding into the mean"


def assert_equal_outputs(model, made, series):
    for x in series:
        wanted = tnn.predict(model, x)
        y = keras.ops.convert_to_numpy(made(x, training=False))
        assert y.dtype == wanted.dtype
        assert y.shape == wanted.shape
        scale = max(1, np.abs(wanted).max())
        np.testing.assert_allclose(y / scale, wanted / scale, atol=1e-5)


@pytest.mark.parametrize("seed", range(300))
def test_drawn_models_give_the_same_numbers_and_come_back(seed):
    model, series = drawn_model(seed)
    try:
        made = to_keras(model)
    except ValueError as error:
        if not re.search(NOT_THERE, str(error)):
            raise
        pytest.skip(str(error))
    takes_series = any(p.takes_series or type(p) is tnn.Flatten for p in model._layers())
    given = series if takes_series else [x.mean(axis=1) for x in series]
    assert_equal_outputs(model, made, given)
    assert file_of(from_keras(made)) == file_of(model)
    del made.tinynn
    try:
        back = from_keras(made)
    except ValueError as error:
        if not re.search("its layers are no chain|tinynn has no such layer", str(error)):
            raise
    else:
        assert_equal_outputs(back, made, given)


L = keras.layers


def built(*layers, shape=(None, 2)):
    """A Keras model with weights that are no longer the first ones."""
    model = keras.Sequential([keras.Input(shape), *layers])
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 1, w.shape) - 0.3 for w in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_variance.shape))
    return model


NATIVE = {
    "detector": lambda: built(
        L.Conv1D(4, 9, padding="same", activation="relu"), L.BatchNormalization(), L.ReLU(),
        L.Dropout(0.5), L.Conv1D(4, 3, strides=2, padding="causal", use_bias=False, groups=2),
        L.Conv1D(2, 3, dilation_rate=3), L.LayerNormalization(), L.Dense(1, "sigmoid"),
    ),
    "u-net": lambda: built(
        L.MaxPooling1D(3, padding="same"), L.Conv1DTranspose(4, 3, 2, output_padding=1),
        L.Conv1DTranspose(2, 3, 2, "same"), L.UpSampling1D(3), L.AveragePooling1D(2),
        L.ZeroPadding1D((1, 2)), L.ELU(), L.LeakyReLU(negative_slope=0.2), L.Softmax(),
    ),
    "classifier": lambda: built(
        L.Conv1D(3, 5, strides=2), L.Activation("swish"), L.Flatten(), L.Dense(4, "gelu"),
        L.BatchNormalization(momentum=0.9, epsilon=1e-5), L.Identity(), L.Dense(3, "softmax"),
        shape=(20, 2),
    ),
    "pooled": lambda: built(keras.Sequential([L.Dense(3)]), L.GlobalAveragePooling1D(), L.Dense(2)),
    "largest": lambda: built(L.GlobalMaxPooling1D(), L.LayerNormalization(epsilon=0.1)),
}  # fmt: skip


@pytest.mark.parametrize("name", NATIVE)
def test_models_of_keras_give_the_same_numbers_and_names(name):
    theirs = NATIVE[name]()
    x = np.random.default_rng(0).normal(size=(3, 20, 2)).astype(np.float32)
    model = from_keras(theirs).eval()
    assert_equal_outputs(model, theirs, [x])
    again = to_keras(model)
    assert_equal_outputs(model, again, [x])
    for a, b in zip(theirs.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    inputs = keras.Input((20, 2))
    functional = keras.Model(inputs, theirs(inputs))
    assert_equal_outputs(from_keras(functional).eval(), theirs, [x])


def branching():
    x = keras.Input((None, 2))
    return keras.Model(x, L.Add()([x, L.Dense(2)(x)]))


def called_twice():
    x, layer = keras.Input((None, 2)), L.Dense(2)
    return keras.Model(x, layer(layer(x)))


REFUSED = {
    "LSTM": (lambda: built(L.LSTM(2)), r"lstm\w*, a LSTM: tinynn has no such layer"),
    "activation": (lambda: built(L.Dense(2, "relu6")), "tinynn has no activation 'relu6'"),
    "own": (lambda: built(L.Dense(2, lambda x: x)), "tinynn has no activation "),
    "slope": (lambda: built(L.LeakyReLU()), r"tinynn has no negative_slope=0\.3, only 0\.2"),
    "clipped": (lambda: built(L.ReLU(6.0)), r"tinynn has no max_value=6\.0, only None"),
    "axis": (lambda: built(L.Softmax(axis=1)), "tinynn has no axis=1, only -1"),
    "scale": (lambda: built(L.BatchNormalization(scale=False)), "tinynn has no scale=False"),
    "regularized": (lambda: built(L.Dense(2, kernel_regularizer="l2")), "no kernel_regularizer="),
    "first": (
        lambda: built(L.Conv1D(2, 1, data_format="channels_first"), shape=(2, 9)),
        "tinynn has no data_format='channels_first'",
    ),
    "shape": (lambda: built(L.Dropout(0.1, noise_shape=(1, 1, 2))), "tinynn has no noise_shape="),
    "unbuilt": (lambda: keras.Sequential([L.Dense(2)]), "it is not built"),
    "half": (lambda: built(L.Dense(2, dtype="float16")), "tinynn has no dtype float16"),
    "mixed": (lambda: built(L.Dense(2, dtype="mixed_bfloat16")), "no dtype mixed_bfloat16"),
    "dropped": (lambda: built(L.Dropout(1.0)), "Dropout: rate must be a finite number"),
    "branches": (branching, "its layers are no chain"),
    "twice": (called_twice, "its layers are no chain"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_tinynn_has_not_is_refused_by_path(name):
    make, fault = REFUSED[name]
    with pytest.raises(
        ValueError, match=rf"from_keras: \w+(\.\w+)*, an? \w+: .*{fault}|{fault}"
    ) as caught:
        from_keras(make())
    assert str(caught.value).count("from_keras") == 1


def test_subclasses_and_what_is_no_layer_are_refused():
    class Mine(L.Dense):
        pass

    with pytest.raises(ValueError, match=r"from_keras: \w+\.mine, a Mine: tinynn has no such"):
        from_keras(built(Mine(2)))
    with pytest.raises(TypeError, match="from_keras: model must be a Keras model, got 3"):
        from_keras(3)


NOT_IN_KERAS = {
    "dilated": tnn.Conv1d(1, 1, 3, strides=2, dilation_rate=2, padding="same"),
    "lower": tnn.Conv1d(1, 1, 3, strides=2, padding="same_lower"),
    "mirrored": tnn.Conv1d(1, 1, 3, strides=2, padding="same", padding_mode="reflect"),
    "groups": tnn.Conv1dTranspose(2, 2, 3, groups=2),
    "transposed": tnn.Conv1dTranspose(1, 1, 3, strides=2, dilation_rate=2),
    "half": tnn.Dense(1, 1, dtype="float16"),
}


@pytest.mark.parametrize("name", NOT_IN_KERAS)
def test_what_keras_has_not_is_refused_by_path(name):
    model = tnn.Sequential(NOT_IN_KERAS[name])
    with pytest.raises(ValueError, match=r"to_keras: (layers\.0, a Conv1d|all layers must have)"):
        to_keras(model)


def test_a_model_that_was_trained_comes_back_and_one_that_was_changed_is_read(tmp_path):
    model = tnn.Sequential(
        tnn.Conv1d(1, 4, 3, padding="same_lower", activation="relu", rng=0), tnn.BatchNorm(4),
        tnn.Sequential(tnn.Dense(4, 1)),
    )  # fmt: skip
    model[0].bias.requires_grad = False
    made = to_keras(model)
    assert isinstance(made, keras.Sequential)
    assert len(made.trainable_weights) == 5
    rng = np.random.default_rng(0)
    made.set_weights([rng.uniform(0.5, 1, w.shape) for w in made.get_weights()])
    back = from_keras(made)
    assert list(back.state_dict()) == list(model.state_dict())
    assert back.training
    assert not back[0].bias.requires_grad
    x = rng.normal(size=(2, 9, 1)).astype(np.float32)
    assert_equal_outputs(back.eval(), made, [x])
    np.testing.assert_array_equal(model[1].gamma.data, 1)  # weights are copies
    made.layers[-1].activation = keras.activations.tanh
    assert_equal_outputs(from_keras(made).eval(), made, [x])
    made.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert_equal_outputs(from_keras(loaded).eval(), made, [x])
    double = tnn.Sequential(
        tnn.Conv1d(1, 2, 3, dtype="float64", rng=0), tnn.BatchNorm(2, dtype="float64")
    )
    if keras.backend.backend() == "torch":
        assert_equal_outputs(double.eval(), to_keras(double), [x.astype(float)])
    else:
        with pytest.raises(ValueError, match="this backend of Keras has no float64 now"):
            to_keras(double)


def test_layers_that_come_twice_are_one_layer():
    dense = tnn.Dense(2, 2, rng=0)
    model = tnn.Sequential(dense, tnn.Activation("tanh"), dense).eval()
    made = to_keras(model)
    assert len(made.weights) == 2
    assert_equal_outputs(model, made, [np.ones((2, 2), np.float32)])
    assert len(from_keras(made).parameters()) == 2


def test_layers_that_come_twice_in_branches():
    x = np.random.default_rng(0).normal(size=(2, 9, 2)).astype(np.float32)
    for last in (tnn.GlobalMaxPool1d(), tnn.Flatten()):
        rows = [tnn.Sequential(tnn.Conv1d(2, 3, size, rng=size), last) for size in (3, 5)]
        model = tnn.Sequential(tnn.Parallel(rows), tnn.Activation("softmax")).eval()
        assert_equal_outputs(model, to_keras(model), [x])


def test_a_model_whose_first_layers_take_any_number_of_channels():
    x = np.random.default_rng(0).normal(size=(2, 9, 2)).astype(np.float32)
    pool = tnn.MaxPool1d(1)
    for model in (
        tnn.Sequential(tnn.Parallel(tnn.Flatten(), tnn.GlobalMaxPool1d()), tnn.Dense(20, 2)),
        tnn.Sequential(tnn.Sequential(tnn.Flatten()), tnn.Dense(18, 2)),
        tnn.Sequential(tnn.Parallel(pool, tnn.Sequential(), pool), tnn.Conv1d(6, 2, 3)),
    ):
        made = to_keras(model.eval())
        assert_equal_outputs(model, made, [x])
        assert file_of(from_keras(made)) == file_of(model)


def test_the_order_of_axes_is_ours_whatever_is_usual():
    x = np.random.default_rng(0).normal(size=(2, 9, 2)).astype(np.float32)
    keras.config.set_image_data_format("channels_first")
    try:
        for layer in (tnn.Conv1d(2, 3, 3), tnn.MaxPool1d(2), tnn.GlobalAvgPool1d(), tnn.Flatten()):
            assert_equal_outputs(layer, to_keras(layer), [x])
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="others are right")
def test_means_that_keras_takes_otherwise_are_refused_both_ways():
    with pytest.raises(ValueError, match=r"to_keras: the model, a AvgPool1d: .* into the mean"):
        to_keras(tnn.AvgPool1d(2, padding="same"))
    with pytest.raises(ValueError, match=r"from_keras: .*a AveragePooling1D: .* into the mean"):
        from_keras(built(L.AveragePooling1D(2, padding="same")))
