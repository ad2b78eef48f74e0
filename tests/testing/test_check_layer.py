"""check_layer: inputs and all parameters by path, on a copy, with the layer left as it was."""

import threading

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops
from tinynn.testing import GradcheckError, check_layer

X = np.random.default_rng(0).normal(size=(4, 3))


class Centred(tnn.Layer):
    """Keeps a running mean; parameters in a list and a dict, one of them twice."""

    def __init__(self):
        self.parts = [tnn.Dense(3, 3, activation="tanh", rng=0), {"last": tnn.Dense(3, 3, rng=1)}]
        self.again = self.parts[0].kernel
        self.mean = tnn.Tensor(np.zeros(3, "f4"))
        self.drop = tnn.Dropout(0.3, rng=0)

    def forward(self, x):
        mean = x.mean(0)
        self.mean = (0.9 * self.mean + 0.1 * mean).detach()
        return self.drop(self.parts[1]["last"](self.parts[0](x - mean))) @ self.again


@tnn.primitive(
    lambda g, y, x, k: g @ ops.transpose(k), lambda g, y, x, k: ops.transpose(x) @ g / len(x)
)
def averaged(x, k):
    return x @ k


class Averaged(tnn.Layer):
    def __init__(self):
        self.kernel = tnn.Tensor(np.eye(3, 2) + 0.1, dtype="float32", requires_grad=True)

    def forward(self, x):
        return averaged(x, self.kernel)


class Constant(tnn.Layer):
    """Right, but its gradient is not: half of the kernel is taken for a constant."""

    def __init__(self):
        self.kernel = tnn.Tensor(np.ones(3), requires_grad=True)

    def forward(self, x):
        half = tnn.elementwise(lambda g, y, k: 2 * g * np.asarray(k))(lambda k: k * k)
        return half(self.kernel) * x


@pytest.mark.parametrize("mode", ["auto", "full", "fast"])
@pytest.mark.parametrize("order", [1, 2])
def test_inputs_and_parameters_are_checked_by_path(order, mode):
    report = check_layer(Centred(), X, order=order, mode=mode)
    paths = [
        "input 0",
        "parts.0.kernel",
        "parts.0.bias",
        "parts.1.last.kernel",
        "parts.1.last.bias",
    ]
    assert [entry.name for entry in report.inputs if entry.order == 1] == paths
    assert all(entry.verdict == "ok" for entry in report.inputs)


def test_the_layer_is_left_as_it_was():
    layer = Centred()
    before, mode = layer.state_dict(), layer.training
    check_layer(layer, X, order=2)
    for path, value in layer.state_dict().items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, before[path])
    assert layer.training == mode
    assert all(p.grad is None for p in layer.parameters())
    np.testing.assert_array_equal(layer.drop(np.ones(9)), tnn.Dropout(0.3, rng=0)(np.ones(9)))


def test_it_is_checked_in_double_precision_unless_float32_is_allowed():
    layer = tnn.Dense(3, 2, activation="tanh", rng=0)
    assert "float32" not in str(check_layer(layer, X))
    assert "float32" not in str(check_layer(layer, X.astype("f4")))
    assert "float32: compared at" in str(check_layer(layer, X.astype("f4"), allow_float32=True))


@pytest.mark.parametrize("mode", ["auto", "full"])
def test_a_wrong_gradient_of_a_parameter_is_named_by_its_path(mode):
    model = tnn.Sequential(tnn.Dense(3, 3, rng=0), Averaged())
    with pytest.raises(
        GradcheckError, match="check_layer: FAILED at order 1: a constant"
    ) as caught:
        check_layer(model, X, mode=mode)
    assert "layers.1.kernel, worst at" in str(caught.value).splitlines()[1]
    assert caught.value.report.cause == "a constant factor 0.25: off by the batch size, 4"
    assert [e.name for e in caught.value.report.inputs if e.verdict == "wrong"] == [
        "layers.1.kernel"
    ]


def test_a_wrong_second_derivative_of_a_parameter():
    assert check_layer(Constant(), X)
    report = check_layer(Constant(), X, order=2, raise_on_fail=False)
    assert report.order == 2
    assert [e.name for e in report.inputs if e.verdict == "wrong"] == ["kernel"]


class Lookup(tnn.Layer):
    def __init__(self):
        self.table = tnn.Tensor(np.ones((5, 3)), requires_grad=True)

    def forward(self, tokens, x, scale):
        return self.table[np.asarray(tokens)] * x, (x * scale).sum()


def test_other_arguments_are_passed_on_and_results_may_be_several():
    report = check_layer(Lookup(), np.array([0, 2, 2, 4]), X, 3)
    assert [entry.name for entry in report.inputs] == ["input 1", "table"]


def test_layers_without_parameters_and_under_no_grad():
    with tnn.no_grad():
        assert check_layer(tnn.GlobalAvgPool1d(), np.ones((2, 4, 3)), order=2)


class Locked(tnn.Layer):
    def __init__(self):
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_layer(np.sin, X), "check_layer: layer must be a tinynn.Layer"),
        (
            lambda: check_layer(Locked(), X),
            "check_layer: this Locked cannot be copied: cannot pick",
        ),
        (lambda: check_layer(tnn.Activation("relu"), np.arange(3)), "there is nothing to check"),
        (lambda: check_layer(tnn.Dense(3, 2), X, order=0), "check_layer: order must be a positive"),
        (lambda: check_layer(tnn.Dense(3, 2), X * np.nan), "check_layer: input 0 must be finite"),
        (lambda: check_layer(tnn.Dense(4, 2), X), "must have 4 features"),
    ],
)
def test_misuse(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
