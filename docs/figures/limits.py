"""What d' means, and the F1 that it allows."""

import matplotlib.pyplot as plt
import numpy as np

import tinynn as tnn

INK, BLUE, ORANGE, GREEN = "#333333", "#0072B2", "#D55E00", "#009E73"
DPRIME = 3.0

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

dprimes = np.linspace(1.5, 6.5, 11)
for rate, color, style in ((0.001, GREEN, ":"), (0.01, BLUE, "-"), (0.03, ORANGE, "--")):
    f1 = [tnn.spikes.predicted_f1(d, rate, tolerance=2) for d in dprimes]
    right.plot(dprimes, f1, style, color=color, label=f"{rate:g} spikes per sample")
right.set(xlabel="d'", ylabel="best F1 of the matched filter", ylim=(0, 1.02))
right.legend(frameon=False, loc="lower right")
