"""Exercise 11: how many numbers does a layer learn?

A Dense unit has a weight for each input. A kernel is shared by all locations, so the length of the
series does not enter at all. Biases count too: there is one for each unit, and one for each filter.

Fill in each `...`, then run: python 11_counting.py
"""


def dense_parameters(inputs, units):
    """Return how many weights and biases Dense(inputs, units) has."""
    return ...


def conv1d_parameters(f, channels, filters):
    """Return how many weights and biases Conv1d(channels, filters, f) has."""
    return ...


def without_sharing(n, f):
    """Return how many weights there are if each location has a kernel of its own.

    One channel, one feature, no bias, no padding: a series of n values and kernels of f weights.
    """
    return ...


if __name__ == "__main__":
    from _session4 import counting  # needs _session4.py and _checking.py in the same folder

    counting.check(globals())
