"""Where a nan shows: a shortcut is taken only if a value that is checked would tell."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops
from tinynn.replay.lowering import lower

from .recorded import names, program, recorded

passing = tnn.elementwise(lambda g, y, x: g, passes_nan=True)(lambda x: x * 2)
hiding = tnn.elementwise(lambda g, y, x: g)(lambda x: np.nan_to_num(x))


def of_first_step(f, *arrays):
    """Tell whether a nan in the result of the first step is hidden."""
    return lower(recorded(f, *arrays)).steps[0].hidden


X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("f", "hidden"),
    [
        (lambda x: passing(x), False),
        (lambda x: passing(passing(x)), False),
        (lambda x: hiding(passing(x)), True),
        (lambda x: (lambda y: (hiding(y), passing(y)))(passing(x)), False),  # shows in the other
        (lambda x: (lambda y: (hiding(y), y[:1] + 1))(passing(x)), True),  # but not all of it
        (lambda x: (lambda y: (hiding(y), y.T + 1))(passing(x)), False),
        (lambda x: passing(x)[:1] + 1, False),  # what is left out is read by nobody
        (lambda x: (lambda y: (hiding(y), ops.sum(y)))(passing(x)), False),
        (lambda x: (lambda y: (hiding(y), y @ np.ones(3)))(passing(x)), False),
        (lambda x: passing(x) > 0, True),
        (lambda x: (passing(x), x * 2)[1], False),  # it is used by nobody
    ],
)
def test_whether_a_nan_is_hidden(f, hidden):
    assert of_first_step(f, X) is hidden


def test_what_is_read_after_an_effect_is_checked_before_it():
    w = tnn.Tensor(np.ones((2, 3)), requires_grad=True)

    def f(x):
        y = passing(x)
        hidden = hiding(y)
        w.data = w.data * 2
        return hidden, y + 1

    assert of_first_step(f, X) is False


def test_a_guarded_product_is_a_plain_one_where_a_nan_would_show_and_only_there():
    assert names(program(lambda x: ops.guarded_multiply(x, x), X))[0] == "multiply"
    kept = program(lambda x: hiding(ops.guarded_divide(x, x)), X)
    assert "guarded_divide" in names(kept)
    assert kept.run([np.zeros((2, 3))]).tolist() == np.zeros((2, 3)).tolist()


def test_a_convolutional_classifier_needs_no_check_but_the_last():
    rng = np.random.default_rng(0)
    model = tnn.Sequential(
        tnn.Conv1d(1, 4, 5, padding="same", activation="relu", rng=rng),
        tnn.Conv1d(4, 1, 5, padding="same", rng=rng),
    )

    def step(x, y):
        for w in model.parameters():
            w.grad = None
        loss = ops.mean(ops.logit_crossentropy(model(x), y))
        loss.backward()
        return loss.item()

    p = program(step, np.ones((2, 30, 1), "float32"), np.ones((2, 30, 1), "float32"))
    found = names(p)
    assert found.count("check_finite") == 1
    assert "guarded_multiply" not in found
