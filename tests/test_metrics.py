"""Metrics: by their definitions, against Keras, and what they refuse."""

import functools
import math
import os
import warnings

import numpy as np
import pytest

import tinynn as tnn
from tinynn import metrics

YES_NO = ([0.9, 0.8, 0.3, 0.2, 0.6], [1, 0, 1, 0, 1])  # two of three found, one of three wrong


def pairs_of_yes_and_no(scores, labels):
    """The area under the ROC curve as the chance that a yes scores above a no."""
    yes, no = scores[labels == 1], scores[labels == 0]
    wins = sum((a > b) + 0.5 * (a == b) for a in yes for b in no)
    return wins / (yes.size * no.size)


def slow_average_precision(scores, labels):
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        found = scores >= threshold
        recall = labels[found].sum() / labels.sum()
        area += (recall - before) * labels[found].mean()
        before = recall
    return area


# ---------------------------------------------------------------- definitions


def test_of_yes_and_no():
    assert metrics.binary_accuracy(*YES_NO) == 3 / 5
    assert metrics.precision(*YES_NO) == 2 / 3
    assert metrics.recall(*YES_NO) == 2 / 3
    assert metrics.f1(*YES_NO) == 2 / 3
    p, t = np.array(YES_NO)
    assert metrics.f1(p, t, threshold=0.85) == 0.5
    log_odds = np.log(p / (1 - p))
    for name in ("accuracy", "binary_accuracy", "precision", "recall", "f1", "confusion_matrix"):
        f = getattr(metrics, name)
        np.testing.assert_array_equal(f(log_odds, t, threshold=0), f(p, t))
    assert metrics.auc(log_odds, t) == metrics.auc(p, t)


def test_on_the_threshold_is_no_and_a_label_of_a_half_too():
    assert metrics.binary_accuracy([0.5, 0.5], [0, 1]) == 0.5
    assert metrics.precision([0.9, 0.9, 0.9], [0.5, 0.6, 1.0]) == 2 / 3


@pytest.mark.parametrize("seed", range(40))
def test_areas_are_exact_with_ties(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    scores, labels = rng.integers(0, 8, n) / 7 - 0.5, rng.integers(0, 2, n)
    labels[:2] = 0, 1
    assert metrics.auc(scores, labels) == pairs_of_yes_and_no(scores, labels)
    assert metrics.auc(scores.astype("e"), labels) == metrics.auc(scores.astype("f"), labels)
    expected = slow_average_precision(scores, labels)
    assert metrics.average_precision(scores, labels) == pytest.approx(expected, rel=1e-12)


def test_areas_of_certain_log_odds():
    assert metrics.auc([np.inf, -np.inf, np.inf], [1, 0, 0]) == 0.75
    assert metrics.average_precision([np.inf, -np.inf, np.inf], [1, 0, 0]) == 0.5


def test_what_is_nan():
    none, every = np.zeros(3), np.ones(3)
    assert math.isnan(metrics.precision(none, every))
    assert metrics.recall(none, every) == metrics.f1(none, every) == 0
    assert math.isnan(metrics.recall(every, none))
    assert metrics.precision(every, none) == metrics.f1(every, none) == 0
    assert math.isnan(metrics.f1(none, none))
    for labels in (none, every):
        assert math.isnan(metrics.auc([0.1, 0.2, 0.3], labels))
    assert math.isnan(metrics.average_precision([0.1, 0.2, 0.3], none))
    assert metrics.average_precision([0.1, 0.2, 0.3], every) == 1
    assert math.isnan(metrics.r2([0.1, 0.2, 0.3], np.full(3, 0.1)))
    assert math.isnan(metrics.r2([[0.1, 0.2], [0.3, 0.4]], [[0.1, 1.0], [0.2, 1.0]]))


def test_errors_of_numbers():
    rng = np.random.default_rng(0)
    p, t = rng.normal(size=(2, 4, 50, 3)).astype("float32")
    error = p.astype(float) - t
    assert metrics.mean_absolute_error(p, t) == pytest.approx(np.abs(error).mean(), rel=1e-14)
    assert metrics.mean_squared_error(p, t) == pytest.approx((error**2).mean(), rel=1e-14)
    assert metrics.root_mean_squared_error(p, t) == metrics.mean_squared_error(p, t) ** 0.5
    spread = ((t - t.mean((0, 1), dtype=float)) ** 2).sum((0, 1))
    expected = (1 - (error**2).sum((0, 1)) / spread).mean()
    assert metrics.r2(p, t) == pytest.approx(expected, rel=1e-12)
    assert metrics.r2(t, t) == 1
    assert metrics.r2(np.full(4, 2.5), [1, 2, 3, 4]) == 0


def test_errors_of_small_integers_and_of_half_precision_do_not_overflow():
    a, b = np.array([250, 0], "uint8"), np.array([0, 250], "uint8")
    assert metrics.mean_absolute_error(a, b) == 250
    assert metrics.mean_squared_error(a, b) == 62500
    assert metrics.mean_squared_error(np.full(70000, 300, "e"), np.zeros(70000, "e")) == 90000
    assert metrics.mean_squared_error([np.inf], [0.0]) == math.inf
    assert math.isnan(metrics.mean_absolute_error([np.inf], [np.inf]))


# ---------------------------------------------------------------- what accuracy reads

ROWS = np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.5, 0.4, 0.1]])
CLASSES = np.array([1, 0, 1, 2])


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        (ROWS, CLASSES, 0.5),
        (ROWS, CLASSES[:, None], 0.5),
        (ROWS, CLASSES.astype(float), 0.5),
        (ROWS, np.eye(3)[CLASSES], 0.5),
        (ROWS, 0.9 * np.eye(3)[CLASSES] + 0.1 / 3, 0.5),
        (ROWS.reshape(2, 2, 3), CLASSES.reshape(2, 2), 0.5),
        (ROWS.reshape(2, 2, 3), CLASSES.reshape(2, 2, 1), 0.5),
        (ROWS[:3], CLASSES[:3], 2 / 3),  # as many classes as samples
        (ROWS[:, :1], [[0], [1], [1], [1]], 0.5),
        (ROWS[:, 0], [0, 1, 1, 1], 0.5),
        (ROWS[:, 0] - 0.15, np.array([False, True, True, True]), 0.25),
        (ROWS.argmax(1), CLASSES, 0.5),
        (ROWS.argmax(1)[:, None], CLASSES[:, None], 0.5),
        (ROWS[:, 0] > 0.15, [0, 1, 1, 1], 1.0),
        (0.9, 1, 1.0),
    ],
)
def test_accuracy_reads_shapes_and_dtypes(prediction, target, expected):
    assert metrics.accuracy(prediction, target) == pytest.approx(expected)
    as_tensors = tnn.Tensor(prediction), tnn.Tensor(target)
    assert metrics.accuracy(*as_tensors) == pytest.approx(expected)
    matrix = metrics.confusion_matrix(prediction, target)
    assert matrix.trace() / matrix.sum() == pytest.approx(expected)


