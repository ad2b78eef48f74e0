"""Detection on long recordings: the events of the whole at once, in bounded memory, with gaps."""

import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn as tnn
from tinynn import spikes
from tinynn.spikes import detection

ROOT = Path(__file__).parents[2]


def model(channels=2, taps=7, padding="same"):
    return tnn.Sequential(
        tnn.Conv1d(channels, 4, taps, padding=padding, activation="relu", rng=0),
        tnn.Conv1d(4, 1, 5, padding="same", rng=1),
    )


def recording(length=3000, channels=2, seed=0):
    x = np.random.default_rng(seed).normal(0, 900, (length, channels))
    return x.astype(np.int16)


def at_once(net, x, threshold, exclusion, scale, gone):
    """Do it on the whole, stretch by stretch, by predict and find_events."""
    centre, size = scale
    block = ((x - centre) / size).astype(np.float32)
    block[gone] = 0
    score = tnn.predict(net, block)[:, 0]
    reach = net.reach()
    blind = np.zeros(len(x), bool)
    for t in np.flatnonzero(gone):
        blind[max(0, t - reach.right) : t + reach.left + 1] = True
    found, start = [], 0
    for stop in [*np.flatnonzero(blind), len(x)]:
        if stop > start:
            part = spikes.find_events(score[start:stop], threshold, exclusion=exclusion)
            found += (part + start).tolist()
        start = stop + 1
    return found, int(blind.sum())


@given(
    length=st.integers(1, 400),
    piece=st.integers(1, 200),
    exclusion=st.integers(0, 30),
    gaps=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 20)), max_size=4),
    padding=st.sampled_from(["same", "causal", "same_lower"]),
    seed=st.integers(0, 3),
)
def test_pieces_and_streams_find_the_events_of_the_whole(
    length, piece, exclusion, gaps, padding, seed
):
    net, x = model(padding=padding), recording(length, seed=seed)
    scale = spikes.robust_scale(recording())
    gone = np.zeros(length, bool)
    for start, size in gaps:
        gone[start : start + size] = True
    x[gone, seed % 2] = -32768
    expected, blind = at_once(net, x, 0.1, exclusion, scale, gone)
    how = {"exclusion": exclusion, "scale": scale, "missing": -32768, "rate": 100.0}
    found = spikes.detect(net, x, 0.1, piece_length=piece, **how)
    assert found.times.tolist() == expected
    assert found.blind == blind
    live = spikes.stream_events(net, 0.1, channels=2, **how)
    parts = [live.push(x[i : i + piece]) for i in range(0, length, piece)] + [live.finish()]
    assert np.concatenate([part.times for part in parts]).tolist() == expected
    assert sum(part.blind for part in parts) == blind
    for missing in (found.missing, np.concatenate([part.missing for part in parts])):
        covered = np.zeros(length, bool)
        for start, stop in missing:
            covered[start:stop] = True
        np.testing.assert_array_equal(covered, gone)
        assert (missing[1:, 0] > missing[:-1, 1]).all()
    np.testing.assert_allclose(found.seconds, found.times / 100)


def test_the_scores_are_those_of_the_model():
    net, x = model(), recording().astype(np.float32) / 900
    found = spikes.detect(net, x, 0.3, exclusion=3)
    np.testing.assert_allclose(found.scores, tnn.predict(net, x)[found.times, 0], rtol=1e-5)
    assert len(found) > 10
    assert found.seconds is None
    assert found.times.dtype == np.int64


def test_nan_is_missing_without_being_told():
    net, x = model(), recording(500).astype(float)
    x[200:210, 0] = np.nan
    found = spikes.detect(net, x, 0.0, exclusion=3)
    assert found.missing.tolist() == [[200, 210]]
    assert found.blind == 10 + 2 * (3 + 2)
    assert not ((found.times > 194) & (found.times < 215)).any()


