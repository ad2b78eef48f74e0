"""Solution of exercise 16: how good is a detector?"""


def counted(true_times, found_times, tolerance):
    free = list(true_times)
    tp = 0
    for t in found_times:
        near = [spike for spike in free if abs(t - spike) <= tolerance]
        if near:
            tp += 1
            free.remove(near[0])
    fp = len(found_times) - tp
    fn = len(free)
    return tp, fp, fn


def scores(tp, fp, fn):
    precision = tp / (tp + fp)
    recall = tp / (tp + fn)
    f1 = 2 * precision * recall / (precision + recall)
    return precision, recall, f1
