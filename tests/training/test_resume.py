"""fit with a checkpoint: killed and started again it is the same training, and no other one."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinynn as tnn
from tinynn.training import archive
from tinynn.training.steps import EagerStep

from . import kills


def data(seed=0, n=30):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 10, 1)).astype("float32")
    return x, (x > 0.5).astype("float32")


def model(**changes):
    how = {"filters": 4, "rate": 0.3, "activation": "relu", "dtype": "float32"} | changes
    rng, dtype = np.random.default_rng(3), how["dtype"]
    return tnn.Sequential(
        tnn.Conv1d(1, how["filters"], 3, padding="same", activation=how["activation"], rng=rng,
                   dtype=dtype),
        tnn.Dropout(how["rate"], rng=rng),
        tnn.Dense(how["filters"], 1, "sigmoid", rng=rng, dtype=dtype),
    )  # fmt: skip


def trained(checkpoint=None, *, net=None, make=tnn.Adam, rate=0.02, epochs=3, **how):
    """Train as a script would that is started anew; return model, optimizer and History."""
    net = model() if net is None else net
    optimizer = how.pop("optimizer", None) or make(net.parameters(), rate)
    x, y = data()
    given = {"x": x, "y": y, "rng": np.random.default_rng(5), "batch_size": 7} | how
    if given["y"] is None:
        given = {k: v for k, v in given.items() if k not in ("rng", "batch_size")}
    history = tnn.fit(
        net, loss=given.pop("loss", "binary_crossentropy"), optimizer=optimizer, epochs=epochs,
        checkpoint=checkpoint, progress=False, **given,
    )  # fmt: skip
    return net, optimizer, history


def demand_same(a, b):
    np.testing.assert_equal(a[0].state_dict(), b[0].state_dict())
    np.testing.assert_equal(a[1].state_dict(), b[1].state_dict())
    np.testing.assert_equal(vars(a[2]), vars(b[2]))


class Stop(Exception):
    """Stands for a power failure."""


def failing(at, **when):
    """Return a callback that fails after so many batches."""

    class Failing(tnn.Callback):
        left = at

        def on_batch_end(self, batch, logs):
            self.left -= 1
            if not self.left:
                raise Stop

    return Failing()


class Silent(tnn.Callback):
    def on_batch_end(self, batch, logs):
        pass


Failing = type("Failing", (Silent,), {})  # of the same name as the one that fails


@pytest.mark.parametrize("minutes", [None, 0])
@pytest.mark.parametrize("compile", ["auto", False])
@pytest.mark.parametrize("at", [1, 3, 5, 6, 11, 15])
def test_a_training_goes_on_where_it_was(at, compile, minutes, tmp_path):
    whole = trained(callbacks=[Failing()], compile=compile)
    checkpoint = tnn.Checkpoint(tmp_path / "run", minutes=minutes)
    with pytest.raises(Stop):
        trained(checkpoint, callbacks=[failing(at)], compile=compile)
    kept = checkpoint.load()["run"]
    assert (kept["epoch"], kept["batch"]) == divmod(
        at - 1 if minutes == 0 else (at - 1) // 5 * 5, 5
    )
    demand_same(trained(checkpoint, callbacks=[Failing()], compile=compile), whole)


@pytest.mark.parametrize("at", [1, 2, 5, 6, 11])
def test_it_does_where_batches_are_recorded_when_they_come_again(at, tmp_path, monkeypatch):
    monkeypatch.setattr("tinynn.replay.step.HUGE", 0)
    steps = []
    go_on = EagerStep.go_on
    monkeypatch.setattr(EagerStep, "go_on", lambda *a: steps.append(a) or go_on(*a))
    whole = trained(callbacks=[Failing()])
    assert len(steps) == 2  # the first batch, and the first of the smaller ones
    checkpoint = tnn.Checkpoint(tmp_path / "run", minutes=0)
    with pytest.raises(Stop):
        trained(checkpoint, callbacks=[failing(at)])
    demand_same(trained(checkpoint, callbacks=[Failing()]), whole)


def test_a_finished_training_returns_at_once_and_more_epochs_go_on(tmp_path):
    stopping = lambda: [tnn.callbacks.EarlyStopping("loss", patience=100)]  # noqa: E731
    first = trained(tmp_path / "run", callbacks=stopping())
    content = (tmp_path / "run").read_bytes()
    demand_same(trained(tmp_path / "run", callbacks=stopping()), first)
    assert (tmp_path / "run").read_bytes() == content
    more = trained(tmp_path / "run", epochs=6, callbacks=stopping())
    demand_same(more, trained(epochs=6, callbacks=stopping()))
    with pytest.raises(ValueError, match=r"is in epoch 6 already, so epochs must be at least that"):
        trained(tmp_path / "run", epochs=5, callbacks=stopping())


def test_a_training_that_was_stopped_stays_stopped(tmp_path):
    first = trained(tmp_path / "run", epochs=9, callbacks=[lambda epoch, logs: epoch == 1])
    assert len(first[2].history["loss"]) == 2
    again = trained(tmp_path / "run", epochs=20, callbacks=[lambda epoch, logs: epoch == 1])
    demand_same(again, first)


def test_large_layers_of_several_dtypes_and_orders_in_memory(tmp_path):
    """Parameters of more elements than are joined, computed by BLAS in either order."""

    def net():
        rng = np.random.default_rng(0)
        layers = [tnn.Flatten(), tnn.Dense(10, 300, "tanh", rng=rng),
                  tnn.Dense(300, 200, "tanh", dtype="float64", rng=rng),
                  tnn.Dense(200, 10, "sigmoid", dtype="float16", rng=rng)]  # fmt: skip
        layers[2].kernel.data = np.asfortranarray(layers[2].kernel.data)
        return tnn.Sequential(*layers)

    how = {
        "y": data()[1][..., 0],
        "loss": "mean_squared_error",
        "make": partial(tnn.SGD, momentum=0.9),
    }
    for compile in ("auto", False):
        file = tmp_path / f"run{compile}"
        whole = trained(net=net(), compile=compile, epochs=4, **how)
        trained(file, net=net(), compile=compile, epochs=2, **how)
        demand_same(trained(file, net=net(), compile=compile, epochs=4, **how), whole)


# ---------------------------------------------------------------- other trainings are refused


def other(**changes):
    return {"net": model(**changes)}


def frozen():
    net = model()
    net[0].bias.requires_grad = False
    return {"net": net}


def deeper():
    return {"net": tnn.Sequential(*model(), tnn.Flatten(), tnn.Dense(10, 10))}


def weighted(prediction, target):
    return tnn.losses.binary_crossentropy(prediction, target)


OTHERS = {
    "learning rate": (lambda: {"rate": 0.05}, "optimizer.learning_rate: 0.02 there, 0.05 here"),
    "schedule": (
        lambda: {"rate": tnn.schedules.constant(0.02)},
        r"optimizer.learning_rate: 0.02 there, 'constant\(rate=0.02\)' here",
    ),
    "optimizer": (lambda: {"make": tnn.AdamW}, "optimizer.optimizer: 'Adam' there, 'AdamW' here"),
    "setting": (lambda: {"make": partial(tnn.Adam, beta_1=0.5)}, "optimizer.beta_1: 0.9 there"),
    "clipping": (lambda: {"make": partial(tnn.Adam, clip_norm=1.0)}, "optimizer.clip_norm: none t"),
    "batch size": (lambda: {"batch_size": 8}, "data.batch_size: 7 there, 8 here"),
    "shuffle": (lambda: {"shuffle": False}, "data.shuffle: True there, False here"),
    "data size": (
        lambda: dict(zip("xy", data(n=29), strict=True)),
        r"data.x: '\(30, 10, 1\) float32' there, '\(29, 10, 1\) float32' here",
    ),
    "data": (lambda: dict(zip("xy", data(seed=1), strict=True)), "data.values of x: '.*' there"),
    "targets": (lambda: {"y": data()[1] * 0.9}, "data.values of y: '.*' there"),
    "weights": (lambda: {"sample_weight": np.arange(30.0)}, "data.weights: none there"),
    "classes": (lambda: {"class_weight": {1: 2.0}}, "data.weights: none there"),
    "validation": (lambda: {"validation_data": data()}, "validation data: none there, .* here"),
    "split": (lambda: {"validation_split": 0.2}, r"data.x: '\(30, .* there, '\(24, "),
    "dataset": (lambda: {"x": [data()], "y": None}, "data.class: none there, 'list' here"),
    "loss": (lambda: {"loss": "mean_squared_error"}, "loss: 'binary_crossentropy' there, 'mean_s"),
    "own loss": (lambda: {"loss": weighted}, "loss: 'binary_crossentropy' there, 'weighted' here"),
    "metrics": (lambda: {"metrics": ["mae"]}, r"metrics: \[\] there, \['mae'\] here"),
    "callbacks": (
        lambda: {"callbacks": [tnn.callbacks.EarlyStopping("loss")]},
        r"callbacks: \[\] there, \['EarlyStopping'\] here",
    ),
    "filters": (
        lambda: other(filters=5),
        r"model.layers.0.filters: '4' there, '5' here(?s:.*)"
        r"parameters.layers.0.kernel: '\(3, 1, 4\) float32' there, '\(3, 1, 5\) float32' here",
    ),
    "dropout": (lambda: other(rate=0.4), "model.layers.1.rate: '0.3' there, '0.4' here"),
    "activation": (lambda: other(activation="tanh"), "layers.0.activation: 'relu' there, 'tanh' h"),
    "dtype": (lambda: other(dtype="float64"), r"layers.0.kernel: '\(3, 1, 4\) float32' there"),
    "frozen": (frozen, r"layers.0.bias: '\(4,\) float32' there, '\(4,\) float32, frozen' here"),
    "depth": (deeper, r"model.layers.4: none there, \{'class': 'tinynn.Dense', "),
    "generator": (
        lambda: {"rng": np.random.Generator(np.random.MT19937(1))},
        "generators.data.rng: 'PCG64' there, 'MT19937' here",
    ),
}


@pytest.mark.parametrize(("change", "told"), OTHERS.values(), ids=OTHERS)
def test_another_training_is_refused_by_what_differs(change, told, tmp_path):
    trained(tmp_path / "run", epochs=1)
    how = change()
    how = {"net": model()} | how
    before = how["net"].state_dict()
    content = (tmp_path / "run").read_bytes()
    with pytest.raises(ValueError, match=rf"(?s)fit: the checkpoint .*run is of a .*\n  .*{told}"):
        trained(tmp_path / "run", **how)
    np.testing.assert_equal(how["net"].state_dict(), before)
    assert (tmp_path / "run").read_bytes() == content


def test_in_a_notebook_a_cell_may_be_run_again(tmp_path):
    """Then the objects are those that the training has changed, also by callbacks."""
    net = model()
    optimizer = tnn.Adam(net.parameters(), 0.02)
    how = {"net": net, "optimizer": optimizer, "callbacks": [
        tnn.callbacks.ReduceOnPlateau("loss", patience=1, min_delta=10.0)]}  # fmt: skip
    trained(tmp_path / "run", epochs=3, **how)
    assert optimizer.learning_rate < 0.02
    again = trained(tmp_path / "run", epochs=5, **how)
    callbacks = [tnn.callbacks.ReduceOnPlateau("loss", patience=1, min_delta=10.0)]
    demand_same(again, trained(epochs=5, callbacks=callbacks))


def test_other_arguments_and_files_are_refused(tmp_path):
    for given in (3, True, [tmp_path / "run"]):
        with pytest.raises(
            TypeError, match=r"fit: checkpoint must be a path or a tinynn\.Checkpoi"
        ):
            trained(given)
    with pytest.raises(FileNotFoundError, match=r"Checkpoint: .* there is no folder"):
        trained(tmp_path / "nowhere" / "run")
    tnn.Checkpoint(tmp_path / "mine").save({"epoch": 1})
    with pytest.raises(ValueError, match="mine is none of fit, but holds another state"):
        trained(tmp_path / "mine")
    (tmp_path / "damaged").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="damaged is not a readable checkpoint"):
        trained(tmp_path / "damaged")


def test_a_state_that_cannot_be_kept_is_said_before_the_first_batch(tmp_path):
    class Odd(Silent):
        def on_batch_end(self, batch, logs):
            raise Stop

        def state_dict(self):
            return {"seen": {1, 2}}

    with pytest.raises(TypeError, match=r"run\.callbacks\.0\.seen is \{1, 2\}, a set"):
        trained(tmp_path / "run", callbacks=[Odd()])
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- datasets


class Drifting(kills.Noisy):
    def __init__(self):
        super().__init__(*data())


class Counting(Drifting):
    """Reads on from where it stands, as a stream of files would."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def state_dict(self):
        self.asked.append(self.epochs)
        return {"epochs": self.epochs, "mine": self.rng.bit_generator.state}

    def load_state_dict(self, state):
        self.epochs, self.rng.bit_generator.state = state["epochs"], state["mine"]


