"""Padding, measured: which spikes at the ends are found.

First the layer says itself which inputs each output sees. Then a spike is placed at every location
of short series, cut off where it reaches beyond an end. E is the share of the spike's energy (the
sum of its squares) that lies inside the series.

At the end the matched filter sees a cropped spike. Its signal falls to E of the full one, its noise
to sqrt(E), so it extracts the share E of d'^2. The rest was not recorded. At a threshold of u
noise units it finds the spike with probability Phi((d' E - u) / sqrt(E)), where Phi is the normal
distribution function.

    python examples/padding.py --plot padding.png
"""

from statistics import NormalDist

import numpy as np
from _shared import command_line, generator, save, start

import tinynn as tnn

PADDINGS = ("valid", "same", "same_lower", "causal")
SHORT = 8  # samples of the series in the diagrams
LENGTH = 30  # samples of the simulated series
TAPS = 13  # of the spike in them, and of the kernel
DPRIME = 5.0  # of a whole spike
THRESHOLD = 3.0  # in standard deviations of the output's noise

# %% Which inputs an output sees
# Who sees whom? The layer says it itself: with a kernel of ones, an impulse at input t shows up in
# just those outputs that see t. The steps of each output's window follow from its position; those
# outside the series are the zeros of the padding.


def layer(padding, size):
    """Return a Conv1d with one linear kernel of ones, no bias."""
    options = {"activation": "linear", "use_bias": False, "dtype": "float64"}
    return tnn.Conv1d(1, 1, size, padding=padding, kernel_initializer="ones", **options)


def connectivity(padding, size, length=SHORT):
    """Return which output sees which input, (outputs, length) of bool."""
    impulses = np.eye(length)[:, :, None]  # one series for each input step
    return tnn.predict(layer(padding, size), impulses)[:, :, 0].T != 0


def window_steps(padding, size, length=SHORT):
    """Return the input steps under the taps of each output, (outputs, size), zeros included."""
    first = layer(padding, size).output_positions(length) - (size - 1) // 2
    return first[:, None] + np.arange(size)


# %% Spikes at the ends
# Now the ends. Series of 30 samples, in each one spike, at every location in turn; near an end a
# part of it is cut off, as when a recording starts in the middle of a spike. The detector is the
# matched filter: the spike's own shape, of unit norm, so that noise leaves it with unit variance.


def spike(taps=TAPS):
    """Return a shape that rises steeply and decays slowly, of unit norm, (taps,)."""
    t = np.arange(taps) - (taps - 1) // 2
    shape = np.exp(-0.5 * (t / np.where(t < 0, 2, 4)) ** 2)
    return shape / np.linalg.norm(shape)


def spikes_at_each_location(length=LENGTH, taps=TAPS, dprime=DPRIME):
    """Return the series without noise, (length, length): row t has its spike centred on t."""
    template = dprime * spike(taps)
    before = (taps - 1) // 2
    longer = np.zeros((length, length + taps - 1))
    for t in range(length):
        longer[t, t : t + taps] = template
    return longer[:, before : before + length]


def energy_inside(length=LENGTH, taps=TAPS):
    """Return E, the share of the spike's energy inside the series, for each location, (length,)."""
    return (spikes_at_each_location(length, taps, 1.0) ** 2).sum(axis=1)


def score(x, padding, taps=TAPS):
    """Return the matched filter's output for x (..., length) at each location, NaN where none is.

    Location t is where the kernel's centre tap lies on input t.
    """
    kernel = spike(taps)  # in white noise the matched filter is the spike itself
    flat = x.reshape(-1, x.shape[-1], 1)
    y = tnn.conv1d(flat, kernel[:, None, None], padding=padding)[:, :, 0]
    at = layer(padding, taps).output_positions(x.shape[-1])
    inside = (at >= 0) & (at < x.shape[-1])
    placed = np.full((len(flat), x.shape[-1]), np.nan)
    placed[:, at[inside]] = y[:, inside]
    return placed.reshape(x.shape)


def measured(padding, rng, n):
    """Return recall and efficiency at each location, (length,), from n series for each.

    A spike counts as found if the output at its own location is above the threshold. The
    efficiency is the squared signal-to-noise ratio of that output, over that of a whole spike.
    """
    clean = spikes_at_each_location()
    x = clean[:, None, :] + rng.normal(size=(LENGTH, n, LENGTH))
    own = np.einsum("tnt->tn", score(x, padding))  # the output at the spike's location
    recall = (own > THRESHOLD).mean(axis=1)
    return recall, (own.mean(axis=1) / own.std(axis=1) / DPRIME) ** 2


# %% What theory says
# Near the end the noise of the output is smaller too, for zeros are silent.
# So the fixed threshold is too strict there; one that falls with the noise, u times the square root
# of E, keeps the rate of false alarms and finds more.


def predicted_recall(share, threshold=THRESHOLD, dprime=DPRIME):
    """Return the recall of the matched filter for each share of energy inside."""
    normal = NormalDist()
    return np.array([normal.cdf((dprime * e - threshold) / e**0.5) for e in share])


def adapted_recall(share, threshold=THRESHOLD, dprime=DPRIME):
    """Return the recall with a threshold that keeps the false alarm rate of the middle."""
    return np.array([NormalDist().cdf(dprime * e**0.5 - threshold) for e in share])


# The strips are drawn from the numbers of the layer, not from what we believe that it does.


