"""Spike detection in time series: simulation, events, scores, and the limits theory sets.

It is plain NumPy and holds no model: scores may come from anywhere. Only ``detect`` runs one.
"""

from tinynn.spikes.detection import Events, EventStream, detect, stream_events
from tinynn.spikes.evaluation import (
    Interval,
    PrecisionRecallBand,
    bootstrap,
    compare,
    match_stretches,
    precision_recall_band,
    rates_per_hour,
)
from tinynn.spikes.events import find_events
from tinynn.spikes.limits import dprime, matched_filter, predicted_f1
from tinynn.spikes.overlaps import posterior
from tinynn.spikes.score import Match, PrecisionRecall, best_threshold, match, precision_recall
from tinynn.spikes.synthetic import Recording, simulate, waveform
from tinynn.spikes.windows import Windows, labels, robust_scale

__all__ = [
    "EventStream", "Events", "Interval", "Match", "PrecisionRecall", "PrecisionRecallBand",
    "Recording", "Windows", "best_threshold", "bootstrap", "compare", "detect", "dprime",
    "find_events", "labels", "match", "match_stretches", "matched_filter", "posterior",
    "precision_recall", "precision_recall_band", "predicted_f1", "rates_per_hour", "robust_scale",
    "simulate", "stream_events", "waveform",
]  # fmt: skip
