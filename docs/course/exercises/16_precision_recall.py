"""Exercise 16: how good is a detector?

A found event is right if it lies within the tolerance of a true spike that no other event has
taken. Precision is the share of found events that are right. Recall is the share of true spikes
that were found. F1 is the harmonic mean of the two.

Fill in each `...`, then run: python 16_precision_recall.py
"""


def counted(true_times, found_times, tolerance):
    """Return (tp, fp, fn): right events, false alarms, missed spikes.

    Both lists of times are in increasing order. A distance of exactly the tolerance is allowed.
    """
    free = list(true_times)  # the true spikes that no event has taken yet
    tp = 0
    for t in found_times:
        near = [spike for spike in free if ...]
        if near:
            tp += 1
            ...  # the first of them is taken now
    fp = ...
    fn = ...
    return tp, fp, fn


def scores(tp, fp, fn):
    """Return (precision, recall, f1).  tp is at least 1."""
    precision = ...
    recall = ...
    f1 = ...
    return precision, recall, f1


if __name__ == "__main__":
    from _session7 import precision_recall  # needs _session7.py and _checking.py in the same folder

    precision_recall.check(globals())
