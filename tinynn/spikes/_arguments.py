"""Checks on the arguments that several functions for spikes have in common."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn import _checks as check

Array = NDArray[np.float64]


def real_array(owner: str, name: str, value: Any) -> NDArray[Any]:
    """Return ``value`` as an array of real numbers; it is not read."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        kind = f"a {array.dtype} array" if isinstance(value, np.ndarray) else check.shown(value)
        raise TypeError(f"{owner}: {name} must be an array of real numbers, got {kind}.")
    return array


def demand_file(owner: str, x: NDArray[Any]) -> None:
    """Refuse a memory map whose file was cut short: to read behind its end kills the process."""
    array: Any = x
    while isinstance(array.base, np.ndarray):
        array = array.base
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
        needed, there = array.offset + array.nbytes, array.base.size()
        if there < needed:
            raise ValueError(
                f"{owner}: the file of x was cut short while it was mapped: {array.filename} has "
                f"{there} of {needed} bytes. Map what is there, or restore the file."
            )


def numbers(owner: str, name: str, value: Any, *, finite: bool = True) -> NDArray[Any]:
    """Return ``value`` as an array of real numbers, none of them NaN."""
    array = real_array(owner, name, value)
    wrong = ~np.isfinite(array) if finite else np.isnan(array)
    if wrong.any():
        place = np.argwhere(wrong)[0].tolist()
        raise ValueError(
            f"{owner}: {name} must {'be finite' if finite else 'not hold NaN'}, got "
            f"{array[tuple(place)]} at index {', '.join(map(str, place))}. Repair or cut it out."
        )
    return array


def vector(owner: str, name: str, value: Any) -> Array:
    """Return ``value`` as a 1-D float64 array of at least one finite number."""
    array = numbers(owner, name, value)
    if array.ndim != 1 or not array.size:
        raise ValueError(
            f"{owner}: {name} must be 1-D with at least one sample, got shape {array.shape}."
        )
    return array.astype(np.float64)


def template_of(owner: str, value: Any, name: str = "template") -> Array:
    """Return a template ``(K,)`` or ``(K, C)`` as float64 ``(K, C)``."""
    array = numbers(owner, name, value).astype(np.float64)
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(
            f"{owner}: {name} must be (K,), or (K, C) for C channels, with at least one sample, "
            f"got shape {array.shape}."
        )
    return array.reshape(len(array), -1)


def series(owner: str, name: str, value: Any, *, finite: bool = True) -> Array:
    """Return ``value``, in any shape that series come in, as float64 ``(n_series, length)``."""
    return _rows(owner, name, numbers(owner, name, value, finite=finite)).astype(np.float64)


def one_series(owner: str, name: str, value: Any) -> NDArray[Any]:
    """Return ``value``, one series in any of its shapes, as ``(length,)``; it is not read."""
    rows = _rows(owner, name, real_array(owner, name, value))
    if len(rows) > 1:
        raise ValueError(
            f"{owner}: {name} must be one series, got shape {np.shape(value)}. "
            f"Call it for each series, {name}[i], in a loop."
        )
    return rows[0]


def _rows(owner: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
    rows = array[..., 0] if array.ndim in (2, 3) and array.shape[-1] == 1 else array
    rows = rows[np.newaxis] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"{owner}: {name} must have shape (length,) or (n_series, length, 1) and at least one "
            f"sample, got shape {array.shape}."
        )
    return rows


def times(owner: str, name: str, value: Any) -> NDArray[Any]:
    """Return the times of one series, sorted: as int64 if they are integers, else as float64."""
    array = numbers(owner, name, value)
    if array.ndim != 1:
        raise ValueError(
            f"{owner}: {name} must be 1-D, the times in one series, got shape {array.shape}."
        )
    integral = array.dtype.kind in "iu" or not array.size
    return np.sort(array.astype(np.int64 if integral else np.float64))


def times_of_each(owner: str, value: Any, n_series: int, length: int) -> list[NDArray[Any]]:
    """Return the sorted true times of every series; a single one may come without its list."""
    nested = isinstance(value, (list, tuple)) and any(np.ndim(part) for part in value)
    parts = list(value) if nested else [value]
    if len(parts) != n_series:
        raise ValueError(
            f"{owner}: true_times must be a list of {n_series} arrays, one for each series of "
            f"score, got {len(parts)}."
        )
    true = [times(owner, "true_times", part) for part in parts]
    for t in true:
        outside = t[(t < 0) | (t > length - 1)]
        if outside.size:
            raise ValueError(
                f"{owner}: true_times must lie inside the score, in 0 to {length - 1}, got "
                f"{outside[0]}. Times are sample indices."
            )
    return true


def renewal(owner: str, rate: Any, refractory: Any, width: int) -> tuple[float, int, float]:
    """Return rate, dead time and the chance p of an onset at each step after the dead time."""
    rate = check.real(owner, "rate", rate, at_least=0)
    dead = width if refractory is None else refractory
    dead = check.integer(owner, "refractory", dead, at_least=1)
    if rate * dead >= 1:
        raise ValueError(
            f"{owner}: rate must be below 1 / refractory = {1 / dead:g} spikes per sample, got "
            f"{rate:g}. Lower rate or refractory, here {dead} samples."
        )
    return rate, dead, min(1.0, rate / (1 - rate * (dead - 1)))
