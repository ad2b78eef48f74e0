"""save and load: round trips, bad files, never half a file."""

import gzip
import io
import os
import pickle
import stat
import threading
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


# ---------------------------------------------------------------- permissions, and what is no path


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    tnn.save(tmp_path / "w", model(1))
    os.chmod(tmp_path / "w", mode)
    (tmp_path / "link").symlink_to(tmp_path / "w")
    for name in ("w", "link"):
        tnn.save(tmp_path / name, model(2))
        assert mode_of(tmp_path / "w") == mode


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_a_new_file_gets_those_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        tnn.save(tmp_path / "w", model())
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "w") == 0o666 & ~mask


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    tnn.save(tmp_path / "w", model(1))
    good = (tmp_path / "w").read_bytes()
    monkeypatch.setattr(files.os, "access", lambda path, how: False)  # root may do anything
    with pytest.raises(PermissionError, match="save: Permission denied, the file is read-only"):
        tnn.save(tmp_path / "w", model(2))
    assert (tmp_path / "w").read_bytes() == good
    assert os.listdir(tmp_path) == ["w"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    tnn.save(tmp_path / "pipe", model(1))
    reader.join()
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    loaded = tnn.load(io.BytesIO(found[0]), model(2))
    np.testing.assert_array_equal(loaded[0].kernel.data, model(1)[0].kernel.data)


def test_weights_go_to_memory_and_back():
    file = io.BytesIO()
    tnn.save(file, model(1))
    assert not file.closed
    for start in (0, file.tell()):  # wherever it stands
        file.seek(start)
        loaded = tnn.load(file, model(2))
        np.testing.assert_array_equal(loaded[1].kernel.data, model(1)[1].kernel.data)


def test_any_binary_file_object_will_do(tmp_path):
    with gzip.open(tmp_path / "w.gz", "wb") as file:
        tnn.save(file, model(1))
    with gzip.open(tmp_path / "w.gz", "rb") as file:
        loaded = tnn.load(file, model(2))
    np.testing.assert_array_equal(loaded[0].kernel.data, model(1)[0].kernel.data)

    class Stream(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *place):
            raise io.UnsupportedOperation("seek")

        tell = seek

    stream = Stream()
    tnn.save(stream, model(1))
    loaded = tnn.load(Stream(stream.getvalue()), model(2))
    np.testing.assert_array_equal(loaded[0].kernel.data, model(1)[0].kernel.data)


@pytest.mark.parametrize("length", [0, 1, 10, 500])
def test_damaged_memory_is_named_and_changes_nothing(length):
    file = io.BytesIO()
    tnn.save(file, model(1))
    target = model(2)
    before = target.state_dict()
    with pytest.raises(ValueError, match="load: the BytesIO is not a readable weight file"):
        tnn.load(io.BytesIO(file.getvalue()[:length]), target)
    np.testing.assert_equal(target.state_dict(), before)
    with pytest.raises(ValueError, match=r"load: the BytesIO: load_state_dict: the state does not"):
        tnn.load(file, model(2, units=3))


def test_what_is_no_binary_file_is_refused(tmp_path):
    for call in (tnn.save, tnn.load):
        with pytest.raises(TypeError, match=rf"{call.__name__}: the first argument must be a path"):
            call(3, model())
        with pytest.raises(TypeError, match=r"must be opened in binary mode, '.b', not for text"):
            call(io.StringIO(), model())
    with pytest.raises(FileNotFoundError, match=r"load: No such file .*nowhere\.npz"):
        tnn.load(tmp_path / "nowhere.npz", model())
