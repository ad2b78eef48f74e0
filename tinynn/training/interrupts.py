"""Ctrl-C as a wish to end: noted when it comes, heeded after a whole step."""

import signal
import threading
from contextlib import suppress
from typing import Any, Self


class Interrupts:
    """A context in which Ctrl-C sets ``pressed``; pressed again, it raises KeyboardInterrupt.

    Where no handler can be set, as in threads, or somebody has set another one, KeyboardInterrupt
    is raised as ever.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._before: Any = None

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            with suppress(ValueError):  # an interpreter inside another one
                self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
