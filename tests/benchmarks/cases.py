"""Where replay could be slower than eager code: each case, how many times as long it takes.

    python -m tests.benchmarks.cases
    python -m tests.benchmarks.cases --only predict --rounds 15

One process on one core, with one BLAS thread. The two sides of a case take turns, in an order that
alternates from round to round; a figure is the median of the rounds' ratios, of the processor's
time, for others may share the core. A run holds all that
a user waits for, recording included. Eager is the same with ``compile=False``, where there is
such an option; else the plain function, or a plain call of the model under ``no_grad``. A case
above 1.3 is marked.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

import tinynn as tnn
from tinynn.training import steps, streaming, threads

Side = Callable[[], Any]
LIMIT = 1.3  # times as long as eager code
TURN = 0.05  # seconds that a side runs before the other has its turn; one run at least
CALLS = 1000  # of a compiled function, recording included
SCALE = 1.0  # a global that a loss reads


def draw(*shape: int) -> np.ndarray:
    """Return normal numbers, the same each time."""
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def dense(inputs: int = 8) -> tnn.Layer:
    """Return two Dense layers."""
    return tnn.Sequential(tnn.Dense(inputs, 16, activation="relu", rng=0), tnn.Dense(16, 1, rng=1))


def detector() -> tnn.Layer:
    """Return a small detector of spikes."""
    first = tnn.Conv1d(1, 8, 9, padding="same", activation="relu", rng=0)
    return tnn.Sequential(first, tnn.Conv1d(8, 1, 9, padding="same", rng=1))


def scaled(prediction: Any, y: Any) -> Any:
    """Return a loss that reads a global."""
    return SCALE * ((prediction - y) ** 2).mean()


class Own(tnn.Layer):
    """A user's layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = dense()

    def forward(self, x: Any) -> Any:
        """Return the output of the layers inside, doubled."""
        return 2 * self.inner(x)


class Counting(tnn.Callback):
    """A user's callback."""

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        """Count."""
        self.epochs = getattr(self, "epochs", 0) + 1


# ---------------------------------------------------------------- fit


def fits(x: Any, y: Any, make: Callable[[], tnn.Layer] = dense, **how: Any) -> tuple[Side, Side]:
    """Return a whole training, as by default and with ``compile=False``."""

    def run(compile: Any) -> None:
        model = make()
        optimizer = tnn.SGD(model.parameters(), 0.01)
        options = {"loss": "mse", "progress": False, "rng": 0} | how | compile
        tnn.fit(model, x, y, optimizer=optimizer, **options)

    return partial(run, {}), partial(run, {"compile": False})


def loops() -> tuple[Side, Side]:
    """Return fit(epochs=1) in a loop with a closure as loss."""
    x, y = draw(64, 8), draw(64, 1)

    def run(**compile: Any) -> None:
        model = dense()
        optimizer = tnn.SGD(model.parameters(), 0.01)
        for epoch in range(30):
            weight = 1 / (1 + epoch)
            tnn.fit(
                model, x, y, loss=lambda p, t, w=weight: w * ((p - t) ** 2).mean(), epochs=1,
                optimizer=optimizer, batch_size=16, progress=False, rng=0, **compile,
            )  # fmt: skip

    return run, partial(run, compile=False)


def by_hand() -> tuple[Side, Side]:
    """Return fit of a user's layer with a user's loss, and the loop that it stands for."""
    x, y, epochs, size = draw(256, 8), draw(256, 1), 10, 32

    def fast() -> None:
        model = Own()
        tnn.fit(
            model, x, y, loss=scaled, optimizer=tnn.SGD(model.parameters(), 0.01), epochs=epochs,
            batch_size=size, progress=False, rng=0,
        )  # fmt: skip

    def eager() -> None:
        model, rng = Own(), np.random.default_rng(0)
        optimizer = tnn.SGD(model.parameters(), 0.01)
        for _ in range(epochs):
            for a, b in tnn.batches(x, y, size, rng=rng):
                optimizer.zero_grad()
                loss = scaled(model(a), b)
                loss.backward()
                optimizer.step()
                loss.item()

    return fast, eager


# ---------------------------------------------------------------- compile


def calls(f: Callable[..., Any], given: Callable[[int], Any]) -> tuple[Side, Side]:
    """Return many calls of a function, compiled anew and as it is."""

    def run(function: Callable[..., Any]) -> None:
        for i in range(CALLS):
            function(*given(i))

    return (lambda: run(tnn.compile(f))), partial(run, f)


def training_step(x: Any, y: Any, factor: Any = 1.0) -> Any:
    """Take a step of training of :data:`MODEL`."""
    OPTIMIZER.zero_grad()
    loss = factor * ((MODEL(x) - y) ** 2).mean()
    loss.backward()
    OPTIMIZER.step()
    return loss.item()


MODEL = dense()
OPTIMIZER = tnn.SGD(MODEL.parameters(), 1e-3)


def looked(x: Any) -> Any:
    """Return what needs no gradient."""
    with tnn.no_grad():
        return MODEL(x).mean()


