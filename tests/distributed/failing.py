"""A training that comes to its end in a way that is asked for: ``python failing.py raise``."""

import os
import signal
import sys
import time

import numpy as np
from mpi4py import MPI

import tinynn as tnn

comm, how = MPI.COMM_WORLD, sys.argv[1]


def meanwhile(epoch, logs):
    if how == "interrupted":
        time.sleep(0.05)
    if epoch != 2:
        return
    print("epoch 3 is over", flush=True)
    if how == "raise" and comm.Get_rank() == 1:
        raise ZeroDivisionError("on one rank alone")
    if how == "killed" and comm.Get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise on all":
        raise ZeroDivisionError("on every rank")


x = np.random.default_rng(0).normal(size=(64, 30, 1))
model = tnn.Sequential(tnn.Conv1d(1, 2, 3, padding="same", rng=0), tnn.BatchNorm(2))
try:
    history = tnn.fit(
        model, x, np.repeat(x, 2, axis=2), loss="mse", optimizer=tnn.SGD(model.parameters(), 0.01),
        epochs=500 if how == "interrupted" else 5, batch_size=16, rng=0, callbacks=[meanwhile],
        communicator=comm,
    )  # fmt: skip
    print(f"ended after {len(history.epoch)} epochs: {history.stopped}", flush=True)
except ZeroDivisionError as error:
    print(f"caught, after {len(error.history.epoch)} epochs: {error}", flush=True)
