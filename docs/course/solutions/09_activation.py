"""Solution of exercise 9: the activation, and its linear default."""

import numpy as np


def activated(z, activation="linear"):
    if activation == "linear":
        return z
    if activation == "relu":
        return np.maximum(z, 0)
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-z))
    raise ValueError(f"unknown activation {activation!r}")


def merged(W1, b1, W2, b2):
    W = W1 @ W2
    b = b1 @ W2 + b2
    return W, b
