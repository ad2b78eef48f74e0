"""Stationary Gaussian noise of unit variance, in time and across channels: draws, whitening."""

from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, numbers, vector


class Noise:
    """The noise x_t = sum_i a_i x_{t-i} + e_t, from ``"white"`` or the coefficients a_1, ..., a_p.

    ``predictors[m]``, m = 0 to p: the best linear predictor of a sample from the m before it,
    nearest first, and the variance of its error; from the Levinson-Durbin recursion downwards.
    The e_t of several channels have the covariance ``spatial`` ``(C, C)``, and so have the x_t;
    ``root`` is its lower Cholesky factor.
    """

    def __init__(self, owner: str, noise: Any, channels: int = 1, spatial: Any = None) -> None:
        self.spatial, self.root = _spatial(owner, spatial, channels)
        if isinstance(noise, str) and noise == "white":
            noise = ()
        if isinstance(noise, str) or not np.iterable(noise):
            raise (ValueError if isinstance(noise, str) else TypeError)(
                f'{owner}: noise must be "white" or a sequence of AR coefficients such as [0.9], '
                f"got {check.shown(noise)}."
            )
        a = vector(owner, "noise", noise) if len(list(noise)) else np.zeros(0)
        self.spec: str | tuple[float, ...] = tuple(a.tolist()) or "white"
        self.order = a.size
        orders = [a]
        while a.size and abs(a[-1]) < 1:
            a = (a[:-1] + a[-1] * a[-2::-1]) / (1 - a[-1] ** 2)
            orders.append(a)
        if a.size:
            raise ValueError(
                f"{owner}: noise must be a stable recursion, got {check.shown(self.spec)}, "
                f"which grows without bound. Shrink the coefficients; a single one must lie "
                f"between -1 and 1."
            )
        variance = 1.0
        self.predictors: list[tuple[Array, float]] = []
        for a in reversed(orders):
            variance *= 1 - float(a[-1]) ** 2 if a.size else 1.0
            self.predictors.append((a, variance))

    def variance(self, w: Array) -> float:
        """Return the variance of w'n, w being ``(taps, C)``, n as much noise: w' Sigma w."""
        w = w @ self.root  # of independent channels; a fresh array, which is turned
        # into the weights of the innovations, from the last one back
        total = 0.0
        for t in range(len(w) - 1, -1, -1):
            a, variance = self.predictors[min(t, self.order)]
            w[t - a.size : t] += np.outer(a[::-1], w[t])
            total += variance * float(w[t] @ w[t])
        return total

    def whiten_template(self, s: Array, order: int | None = None) -> Array:
        """Return template ``s`` ``(K, C)`` as the whitening filter leaves it, ``(K + p, C)``."""
        a, variance = self.predictors[self.order if order is None else order]
        filtered = self._unmixed(s) / np.sqrt(variance)
        white = np.zeros((len(s) + self.order, s.shape[1]))
        for lag, weight in enumerate([1.0, *-a]):
            white[lag : lag + len(s)] += weight * filtered
        return white

    def whiten_back(self, white: Array) -> Array:
        """Return the transposed whitening filter's answer to ``(K, C)``, ``(K + p, C)``."""
        a, variance = self.predictors[self.order]
        back = np.linalg.solve(self.root.T, white.T).T / np.sqrt(variance)
        result = np.zeros((len(white) + self.order, white.shape[1]))
        for lag, weight in enumerate([1.0, *-a]):
            at = self.order - lag
            result[at : at + len(white)] += weight * back
        return result

    def _unmixed(self, x: Array) -> Array:
        """Return channels ``(..., C)`` with the correlation between them taken out."""
        if self.spatial is None:
            return x
        return np.asarray(np.linalg.solve(self.root, x[..., np.newaxis])[..., 0])

    def whiten(self, x: Array) -> Array:
        """Return of each sample of ``x`` ``(n_series, length, C)`` what others do not tell."""
        length = x.shape[1]
        x = self._unmixed(x)
        a, variance = self.predictors[self.order]
        white = x.copy()
        for i in range(1, min(self.order, length - 1) + 1):
            white[:, i:] -= a[i - 1] * x[:, :-i]
        white /= np.sqrt(variance)
        for t, (a, variance) in enumerate(self.predictors[: min(self.order, length)]):
            white[:, t] = (x[:, t] - np.tensordot(x[:, :t], a[::-1], (1, 0))) / np.sqrt(variance)
        return white

    def draw(self, n_series: int, length: int, rng: "np.random.Generator") -> Array:
        """Draw ``(n_series, length, C)``, stationary from the first sample on."""
        channels = len(self.root)
        x = self._draw(n_series * channels, length, rng).reshape(n_series, channels, length)
        return np.asarray(x.transpose(0, 2, 1) @ self.root.T)

    def _draw(self, n_series: int, length: int, rng: "np.random.Generator") -> Array:
        """Draw independent series ``(n_series, length)``.

        The recursion is a banded triangular system, solved by blocks: one matrix product with the
        fresh noise of all of them, then for each in turn the answer to its past.
        """
        x = rng.standard_normal((n_series, length))
        for t, (a, variance) in enumerate(self.predictors[: min(self.order, length)]):
            x[:, t] = x[:, :t] @ a[::-1] + np.sqrt(variance) * x[:, t]
        p, left = self.order, length - self.order
        if p == 0 or left <= 0:
            return x
        a, variance = self.predictors[p]
        size = min(max(p, 256), left)
        band = np.zeros((size, p + size))
        for t in range(size):
            band[t, t : t + p + 1] = np.append(-a[::-1], 1)
        inverse = np.linalg.inv(band[:, p:])
        blocks = np.zeros((n_series, -(-left // size), size))
        blocks.reshape(n_series, -1)[:, :left] = x[:, p:]
        blocks = blocks @ (np.sqrt(variance) * inverse.T)
        answer = -(inverse @ band[:, :p]).T
        past = x[:, :p]
        for j in range(blocks.shape[1]):
            blocks[:, j] += past @ answer
            past = blocks[:, j, -p:]
        x[:, p:] = blocks.reshape(n_series, -1)[:, :left]
        return x


def _spatial(owner: str, spatial: Any, channels: int) -> tuple[Array | None, Array]:
    """Return the covariance of the channels' noise, or None if they are independent; its root."""
    if spatial is None:
        return None, np.eye(channels)
    matrix = numbers(owner, "spatial", spatial).astype(np.float64)
    fault = ""
    if matrix.shape != (channels, channels):
        fault = f"of shape {(channels, channels)}, one row for each channel, got {matrix.shape}"
    elif not np.allclose(matrix, matrix.T, rtol=0, atol=1e-8):
        fault = "symmetric: the covariance of i and j is that of j and i"
    elif not np.allclose(np.diagonal(matrix), 1, rtol=0, atol=1e-8):
        fault = f"of unit diagonal, for the noise has unit variance, got {np.diagonal(matrix)}"
    elif (low := float(np.linalg.eigvalsh(matrix)[0])) <= 1e-10:
        fault = f"positive definite, got an eigenvalue of {low:.3g}"
    if fault:
        raise ValueError(f"{owner}: spatial must be {fault}.")
    return matrix, np.asarray(np.linalg.cholesky(matrix), np.float64)
