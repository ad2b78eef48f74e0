"""Losses: composites of operations, so that a value and its gradient cannot drift apart.

Each takes ``prediction`` (a Tensor) and ``target`` (an array or Tensor without gradient) of equal
shapes, and returns a scalar, or with ``reduction="none"`` one loss per element.
``sample_weight`` multiplies the unreduced loss, against whose shape it broadcasts;
``reduction="mean"`` then divides by the number of losses, as Keras does. They raise ValueError
for shapes or values that do not fit, and TypeError for a target that requires a gradient.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.graph import Node
from tinynn.autodiff.primitive import as_array, inspected, values


def _constant(owner: str, name: str, value: Any) -> np.ndarray:
    if isinstance(value, Node) and value._requires_grad:
        raise TypeError(
            f"{owner}: {name} requires a gradient, but it is a constant here. "
            f"Use {name}.detach(), and check the order: (prediction, target)."
        )
    array = values(as_array(owner, value))
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{owner}: {name} must be real numbers, got dtype {array.dtype}.")
    return array


def _floats(owner: str, prediction: Any) -> Any:
    prediction = as_array(owner, prediction)
    if prediction.dtype.kind != "f":
        raise TypeError(
            f"{owner}: prediction must be floating-point, got dtype {prediction.dtype}."
        )
    return prediction


def _pair(owner: str, prediction: Any, target: Any) -> tuple[Any, np.ndarray]:
    array = _constant(owner, "target", target)
    prediction = _floats(owner, prediction)
    if prediction.shape != array.shape:
        p, t = prediction.shape, array.shape
        if len(p) == len(t) == 3 and (p[0], p[2]) == (t[0], t[2]):
            advice = 'They differ in length alone: do the layers over time have padding="same"?'
        else:
            advice = "Reshape one of them; broadcasting would compare every pair."
        raise ValueError(
            f"{owner}: prediction and target must have equal shapes, got {p} and {t}. {advice}"
        )
    return prediction, array.astype(prediction.dtype, copy=False)


def _within(owner: str, name: str, array: np.ndarray, advice: str) -> None:
    """Refuse values outside [0, 1]; nan passes on into the loss, where training names it."""
    slack = 8 * float(np.finfo(array.dtype).eps)  # a sum of probabilities may round to more than 1

    def refuse(array: np.ndarray) -> None:
        lowest, highest = np.minimum.reduce, np.maximum.reduce  # quicker than the methods
        if array.size and (lowest(array, None) < -slack or highest(array, None) > 1 + slack):
            raise ValueError(
                f"{owner}: {name} must lie in [0, 1], got values from {np.nanmin(array):.9g} to "
                f"{np.nanmax(array):.9g}. {advice}"
            )

    inspected(refuse, array)


def _fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    """Tell whether ``shape`` broadcasts to ``into``."""
    padded = (1,) * (len(into) - len(shape)) + shape
    return len(padded) == len(into) and all(a in (1, b) for a, b in zip(padded, into, strict=True))


def _reduced(owner: str, loss: Any, sample_weight: Any, reduction: str) -> Any:
    check.choice(owner, "reduction", reduction, ("mean", "sum", "none"))
    if sample_weight is not None:
        weight = _constant(owner, "sample_weight", sample_weight)
        if not _fits(weight.shape, loss.shape):
            raise ValueError(
                f"{owner}: sample_weight must broadcast to the loss's shape {loss.shape}, "
                f"got {weight.shape}."
            )

        def refuse(weight: np.ndarray) -> None:
            if not (np.isfinite(weight).all() and (weight >= 0).all()):
                raise ValueError(
                    f"{owner}: sample_weight must be finite and not negative, got values from "
                    f"{weight.min():g} to {weight.max():g}."
                )

        inspected(refuse, weight)
        loss = loss * weight.astype(loss.dtype, copy=False)
    if reduction == "none":
        return loss
    return ops.sum(loss) if reduction == "sum" else ops.mean(loss)


def mean_squared_error(
    prediction: Any, target: Any, *, sample_weight: Any = None, reduction: str = "mean"
) -> Any:
    """Squared differences, averaged.

    >>> float(mean_squared_error(np.array([1.0, 2.0]), [1.0, 4.0]))
    2.0
    """
    prediction, target = _pair("mean_squared_error", prediction, target)
    loss = ops.square(prediction - target)
    return _reduced("mean_squared_error", loss, sample_weight, reduction)


def mean_absolute_error(
    prediction: Any, target: Any, *, sample_weight: Any = None, reduction: str = "mean"
) -> Any:
    """Absolute differences, averaged; the slope at a difference of 0 is 0.

    >>> float(mean_absolute_error(np.array([1.0, 2.0]), [1.0, 4.0]))
    1.0
    """
    prediction, target = _pair("mean_absolute_error", prediction, target)
    loss = ops.abs(prediction - target)
    return _reduced("mean_absolute_error", loss, sample_weight, reduction)


def huber(
    prediction: Any,
    target: Any,
    *,
    delta: float = 1.0,
    sample_weight: Any = None,
    reduction: str = "mean",
) -> Any:
    """Half squared difference up to ``delta``, linear beyond it (Huber 1964).

    >>> huber(np.array([0.5, 3.0]), [0.0, 0.0], reduction="none")
    array([0.125, 2.5  ])
    """
    delta = check.real("huber", "delta", delta, above=0)
    prediction, target = _pair("huber", prediction, target)
    size = ops.abs(prediction - target)
    inner = ops.minimum(size, delta)
    loss = inner * (size - 0.5 * inner)
    return _reduced("huber", loss, sample_weight, reduction)


def _no_probabilities(owner: str, prediction: Any, activation: Any) -> None:
    """Refuse, where logits are due, a result of the activation that makes probabilities."""
    trace = prediction._trace if isinstance(prediction, Node) else None
    if trace and trace[0] is activation:
        raise ValueError(
            f"{owner}: prediction was made by {activation.__name__}, so it holds probabilities, "
            f"not logits. Leave out from_logits=True, or the {activation.__name__}."
        )


def _log_likelihoods(owner: str, prediction: Any, from_logits: bool) -> tuple[Any, Any]:
    """Return log p and log(1 - p)."""
    if check.flag(owner, "from_logits", from_logits):
        _no_probabilities(owner, prediction, ops.sigmoid)
        return -ops.softplus(-prediction), -ops.softplus(prediction)
    _within(owner, "prediction", values(prediction), "For raw scores give from_logits=True.")
    tiny = float(np.finfo(prediction.dtype).eps)
    p = ops.clip(prediction, tiny, 1 - tiny)
    return ops.log(p), ops.log1p(-p)


def binary_crossentropy(
    prediction: Any,
    target: Any,
    *,
    from_logits: bool = False,
    pos_weight: Any = None,
    sample_weight: Any = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood of targets in [0, 1]: -(pos_weight y log p + (1 - y) log(1 - p)).

    ``prediction``: probabilities, kept one rounding unit away from 0 and 1; or logits with
    ``from_logits``, exact at any size. ``pos_weight``: number or array that broadcasts.

    >>> float(binary_crossentropy(np.array([0.0]), [1.0], from_logits=True))
    0.6931471805599453
    """
    owner = "binary_crossentropy"
    prediction, y = _pair(owner, prediction, target)
    _within(owner, "target", y, "Give labels 0 and 1, or probabilities.")
    positive = y
    if pos_weight is not None:
        weight = _constant(owner, "pos_weight", pos_weight)

        def refuse(weight: np.ndarray) -> None:
            if not (np.isfinite(weight).all() and (weight > 0).all()):
                raise ValueError(
                    f"{owner}: pos_weight must be finite and above 0, "
                    f"got {check.shown(weight if weight.ndim else weight.item())}."
                )

        inspected(refuse, weight)
        if not _fits(weight.shape, y.shape):
            raise ValueError(
                f"{owner}: pos_weight must broadcast to the target's shape {y.shape}, "
                f"got {weight.shape}."
            )
        positive = y * weight.astype(y.dtype)
    if check.flag(owner, "from_logits", from_logits) and pos_weight is None:
        _no_probabilities(owner, prediction, ops.sigmoid)
        loss = ops.logit_crossentropy(prediction, y)
    else:
        log_p, log_q = _log_likelihoods(owner, prediction, from_logits)
        loss = -(log_p * positive + log_q * (1 - y))
    return _reduced(owner, loss, sample_weight, reduction)


