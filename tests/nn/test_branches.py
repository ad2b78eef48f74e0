"""Residual, Parallel, Lambda: what they compute, refuse, and say of themselves."""

import pickle
import re

import numpy as np
import pytest

import tinynn as tnn


def same(a=2, b=2, **how):
    how = {"padding": "same", "dtype": "float64", "rng": 0, **how}
    return tnn.Conv1d(a, b, 3, **how)


X = np.random.default_rng(0).normal(size=(3, 8, 2))


def test_a_residual_adds_its_input():
    body = same(activation="tanh")
    layer = tnn.Residual(body)
    np.testing.assert_array_equal(layer(X).data, X + body(X).data)
    np.testing.assert_array_equal(layer(X[0]).data, X[0] + body(X[0]).data)
    assert list(layer.state_dict()) == ["body.kernel", "body.bias"]
    assert tnn.testing.check_grads(layer, X, order=2)
    assert tnn.Residual(same(dtype="float32"))(X).dtype == np.float32
    assert tnn.Residual(same(dtype="float32"))(X.astype(int)).dtype == np.float32


def test_parallel_joins_channels_in_order():
    layers = same(2, 3), tnn.Sequential(), tnn.Sequential(tnn.MaxPool1d(2), tnn.UpSample1d(2))
    for layer in (tnn.Parallel(*layers), tnn.Parallel(list(layers))):
        expected = np.concatenate([part(X).data for part in layers], axis=-1)
        np.testing.assert_array_equal(layer(X).data, expected)
        np.testing.assert_array_equal(layer(X[0]).data, expected[0])
        assert len(layer) == 3
        assert layer[0] is layers[0]
        assert list(layer) == list(layers)
        assert list(layer.state_dict()) == ["layers.0.kernel", "layers.0.bias"]
        assert tnn.testing.check_grads(layer, X, order=2)
    dense = tnn.Parallel(tnn.Dense(2, 1, rng=0), tnn.Dense(2, 4, rng=1))
    assert dense(np.ones((5, 2))).shape == (5, 5)


def test_a_lambda_is_its_function():
    layer = tnn.Lambda(lambda x: x[..., ::-1] * 2)
    np.testing.assert_array_equal(layer(X).data, X[..., ::-1] * 2)
    assert not layer.per_sample
    assert layer.reach() is None
    assert tnn.testing.check_grads(layer, X, order=2)
    assert pickle.loads(pickle.dumps(tnn.Lambda(tnn.relu))).f is tnn.relu
    assert repr(tnn.Lambda(tnn.relu)) == "Lambda(relu)"


def test_reprs_are_indented():
    model = tnn.Parallel(tnn.Sequential(tnn.UpSample1d(2)), tnn.Residual(tnn.Flatten()))
    assert repr(model).splitlines() == [
        "Parallel(",
        "  Sequential(",
        "    UpSample1d(2),",
        "  ),",
        f"  Residual({tnn.Flatten()!r}),",
        ")",
    ]


def test_receptive_fields_of_branches():
    near, far = same(), tnn.Conv1d(2, 2, 9, padding="causal")
    pooled = tnn.Sequential(tnn.MaxPool1d(2), far, tnn.UpSample1d(2))
    assert tnn.Residual(far).reach() == (1, 8, 0, 1, True, 1)
    assert tnn.Residual(tnn.Conv1d(2, 2, 3, padding=(0, 2))).reach() == (1, 0, 2, 1, True, 1)
    assert tnn.Parallel(near, far).reach() == (1, 8, 1, 1, True, 1)
    assert tnn.Parallel(near, pooled).reach()[3] == 2
    assert tnn.Parallel(near, tnn.MaxPool1d(2)).reach() is None
    assert tnn.Residual(tnn.Lambda(tnn.relu)).reach() is None
    strided = tnn.Conv1d(2, 1, 3, strides=2, padding="same"), tnn.MaxPool1d(2, padding="same")
    assert tnn.Parallel(*strided).reach() == (2, 1, 2, 1, False, 2)


@pytest.mark.parametrize("make", [tnn.Residual, tnn.Parallel])
def test_no_claim_on_linear_maps_is_wrong(make):
    width = 2 if make is tnn.Residual else 4
    ends = same(1, 2), same(width, 1)
    both = tnn.Parallel(same(), same()) if make is tnn.Parallel else tnn.Residual(same())
    assert "note" not in tnn.Sequential(ends[0], both, ends[1]).summary((9, 1))
    inner = tnn.Sequential(same(), tnn.Dropout(0.5), same())
    text = tnn.Sequential(make(inner), tnn.Activation("relu")).summary((9, 2))
    where = "layers.0.body.layers" if make is tnn.Residual else "layers.0.layers.0.layers"
    assert f"note: {where}.0 and {where}.2 are two linear maps in a row" in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tnn.Residual(tnn.relu), "Residual: body must be a Layer, got"),
        (lambda: tnn.Residual(tnn.Dense), "Call it with its sizes: Dense(...)."),
        (lambda: tnn.Parallel(), "Parallel: give at least one Layer."),
        (lambda: tnn.Parallel(same(), "relu"), "Write an activation as tinynn.Activation('relu')"),
        (lambda: tnn.Parallel(same(), tnn.sin), "Parallel: layers[1] must be a Layer, got"),
        (lambda: tnn.Parallel(3), "Parallel: give Layers, got 3"),
        (lambda: tnn.Lambda("relu"), "Lambda: f must be a function of a Tensor, got 'relu'."),
        (lambda: tnn.Lambda(tnn.Flatten()), "A Layer is used as it is."),
        (lambda: tnn.Lambda(tnn.Flatten), "Lambda: f must be a function of a Tensor"),
        (
            lambda: tnn.Residual(same(2, 3))(X),
            "Residual: the body must keep the shape of its input, (3, 8, 2), but returned "
            "(3, 8, 3). Use padding='same'",
        ),
        (lambda: tnn.Residual(tnn.MaxPool1d(2))(X), "but returned (3, 4, 2)"),
        (
            lambda: tnn.Parallel(same(), tnn.Conv1d(2, 1, 3))(X),
            "Parallel: the outputs must differ in their channels alone, got shapes (3, 8, 2), "
            "(3, 6, 1)",
        ),
        (
            lambda: tnn.Parallel(same(), tnn.Sequential(tnn.MaxPool1d(2), tnn.UpSample1d(2)))(
                X[:, :7]
            ),
            "has its length back if that is a multiple of the pools",
        ),
        (lambda: tnn.Lambda(lambda x: None)(X), "Lambda: forward returned None"),
    ],
)
def test_bad_input_is_refused_in_the_layers_name(call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()
