"""Checkpoints: the state of a training in one file, which is whole whatever happens."""

import os
import time
from typing import Any

from tinynn import _checks as check
from tinynn.training.archive import (
    Damaged,
    checked_path,
    naming,
    opened,
    untrusted,
    write,
    write_whole,
)
from tinynn.training.nested import NotKept, flattened, restored

STATE = "checkpoint.json"  # the part of the file that refers to the arrays
VERSION = 1


class Checkpoint:
    """A file that keeps a state, so that a script which was killed goes on where it was.

    It is for ``fit(..., checkpoint=)``. A loop of your own keeps its state with :meth:`save` and
    goes on from :meth:`load`. A new state replaces the old one all at once. Whatever happens while
    it is written, the file holds one of them, whole.

    Parameters
    ----------
    path : path
        The file. Its folder must be there.
    minutes : float, default None
        ``fit`` keeps a state after each epoch, and within one whenever so many have gone by.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    TypeError, ValueError
        For other arguments.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = Checkpoint(os.path.join(folder, "run"))
    ...     print(checkpoint.load())
    ...     checkpoint.save({"epoch": 3, "losses": [0.5, 0.25]})
    ...     print(checkpoint.load())
    None
    {'epoch': 3, 'losses': [0.5, 0.25]}
    """

    @check.with_hints
    def __init__(self, path: str | os.PathLike[str], minutes: float | None = None) -> None:
        self.path = checked_path("Checkpoint", path)
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise ValueError(f"Checkpoint: {self.path} is no ordinary file. Give the path of one.")
        self.minutes = minutes
        if minutes is not None:
            self.minutes = check.real("Checkpoint", "minutes", minutes, at_least=0)
        self._saved = time.monotonic()

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r}, minutes={self.minutes})"

    def due(self) -> bool:
        """Tell whether ``minutes`` have gone by since the last save."""
        return self.minutes is not None and time.monotonic() - self._saved >= 60 * self.minutes

    def save(self, state: Any) -> None:
        """Keep a state in place of the one before.

        Parameters
        ----------
        state : nested
            Dicts, lists, tuples, numbers, texts, None and arrays, nested at will.

        Raises
        ------
        TypeError
            For anything else. It names the place.
        OSError
            If the file cannot be written, as on a full disk. The state before is then still there.
        """
        try:
            text, arrays = flattened({"version": VERSION, "state": state})
        except NotKept as error:
            raise TypeError(f"Checkpoint: {self.path}: {error}") from None
        with naming("Checkpoint", self.path):
            write_whole(self.path, lambda file: write(file, arrays, {STATE: text}), sweep=True)
        self._saved = time.monotonic()

    def load(self) -> Any:
        """Return the state that is kept, equal in every bit and dtype; None if there is no file.

        Raises
        ------
        ValueError
            If it is no checkpoint or damaged. It names the file.
        """
        self._saved = time.monotonic()
        if not os.path.exists(self.path):
            return None
        with opened("Checkpoint", self.path, "checkpoint", REMOVE) as archive:
            arrays = archive.arrays
            with untrusted():
                found = restored(archive.json(STATE), lambda name: arrays.pop(name).read())
            if arrays or not isinstance(found, dict) or found.keys() != {"version", "state"}:
                raise Damaged("it holds something else")
        if found["version"] != VERSION:
            raise ValueError(
                f"Checkpoint: {self.path} is of version {check.shown(found['version'])}, but this "
                f"tinynn knows {VERSION}. Go on with the tinynn that wrote it."
            )
        return found["state"]


REMOVE = " Give another path, or remove the file to begin anew."
