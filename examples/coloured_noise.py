"""Coloured noise, measured: efficiency and F1 of trained kernels, in four kinds of noise.

Let s be the spike and C the covariance of the noise in one neighbourhood. A kernel W tells spike
from noise with d'(W) = W's / sqrt(W'CW) (tnn.spikes.dprime). It is largest for W = C^-1 s, the
matched filter (tnn.spikes.matched_filter). The efficiency (d'(W) / d')^2 compares a kernel with it.
For noise that remembers one step, n_j = a n_{j-1} + e_j, the matched filter is

    W_j ~ (1 + a^2) s_j - a (s_{j-1} + s_{j+1}),

which for a near 1 is the spike's curvature. Slow waves, of which the noise is full, drop out.

The F1 of each detector is compared with tnn.spikes.predicted_f1 and with the exact posterior, which
no detector can beat sample by sample. The prediction is an approximation, slightly too high at
small d' (by .02 at 2, by .005 at 3).

    python examples/coloured_noise.py --plot coloured.png
"""

import numpy as np
from _shared import command_line, generator, save, soft_labels, start, train

import tinynn as tnn
from tinynn import plots, spikes

NOISES = {
    "white": "white",
    "AR(1), a = 0.5": [0.5],
    "AR(1), a = 0.9": [0.9],
    "AR(2), 1.2, -0.5": [1.2, -0.5],
}
COLOURED = "AR(1), a = 0.9"  # the noise of the second part and of the picture
KERNELS = ("plain template", "whitened template", "trained kernel")
DETECTORS = (*KERNELS, "exact posterior")
RATE, DPRIME = 0.01, 4.0  # spikes per sample; their detectability in the first part
TAPS, LENGTH = 27, 2000  # of the kernel; of each series, in samples
TOLERANCE, EXCLUSION = 2, 12  # samples, as in detect_spikes.py

# %% A kernel learns in coloured noise
# The recipe is that of ``detect_spikes.py``: one ``Conv1d`` whose output is the log-odds of a
# spike at each location, its activation linear because the loss takes log-odds; labels that also
# credit the samples next to a spike; momentum, and a last third of the epochs with short steps.


def recordings(n_series, noise, dprime, rng):
    """Simulate series of LENGTH samples: ``.x`` and ``.y`` are (n_series, LENGTH, 1)."""
    return spikes.simulate(
        LENGTH, n_series=n_series, rate=RATE, dprime=dprime, noise=noise, rng=rng
    )


def trained_kernel(training, rng, epochs=10):
    """Return the kernel (TAPS,) of a Conv1d trained on a recording."""
    model = tnn.Conv1d(1, 1, TAPS, padding="same", activation="linear", rng=rng)
    x, y = (part.reshape(-1, 500, 1) for part in (training.x, soft_labels(training)))
    train(model, x, y, epochs=epochs, learning_rate=1.0, rng=rng, progress=False)
    return model.kernel.data[:, 0, 0].astype(float)


def kernels_for(noise, dprime, n_series, rng):
    """Return the spike (25,), and of KERNELS each by its name, the last one trained."""
    training = recordings(n_series, noise, dprime, rng)
    spike = training.template
    best = spikes.matched_filter(spike, noise)
    return spike, dict(zip(KERNELS, (spike, best, trained_kernel(training, rng)), strict=True))


# %% Efficiency, computed and counted
# ``dprime`` needs no data: it knows the covariance. To trust it, slide the kernel over a
# recording, and take the mean output at spikes and its spread in noise alone.


def slide(x, kernel):
    """Slide a kernel (taps,) over x (n_series, length, 1), in float64."""
    return tnn.conv1d(np.asarray(x, float), kernel[:, None, None], padding="same")


def efficiency(kernel, spike, noise):
    """Return the share of d'^2 that theory grants the kernel."""
    best = spikes.dprime(spikes.matched_filter(spike, noise), spike, noise)
    return (spikes.dprime(kernel, spike, noise) / best) ** 2


def measured_efficiency(kernel, dprime, with_spikes, silent):
    """Return the share of d'^2 that the kernel reaches in recordings with and without spikes."""
    outputs = slide(with_spikes.x, kernel)
    alone = slide(silent.x, kernel)[:, TAPS:-TAPS]
    reached = (outputs[with_spikes.y == 1].mean() - alone.mean()) / alone.std()
    return (reached / dprime) ** 2


# %% From a kernel to a detector
# A threshold makes a kernel a detector. It is chosen on one recording and judged on another.
# Theory and measurement meet in F1, at several values of d'.


