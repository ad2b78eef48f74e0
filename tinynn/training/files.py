"""Models in files: NumPy's .npz and JSON, never pickle, and never half a file for a good one."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tinynn import _checks as check
from tinynn.nn.config import BUILD, build, describe
from tinynn.nn.layer import Layer, fitted
from tinynn.training.archive import (
    Archive,
    Damaged,
    File,
    is_path,
    naming,
    opened,
    shown_name,
    write,
    write_whole,
)

MADE = "tinynn.json"  # the part of a file that says how the model is made
SLACK = 2**20  # bytes by which parameters may exceed the file, for a better message
KIND = "weight file of tinynn.save"
UNCHANGED = " The model was left as it was."
M = TypeVar("M", bound=Layer)


@dataclass(frozen=True)
class Loaded:
    """What :func:`load` has found.

    Attributes
    ----------
    model : Layer
        The model that was loaded into.
    missing : list of str
        Paths of the model that the file lacks.
    unexpected : list of str
        Paths of the file that the model lacks.
    misshapen : list of str
        Paths whose arrays do not fit by shape, or because the model's dtype cannot hold them.

    Notes
    -----
    Parameters that are missing or misshapen are as they were.
    """

    model: Layer
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]


def save(path: File, model: Layer) -> None:
    """Write a model: an .npz archive with an array for each dotted path, and how it is made.

    Parameters
    ----------
    path : path or binary file
        A file object, such as io.BytesIO, is written to where it stands.
    model : Layer
        The model.

    Raises
    ------
    TypeError
        If ``model`` is no Layer or the file is opened for text.
    OSError
        If the file cannot be written.

    Notes
    -----
    To a path the archive is written under another name and then renamed. So the path holds either
    the old or the new model, whole. Its name is taken as it is, a link is followed, and the
    permissions of a file that is replaced are kept.

    Beside the weights the file holds JSON. It names the classes and arguments of tinynn's own
    layers, and of those with a method ``to_config()`` that returns a dict. It says what requires a
    gradient, and what is in evaluation. Functions of your own and states of generators are not
    kept.

    Examples
    --------
    >>> from tinynn import Dense
    >>> memory = io.BytesIO()
    >>> save(memory, Dense(2, 1, rng=0))
    >>> load_model(memory)
    Dense(2, 1, activation='linear')
    """
    _check_arguments("save", path, model, "write")
    state, texts = model.state_dict(), {MADE: json.dumps(describe(model), allow_nan=False)}
    if not is_path(path):
        memory = io.BytesIO()
        write(memory, state, texts)
        path.write(memory.getvalue())  # type: ignore[union-attr]
        return
    with naming("save", path):
        write_whole(path, lambda file: write(file, state, texts))


def load(path: File, model: Layer, strict: bool = True) -> Loaded:
    """Read weights written by :func:`save` into ``model``; return what did not fit.

    Parameters
    ----------
    path : path or binary file
        What :func:`save` has written.
    model : Layer
        The model that gets the weights.
    strict : bool, default True
        Whether everything must fit. If not, what fits is loaded.

    Returns
    -------
    Loaded
        Lists of the paths that are missing, unexpected or misshapen.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no such archive, is damaged, or holds pickled objects; it names the file.
        Also if it does not fit while ``strict``: it lists what is missing, unexpected or misshapen.

    Notes
    -----
    After an error the model is as it was. No array is read before its shape fits.

    Examples
    --------
    >>> from tinynn import Dense
    >>> memory = io.BytesIO()
    >>> save(memory, Dense(2, 1, rng=0))
    >>> loaded = load(memory, Dense(2, 3, use_bias=False, rng=1), strict=False)
    >>> loaded.missing, loaded.unexpected, loaded.misshapen
    ([], ['bias'], ['kernel'])
    """
    _check_arguments("load", path, model, "read")
    strict = check.flag("load", "strict", strict)
    with opened("load", path, KIND, UNCHANGED) as archive:
        _refuse_others("load", path, archive)
        return load_into(f"load: {shown_name(path)}", model, archive.arrays, strict)


def load_into(where: str, model: Layer, arrays: Mapping[str, Any], strict: bool) -> Loaded:
    """Give a model all that an open file holds or, if not ``strict``, what fits."""
    if strict:
        try:
            model.load_state_dict(arrays)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        return Loaded(model, [], [], [])
    tensors = dict(model._named_tensors())
    found = Loaded(model, [], [path for path in arrays if path not in tensors], [])
    state: dict[str, Any] = {}
    for path, tensor in tensors.items():
        state[path] = tensor._data
        if path not in arrays:
            found.missing.append(path)
            continue
        try:
            state[path] = fitted(path, arrays[path], tensor)
        except ValueError:
            found.misshapen.append(path)
    model.load_state_dict(state)
    return found


def load_model(
    path: File, classes: Mapping[str, type] | None = None, *, rng: "check.Seed" = None
) -> Any:
    """Return the model in a file of :func:`save`: its layers, weights, dtypes and modes.

    Parameters
    ----------
    path : path or binary file
        What :func:`save` has written. It holds no code.
    classes : dict of str to class, default None
        Your own classes by name. They have a method ``to_config()``.
    rng : Generator or int, default None
        What layers such as Dropout draw from, for generators are not in the file. An int is a seed.

    Returns
    -------
    Layer

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds weights alone or unknown layers, or weights do not fit. It
        names the file.

    Notes
    -----
    A class of your own is made by its classmethod ``from_config(config)``. Without one it is called
    with the entries of the dict by name.

    Examples
    --------
    >>> from tinynn import Dense, Dropout, Sequential
    >>> memory = io.BytesIO()
    >>> save(memory, Sequential(Dense(2, 3, "relu", rng=0), Dropout(0.5)).eval())
    >>> model = load_model(memory)
    >>> model[0], model[1].training
    (Dense(2, 3, activation='relu'), False)
    """
    _check_file("load_model", path, "read")
    classes = {} if classes is None else classes
    if not isinstance(classes, Mapping) or not all(isinstance(c, type) for c in classes.values()):
        got = check.shown(classes)
        raise TypeError(f"load_model: classes must be a dict {{name: class}}, got {got}.")
    generator, name = check.generator("load_model", rng), shown_name(path)
    with opened("load_model", path, KIND) as archive:
        _refuse_others("load_model", path, archive)
        if (described := archive.json(MADE)) is None:
            raise ValueError(
                f"load_model: {name} holds weights alone, as older versions wrote them. {BUILD}"
            )
        archive.demand_backed()
        nbytes = SLACK + sum(array.nbytes for array in archive.arrays.values())
        try:
            model = build(described, classes, generator, nbytes)
            _take(model, archive)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"load_model: {name}: {error}") from error
    return model


def _take(model: Layer, archive: Archive) -> None:
    """Give a model that was just built its weights, in the dtypes that they have in the file."""
    for path, tensor in model._named_tensors():
        stored = archive.arrays.get(path)
        if stored is not None and stored.dtype.kind == tensor.dtype.kind:
            tensor._replace(tensor._data.astype(stored.dtype.newbyteorder("=")))
    try:
        model.load_state_dict(archive.arrays)
    except ValueError as error:
        advice = f"Was a parameter replaced or shared after its layer was made? {BUILD}"
        raise ValueError(f"its weights do not fit what it describes: {error}\n{advice}") from error


def _refuse_others(owner: str, path: Any, archive: Archive) -> None:
    """Refuse an archive that fit has written."""
    if "checkpoint.json" in archive.texts:
        raise ValueError(
            f"{owner}: {shown_name(path)} is a checkpoint of a training, no file of tinynn.save. "
            "Go on with it: tinynn.fit(..., checkpoint=path)."
        )
    for name in archive.texts:
        if name != MADE:
            raise Damaged(f"it holds {name!r}, which is no array")


def _check_arguments(owner: str, file: Any, model: Any, method: str) -> None:
    """Check the model and the file that ``owner`` was given."""
    if not isinstance(model, Layer):
        raise TypeError(
            f"{owner}: the second argument must be a Layer, got {type(model).__name__}. "
            f"The order is {owner}(path, model)."
        )
    _check_file(owner, file, method)


def _check_file(owner: str, file: Any, method: str) -> None:
    if is_path(file):
        return
    if not hasattr(file, method):
        raise TypeError(
            f"{owner}: the first argument must be a path or a binary file object to {method}, got "
            f"{type(file).__name__}."
        )
    if isinstance(file, io.TextIOBase):
        raise TypeError(
            f"{owner}: the file must be opened in binary mode, '{method[0]}b', not for text."
        )
