"""Typical mistakes in exercises 12 to 14, as a student would write them."""

import numpy as np


class _12_loss_and_step:
    def loss__sum(prediction, target):
        """a sum, where the mean belongs"""
        return sum((p - t) ** 2 for p, t in zip(prediction, target, strict=True))

    def loss__not_squared(prediction, target):
        """the errors are not squared"""
        return np.mean(prediction - target)

    def gradients__no_mean(x, prediction, target):
        """not divided by the size of the batch"""
        d = 2 * (prediction - target)
        return x.T @ d, np.sum(d)

    def gradients__no_two(x, prediction, target):
        """the 2 of the square is missing"""
        d = (prediction - target) / len(target)
        return x.T @ d, np.sum(d)

    def gradients__sign(x, prediction, target):
        """the sign is wrong"""
        d = 2 * (target - prediction) / len(target)
        return x.T @ d, np.sum(d)

    def gradients__bias_not_summed(x, prediction, target):
        """db is not summed over the batch"""
        d = 2 * (prediction - target) / len(target)
        return x.T @ d, d

    def gradients__wrong_side(x, prediction, target):
        """x stands on the wrong side"""
        d = 2 * (prediction - target) / len(target)
        return x @ d, np.sum(d)

    def gradients__wrong_axis(x, prediction, target):
        """dW is summed over the weights, not over the batch"""
        d = 2 * (prediction - target) / len(target)
        return np.sum(d * x.T, axis=0), np.sum(d)

    def step__uphill(W, b, dW, db, learning_rate):
        """the step goes uphill"""
        return W + learning_rate * dW, b + learning_rate * db

    def step__in_place(W, b, dW, db, learning_rate):
        """it changes its argument W"""
        W -= learning_rate * dW
        b -= learning_rate * db
        return W, b


class _13_gradient_check:
    def numeric_gradient__one_sided(f, x, eps=1e-5):
        """a one-sided difference, upwards"""
        gradient = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            up = x.copy()
            up[index] += eps
            gradient[index] = (f(up) - f(x)) / eps
        return gradient

    def numeric_gradient__once_eps(f, x, eps=1e-5):
        """the distance of the two points is 2 * eps"""
        gradient = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            up, down = x.copy(), x.copy()
            up[index] += eps
            down[index] -= eps
            gradient[index] = (f(up) - f(down)) / eps
        return gradient

    def numeric_gradient__all(f, x, eps=1e-5):
        """all elements move at once"""
        gradient = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            gradient[index] = (f(x + eps) - f(x - eps)) / (2 * eps)
        return gradient

    def numeric_gradient__brackets(f, x, eps=1e-5):
        """multiplied by eps where it should be divided"""
        gradient = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            up, down = x.copy(), x.copy()
            up[index] += eps
            down[index] -= eps
            gradient[index] = (f(up) - f(down)) / 2 * eps
        return gradient

    def numeric_gradient__stays(f, x, eps=1e-5):
        """each element stays where it was moved"""
        gradient = np.zeros(x.shape)
        up = x.copy()
        for index in np.ndindex(x.shape):
            up[index] += eps
            high = f(up)
            up[index] -= 2 * eps
            gradient[index] = (high - f(up)) / (2 * eps)
        return gradient

    def numeric_gradient__in_x(f, x, eps=1e-5):
        """it changes its argument x"""
        gradient = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            old = x[index]
            x[index] = old + eps
            high = f(x)
            x[index] = old - eps
            gradient[index] = (high - f(x)) / (2 * eps)
            x[index] = old
        x += 1
        return gradient

    def numeric_gradient__first(f, x, eps=1e-5):
        """it is always the first element that moves"""
        gradient = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            up, down = x.copy(), x.copy()
            up[0] += eps
            down[0] -= eps
            gradient[index] = (f(up) - f(down)) / (2 * eps)
        return gradient

    def relative_error__absolute(analytic, numeric):
        """not compared with any size"""
        return np.max(np.abs(analytic - numeric))

    def relative_error__elementwise(analytic, numeric):
        """the largest of the quotients"""
        return np.max(np.abs((analytic - numeric) / numeric))


