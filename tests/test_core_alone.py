"""The core alone: with the fast path taken away everything works, and ``fit`` is eager."""

import os
import subprocess
import sys
from pathlib import Path

import tinynn

TESTS = Path(__file__).parent
TAKEN_AWAY = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[:2] == ["tinynn", "replay"]:
            raise ModuleNotFoundError(f"{name} was taken away", name=name)

sys.meta_path.insert(0, Refuse())
"""
# The quick part of the core's tests: all but comparisons with other libraries and long searches.
SELECTED = [
    "kernels",
    *(f"autodiff/test_{name}.py" for name in ("contracts", "tensor", "transforms", "ops")),
    *(f"nn/test_{name}.py" for name in ("layers", "losses")),
    "spikes/test_events.py",
    *(f"testing/test_{name}.py" for name in ("check_primitive", "reports")),
    *(f"training/test_{name}.py" for name in ("callbacks", "files", "history", "inference")),
    *(f"training/test_{name}.py" for name in ("loop", "optimizers", "run")),
    *(f"training/test_{name}.py" for name in ("groups", "schedules", "clipping", "streaming")),
]


def run(code, *arguments):
    root = Path(tinynn.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", TAKEN_AWAY + code, *arguments],
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )


def test_fit_and_predict_are_eager_without_the_fast_path():
    done = run("""
import numpy as np, tinynn as tnn
model = tnn.Sequential(tnn.Conv1d(1, 2, 3, activation="relu", rng=0), tnn.Conv1d(2, 1, 1, rng=1))
x = np.random.default_rng(0).normal(size=(8, 20, 1)).astype("float32")
history = tnn.fit(model, x, x[:, 1:-1], loss="mean_squared_error", epochs=2, progress=False,
                  optimizer=tnn.SGD(model.parameters(), 0.01), rng=0)
assert history.history["loss"][1] < history.history["loss"][0]
assert tnn.predict(model, x).shape == (8, 18, 1)
stream = tnn.stream(model)
assert len(stream.push(x[0])) + len(stream.finish()) == 18
assert not any(name.startswith("tinynn.replay") for name in sys.modules)
print(history.eager)
""")
    assert done.returncode == 0, done.stderr
    assert "tinynn.replay" in done.stdout


def test_what_only_the_fast_path_has_is_refused_by_its_name():
    done = run("import tinynn; tinynn.compile")
    assert done.returncode
    assert "tinynn.replay was taken away" in done.stderr


def test_the_tests_of_the_core_pass_without_the_fast_path():
    files = [str(TESTS / name) for name in SELECTED]  # pytest ends with an error for a missing one
    options = ["-q", "-x", "-n0", "-p", "no:cacheprovider"]  # -n0: in the process that refuses
    done = run("import pytest; sys.exit(pytest.main(sys.argv[1:]))", *options, *files)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
