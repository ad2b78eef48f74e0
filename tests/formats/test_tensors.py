"""safetensors: read by its own package, round trips bit for bit, bad files refused by name."""

import contextlib
import json
import os
import struct
import tracemalloc

import numpy as np
import pytest

import tinynn as tnn
from tinynn.nn.config import build, describe

package = pytest.importorskip("safetensors")
from safetensors.numpy import load_file, save_file  # noqa: E402

from .drawn import drawn_model  # noqa: E402

save, load = tnn.formats.save_safetensors, tnn.formats.load_safetensors


def model(seed=0, units=4):
    return tnn.Sequential(tnn.Conv1d(1, units, 5, rng=seed), tnn.Dense(units, 1, rng=seed + 1))


def assert_same(a, b):
    assert list(a) == list(b)
    for name, array in a.items():
        assert array.dtype == b[name].dtype
        np.testing.assert_array_equal(array, b[name])


@pytest.mark.parametrize("seed", range(40))
def test_any_model_comes_back_bit_for_bit_and_gives_the_same_file(seed, tmp_path):
    a, b = drawn_model(seed)[0], drawn_model(seed)[0]
    for tensor in b.parameters():
        tensor.data = tensor.data + 1
    save(tmp_path / "a", a)
    loaded = load(os.fsencode(tmp_path / "a"), b)
    assert loaded.model is b
    assert loaded.missing == loaded.unexpected == loaded.misshapen == []
    assert_same(a.state_dict(), b.state_dict())
    save(str(tmp_path / "b"), b)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_the_package_alone_reads_weights_and_architecture(tmp_path):
    made = model()
    save(tmp_path / "w", made)
    found = load_file(tmp_path / "w")
    assert_same(dict(sorted(found.items())), dict(sorted(made.state_dict().items())))
    with package.safe_open(tmp_path / "w", "numpy") as file:
        told = json.loads(file.metadata()["tinynn"])
    assert told == describe(made)
    again = build(told, {}, np.random.default_rng(0), 10**6)
    load(tmp_path / "w", again)
    assert_same(again.state_dict(), made.state_dict())


class Odd(tnn.Layer):
    """Tensors of all dtypes and layouts, under odd names."""

    def __init__(self, factor=1):
        kinds = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 ? >f4 >i2".split()
        self.parts = {k: tnn.Tensor(np.arange(3), dtype=k) for k in kinds}
        self.parts |= {"": tnn.Tensor(2.5 * factor), "ü/\n": tnn.Tensor(np.zeros((0, 3)))}
        self.turned = tnn.Tensor(np.zeros((3, 2)), requires_grad=True)
        self.turned.data = (factor * np.arange(6.0).reshape(2, 3)).T[::-1]


def test_dtypes_layouts_and_names_are_kept(tmp_path):
    save(tmp_path / "w", Odd(3))
    other = Odd()
    load(tmp_path / "w", other)
    assert_same(other.state_dict(), Odd(3).state_dict())
    np.testing.assert_array_equal(load_file(tmp_path / "w")["turned"], Odd(3).turned.data)


def test_what_the_format_has_no_place_for_is_refused_before_writing(tmp_path):
    with pytest.raises(ValueError, match=r"kernel: the format has no place for the dtype float128"):
        save(tmp_path / "w", tnn.Dense(2, 1, dtype="longdouble"))
    odd = Odd()
    odd.parts = {"a": 1}
    setattr(odd, "__metadata__", tnn.Tensor(1.0))  # noqa: B010
    with pytest.raises(ValueError, match="no place for a tensor of this name"):
        save(tmp_path / "w", odd)
    assert os.listdir(tmp_path) == []


