"""ONNX: the same numbers in onnxruntime, for every layer and option, batch and length."""

import os

import numpy as np
import pytest

import tinynn as tnn

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from .drawn import drawn_model  # noqa: E402

save = tnn.formats.save_onnx


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def assert_equal_outputs(model, series, path):
    save(path, model, series[0].shape[2])
    run = session(path)
    for x in series:
        for part in (x, x[:1]):
            [y] = run.run(None, {"x": part})
            wanted = tnn.predict(model, part)
            assert y.dtype == np.float32
            assert y.shape == wanted.shape
            scale = max(1, np.abs(wanted).max())
            np.testing.assert_allclose(y / scale, wanted / scale, atol=1e-5)


@pytest.mark.parametrize("seed", range(300))
def test_drawn_models_give_the_same_numbers(seed, tmp_path):
    assert_equal_outputs(*drawn_model(seed), tmp_path / "model.onnx")


def test_the_file_is_plain_onnx_with_the_weights_by_their_paths(tmp_path):
    model = tnn.Sequential(tnn.Dense(2, 3, dtype="float64", rng=0), tnn.Conv1d(3, 4, 5, rng=1))
    save(str(tmp_path / "m"), model, np.int64(2))
    assert os.listdir(tmp_path) == ["m"]
    found = onnx.load(tmp_path / "m")
    assert [(part.domain, part.version) for part in found.opset_import] == [("", 20)]
    assert {node.domain for node in found.graph.node} == {""}
    held = {part.name: onnx.numpy_helper.to_array(part) for part in found.graph.initializer}
    wanted = {name: array.astype(np.float32) for name, array in model.state_dict().items()}
    wanted["layers.1.kernel"] = wanted["layers.1.kernel"].transpose(2, 1, 0)
    for name, array in wanted.items():
        np.testing.assert_array_equal(held[name], array)
    [x], [y] = found.graph.input, found.graph.output
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (x, y)]
    assert (x.name, y.name) == ("x", "y")
    assert shapes == [["batch", "length", 2], ["batch", "output_length", 4]]


def test_a_layer_that_comes_twice_is_written_once(tmp_path):
    norm = tnn.LayerNorm(2)
    norm.gamma.data = [2.0, 3.0]
    model = tnn.Sequential(norm, tnn.Residual(tnn.Sequential(norm, tnn.Dropout(0.5))), norm)
    x = np.random.default_rng(0).normal(size=(2, 5, 2)).astype(np.float32)
    assert_equal_outputs(model.train(), [x], tmp_path / "m")  # it is written as in evaluation
    names = [part.name for part in onnx.load(tmp_path / "m").graph.initializer]
    assert names == ["layers.0.gamma", "layers.0.beta"]


@pytest.mark.parametrize("model", [tnn.Sequential(), tnn.Activation("linear"), tnn.Dropout(0.1)])
def test_a_model_that_does_nothing(model, tmp_path):
    assert_equal_outputs(model.eval(), [np.ones((2, 3, 1), np.float32)], tmp_path / "m")


@pytest.mark.parametrize("length", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", ["same", "same_lower", "causal", (9, 0)])
def test_series_shorter_than_the_kernel(padding, length, tmp_path):
    for strides, dilation in ((1, 1), (3, 1), (2, 2), (7, 1)):
        how = {"strides": strides, "dilation_rate": dilation, "padding": padding}
        model = tnn.Conv1d(1, 2, 5, bias_initializer="ones", rng=0, **how)
        x = np.random.default_rng(0).normal(size=(2, length, 1)).astype(np.float32)
        if model.output_length(length):
            assert_equal_outputs(model, [x], tmp_path / "m")


@pytest.mark.parametrize("kind", [tnn.MaxPool1d, tnn.AvgPool1d])
def test_pools_with_strides_beyond_their_windows(kind, tmp_path):
    for size, strides in ((2, 3), (2, 7), (3, 5), (4, 5)):
        series = [np.random.default_rng(n).normal(size=(2, n, 2)) - 9 for n in range(1, 15)]
        model = tnn.Sequential(kind(size, strides=strides, padding="same"), tnn.Dense(2, 1, rng=0))
        assert_equal_outputs(model, [x.astype(np.float32) for x in series], tmp_path / "m")


def test_features_whose_number_is_not_known_and_empty_batches(tmp_path):
    model = tnn.Sequential(
        tnn.UpSample1d(2), tnn.Flatten(), tnn.Residual(tnn.Dense(12, 12, rng=0)), tnn.Dense(12, 1)
    )
    assert_equal_outputs(model, [np.ones((2, 3, 2), np.float32)], tmp_path / "m")
    [y] = session(tmp_path / "m").run(None, {"x": np.ones((0, 3, 2), np.float32)})
    assert y.shape == (0, 1)


def test_values_that_single_precision_cannot_hold_are_refused(tmp_path):
    model = tnn.Sequential(tnn.Dense(1, 1, dtype="float64"))
    model[0].kernel.data = [[1e300]]
    with pytest.raises(ValueError, match=r"layers\.0, a Dense: its kernel has values that float32"):
        save(tmp_path / "m", model, 1)
    assert os.listdir(tmp_path) == []


def test_upsampling_is_exact_on_long_series(tmp_path):
    x = np.arange(2**20, dtype=np.float32).reshape(1, -1, 1)
    save(tmp_path / "m", tnn.UpSample1d(7), 1)
    [y] = session(tmp_path / "m").run(None, {"x": x})
    np.testing.assert_array_equal(y, np.repeat(x, 7, axis=1))


@pytest.mark.parametrize("layer", [tnn.Dense(3, 1), tnn.Conv1d(3, 1, 1), tnn.BatchNorm(3)])
def test_other_channels_are_refused_by_path(layer, tmp_path):
    model = tnn.Sequential(tnn.Dropout(0.1), layer)
    what = rf"save_onnx: layers\.1, a {type(layer).__name__}: it takes 3 channels, .* has 2"
    with pytest.raises(ValueError, match=what):
        save(tmp_path / "m", model, 2)
    body = tnn.Sequential(tnn.Dense(2, 3), tnn.Residual(tnn.Dense(3, 1)))
    with pytest.raises(ValueError, match=r"layers\.1, a Residual: its body leaves 1 channels of 3"):
        save(tmp_path / "m", body, 2)
    assert os.listdir(tmp_path) == []


def test_arguments_are_checked_and_a_file_is_whole(tmp_path, monkeypatch):
    model = tnn.Dense(1, 1)
    with pytest.raises(TypeError, match="save_onnx: channels must be a positive integer, got '1'"):
        save(tmp_path / "m", model, "1")
    with pytest.raises(ValueError, match="save_onnx: channels must be a positive integer, got 0"):
        save(tmp_path / "m", model, 0)
    with pytest.raises(TypeError, match="save_onnx: path must be a path, got 3"):
        save(3, model, 1)
    with pytest.raises(FileNotFoundError, match=r"save_onnx: .*there is no folder"):
        save(tmp_path / "nowhere" / "m", model, 1)
    (tmp_path / "m").write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "Full")))
    with pytest.raises(OSError, match="save_onnx: Full"):
        save(tmp_path / "m", model, 1)
    assert (tmp_path / "m").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["m"]
