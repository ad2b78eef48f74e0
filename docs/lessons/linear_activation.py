r"""
The default activation is linear
================================

A layer computes dot products, adds a bias and gives each sum to its activation :math:`a_{(l)}`. If
you choose none, ``Conv1d`` and ``Dense`` take ``activation="linear"``, as in Keras: the sum is
passed on unchanged.

**Claim.** Two linear layers in a row can do no more than one. An activation such as ReLU between
them makes the difference.
"""

# %%
# In code
# -------
# A spike may point up or down, and both count. The first layer has two kernels: the spike, and the
# spike turned over. The second layer adds the two maps.

import numpy as np

import tinynn as tnn

spike = tnn.spikes.waveform("biphasic", 25)


def model(activation):
    first = tnn.Conv1d(1, 2, 25, padding="same", activation=activation, use_bias=False)
    second = tnn.Conv1d(2, 1, 1, activation="linear", use_bias=False)
    first.kernel.data[:, 0, 0], first.kernel.data[:, 0, 1] = spike, -spike
    second.kernel.data[:] = 1.0
    return tnn.Sequential(first, second)


up_and_down = np.zeros((120, 1), "float32")
up_and_down[18:43, 0], up_and_down[78:103, 0] = 5 * spike, -5 * spike
for activation in ("linear", "relu"):
    score = model(activation)(up_and_down).numpy()
    print(f"{activation}: {score[30, 0]:.2f} for the spike up, {score[90, 0]:.2f} for down")

# %%
# The picture
# -----------

# Drawing
# A spike up and one down; linear maps whose sum is flat; ReLU maps whose sum has two peaks
import matplotlib.pyplot as plt

page, axes = tnn.plots.figure(3, height=1.35, sharex=True)
axes[0].plot(up_and_down, color=tnn.plots.INK)
axes[0].set_title("A spike up, and a spike down", loc="left", fontsize=10)
for ax, activation in zip(axes[1:], ("linear", "relu"), strict=True):
    first, second = model(activation)
    maps = first(up_and_down).numpy()
    looks = (
        (tnn.plots.BLUE, "--", "map of the spike"),
        (tnn.plots.GREEN, ":", "map of its reverse"),
    )
    for k, (color, line, label) in enumerate(looks):
        ax.plot(maps[:, k], line, color=color, lw=1.2, label=label)
    ax.plot(second(maps).numpy(), color=tnn.plots.ORANGE, label="their sum, the output")
    ax.set_ylim(-6, 6.5)
    ax.set_title(f'activation="{activation}"', loc="left", fontsize=10)
axes[1].legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.62, 1.28))
axes[2].set_xlabel("location")
plt.show()

# %%
# In the middle, the linear layers. The two maps are each other's negative. Their sum is zero
# everywhere: what one kernel gains, the other loses. Training could choose other weights, but not a
# way out. Two linear layers are one linear layer, and a linear score that rises for a spike up
# falls for a spike down.
#
# Below, ReLU. It keeps what is positive and sets the rest to zero. Each map keeps its own matches,
# and the sum rises for both spikes.

# %%
# Change this: what do you expect?
# --------------------------------
# Give the first layer a bias of -2: ``use_bias=True`` and ``first.bias.data[:] = -2``. What changes
# in the lower panel?
#
# .. admonition:: Answer
#    :collapsible: closed
#
#    Both maps sink by 2 before ReLU cuts them off. The peaks are 3 instead of 5, and the small
#    ripples beside them vanish. A bias in front of ReLU is a threshold: what matches less than
#    that counts as nothing. In a linear layer it only moves the whole map down.

# %%
# The whole experiment
# --------------------
# One linear layer, two linear layers and two layers with ReLU are trained on spikes up and down.
# Both linear models find one direction at best. ReLU finds both.
# ``model.summary((120, 1))`` notes two linear layers in a row.
