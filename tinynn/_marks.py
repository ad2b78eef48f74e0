"""What the author of a function or class says of it."""

from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")

_pure: "WeakSet[Any]" = WeakSet()


def pure(thing: T) -> T:
    """Say that a function's result depends only on its arguments and on Tensors that it holds.

    A decorator for functions and classes: losses, activations, layers. ``fit`` and ``predict`` then
    run it once and replay its operations.

    Parameters
    ----------
    thing : function or class
        What is marked.

    Returns
    -------
    function or class
        The argument.

    Raises
    ------
    TypeError
        For what is no function or class.

    Notes
    -----
    Counters, coins, attributes and globals that change are read once only. So leave the mark out
    where they matter. A class answers for its own methods: a subclass that writes one anew needs a
    mark of its own.

    Examples
    --------
    >>> @pure
    ... def loss(prediction, target):
    ...     return ((prediction - target) ** 4).mean()
    """
    if not callable(thing):
        raise TypeError(
            f"pure: give a function or a class, got {type(thing).__name__}. "
            "Write @tnn.pure above its definition."
        )
    _pure.add(thing)
    return thing


def is_marked(thing: Any) -> bool:
    """Tell whether :func:`pure` was said of this very function or class."""
    try:
        return thing in _pure
    except TypeError:  # it cannot be referred to weakly
        return False
