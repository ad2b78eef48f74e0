"""Docstrings of public names: the parameters that they list are those of the signature."""

import inspect
import re

import numpy as np
import pytest

import tinynn as tnn

MODULES = "callbacks distributed formats losses metrics plots schedules spikes testing".split()
LISTED = re.compile(
    r"^(Parameters|Attributes)\n-+\n((?:(?!\S[^\n]*\n-+\n)[^\n]*\n)*)", re.MULTILINE
)
INNER = "as_array inspected values shape_of dtype_of".split()  # imported by modules


def public():
    """Return name and object of each function and class, and of the methods of the latter."""
    spaces = [("tinynn", tnn)] + [(f"tinynn.{name}", getattr(tnn, name)) for name in MODULES]
    found = {}
    for space, module in spaces:
        for name in getattr(module, "__all__", [n for n in vars(module) if n[0] != "_"]):
            thing = getattr(module, name)
            ours = getattr(thing, "__module__", "").startswith("tinynn.")
            if callable(thing) and ours and name not in ("get", *INNER):
                found[f"{space}.{name}"] = thing
    return found


def signature(thing):
    """Return the parameters of a callable but self, by name."""
    parameters = inspect.signature(thing).parameters
    return {name: p for name, p in parameters.items() if name != "self"}


def listed(thing):
    """Return the entries of the lists in a docstring: names, and the type as it is written."""
    entries = {}
    for _, body in LISTED.findall((inspect.getdoc(thing) or "") + "\n"):
        for names, kind in re.findall(r"^(\*{0,2}\w[\w, *]*)(?: : (.*))?$", body, re.MULTILINE):
            entries |= dict.fromkeys((name.strip("* ") for name in names.split(",")), kind)
    return entries


def namesake(name):
    """Return NumPy's function of the same name as an operation; its page is referred to."""
    last = name.rpartition(".")[2]
    if not public()[name].__module__.startswith("tinynn.autodiff.ops."):
        return None  # tinynn.save is not numpy.save
    return getattr(np.linalg if last == "norm" else np, last, None)


GIVEN = {"tinynn.spikes.EventStream"}  # made by a function, never by a user


def cases():
    """Return the public names with two parameters or more."""
    many = []
    for name, thing in public().items():
        if name in GIVEN or (isinstance(thing, type) and issubclass(thing, BaseException)):
            continue
        if len(signature(thing)) >= 2:
            many.append(name)
    return many


@pytest.mark.parametrize("name", cases())
def test_the_parameters_are_listed(name):
    thing = public()[name]
    entries = listed(thing)
    if not entries and name.startswith("tinynn.") and namesake(name) is not None:
        return  # its page refers to NumPy's
    missing = signature(thing).keys() - entries.keys()
    assert not missing, f"{name} does not list {sorted(missing)}"


@pytest.mark.parametrize("name", cases())
def test_what_is_listed_exists_and_defaults_are_the_real_ones(name):
    thing, known = public()[name], signature(public()[name])
    for entry, kind in listed(thing).items():
        if entry not in known:
            assert isinstance(thing, type), f"{name} has no {entry}"  # an attribute
            continue
        if not kind:  # as of another function
            continue
        stated = re.search(r", default (.*)$", kind)
        default = known[entry].default
        if stated and "," not in stated[1]:
            written = stated[1].strip('"') if isinstance(default, str) else stated[1]
            if isinstance(default, (int, float)) and not isinstance(default, bool):
                written = float(written)
            elif not isinstance(default, (str, bool, type(None))):
                continue  # an array, described in words
            else:
                default = str(default)
            assert written == default, f"{entry}: {written}, really {default}"
        if default is not inspect.Parameter.empty and entry not in ("args", "kwargs"):
            assert stated or "optional" in kind or isinstance(thing, type), f"{entry}: no default"
