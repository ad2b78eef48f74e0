"""Exercise 2: to a Dense unit, order does not matter.

Shuffle the inputs, and shuffle the weights in the same way. Each input still meets its own weight,
so the sum stays the same. For a Dense unit, neighbours mean nothing.

Fill in each `...`, then run: python 02_order.py
"""

import numpy as np


def shuffled(x, W, perm):
    """Return (x, W) in another order that leaves the dot product as it was.

    perm: the indices 0 ... n - 1 in a random order. The new x begins with x[perm[0]].
    """
    return ...


def in_order_again(x_shuffled, perm):
    """Return x, if x_shuffled is x[perm].

    The first value of x_shuffled goes to index perm[0], the second one to perm[1], and so on.
    """
    x = np.zeros(len(x_shuffled))
    ...
    return x


if __name__ == "__main__":
    from _session1 import order  # needs _session1.py and _checking.py in the same folder

    order.check(globals())
