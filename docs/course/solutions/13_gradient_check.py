"""Solution of exercise 13: check a gradient."""

import numpy as np


def numeric_gradient(f, x, eps=1e-5):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += eps
        down[index] -= eps
        gradient[index] = (f(up) - f(down)) / (2 * eps)
    return gradient


def relative_error(analytic, numeric):
    return np.abs(analytic - numeric).max() / np.abs(numeric).max()
