"""Weights in files: NumPy's .npz, never pickle, and never half a file where a good one was."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, BinaryIO

import numpy as np

from tinynn.nn.layer import Layer

_File = str | bytes | os.PathLike[str] | BinaryIO


def save(path: _File, model: Layer) -> None:
    """Write a model's state, an .npz archive with one array for each dotted path.

    ``path``: a path, or a binary file object such as io.BytesIO, which is written to where it
    stands. To a path the archive is written under another name and then renamed, so the path holds
    either the old or the new weights, whole. Its name is taken as it is, a link is followed, and
    the permissions of a file that is replaced are kept. Raises TypeError if ``model`` is no Layer
    or the file is opened for text, OSError if it cannot be written.

    >>> from tinynn import Dense
    >>> memory = io.BytesIO()
    >>> save(memory, Dense(2, 1, rng=0))
    >>> load(memory, Dense(2, 1, rng=1)).bias.shape
    (1,)
    """
    named = _is_path("save", path, model, "write")
    state = model.state_dict()
    if not named:
        memory = io.BytesIO()
        _write(memory, state)
        path.write(memory.getvalue())  # type: ignore[union-attr]
        return
    with _named("save", path):
        _write_whole(os.path.realpath(os.fsdecode(path)), state)  # type: ignore[arg-type]


def load(path: _File, model: Layer) -> Layer:
    """Read weights written by :func:`save` into ``model``, and return it.

    ``path``: a path, or a binary file object. Raises FileNotFoundError if there is no such file;
    ValueError, naming the file, if it is not such an archive, is damaged, holds pickled objects,
    or does not fit the model (every missing, unexpected or misshapen entry is listed). The model
    is then left as it was.
    """
    named, name = _is_path("load", path, model, "read"), _name(path)
    if named and os.path.isdir(path):  # type: ignore[arg-type]
        raise ValueError(f"load: {name} is a folder, not a file.")
    with _named("load", path), open(path, "rb") if named else nullcontext(path) as opened:  # type: ignore
        state = _read(opened, name)
    try:
        model.load_state_dict(state)
    except ValueError as error:
        raise ValueError(f"load: {name}: {error}") from None
    return model


def _is_path(owner: str, file: Any, model: Any, method: str) -> bool:
    """Tell a path from a file object, having checked both arguments of ``owner``."""
    if not isinstance(model, Layer):
        raise TypeError(
            f"{owner}: the second argument must be a Layer, got {type(model).__name__}. "
            f"The order is {owner}(path, model)."
        )
    if isinstance(file, (str, bytes, os.PathLike)):
        return True
    if not hasattr(file, method):
        raise TypeError(
            f"{owner}: the first argument must be a path or a binary file object to {method}, got "
            f"{type(file).__name__}."
        )
    if isinstance(file, io.TextIOBase):
        raise TypeError(
            f"{owner}: the file must be opened in binary mode, '{method[0]}b', not for text."
        )
    return False


def _name(file: Any) -> str:
    """Return what a message calls the file."""
    if isinstance(file, (str, bytes, os.PathLike)):
        return os.fsdecode(file)
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else f"the {type(file).__name__}"


@contextmanager
def _named(owner: str, file: Any) -> Iterator[None]:
    """Raise errors inside in the name of the file that was asked for."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{owner}: {error.strerror or error}", _name(file)) from error


def _write_whole(target: str, state: dict[str, np.ndarray]) -> None:
    """Replace the file ``target`` all at once."""
    before = os.stat(target).st_mode if os.path.exists(target) else None
    if before is not None and not stat.S_ISREG(before):
        with open(target, "wb") as device:  # such as a pipe: it is not for us to replace
            _write(device, state)
        return
    if before is not None and not os.access(target, os.W_OK):
        raise PermissionError(13, "Permission denied, the file is read-only")
    temporary = os.path.join(os.path.dirname(target), f".{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            if before is not None:
                os.chmod(temporary, stat.S_IMODE(before))
            _write(file, state)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _write(file: Any, state: dict[str, np.ndarray]) -> None:
    """Write an .npz archive; numpy.savez would refuse an array named "file"."""
    import zipfile  # costs a tenth of importing NumPy, and only files need it

    with zipfile.ZipFile(file, "w") as archive:
        for name, array in state.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read(file: Any, name: str) -> dict[str, np.ndarray]:
    import zipfile

    state: dict[str, np.ndarray] = {}
    try:
        if not file.seekable():
            file = io.BytesIO(file.read())
        with zipfile.ZipFile(file) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            if len(members) != len(archive.namelist()):
                raise ValueError("it holds two arrays of one name")
            for path, name_inside in members.items():
                with archive.open(name_inside) as member:
                    state[path] = np.lib.format.read_array(member, allow_pickle=False)
                    if member.read(1):  # also makes zipfile check the sum of what is read whole
                        raise ValueError(f"{name_inside} has bytes after its array")
            return state
    except Exception as error:  # whatever a damaged file makes zipfile and NumPy raise
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"load: {name} is not a readable weight file of tinynn.save: {reason}. "
            "The model was left as it was."
        ) from error
