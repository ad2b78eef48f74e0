"""The house: folders are floors, imports go down only, and no floor grows without a word."""

import ast
import re
import sys
from pathlib import Path

import pytest

import tinynn

ROOT = Path(tinynn.__file__).parent
LOWEST = ["_checks", "_trees", "_marks"]
FLOORS = ["kernels", "autodiff", "nn", "training", "replay"]
AUTODIFF = ["listening", "memory", "graph", "primitive", "ops", "protocols", "tensor", "transforms"]
DEBUGGING = ["places", "noting", "wording", "finite", "profiling"]
CHECKER = [
    *("reports", "points", "slopes", "moves", "tables", "cases", "mistakes", "causes"),
    *("gradients", "primitives", "pairs", "layers"),
]


def stacked(folder, parts, below):
    """Return floors for the parts of a folder: each imports only those before it."""
    names = [f"{folder}.{part}" for part in parts]
    return {name: [*below, *names[:i]] for i, name in enumerate(names)}


BELOW = {  # what each part may import, beside itself
    **{name: LOWEST[:i] for i, name in enumerate(LOWEST)},
    **{floor: [*LOWEST, *FLOORS[:i]] for i, floor in enumerate(FLOORS)},
    **stacked("autodiff", AUTODIFF, [*LOWEST, "kernels"]),
    **{f"autodiff.{name}": [] for name in ("listening", "memory")},
    "spikes": LOWEST,
    "spikes.detection": [*LOWEST, *FLOORS[:-1], "spikes"],  # the one part that runs a model
    "metrics": LOWEST,
    "training": [*LOWEST, *FLOORS[:3], "metrics"],
    "distributed": [*LOWEST, *FLOORS[:-1], "spikes"],
    "debugging": [*LOWEST, "kernels", "autodiff", "nn"],
    **stacked("debugging", DEBUGGING, [*LOWEST, "kernels", "autodiff", "nn"]),
    "testing": [*LOWEST, "kernels", "autodiff"],
    **stacked("testing", CHECKER, [*LOWEST, "kernels", "autodiff"]),
    "testing.layers": [*LOWEST, *FLOORS[:3], *(f"testing.{part}" for part in CHECKER[:-1])],
    "plots": [*LOWEST, *FLOORS, "spikes"],
    "formats": [*LOWEST, *FLOORS[:-1]],
}
LATE = {"concurrent", "matplotlib", "threadpoolctl", "tqdm", "zipfile"}  # imported when used
WITH = {"tinynn.formats.torch_modules": {"torch"}}  # which is imported when it is asked for
ASKED = {"training_step", "forward"}  # what training asks replay for, once each and when needed
GROUP = {"tinynn.distributed.ranks": "group"}  # what it asks for those who train with it, likewise
CEILINGS = {  # lines; raising one is a commit of its own, which says what the lines buy
    "kernels": 1_100,
    "autodiff": 4_310,
    "nn": 2_895,
    "training": 5_155,
    "replay": 2_715,
    "testing": 3_010,
    "debugging": 755,
    "distributed": 430,
    "spikes": 2_620,
    "formats": 1_730,
    "": 26_335,
}
OPTIMIZERS = [
    f"training.{part}" for part in "schedules settings groups clipping optimizers rules".split()
]
CORE = ["kernels", "autodiff", "nn", "spikes", "metrics", "testing", *OPTIMIZERS, *LOWEST]
FAST_PATH = re.compile(r"replay|(?<!re\.)compil|recorder|tracer|tracing|rehears", re.IGNORECASE)
SPOKEN = 12  # lines of the core that may speak of the fast path
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 500, 60
# Attributes with which code looks into byte code or memory.
PEEKING = {"__code__", "co_code", "co_consts", "co_names", "ctypes", "__array_interface__"}


def dotted(path):
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in sorted(ROOT.rglob("*.py"))}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
TREES = {name: ast.parse(text) for name, text in TEXTS.items()}


def lines(name):
    return TEXTS[name].count("\n")


def length(node):
    """Return how many lines a function has, without its docstring."""
    whole, first = node.end_lineno - node.lineno + 1, node.body[0]
    told = ast.get_docstring(node) is not None
    return whole - (first.end_lineno - first.lineno + 1) * told


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


