"""Exercise 6: several kernels make several feature maps.

Each kernel looks for a feature of its own. All slide over the same series, and each makes one map.
tinynn keeps the maps in the LAST axis: y[j, k] is the match of kernel k at location j.

As in exercise 3 there is no padding: the maps are shorter than the series.

Fill in each `...`, then run: python 06_several_features.py
"""

import numpy as np


def feature_maps(x, kernels):
    """Return the match of each kernel at each location: shape (n - f + 1, features).

    x: the series, shape (n,).  kernels: shape (f, features); kernel k is kernels[:, k].
    """
    return ...


def best_feature(y):
    """Return, for each location, the number of the kernel that matches best there.

    y: the feature maps, shape (locations, features).
    """
    return ...


if __name__ == "__main__":
    from _session3 import several_features  # needs _session3.py and _checking.py in the same folder

    several_features.check(globals())
