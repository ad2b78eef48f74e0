"""Metrics: how good predictions are, as numbers for people. Plain NumPy, no gradients.

Each takes ``prediction`` and ``target``, arrays or Tensors, and returns a float, added up in double
precision. They may be given to :func:`tinynn.fit` by name, or called on the whole of a data set.
Shapes must be equal, but where classes are numbers. They raise ValueError for shapes or labels that
do not fit, for a nan, and for arrays without elements, and TypeError for what is not real numbers.

**Probabilities or log-odds.** Where classes are yes and no, ``prediction`` is yes above
``threshold``, which is 0.5, as for probabilities. A model that was trained with a ``from_logits``
loss gives log-odds, for which probability 0.5 is 0: give ``threshold=0``, in fit as
``functools.partial(tinynn.metrics.accuracy, threshold=0)``. For three and more classes the largest
wins, of probabilities and of log-odds. A ``target`` between 0 and 1 is yes above 0.5.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn import _checks as check

Array = NDArray[Any]
ONE_CLASS = (
    "Of several classes take one against the rest: prediction[..., k], or "
    "prediction.argmax(axis=-1) == k, with target == k."
)


def _numbers(owner: str, name: str, value: Any, *, nan: bool = False) -> Array:
    """Return ``value`` as an array of real numbers, at least one; ``nan``: whether one may be."""
    check.unmasked(owner, value)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        got = f"dtype {array.dtype}" if hasattr(value, "dtype") else check.shown(value)
        raise TypeError(f"{owner}: {name} must be an array of real numbers, got {got}.")
    if not array.size:
        raise ValueError(f"{owner}: {name} must have elements, got shape {array.shape}.")
    if not nan and array.dtype.kind == "f" and math.isnan(array.item(array.argmin())):
        _refuse_nan(owner, name, array)  # argmin finds a nan, in half the time of min
    return array


def _refuse_nan(owner: str, name: str, array: Array) -> None:
    if np.isnan(array).any():
        place = ", ".join(map(str, np.argwhere(np.isnan(array))[0].tolist()))
        raise ValueError(f"{owner}: {name} is nan at index {place}. Repair it or leave it out.")


def _pair(owner: str, prediction: Any, target: Any, **how: bool) -> tuple[Array, Array]:
    """Return both as arrays of one shape."""
    p, t = _numbers(owner, "prediction", prediction), _numbers(owner, "target", target)
    return _alike(owner, p, t, **how)


def _alike(owner: str, p: Array, t: Array, *, yes_or_no: bool = False) -> tuple[Array, Array]:
    if p.shape != t.shape:
        advice = "Reshape one of them; broadcasting would compare every pair."
        raise ValueError(
            f"{owner}: prediction and target must have equal shapes, got {p.shape} and {t.shape}. "
            f"{ONE_CLASS if yes_or_no and p.size != t.size else advice}"
        )
    return p, t


def _truth(owner: str, target: Array) -> NDArray[np.bool_]:
    """Return which labels are yes; they must lie in [0, 1]."""
    low, high = target.item(target.argmin()), target.item(target.argmax())  # quicker than min, max
    if not (low >= 0 and high <= 1):  # nor is nan
        _refuse_nan(owner, "target", target)
        raise ValueError(
            f"{owner}: target must be labels 0 and 1, got values from {target.min()} to "
            f"{target.max()}. {ONE_CLASS}"
        )
    return target > 0.5


def _yes(
    owner: str, prediction: Any, target: Any, threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what is predicted to be yes, and what is."""
    p, t = _numbers(owner, "prediction", prediction), _numbers(owner, "target", target, nan=True)
    return _sides(owner, *_alike(owner, p, t, yes_or_no=True), threshold)


