"""Losses at the ends of their range: infinite logits, certain probabilities, half precision."""

import functools
import math
import pickle

import numpy as np
import pytest

import tinynn as tnn
from tinynn import losses

INF = np.inf
GAMMAS = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 5.0]


def cost_and_slope(loss, prediction, target, **options):
    p = tnn.Tensor(prediction, requires_grad=True)
    cost = loss(p, target, reduction="none", **options)
    return cost.data, tnn.grad(cost.sum(), [p])[0]


BINARY = {
    "plain": losses.binary_crossentropy,
    "weighted": functools.partial(losses.binary_crossentropy, pos_weight=3.0),
    "weighted each": functools.partial(losses.binary_crossentropy, pos_weight=[0.5, 3.0]),
    **{f"focal {gamma}": functools.partial(losses.focal, gamma=gamma) for gamma in GAMMAS},
    "focal, alpha": functools.partial(losses.focal, gamma=0.5, alpha=0.25),
    "focal, alpha 0": functools.partial(losses.focal, alpha=0.0),
    "focal, alpha 1": functools.partial(losses.focal, alpha=1.0),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("weight", [None, 2.0, [1.0, 0.0]])
@pytest.mark.parametrize("name", BINARY)
def test_a_certain_and_right_logit_costs_nothing(name, weight, dtype):
    logits = np.array([-INF, INF], dtype)
    how = {"from_logits": True, "sample_weight": weight}
    cost, slope = cost_and_slope(BINARY[name], logits, [0.0, 1.0], **how)
    np.testing.assert_array_equal(cost, [0, 0])
    np.testing.assert_array_equal(slope, [0, 0])


@pytest.mark.parametrize("name", [name for name in BINARY if "alpha" not in name])
def test_a_certain_and_wrong_logit_costs_without_end(name):
    cost, _ = cost_and_slope(BINARY[name], [-INF, INF], [1.0, 0.0], from_logits=True)
    np.testing.assert_array_equal(cost, [INF, INF])


@pytest.mark.parametrize("name", BINARY)
def test_a_right_probability_of_0_or_1_costs_nothing(name):
    cost, slope = cost_and_slope(BINARY[name], [0.0, 1.0], [0.0, 1.0])
    np.testing.assert_array_equal(cost, [0, 0])
    step = 1e-7  # the slope is that of the side on which there are probabilities
    inside, _ = cost_and_slope(BINARY[name], [step, 1 - step], [0.0, 1.0])
    np.testing.assert_allclose(slope, inside / step * [1, -1], rtol=1e-5, atol=0.02)


@pytest.mark.parametrize("gamma", [0.25, 0.5, 1.0, 1.5])
def test_the_slope_of_focal_where_the_miss_is_small(gamma):
    p = np.array([1 - 1e-3, 1 - 1e-9])
    _, slope = cost_and_slope(losses.focal, p, [1.0, 1.0], gamma=gamma)
    miss = 1 - p
    expected = gamma * miss ** (gamma - 1) * np.log(p) - miss**gamma / p
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_masked_class_takes_no_part(sparse):
    x, y = np.array([[-INF, 0.0, 1.0], [-INF, -INF, 5.0]]), np.array([1, 2])
    loss = losses.sparse_categorical_crossentropy if sparse else losses.categorical_crossentropy
    cost, slope = cost_and_slope(loss, x, y if sparse else np.eye(3)[y], from_logits=True)
    np.testing.assert_allclose(cost, [math.log(1 + math.e), 0])
    share = 1 / (1 + math.e)
    np.testing.assert_allclose(slope, [[0, share - 1, 1 - share], [0, 0, 0]], atol=1e-15)


@pytest.mark.parametrize("sparse", [False, True])
def test_with_smoothing_a_masked_class_costs_without_end(sparse):
    x, y = np.array([[-INF, 0.0, 1.0], [2.0, 0.0, 1.0]]), np.array([1, 2])
    loss = losses.sparse_categorical_crossentropy if sparse else losses.categorical_crossentropy
    target = y if sparse else np.eye(3)[y]
    how = {"from_logits": True, "label_smoothing": 0.3}
    cost, slope = cost_and_slope(loss, x, target, sample_weight=[0.0, 1.0], **how)
    alone, _ = cost_and_slope(loss, x[1:], target[1:], **how)
    np.testing.assert_array_equal(cost, [0, alone[0]])
    assert np.isfinite(slope).all()
    assert loss(x[:1], target[:1], **how) == INF
    for z, cost in (([-INF, INF], [INF, INF]), ([-1e4, 1e4], [1500, 1500])):
        found, slope = cost_and_slope(losses.binary_crossentropy, z, [0.0, 1.0], **how)
        np.testing.assert_allclose(found, cost)
        np.testing.assert_allclose(slope, [-0.15, 0.15])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_smoothing_keeps_the_dtype(dtype):
    for name, target in (
        ("binary_crossentropy", [[1, 0]]),
        ("focal", [[1, 0]]),
        ("categorical_crossentropy", [[1, 0]]),
        ("sparse_categorical_crossentropy", [0]),
    ):
        p = np.array([[0.75, 0.25]], dtype)
        exact, _ = cost_and_slope(losses.TABLE[name], p.astype(float), target, label_smoothing=0.1)
        cost, slope = cost_and_slope(losses.TABLE[name], p, target, label_smoothing=0.1)
        assert cost.dtype == slope.dtype == dtype
        np.testing.assert_allclose(cost, exact, rtol=8 * float(np.finfo(dtype).eps))


def test_a_class_of_certain_probability_costs_nothing():
    p, y = np.array([[0.0, 1.0, 0.0]]), np.array([[0, 1, 0]])
    for loss, target in (
        (losses.categorical_crossentropy, y),
        (losses.sparse_categorical_crossentropy, [1]),
    ):
        cost, slope = cost_and_slope(loss, p, target)
        assert cost == 0
        np.testing.assert_array_equal(slope, [[0, -1, 0]])


def test_nan_is_never_hidden_but_by_a_weight_of_0():
    nan = np.array([np.nan, np.nan])
    for loss in BINARY.values():
        for logits in (False, True):
            if "alpha" not in getattr(loss, "keywords", {}):
                assert np.isnan(loss(nan, [0.0, 1.0], from_logits=logits, reduction="none")).all()
    row = np.array([[np.nan, 0.5]])
    for logits in (False, True):
        assert np.isnan(losses.categorical_crossentropy(row, [[0, 1]], from_logits=logits))
    p = tnn.Tensor([1.0, np.nan], requires_grad=True)
    value = losses.mean_squared_error(p, [0.0, 0.0], sample_weight=[1.0, 0.0])
    assert value.item() == 0.5
    np.testing.assert_array_equal(tnn.grad(value, [p])[0], [1, 0])


@pytest.mark.parametrize("loss", [losses.mean_squared_error, losses.mean_absolute_error])
def test_targets_out_of_reach_cost_without_end(loss):
    cost, slope = cost_and_slope(loss, [0.0, 0.0, 1.0], [INF, -INF, 1.0])
    np.testing.assert_array_equal(cost, [INF, INF, 0])
    np.testing.assert_array_equal(np.sign(slope), [-1, 1, 0])


def test_huber_bends_at_the_target():
    p = tnn.Tensor([0.0, 0.5, 3.0], requires_grad=True)
    (slope,) = tnn.grad(losses.huber(p, np.zeros(3), reduction="sum"), [p], create_graph=True)
    assert tnn.grad(slope.sum(), [p])[0].tolist() == [1.0, 1.0, 0.0]


def test_huber_pulls_no_harder_at_a_target_out_of_reach():
    cost, slope = cost_and_slope(losses.huber, [0.0, 0.0], [INF, -INF], delta=2.0)
    np.testing.assert_array_equal(cost, [INF, INF])
    np.testing.assert_array_equal(slope, [-2, 2])


# ---------------------------------------------------------------- half precision

MANY = {
    "squared": (losses.mean_squared_error, 0.5, 0.0, 0.25, 1.0),
    "absolute": (losses.mean_absolute_error, 0.5, 0.0, 0.5, 1.0),
    "huber": (losses.huber, 3.0, 0.0, 2.5, 1.0),
    "binary": (losses.binary_crossentropy, 0.5, 0.0, math.log(2), 2.0),
    "focal": (functools.partial(losses.focal, gamma=0.0), 0.5, 0.0, math.log(2), 2.0),
}


@pytest.mark.parametrize("name", MANY)
def test_the_mean_of_many_half_precision_losses(name):
    loss, prediction, target, expected, slope = MANY[name]
    shape = (32, 2100)  # 67,200 in all, more than half precision can count
    p = tnn.Tensor(np.full(shape, prediction, np.float16), requires_grad=True)
    value = loss(p, np.full(shape, target))
    assert value.dtype == np.float16
    assert value.item() == pytest.approx(expected, rel=1e-3)
    value.backward()
    assert p.grad.dtype == np.float16
    np.testing.assert_allclose(p.grad, np.float16(slope / p.size), rtol=1e-2)


def test_squares_that_half_precision_cannot_hold():
    p = tnn.Tensor(np.array([300.0] + [0.0] * 99, np.float16), requires_grad=True)
    value = losses.mean_squared_error(p, np.zeros(100))
    assert value.item() == 900
    value.backward()
    np.testing.assert_array_equal(p.grad, [6] + [0] * 99)
    each = losses.mean_squared_error(p[1:], np.ones(99), reduction="none")
    assert each.dtype == np.float16
    assert (each.data == 1).all()


def test_probabilities_in_half_precision_are_known_for_what_they_are():
    x = tnn.Tensor(np.zeros(2, np.float16), requires_grad=True)
    with pytest.raises(ValueError, match="made by sigmoid, so it holds probabilities"):
        losses.binary_crossentropy(tnn.sigmoid(x), [0, 1], from_logits=True)
    third = np.full((1, 3), 1 / 3, np.float16)
    assert losses.categorical_crossentropy(third, third) == pytest.approx(math.log(3), rel=1e-3)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "bool"])
