"""Several features, trained: three kernels that name three shapes.

The series holds spikes of three shapes, as when an electrode hears three neurons. The layer must
say of each location: nothing, A, B or C. That is a softmax over four classes. "Nothing" needs no
kernel: only differences of the softmax's inputs matter, so its input is kept at 0. Each map is the
log-odds of its shape against nothing. In white noise of variance 1, Bayes' rule gives them as

    s_k . N(y, W, j) - |s_k|^2 / 2 + log(p_k / p_0),

a dot product and a bias. So one linear layer is enough, and theory knows its kernels: the shapes
s_k themselves. At a known location two shapes are mistaken for each other with probability
Q(|s_k - s_m| / 2), where Q is the upper tail of the normal distribution.

    python examples/several_features.py --plot features.png
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from _shared import command_line, generator, save, start, train

import tinynn as tnn
from tinynn import plots, spikes

NAMES = ("A", "B", "C")
WHAT = ("A, two phases", "B, a jump", "C, downwards")
TAPS, LENGTH = 25, 1000  # of the kernels; of each series, in samples
DPRIME, RATE = 5.5, 0.012  # of each shape; spikes per sample, of all three together
TOLERANCE, EXCLUSION = 2, 12  # samples
LOOKS = ((plots.ORANGE, "o"), (plots.BLUE, "s"), (plots.GREEN, "^"))

# %% Three shapes in one series
# ``tnn.spikes.simulate`` with d' = 0 gives noise and times without overlaps; the shapes are added
# here. The class of a location is 0 for nothing, or 1, 2, 3 at the centre of a spike.


class Mixed(NamedTuple):
    """Series with spikes of several shapes."""

    x: np.ndarray  # (n_series, LENGTH, 1)
    kinds: np.ndarray  # (n_series, LENGTH), integers 0 to 3
    times: list[np.ndarray]  # of each series: where kinds is not 0


def shapes():
    """Return the three shapes (3, TAPS), each with the norm DPRIME: its d' in white noise."""
    names = ("biphasic", "exponential", "ricker")
    return DPRIME * np.diag([1.0, 1.0, -1.0]) @ [spikes.waveform(name, TAPS) for name in names]


def mixed(n_series, rng):
    """Simulate series in which each spike has one of the shapes, at random."""
    made = spikes.simulate(LENGTH, n_series=n_series, rate=RATE, dprime=0, rng=rng)
    x, kinds, half = made.x, np.zeros((n_series, LENGTH), int), (TAPS - 1) // 2
    for i, times in enumerate(made.times):
        kinds[i, times] = rng.integers(1, 4, size=len(times))
        for t in times:
            x[i, t - half : t + half + 1, 0] += shapes()[kinds[i, t] - 1]
    return Mixed(x, kinds, made.times)


# %% Three kernels, one softmax
# The layer's three maps, with a 0 for "nothing" put before them, go into the crossentropy. Which
# class should a location have that is one sample beside a spike's centre? Either answer would
# do, so those next to a centre get the weight 0 and are not counted.


def logits(maps):
    """Put a map of zeros, that of "nothing", before the maps: (..., 3) to (..., 4)."""
    return tnn.concatenate([np.zeros((*maps.shape[:-1], 1), maps.dtype), maps], axis=-1)


def marked(kinds):
    """Return ``kinds`` with -1 at locations at most TOLERANCE beside a centre."""
    near = np.zeros(kinds.shape, bool)
    for distance in range(1, TOLERANCE + 1):
        near[:, distance:] |= kinds[:, :-distance] > 0
        near[:, :-distance] |= kinds[:, distance:] > 0
    return np.where(near & (kinds == 0), -1, kinds)


@tnn.pure  # it depends on its arguments alone, so that fit may replay it
def loss(maps, target):
    """Return the crossentropy of maps (..., 3) with the classes 0 to 3; -1 is not counted."""
    counted = (target >= 0).astype(maps.dtype)
    return tnn.losses.sparse_categorical_crossentropy(
        logits(maps), tnn.maximum(target, 0), sample_weight=counted, from_logits=True
    )


def trained(recording, rng, epochs=12):
    """Return a Conv1d of three filters, trained to name the shapes in a recording."""
    layer = tnn.Conv1d(1, 3, TAPS, padding="same", activation="linear", rng=rng)
    how = {"epochs": epochs, "learning_rate": 1.0, "batch_size": 8, "loss": loss}
    train(layer, recording.x, marked(recording.kinds), **how, rng=rng, progress=False)
    return layer


