"""On one to four ranks training gives what it gives alone; what cannot be is refused on all."""

import ast
import json
import re
from pathlib import Path

import pytest

from . import jobs

pytestmark = jobs.needs_mpi
SCRIPT = Path(__file__).with_name("cases.py")


def cases():
    """Return (name, ranks) of all cases, which can be read only where mpi4py is."""
    for node in ast.parse(SCRIPT.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            call = node.decorator_list[0]
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "case":
                yield from [(node.name, part.value) for part in call.args]


@pytest.fixture(scope="module")
def job():
    """Return what one job of four ranks says of all cases, and all else that it has written."""
    _, out, err = jobs.run(4, SCRIPT, timeout=300)
    lines = [line for line in out.splitlines() if line.startswith("{")]
    told = {(line["case"], line["ranks"]): line["fault"] for line in map(json.loads, lines)}
    return told, f"{out[-2000:]}\n{err[-2000:]}"


def test_the_example_comes_to_the_same_on_two_ranks():
    script = jobs.ROOT / "examples" / "train_with_mpi.py"
    (_, alone, _), (_, together, err) = (jobs.run(n, script, "--quick") for n in (1, 2))
    assert "1 rank, 40 windows" in alone
    assert "2 ranks, 40 windows" in together, err
    losses = [float(re.search(r"loss ([\d.]+)", text)[1]) for text in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize(("name", "ranks"), list(cases()))
def test_case(job, name, ranks):
    told, rest = job
    assert (name, ranks) in told, f"it hung, or an earlier one failed:\n{rest}"
    assert not told[name, ranks], told[name, ranks]
