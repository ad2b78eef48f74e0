"""Exercise 4: the neighbourhood of a location.

The lecture writes N(y, W, j) for the f values CENTRED at location j, where f is the size of the
kernel W. Near the ends some of them lie beyond the series. There the lecture puts zeros.

The lecture counts locations from 1. Python counts from 0, and so does this exercise.

Fill in each `...`, then run: python 04_neighbourhood.py
"""

import numpy as np


def neighbourhood(x, f, j):
    """Return the f values of the series that are centred at location j; 0 beyond its ends.

    x: the series, shape (n,).  f: an odd number.  j: a location from 0 to n - 1.
    """
    values = np.zeros(f)
    for k in range(f):
        i = ...  # the location of the k-th value
        if ...:  # is there such a location?
            values[k] = x[i]
    return values


def feature_map(x, kernel):
    """Return the match of the kernel at EACH location: the map is as long as the series."""
    return np.array([... for j in range(len(x))])


if __name__ == "__main__":
    from _session2 import neighbours  # needs _session2.py and _checking.py in the same folder

    neighbours.check(globals())