def told(x):
    """Return the feature maps (..., 3) of Bayes' rule: the shapes as kernels, and its biases."""
    kernels = shapes().T[:, None, :]
    bias = np.log(RATE / 3 / (1 - RATE)) - 0.5 * DPRIME**2
    return tnn.conv1d(np.asarray(x, float), kernels, padding="same") + bias


# %% From maps to named spikes
# A spike is a local maximum, above a threshold, of the largest of the three maps; its name is
# that of the map. The threshold is chosen on a recording of its own, without looking at the names.
# The location has to be found as well, and where noise moves it by a sample or two the shapes are
# more alike. So more names are wrong in the table of true and found names than the formula says.


def highest(maps):
    """Return the largest of the maps at each location, (..., 1)."""
    return maps.max(axis=-1, keepdims=True)


def threshold_for(maps, recording):
    """Return the threshold with the best F1, whatever the names."""
    return spikes.best_threshold(
        highest(maps), recording.times, tolerance=TOLERANCE, exclusion=EXCLUSION
    )[0]


def named(maps, threshold):
    """Return the times (n,) and the names 1 to 3 (n,) of the spikes in maps (length, 3)."""
    found = spikes.find_events(highest(maps), threshold, exclusion=EXCLUSION)
    return found, 1 + maps[found].argmax(axis=-1)


def confusion(maps, recording, threshold):
    """Count true shape against found shape, (4, 4).

    Rows A, B, C and "nothing there"; columns A, B, C and "missed".
    """
    counts = np.zeros((4, 4), int)
    for series, kinds, times in zip(maps, recording.kinds, recording.times, strict=True):
        found, names = named(series, threshold)
        pairs = spikes.match(times, found, TOLERANCE).pairs
        np.add.at(counts, (kinds[times[pairs[:, 0]]] - 1, names[pairs[:, 1]] - 1), 1)
        np.add.at(counts, (np.delete(kinds[times], pairs[:, 0]) - 1, 3), 1)
        np.add.at(counts, (3, np.delete(names, pairs[:, 1]) - 1), 1)
    return counts


def mistaken_in_theory(k, m):
    """Return how often shape k is taken for shape m, or the reverse, at a known location."""
    apart = float(np.linalg.norm(shapes()[k] - shapes()[m]))
    return NormalDist().cdf(-apart / 2)


def mistaken(maps, recording, k, m):
    """Return how often, at centres of shapes k and m, the other's map is the larger."""
    is_k, is_m = (maps[recording.kinds == shape + 1] for shape in (k, m))
    wrong = np.r_[is_k[:, m] > is_k[:, k], is_m[:, k] > is_m[:, m]]
    return float(wrong.mean())


def stretch(recording, length=600):
    """Return the first series whose first ``length`` samples hold two spikes of each shape."""
    for i, kinds in enumerate(recording.kinds):
        if all(np.sum(kinds[20 : length - 20] == k) >= 2 for k in (1, 2, 3)):
            return i, slice(0, length)
    return 0, slice(0, length)


def draw(layer, recording, threshold):
    """Draw a stretch of series, and below it each kernel over its shape and its feature map."""
    series, window = stretch(recording)
    maps = tnn.predict(layer, recording.x[series : series + 1])[0]
    found, names = named(maps, threshold)
    x, kinds = recording.x[series, window, 0], recording.kinds[series, window]
    page, axes = plots.figure(
        4, 2, height=1.75, sharex="col", gridspec_kw={"width_ratios": (1, 2.6)}
    )
    axes[0, 1].plot(x, color=plots.INK, linewidth=0.7)
    axes[0, 1].set(ylabel="amplitude", ylim=(None, x.max() + 0.3 * np.ptp(x)))
    low, high = maps[window].min(), maps[window].max()
    span = high - low
    taps = np.arange(TAPS) - (TAPS - 1) // 2
    for k, (color, mark) in enumerate(LOOKS):
        axes[0, 0].plot(taps, shapes()[k], color=color, ls=plots.STYLES[k], label=NAMES[k])
        at = np.flatnonzero(kinds == k + 1)
        text = {"color": color, "ha": "center", "fontsize": 9, "weight": "bold"}
        for t in at:
            axes[0, 1].annotate(NAMES[k], (t, x.max() + 0.1 * np.ptp(x)), **text)
        kernel = layer.kernel.data[:, 0, k]
        plots.kernels(kernel, shapes()[k], axes[k + 1, 0])
        ax = axes[k + 1, 1]
        ax.plot(maps[window, k], color=plots.INK, linewidth=0.7)
        ax.axhline(threshold, color=plots.GRAY, linestyle="--", linewidth=1)
        ax.plot(at, np.full(len(at), high + 0.12 * span), "|", color=color, ms=8, mew=1.8)
        chosen = found[(names == k + 1) & (found < window.stop)]
        ax.plot(chosen, maps[chosen, k], mark, color=color, ms=6, mfc="none", mew=1.3)
        ax.set(ylim=(low - 0.05 * span, high + 0.25 * span), ylabel="log-odds")
        ax.set_title(f"Feature map {k + 1}, looks for {WHAT[k]}", loc="left", fontsize=10)
        axes[k + 1, 0].get_legend().remove()
        axes[k + 1, 0].get_lines()[1].set_color(color)  # the kernel, drawn after its shape
        axes[k + 1, 0].set_title(f"Kernel {k + 1} over {NAMES[k]}", loc="left", fontsize=10)
        axes[k + 1, 0].set_ylabel("unit norm")
        if k < 2:
            axes[k + 1, 0].set_xlabel("")
    axes[0, 0].legend(frameon=False, fontsize=8, loc="upper left", handlelength=1.6)
    axes[0, 0].set_title("Three shapes", loc="left", fontsize=10)
    axes[0, 0].set_ylabel("amplitude")
    axes[0, 1].set_title("An unseen series, and what is in it", loc="left", fontsize=10)
    axes[3, 0].set_xlabel("from the centre tap (samples)")
    axes[3, 1].set_xlabel("location (samples)")
    axes[3, 1].margins(x=0.01)
    return page


