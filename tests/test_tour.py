"""The tour leads through every file once, names what is there, and takes as long as it says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tinynn"
PAGE = (ROOT / "docs" / "how" / "tour.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| `([\w/.]+)` \| (.*) \|$", re.MULTILINE)
ROWS = [(int(minutes), file, told) for minutes, file, told in ROW.findall(PAGE)]
HEADING = re.compile(r"^(##+) (.*): (\d+) minutes$", re.MULTILINE)


def names_in(file):
    """Return the functions, classes, members of classes and constants of a file."""
    found = set()
    for node in ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        found |= {n.id for t in targets if t for n in ast.walk(t) if isinstance(n, ast.Name)}
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
    return found


def minutes_below(level):
    """Return (title, minutes it tells, minutes of its rows) of each heading of a level."""
    found = list(HEADING.finditer(PAGE))
    for i, heading in enumerate(found):
        if len(heading[1]) == level:
            later = (other for other in found[i + 1 :] if len(other[1]) <= level)
            end = next((other.start() for other in later), len(PAGE))
            rows = ROW.findall(PAGE[heading.start() : end])
            yield heading[2], int(heading[3]), sum(int(minutes) for minutes, *_ in rows)


def test_every_file_is_visited_once():
    files = {str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if p.stem != "__init__"}
    visited = [file for _, file, _ in ROWS]
    assert len(visited) == len(set(visited)), "a file is visited twice"
    assert sorted(files - set(visited)) == [], "files that docs/how/tour.md does not visit"
    assert sorted(set(visited) - files) == [], "files that are gone"


@pytest.mark.parametrize(("minutes", "file", "told"), ROWS, ids=lambda value: str(value)[:40])
def test_every_name_is_in_its_file(minutes, file, told):
    named = re.findall(r"`([^`]+)`", told)
    assert named, "say what to look at"
    elsewhere = {"fit", "predict"}  # who uses it
    assert [name for name in named if name not in names_in(file) | elsewhere] == []


def test_the_questions_at_the_end_name_what_is_there():
    answers = re.findall(r"`([\w.]+)` in `([\w/]+\.py)`", PAGE)
    assert len(answers) >= 5
    assert [(name, file) for name, file in answers if name not in names_in(file)] == []


@pytest.mark.parametrize("level", [2, 3])
def test_the_minutes_add_up(level):
    told = list(minutes_below(level))
    assert told
    assert [title for title, minutes, total in told if minutes != total] == []
