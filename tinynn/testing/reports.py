"""What a gradient check found, made to be read."""

import math
import textwrap
from dataclasses import dataclass, replace
from typing import NoReturn

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours
WIDTH, LINES = 120, 40  # what fits a terminal
VERDICTS = ("ok", "inconclusive", "wrong")


@dataclass(frozen=True)
class InputReport:
    """What was found for one input; the numbers are those of its worst element.

    Attributes
    ----------
    name : str
        "input 0", or a parameter's path.
    order : int
        The order of the gradient.
    shape : tuple of int
        The input's shape.
    verdict : "ok", "inconclusive" or "wrong"
        The worst that was found.
    cause : str, default ""
        The reason, in a few words.
    advice : str, default ""
        What to do, in a sentence.
    count : int, default 0
        Elements with that verdict.
    index : tuple of int, default None
        The worst element. None if the numbers are slopes along a random direction.
    analytic : float, default 0.0
        What the backward pass says.
    numeric : float, default 0.0
        What the function does.
    left : float, default 0.0
        The one-sided slope from below.
    right : float, default 0.0
        The one-sided slope from above.
    error : float, default 0.0
        The distance of analytic and numeric.
    noise : float, default 0.0
        By how much ``numeric`` may be off.
    numbers : bool, default True
        False if nothing was compared.
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
    numbers: bool = True  # False if nothing was compared

    def __str__(self) -> str:
        order = f", order {self.order}" if self.order > 1 else ""
        verdict = self.verdict.replace("wrong", "WRONG")
        head = f"  {self.name}{order}, shape {self.shape}: {verdict}"
        if self.verdict != "ok" and self.index is not None:
            head += f" at {self.count} of {math.prod(self.shape)} elements"
        head += f": {self.cause}" if self.cause else ""
        if 0 in self.shape or not self.numbers:
            return "\n".join(_wrapped(head))
        if self.verdict == "ok" and self.cause and not self.error:
            return "\n".join(_wrapped(head))
        if self.verdict == "ok":
            return f"{head}; {self._numbers()}"
        return "\n".join([*_wrapped(head), f"    {self._numbers()}", *self._evidence()])

    def worst_first(self) -> str:
        """Return the worst element, the evidence and what to do, then what else was found."""
        lines = str(self).splitlines()
        worst = next(k for k, line in enumerate(lines) if line.startswith("    worst "))
        return "\n".join([f"  {self.name}, {self._numbers()}", *lines[worst + 1 :], *lines[:worst]])

    def _numbers(self) -> str:
        digits = 6 if self.verdict == "ok" else 9
        place = "along a random direction" if self.index is None else f"at {self.index}"
        text = f"worst {place}: analytic {self.analytic:.{digits}g}, "
        text += f"numeric {self.numeric:.{digits}g}"
        if self.numeric:
            text += f" (relative error {self.error / abs(self.numeric):.2g})"
        return text

    def _evidence(self) -> list[str]:
        sides = f"    one-sided slopes: left {self.left:.9g}, right {self.right:.9g}"
        noise = f"; numeric may be off by {self.noise:.2g}" if 0 < self.noise < math.inf else ""
        return [sides + noise, *_wrapped(f"    {self.advice}")] if self.advice else [sides + noise]


@dataclass(frozen=True, repr=False)
class GradcheckReport:
    """The outcome of a check: truthy if no gradient is wrong, and made to be printed.

    Attributes
    ----------
    ok : bool
        Whether no gradient is wrong.
    order : int, default 1
        The order reached: that of the failure, or the one asked for.
    inputs : tuple of InputReport, default ()
        One for each input and order. From order 2 on the cotangent is an input too.
    cause : str, default ""
        The first fault, "" without one.
    advice : str, default ""
        What to do about it.
    notes : tuple of str, default ()
        Remarks that are no faults.
    owner : str, default "check_grads"
        The function that has checked.
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
        if self.ok:
            unsure = sum(entry.verdict == "inconclusive" for entry in self.inputs)
            head = f"{self.owner}: passed at order {self.order}"
            head += f"; inconclusive for {unsure} of {len(self.inputs)}" if unsure else ""
            return "\n".join(self._shortened([head], [str(entry) for entry in self.inputs]))
        wrong = [entry for entry in self.inputs if entry.verdict == "wrong"]
        if not wrong:  # a fault that makes comparisons pointless
            lines = [_headline(f"{self.owner}: FAILED at order {self.order}", self.cause)]
            lines += _wrapped(f"  {self.advice}", "  ") if self.advice else []
            return "\n".join(self._shortened(lines, [str(entry) for entry in self.inputs]))
        told = next((entry for entry in wrong if entry.cause == self.cause), wrong[0])
        head = f"{self.owner}: FAILED at order {self.order}"
        deeper = f" (the gradient of order {self.order - 1} is right, its own gradient is not)"
        lines = []
        if self.order > 1 and len(head + deeper + self.cause) <= WIDTH - 2:
            head += deeper
        elif self.order > 1:
            lines = [f" {deeper}"]
        lines = [_headline(head, self.cause), *lines, *told.worst_first().splitlines()]
        rest = [replace(e, advice="" if e.advice == told.advice else e.advice) for e in wrong]
        others = [str(entry) for entry in rest if entry.name != told.name]
        others += [str(entry) for entry in self.inputs if entry.verdict != "wrong"]
        return "\n".join(self._shortened(lines, others))

    def _shortened(self, lines: list[str], others: list[str]) -> list[str]:
        """Return the lines, and as much of the others and the notes as a terminal shows."""
        notes = [line for note in self.notes for line in _wrapped(f"  note: {note}")]
        notes = notes[: LINES // 2]
        left = LINES - len(lines) - len(notes)
        for k, text in enumerate(others):
            rest = text.splitlines()
            more = len(others) - k - 1
            if len(rest) + (more > 0) > left:
                lines = [*lines, f"  ... and {more + 1} more: see .inputs"]
                break
            lines, left = lines + rest, left - len(rest)
        return lines + notes

    __repr__ = __str__


def _headline(head: str, cause: str) -> str:
    """Return the verdict and the cause in one line that fits a terminal."""
    if len(f"{head}: {cause}") > WIDTH and ": " in cause:
        cause = cause.partition(": ")[2]  # without the places, which follow
    line = f"{head}: {cause}" if cause else head
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def _wrapped(text: str, indent: str = "    ") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, drop_whitespace=True)


class GradcheckError(AssertionError):
    """A gradient is wrong: an AssertionError.

    Attributes
    ----------
    report : GradcheckReport
        The falsy report.

    Examples
    --------
    >>> from tinynn.testing import check_backward
    >>> try:
    ...     check_backward(lambda x: x**2, lambda dy, x: -2 * x * dy, 3.0)
    ... except GradcheckError as error:
    ...     print(error.report.cause)
    a flipped sign
    """

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(report)
        self.report = report


def fault(cause: str, advice: str, order: int = 1, owner: str = "check_grads") -> NoReturn:
    """Raise for a fault that makes all comparisons pointless."""
    raise GradcheckError(GradcheckReport(False, order, (), cause, advice, owner=owner))