@pytest.mark.parametrize("kind", [Drifting, Counting])
@pytest.mark.parametrize("at", [2, 6, 8, 12])
def test_a_dataset_goes_on_where_it_was(kind, at, tmp_path):
    def how():
        return {"x": kind(), "y": None, "validation_data": kind()}

    whole = trained(callbacks=[Failing()], **how())
    checkpoint = tnn.Checkpoint(tmp_path / "run", minutes=0)
    with pytest.raises(Stop):
        trained(checkpoint, callbacks=[failing(at)], **how())
    demand_same(trained(checkpoint, callbacks=[Failing()], **how()), whole)


# ---------------------------------------------------------------- Ctrl-C, a full disk, kills


class Pressing(tnn.Callback):
    """Presses Ctrl-C at a batch, or while the model is evaluated."""

    def __init__(self, at):
        self.at = at

    def on_batch_end(self, batch, logs):
        if batch == self.at:
            os.kill(os.getpid(), signal.SIGINT)


class Pressed(tnn.Layer):
    """Presses Ctrl-C in its first evaluations, and draws then too."""

    def __init__(self, presses):
        self.presses, self.rng = presses, np.random.default_rng(0)

    def forward(self, x):
        if not self.training:
            x = x + self.rng.normal(size=x.shape)
            if self.presses:
                self.presses -= 1
                os.kill(os.getpid(), signal.SIGINT)
        return x


