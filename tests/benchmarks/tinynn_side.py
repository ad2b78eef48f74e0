"""The workloads in tinynn, written as a user writes them: eager, compiled, through fit."""

from functools import partial

import numpy as np

import tinynn as tnn

from . import workloads
from .workloads import Spec, Task

NEEDS = {"compile": "compile", "stream": "stream"}  # variants and what tinynn must have for them


def versions(variant: str) -> dict[str, str]:
    """Return versions and settings; an ImportError says what is missing."""
    needed = NEEDS.get(variant)
    if needed and not hasattr(tnn, needed):
        raise ImportError(f"tinynn has no {needed} yet")
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"NumPy": np.__version__, "NumPy's BLAS": f"{blas['name']} {blas['version']}"}


def _model(spec: Spec) -> tnn.Sequential:
    layers, sizes = [], workloads.weights(spec)
    for i, (kernel, bias) in enumerate(sizes):
        k, c, f = kernel.shape
        activation = "relu" if i < len(sizes) - 1 else "linear"
        layer = tnn.Conv1d(c, f, k, padding="same", activation=activation, rng=0)
        layer.kernel.data[...], layer.bias.data[...] = kernel, bias
        layers.append(layer)
    return tnn.Sequential(*layers)


_loss = partial(tnn.losses.binary_crossentropy, from_logits=True)


def train(spec: Spec, variant: str) -> Task:
    model, (x, y) = _model(spec), workloads.series(spec)
    optimizer = tnn.SGD(model.parameters(), workloads.learning_rate(spec))

    def step(x, y):
        optimizer.zero_grad()
        value = _loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    def value():
        with tnn.no_grad():
            return [_loss(model(x), y).item()]

    if variant == "fit":
        return _fit(model, optimizer, x, y, value)
    do = tnn.compile(step) if variant == "compile" else step

    def run(n):
        for _ in range(n):
            do(x, y)

    return Task(run, value)


def _fit(model, optimizer, x, y, value) -> Task:
    """Return training through fit: epochs of many equal batches, in arrays made beforehand."""
    most = max(8, 2**22 // x.size)  # batches an epoch: 16 MB of x
    arrays = {}

    def prepare(n):
        n = min(n, most)
        if len(arrays.get("x", ())) < n * len(x):
            arrays.update(x=np.tile(x, (n, 1, 1)), y=np.tile(y, (n, 1, 1)))

    def run(n):
        prepare(n)
        while n:
            now = min(n, most)
            xs, ys = (arrays[k][: now * len(x)] for k in "xy")
            tnn.fit(
                model, xs, ys, loss=_loss, optimizer=optimizer, epochs=1,
                batch_size=len(x), shuffle=False, progress=False,
            )  # fmt: skip
            n -= now

    return Task(run, value, prepare, least=8)


def predict(spec: Spec, variant: str) -> Task:
    model, x = _model(spec), workloads.series(spec)[0][0]

    def once():
        if variant != "stream":
            return tnn.predict(model, x)
        stream = tnn.stream(model)  # ten pieces a second at 30 kHz
        scores = [stream.push(x[i : i + 3000]) for i in range(0, len(x), 3000)]
        return np.concatenate([*scores, stream.finish()])

    def run(n):
        for _ in range(n):
            once()

    return Task(run, lambda: workloads.fingerprint(once()))


def conv(spec: Spec, variant: str) -> Task:
    x, kernel, g = workloads.convolution(spec)
    x, kernel = tnn.Tensor(x, requires_grad=True), tnn.Tensor(kernel, requires_grad=True)
    padding = "same" if spec["stride"] == 1 else workloads.half(spec)

    def once():
        x.grad = kernel.grad = None
        y = tnn.conv1d(
            x, kernel, strides=spec["stride"], padding=padding,
            dilation_rate=spec["dilation"], groups=spec["groups"],
        )  # fmt: skip
        y.backward(g)
        return y

    def run(n):
        for _ in range(n):
            once()

    return Task(run, lambda: workloads.fingerprint(once().numpy(), x.grad, kernel.grad))
