"""Checkpoint: any state comes back in every bit, the file is whole, and a full disk is said."""

import json
import math
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

import tinynn as tnn
from tinynn.training import archive, nested

NANS = np.array([0x7FF8000000000001, 0xFFF8000000000002, 0x8000000000000000], np.uint64).view(float)
STATES = {
    "nothing": None,
    "numbers": [0, -1, 2**200, -(2**127) + 1, True, False, 1.5, 5e-324, 1.7976931348623157e308],
    "special floats": [math.inf, -math.inf, -0.0, *NANS.tolist()],
    "texts": ["", "ü\n\0\"'", "\ud800", "array", "list"],
    "nested": {"a": [{"b": ()}, (1, [2.0, (None,)]), {}], "": [], "list": {"array": "0"}},
    "other keys": {0: 1.0, 1.5: "a", None: [], (1, "b"): {True: 2}, np.int64(3): 0},
    "scalars": [np.float32(0.1), np.float64(-0.0), np.int8(-3), np.bool_(True), np.float16("nan")],
    "texts of NumPy": [np.str_("ab"), np.array(["a", "bcd"]), np.array(b"bytes")],
    "0-d and empty": [np.array(3.5), np.zeros((0, 3), "f4"), np.zeros((2, 0), bool)],
    "special arrays": [NANS, NANS[::-1].astype("f2"), np.array([1 + 2j, complex(math.nan, -0.0)])],
    "big-endian": np.arange(5, dtype=">f8"),
    "not contiguous": [np.arange(24.0).reshape(4, 6)[::2, ::-3], np.arange(6).reshape(2, 3).T],
    "long double": np.array([1, 3], np.longdouble) / 3,
    "dates": np.array(["2024-01-02"], "datetime64[D]"),
    "generators": [
        np.random.default_rng(1).bit_generator.state,
        np.random.Generator(np.random.MT19937(2)).bit_generator.state,
        np.random.Generator(np.random.Philox(3)).bit_generator.state,
    ],
}


def demand_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert len(a) == len(b)
        for (key, one), (other, two) in zip(a.items(), b.items(), strict=True):
            demand_same(key, other)
            demand_same(one, two)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, two in zip(a, b, strict=True):
            demand_same(one, two)
    elif isinstance(a, float) and not isinstance(a, np.generic):
        assert struct.pack("d", a) == struct.pack("d", b)
    elif isinstance(a, (np.ndarray, np.generic)):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    else:
        assert a == b


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_state_comes_back_in_every_bit(state, tmp_path):
    checkpoint = tnn.Checkpoint(tmp_path / "run")
    assert checkpoint.load() is None
    checkpoint.save(state)
    demand_same(checkpoint.load(), state)
    assert os.listdir(tmp_path) == ["run"]


def test_the_order_of_an_arrays_memory_is_kept(tmp_path):
    checkpoint = tnn.Checkpoint(tmp_path / "run")
    checkpoint.save(np.asfortranarray(np.ones((3, 4))))
    assert checkpoint.load().flags.f_contiguous


KINDS = stn.scalar_dtypes().filter(lambda dtype: dtype.kind in "fiubcUS")
ARRAYS = stn.arrays(KINDS, stn.array_shapes(min_dims=0))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ARRAYS


@given(st.recursive(LEAVES, lambda s: st.lists(s) | st.dictionaries(st.text() | st.integers(), s)))
def test_any_state_comes_back(state):
    text, arrays = nested.flattened(state)
    demand_same(nested.restored(json.loads(text), lambda name: arrays[name]), state)


class Odd:
    def __repr__(self):
        return "an odd thing"


