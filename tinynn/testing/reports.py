"""What a gradient check found, made to be read."""

import math
from dataclasses import dataclass
from typing import NoReturn

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours
VERDICTS = ("ok", "inconclusive", "wrong")


@dataclass(frozen=True)
class InputReport:
    """What was found for one input; the numbers are those of its worst element.

    ``verdict``: "ok", "inconclusive" or "wrong", reached by ``count`` elements; ``cause`` names the
    reason in a few words, ``advice`` in a sentence. ``index``: the worst element's index tuple, or
    None if the numbers are slopes along a random direction. ``left``, ``right``: the one-sided
    slopes. ``error``: |analytic - numeric|. ``noise``: by how much ``numeric`` may be off.
    """

    name: str
    order: int
    shape: tuple[int, ...]
    verdict: str
    cause: str = ""
    advice: str = ""
    count: int = 0
    index: tuple[int, ...] | None = None
    analytic: float = 0.0
    numeric: float = 0.0
    left: float = 0.0
    right: float = 0.0
    error: float = 0.0
    noise: float = 0.0

    def __str__(self) -> str:
        order = f", order {self.order}" if self.order > 1 else ""
        verdict = self.verdict.replace("wrong", "WRONG")
        head = f"  {self.name}{order}, shape {self.shape}: {verdict}"
        if self.verdict != "ok" and self.index is not None:
            head += f" at {self.count} of {math.prod(self.shape)} elements"
        head += f": {self.cause}" if self.cause else ""
        if 0 in self.shape:
            return head
        place = "along a random direction" if self.index is None else f"at {self.index}"
        text = f"worst {place}: analytic {self.analytic:.9g}, numeric {self.numeric:.9g}"
        if self.numeric:
            text += f" (relative error {self.error / abs(self.numeric):.2g})"
        if self.verdict == "ok":
            return f"{head}; {text}"
        sides = f"one-sided slopes: left {self.left:.9g}, right {self.right:.9g}"
        noise = f"; numeric may be off by {self.noise:.2g}" if 0 < self.noise < math.inf else ""
        return "\n    ".join([head, text, sides + noise, *([self.advice] if self.advice else [])])


@dataclass(frozen=True, repr=False)
class GradcheckReport:
    """The outcome of a check: truthy if no gradient is wrong, and made to be printed.

    ``order``: the order reached, that of the failure or the one asked for. ``inputs``: an
    :class:`InputReport` for each input and order; from order 2 on the cotangent is an input too.
    ``cause``, ``advice``: the first fault and what to do about it, "" without one. ``notes``:
    remarks that are no faults.
    """

    ok: bool
    order: int = 1
    inputs: tuple[InputReport, ...] = ()
    cause: str = ""
    advice: str = ""
    notes: tuple[str, ...] = ()
    owner: str = "check_grads"

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        head = f"{self.owner}: {'passed' if self.ok else 'FAILED'} at order {self.order}"
        if not self.ok and self.order > 1:
            head += f" (the gradient of order {self.order - 1} is right, its own gradient is not)"
        lines = [head, *map(str, self.inputs)]
        if self.cause and all(entry.verdict != "wrong" for entry in self.inputs):
            lines[0] += f": {self.cause}"
            lines.insert(1, f"  {self.advice}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    __repr__ = __str__


class GradcheckError(AssertionError):
    """A gradient is wrong; ``.report`` is the falsy :class:`GradcheckReport`."""

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(report)
        self.report = report


def fault(cause: str, advice: str, order: int = 1, owner: str = "check_grads") -> NoReturn:
    """Raise for a fault that makes all comparisons pointless."""
    raise GradcheckError(GradcheckReport(False, order, (), cause, advice, owner=owner))
