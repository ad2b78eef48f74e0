"""Lowering: the NumPy calls of an operation give what it gives, and nothing is computed twice."""

import functools

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops
from tinynn.autodiff.primitive import PRIMITIVES, Primitive
from tinynn.replay import lowering
from tinynn.replay.lowering import Instruction, Symbol, lower
from tinynn.replay.program import Program
from tinynn.replay.recording import ArraySpec, Recording, Ref, Returned, Source, Step

from .recorded import names, program, recorded

RNG = np.random.default_rng


def one_step(op, arrays, params):
    """Return the recording of one operation."""
    y = np.asarray(op.forward(*arrays, **params))
    recording = Recording(
        [ArraySpec(a.shape, a.dtype) for a in (*arrays, y)],
        {i: Source("argument", i) for i in range(len(arrays))},
        [Step(op, tuple(map(Ref, range(len(arrays)))), params, Ref(len(arrays)))],
        result=Returned(Ref(len(arrays)), "array"),
    )
    return recording, y


ELEMENTWISE = sorted(
    name
    for name, op in PRIMITIVES.items()
    if name.startswith("tinynn.") and op.elementwise and not op.variadic
)
DOMAINS = {"arcsin": (0, 1), "arccos": (0, 1)}
PARAMETERS = {"compare": {"relation": np.less}, "holds": {"predicate": np.isnan}}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "uint8", "bool"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_elementwise_operation_gives_the_same_and_in_the_same_dtype(name, dtype):
    op: Primitive = PRIMITIVES[name]
    rng = RNG(0)
    domain = DOMAINS.get(op.__name__, (1, 3))
    arrays = [rng.uniform(*domain, size=(5, 4)).astype(dtype) for _ in range(op.arity)]
    params = PARAMETERS.get(op.__name__, dict(op._defaults))
    with np.errstate(all="ignore"):
        try:
            recording, y = one_step(op, arrays, params)
        except TypeError:
            pytest.skip("NumPy has no such function for this dtype")
        got = Program(recording).run(arrays)
    assert got.dtype == y.dtype
    np.testing.assert_array_equal(got, y)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: x * 2 + 1, ["multiply", "add"]),
        (lambda x: x**2, ["square"]),
        (lambda x: ops.sum(x, axis=0), ["add.reduce"]),
        (lambda x: ops.max(x, axis=(0, 1), keepdims=True), ["maximum.reduce"]),
        (lambda x: x @ ops.transpose(x), ["matmul"]),
        (lambda x: ops.relu(x), ["maximum"]),
        (lambda x: ops.log(x.reshape(6)[::2]), ["log"]),  # views are no calls
        (lambda x: ops.where(x > 0, x, 0), ["greater", "where"]),
        (lambda x: ops.cumsum(x, 0), ["_cumsum"]),
    ],
)
def test_what_an_operation_becomes(f, expected):
    found = names(program(f, np.ones((2, 3))))
    assert [name for name in found if name != "check_finite"] == expected


def test_what_depends_on_values_stays_one_call(monkeypatch):
    def forward(x):
        return np.exp(x) if x.sum() > 0 else np.sin(x)

    monkeypatch.setattr(lowering, "is_own", lambda op: True)
    op = Primitive(forward, [None])
    recording, _ = one_step(op, [np.ones(3)], {})
    p = Program(recording)
    assert names(p)[0] == "forward"
    for x in (np.ones(3), -np.ones(3)):
        np.testing.assert_array_equal(p.run([x]), forward(x))


@pytest.mark.parametrize(
    "ask",
    [bool, float, int, len, list, np.asarray, np.sort, lambda x: x[0], lambda x: [0, 1][x]]
    + [lambda x: np.add(x, np.ones(3)), lambda x: np.add(x, x, where=[True]), np.modf]
    + [lambda x: np.add.accumulate(x), lambda x: np.where(x, 1, 0), lambda x: np.add(x, 1, x)],
)
def test_a_symbol_tells_no_values(ask, monkeypatch):
    def forward(x):
        assert isinstance(x, (np.ndarray, Symbol))
        asked.append(type(x))
        ask(x)
        return np.exp(x)

    asked = []
    monkeypatch.setattr(lowering, "is_own", lambda op: True)
    recording, _ = Recording([ArraySpec((3,), np.dtype(float))] * 2), None
    recording.sources[0] = Source("argument", 0)
    recording.steps.append(Step(Primitive(forward, [None]), (Ref(0),), {}, Ref(1)))
    recording.result = Returned(Ref(1), "array")
    (step,) = lower(recording).steps
    assert asked[-1] is Symbol
    assert step.whole


