"""Dense against Conv1d, measured: what happens when a spike moves.

A Dense unit as long as the series and a Conv1d kernel as long as the spike are trained on the same
series, with the spike always in the middle. Then they meet spikes that have moved by s samples.

How well each sees them is measured by d', the distance between its mean scores with and without
the spike, in standard deviations of the noise. For a linear unit with weights w, white noise of
unit variance and the spike t, moved by s, theory says d'(s) = w . t_s / |w|. The ideal weights are
the spike itself. Then d'(s) is d' times the autocorrelation of the spike at lag s: a Dense unit
forgives a shift only as far as the spike still resembles itself.

    python examples/dense_and_conv1d.py --plot dense.png
"""

from statistics import NormalDist

import numpy as np
from _shared import command_line, crossentropy, generator, save, start

import tinynn as tnn
from tinynn import spikes

LENGTH, CENTRE, TAPS = 101, 50, 15  # of a series, its middle, and the small kernel (all samples)
DPRIME = 5.0
FALSE_ALARMS = 0.01  # of the series without a spike, this share may raise an alarm
NORMAL = NormalDist()

# %% The series
# Noise of unit variance, and a spike of 15 samples scaled so that the best detector reaches d' = 5.
# Half of the series for training hold a spike, all of them at the same place.


def template():
    """Return the spike, (TAPS,), with norm DPRIME: its detectability in white noise."""
    return DPRIME * spikes.waveform("biphasic", TAPS)


def placed(shift):
    """Return a series (LENGTH,) with nothing but a spike, ``shift`` samples from the middle."""
    series = np.zeros(LENGTH)
    onset = CENTRE + shift - (TAPS - 1) // 2
    series[onset : onset + TAPS] = template()
    return series


def training_series(n, rng):
    """Return x (n, LENGTH, 1), every second one with a spike in the middle, and labels (n, 1)."""
    labels = np.arange(n)[:, None] % 2
    x = rng.normal(size=(n, LENGTH)) + labels * placed(0)
    return x[:, :, None].astype("float32"), labels.astype("float32")


# %% Two layers, the same lesson
# Both have one unit and say the log-odds of "there is a spike". Dense gives one score for the whole
# series, Conv1d one at each location. The loss looks at its score in the middle alone, so that it
# sees no more than Dense does: a spike at one place.


def trained_dense(x, labels, epochs, rng):
    """Return a Dense unit as long as the series, trained on x (n, LENGTH, 1), labels (n, 1)."""
    layer = tnn.Dense(LENGTH, 1, activation="linear", rng=rng)
    return trained(layer, x[:, :, 0], labels, crossentropy, epochs, rng)


def trained_conv1d(x, labels, epochs, rng):
    """Return a Conv1d kernel of TAPS samples, trained on its score in the middle of each series."""
    layer = tnn.Conv1d(1, 1, TAPS, padding="same", activation="linear", rng=rng)

    @tnn.pure
    def loss(scores, label):  # scores: (batch, LENGTH, 1)
        return crossentropy(scores[:, CENTRE], label)

    return trained(layer, x, labels, loss, epochs, rng)


def trained(layer, x, y, loss, epochs, rng):
    optimizer = tnn.SGD(layer.parameters(), 0.05, momentum=0.9)
    tnn.fit(layer, x, y, loss=loss, optimizer=optimizer, epochs=epochs, rng=rng, progress=False)
    return layer


def parameters(layer):
    """Count the numbers that a layer learns."""
    return sum(p.size for p in layer.parameters())


# %% What theory says
# Both scores are linear in the series, so d' follows from the weights alone. The share of spikes
# found at a threshold u, in standard deviations of the noise, is that of a normal distribution.


def dprime_of_weights(weights, shift):
    """Return the d' of ``weights`` (LENGTH,), which stay where they are, for a moved spike."""
    return weights @ placed(shift) / np.linalg.norm(weights)


def dprime_of_template(shift):
    """Return the same for the ideal weights, the spike in the middle: its autocorrelation."""
    t, lag = template(), abs(shift)
    return t[: max(TAPS - lag, 0)] @ t[lag:] / np.linalg.norm(t)


def found_share(dprime, threshold):
    """Return the probability that a normal score of mean ``dprime`` passes ``threshold``."""
    return NORMAL.cdf(dprime - threshold)


# %% What fresh series say
# At each shift, fresh noise, and spikes added to it. Dense has one score a series. Conv1d is judged
# twice: by its score at the spike's own location, and, since nobody tells it that location, by the
# largest of all its scores. Each threshold lets 1 in 100 series without a spike pass.


def measure(dense, conv1d, shifts, n, rng):
    """Measure both layers on ``n`` fresh series a shift, and ``8 n`` without a spike.

    Returns a dict of arrays, one number for each of ``shifts``: "dense" and "conv1d", the d';
    "dense found" and "conv1d found", the share found at FALSE_ALARMS, Conv1d by its largest score;
    and under "threshold" that of the largest score, in standard deviations of one score.
    """

    def scores(shift, n):
        spike = 0 if shift is None else placed(shift)
        x = rng.normal(size=(n, LENGTH)) + spike
        return tnn.predict(dense, x)[:, 0], tnn.predict(conv1d, x[:, :, None])[:, :, 0]

    whole, everywhere = scores(None, 8 * n)
    one, largest = (np.quantile(noise, 1 - FALSE_ALARMS) for noise in (whole, everywhere.max(1)))
    rows = []
    for shift in shifts:
        place, (score, many) = CENTRE + shift, scores(shift, n)
        pair = separation(score, whole), separation(many[:, place], everywhere[:, place])
        rows.append((*pair, np.mean(score > one), np.mean(many.max(1) > largest)))
    names = "dense", "conv1d", "dense found", "conv1d found"
    middle = everywhere[:, CENTRE]
    threshold = (largest - middle.mean()) / middle.std()
    return {**dict(zip(names, np.array(rows).T, strict=True)), "threshold": threshold}


