"""Activations by name: the functions that a layer applies to its output."""

from collections.abc import Callable
from typing import Any

from tinynn import _checks as check
from tinynn.autodiff import ops

Activation = Callable[[Any], Any]


def linear(x: Any) -> Any:
    """Return ``x`` unchanged: the activation of a layer that was given none."""
    return x


SAME = "relu leaky_relu elu gelu silu sigmoid softplus softmax log_softmax tanh"  # names as in ops

TABLE: dict[str, Activation] = {name: getattr(ops, name) for name in SAME.split()}
TABLE |= {"linear": linear, "exponential": ops.exp}
ALIASES = {"swish": "silu"}  # as in Keras


def get(owner: str, activation: str | Activation | None) -> Activation:
    """Return the function for a name of ``TABLE``, a callable as it is, linear for None."""
    if isinstance(activation, str):
        known = ALIASES.get(activation, activation)
        return TABLE[check.choice(owner, "activation", known, TABLE)]
    if isinstance(activation, type) or not (activation is None or callable(activation)):
        raise TypeError(
            f"{owner}: activation must be a name, a callable on Tensors or None (linear), "
            f"got {check.shown(activation)}."
        )
    return linear if activation is None else activation


def name(activation: Activation) -> str:
    """Return the name under which a person knows this activation."""
    known = (name for name, function in TABLE.items() if function is activation)
    return next(known, getattr(activation, "__name__", type(activation).__name__))
