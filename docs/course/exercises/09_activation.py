"""Exercise 9: the activation, and its linear default.

NOTE: the default activation of Dense and Conv1d is "linear", in tinynn as in Keras: the dot product
is returned UNCHANGED. So always write the activation.

Two linear layers in a row can do no more than one. The second part shows it.

Fill in each `...`, then run: python 09_activation.py
"""

import numpy as np


def activated(z, activation=...):
    """Return a(z) for the activation "linear", "relu" or "sigmoid"; write the default above too.

    z: an array of dot products.
    """
    if activation == "linear":
        return ...
    if activation == "relu":
        return ...
    if activation == "sigmoid":
        return ...
    raise ValueError(f"unknown activation {activation!r}")


def merged(W1, b1, W2, b2):
    """Return (W, b) of the one linear layer that does what two do, one after the other.

    The two compute (x @ W1 + b1) @ W2 + b2, and the one computes x @ W + b.
    W1: shape (n, m).  b1: (m,).  W2: (m, k).  b2: (k,).  W: (n, k).  b: (k,).
    """
    W = ...
    b = ...
    return W, b


if __name__ == "__main__":
    from _session4 import activation  # needs _session4.py and _checking.py in the same folder

    activation.check(globals())
