"""The graph of loss = sum((relu(conv(x, k) + b) - t)^2), with values and gradients at each node."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import tinynn as tnn

INK, BLUE, ORANGE, PALE = "#333333", "#0072B2", "#D55E00", "#F4F4F4"

x = tnn.Tensor([1.0, 3.0, -2.0, 2.0], requires_grad=True)
k = tnn.Tensor([-1.0, 1.0], requires_grad=True)
b = tnn.Tensor(0.5, requires_grad=True)
t = np.array([2.0, 1.0, 4.0])

u = tnn.conv1d(x.reshape(4, 1), k.reshape(2, 1, 1)).reshape(3)
v = u + b
y = tnn.relu(v)
loss = ((y - t) ** 2).sum()

names = "x k b u v y loss".split()
nodes = [x, k, b, u, v, y, loss]
gradients = dict(zip(names, tnn.grad(loss, nodes), strict=True))
values = {name: np.asarray(node) for name, node in zip(names, nodes, strict=True)}


def text(array):
    """Return the numbers of an array as a person would write them."""
    numbers = [f"{n:g}".replace("-", "−") for n in np.ravel(array) + 0.0]
    return numbers[0] if np.ndim(array) == 0 else "(" + ", ".join(numbers) + ")"


places = {
    "x": (1.2, 3.6),
    "k": (1.2, 2.0),
    "b": (4.3, 0.9),
    "u": (4.3, 2.8),
    "v": (7.6, 2.8),
    "y": (7.6, 0.9),
    "loss": (10.8, 0.9),
}
titles = {
    "x": "x",
    "k": "k",
    "b": "b",
    "u": "u = conv(x, k)",
    "v": "v = u + b",
    "y": "y = relu(v)",
    "loss": "loss = Σ (y − t)²",
}
arrows = [("x", "u"), ("k", "u"), ("u", "v"), ("b", "v"), ("v", "y"), ("y", "loss")]
WIDTH, HEIGHT = 2.25, 1.15

figure, ax = plt.subplots(figsize=(9.2, 3.7))
for start, end in arrows:
    (x0, y0), (x1, y1) = places[start], places[end]
    vertical = abs(x0 - x1) < 0.1
    if vertical:
        down = HEIGHT / 2 if y0 > y1 else -HEIGHT / 2
        a, z, aside = (x0, y0 - down), (x1, y1 + down), (0.09, 0)
    else:
        a, z, aside = (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1), (0, 0.1)
    for color, (tail, head), sign in ((BLUE, (a, z), 1), (ORANGE, (z, a), -1)):
        shift = np.multiply(aside, sign)
        ax.add_patch(
            FancyArrowPatch(
                np.add(tail, shift),
                np.add(head, shift),
                arrowstyle="-|>",
                mutation_scale=11,
                color=color,
                linewidth=1.1,
                linestyle="-" if sign > 0 else (0, (4, 2)),
                shrinkA=2,
                shrinkB=2,
            )
        )
for name, (cx, cy) in places.items():
    corner = cx - WIDTH / 2, cy - HEIGHT / 2
    style = "round,pad=0,rounding_size=0.12"
    leaf = name in ("x", "k", "b")
    ax.add_patch(
        FancyBboxPatch(
            corner, WIDTH, HEIGHT, boxstyle=style, fc="white" if leaf else PALE, ec=INK, lw=1
        )
    )
    ax.text(cx, cy + 0.33, titles[name], ha="center", va="center", color=INK, fontsize=9.5)
    ax.text(cx, cy, text(values[name]), ha="center", va="center", color=BLUE, fontsize=9.5)
    ax.text(cx, cy - 0.33, text(gradients[name]), ha="center", va="center", color=ORANGE, size=9.5)
ax.text(9.3, 3.75, "value", color=BLUE, fontsize=9.5)
ax.text(9.3, 3.4, "gradient of the loss", color=ORANGE, fontsize=9.5)
ax.text(9.3, 3.05, "t = (2, 1, 4)", color=INK, fontsize=9.5)
ax.set(xlim=(0, 12), ylim=(0.2, 4.3), aspect="equal")
ax.axis("off")
figure.subplots_adjust(0, 0, 1, 1)
