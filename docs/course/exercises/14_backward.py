"""Exercise 14: the backward pass of Conv1d, by hand.

The forward pass is given. It returns y, and a cache of what the backward pass needs. The backward
pass gets dy, the gradient of some loss with respect to y. It returns the gradients of that loss
with respect to x, kernel and bias, each in the shape of its array.

Your teacher is tinynn.testing.check_backward. It compares with numeric gradients (exercise 13), and
asks what you may have computed instead.

Fill in each `...`, then run: python 14_backward.py
"""

import numpy as np


def forward(x, kernel, bias):
    """Return (y, cache).  Padding "valid": y is shorter than x.

    x: (batch, n, channels).  kernel: (f, channels, features).  bias: (features,).
    y: (batch, n - f + 1, features).
    """
    f = len(kernel)
    locations = x.shape[1] - f + 1
    y = np.zeros((len(x), locations, kernel.shape[2]))
    for k in range(f):  # the k-th weight meets the inputs k, k + 1, k + 2, ...
        y += x[:, k : k + locations] @ kernel[k]
    return y + bias, (x, kernel)


def backward(dy, cache):
    """Return (dx, dkernel, dbias) for dy, which has the shape of y."""
    x, kernel = cache
    locations = dy.shape[1]
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for k in range(len(kernel)):
        dx[:, k : k + locations] += ...
        dkernel[k] = ...  # a sum over the batch and all locations
    dbias = ...
    return dx, dkernel, dbias


if __name__ == "__main__":
    from _session6 import backward_pass  # needs _session6.py and _checking.py in the same folder

    backward_pass.check(globals())
