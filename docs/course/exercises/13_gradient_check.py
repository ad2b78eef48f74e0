"""Exercise 13: check a gradient.

Move one element of x a little up and a little down. The difference of the two results, divided by
the distance of the two points, is the slope along this element. So any gradient can be checked.

Fill in each `...`, then run: python 13_gradient_check.py
"""

import numpy as np


def numeric_gradient(f, x, eps=1e-5):
    """Return the gradient of f at x by central differences, in the shape of x.

    f: a function of an array that returns one number.  x: an array of any shape.
    """
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        ...  # move ONE element of each, at `index`, by eps
        gradient[index] = ...
    return gradient


def relative_error(analytic, numeric):
    """Return the largest difference of two gradients, over the largest size of the numeric one."""
    return ...


if __name__ == "__main__":
    from _session5 import gradient_check  # needs _session5.py and _checking.py in the same folder

    gradient_check.check(globals())
