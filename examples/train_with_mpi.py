"""Train a spike detector on several processes, and find spikes by all of them.

Each process, a rank, computes its part of every batch. The gradients are added up, so the result
is that of one process, to rounding. Without mpiexec, or without mpi4py, it is one rank.

    mpiexec -n 2 python examples/train_with_mpi.py --plot curve.png
"""

import argparse
import sys
import time

import numpy as np
from _shared import command_line, crossentropy, generator, save, soft_labels, start, windows

import tinynn as tnn
from tinynn import spikes

WINDOW, BATCH = 500, 32  # samples of a window; windows of a batch, of all ranks together
TOLERANCE, EXCLUSION = 2, 12  # samples, as in detect_spikes.py


def world():
    """Return MPI.COMM_WORLD, or None where mpi4py is not installed."""
    try:
        from mpi4py import MPI
    except ImportError:
        print("mpi4py is not installed (the extra 'mpi'): one process trains alone.")
        return None
    return MPI.COMM_WORLD


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = command_line(__doc__)
    parser.add_argument("--epochs", type=int, default=20, help="passes over the data (default: 20)")
    return parser


def detector() -> tnn.Sequential:
    """Return the model, whose BatchNorm sees the whole batch of all ranks."""
    return tnn.Sequential(
        tnn.Conv1d(1, 16, 25, padding="same", use_bias=False, rng=0),
        tnn.BatchNorm(16),
        tnn.Activation("relu"),
        tnn.Conv1d(16, 1, 9, padding="same", activation="linear", rng=1),
    )


def run(options: argparse.Namespace) -> None:
    """Train, detect, and let rank 0 say what came of it."""
    comm = world()
    rank, ranks = (comm.Get_rank(), comm.Get_size()) if comm else (0, 1)
    rng = generator(options.seed)  # every rank makes the same data
    length = 20_000 if options.quick else 200_000
    training, unseen = (spikes.simulate(length, rate=0.01, dprime=4, rng=rng) for _ in range(2))
    x, y = windows(training.x, WINDOW), windows(soft_labels(training), WINDOW)

    model = detector()
    begin = time.perf_counter()
    history = tnn.fit(
        model, x, y, loss=crossentropy, optimizer=tnn.Adam(model.parameters(), 0.01),
        epochs=min(10, options.epochs) if options.quick else options.epochs,
        batch_size=BATCH, rng=options.seed, communicator=comm,
    )  # fmt: skip
    seconds = time.perf_counter() - begin

    how = {"exclusion": EXCLUSION}
    found = (
        tnn.distributed.detect(model, unseen.x[0], 0.0, communicator=comm, **how)
        if comm
        else spikes.detect(model, unseen.x[0], 0.0, **how)
    )
    if rank:
        return  # one rank is enough to tell it
    match = spikes.match(unseen.times[0], found.times, TOLERANCE)
    loss = history.history["loss"][-1]
    print(f"{ranks} rank{'s' * (ranks > 1)}, {len(x)} windows, {seconds:.1f} s")
    print(f"loss {loss:.6f}, F1 of spikes it has not seen {match.f1:.3f}")
    if options.plot:
        page, ax = tnn.plots.figure()
        tnn.plots.history(history, np.ravel(ax)[0])
        save(page, options.plot)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    start(arguments(), run)
