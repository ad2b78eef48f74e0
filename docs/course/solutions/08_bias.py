"""Solution of exercise 8: the bias."""

import numpy as np


def layer(x, kernels, bias):
    f = len(kernels)
    windows = np.array([x[j : j + f] for j in range(len(x) - f + 1)])  # (locations, f)
    return windows @ kernels + bias


def bias_for(threshold):
    return -threshold
