"""Exercise 17: train a spike detector.

One kernel of 25 weights and a bias learn to find spikes. The score is the log-odds of a spike at
each sample. So the activation is linear, and the loss is the crossentropy of log-odds ("logits").

NOTE three defaults. Conv1d's padding is "valid": then there are fewer scores than samples. Its
activation is "linear". binary_crossentropy takes probabilities unless it is told otherwise.

Fill in each `...`, then run: python 17_detector.py
"""

import tinynn as tnn


def make_model(taps):
    """Return a Conv1d with one kernel of `taps` weights: one score for EACH sample."""
    return ...


def loss(score, label):
    """Return the crossentropy of log-odds: one number.  See tnn.losses.binary_crossentropy."""
    return ...


def train(model, x, y):
    """Train the model until it detects spikes.  x: (200, 500, 1).  y: 1 at spikes, else 0."""
    optimizer = ...  # tnn.SGD or tnn.Adam, with a learning rate
    return tnn.fit(
        model, x, y, loss=loss, optimizer=optimizer, epochs=..., batch_size=16, rng=0,
        progress=False,
    )  # fmt: skip


def choose_threshold(model, recording):
    """Return the threshold of the score that gives the best F1 on a recording with known spikes.

    See tnn.spikes.best_threshold. Take tolerance=2 and exclusion=12.
    recording: it has .x, the samples, and .times, the true spikes.
    """
    score = tnn.predict(model, recording.x)
    return ...


if __name__ == "__main__":
    from _session8 import detector  # needs _session8.py and _checking.py in the same folder

    detector.check(globals())
