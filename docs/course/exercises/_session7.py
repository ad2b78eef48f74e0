"""The checks of exercises 15 and 16. Do your exercises first: what is right is computed here."""

import numpy as np
from _checking import Error, Exercise, Mistake, Part

rng = np.random.default_rng(6)

# ---------------------------------------------------------------- 15

SCORE = np.array([0.0, 1, 5, 2, 0, 3, 4, 3, -6, 1, 0, -2, -1, -3, 0])
PEAKS = [
    {"score": SCORE, "threshold": 2.5},
    {"score": SCORE, "threshold": 0.5},
    {"score": np.array([9.0, 1, 2, 3, 2, 4, 1, 8]), "threshold": 0.0},
    {"score": rng.normal(size=40), "threshold": 0.3},
]
CHANCES = [{"p": 0.1}, {"p": 0.5}, {"p": np.array([0.01, 0.9])}]


def peaks(score, threshold, rule=None, by=0):
    """Return the locations of peaks, or what another rule of (before, here, after) says."""
    rule = rule or (lambda a, b, c: (b > a) & (b > c) & (b > threshold))
    return np.flatnonzero(rule(score[:-2], score[1:-1], score[2:])) + 1 + by


def crossings(score, threshold):
    return peaks(score, threshold, lambda a, b, c: (a <= threshold) & (b > threshold))


spike_events = Exercise(
    "15_events",
    Part(
        "events",
        peaks,
        PEAKS,
        [
            Mistake(
                "every sample above the threshold is an event",
                "A spike lifts several samples, but it is one event: take the peak, larger than "
                "both neighbours.",
                lambda score, threshold: peaks(score, threshold, lambda a, b, c: b > threshold),
            ),
            Mistake(
                "peaks below the threshold count as well",
                "Ask score[j] > threshold too: noise has peaks everywhere.",
                lambda score, threshold: peaks(score, threshold, lambda a, b, c: (b > a) & (b > c)),
            ),
            Mistake(
                "the event is where the score rises above the threshold",
                "That is a sample too early, or several. Take the peak behind it.",
                crossings,
            ),
            Mistake(
                "all locations are one too small",
                "j counts from the first sample of the score. If you sliced score[1:-1], add 1.",
                lambda score, threshold: peaks(score, threshold, by=-1),
            ),
            Mistake(
                "all locations are one too large",
                "The event is at j itself.",
                lambda score, threshold: peaks(score, threshold, by=1),
            ),
            Mistake(
                "the heights are returned, not the locations",
                "Append j, not score[j].",
                lambda score, threshold: score[peaks(score, threshold)].astype(int),
            ),
            Mistake(
                "only the neighbour before is compared",
                "While the score rises, each sample is larger than the one before. Compare with "
                "the one behind too.",
                lambda score, threshold: peaks(
                    score, threshold, lambda a, b, c: (b > a) & (b > threshold)
                ),
            ),
            Mistake(
                "only the neighbour behind is compared",
                "While the score falls, each sample is larger than the one behind. Compare with "
                "the one before too.",
                lambda score, threshold: peaks(
                    score, threshold, lambda a, b, c: (b > c) & (b > threshold)
                ),
            ),
            Mistake(
                "a peak above one neighbour is enough",
                "It must be larger than BOTH: and, not or.",
                lambda score, threshold: peaks(
                    score, threshold, lambda a, b, c: ((b > a) | (b > c)) & (b > threshold)
                ),
            ),
            Mistake(
                "a peak OR a value above the threshold is enough",
                "Both must hold: and, not or.",
                lambda score, threshold: peaks(
                    score, threshold, lambda a, b, c: ((b > a) & (b > c)) | (b > threshold)
                ),
            ),
            Mistake(
                "valleys, where peaks are wanted",
                "A peak is LARGER than its neighbours.",
                lambda score, threshold: peaks(
                    score, threshold, lambda a, b, c: (b < a) & (b < c) & (b > threshold)
                ),
            ),
            Mistake(
                "every location is an event",
                "The condition is always true. In Python, a < b is asked of numbers: score[j].",
                lambda score, threshold: np.arange(1, len(score) - 1),
            ),
        ],
        axes=("event",),
        without=("find_events", "find_peaks", "argrelextrema"),
    ),
    Part(
        "log_odds",
        lambda p: np.log(p / (1 - p)),
        CHANCES,
        [
            Mistake(
                "odds without the logarithm",
                "p / (1 - p) lies above 0. Take its log: then p = 1/2 gives 0.",
                lambda p: p / (1 - p),
            ),
            Mistake(
                "the log of the probability",
                "Divide by 1 - p first.",
                np.log,
            ),
            Mistake(
                "the sigmoid, which goes the other way",
                "The sigmoid turns log-odds into a probability. Here p is given.",
                lambda p: 1 / (1 + np.exp(-p)),
            ),
            Mistake(
                "the sign is wrong",
                "p stands above, 1 - p below.",
                lambda p: np.log((1 - p) / p),
            ),
            Mistake(
                "a logarithm to the base 10",
                "np.log is the natural one.",
                lambda p: np.log10(p / (1 - p)),
            ),
        ],
    ),
    then="Which threshold is best? Count what is found and what is missed.\n"
    "Next: 16_precision_recall.py",
)

