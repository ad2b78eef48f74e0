"""Solution of exercise 2: to a Dense unit, order does not matter."""

import numpy as np


def shuffled(x, W, perm):
    return x[perm], W[perm]


def in_order_again(x_shuffled, perm):
    x = np.zeros(len(x_shuffled))
    x[perm] = x_shuffled  # or: return x_shuffled[np.argsort(perm)]
    return x
