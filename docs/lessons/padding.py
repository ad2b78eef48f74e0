r"""
Padding: what the kernel sees at the ends
=========================================

A kernel of :math:`f_{(l)}` weights, centred at location :math:`j`, needs neighbours on both sides.
At the ends of the series some of them do not exist. There are two ways out:

* leave those locations out: ``padding="valid"``, **the default**. The map is *shorter* than the
  input, by :math:`f_{(l)} - 1`.
* put zeros beyond the ends: ``padding="same"``, as in the lecture. The map is as long as the input.

**Claim.** Padding decides how long the map is, and which input each of its entries is centred at.
"""

# %%
# In code
# -------
# A series of 8 samples and a kernel of 3 weights. The layer says how many outputs there are, and
# which input lies under the kernel's centre.

import numpy as np

import tinynn as tnn

x = np.arange(1.0, 9.0)[:, None]  # 1, 2, ..., 8

for padding in ("valid", "same", "causal"):
    how = {"padding": padding, "activation": "linear", "use_bias": False}
    layer = tnn.Conv1d(1, 1, kernel_size=3, **how)
    layer.kernel.data[:] = 1  # each output is the sum of the three inputs that it sees
    y = layer(x).numpy()[:, 0]
    centres = layer.output_positions(8)
    print(f"{padding:7s}{len(y)} outputs: {y}, centred at {centres}")

# %%
# The picture
# -----------

# Drawing
# For each padding a grid of the inputs that each output sees, zeros hatched
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

page, axes = tnn.plots.figure(1, 3, height=2.7)
for ax, padding in zip(axes, ("valid", "same", "causal"), strict=True):
    centres = tnn.Conv1d(1, 1, 3, padding=padding).output_positions(8)
    for row, centre in enumerate(centres):
        for i in range(centre - 1, centre + 2):
            look = {"fc": tnn.plots.SKY} if 0 <= i < 8 else {"fc": "none", "hatch": "////"}
            ax.add_patch(Rectangle((i - 0.5, row - 0.5), 1, 1, ec=tnn.plots.GRAY, lw=0.6, **look))
        ax.plot(centre, row, "o", color=tnn.plots.ORANGE, ms=4)
    ax.set(xlim=(-2.7, 8.7), ylim=(7.6, -0.6), xticks=range(8), yticks=range(8), xlabel="input")
    ax.set_title(f'"{padding}": {len(centres)} outputs', loc="left", fontsize=10)
axes[0].set_ylabel("output")
plt.show()

# %%
# Each row is one output, each column one input. Blue cells are the inputs that the output sees.
# Hatched cells are zeros of the padding. The dot is the kernel's centre.
#
# * ``"valid"`` needs no zeros, and has no output centred at the first and the last input. A spike
#   there is missed.
# * ``"same"`` has one output for each input, centred on it.
# * ``"causal"`` puts all zeros in front. No output sees a later input, as in a live recording. So
#   output 3 is centred at input 2.
#
# The sums at the ends are smaller where a zero takes part: ``"same"`` begins with 0 + 1 + 2 = 3.

# %%
# Change this: what do you expect?
# --------------------------------
# Take an even kernel, of 4 weights. How long is each map? Where does ``"same"`` put the zeros?
#
# .. admonition:: Answer
#    :collapsible: closed
#
#    "valid" has 5 outputs, the others 8. An even kernel has no middle, so "same" needs an odd
#    number of zeros, three. As in Keras it puts one on the left and two on the right. The padding
#    "same_lower" puts two on the left, as NumPy and SciPy do.

# %%
# The whole experiment
# --------------------
# Spikes are placed at every location, also cut off at the ends. The script measures how many are
# found with each padding, beside what theory says. A zero fills a gap, but it carries no
# information: what was cut off a spike stays lost.
