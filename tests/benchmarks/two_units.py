"""Two units whose spikes overlap, told apart by a network, beside the exact posterior of both.

From the repository's root:

    python -m tests.benchmarks.two_units --markdown units.md
    python -m tests.benchmarks.two_units --quick

Each unit fires .03 times a sample with a shape of 13 samples of its own, on the same channels; more
than half of all spikes overlap one of the other unit. A network has an output for each unit. It is
trained on 800,000 samples; thresholds, one for each unit, are chosen on 50,000 and all is scored on
50,000 others (tolerance 2). *Confused* is the share of found events that lie on a spike of the
other unit and on none of their own.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np

import tinynn as tnn
from tinynn import spikes

from . import tables
from .simulated import NOISES

RATE, WIDTH = 0.03, 13
SCORING = {"tolerance": 2, "exclusion": 5}
SHAPES = ("biphasic", "ricker")
LENGTHS = {"train": 800_000, "valid": 50_000, "test": 50_000}
HEADER = ("channels", "noise", "d'", "detector", "F1 of one", "F1 of the other", "confused")


def spatial(channels, noise):
    """Return the noise's covariance across channels, or None."""
    i = np.arange(channels)
    return 0.6 ** np.abs(np.subtract.outer(i, i)) if NOISES[noise][1] and channels > 1 else None


def simulate(channels, noise, dprime, length, seed):
    """Return x ``(length, channels)``, the times and the templates of both units."""
    how = {"noise": NOISES[noise][0], "spatial": spatial(channels, noise), "dtype": "float64"}
    place = np.linspace(-1, 1, channels) if channels > 1 else np.zeros(1)
    x, times, templates = 0.0, [], []
    for u, name in enumerate(SHAPES):
        gains = np.exp(-((place - (0.3, -0.3)[u]) ** 2))
        shape = spikes.waveform(name, WIDTH)[:, np.newaxis] * gains
        given = {"dprime": dprime, "template": shape, **how, "rng": seed + u}
        made = spikes.simulate(length, rate=RATE, **given)
        x = x + made.x[0]
        if u:  # the noise of the first is enough
            x -= spikes.simulate(length, rate=0, **given).x[0]
        times.append(made.times[0])
        templates.append(made.template)
    return x.astype(np.float32), times, templates


def one_layer(channels, seed):
    """Return a linear kernel for each unit."""
    return tnn.Conv1d(channels, 2, 2 * WIDTH + 1, padding="same", rng=seed)


def four_layers(channels, seed):
    """Return a network that can weigh one unit's spike against the other's."""
    rng = np.random.default_rng(seed)
    how = {"padding": "same", "rng": rng}
    return tnn.Sequential(
        tnn.Conv1d(channels, 32, WIDTH + 4, activation="relu", **how),
        tnn.Conv1d(32, 32, 9, activation="relu", **how),
        tnn.Conv1d(32, 32, 9, activation="relu", **how),
        tnn.Conv1d(32, 2, 9, **how),
    )


def train(model, x, times, seed, peak, epochs):
    """Train a model on both units' labels, by the recipe for one."""
    y = np.concatenate([spikes.labels(t, len(x)) for t in times], axis=1)
    x, y = (a.reshape(-1, 1_000, a.shape[1]) for a in (x, y))
    rate = tnn.schedules.one_cycle(peak, epochs * (len(x) // 16))
    loss = partial(tnn.losses.binary_crossentropy, from_logits=True)
    optimizer = tnn.Adam(model.parameters(), rate)
    how = {"batch_size": 16, "epochs": epochs, "rng": seed, "progress": False}
    tnn.fit(model, x, y, loss=loss, optimizer=optimizer, **how)
    return model


def judged(valid, test, valid_times, test_times):
    """Return F1 of each unit, and the share of events confused; scores are ``(length, 2)``."""
    f1, confused, events = [], 0, 0
    for u in range(2):
        threshold, _ = spikes.best_threshold(valid[:, u], valid_times[u], **SCORING)
        found = spikes.find_events(test[:, u], threshold, exclusion=SCORING["exclusion"])
        f1.append(spikes.match(test_times[u], found, SCORING["tolerance"]).f1)
        own, other = (distance(found, test_times[v]) for v in (u, 1 - u))
        confused += np.sum((own > SCORING["tolerance"]) & (other <= SCORING["tolerance"]))
        events += len(found)
    return *f1, confused / events


def distance(found, times):
    """Return how far each event is from the nearest of the times."""
    i = np.searchsorted(times, found)
    padded = np.concatenate([[-(10**9)], times, [10**9]])
    return np.minimum(found - padded[i], padded[i + 1] - found)


def measure(channels, noise, dprime, seed=0, lengths=LENGTHS, epochs=(20, 20)):
    """Return for each detector (F1, F1, share confused), and the share of spikes that overlap."""
    valid, test = (simulate(channels, noise, dprime, lengths[k], s) for k, s in
                   (("valid", 10_001), ("test", 10_011)))  # fmt: skip
    given = NOISES[noise][0], RATE
    exact = [
        spikes.posterior(r[0], r[2], *given, spatial=spatial(channels, noise))
        for r in (valid, test)
    ]
    rows = {"exact": judged(*exact, valid[1], test[1])}
    x, times, _ = simulate(channels, noise, dprime, lengths["train"], 100 * seed)
    for (name, make, peak), n in zip(
        (("one layer", one_layer, 0.1), ("four layers", four_layers, 0.01)), epochs, strict=True
    ):
        model = train(make(channels, seed), x, times, seed, peak, n)
        scores = [tnn.predict(model, r[0]) for r in (valid, test)]
        rows[name] = judged(*scores, valid[1], test[1])
    overlap = np.mean(distance(test[1][0], test[1][1]) < WIDTH)
    return rows, overlap


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.two_units",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="d' 5 on one channel, less data")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table here, too")
    given = parser.parse_args()
    lengths = LENGTHS | ({"train": 200_000} if given.quick else {})
    kinds = [(1, "white", 5), (1, "white", 4), (4, "white", 5), (4, "both", 5), (4, "both", 4)]
    kinds = kinds[:1] if given.quick else kinds
    start, lines = time.monotonic(), []
    for channels, noise, d in kinds:
        rows, overlap = measure(channels, noise, d, lengths=lengths)
        for name, figures in rows.items():
            digits = [f"{figure:.3f}".replace("0.", ".", 1) for figure in figures]
            lines.append([str(channels), noise, f"{d:g}", name, *digits])
            print("  ".join(lines[-1]), flush=True)
        minutes = (time.monotonic() - start) / 60
        note = (
            f"{100 * overlap:.0f} % of the spikes overlap; {minutes:.0f} minutes, "
            f"{tables.machine()}."
        )
        table = tables.markdown("Two units that overlap", HEADER, lines, note)
        if given.markdown:  # after each row: a run that is stopped leaves what it has
            given.markdown.write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
