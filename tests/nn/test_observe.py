"""A look at a model at work: no call more, no trace left, one series not taken for samples."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn.nn.observe import first_nonfinite_layer, observed, one_series_refused


class Counts(tnn.Layer):
    def __init__(self, inner, before=lambda x: x):
        self.inner, self.before, self.calls = inner, before, 0

    def forward(self, x):
        self.calls += 1
        return self.inner(self.before(x))


def refused(model, x):
    return one_series_refused("predict", model, x, len(x), "Add an axis.")


def test_the_layer_that_takes_samples_for_steps_is_named():
    model = Counts(tnn.Sequential(tnn.Activation("relu"), tnn.Conv1d(3, 1, 2)))
    x = np.ones((7, 3))
    words = (
        r"^predict: x must be .* which inner\.layers\.1 \(Conv1d\) takes for one series .* axis\.\n"
    )
    with pytest.raises(ValueError, match=words), refused(model, x):
        model(x)
    assert model.calls == 1
    assert not any("forward" in vars(layer) for _, layer in model.named_layers())
    model(x)  # outside, it may


@pytest.mark.parametrize(
    "model",
    [
        Counts(tnn.Conv1d(1, 1, 2), lambda x: x[:, :, None]),
        Counts(tnn.Conv1d(3, 1, 2), lambda x: x[None]),
        Counts(tnn.Conv1d(3, 1, 2), lambda x: x[:4]),
        Counts(tnn.Dense(3, 1)),
    ],
)
def test_what_a_model_makes_of_its_samples_is_seen_not_guessed(model):
    with refused(model, np.ones((7, 3))):
        y = model(np.ones((7, 3)))
    assert model.calls == 1
    assert isinstance(y, tnn.Tensor)


def test_samples_with_three_axes_are_none_of_its_business():
    model = tnn.Conv1d(3, 1, 2)
    with refused(model, np.ones((2, 7, 3))):
        model(np.ones((2, 7, 3)))
        model(np.ones((7, 3)))


def test_a_forward_of_the_objects_own_is_put_back():
    layer = tnn.Dense(2, 2, rng=0)
    own = layer.forward = lambda x: x * 2
    with observed(layer) as calls:
        layer(np.ones(2))
    assert [(path, float(y.data[0])) for path, _, _, y in calls] == [("", 2.0)]
    assert vars(layer)["forward"] is own


def test_an_error_inside_leaves_no_trace():
    model = tnn.Sequential(tnn.Dense(2, 2), tnn.Dense(3, 2))
    with pytest.raises(ValueError, match="Dense: the last axis"), observed(model) as calls:
        model(np.ones((1, 2)))
    assert [path for path, *_ in calls] == ["layers.0", "layers.1", ""]
    assert not any("forward" in vars(layer) for _, layer in model.named_layers())


def test_the_first_layer_that_is_not_finite_is_found():
    model = tnn.Sequential(tnn.Activation("relu"), tnn.Activation(tnn.log), tnn.Activation("tanh"))
    assert first_nonfinite_layer(model, np.array([0.0, 1.0])) == "layers.1 (Activation)"
    assert first_nonfinite_layer(model, np.array([1.0])) is None


def test_summary_calls_a_model_once():
    model = Counts(tnn.Dense(2, 1))
    seen = []
    model.before = lambda x: seen.append(1) or x
    model.summary((2,))
    assert len(seen) == 1
    with pytest.raises(ValueError, match=r"summary: input_shape \(3,\), .* does not fit the model"):
        model.summary((3,))
    assert len(seen) == 2


def test_what_is_no_number_in_an_output_is_passed_over():
    class Pair(tnn.Layer):
        def forward(self, x):
            return x, None

    assert first_nonfinite_layer(Pair(), np.ones((1, 2))) is None
    assert first_nonfinite_layer(Pair(), np.full((1, 2), np.inf)) == "model (Pair)"
