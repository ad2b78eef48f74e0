"""The fast path: a function is rehearsed once on Tensors, and its operations are replayed.

Nothing below knows of it; ``fit``, ``predict`` and ``stream`` ask it for a faster step.
"""

from tinynn.replay.compiled import compile
from tinynn.replay.forward import Forward as forward
from tinynn.replay.plans import ReplayMismatch
from tinynn.replay.step import training_step
from tinynn.replay.tracing import NotReplayable

__all__ = ["NotReplayable", "ReplayMismatch", "compile", "forward", "training_step"]
