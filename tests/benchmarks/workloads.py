"""What is measured: the sizes, and the weights and data that every library gets."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Spec = dict[str, Any]  # a workload in plain words and numbers, as it is sent to a worker

CHECK_STEPS = 10  # training steps after which the losses must agree
TOLERANCE = 1e-4  # relative


@dataclass
class Task:
    """A workload as one library runs it."""

    run: Callable[[int], Any]  # do it n times, return when all is done
    value: Callable[[], list[float]]  # numbers that must be equal in all libraries
    prepare: Callable[[int], Any] = lambda n: None  # what run(n) needs and a user would have
    least: int = 1  # repetitions below which a figure would not be fair


def training(batch: int, length: int, channels: tuple[int, ...], kernel: int = 9) -> Spec:
    """Return a training step: Conv1d stack, "same", ReLU between, crossentropy on logits, SGD."""
    return {
        "task": "train", "batch": batch, "length": length, "channels": channels, "kernel": kernel
    }  # fmt: skip


def inference(length: int, channels: tuple[int, ...], kernel: int) -> Spec:
    """Return the prediction for one series of ``length`` samples."""
    return {
        "task": "predict", "batch": 1, "length": length, "channels": channels, "kernel": kernel
    }  # fmt: skip


SIZES = {
    "tiny": training(1, 256, (1, 8, 1)),
    "small": training(32, 256, (1, 8, 1)),
    "medium": training(64, 1024, (1, 16, 16, 1)),
    "large": training(64, 1024, (1, 64, 64, 64, 1)),
    "wide": training(32, 2048, (1, 16, 16, 1), kernel=25),
    "wider": training(32, 2048, (1, 32, 32, 1), kernel=65),
}


def learning_rate(spec: Spec) -> float:
    """Return a rate that is safe at every depth: the more layers, the smaller."""
    return 0.1 / (len(spec["channels"]) - 1)


def series(spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """Return x, y: noise, and rare events; (batch, length, channels) and (batch, length, 1)."""
    rng = np.random.default_rng(0)
    shape = spec["batch"], spec["length"]
    x = rng.standard_normal((*shape, spec["channels"][0]), dtype=np.float32)
    return x, (rng.random((*shape, spec["channels"][-1])) < 0.05).astype(np.float32)


def weights(spec: Spec) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (kernel, bias) of each layer, (K, channels, filters) and (filters,).

    He's normal; in a deep stack the identity and a little of it, so that a thousand layers neither
    vanish nor explode.
    """
    rng = np.random.default_rng(1)
    channels, size = spec["channels"], spec["kernel"]
    layers = []
    for c, f in pairwise(channels):
        kernel = rng.normal(size=(size, c, f)) * np.sqrt(2 / (size * c))
        if c == f and len(channels) > 8:
            kernel *= 0.1 / np.sqrt(len(channels))
            kernel[(size - 1) // 2] += np.eye(c)
        layers.append((kernel.astype(np.float32), np.zeros(f, np.float32)))
    return layers


def convolution(spec: Spec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, kernel and the output's gradient for one convolution of the grid."""
    rng = np.random.default_rng(2)
    n, length, c, f, size = (spec[k] for k in ("batch", "length", "in", "filters", "kernel"))
    x = rng.standard_normal((n, length, c)).astype(spec["dtype"])
    kernel = rng.standard_normal((size, c // spec["groups"], f)).astype(spec["dtype"])
    steps = -(-length // spec["stride"])  # odd kernels: ceil(L / stride) with this padding
    return x, kernel, rng.standard_normal((n, steps, f)).astype(spec["dtype"])


def half(spec: Spec) -> int:
    """Return the padding on each side that is "same" at stride 1."""
    return spec["dilation"] * (spec["kernel"] - 1) // 2


def fingerprint(*arrays: np.ndarray) -> list[float]:
    """Return the root mean square of each array, in float64."""
    return [float(np.sqrt(np.mean(np.square(a, dtype=np.float64)))) for a in arrays]
