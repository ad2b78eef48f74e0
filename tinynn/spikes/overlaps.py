"""The exact posterior of spikes that may overlap, by a hidden Markov model of their ages."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinynn.spikes._arguments import Array, numbers, renewal, series, template_of
from tinynn.spikes.noise import Noise

_MAX_STATES = 5000
_BLOCK = 2**18  # weights held at a time


def posterior(
    x: ArrayLike, template: ArrayLike, noise: ArrayLike, rate: float,
    refractory: int | None = None, spatial: ArrayLike | None = None,
) -> Array:  # fmt: skip
    """Return P(a spike is centred at t | all of x) for every sample t.

    No detector can do better, sample by sample, than a threshold on this. The model is that of
    :func:`simulate`, all amplitudes alike. The states of the hidden Markov model are the sets of
    ages of the spikes under way, at least ``refractory`` apart. There are at least ``refractory +
    1`` states; their number explodes as ``refractory`` falls far below K. AR(p) noise makes the
    template p samples longer. The states of several units multiply: two with 25 samples have 27 *
    27.

    Parameters
    ----------
    x : (length,) or (n_series, length, 1) array_like
        With C channels ``(length, C)`` or ``(n_series, length, C)``.
    template : (K,) or (K, C) array_like, or a list of arrays (K, C)
        The spike as added. A list is of several units, which fire independently, each with its own
        K and dead time.
    noise : "white" or array_like
        Or AR coefficients; of unit variance.
    rate : float, or one for each unit
        Spikes a sample.
    refractory : int, or one for each unit, default None
        Samples from one spike to the next, at least. None means K.
    spatial : (C, C) array_like, default None
        The covariance of the channels' noise; None if they are independent.

    Returns
    -------
    float64 array
        In the shape of ``x``; on several channels ``(length,)`` or ``(n_series, length, 1)``; of
        several units ``(length, units)`` or ``(n_series, length, units)``.

    Raises
    ------
    ValueError
        For series shorter than K, ``rate * refractory >= 1``, unstable noise, and more than 5,000
        states.

    References
    ----------
    Rabiner (1989), Proceedings of the IEEE 77.

    Examples
    --------
    >>> p = posterior([0.1, 4.2, 5.1, -0.3, 0.2, 0.1], [4, 5], "white", rate=0.1)
    >>> p.round(3).tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    owner = "posterior"
    units = isinstance(template, (list, tuple)) and any(
        getattr(part, "ndim", 0) == 2 for part in template
    )
    shapes = [template_of(owner, part) for part in (template if units else [template])]  # type: ignore[union-attr]
    several = units or np.ndim(template) > 1
    channels = shapes[0].shape[1]
    rows = _channels(owner, x, channels) if several else series(owner, "x", x)[..., np.newaxis]
    background = Noise(owner, noise, channels, spatial)
    model = _model(owner, shapes, background, rate, refractory, rows.shape[1])
    result = np.zeros((*rows.shape[:2], len(shapes)))
    for u, onset in enumerate(model.onset_probability(background.whiten(rows))):
        n_onsets, centre = len(onset) - len(shapes[u]) + 1, (len(shapes[u]) - 1) // 2
        result[:, centre : centre + n_onsets, u] = onset[:n_onsets].T
    if not several:
        return result.reshape(np.shape(x))
    if np.ndim(x) == 3:
        return result
    return result[0] if units else result[0, :, 0]


