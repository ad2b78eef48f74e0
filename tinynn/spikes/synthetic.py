"""Recordings with known spikes: simulated noise, spikes of a known shape and times added to it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, renewal, template_of
from tinynn.spikes.noise import Noise


def _bump(t: Array, width: float) -> Array:
    return np.exp(-0.5 * (t / width) ** 2)


# Functions of the distance from the centre sample, in units of 1/25 of the waveform's length.
_SHAPES: dict[str, Callable[[Array], Array]] = {
    "biphasic": lambda t: _bump(t, 1.6) - 0.35 * _bump(t - 5, 3),
    "exponential": lambda t: np.where(t < 0, 0, np.exp(-np.abs(t) / 3)),
    "gaussian": lambda t: _bump(t, 3),
    "monophasic": lambda t: np.where(t < 0, _bump(t, 1.6), _bump(t, 3.2)),
    "ricker": lambda t: (1 - (t / 2.5) ** 2) * _bump(t, 2.5),
    "triphasic": lambda t: _bump(t, 1.6) - 0.3 * _bump(t + 4, 1.6) - 0.35 * _bump(t - 5, 3),
}


def waveform(name: str = "biphasic", length: int = 25) -> Array:
    """Return the shape of a spike, of unit L2 norm, with its peak at the centre sample.

    Parameters
    ----------
    name : str, default "biphasic"
        "biphasic" (a sharp peak, then a slow undershoot, as a neuron's action potential recorded
        outside the cell), "exponential" (a jump that decays), "gaussian", "monophasic" (rises twice
        as fast as it falls), "ricker" or "triphasic".
    length : int, default 25
        Samples, at least 5; the shape stretches with it. The centre sample is ``(length - 1) //
        2``.

    Returns
    -------
    (length,) float64 array

    Raises
    ------
    ValueError
        For an unknown name or too short a length.

    Examples
    --------
    >>> waveform("gaussian", 5).round(2).tolist()
    [0.0, 0.24, 0.94, 0.24, 0.0]
    """
    shape = _SHAPES[check.choice("waveform", "name", name, _SHAPES)]
    length = check.integer("waveform", "length", length, at_least=5)
    s = shape((np.arange(length) - (length - 1) // 2) * 25 / length)
    return s / np.linalg.norm(s)


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """Simulated series and all that is needed to rebuild them and their theoretical limit.

    Attributes
    ----------
    x : (n_series, length, C) array
        The samples.
    y : (n_series, length, 1) array
        1 at the centre of each spike, 0 elsewhere.
    times : list of int64 arrays
        For every series, the centres as sorted sample indices.
    template : (K,) or (K, C) float64
        The spike as added.
    noise : "white" or tuple of float
        The AR coefficients.
    rate : float
        Spikes a sample.
    refractory : int
        Samples.
    spatial : (C, C) float64 or None
        The covariance of the channels' noise, None if they are independent.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    times: list[NDArray[np.int64]]
    template: Array
    noise: str | tuple[float, ...]
    rate: float
    refractory: int
    spatial: Array | None = None

    def __repr__(self) -> str:
        n_series, length, channels = self.x.shape
        sizes = f"n_series={n_series}, length={length}, "
        sizes += f"channels={channels}, " * (channels > 1) + f"spikes={sum(map(len, self.times))}"
        return f"Recording({sizes}, noise={self.noise!r})"


