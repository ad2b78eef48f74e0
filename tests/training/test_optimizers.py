"""SGD and Adam: the documented rules, whole steps, state, refusals."""

import math

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
        (lambda: tnn.SGD([]), "SGD: parameters is empty; .*ndarray attribute .* is no parameter"),
        (lambda: tnn.SGD(3), "SGD: parameters must be a list of Tensors"),
        (lambda: tnn.SGD(set(parameters())), "SGD: parameters must be a list of Tensors"),
        (lambda: tnn.SGD(parameters(), 10**400), "learning_rate must be .*, got 1000"),
        (lambda: tnn.SGD(tnn.Tensor([1.0], requires_grad=True)), "must be a list of Tensors"),
        (lambda: tnn.SGD([np.ones(3)]), r"parameters\[0\] must be a Tensor"),
        (lambda: tnn.SGD([tnn.Tensor([1.0])]), r"parameters\[0\].* must be a leaf that requires"),
        (lambda: tnn.SGD(parameters()[:1] * 2), "listed twice"),
        (lambda: tnn.SGD(parameters(), -0.1), "learning_rate must be a finite number at least 0"),
        (lambda: tnn.SGD(parameters(), "fast"), "learning_rate must be a finite number at least 0"),
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