def strip(ax, padding, size=4):
    """Draw which inputs each output sees, a row for each output."""
    from matplotlib.patches import Rectangle

    steps, seen = window_steps(padding, size), connectivity(padding, size)
    centre = layer(padding, size).output_positions(SHORT)
    for j, row in enumerate(steps):
        for t in row:
            real = 0 <= t < SHORT and seen[j, t]
            look = {"fc": tnn.plots.SKY} if real else {"fc": "white", "hatch": "////"}
            ax.add_patch(Rectangle((t - 0.5, j - 0.5), 1, 1, ec=tnn.plots.GRAY, lw=0.6, **look))
    ax.plot(centre, np.arange(len(steps)), "o", color=tnn.plots.ORANGE, ms=4)
    for end in (-0.5, SHORT - 0.5):
        ax.axvline(end, color=tnn.plots.INK, lw=1)
    ax.set(xlim=(0.3 - size, SHORT + 1.7), ylim=(SHORT - 0.4, -0.6))
    ax.set(xticks=range(SHORT), yticks=range(SHORT), xlabel="input")
    ax.set_title(f"{padding}: {len(steps)} outputs", loc="left", fontsize=9)


def draw(results, share):
    """Return the figure: four strips above, efficiency and recall at the ends below."""
    colors = tnn.plots
    page, axes = colors.figure(2, 4, height=2.5)
    for ax, padding in zip(axes[0], PADDINGS, strict=True):
        strip(ax, padding)
    axes[0, 0].set_ylabel("output")
    grid = axes[0, 0].get_gridspec()
    for ax in axes[1]:
        ax.remove()
    left, right = page.add_subplot(grid[1, :2]), page.add_subplot(grid[1, 2:])
    t = np.arange(LENGTH)
    same, valid = ({"ls": "", "marker": m, "ms": 4, "mfc": "white"} for m in "os")
    same["color"], valid["color"] = colors.BLUE, colors.ORANGE
    left.plot(t, results["same"][1], label='"same", measured', **same)
    left.plot(t, share, color=colors.INK, lw=1, label="theory: energy inside")
    left.set_title("Zeros add no information", loc="left", fontsize=10)
    left.set_ylabel("efficiency")
    right.plot(t, results["same"][0], label='"same"', **same)
    right.plot(t, predicted_recall(share), color=colors.INK, lw=1, label='"same", theory')
    label = "adapted threshold, theory"
    right.plot(t, adapted_recall(share), "--", color=colors.GREEN, lw=1, label=label)
    right.plot(t, results["valid"][0], label='"valid"', **valid)
    right.set_title("Spikes at the ends: missed without padding", loc="left", fontsize=10)
    right.set_ylabel("recall")
    for ax in (left, right):
        ax.set(ylim=(-0.05, 1.15), xlabel="location of the spike (samples)")
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
        ax.legend(frameon=False, fontsize=8, loc="lower center")
        for label in (ax.xaxis.label, ax.yaxis.label):
            label.set_fontsize(9)
    return page


def show_lengths():
    """Print what each padding does to a short series."""
    print(f"A series of {SHORT} samples; zeros are those in the first and the last window\n")
    print("padding       f  outputs  centred on inputs  zeros, first  last")
    for size in (3, 4):
        for padding in PADDINGS:
            at = layer(padding, size).output_positions(SHORT)
            missing = size - connectivity(padding, size).sum(axis=1)
            span = f"{at[0]} to {at[-1]}"
            n = layer(padding, size).output_length(SHORT)
            print(f"{padding:13s}{size:2d}{n:9d}{span:>19s}{missing[0]:14d}{missing[-1]:6d}")
    x = np.arange(1.0, SHORT + 1)[:, None]
    same, lower = (tnn.predict(layer(p, 4), x)[:, 0] for p in ("same", "same_lower"))
    later = np.abs(lower[1:] - same[:-1]).max()
    print(f'\nf = 4: "same_lower" is "same" one output later, difference {later:.0e}')


def run(options):
    rng = generator(options.seed)
    n = 500 if options.quick else 4000
    show_lengths()
    share = energy_inside()
    results = {padding: measured(padding, rng, n) for padding in ("valid", "same", "causal")}
    print(
        f"\nSpikes of {TAPS} samples, d' = {DPRIME:g}, in series of {LENGTH}; "
        f"threshold {THRESHOLD:g}; {n} for each location\n"
    )
    print("                                           recall           theory, threshold")
    print("location  E inside  efficiency     valid   causal     same     fixed  adapted")
    theory, adapted = predicted_recall(share), adapted_recall(share)
    for t in (0, 2, 4, 6, 15, 23, 25, 27, 29):
        recalls = [results[p][0][t] for p in ("valid", "causal", "same")]
        print(
            f"{t:8d}{share[t]:10.3f}{results['same'][1][t]:12.3f}{recalls[0]:10.3f}"
            f"{recalls[1]:9.3f}{recalls[2]:9.3f}{theory[t]:10.3f}{adapted[t]:9.3f}"
        )
    worst = np.abs(results["same"][0] - theory).max()
    print(f"\nlargest difference of recall and theory over all locations: {worst:.3f}")
    print(f"one standard error is at most {0.5 / n**0.5:.3f}")
    if options.plot:
        save(draw(results, share), options.plot)


# %% What the picture shows
# Above, a row for each output, a column for each input, a kernel of
# four weights. Blue cells are inputs that the output sees, hatched ones zeros of the padding; the
# dot is the centre tap. Below, what happens to spikes at the ends. The measured efficiency follows
# the share of energy inside. Without padding no output is centred on the first and the last six
# locations, and every spike there is missed. With zeros many of them are found, fewer the more of
# the spike is cut off. The two ends differ, as this spike does: at the left end its steep rise is
# lost, at the right one its slow decay, which holds more of its energy.

if __name__ == "__main__":
    start(command_line(__doc__), run)
