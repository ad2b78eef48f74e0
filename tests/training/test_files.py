"""save and load: round trips, bad files, never half a file."""

import contextlib
import gzip
import io
import json
import os
import pickle
import stat
import threading
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

import tinynn as tnn
from tinynn.training import archive


def model(seed=0, units=4):
    return tnn.Sequential(tnn.Conv1d(1, units, 5, rng=seed), tnn.Dense(units, 1, rng=seed + 1))


def test_weights_come_back_bit_for_bit(tmp_path):
    a, b = model(0), model(7)
    path = tmp_path / "weights.any"  # the name is taken as it is
    tnn.save(path, a)
    assert os.listdir(tmp_path) == ["weights.any"]
    loaded = tnn.load(str(path), b)
    assert loaded.model is b
    assert loaded.missing == loaded.unexpected == loaded.misshapen == []
    for name, array in a.state_dict().items():
        np.testing.assert_array_equal(array, b.state_dict()[name])


def test_the_file_is_numpys_own_format(tmp_path):
    tnn.save(tmp_path / "w.npz", model())
    with np.load(tmp_path / "w.npz", allow_pickle=False) as found:
        assert set(found.files) == {*model().state_dict(), "tinynn.json"}
        assert found["layers.0.kernel"].dtype == np.float32


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
    loaded = tnn.load(os.fsencode(tmp_path / "target"), model(3)).model
    np.testing.assert_array_equal(loaded[0].kernel.data, model(2)[0].kernel.data)
    tnn.save(os.fsencode(tmp_path / ("x" * 250)), model())


def test_two_arrays_of_one_name_are_refused(tmp_path):
    tnn.save(tmp_path / "w", model())
    with zipfile.ZipFile(tmp_path / "w", "a") as file:
        file.writestr("layers.1.bias", file.read("layers.1.bias.npy"))
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
    with zipfile.ZipFile(tmp_path / "not an array", "w") as file:
        file.writestr("layers.0.kernel.npy", b"hello")
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

    module = np.lib.format if where == "write_array" else archive.os
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
    monkeypatch.setattr(archive.os, "access", lambda path, how: False)  # root may do anything
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
    loaded = tnn.load(io.BytesIO(found[0]), model(2)).model
    np.testing.assert_array_equal(loaded[0].kernel.data, model(1)[0].kernel.data)


def test_weights_go_to_memory_and_back():
    file = io.BytesIO()
    tnn.save(file, model(1))
    assert not file.closed
    for start in (0, file.tell()):  # wherever it stands
        file.seek(start)
        loaded = tnn.load(file, model(2)).model
        np.testing.assert_array_equal(loaded[1].kernel.data, model(1)[1].kernel.data)


def test_any_binary_file_object_will_do(tmp_path):
    with gzip.open(tmp_path / "w.gz", "wb") as file:
        tnn.save(file, model(1))
    with gzip.open(tmp_path / "w.gz", "rb") as file:
        loaded = tnn.load(file, model(2)).model
    np.testing.assert_array_equal(loaded[0].kernel.data, model(1)[0].kernel.data)

    class Stream(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *place):
            raise io.UnsupportedOperation("seek")

        tell = seek

    stream = Stream()
    tnn.save(stream, model(1))
    loaded = tnn.load(Stream(stream.getvalue()), model(2)).model
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


# ---------------------------------------------------------------- what fits, and what does not


def test_what_fits_is_loaded_and_the_rest_is_told(tmp_path):
    a, b = model(1), model(2, units=4)
    b = tnn.Sequential(b[0], tnn.Dense(4, 2, rng=5), tnn.Dense(2, 1, rng=6))
    b[0].bias = None
    tnn.save(tmp_path / "w", a)
    before = b.state_dict()
    found = tnn.load(tmp_path / "w", b, strict=False)
    assert found.missing == ["layers.2.kernel", "layers.2.bias"]
    assert found.unexpected == ["layers.0.bias"]
    assert found.misshapen == ["layers.1.kernel", "layers.1.bias"]
    expected = before | {"layers.0.kernel": a[0].kernel.data}
    np.testing.assert_equal(b.state_dict(), expected)
    with pytest.raises(TypeError, match="load: strict must be True or False, got 'no'"):
        tnn.load(tmp_path / "w", b, strict="no")


def test_values_that_do_not_fit_are_told_as_well(tmp_path):
    np.savez(tmp_path / "w.npz", kernel=np.full((1, 1), 1e300), bias=np.array([1 + 2j]))
    layer = tnn.Dense(1, 1, rng=0)
    before = layer.state_dict()
    found = tnn.load(tmp_path / "w.npz", layer, strict=False)
    assert found.misshapen == ["kernel", "bias"]
    np.testing.assert_equal(layer.state_dict(), before)
    with pytest.raises(ValueError, match=r"(?s)out of range: kernel.*wrong type: bias"):
        tnn.load(tmp_path / "w.npz", layer)