def _model(
    owner: str, shapes: list[Array], background: Noise, rate: Any, refractory: Any, length: int
) -> "_Model":
    """Return the model of a series of ``length`` samples with spikes of these shapes."""
    if any(s.shape[1] != shapes[0].shape[1] for s in shapes):
        raise ValueError(
            f"{owner}: template must be a list of templates (K, C) on the same channels, got "
            f"shapes {', '.join(str(s.shape) for s in shapes)}."
        )
    longest = max(map(len, shapes))
    if length < longest:
        raise ValueError(
            f"{owner}: x must be at least as long as the template's {longest} samples, got "
            f"{length}. A shorter series holds no whole spike."
        )
    model, t = _Model(owner, background), np.arange(length)
    rates, gaps = (
        _each(owner, name, value, len(shapes))
        for name, value in (("rate", rate), ("refractory", refractory))
    )
    for s, own_rate, gap in zip(shapes, rates, gaps, strict=True):
        own_rate, dead, _ = renewal(owner, own_rate, gap, len(s))
        # The start in equilibrium: after t < dead steps without an onset, the chance of one is
        # rate / (1 - rate * t). At the end, no spike begins that would not fit.
        chance = np.minimum(own_rate / (1 - own_rate * np.minimum(t, dead - 1)), 1)
        model.add(s, dead, chance * (t <= length - len(s)))
    return model


def _each(owner: str, name: str, value: Any, n: int) -> list[Any]:
    """Return a value for each of ``n`` templates: one for all, or as many as there are."""
    if n == 1 or np.ndim(value) == 0:
        return [value] * n
    if np.shape(value) != (n,):
        raise ValueError(
            f"{owner}: {name} must be one for all templates or one for each of {n}, got "
            f"shape {np.shape(value)}."
        )
    return list(value)


def _channels(owner: str, x: ArrayLike, channels: int) -> Array:
    """Return ``x`` as ``(n_series, length, C)``."""
    array = numbers(owner, "x", x)
    if array.ndim not in (2, 3) or array.shape[-1] != channels or not array.size:
        raise ValueError(
            f"{owner}: x must be (length, {channels}) or (n_series, length, {channels}), a column "
            f"for each of the template's channels, got shape {array.shape}."
        )
    return array.astype(np.float64).reshape(-1, *array.shape[-2:])


