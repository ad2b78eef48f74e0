"""Rows that do not overlap, and the block-Toeplitz matrix that turns each into three outputs."""

import matplotlib.pyplot as plt
import numpy as np

import tinynn as tnn

INK = "#333333"
TAPS = ["#56B4E966", "#E69F0066", "#009E7366"]  # pale: the letters are dark, or light on dark pages
PHASES = ["#0072B2", "#D55E00"]
F, T, STEPS = 3, 3, 20
WIDTH = F + T - 1

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.1), width_ratios=(3.1, 1))

for step in range(STEPS):
    left.add_patch(plt.Rectangle((step, 5), 1, 1, fc="white", ec="#AAAAAA", lw=0.8))
    left.text(step + 0.5, 5.5, str(step), ha="center", va="center", fontsize=8, color=INK)
for phase, color in enumerate(PHASES):
    height = 3.4 - 1.7 * phase
    for start in range(phase * T, STEPS - WIDTH + 1, 2 * T):
        box = plt.Rectangle((start, height), WIDTH, 1, fc=color, alpha=0.25, ec=color, lw=1.2)
        left.add_patch(box)
        left.text(
            start + WIDTH / 2,
            height + 0.5,
            f"outputs {start}–{start + T - 1}",
            ha="center",
            va="center",
            fontsize=8,
            color=INK,
        )
    left.text(-0.2, height + 0.5, f"view {phase}", ha="right", va="center", fontsize=9, color=color)
left.text(-0.2, 5.5, "series", ha="right", va="center", fontsize=9, color=INK)
left.set(xlim=(-2.2, STEPS + 0.1), ylim=(1.3, 6.6))
left.set_title("rows of 5 steps, none overlapping within a view", fontsize=10)
left.axis("off")

# Row i of the matrix is what the convolution makes of a one at step i; its entries name the taps.
kernel = np.array([1.0, 2.0, 3.0])[:, None, None]
matrix = tnn.conv1d(np.eye(WIDTH)[:, :, None], kernel)[:, :, 0]
for i in range(WIDTH):
    for j in range(T):
        tap = int(matrix[i, j])
        face = TAPS[tap - 1] if tap else "white"
        right.add_patch(plt.Rectangle((j, WIDTH - 1 - i), 1, 1, fc=face, ec="#CCCCCC", lw=0.8))
        if tap:
            place = j + 0.5, WIDTH - 0.5 - i
            right.text(*place, f"$k_{tap - 1}$", ha="center", va="center", fontsize=9)
right.set(xlim=(-0.1, T + 0.1), ylim=(-0.1, WIDTH + 0.1), aspect="equal")
right.set_title("5 inputs to 3 outputs", fontsize=10)
right.axis("off")
figure.subplots_adjust(0.01, 0.02, 0.99, 0.9, wspace=0.05)