# ---------------------------------------------------------------- 16

FOUND = [
    {"true_times": [10, 20, 30, 40], "found_times": [9, 11, 22, 50], "tolerance": 2},
    {"true_times": [10, 20, 30], "found_times": [8, 13, 30], "tolerance": 2},
    {"true_times": [10, 12, 40, 60], "found_times": [11, 13, 39, 41, 42], "tolerance": 2},
    {"true_times": [10, 20], "found_times": [19, 21], "tolerance": 2},
    {"true_times": [5], "found_times": [], "tolerance": 1},
    {"true_times": [], "found_times": [3, 9], "tolerance": 1},
]
COUNTS = [{"tp": 6, "fp": 2, "fn": 4}, {"tp": 9, "fp": 1, "fn": 0}, {"tp": 1, "fp": 5, "fn": 1}]


def tallied(true_times, found_times, near, taken=True):
    free, tp = list(true_times), 0
    for t in found_times:
        here = [spike for spike in free if near(t - spike)]
        tp += bool(here)
        if here and taken:
            free.remove(here[0])
    return tp, len(found_times) - tp, len(true_times) - tp


def rates(tp, fp, fn, mean=None):
    p, r = tp / (tp + fp), tp / (tp + fn)
    return p, r, 2 * p * r / (p + r) if mean is None else mean(p, r)


def with_mean(mean):
    return lambda tp, fp, fn: rates(tp, fp, fn, mean)


def not_taken(true_times, found_times, tolerance):
    """Let several events take one spike; fn: the spikes without an event."""
    tp, fp, _ = tallied(true_times, found_times, lambda d: abs(d) <= tolerance, taken=False)
    return tp, fp, len(true_times)


def first_taken(true_times, found_times, tolerance):
    """Take the first of all free spikes, wherever the event lies."""
    free, tp = list(true_times), 0
    for t in found_times:
        if any(abs(t - spike) <= tolerance for spike in free):
            tp += 1
            free.pop(0)
    return tp, len(found_times) - tp, len(true_times) - tp


