"""Losses: closed forms, stability, weights, reductions, refusals."""

import math

import numpy as np
import pytest

import tinynn as tnn
from tinynn import losses

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(3, 4))
TARGET = RNG.normal(size=(3, 4))
BINARY = (RNG.random((3, 4)) < 0.4).astype(float)
SOFT = RNG.random((3, 4))
PROBABILITY = RNG.uniform(0.05, 0.95, (3, 4))
ONE_HOT = np.eye(4)[[0, 2, 3]]
SIGMOID = 1 / (1 + np.exp(-REAL))
SOFTMAX = np.exp(REAL) / np.exp(REAL).sum(-1, keepdims=True)


SMOOTH = 0.9 * ONE_HOT + 0.1 / 4


def crossentropy(p, y, w=1.0):
    return -(w * y * np.log(p) + (1 - y) * np.log(1 - p))


# name: (loss, prediction, target, the unreduced loss in closed form)
CASES = {
    "squared": (losses.mean_squared_error, REAL, TARGET, (REAL - TARGET) ** 2),
    "absolute": (losses.mean_absolute_error, REAL, TARGET, np.abs(REAL - TARGET)),
    "huber": (
        lambda p, t, **k: losses.huber(p, t, delta=0.7, **k),
        *(REAL, TARGET),
        np.where(
            np.abs(REAL - TARGET) < 0.7,
            0.5 * (REAL - TARGET) ** 2,
            0.7 * (np.abs(REAL - TARGET) - 0.35),
        ),
    ),
    "binary": (losses.binary_crossentropy, PROBABILITY, SOFT, crossentropy(PROBABILITY, SOFT)),
    "binary, logits": (
        lambda p, t, **k: losses.binary_crossentropy(p, t, from_logits=True, **k),
        *(REAL, SOFT, crossentropy(SIGMOID, SOFT)),
    ),
    "binary, weighted": (
        lambda p, t, **k: losses.binary_crossentropy(p, t, pos_weight=3.0, **k),
        *(PROBABILITY, SOFT, crossentropy(PROBABILITY, SOFT, 3.0)),
    ),
    "binary, weighted logits": (
        lambda p, t, **k: losses.binary_crossentropy(
            p, t, from_logits=True, pos_weight=[1.0, 2.0, 3.0, 0.5], **k
        ),
        *(REAL, SOFT, crossentropy(SIGMOID, SOFT, np.array([1.0, 2.0, 3.0, 0.5]))),
    ),
    "focal": (
        lambda p, t, **k: losses.focal(p, t, gamma=1.5, alpha=0.25, **k),
        *(PROBABILITY, BINARY),
        np.where(BINARY == 1, 0.25, 0.75)
        * np.where(BINARY == 1, 1 - PROBABILITY, PROBABILITY) ** 1.5
        * crossentropy(PROBABILITY, BINARY),
    ),
    "focal, logits": (
        lambda p, t, **k: losses.focal(p, t, from_logits=True, **k),
        *(REAL, BINARY),
        np.where(BINARY == 1, 1 - SIGMOID, SIGMOID) ** 2 * crossentropy(SIGMOID, BINARY),
    ),
    "categorical": (
        losses.categorical_crossentropy,
        *(SOFTMAX, ONE_HOT, -np.log(SOFTMAX[np.arange(3), [0, 2, 3]])),
    ),
    "categorical, logits": (
        lambda p, t, **k: losses.categorical_crossentropy(p, t, from_logits=True, **k),
        *(REAL, ONE_HOT, -np.log(SOFTMAX[np.arange(3), [0, 2, 3]])),
    ),
    "sparse": (
        losses.sparse_categorical_crossentropy,
        *(SOFTMAX, np.array([0, 2, 3]), -np.log(SOFTMAX[np.arange(3), [0, 2, 3]])),
    ),
    "sparse, logits": (
        lambda p, t, **k: losses.sparse_categorical_crossentropy(p, t, from_logits=True, **k),
        *(REAL, np.array([0, 2, 3]), -np.log(SOFTMAX[np.arange(3), [0, 2, 3]])),
    ),
    "binary, smoothed": (
        lambda p, t, **k: losses.binary_crossentropy(
            p, t, label_smoothing=0.2, pos_weight=3.0, **k
        ),
        *(PROBABILITY, BINARY, crossentropy(PROBABILITY, 0.8 * BINARY + 0.1, 3.0)),
    ),
    "binary, smoothed logits": (
        lambda p, t, **k: losses.binary_crossentropy(
            p, t, from_logits=True, label_smoothing=0.2, **k
        ),
        *(REAL, BINARY, crossentropy(SIGMOID, 0.8 * BINARY + 0.1)),
    ),
    "focal, smoothed": (
        lambda p, t, **k: losses.focal(p, t, from_logits=True, label_smoothing=0.2, **k),
        *(REAL, BINARY),
        np.where(BINARY == 1, 0.9 * (1 - SIGMOID) + 0.1 * SIGMOID, 0.1 + 0.8 * SIGMOID) ** 2
        * crossentropy(SIGMOID, 0.8 * BINARY + 0.1),
    ),
    **{
        f"{name}, smoothed{', logits' if logits else ''}": (
            lambda p, t, f=loss, logits=logits, **k: f(
                p, t, from_logits=logits, label_smoothing=0.1, **k
            ),
            *(REAL if logits else SOFTMAX, target, -(SMOOTH * np.log(SOFTMAX)).sum(-1)),
        )
        for logits in (False, True)
        for name, loss, target in (
            ("categorical", losses.categorical_crossentropy, ONE_HOT),
            ("sparse", losses.sparse_categorical_crossentropy, np.array([0, 2, 3])),
        )
    },
    "dice": (
        losses.dice,
        *(PROBABILITY, SOFT),
        1 - 2 * (PROBABILITY * SOFT).sum(1) / (PROBABILITY.sum(1) + SOFT.sum(1) + 1e-7),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_reductions_and_weights(case):
    loss, prediction, target, expected = CASES[case]
    unreduced = loss(tnn.Tensor(prediction), target, reduction="none")
    np.testing.assert_allclose(unreduced.data, expected, rtol=1e-12)
    assert float(loss(prediction, target)) == pytest.approx(expected.mean(), rel=1e-12)
    total = loss(prediction, target, reduction="sum")
    assert float(total) == pytest.approx(expected.sum(), rel=1e-12)
    weight = RNG.random(expected.shape)
    weighted = loss(prediction, target, sample_weight=weight)
    assert float(weighted) == pytest.approx((weight * expected).mean(), rel=1e-12)
    rows = RNG.random((3, 1)) if expected.ndim == 2 else RNG.random(3)
    weighted = loss(prediction, target, sample_weight=rows)
    assert float(weighted) == pytest.approx((rows * expected).mean(), rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_gradients(case):
    loss, prediction, target, _ = CASES[case]
    tnn.testing.check_grads(lambda p: loss(p, target), prediction, order=2)


@pytest.mark.parametrize("case", CASES)
def test_float32_stays_float32(case):
    loss, prediction, target, _ = CASES[case]
    p = tnn.Tensor(prediction, dtype="float32", requires_grad=True)
    value = loss(p, target, sample_weight=np.ones(1))
    assert value.dtype == np.float32
    assert tnn.grad(value, [p])[0].dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_crossentropy_of_logits_keeps_its_precision_in_the_tails(dtype):
    z = np.array([-5.0, -10, -20, -50, 5, 20])
    logits = tnn.Tensor(z, dtype=dtype, requires_grad=True)
    value = losses.binary_crossentropy(logits, np.zeros(6), from_logits=True, reduction="none")
    np.testing.assert_allclose(value.data, np.logaddexp(0, z), rtol=1e-6)
    slope = tnn.grad(value.sum(), [logits])[0]
    np.testing.assert_allclose(slope, np.exp(-np.logaddexp(0, -z)), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [losses.binary_crossentropy, losses.focal])
def test_binary_losses_are_exact_at_large_logits(loss, dtype):
    logits = tnn.Tensor([1000.0, -1000.0, 1000.0, -1000.0], dtype=dtype, requires_grad=True)
    value = loss(logits, [1, 0, 0, 1], from_logits=True, reduction="none")
    np.testing.assert_array_equal(value.data, [0, 0, 1000, 1000])
    slope = tnn.grad(value.sum(), [logits])[0]
    np.testing.assert_allclose(slope, [0, 0, 1, -1], atol=1e-6)


def test_probabilities_of_exactly_0_and_1_give_finite_losses_and_slopes():
    p = tnn.Tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    value = losses.binary_crossentropy(p, [0, 1, 1, 0], reduction="none")
    assert np.isfinite(value.data).all()
    assert value.data[:2].max() < 1e-15
    assert value.data[2:].min() > 30
    assert np.isfinite(tnn.grad(value.sum(), [p])[0]).all()


def test_categorical_losses_are_stable_at_large_logits():
    logits = tnn.Tensor([[1000.0, -1000.0]], requires_grad=True)
    value = losses.categorical_crossentropy(logits, [[0.0, 1.0]], from_logits=True)
    assert value.item() == 2000
    np.testing.assert_array_equal(tnn.grad(value, [logits])[0], [[1, -1]])


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("case", [c for c in CASES if "sparse" not in c])
def test_unequal_shapes_are_an_error(case):
    loss, prediction, target, _ = CASES[case]
    message = r"prediction and target must have equal shapes, got \(3, 4\) and \(12,\)"
    with pytest.raises(ValueError, match=message):
        loss(prediction, target.ravel())
    with pytest.raises(ValueError, match=r"got \(3, 1\) and \(3,\)"):
        losses.mean_squared_error(np.zeros((3, 1)), np.zeros(3))


def test_a_length_that_differs_points_to_the_padding():
    with pytest.raises(ValueError, match=r"differ in length alone: .* padding=\"same\"\?"):
        losses.mean_squared_error(np.zeros((2, 8, 1)), np.zeros((2, 10, 1)))
    with pytest.raises(ValueError, match=r"Reshape one of them"):
        losses.mean_squared_error(np.zeros((2, 8, 1)), np.zeros((2, 10, 2)))


@pytest.mark.parametrize(
    ("loss", "activation", "target"),
    [
        (losses.binary_crossentropy, tnn.sigmoid, BINARY),
        (losses.focal, tnn.sigmoid, BINARY),
        (losses.categorical_crossentropy, tnn.softmax, ONE_HOT),
        (losses.sparse_categorical_crossentropy, tnn.softmax, np.array([0, 2, 3])),
    ],
)
def test_probabilities_given_as_logits_are_noticed(loss, activation, target):
    x = tnn.Tensor(REAL, requires_grad=True)
    name = activation.__name__
    with pytest.raises(ValueError, match=f"made by {name}, .* Leave out from_logits=True, or the"):
        loss(activation(x), target, from_logits=True)
    assert np.isfinite(loss(activation(x), target).data)
    assert np.isfinite(loss(activation(x) * 2.0, target, from_logits=True).data)


def test_losses_have_kerass_other_names():
    found = [losses.get("fit", name) for name in ("mse", "mae", "bce")]
    known = [losses.mean_squared_error, losses.mean_absolute_error, losses.binary_crossentropy]
    assert found == known


def test_a_target_that_requires_a_gradient_is_an_error():
    target = tnn.Tensor([0.5], requires_grad=True)
    with pytest.raises(TypeError, match=r"target requires a gradient.*\(prediction, target\)"):
        losses.mean_squared_error(tnn.Tensor([0.5]), target)
    assert losses.mean_squared_error(tnn.Tensor([0.5]), target.detach()).item() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.binary_crossentropy([0.5, 2.0], [0, 1]), "from_logits=True"),
        (lambda: losses.binary_crossentropy([0.5], [2]), r"target must lie in \[0, 1\]"),
        (lambda: losses.binary_crossentropy([0.5], [1], pos_weight=0), "pos_weight must be finite"),
        (
            lambda: losses.binary_crossentropy([0.5], [1], pos_weight=[1.0, 2.0]),
            r"pos_weight must broadcast to the target's shape \(1,\), got \(2,\)",
        ),
        (lambda: losses.binary_crossentropy([0.5], [1], from_logits="yes"), "True or False"),
        (lambda: losses.mean_squared_error([1], [1]), "prediction must be floating-point"),
        (lambda: losses.mean_squared_error([1.0], ["a"]), "target must be real numbers"),
        (
            lambda: losses.mean_squared_error([1.0], [1.0], reduction="avg"),
            "reduction must be one of",
        ),
        (
            lambda: losses.mean_squared_error(REAL, TARGET, sample_weight=np.ones((2, 3, 4))),
            r"sample_weight must broadcast to the loss's shape \(3, 4\), got \(2, 3, 4\)",
        ),
        (
            lambda: losses.mean_squared_error(REAL, TARGET, sample_weight=np.ones(5)),
            r"sample_weight must broadcast .*, got \(5,\)",
        ),
        (
            lambda: losses.mean_squared_error(REAL, TARGET, sample_weight=-np.ones(4)),
            "sample_weight must be finite and not negative",
        ),
        (
            lambda: losses.huber([1.0], [1.0], delta=0),
            "delta must be a finite number above 0",
        ),
        *(
            (lambda s=s: losses.focal([0.5], [1.0], label_smoothing=s), f"label_smoothing .* {s}")
            for s in (-0.1, 1.0, np.nan, "a")
        ),
        (
            lambda: losses.sparse_categorical_crossentropy(SOFTMAX, [0, 1, 2], label_smoothing=1),
            "^sparse_categorical_crossentropy: label_smoothing must be .* below 1, got 1",
        ),
        (
            lambda: losses.dice([0.5], [1.0]),
            r"^dice: prediction must be \(batch, \.\.\.\), .*x\[None\]",
        ),
        (
            lambda: losses.dice([[3.0]], [[1.0]]),
            r"^dice: prediction must lie .*tinynn\.sigmoid\(x\)",
        ),
        (lambda: losses.dice([[0.5]], [[3.0]]), "^dice: target must lie in"),
        (
            lambda: losses.dice(PROBABILITY, SOFT, sample_weight=np.ones((3, 1))),
            r"sample_weight must broadcast to the loss's shape \(3,\), got \(3, 1\)",
        ),
        (lambda: losses.focal([0.5], [1.0], alpha=2), "focal: alpha must be .* at most 1, got 2"),
        (
            lambda: losses.sparse_categorical_crossentropy(SOFTMAX, np.array([0, 1, 4])),
            r"classes must lie in 0\.\.3, got 0 to 4",
        ),
        (
            lambda: losses.sparse_categorical_crossentropy(SOFTMAX, np.array([0.0, 1.0, 2.0])),
            "target must be integer classes, got dtype float64",
        ),
        (
            lambda: losses.sparse_categorical_crossentropy(SOFTMAX, np.array([0, 1])),
            r"without its last axis, \(3,\), got \(2,\)",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_known_value():
    assert float(losses.binary_crossentropy([0.0], [1.0], from_logits=True)) == math.log(2)


def test_the_other_loss_for_classes_is_named():
    p = np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match="For class numbers use sparse_categorical_crossentropy"):
        losses.categorical_crossentropy(p, [0, 1, 1])
    with pytest.raises(ValueError, match=r"target\[\.\.\., 0\]; .* use categorical_crossentropy"):
        losses.sparse_categorical_crossentropy(p, [[0], [1], [1]])


def test_dice_is_taken_over_each_sample():
    p, y = RNG.random((2, 5, 3)), (RNG.random((2, 5, 3)) < 0.5) * 1.0
    each = losses.dice(p, y, reduction="none")
    assert each.shape == (2,)
    for i in range(2):
        expected = 1 - 2 * (p[i] * y[i]).sum() / (p[i].sum() + y[i].sum() + 1e-7)
        assert each[i] == pytest.approx(expected)
    assert losses.dice(p, y, sample_weight=[0.0, 2.0]) == pytest.approx(each[1])
    x = tnn.Tensor(np.zeros((1, 4)), requires_grad=True)  # nothing there, nothing found
    value = losses.dice(x, np.zeros((1, 4)))
    assert value.item() == 1
    np.testing.assert_array_equal(tnn.grad(value, x)[0], 0)
    half = tnn.Tensor(np.full((1, 70000), 0.5, np.float16), requires_grad=True)
    value = losses.dice(half, np.ones(half.shape))
    assert value.dtype == np.float16
    assert value.item() == pytest.approx(1 / 3, rel=1e-3)


def test_no_smoothing_leaves_the_bits_alone():
    for loss, target in (
        (losses.binary_crossentropy, BINARY),
        (losses.focal, BINARY),
        (losses.categorical_crossentropy, ONE_HOT),
        (losses.sparse_categorical_crossentropy, np.array([0, 2, 3])),
    ):
        plain = loss(REAL, target, from_logits=True, reduction="none")
        smoothed = loss(REAL, target, from_logits=True, reduction="none", label_smoothing=0)
        np.testing.assert_array_equal(smoothed, plain)


def test_other_numbers_of_features_are_told():
    with pytest.raises(ValueError, match="The last layer gives 2 numbers where the target has 1"):
        tnn.losses.mean_squared_error(np.ones((20, 100, 2)), np.ones((20, 100, 1)))


def test_raw_scores_are_told_both_ways_out():
    words = r'activation="sigmoid", or functools\.partial\(binary_crossentropy, from_logits=True\)'
    with pytest.raises(ValueError, match=words):
        tnn.losses.binary_crossentropy(np.array([3.0]), [1.0])
