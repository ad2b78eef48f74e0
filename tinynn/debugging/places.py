"""Where the code stands: the user's line, and the layer at work by its path."""

import linecache
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from tinynn.autodiff.graph import Node
from tinynn.nn import losses
from tinynn.nn.layer import Layer, _members
from tinynn.nn.observe import title

PACKAGE = str(Path(__file__).parents[1]) + os.sep
HERE, AUTODIFF = f"{PACKAGE}debugging{os.sep}", f"{PACKAGE}autodiff{os.sep}"


class Place(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.line).strip()
        return f"{Path(self.file).name}, line {self.line}, in {self.function}: {text}".rstrip(": ")


def is_users(frame: FrameType) -> bool:
    """Tell whether a frame runs the user's code."""
    return not frame.f_code.co_filename.startswith(PACKAGE)


def frames() -> Iterator[FrameType]:
    """Yield the frames at work, the innermost first, without those that look."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(HERE):  # its locals would hold it in a cycle
            yield frame
        frame = frame.f_back


def layer_of(frame: FrameType) -> Layer | None:
    """Return the layer whose method a frame runs, if it is one."""
    if frame.f_code.co_varnames[:1] != ("self",):
        return None
    own = frame.f_locals.get("self")
    return own if isinstance(own, Layer) else None


def parameters_of(frame: FrameType) -> list[str]:
    """Return the names of the parameters of the function that a frame runs."""
    code = frame.f_code
    return [*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]


class Models:
    """The models that were seen at work, and what is in them."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Layer, dict[int, tuple[str, Layer]]]] = {}  # by id

    def look(self) -> tuple[Place | None, str]:
        """Return the user's line that runs, and what is at work: a layer by its path, or a loss."""
        place, layers, loss = None, list[Layer](), ""
        for frame in frames():
            code, layer = frame.f_code, layer_of(frame)
            if place is None and is_users(frame):
                place = Place(code.co_filename, frame.f_lineno, code.co_name)
            if code.co_filename == losses.__file__:
                loss = code.co_name
            if layer is not None:
                layers.append(layer)
        return place, self._title(layers) if layers else loss

    def _title(self, layers: list[Layer]) -> str:
        """Return the path of the first of ``layers`` in the last one that it is in."""
        found = (self._paths(root, layers[0]).get(id(layers[0])) for root in reversed(layers))
        return next(known[0] for known in found if known)

    def _paths(self, root: Layer, wanted: Layer) -> dict[int, tuple[str, Layer]]:
        known = self._known.get(id(root))
        if known is None or id(wanted) not in known[1]:
            paths = {id(layer): (title(path, layer), layer) for path, layer in root.named_layers()}
            known = self._known[id(root)] = root, paths
        return known[1]

    def name(self, x: Any) -> str | None:
        """Return what ``x`` is of a model: its parameter, by the path, or an argument of it."""
        for root, _ in reversed(self._known.values()):
            for path, item in _members(root, "", {}, []):
                if item is x:
                    return f"{'parameter' if item.requires_grad else 'state'} {path}"
        model = None
        for frame in reversed([*frames()]):
            model = model or layer_of(frame)
            if model and layer_of(frame) is model:
                for name in _names(x, frame, parameters_of(frame)[1:]):
                    return f"argument {name} of {self._title([model])}"
        return None


def name(x: Any) -> str | None:
    """Return the name of ``x`` as an argument of a function at work, or as the user's variable."""
    for frame in frames():
        code, users = frame.f_code, is_users(frame)
        if users or not (code.co_filename.startswith(AUTODIFF) or code.co_name[0] == "_"):
            for found in _names(x, frame, parameters_of(frame)):
                return f"argument {found} of {code.co_name}"
        if users:
            return next(_names(x, frame, [*frame.f_locals]), None)
    return None


def _names(x: Any, frame: FrameType, names: list[str]) -> Iterator[str]:
    """Yield those of a frame's variables that hold ``x``, or its array."""
    array = x._data if isinstance(x, Node) else x
    for found in names:
        value = frame.f_locals.get(found)
        if value is x or (isinstance(value, np.ndarray) and value is array):
            yield found
