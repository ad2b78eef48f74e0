"""How many functions a call enters: the way from a layer to NumPy stays short."""

import sys
from pathlib import Path

import numpy as np
import pytest

import tinynn as tnn

ROOT = str(Path(tnn.__file__).parent)


def entered(call):
    """Return the functions of the package that a call enters, in order."""
    found = []

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(ROOT):
            file = Path(frame.f_code.co_filename).relative_to(ROOT)
            found.append(f"{file}:{frame.f_code.co_name}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return found


@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_convolution_enters_twenty_functions_at_most(requires_grad):
    layer = tnn.Conv1d(1, 8, 9, padding="same", activation="relu", rng=0)
    x = tnn.Tensor(np.ones((4, 64, 1), "float32"), requires_grad=requires_grad)
    layer(x)
    found = set(entered(lambda: layer.forward(x)))
    assert len(found) <= 20, "\n".join(sorted(found))


def test_the_count_counts():
    x = tnn.Tensor(np.ones(3))
    tnn.exp(x)
    found = entered(lambda: tnn.exp(x))
    assert found.count("autodiff/ops/elementary.py:exp") == 1
    assert len(entered(lambda: [tnn.exp(x), tnn.exp(x)])) == 2 * len(found)