def _sides(
    owner: str, p: Array, t: Array, threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return p > check.real(owner, "threshold", threshold), _truth(owner, t)


def _sparse(owner: str, prediction: Any, target: Any) -> tuple[Array, Array]:
    """Return the class of the largest score, and the true class."""
    p, t = _numbers(owner, "prediction", prediction), _numbers(owner, "target", target)
    if t.shape == (*p.shape[:-1], 1):
        t = t[..., 0]
    if not p.ndim or t.shape != p.shape[:-1]:
        raise ValueError(
            f"{owner}: prediction must be (..., classes) and target (...) or (..., 1), got "
            f"{p.shape} and {t.shape}. For one-hot rows use categorical_accuracy."
        )
    return p.argmax(axis=-1), _class_numbers(owner, "target", t, p.shape[-1])


def _class_numbers(owner: str, name: str, array: Array, classes: float = math.inf) -> Array:
    """Return whole numbers from 0 up to below ``classes``, as integers."""
    low, high = array.min(), array.max()
    whole = array.dtype.kind != "f" or (np.isfinite(high) and not (array % 1).any())
    if not whole or low < 0 or high >= classes:
        kind = "0, 1, 2, ..." if classes == math.inf else f"from 0 to {classes - 1}"
        raise ValueError(
            f"{owner}: {name} must be class numbers {kind}, got values from {low} to {high}."
        )
    return array.astype(np.int64)


def _categorical(owner: str, prediction: Any, target: Any) -> tuple[Array, Array]:
    """Return the class of the largest score, and that of the largest share."""
    p, t = _pair(owner, prediction, target)
    if not p.ndim:
        raise ValueError(f"{owner}: prediction must be (..., classes), got a scalar.")
    return p.argmax(axis=-1), t.argmax(axis=-1)


def _classes(owner: str, prediction: Any, target: Any, threshold: float) -> tuple[Array, Array]:
    """Return predicted and true classes, read by shapes and dtypes as ``accuracy`` says."""
    p, t = _numbers(owner, "prediction", prediction), _numbers(owner, "target", target, nan=True)
    if p.shape == t.shape and p.dtype.kind == "f" and (p.ndim < 2 or p.shape[-1] == 1):
        return _sides(owner, p, t, threshold)
    t = _numbers(owner, "target", t)
    if p.shape[-1:] not in ((), (1,)) and t.shape in (p.shape[:-1], (*p.shape[:-1], 1)):
        return _sparse(owner, p, t)
    if p.ndim > 1 and p.shape[-1] > 1 and p.shape == t.shape:
        if not np.allclose(t.sum(axis=-1, dtype=float), 1, atol=1e-2) or t.min() < 0:
            raise ValueError(
                f"{owner}: of shape {t.shape}, each row of target must be one-hot or sum to 1. For "
                "answers that are yes or no, each by itself, use binary_accuracy."
            )
        return _categorical(owner, p, t)
    p, t = _alike(owner, p, t)
    return _class_numbers(owner, "prediction", p), _class_numbers(owner, "target", t)


def _share(equal: Array) -> float:
    return int(np.count_nonzero(equal)) / equal.size


# ---------------------------------------------------------------- classes


def accuracy(prediction: Any, target: Any, *, threshold: float = 0.5) -> float:
    """Return the share of right answers; shapes and dtypes say what an answer is.

    As in Keras: ``prediction`` (..., classes) with ``target`` (...) or (..., 1) is
    ``sparse_categorical_accuracy``. (..., classes) with one-hot rows of the same shape is
    ``categorical_accuracy``. Floats of shape (..., 1) or (n,) with labels of the same shape are
    ``binary_accuracy``. Integers of shape (..., 1) or (n,) are class numbers, and are compared.

    Parameters
    ----------
    prediction, target : array_like
        As above.
    threshold : float, default 0.5
        Scores above it mean yes; 0 for log-odds.

    Examples
    --------
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]), accuracy([0.1, 0.9, 0.8], [0, 1, 0])
    (0.5, 0.6666666666666666)
    """
    return _share(np.equal(*_classes("accuracy", prediction, target, threshold)))


def binary_accuracy(prediction: Any, target: Any, *, threshold: float = 0.5) -> float:
    """Return the share of elements on the right side of ``threshold``.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        Scores, and labels 0 or 1.
    threshold : float, default 0.5
        Scores above it mean yes; 0 for log-odds.

    Examples
    --------
    >>> binary_accuracy([-1.5, 0.2, 3.0], [0, 1, 1], threshold=0)
    1.0
    """
    return _share(np.equal(*_yes("binary_accuracy", prediction, target, threshold)))


def categorical_accuracy(prediction: Any, target: Any) -> float:
    """Return how often the largest of the last axis is at the same place in both.

    Of equal ones the first counts.

    Parameters
    ----------
    prediction, target : (..., classes) array_like
        Scores of the classes, and one-hot rows or other scores.

    Examples
    --------
    >>> categorical_accuracy([[0.1, 0.9], [0.8, 0.2]], [[0, 1], [0, 1]])
    0.5
    """
    return _share(np.equal(*_categorical("categorical_accuracy", prediction, target)))


def sparse_categorical_accuracy(prediction: Any, target: Any) -> float:
    """Return how often the largest of the last axis is at the class that ``target`` numbers.

    Parameters
    ----------
    prediction : (..., classes) array_like
        Scores of the classes.
    target : (...) or (..., 1) array_like
        Classes, whole numbers from 0.

    Examples
    --------
    >>> sparse_categorical_accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    return _share(np.equal(*_sparse("sparse_categorical_accuracy", prediction, target)))


def _counts(owner: str, prediction: Any, target: Any, threshold: float) -> tuple[int, int, int]:
    """Return the numbers of true positives, of predicted and of true ones."""
    found, true = _yes(owner, prediction, target, threshold)
    return tuple(int(np.count_nonzero(a)) for a in (found & true, found, true))  # type: ignore[return-value]


def precision(prediction: Any, target: Any, *, threshold: float = 0.5) -> float:
    """Return the share of the predicted yes that are true; nan if none is predicted.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        Scores, and labels 0 or 1.
    threshold : float, default 0.5
        Scores above it mean yes; 0 for log-odds.

    Examples
    --------
    >>> precision([0.9, 0.8, 0.1, 0.2], [1, 0, 0, 1])
    0.5
    """
    right, found, _ = _counts("precision", prediction, target, threshold)
    return right / found if found else math.nan


def recall(prediction: Any, target: Any, *, threshold: float = 0.5) -> float:
    """Return the share of the true yes that are predicted; nan if there is none.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        Scores, and labels 0 or 1.
    threshold : float, default 0.5
        Scores above it mean yes; 0 for log-odds.

    Examples
    --------
    >>> recall([0.9, 0.8, 0.1, 0.2], [1, 0, 0, 1])
    0.5
    """
    right, _, true = _counts("recall", prediction, target, threshold)
    return right / true if true else math.nan


def f1(prediction: Any, target: Any, *, threshold: float = 0.5) -> float:
    """Return the harmonic mean of precision and recall; nan if nothing is yes in either.

    Each element counts by itself; for events in time see :func:`tinynn.spikes.match`.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        Scores, and labels 0 or 1.
    threshold : float, default 0.5
        Scores above it mean yes; 0 for log-odds.

    Examples
    --------
    >>> f1([0.9, 0.8, 0.1, 0.2], [1, 0, 0, 1])
    0.5
    """
    right, found, true = _counts("f1", prediction, target, threshold)
    return 2 * right / (found + true) if found + true else math.nan


def auc(prediction: Any, target: Any) -> float:
    """Return the area under the ROC curve; nan unless both labels occur.

    It is the chance that a random yes scores above a random no, where ties count a half (Hanley and
    McNeil 1982). It is exact. Probabilities and log-odds give the same.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        Scores, and labels 0 or 1.

    Examples
    --------
    >>> auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    scores, labels = _pair("auc", prediction, target, yes_or_no=True)
    true = _truth("auc", labels)
    yes, no = scores[true], np.sort(scores[~true])
    if not yes.size or not no.size:
        return math.nan
    twice = sum(int(np.searchsorted(no, yes, side).sum()) for side in ("left", "right"))
    return twice / (2 * yes.size * no.size)


def average_precision(prediction: Any, target: Any) -> float:
    """Return the sum of (R_n - R_(n-1)) P_n over falling thresholds; nan if no label is yes.

    R_n and P_n are recall and precision at the n-th of the different scores, as in scikit-learn.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        Scores, and labels 0 or 1.

    Examples
    --------
    >>> average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.8333333333333333
    """
    scores, labels = _pair("average_precision", prediction, target, yes_or_no=True)
    true, scores = _truth("average_precision", labels).ravel(), scores.ravel()
    if not true.any():
        return math.nan
    order = np.argsort(scores)[::-1]
    scores, right = scores[order], np.cumsum(true[order])
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), scores.size - 1)
    right = right[ends]
    return float(np.diff(right, prepend=0) @ (right / (ends + 1)) / right[-1])