def test_the_confusion_matrix_has_a_row_for_each_true_class():
    expected = [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    for target in (CLASSES, np.eye(3)[CLASSES]):
        found = metrics.confusion_matrix(ROWS, target)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.int64
    np.testing.assert_array_equal(metrics.confusion_matrix(ROWS.argmax(1), CLASSES), expected)
    wide = metrics.confusion_matrix(ROWS.argmax(1), CLASSES, classes=5)
    np.testing.assert_array_equal(wide[:3, :3], expected)
    assert wide.shape == (5, 5)
    assert wide.sum() == 4
    assert metrics.confusion_matrix(ROWS, [0, 0, 0, 0]).shape == (3, 3)
    np.testing.assert_array_equal(metrics.confusion_matrix([0.9, 0.8], [1, 0]), [[0, 1], [0, 1]])
    with pytest.raises(ValueError, match=r"^confusion_matrix: classes must be at least 3"):
        metrics.confusion_matrix(ROWS.argmax(1), CLASSES, classes=2)


def test_of_equal_scores_the_first_counts():
    assert metrics.sparse_categorical_accuracy([[0.5, 0.5]], [0]) == 1
    assert metrics.categorical_accuracy([[0.5, 0.5]], [[0, 1]]) == 0


# ---------------------------------------------------------------- refusals

NAN = float("nan")


@pytest.mark.parametrize("name", metrics.TABLE)
def test_every_metric_refuses_what_is_no_pair_of_numbers(name):
    f = metrics.TABLE[name]
    masked = np.ma.array([0.5, 0.5], mask=[True, False])
    for prediction, target, words in (
        ([0.5, NAN], [0, 1], "prediction is nan at index 1"),
        ([0.5, 0.5], [0, NAN], "target is nan at index 1"),
        ([], [], r"prediction must have elements, got shape \(0,\)"),
        (["a"], [1], "prediction must be an array of real numbers"),
        ([1j], [1], "prediction must be an array of real numbers"),
        (None, [1], "prediction must be an array of real numbers, got None"),
        ([0.5], [[1, 2], [3]], "target must be an array of real numbers"),
        (masked, [0, 1], "got a masked array"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{name}: {words}"):
            f(prediction, target)
    with pytest.raises(ValueError, match=f"^{name}: prediction .*"):
        f(np.full((3, 1), 0.5), np.ones(3) if "sparse" not in name else np.ones((3, 2)))


@pytest.mark.parametrize("name", ["precision", "recall", "f1", "auc", "average_precision"])
def test_of_several_classes_one_is_taken_against_the_rest(name):
    f = getattr(metrics, name)
    advice = r"classes take one against the rest: prediction\[..., k\], or .* with target == k\.$"
    for prediction, words in (
        (ROWS, r"equal shapes, got \(4, 3\) and \(4,\)\. Of several "),
        (ROWS[:, 0], r"target must be labels 0 and 1, got values from 0 to 2\. Of several "),
    ):
        with pytest.raises(ValueError, match=f"^{name}: .*{words}{advice}"):
            f(prediction, CLASSES)
    for k in range(3):
        true = np.equal(CLASSES, k)
        assert isinstance(f(ROWS[..., k], true), float)
        assert 0 <= f(ROWS.argmax(axis=-1) == k, true) <= 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.accuracy([0.5, 0.2], [0, 2]), "^accuracy: target must be labels 0 and 1"),
        (lambda m: m.accuracy(ROWS, [0, 1, 2, 3]), "numbers from 0 to 2, got values from 0 to 3"),
        (lambda m: m.accuracy(ROWS, [0, 1, 2, 1.5]), "class numbers from 0 to 2"),
        (lambda m: m.accuracy(ROWS, np.ones((4, 3))), r"one-hot or sum to 1\. .* binary_accuracy"),
        (lambda m: m.accuracy(ROWS, np.ones((4, 2))), r"equal shapes, got \(4, 3\) and \(4, 2\)"),
        (
            lambda m: m.accuracy([1, -1], [0, 1]),
            r"^accuracy: prediction must be class numbers 0, 1",
        ),
        (lambda m: m.f1([0.5], [-1]), "^f1: target must be labels 0 and 1, got values from -1"),
        (lambda m: m.f1([0.5], [1], threshold=NAN), "^f1: threshold must be a finite number"),
        (lambda m: m.auc([0.5], [3]), "^auc: target must be labels 0 and 1"),
        (lambda m: m.sparse_categorical_accuracy(ROWS, np.eye(3)[CLASSES]), "categorical_accuracy"),
        (lambda m: m.categorical_accuracy(1.0, 1.0), "^categorical_accuracy: .* got a scalar"),
        (lambda m: m.confusion_matrix([0], [0], classes=0), "classes must be a positive integer"),
    ],
)
def test_misuse(call, words):
    with pytest.raises(ValueError, match=words):
        call(metrics)