def score(name, kernels, recording):
    """Return the score of a detector, by its name, at each sample: the shape of recording.x."""
    if name in kernels:
        return slide(recording.x, kernels[name])
    return spikes.posterior(recording.x, recording.template, recording.noise, recording.rate)


def measured_f1(name, kernels, validation, test):
    """Return the F1 on ``test`` at the threshold that is best on ``validation``."""
    threshold, _ = spikes.best_threshold(
        score(name, kernels, validation),
        validation.times,
        tolerance=TOLERANCE,
        exclusion=EXCLUSION,
    )
    found = [
        spikes.find_events(row, threshold, exclusion=EXCLUSION)
        for row in score(name, kernels, test)
    ]
    matches = (spikes.match(*pair, TOLERANCE) for pair in zip(test.times, found, strict=True))
    return sum(matches, start=spikes.match([], [], TOLERANCE)).f1


def f1_at(dprime, noise, sizes, rng):
    """Return the F1 that theory predicts, and that measured of DETECTORS, by name, for one d'.

    ``sizes``: the number of series to train on, to choose the threshold on, and to test on.
    """
    spike, kernels = kernels_for(noise, dprime, sizes[0], rng)
    validation, test = (recordings(n, noise, dprime, rng) for n in sizes[1:])
    theory = spikes.predicted_f1(dprime, RATE, tolerance=TOLERANCE, template=spike, noise=noise)
    return theory, {name: measured_f1(name, kernels, validation, test) for name in DETECTORS}


# %% Frequencies
# Stationary noise is simplest seen by frequency: C^-1 divides by the noise's
# power. So the whitened template is the spike's spectrum over that power, which
# ``noise_power`` computes from the recursion.


def noise_power(noise, frequencies):
    """Return the power density of noise of unit variance at frequencies in cycles per sample."""
    coefficients = [] if isinstance(noise, str) else noise
    lags = np.arange(1, len(coefficients) + 1)
    answer = 1 - np.exp(-2j * np.pi * np.outer(frequencies, lags)) @ np.array(coefficients)
    power = np.abs(answer) ** -2.0
    every = np.arange(4096) / 4096
    whole = np.abs(1 - np.exp(-2j * np.pi * np.outer(every, lags)) @ np.array(coefficients)) ** -2.0
    return power / whole.mean()


def gain(kernel, frequencies):
    """Return the modulus of a kernel's frequency response."""
    turns = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(len(kernel))))
    return np.abs(turns @ kernel)


def draw(learned, curve, n_spikes):
    """Draw kernels in white and in coloured noise, their spectra, and F1 of ``n_spikes`` each."""
    page, axes = plots.figure(2, 2, height=3)
    for ax, name in zip(axes[0], ("white", COLOURED), strict=True):
        spike, kernels = learned[name]
        shapes = {"whitened template": kernels["whitened template"], "the spike": spike}
        shapes = {"the spike, also whitened": spike} if name == "white" else shapes
        plots.kernels(kernels["trained kernel"], shapes, ax, names=["trained kernel"])
        ax.legend(frameon=False, fontsize=8, loc="upper left", handlelength=1.6)
        ax.set(xlim=(-15, 14), ylim=(-0.38, 0.78))
        share = efficiency(kernels["trained kernel"], spike, NOISES[name])
        noise = "White noise" if name == "white" else f"{name} noise"
        ax.set_title(f"{noise}: efficiency {share:.2f}", loc="left", fontsize=10)
    _draw_spectra(axes[1, 0], *learned[COLOURED])
    _draw_f1(axes[1, 1], curve, n_spikes)
    return page


def _draw_spectra(ax, spike, kernels):
    """Draw the modulus of the noise and of all kernels, each of the height 1."""
    at = np.linspace(0, 0.5, 301)
    power = noise_power(NOISES[COLOURED], at)
    ax.fill_between(at, np.sqrt(power / power.max()), color=plots.GRAY, alpha=0.3, lw=0)
    ax.text(0.055, 0.045, "noise", color=plots.INK, fontsize=8)
    whitened = gain(spike, at) / power
    for values, label, look in (
        (gain(spike, at), "the spike", {"color": plots.BLUE, "ls": "--"}),
        (whitened, "spike / noise power", {"color": plots.SKY, "lw": 5, "alpha": 0.45}),
        (gain(kernels["trained kernel"], at), "trained kernel", {"color": plots.ORANGE}),
    ):
        ax.plot(at, values / values.max(), label=label, **look)
    ax.set(xlabel="frequency (cycles per sample)", ylabel="amplitude (maximum 1)", ylim=(0, 1.05))
    ax.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1.02, 0.9))
    ax.set_title("The same, by frequency: above the noise", loc="left", fontsize=10)


