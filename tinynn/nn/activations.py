"""Activations by name: the functions that a layer applies to its output."""

from collections.abc import Callable
from typing import Any

from tinynn import _checks as check
from tinynn.autodiff import ops

Activation = Callable[[Any], Any]


def linear(x: Any) -> Any:
    """Return ``x`` unchanged: the activation of a layer that was given none."""
    return x


TABLE: dict[str, Activation] = {
    "linear": linear,
    "relu": ops.relu,
    "leaky_relu": ops.leaky_relu,
    "elu": ops.elu,
    "gelu": ops.gelu,
    "silu": ops.silu,
    "sigmoid": ops.sigmoid,
    "softplus": ops.softplus,
    "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
    "tanh": ops.tanh,
    "exponential": ops.exp,
}

ALIASES = {"swish": "silu"}  # as in Keras


def get(owner: str, activation: str | Activation | None) -> Activation:
    """Return the function for a name of ``TABLE``, a callable as it is, linear for None."""
    if activation is None:
        return linear
    if isinstance(activation, type) or not (isinstance(activation, str) or callable(activation)):
        raise TypeError(
            f"{owner}: activation must be a name, a callable on Tensors or None (linear), "
            f"got {check.shown(activation)}."
        )
    if callable(activation):
        return activation
    known = ALIASES.get(activation, activation)
    return TABLE[check.choice(owner, "activation", known, TABLE)]


def name(activation: Activation) -> str:
    """Return the name under which a person knows this activation."""
    for known, function in TABLE.items():
        if function is activation:
            return known
    return getattr(activation, "__name__", type(activation).__name__)
