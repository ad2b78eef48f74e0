"""What must hold on several ranks, run by all of them: ``mpiexec -n 4 python cases.py NAME ...``.

Each case is run with the first so many ranks. A line of JSON tells how each went; the first that
fails ends the job.
"""

import json
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from mpi4py import MPI

import tinynn as tnn
from tinynn.autodiff import ops
from tinynn.nn.losses import mean_over_samples

CASES = {}
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
crossentropy = partial(tnn.losses.binary_crossentropy, from_logits=True)


def case(*sizes):
    """Enter a case, to be run with so many ranks."""

    def enter(f):
        CASES[f.__name__] = f
        f.sizes = sizes
        return f

    return enter


def data(n=37, length=24, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, length, channels))
    return x, (rng.random((n, length, 1)) > 0.7).astype(float)


def conv(channels, filters, size, **how):
    return tnn.Conv1d(channels, filters, size, padding="same", **how)


def plain(dtype="float64", seed=0):
    how = {"dtype": dtype}
    return tnn.Sequential(
        conv(2, 4, 5, activation="relu", rng=seed, **how), conv(4, 1, 3, rng=seed + 1, **how)
    )


def normalised(dtype="float64"):
    """A bias before a BatchNorm has no gradient but rounding."""
    how = {"dtype": dtype}
    return tnn.Sequential(
        tnn.BatchNorm(2, **how),
        conv(2, 4, 5, use_bias=False, rng=0, **how),
        tnn.BatchNorm(4, momentum=0.8, **how),
        tnn.Activation("tanh"),
        conv(4, 4, 3, use_bias=False, rng=1, **how),
        tnn.BatchNorm(4, **how),
        conv(4, 1, 3, rng=2, **how),
    )


def train(model, x, y=None, comm=None, optimizer=None, **how):
    optimizer = (optimizer or partial(tnn.SGD, learning_rate=0.1, momentum=0.9))(model.parameters())
    how = {"loss": crossentropy, "epochs": 3, "progress": False} | how
    if y is not None:
        how = {"batch_size": 16, "rng": 3} | how
    return tnn.fit(model, x, y, optimizer=optimizer, communicator=comm, **how)


def close(got, there, tolerance, what):
    got, there = np.asarray(got, float), np.asarray(there, float)
    assert got.shape == there.shape, f"{what}: {got.shape}, alone {there.shape}"
    off = np.abs(got - there).max(initial=0) / max(np.abs(there).max(initial=0), 1e-30)
    assert off <= tolerance, f"{what} is off by {off:.1e}"


def demand_close(model, alone, tolerance=1e-12):
    for path, array in model.state_dict().items():
        close(array, alone.state_dict()[path], tolerance, path)


def demand_same(model, history, alone, its, tolerance):
    demand_close(model, alone, 4 * tolerance)
    assert list(history.history) == list(its.history)
    for name, figures in history.history.items():
        close(figures, its.history[name], tolerance * 4, f"the history of {name}")
    assert history.stopped == its.stopped


def compare(comm, make, x, y, dtype="float64", **how):
    """Train on the ranks and alone; both must come to the same."""
    model, alone = make(dtype), make(dtype)
    history = train(model, x, y, comm, **how)
    its = train(alone, x, y, **how)
    assert history.eager == its.eager, history.eager
    demand_same(model, history, alone, its, TOLERANCE[dtype])
    return history


@contextmanager
def raises(kind, *parts):
    text = None
    try:
        yield
    except kind as error:
        text = str(error)
    assert text is not None, f"no {kind.__name__}"
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in: {text}"


# ---------------------------------------------------------------- the same as alone


@case(1, 2, 3, 4)
def shares_of_batches_eager_and_replayed(comm):
    x, y = data()
    for dtype in TOLERANCE:
        for compile in (False, "auto"):
            for size in (16, 35, 12):  # the last has 5, 2 and 1 samples
                compare(comm, plain, x, y, dtype, batch_size=size, compile=compile)
    compare(comm, plain, x[:3], y[:3], batch_size=2)


@case(2, 4)
def weights_metrics_and_validation(comm):
    x, y = data()
    weight = np.random.default_rng(1).uniform(0, 3, size=len(x))
    how = {"metrics": ["accuracy", "f1", "auc"], "class_weight": {0: 1.0, 1: 4.0}}
    compare(comm, plain, x, y, sample_weight=weight, validation_split=0.2, **how)
    held_out = data(9, seed=5)
    compare(comm, plain, x, y, "float32", validation_data=(*held_out, weight[:9]), **how)
    longer = data(17, length=30, seed=5)  # of the last batch some ranks have none
    compare(comm, plain, x, y, validation_data=longer, metrics=["accuracy"])


