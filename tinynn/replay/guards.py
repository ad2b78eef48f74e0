"""What a recording relies on beside its arguments: it holds only as long as that is as it was."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from operator import is_
from types import MappingProxyType
from typing import Any

import numpy as np

from tinynn._marks import is_marked
from tinynn._trees import PLAIN


def _same(now: Any, then: Any) -> bool:
    return now is then or (type(now) is type(then) and type(now) in PLAIN and now == then)


class Contents:
    """What a dict, a list or a class held at one time, by name or place."""

    def __init__(self, container: Any, owner: str) -> None:
        self.container, self.owner = container, owner
        self.named = isinstance(container, (dict, MappingProxyType))
        self.before = self.now()

    def now(self) -> dict[Any, Any]:
        """Return what it holds."""
        return dict(self.container if self.named else enumerate(self.container))

    def changed(self) -> str | None:
        """Return the name of what is not as it was: an attribute, a list or a dict."""
        now, before = self.now(), self.before
        both = now.keys() & before.keys()
        for key in [*now, *before]:
            if key not in both or not _same(now[key], before[key]):
                return f"{self.owner}.{key}" if self.named else self.owner
        return None


class Guards:
    """Contents of the layers that were called, and what was asked of leaves."""

    def __init__(self) -> None:
        self._contents: list[Contents] = []
        self._views: list[Any] = []  # of all contents, for a quick look; what they held
        self._sizes: list[int] = []
        self._held: list[Any] = []
        self._layers: list[Contents] = []  # attributes, to be given back
        self._seen: set[int] = set()
        self._answers: list[tuple[Callable[[], Any], Any]] = []
        self._generators: dict[int, tuple[np.random.Generator, Any]] = {}  # of layers; states

    def hold(self) -> bool:
        """Tell whether everything is as it was: the same objects, or equal plain values."""
        if [*map(len, self._views)] != self._sizes:
            return False
        same = all(map(is_, chain.from_iterable(self._views), self._held))
        same = same or all(map(_same, chain.from_iterable(self._views), self._held))  # rarely
        return same and all(ask() == answer for ask, answer in self._answers)

    def changed(self) -> str | None:
        """Return the name of what is not as it was, if it is an attribute."""
        return next(filter(None, (part.changed() for part in self._contents)), None)

    def layer(self, layer: Any) -> None:
        """Rely on a layer's class and attributes, and on the lists and dicts among them."""
        held = vars(layer)
        if id(held) in self._seen:
            return
        self.contents(held, type(layer).__name__)
        self._layers += [part for part in self._contents if part.container is held]
        self._answers.append((lambda: type(layer), type(layer)))
        for cls in type(layer).__mro__[:-1]:
            self.cls(cls)
        for value in held.values():
            if isinstance(value, np.random.Generator):  # which layers may share
                self._generators.setdefault(id(value), (value, value.bit_generator.state))

    def cls(self, cls: type) -> None:
        """Rely on what a class holds, unless its author has given a word."""
        if id(cls) not in self._seen and not is_marked(cls):
            self._seen.add(id(cls))
            self.contents(vars(cls), cls.__name__)

    def contents(self, container: Any, owner: str) -> None:
        """Rely on what a dict or list holds, nested ones too."""
        if id(container) in self._seen:
            return
        self._seen.add(id(container))
        found = Contents(container, owner)
        self._contents.append(found)
        views = [container, container.values()] if found.named else [container]
        self._views += views
        self._sizes += map(len, views)
        self._held += chain.from_iterable(views)
        for part in found.before.values():
            self.value(part, owner)

    def value(self, value: Any, owner: str) -> None:
        """Rely on the contents of a value, if it is a container or a functools.partial."""
        if isinstance(value, partial):
            for part in (value.func, value.args, value.keywords):
                self.value(part, owner)
        elif isinstance(value, (list, tuple)):
            self.contents(value, f"a {type(value).__name__} of {owner}")
        elif isinstance(value, dict):
            self.contents(value, owner)

    def undo_draws(self) -> None:
        """Give the generators of layers back the states that they had before the call."""
        for generator, state in self._generators.values():
            generator.bit_generator.state = state

    def requires_grad(self, leaf: Any) -> None:
        """Rely on whether a leaf requires a gradient."""
        self._answers.append((lambda: leaf._requires_grad, leaf._requires_grad))

    def gradient(self, leaf: Any, missing: bool) -> None:
        """Rely on whether a leaf has no gradient."""
        self._answers.append((lambda: getattr(leaf, "_grad", None) is None, missing))

    def restore(self) -> str | None:
        """Give layers back the attributes that they had; return one that was changed."""
        changed = None
        for part in self._layers:
            changed = changed or part.changed()
            held = part.container
            held.update(part.before)  # never without any, for another thread may be at work in it
            for name in held.keys() - part.before.keys():
                del held[name]
        self._layers.clear()
        return changed
