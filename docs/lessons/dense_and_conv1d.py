r"""
All to one, and three to one
============================

A ``Dense`` unit is connected to *all* of its input. It compares the whole series with one pattern
of the same length, and returns one number: how well they match.

.. math:: y_{(l),1} = a_{(l)}(\mathbf{y}_{(l-1)} \cdot \mathbf{W}_{(l),1})

A ``Conv1d`` unit is connected to a *few neighbours*. It compares them with a small pattern, and
does the same at every location :math:`j`. It returns one number for each location.

.. math:: y_{(l),1,j} = a_{(l)}(N(\mathbf{y}_{(l-1)}, \mathbf{W}_{(l),1}, j)
          \cdot \mathbf{W}_{(l),1})

**Claim.** Dense recognizes a spike at the place that it knows, and there alone. Conv1d recognizes
it anywhere, with fewer weights.
"""

# %%
# In code
# -------
# A spike of three samples, and the same spike three samples later. Both layers know its shape.

import numpy as np

import tinynn as tnn

x = np.zeros(9, "float32")
x[2:5] = 1, 3, -1  # the spike
later = np.roll(x, 3)

dense = tnn.Dense(9, 1, activation="linear", use_bias=False)
dense.kernel.data[:, 0] = x  # a pattern as long as the series: 9 weights
conv = tnn.Conv1d(1, 1, kernel_size=3, padding="same", activation="linear", use_bias=False)
conv.kernel.data[:, 0, 0] = 1, 3, -1  # a pattern as long as the spike: 3 weights

print("Dense: ", dense(x).numpy(), "then", dense(later).numpy())
print("Conv1d:", conv(x[:, None]).numpy()[:, 0])
print("  then ", conv(later[:, None]).numpy()[:, 0])

# %%
# .. important:: Three defaults, as in Keras. Always write down which one you mean.
#
#    * **Padding is "valid"**: only whole neighbourhoods count, so the map is *shorter* than the
#      input. The lecture's map is as long as its input. That is ``padding="same"``.
#    * **There is a bias**: one more number for each unit, added to the dot product. The lecture's
#      formulas have none. That is ``use_bias=False``.
#    * **The activation is linear**: the dot product is passed on unchanged. Write
#      ``activation="relu"``, or another name, if you want one.

# %%
# The picture
# -----------

# Drawing
# Left, nine lines from nine inputs to one output; right, three lines to each of nine outputs
import matplotlib.pyplot as plt
from matplotlib.patches import Circle

page, axes = tnn.plots.figure(1, 2, height=1.5)
titles = "Dense: all to one", "Conv1d: three to one, at every location"
for ax, title, middles in zip(axes, titles, ([4], range(9)), strict=True):
    for j in middles:
        seen = range(9) if len(middles) == 1 else range(max(j - 1, 0), min(j + 2, 9))
        color = tnn.plots.ORANGE if j == 4 else tnn.plots.GRAY
        for i in seen:
            ax.plot([i, j], [0, 1.6], color=color, lw=1.6 if j == 4 else 0.6, zorder=j == 4)
        ax.add_patch(Circle((j, 1.6), 0.24, fc=color, ec=color, zorder=2))
    for i in range(9):
        ax.add_patch(Circle((i, 0), 0.24, fc=tnn.plots.SKY, ec=tnn.plots.BLUE, zorder=2))
    ax.text(-0.6, 0, "input", ha="right", va="center", fontsize=9)
    ax.text(-0.6, 1.6, "output", ha="right", va="center", fontsize=9)
    ax.set_title(title, loc="left", fontsize=10)
    ax.set(xlim=(-2.6, 8.6), ylim=(-0.5, 2.1), aspect="equal")
    ax.axis("off")
plt.show()

# %%
# Each line is a weight. On the left nine lines lead to the only output. On the right three lines
# lead to each output, and **the same three weights** serve all of them. At the two ends a line is
# missing, because the series has no sample there. Padding puts a zero in its place.
#
# The numbers say the same. When the spike moves, the answer of Dense falls from 11 to 0. The 11 in
# the map of Conv1d only moves, from location 3 to location 6.

# %%
# Change this: what do you expect?
# --------------------------------
# Give Dense one unit for each location: ``tnn.Dense(9, 9)``. How many weights does it have? Can it
# do what ``Conv1d`` does?
#
# .. admonition:: Answer
#    :collapsible: closed
#
#    It has 81 weights. It can do the same, if each of its units holds the three numbers at another
#    place and zeros elsewhere. Nothing forces it to. Each unit would have to learn the spike by
#    itself, from spikes at its own location. Conv1d learns it once, with 3 weights.

# %%
# The whole experiment
# --------------------
# Both layers are trained on spikes in noise, then tested on spikes that have moved. Dense, trained
# in the middle, loses a spike that moves by two samples. Conv1d does not lose any.