@pytest.mark.parametrize("at", [0, 2, 4])
def test_ctrl_c_keeps_the_whole_steps_and_the_next_start_goes_on(at, tmp_path):
    whole = trained(callbacks=[Pressing(99)])
    for _ in range(2):
        ended = trained(tmp_path / "run", callbacks=[Pressing(at)])
        assert ended[2].stopped == "Ctrl-C"
    run = tnn.Checkpoint(tmp_path / "run").load()["run"]
    assert (run["epoch"], run["batch"]) == ((0, at + 1) if at < 4 else (0, 5)) or run["epoch"] == 1
    demand_same(trained(tmp_path / "run", callbacks=[Pressing(99)]), whole)


def test_ctrl_c_while_it_validates(tmp_path):
    def how(presses):
        net = tnn.Sequential(*model(), Pressed(presses))
        return {
            "net": net,
            "validation_data": data(),
            "compile": False,
            "loss": "mean_squared_error",
        }

    whole = trained(**how(0))
    assert trained(tmp_path / "run", **how(1))[2].stopped == "Ctrl-C"
    run = tnn.Checkpoint(tmp_path / "run").load()["run"]
    assert (run["epoch"], run["batch"]) == (0, 5)
    demand_same(trained(tmp_path / "run", **how(0)), whole)


