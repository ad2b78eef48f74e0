"""The detector that theory calls best for one isolated spike, and the scores it can reach."""

import math

import numpy as np
from numpy.typing import ArrayLike

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, numbers, template_of
from tinynn.spikes.noise import Noise
from tinynn.spikes.synthetic import waveform

_POINTS = 2**14


def matched_filter(
    template: ArrayLike, noise: ArrayLike, spatial: ArrayLike | None = None
) -> Array:
    """Return w = Sigma^-1 s, the kernel that detects a spike of known shape best.

    In white noise it is the template, in AR(p) noise it has K + 2p taps. It correlates, as in
    ``Conv1d``; its centre tap, ``(taps - 1) // 2``, falls on the template's centre sample. The
    output has variance d'^2, and mean d'^2 at a spike.

    Parameters
    ----------
    template : (K,) or (K, C) array_like
        The spike's shape s, on one channel or C.
    noise : "white" or array_like
        Or AR coefficients, as in :func:`simulate`.
    spatial : (C, C) array_like, default None
        The covariance of the channels' noise; None if they are independent.

    Returns
    -------
    (taps,) or (taps, C) float64 array

    Raises
    ------
    ValueError
        For unstable noise, and a ``spatial`` that is no covariance of unit diagonal.

    References
    ----------
    Franke et al. (2015), J. Comput. Neurosci., doi 10.1007/s10827-015-0547-7.

    Examples
    --------
    >>> matched_filter([1, 2], noise="white").tolist()
    [1.0, 2.0]
    >>> matched_filter([1, 2], noise=[0.5]).round(2).tolist()
    [-0.67, 0.33, 2.67, -1.33]
    """
    owner = "matched_filter"
    s = template_of(owner, template)
    background = Noise(owner, noise, s.shape[1], spatial)
    kernel = background.whiten_back(background.whiten_template(s))  # Sigma^-1 = F'F
    return kernel if np.ndim(template) > 1 else kernel[:, 0]


def dprime(
    kernel: ArrayLike, template: ArrayLike, noise: ArrayLike, spatial: ArrayLike | None = None
) -> float:
    """Return d'(w) = w's / sqrt(w' Sigma w): how well a kernel w tells a spike s from noise.

    The scale of the kernel does not matter, its sign does. Kernel and template are laid centre on
    centre, ``(taps - 1) // 2`` on ``(K - 1) // 2``. The efficiency of a kernel is (d'(w) /
    d'(matched filter))^2. For spikes of known time, AUC = Phi(d' / sqrt(2)).

    Parameters
    ----------
    kernel : (taps,), (taps, C) or (taps, C, 1) array_like
        The last as in a ``Conv1d`` of one filter.
    template : (K,) or (K, C) array_like
        One of zeros has d' = 0.
    noise, spatial
        As in :func:`matched_filter`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For a kernel of zeros, for unstable noise, and where the channels do not fit.

    Examples
    --------
    >>> s = waveform("biphasic", 25)
    >>> best = dprime(matched_filter(s, [0.9]), s, [0.9])
    >>> round((dprime(s, s, [0.9]) / best) ** 2, 2)
    0.39
    """
    owner = "dprime"
    w, s = numbers(owner, "kernel", kernel), template_of(owner, template)
    w = template_of(owner, w[..., 0] if w.ndim == 3 and w.shape[2] == 1 else w, "kernel")
    if w.shape[1] != s.shape[1]:
        raise ValueError(
            f"{owner}: kernel and template must have as many channels, got {w.shape[1]} and "
            f"{s.shape[1]} (shapes {np.shape(kernel)} and {np.shape(template)})."
        )
    background = Noise(owner, noise, s.shape[1], spatial)
    if not s.any():
        return 0.0
    if not w.any():
        raise ValueError(f"{owner}: kernel must not be all zeros: it tells nothing apart.")
    w = w / np.abs(w).max()
    lag = (len(w) - 1) // 2 - (len(s) - 1) // 2
    pairs = zip(w.T, s.T, strict=True)
    signal = sum(np.correlate(v, c, "full")[lag + len(s) - 1] for v, c in pairs)
    return float(signal) / math.sqrt(background.variance(w))