precision_recall = Exercise(
    "16_precision_recall",
    Part(
        "counted",
        lambda true, found, tolerance: tallied(true, found, lambda d: abs(d) <= tolerance),
        FOUND,
        [
            Mistake(
                "two events may take the same spike",
                "Each spike counts once: free.remove(near[0]) when it is taken. The second event "
                "is a false alarm.",
                lambda true, found, tolerance: tallied(
                    true, found, lambda d: abs(d) <= tolerance, taken=False
                ),
            ),
            Mistake(
                "the first free spike is taken, not the near one",
                "near[0] is the spike that the event found: free.remove(near[0]).",
                first_taken,
            ),
            Mistake(
                "the event is removed, not the spike",
                "t is the time of the event. The spike that it takes is near[0].",
                Error(ValueError, "not in list"),
            ),
            Mistake(
                "two events may take the same spike, and all spikes count as missed",
                "A spike that is found must leave the list: free.remove(near[0]).",
                not_taken,
            ),
            Mistake(
                "a distance of exactly the tolerance is refused",
                "It is allowed: <=, not <.",
                lambda true, found, tolerance: tallied(true, found, lambda d: abs(d) < tolerance),
            ),
            Mistake(
                "events before the spike are refused",
                "The distance counts on both sides: abs(t - spike).",
                lambda true, found, tolerance: tallied(true, found, lambda d: 0 <= d <= tolerance),
            ),
            Mistake(
                "every event before the spike is accepted, however far",
                "t - spike is negative there, and so below the tolerance. Take abs(t - spike).",
                lambda true, found, tolerance: tallied(true, found, lambda d: d <= tolerance),
            ),
            Mistake(
                "the tolerance is not used",
                "An event may lie beside the spike: abs(t - spike) <= tolerance.",
                lambda true, found, tolerance: tallied(true, found, lambda d: d == 0),
            ),
            Mistake(
                "false alarms and missed spikes are swapped",
                "fp counts FOUND events that are wrong, fn TRUE spikes that nobody found.",
                lambda true, found, tolerance: (lambda tp, fp, fn: (tp, fn, fp))(
                    *tallied(true, found, lambda d: abs(d) <= tolerance)
                ),
            ),
            Mistake(
                "all events are false alarms, and all spikes missed",
                "Those that belong together are neither: subtract tp.",
                lambda true, found, tolerance: (
                    tallied(true, found, lambda d: abs(d) <= tolerance)[0],
                    len(found),
                    len(true),
                ),
            ),
            Mistake(
                "all events count as false alarms",
                "Those that are right do not: len(found_times) - tp.",
                lambda true, found, tolerance: (lambda tp, fp, fn: (tp, tp + fp, fn))(
                    *tallied(true, found, lambda d: abs(d) <= tolerance)
                ),
            ),
        ],
        results=("tp", "fp", "fn"),
        without=("match",),
    ),
    Part(
        "scores",
        rates,
        COUNTS,
        [
            Mistake(
                "precision and recall are swapped",
                "Precision asks of what was FOUND: tp / (tp + fp). Recall asks of what was THERE: "
                "tp / (tp + fn).",
                lambda tp, fp, fn: rates(tp, fn, fp),
            ),
            Mistake(
                "right ones are divided by wrong ones",
                "A share divides by ALL: tp + fp are all that were found, tp + fn all that were "
                "there.",
                lambda tp, fp, fn: (tp / fp, tp / fn, 2 / (fp / tp + fn / tp)),
            ),
            Mistake(
                "F1 is the ordinary mean",
                "The harmonic mean is 2 p r / (p + r). It is small if one of the two is small.",
                with_mean(lambda p, r: (p + r) / 2),
            ),
            Mistake(
                "F1 lacks its 2",
                "With p = r it must be p: 2 p r / (p + r).",
                with_mean(lambda p, r: p * r / (p + r)),
            ),
            Mistake(
                "F1 is the geometric mean",
                "The harmonic mean is 2 p r / (p + r), without a root.",
                with_mean(lambda p, r: np.sqrt(p * r)),
            ),
            Mistake(
                "F1 is the product",
                "The harmonic mean is 2 p r / (p + r).",
                with_mean(lambda p, r: p * r),
            ),
            Mistake(
                "F1 is the share of right ones among all",
                "tp / (tp + fp + fn) is another measure. F1 is 2 p r / (p + r).",
                lambda tp, fp, fn: (*rates(tp, fp, fn)[:2], tp / (tp + fp + fn)),
            ),
        ],
        results=("precision", "recall", "f1"),
    ),
    then="Why no accuracy? With one spike in 100 samples, finding nothing is right 99 times.\n"
    "Next: 17_detector.py",
)
