"""The exact posterior of spikes that may overlap, by a hidden Markov model of their ages."""

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
    """Return P(a spike is centred at t | all of x) for every sample t, in the shape of ``x``.

    ``x`` is ``(length,)`` or ``(n_series, length, 1)``, ``template`` ``(K,)`` the spike as added.
    With a template ``(K, C)`` on C channels, of whose noise ``spatial`` is the covariance, ``x`` is
    ``(length, C)``, and the result ``(length,)``, or ``(n_series, length, C)``, and it is
    ``(n_series, length, 1)``. ``noise`` is ``"white"`` or AR coefficients, of unit variance,
    ``rate`` in spikes per sample, ``refractory`` in samples (default K): the model of
    ``simulate``, all amplitudes alike. No detector can do better, sample by sample, than a
    threshold on this.

    The states of the hidden Markov model are the sets of ages of the spikes under way, at least
    ``refractory`` apart. There are at least ``refractory + 1`` states; their number explodes as
    ``refractory`` falls far below K. AR(p) noise makes the template p samples longer.

    Raises ValueError for series shorter than K, ``rate * refractory >= 1``, unstable noise, and
    more than 5,000 states.

    >>> p = posterior([0.1, 4.2, 5.1, -0.3, 0.2, 0.1], [4, 5], "white", rate=0.1)
    >>> p.round(3).tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    owner = "posterior"
    s = template_of(owner, template)
    several = np.ndim(template) > 1
    rows = _channels(owner, x, s.shape[1]) if several else series(owner, "x", x)[..., np.newaxis]
    background = Noise(owner, noise, s.shape[1], spatial)
    rate, dead, _ = renewal(owner, rate, refractory, len(s))
    length = rows.shape[1]
    n_onsets = length - len(s) + 1
    if n_onsets < 1:
        raise ValueError(
            f"{owner}: x must be at least as long as the template's {len(s)} samples, got "
            f"{length}. A shorter series holds no whole spike."
        )
    # The start in equilibrium: after t < dead steps without an onset, the chance of one is
    # rate / (1 - rate * t). At the end, no spike begins that would not fit.
    t = np.arange(length)
    chance = np.minimum(rate / (1 - rate * np.minimum(t, dead - 1)), 1) * (t < n_onsets)
    onset = _Model(owner, s, background, dead, chance).onset_probability(background.whiten(rows))
    result = np.zeros(rows.shape[:2])
    centre = (len(s) - 1) // 2
    result[:, centre : centre + n_onsets] = onset[:n_onsets].T
    if not several:
        return result.reshape(np.shape(x))
    return result[0] if np.ndim(x) == 2 else result[..., np.newaxis]


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
    """The states, each an integer whose bit ``a`` tells of a spike of age ``a``, and their laws.

    ``before``, ``after``: ``(2, n + 1)``, the states that come before and after each; n is none.
    """

    def __init__(self, owner: str, s: Array, background: Noise, dead: int, chance: Array) -> None:
        width = len(s) + background.order
        oldest = max(width, dead) - 1
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
            if len(states) > _MAX_STATES:
                raise ValueError(
                    f"{owner}: refractory={dead} and a template of {len(s)} samples need more "
                    f"than {_MAX_STATES:,} hidden states. Bring refractory closer to {len(s)}."
                )
        n = len(states)
        self.before, self.after = np.full((2, 2, n + 1), n)
        for new, i, j in moves:
            self.after[new, i] = j
            self.before[states[i] >> oldest, j] = i
        active = np.zeros((n + 1, width))
        active[:n] = [[state >> age & 1 for age in range(width)] for state in states]
        # The first p samples are whitened by predictors of lower order, and so are the spikes.
        shapes = [background.whiten_template(s, m) for m in range(background.order + 1)]
        self.means = np.einsum("mac,sa->msc", np.array(shapes), active)
        self.starting = np.flatnonzero(active[:, 0])
        self.waiting = np.flatnonzero([state % (1 << dead) == 0 for state in states])
        self.chance = chance

    def log_weights(self, white: Array, block: range) -> Array:
        """Return the log of transition times likelihood, ``(steps, states, n_series)``."""
        t = np.array(block)
        prior = np.zeros((t.size, self.means.shape[1]))
        with np.errstate(divide="ignore"):
            prior[:, self.starting] = np.log(self.chance[t, np.newaxis])
            prior[:, self.waiting] = np.log1p(-self.chance[t, np.newaxis])
        means = self.means[np.minimum(t, len(self.means) - 1)]
        # -|x - m|^2 / 2, without the |x|^2 that all states share
        fit = means @ white[:, t].transpose(1, 2, 0)
        fit -= 0.5 * np.square(means).sum(axis=2, keepdims=True)
        fit -= fit.max(axis=1, keepdims=True)  # an artefact must not swamp the sums to come
        return np.asarray(prior[:, :, np.newaxis] + fit)

    def onset_probability(self, white: Array) -> Array:
        """Return P(a spike begins at t | all of the whitened series), ``(length, n_series)``."""
        n_series, length, _ = white.shape
        n = self.means.shape[1] - 1
        size = max(1, _BLOCK // ((n + 1) * n_series))
        blocks = [range(a, min(a + size, length)) for a in range(0, length, size)]
        onset = np.empty((length, self.starting.size, n_series))

        past = np.full((n + 1, n_series), -np.inf)
        past[0] = 0  # no spike under way
        for block in blocks:
            for t, weight in zip(block, self.log_weights(white, block), strict=True):
                came = past.take(self.before, axis=0)
                past = np.logaddexp(came[0], came[1]) + weight
                onset[t] = past[self.starting]
        evidence = np.logaddexp.reduce(past, axis=0)

        future = np.zeros((n + 1, n_series))
        future[n] = -np.inf
        for block in reversed(blocks):
            weights = self.log_weights(white, block)
            for t, weight in zip(reversed(block), weights[::-1], strict=True):
                onset[t] += future[self.starting]
                comes = (future + weight).take(self.after, axis=0)
                future = np.logaddexp(comes[0], comes[1])
        return np.asarray(np.exp(np.minimum(np.logaddexp.reduce(onset, axis=1) - evidence, 0)))
