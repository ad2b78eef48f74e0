"""Checks on what a caller hands in: each message says what, what was received, what to do."""

import difflib
import inspect
import math
import numbers
from collections.abc import Callable, Collection
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

import numpy as np

# In quotes: numpy.random is loaded when it is first used, which doubles the time of an import.
Seed: TypeAlias = "int | np.random.Generator | None"


def shown(value: Any) -> str:
    """Write a value as a person would: no ``np.int64(2)``, long things cut short.

    >>> shown(np.int64(2)), shown(np.zeros((3, 4)))
    ('2', 'an array of shape (3, 4)')
    """
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    if isinstance(value, (np.generic, np.ndarray)):
        value = float(value) if value.dtype.char == "g" else value.item()
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
Owner = TypeVar("Owner")
T = TypeVar("T")


def remembered(check: F) -> F:
    """Make a check of shapes and settings that is not done again for those that have passed it.

    ``check`` takes positional arguments and depends on them alone; 1, 1.0 and True are different.
    """
    known = lru_cache(maxsize=512, typed=True)(check)

    @wraps(check)
    def passed(*args: Any) -> Any:
        try:
            return known(*args)
        except TypeError:  # from the check, or because an argument cannot be hashed
            return check(*args)

    return passed  # type: ignore[return-value]


def integer(owner: str, name: str, value: Any, *, at_least: int | None = None) -> int:
    """Return ``value`` as an int; any integral type will do, ``bool`` will not."""
    if type(value) is int and (at_least is None or value >= at_least):  # nearly always
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    integral = isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
    if not integral or (at_least is not None and value < at_least):
        kind = {None: "an integer", 0: "a non-negative integer", 1: "a positive integer"}.get(
            at_least, f"an integer of at least {at_least}"
        )
        fault = f"{owner}: {name} must be {kind}, got {shown(value)}."
        raise (ValueError if integral else TypeError)(fault)
    return int(value)


def real(
    owner: str, name: str, value: Any, *, above: float | None = None, at_least: float | None = None,
    below: float | None = None, at_most: float | None = None,
) -> float:  # fmt: skip
    """Return ``value`` as a finite float inside the bounds given."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    is_number = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:
        number = math.inf
    if (
        math.isfinite(number)
        and (above is None or number > above)
        and (at_least is None or number >= at_least)
        and (below is None or number < below)
        and (at_most is None or number <= at_most)
    ):
        return number
    limits = {"above": above, "at least": at_least, "below": below, "at most": at_most}
    bounds = " and ".join(f"{word} {x:g}" for word, x in limits.items() if x is not None)
    kind = f"a finite number {bounds}".rstrip()
    fault = f"{owner}: {name} must be {kind}, got {shown(value)}."
    raise (ValueError if is_number else TypeError)(fault)


def unmasked(owner: str, x: Any) -> Any:
    """Return ``x`` unless it is a masked array, whose mask NumPy would drop."""
    if isinstance(x, np.ndarray) and hasattr(x, "filled"):
        raise TypeError(
            f"{owner}: got a masked array, whose mask would be lost. Give x.filled(value) for the "
            "values; in a loss, leave elements out with sample_weight=~x.mask."
        )
    return x


def flag(owner: str, name: str, value: Any) -> bool:
    """Return ``value`` as a bool; nothing but True and False will do."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{owner}: {name} must be True or False, got {shown(value)}.")
    return bool(value)


def run_at_once(owner: str, func: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``func`` unless it is a generator or coroutine, which ``@owner`` would not reach."""
    kinds = inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction
    if any(kind(func) for kind in kinds):
        raise TypeError(
            f"{owner}: {func.__name__} is a generator or coroutine, whose body runs after the "
            f"decorator has returned. Use 'with {owner}():' inside it."
        )
    return func


def choice(owner: str, name: str, value: Any, choices: Collection[str]) -> str:
    """Return ``value`` if it is one of the names in ``choices``."""
    if isinstance(value, str) and value in choices:
        return value
    known = sorted(choices)
    near = difflib.get_close_matches(value.lower(), known, n=1) if isinstance(value, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    fault = f"{owner}: {name} must be one of {', '.join(map(repr, known))}, got {shown(value)}."
    raise (ValueError if isinstance(value, str) else TypeError)(fault + hint)


def generator(owner: str, rng: Any) -> "np.random.Generator":
    """Return the generator for ``rng``: a Generator as it is, a seed, or None for a fresh one."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None:
        return np.random.default_rng()
    if isinstance(rng, numbers.Integral) and not isinstance(rng, bool) and int(rng) >= 0:
        return np.random.default_rng(int(rng))
    raise TypeError(
        f"{owner}: rng must be a numpy.random.Generator, a non-negative integer seed or None, "
        f"got {shown(rng)}."
    )


# ---------------------------------------------------------------- hints on names of arguments

_HERE = {  # what others call it: what it may be called here
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
    "num_features": ("channels",),
    "normalized_shape": ("features",),
    "scale_factor": ("size",),
    "seed": ("rng",),
    "generator": ("rng",),
    "random_state": ("rng",),
    "verbose": ("progress",),
    "n_epochs": ("epochs",),
    "criterion": ("loss",),
    "min_lr": ("min_learning_rate",),
    "filepath": ("path",),
    "filename": ("path",),
}


def with_hints(
    init: Callable[Concatenate[Owner, P], T],
) -> Callable[Concatenate[Owner, P], T]:
    """Make a constructor or function say which argument was meant, or which are needed."""
    signature = inspect.signature(init)
    constructor = init.__name__ == "__init__"
    names = list(signature.parameters)[constructor:]
    given = [signature.parameters[name] for name in names]
    required = [
        p.name if p.kind is p.POSITIONAL_OR_KEYWORD else f"{p.name}=..."
        for p in given
        if p.default is p.empty
    ]
    positional = [p.name for p in given if p.kind is p.POSITIONAL_OR_KEYWORD]

    @wraps(init)
    def hinting(*args: Any, **kwargs: Any) -> Any:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            owner = type(args[0]).__name__ if constructor else init.__name__
            for unknown in (name for name in kwargs if name not in names):
                meant = [name for name in _HERE.get(unknown, ()) if name in names]
                meant = meant or difflib.get_close_matches(unknown, names, n=1)
                hint = f"It is {' and '.join(meant)} here" if meant else "Give " + ", ".join(names)
                raise TypeError(f"{owner}: there is no argument {unknown!r}. {hint}.") from None
            shown = ", ".join(required or positional)
            rest = "these are never inferred, all others go" if required else "all others go"
            raise TypeError(
                f"{owner}: {error}. Write {owner}({shown}, ...): {rest} by name."
            ) from None
        return init(*args, **kwargs)

    return cast("Callable[Concatenate[Owner, P], T]", hinting)
