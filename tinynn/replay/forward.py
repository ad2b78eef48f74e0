"""A model's output for predict and stream: replayed from the second time on that a shape comes."""

from typing import Any

import numpy as np

from tinynn.autodiff.listening import listener
from tinynn.autodiff.primitive import values
from tinynn.nn.layer import Layer
from tinynn.replay.planning import NotFinite
from tinynn.replay.plans import Plan, Plans, ReplayMismatch, Unrecorded, kept_with
from tinynn.replay.purity import trusted, unknown_part
from tinynn.replay.tracing import NotReplayable, Tracer
from tinynn.training.steps import eager_forward

_known: dict[int, Plans] = {}  # by id of the model


class Forward:
    """The output of a model for plain arrays; ``worker``: which of several threads asks.

    ``eager``: None, or why the model runs eagerly.
    """

    def __init__(self, model: Layer) -> None:
        self.model, self.eager = model, unknown_part(model)
        self.trusted = trusted(model)
        self._plans = kept_with(model, _known, lambda: Plans("predict"))
        self._lock, self._eagerly = self._plans.lock, eager_forward(model)

    def __call__(self, x: np.ndarray, worker: int = 0) -> np.ndarray:
        """Return the output, in a fresh array."""
        if listener.get() is not None:  # who listens to each operation hears none of a replay
            return self._eagerly(x)
        with self._lock:
            plan = None if self.eager is not None else self._plan(x)
            if plan is not None and (plan.draws or not self.trusted):  # one after the other
                return np.asarray(plan.replay([x], lambda: self._eagerly(x)))
            program = None if plan is None else plan.program(worker)
        try:
            return self._in_turn(x) if program is None else np.asarray(program.run([x]))
        except NotFinite:
            return self._in_turn(x)

    def _in_turn(self, x: np.ndarray) -> np.ndarray:
        """Run eagerly; layers that may keep something of a call take turns with other threads."""
        if self.trusted and self.eager is None:
            return self._eagerly(x)
        with self._lock:
            return self._eagerly(x)

    def _plan(self, x: np.ndarray) -> Plan | None:
        def call(tracer: Tracer) -> Any:
            self.trusted, reason = trusted(self.model), unknown_part(self.model)
            if reason is not None:  # a part has been exchanged
                raise NotReplayable(reason)
            return values(self.model(tracer.argument(0, x, as_tensor=True)))

        try:
            given = not self.trusted
            return self._plans.get(
                (x.shape, x.dtype), call, word=lambda: not self.trusted, verify=given, after=1
            )
        except ReplayMismatch:
            raise
        except (NotReplayable, Unrecorded) as error:
            self.eager = str(error)
            return None
