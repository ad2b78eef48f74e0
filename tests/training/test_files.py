"""save and load: round trips, bad files, never half a file."""

import os
import pickle
import zipfile

import numpy as np
import pytest

import tinynn as tnn
from tinynn.training import files


def model(seed=0, units=4):
    return tnn.Sequential(tnn.Conv1d(1, units, 5, rng=seed), tnn.Dense(units, 1, rng=seed + 1))


def test_weights_come_back_bit_for_bit(tmp_path):
    a, b = model(0), model(7)
    path = tmp_path / "weights.any"  # the name is taken as it is
    tnn.save(path, a)
    assert os.listdir(tmp_path) == ["weights.any"]
    assert tnn.load(str(path), b) is b
    for name, array in a.state_dict().items():
        np.testing.assert_array_equal(array, b.state_dict()[name])


def test_the_file_is_numpys_own_format(tmp_path):
    tnn.save(tmp_path / "w.npz", model())
    with np.load(tmp_path / "w.npz", allow_pickle=False) as archive:
        assert set(archive.files) == set(model().state_dict())
        assert archive["layers.0.kernel"].dtype == np.float32


def test_an_attribute_of_any_name_can_be_saved(tmp_path):
    class Odd(tnn.Layer):
        def __init__(self):
            self.file = tnn.Tensor([1.0], requires_grad=True)
            self.parts = {"a/b": tnn.Tensor([2.0]), "ü": tnn.Tensor(3.0)}

    tnn.save(tmp_path / "w.npz", Odd())
    other = Odd()
    other.file.data = [5.0]
    tnn.load(tmp_path / "w.npz", other)
    assert other.file.item() == 1


def test_links_are_followed_and_long_names_and_bytes_work(tmp_path):
    tnn.save(tmp_path / "target", model(1))
    (tmp_path / "link").symlink_to(tmp_path / "target")
    tnn.save(tmp_path / "link", model(2))
    assert (tmp_path / "link").is_symlink()
    loaded = tnn.load(os.fsencode(tmp_path / "target"), model(3))
    np.testing.assert_array_equal(loaded[0].kernel.data, model(2)[0].kernel.data)
    tnn.save(os.fsencode(tmp_path / ("x" * 250)), model())


def test_two_arrays_of_one_name_are_refused(tmp_path):
    tnn.save(tmp_path / "w", model())
    with zipfile.ZipFile(tmp_path / "w", "a") as archive:
        archive.writestr("layers.1.bias", archive.read("layers.1.bias.npy"))
    with pytest.raises(ValueError, match="it holds two arrays of one name"):
        tnn.load(tmp_path / "w", model())


def test_every_bad_file_is_refused_by_name_and_changes_nothing(tmp_path):
    good = tmp_path / "good.npz"
    tnn.save(good, model(1))
    data = good.read_bytes()
    bad = {
        "empty": b"",
        "text": b"not weights",
        "truncated": data[: len(data) // 2],
        "cut tail": data[:-10],
        "flipped": data[:150] + bytes([data[150] ^ 255]) + data[151:],
        "pickle": pickle.dumps({"layers.0.kernel": [1]}),
        "npy": None,
        "objects": None,
        "not an array": None,
    }
    for name, content in bad.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
    np.save(tmp_path / "npy", np.zeros(3))
    os.replace(tmp_path / "npy.npy", tmp_path / "npy")
    state = model().state_dict()
    np.savez(tmp_path / "o", **(state | {"layers.0.bias": np.array([None] * 4, object)}))
    os.replace(tmp_path / "o.npz", tmp_path / "objects")
    with zipfile.ZipFile(tmp_path / "not an array", "w") as archive:
        archive.writestr("layers.0.kernel.npy", b"hello")
    target = model(2)
    before = target.state_dict()
    for name in bad:
        with pytest.raises(ValueError, match=f"load: .*{name} is not a readable weight file"):
            tnn.load(tmp_path / name, target)
        for path, array in target.state_dict().items():
            np.testing.assert_array_equal(array, before[path])


def test_every_truncation_is_refused(tmp_path):
    tnn.save(tmp_path / "w", model(1))
    data = (tmp_path / "w").read_bytes()
    target = model(2)
    for cut in range(0, len(data), 37):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(ValueError, match="is not a readable weight file"):
            tnn.load(tmp_path / "cut", target)


def test_a_file_of_another_model_lists_every_fault(tmp_path):
    state = model().state_dict()
    del state["layers.1.bias"]
    state["layers.0.kernel"] = np.zeros((5, 1, 3), np.float32)
    np.savez(tmp_path / "other.npz", **state, extra=np.zeros(2))
    target = model(2)
    with pytest.raises(ValueError, match=r"load: .*other\.npz") as caught:
        tnn.load(tmp_path / "other.npz", target)
    for fault in (
        "missing: layers.1.bias (1,)",
        "unexpected: extra",
        "wrong shape: layers.0.kernel needs (5, 1, 4), got (5, 1, 3)",
    ):
        assert fault in str(caught.value)


def test_missing_files_and_swapped_arguments(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        tnn.load(tmp_path / "nowhere.npz", model())
    with pytest.raises(FileNotFoundError, match=r"save: No such file .*nowhere/w\.npz"):
        tnn.save(tmp_path / "nowhere" / "w.npz", model())
    with pytest.raises(OSError, match=rf"save: .*{tmp_path.name}"):
        tnn.save(tmp_path, model())
    with pytest.raises(ValueError, match="is a folder, not a file"):
        tnn.load(tmp_path, model())
    assert os.listdir(tmp_path) == []
    with pytest.raises(TypeError, match=r"second argument must be a Layer, got PosixPath"):
        tnn.save(model(), tmp_path / "w.npz")
    with pytest.raises(TypeError, match=r"The order is load\(path, model\)"):
        tnn.load(model(), tmp_path / "w.npz")


@pytest.mark.parametrize("where", ["write_array", "fsync", "replace"])
def test_a_failure_while_saving_leaves_the_good_file(tmp_path, monkeypatch, where):
    path = tmp_path / "w.npz"
    tnn.save(path, model(1))
    good = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    module = np.lib.format if where == "write_array" else files.os
    monkeypatch.setattr(module, where, fail)
    with pytest.raises(OSError, match="disk full"):
        tnn.save(path, model(2))
    assert path.read_bytes() == good
    assert os.listdir(tmp_path) == ["w.npz"]