def test_targets_of_small_integers(dtype):
    target = np.array([0, 1, 1], dtype)
    expected = losses.binary_crossentropy(np.array([0.1, 0.6, 0.9]), target.astype(float))
    assert losses.binary_crossentropy(np.array([0.1, 0.6, 0.9]), target) == expected
    assert losses.mean_squared_error(np.array([0.0, 3.0, 1.0]), target) == pytest.approx(4 / 3)
    if dtype != "bool":
        p = np.array([[0.25, 0.75], [0.5, 0.5], [0.25, 0.75]])
        found = losses.sparse_categorical_crossentropy(p, target, reduction="none")
        np.testing.assert_allclose(found, -np.log([0.25, 0.5, 0.75]))


# ---------------------------------------------------------------- what a loss states of itself


def test_weights_and_targets_are_read_at_each_call():
    weight, pos_weight = np.ones(2, np.float32), np.ones(2, np.float32)
    target = np.ones(2, np.float32)
    p = tnn.Tensor(np.array([0.5, 0.5], np.float32))
    loss = functools.partial(
        losses.binary_crossentropy, sample_weight=weight, pos_weight=pos_weight, reduction="none"
    )
    first = loss(p, target).data
    weight[0], pos_weight[1] = 2, 3
    np.testing.assert_allclose(loss(p, target).data, first * [2, 3])
    weight[0] = -1
    with pytest.raises(ValueError, match="sample_weight must be finite and not negative"):
        loss(p, target)


