"""What d' means, and the F1 that it allows: predicted (curves) and measured (points)."""

import matplotlib.pyplot as plt
import numpy as np

import tinynn as tnn
from tinynn import spikes

INK, BLUE, ORANGE, GREEN = "#333333", "#0072B2", "#D55E00", "#009E73"
DPRIME = 3.0
MEASURED = (2, 3, 4, 5)
RECORDINGS = 4

plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")

z = np.linspace(-3.5, 7, 400)
for mean, color, name in ((0, BLUE, "noise alone"), (DPRIME, ORANGE, "a spike is there")):
    density = np.exp(-0.5 * (z - mean) ** 2) / np.sqrt(2 * np.pi)
    left.plot(z, density, color=color)
    left.fill_between(z, density, color=color, alpha=0.12, lw=0)
    left.text(mean, 0.412, name, color=color, ha="center")
left.annotate(
    "", (0, 0.2), (DPRIME, 0.2), arrowprops={"arrowstyle": "<->", "color": INK, "shrinkA": 0}
)
left.text(DPRIME / 2, 0.21, "d'", ha="center", va="bottom", color=INK)
left.set(xlabel="output of the matched filter, over d'", ylabel="density", ylim=(0, 0.45))


def measured(dprime, rate):
    """Return the matched filter's F1 in simulated recordings: the mean and its standard error."""
    scores, length = [], 60_000 if rate > 0.001 else 200_000
    for seed in range(RECORDINGS):
        first, second = (
            spikes.simulate(length, rate=rate, dprime=dprime, rng=100 * seed + i) for i in (0, 1)
        )
        kernel = spikes.matched_filter(first.template, first.noise)[:, None, None]
        z = [tnn.conv1d(r.x.astype(float), kernel, padding="same") for r in (first, second)]
        threshold, _ = spikes.best_threshold(z[0], first.times, tolerance=2, exclusion=12)
        found = spikes.find_events(z[1][0], threshold, exclusion=12)
        scores.append(spikes.match(second.times[0], found, 2).f1)
    return np.mean(scores), np.std(scores, ddof=1) / np.sqrt(RECORDINGS)


dprimes = np.linspace(1.5, 6.5, 11)
for rate, color, style in ((0.001, GREEN, ":"), (0.01, BLUE, "-"), (0.03, ORANGE, "--")):
    f1 = [spikes.predicted_f1(d, rate, tolerance=2) for d in dprimes]
    right.plot(dprimes, f1, style, color=color, label=f"{rate:g} spikes per sample")
    points = [measured(d, rate) for d in MEASURED]
    right.errorbar(MEASURED, *np.transpose(points), fmt="o", ms=4, color=color, capsize=3)
right.set(xlabel="d'", ylabel="best F1 of the matched filter", ylim=(0, 1.02))
right.set_title("predicted (curves) and measured (points)", fontsize=9)
right.legend(frameon=False, loc="lower right")
