"""Fifty steps of each optimizer against Keras, which keeps rates in single precision."""

import os
import warnings

import numpy as np
import pytest

import tinynn as tnn

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")

S, K = tnn.schedules, keras.optimizers.schedules
SHAPES = [(3, 4), (4,), (2,)]
RATES = {  # ours, and Keras's
    "number": (0.0625, 0.0625),
    "exponential": (S.exponential_decay(0.0625, 0.5, 20), K.ExponentialDecay(0.0625, 20, 0.5)),
    "stairs": (S.step_decay(0.0625, 0.5, 20), K.ExponentialDecay(0.0625, 20, 0.5, staircase=True)),
    "cosine": (S.cosine_decay(0.0625, 40, 0.0125), K.CosineDecay(0.0625, 40, alpha=0.2)),
    "warm": (
        S.warmup(10, S.cosine_decay(0.0625, 30)),
        K.CosineDecay(0.0, 30, warmup_target=0.0625, warmup_steps=10),
    ),
    "pieces": (
        S.piecewise({0: 0.0625, 20: 0.015625}),
        K.PiecewiseConstantDecay([19], [0.0625, 0.015625]),
    ),
}
CASES = [
    ("SGD", {}, {}),
    ("SGD", {"momentum": 0.9}, {}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, {}),
    ("Adam", {}, {}),
    ("Adam", {"beta_1": 0.8, "beta_2": 0.99, "weight_decay": 0.1}, {}),
    ("AdamW", {}, {}),
    ("AdamW", {"weight_decay": 0.2}, {}),
    ("RMSprop", {}, {}),
    ("RMSprop", {"rho": 0.8, "momentum": 0.9, "weight_decay": 0.1, "epsilon": 1e-3}, {}),
    ("Adam", {"clip_value": 0.5}, {"clipvalue": 0.5}),
    ("SGD", {"momentum": 0.9, "clip_norm": 0.7}, {"global_clipnorm": 0.7}),
    ("RMSprop", {"clip_norm": 0.7}, {"global_clipnorm": 0.7}),
]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("name", "how", "clip"), CASES)
def test_fifty_steps_are_keras(name, how, clip, rate):
    ours, theirs = RATES[rate]
    rng = np.random.default_rng(0)
    tensors = [tnn.Tensor(rng.normal(size=s), requires_grad=True) for s in SHAPES]
    variables = [keras.Variable(p.data, dtype="float64") for p in tensors]
    optimizer = getattr(tnn, name)(tensors, ours, **how)
    how = {k: v for k, v in how.items() if not k.startswith("clip")}
    other = getattr(keras.optimizers, name)(theirs, **how, **clip)
    for _ in range(50):
        gradients = [rng.normal(size=s) for s in SHAPES]
        for p, g in zip(tensors, gradients, strict=True):
            p.grad = g
        optimizer.step()
        other.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    for p, v in zip(tensors, variables, strict=True):
        np.testing.assert_allclose(p.data, keras.ops.convert_to_numpy(v), rtol=1e-6, atol=2e-6)
