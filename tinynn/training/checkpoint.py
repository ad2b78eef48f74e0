"""Weights in files: NumPy's .npz, never pickle, and never half a file where a good one was."""

import os
from typing import Any

import numpy as np

from tinynn.nn.layer import Layer

_Path = str | os.PathLike[str]


def save(path: _Path, model: Layer) -> None:
    """Write a model's state to ``path``, an .npz archive with one array for each dotted path.

    It is written to a temporary file beside it and renamed, so ``path`` holds either the old or
    the new weights, whole. The name is taken as it is; a link is followed. Raises TypeError if
    ``model`` is no Layer, OSError if the file cannot be written.
    """
    state = _checked("save", model).state_dict()
    target = os.path.realpath(os.fsdecode(path))
    temporary = os.path.join(os.path.dirname(target), f".{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            _write(file, state)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:  # in the name of the file that was asked for
        raise OSError(error.errno, f"save: {error.strerror or error}", os.fsdecode(path)) from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def load(path: _Path, model: Layer) -> Layer:
    """Read weights written by :func:`save` into ``model``, and return it.

    Raises FileNotFoundError if there is no such file; ValueError, naming the file, if it is not
    such an archive, is damaged, holds pickled objects, or does not fit the model (every missing,
    unexpected or misshapen entry is listed). The model is then left as it was.
    """
    _checked("load", model)
    state = _read(os.fsdecode(path))
    try:
        model.load_state_dict(state)
    except ValueError as error:
        raise ValueError(f"load: {path}: {error}") from None
    return model


def _checked(owner: str, model: Any) -> Layer:
    if not isinstance(model, Layer):
        raise TypeError(
            f"{owner}: the second argument must be a Layer, got {type(model).__name__}. "
            f"The order is {owner}(path, model)."
        )
    return model


def _write(file: Any, state: dict[str, np.ndarray]) -> None:
    """Write an .npz archive; numpy.savez would refuse an array named "file"."""
    import zipfile  # costs a tenth of importing NumPy, and only files need it

    with zipfile.ZipFile(file, "w") as archive:
        for name, array in state.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read(path: str) -> dict[str, np.ndarray]:
    import zipfile

    if os.path.isdir(path):
        raise ValueError(f"load: {path} is a folder, not a file.")
    with open(path, "rb") as file:  # a missing or unreadable file raises its own OSError
        try:
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
                paths = [name.removesuffix(".npy") for name in names]
                if len(set(paths)) != len(paths):
                    raise ValueError("it holds two arrays of one name")
                return {
                    path: _member(archive, name) for path, name in zip(paths, names, strict=True)
                }
        except Exception as error:  # whatever a damaged file makes zipfile and NumPy raise
            reason = str(error) or type(error).__name__
            raise ValueError(
                f"load: {path} is not a readable weight file of tinynn.save: {reason}. "
                "The model was left as it was."
            ) from error


def _member(archive: Any, name: str) -> np.ndarray:
    with archive.open(name) as member:
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # also makes zipfile check the sum of a member read to its end
            raise ValueError(f"{name} has bytes after its array")
    return array