def test_states_with_masks_and_ragged_lists_are_refused_by_path():
    layer = tnn.Dense(2, 1, rng=0)
    state = layer.state_dict()
    masked = np.ma.array(state["kernel"], mask=False)
    with pytest.raises(ValueError, match=r"masked: kernel needs .* give \.filled\(value\)"):
        layer.load_state_dict(state | {"kernel": masked})
    with pytest.raises(ValueError, match="ragged: kernel has nested lists of unequal lengths"):
        layer.load_state_dict(state | {"kernel": [[1.0], [2.0, 3.0]]})


# ---------------------------------------------------------------- models


def saved(model):
    file = io.BytesIO()
    tnn.save(file, model)
    return file


def test_a_model_comes_back_whole(tmp_path):
    a = tnn.Sequential(
        tnn.Conv1d(2, 4, 5, padding="same", activation="relu", dtype="float64", rng=0),
        tnn.Dropout(0.3, rng=1).eval(),
        tnn.MaxPool1d(2),
        tnn.Dense(4, 1, dtype="float16", rng=2),
    )
    a[0].bias.requires_grad = False
    tnn.save(tmp_path / "w", a)
    b = tnn.load_model(tmp_path / "w")
    assert repr(b) == repr(a)
    assert [p for p, _ in b.named_parameters()] == [p for p, _ in a.named_parameters()]
    assert [layer.training for layer in b] == [True, False, True, True]
    for path, array in a.state_dict().items():
        assert b.state_dict()[path].dtype == array.dtype
        assert b.state_dict()[path].tobytes() == array.tobytes()
    x = np.random.default_rng(0).normal(size=(3, 10, 2))
    assert tnn.predict(a, x).tobytes() == tnn.predict(b, x).tobytes()
    optimizer = tnn.SGD(b.parameters(), 0.1)
    tnn.fit(b, x, x[:, ::2, :1], loss="mean_squared_error", optimizer=optimizer, epochs=1,
            progress=False)  # fmt: skip


def test_draws_come_from_the_generator_that_is_given():
    file = saved(tnn.Sequential(tnn.Dropout(0.5), tnn.Dropout(0.5)))
    draws = [tnn.load_model(file, rng=seed)(np.ones((4, 50))).data for seed in (0, 0, 1, None)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert all((draws[0] != other).any() for other in draws[2:])
    with pytest.raises(TypeError, match="load_model: rng must be"):
        tnn.load_model(file, rng="seed")


def test_dtypes_are_those_of_the_weights_not_of_the_arguments():
    layer = tnn.Dense(2, 1, rng=0)
    layer.kernel = tnn.Tensor(np.array([[1e-300], [2.0]]), requires_grad=True)
    other = tnn.load_model(saved(layer))
    assert other.kernel.dtype == np.float64
    np.testing.assert_array_equal(other.kernel.data, layer.kernel.data)


class Gain(tnn.Layer):
    def __init__(self, channels):
        self.channels = channels
        self.gain = tnn.Tensor(np.ones(channels), requires_grad=True)

    def forward(self, x):
        return x * self.gain

    def to_config(self):
        return {"channels": self.channels}


def test_classes_of_ones_own_are_given_by_name():
    a = tnn.Sequential(tnn.Dense(2, 3, rng=0), Gain(3))
    a[1].gain.data = [1.0, 2.0, 3.0]
    file = saved(a)
    b = tnn.load_model(file, classes={"Gain": Gain})
    assert b[1].gain.data.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match=r"the BytesIO: layer 1 .* Give classes={'Gain': Gain}"):
        tnn.load_model(file)
    for classes in ([Gain], {"Gain": Gain(3)}):
        with pytest.raises(TypeError, match=r"load_model: classes must be a dict \{name: class\}"):
            tnn.load_model(file, classes=classes)


def replaced_kernel():
    layer = tnn.Dense(2, 1, rng=0)
    layer.kernel = tnn.Tensor(np.zeros((2, 5)), requires_grad=True)
    return layer


def tied_kernels():
    both = tnn.Sequential(tnn.Dense(2, 2, rng=0), tnn.Dense(2, 2, rng=1))
    both[1].kernel = both[0].kernel
    return both


def with_an_extra():
    layer = tnn.Dense(2, 1, rng=0)
    layer.extra = tnn.Tensor([1.0], requires_grad=True)
    return layer


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (replaced_kernel, r"wrong shape: kernel needs \(2, 1\), got \(2, 5\)"),
        (tied_kernels, "missing: layers.1.kernel"),
        (with_an_extra, "no parameter 'extra'"),
    ],
)
def test_a_model_that_was_changed_by_hand_is_refused_not_wrong(make, told):
    file = saved(make())
    with pytest.raises(ValueError, match=rf"(?s)load_model: the BytesIO: .*{told}"):
        tnn.load_model(file)
    tnn.load(file, make())


