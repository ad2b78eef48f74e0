"""Hints for those who come from other libraries: what an argument is called here."""

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar, cast

P = ParamSpec("P")
Self = TypeVar("Self")

HERE = {  # what others call it: what it may be called here
    "lr": ("learning_rate",),
    "betas": ("beta_1", "beta_2"),
    "eps": ("epsilon",),
    "p": ("rate",),
    "bias": ("use_bias",),
    "out_channels": ("filters",),
    "out_features": ("units",),
    "input_dim": ("in_features", "in_channels"),
    "input_shape": ("in_features", "in_channels"),
    "kernel_size": ("pool_size",),
    "seed": ("rng",),
    "generator": ("rng",),
    "random_state": ("rng",),
}


def with_hints(
    init: Callable[Concatenate[Self, P], None],
) -> Callable[Concatenate[Self, P], None]:
    """Make a constructor say which argument was meant, or which are needed; a decorator."""
    signature = inspect.signature(init)
    names = list(signature.parameters)[1:]
    required = [
        name for name in names if signature.parameters[name].default is inspect.Parameter.empty
    ]

    @functools.wraps(init)
    def hinting(self: Self, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            signature.bind(self, *args, **kwargs)
        except TypeError as error:
            owner = type(self).__name__
            for unknown in (name for name in kwargs if name not in names):
                meant = [name for name in HERE.get(unknown, ()) if name in names]
                meant = meant or difflib.get_close_matches(unknown, names, n=1)
                hint = f"It is {' and '.join(meant)} here" if meant else "Give " + ", ".join(names)
                raise TypeError(f"{owner}: there is no argument {unknown!r}. {hint}.") from None
            call = f"{owner}({', '.join([*required, '...'])})"
            raise TypeError(
                f"{owner}: {error}. Write {call}: these are never inferred, all others go by name."
            ) from None
        init(self, *args, **kwargs)

    return cast("Callable[Concatenate[Self, P], None]", hinting)
