"""Order and locality, measured: what Dense cannot see.

The dot product does not change when weights and samples are shuffled alike. More is true: training
does not notice either. The gradient of each weight is made of the sample that it is multiplied
with, so it moves along. Shuffle the samples of every series in the same way, and the first weights
with them. Then each step of gradient descent has the same loss, up to rounding.

A Conv1d kernel reads a few neighbours. In order, a spike fits into one neighbourhood. Shuffled, no
neighbourhood holds more than a part of it.

Both layers are trained to say whether a series of 128 samples holds a spike, on the series in order
and on the same ones shuffled. The four runs see the same batches.

    python examples/order.py --plot order.png
"""

from statistics import NormalDist

import numpy as np
from _shared import command_line, generator, save, start

import tinynn as tnn
from tinynn import spikes

LENGTH, CENTRE, TAPS = 128, 60, 15  # of a series, place of its spike, kernel (all in samples)
DPRIME = 5.0

# %% The series
# Noise of unit variance; every second series has a spike at the same place, so that Dense can learn
# it. Conv1d is not told the place: it takes the largest score of all locations.


def template():
    """Return the spike, (TAPS,), with norm DPRIME: its detectability in white noise."""
    return DPRIME * spikes.waveform("biphasic", TAPS)


def spike_series():
    """Return a series (LENGTH,) with nothing but the spike, centred at CENTRE."""
    series = np.zeros(LENGTH)
    onset = CENTRE - (TAPS - 1) // 2
    series[onset : onset + TAPS] = template()
    return series


def with_and_without(n, rng):
    """Return x (n, LENGTH), every second series with a spike, and labels (n, 1); float64."""
    labels = np.arange(n)[:, None] % 2.0
    return rng.normal(size=(n, LENGTH)) + labels * spike_series(), labels


# %% The identity, in one line
# Equal to rounding, that is: floating-point sums in another order may differ in the last bit.


def identity(theta, x, perm):
    """Return theta . x and theta[perm] . x[perm], for theta and x of shape (n,)."""
    return theta @ x, theta[perm] @ x[perm]


# %% Two models and a training loop
# The loop is written out, to keep the loss of every single step. The order of the batches
# comes from its seed: the same for every run.


def dense_unit(weights):
    """Return a Dense unit that starts with ``weights`` (LENGTH,), in float64."""
    layer = tnn.Dense(LENGTH, 1, activation="linear", dtype="float64", rng=0)
    layer.kernel.data[:] = weights[:, None]
    return layer


def largest_match(rng):
    """Return a Conv1d kernel of TAPS weights, slid over the series, and its largest score."""
    return tnn.Sequential(
        tnn.Conv1d(1, 1, TAPS, padding="same", activation="linear", dtype="float64", rng=rng),
        tnn.GlobalMaxPool1d(),
    )