def separation(scores, noise):
    """Return d': how far the mean of ``scores`` lies above that of ``noise``, in its deviations."""
    return (scores.mean() - noise.mean()) / noise.std()


def predict(dense, conv1d, shifts, threshold):
    """Return what theory says of the same two layers, under the same names."""
    weights = dense.kernel.data[:, 0].astype(float)
    moved = np.array([dprime_of_weights(weights, shift) for shift in shifts])
    same = spikes.dprime(conv1d.kernel.data[:, 0, 0], template(), "white")
    limit = NORMAL.inv_cdf(1 - FALSE_ALARMS)
    return {
        "dense": moved,
        "conv1d": np.full(len(shifts), same),
        "dense found": np.array([found_share(d, limit) for d in moved]),
        "conv1d found": np.full(len(shifts), found_share(same, threshold)),  # there or elsewhere
    }


# %% The picture
# Lines are theory, marks are measured.


def draw(dense, conv1d, shifts, measured):
    """Draw the weights of both layers, and below them d' and the share found at each shift."""
    plots = tnn.plots
    every = np.arange(shifts[0], shifts[-1] + 1)
    theory = predict(dense, conv1d, every, measured["threshold"])
    page, ((long, short), (left, right)) = plots.figure(2, 2, height=2.9)
    plots.kernels(dense.kernel.data[:, 0], {"spike": placed(0)}, long, names=["Dense"])
    plots.kernels(conv1d, {"spike": template()}, short, names=["Conv1d"])
    short.lines[1].set_color(plots.BLUE)
    short.legend(frameon=False, fontsize=8)
    titles = (
        (long, f"Dense: {parameters(dense)} parameters, one place"),
        (short, f"Conv1d: {parameters(conv1d)} parameters, any place"),
        (left, "d': Dense loses a moved spike, Conv1d does not"),
        (right, "Found, at 1 false alarm in 100 series"),
    )
    for ax, title in titles:
        ax.set_title(title, loc="left", fontsize=10)
    long.set_xlabel("from the middle of the series (samples)")
    looks = (
        ("dense", "Dense", plots.ORANGE, "-", "o"),
        ("conv1d", "Conv1d", plots.BLUE, "--", "s"),
    )
    for ax, what in ((left, ""), (right, " found")):
        ax.axhline(0, color=plots.GRAY, linewidth=0.5, zorder=0)
        for name, label, color, line, mark in looks:
            look = {"color": color, "markersize": 4, "fillstyle": "none"}
            ax.plot(every, theory[name + what], line, color=color, linewidth=1.2)
            ax.plot(shifts, measured[name + what], mark, label=label, **look)
        ax.set_xlabel("shift of the spike (samples)")
    ideal = [dprime_of_template(shift) for shift in every]
    left.plot(every, ideal, ":", color=plots.INK, linewidth=1.2, label="ideal Dense (theory)")
    left.set(ylabel="d'", ylim=(-2.1, 5.7))
    right.set_ylabel("share of the spikes")
    left.legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1, 0.62))
    right.legend(frameon=False, fontsize=8, loc="center right")
    return page


def run(options):
    """Train both, move the spike, and compare."""
    rng = generator(options.seed)
    x, labels = training_series(2000 if options.quick else 4000, rng)
    dense = trained_dense(x, labels, 20, rng)
    conv1d = trained_conv1d(x, labels, 10, rng)
    edge = CENTRE - (TAPS - 1) // 2  # the furthest that a whole spike can move
    shifts = np.r_[-edge + 1 : -6 : 4, -6:7, 10:edge:4]
    measured = measure(dense, conv1d, shifts, 1000 if options.quick else 4000, rng)
    theory = predict(dense, conv1d, shifts, measured["threshold"])

    print("parameters")
    print(f"  Dense, one pattern of {LENGTH} samples      {parameters(dense):6,}")
    print(f"  Conv1d, one pattern of {TAPS} samples      {parameters(conv1d):6,}")
    units = tnn.Dense(LENGTH, LENGTH, rng=0)
    print(f"  Dense with one unit for every location {parameters(units):6,}")
    print("\n           d' of Dense                d' of Conv1d         found, 1 % false alarms")
    print("  shift    ideal  theory measured      theory measured        Dense   Conv1d")
    ideal = [dprime_of_template(shift) for shift in shifts]
    columns = ideal, theory["dense"], measured["dense"], theory["conv1d"], measured["conv1d"]
    for i in np.flatnonzero(np.isin(shifts, (0, 1, 2, 3, 4, 6, 10, 14, 26, 42))):
        a, b, c, d, e = (round(column[i], 2) + 0.0 for column in columns)  # no -0.00
        print(
            f"{shifts[i]:7d}{a:9.2f}{b:8.2f}{c:9.2f}{d:12.2f}{e:9.2f}"
            f"{measured['dense found'][i]:13.3f}{measured['conv1d found'][i]:9.3f}"
        )
    if options.plot:
        save(draw(dense, conv1d, shifts, measured), options.plot)


# %% What the picture shows
# Above, the weights: Dense has the spike in the middle, and 86 weights that found nothing but noise
# to learn; Conv1d has the spike alone. Below left, the d' of Dense follows the spike's
# autocorrelation: gone after two samples, even negative where the spike meets its own undershoot.
# That of Conv1d is flat. Below right, the price of looking everywhere: the largest of 101
# scores needs a higher threshold, so Conv1d finds fewer spikes than Dense at the one place that
# Dense knows, and far more at every other.

if __name__ == "__main__":
    start(command_line(__doc__), run)
