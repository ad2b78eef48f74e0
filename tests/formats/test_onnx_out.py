"""ONNX: the same numbers in onnxruntime, for every layer and option, batch and length."""

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