def simulate(
    length: int, *, rate: float, dprime: float, template: ArrayLike | None = None,
    noise: ArrayLike = "white", refractory: int | None = None, n_series: int = 1,
    amplitude_cv: float = 0.0, spatial: ArrayLike | None = None, dtype: DTypeLike = "float32",
    rng: "check.Seed" = None,
) -> Recording:  # fmt: skip
    """Simulate independent recordings with known spikes.

    Noise of unit variance, plus the template at every spike, scaled so that an isolated spike of
    known time has detectability ``dprime``: d'^2 = s' Sigma^-1 s, over all channels. Onsets lie r +
    G samples apart, r being ``refractory`` and G geometric. A spike is equally likely at every
    place where it fits, from the first sample on; none is cut by an edge.

    Parameters
    ----------
    length : int
        Samples of a series.
    rate : float
        Spikes a sample.
    dprime : float
        The detectability of one spike.
    template : (K,) or (K, C) array_like, default None
        The shape of a spike, a column for each of C channels. None means ``waveform()``.
    noise : "white" or array_like, default "white"
        Or the coefficients ``[a_1, a_2, ...]`` of x_t = sum_i a_i x_{t-i} + e_t.
    refractory : int, default None
        Samples from one onset to the next, at least. None means K.
    n_series : int, default 1
        How many recordings.
    amplitude_cv : float, default 0
        Each spike has its own factor, log-normal with mean 1 and this coefficient of variation.
    spatial : (C, C) array_like, default None
        The covariance of e_t across channels, of unit diagonal; None if they are independent.
    dtype : "float32" or "float64", default "float32"
    rng : Generator or seed, default None

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        For ``rate * refractory >= 1``, unstable noise, a ``length`` below K, a template of zeros
        (unless ``dprime`` is 0) and a ``spatial`` that is no such covariance.

    Examples
    --------
    >>> r = simulate(1000, rate=0.01, dprime=4, noise=[0.9], rng=0)
    >>> r
    Recording(n_series=1, length=1000, spikes=10, noise=(0.9,))
    >>> r.x.shape, r.x.dtype.name, r.times[0][:3].tolist()
    ((1, 1000, 1), 'float32', [...])
    """
    owner = "simulate"
    s = template_of(owner, waveform() if template is None else template)
    length = check.integer(owner, "length", length, at_least=1)
    n_series = check.integer(owner, "n_series", n_series, at_least=1)
    dprime = check.real(owner, "dprime", dprime, at_least=0)
    spread = check.real(owner, "amplitude_cv", amplitude_cv, at_least=0)
    background = Noise(owner, noise, s.shape[1], spatial)
    rate, refractory, chance = renewal(owner, rate, refractory, len(s))
    kind = getattr(dtype, "__name__", str(dtype))
    kind = check.choice(owner, "dtype", kind, ("float32", "float64"))
    rng = check.generator(owner, rng)
    s = _scaled(owner, s, length, dprime, background)
    x = background.draw(n_series, length, rng)
    row, onset = _onsets(n_series, length - len(s) + 1, rate, refractory, chance, rng)
    log_variance = math.log1p(spread**2)
    amplitude = rng.lognormal(-log_variance / 2, math.sqrt(log_variance), onset.size)
    for age, value in enumerate(s):
        x[row, onset + age] += amplitude[:, np.newaxis] * value
    centre = onset + (len(s) - 1) // 2
    y = np.zeros((n_series, length, 1), kind)
    y[row, centre] = 1
    times = np.split(centre, np.searchsorted(row, np.arange(1, n_series)))
    x, s = x.astype(kind), s if np.ndim(template) > 1 else s[:, 0]  # type: ignore[arg-type]
    return Recording(x, y, times, s, background.spec, rate, refractory, background.spatial)


def _scaled(owner: str, s: Array, length: int, dprime: float, background: Noise) -> Array:
    """Return the template at the size at which it has the detectability asked for."""
    if length < len(s):
        raise ValueError(
            f"{owner}: length must be at least the template's {len(s)} samples, got {length}. "
            f"A shorter series holds no whole spike."
        )
    if not s.any():
        if dprime:
            raise ValueError(f"{owner}: template must not be all zeros unless dprime is 0.")
        return s
    s = s / np.abs(s).max()  # its square neither over- nor underflows
    return s * (dprime / np.linalg.norm(background.whiten_template(s)))


def _onsets(
    n_series: int, n: int, rate: float, refractory: int, chance: float, rng: "np.random.Generator"
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the series and the onset, in 0 to ``n - 1``, of every spike, in order."""
    if rate == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.int64)
    gaps = rng.geometric(chance, (n_series, 1 + (n - 1) // refractory)) - 1
    gaps = np.minimum(gaps, n) + refractory
    # An observer who comes at random comes, with probability rate * refractory, in a dead time
    # and then finds the first onset equally likely at each of its steps.
    early = rng.random(n_series) < rate * refractory
    gaps[early, 0] = rng.integers(refractory, size=np.count_nonzero(early))
    onsets = np.cumsum(gaps, axis=1)
    row, column = np.nonzero(onsets < n)
    return row, onsets[row, column]