def endless():
    state = {}
    state["again"] = state
    return state


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"a": [1, Odd()]}, r"state\.a\.1 is an odd thing, a Odd\. A state is kept if it is made"),
        ({"a": {1, 2}}, r"state\.a is \{1, 2\}, a set"),
        ({"a": np.array([None])}, r"state\.a is an array of shape \(1,\), a ndarray"),
        ({"a": np.zeros(1, "i4,f4")}, r"state\.a is an array of shape"),
        ({"a": np.ma.array([1], mask=True)}, r"state\.a is .* a MaskedArray"),
        ({"a": tnn.Tensor([1.0])}, r"state\.a is Tensor\(\[1\.\]\), a Tensor"),
        ({"a": 1j}, r"state\.a is 1j, a complex"),
        ({"a": b"abc"}, r"state\.a is b'abc', a bytes"),
        ({"a": signal.SIGINT}, r"state\.a is .*, a Signals"),
        ({Odd(): 1}, "a key is an odd thing"),
        ({"a": 10**5000}, "Exceeds the limit"),
        (endless(), r"state\.again.* is nested too deeply\. Does it hold itself"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_path(state, told, tmp_path):
    checkpoint = tnn.Checkpoint(tmp_path / "run")
    checkpoint.save("good")
    with pytest.raises(TypeError, match=rf"(?s)Checkpoint: .*run: .*{told}"):
        checkpoint.save(state)
    assert checkpoint.load() == "good"
    assert os.listdir(tmp_path) == ["run"]


# ---------------------------------------------------------------- the file


def test_arguments_are_checked(tmp_path):
    with pytest.raises(TypeError, match="Checkpoint: path must be a path, got 3"):
        tnn.Checkpoint(3)
    with pytest.raises(FileNotFoundError, match=r"Checkpoint: .*there is no folder .*nowhere"):
        tnn.Checkpoint(tmp_path / "nowhere" / "run")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        tnn.Checkpoint(tmp_path)
    for minutes, error in ((-1, ValueError), ("5", TypeError), (math.nan, ValueError)):
        with pytest.raises(error, match="Checkpoint: minutes must be a finite number at least 0"):
            tnn.Checkpoint(tmp_path / "run", minutes=minutes)
    assert repr(tnn.Checkpoint("run", minutes=5)) == "Checkpoint('run', minutes=5.0)"


def test_it_is_due_when_the_minutes_have_gone_by(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    never, checkpoint = tnn.Checkpoint(tmp_path / "a"), tnn.Checkpoint(tmp_path / "b", minutes=5)
    now[0] += 299
    assert not checkpoint.due()
    now[0] += 1
    assert checkpoint.due()
    checkpoint.save(1)
    assert not checkpoint.due()
    now[0] += 1e9
    assert not never.due()


@pytest.mark.parametrize("name", ["run", "a b", "[x]*", "ü" * 90, "n" * 250])
def test_what_a_killed_writer_has_left_is_removed(name, tmp_path, monkeypatch):
    checkpoint, others = tnn.Checkpoint(tmp_path / name), [".x.1.tmp", f"{name[:9]}.tmp"]
    for other in others:
        (tmp_path / other).touch()
    with monkeypatch.context() as patched:
        patched.setattr(archive.os, "replace", lambda *_: 1 / 0)
        patched.setattr(archive.os, "remove", lambda *_: None)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                checkpoint.save("never")
    assert len(os.listdir(tmp_path)) == 4
    checkpoint.save("good")
    assert sorted(os.listdir(tmp_path)) == sorted([name, *others])
    assert checkpoint.load() == "good"


def test_two_trainings_on_one_path_are_told(tmp_path, monkeypatch):
    one, two = tnn.Checkpoint(tmp_path / "run"), tnn.Checkpoint(tmp_path / "run")
    fsync, calls = os.fsync, []

    def in_between(file):
        if not calls:
            calls.append(file)
            two.save("two")
        fsync(file)

    monkeypatch.setattr(archive.os, "fsync", in_between)
    with pytest.raises(OSError, match=r"Does another process write to the same path.*run"):
        one.save("one")
    assert one.load() == "two"
    assert os.listdir(tmp_path) == ["run"]


def test_a_link_is_followed_and_permissions_are_kept(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "run")
    checkpoint = tnn.Checkpoint(tmp_path / "link")
    checkpoint.save(1)
    os.chmod(tmp_path / "there" / "run", 0o600)
    checkpoint.save(2)
    assert (tmp_path / "link").is_symlink()
    assert os.stat(tmp_path / "there" / "run").st_mode & 0o777 == 0o600
    assert checkpoint.load() == 2


STATE = {"epoch": 3, "weights": np.arange(6.0).reshape(2, 3), "none": None, "rate": [0.1, math.nan]}


def test_no_damage_goes_unnoticed(tmp_path):
    checkpoint = tnn.Checkpoint(tmp_path / "run")
    checkpoint.save(STATE)
    data = (tmp_path / "run").read_bytes()
    damaged = [data[:i] + bytes([data[i] ^ 0x5A]) + data[i + 1 :] for i in range(len(data))]
    damaged += [data[:cut] for cut in range(len(data))] + [data + b"x", b"x", b"\0" * 999]
    refused = 0
    for content in damaged:
        (tmp_path / "run").write_bytes(content)
        try:
            demand_same(checkpoint.load(), STATE)  # what was changed means nothing, as a date
        except ValueError as error:
            refused += str(error).startswith(f"Checkpoint: {tmp_path / 'run'} is not a readable c")
    assert refused > 0.85 * len(damaged)


def test_another_file_is_no_checkpoint(tmp_path):
    tnn.save(tmp_path / "model", tnn.Dense(2, 1))
    (tmp_path / "text").write_text("hello")
    for name in ("model", "text"):
        with pytest.raises(ValueError, match=f"{name} is not a readable checkpoint: .* Give anoth"):
            tnn.Checkpoint(tmp_path / name).load()
    tnn.Checkpoint(tmp_path / "run").save(STATE)
    for call in (lambda p: tnn.load(p, tnn.Dense(2, 1)), tnn.load_model):
        with pytest.raises(
            ValueError, match=r"run is a checkpoint of a training, no file of tinyn"
        ):
            call(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"version": 2, "state": 1}', "is of version 2, but this tinynn knows 1"),
        ('{"version": 1}', "it holds something else"),
        ('{"version": 1, "state": ["code", "x"]}', "'code' is no kind of value"),
        ('{"version": 1, "state": ["array", "7"]}', "not a readable checkpoint: '7'"),
        ('{"version": 1, "state": NaN}', "NaN is no number of JSON"),
        ('{"version": 1, "state": []}', "not a readable checkpoint"),
        ("[" * 10**5, "not a readable checkpoint"),
        ("{", "not a readable checkpoint"),
    ],
)
def test_hostile_json_is_refused(text, told, tmp_path):
    with zipfile.ZipFile(tmp_path / "run", "w") as file:
        file.writestr("checkpoint.json", text)
    with pytest.raises(ValueError, match=rf"Checkpoint: .*run .*{told}"):
        tnn.Checkpoint(tmp_path / "run").load()