def bad_files(tmp_path):
    """Yield the name and the content of files that are no such files, or lie."""
    save(tmp_path / "good", model(1))
    data = (tmp_path / "good").read_bytes()
    os.remove(tmp_path / "good")
    n = struct.unpack("<Q", data[:8])[0]
    header, rest = json.loads(data[8 : 8 + n]), data[8 + n :]

    def changed(**entries):
        text = json.dumps(header | entries).encode()
        return struct.pack("<Q", len(text)) + text + rest

    def told(**entries):
        said = json.loads(header["__metadata__"]["tinynn"]) | entries
        return changed(__metadata__={"tinynn": json.dumps(said)})

    kernel = header["layers.0.kernel"]
    yield "empty", b""
    yield "text", b"not weights, but a text that is long enough for a number"
    yield "half", data[: len(data) // 2]
    yield "cut tail", data[:-1]
    yield "longer", data + b"\0"
    yield "huge header", struct.pack("<Q", 2**63) + data[8:]
    yield "large header", struct.pack("<Q", 90_000_000) + data[8:]
    yield "large and there", struct.pack("<Q", 2**24 + 1) + b"{}".ljust(2**24 + 1)
    yield "header beyond", struct.pack("<Q", len(data)) + data[8:]
    yield "no json", data[:8] + b"?" * n + rest
    yield "no utf8", data[:8] + b"\xff" * n + rest
    yield "deep", struct.pack("<Q", 20_000) + b"[" * 20_000
    yield "kind", changed(**{"layers.0.kernel": kernel | {"dtype": "F99"}})
    yield "huge", changed(**{"layers.0.kernel": kernel | {"shape": [2**40, 2**40]}})
    yield "far", changed(**{"layers.0.kernel": kernel | {"data_offsets": [0, 2**40]}})
    yield "back", changed(**{"layers.0.kernel": kernel | {"data_offsets": [80, 0]}})
    yield "version", told(version=2)
    yield "true", told(version=True)
    yield "other", changed(__metadata__={"tinynn": "[1]"})
    yield "not told", changed(__metadata__={"tinynn": "{"})
    yield "told deep", changed(__metadata__={"tinynn": "[" * 100_000})


def test_every_bad_file_is_refused_by_name_and_changes_nothing(tmp_path):
    target = model(2)
    before = target.state_dict()
    for name, content in bad_files(tmp_path):
        (tmp_path / name).write_bytes(content)
        for strict in (True, False):
            tracemalloc.start()
            with pytest.raises(ValueError, match=f"load_safetensors: .*{name} is not a readable"):
                load(tmp_path / name, target, strict=strict)
            assert tracemalloc.get_traced_memory()[1] < 10**6, name
            tracemalloc.stop()
            assert_same(target.state_dict(), before)
    with pytest.raises(ValueError, match=f"{tmp_path.name} .*it is a folder or a device"):
        load(tmp_path, target)
    os.mkfifo(tmp_path / "pipe")  # which would wait for a writer
    with pytest.raises(ValueError, match=r"pipe .*it is a folder or a device"):
        load(tmp_path / "pipe", target)


def test_every_truncation_and_flipped_byte_is_refused_or_harmless(tmp_path):
    save(tmp_path / "w", model(1))
    data = (tmp_path / "w").read_bytes()
    target, path = model(2), tmp_path / "bad"
    for cut in range(0, len(data), 23):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match="is not a readable safetensors file"):
            load(path, target)
    rng = np.random.default_rng(0)
    for _ in range(300):
        wrong = bytearray(data)
        wrong[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        path.write_bytes(wrong)
        before = target.state_dict()
        with contextlib.suppress(ValueError):
            load(path, target)
            continue
        assert_same(target.state_dict(), before)


def test_wrong_shapes_and_dtypes_are_refused_before_they_are_read(tmp_path):
    big = {"layers.0.kernel": np.zeros((3000, 1000)), "layers.0.bias": np.zeros(4, np.float32)}
    save_file(big | {"extra": np.zeros(10**6)}, tmp_path / "w")
    target = model(2)
    before = target.state_dict()
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"load_safetensors: .*w: ") as caught:
        load(tmp_path / "w", target)
    loaded = load(tmp_path / "w", target, strict=False)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
    for fault in (
        "missing: layers.1.kernel (4, 1)",
        "unexpected: extra",
        "wrong shape: layers.0.kernel needs (5, 1, 4), got (3000, 1000)",
    ):
        assert fault in str(caught.value)
    assert loaded.missing == ["layers.1.kernel", "layers.1.bias"]
    assert loaded.unexpected == ["extra"]
    assert loaded.misshapen == ["layers.0.kernel"]
    np.testing.assert_array_equal(target[0].bias.data, 0)
    np.testing.assert_array_equal(target[0].kernel.data, before["layers.0.kernel"])


def test_files_of_other_programs_are_read_and_their_kinds_named(tmp_path):
    state = {name: array.astype(np.float64) for name, array in model(1).state_dict().items()}
    save_file(state, tmp_path / "w", metadata={"format": "pt"})
    target = model(2)
    load(tmp_path / "w", target)
    assert_same(target.state_dict(), model(1).state_dict())
    text = json.dumps({"kernel": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [0, 4]}})
    content = struct.pack("<Q", len(text)) + text.encode() + bytes(4)
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(ValueError, match=r"wrong type: kernel needs real numbers, .*BF16"):
        load(tmp_path / "b", tnn.Dense(2, 1, use_bias=False))
    assert load(tmp_path / "b", tnn.Dense(2, 1), strict=False).misshapen == ["kernel"]


def test_arguments_are_checked_and_files_are_whole(tmp_path, monkeypatch):
    path = tmp_path / "w"
    with pytest.raises(FileNotFoundError, match=r"load_safetensors: .*nowhere"):
        load(tmp_path / "nowhere", model())
    with pytest.raises(FileNotFoundError, match=r"save_safetensors: .*there is no folder"):
        save(tmp_path / "nowhere" / "w", model())
    with pytest.raises(ValueError, match=r"save_safetensors: .* is a folder"):
        save(tmp_path, model())
    for call in (save, load):
        with pytest.raises(TypeError, match=rf"The order is {call.__name__}\(path, model\)"):
            call(model(), path)
        with pytest.raises(TypeError, match="path must be a path, got 3"):
            call(3, model())
    with pytest.raises(TypeError, match="strict must be True or False, got 1"):
        load(path, model(), strict=1)
    save(path, model(1))
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "Full")))
    with pytest.raises(OSError, match="save_safetensors: Full"):
        save(path, model(2))
    assert os.listdir(tmp_path) == ["w"]
    np.testing.assert_array_equal(
        load_file(path)["layers.0.kernel"], model(1).state_dict()["layers.0.kernel"]
    )
