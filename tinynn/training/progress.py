"""Progress bars: tqdm's, which is imported when a bar is shown."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Self

OFTEN, SELDOM = 0.1, 1.0  # seconds between two looks of a terminal, and of a file


class _Hidden:
    def update(self, steps: int) -> None: ...


def progress_bar(shown: bool, total: int, title: str, **how: Any) -> Any:
    """Return a context that gives a bar of tqdm's, ``how`` being further arguments, or a dummy."""
    if not shown:
        return nullcontext(_Hidden())
    from tqdm import tqdm  # costs more to import than all of tinynn

    return tqdm(total=total, desc=title, **how)


class Bars:
    """The bars of a training: one an epoch, or one for all where the output is no terminal."""

    def __init__(self, shown: bool, epochs: int, batches: int) -> None:
        self.shown, self._epochs, self._batches = shown, epochs, batches
        self._one = not (sys.stderr and sys.stderr.isatty())
        self._bar: Any = None
        self._looked = 0.0

    @contextmanager
    def epoch(self, title: str, epoch: int, done: int) -> Iterator[Self]:
        """Show an epoch, of which so many batches are done already."""
        if self.shown and self._bar is None:
            epochs, before = (self._epochs, epoch) if self._one else (1, 0)
            self._bar = progress_bar(
                True, epochs * self._batches, title, initial=before * self._batches + done,
                mininterval=SELDOM if self._one else OFTEN,
            )  # fmt: skip
        if self._bar is not None:
            self._bar.set_description(title, refresh=False)
        try:
            yield self
        finally:
            if not self._one:
                self.close()

    def update(self, figures: Callable[[], Mapping[str, float]], eager: bool) -> None:
        """Count a batch; ask for the figures now and then."""
        if self._bar is not None:
            now = time.monotonic()
            if now - self._looked > OFTEN:
                self._looked = now
                self._bar.set_postfix_str(_words(figures(), eager), refresh=False)
            self._bar.update()

    def show(self, figures: Mapping[str, float], eager: bool) -> None:
        """Show the figures of a whole epoch."""
        if self._bar is not None:
            self._bar.set_postfix_str(_words(figures, eager))

    def say(self, text: str) -> None:
        """Write a line above the bar."""
        if self.shown:
            from tqdm import tqdm

            tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _words(figures: Mapping[str, float], eager: bool) -> str:
    return ", ".join([f"{k}={v:.4g}" for k, v in figures.items()] + ["eager"] * eager)