@case(1, 2, 3, 4)
def statistics_of_the_whole_batch(comm):
    x, y = data()
    scale = np.linspace(0.1, 3, len(x))[:, None, None]  # so that shares differ
    for size, compile in ((16, "auto"), (35, "auto"), (12, False)):
        compare(comm, normalised, scale * x + scale, y, batch_size=size, compile=compile)
    compare(comm, normalised, x, y, "float32", validation_split=0.2)


@case(2)
def a_model_again_and_ranks_that_are_eager(comm):
    x, y = data()
    model, alone = normalised(), normalised()
    for turn in (comm, None, comm):  # a recording of one holds for no other
        history = train(model, x, y, turn, epochs=1, compile=turn is None or comm.Get_rank() == 0)
        its = train(alone, x, y, epochs=1)
        demand_close(model, alone)
        close(history.history["loss"], its.history["loss"], 1e-12, "the loss")


@case(2, 4)
def statistics_of_single_steps(comm):
    def make(dtype):
        how = {"dtype": dtype}
        layers = tnn.Dense(3, 4, use_bias=False, rng=0, **how), tnn.BatchNorm(4, **how)
        return tnn.Sequential(*layers, tnn.Dense(4, 1, rng=1, **how))

    x = np.random.default_rng(0).normal(size=(19, 3))
    compare(comm, make, x, x[:, :1] ** 2, batch_size=6, loss="mse")


@case(2, 4)
def chunks(comm):
    x, y = data(64, 40)
    for chunk in (3, 5):
        compare(comm, plain, x, y, batch_size=48, chunk=chunk)
    x, y = data(24, 8000)
    compare(comm, plain, x, y, batch_size=24, epochs=2, chunk="auto")


@case(2, 4)
def sums_and_own_losses(comm):
    x, y = data()

    @tnn.pure
    @mean_over_samples
    def fourth_power(prediction, target):
        return ops.mean((prediction - target) ** 4)

    total = partial(tnn.losses.mean_squared_error, reduction="sum")
    slow = partial(tnn.SGD, learning_rate=1e-4)
    for size in (16, 35):
        compare(comm, plain, x, y, loss=total, optimizer=slow, batch_size=size)
        compare(comm, plain, x, y, loss=total, compile=False, optimizer=slow, batch_size=size)
        compare(comm, normalised, x, y, loss=total, optimizer=slow, batch_size=size)
    compare(comm, plain, x, y, loss=fourth_power, optimizer=partial(tnn.SGD, learning_rate=1e-2))


@case(2, 4)
def clipping_schedules_and_early_stopping(comm):
    x, y = data()
    how = {"validation_split": 0.3, "epochs": 8}
    rate = tnn.schedules.cosine_decay(0.2, 20)
    clipped = partial(tnn.Adam, learning_rate=rate, clip_norm=0.02, clip_value=0.01)
    compare(comm, plain, x, y, optimizer=clipped, **how)
    steep = partial(tnn.SGD, learning_rate=3.0)
    hooks = lambda: [tnn.callbacks.EarlyStopping(patience=1), tnn.callbacks.ReduceOnPlateau()]  # noqa: E731
    model, alone = plain(), plain()
    history = train(model, x, y, comm, optimizer=steep, callbacks=hooks(), **how)
    its = train(alone, x, y, optimizer=steep, callbacks=hooks(), **how)
    demand_same(model, history, alone, its, 1e-10)
    assert history.stopped == "EarlyStopping"