def predicted_f1(
    dprime: float, rate: float, *, tolerance: float = 2, template: ArrayLike | None = None,
    noise: ArrayLike = "white", spatial: ArrayLike | None = None,
) -> float:  # fmt: skip
    """Return the F1 that theory predicts for the matched filter at its best threshold.

    The filter's output z, over d', has variance 1 and autocorrelation rho, that of the whitened
    template; k samples from a spike its mean is d' rho_k. At threshold u a spike is found with
    probability P(max of z_k > u, k from -tolerance to tolerance). False alarms come one for each
    up-crossing, with P(z_0 <= u < z_1) a sample outside spikes: Rice's formula in discrete time.
    The best F1 over u >= 0 is returned; lower, maxima outnumber up-crossings. There is no
    randomness in it. It is good to about 1e-4, at tolerances above 4 to about 1e-3.

    Parameters
    ----------
    dprime : float
        The detectability of one spike, as in :func:`simulate`.
    rate : float
        Spikes a sample, which do not overlap.
    tolerance : float, default 2
        Samples between an event and its spike.
    template : (K,) or (K, C) array_like, default None
        Of any scale. None means ``waveform()``.
    noise, spatial
        As in :func:`matched_filter`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For a ``rate`` outside 0 to 1 / K: spikes would have to overlap.

    References
    ----------
    Rice (1944), Bell System Technical Journal 23.

    Examples
    --------
    >>> [round(predicted_f1(d, 0.01), 2) for d in (3, 4, 5)]
    [0.75, 0.9, 0.97]
    """
    owner = "predicted_f1"
    s = template_of(owner, waveform() if template is None else template)
    dprime = min(check.real(owner, "dprime", dprime, at_least=0), 40.0)  # F1 is 1 by then
    rate = check.real(owner, "rate", rate, above=0)
    reach = int(check.real(owner, "tolerance", tolerance, at_least=0))
    background = Noise(owner, noise, s.shape[1], spatial)
    if not s.any():
        raise ValueError(f"{owner}: template must not be all zeros.")
    if rate * len(s) >= 1:
        raise ValueError(
            f"{owner}: rate must be below 1 / {len(s)}, one spike per length of the template, got "
            f"{rate:g}. Beyond it spikes overlap: score posterior() on a simulation instead."
        )
    white = background.whiten_template(s / np.abs(s).max())
    rho = np.zeros(max(2 * reach + 1, len(white), 2))
    rho[: len(white)] = sum(np.correlate(c, c, "full")[len(white) - 1 :] for c in white.T)
    rho /= rho[0]
    low, high = 0.0, dprime + 6.0
    for _ in range(3):  # F1 is smooth in u: zoom in on its maximum
        u = np.linspace(low, high, 13)
        tp = rate * (1 - _all_below(u, dprime, rho, reach))
        fp = _upcrossings(u, rho[1]) * (1 - rate * len(s))
        f1 = 2 * tp / (rate + tp + fp)
        best = int(np.argmax(f1))
        low, high = u[max(best - 1, 0)], u[min(best + 1, u.size - 1)]
    return float(f1[best])


def _upcrossings(u: Array, rho: float) -> Array:
    """Return P(z_0 <= u < z_1) for standard normal z_0, z_1 of correlation ``rho``."""
    # The bivariate normal density at (u, u), over correlations up to 1 (Plackett 1954).
    nodes, weights = np.polynomial.legendre.leggauss(48)
    low = math.asin(rho)
    half = (math.pi / 2 - low) / 2
    density = np.exp(-np.outer(u**2, 1 / (1 + np.sin(low + half * (1 + nodes)))))
    return np.asarray(density @ weights) * half / (2 * math.pi)


def _all_below(u: Array, dprime: float, rho: Array, reach: int) -> Array:
    """Return P(z_k <= u for all k from -reach to reach) around a spike, for each ``u``.

    z_k = d' rho_k + rho_k z + r_k with z standard normal and independent of r. Given r, each k
    bounds z from one side, so that z falls in an interval; a Richtmyer lattice averages over r.
    """
    k = np.arange(-reach, reach + 1)
    slope = rho[np.abs(k)]
    covariance = rho[np.abs(np.subtract.outer(k, k))] - np.outer(slope, slope)
    variances, axes = np.linalg.eigh(covariance)  # its rank is 2 reach: the first axis is void
    factor = (axes * np.sqrt(np.maximum(variances, 0)))[:, :0:-1]
    numbers = range(2, 20 + 12 * k.size)
    primes = [q for q in numbers if all(q % d for d in range(2, math.isqrt(q) + 1))]
    lattice = np.outer(np.sqrt(primes[: 2 * reach]), np.arange(0.5, _POINTS)) % 1
    grid = np.linspace(-9, 9, 3601)
    phi = np.array([math.erfc(-z / math.sqrt(2)) / 2 for z in grid])
    rest = dprime * slope[:, np.newaxis] + factor @ np.interp(lattice, phi, grid)
    slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
    below = np.empty(u.size)
    for i, level in enumerate(u):
        bound = (level - rest) / slope[:, np.newaxis]
        upper = bound[slope > 0].min(axis=0)
        lower = bound[slope < 0].max(axis=0, initial=-np.inf)
        mass = np.interp(upper, grid, phi) - np.interp(lower, grid, phi)
        below[i] = np.maximum(mass, 0).mean()
    return below
