"""Exercise 3: slide the kernel.

A kernel is a small pattern of f weights. It is laid on the first f values of the series, and their
dot product is the first value of the feature map. Then the kernel moves on by one location.

NOTE: here the kernel stays INSIDE the series. This is padding "valid", the default of Conv1d.
The map is SHORTER than the series. The lecture's map is as long as its input: see exercise 4.

Fill in each `...`, then run: python 03_sliding.py
"""

import numpy as np


def feature_map(x, kernel):
    """Return the match of the kernel at each location where it fits into the series.

    x: the series, shape (n,).  kernel: shape (f,), with f <= n.
    """
    n, f = len(x), len(kernel)
    y = np.zeros(...)  # how many locations are there?
    for j in range(len(y)):
        y[j] = ...  # the dot product of the kernel and the f values that begin at j
    return y


if __name__ == "__main__":
    from _session2 import sliding  # needs _session2.py and _checking.py in the same folder

    sliding.check(globals())