def test_names():
    for name, f in metrics.TABLE.items():
        assert metrics.get("fit", name) == (name, f)
        assert f.__name__ == name
    assert metrics.get("fit", "mse") == ("mse", metrics.mean_squared_error)
    assert metrics.get("fit", "acc") == ("acc", metrics.accuracy)
    at_zero = functools.partial(functools.partial(metrics.f1, threshold=0.1), threshold=0)
    assert metrics.get("fit", at_zero) == ("f1", at_zero)

    class Count:
        def __call__(self, prediction, target):
            return len(target)

    count = Count()
    assert metrics.get("fit", count) == ("Count", count)
    with pytest.raises(
        ValueError, match=r"^fit: metrics must be one of .*Did you mean 'accuracy'\?"
    ):
        metrics.get("fit", "acuracy")
    with pytest.raises(TypeError, match=r"^fit: metrics must be one of .*, got 3"):
        metrics.get("fit", 3)


# ---------------------------------------------------------------- Keras


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_against_keras(seed):
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras")
    rng = np.random.default_rng(seed)
    p, t = rng.random((20, 1)), rng.integers(0, 2, (20, 1))
    rows, classes = rng.dirichlet(np.ones(3), 20), rng.integers(0, 3, 20)
    x, y = rng.normal(size=(2, 20, 3))
    one_hot, k = np.eye(3)[classes], keras.metrics
    cases = [
        (metrics.binary_accuracy(p, t), k.BinaryAccuracy(), t, p),
        (metrics.binary_accuracy(p, t, threshold=0.3), k.BinaryAccuracy(threshold=0.3), t, p),
        (metrics.categorical_accuracy(rows, one_hot), k.CategoricalAccuracy(), one_hot, rows),
        (
            metrics.sparse_categorical_accuracy(rows, classes),
            *(k.SparseCategoricalAccuracy(), classes, rows),
        ),
        (metrics.precision(p, t, threshold=0.4), k.Precision(thresholds=0.4), t, p),
        (metrics.recall(p, t, threshold=0.4), k.Recall(thresholds=0.4), t, p),
        (metrics.f1(p, t), k.F1Score(threshold=0.5), t, p),
        (metrics.mean_absolute_error(x, y), k.MeanAbsoluteError(), y, x),
        (metrics.mean_squared_error(x, y), k.MeanSquaredError(), y, x),
        (metrics.root_mean_squared_error(x, y), k.RootMeanSquaredError(), y, x),
        (metrics.r2(x, y), k.R2Score(), y, x),
    ]
    for ours, theirs, target, prediction in cases:
        theirs.update_state(target.astype("float32"), prediction.astype("float32"))
        assert ours == pytest.approx(float(np.squeeze(np.asarray(theirs.result()))), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("place", range(12))
def test_a_nan_is_found_wherever_it_is_and_however_the_array_lies(dtype, place):
    good, bad = np.zeros((4, 3), dtype), np.tile(np.array([np.inf, 0, 1], dtype), (4, 1))
    bad.flat[place] = np.nan
    for array, index in ((bad, divmod(place, 3)), (bad.T, divmod(place, 3)[::-1])):
        where = f"nan at index {index[0]}, {index[1]}"
        other = good if array is bad else good.T
        with pytest.raises(ValueError, match=f"prediction is {where}"):
            tnn.metrics.binary_accuracy(array, other)
        with pytest.raises(ValueError, match=f"target is {where}"):
            tnn.metrics.binary_accuracy(other, array)
