"""SpikeInterface's detectors beside a trained Conv1d and the exact posterior.

From the repository's root, where the extra ``peers`` is installed:

    python -m tests.benchmarks.spikeinterface_side --markdown beside.md
    python -m tests.benchmarks.spikeinterface_side --quick

All see the same simulated recordings (20 kHz, channels 20 µm apart), may report one event in 12
samples, have their threshold chosen on the same validation data and are scored on the same test
data. ``by_channel`` and ``locally_exclusive`` find peaks on the channels; peaks of several channels
within 12 samples count as one event, the largest. ``matched_filtering`` is given the spike's true
waveform, and its true spread over the channels. ``prepared`` is matched_filtering after band-pass
(300-6,000 Hz), whitening across channels, or both: what scores best on the validation data, with
the waveform as the band-pass leaves it. A constant error in time is taken out, found on the
validation data.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import tinynn as tnn
from tinynn import spikes

from . import tables
from .simulated import EPOCHS, LENGTHS, PITCH, SCORING, WIDTH, cases, held_out_f1, train

HERTZ = 20_000
FIELD = ("by_channel", "locally_exclusive", "matched_filtering")
HEADER = ("channels", "noise", "d'", *FIELD, "prepared", "trained", "exact")
JOB = {"n_jobs": 1, "progress_bar": False}
MARGIN = 12  # samples that the band-pass adds to the waveform on each side


def recording_of(x):
    """Return x ``(length, channels)`` as a SpikeInterface recording with a linear probe."""
    from probeinterface import generate_linear_probe
    from spikeinterface.core import NumpyRecording

    recording = NumpyRecording([x], HERTZ)
    probe = generate_linear_probe(x.shape[1], ypitch=PITCH)
    probe.set_device_channel_indices(np.arange(x.shape[1]))
    return recording.set_probe(probe) or recording


def prepare(recording, how):
    """Return the recording after band-pass, whitening, or both; ``how`` names them."""
    from spikeinterface import preprocessing

    if "band" in how:
        recording = preprocessing.bandpass_filter(recording, 300, 6_000, dtype="float32")
    if "white" in how:
        recording = preprocessing.whiten(recording, dtype="float32", mode="global", seed=0)
    return recording


def waveform_after(how, template, channel):
    """Return the waveform on the largest channel after a preparation, and its middle sample."""
    shape, middle = template[:, channel], (len(template) - 1) // 2
    if "band" not in how:
        return shape, middle
    alone = np.zeros((2_000, 1), np.float32)
    alone[1_000 - middle : 1_000 - middle + len(shape), 0] = shape
    passed = prepare(recording_of(alone), "band").get_traces()[:, 0]
    return passed[1_000 - middle - MARGIN :][: len(shape) + 2 * MARGIN], middle + MARGIN


def finder(method, case, template, recording, how=""):
    """Return a function of a threshold (in MAD) that gives the events in a recording."""
    from spikeinterface.core import get_noise_levels
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    recording = prepare(recording, how)
    options = {"peak_sign": "pos", "exclude_sweep_ms": (SCORING["exclusion"] + 0.5) / HERTZ * 1000}
    level = np.ones(case.channels)
    if method == "matched_filtering":
        shape, middle = waveform_after(how, template, case.channels // 2)
        options |= {
            "prototype": shape, "ms_before": (middle + 0.5) / HERTZ * 1000,
            "weight_method": {"mode": "gaussian_2d", "sigma_list_um": [WIDTH]},
            "random_chunk_kwargs": {"num_chunks_per_segment": 5, "seed": 0},
        }  # fmt: skip
    else:
        seeded = {"seed": 0}
        level = get_noise_levels(recording, return_in_uV=False, random_slices_kwargs=seeded, **JOB)
        options["noise_levels"] = level
    if method != "by_channel":
        options["radius_um"] = PITCH * case.channels  # one event, on whichever channel

    def find(threshold):
        given = options | {"detect_threshold": threshold}
        peaks = detect_peaks(recording, method=method, method_kwargs=given, job_kwargs=JOB)
        at = np.sort(peaks["sample_index"])
        if method != "by_channel" or not len(at):
            return at
        height = np.zeros(recording.get_num_samples())
        size = peaks["amplitude"] / level[peaks["channel_index"]]
        np.maximum.at(height, peaks["sample_index"], size)
        return spikes.find_events(height, 0, exclusion=SCORING["exclusion"])

    return find


def tuned(find, times):
    """Return the best (F1, threshold, shift in time) on the validation data."""

    def tried(thresholds):
        for threshold in thresholds:
            found = find(threshold)
            for shift in (-2, -1, 0, 1, 2):
                f1 = spikes.match(times, found + shift, SCORING["tolerance"]).f1
                yield f1, -abs(shift), threshold, shift

    best = max(tried(np.arange(1.5, 8, 0.5)))
    f1, _, threshold, shift = max(tried(best[2] + np.arange(-0.4, 0.45, 0.1)))
    return f1, threshold, shift


def shortest(call, repeats=7):
    """Return the least processor time of some calls, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def of_the_field(case, recordings, ways):
    """Return the test F1 of the best way on validation data, and the time of its search."""
    valid, test = recordings
    tried = []
    for method, how in ways:
        find = finder(method, case, valid.template, recording_of(valid.x[0]), how)
        tried.append((*tuned(find, valid.times[0]), method, how))
    _, threshold, shift, method, how = max(tried)
    find = finder(method, case, test.template, recording_of(test.x[0]), how)
    found = find(threshold) + shift
    f1 = spikes.match(test.times[0], found, SCORING["tolerance"]).f1
    return f1, shortest(lambda: find(threshold)), how


