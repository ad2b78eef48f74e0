"""The workloads in JAX, jitted whole: step, prediction."""

import jax
import jax.numpy as jnp

from . import workloads
from .workloads import Spec, Task


def versions(variant: str) -> dict[str, str]:
    """Return versions and settings."""
    return {"JAX": f"{jax.__version__} ({jax.devices()[0].platform})"}


def _forward(parameters, x):
    for i, (kernel, bias) in enumerate(parameters):
        axes = ("NWC", "WIO", "NWC")
        x = jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=axes) + bias
        if i < len(parameters) - 1:
            x = jax.nn.relu(x)
    return x


def _loss(parameters, x, y):
    logits = _forward(parameters, x)
    return jnp.mean(jax.nn.softplus(logits) - logits * y)


def train(spec: Spec, variant: str) -> Task:
    x, y, parameters = jax.device_put((*workloads.series(spec), workloads.weights(spec)))
    rate = workloads.learning_rate(spec)

    @jax.jit
    def step(parameters, x, y):
        value, slopes = jax.value_and_grad(_loss)(parameters, x, y)
        return jax.tree.map(lambda w, g: w - rate * g, parameters, slopes), value

    def run(n):
        nonlocal parameters
        for _ in range(n):
            parameters, _ = step(parameters, x, y)
        jax.block_until_ready(parameters)

    return Task(run, lambda: [float(step(parameters, x, y)[1])])


def predict(spec: Spec, variant: str) -> Task:
    x, parameters = jax.device_put((workloads.series(spec)[0], workloads.weights(spec)))
    forward = jax.jit(_forward)

    def run(n):
        for _ in range(n):
            jax.block_until_ready(forward(parameters, x))

    return Task(run, lambda: workloads.fingerprint(forward(parameters, x)))
