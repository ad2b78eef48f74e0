"""Trainings that are killed at random moments and started again: do they end in the same bits?

    OPENBLAS_NUM_THREADS=1 python -m tests.training.kills --kills 200

Each training is first run to its end without a checkpoint. Then it is started with one, killed,
started again, killed again, until it comes to its end; weights, slots, generators, figures and
files must be the same in every bit. Most kills are SIGKILL, one in five is Ctrl-C. Some trainings
write their checkpoint after every batch, so that many kills hit the writing itself.
"""

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import numpy as np

import tinynn as tnn
from tinynn.training.nested import flattened

UNFINISHED = 3  # the exit status of a training that Ctrl-C has ended


class Noisy:
    """A dataset with a generator, and with a state of its own."""

    def __init__(self, x, y):
        self.x, self.y, self.rng, self.epochs = x, y, np.random.default_rng(5), 0

    def __len__(self):
        return 6

    def __iter__(self):
        self.epochs += 1
        for rows in np.array_split(self.rng.permutation(len(self.x)), len(self)):
            noise = self.rng.normal(scale=0.1, size=self.x[rows].shape)
            yield self.x[rows] + self.epochs * noise, self.y[rows]

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


def model_of(rng, normalised):
    middle = [tnn.BatchNorm(4)] if normalised else []
    return tnn.Sequential(
        tnn.Conv1d(1, 4, 5, padding="same", activation="relu", rng=0),
        *middle,
        tnn.Dropout(0.3, rng=rng),
        tnn.Conv1d(4, 2, 3, padding="same", activation="tanh", rng=1),
        tnn.Dropout(0.2, rng=np.random.default_rng(4)),
        tnn.Flatten(),
        tnn.Dense(60, 1, activation="sigmoid", rng=2),
    )


def train(folder, how, checkpoint):
    """Run a training; return a digest of all that it has come to, None if Ctrl-C has ended it."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(60, 30, 1)).astype("float32")
    y = (x.mean(axis=(1, 2)) > 0).astype("float32")[:, None]
    rng = np.random.default_rng(1)
    model = model_of(rng, how["norm"])
    kernels = [p for path, p in model.named_parameters() if path.endswith("kernel")]
    others = [p for path, p in model.named_parameters() if not path.endswith("kernel")]
    rate = tnn.schedules.warmup(10, tnn.schedules.cosine_decay(0.02, 100)) if how["rate"] else 0.02
    groups = [{"parameters": kernels, "beta_1": 0.8}, {"parameters": others}]
    optimizer = tnn.Adam(groups, rate, clip_norm=1.0)
    callbacks = [
        tnn.callbacks.EarlyStopping("val_mean_absolute_error", patience=how["patience"]),
        tnn.callbacks.CSVLogger(folder / "log.csv"),
        tnn.callbacks.SaveBest(folder / "best.npz"),
    ]
    if not how["rate"]:
        callbacks.append(tnn.callbacks.ReduceOnPlateau("val_loss", patience=1, factor=0.7))
    data = {"x": Noisy(x, y)} if how["dataset"] else {"x": x, "y": y, "rng": rng, "batch_size": 10}
    history = tnn.fit(
        model, **data, loss="binary_crossentropy", optimizer=optimizer, epochs=how["epochs"],
        validation_data=(x[::3], y[::3]), metrics=["mean_absolute_error"], callbacks=callbacks,
        checkpoint=checkpoint, compile=how["compile"], progress=False,
    )  # fmt: skip
    if history.stopped == "Ctrl-C":
        return None
    with np.load(folder / "best.npz") as best:
        weights = {name: best[name] for name in best.files if name != "tinynn.json"}
    generators = [
        layer.rng.bit_generator.state for layer in model if isinstance(layer, tnn.Dropout)
    ]
    parts = {
        "weights": model.state_dict(), "slots": optimizer.state_dict(), "history": vars(history),
        "rng": [rng.bit_generator.state, *generators], "best": weights,
        "data": data["x"].rng.bit_generator.state if how["dataset"] else None,
        "log": (folder / "log.csv").read_text(),
    }  # fmt: skip
    text, arrays = flattened(parts)
    digest = hashlib.sha256(text.encode())
    for array in arrays.values():
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def settings():
    """Yield ways to train, for ever."""
    norms = [False, True] if hasattr(tnn, "BatchNorm") else [False]
    for i in count():
        yield {
            "compile": ["auto", False][i % 2], "norm": norms[i // 2 % len(norms)],
            "dataset": i // 4 % 2 == 1, "minutes": [0, None, 1e-4][i % 3], "epochs": 12,
            "rate": i % 5 in (1, 3), "patience": [3, 100][i // 3 % 2],
        }  # fmt: skip


def in_a_process(work):
    """Run ``work`` in a process that is forked off; return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = work()
    except KeyboardInterrupt:
        status = UNFINISHED
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def told(folder, how, checkpoint, result):
    digest = train(folder, how, checkpoint)
    if digest is None:
        return UNFINISHED
    result.write_text(digest)
    return 0


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_to_its_end(how, chance, most):
    """Kill a training again and again; return how many kills there were and how many in writing."""
    with tempfile.TemporaryDirectory() as name:
        folder, kills, writing = Path(name), 0, 0
        (folder / "whole").mkdir()
        (folder / "killed").mkdir()
        start, result = time.monotonic(), folder / "result"
        status = ended(in_a_process(lambda: told(folder / "whole", how, None, result)))
        expected, duration = result.read_text() if not status else None, time.monotonic() - start
        result.unlink()
        file = folder / "killed" / "run.ckpt"
        while True:
            checkpoint = tnn.Checkpoint(file, how["minutes"])
            child = in_a_process(lambda c=checkpoint: told(folder / "killed", how, c, result))
            if kills < most:
                time.sleep(chance.random() * duration * 0.5)
                kind = signal.SIGINT if chance.random() < 0.2 else signal.SIGKILL
                os.kill(child, kind)
            status = ended(child)
            if status == 0:
                break
            if status not in (-signal.SIGKILL, UNFINISHED):
                raise SystemExit(f"{how}: a training ended with {status}")
            kills += 1
            left = [path for path in (folder / "killed").iterdir() if path.suffix == ".tmp"]
            writing += any("run.ckpt" in path.name for path in left)
            checkpoint.load()  # whole, whatever has happened
        if result.read_text() != expected:
            raise SystemExit(f"{how}: after {kills} kills it came to something else")
        history = told(folder / "killed", how, checkpoint, result)  # finished: at once
        if history or result.read_text() != expected:
            raise SystemExit(f"{how}: started again when it was finished, it was something else")
        names = {path.name for path in (folder / "killed").iterdir() if "best" not in path.name}
        if names != {"run.ckpt", "log.csv"}:
            raise SystemExit(f"{how}: it has left {sorted(names)}")
        return kills, writing


def main(kills=200, seed=0, show=print):
    """Kill so many trainings; raise SystemExit if one ends in other bits."""
    chance, total, writing, runs, start = random.Random(seed), 0, 0, 0, time.monotonic()
    for how in settings():
        if total >= kills:
            break
        more = killed_to_its_end(how, chance, min(12, kills - total))
        total, writing, runs = total + more[0], writing + more[1], runs + 1
        show(f"{total:4d} kills, {writing} in the middle of a write, {runs} trainings: same bits")
    show(f"{time.monotonic() - start:.0f} seconds")
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.kills, given.seed)
