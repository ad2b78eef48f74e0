r"""
Several features
================

One kernel looks for one pattern. A layer may have several kernels, called *filters*. Each is slid
over the same series, and each makes a feature map of its own:

.. math:: \mathbf{y}_{(l),k,j} = a_{(l)}(N(\mathbf{y}_{(l-1)}, \mathbf{W}_{(l),k}, j)
   \cdot \mathbf{W}_{(l),k}), \qquad k = 1, 2, 3

**Claim.** Three filters tell three shapes apart, in one pass over the series.
"""

# %%
# In code
# -------
# The series holds three spikes of three shapes. The kernels are the shapes themselves, of the same
# length and of unit norm, so that their maps can be compared.

import numpy as np

import tinynn as tnn

names = "biphasic", "exponential", "gaussian"
shapes = np.array([tnn.spikes.waveform(name, 25) for name in names])  # (3, 25)
x = np.random.default_rng(3).normal(size=(200, 1))  # noise
for centre, shape in zip((40, 100, 160), shapes, strict=True):
    x[centre - 12 : centre + 13, 0] += 8 * shape

layer = tnn.Conv1d(1, 3, 25, padding="same", activation="linear", use_bias=False, dtype="float64")
layer.kernel.data[:, 0, :] = shapes.T  # (taps, channels in, filters)
maps = layer(x).numpy()  # (200, 3): the last axis counts the features

for centre in (40, 100, 160):
    print(f"location {centre}: maps {maps[centre].round(1)}, so:", names[maps[centre].argmax()])

# %%
# The picture
# -----------

# Drawing
# A series; below it three kernels, each beside its feature map
import matplotlib.pyplot as plt

page, axes = tnn.plots.figure(
    4, 2, height=1.25, sharex="col", gridspec_kw={"width_ratios": (1, 3.4)}
)
axes[0, 0].axis("off")
axes[0, 1].plot(x, color=tnn.plots.INK, lw=0.8)
axes[0, 1].set_title("The series", loc="left", fontsize=10)
colors = tnn.plots.ORANGE, tnn.plots.BLUE, tnn.plots.GREEN
for k, ((small, wide), name, color) in enumerate(zip(axes[1:], names, colors, strict=True)):
    small.plot(np.arange(-12, 13), shapes[k], color=color)
    small.set_title(f"kernel {k}: {name}", loc="left", fontsize=10)
    wide.plot(maps[:, k], color=color)
    for centre, mark in zip((40, 100, 160), range(3), strict=True):
        if mark == k:
            wide.plot(centre, maps[centre, k], "o", color=color, mfc="none", ms=9)
    wide.set(ylim=(maps.min() - 1, maps.max() + 1.5))
    wide.set_title(f"feature map {k}", loc="left", fontsize=10)
axes[-1, 0].set_xlabel("tap")
axes[-1, 1].set_xlabel("location")
plt.show()

# %%
# Each row below the first is one feature: its kernel on the left, its map on the right. All maps
# come from the same series. The circle marks the spike of the kernel's own shape.
#
# A map also answers to the other shapes, as far as they look alike. So a single map is not enough
# to name a spike. At its own location the map of the right shape is the largest of the three.

# %%
# Change this: what do you expect?
# --------------------------------
# Multiply the second kernel by 10. Which shape is named at the three locations?
#
# .. admonition:: Answer
#    :collapsible: closed
#
#    The second map is now ten times as large. It wins wherever the second shape resembles the
#    first or the third one a little, and names them all "exponential". The largest map names the
#    right shape only if the maps are on one scale. Training finds that scale: a softmax over the
#    maps turns them into probabilities.

# %%
# The whole experiment
# --------------------
# A layer of three filters is trained to name three shapes at random places. Its errors are compared
# with those of theory, in a table of true and found names.
