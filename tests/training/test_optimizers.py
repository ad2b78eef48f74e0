"""SGD and Adam: the documented rules, whole steps, state, refusals."""

import copy
import io
import math
import pickle
import weakref

import numpy as np
import pytest

import tinynn as tnn


def parameters():
    rng = np.random.default_rng(0)
    return [tnn.Tensor(rng.normal(size=s), requires_grad=True) for s in ((2, 3), (3,), ())]


def run(optimizer, tensors, steps=5):
    """Take steps with gradients that depend on the values, and return the last values."""
    for step in range(steps):
        for i, p in enumerate(tensors):
            p.grad = p.data * (i + 1) + step
        optimizer.step()
    return [p.data.copy() for p in tensors]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd_is_its_formula(momentum, nesterov, decay):
    if nesterov and not momentum:
        pytest.skip("needs momentum")
    tensors = parameters()
    ws = [p.data.copy() for p in tensors]
    vs = [np.zeros_like(w) for w in ws]
    how = {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    found = run(tnn.SGD(tensors, 0.05, **how), tensors)
    for step in range(5):
        for i in range(3):
            g = ws[i] * (i + 1) + step
            w = ws[i] - 0.05 * decay * ws[i]
            vs[i] = momentum * vs[i] - 0.05 * g
            ws[i] = w + momentum * vs[i] - 0.05 * g if nesterov else w + vs[i]
    for w, f in zip(ws, found, strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-13)


def test_adam_is_its_formula():
    tensors = parameters()
    ws = [p.data.copy() for p in tensors]
    ms, vs = ([np.zeros_like(w) for w in ws] for _ in range(2))
    found = run(tnn.Adam(tensors, 0.05, weight_decay=0.1), tensors)
    for step in range(5):
        for i in range(3):
            g = ws[i] * (i + 1) + step
            ms[i] = 0.9 * ms[i] + 0.1 * g
            vs[i] = 0.999 * vs[i] + 0.001 * g * g
            rate = 0.05 * math.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            ws[i] = ws[i] * (1 - 0.05 * 0.1) - rate * ms[i] / (np.sqrt(vs[i]) + 1e-7)
    for w, f in zip(ws, found, strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-12)


def test_the_learning_rate_can_be_set_between_steps():
    w = tnn.Tensor([1.0], requires_grad=True)
    sgd = tnn.SGD([w], 0.5)
    sgd.learning_rate = np.float32(0.25)
    w.grad = np.ones(1)
    sgd.step()
    assert w.item() == 0.75
    with pytest.raises(ValueError, match="SGD: learning_rate must be a finite number at least 0"):
        sgd.learning_rate = math.nan
    assert sgd.learning_rate == 0.25


def test_settings_are_checked_whenever_they_are_set():
    adam = tnn.Adam(parameters())
    for name, value in (("beta_1", 1.5), ("weight_decay", np.nan), ("epsilon", 0)):
        with pytest.raises(ValueError, match=f"Adam: {name} must be a finite number"):
            setattr(adam, name, value)
    with pytest.raises(TypeError, match="Adam: weight_decay must be a finite number"):
        adam.weight_decay = 1j


def test_float32_parameters_stay_float32():
    for make in (tnn.SGD, tnn.Adam):
        w = tnn.Tensor([1.0, 2.0], dtype="float32", requires_grad=True)
        optimizer = make([w], 0.1)
        optimizer.weight_decay = np.float64(0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (w * w).sum().backward()
            optimizer.step()
        assert w.dtype == np.float32


def test_a_parameter_without_gradient_stays_and_zero_grad_forgets():
    a, b = (tnn.Tensor([1.0], requires_grad=True) for _ in range(2))
    sgd = tnn.SGD([a, b], 0.1, momentum=0.9)
    a.grad = np.ones(1)
    sgd.step()
    assert b.item() == 1
    sgd.zero_grad()
    assert a.grad is None
    with pytest.raises(
        RuntimeError, match=r"no parameter has a gradient. Call loss.backward\(\).*another model"
    ):
        sgd.step()


def test_a_pending_gradient_survives_the_step():
    w = tnn.Tensor([3.0], requires_grad=True)
    y = (w * w * w).sum()
    sgd = tnn.SGD([w], 0.1)
    w.grad = np.ones(1)
    sgd.step()
    assert tnn.grad(y, [w])[0].tolist() == [27.0]
    with pytest.raises(RuntimeError, match="was changed after the forward pass"):
        tnn.grad(y, [w], create_graph=True)


@pytest.mark.parametrize("make", [lambda p: tnn.SGD(p, 0.1, momentum=0.9), tnn.Adam])
def test_an_interrupt_in_the_middle_of_a_step_undoes_it(make, monkeypatch):
    tensors = parameters()
    optimizer = make(tensors)
    run(optimizer, tensors, 2)
    before = [p.data.copy() for p in tensors]
    state = optimizer.state_dict()
    replace, calls = tnn.Tensor._replace, []

    def interrupted(tensor, array):
        if calls:
            raise KeyboardInterrupt
        calls.append(tensor)
        replace(tensor, array)

    monkeypatch.setattr(tnn.Tensor, "_replace", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run(optimizer, tensors, 1)
    for p, old in zip(tensors, before, strict=True):
        np.testing.assert_array_equal(p.data, old)
    after = optimizer.state_dict()
    assert after.keys() == state.keys()
    for key, value in state.items():
        np.testing.assert_array_equal(after[key], value)


@pytest.mark.parametrize("make", [lambda p: tnn.SGD(p, 0.1, momentum=0.9), tnn.Adam])
def test_training_goes_on_from_a_state(make):
    whole, parts, fresh = parameters(), parameters(), parameters()
    expected = run(make(whole), whole, 6)
    first = make(parts)
    run(first, parts, 3)
    second = make(fresh)
    second.load_state_dict(first.state_dict())
    for p, q in zip(fresh, parts, strict=True):
        p.data = q.data
    for step in range(3, 6):
        for i, p in enumerate(fresh):
            p.grad = p.data * (i + 1) + step
        second.step()
    for p, w in zip(fresh, expected, strict=True):
        np.testing.assert_allclose(p.data, w, rtol=1e-13)


def test_a_state_that_does_not_fit_changes_nothing():
    tensors = parameters()
    sgd = tnn.SGD(tensors, 0.1, momentum=0.9)
    run(sgd, tensors, 1)
    good = sgd.state_dict()
    for change, message in (
        ({"7.velocity": np.zeros(3)}, "unexpected entry '7.velocity'"),
        ({"0.m": np.zeros(3)}, "unexpected entry '0.m'"),
        ({"0.velocity": np.zeros(3)}, r"0.velocity needs .* \(2, 3\), got shape \(3,\)"),
        ({"iterations": -1}, "iterations must be a non-negative integer"),
    ):
        with pytest.raises(ValueError, match=message):
            sgd.load_state_dict(good | change)
    with pytest.raises(ValueError, match="iterations, momentum, nesterov, weight_decay missing"):
        sgd.load_state_dict({})
    with pytest.raises(TypeError, match="the state must be a dict, got None"):
        sgd.load_state_dict(None)
    with pytest.raises(ValueError, match=r"momentum must be .* below 1, got 2"):
        sgd.load_state_dict(good | {"learning_rate": 0.7, "momentum": 2})
    assert sgd.learning_rate == 0.1
    assert sgd.state_dict().keys() == good.keys()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tnn.SGD([]),
            "SGD: parameters is empty; .*attribute that is a Tensor.*, no ndarray",
        ),
        (lambda: tnn.SGD(3), "SGD: parameters must be a list of Tensors"),
        (lambda: tnn.SGD(set(parameters())), "SGD: parameters must be a list of Tensors"),
        (lambda: tnn.SGD(parameters(), 10**400), "learning_rate must be .*, got 1000"),
        (lambda: tnn.SGD(tnn.Tensor([1.0], requires_grad=True)), "must be a list of Tensors"),
        (lambda: tnn.SGD([np.ones(3)]), r"parameters\[0\] must be a Tensor"),
        (lambda: tnn.SGD([tnn.Tensor([1.0])]), r"parameters\[0\].* must be a leaf that requires"),
        (lambda: tnn.SGD(parameters()[:1] * 2), "listed twice"),
        (lambda: tnn.SGD(parameters(), -0.1), "learning_rate must be a finite number at least 0"),
        (lambda: tnn.SGD(parameters(), "fast"), "learning_rate must be a finite number at least 0"),
        (lambda: tnn.SGD(parameters(), "cosine"), r"got 'cosine'\. Or give a schedule, "),
        (lambda: tnn.SGD(parameters(), momentum=1.0), "momentum must be .* below 1, got 1.0"),
        (lambda: tnn.SGD(parameters(), nesterov=True), "nesterov=True needs a momentum above 0"),
        (lambda: tnn.SGD(parameters(), weight_decay=-1), "weight_decay must be"),
        (lambda: tnn.Adam(parameters(), beta_1=1), "beta_1 must be"),
        (lambda: tnn.Adam(parameters(), epsilon=0), "epsilon must be .* above 0"),
        (lambda: tnn.clip_grad_norm(parameters(), 0), "max_norm must be .* above 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize("optimizer", [tnn.SGD, tnn.Adam])
def test_a_setting_under_another_name_is_not_passed_over(optimizer):
    made = optimizer(parameters())
    with pytest.raises(AttributeError, match=f"{optimizer.__name__}: .*'lr'; it is learning_rate"):
        made.lr = 0.5
    assert not hasattr(made, "lr")


def test_clip_grad_norm_scales_all_gradients_together():
    a, b, c = parameters()
    a.grad, b.grad = np.full((2, 3), 2.0), np.full(3, -1.0)
    assert tnn.clip_grad_norm([a, b, c], 1.0) == pytest.approx(math.sqrt(27))
    assert np.sqrt((a.grad**2).sum() + (b.grad**2).sum()) == pytest.approx(1)
    assert c.grad is None
    assert tnn.clip_grad_norm([a, b], 5.0) == pytest.approx(1)
    b.grad = np.array([np.nan, 0, 0])
    with pytest.raises(FloatingPointError, match="the norm of the gradients is nan"):
        tnn.clip_grad_norm([a, b], 1.0)


# ---------------------------------------------------------------- states


SETTINGS = [
    (tnn.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (tnn.SGD, {}),
    (tnn.Adam, {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("make", "how"), SETTINGS)
def test_a_state_holds_every_setting_also_after_a_file(make, how):
    tensors, others = parameters(), parameters()
    first, second = make(tensors, 0.3, **how), make(others)
    run(first, tensors, 2)
    file = io.BytesIO()
    np.savez(file, **first.state_dict())
    file.seek(0)
    second.load_state_dict(dict(np.load(file)))
    for name in ("learning_rate", "iterations", *how):
        assert getattr(second, name) == getattr(first, name), name
        assert type(getattr(second, name)) is type(getattr(first, name)), name
    for a, b in zip(tensors, others, strict=True):
        b.data = a.data
    np.testing.assert_equal(run(second, others, 1), run(first, tensors, 1))


def test_numbers_of_ones_own_are_part_of_the_state():
    class Warm(tnn.SGD):
        def __init__(self, parameters):
            super().__init__(parameters, 1.0)
            self.calls, self._note = 0, 5

        def step(self):
            self.calls += 1
            self.learning_rate = min(1.0, self.calls / 4)
            super().step()

    tensors = parameters()
    first, second = Warm(tensors), Warm(tensors)
    run(first, tensors, 2)
    second.load_state_dict(first.state_dict())
    assert (second.calls, second.learning_rate) == (2, 0.5)
    assert "_note" not in first.state_dict()


def test_the_state_of_another_rule_is_named():
    tensors = parameters()
    adam = tnn.Adam(tensors)
    run(adam, tensors, 1)
    with pytest.raises(ValueError, match=r"SGD: the state .* it is one of Adam"):
        tnn.SGD(tensors).load_state_dict(adam.state_dict())


@pytest.mark.parametrize("make", [lambda p: tnn.SGD(p, 0.1, momentum=0.9), tnn.Adam])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_a_copy_goes_on_as_the_optimizer_does(make, copied):
    tensors = parameters()
    optimizer = make(tensors)
    run(optimizer, tensors, 3)
    other = copied(optimizer)
    np.testing.assert_equal(run(other, other.parameters), run(optimizer, tensors))


# ---------------------------------------------------------------- rules of one's own


@pytest.mark.parametrize("name", ["updated", "_updated"])
def test_a_rule_that_is_written_anew_is_called_for_each_parameter(name):
    def rule(self, w, g, slots):
        shapes.append(w.shape)
        return w - self.learning_rate * g / np.sqrt((g * g).mean()), {"age": slots.get("age", 0)}

    shapes = []
    tensors = parameters()
    optimizer = type("Normed", (tnn.SGD,), {name: rule})(tensors, 0.1)
    before = [p.numpy() for p in tensors]
    run(optimizer, tensors, 1)
    assert shapes == [(2, 3), (3,), ()]
    for i, (p, w) in enumerate(zip(tensors, before, strict=True)):
        g = w * (i + 1)
        np.testing.assert_allclose(p.data, w - 0.1 * g / np.sqrt((g * g).mean()))


@pytest.mark.parametrize("name", ["updated", "_updated"])
def test_a_rule_may_begin_with_the_one_that_it_replaces(name):
    def rule(self, w, g, slots):
        return getattr(super(Decayed, self), name)(0.5 * w, g, slots)

    Decayed = type("Decayed", (tnn.SGD,), {name: rule, "elementwise": True})
    tensors = parameters()
    before = [p.numpy() for p in tensors]
    run(Decayed(tensors, 0.1, momentum=0.5), tensors, 1)
    for i, (p, w) in enumerate(zip(tensors, before, strict=True)):
        np.testing.assert_allclose(p.data, 0.5 * w - 0.1 * (w * (i + 1)))


def test_a_rule_that_is_set_on_the_optimizer_is_called():
    tensors = parameters()
    sgd = tnn.SGD(tensors, 0.1)
    sgd.updated = lambda w, g, slots: (np.full_like(w, w.ndim), {})
    assert [p.ravel()[0] for p in run(sgd, tensors, 1)] == [2, 1, 0]


def test_overridden_step_and_zero_grad_are_called_by_fit():
    class Clipped(tnn.SGD):
        calls = ()

        def step(self):
            self.calls += ("step",)
            tnn.clip_grad_norm(self.parameters, 1e-3)
            super().step()

        def zero_grad(self):
            self.calls += ("zero_grad",)
            super().zero_grad()

    model = tnn.Dense(2, 1, rng=0)
    before, optimizer = model.state_dict(), Clipped(model.parameters(), 1.0)
    x = np.ones((4, 2))
    tnn.fit(
        model, x, 100 * x[:, :1], loss="mse", optimizer=optimizer, epochs=1, batch_size=2,
        progress=False,
    )  # fmt: skip
    assert optimizer.calls == ("zero_grad", "step") * 2
    assert 0 < max(abs(model.state_dict()[k] - v).max() for k, v in before.items()) < 3e-3


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda w: w, r"Odd\.updated: must return \(new value, new slots\), a tuple"),
        (lambda w: (w, None), r"must return \(new value, new slots\)"),
        (lambda w: (w.sum(), {}), r"of the parameter's shape \(2, 3\), got \(\)"),
    ],
)
def test_what_a_rule_returns_is_checked_before_anything_changes(result, message):
    class Odd(tnn.training.optimizers.Optimizer):
        def updated(self, w, g, slots):
            return result(w)

    tensors = parameters()
    before = [p.numpy() for p in tensors]
    optimizer = Odd(tensors, 0.1)
    with pytest.raises((TypeError, ValueError), match=message):
        run(optimizer, tensors, 1)
    np.testing.assert_equal([p.data for p in tensors], before)
    assert optimizer.iterations == 0
    with pytest.raises(NotImplementedError, match=r"Bare: write updated\(self, w, g, slots\)"):
        run(type("Bare", (tnn.Optimizer,), {})(tensors, 0.1), tensors, 1)


def unchanged(w, g):
    return w[...]


def in_place(w, g):
    w -= g
    return w


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("rule", [unchanged, in_place])
def test_a_rule_that_is_not_pure_leaves_pending_gradients_right(rule, elementwise):
    if elementwise and rule is in_place:
        pytest.skip("who says that of a rule also keeps to the other promises")
    cls = {"updated": lambda self, w, g, slots: (rule(w, g), {}), "elementwise": elementwise}
    optimizer = type("Odd", (tnn.Optimizer,), cls)
    w = tnn.Tensor([3.0], requires_grad=True)
    y = (w * w).sum()
    w.grad = np.ones(1)
    optimizer([w], 0.1).step()
    assert w.item() == (2 if rule is in_place else 3)
    w.data[...] = 0
    assert tnn.grad(y, [w])[0].tolist() == [6.0]


# ---------------------------------------------------------------- all parameters as one array


def one_by_one(make):
    """Return the optimizer with a rule that sees each parameter by itself."""
    return type(make.__name__, (make,), {"elementwise": False})


@pytest.mark.parametrize(("make", "how"), SETTINGS)
def test_one_array_of_all_parameters_gives_the_numbers_of_each(make, how):
    found = []
    for kind in (make, one_by_one(make)):
        tensors = [tnn.Tensor(p.data, dtype="float32", requires_grad=True) for p in parameters()]
        optimizer = kind(tensors, 0.1, **how)
        run(optimizer, tensors, 3)
        tensors[1].data[...] += 1  # in place, so also in the array of all
        run(optimizer, tensors, 1)
        tensors[0].data = np.ones((2, 3))
        run(optimizer, tensors, 1)
        for i in (0, 2):  # one has no gradient
            tensors[i].grad, tensors[1].grad = np.ones(tensors[i].shape), None
        optimizer.step()
        found.append((run(optimizer, tensors, 2), optimizer.state_dict()))
    np.testing.assert_equal(found[0], found[1])


def test_slots_that_only_some_parameters_have_are_kept_apart():
    a, b = (tnn.Tensor([1.0], requires_grad=True) for _ in range(2))

    class First(tnn.SGD):
        slot_names, elementwise = ("first",), True

        def updated(self, w, g, slots):
            first = slots.get("first", g)
            return w - first, {"first": first}

    optimizer = First([a, b], 0.1)
    a.grad = np.array([1.0])
    optimizer.step()
    a.grad, b.grad = np.array([5.0]), np.array([3.0])
    optimizer.step()
    assert (a.item(), b.item()) == (1 - 1 - 1, 1 - 3)


# ---------------------------------------------------------------- half precision


def test_moments_of_half_precision_are_kept_in_single():
    w = tnn.Tensor(np.ones(4), dtype="float16", requires_grad=True)
    adam = tnn.Adam([w], 0.01)
    for _ in range(20):
        w.grad = np.full(4, 1e-5)  # its square is 0 in half precision
        adam.step()
    assert w.dtype == np.float16
    np.testing.assert_allclose(w.data, 1 - 20 * 0.01, rtol=4e-2)  # epsilon slows it a little
    state = adam.state_dict()
    assert state["0.v"].dtype == np.float32
    assert (state["0.v"] > 0).all()
    other = tnn.Adam([w], 0.01)
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.state_dict()["0.v"], state["0.v"])


def test_the_velocity_of_half_precision_adds_up_what_is_small():
    w = tnn.Tensor([0.0], dtype="float16", requires_grad=True)
    sgd = tnn.SGD([w], 1e-4, momentum=0.99)
    for _ in range(300):
        w.grad = np.array([1e-3])
        sgd.step()
    v = -1e-7 * (1 - 0.99**300) / 0.01  # in half precision, 1e-7 has one bit
    np.testing.assert_allclose(sgd.state_dict()["0.velocity"], v, rtol=1e-3)


# ---------------------------------------------------------------- settings that change, memory


def test_momentum_that_is_set_to_zero_forgets_the_velocity():
    w = tnn.Tensor([0.0], requires_grad=True)
    sgd = tnn.SGD([w], 1.0, momentum=0.5)
    moves = []
    for momentum in (0.5, 0.5, 0.0, 0.5, 0.5):
        sgd.momentum, w.grad, before = momentum, np.ones(1), w.item()
        sgd.step()
        moves.append(before - w.item())
    assert moves == [1, 1.5, 1, 1, 1.5]
    with pytest.raises(TypeError, match="SGD: nesterov must be True or False, got 1"):
        sgd.nesterov = 1


def test_an_optimizer_dies_with_its_last_reference():
    tensors = parameters()
    optimizer = tnn.Adam(tensors)
    run(optimizer, tensors, 2)
    dead = weakref.ref(optimizer)
    del optimizer
    assert dead() is None


def test_the_state_of_a_rule_with_the_same_settings_is_another_rule_s():
    w = [tnn.Tensor(np.ones(2), requires_grad=True)]
    state = tnn.AdamW(w, weight_decay=0.3).state_dict()
    with pytest.raises(ValueError, match=r"Adam: the state does not fit .* it is one of AdamW"):
        tnn.Adam(w).load_state_dict(state)


def test_a_frozen_parameter_is_told_what_to_do():
    w = tnn.Tensor(np.ones(2))
    with pytest.raises(ValueError, match=r"Is it frozen\? Leave it out, or freeze it after"):
        tnn.SGD([w])