def focal(
    prediction: Any,
    target: Any,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    from_logits: bool = False,
    sample_weight: Any = None,
    reduction: str = "mean",
) -> Any:
    """Binary crossentropy times (1 - p_t)^gamma: easy cases count less (Lin et al. 2017).

    p_t is the probability given to the target; ``alpha`` weighs target 1, ``1 - alpha`` target 0.

    >>> float(focal(np.array([0.5]), [1.0], gamma=0.0))
    0.6931471805599453
    """
    gamma = check.real("focal", "gamma", gamma, at_least=0)
    prediction, y = _pair("focal", prediction, target)
    _within("focal", "target", y, "Give labels 0 and 1, or probabilities.")
    log_p, log_q = _log_likelihoods("focal", prediction, from_logits)
    p = ops.exp(log_p)
    miss = y * ops.exp(log_q) + (1 - y) * p
    loss = -(miss**gamma) * (log_p * y + log_q * (1 - y))
    if alpha is not None:
        alpha = check.real("focal", "alpha", alpha, at_least=0, at_most=1)
        loss = loss * (alpha * y + (1 - alpha) * (1 - y))
    return _reduced("focal", loss, sample_weight, reduction)


def _log_probabilities(owner: str, prediction: Any, from_logits: bool) -> Any:
    if prediction.ndim == 0:
        raise ValueError(f"{owner}: prediction must be (..., classes), got a scalar.")
    if check.flag(owner, "from_logits", from_logits):
        _no_probabilities(owner, prediction, ops.softmax)
        return ops.log_softmax(prediction, axis=-1)
    _within(owner, "prediction", values(prediction), "For raw scores give from_logits=True.")
    return ops.log(ops.clip(prediction, float(np.finfo(prediction.dtype).eps), 1))


