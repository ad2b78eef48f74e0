"""Exercise 1: a Dense unit is a dot product.

A Dense layer with a single unit holds one pattern, its weights W, as long as its input x. It
multiplies each input by its weight and adds up. The sum is one number, and it is large where the
input looks like the pattern.

Fill in each `...`, then run: python 01_dot_product.py
"""

import numpy as np


def unit(x, W):
    """Return how well the pattern matches the input: one number.

    x: the input, shape (n,).  W: the pattern, shape (n,).
    """
    return ...


def pattern_for(spike, start, n):
    """Return the pattern of n weights that looks for a spike at one place, and nowhere else.

    The weights are those of the spike from index `start` on, and 0 elsewhere.
    spike: its values, shape (f,).  start: the index of its first value.
    """
    W = np.zeros(n)
    ...
    return W


if __name__ == "__main__":
    from _session1 import dot_product  # needs _session1.py and _checking.py in the same folder

    dot_product.check(globals())
