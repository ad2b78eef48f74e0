"""Schedules: their formulas, how optimizers ask them, what is refused."""

import copy
import math
import pickle
from functools import partial

import numpy as np
import pytest

import tinynn as tnn

S = tnn.schedules
FORMULAS = [
    (S.constant(0.3), lambda t: 0.3),
    (S.step_decay(0.3, 0.5, 7), lambda t: 0.3 * 0.5 ** math.floor(t / 7)),
    (S.exponential_decay(0.3, 0.5, 7), lambda t: 0.3 * 2 ** (-t / 7)),
    (S.cosine_decay(0.3, 10, 0.1), lambda t: 0.2 + 0.1 * math.cos(math.pi * min(t / 10, 1))),
    (
        S.warmup(5, S.step_decay(0.4, 0.5, 3)),
        lambda t: 0.08 * t if t < 5 else 0.4 / 2 ** ((t - 5) // 3),
    ),
    (S.piecewise({7: 0.01, 0: 0.1, 20: 0.5}), lambda t: 0.1 if t < 7 else 0.01 if t < 20 else 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS, ids=lambda v: type(v).__name__)
def test_a_schedule_is_its_formula(schedule, formula):
    for step in range(40):
        assert schedule(step) == pytest.approx(formula(step), rel=1e-13, abs=1e-16)
        assert type(schedule(step)) is float


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 11, 100])
def test_one_cycle_rises_once_and_falls_once(steps):
    rates = [S.one_cycle(1.0, steps)(t) for t in range(steps + 3)]
    top = int(np.argmax(rates))
    assert all(np.diff(rates[: top + 1]) > 0)
    assert all(np.diff(rates[top:]) <= 0)
    assert rates[steps - 1 :] == pytest.approx([1 / 25e4] * 4)
    assert max(rates) <= 1


