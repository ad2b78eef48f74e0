"""Exercise 7: several input channels.

The input of a second layer is the feature maps of the first, and a recording may come from several
wires. The values at one location are its channels. A kernel then has a weight for each value AND
each channel, and all products are added up: still one number for each location.

Fill in each `...`, then run: python 07_several_channels.py
"""

import numpy as np


def feature_map(x, kernel):
    """Return the match of the kernel at each location where it fits: shape (n - f + 1,).

    x: the series, shape (n, channels).  kernel: shape (f, channels).
    """
    return ...


def kernel_shape(f, channels, features):
    """Return the shape of the kernel array of a whole Conv1d layer: three numbers.

    The axes are in tinynn's order: value of the window, input channel, output feature.
    """
    return ...


if __name__ == "__main__":
    from _session3 import several_channels  # needs _session3.py and _checking.py in the same folder

    several_channels.check(globals())
