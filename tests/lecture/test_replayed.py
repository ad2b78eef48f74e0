"""What the examples train is known to be pure, so that their steps are replayed."""

import numpy as np
import pytest

import tinynn as tnn

RNG = np.random.default_rng(0)


def dense(example):
    x, labels = RNG.normal(size=(64, 101, 1)), np.zeros((64, 1))
    example("dense_and_conv1d").trained_dense(x, labels, epochs=1, rng=0)


def conv1d(example):
    x, labels = RNG.normal(size=(64, 101, 1)), np.zeros((64, 1))
    example("dense_and_conv1d").trained_conv1d(x, labels, epochs=1, rng=0)


def named_spikes(example):
    lesson = example("several_features")
    lesson.trained(lesson.mixed(16, np.random.default_rng(0)), rng=0, epochs=1)


def heartbeats(example):
    detector = example("detect_heartbeats").HeartbeatDetector(rng=0)
    x = RNG.normal(size=(64, 50, 1)).astype("float32")
    example("_shared").train(detector, x, 0 * x, epochs=1, learning_rate=0.1, progress=False)


@pytest.mark.parametrize("train", [dense, conv1d, named_spikes, heartbeats])
def test_an_example_is_trained_by_replayed_steps(example, train, monkeypatch):
    fit, seen = tnn.fit, []

    def noted(*args, **kwargs):
        seen.append(fit(*args, **kwargs).eager)
        return seen[-1]

    monkeypatch.setattr(tnn, "fit", noted)
    train(example)
    assert seen == [None]