def confusion_matrix(
    prediction: Any, target: Any, classes: int | None = None, *, threshold: float = 0.5
) -> NDArray[np.int64]:
    """Return how often each true class (row) was taken for each class (column).

    Parameters
    ----------
    prediction, target : array_like
        They are read as by :func:`accuracy`.
    classes : int, default None
        How many there are; None for as many as the scores or the class numbers ask for.
    threshold : float, default 0.5
        Scores above it mean yes; 0 for log-odds.

    Returns
    -------
    (classes, classes) ndarray of int
        A row for each true class.

    Examples
    --------
    >>> confusion_matrix([0, 2, 2, 1], [0, 1, 2, 1])
    array([[1, 0, 0],
           [0, 1, 1],
           [0, 0, 1]])
    """
    owner = "confusion_matrix"
    predicted, true = _classes(owner, prediction, target, threshold)
    scores = predicted.ndim < np.ndim(prediction)
    seen = 2 if predicted.dtype == bool else 1 + int(max(predicted.max(), true.max()))
    seen = np.shape(prediction)[-1] if scores else seen
    count = seen if classes is None else check.integer(owner, "classes", classes, at_least=1)
    if count < seen:
        raise ValueError(f"{owner}: classes must be at least {seen}, as the data ask, got {count}.")
    cells = true.ravel() * np.int64(count) + predicted.ravel()
    return np.bincount(cells, minlength=count**2).reshape(count, count)