def test_a_function_is_not_kept_but_the_weights_are():
    def halved(x):
        return x / 2

    file = saved(tnn.Sequential(tnn.Dense(1, 1, rng=0), tnn.Dense(1, 1, halved, rng=1)))
    with pytest.raises(
        ValueError, match=r"layers\.1, a Dense: its activation is the function halv"
    ):
        tnn.load_model(file)
    other = tnn.Sequential(tnn.Dense(1, 1), tnn.Dense(1, 1, halved))
    assert tnn.load(file, other).missing == []


def test_files_of_weights_alone_are_loaded_but_do_not_make_a_model(tmp_path):
    np.savez_compressed(tmp_path / "old.npz", **model(1).state_dict())
    target = model(2)
    tnn.load(tmp_path / "old.npz", target)
    np.testing.assert_array_equal(target[0].kernel.data, model(1)[0].kernel.data)
    with pytest.raises(ValueError, match=r"load_model: .*old\.npz holds weights alone"):
        tnn.load_model(tmp_path / "old.npz")


# ---------------------------------------------------------------- hostile files


def archived(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archived, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members of one name
        for name, content in members:
            archived.writestr(name, content)
    return file


def npy(array, shape=None, descr=None, version=(1, 0)):
    file = io.BytesIO()
    header = {"descr": descr or array.dtype.str, "fortran_order": False}
    header["shape"] = array.shape if shape is None else shape
    writer = getattr(np.lib.format, f"write_array_header_{version[0]}_{version[1]}")
    writer(file, header)
    return file.getvalue() + array.tobytes()


def described(**changes):
    """Return the JSON of a Dense(2, 1), with other arguments."""
    content = zipfile.ZipFile(saved(tnn.Dense(2, 1, rng=0))).read("tinynn.json")
    description = json.loads(content)
    description["layers"][0]["arguments"] |= changes
    return json.dumps(description).encode()


KERNEL, BIAS = ("kernel.npy", npy(np.ones((2, 1), "f4"))), ("bias.npy", npy(np.ones(1, "f4")))
HOSTILE = {
    "a huge shape": [("kernel.npy", npy(np.ones(2, "f4"), shape=(10**6, 10**6))), BIAS],
    "a shape of huge numbers": [("kernel.npy", npy(np.ones(2, "f4"), shape=(10**400, 1))), BIAS],
    "a negative shape": [("kernel.npy", npy(np.ones(2, "f4"), shape=(-2, -1))), BIAS],
    "no integers for a shape": [("kernel.npy", npy(np.ones(2, "f4"), shape=(2.0, 1.0))), BIAS],
    "objects": [("kernel.npy", npy(np.ones((2, 1), "f4"), descr="|O")), BIAS],
    "a structure": [("kernel.npy", npy(np.ones((2, 1), "f4"), descr=[("a", "<f4")])), BIAS],
    "bytes after an array": [("kernel.npy", KERNEL[1] + b"more"), BIAS],
    "too few bytes": [("kernel.npy", KERNEL[1][:-2]), BIAS],
    "a version of its own": [("kernel.npy", npy(np.ones((2, 1), "f4"), version=(2, 0))), BIAS],
    "no header": [("kernel.npy", b"\x93NUMPY\x01\x00\xff\xff{"), BIAS],
    "a header that is code": [("kernel.npy", b"\x93NUMPY\x01\x00\x0a\x00print(1)\n\n"), BIAS],
    "a header of brackets": [("kernel.npy", b"\x93NUMPY\x01\x00\x00\x0f" + b"(" * 3840), BIAS],
    "two of one name": [KERNEL, KERNEL, BIAS],
    "another text": [KERNEL, BIAS, ("other.json", b"{}")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_hostile_archive_is_refused_and_nothing_is_allocated(members, compression):
    layer = tnn.Dense(2, 1, rng=0)
    before = layer.state_dict()
    own = [] if ("other.json", b"{}") in members else [("tinynn.json", described())]
    for call in (lambda f: tnn.load(f, layer), lambda f: tnn.load(f, layer, strict=False),
                 tnn.load_model):  # fmt: skip
        with pytest.raises(ValueError, match=r"load\w*: the BytesIO is not a readable weight file"):
            least(call, archived([*members, *own], compression))
    np.testing.assert_equal(layer.state_dict(), before)


def least(call, *args, limit=2**24):
    """Call, and hold it to little memory."""
    tracemalloc.start()
    try:
        return call(*args)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < limit, f"{peak} bytes"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\up", "kernel\n", "C:\\kernel", "a/../kernel"]
)
def test_names_that_are_paths_are_only_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layer = tnn.Dense(2, 1, rng=0)
    file = archived([KERNEL, BIAS, (f"{name}.npy", KERNEL[1]), ("tinynn.json", described())])
    with pytest.raises(ValueError, match=r"load: the BytesIO: .*does not fit"):
        tnn.load(file, layer)
    assert len(tnn.load(file, layer, strict=False).unexpected) == 1
    with pytest.raises(ValueError, match="load_model: the BytesIO: its weights do not fit"):
        tnn.load_model(file)
    assert os.listdir(tmp_path) == []


def test_a_bomb_is_not_set_off():
    zeros = np.broadcast_to(np.float32(0), (2**12, 2**12))  # 64 megabytes, of 64 kilobytes
    bomb = [("kernel.npy", npy(zeros)), ("bias.npy", npy(np.zeros(2**12, "f4")))]
    text = described(in_features=2**12, units=2**12)
    file = archived([*bomb, ("tinynn.json", text)], zipfile.ZIP_DEFLATED)
    del bomb
    with pytest.raises(ValueError, match=r"it claims to hold .* bytes, but has only"):
        least(tnn.load_model, file)
    layer = tnn.Dense(2, 1, rng=0)
    with pytest.raises(ValueError, match=r"kernel needs \(2, 1\), got \(4096, 4096\)"):
        least(tnn.load, file, layer)
    assert least(tnn.load, file, layer, False).misshapen == ["kernel", "bias"]


def with_units(text):
    return described(units=1).replace(b'"units": 1', b'"units": ' + text)


JSONS = {
    "not json": b"{",
    "no text": b'"\xff\xfe"',
    "nothing": b"",
    "nan": with_units(b"NaN"),
    "infinity": with_units(b"-Infinity"),
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep values": with_units(b"[" * 900 + b"]" * 900),
    "a number of many digits": with_units(b"9" * 9999),
    "huge": described(units=10**12),
    "huge in 64 bits": described(units=2**62),
    "too large": described(units=10**30),
    "no dict": b"[1, 2]",
    "null": b"null",
}


@pytest.mark.parametrize("text", JSONS.values(), ids=JSONS)
def test_hostile_json_is_refused(text):
    file = archived([KERNEL, BIAS, ("tinynn.json", text)])
    with pytest.raises(ValueError, match="load_model: the BytesIO"):
        least(tnn.load_model, file)
    assert tnn.load(file, tnn.Dense(2, 1)).missing == []  # weights alone need no JSON


def test_models_in_models_in_models_are_refused_not_a_crash():
    description = json.loads(described())
    for i in range(20_000):
        arguments = {"layers": [{"layer": i}, {"layer": i}]}
        description["layers"].append({"class": "tinynn.Sequential", "arguments": arguments})
    description["model"] = 20_000
    text = json.dumps(description).encode()
    with pytest.raises(ValueError, match=r"load_model: the BytesIO: .*recursion"):
        tnn.load_model(archived([KERNEL, BIAS, ("tinynn.json", text)]))


def test_bytes_before_or_after_an_archive():
    data = saved(model(1)).getvalue()
    for after in (b"x", b"\0" * 100):
        with pytest.raises(ValueError, match="is not a readable weight file"):
            tnn.load(io.BytesIO(data + after), model(2))
    tnn.load(io.BytesIO(b"before" + data), model(2))  # a file object may have been written to


def test_no_byte_that_is_changed_goes_unnoticed_or_does_harm():
    a = tnn.Dense(2, 1, rng=0)
    data = saved(a).getvalue()
    for i in range(len(data)):
        file = io.BytesIO(data[:i] + bytes([data[i] ^ 0x5A]) + data[i + 1 :])
        for call in (tnn.load_model, lambda file: tnn.load(file, tnn.Dense(2, 1)).model):
            with contextlib.suppress(ValueError):
                b = call(file)
                np.testing.assert_equal(b.state_dict(), a.state_dict())
                assert repr(b) == repr(a)


@pytest.mark.parametrize("f", [tnn.relu, tnn.tanh])
def test_a_lambda_of_a_function_saves_its_model_s_weights_and_says_what_is_missing(f, tmp_path):
    model = tnn.Sequential(tnn.Dense(2, 3, rng=0), tnn.Lambda(f))
    tnn.save(tmp_path / "m.npz", model)
    with pytest.raises(ValueError, match=r"layers\.1, a Lambda: its f is the function"):
        tnn.load_model(tmp_path / "m.npz")
    other = tnn.Sequential(tnn.Dense(2, 3, rng=1), tnn.Lambda(f))
    tnn.load(tmp_path / "m.npz", other)
    np.testing.assert_array_equal(other[0].kernel.data, model[0].kernel.data)
