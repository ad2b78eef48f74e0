"""Gradients within bounds: by functions, and by optimizers."""

import math

import numpy as np
import pytest

import tinynn as tnn


def parameters(dtype="float64"):
    rng = np.random.default_rng(0)
    shapes = (2, 3), (3,), ()
    return [tnn.Tensor(rng.normal(size=s), dtype=dtype, requires_grad=True) for s in shapes]


def test_global_norm_is_that_of_all_elements():
    arrays = [np.full((2, 3), 2.0), None, tnn.Tensor([-1.0, 1.0, 1.0]), np.array(3), np.float32(0)]
    assert tnn.global_norm(arrays) == pytest.approx(math.sqrt(36))
    assert type(tnn.global_norm(iter(arrays))) is float
    assert tnn.global_norm([]) == tnn.global_norm([None]) == tnn.global_norm([np.ones((0, 2))]) == 0
    assert tnn.global_norm(np.array([3.0, 4.0])) == 5


def test_global_norm_neither_overflows_nor_loses_what_is_small():
    ones = np.ones(10**6, np.float32)
    assert tnn.global_norm([ones * np.float32(1e30)]) == pytest.approx(1e33, rel=1e-6)
    assert tnn.global_norm([np.full(4, 1e300), np.full(5, 1e300)]) == pytest.approx(
        3e300, rel=1e-14
    )
    assert tnn.global_norm([np.full(4, 1e-300), np.zeros(2)]) == pytest.approx(2e-300, rel=1e-14)
    half = np.full(9, 60000, np.float16)
    assert tnn.global_norm([half]) == pytest.approx(3 * float(half[0]))
    assert tnn.global_norm([np.ones(2), np.array([np.inf])]) == math.inf
    assert math.isnan(tnn.global_norm([np.array([np.inf]), np.array([np.nan])]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "global_norm: give a list of arrays or Tensors, got 3"),
        ("w", "give a list of arrays"),
        ([np.ones(2) * 1j], "needs real numbers, got dtype complex128"),
    ],
)
def test_global_norm_refuses(given, message):
    with pytest.raises(TypeError, match=message):
        tnn.global_norm(given)


def test_clip_grad_value_bounds_each_element():
    a, b, c = parameters()
    a.grad, b.grad = np.array([[2.0, -2, 0.5], [0, -0.5, 9]]), np.array([np.nan, np.inf, -np.inf])
    assert tnn.clip_grad_value([a, b, c], 1.0) is None
    np.testing.assert_array_equal(a.grad, [[1, -1, 0.5], [0, -0.5, 1]])
    np.testing.assert_array_equal(b.grad, [np.nan, 1, -1])
    assert c.grad is None
    with pytest.raises(ValueError, match=r"clip_grad_value: limit must be .* above 0, got 0"):
        tnn.clip_grad_value([a], 0)


def test_a_limit_beyond_half_precision_changes_nothing():
    (a, *_) = parameters("float16")
    a.grad = np.full((2, 3), 6e4)
    tnn.clip_grad_value([a], 1e9)
    np.testing.assert_array_equal(a.grad, np.float16(6e4))
    assert a.grad.dtype == np.float16


@pytest.mark.parametrize("make", [tnn.SGD, tnn.Adam, tnn.AdamW, tnn.RMSprop])
def test_an_optimizer_clips_values_first_and_then_the_norm_of_all_groups(make):
    ours, theirs = parameters(), parameters()
    groups = [{"parameters": ours[:1]}, {"parameters": ours[1:], "learning_rate": 0.3}]
    clipping = make(groups, 0.1, clip_value=1.5, clip_norm=2.0)
    by_hand = make(
        [{"parameters": theirs[:1]}, {"parameters": theirs[1:], "learning_rate": 0.3}], 0.1
    )
    rng = np.random.default_rng(1)
    for step in range(5):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = q.grad = rng.normal(size=p.shape) * step
        before = [p.grad.copy() for p in ours]
        clipping.step()
        np.testing.assert_equal([p.grad for p in ours], before)
        tnn.clip_grad_value(theirs, 1.5)
        tnn.clip_grad_norm(theirs, 2.0)
        by_hand.step()
    np.testing.assert_equal([p.data for p in ours], [p.data for p in theirs])


def test_gradients_that_are_not_finite_are_refused_and_nothing_changes():
    a, b, c = parameters()
    adam = tnn.Adam([a, b, c], clip_norm=1.0)
    for bad in (np.nan, np.inf):
        a.grad, b.grad = np.ones((2, 3)), np.array([0, bad, 0])
        before, state = [p.numpy() for p in (a, b, c)], adam.state_dict()
        with pytest.raises(
            FloatingPointError, match=r"Adam: the norm of the gradients is (nan|inf)"
        ):
            adam.step()
        np.testing.assert_equal([p.data for p in (a, b, c)], before)
        assert adam.state_dict() == state
    a.grad = b.grad = None
    c.grad = np.array(5.0)
    adam.step()  # others have none
    assert adam.iterations == 1


def test_limits_are_settings_of_the_whole_optimizer():
    a, b, _ = parameters()
    sgd = tnn.SGD([a, b], 0.1, clip_norm=1)
    assert sgd.state_dict()["clip_norm"] == 1
    assert "clip_value" not in sgd.state_dict()
    other = tnn.SGD([a, b], 0.1, clip_value=3.0)
    other.load_state_dict(sgd.state_dict())
    assert (other.clip_norm, other.clip_value) == (1, None)
    for bad in (0, -1, math.nan, "1", True):
        with pytest.raises(
            (TypeError, ValueError), match="SGD: clip_value must be a finite number"
        ):
            sgd.clip_value = bad
    with pytest.raises(TypeError, match="SGD: group 0 has no clip_norm of its own"):
        tnn.SGD([{"parameters": [a], "clip_norm": 1}])


@pytest.mark.parametrize("clip", ["values", "norm", "optimizer"])
def test_a_compiled_step_clips_as_an_eager_one(clip):
    pytest.importorskip("tinynn.replay")
    found = []
    for compiled in (False, True):
        model = tnn.Dense(3, 2, dtype="float64", rng=0)
        how = {"clip_norm": 0.1, "clip_value": 0.05} if clip == "optimizer" else {}
        sgd = tnn.SGD(model.parameters(), 0.5, momentum=0.5, **how)

        def step(x, model=model, sgd=sgd):
            sgd.zero_grad()
            loss = ((model(x) - 3) ** 2).mean()
            loss.backward()
            if clip == "values":
                tnn.clip_grad_value(model.parameters(), 0.05)
            norm = 0.0
            if clip == "norm":
                norm = tnn.clip_grad_norm(model.parameters(), 0.1)
            before = tnn.global_norm([p.grad for p in model.parameters()])
            sgd.step()
            return loss.item(), norm, before

        step = tnn.compile(step) if compiled else step
        rng = np.random.default_rng(0)
        figures = [step(rng.normal(size=(5, 3))) for _ in range(6)]
        assert not compiled or step.eager is None
        found.append((figures, model.state_dict()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    for name, value in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], value, rtol=1e-12)