def test_a_pooled_and_upsampled_model_detects_in_pieces():
    net = tnn.Sequential(
        tnn.Conv1d(1, 3, 5, padding="same", activation="relu", rng=0),
        tnn.MaxPool1d(4),
        tnn.UpSample1d(4),
        tnn.Conv1d(3, 1, 3, padding="same", rng=1),
    )
    x = recording(4000, 1).astype(np.float32) / 900
    expected = spikes.find_events(tnn.predict(net, x), 0.1, exclusion=9)
    for piece in (333, 1000):
        found = spikes.detect(net, x, 0.1, exclusion=9, piece_length=piece)
        assert found.times.tolist() == expected.tolist()


def test_a_long_recording_takes_little_memory(tmp_path):
    path = tmp_path / "long.npy"
    written = np.lib.format.open_memmap(path, "w+", np.int16, (1_000_000, 4))
    written[::1000] = 300
    net = tnn.Conv1d(4, 1, 9, padding="same", kernel_initializer="ones", rng=0)
    x = np.load(path, mmap_mode="r")
    spikes.detect(net, x[:1000], 500.0, exclusion=20)
    tracemalloc.start()
    try:
        found = spikes.detect(net, x, 500.0, exclusion=20)
        assert tracemalloc.get_traced_memory()[1] < 30e6  # as floats it would be 16 MB
    finally:
        tracemalloc.stop()
    assert len(found) == 1000


LONG = """
import sys, numpy as np, tinynn as tnn
from tinynn import spikes
x = np.memmap(sys.argv[1], np.int16, "r", shape=(36_000_000, 4))
model = tnn.Conv1d(4, 1, 9, padding="same", kernel_initializer="ones", rng=0)
tnn.predict(model, np.zeros((99, 4), "float32"))
print("ready", flush=True)
sys.stdin.readline()
found = spikes.detect(model, x, 500.0, exclusion=20, rate=20_000)
print(len(found), found.times[:2].tolist())
sys.stdin.readline()
"""


def anonymous(pid):
    """Return the megabytes of a process that are no file's pages; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1000 for line in text.splitlines() if "RssAnon" in line), 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the memory")
def test_half_an_hour_of_four_channels_takes_below_300_megabytes(tmp_path):
    path = tmp_path / "sparse.raw"
    with open(path, "wb") as file:
        file.truncate(36_000_000 * 4 * 2)
        for second in (10, 1700):
            file.seek(second * 20_000 * 8)
            file.write(np.full(4, 200, np.int16).tobytes())
    command = [sys.executable, "-c", LONG, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        before, most = anonymous(process.pid), 0
        process.stdin.write("go\n")
        process.stdin.flush()
        told = []
        reader = threading.Thread(target=lambda: told.append(process.stdout.readline()))
        reader.start()
        while reader.is_alive():
            most = max(most, anonymous(process.pid) or 0)
            time.sleep(0.002)
        process.stdin.close()
    assert told == ["2 [199996, 33999996]\n"]
    assert most - before < 300


# ---------------------------------------------------------------- stop, and go on


def noisy(length=4000):
    x = recording(length)
    x[1500:1520] = x[2990:3010] = -32768
    return x


HOW = {"exclusion": 9, "scale": (0.0, 900.0), "missing": -32768, "piece_length": 250}


def same(a, b):
    assert a.times.tolist() == b.times.tolist()
    assert a.scores.tolist() == b.scores.tolist()
    assert a.missing.tolist() == b.missing.tolist()
    assert a.blind == b.blind


@pytest.mark.parametrize("piece", [1, 5, 6, 7, 11, 12, 13, 16])
def test_ctrl_c_loses_nothing_and_the_same_call_goes_on(tmp_path, monkeypatch, piece):
    net, x, path = model(), noisy(), tmp_path / "kept"
    whole = spikes.detect(net, x, 0.3, **HOW)
    pieces = []

    def predict(*args, **kwargs):
        pieces.append(1)
        if len(pieces) == piece:
            signal.raise_signal(signal.SIGINT)
        return tnn.predict(*args, **kwargs)

    monkeypatch.setattr(detection, "predict", predict)
    with pytest.raises(KeyboardInterrupt) as caught:
        spikes.detect(net, x, 0.3, checkpoint=path, **HOW)
    assert f"after {250 * piece} of 4000 samples" in caught.value.__notes__[0]
    assert "goes on there" in caught.value.__notes__[0]
    early = caught.value.events
    assert early.times.tolist() == whole.times[: len(early)].tolist()
    last = whole.times[len(early)] if len(early) < len(whole) else 4000
    assert last > 250 * piece - 40  # nothing certain was held back
    same(spikes.detect(net, x, 0.3, checkpoint=path, **HOW), whole)
    assert len(pieces) == 16
    same(spikes.detect(net, x, 0.3, checkpoint=path, **HOW), whole)  # ended: at once
    assert len(pieces) == 16


KILLED = """
import os, sys, numpy as np, tinynn as tnn
from tests.spikes.test_detection import HOW, model, noisy
from tinynn import spikes
from tinynn.spikes import detection
pieces = []
def predict(*args, **kwargs):
    pieces.append(1)
    if len(pieces) == 9:
        os.kill(os.getpid(), 9)
    return tnn.predict(*args, **kwargs)