def test_a_bomb_is_not_set_off(tmp_path):
    text = json.dumps({"version": 1, "state": "0" * 10**7})
    with zipfile.ZipFile(tmp_path / "run", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("checkpoint.json", text)
    with pytest.raises(ValueError, match=r"it claims to hold .* bytes, but has only"):
        tnn.Checkpoint(tmp_path / "run").load()


# ---------------------------------------------------------------- a full disk, a killed writer


def test_a_full_disk_is_an_error_that_names_the_file_at_every_byte(tmp_path):
    checkpoint = tnn.Checkpoint(tmp_path / "run")
    checkpoint.save(STATE)
    size, good = os.path.getsize(tmp_path / "run"), (tmp_path / "run").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for room in range(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
            try:
                with pytest.raises(
                    OSError, match=rf"Checkpoint: File too large: .*{tmp_path.name}"
                ):
                    checkpoint.save(STATE)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert os.listdir(tmp_path) == ["run"]
            assert (tmp_path / "run").read_bytes() == good
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    checkpoint.save("room again")
    assert checkpoint.load() == "room again"


WRITER = """
import sys, numpy as np, tinynn as tnn
checkpoint, i = tnn.Checkpoint(sys.argv[1]), 0
while True:
    checkpoint.save({"i": i, "values": np.full(200_000, float(i))})
    print(i, flush=True)
    i += 1
"""


def test_a_killed_writer_leaves_the_last_state_whole(tmp_path):
    chance, file = random.Random(0), tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(Path(tnn.__file__).parents[1])}
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
            said = int(writer.stdout.readline())
            time.sleep(0.05 * chance.random())
            writer.kill()
            said = int((writer.stdout.read().split() or [said])[-1])
        state = tnn.Checkpoint(file).load()
        assert state["i"] in (said, said + 1)
        assert (state["values"] == state["i"]).all()
    tnn.Checkpoint(file).save("next")
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_device_keeps_no_state():
    with pytest.raises(ValueError, match=r"/dev/full is no ordinary file\. Give the path"):
        tnn.Checkpoint("/dev/full")
