"""Solution of exercise 11: how many numbers does a layer learn?"""


def dense_parameters(inputs, units):
    return inputs * units + units


def conv1d_parameters(f, channels, filters):
    return f * channels * filters + filters


def without_sharing(n, f):
    return (n - f + 1) * f
