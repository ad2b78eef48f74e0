"""Moves made together: as many as the function permits, with the slopes of moves one by one."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn.testing import check_grads, check_layer
from tinynn.testing.moves import differences, independent_axes
from tinynn.testing.points import OnTensors, Settings, point_at

RNG = np.random.default_rng(0)


def point(f, *inputs):
    settings = Settings(1e-5, 1e-8, None, "full", np.random.default_rng(0))
    names = [str(i) for i in range(len(inputs))]
    return point_at(OnTensors(f, "test"), list(inputs), names, settings, 1)


def axes(f, *inputs):
    at = point(f, *inputs)
    return [sorted(independent_axes(at, i, np.ones(x.shape))) for i, x in enumerate(inputs)]


def normal(*shapes):
    return [RNG.normal(size=shape) for shape in shapes]


CASES = {  # function, inputs, the axes of each along which moves are made together
    "elementwise": (lambda x: tnn.sin(x), normal((3, 4)), [[0, 1]]),
    "dense": (lambda x, k: tnn.tanh(x @ k), normal((4, 3), (3, 5)), [[0], [1]]),
    "convolution": (
        lambda x, k, b: tnn.conv1d(x, k, b),
        normal((2, 9, 3), (3, 3, 4), (4,)),
        [[0], [2], []],  # so few are moved one by one
    ),
    "softmax": (lambda x: tnn.softmax(x), normal((4, 4)), [[0]]),
    "over the other axis": (lambda x: tnn.softmax(x, 0), normal((4, 4)), [[1]]),
    "transposed": (lambda x: tnn.softmax(x).T, normal((4, 5)), [[0]]),
    "a sum": (lambda x: tnn.sin(x).sum(), normal((4, 4)), [[]]),
    "over the batch": (lambda x: (x - x.mean(0)) ** 2, normal((4, 5)), [[1]]),
    "several results": (lambda x, k: (x @ k, k * 2), normal((4, 3), (3, 5)), [[0], [1]]),
    "results of another shape": (lambda x: (tnn.sin(x), x.sum()), normal((4, 4)), [[]]),
    "two of a row": (lambda x: x + tnn.roll(x, 1), normal((9,)), [[]]),
}


@pytest.mark.parametrize("name", CASES)
def test_independent_axes_are_found(name):
    f, inputs, expected = CASES[name]
    assert axes(f, *inputs) == expected


@pytest.mark.parametrize("name", CASES)
def test_slopes_are_those_of_moves_one_by_one(name, monkeypatch):
    f, inputs, _ = CASES[name]
    at = point(f, *inputs)
    for i, x in enumerate(inputs):
        together = differences(at, i, "x", np.abs(x))
        with monkeypatch.context() as patch:
            patch.setattr("tinynn.testing.moves.independent_axes", lambda *args: {})
            alone = differences(at, i, "x", np.abs(x))
        for side in ("left", "right"):
            np.testing.assert_allclose(getattr(together, side), getattr(alone, side), rtol=1e-9)
        np.testing.assert_allclose(together.noise, alone.noise, rtol=1e-6)
        assert ("were moved in each call" in together.note) == bool(independent_axes(at, i, x))


def test_a_kernel_of_10_000_elements_takes_few_calls_and_the_report_says_so():
    calls = []

    class Counted(tnn.Conv1d):
        def forward(self, x):
            calls.append(1)
            return super().forward(x)

    layer = Counted(20, 50, 10, activation="tanh", rng=0)
    report = check_layer(layer, RNG.normal(size=(1, 12, 20)), mode="full")
    assert len(calls) < 1500
    assert "kernel: 50 of its 10000 elements were moved in each call of f" in str(report)


def test_a_wrong_element_among_many_that_move_together_is_found():
    def vjp(g, y, x, k):
        factors = np.ones(k.shape)
        factors[2, 3] = 1.001
        return tnn.transpose(x) @ g * factors

    op = tnn.primitive(lambda g, y, x, k: g @ tnn.transpose(k), vjp)(lambda x, k: x @ k)
    report = check_grads(op, *normal((4, 3), (3, 5)), mode="full", raise_on_fail=False)
    (entry,) = [entry for entry in report.inputs if entry.verdict == "wrong"]
    assert entry.index == (2, 3)
    assert entry.count == 1


def test_an_element_that_leaves_the_domain_takes_no_other_along():
    def root(x):
        if (np.asarray(x) < 0).any():
            raise ValueError("a negative number")
        return tnn.sqrt(x + 0.0) ** 3

    x = np.linspace(0, 3, 9)
    report = check_grads(root, x, mode="full")
    assert report.inputs[0].verdict in ("ok", "inconclusive")
    assert report.inputs[0].count in (1, 9)