def passed_back(dy, cache, share, gradient, bias):
    """Return three gradients, each from a rule of its own."""
    x, kernel = cache
    locations = dy.shape[1]
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for k in range(len(kernel)):
        share(dx, k, dy, kernel, locations)
        dkernel[k] = gradient(x[:, k : k + locations], dy)
    return dx, dkernel, bias(dy)


def share(dx, k, dy, kernel, locations):
    dx[:, k : k + locations] += dy @ kernel[k].T


def gradient(x, dy):
    return np.tensordot(x, dy, axes=([0, 1], [0, 1]))


def bias(dy):
    return dy.sum(axis=(0, 1))


class _14_backward:
    def backward__flipped(dy, cache):
        """in dx the kernel is turned round"""

        def flipped(dx, k, dy, kernel, locations):
            dx[:, k : k + locations] += dy @ kernel[len(kernel) - 1 - k].T

        return passed_back(dy, cache, flipped, gradient, bias)

    def backward__overwritten(dy, cache):
        """dx is overwritten, not added to"""

        def overwritten(dx, k, dy, kernel, locations):
            dx[:, k : k + locations] = dy @ kernel[k].T

        return passed_back(dy, cache, overwritten, gradient, bias)

    def backward__bias_of_each_sample(dy, cache):
        """dbias is not summed over the batch"""
        return passed_back(dy, cache, share, gradient, lambda dy: dy.sum(axis=1))

    def backward__first_sample(dy, cache):
        """in dkernel only the first sample of the batch counts"""
        return passed_back(dy, cache, share, lambda x, dy: x[0].T @ dy[0], bias)

    def backward__bias_of_first_sample(dy, cache):
        """sum over the batch, too"""
        return passed_back(dy, cache, share, gradient, lambda dy: dy[0].sum(axis=0))

    def backward__bias_of_locations(dy, cache):
        """dbias is not summed over the locations"""
        return passed_back(dy, cache, share, gradient, lambda dy: dy.sum(axis=0))

    def backward__one_bias(dy, cache):
        """keep the last axis"""
        return passed_back(dy, cache, share, gradient, lambda dy: dy.sum())

    def backward__averaged(dy, cache):
        """dkernel is averaged over the batch"""
        return passed_back(dy, cache, share, lambda x, dy: gradient(x, dy) / len(x), bias)

    def backward__not_summed(dy, cache):
        """dkernel is not summed over the batch"""
        x, kernel = cache
        locations = dy.shape[1]
        dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
        for k in range(len(kernel)):
            dx[:, k : k + locations] += dy @ kernel[k].T
            dkernel[k] = x[:, k : k + locations].swapaxes(1, 2) @ dy
        return dx, dkernel, dy.sum(axis=(0, 1))

    def backward__transposed(dy, cache):
        """a matrix product meets the batch axis"""
        x, kernel = cache
        locations = dy.shape[1]
        dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
        for k in range(len(kernel)):
            dx[:, k : k + locations] += dy @ kernel[k].T
            dkernel[k] = x[:, k : k + locations].T @ dy
        return dx, dkernel, dy.sum(axis=(0, 1))

    def backward__not_transposed(dy, cache):
        """in dx the features do not meet the features"""
        x, kernel = cache
        locations = dy.shape[1]
        dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
        for k in range(len(kernel)):
            dx[:, k : k + locations] += dy @ kernel[k]
            dkernel[k] = x[:, k : k + locations].swapaxes(1, 2) @ dy
        return dx, dkernel, dy.sum(axis=(0, 1))

    def backward__bias_mean(dy, cache):
        """dbias is averaged, not summed"""
        return passed_back(dy, cache, share, gradient, lambda dy: dy.mean(axis=(0, 1)))

    def backward__two(dy, cache):
        """2 gradients for 3 inputs"""
        return passed_back(dy, cache, share, gradient, bias)[:2]

    def backward__sign(dy, cache):
        """dx has a flipped sign"""
        dx, dkernel, dbias = passed_back(dy, cache, share, gradient, bias)
        return -dx, dkernel, dbias