class _Model:
    """The states of all units together, and their laws.

    A unit's states are integers whose bit ``a`` tells of a spike of age ``a``, and one more, that
    no spikes lead to. A state of the model holds one of each unit's, the last unit's fastest.
    ``before``, ``after``: ``(2 ** units, n)``, the states that come before and after each.
    """

    def __init__(self, owner: str, background: Noise) -> None:
        self.owner, self.background = owner, background
        self.before = self.after = np.zeros((1, 1), np.int64)
        self.means = np.zeros((background.order + 1, 1, len(background.root)))
        self.void = np.zeros(1, bool)
        self.units: list[tuple[Any, Any, Array]] = []  # states that start, that wait, chance

    def add(self, s: Array, dead: int, chance: Array) -> None:
        """Add a unit: its states times all that there are."""
        width = len(s) + self.background.order
        oldest = max(width, dead) - 1
        states, before, after = _moves(
            self.owner, len(s), oldest, dead, _MAX_STATES // self.void.size
        )
        m, old = len(states) + 1, self.void.size
        self.before, self.after = (
            (joint[:, np.newaxis, :, np.newaxis] * m + own[:, np.newaxis]).reshape(-1, old * m)
            for joint, own in ((self.before, before), (self.after, after))
        )
        active = np.zeros((m, width))
        active[:-1] = [[state >> age & 1 for age in range(width)] for state in states]
        # The first p samples are whitened by predictors of lower order, and so are the spikes.
        orders = range(self.background.order + 1)
        shapes = np.array([self.background.whiten_template(s, order) for order in orders])
        means = np.einsum("mac,sa->msc", shapes, active)
        joint = self.means[:, :, np.newaxis] + means[:, np.newaxis]
        self.means = joint.reshape(len(joint), old * m, -1)
        self.void = np.logical_or.outer(self.void, np.arange(m) == m - 1).ravel()
        starting = active[:, 0] > 0
        waiting = np.array([state % (1 << dead) == 0 for state in states] + [False])
        self.units = [(np.repeat(a, m), np.repeat(b, m), c) for a, b, c in self.units]
        self.units.append((np.tile(starting, old), np.tile(waiting, old), chance))

    def log_weights(self, white: Array, block: range) -> Array:
        """Return the log of transition times likelihood, ``(steps, states, n_series)``."""
        t = np.array(block)
        prior = np.zeros((t.size, self.means.shape[1]))
        with np.errstate(divide="ignore"):
            for starting, waiting, chance in self.units:
                prior[:, starting] += np.log(chance[t, np.newaxis])
                prior[:, waiting] += np.log1p(-chance[t, np.newaxis])
        means = self.means[np.minimum(t, len(self.means) - 1)]
        # -|x - m|^2 / 2, without the |x|^2 that all states share
        fit = means @ white[:, t].transpose(1, 2, 0)
        fit -= 0.5 * np.square(means).sum(axis=2, keepdims=True)
        fit -= fit.max(axis=1, keepdims=True)  # an artefact must not swamp the sums to come
        return np.asarray(prior[:, :, np.newaxis] + fit)

    def onset_probability(self, white: Array) -> list[Array]:
        """Return P(a spike begins at t | all of the whitened series), ``(length, n_series)``.

        There is one for each unit.
        """
        n_series, length, _ = white.shape
        n = self.void.size
        size = max(1, _BLOCK // (n * n_series))
        blocks = [range(a, min(a + size, length)) for a in range(0, length, size)]
        starting = [np.flatnonzero(states) for states, _, _ in self.units]
        all_starting = np.concatenate(starting)
        onset = np.empty((length, all_starting.size, n_series))

        past = np.full((n, n_series), -np.inf)
        past[0] = 0  # no spike under way
        for block in blocks:
            for t, weight in zip(block, self.log_weights(white, block), strict=True):
                past = _joined(past.take(self.before, axis=0)) + weight
                onset[t] = past[all_starting]
        evidence = np.logaddexp.reduce(past, axis=0)

        future = np.where(self.void, -np.inf, 0.0)[:, np.newaxis] + np.zeros(n_series)
        for block in reversed(blocks):
            weights = self.log_weights(white, block)
            for t, weight in zip(reversed(block), weights[::-1], strict=True):
                onset[t] += future[all_starting]
                future = _joined((future + weight).take(self.after, axis=0))
        parts = np.split(onset, np.cumsum([part.size for part in starting])[:-1], axis=1)
        return [np.exp(np.minimum(np.logaddexp.reduce(p, axis=1) - evidence, 0)) for p in parts]


def _joined(ways: Array) -> Array:
    """Return the log of the sum of 2, 4, ... ways of probabilities, of their logs."""
    while len(ways) > 1:  # faster than logaddexp.reduce
        ways = np.logaddexp(ways[::2], ways[1::2])
    return ways[0]


def _moves(owner: str, width: int, oldest: int, dead: int, most: int) -> tuple[Any, Any, Any]:
    """Return one unit's states, and which come before and after each, ``(2, n + 1)``; n is none."""
    states, index = [0], {0: 0}
    moves: list[tuple[int, int, int]] = []
    for i, state in enumerate(states):  # the list grows meanwhile
        older = (state << 1) & ((2 << oldest) - 1)
        free = older % (1 << dead) == 0
        for new in range(1 + free):
            if older + new not in index:
                index[older + new] = len(states)
                states.append(older + new)
            moves.append((new, i, index[older + new]))
        if len(states) > most:
            alone = f"Bring refractory closer to {width}."
            advice = alone if most == _MAX_STATES else "The states of all templates multiply."
            raise ValueError(
                f"{owner}: refractory={dead} and a template of {width} samples need more "
                f"than {_MAX_STATES:,} hidden states. {advice}"
            )
    n = len(states)
    before, after = np.full((2, 2, n + 1), n)
    for new, i, j in moves:
        after[new, i] = j
        before[states[i] >> oldest, j] = i
    return states, before, after
