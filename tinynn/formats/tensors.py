"""safetensors: the weights of any Layer in a file that its own package reads, and other programs.

The header also says how the model is made, as files of tinynn.save do.
"""

import json
import os
import stat
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.formats.common import needed
from tinynn.nn.config import VERSION, describe
from tinynn.nn.layer import Layer
from tinynn.training.archive import checked_path, is_path, naming, shown_name, write_whole
from tinynn.training.files import Loaded, load_into

LONGEST_HEADER = 2**24  # bytes of names, shapes and JSON: enough for 100,000 tensors
DTYPES = {
    **{f"F{8 * n}": np.dtype(f"f{n}") for n in (2, 4, 8)},
    **{f"I{8 * n}": np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
    "BOOL": np.dtype(bool),
}
HEADER = "__metadata__"  # a name that the format keeps for itself


def save_safetensors(path: Any, model: Layer) -> None:
    """Write the weights of a model to a safetensors file, and how the model is made.

    The tensors go by their dotted paths, in the model's dtypes. The metadata ``tinynn`` is the JSON
    of :func:`tinynn.save`. The file is written under another name and then renamed.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file, taken as it is.
    model : Layer
        Any Layer, one of your own too.

    Raises
    ------
    TypeError
        If ``path`` is no path or ``model`` no Layer.
    ValueError
        For a dtype that the format does not know, such as long double.
    OSError
        If the file cannot be written.
    ImportError
        If the package safetensors is missing.

    Examples
    --------
    >>> import tinynn as tnn
    >>> tnn.formats.save_safetensors("model.safetensors", tnn.Dense(2, 1))  # doctest: +SKIP
    """
    _check_model("save_safetensors", model)
    path = checked_path("save_safetensors", path)
    state = {}
    for name, array in model.state_dict().items():
        native = array.dtype.newbyteorder("=")
        if native not in DTYPES.values() or name == HEADER:
            what = f"the dtype {native}" if name != HEADER else "a tensor of this name"
            raise ValueError(f"save_safetensors: {name}: the format has no place for {what}.")
        state[name] = np.array(array, native, order="C")  # it would write memory as it lies
    package = needed("save_safetensors", "safetensors.numpy")
    metadata = {"tinynn": json.dumps(describe(model), allow_nan=False)}
    content = package.save(state, metadata)
    with naming("save_safetensors", path):
        write_whole(path, lambda file: file.write(content))


def load_safetensors(path: Any, model: Layer, strict: bool = True) -> Loaded:
    """Read the weights of a safetensors file into ``model``; return what did not fit.

    No tensor is read before its shape and dtype fit. The model is left as it was if anything is
    wrong. The file may come from any program.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file.
    model : Layer
        The model that takes the weights, each by its dotted path.
    strict : bool, default True
        Whether everything must fit. If not, what fits is loaded.

    Returns
    -------
    Loaded
        With ``missing``, ``unexpected`` and ``misshapen`` paths, as from :func:`tinynn.load`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        Naming the file, if it is none of safetensors, damaged, of another version of tinynn, or
        does not fit the model while ``strict``.
    ImportError
        If the package safetensors is missing.

    Examples
    --------
    >>> import tinynn as tnn
    >>> tnn.formats.load_safetensors("model.safetensors", tnn.Dense(2, 1))  # doctest: +SKIP
    """
    _check_model("load_safetensors", model)
    strict = check.flag("load_safetensors", "strict", strict)
    if not is_path(path):
        raise TypeError(f"load_safetensors: path must be a path, got {check.shown(path)}.")
    package, name = needed("load_safetensors", "safetensors"), shown_name(path)
    fault = f"load_safetensors: {name} is not a readable safetensors file: "
    try:
        with naming("load_safetensors", path), _opened(package, path, fault) as file:
            _check_version((file.metadata() or {}).get("tinynn"), fault)
            arrays = {key: _Stored(file, key) for key in file.keys()}  # noqa: SIM118
            return load_into(f"load_safetensors: {name}", model, arrays, strict)
    except package.SafetensorError as error:
        raise ValueError(f"{fault}{error}. The model was left as it was.") from error


class _Stored:
    """A tensor in a file: its shape and dtype are known, its values are read when asked for."""

    def __init__(self, file: Any, key: str) -> None:
        self._file, self._key = file, key
        part = file.get_slice(key)
        self.shape = tuple(part.get_shape())
        kind = part.get_dtype()
        self.dtype = DTYPES.get(kind, np.dtype([(kind, "V1")]))  # not numbers, but with a name

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array: np.ndarray = self._file.get_tensor(self._key)
        return array


def _check_model(owner: str, model: Any) -> None:
    if not isinstance(model, Layer):
        raise TypeError(
            f"{owner}: the second argument must be a Layer, got {check.shown(model)}. The order is "
            f"{owner}(path, model)."
        )


def _opened(package: Any, path: Any, fault: str) -> Any:
    """Open a file; refuse what is none, and a header that is longer than any honest one."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{fault}it is a folder or a device.")
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(LONGEST_HEADER, os.fstat(file.fileno()).st_size - 8):
            raise ValueError(f"{fault}it claims to begin with {length} bytes of names.")
    return package.safe_open(os.fsdecode(path), framework="numpy")


def _check_version(text: str | None, fault: str) -> None:
    """Refuse the file of a tinynn that may mean something else by the same names."""
    if text is None:
        return
    try:
        said = json.loads(text)
        version = said["version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{fault}what it says of tinynn is no JSON of a model.") from None
    if version != VERSION or type(version) is not int:
        raise ValueError(
            f"{fault}it was written in version {check.shown(version)}, but this tinynn knows "
            f"version {VERSION}."
        )
