"""Typical mistakes in exercises 15 to 17, as a student would write them."""

import numpy as np

import tinynn as tnn


class _15_events:
    def events__all_above(score, threshold):
        """every sample above the threshold is an event"""
        found = []
        for j in range(1, len(score) - 1):
            if score[j] > threshold:
                found.append(j)
        return np.array(found, dtype=int)

    def events__no_threshold(score, threshold):
        """peaks below the threshold count as well"""
        found = []
        for j in range(1, len(score) - 1):
            if score[j] > score[j - 1] and score[j] > score[j + 1]:
                found.append(j)
        return np.array(found, dtype=int)

    def events__sliced(score, threshold):
        """all locations are one too small"""
        middle = score[1:-1]
        return np.where((middle > score[:-2]) & (middle > score[2:]) & (middle > threshold))[0]

    def events__heights(score, threshold):
        """the heights are returned"""
        found = []
        for j in range(1, len(score) - 1):
            if score[j - 1] < score[j] > score[j + 1] and score[j] > threshold:
                found.append(score[j])
        return np.array(found, dtype=int)

    def events__rising(score, threshold):
        """where the score rises above the threshold"""
        found = []
        for j in range(1, len(score) - 1):
            if score[j - 1] <= threshold < score[j]:
                found.append(j)
        return np.array(found, dtype=int)

    def events__or(score, threshold):
        """a peak above one neighbour is enough"""
        found = []
        for j in range(1, len(score) - 1):
            larger = score[j] > score[j - 1] or score[j] > score[j + 1]
            if larger and score[j] > threshold:
                found.append(j)
        return np.array(found, dtype=int)

    def log_odds__odds(p):
        """odds without the logarithm"""
        return p / (1 - p)

    def log_odds__log(p):
        """the log of the probability"""
        return np.log(p)


def tally(true_times, found_times, is_near, removes=True):
    free, tp = list(true_times), 0
    for t in found_times:
        near = [spike for spike in free if is_near(t, spike)]
        if near:
            tp += 1
            if removes:
                free.remove(near[0])
    return tp, free


class _16_precision_recall:
    def counted__twice(true_times, found_times, tolerance):
        """two events may take the same spike"""
        tp, _ = tally(true_times, found_times, lambda t, s: abs(t - s) <= tolerance, removes=False)
        return tp, len(found_times) - tp, len(true_times) - tp

    def counted__strict(true_times, found_times, tolerance):
        """exactly the tolerance is refused"""
        tp, free = tally(true_times, found_times, lambda t, s: abs(t - s) < tolerance)
        return tp, len(found_times) - tp, len(free)

    def counted__no_abs(true_times, found_times, tolerance):
        """every event before the spike is accepted"""
        tp, free = tally(true_times, found_times, lambda t, s: t - s <= tolerance)
        return tp, len(found_times) - tp, len(free)

    def counted__swapped(true_times, found_times, tolerance):
        """false alarms and missed spikes are swapped"""
        tp, free = tally(true_times, found_times, lambda t, s: abs(t - s) <= tolerance)
        return tp, len(free), len(found_times) - tp

    def scores__swapped(tp, fp, fn):
        """precision and recall are swapped"""
        return tp / (tp + fn), tp / (tp + fp), 2 * tp / (2 * tp + fp + fn)

    def counted__first(true_times, found_times, tolerance):
        """the first free spike is taken, not the near one"""
        free, tp = list(true_times), 0
        for t in found_times:
            near = [spike for spike in free if abs(t - spike) <= tolerance]
            if near:
                tp += 1
                free.pop(0)
        return tp, len(found_times) - tp, len(free)

    def scores__of_wrong(tp, fp, fn):
        """right ones are divided by wrong ones"""
        precision, recall = tp / fp, tp / fn
        return precision, recall, 2 * precision * recall / (precision + recall)

    def scores__mean(tp, fp, fn):
        """F1 is the ordinary mean"""
        precision, recall = tp / (tp + fp), tp / (tp + fn)
        return precision, recall, (precision + recall) / 2

    def scores__no_two(tp, fp, fn):
        """F1 lacks its 2"""
        precision, recall = tp / (tp + fp), tp / (tp + fn)
        return precision, recall, precision * recall / (precision + recall)


def loss(score, label):
    return tnn.losses.binary_crossentropy(score, label, from_logits=True)


def trained(model, x, y, optimizer, epochs=10):
    return tnn.fit(
        model, x, y, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=16, rng=0,
        progress=False,
    )  # fmt: skip


class _17_detector:
    def make_model__valid(taps):
        """the padding is "valid", the default"""
        return tnn.Conv1d(1, 1, taps)

    def make_model__sigmoid(taps):
        """the activation is 'sigmoid'"""
        return tnn.Conv1d(1, 1, taps, padding="same", activation="sigmoid")

    def make_model__dense(taps):
        """a Dense layer"""
        return tnn.Dense(500, 1)

    def make_model__features(taps):
        """1 channels in and 25 features out"""
        return tnn.Conv1d(1, taps, 3, padding="same")

    def loss__probabilities(score, label):
        """from_logits is forgotten"""
        return tnn.losses.binary_crossentropy(score, label)

    def loss__squares(score, label):
        """a squared error"""
        return tnn.losses.mean_squared_error(score, label)

    def train__slow(model, x, y):
        """it learns too slowly"""
        return trained(model, x, y, tnn.SGD(model.parameters()))

    def train__short(model, x, y):
        """it ends too early"""
        return trained(model, x, y, tnn.SGD(model.parameters(), 1.0), epochs=1)

    def train__long_steps(model, x, y):
        """the steps are too long"""
        return trained(model, x, y, tnn.SGD(model.parameters(), 200.0, momentum=0.9))

    def train__of_another(model, x, y):
        """the kernel has not moved"""
        before = model.state_dict()
        history = trained(model, x, y, tnn.SGD(model.parameters(), 1.0), epochs=1)
        model.load_state_dict(before)
        return history

    def choose_threshold__zero(model, recording):
        """the threshold is 0"""
        return 0.0

    def choose_threshold__pair(model, recording):
        """the threshold and the Match came back together"""
        score = tnn.predict(model, recording.x)
        return tnn.spikes.best_threshold(score, recording.times, tolerance=2, exclusion=12)