def columns(case) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the names of the field's columns, and for each the ways to choose from."""
    for method in FIELD:
        yield method, [(method, "")]
    ways = ["band", "white", "band white"] if case.channels > 1 else ["band"]
    yield "prepared", [("matched_filtering", how) for how in ways]


def measure(case, seeds, lengths=LENGTHS, epochs=EPOCHS):
    """Return for each column the F1 on the test data and the time taken on it; and what helped."""
    recordings = case.held_back(lengths["valid"], lengths["test"])
    f1, seconds = {}, {}
    for name, ways in columns(case):
        f1[name], seconds[name], helped = of_the_field(case, recordings, ways)
    valid, test = recordings
    taps = len(spikes.matched_filter(test.template, *case.law))
    trained = []
    for seed in seeds:
        model = train(case.simulate(case.amount(lengths["train"]), seed), taps, seed, epochs)
        trained.append(held_out_f1([tnn.predict(model, r.x)[0] for r in recordings], recordings))
    f1["trained"] = float(np.median(trained))
    threshold, _ = spikes.best_threshold(tnn.predict(model, valid.x)[0], valid.times[0], **SCORING)
    seconds["trained"] = shortest(
        lambda: spikes.detect(model, test.x[0], threshold, exclusion=SCORING["exclusion"])
    )
    f1["exact"] = held_out_f1([case.exact(r) for r in recordings], recordings)
    return f1, seconds, helped


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.spikeinterface_side",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one seed, d' 4, one and 4 channels")
    parser.add_argument("--channels", default="1,4,16", help="some of 1,4,16 (default: all)")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables here, too")
    given = parser.parse_args()
    import spikeinterface

    channels = "1,4" if given.quick else given.channels
    wanted = cases(map(int, channels.split(",")), (4,) if given.quick else (3, 4, 5))
    scores, ratios, start = [], [], time.monotonic()
    for case in wanted:
        f1, seconds, helped = measure(case, range(1 if given.quick else 3))
        about = [str(case.channels), case.noise, f"{case.dprime:g}"]
        scores.append([*about, *(f"{f1[name]:.2f}".lstrip("0") for name in HEADER[3:])])
        scores[-1][HEADER.index("prepared")] += f" ({helped.replace(' ', ', ')})"
        ratio = [f"{seconds[name] / seconds['trained']:.2f}" for name in HEADER[3:7]]
        ratios.append([*about, *ratio, tables.duration(seconds["trained"])])
        print("  ".join(scores[-1]), " | ", "  ".join(ratios[-1][3:]), flush=True)
        minutes = (time.monotonic() - start) / 60
        note = (
            f"SpikeInterface {spikeinterface.__version__}, {tables.machine()}; {minutes:.0f} min."
        )
        text = tables.markdown("F1 on the test data", HEADER, scores) + tables.markdown(
            "Processor time on the test data, over that of detect",
            (*HEADER[:7], "detect"),
            ratios,
            note,
        )
        if given.markdown:  # after each row: a run that is stopped leaves what it has
            given.markdown.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
