"""The three maps of a convolution, each as a matrix of coloured taps."""

import matplotlib.pyplot as plt
import numpy as np

import tinynn as tnn

INK, BLUE, ORANGE = "#333333", "#0072B2", "#D55E00"
TAPS = ["#56B4E966", "#E69F0066", "#009E7366"]  # pale: the letters are dark, or light on dark pages
STEPS, OUTPUTS = 7, 5

# Column i of the matrix is what the convolution makes of a one at step i: with the kernel 1, 2, 3
# the entry names the tap.
kernel = np.array([1.0, 2.0, 3.0])[:, None, None]
matrix = tnn.conv1d(np.eye(STEPS)[:, :, None], kernel)[:, :, 0].T
windows = np.array([[t + j for j in range(3)] for t in range(OUTPUTS)])


def squares(ax, numbers, label, colors):
    """Draw a matrix as squares, each with the text and the colour of its place."""
    rows, columns = numbers.shape
    for i in range(rows):
        for j in range(columns):
            face = colors(i, j)
            ax.add_patch(plt.Rectangle((j, rows - 1 - i), 1, 1, fc=face, ec="#CCCCCC", lw=0.8))
            said = label(i, j)
            if said:
                ax.text(j + 0.5, rows - 0.5 - i, said, ha="center", va="center", fontsize=8.5)
    ax.set(xlim=(-0.1, columns + 0.1), ylim=(-0.1, rows + 0.1), aspect="equal")
    ax.axis("off")


figure, axes = plt.subplots(1, 3, figsize=(9, 3.6), width_ratios=(7, 5, 5))


def tap(n):
    """Return the colour of an entry of A."""
    return "white" if n == 0 else TAPS[int(n) - 1]


def tap_name(n):
    """Return the name of an entry of A."""
    return f"$k_{int(n) - 1}$" if n else ""


squares(axes[0], matrix, lambda i, j: tap_name(matrix[i, j]), lambda i, j: tap(matrix[i, j]))
axes[0].set_title("convolution: y = A x", fontsize=10)
squares(axes[1], matrix.T, lambda i, j: tap_name(matrix.T[i, j]), lambda i, j: tap(matrix.T[i, j]))
axes[1].set_title("input gradient: Aᵀ g", fontsize=10)
squares(
    axes[2],
    windows.T,
    lambda i, j: f"$x_{windows.T[i, j]}$",
    lambda i, j: TAPS[i],
)
axes[2].set_title("kernel gradient: Xᵀ g", fontsize=10)
figure.subplots_adjust(0.01, 0.01, 0.99, 0.92, wspace=0.12)