def compiled(kind: str) -> tuple[Side, Side]:
    """Return calls whose arguments, or what lies between them, are of a kind."""
    data = {n: (draw(n, 8), draw(n, 1)) for n in range(4, 33)}
    x, y = data[16]
    if kind == "number":
        return calls(training_step, lambda i: (x, y, 1 / (1 + i)))
    if kind == "shapes":
        return calls(training_step, lambda i: data[4 + i % 12])
    if kind == "dtype":
        both = (x, y), (x.astype(float), y.astype(float))
        return calls(training_step, lambda i: both[i % 2])
    if kind == "layer":
        return calls(training_step, lambda i: (tnn.Dense(2, 2, rng=0), (x, y))[1])
    if kind == "no_grad":
        return calls(looked, lambda i: (x,))
    big, weight = draw(4096, 4096), tnn.Tensor(draw(8, 8), requires_grad=True)
    if kind == "argument":
        return calls(lambda x: (x[:8, :8] @ weight).sum().item(), lambda i: (big,))
    constant = tnn.Tensor(big)
    return calls(lambda x: (x @ constant[:8, :8] @ weight).sum().item(), lambda i: (x,))


# ---------------------------------------------------------------- predict, stream


def predicts(model: tnn.Layer, *inputs: np.ndarray) -> tuple[Side, Side]:
    """Return predict of each input, and plain calls of the model."""

    def plain() -> None:
        for x in inputs:
            with tnn.no_grad():
                model(x).numpy()

    return (lambda: [tnn.predict(model, x) for x in inputs]), plain


def streams() -> tuple[Side, Side]:
    """Return pushes of random sizes, and the same on a model that is called as it is."""
    model, x, ends = detector(), draw(20_000, 1), np.random.default_rng(0).integers(1, 200, 200)

    def fast() -> None:
        scores, start = tnn.stream(model), 0
        for size in ends:
            scores.push(x[start : (start := start + size)])

    return fast, mock.patch.object(streaming, "forward", steps.eager_forward)(fast)


def norm() -> tnn.Layer:
    """Return a BatchNorm behind nothing."""
    return tnn.Sequential(tnn.BatchNorm(16), tnn.Dense(16, 1, rng=0))


def cases() -> dict[str, Callable[[], tuple[Side, Side]]]:
    """Return the cases: what makes each."""
    x, y, short = draw(64, 8), draw(64, 1), draw(256, 1)
    return {
        "compiled: a plain number that varies": lambda: compiled("number"),
        "compiled: twelve shapes in turn": lambda: compiled("shapes"),
        "compiled: two dtypes in turn": lambda: compiled("dtype"),
        "compiled: a layer built elsewhere between calls": lambda: compiled("layer"),
        "compiled: no_grad inside": lambda: compiled("no_grad"),
        "compiled: a 64 MB argument of a tiny product": lambda: compiled("argument"),
        "compiled: a 64 MB constant of a tiny product": lambda: compiled("constant"),
        "fit: one batch an epoch, a callback, a global": lambda: fits(
            x, y, loss=scaled, epochs=50, batch_size=64, callbacks=[Counting()]
        ),
        "fit: a full batch of 10^6 x 8": lambda: fits(
            draw(10**6, 8), draw(10**6, 1), epochs=2, batch_size=10**6
        ),
        "fit: epochs=1 in a loop, a closure as loss": loops,
        "fit: a first BatchNorm batch of 256 x 2048 x 16": lambda: fits(
            draw(256, 2048, 16), draw(256, 2048, 1), norm, epochs=1, batch_size=256
        ),
        "fit: 3 rows for 50 epochs": lambda: fits(x[:3], y[:3], epochs=50),
        "fit: validation data each epoch": lambda: fits(
            x, y, epochs=20, validation_data=(x[:20], y[:20])
        ),
        "fit: a user's loss and layer, beside a loop": by_hand,
        "predict: ten rows through two Dense layers": lambda: predicts(dense(), x[:10]),
        "predict: one short series": lambda: predicts(detector(), short),
        "predict: 100 short series in a loop": lambda: predicts(
            detector(), *[draw(n, 1) for n in range(200, 300)]
        ),
        "stream: pushes of random sizes": streams,
    }


def seconds(side: Side, n: int) -> float:
    """Return how long a run takes."""
    start = time.process_time()
    for _ in range(n):
        side()
    return (time.process_time() - start) / n


def measure(sides: tuple[Side, Side], rounds: int) -> tuple[float, float]:
    """Return the median of fast over eager, and of eager's seconds."""
    n = [max(1, round(TURN / max(seconds(side, 2), 1e-6))) for side in sides]
    times = []
    for number in range(rounds):
        order = (0, 1) if number % 2 else (1, 0)
        found = {i: seconds(sides[i], n[i]) for i in order}
        times.append((found[0] / found[1], found[1]))
    ratios, eager = zip(*times, strict=True)
    return statistics.median(ratios), statistics.median(eager)


def main() -> None:
    """Measure, print."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--only", metavar="WORD", default="", help="cases that have it in the name")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side (default: 9)")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"| {'case':48} | fast / eager | eager, ms |\n|{'-' * 50}|{'-' * 14}|{'-' * 11}|")
    for name, make in cases().items():
        if given.only not in name:
            continue
        with threads.one_blas_thread():
            ratio, eager = measure(make(), given.rounds)
        mark = "!" if ratio > LIMIT else " "
        print(f"| {name:48} | {ratio:10.2f} {mark} | {1e3 * eager:9.3f} |", flush=True)


if __name__ == "__main__":
    main()
