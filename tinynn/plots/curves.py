"""Curves: of a training over its epochs, of precision against recall."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import _checks as check
from tinynn.plots.drawing import GRAY, _beside, _look, _own, _series, _title
from tinynn.spikes.evaluation import PrecisionRecallBand
from tinynn.spikes.score import PrecisionRecall
from tinynn.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def history(
    history: History | Mapping[str, Any], ax: "Axes | None" = None, *, log: bool = True
) -> "Axes":
    """Draw learning curves: each list of a History, or of a dict by name, against the epoch.

    Points of a History are joined over epochs without a figure.

    Parameters
    ----------
    history : History, or dict by name
        A dict holds lists, or Histories whose training losses are drawn: ``{"Dense": first,
        "Conv1d": second}``.
    ax : Axes, default None
        Where to draw; None for a figure of its own.
    log : bool, default True
        Whether the axis of the loss is logarithmic, where all values are positive.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        For what is neither a History nor a dict.
    ValueError
        If nothing was trained.

    Examples
    --------
    >>> from tinynn import History
    >>> ax = history(History({"loss": [0.5, 0.2, 0.1]}))  # doctest: +SKIP
    """
    owner = "plots.history"
    given = history.history if isinstance(history, History) else history
    if not isinstance(given, Mapping):
        raise TypeError(f"{owner}: history must be a History or dict, got {check.shown(history)}.")
    if not given:
        raise ValueError(f"{owner}: history is empty: nothing was trained.")
    curves, epochs = {}, {}
    for name, c in given.items():
        values = c.history.get("loss", ()) if isinstance(c, History) else c
        if given is not history:  # of a History, where nan stands for no figure
            epochs[str(name)] = [i for i, value in enumerate(values, 1) if not np.isnan(value)]
            values = [value for value in values if not np.isnan(value)]
        curves[str(name)] = _series(owner, str(name), values)
    check.flag(owner, "log", log)
    ax = _own(owner, ax, height=3)
    words = {"loss": "training", "val_loss": "validation"}
    for i, (name, curve) in enumerate(curves.items()):
        look = {"marker": ".", "linewidth": 1.3, "label": words.get(name, name), **_look(i)}
        ax.plot(epochs.get(name, np.arange(1, len(curve) + 1)), curve, **look)
    _epochs_and_loss(ax, log and all((c > 0).all() for c in curves.values()))
    if len(curves) > 1:
        ax.legend(frameon=False, fontsize=8, handlelength=3)
    _title(ax, "Learning curve" + "s" * (len(curves) > 1))
    return ax


def _epochs_and_loss(ax: "Axes", log: bool) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    ax.set(xlabel="epoch", ylabel="loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if log:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        between = LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)) if high > 3 * low else MaxNLocator(5)
        ax.yaxis.set_major_locator(between if high < 30 * low else LogLocator())
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def precision_recall(
    curves: PrecisionRecall | Mapping[str, PrecisionRecall], ax: "Axes | None" = None, *,
    bands: PrecisionRecallBand | Mapping[str, PrecisionRecallBand] | None = None,
) -> "Axes":  # fmt: skip
    """Draw precision against recall, with each curve's best F1 marked, over lines of equal F1.

    Parameters
    ----------
    curves : PrecisionRecall, or dict of such by name
        What :func:`tinynn.spikes.precision_recall` returns.
    ax : Axes, default None
        Where to draw; None for a figure of its own.
    bands : PrecisionRecallBand, or dict of such by name, default None
        What :func:`tinynn.spikes.precision_recall_band` returns, of all or some of the curves;
        drawn pale behind them.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        For what is no such curve or band.
    ValueError
        For a curve without recall, where there was nothing to find, and a band without a curve.

    Examples
    --------
    >>> from tinynn import spikes
    >>> curve = spikes.precision_recall([0, 2, 0, 1, 0], [1], tolerance=0, exclusion=1)
    >>> ax = precision_recall({"detector": curve})  # doctest: +SKIP
    """
    owner = "plots.precision_recall"
    given = {"": curves} if isinstance(curves, PrecisionRecall) else curves
    kinds = {type(c) for c in given.values()} if isinstance(given, Mapping) else set()
    if kinds != {PrecisionRecall}:
        kind = "a PrecisionRecall or a dict of such by name"
        raise TypeError(f"{owner}: curves must be {kind}, got {check.shown(curves)}.")
    if any(np.isnan(c.recall).any() for c in given.values()):
        raise ValueError(f"{owner}: recall is NaN, for there was nothing to find.")
    around = {"": bands} if isinstance(bands, PrecisionRecallBand) else bands or {}
    if not isinstance(around, Mapping) or {type(b) for b in around.values()} - {
        PrecisionRecallBand
    }:
        kind = "a PrecisionRecallBand or a dict of such by name"
        raise TypeError(f"{owner}: bands must be {kind}, got {check.shown(bands)}.")
    if alone := around.keys() - given.keys():
        raise ValueError(f"{owner}: bands must have the names of curves, got {sorted(alone)}.")
    ax = _own(owner, ax, height=4)
    for f1 in (0.5, 0.6, 0.7, 0.8, 0.9):
        at = np.linspace(f1 / (2 - f1), 1, 100)  # where the precision is at most 1
        ax.plot(at, f1 * at / (2 * at - f1), color=GRAY, linewidth=0.5, zorder=0)
        _beside(ax, f1 / (2 - f1), f"F1 = {f1}", GRAY)
    for i, (name, curve) in enumerate(given.items()):
        f1s = 2 * curve.precision * curve.recall / np.maximum(curve.precision + curve.recall, 1e-12)
        best = int(np.argmax(f1s))
        label = f"{name or 'detector'}: best F1 {f1s[best]:.3f} (marked)"
        look = {"marker": "os^D"[i % 4], "markevery": [best], "linewidth": 1.4, **_look(i)}
        ax.plot(curve.recall, curve.precision, label=label, clip_on=False, **look)
        if band := around.get(name):
            pale = {"color": look["color"], "alpha": 0.18, "linewidth": 0, "zorder": 0}
            ax.fill_between(band.recall, band.low, band.high, **pale)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    ax.legend(frameon=False, fontsize=8, loc="lower left", handlelength=3)
    _title(ax, "Precision and recall at every threshold")
    return ax
