r"""
Order: what Dense cannot see
============================

A dot product is a sum. A sum does not depend on the order of its terms. So if we shuffle the
samples, and shuffle the weights in the same way, a Dense unit says the same as before:

.. math:: \Theta^T \cdot \mathbf{x} = \Theta[\text{perm}]^T \cdot \mathbf{x}[\text{perm}]

**Claim.** To ``Dense``, neighbours mean nothing: it learns from shuffled series as well as from
series in order. ``Conv1d`` lives on neighbours, and fails on shuffled series.
"""

# %%
# In code
# -------
# ``perm`` is a random ordering of the 64 locations. The same one is used for all series.

import numpy as np

import tinynn as tnn

rng = np.random.default_rng(0)
spike = 6 * tnn.spikes.waveform("biphasic", 15)
x = rng.normal(size=64)  # noise
x[23:38] += spike  # centred at location 30
perm = rng.permutation(64)

theta = rng.normal(size=64)  # any weights of a Dense unit
print(f"Dense:  {theta @ x:.6f} and shuffled {theta[perm] @ x[perm]:.6f}")

kernel = spike[:, None, None] / 6  # (taps, channels in, filters)
in_order = tnn.conv1d(x[:, None], kernel, padding="same")[:, 0]
shuffled = tnn.conv1d(x[perm][:, None], kernel, padding="same")[:, 0]
print(f"Conv1d: {max(in_order):.6f} and shuffled {max(shuffled):.6f}")

# %%
# The picture
# -----------

# Drawing
# The series in order and shuffled, and below each its feature map, with a peak on the left only
import matplotlib.pyplot as plt

page, axes = tnn.plots.figure(2, 2, height=1.7, sharex=True, sharey="row")
columns = (("In order", x, in_order, range(23, 38)),)
columns += (("Shuffled", x[perm], shuffled, np.flatnonzero(abs(perm - 30) < 8)),)
for (top, bottom), (title, series, score, places) in zip(axes.T, columns, strict=True):
    top.plot(series, color=tnn.plots.INK, lw=0.8)
    top.plot(places, series[places], "o", color=tnn.plots.BLUE, ms=4)
    top.set_title(f"{title}: the samples of the spike (dots)", loc="left", fontsize=10)
    bottom.plot(score, color=tnn.plots.ORANGE)
    bottom.set_title(f"Feature map of Conv1d: highest {max(score):.1f}", loc="left", fontsize=10)
    bottom.set_xlabel("location")
plt.show()

# %%
# Both upper panels hold the same 64 numbers. On the left the samples of the spike stand side by
# side, and fit under the kernel. The map has a clear peak there. On the right they are scattered.
# No neighbourhood holds more than a few of them, and the map shows nothing but noise.
#
# This is the bet of a convolution: what belongs together stands together. It holds for series and
# for images. It would not hold for the columns of a table.

# %%
# Change this: what do you expect?
# --------------------------------
# Use ``perm = np.arange(64)[::-1]``: the series is read backwards. Does Conv1d still find the
# spike? And what if the kernel is turned around as well?
#
# .. admonition:: Answer
#    :collapsible: closed
#
#    Backwards the samples are still neighbours, but they come in another order. The kernel fits
#    less well, and the peak falls. If the kernel is turned around too, the map is the old one read
#    backwards. So reading backwards costs nothing, but shuffling cannot be repaired: no kernel of
#    15 weights finds what is scattered over 64 locations.

# %%
# The whole experiment
# --------------------
# Both layers are trained on series in order and on shuffled ones. The two losses of Dense are the
# same at every step, up to rounding. Conv1d learns the series in order alone.
