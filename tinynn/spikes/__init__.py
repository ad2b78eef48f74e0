"""Spike detection in time series: simulation, events, scores, and the limits theory sets.

It is plain NumPy and holds no model: scores may come from anywhere.
"""

from tinynn.spikes.events import find_events
from tinynn.spikes.limits import dprime, matched_filter, predicted_f1
from tinynn.spikes.overlaps import posterior
from tinynn.spikes.score import Match, PrecisionRecall, best_threshold, match, precision_recall
from tinynn.spikes.synthetic import Recording, simulate, waveform

__all__ = [
    "Match", "PrecisionRecall", "Recording", "best_threshold", "dprime", "find_events", "match",
    "matched_filter", "posterior", "precision_recall", "predicted_f1", "simulate", "waveform",
]  # fmt: skip
