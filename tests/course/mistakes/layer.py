"""Typical mistakes in exercises 9 to 11, as a student would write them."""

import numpy as np


class _09_activation:
    def activated__relu_by_default(z, activation="relu"):
        '''the default is "relu"'''
        if activation == "linear":
            return z
        if activation == "relu":
            return np.maximum(z, 0)
        return 1 / (1 + np.exp(-z))

    def activated__absolute(z, activation="linear"):
        """takes the absolute value"""
        if activation == "linear":
            return z
        if activation == "relu":
            return abs(z)
        return 1 / (1 + np.exp(-z))

    def activated__max(z, activation="linear"):
        """the largest value of z alone"""
        if activation == "linear":
            return z
        if activation == "relu":
            return max(0, np.max(z))
        return 1 / (1 + np.exp(-z))

    def activated__falls(z, activation="linear"):
        """falls where it should rise"""
        if activation == "linear":
            return z
        if activation == "relu":
            return z * (z > 0)
        return 1 / (1 + np.exp(z))

    def activated__required(z, activation):
        """there is no default"""
        return z if activation == "linear" else np.maximum(z, 0)

    def merged__bias_added(W1, b1, W2, b2):
        """b1 does not pass the second layer"""
        return W1 @ W2, b1 + b2

    def merged__no_b1(W1, b1, W2, b2):
        """b1 is forgotten"""
        return W1 @ W2, b2

    def merged__elementwise(W1, b1, W2, b2):
        """multiplied element by element"""
        return W1 * W2, b1 @ W2 + b2


class _10_shift:
    def shifted__circle(x, steps):
        """what drops out at the end comes in"""
        return np.roll(x, steps)

    def shifted__left(x, steps):
        """the series moves to the left"""
        y = np.zeros(len(x))
        y[: len(x) - steps] = x[steps:]
        return y

    def shifted__raised(x, steps):
        """the values are raised, not moved"""
        return x + steps

    def shifted__empty(x, steps):
        """for 0 steps nothing is left"""
        y = np.zeros(len(x))
        y[steps:] = x[:-steps]
        return y

    def shifted__cut(x, steps):
        """the series does not move"""
        y = np.zeros(len(x))
        y[steps:] = x[steps:]
        return y

    def shifted__longer(x, steps):
        """longer than the series"""
        return np.append(np.zeros(steps), x)

    def moves_along__invariance(layer, x, steps):
        """whether the map stays, not whether it moves along"""
        moved = np.append(np.zeros(steps), x)[: len(x)]
        return np.allclose(layer(moved), layer(x))

    def moves_along__always(layer, x, steps):
        """it is always True"""
        return np.allclose(layer(x), layer(x))


class _11_counting:
    def dense_parameters__no_bias(inputs, units):
        """the biases are forgotten"""
        return inputs * units

    def dense_parameters__one_bias(inputs, units):
        """one bias for the whole layer"""
        return inputs * units + 1

    def conv1d_parameters__no_channels(f, channels, filters):
        """the channels are forgotten"""
        return (f + 1) * filters

    def conv1d_parameters__bias_of_channels(f, channels, filters):
        """a bias for each channel and filter"""
        return (f + 1) * channels * filters

    def without_sharing__same(n, f):
        """the map is taken to be as long as the series"""
        return n * f

    def without_sharing__shared(n, f):
        """one kernel for all locations"""
        return f