class Shares:
    """Batches of which each rank yields its share, the last one none at all but on rank 0."""

    def __init__(self, x, y, comm=None):
        self.x, self.y = x, y
        self.rank, self.size = (comm.Get_rank(), comm.Get_size()) if comm else (0, 1)

    def __len__(self):
        return 4

    def __iter__(self):
        for i in range(4):
            n = 11 if i < 3 else 1
            low = 11 * i
            if self.size > 1 and self.rank == 0:  # rank 0 takes more than all others
                part = slice(low, low + (n + 1) // 2)
            else:
                rest, k = low + (n + 1) // 2, max(self.rank - 1, 0)
                left, others = n - (n + 1) // 2, max(self.size - 1, 1)
                part = slice(rest + left * k // others, rest + left * (k + 1) // others)
            part = part if self.size > 1 else slice(low, low + n)
            yield self.x[part], self.y[part], np.linspace(1, 2, len(self.x))[part]


@case(1, 2, 4)
def datasets_that_yield_their_share(comm):
    x, y = data()
    for make in (plain, normalised):
        model, alone = make(), make()
        held_out = {"metrics": ["f1"]}
        history = train(model, Shares(x, y, comm), comm=comm,
                        validation_data=Shares(x, y, comm), **held_out)  # fmt: skip
        its = train(alone, Shares(x, y), validation_data=Shares(x, y), **held_out)
        demand_same(model, history, alone, its, 1e-12)


@case(2, 4)
def a_loop_of_ones_own(comm):
    x, y = data(12)
    rank, size = comm.Get_rank(), comm.Get_size()
    part = slice(len(x) * rank * rank // size**2, len(x) * (rank + 1) ** 2 // size**2)
    model, alone = plain(), plain()
    for m, xs, ys in ((model, x[part], y[part]), (alone, x, y)):
        for p in m.parameters():
            p.grad = None
        crossentropy(m(xs), ys).backward()
    if rank == size - 1:
        model.layers[1].bias.grad = None  # counts as zero
    tnn.distributed.sum_gradients(model.parameters(), comm, len(x[part]) / len(x))
    *most, last = zip(model.parameters(), alone.parameters(), strict=True)
    for p, q in most:
        close(p.grad, q.grad, 1e-12, "a gradient")
    assert last[0].grad is None if size == 1 else last[0].grad is not None
    first = comm.bcast([p.grad for p, _ in most])
    assert all(np.array_equal(p.grad, g) for (p, _), g in zip(most, first, strict=True))


# ---------------------------------------------------------------- who says what, and writes


@case(2, 4)
def draws_and_first_weights(comm):
    x, y = data()
    rank = comm.Get_rank()
    masks = []

    class Noting(tnn.Dropout):
        per_sample = True

        def forward(self, x):
            kept = super().forward(x)
            masks.append(np.array(kept.data == 0))
            return kept

    model = tnn.Sequential(conv(2, 4, 5, rng=rank), Noting(0.5, rng=0), conv(4, 1, 3, rng=rank))
    model.layers[1].p = 0.5
    history = train(model, x, y, comm, rng=None, compile=False, batch_size=16)
    told = comm.allgather((model.state_dict(), history.history, masks[0][:4]))
    for state, figures, _ in told:
        assert all(np.array_equal(state[k], v) for k, v in told[0][0].items())
        assert figures == told[0][1]
    assert len({mask.tobytes() for _, _, mask in told}) == len(told), "the same mask twice"


@case(2, 4)
def one_writer_and_callbacks(comm):
    x, y = data()
    rank, size = comm.Get_rank(), comm.Get_size()
    folder = Path(comm.bcast(tempfile.mkdtemp()))
    own = folder / str(rank)
    hooks = [
        tnn.callbacks.CSVLogger(f"{own}.csv"), tnn.callbacks.SaveBest(f"{own}.npz", "loss"),
        lambda epoch, logs: rank == size - 1 and epoch == 1,
    ]  # fmt: skip
    history = train(plain(), x, y, comm, epochs=5, callbacks=hooks, checkpoint=f"{own}.run")
    assert len(history.epoch) == 2
    assert history.stopped == "<lambda>"
    comm.Barrier()
    assert sorted(p.name for p in folder.iterdir()) == ["0.csv", "0.npz", "0.run"]

    class Watcher(tnn.Callback):
        def on_batch_end(self, batch, logs):
            return batch == 1

    watching = [Watcher()] if rank == size - 1 else []
    history = train(plain(), x, y, comm, epochs=5, callbacks=watching)
    assert history.stopped == "Watcher"
    assert len(history.epoch) == 1


@case(1, 3)
def resumed_by_as_many_and_by_others(comm):
    x, y = data()

    def make():
        layers = (
            conv(2, 4, 5, rng=0),
            tnn.BatchNorm(4),
            tnn.Dropout(0.3, rng=1),
            conv(4, 1, 3, rng=2),
        )
        return tnn.Sequential(*layers)

    folder = comm.bcast(tempfile.mkdtemp())
    whole, first, second = make(), make(), make()
    train(whole, x, y, comm, epochs=4)
    train(first, x, y, comm, epochs=2, checkpoint=f"{folder}/run")
    history = train(second, x, y, comm, epochs=4, checkpoint=f"{folder}/run")
    assert len(history.epoch) == 4
    demand_close(second, whole, 0)

    class Ends(tnn.Callback):
        def on_batch_end(self, batch, logs):
            if self.early and batch == 2:  # the last state that is kept is that after batch 1
                raise InterruptedError

    def hooks(early):
        found = Ends()
        found.early = early
        return [found]

    half = tnn.Checkpoint(f"{folder}/half", minutes=0)
    rest, changed, exact = plain(), plain(), plain()
    train(exact, x, y, epochs=2)
    with raises(InterruptedError):
        train(plain(), x, y, comm, epochs=2, checkpoint=half, callbacks=hooks(True))
    if comm.Get_rank() == 0:  # from as many ranks to one, and from one to as many
        train(rest, x, y, epochs=2, checkpoint=half, callbacks=hooks(False))
        demand_close(rest, exact)
        train(plain(), x, y, epochs=1, checkpoint=f"{folder}/one")
    comm.Barrier()
    history = train(changed, x, y, comm, epochs=2, checkpoint=f"{folder}/one")
    assert len(history.epoch) == 2
    demand_close(changed, exact)


@case(2)
def one_sum_a_step(comm):
    count = [0]

    class Counting(MPI.Intracomm):
        def Dup(self, info=None):
            return Counting(super().Dup())

        def Allreduce(self, *args, **how):
            count[0] += 1
            return super().Allreduce(*args, **how)

    x, y = data(32)
    train(plain(), x, y, Counting(comm), epochs=2, batch_size=8)
    assert count == [8]
    train(normalised(), x, y, Counting(comm), epochs=2, batch_size=8)
    assert count == [8 + 8 * (1 + 3 * 2 + 2)]  # the first BatchNorm has no way back


# ---------------------------------------------------------------- what is refused


@case(3)
def ranks_with_other_settings(comm):
    x, y = data()
    last = comm.Get_rank() == comm.Get_size() - 1
    who = f"rank {comm.Get_size() - 1} (there)"
    deep = tnn.Sequential(conv(2, 1, 3, rng=0), conv(1, 1, 3, rng=0))
    fast = partial(tnn.SGD, learning_rate=0.2, momentum=0.9)
    for other, part in (
        ({"batch_size": 8}, "data.batch_size: 8 there, 16 here"),
        ({"epochs": 4}, "epochs: 4 there, 3 here"),
        ({"optimizer": fast}, "optimizer.learning_rate: 0.2 there, 0.1 here"),
        ({"optimizer": tnn.SGD}, "optimizer.momentum: 0.0 there, 0.9 here"),
        ({"loss": "mse"}, "loss: 'mean_squared_error' there"),
        ({"x": x[1:], "y": y[1:]}, "(36, 24, 2) float64' there, '(37, 24, 2) float64' here"),
        ({"x": x + 1e-9}, "data.values of x"),
        ({"model": deep}, "model.layers.0.filters: '1' there, '4' here"),
    ):
        given = {"model": plain(), "x": x, "y": y, **(other if last else {})}
        if other.get("optimizer") is tnn.SGD and last:
            given["optimizer"] = partial(tnn.SGD, learning_rate=0.1)
        with raises(ValueError, who, part):
            train(comm=comm, **given)
    with raises(TypeError if last else RuntimeError, "fit: "):
        train(plain(), x, y, comm, epochs="two" if last else 2)


@case(1, 2)
def what_cannot_be_put_together(comm):
    x, y = data()
    with raises(ValueError, "fit: ", "mean over samples", "mean_over_samples"):
        train(plain(), x, y, comm, loss=lambda p, t: ops.mean((p - t) ** 2))
    arrays = partial(tnn.losses.binary_crossentropy, from_logits=True, pos_weight=np.ones(1))
    with raises(ValueError, "fit: ", "mean over samples", "arrays"):
        train(plain(), x, y, comm, loss=arrays)
    model = tnn.Sequential(plain(), tnn.Lambda(lambda x: x - x.mean()))
    with raises(ValueError, "fit: ", "layers.1 (Lambda)", "per_sample"):
        train(model, x, y, comm)


@case(2, 4)
def what_all_ranks_find_is_raised_on_all(comm):
    for make in (plain, normalised):
        x, y = data()
        x[30] = np.nan
        for compile in (False, "auto"):
            model = make()
            with raises(FloatingPointError, "the loss is nan in epoch 1/3, batch", "x itself"):
                train(model, x, y, comm, compile=compile)
        with raises(FloatingPointError, "the validation loss is nan", "x itself"):
            train(make(), x[:30], y[:30], comm, validation_data=(x[28:], y[28:]))


@case(1, 2)
def communicators_that_are_none(comm):
    x, y = data(4)
    for wrong in (3, "world", MPI, MPI.Intracomm, comm.Get_rank):
        with raises(TypeError, "fit: communicator must be one of mpi4py"):
            train(plain(), x, y, wrong)
        with raises(TypeError, "sum_gradients: communicator"):
            tnn.distributed.sum_gradients(plain().parameters(), wrong, 1.0)
        with raises(TypeError, "detect: communicator"):
            tnn.distributed.detect(plain(), x[0], 1.0, communicator=wrong, exclusion=3)
    with raises(ValueError, "fit: communicator is MPI.COMM_NULL"):
        train(plain(), x, y, MPI.COMM_NULL)
    with raises(ValueError, "sum_gradients: weight"):
        tnn.distributed.sum_gradients(plain().parameters(), comm, -1)
    if comm.Get_size() > 1:
        half = comm.Split(comm.Get_rank() > 0)
        both = half.Create_intercomm(0, comm, int(comm.Get_rank() == 0))
        with raises(ValueError, "fit: communicator joins two groups"):
            train(plain(), x, y, both)


# ---------------------------------------------------------------- detection


@case(1, 3)
def detection(comm):
    rng = np.random.default_rng(0)
    model = conv(1, 1, 9, rng=0)
    x = rng.normal(size=30_000)
    x[rng.integers(0, len(x), 40)] = np.nan
    x[7400:7600] = np.nan  # across the end of a stretch
    x[14_990:15_003] = -999
    how = {"rate": 100.0, "missing": -999, "scale": (0.1, 1.3)}
    for exclusion in (0, 5, 3000):
        there = tnn.spikes.detect(model, x, 0.5, exclusion=exclusion, **how)
        got = tnn.distributed.detect(
            model, x, 0.5, communicator=comm, exclusion=exclusion, piece_length=4000, **how
        )
        assert len(there) > (3 if exclusion == 3000 else 100)
        assert np.array_equal(got.times, there.times), exclusion
        close(got.scores, there.scores, 1e-6, "scores")
        assert np.array_equal(got.seconds, there.seconds)
        assert np.array_equal(got.missing, there.missing)
        assert got.blind == there.blind
    model = tnn.Sequential(
        tnn.MaxPool1d(4), conv(1, 2, 3, rng=0), tnn.UpSample1d(4), conv(2, 1, 5, rng=1)
    )
    smooth = rng.normal(size=(20_000, 1))
    there = tnn.spikes.detect(model, smooth, 0.2, exclusion=10)
    got = tnn.distributed.detect(model, smooth, 0.2, communicator=comm, exclusion=10)
    assert np.array_equal(got.times, there.times)
    assert got.seconds is None
    assert len(got) > 100
    model = conv(1, 1, 9, rng=0)
    several = [x[:n] for n in (100, 9000, 20, 3000, 1)]
    found = tnn.distributed.detect(model, several, 0.5, communicator=comm, exclusion=5)
    there = [tnn.spikes.detect(model, part, 0.5, exclusion=5) for part in several]
    assert [e.times.tolist() for e in found] == [e.times.tolist() for e in there]
    none = tnn.distributed.detect(model, np.zeros(2), 0.5, communicator=comm, exclusion=5)
    assert (len(none), none.blind, none.missing.shape) == (0, 0, (0, 2))
    with raises(ValueError, "detect: threshold"):
        tnn.distributed.detect(model, x, np.nan, communicator=comm, exclusion=5)


# ---------------------------------------------------------------- running them


def wait_for(comm):
    """Wait without taking a core from those who are at work."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(0.005)


def tell(name, size, begin, fault=""):
    seconds = round(time.perf_counter() - begin, 2)
    print(json.dumps({"case": name, "ranks": size, "seconds": seconds, "fault": fault}), flush=True)


def main(names):
    world = MPI.COMM_WORLD
    for size in range(1, world.Get_size() + 1):
        comm = world.Split(0 if world.Get_rank() < size else MPI.UNDEFINED)
        for name in [name for name in names or CASES if size in CASES[name].sizes]:
            begin = time.perf_counter()
            try:
                if comm:
                    CASES[name](comm)
            except Exception:
                tell(name, size, begin, traceback.format_exc())
                world.Abort(1)  # the others may wait for this one
            wait_for(world)
            if world.Get_rank() == 0:
                tell(name, size, begin)


if __name__ == "__main__":
    main(sys.argv[1:])
