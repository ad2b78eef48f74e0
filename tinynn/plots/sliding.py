"""The sliding kernel: one place as a page, or all of them as an animation."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tinynn import _checks as check
from tinynn.autodiff.ops import convolution as conv
from tinynn.plots.drawing import BLUE, GRAY, INK, ORANGE, SKY, _clean, _series, _title, figure

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure


def sliding(
    x: ArrayLike, kernel: ArrayLike, position: int | None = None, padding: conv.Padding = "same",
    *, interval: int = 120,
) -> "Figure | FuncAnimation":  # fmt: skip
    """Show one kernel at one location of a series, or sliding over all of them.

    There are three panels. They show the input with the neighbourhood that output ``position``
    selects, its products with the weights, and the feature map so far (:func:`tinynn.conv1d`).
    The axes are the same at all positions.

    Parameters
    ----------
    x : (length,) array_like
        The series.
    kernel : (kernel_size,) array_like
        The weights.
    position : int, default None
        The output that is shown, from 0. None for all of them, one after the other.
    padding : str, int or (left, right), default "same"
        As of Conv1d.
    interval : int, default 120
        Milliseconds for each position.

    Returns
    -------
    Figure or FuncAnimation
        An animation if ``position`` is None. Keep a reference, and ``save("sliding.gif")`` it.

    Raises
    ------
    ValueError
        For a position that does not exist, NaN, or shapes that do not fit.

    Examples
    --------
    >>> x, kernel = [0, 1, 3, 1, 0], [1, 2, 1]
    >>> sliding(x, kernel, position=2).savefig("sliding.png")  # doctest: +SKIP
    """
    owner = "plots.sliding"
    signal, weights = _series(owner, "x", x), _series(owner, "kernel", kernel)
    padding = conv.checked_padding(owner, padding)
    y = conv.conv1d(signal[:, None], weights[:, None, None], padding=padding)[:, 0]
    left, right = conv.padding_pair(padding, len(signal), len(weights), 1)
    first = 0 if position is None else check.integer(owner, "position", position, at_least=0)
    if first >= len(y):
        raise ValueError(f"{owner}: position must be below {len(y)} outputs, got {position}.")
    page, draw = _sliding_page(signal, weights, y, left, right)
    draw(first)
    if position is not None:
        return page
    from matplotlib.animation import FuncAnimation

    animation = FuncAnimation(page, draw, frames=len(y), interval=interval)
    page.draw_without_rendering()
    page.set_layout_engine("none")  # settled once, not anew for each frame
    return animation


def _room(values: np.ndarray) -> tuple[float, float]:
    low, high = min(0.0, values.min()), max(0.0, values.max())
    room = 0.12 * (high - low) or 1.0
    return low - room, high + room


def _sliding_page(
    x: np.ndarray, kernel: np.ndarray, y: np.ndarray, left: int, right: int
) -> tuple[Any, Callable[[int], list[Any]]]:
    """Return the figure of :func:`sliding` and the function that draws output j into it."""
    taps = len(kernel)
    padded = np.pad(x, (left, right))
    steps = np.arange(len(padded)) - left
    centre = steps[: len(y)] + (taps - 1) // 2  # the input step under each output's centre tap
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps)
    page, (top, middle, bottom) = figure(3, height=2, sharex=True)
    weight = _clean(middle.twinx())
    for ax in (top, middle, bottom):
        ax.axhline(0, color=GRAY, linewidth=0.5, zorder=0)
    inside = (steps >= 0) & (steps < len(x))
    top.plot(steps[inside], x, color=INK, marker=".", linewidth=0.8)
    top.plot(steps[~inside], padded[~inside], "o", color=GRAY, mfc="white", ms=5, zorder=3)
    top.set(ylabel="input", ylim=_room(x), xlim=(steps[0] - 0.7, steps[-1] + 0.7))
    reach, largest = (1.15 * (np.abs(v).max() or 1.0) for v in (windows * kernel, kernel))
    middle.set(ylabel="product (bars)", ylim=(-reach, reach))
    weight.set(ylabel="weight (line)", ylim=(-largest, largest))
    weight.yaxis.label.set_color(ORANGE)
    weight.tick_params(colors=ORANGE)
    bottom.set(ylabel="feature map", ylim=_room(y), xlabel="location (samples)")
    moving: list[Any] = []

    def draw(j: int) -> list[Any]:
        while moving:
            moving.pop().remove()
        at, products = steps[j : j + taps], windows[j] * kernel
        moving.append(top.axvspan(at[0] - 0.5, at[-1] + 0.5, color=SKY, alpha=0.3, lw=0))
        seen = inside[j : j + taps]
        moving.extend(top.plot(at[seen], windows[j][seen], "o", color=BLUE, ms=5))
        moving.append(middle.bar(at, products, width=0.7, color=SKY))
        moving.extend(weight.plot(at, kernel, color=ORANGE, marker=".", lw=1.2))
        moving.extend(bottom.plot(centre[: j + 1], y[: j + 1], color=INK, marker=".", lw=0.8))
        moving.extend(bottom.plot(centre[j], y[j], "o", color=ORANGE, ms=7))
        zeros = taps - int(seen.sum())
        span = f"inputs {at[seen][0]} to {at[seen][-1]}" if zeros < taps else "no input"
        extra = f" and {zeros} padded zero{'s' * (zeros > 1)} (open circles)" if zeros else ""
        _title(top, f"Output {j} sees {span}{extra}")
        _title(middle, f"Each input times its weight: the products (bars) sum to {y[j]:.3g}")
        _title(bottom, f"The feature map so far: output {j} is {y[j]:.3g}")
        return moving

    return page, draw
