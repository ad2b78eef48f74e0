"""Stationary Gaussian noise, white or autoregressive, of unit variance: draws and whitening."""

from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, vector


class Noise:
    """The noise x_t = sum_i a_i x_{t-i} + e_t, from ``"white"`` or the coefficients a_1, ..., a_p.

    ``predictors[m]``, m = 0 to p: the best linear predictor of a sample from the m before it,
    nearest first, and the variance of its error; from the Levinson-Durbin recursion downwards.
    """

    def __init__(self, owner: str, noise: Any) -> None:
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
        """Return the variance of w'n, n being ``len(w)`` samples of the noise: w' Sigma w."""
        w = w.copy()  # is turned into the weights of the innovations, from the last one back
        total = 0.0
        for t in range(w.size - 1, -1, -1):
            a, variance = self.predictors[min(t, self.order)]
            w[t - a.size : t] += w[t] * a[::-1]
            total += variance * float(w[t]) ** 2
        return total

    def whiten_template(self, s: Array, order: int | None = None) -> Array:
        """Return template ``s`` ``(K,)`` as the whitening filter leaves it, ``(K + p,)``."""
        a, variance = self.predictors[self.order if order is None else order]
        white = np.convolve(s, np.concatenate(([1.0], -a))) / np.sqrt(variance)
        return np.pad(white, (0, self.order - a.size))

    def whiten(self, x: Array) -> Array:
        """Return, of each sample of ``x`` ``(n_series, length)``, what those before do not tell."""
        length = x.shape[1]
        a, variance = self.predictors[self.order]
        white = x.copy()
        for i in range(1, min(self.order, length - 1) + 1):
            white[:, i:] -= a[i - 1] * x[:, :-i]
        white /= np.sqrt(variance)
        for t, (a, variance) in enumerate(self.predictors[: min(self.order, length)]):
            white[:, t] = (x[:, t] - x[:, :t] @ a[::-1]) / np.sqrt(variance)
        return white

    def draw(self, n_series: int, length: int, rng: "np.random.Generator") -> Array:
        """Draw ``(n_series, length)``, stationary from the first sample on.

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
