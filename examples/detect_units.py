"""Find the spikes of neurons in a recording on several channels, from a raw file to a table.

Without options the recording is simulated: a minute on four channels at 20 kHz, of three neurons
whose shapes and places differ, over a slow field potential, as int16 in a raw file. Everything
after that is what is done with a file of your own:

* a fixed layer takes the mean over 5 ms from each channel, and divides by its noise (the MAD);
* a small network learns, from labelled spikes in the first part, the log-odds of a spike at each
  sample; its threshold is chosen on the next part;
* `tnn.spikes.detect` runs it over the whole file in bounded memory;
* each event gets the shape that it is most like, and its largest channel.

The labels are the known times, those of a file (--times), or else crossings of a threshold, 4.5
times the noise. The detector then learns what a crossing looks like; nobody has checked it. Shapes
are a first guess for a person to look at, no sorted units: the mean of each label in the file,
or a k-means of the labelled spikes.

    python examples/detect_units.py --plot units.png --found units.csv
    python examples/detect_units.py --recording my.raw --rate 30000 --channels 32 --found my.csv
    python examples/detect_units.py --recording my.raw --rate 30000 --channels 4 --times my.csv

A raw file holds the channels' samples interleaved, (length, channels) row by row. --times: a spike
a line, its time in seconds, and if you have it, after a comma, the number of its neuron. The table
has a line for each event: time_s, score, shape, similarity (cosine, 1 is alike), channel (from 0)
and amplitude (the largest deviation within 0.2 ms, there, in the file's units).
"""

import argparse
import tempfile
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from _shared import (
    check_outputs,
    command_line,
    crossentropy,
    detector_page,
    generator,
    save,
    start,
    table,
)

import tinynn as tnn
from tinynn import spikes

RATE, CHANNELS = 20_000, 4  # of the simulation
GAIN = 12  # of its samples, in noise
TOLERANCE = 0.0005  # seconds between a found spike and the true one
EXCLUSION = 0.0005  # seconds around an event in which no second one is looked for
SHAPE = 0.002  # seconds of a spike's shape
BASELINE = 0.005  # seconds of the moving mean that is taken away
CROSSING = 4.5  # times the noise
WINDOW = 0.02  # seconds of a training example
FEW = 20  # labelled spikes, below which nothing is learned


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = command_line(__doc__, quick="a shorter simulation, fewer epochs, for a first look")
    add = parser.add_argument
    add("--recording", metavar="FILE", help="your own raw file")
    add("--rate", type=float, metavar="HZ", help="its samples a second, on each channel")
    add("--channels", type=int, metavar="N", help="how many channels it has")
    add(
        "--dtype", default="int16", help="of its samples (default: int16), such as '>i2' or float32"
    )
    add("--missing", type=float, metavar="VALUE", help="that stands for a missing sample")
    add("--times", metavar="FILE", help="its labelled spikes in seconds, .csv")
    add("--labelled", type=float, metavar="SECONDS", help="how much of it, from its start, is for "
        "learning, in memory (default: up to the last of --times; else a minute)")  # fmt: skip
    add("--shapes", type=int, default=3, metavar="K", help="shapes to tell apart (default: 3)")
    add("--found", metavar="FILE", help="write the events as a table, .csv")
    add("--epochs", type=int, default=30, help="passes over the training part (default: 30)")
    return parser


