"""The one progress bar: tqdm's, which is imported when a bar is shown."""

from contextlib import nullcontext
from typing import Any


class _Hidden:
    disable = True

    def update(self, steps: int = 1) -> None:
        """Show nothing."""

    def set_postfix(self, logs: Any) -> None:
        """Show nothing."""


def progress_bar(shown: bool, total: int, title: str, **how: Any) -> Any:
    """Return a context that gives a bar with ``update(steps)``, ``set_postfix(logs)``, ``disable``.

    ``how``: further arguments of tqdm.
    """
    if not shown:
        return nullcontext(_Hidden())
    from tqdm import tqdm  # costs more to import than all of tinynn

    return tqdm(total=total, desc=title, **how)
