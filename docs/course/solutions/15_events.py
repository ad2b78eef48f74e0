"""Solution of exercise 15: from a score to events."""

import numpy as np


def events(score, threshold):
    found = []
    for j in range(1, len(score) - 1):
        if score[j] > threshold and score[j - 1] < score[j] > score[j + 1]:
            found.append(j)
    return np.array(found, dtype=int)


def log_odds(p):
    return np.log(p / (1 - p))