def _draw_f1(ax, curve, n_spikes):
    """Draw F1 against d': theory as a line, the measured detectors as marks with error bars."""
    grid = np.linspace(min(curve), max(curve), 9)
    spike = spikes.waveform()
    noise = NOISES[COLOURED]
    theory = [spikes.predicted_f1(d, RATE, template=spike, noise=noise) for d in grid]
    ax.plot(grid, theory, color=plots.INK, lw=1.2, label="theory, whitened template", zorder=1)
    looks = dict(
        zip(
            ("exact posterior", "whitened template", "trained kernel", "plain template"),
            (
                {"marker": "v", "color": plots.GREEN, "ms": 6, "mfc": "none"},
                {"marker": "s", "color": plots.PINK, "ms": 9, "mfc": "none"},
                {"marker": "o", "color": plots.ORANGE, "ms": 4},
                {"marker": "x", "color": plots.BLUE, "ms": 5, "ls": ":"},
            ),
            strict=True,
        )
    )
    for name, look in looks.items():
        values = np.array([measured[name] for _, measured in curve.values()])
        spread = 2 * np.sqrt(values * (1 - values) / n_spikes)  # two standard errors, roughly
        ax.errorbar(list(curve), values, spread, label=name, **{"ls": "none", "lw": 0.8, **look})
    ax.set(xlabel="detectability d'", ylabel="F1 on an unseen recording", ylim=(0.2, 1.03))
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    ax.set_title(f"{COLOURED} noise: what the kernels are worth", loc="left", fontsize=10)


def run(options):
    """Carry out what the command line asks for."""
    rng = generator(options.seed)
    sizes = (40, 20, 30) if options.quick else (60, 20, 50)
    print(f"Efficiency (d'(W) / d')^2 at d' = {DPRIME:g}, in theory and measured:")
    print(f"{'':20s}" + "".join(f"{name:>20s}" for name in KERNELS))
    learned = {}
    for name, noise in NOISES.items():
        learned[name] = spike, kernels = kernels_for(noise, DPRIME, sizes[0], rng)
        heard = recordings(100 if options.quick else 250, noise, DPRIME, rng)
        silent = spikes.simulate(LENGTH, n_series=100, rate=0, dprime=0, noise=noise, rng=rng)
        pairs = (
            f"{efficiency(k, spike, noise):13.3f}"
            f"{measured_efficiency(k, DPRIME, heard, silent):7.3f}"
            for k in kernels.values()
        )
        print(f"{name:20s}" + "".join(pairs))

    values = (2.5, 3.5, 5.0) if options.quick else (2.5, 3.0, 3.5, 4.0, 5.0)
    curve = {d: f1_at(d, NOISES[COLOURED], sizes, rng) for d in values}
    n_spikes = sizes[2] * LENGTH * RATE
    spiking = f"about {n_spikes:,.0f} spikes"
    print(f"\nF1 in {COLOURED} noise, {spiking} within {TOLERANCE} samples, for rising d':")
    print(f"{'':30s}" + "".join(f"{d:8.2f}" for d in curve))
    for name in DETECTORS:
        print(f"{name:30s}" + "".join(f"{measured[name]:8.3f}" for _, measured in curve.values()))
    line = "".join(f"{theory:8.3f}" for theory, _ in curve.values())
    print(f"{'theory, whitened template':30s}{line}")
    if options.plot:
        save(draw(learned, curve, n_spikes), options.plot)


# %% What the picture shows
# Above, what the kernel became. In white noise it is the spike, a little sharpened, because it
# must also be silent next to a spike. In coloured noise it has left the spike (dashed) for the
# whitened template (broad), with its deep troughs on either side of the peak. Below left, the
# reason: the noise is strong where the spike is, at low frequencies, and the kernel listens above
# them. Below right, what that is worth: the trained kernel is as good as the matched filter, and
# hardly below the exact posterior. The plain template, the best kernel in white noise, misses what
# the others find. The bars are two standard errors. The prediction of theory is an approximation,
# slightly too high at small d', so the measured values lie a little below its curve there.

if __name__ == "__main__":
    start(command_line(__doc__), run)