def test_a_target_may_be_a_tensor():
    p = np.array([0.2, 0.9])
    for target in ([0.0, 1.0], np.array([0, 1]), tnn.Tensor([0.0, 1.0]), tnn.Tensor([0, 1])):
        for loss in (losses.binary_crossentropy, losses.focal, losses.huber):
            expected = float(loss(p, [0.0, 1.0]))
            assert float(loss(tnn.Tensor(p), target, sample_weight=tnn.Tensor(1.0))) == expected
    rows = tnn.Tensor([[0.25, 0.75]])
    found = losses.sparse_categorical_crossentropy(rows, tnn.Tensor([1]))
    assert found.item() == pytest.approx(-math.log(0.75))


@pytest.mark.parametrize("name", losses.TABLE)
def test_every_loss_is_a_mean_over_samples_and_says_so(name):
    loss = losses.TABLE[name]
    rng = np.random.default_rng(0)
    p, y = rng.uniform(0.1, 0.9, (6, 3)), rng.integers(0, 2, (6, 3))
    y = y[:, 0] if "sparse" in name else y
    assert loss.over_samples == "mean"
    for reduction in ("mean", "sum"):
        parts = [loss(p[i : i + 2], y[i : i + 2], reduction=reduction) for i in (0, 2, 4)]
        whole = float(loss(p, y, reduction=reduction))
        assert getattr(np, reduction)(parts) == pytest.approx(whole)
    assert pickle.loads(pickle.dumps(loss)) is loss


@pytest.mark.parametrize("gamma", [0.5, 1.5, 2.5])
@pytest.mark.parametrize(("p", "target"), [(1.0, 1 + 4e-16), (0.0, -4e-16)])
def test_focal_takes_a_target_a_rounding_unit_beyond(p, target, gamma):
    assert float(losses.focal(np.array([p]), np.array([target]), gamma=gamma)) == 0
