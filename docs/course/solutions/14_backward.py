"""Solution of exercise 14: the backward pass of Conv1d, by hand."""

import numpy as np


def forward(x, kernel, bias):
    f = len(kernel)
    locations = x.shape[1] - f + 1
    y = np.zeros((len(x), locations, kernel.shape[2]))
    for k in range(f):
        y += x[:, k : k + locations] @ kernel[k]
    return y + bias, (x, kernel)


def backward(dy, cache):
    x, kernel = cache
    locations = dy.shape[1]
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for k in range(len(kernel)):
        dx[:, k : k + locations] += dy @ kernel[k].T
        dkernel[k] = np.einsum("bjc,bjo->co", x[:, k : k + locations], dy)
    dbias = dy.sum(axis=(0, 1))
    return dx, dkernel, dbias