def asks_replay(node, name, late):
    """Tell whether an import is one of the two by which training asks for the fast path."""
    asked = [alias.name for alias in node.names]
    return late and within(name, ["training"]) and len(asked) == 1 and asked[0] in ASKED


def unseen_imports(tree):
    """Return the statements that only type checkers see: they are no imports at all."""
    guarded = [
        node.body
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    ]
    return {part for body in guarded for part in body}


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_only(name):
    tree = TREES[name]
    own = max((part for part in BELOW if within(name, [part])), key=len, default=None)
    assert own or name == "tinynn", f"{name} has no floor: give it one above"
    at_the_top, unseen = set(tree.body), unseen_imports(tree)
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise in place of assert"
        for module in imports(node):
            root, late = module.split(".")[0], node not in at_the_top
            if within(module, ["replay"]) and own and not within(name, ["replay", "plots"]):
                assert asks_replay(node, name, late), f"line {node.lineno} imports {module}"
                continue
            if GROUP.get(module) == node.names[0].name and within(name, ["training"]):
                assert late, f"line {node.lineno} imports {module}"
                continue
            if root == "tinynn" and own and node not in unseen:
                assert within(module, [own, *BELOW[own]]), f"{name} imports {module}"
            placed = late == (root in LATE) or node in unseen
            assert placed, f"line {node.lineno}: where {module} is imported"
            known = {"tinynn", "numpy", *LATE, *WITH.get(name, ()), *sys.stdlib_module_names}
            assert root in known, module


def test_replay_is_asked_at_two_places():
    asked = [
        alias.name
        for name, tree in TREES.items()
        if within(name, ["training"])
        for node in ast.walk(tree)
        if any(within(module, ["replay"]) for module in imports(node))
        for alias in node.names
    ]
    assert sorted(asked) == sorted(ASKED)


@pytest.mark.parametrize("folder", CEILINGS)
def test_no_folder_is_larger_than_its_ceiling(folder):
    inside = [name for name in MODULES if not folder or within(name, [folder])]
    total = sum(map(lines, inside))
    assert total <= CEILINGS[folder], f"{folder or 'all'}: {total} lines"


@pytest.mark.parametrize("name", MODULES)
def test_files_and_functions_can_be_taken_in(name):
    assert lines(name) <= LINES_OF_A_FILE
    long = [
        f"{node.name} ({length(node)} lines)"
        for node in ast.walk(TREES[name])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and length(node) > LINES_OF_A_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("name", MODULES)
def test_every_file_begins_with_its_reason(name):
    assert TEXTS[name].startswith('"""'), "the first line is a docstring"
    reason = ast.get_docstring(TREES[name])
    assert len(reason.splitlines()[0]) > 20
    if name.count(".") == 1 and MODULES[name].name == "__init__.py":
        told = [line for line in reason.splitlines() if line]
        assert len(told) >= 2, "a folder tells in two lines what it is for"


def test_the_core_does_not_know_that_it_can_be_replayed():
    spoken = [
        f"{name}: {line.strip()}"
        for name, text in TEXTS.items()
        if within(name, CORE)
        for line in text.splitlines()
        if FAST_PATH.search(line)
    ]
    assert len(spoken) <= SPOKEN, "\n".join(spoken)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_looks_into_byte_code_memory_or_the_text_of_errors(name):
    for node in ast.walk(TREES[name]):
        where = f"line {getattr(node, 'lineno', 0)}"
        assert "ctypes" not in imports(node), where
        assert "dis" not in imports(node), where
        if isinstance(node, ast.Attribute):
            assert node.attr not in PEEKING, f"{where}: {ast.unparse(node)}"
        if isinstance(node, ast.ExceptHandler):
            inside = "\n".join(map(ast.unparse, node.body))
            assert "re.sub" not in inside, f"{where} edits the text of an exception"
            assert ".replace(str" not in inside, f"{where} edits the text of an exception"


def test_importing_does_no_work():
    """At the top of a file stand definitions and constants: no loops, no ``with``, no ``try``."""
    busy = [
        f"{name}, line {node.lineno}: {ast.unparse(node).splitlines()[0]}"
        for name, tree in TREES.items()
        for node in tree.body
        if isinstance(node, (ast.For, ast.While, ast.With, ast.Try, ast.Delete))
    ]
    assert busy == []
