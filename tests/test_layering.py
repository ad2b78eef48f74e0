"""The house: folders are floors, and imports go down only."""

import ast
import sys
from pathlib import Path

import pytest

import tinynn

ROOT = Path(tinynn.__file__).parent
FLOOR_1 = ["autodiff", "spikes"]
CHECKER = ["reports", "points", "slopes", "tables", "causes", "gradients", "primitives"]
BELOW = {  # what each part may import, beside itself and _validate
    "_checks": [],
    "autodiff": [],
    "autodiff.graph": [],
    "autodiff.cores": [],
    "autodiff.memory": [],
    "autodiff.ops": ["autodiff.graph"],
    "autodiff.conv": ["autodiff.graph", "autodiff.ops"],
    "autodiff.tensor": ["autodiff.graph", "autodiff.ops"],
    "autodiff.transforms": ["autodiff.graph", "autodiff.ops", "autodiff.tensor"],
    "autodiff.record": ["autodiff.graph"],
    "autodiff.lanes": ["autodiff.conv"],
    "autodiff.blocks": ["autodiff.conv", "autodiff.lanes"],
    "autodiff.replay": [
        *("autodiff.blocks", "autodiff.conv", "autodiff.graph", "autodiff.lanes"),
        *("autodiff.memory", "autodiff.ops", "autodiff.record"),
    ],
    "autodiff.compile": [
        *("autodiff.cores", "autodiff.graph", "autodiff.record", "autodiff.replay"),
        "autodiff.tensor",
    ],
    "spikes": [],
    "nn": FLOOR_1,
    "testing": FLOOR_1,
    **{  # each of these imports only those before it
        f"testing.{part}": [*FLOOR_1, *(f"testing.{below}" for below in CHECKER[:i])]
        for i, part in enumerate(CHECKER)
    },
    "training": [*FLOOR_1, "nn", "testing"],
    "plots": [*FLOOR_1, "nn", "training"],
}
# Optional or slow: imported when used.
LATE = {"concurrent", "matplotlib", "threadpoolctl", "tqdm", "zipfile"}


def dotted(path):
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(node):
    """Return the full names of the modules that a statement imports, if it is an import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        assert node.names[0].name != "*", "no star imports"
        full = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in MODULES else node.module for name in full]
    return []


def within(name, parts):
    return any(f"{name}.".startswith(f"tinynn.{part}.") for part in parts)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_only(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    own = max((part for part in BELOW if within(name, [part])), key=len, default=None)
    assert own or name == "tinynn", f"{name} has no floor: give it one above"
    at_the_top = {id(node) for node in tree.body}
    unseen = set()  # what only type checkers see is no import at all
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            unseen |= {id(part) for part in node.body}
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise in place of assert"
        for module in imports(node):
            root = module.split(".")[0]
            if root == "tinynn" and own:
                assert within(module, [own, "_checks", *BELOW[own]]), f"{name} imports {module}"
            late = id(node) not in at_the_top
            placed = late == (root in LATE) or id(node) in unseen
            assert placed, f"line {node.lineno}: where {module} is imported"
            assert root in {"tinynn", "numpy", *LATE, *sys.stdlib_module_names}, module
