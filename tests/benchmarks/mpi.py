"""What training on several ranks costs, and gains: python -m tests.benchmarks.mpi.

Starts jobs of 1 and 2 ranks by mpiexec, in turn, and prints the tables of
docs/how/many-machines.md: the time of a step and of an all-reduce here, each the least of all
turns, and by a model the batch from which other numbers of machines, joined by a network, pay.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import tinynn as tnn

MODELS = {  # filters and kernel size of the layers, all "same"; steps of a series
    "1-16-1": (((16, 25), (1, 9)), 500),
    "1-32-32-1": (((32, 25), (32, 9), (1, 9)), 250),
    "1-64-64-64-1": (((64, 25), (64, 9), (64, 9), (1, 9)), 100),
}
BATCHES = 4, 16, 64
SIZES = 2**10, 2**14, 2**18, 2**22  # numbers in an all-reduce, single precision
NETWORKS = {"10 Gbit Ethernet": (30e-6, 1.1e9), "InfiniBand, 200 Gbit": (2e-6, 20e9)}
RANKS = 2, 8, 64
CALL, COPY = 30e-6, 1e-9  # seconds of a sum in Python, and for each number of its buffer


def model_of(name, normalised):
    layers, channels = [], 1
    for filters, size in MODELS[name][0]:
        last = filters == 1
        layers.append(tnn.Conv1d(channels, filters, size, padding="same", use_bias=last, rng=0))
        layers += [] if last else [tnn.BatchNorm(filters)] * normalised + [tnn.Activation("relu")]
        channels = filters
    return tnn.Sequential(layers)


class Timed:
    """Batches, or a rank's share of them, and when each was asked for."""

    def __init__(self, batch, length, rank, ranks):
        x = np.random.default_rng(0).normal(size=(batch, length, 1)).astype("float32")
        self.x = x[batch * rank // ranks : batch * (rank + 1) // ranks]
        self.y, self.asked = np.abs(self.x), []

    def __len__(self):
        return 40

    def __iter__(self):
        for _ in range(40):
            self.asked.append(time.perf_counter())
            yield self.x, self.y


def step(name, batch, comm, normalised=False, seconds=0.8):
    """Return the seconds of a step, the least there is: others may use the machine."""
    data = Timed(batch, MODELS[name][1], comm.Get_rank(), comm.Get_size())
    model, begin = model_of(name, normalised), time.perf_counter()
    tnn.fit(
        model, data, loss="mse", optimizer=tnn.SGD(model.parameters(), 1e-4), epochs=100,
        threads=1, progress=False, communicator=comm,
        callbacks=[lambda epoch, logs: time.perf_counter() - begin > seconds],
    )  # fmt: skip
    return min(np.diff(data.asked)[2:])


def all_reduce(comm, size):
    x, y, times = np.ones(size, np.float32), np.empty(size, np.float32), []
    for _ in range(50):
        comm.Barrier()
        begin = time.perf_counter()
        comm.Allreduce(x, y)
        times.append(time.perf_counter() - begin)
    return min(times)


def worker():
    """Measure as one rank of a job; rank 0 prints it."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    told = {
        f"{name} {batch} {normalised}": step(name, batch, comm, normalised)
        for name in MODELS
        for batch in BATCHES
        for normalised in ([False, True] if name == "1-32-32-1" else [False])
    }
    told["sums"] = {size: all_reduce(comm, size) for size in SIZES}
    if comm.Get_rank() == 0:
        print(json.dumps(told))


def job(ranks):
    command = ["mpiexec", "-n", str(ranks), sys.executable, "-m", "tests.benchmarks.mpi"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "--worker"], capture_output=True, text=True, cwd=root, check=True
    )
    return json.loads(done.stdout)


def least(a, b):
    """Return the smaller of all times."""
    if a is None:
        return b
    return {k: least(a[k], b[k]) if isinstance(b[k], dict) else min(a[k], b[k]) for k in b}


def size_for(sample, parameters, latency, bandwidth, ranks, efficiency):
    """Return the batch at which so many machines reach an efficiency, by the model."""
    hops = 2 * math.log2(ranks) * latency
    moved = 2 * (ranks - 1) / ranks * 4 * parameters / bandwidth
    each = (CALL + COPY * parameters + hops + moved) / sample * efficiency / (1 - efficiency)
    return ranks * max(1, math.ceil(each))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--worker", action="store_true")
    options = parser.parse_args()
    if options.worker:
        worker()
        return
    found = {}
    for _ in range(options.turns):
        for ranks in options.ranks:
            found[ranks] = least(found.get(ranks), job(ranks))
    first = found[options.ranks[0]]
    print(f"| model | batch |{''.join(f' {n} ranks, ms |' for n in found)} gain |")
    print("|---|--:|" + "--:|" * (len(found) + 1))
    for key in (key for key in first if key != "sums"):
        name, batch, normalised = key.split()
        name += ", BatchNorm" if normalised == "True" else ""
        times = [1e3 * told[key] for told in found.values()]
        row = "".join(f" {t:.2f} |" for t in times)
        print(f"| {name} | {batch} |{row} {times[0] / times[-1]:.2f} |")
    print("\n| numbers |" + "".join(f" {n} ranks, µs |" for n in found))
    print("|--:|" + "--:|" * len(found))
    for size in SIZES:
        row = "".join(f" {1e6 * told['sums'][str(size)]:.0f} |" for told in found.values())
        print(f"| {size} |{row}")
    print("\n| model | parameters | µs a sample | network |", end="")
    print("".join(f" {n} ranks |" for n in RANKS) + "\n|---|--:|--:|---|" + "--:|" * len(RANKS))
    for name in MODELS:
        count = sum(p.size for p in model_of(name, False).parameters())
        sample = min(first[f"{name} {size} False"] / size for size in BATCHES)
        for network, (latency, bandwidth) in NETWORKS.items():
            sizes = [size_for(sample, count, latency, bandwidth, ranks, 0.9) for ranks in RANKS]
            row = "".join(f" {size} |" for size in sizes)
            print(f"| {name} | {count:,} | {1e6 * sample:.0f} | {network} |{row}")


if __name__ == "__main__":
    main()