def show(title, counts):
    """Print a table of confusions."""
    share = np.trace(counts[:3, :3]) / counts[:3].sum()
    print(f"\n{title}: right time and right shape {share:.1%}")
    print(f"{'':14s}" + "".join(f"{f'found {name}':>9s}" for name in NAMES) + f"{'missed':>9s}")
    for name, row in zip(NAMES, counts[:3], strict=True):
        print(f"{f'true {name}':14s}" + "".join(f"{n:9d}" for n in row))
    print(f"{'nothing there':14s}" + "".join(f"{n:9d}" for n in counts[3, :3]) + f"{'-':>9s}")


def run(options):
    """Carry out what the command line asks for."""
    rng = generator(options.seed)
    training = mixed(80 if options.quick else 200, rng)
    validation, test = mixed(60, rng), mixed(150, rng)
    layer = trained(training, rng)
    print(f"kernel {layer.kernel.shape} = (taps, channels in, features out)", end=", ")
    print(f"feature maps {tnn.predict(layer, test.x).shape} = (series, locations, features)")
    thresholds = {}
    for title, maps_of in (
        ("Learned kernels", lambda r: tnn.predict(layer, r.x)),
        ("Bayes' rule, told the shapes", lambda r: told(r.x)),
    ):
        thresholds[title] = threshold_for(maps_of(validation), validation)
        show(title, confusion(maps_of(test), test, thresholds[title]))

    print("\nCosine of each learned kernel with each shape, and its efficiency (d'(W) / d')^2:")
    print(f"{'':14s}" + "".join(f"{name:>9s}" for name in NAMES) + f"{'efficiency':>13s}")
    for k, kernel in enumerate(layer.kernel.data[:, 0, :].T):
        cosines = shapes() @ kernel / np.linalg.norm(kernel) / DPRIME
        share = (spikes.dprime(kernel, shapes()[k], "white") / DPRIME) ** 2
        print(f"{f'kernel {k + 1}':14s}" + "".join(f"{c:9.2f}" for c in cosines) + f"{share:13.2f}")
    print("\nTaken for the other at a known location:")
    print(f"{'':14s}{'theory':>9s}{'told':>9s}{'learned':>9s}")
    for k, m in ((0, 1), (0, 2), (1, 2)):
        values = (
            mistaken_in_theory(k, m),
            mistaken(told(test.x), test, k, m),
            mistaken(tnn.predict(layer, test.x), test, k, m),
        )
        print(f"{f'{NAMES[k]} and {NAMES[m]}':14s}" + "".join(f"{v:9.2%}" for v in values))
    if options.plot:
        save(draw(layer, test, thresholds["Learned kernels"]), options.plot)


# %% What the picture shows
# Each row below the first is one feature: on the left the kernel that it learned (line) over its
# shape (broad), on the right its map. The three maps come from the same series, and each rises
# where its own shape is (ticks above). A and B resemble each other, so that a B lifts map 1 too,
# though seldom as high as map 2; C, which points down, sinks both. The largest map gives the name
# (marks), the threshold (dashed) tells spikes from nothing. The learned kernels are a little
# sharper than the shapes: three samples beside a spike the right answer is already "nothing".

if __name__ == "__main__":
    start(command_line(__doc__), run)
