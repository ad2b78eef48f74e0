r"""
Sliding the kernel: the feature map
===================================

A convolutional layer does three steps at every location :math:`j`:

1. select the neighbourhood :math:`N(\mathbf{y}_{(l-1)}, \mathbf{W}_{(l)}, j)`: the
   :math:`f_{(l)}` inputs centred at :math:`j`;
2. multiply each input by the weight that lies over it, and add up: a dot product;
3. apply the activation :math:`a_{(l)}`. Here it is linear and changes nothing.

The result has one number for each location. It is called the **feature map**.

**Claim.** The map is large where the input looks like the kernel, and the same weights serve every
location.
"""

# %%
# In code
# -------
# The loop does the three steps by hand. The layer does the same.

import numpy as np

import tinynn as tnn

x = np.array([0, 0.3, 1, 3, -1, 0.2, -0.4, 0, 0.1, -0.2, 1, 3, -1, 0.4], "float32")
layer = tnn.Conv1d(1, 1, kernel_size=3, padding="same", activation="linear", use_bias=False)
layer.kernel.data[:, 0, 0] = weights = 0.5, 1.0, -0.5  # a rise, a peak, a dip

padded = np.pad(x, 1)  # one zero at each end: location 0 has a left neighbour too
by_hand = [padded[j : j + 3] @ weights for j in range(14)]  # N(y, W, j) . W

y = layer(x[:, None]).numpy()[:, 0]
print("feature map:", y.round(2))
print("by hand, the same:", np.allclose(y, by_hand))
print("largest at locations", np.argsort(y)[-2:])

# %%
# The picture
# -----------

# Drawing
# The series with a shaded neighbourhood, the kernel and its products, and the feature map
import matplotlib.pyplot as plt

page = tnn.plots.sliding(x, np.array(weights), position=3)
plt.show()

# %%
# The kernel stands at location 3, where the spike has its peak. Above, the shaded box is the
# neighbourhood of location 3: the samples at 2, 3 and 4. In the middle the kernel lies over it. The
# bars are the three products. Below, their sum is the orange point, 4.0: one entry of the feature
# map. The kernel slides on, and fills the map from left to right.
#
# The map is large at locations 3 and 11 and small elsewhere. So it says *where* the pattern is.

# %%
# Change this: what do you expect?
# --------------------------------
# Move the input by four samples, ``np.roll(x, 4)``. What happens to the feature map?
#
# .. admonition:: Answer
#    :collapsible: closed
#
#    The map moves by four samples too, and its values stay the same. (At the ends they differ,
#    because zeros stand there instead of neighbours.) This is called **equivariance**. It follows
#    from the shared weights: what the kernel says of a spike does not depend on :math:`j`.

# %%
# The whole experiment
# --------------------
# The script prints the arithmetic location by location, measures equivariance, and can make an
# animation. To drag the kernel yourself, open the page "Slide the kernel".