@dataclass
class Source:
    """A raw file that is mapped, and its labels: sample numbers, and neurons or -1."""

    x: np.ndarray  # (length, channels)
    rate: float
    times: np.ndarray | None = None
    units: np.ndarray | None = None
    labelled: int = 0  # samples from the start that are for learning
    filters: tuple | None = None  # of a simulation, the best: kernel (taps, channels, n), bias
    missing: float | None = None  # what stands for a missing sample, beside nan

    @property
    def simulated(self) -> bool:
        """Whether everything is known."""
        return self.filters is not None

    @cached_property
    def centre(self) -> np.ndarray:
        """The median of each channel in the labelled part, without what is missing."""
        x = self.x[: self.labelled]
        x = x[:: max(1, len(x) // 100_000)].astype(np.float64)
        x[x == self.missing] = np.nan
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a channel of nothing is told by front
            return np.nan_to_num(np.nanmedian(x, axis=0))

    def at(self, place: Any) -> np.ndarray:
        """Return samples as a model gets them, float32: centred, and 0 where they are missing."""
        x = self.x[place]
        gone = np.isnan(x) | (x == self.missing)
        return np.where(gone, 0, x - self.centre).astype(np.float32)

    def samples(self, seconds: float) -> int:
        """Return how many samples so many seconds are."""
        return round(seconds * self.rate)


# ---------------------------------------------------------------- recordings


def simulated(folder: str, quick: bool, rng: np.random.Generator) -> Source:
    """Write a raw file of three neurons on four channels, and map it."""
    length, path = (30 if quick else 60) * RATE, Path(folder) / "simulated.raw"
    distance = np.abs(np.subtract.outer(np.arange(CHANNELS), np.arange(CHANNELS)))
    noise = {"noise": [0.6], "spatial": 0.5**distance, "refractory": 60, "rng": rng}
    neurons = (
        ("biphasic", 37, [1.0, 0.7, 0.2, 0.1], 5.0),
        ("triphasic", 31, [0.2, 0.8, 1.0, 0.4], 6.0),
        ("monophasic", 41, [0.1, 0.2, 0.6, 1.0], 5.5),
    )
    x, times, filters = np.zeros((length, CHANNELS)), [], np.zeros((51, CHANNELS, len(neurons)))
    for i, (name, taps, gains, dprime) in enumerate(neurons):
        template = -spikes.waveform(name, taps)[:, None] * gains
        made = spikes.simulate(length, rate=8 / RATE, dprime=dprime, template=template, **noise)
        if i == 0:
            x += made.x[0]
        else:  # the spikes alone: there is noise already
            at = made.times[0][:, None] + np.arange(taps) - (taps - 1) // 2
            np.add.at(x, at, made.template)
        times.append(made.times[0])
        best = spikes.matched_filter(made.template, made.noise, made.spatial)
        first = 25 - (len(best) - 1) // 2
        filters[first : first + len(best), :, i] = best
    seconds = np.arange(length)[:, None] / RATE
    x += 6 * np.sin(2 * np.pi * (7 * seconds + np.arange(CHANNELS) / 20))  # the field potential
    (x * GAIN + 40).round().astype(np.int16).tofile(path)
    bias = -0.5 * np.array([dprime for *_, dprime in neurons]) ** 2  # of the log likelihood ratio
    units = np.repeat(np.arange(len(times)), [len(t) for t in times])
    order = np.argsort(np.concatenate(times), kind="stable")
    mapped = np.memmap(path, np.int16, "r", shape=(length, CHANNELS))
    return Source(
        mapped, RATE, np.concatenate(times)[order], units[order], length * 7 // 10, (filters, bias)
    )


def own(options: argparse.Namespace) -> Source:
    """Map the raw file that the command line names, and read its labels."""
    path = Path(options.recording)
    if options.rate is None or not 1000 <= options.rate <= 1e6:
        raise ValueError("--recording needs its --rate in samples a second, from 1000 up.")
    if options.channels is None or options.channels < 1:
        raise ValueError("--recording needs its number of --channels, from 1 up.")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        dtype = np.dtype(options.dtype)
    except TypeError:
        raise ValueError(f"--dtype {options.dtype!r} is no dtype of NumPy; try int16.") from None
    if dtype.kind not in "iuf":
        raise ValueError(f"--dtype must be of real numbers, got {dtype}.")
    size, each = path.stat().st_size, dtype.itemsize * options.channels
    if size % each or not size:
        raise ValueError(
            f"{path} has {size} bytes, which is no multiple of {options.channels} channels of "
            f"{dtype}, {each} bytes. Is --channels or --dtype wrong, or was the file cut short?"
        )
    x = np.memmap(path, dtype, "r", shape=(size // each, options.channels))
    source = Source(x, options.rate, missing=options.missing)
    if len(x) < source.samples(1):
        raise ValueError(f"{path} holds {len(x) / options.rate:.2f} s; at least 1 s is needed.")
    if options.times is not None:
        source.times, source.units = read_times(options.times, source)
    seconds = options.labelled
    if seconds is None:
        # Behind the last label nobody has looked.
        seconds = 60.0 if source.times is None else (source.times[-1] + 1) / options.rate
    if not seconds >= 1:
        raise ValueError(f"--labelled must be at least 1 second, got {seconds:g}.")
    source.labelled = min(source.samples(seconds), len(x))
    return source


def read_times(path: str, source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """Return labelled spikes as sample numbers, ascending, and their neurons if they are told."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path}: a line must be a time in seconds, or a time, a comma and a neuron's number "
            f"({reason})."
        ) from None
    if not rows.size or rows.shape[1] > 2 or not np.isfinite(rows).all():
        raise ValueError(f"{path} must hold lines of one or two finite numbers.")
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    times, end = np.round(rows[:, 0] * source.rate).astype(np.int64), len(source.x)
    if times[0] < 0 or times[-1] >= end:
        raise ValueError(
            f"{path}: times must lie within the recording, 0 to {end / source.rate:g} s, got "
            f"{rows[0, 0]:g} to {rows[-1, 0]:g}. Are they in seconds?"
        )
    return times, rows[:, 1].astype(np.int64) if rows.shape[1] == 2 else None


# ---------------------------------------------------------------- the detector


def front(source: Source) -> tnn.Conv1d:
    """Return the fixed layer: each channel without its moving mean, in units of its noise."""
    channels, taps = source.x.shape[1], source.samples(BASELINE) | 1
    layer = tnn.Conv1d(
        channels, channels, taps, groups=channels, padding="same", use_bias=False, rng=0
    )
    kernel = np.full((taps, 1, channels), -1 / taps, np.float32)
    kernel[taps // 2] += 1
    layer.kernel.data = kernel
    layer.kernel.requires_grad = False
    stretch = source.at(slice(0, min(source.labelled, source.samples(20))))
    noise = spikes.robust_scale(tnn.predict(layer, stretch))[1]
    if (noise == 0).any():
        raise ValueError(
            f"channel {int(np.argmin(noise))} never changes. Is --channels or --dtype wrong? "
            "If not, leave it out of the file."
        )
    layer.kernel.data = (kernel / noise).astype(np.float32)
    return layer


def trained(source: Source, layer, times, options, rng):
    """Return a detector that has learned from the first part."""
    channels, train = source.x.shape[1], slice(0, source.labelled * 5 // 7)
    model = tnn.Sequential(
        layer,
        tnn.Conv1d(
            channels, 8, source.samples(SHAPE) | 1, padding="same", activation="relu", rng=rng
        ),
        tnn.Conv1d(8, 1, 1, rng=rng),
    )
    model[-1].bias.data[:] = np.log(max(len(times), 1) / train.stop)
    batches = spikes.Windows(
        source.at(train),
        times[times < train.stop],
        length=min(source.samples(WINDOW), train.stop),
        share=0.5,
        labels=(0.3, 0.8, 1.0, 0.8, 0.3),
        rng=rng,
    )
    epochs = min(options.epochs, 20) if options.quick else options.epochs
    if epochs < 1:
        raise ValueError(f"--epochs must be at least 1, got {epochs}.")
    later = (epochs - epochs // 3) * len(batches)
    adam = tnn.Adam(model.parameters(), tnn.schedules.piecewise({0: 0.008, later: 0.001}))
    tnn.fit(model, batches, loss=crossentropy, optimizer=adam, epochs=epochs)
    return model


def filtered(source: Source, model, part: slice) -> np.ndarray:
    """Return what a model makes of a part of the file; what is missing is 0."""
    return tnn.predict(model, source.at(part))


def noise_of(layer) -> np.ndarray:
    """Return the noise by which the fixed layer divides."""
    taps = layer.kernel_size
    return (1 - 1 / taps) / layer.kernel.data[taps // 2, 0]


# ---------------------------------------------------------------- shapes


def snippets(source: Source, layer, times: np.ndarray) -> np.ndarray:
    """Return what the fixed layer makes of the samples around events: (events, taps, channels)."""
    half, margin = source.samples(SHAPE) // 2, layer.kernel_size // 2
    around = np.arange(-half - margin, half + margin + 1)
    parts = [np.zeros((0, 2 * half + 1, source.x.shape[1]), np.float32)]
    for i in range(0, len(times), 1000):
        at = np.clip(times[i : i + 1000, None] + around, 0, len(source.x) - 1)
        parts.append(tnn.predict(layer, source.at(at))[:, margin : margin + 2 * half + 1])
    return np.concatenate(parts)


def shapes_of(cuts: np.ndarray, units, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return the mean shape of each unit, or of each of ``k`` groups by k-means, largest first."""
    flat = cuts.reshape(len(cuts), -1)
    if units is not None:
        return np.stack([flat[units == unit].mean(axis=0) for unit in np.unique(units)])
    k = min(k, len(flat))
    best, least = flat[:k], np.inf
    for _ in range(10):
        centres = flat[rng.choice(len(flat), k, replace=False)]
        for _ in range(30):
            near = _distances(flat, centres).argmin(axis=1)
            centres = np.stack(
                [
                    flat[near == i].mean(axis=0) if (near == i).any() else centres[i]
                    for i in range(k)
                ]
            )
        if (cost := _distances(flat, centres).min(axis=1).sum()) < least:
            best, least = centres, cost
    return best[np.argsort(-np.linalg.norm(best, axis=1))]


def _distances(flat: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return (flat**2).sum(1)[:, None] - 2 * flat @ centres.T + (centres**2).sum(1)


def described(cuts: np.ndarray, shapes: np.ndarray, noise: np.ndarray) -> dict[str, np.ndarray]:
    """Return shape, similarity, channel and amplitude of each event."""
    flat = cuts.reshape(len(cuts), -1)
    shape = _distances(flat, shapes).argmin(axis=1)
    norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(shapes[shape], axis=1)
    half = cuts.shape[1] // 2
    middle = cuts[:, half - half // 5 : half + half // 5 + 1]
    place = np.abs(middle).reshape(len(cuts), -1).argmax(axis=1)
    channel = place % cuts.shape[2]
    height = middle.reshape(len(cuts), -1)[np.arange(len(cuts)), place]
    return {
        "shape": shape,
        "similarity": (flat * shapes[shape]).sum(axis=1) / np.maximum(norms, 1e-12),
        "channel": channel,
        "amplitude": height * noise[channel],
    }


# ---------------------------------------------------------------- the work


def run(options: argparse.Namespace) -> None:
    """Read, train, detect, tell apart, report."""
    check_outputs(options.found)
    rng = generator(options.seed)
    if options.shapes < 1:
        raise ValueError(f"--shapes must be at least 1, got {options.shapes}.")
    if options.recording is None and (options.rate or options.channels or options.times):
        raise ValueError("--rate, --channels and --times describe a --recording; name its file.")
    with tempfile.TemporaryDirectory() as folder:
        if options.recording is None:
            source = simulated(folder, options.quick, rng)
        else:
            source = own(options)
        work(source, options, rng)
        del source


def work(source: Source, options: argparse.Namespace, rng: np.random.Generator) -> None:
    """Do it on a file that is mapped."""
    layer = front(source)
    times, units = source.times, source.units
    if times is None:
        lowest = filtered(source, layer, slice(0, source.labelled)).min(axis=1)
        times = spikes.find_events(-lowest, CROSSING, exclusion=source.samples(EXCLUSION))
        print(
            f"labels: {len(times)} crossings of {CROSSING:g} times the noise in the first "
            f"{source.labelled / source.rate:.0f} s; nobody has checked them"
        )
    inside = times < source.labelled
    train, tune = np.split(times[inside], [np.searchsorted(times, source.labelled * 5 // 7)])
    if len(train) < FEW or len(tune) < 2:
        raise ValueError(
            f"learning needs {FEW} spikes and 2 more for the threshold, got {len(train)} and "
            f"{len(tune)} in the first {source.labelled / source.rate:.0f} s. Give more of it "
            "with --labelled, or --times."
        )
    model = trained(source, layer, times[inside], options, rng)
    threshold = chosen(source, model, tune)
    found = spikes.detect(
        model,
        source.x,
        threshold,
        exclusion=source.samples(EXCLUSION),
        rate=source.rate,
        scale=(source.centre, np.ones_like(source.centre)),
        missing=options.missing,
        progress=True,
    )
    known = None if units is None else units[inside][: len(train)]
    shapes = shapes_of(snippets(source, layer, train), known, options.shapes, rng)
    about = described(snippets(source, layer, found.times), shapes, noise_of(layer))
    report(source, found, about, known, len(shapes))
    if source.simulated:
        compare(source, layer, found, about["shape"], tune)
    if options.found:
        write(options.found, found, about)
    if options.plot:
        save(picture(source, layer, model, threshold, found, shapes), options.plot)


def chosen(source: Source, model, tune: np.ndarray) -> float:
    """Return the threshold that finds the labelled spikes of the second part best."""
    part = slice(source.labelled * 5 // 7, source.labelled)
    return spikes.best_threshold(
        filtered(source, model, part),
        tune - part.start,
        tolerance=source.samples(TOLERANCE),
        exclusion=source.samples(EXCLUSION),
    )[0]


def report(source: Source, found, about, known, k: int) -> None:
    """Print what was found, shape by shape."""
    seconds = len(source.x) / source.rate
    lost = f", {len(found.missing)} gaps, {found.blind} samples without a score"
    print(
        f"\n{len(found)} events in {seconds:.0f} s on {source.x.shape[1]} channels"
        f"{lost if len(found.missing) else ''}"
    )
    kind = "the mean of a label" if known is not None else "by k-means, no sorted units"
    print(f"shapes ({kind}):   events  a second  channel  amplitude  similarity")
    for i in range(k):
        mine = about["shape"] == i
        if not mine.any():
            print(f"  {i:2d}{'':{len(kind) + 7}s}{0:10d}")
            continue
        channel = np.bincount(about["channel"][mine]).argmax()
        print(
            f"  {i:2d}{'':{len(kind) + 7}s}{mine.sum():10d}{mine.sum() / seconds:10.2f}"
            f"{channel:9d}{np.median(about['amplitude'][mine]):11.1f}"
            f"{np.median(about['similarity'][mine]):12.2f}"
        )


def compare(source: Source, layer, found, shape, tune) -> None:
    """Print how well the events of the last part, which nothing has seen, agree with the truth."""
    begin, tolerance = source.labelled, source.samples(TOLERANCE)
    true, units = source.times[source.times >= begin], source.units[source.times >= begin]
    ours, simple = found.times >= begin, {}
    how = {"tolerance": tolerance, "exclusion": source.samples(EXCLUSION)}
    kernel, bias = source.filters
    best = tnn.Conv1d(*kernel.shape[1:], len(kernel), padding="same", rng=0)
    best.kernel.data = (kernel * noise_of(layer)[:, None] / GAIN).astype(np.float32)
    best.bias.data = bias.astype(np.float32)
    for name, score in (
        ("threshold on the lowest channel", lambda z: -z.min(axis=1)),
        ("matched filters, told all", lambda z: tnn.predict(best, z).max(axis=1)),
    ):
        part = slice(begin * 5 // 7, begin)
        height, _ = spikes.best_threshold(
            score(filtered(source, layer, part)), tune - part.start, **how
        )
        z = score(filtered(source, layer, slice(begin, None)))
        at = begin + spikes.find_events(z, height, exclusion=how["exclusion"])
        simple[name] = spikes.match(true, at, tolerance)
    matched = spikes.match(true, found.times[ours], tolerance)
    seconds = (len(source.x) - begin) / source.rate
    print(f"\n{len(true)} true spikes in the last {seconds:.0f} s, within {1000 * TOLERANCE:g} ms:")
    table([*simple.items(), ("trained detector", matched)])
    missed, false = spikes.rates_per_hour(matched, len(source.x) - begin, source.rate)
    error = 1000 * np.std(matched.timing_error) / source.rate
    print(f"missed {missed:.0f} and false {false:.0f} an hour; timing error {error:.3f} ms")
    right = units[matched.pairs[:, 0]] == shape[ours][matched.pairs[:, 1]]
    print(f"of the spikes found, {right.mean():.3f} have the shape of their neuron")


def write(path: str, found, about: dict[str, np.ndarray]) -> None:
    """Write the events as a table."""
    columns = {"time_s": found.seconds, "score": found.scores, **about}
    kinds = {"time_s": "%.6f", "shape": "%d", "channel": "%d"}
    with open(path, "w", encoding="utf-8") as file:
        np.savetxt(
            file,
            np.column_stack(list(columns.values())),
            delimiter=",",
            fmt=[kinds.get(name, "%.4f") for name in columns],
            header=",".join(columns),
            comments="",
        )
    print(f"events: {path}")


def picture(source: Source, layer, model, threshold, found, shapes):
    """Return the picture of 100 ms with many events, of the shapes and the kernels."""
    size = source.samples(0.1)
    first = source.labelled if source.simulated else 0
    later = found.times[(found.times >= first) & (found.times < len(source.x) - size)]
    starts = later[:500] - size // 20
    many = [np.sum((later >= s) & (later < s + size)) for s in starts]
    begin = max(0, int(starts[np.argmax(many)])) if len(starts) else first
    part = slice(begin, min(begin + size, len(source.x)))

    def inside(times):
        return times[(times >= part.start) & (times < part.stop)] - part.start

    recording = {
        "recording": filtered(source, layer, part)[None],
        "found": inside(found.times),
        "labels": inside(source.times) if source.simulated else None,
        "score": filtered(source, model, part),
        "threshold": threshold,
        "rate": source.rate,
        "tolerance": source.samples(TOLERANCE),
    }
    page, ax = detector_page(f"From {begin / source.rate:.2f} s", recording)
    left, right = ax.get_subplotspec().subgridspec(1, 2)
    ax.set_subplotspec(right)
    channels, filters = model[1].kernel.shape[1:]
    names = [f"channel {c}" * (f == 0) for c in range(channels) for f in range(filters)]
    tnn.plots.kernels(model[1].kernel, ax=ax, rate=source.rate, names=names)
    ax.set_title(f"The {filters} kernels on each channel", loc="left", fontsize=10)
    draw_shapes(page.add_subplot(left), shapes, noise_of(layer), source.rate)
    return page


def draw_shapes(ax, shapes: np.ndarray, noise: np.ndarray, rate: float) -> None:
    """Draw each shape, in the file's units: its channels one below the other, on one scale."""
    waves = shapes.reshape(len(shapes), -1, len(noise)) * noise
    taps, step = waves.shape[1], 1.05 * np.ptp(waves)
    for i, wave in enumerate(waves):
        t = 1000 * (np.arange(taps) + 1.2 * i * taps) / rate
        ax.plot(t, wave - 0.5 * step * np.arange(len(noise)), color=tnn.plots.CYCLE[i % 5], lw=1)
        ax.text(
            t[taps // 2],
            waves.max() + 0.05 * step,
            f"{i}",
            color=tnn.plots.CYCLE[i % 5],
            ha="center",
        )
    ax.margins(y=0.1)
    ax.set_yticks(-0.5 * step * np.arange(len(noise)), range(len(noise)), fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    ax.set_xlabel("time (ms)", fontsize=9)
    ax.set_ylabel("channel", fontsize=9)
    ax.set_title("Shapes", loc="left", fontsize=10)


if __name__ == "__main__":
    start(arguments(), run)
