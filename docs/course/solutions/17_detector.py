"""Solution of exercise 17: train a spike detector."""

import tinynn as tnn


def make_model(taps):
    return tnn.Conv1d(1, 1, taps, padding="same", activation="linear", rng=0)


def loss(score, label):
    return tnn.losses.binary_crossentropy(score, label, from_logits=True)


def train(model, x, y):
    optimizer = tnn.SGD(model.parameters(), learning_rate=1.0, momentum=0.9)
    return tnn.fit(
        model, x, y, loss=loss, optimizer=optimizer, epochs=10, batch_size=16, rng=0,
        progress=False,
    )  # fmt: skip


def choose_threshold(model, recording):
    score = tnn.predict(model, recording.x)
    threshold, _match = tnn.spikes.best_threshold(score, recording.times, tolerance=2, exclusion=12)
    return threshold