@pytest.mark.parametrize(
    "schedule", [case[0] for case in FORMULAS] + [S.one_cycle(0.1, 9)], ids=repr
)
def test_a_schedule_is_shown_as_its_call_compared_copied_and_pickled(schedule):
    again = eval(repr(schedule), vars(S))
    for other in (again, copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert other == schedule
        assert hash(other) == hash(schedule)
        assert [other(t) for t in range(30)] == [schedule(t) for t in range(30)]
    assert schedule != S.constant(0.77)
    with pytest.raises(AttributeError, match="cannot assign"):
        schedule.rate = 0.5


def plain(step):
    return 0.5


def test_functions_are_shown_without_addresses():
    class Object:
        def __call__(self, step):
            return 0.1

        def method(self, step):
            return 0.1

    nested = S.warmup(3, then=partial(plain, 2, rate=Object()))
    assert repr(nested).startswith("warmup(steps=3, then=plain(2, rate=test_functions_are_shown")
    for f in (plain, lambda t: 0.1, Object(), Object().method, nested):
        assert " at 0x" not in S.shown(f)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: S.constant(-1), "constant: rate must be a finite number at least 0, got -1"),
        (lambda: S.constant("fast"), "constant: rate must be a finite number"),
        (lambda: S.step_decay(0.1, 0, 5), "step_decay: factor must be .* above 0, got 0"),
        (lambda: S.step_decay(0.1, 0.5, 0), "step_decay: every must be a positive integer, got 0"),
        (lambda: S.cosine_decay(0.1, 2.5), "cosine_decay: steps must be a positive integer"),
        (lambda: S.cosine_decay(0.1), "cosine_decay: missing a required argument: 'steps'"),
        (lambda: S.cosine_decay(0.1, step=5), "there is no argument 'step'. It is steps here"),
        (lambda: S.warmup(5, 0.1), r"then must be a schedule, .*schedules.constant\(rate\)"),
        (lambda: S.warmup(5, S.constant), "then is the class constant; call it"),
        (lambda: S.piecewise({10: 0.1}), "piecewise: rates must be a dict .* for step 0"),
        (lambda: S.piecewise({0: 0.1, 2.5: 1}), "a step must be a non-negative integer"),
        (lambda: S.piecewise({0: math.nan}), "the rate of step 0 must be a finite number"),
    ],
)
def test_refusals(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


# ---------------------------------------------------------------- in an optimizer


def one(**how):
    w = tnn.Tensor([1.0], requires_grad=True)
    return w, tnn.SGD([w], **how)


def test_the_first_step_asks_for_0_and_each_step_asks_once():
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.5**step

    w, sgd = one(learning_rate=schedule)
    for _ in range(3):
        w.grad = np.ones(1)
        sgd.step()
    assert asked == [0, 1, 2]
    assert w.item() == 1 - 1 - 0.5 - 0.25


def test_reading_gives_the_number_of_the_next_step_and_setting_replaces():
    w, sgd = one(learning_rate=S.step_decay(0.8, 0.5, 1), momentum=S.piecewise({0: 0.0, 1: 0.5}))
    assert (sgd.learning_rate, sgd.momentum) == (0.8, 0.0)
    w.grad = np.ones(1)
    sgd.step()
    assert (sgd.learning_rate, sgd.momentum) == (0.4, 0.5)
    assert sgd.schedules == {
        "learning_rate": S.step_decay(0.8, 0.5, 1),
        "momentum": S.piecewise({0: 0.0, 1: 0.5}),
    }
    sgd.learning_rate = 0.25
    assert (sgd.learning_rate, [*sgd.schedules]) == (0.25, ["momentum"])
    sgd.step()
    assert w.item() == pytest.approx(1 - 0.8 - 0.25)
    sgd.learning_rate = S.constant(0.125)
    assert sgd.learning_rate == 0.125


def test_a_rule_of_ones_own_reads_the_number_at_hand():
    seen = []

    class Own(tnn.Optimizer):
        def updated(self, w, g, slots):
            seen.append((self.iterations, self.learning_rate, w.shape))
            self.last = self.learning_rate
            return w - self.learning_rate * g, {}

    a, b = tnn.Tensor([1.0], requires_grad=True), tnn.Tensor([[1.0]], requires_grad=True)
    own = Own(
        [{"parameters": [a]}, {"parameters": [b], "learning_rate": 0.25}], S.step_decay(1, 0.5, 1)
    )
    for _ in range(2):
        a.grad, b.grad = np.ones(1), np.ones((1, 1))
        own.step()
    assert seen == [(0, 1.0, (1,)), (0, 0.25, (1, 1)), (1, 0.5, (1,)), (1, 0.25, (1, 1))]
    assert own.last == 0.25
    assert own.learning_rate == 0.25  # the schedule's, of step 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, None, "0.1", 1j, np.ones(2), True])
def test_what_a_schedule_gives_is_checked_at_each_step(bad):
    def odd(step):
        return bad if step else 0.5

    w, sgd = one(learning_rate=odd)
    w.grad = np.ones(1)
    sgd.step()
    with pytest.raises(
        (ValueError, TypeError),
        match=r"SGD: learning_rate, by test_.*odd at step 1, must be a finite",
    ):
        sgd.step()
    assert (w.item(), sgd.iterations) == (0.5, 1)


def test_momentum_out_of_range_and_errors_of_a_schedule_name_it():
    w, sgd = one(momentum=S.constant(1.0))
    w.grad = np.ones(1)
    with pytest.raises(ValueError, match=r"SGD: momentum, by constant\(rate=1.0\) at step 0, must"):
        sgd.step()
    w, sgd = one(learning_rate=lambda epoch, rate: rate)
    w.grad = np.ones(1)
    with pytest.raises(TypeError, match="missing 1 required positional argument") as caught:
        sgd.step()
    assert "SGD.learning_rate: a schedule is asked for a step" in caught.value.__notes__[0]
    with pytest.raises(TypeError, match="SGD: learning_rate is the class cosine_decay; call it"):
        one(learning_rate=S.cosine_decay)


def test_numpy_numbers_of_a_schedule_are_taken():
    w, sgd = one(learning_rate=lambda step: np.float32(0.5))
    w.grad = np.ones(1)
    sgd.step()
    assert w.item() == 0.5
    assert type(sgd.learning_rate) is float


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_an_optimizer_is_copied_in_the_middle_of_a_schedule(copied):
    w, sgd = one(learning_rate=S.cosine_decay(0.5, 6), momentum=0.5)
    for _ in range(3):
        w.grad = w.data
        sgd.step()
    other = copied(sgd)
    (v,) = other.parameters
    for _ in range(3):
        for p, optimizer in ((w, sgd), (v, other)):
            p.grad = p.data
            optimizer.step()
    assert v.item() == w.item()


# ---------------------------------------------------------------- in its state


def test_a_state_goes_on_in_the_middle_of_a_schedule():
    w, sgd = one(learning_rate=S.cosine_decay(0.5, 6), momentum=lambda step: 0.1 * step)
    for _ in range(3):
        w.grad = w.data
        sgd.step()
    state = sgd.state_dict()
    assert state["learning_rate"] == "cosine_decay(rate=0.5, steps=6, final=0.0)"
    v, other = one(learning_rate=S.cosine_decay(0.5, 6), momentum=sgd.schedules["momentum"])
    other.load_state_dict(state)
    v.data = w.data
    for _ in range(2):
        for p, optimizer in ((w, sgd), (v, other)):
            p.grad = p.data
            optimizer.step()
    assert v.item() == w.item()
    assert other.schedules == sgd.schedules


@pytest.mark.parametrize("other", [S.cosine_decay(0.5, 7), 0.5, lambda step: 0.5])
def test_another_schedule_is_refused_by_name(other):
    _, sgd = one(learning_rate=S.cosine_decay(0.5, 6))
    _, second = one(learning_rate=other)
    for a, b in ((sgd, second), (second, sgd)):
        before = a.state_dict()
        with pytest.raises(
            ValueError, match=r"learning_rate is .* there, .* here. A state holds no code"
        ):
            a.load_state_dict(b.state_dict() | {"iterations": 7})
        assert a.state_dict() == before