def train(model, x, labels, epochs, learning_rate, seed):
    """Train on x, labels (n, 1); return the loss of every step, (epochs, batches)."""
    optimizer = tnn.SGD(model.parameters(), learning_rate, momentum=0.9)
    pieces = tnn.batches(x, labels, batch_size=50, rng=seed)
    losses = []
    for _ in range(epochs):
        for xb, yb in pieces:
            optimizer.zero_grad()
            loss = tnn.losses.binary_crossentropy(model(xb), yb, from_logits=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return np.reshape(losses, (epochs, -1))


def four_runs(x, labels, perm, epochs, seed):
    """Train Dense and Conv1d on x (n, LENGTH) and on x[:, perm].

    Returns dicts by name, "Dense" and "Conv1d", of two models each and of their losses at every
    step, two times (epochs, batches). The Dense weights start as permutations of one another, the
    kernels as the same.
    """
    weights = np.random.default_rng(seed).normal(scale=0.1, size=LENGTH)
    models = {
        "Dense": (dense_unit(weights), dense_unit(weights[perm])),
        "Conv1d": (largest_match(seed), largest_match(seed)),
    }
    losses = {}
    for name, pair in models.items():
        series = [one if name == "Dense" else one[:, :, None] for one in (x, x[:, perm])]
        losses[name] = [
            train(model, one, labels, epochs, 0.05, seed)
            for model, one in zip(pair, series, strict=True)
        ]
    return models, losses


# %% What to expect
# Dense adds up all samples, so it can reach the d' of the whole spike in any order. A kernel adds
# up one neighbourhood. The best that it can find there is the part of the spike whose samples
# happen to stand together: its share of the energy, the sum of squares, says how much is lost.


def accuracy(model, x, labels):
    """Return the share of series judged rightly: log-odds above 0 where there is a spike."""
    return np.mean((tnn.predict(model, x) > 0) == labels)


def expected_accuracy(dprime):
    """Return the accuracy of the best threshold on a linear score with that d'."""
    return NormalDist().cdf(dprime / 2)


def energy_in_sight(spike, taps):
    """Return the largest share of a spike's energy (length,) in any ``taps`` samples in a row."""
    return np.convolve(spike**2, np.ones(taps)).max() / np.sum(spike**2)


# %% The picture


def draw(x, perm, losses):
    """Draw a series with a spike in both orders, the learning curves, and how they differ.

    ``x``: (LENGTH,); ``losses``: as :func:`four_runs` returns them.
    """
    plots = tnn.plots
    page, ((ordered, shuffled), (curves, gaps)) = plots.figure(2, 2, height=2.9)
    inside = np.abs(np.arange(LENGTH) - CENTRE) <= (TAPS - 1) // 2
    for ax, order, title in (
        (ordered, np.arange(LENGTH), f"In order: the spike's {TAPS} samples (dots)"),
        (shuffled, perm, "Shuffled: the same samples, the same dots"),
    ):
        ax.plot(x[order], color=plots.INK, linewidth=0.6)
        dots = np.flatnonzero(inside[order])
        ax.plot(dots, x[order][dots], "o", color=plots.ORANGE, markersize=4)
        ax.set(xlabel="location (samples)", ylabel="amplitude (noise = 1)")
        ax.set_title(title, loc="left", fontsize=10)
    orders = "in order", "shuffled"
    plots.history(
        {
            f"{name}, {order}": run.mean(axis=1)
            for name, runs in losses.items()
            for order, run in zip(orders, runs, strict=True)
        },
        curves,
    )
    curves.lines[0].set(linewidth=6, alpha=0.35, marker="")
    curves.set_ylim(0.4 * losses["Dense"][0][-1].mean(), 3)
    curves.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
    curves.set_title("Only Conv1d minds the order", loc="left", fontsize=10)
    for name, color, mark in (("Conv1d", plots.GREEN, "s"), ("Dense", plots.ORANGE, ".")):
        gap = np.abs(np.subtract(*losses[name])).ravel()
        steps = np.arange(1, len(gap) + 1)
        gaps.plot(steps, np.maximum(gap, 1e-17), mark, color=color, markersize=2, label=name)
    gaps.set(xlabel="step", ylabel="difference of the two losses", yscale="log", ylim=(3e-18, 30))
    gaps.legend(frameon=False, fontsize=8, loc="center right", markerscale=3)
    gaps.set_title("Loss, step by step (0 is drawn at 1e-17)", loc="left", fontsize=10)
    return page


def run(options):
    """Show the identity, train four times, compare."""
    rng = generator(options.seed)
    theta, perm = rng.normal(size=LENGTH), rng.permutation(LENGTH)
    x, labels = with_and_without(1000 if options.quick else 2000, rng)
    fresh, truth = with_and_without(4000, rng)
    a, b = identity(theta, x[1], perm)
    print(f"theta . x             = {a:.15f}")
    print(f"theta[perm] . x[perm] = {b:.15f}\n")

    models, losses = four_runs(x, labels, perm, 12 if options.quick else 20, options.seed)
    print("loss, mean of an epoch")
    print("             ------- Dense --------     ------- Conv1d -------")
    print("    epoch     in order    shuffled       in order    shuffled")
    epochs = len(losses["Dense"][0])
    for epoch in sorted({1, 2, 5, 10, epochs}):
        dense, conv1d = ([run[epoch - 1].mean() for run in pair] for pair in losses.values())
        print(f"{epoch:9d}{dense[0]:13.6f}{dense[1]:12.6f}{conv1d[0]:15.6f}{conv1d[1]:12.6f}")
    judged = [
        accuracy(model, series if name == "Dense" else series[:, :, None], truth)
        for name, pair in models.items()
        for model, series in zip(pair, (fresh, fresh[:, perm]), strict=True)
    ]
    print(f" accuracy{judged[0]:13.4f}{judged[1]:12.4f}{judged[2]:15.4f}{judged[3]:12.4f}")

    first, second = (model.kernel.data[:, 0] for model in models["Dense"])
    gap, steps = np.abs(np.subtract(*losses["Dense"])), losses["Dense"][0].size
    expected = expected_accuracy(first @ spike_series() / np.linalg.norm(first))
    shares = [energy_in_sight(spike, TAPS) for spike in (spike_series(), spike_series()[perm])]
    apart = np.abs(first[perm] - second).max()
    print(f"\nDense, largest difference of the two losses in {steps} steps {gap.max():10.1e}")
    print(f"Dense, largest |W[perm] - W learnt shuffled|            {apart:10.1e}")
    print(f"Dense, accuracy of its weights by theory, best threshold{expected:10.4f}")
    for order, share in zip(("in order", "shuffled"), shares, strict=True):
        print(f"Conv1d, {order}: the spike's energy in one neighbourhood {share:8.0%}")
    if options.plot:
        save(draw(x[1], perm, losses), options.plot)


# %% What the picture shows
# Above, one series twice. Shuffled, the spike cannot be seen any more, yet no number is missing.
# Below left, the two learning curves of Dense lie on each other: the broad pale line and the dashed
# one. Conv1d learns the series in order well and the shuffled ones badly. It never reaches Dense
# here, since it is not told the place and must not be misled by the noise at any other. Below
# right, the two losses of Dense differ by at most a few last bits of a floating-point number.

if __name__ == "__main__":
    start(command_line(__doc__), run)
