"""The table of a model's layers, and the notes on linear maps in a row."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn._trees import tree_leaves
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.observe import Call, mode, observed, takes_as_series, title
from tinynn.nn.receptive_field import ReceptiveField, receptive_field_of

if TYPE_CHECKING:
    from tinynn.nn.layer import Layer


def summary(model: "Layer", input_shape: Iterable[int | None]) -> str:
    """Return the table; see :meth:`tinynn.Layer.summary`."""
    if not isinstance(input_shape, Iterable):
        raise TypeError(
            f"summary: input_shape must be a tuple such as (length, channels), got {input_shape!r}."
        )
    shape: tuple[Any, ...] = tuple(input_shape)
    calls = _calls(model, shape[1:] if shape[:1] == (None,) else shape)
    counted: set[int] = set()
    series = any(layer.takes_series for _, layer, *_ in calls)
    of_series = ("receptive field", "stride") if series else ()
    table: list[tuple[str, ...]] = [
        ("layer", "type", "activation", "output", *of_series, "parameters")
    ]
    for (path, layer, _, output), field in zip(calls, _fields(calls), strict=True):
        below = {id(t) for _, part in layer.named_layers()[1:] for t in part.parameters()}
        own = [t for t in layer.parameters() if id(t) not in below]
        if below and not own:
            continue  # only holds other layers
        size = sum(t.size for t in own if id(t) not in counted)
        counted |= {id(t) for t in own}
        batched = ", ".join(["batch", *map(str, np.shape(output)[1:])])
        name = type(layer).__name__, getattr(layer, "activation_name", "-")
        seen = ("-", "-")
        if field is not None:
            seen = f"{math.floor(field.left + field.right) + 1:,}", str(field.stride)
        table.append(
            (path or "(self)", *name, f"({batched})", *(seen if series else ()), f"{size:,}")
        )
    total = sum(t.size for t in model.parameters())
    return "\n".join([*_aligned(table), f"{total:,} parameters", *_linear_pairs(calls)])


def _calls(model: "Layer", shape: tuple[Any, ...]) -> list[Call]:
    """Return the calls of all layers for one sample of zeros."""
    fault = f"summary: input_shape {shape}, the shape of one sample without the batch axis,"
    try:
        zeros = Tensor(np.zeros((1, *shape), np.float32), requires_grad=True)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{fault} must be lengths, such as (100, 1): {error}.") from None
    wrong: Exception | None = None
    with mode(model, training=False), observed(model) as calls:
        try:
            model(zeros)  # requires a gradient, so that every operation is recorded
        except (ValueError, TypeError) as error:
            wrong = error
    for path, layer, given, _ in calls if len(shape) == 1 else ():
        if takes_as_series(layer, given, 1):
            raise ValueError(
                f"{fault} leaves no axis for the time steps of {title(path, layer)}. Give (length, "
                "channels), such as (100, 1); a leading None stands for the batch axis."
            )
    if wrong is not None:
        raise ValueError(f"{fault} does not fit the model: {wrong}") from wrong
    return calls


def _fields(calls: list[Call]) -> list[ReceptiveField | None]:
    """Return, for each call, which steps of the model's input its output sees; None if unknown."""
    known: dict[int, ReceptiveField | None] = {id(calls[-1][2]): ReceptiveField()}  # by result
    found = []
    for _, layer, x, y in calls:
        before, reach = known.get(id(x)), receptive_field_of(layer)
        if before is not None and reach is not None:
            known[id(y)] = before.then(reach)
        found.append(known.setdefault(id(y), None))
    return found


def _aligned(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    left = [[cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in table]
    return ["  ".join([*cells[:-1], cells[-1].strip().rjust(widths[-1])]) for cells in left]


def _tensors(results: Any) -> list[Tensor]:
    return [part for part in tree_leaves(results) if isinstance(part, Tensor)]


def _takers(results: list[Tensor]) -> dict[int, set[int]]:
    """Return which operations took a tensor on the way to the results, both by id."""
    takers: dict[int, set[int]] = {}
    stack, seen = list(results), set()
    while stack:
        node = stack.pop()
        if id(node) not in seen and node._trace:
            seen.add(id(node))
            taken = [arg for arg in node._trace[1] if isinstance(arg, Tensor)]
            stack += taken
            for arg in taken:
                takers.setdefault(id(arg), set()).add(id(node))
    return takers


def _linear_pairs(calls: list[Call]) -> list[str]:
    """Say where one linear map feeds another, and nothing else, with nothing nonlinear between."""
    notes = []
    takers = _takers([part for *_, y in calls for part in _tensors(y)])
    final = {id(part) for part in _tensors(calls[-1][3])} if calls else set()
    made_by: dict[int, str] = {}  # by id of a result, the linear map that it came from
    for path, layer, x, y in calls:
        inside = _takers(_tensors(y)).get(id(x))
        seen = inside is not None and inside == takers.get(id(x))  # nothing is under no_grad
        alone = y is x or (seen and id(x) not in final)
        before = made_by.get(id(x)) if alone else None
        if not hasattr(layer, "kernel"):
            if before is not None and layer.keeps_linear:
                made_by[id(y)] = before
            continue
        if before is not None:
            notes.append(
                f"note: {before} and {path} are two linear maps in a row, which are one linear "
                "map; give the first an activation."
            )
        if getattr(layer, "activation_name", None) == "linear":
            made_by[id(y)] = path
    return notes
