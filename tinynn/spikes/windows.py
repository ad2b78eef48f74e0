"""Training data from one long recording: labels, robust scales, windows cut on the fly."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn import _checks as check
from tinynn.spikes._arguments import Array, demand_file, real_array, vector

SHAPE = (0.5, 1.0, 0.5)
EXACT = 100_000  # samples, up to which robust_scale looks at all
STRETCH = 1_000  # samples together, of which it looks at EXACT / STRETCH beyond that


def labels(times: ArrayLike, length: int, *, shape: ArrayLike = SHAPE) -> NDArray[np.float32]:
    """Return targets for a detector: ``shape`` centred on each event.

    A label that also credits the neighbours trains better than 0 and 1: noise often moves the best
    sample by one. Where labels overlap, the larger value holds; what lies outside is cut off.

    Parameters
    ----------
    times : (n,) array_like of int
        Sample indices in 0 to ``length - 1``, ascending.
    length : int
        Samples of the recording.
    shape : array_like of odd length, default (0.5, 1.0, 0.5)
        The middle value is for the event's own sample.

    Returns
    -------
    (length, 1) float32 array

    Raises
    ------
    ValueError
        For times out of range or out of order, and for a shape of even length.

    Examples
    --------
    >>> labels([1, 4], 6).ravel().tolist()
    [0.5, 1.0, 0.5, 0.5, 1.0, 0.5]
    """
    length = check.integer("labels", "length", length, at_least=0)
    at = event_times("labels", times, length)
    return _labels(at, label_shape("labels", "shape", shape), 0, length)


def label_shape(owner: str, name: str, shape: Any) -> Array:
    """Return the values of a label around its event, checked."""
    values = vector(owner, name, shape)
    if len(values) % 2 == 0:
        raise ValueError(
            f"{owner}: {name} must have an odd length, with the event in its middle, got "
            f"{len(values)} values."
        )
    return values


def event_times(owner: str, times: Any, length: int) -> NDArray[np.int64]:
    """Return the times of the events of a recording, ascending sample indices."""
    try:
        array = np.asarray(times)
    except ValueError:  # lists of unequal lengths
        raise ValueError(
            f"{owner}: times must be those of one series, got a list of several. Give one of them, "
            "such as recording.times[0]."
        ) from None
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise (ValueError if array.dtype.kind in "iu" else TypeError)(
            f"{owner}: times must be a 1-D array of integers, sample indices, got "
            f"{check.shown(times)} of dtype {array.dtype}. Round seconds times the rate."
        )
    at = array.astype(np.int64)
    wrong = np.flatnonzero((at < 0) | (at >= length))
    if wrong.size:
        raise ValueError(
            f"{owner}: times must lie in 0 to {length - 1}, got times[{wrong[0]}] = "
            f"{array[wrong[0]]}. Times are sample indices of this recording."
        )
    back = np.flatnonzero(np.diff(at) < 0)
    if back.size:
        i = int(back[0])
        raise ValueError(
            f"{owner}: times must be in ascending order, got times[{i}] = {at[i]} before "
            f"times[{i + 1}] = {at[i + 1]}. Sort them."
        )
    return at


def _labels(times: NDArray[np.int64], shape: Array, start: int, stop: int) -> NDArray[np.float32]:
    """Return the labels of the samples ``start`` to ``stop``; events outside leave their tails."""
    half = len(shape) // 2
    first, last = np.searchsorted(times, (start - half, stop + half))
    tails = times[first:last] - start + half  # where they begin in y, which has room for them
    y = np.zeros((stop - start + 4 * half, 1), np.float32)
    for offset, value in enumerate(shape.astype(np.float32)):
        np.maximum.at(y[:, 0], tails + offset, value)
    return y[2 * half : 2 * half + stop - start]


def robust_scale(x: ArrayLike, axis: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the centre and the scale of noise with rare events in it.

    The centre is the median, the scale median(abs(x - centre)) / 0.6745, the standard deviation of
    Gaussian noise. nan are left out. Of more than 100,000 samples a hundred stretches of 1,000,
    spread evenly, are looked at: the same each time.

    Parameters
    ----------
    x : array or memmap
        Of any real dtype, such as ``(length, channels)``.
    axis : int, default 0
        Along which the samples lie.

    Returns
    -------
    centre, scale : float64 arrays
        ``(channels,)`` of ``(length, channels)``.

    Raises
    ------
    ValueError
        For an empty array, a channel of nothing but nan, and a mapped file that was cut short.

    References
    ----------
    Quian Quiroga, Nadasdy & Ben-Shaul (2004), Neural Computation 16.

    Examples
    --------
    >>> robust_scale(np.array([[1.0], [2.0], [9.0], [3.0], [2.0]]))[0]
    array([2.])
    """
    array = real_array("robust_scale", "x", x)
    axis = check.integer("robust_scale", "axis", axis)
    if not array.size or not -array.ndim <= axis < array.ndim:
        raise ValueError(
            f"robust_scale: x must hold samples along axis {axis}, got shape {array.shape}."
        )
    demand_file("robust_scale", array)
    array = np.moveaxis(array, axis, 0)
    n = len(array)
    if n > EXACT:
        starts = np.linspace(0, n - STRETCH, EXACT // STRETCH).astype(np.int64)
        array = np.concatenate([array[start : start + STRETCH] for start in starts])
    values = array.astype(np.float64)
    if np.isnan(values).all(axis=0).any():
        raise ValueError("robust_scale: x must hold a number in each channel, got nothing but nan.")
    centre = np.nanmedian(values, axis=0)
    return centre, np.nanmedian(np.abs(values - centre), axis=0) / 0.6745


def scaling(owner: str, scale: Any, channels: int) -> tuple[Array, Array]:
    """Return centre and scale of each channel, ``(channels,)``; None is 0 and 1."""
    if scale is None:
        return np.zeros(channels), np.ones(channels)
    if not isinstance(scale, (tuple, list)) or len(scale) != 2:
        raise TypeError(
            f"{owner}: scale must be a pair (centre, scale), as robust_scale(x) returns it, got "
            f"{check.shown(scale)}."
        )
    pair = []
    for name, given in zip(("centre", "scale"), scale, strict=True):
        value = real_array(owner, f"scale: {name}", given).astype(np.float64)
        if value.shape not in ((), (1,), (channels,)) or not np.isfinite(value).all():
            raise ValueError(
                f"{owner}: scale: {name} must be a finite number, or one for each of {channels} "
                f"channels, got shape {value.shape}: {check.shown(given)}."
            )
        pair.append(np.broadcast_to(value, (channels,)))
    if (pair[1] <= 0).any():
        raise ValueError(
            f"{owner}: scale must be above 0 in each channel, got {pair[1].min():g} in channel "
            f"{int(pair[1].argmin())}. A channel that never changes has none: leave it out."
        )
    return pair[0], pair[1]


def recording(owner: str, x: Any) -> NDArray[Any]:
    """Return one recording as ``(length, channels)``, of its own dtype; it is not read."""
    array = real_array(owner, "x", x)
    array = array[:, np.newaxis] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"{owner}: x must be one recording (length, channels), got shape {array.shape}."
        )
    if array.shape[1] > 1024 and array.shape[0] < array.shape[1]:
        raise ValueError(
            f"{owner}: x must be (length, channels), got shape {array.shape}. Is it x.T?"
        )
    demand_file(owner, array)
    return array


