"""The one progress bar: tqdm's, which is imported when a bar is shown."""

from contextlib import nullcontext
from typing import Any


class _Hidden:
    disable = True

    def _nothing(self, *shown: Any) -> None: ...

    update = set_postfix = _nothing


def progress_bar(shown: bool, total: int, title: str, **how: Any) -> Any:
    """Return a context that gives a bar of tqdm's, ``how`` being further arguments, or a dummy."""
    if not shown:
        return nullcontext(_Hidden())
    from tqdm import tqdm  # costs more to import than all of tinynn

    return tqdm(total=total, desc=title, **how)