def categorical_crossentropy(
    prediction: Any,
    target: Any,
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood of class probabilities: -sum_c y_c log p_c over the last axis.

    ``prediction``, ``target``: (..., classes); the unreduced loss is (...).

    >>> float(categorical_crossentropy(np.array([[0.25, 0.75]]), [[1, 0]]))
    1.3862943611198906
    """
    owner = "categorical_crossentropy"
    prediction, y = _pair(owner, prediction, target)
    _within(owner, "target", y, "Give one-hot rows; for class numbers use the sparse loss.")
    loss = -ops.sum(_log_probabilities(owner, prediction, from_logits) * y, axis=-1)
    return _reduced(owner, loss, sample_weight, reduction)


def sparse_categorical_crossentropy(
    prediction: Any,
    target: Any,
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood of integer classes: -log p at the target.

    ``prediction``: (..., classes); ``target``: integers (...), each below the number of classes.

    >>> float(sparse_categorical_crossentropy(np.array([[0.25, 0.75]]), [0]))
    1.3862943611198906
    """
    owner = "sparse_categorical_crossentropy"
    classes = _constant(owner, "target", target)
    prediction = _floats(owner, prediction)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"{owner}: target must be integer classes, got dtype {classes.dtype}.")
    log_p = _log_probabilities(owner, prediction, from_logits)
    if classes.shape != log_p.shape[:-1]:
        raise ValueError(
            f"{owner}: target must have the prediction's shape without its last axis, "
            f"{log_p.shape[:-1]}, got {classes.shape}."
        )
    last = log_p.shape[-1] - 1

    def refuse(classes: np.ndarray) -> None:
        if classes.size and not (classes.min() >= 0 and classes.max() <= last):
            raise ValueError(
                f"{owner}: classes must lie in 0..{last}, got {classes.min()} to {classes.max()}."
            )

    inspected(refuse, classes)
    loss = -ops._take_last(log_p, classes)
    return _reduced(owner, loss, sample_weight, reduction)


TABLE: dict[str, Callable[..., Any]] = {
    "mean_squared_error": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "huber": huber,
    "binary_crossentropy": binary_crossentropy,
    "focal": focal,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
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
