"""Exercise 15: from a score to events.

A spike detector is a kernel that slides over a recording. Its feature map is the score. It is high
at a spike, and somewhat high beside it. An event is a PEAK of the score above a threshold.

Fill in each `...`, then run: python 15_events.py
"""

import numpy as np


def events(score, threshold):
    """Return the locations of the peaks above the threshold.

    A peak is larger than both of its neighbours. The first and the last location are no peaks.
    score: shape (n,).
    """
    found = []
    for j in range(1, len(score) - 1):
        if ...:
            found.append(...)
    return np.array(found, dtype=int)


def log_odds(p):
    """Return log(p / (1 - p)), the score of a detector that believes in a spike with probability p.

    A sigmoid turns the score into p again. At p = 1/2 the score is 0.
    """
    return ...


if __name__ == "__main__":
    from _session7 import spike_events  # needs _session7.py and _checking.py in the same folder

    spike_events.check(globals())
