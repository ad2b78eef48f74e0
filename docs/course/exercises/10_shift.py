"""Exercise 10: a feature may be anywhere.

Move the spike, and its peak in the feature map moves along by as many locations. That follows from
using the same kernel at all locations. It is called equivariance. A Dense layer lacks it.

Fill in each `...`, then run: python 10_shift.py
"""

import numpy as np


def shifted(x, steps):
    """Return the series, `steps` locations later. Zeros come in, and the last values drop out.

    x: shape (n,).  steps: from 0 to n. x[0] goes to index `steps`.
    """
    y = np.zeros(len(x))
    ...
    return y


def moves_along(layer, x, steps):
    """Tell whether a shift before the layer does what a shift behind it does: True or False.

    layer: a function of a series that returns a map of the same length.
    Call shifted(...) and layer(...), and compare with np.allclose(a, b).
    """
    shift_first = ...
    layer_first = ...
    return np.allclose(shift_first, layer_first)


if __name__ == "__main__":
    from _session4 import shift  # needs _session4.py and _checking.py in the same folder

    shift.check(globals())
