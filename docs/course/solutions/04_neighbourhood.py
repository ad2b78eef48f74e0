"""Solution of exercise 4: the neighbourhood of a location."""

import numpy as np


def neighbourhood(x, f, j):
    values = np.zeros(f)
    for k in range(f):
        i = j - f // 2 + k
        if 0 <= i < len(x):
            values[k] = x[i]
    return values


def feature_map(x, kernel):
    return np.array([neighbourhood(x, len(kernel), j) @ kernel for j in range(len(x))])