# ---------------------------------------------------------------- numbers


def _errors(owner: str, prediction: Any, target: Any) -> NDArray[np.float64]:
    p, t = _pair(owner, prediction, target)
    with np.errstate(invalid="ignore"):  # equal infinities
        return np.subtract(p, t, dtype=np.float64)


def mean_absolute_error(prediction: Any, target: Any) -> float:
    """Return the mean of abs(prediction - target).

    Parameters
    ----------
    prediction, target : array_like, of one shape
        What was predicted, and what should have been.

    Examples
    --------
    >>> mean_absolute_error([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    return float(np.mean(np.abs(_errors("mean_absolute_error", prediction, target))))


def mean_squared_error(prediction: Any, target: Any) -> float:
    """Return the mean of (prediction - target)^2.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        What was predicted, and what should have been.

    Examples
    --------
    >>> mean_squared_error([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    return float(np.mean(np.square(_errors("mean_squared_error", prediction, target))))


def root_mean_squared_error(prediction: Any, target: Any) -> float:
    """Return the root of the mean of (prediction - target)^2.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        What was predicted, and what should have been.

    Examples
    --------
    >>> root_mean_squared_error([1.0, 2.0], [1.0, 4.0])
    1.4142135623730951
    """
    return math.sqrt(np.mean(np.square(_errors("root_mean_squared_error", prediction, target))))


def r2(prediction: Any, target: Any) -> float:
    """Return 1 - sum (prediction - target)^2 / sum (target - mean)^2, the coefficient R^2.

    Of (..., channels), it is the mean over the channels; nan if a channel's target is constant.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        What was predicted, and what should have been.

    Examples
    --------
    >>> r2([1.0, 2.0, 4.0], [1.0, 2.0, 3.0])
    0.5
    """
    error = _errors("r2", prediction, target)
    error = error.reshape(-1, error.shape[-1] if error.ndim > 1 else 1)
    truth = np.asarray(target, np.float64).reshape(error.shape)
    spread = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    constant = (truth == truth[0]).all(axis=0)
    lost = np.square(error).sum(axis=0) / np.where(constant, math.nan, spread)
    return float(np.mean(1 - lost))


TABLE: dict[str, Callable[..., float]] = {
    metric.__name__: metric
    for metric in (
        *(accuracy, binary_accuracy, categorical_accuracy, sparse_categorical_accuracy),
        *(precision, recall, f1, auc, average_precision, r2),
        *(mean_absolute_error, mean_squared_error, root_mean_squared_error),
    )
}
ALIASES = {  # as in Keras
    "acc": "accuracy",
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "rmse": "root_mean_squared_error",
}


def get(owner: str, metric: Any) -> tuple[str, Callable[..., Any]]:
    """Return the name under which a metric is shown, and its function.

    ``metric``: a name, which stays as it was given, or a function ``(prediction, target)``.

    >>> get("fit", "mae")[0], get("fit", functools.partial(accuracy, threshold=0))[0]
    ('mae', 'accuracy')
    """
    if not callable(metric):
        known = ALIASES.get(metric, metric) if isinstance(metric, str) else metric
        return metric, TABLE[check.choice(owner, "metrics", known, TABLE)]
    named = metric
    while isinstance(named, functools.partial):
        named = named.func
    return getattr(named, "__name__", type(named).__name__), metric