class Windows:
    """Batches of windows, cut at random places from one long recording, made anew each epoch.

    It yields pairs ``(batch, length, channels)`` and ``(batch, length, 1)``, both float32, in all
    ``len(x) // length`` windows an epoch, and is what ``tnn.fit`` takes in place of x and y. To
    hold a stretch back, give a slice of the recording: no window reaches beyond it.

    Parameters
    ----------
    x : (length of the recording, channels) array or memmap
        Of any real dtype; it is read window by window.
    times : (n,) array_like of int
        The events, ascending sample indices.
    length : int
        Samples of a window.
    batch_size : int, default 32
        Windows of a batch.
    labels : array_like of odd length, default (0.5, 1.0, 0.5)
        The targets around an event, as in :func:`labels`.
    share : float, default None
        The share of windows in an epoch that hold an event; None for windows from anywhere.
    scale : (centre, scale), default None
        As :func:`robust_scale` returns it; each channel becomes (x - centre) / scale.
    rng : Generator or seed, default None
        The same windows for the same seed.

    Raises
    ------
    ValueError
        For times out of range or out of order, where no window fits, and for a mapped file that is
        cut short.

    Examples
    --------
    >>> x = np.arange(100)[:, None]
    >>> data = Windows(x, [20, 70], length=10, batch_size=4, share=0.5, rng=0)
    >>> len(data), [(a.shape, b.shape) for a, b in data][0]
    (3, ((4, 10, 1), (4, 10, 1)))
    >>> sum(int(y.max() == 1) for _, batch in data for y in batch)
    5
    """

    def __init__(
        self, x: Any, times: ArrayLike, *, length: int, batch_size: int = 32,
        labels: ArrayLike = SHAPE, share: float | None = None, scale: Any = None,
        rng: "check.Seed" = None,
    ) -> None:  # fmt: skip
        owner = "Windows"
        self.x = recording(owner, x)
        self.times = event_times(owner, times, len(self.x))
        self.length = check.integer(owner, "length", length, at_least=1)
        self.batch_size = check.integer(owner, "batch_size", batch_size, at_least=1)
        self.shape = label_shape(owner, "labels", labels)
        self.share = (
            share if share is None else check.real(owner, "share", share, at_least=0, at_most=1)
        )
        self.scale = scaling(owner, scale, self.x.shape[1])
        self.rng = check.generator(owner, rng)
        self.windows = len(self.x) // self.length
        if not self.windows:
            raise ValueError(
                f"{owner}: length must be at most that of the recording, {len(self.x)} samples, "
                f"got {self.length}."
            )
        self._with = _Starts.holding(self.times, self.length, len(self.x))
        self._without = self._with.others(len(self.x) - self.length + 1)
        if self.share is not None:
            self._check_share(owner, round(self.share * self.windows))

    def _check_share(self, owner: str, wanted: int) -> None:
        if wanted and not self._with.total:
            raise ValueError(f"{owner}: share={self.share:g} needs events, but times is empty.")
        if wanted < self.windows and not self._without.total:
            raise ValueError(
                f"{owner}: share={self.share:g} needs windows without an event, but none of "
                f"{self.length} samples is. Give a smaller length, or share=None."
            )

    def __len__(self) -> int:
        return (self.windows - 1) // self.batch_size + 1

    def __repr__(self) -> str:
        kinds = f"length={self.length}, windows={self.windows}, batch_size={self.batch_size}"
        return f"Windows({kinds}, events={len(self.times)}, share={self.share})"

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        starts = self._draw()
        for i in range(0, self.windows, self.batch_size):
            chosen = starts[i : i + self.batch_size].tolist()
            yield (
                np.stack([self._cut(s) for s in chosen]),
                np.stack([self._label(s) for s in chosen]),
            )

    def _draw(self) -> NDArray[np.int64]:
        """Draw the first samples of an epoch's windows, in random order."""
        if self.share is None:
            return self.rng.integers(0, len(self.x) - self.length + 1, self.windows)
        holding = round(self.share * self.windows)
        drawn = [
            kind.at(self.rng.integers(0, max(kind.total, 1), n))
            for kind, n in ((self._with, holding), (self._without, self.windows - holding))
        ]
        return self.rng.permutation(np.concatenate(drawn))

    def _cut(self, start: int) -> NDArray[np.float32]:
        demand_file("Windows", self.x)
        centre, scale = self.scale
        return ((self.x[start : start + self.length] - centre) / scale).astype(np.float32)

    def _label(self, start: int) -> NDArray[np.float32]:
        return _labels(self.times, self.shape, start, start + self.length)


class _Starts:
    """Places at which a window may begin: intervals, ``begins`` to ``ends`` without the latter."""

    def __init__(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        some = ends > begins
        self.begins, self.ends = begins[some], ends[some]
        self._until = np.cumsum(self.ends - self.begins)
        self.total = int(self._until[-1]) if self._until.size else 0

    @classmethod
    def holding(cls, times: NDArray[np.int64], length: int, whole: int) -> "_Starts":
        """Return where windows begin that hold an event."""
        begins = np.maximum(times - length + 1, 0)
        ends = np.minimum(times, whole - length) + 1
        new = np.append(True, begins[1:] > ends[:-1])[: len(times)]  # not joined to those before
        return cls(begins[new], ends[np.append(new[1:], True)[: len(times)]])

    def others(self, whole: int) -> "_Starts":
        """Return all other places below ``whole``."""
        return _Starts(np.append(0, self.ends), np.append(self.begins, whole))

    def at(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of these numbers, counted through all intervals."""
        i = np.searchsorted(self._until, numbers, "right")
        before = np.append(0, self._until)[i]
        return self.begins[i] + numbers - before if len(numbers) else numbers
