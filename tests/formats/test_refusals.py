"""What no format can carry is refused by its path, before a package is asked or a file made."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tinynn as tnn
from tinynn.formats import keras_both, onnx_out, torch_out
from tinynn.nn import config

FORMATS = {
    "save_onnx": ("onnx", lambda model, path: tnn.formats.save_onnx(path, model, 1)),
    "to_torch": ("torch", lambda model, path: tnn.formats.to_torch(model)),
    "to_keras": ("keras", lambda model, path: tnn.formats.to_keras(model)),
}
os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = [
    pytest.mark.parametrize("owner", FORMATS),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:keras"),
]


class Mine(tnn.Layer):
    """A layer of one's own."""

    def __init__(self, body):
        self.body = body

    def forward(self, x):
        return self.body(x)


class Derived(tnn.Dense):
    """A layer of tinynn's with another forward."""

    def forward(self, x):
        return 2 * super().forward(x)

    def to_config(self):
        return {}


def replaced():
    layer = tnn.Dense(1, 1)
    layer.forward = lambda x: x
    return layer


def reshaped(**tensors):
    layer = tnn.Conv1d(1, 2, 3)
    for name, tensor in tensors.items():
        setattr(layer, name, tensor)
    return layer


def shared():
    model = tnn.Sequential(tnn.Dense(1, 1), tnn.Dense(1, 1))
    model[1].kernel = model[0].kernel
    return model


def endless():
    model = tnn.Sequential(tnn.Dense(1, 1))
    model.layers.append(tnn.Residual(model))
    return model


LAMBDA = tnn.Lambda(lambda x: x)
REFUSED = {
    "a function": (tnn.Sequential(tnn.Dense(1, 1), LAMBDA), r"layers\.1, a Lambda: functions"),
    "inside": (tnn.Sequential(tnn.Residual(LAMBDA)), r"layers\.0\.body, a Lambda: functions"),
    "mine": (tnn.Sequential(Mine(tnn.Dense(1, 1))), r"layers\.0, a Mine: layers of your own"),
    "all": (Mine(tnn.Dense(1, 1)), "the model, a Mine: layers of your own"),
    "derived": (tnn.Parallel(Derived(1, 1)), r"layers\.0, a Derived: layers of your own"),
    "activation": (
        tnn.Sequential(tnn.Dense(1, 1, tnn.exp2)),
        r"layers\.0, a Dense: .*activation is",
    ),
    "replaced": (
        tnn.Sequential(replaced()),
        r"layers\.0, a Dense: its method forward",
    ),
    "kernel": (
        reshaped(kernel=tnn.Tensor(np.ones((5, 1, 2)))),
        r"kernel: \(5, 1, 2\) is no",
    ),
    "bias": (
        reshaped(bias=tnn.Tensor(np.ones(1))),
        r"bias: \(1,\) is no",
    ),
    "shared": (shared(), r"layers\.1\.kernel: shared or missing, it is no longer"),
    "endless": (endless(), r"layers\.1, a Residual: it holds itself"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_of_more_than_tinynns_layers_is_refused_by_path(owner, name, tmp_path):
    model, fault = REFUSED[name]
    with pytest.raises(
        ValueError, match=rf"{owner}: this model cannot be carried over:\n  {fault}"
    ):
        FORMATS[owner][1](model, tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_every_layer_of_tinynn_has_its_way(owner):
    writer = {"save_onnx": onnx_out._Graph, "to_torch": torch_out._Maker}.get(owner)
    ways = set(dir(writer or keras_both._Maker)) | {"lambda"}  # which is refused
    if writer is None:
        ways |= {"sequential", *(name.lower() for name in keras_both.SAME)}
    assert {name.lower() for name in config._own_classes()} <= ways


def test_what_is_no_layer_is_refused(owner, tmp_path):
    with pytest.raises(TypeError, match=f"{owner}: model must be a Layer, got 3"):
        FORMATS[owner][1](3, tmp_path / "model")


def test_a_missing_package_is_named_with_the_command_that_installs_it(owner, tmp_path, monkeypatch):
    package, carry = FORMATS[owner]
    monkeypatch.setitem(sys.modules, package, None)
    command = f"{owner}: the package {package} is not installed. Install it: python -m pip install"
    with pytest.raises(ModuleNotFoundError, match=f"{command} {package}"):
        carry(tnn.Dense(1, 1), tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_series_behind_what_leaves_none_are_refused_by_path(owner, tmp_path):
    package, carry = FORMATS[owner]
    pytest.importorskip(package)
    model = tnn.Sequential(tnn.Conv1d(1, 2, 3), tnn.GlobalMaxPool1d(), tnn.MaxPool1d(2))
    with pytest.raises(ValueError, match=rf"{owner}: layers\.2, a MaxPool1d: it takes series"):
        carry(model, tmp_path / "model")
    mixed = tnn.Parallel(tnn.Flatten(), tnn.MaxPool1d(2))
    with pytest.raises(
        ValueError, match=f"{owner}: the model, a Parallel: some of its layers leave"
    ):
        carry(mixed, tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_the_module_is_there_without_any_package(owner):
    packages = "safetensors", "onnx", "torch", "keras"
    code = f"""
import sys
import tinynn as tnn
assert callable(tnn.formats.{owner})
print([name for name in {packages} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
