"""Losses: composites of operations, so that a value and its gradient cannot drift apart.

Each takes ``prediction`` (a Tensor) and ``target`` (an array or Tensor without gradient) of equal
shapes, and returns a scalar, or with ``reduction="none"`` one loss per element.
``sample_weight`` multiplies the unreduced loss, against whose shape it broadcasts, and 0 leaves a
loss out, whatever it is; ``reduction="mean"`` then divides by the number of losses, as Keras does.
Losses are finite wherever the mathematics is: a logit of minus infinity with target 0 costs 0.
``label_smoothing`` s, in [0, 1), mixes targets with the even chance of the n classes, y (1 - s) +
s / n, where yes and no are two (Szegedy et al. 2016).
Half precision is computed in single precision, and the result rounded once. They raise ValueError
for shapes or values that do not fit, and TypeError for a target that requires a gradient.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.graph import Node
from tinynn.autodiff.primitive import as_array, inspected
from tinynn.autodiff.tensor import Tensor

Array = TypeVar("Array", Tensor, "np.ndarray[Any, Any]")  # what the prediction is, the loss is
F = TypeVar("F", bound=Callable[..., Any])
LABELS = "Give labels 0 and 1, or probabilities."


def mean_over_samples(loss: F) -> F:
    """State that a loss is the mean of the losses of the samples; a decorator.

    ``fit`` may then compute a batch in several chunks. Told ``reduction="sum"``, it is their sum.

    >>> @mean_over_samples
    ... def mean_fourth_power(prediction, target):
    ...     return ((prediction - target) ** 4).mean()
    """
    loss.over_samples = "mean"  # type: ignore[attr-defined]
    return loss


def _constant(owner: str, name: str, value: Any) -> Any:
    """Return an argument that no gradient flows to; an array as it is, for it may change later."""
    if isinstance(value, Node) and value._requires_grad:
        raise TypeError(
            f"{owner}: {name} requires a gradient, but it is a constant here. "
            f"Use {name}.detach(), and check the order: (prediction, target)."
        )
    array = as_array(owner, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{owner}: {name} must be real numbers, got dtype {array.dtype}.")
    return array


def _floats(owner: str, prediction: Any) -> tuple[Any, Any]:
    """Return the prediction, and in single precision if it is in half: squares would overflow."""
    given = as_array(owner, prediction)
    if given.dtype.kind != "f":
        raise TypeError(f"{owner}: prediction must be floating-point, got dtype {given.dtype}.")
    return given, given if given.dtype.itemsize > 2 else ops.astype(given, np.dtype(np.float32))


def _cast(array: Any, dtype: np.dtype[Any]) -> Any:
    return array if array.dtype == dtype else ops.astype(array, dtype)


def _pair(owner: str, prediction: Any, target: Any) -> tuple[Any, Any, Any]:
    """Return the prediction as it is given, and both in the dtype to compute in."""
    target, (given, x) = _constant(owner, "target", target), _floats(owner, prediction)
    p, t = given.shape, target.shape
    if p == t:
        return given, x, _cast(target, x.dtype)
    advice = "Reshape one of them; broadcasting would compare every pair."
    if len(p) == len(t) == 3 and (p[0], p[2]) == (t[0], t[2]):
        advice = 'They differ in length alone: do the layers over time have padding="same"?'
    elif len(p) == len(t) > 1 and p[:-1] == t[:-1]:
        advice = f"The last layer gives {p[-1]} numbers where the target has {t[-1]}."
    elif owner.startswith("categorical") and t == p[:-1]:
        advice = "For class numbers use sparse_categorical_crossentropy."
    raise ValueError(
        f"{owner}: prediction and target must have equal shapes, got {p} and {t}. {advice}"
    )


def _require(array: Any, fine: Callable[[Any, Any], bool], fault: str, advice: str = "") -> None:
    """Refuse an array, whose smallest and largest value are not fine."""

    def refuse(array: np.ndarray) -> None:
        if array.size:  # argmin finds a nan too, in half the time of min
            low, high = array.item(array.argmin()), array.item(array.argmax())
            if not fine(low, high):
                raise ValueError(f"{fault} {array.min()} to {array.max()}.{advice}")

    inspected(refuse, array)


def _within(owner: str, name: str, array: Any, advice: str, dtype: np.dtype[Any]) -> None:
    """Refuse values outside [0, 1]; nan passes on into the loss, where training names it."""
    slack = 8 * float(np.finfo(dtype).eps)  # a sum of probabilities may round to more than 1
    fault = f"{owner}: {name} must lie in [0, 1], got values from"
    _require(array, lambda low, high: not (low < -slack or high > 1 + slack), fault, " " + advice)


def _are_logits(owner: str, prediction: Any, from_logits: Any, activation: str) -> bool:
    """Return the flag; refuse probabilities outside [0, 1], and in the place of logits."""
    if not check.flag(owner, "from_logits", from_logits):
        ways = f'activation="{activation}", or functools.partial({owner}, from_logits=True)'
        advice = f"For raw scores take {ways}."
        _within(owner, "prediction", prediction, advice, prediction.dtype)
        return False
    trace = prediction._trace if isinstance(prediction, Node) else None
    if trace and getattr(trace[0], "__name__", "").strip("_") == activation:
        raise ValueError(
            f"{owner}: prediction was made by {activation}, so it holds probabilities, "
            f"not logits. Leave out from_logits=True, or the {activation}."
        )
    return True


def _weight(owner: str, name: str, value: Any, of: str, array: Any, *, zero: bool) -> Any:
    """Return weights in the dtype of ``array``, to whose shape they broadcast."""
    weight, shape = _constant(owner, name, value), array.shape
    pairs = zip(weight.shape[::-1], shape[::-1], strict=False)
    if weight.ndim > len(shape) or any(w not in (1, n) for w, n in pairs):
        raise ValueError(
            f"{owner}: {name} must broadcast to the {of}'s shape {shape}, got {weight.shape}."
        )

    fault = f"{owner}: {name} must be finite and {'not negative' if zero else 'above 0'}, got"
    least = operator.ge if zero else operator.gt
    _require(weight, lambda low, high: least(low, 0) and high < np.inf, f"{fault} values from")
    return _cast(weight, array.dtype)


def _reduced(owner: str, loss: Any, given: Any, sample_weight: Any, reduction: str) -> Any:
    """Return the loss weighted and reduced, in the dtype of the prediction as it was given."""
    check.choice(owner, "reduction", reduction, ("mean", "sum", "none"))
    if sample_weight is not None:
        weight = _weight(owner, "sample_weight", sample_weight, "loss", loss, zero=True)
        loss = _weighed(weight, loss)
    if reduction != "none":
        loss = ops.sum(loss) if reduction == "sum" else ops.mean(loss)
    return _cast(loss, given.dtype)


@mean_over_samples
def mean_squared_error(
    prediction: Array, target: Any, *, sample_weight: Any = None, reduction: str = "mean"
) -> Array:
    """Squared differences, averaged.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        What was predicted, and what should have been.
    sample_weight : array_like, default None
        How much each loss counts. It broadcasts against the target.
    reduction : "mean", "sum" or "none", default "mean"
        What is made of the losses. The mean divides by their number, not by the weights.

    Examples
    --------
    >>> float(mean_squared_error(np.array([1.0, 2.0]), [1.0, 4.0]))
    2.0
    """
    given, x, y = _pair("mean_squared_error", prediction, target)
    loss = ops.square(ops.subtract(x, y))
    return _reduced("mean_squared_error", loss, given, sample_weight, reduction)


@mean_over_samples
def mean_absolute_error(
    prediction: Array, target: Any, *, sample_weight: Any = None, reduction: str = "mean"
) -> Array:
    """Absolute differences, averaged; the slope at a difference of 0 is 0.

    Parameters
    ----------
    prediction, target : array_like, of one shape
        What was predicted, and what should have been.
    sample_weight : array_like, default None
        How much each loss counts. It broadcasts against the target.
    reduction : "mean", "sum" or "none", default "mean"
        What is made of the losses. The mean divides by their number, not by the weights.

    Examples
    --------
    >>> float(mean_absolute_error(np.array([1.0, 2.0]), [1.0, 4.0]))
    1.0
    """
    given, x, y = _pair("mean_absolute_error", prediction, target)
    loss = ops.abs(ops.subtract(x, y))
    return _reduced("mean_absolute_error", loss, given, sample_weight, reduction)


@mean_over_samples
def huber(
    prediction: Array, target: Any, *, delta: float = 1.0, sample_weight: Any = None,
    reduction: str = "mean",
) -> Array:  # fmt: skip
    """Half squared difference up to ``delta``, linear beyond it (Huber 1964).

    Parameters
    ----------
    prediction, target : array_like, of one shape
        What was predicted, and what should have been.
    delta : float, default 1.0
        The difference at which the two meet.
    sample_weight : array_like, default None
        How much each loss counts. It broadcasts against the target.
    reduction : "mean", "sum" or "none", default "mean"
        What is made of the losses. The mean divides by their number, not by the weights.

    Examples
    --------
    >>> huber(np.array([0.5, 3.0]), [0.0, 0.0], reduction="none")
    array([0.125, 2.5  ])
    """
    delta = check.real("huber", "delta", delta, above=0)
    given, x, y = _pair("huber", prediction, target)
    error = ops.subtract(x, y)
    inner = ops.clip(error, -delta, delta)
    loss = ops.multiply(inner, ops.subtract(error, ops.multiply(0.5, inner)))
    return _reduced("huber", loss, given, sample_weight, reduction)


def _smoothed(owner: str, y: Any, label_smoothing: Any, classes: int) -> Any:
    """Return targets mixed with the even chance of the classes."""
    s = check.real(owner, "label_smoothing", label_smoothing, at_least=0, below=1)
    return ops.add(ops.multiply(y, 1 - s), s / classes) if s else y


def _crossentropy(x: Any, y: Any, positive: Any, logits: bool) -> Any:
    """Return -(positive log p + (1 - y) log(1 - p)), where a weight of 0 leaves out its log."""
    if logits:
        cost, cost_of_not = ops.softplus(ops.negative(x)), ops.softplus(x)
    else:
        tiny = float(np.finfo(x.dtype).eps)
        cost = ops.negative(ops.log(ops.clip(x, tiny, 1)))
        cost_of_not = ops.negative(ops.log1p(ops.negative(ops.clip(x, 0, 1 - tiny))))
    return ops.add(_weighed(positive, cost), _weighed(ops.subtract(1, y), cost_of_not))


def _weighed(weight: Any, cost: Any) -> Any:
    """Return the product, but 0 where the weight is, also of an infinite cost."""
    with np.errstate(invalid="ignore"):
        return ops.guarded_multiply(weight, cost)


@mean_over_samples
def binary_crossentropy(
    prediction: Array, target: Any, *, from_logits: bool = False, pos_weight: Any = None,
    label_smoothing: float = 0.0, sample_weight: Any = None, reduction: str = "mean",
) -> Array:  # fmt: skip
    """Negative log-likelihood of targets in [0, 1]: -(pos_weight y log p + (1 - y) log(1 - p)).

    Parameters
    ----------
    prediction, target : array_like, of one shape
        Probabilities (or logits), and labels from 0 to 1.
    from_logits : bool, default False
        Whether ``prediction`` is log-odds in place of probabilities: exact at any size.
    pos_weight : float or array_like, default None
        How much a target of 1 counts. It broadcasts against the target.
    label_smoothing : float, default 0.0
        How far labels are moved towards one half, from 0 to 1.
    sample_weight : array_like, default None
        How much each loss counts. It broadcasts against the target.
    reduction : "mean", "sum" or "none", default "mean"
        What is made of the losses. The mean divides by their number, not by the weights.

    Notes
    -----
    Probabilities are kept one rounding unit away from 0 and 1, with slope 0 beyond.

    Examples
    --------
    >>> float(binary_crossentropy(np.array([0.0]), [1.0], from_logits=True))
    0.6931471805599453
    """
    owner = "binary_crossentropy"
    given, x, y = _pair(owner, prediction, target)
    _within(owner, "target", y, LABELS, given.dtype)
    y = _smoothed(owner, y, label_smoothing, 2)
    logits = _are_logits(owner, given, from_logits, "sigmoid")
    if pos_weight is not None:
        weight = _weight(owner, "pos_weight", pos_weight, "target", y, zero=False)
        loss = _crossentropy(x, y, ops.multiply(y, weight), logits)
    else:
        loss = ops.logit_crossentropy(x, y) if logits else _crossentropy(x, y, y, logits)
    return _reduced(owner, loss, given, sample_weight, reduction)


@mean_over_samples
def focal(
    prediction: Array, target: Any, *, gamma: float = 2.0, alpha: float | None = None,
    from_logits: bool = False, label_smoothing: float = 0.0, sample_weight: Any = None,
    reduction: str = "mean",
) -> Array:  # fmt: skip
    """Binary crossentropy times (1 - p_t)^gamma: easy cases count less (Lin et al. 2017).

    Parameters
    ----------
    prediction, target : array_like, of one shape
        Probabilities (or logits), and labels from 0 to 1.
    gamma : float, default 2.0
        How much less easy cases count. p_t is the probability given to the target.
    alpha : float, default None
        Weight of target 1; that of target 0 is ``1 - alpha``.
    from_logits : bool, default False
        Whether ``prediction`` is log-odds in place of probabilities: exact at any size.
    label_smoothing : float, default 0.0
        How far labels are moved towards one half, from 0 to 1.
    sample_weight : array_like, default None
        How much each loss counts. It broadcasts against the target.
    reduction : "mean", "sum" or "none", default "mean"
        What is made of the losses. The mean divides by their number, not by the weights.

    Examples
    --------
    >>> float(focal(np.array([0.5]), [1.0], gamma=0.0))
    0.6931471805599453
    """
    gamma = check.real("focal", "gamma", gamma, at_least=0)
    given, x, y = _pair("focal", prediction, target)
    _within("focal", "target", y, LABELS, given.dtype)
    y = _smoothed("focal", y, label_smoothing, 2)
    y = ops.clip(y, 0, 1)  # a rounding unit beyond would be a negative base of a power
    not_y = ops.subtract(1, y)
    if _are_logits("focal", given, from_logits, "sigmoid"):
        p, not_p = ops.sigmoid(x), ops.sigmoid(ops.negative(x))
        loss = ops.logit_crossentropy(x, y)
    else:
        p = ops.clip(x, 0, 1)
        not_p = ops.subtract(1, p)
        loss = _crossentropy(x, y, y, logits=False)
    miss = ops.add(ops.multiply(y, not_p), ops.multiply(not_y, p))
    loss = _weighed(ops.power(miss, gamma), loss)
    if alpha is not None:
        alpha = check.real("focal", "alpha", alpha, at_least=0, at_most=1)
        weight = ops.add(ops.multiply(alpha, y), ops.multiply(1 - alpha, not_y))
        loss = _weighed(weight, loss)
    return _reduced("focal", loss, given, sample_weight, reduction)


def _log_probabilities(owner: str, given: Any, x: Any, from_logits: bool) -> Any:
    if given.ndim == 0:
        raise ValueError(f"{owner}: prediction must be (..., classes), got a scalar.")
    if _are_logits(owner, given, from_logits, "softmax"):
        return ops.log_softmax(x, axis=-1)
    return ops.log(ops.clip(x, float(np.finfo(x.dtype).eps), 1))


@mean_over_samples
def categorical_crossentropy(
    prediction: Array, target: Any, *, from_logits: bool = False, label_smoothing: float = 0.0,
    sample_weight: Any = None, reduction: str = "mean",
) -> Array:  # fmt: skip
    """Negative log-likelihood of class probabilities: -sum_c y_c log p_c over the last axis.

    Parameters
    ----------
    prediction : (..., classes) array_like
        Probabilities of the classes, or logits.
    target : (..., classes) array_like
        Probabilities, such as one-hot rows.
    from_logits : bool, default False
        Whether ``prediction`` is logits of a softmax in place of probabilities: exact at any size.
    label_smoothing : float, default 0.0
        How far labels are moved towards 1 / classes, from 0 to 1.
    sample_weight : array_like, default None
        How much each loss counts. It broadcasts against the losses (...).
    reduction : "mean", "sum" or "none", default "mean"
        What is made of the losses. The mean divides by their number, not by the weights.

    Examples
    --------
    >>> float(categorical_crossentropy(np.array([[0.25, 0.75]]), [[1, 0]]))
    1.3862943611198906
    """
    owner = "categorical_crossentropy"
    given, x, y = _pair(owner, prediction, target)
    advice = "Give one-hot rows; for class numbers use the sparse loss."
    _within(owner, "target", y, advice, given.dtype)
    log_p = _log_probabilities(owner, given, x, from_logits)
    y = _smoothed(owner, y, label_smoothing, given.shape[-1])
    weigh = _weighed if from_logits else ops.multiply  # a masked class has none
    loss = ops.negative(ops.sum(weigh(y, log_p), axis=-1))
    return _reduced(owner, loss, given, sample_weight, reduction)


@mean_over_samples
def sparse_categorical_crossentropy(
    prediction: Array, target: Any, *, from_logits: bool = False, label_smoothing: float = 0.0,
    sample_weight: Any = None, reduction: str = "mean",
) -> Array:  # fmt: skip
    """Negative log-likelihood of integer classes: -log p at the target.

    Parameters
    ----------
    prediction : (..., classes) array_like
        Probabilities of the classes, or logits.
    target : (...) array_like of int
        Classes, counted from 0.
    from_logits : bool, default False
        Whether ``prediction`` is logits of a softmax in place of probabilities: exact at any size.
    label_smoothing : float, default 0.0
        How far labels are moved towards 1 / classes, from 0 to 1.
    sample_weight : array_like, default None
        How much each loss counts. It broadcasts against the target.
    reduction : "mean", "sum" or "none", default "mean"
        What is made of the losses. The mean divides by their number, not by the weights.

    Examples
    --------
    >>> float(sparse_categorical_crossentropy(np.array([[0.25, 0.75]]), [0]))
    1.3862943611198906
    """
    owner = "sparse_categorical_crossentropy"
    classes = _constant(owner, "target", target)
    given, x = _floats(owner, prediction)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"{owner}: target must be integer classes, got dtype {classes.dtype}.")
    log_p = _log_probabilities(owner, given, x, from_logits)
    if classes.shape != given.shape[:-1]:
        raise ValueError(
            f"{owner}: target must have the prediction's shape without its last axis, "
            f"{given.shape[:-1]}, got {classes.shape}. Drop an axis "
            "of one, as target[..., 0]; for one-hot rows use categorical_crossentropy."
        )
    last = given.shape[-1] - 1
    fault = f"{owner}: classes must lie in 0..{last}, got"
    _require(classes, lambda low, high: low >= 0 and high <= last, fault)
    chosen = ops.take_along_axis(log_p, ops.expand_dims(classes, -1))
    loss = ops.negative(ops.squeeze(chosen, -1))
    if s := check.real(owner, "label_smoothing", label_smoothing, at_least=0, below=1):
        even = ops.negative(ops.mean(log_p, axis=-1))
        loss = ops.add(ops.multiply(1 - s, loss), ops.multiply(s, even))
    return _reduced(owner, loss, given, sample_weight, reduction)


@mean_over_samples
def dice(
    prediction: Array, target: Any, *, sample_weight: Any = None, reduction: str = "mean"
) -> Array:
    """Dice loss (Milletari et al. 2016) of each sample: 1 - 2 sum(p y) / (sum p + sum y + 1e-7).

    Parameters
    ----------
    prediction, target : (batch, ...) array_like
        Probabilities and labels from 0 to 1. A sample without a label above 0 costs 1.
    sample_weight : array_like, default None
        How much each loss counts. It broadcasts against the losses (batch,).
    reduction : "mean", "sum" or "none", default "mean"
        What is made of the losses. The mean divides by their number, not by the weights.

    Examples
    --------
    >>> round(float(dice(np.array([[0.5, 1.0, 0.0]]), [[1.0, 1.0, 0.0]])), 6)
    0.142857
    """
    given, x, y = _pair("dice", prediction, target)
    if given.ndim < 2:
        raise ValueError(
            f"dice: prediction must be (batch, ...), a loss for each sample, got shape "
            f"{given.shape}. Add a batch axis: x[None]."
        )
    _within("dice", "prediction", given, "For raw scores give tinynn.sigmoid(x).", given.dtype)
    _within("dice", "target", y, LABELS, given.dtype)
    over = tuple(range(1, given.ndim))
    both = ops.sum(ops.multiply(x, y), axis=over)
    size = ops.add(ops.add(ops.sum(x, axis=over), ops.sum(y, axis=over)), 1e-7)
    loss = ops.subtract(1, ops.divide(ops.multiply(2, both), size))
    return _reduced("dice", loss, given, sample_weight, reduction)


TABLE: dict[str, Callable[..., Any]] = {
    loss.__name__: loss
    for loss in (
        *(mean_squared_error, mean_absolute_error, huber, binary_crossentropy, focal),
        *(categorical_crossentropy, sparse_categorical_crossentropy, dice),
    )
}

ALIASES = {  # as in Keras
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "bce": "binary_crossentropy",
}


def get(owner: str, loss: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return the loss of that name, or the callable as it is."""
    if callable(loss):
        return loss
    known = ALIASES.get(loss, loss) if isinstance(loss, str) else loss
    return TABLE[check.choice(owner, "loss", known, TABLE)]
