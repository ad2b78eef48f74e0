"""Solution of exercise 6: several kernels make several feature maps."""

import numpy as np


def feature_maps(x, kernels):
    f = len(kernels)
    return np.array([x[j : j + f] @ kernels for j in range(len(x) - f + 1)])


def best_feature(y):
    return y.argmax(axis=1)