def test_a_full_disk_ends_the_training_and_it_goes_on_when_there_is_room(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    disk = {"full": False}

    def filling(epoch, logs):
        if disk["full"] and epoch == 1:
            patched.setattr(archive.os, "fsync", full)

    whole = trained(callbacks=[filling])
    disk["full"] = True
    with monkeypatch.context() as patched:
        with pytest.raises(OSError, match=r"Checkpoint: No space left on device: .*run") as caught:
            trained(tmp_path / "run", callbacks=[filling])
        assert len(caught.value.history.history["loss"]) == 2
    assert tnn.Checkpoint(tmp_path / "run").load()["run"]["epoch"] == 1
    disk["full"] = False
    demand_same(trained(tmp_path / "run", callbacks=[filling]), whole)
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked off")
def test_a_handful_of_kills():
    """Two hundred: python -m tests.training.kills."""
    if threading.active_count() > 1:
        pytest.skip("other threads are alive, which a fork would lose")
    assert kills.main(15, seed=2, show=lambda line: None) == 15


SCRIPT = """
import sys
from pathlib import Path
from tests.training import kills
how = next(kills.settings())
file = sys.argv[2] and kills.tnn.Checkpoint(sys.argv[2], how["minutes"])
print(kills.train(Path(sys.argv[1]), how, file or None))
"""


def test_a_script_is_started_again_in_a_new_process(tmp_path):
    root, file = Path(tnn.__file__).parents[1], tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}

    def started(checkpoint=""):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(checkpoint)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env=environment)

    with started() as whole:
        expected = whole.stdout.read()
    kept = None
    for _ in range(3):
        with started(file) as script:
            while script.poll() is None and (content(file) == kept):
                time.sleep(0.001)
            script.kill()
        kept = content(file)
    with started(file) as script:
        assert script.stdout.read() == expected
    assert len(expected) > 60


def content(file):
    return file.read_bytes() if file.exists() else None


def test_a_training_that_has_ended_says_so_when_it_is_begun_again(tmp_path, capsys):
    path = tmp_path / "run.ckpt"

    def trained(epochs, **options):
        model = tnn.Dense(2, 1, rng=0)
        how = {"optimizer": tnn.SGD(model.parameters(), 0.0), "loss": "mse", "rng": 0}
        return tnn.fit(
            *(model, np.ones((4, 2)), np.ones((4, 1))), epochs=epochs, checkpoint=path, **how,
            callbacks=[tnn.callbacks.EarlyStopping("loss", patience=1)], **options,
        )  # fmt: skip

    first = trained(20, progress=False)
    assert len(first.history["loss"]) < 20
    capsys.readouterr()
    again = trained(30)
    words = "the checkpoint holds a training that has ended after epoch 2: EarlyStopping"
    assert words in capsys.readouterr().err
    assert again.history == first.history
