"""Every public name has a docstring and a place in the reference."""

import inspect
import re
from pathlib import Path

import pytest

import tinynn as tnn

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
MODULES = (
    "callbacks",
    "distributed",
    "formats",
    "losses",
    "metrics",
    "plots",
    "schedules",
    "spikes",
    "testing",
)
HIDDEN = ((tnn.losses, "get"), (tnn.metrics, "get"))  # for fit alone


def public_functions(module):
    """Return the functions that a module without ``__all__`` offers."""
    mine = inspect.getmembers(module, inspect.isfunction)
    mine = [(n, f) for n, f in mine if f.__module__ == module.__name__ and not n.startswith("_")]
    return [(name, f) for name, f in mine if (module, name) not in HIDDEN]


def public():
    """Yield (name, object) of all that a user reaches from tinynn, without the modules."""
    for name in tnn.__all__:
        thing = getattr(tnn, name)
        if not inspect.ismodule(thing):
            yield f"tinynn.{name}", thing
    for name in MODULES:
        module = getattr(tnn, name)
        members = (
            [(n, getattr(module, n)) for n in module.__all__]
            if hasattr(module, "__all__")
            else public_functions(module)
        )
        for member, thing in members:
            yield f"tinynn.{name}.{member}", thing


def members(cls):
    """Yield (name, object, owner) of a class's public methods and properties, inherited too."""
    for name in dir(cls):
        thing = inspect.getattr_static(cls, name)
        owner = next(c for c in cls.__mro__ if name in vars(c))
        if name.startswith("_") or not owner.__module__.startswith("tinynn"):
            continue
        if isinstance(thing, (property, classmethod, staticmethod)) or inspect.isfunction(thing):
            yield name, thing, owner


def entries():
    """Return what the reference documents: full name to the options of its directive."""
    found = {}
    for page in sorted(REFERENCE.glob("*.rst")):
        module = "tinynn"
        for block in re.split(r"\n(?=\.\. )", "\n" + page.read_text()):
            if current := re.match(r"\.\. currentmodule:: (\S+)", block):
                module = current[1]
            if directive := re.match(r"\.\. auto(?:function|class|exception):: (\S+)", block):
                name = directive[1]
                name = name if name.startswith("tinynn.") else f"{module}.{name}"
                assert name not in found, f"{name} stands in the reference twice"
                found[name] = set(re.findall(r"^   :([\w-]+):", block, re.MULTILINE))
    return found


def documented_classes():
    """Return the classes whose own methods the reference shows."""
    return {resolve(name) for name, options in entries().items() if "members" in options}


def resolve(name):
    thing, *rest = tnn, *name.split(".")[1:]
    for i, part in enumerate(rest):
        if not hasattr(thing, part):
            __import__(".".join(["tinynn", *rest[: i + 1]]))
        thing = getattr(thing, part)
    return thing


CLASSES = [(name, thing) for name, thing in public() if inspect.isclass(thing)]


def test_every_public_name_has_a_docstring():
    # An instance, such as an operation, must have its own and not that of its class.
    bare = [n for n, t in public() if not t.__doc__ or t.__doc__ == type(t).__doc__]
    assert bare == []


def test_every_public_name_is_in_the_reference():
    assert [name for name, _ in public() if name not in entries()] == []


def test_the_reference_names_nothing_that_is_not_there():
    known = {name for name, _ in public()} | {"tinynn.training.optimizers.Optimizer"}
    assert [name for name in entries() if name not in known] == []
    assert all(resolve(name) is not None for name in entries())


@pytest.mark.parametrize(("name", "cls"), CLASSES, ids=lambda value: str(value))
def test_every_method_has_a_docstring_and_a_place(name, cls):
    documented = documented_classes()
    for member, thing, owner in members(cls):
        assert inspect.getdoc(thing), f"{name}.{member} has no docstring"
        places = {cls, owner, *(c for c in cls.__mro__ if member in vars(c))}
        assert places & documented, f"{name}.{member} is not in the reference"


def test_the_index_links_every_page():
    index = (REFERENCE / "index.md").read_text()
    for page in REFERENCE.glob("*.rst"):
        assert f"({page.name})" in index
        assert re.search(rf"^{page.stem}$", index, re.MULTILINE)
