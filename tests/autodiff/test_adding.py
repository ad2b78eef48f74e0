"""Adding an operation: one function and one row in the table; here it says what else is missing."""

import re
import types
from pathlib import Path

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops
from tinynn.autodiff.primitive import Primitive
from tinynn.autodiff.protocols import COUNTERPARTS

from .test_ops import OWN, ROWS

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGES = "\n".join(page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.rst")))
INSIDE = set(  # what operators, methods and losses are made of: no functions for users
    "add subtract multiply divide negative astype compare equal holds getitem sum_to erf "
    "all_finite guarded_divide guarded_multiply logit_crossentropy logit_slope long_row "
    "shape_of dtype_of values as_array elementwise product_of_gradients".split()
)
INDICES = {"argmax", "argmin"}  # no gradient to test


def functions():
    """Return the functions that the package of operations offers, by name."""
    return {
        name: f
        for name, f in vars(ops).items()
        if isinstance(f, (Primitive, types.FunctionType)) and not name.startswith("_")
    }


def missing(name, f):
    """Return what is still to be done for an operation, in words."""
    todo = []
    rows = {row.name.split()[0].removeprefix("ops.") for row in ROWS}
    if name not in rows | INDICES:
        todo.append(f"a row for {name!r} in the table of tests/autodiff/test_ops.py")
    if getattr(tnn, name, None) is not f or name not in tnn.__all__:
        todo.append(f"{name} in tinynn/__init__.py, in the import and in __all__")
    if not re.search(rf"^\.\. autofunction:: {name}$", PAGES, re.MULTILINE):
        todo.append(f".. autofunction:: {name} in docs/reference/functions.rst")
    if hasattr(np, name) and COUNTERPARTS.get(getattr(np, name)) is not f:
        todo.append(f"np.{name} among COUNTERPARTS of tinynn/autodiff/protocols.py")
    if not f.__doc__ or ">>>" not in f.__doc__:
        todo.append(f"a docstring of {name} with an example")
    return todo


@pytest.mark.parametrize("name", sorted(functions().keys() - INSIDE))
def test_a_public_operation_is_complete(name):
    todo = missing(name, functions()[name])
    assert todo == [], f"still missing: {'; '.join(todo)}. (If {name} is for inside use: INSIDE.)"


def test_every_primitive_is_offered_or_known_to_be_for_inside_use():
    offered = {id(f) for f in vars(ops).values()} | {id(f) for f in vars(tnn).values()}
    rows = {row.name for row in ROWS}
    lost = [name for name, op in OWN.items() if id(op) not in offered and name not in rows]
    lost = [name for name in lost if OWN[name].variadic or any(OWN[name].vjps)]
    assert lost == [], "neither public nor in the table of tests/autodiff/test_ops.py"


def test_the_message_says_what_is_missing():
    @tnn.elementwise(lambda g, y, x: 3 * g * x * x)
    def cube(x):
        return x**3

    assert len(missing("cube", cube)) == 4
    assert len(missing("cbrt", cube)) == 5
    assert "a row for 'cube'" in missing("cube", cube)[0]