detection.predict = predict
kept = tnn.Checkpoint(sys.argv[1], minutes=0)
spikes.detect(model(), noisy(), 0.3, checkpoint=kept, **HOW)
"""


def test_a_kill_loses_no_more_than_since_the_last_save(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, check=False)
    assert done.returncode == -9
    pieces = []
    monkeypatch.setattr(
        detection, "predict", lambda *a, **k: pieces.append(1) or tnn.predict(*a, **k)
    )
    found = spikes.detect(model(), noisy(), 0.3, checkpoint=path, **HOW)
    assert len(pieces) == 16 - 8
    same(found, spikes.detect(model(), noisy(), 0.3, **HOW))


def test_a_checkpoint_of_another_detection_is_refused(tmp_path):
    net, x, path = model(), noisy(), tmp_path / "kept"
    spikes.detect(net, x, 0.3, checkpoint=path, **HOW)
    other = x.copy()
    other[7] += 1
    for change, words in (
        ({"threshold": 0.4}, "threshold: 0.3 there, 0.4 here"),
        ({"x": other}, "values of x: "),
        ({"x": x[:-1]}, r"x: '\(4000, 2\) int16' there, '\(3999, 2\) int16' here"),
        ({"exclusion": 3}, "exclusion: 9.0 there, 3.0 here"),
        ({"missing": None}, "missing: -32768.0 there, none here"),
        ({"scale": None}, "scale: "),
    ):
        given_ = {"model": net, "x": x, "threshold": 0.3, **HOW, **change}
        with pytest.raises(ValueError, match="of a detection with other settings:\n  " + words):
            spikes.detect(**given_, checkpoint=path)
    net[0].kernel.data = net[0].kernel.data * 2
    with pytest.raises(ValueError, match=r"weights.layers.0.kernel: .*"):
        spikes.detect(net, x, 0.3, checkpoint=path, **HOW)
    tnn.Checkpoint(path).save({"epoch": 3})
    with pytest.raises(ValueError, match=r"is none of detect\. Give another path"):
        spikes.detect(net, x, 0.3, checkpoint=path, **HOW)
    with pytest.raises(TypeError, match="detect: checkpoint must be a path"):
        spikes.detect(net, x, 0.3, checkpoint=3, **HOW)


def test_events_survive_a_checkpoint_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        tnn.Checkpoint, "save", lambda *args: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full") as caught:
        spikes.detect(model(), noisy(), 0.3, checkpoint=tmp_path / "kept", **HOW)
    assert len(caught.value.events)
    assert "could not be written: full" in caught.value.__notes__[0]


def test_a_map_whose_file_is_cut_short_is_an_error_and_no_bus_error(tmp_path, monkeypatch):
    path = tmp_path / "x.raw"
    noisy(40_000).tofile(path)
    x = np.memmap(path, np.int16, "r", shape=(40_000, 2))
    pieces = []

    def predict(*args, **kwargs):
        pieces.append(1)
        if len(pieces) == 3:
            os.truncate(path, 4000)
        return tnn.predict(*args, **kwargs)

    monkeypatch.setattr(detection, "predict", predict)
    with pytest.raises(ValueError, match=r"cut short .*x\.raw has 4000 of 160000 bytes") as caught:
        spikes.detect(model(), x[100:], 0.3, exclusion=9, scale=(0, 900.0), piece_length=5000)
    assert len(caught.value.events)
    for call in (
        lambda: spikes.robust_scale(x),
        lambda: spikes.Windows(x, [5], length=10),
        lambda: spikes.detect(model(), np.asarray(x), 0.3, exclusion=9),
    ):
        with pytest.raises(ValueError, match="was cut short while it was mapped"):
            call()


def test_a_threshold_within_the_noise_ends_with_the_events_so_far(monkeypatch):
    monkeypatch.setattr(detection, "MANY", 100)
    net, x = model(), recording(9000)
    how = {"scale": (0.0, 900.0), "piece_length": 500}
    with pytest.raises(ValueError, match=r"events in \d+ samples.* within the noise") as caught:
        spikes.detect(net, x, -9.0, exclusion=0, **how)
    assert len(caught.value.events) > 100
    assert len(spikes.detect(net, x, -9.0, exclusion=20, **how)) > 100  # few enough for its length


def test_a_low_threshold_does_not_delay_the_events_of_a_stream():
    net, x = model(), recording(20_000)
    live = spikes.stream_events(net, -9.0, channels=2, exclusion=20, scale=(0.0, 900.0))
    behind = []
    for start in range(0, 20_000, 500):
        found = live.push(x[start : start + 500])
        behind.append(start + 500 - (found.times[-1] if len(found) else -9999))
    assert max(behind) < 500


def test_a_delay_is_told_in_samples_and_seconds():
    live = spikes.stream_events(model(), 0.1, channels=2, exclusion=10, rate=1000.0)
    assert live.delay == 3 + 2 + 1 + 10
    assert live.delay_seconds == pytest.approx(0.016)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": tnn.Conv1d(2, 1, 3, rng=0)}, ValueError, r"one score for each .* \(50, 1\)"),
        ({"model": tnn.Conv1d(2, 3, 3, padding="same", rng=0)}, ValueError, "one score for each"),
        ({"model": tnn.Conv1d(2, 1, 3, padding="causal", strides=2, rng=0)}, ValueError, "for 2"),
        ({"model": tnn.GlobalMaxPool1d()}, ValueError, "may depend on the whole series"),
        ({"model": abs}, TypeError, "model must be a Layer"),
        ({"x": np.ones((50, 3))}, ValueError, "channels"),
        ({"x": np.ones((1, 50, 2))}, ValueError, r"one recording \(length, channels\)"),
        ({"x": [["a"]]}, TypeError, "x must be an array of real numbers"),
        ({"x": np.full((50, 2), np.inf)}, ValueError, "nan at sample|not hold|infinities"),
        ({"rate": 0}, ValueError, "rate must be a finite number above 0"),
        ({"rate": "fast"}, TypeError, "rate must be"),
        ({"scale": (0.0, 0.0)}, ValueError, "scale must be above 0 in each channel"),
        ({"scale": 2.0}, TypeError, r"scale must be a pair \(centre, scale\)"),
        ({"scale": (np.zeros(3), np.ones(3))}, ValueError, "one for each of 2 channels"),
        ({"threshold": np.nan}, ValueError, "threshold must be a finite number"),
        ({"exclusion": -1}, ValueError, "exclusion must be"),
        ({"missing": "no"}, TypeError, "missing must be"),
        ({"piece_length": 0}, ValueError, "piece_length must be a positive integer"),
    ],
)
def test_detect_refuses_what_gives_no_events(change, error, words):
    given_ = {"model": model(), "x": np.ones((50, 2)), "threshold": 0.1, "exclusion": 3} | change
    net, x, threshold = (given_.pop(name) for name in ("model", "x", "threshold"))
    with np.errstate(all="ignore"), pytest.raises(error, match=words):
        spikes.detect(net, x, threshold, **given_)
