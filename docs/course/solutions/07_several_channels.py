"""Solution of exercise 7: several input channels."""

import numpy as np


def feature_map(x, kernel):
    f = len(kernel)
    return np.array([np.sum(x[j : j + f] * kernel) for j in range(len(x) - f + 1)])


def kernel_shape(f, channels, features):
    return f, channels, features