def test_an_operation_that_took_over_a_name_of_ours_is_not_taken_for_ours():
    @functools.wraps(ops.exp.forward)
    def forward(x):
        seen.append(type(x))
        return np.exp(x)

    seen = []
    op = Primitive(forward, [None])
    assert op.__module__.startswith("tinynn.")
    recording, _ = one_step(op, [np.ones(3)], {})
    (step,) = lower(recording).steps
    assert step.whole
    assert set(seen) == {np.ndarray}


def test_equal_steps_are_computed_once_and_unused_ones_never():
    def f(x):
        ops.sin(x)
        return ops.exp(x) * ops.exp(x) + ops.flip(x) - ops.flip(x)

    found = names(program(f, np.ones(3)))
    assert found.count("exp") == 1
    assert "sin" not in found


def test_zeros_of_either_sign_are_not_the_same():
    got = program(lambda x: (x * 0.0, x * -0.0), np.ones(1)).run([np.ones(1)])
    assert [np.signbit(a).tolist() for a in got] == [[False], [True]]


def test_equal_steps_before_and_after_an_effect_are_computed_twice_on_arrays_of_the_users():
    counts = np.zeros(2)
    w = tnn.Tensor([1.0, 1.0], requires_grad=True)

    class Counting(tnn.SGD):
        def updated(self, w, g, slots):
            counts[...] += 1
            return super().updated(w, g, slots)

    optimizer = Counting([w], 0.0)

    def f(x):
        before = ops.exp(counts)
        w.grad = None
        (w * x).sum().backward()
        optimizer.step()
        return before, ops.exp(counts)

    p = program(f, np.ones(2))
    counts[...] = 0
    before, after = p.run([np.ones(2)])
    assert before.tolist() == [1, 1]
    np.testing.assert_allclose(after, np.exp([1, 1]))


def test_conversions_to_the_same_dtype_are_none_but_copies_of_the_users_arrays_are():
    live = np.arange(3.0)
    lowered = lower(recorded(lambda x: ops.astype(x + 1, float) * 2, np.ones(3)))
    assert [step.function for step in lowered.steps] == [np.add, np.multiply]
    lowered = lower(recorded(lambda x: x * ops.astype(live, float), np.ones(3)))
    assert [step.op for step in lowered.steps] == [ops.astype, ops.multiply]


def test_what_returns_its_argument_is_no_step():
    def f(x):
        x = ops.sum_to(ops.reshape(x * 2, (2, 2)), (2, 2))
        return ops.broadcast_to(x, (2, 2)) + ops.transpose(x) + ops.flip(x, 0)

    lowered = lower(recorded(f, np.ones((2, 2))))
    found = [step.op.__name__ for step in lowered.steps]
    assert found == ["multiply", "_transpose", "add", "flip", "add"]
    x = np.arange(4.0).reshape(2, 2)
    assert program(f, x).run([x]).tolist() == f(x).tolist()


def test_the_gradient_of_a_matrix_is_computed_where_it_belongs():
    w = tnn.Tensor(np.ones((3, 2)), requires_grad=True)

    def f(x):
        w.grad = None
        (x @ w).sum().backward()

    assert names(program(f, np.ones((4, 3)), order=[w])).count("_run") == 0
    assert "reshape" not in names(program(f, np.ones((4, 3)), order=[w]))


def test_conversions_are_right():
    def f(x):
        half = ops.astype(x * 2.5, "int16")
        return half, ops.astype(half, "float32") / 2, ops.astype(x > 0, "float64")

    p = program(f, np.ones(4))
    x = np.array([-3.3, 0.0, 1.7, 4.0])
    for a, b in zip(p.run([x]), f(x), strict=True):
        assert a.dtype == b.dtype
        assert a.tolist() == b.tolist()


def test_an_instruction_knows_whether_it_is_elementwise():
    lowered = lower(recorded(lambda x: ops.sum(ops.where(x > 0, x, 0) @ x * 2), np.ones((2, 2))))
    found = [step.elementwise for step in lowered.steps if isinstance(step, Instruction)]
    assert found == [True, True, False, True, False]
