"""Exercise 8: the bias.

NOTE: Dense and Conv1d add a BIAS by default, one number for each feature. The lecture's formulas
leave it out. use_bias=False does so in tinynn.

The bias works as a threshold: with the activation relu, only a match above -bias passes.

Fill in each `...`, then run: python 08_bias.py
"""

import numpy as np


def layer(x, kernels, bias):
    """Return the match of each kernel at each location, plus the kernel's bias.

    x: shape (n,).  kernels: shape (f, features).  bias: shape (features,).
    Returns shape (n - f + 1, features).
    """
    f = len(kernels)
    windows = np.array([x[j : j + f] for j in range(len(x) - f + 1)])  # (locations, f)
    return ...


def bias_for(threshold):
    """Return the bias that turns a match of exactly `threshold` into 0."""
    return ...


if __name__ == "__main__":
    from _session3 import bias  # needs _session3.py and _checking.py in the same folder

    bias.check(globals())
