"""The README and the docs are true: the code runs, prints what they show, links lead somewhere.

Every Python block of a page runs, in order, in one namespace a page; those of the README each in
one of its own, so that it can be pasted into a file. A block marked ``text`` right below a Python
block is what that block prints; ``...`` stands for any text, and a number with a decimal point may
differ by two in its last digit, as machines round differently. A line ``% needs NAME`` skips a page
where that package is not installed.
"""

import os
import re
import warnings
from pathlib import Path

import pytest

from .test_layering import CEILINGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = {"_build", "_ext", "figures"}
PAGES = [
    ROOT / "README.md",
    *sorted(p for p in DOCS.rglob("*.md") if not BUILT & set(p.relative_to(DOCS).parts)),
]
GALLERY = DOCS / "lecture" / "examples"  # made of examples/*.py while the site is built

BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^(```+|~~~+).*?^\1$", re.DOTALL | re.MULTILINE)


def page_name(page):
    return str(page.relative_to(ROOT))


def agrees(shown, printed):
    """Tell whether ``printed`` is what the page shows."""
    pattern, last_digits = "", []
    for part in re.split(r"(\.\.\.|\d+\.\d+|\s+)", shown.strip()):
        if part == "...":
            pattern += r".*?"
        elif part.isspace():
            pattern += r"\s+"
        elif re.fullmatch(r"\d+\.\d+", part):
            pattern += r"(\d+\.\d+)"
            last_digits.append((float(part), 10.0 ** -len(part.partition(".")[2])))
        else:
            pattern += re.escape(part)
    found = re.fullmatch(pattern, printed.strip(), re.DOTALL)
    return bool(found) and all(
        abs(float(number) - value) <= 2.5 * digit
        for number, (value, digit) in zip(found.groups(), last_digits, strict=True)
    )


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("F1 0.95\n", "F1 0.95\n", True),
        ("F1 0.95\n", "F1 0.96\n", True),
        ("F1 0.95\n", "F1 0.85\n", False),
        ("[ 54 178]\n", "[ 54 179]\n", False),
        ("[-1.  5.]\n", "[-1.  5.]\n", True),
        ("[-1.  5.]\n", "[-1.  6.]\n", False),
        ("left ..., right ...\n", "left 2.5, right 2.7\n", True),
        ("True\n", "", False),
        ("loss 0.031\n", "loss nan\n", False),
    ],
)
def test_shown_and_printed_are_compared(shown, printed, same):
    assert agrees(shown, printed) == same


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_code_on_the_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    text = page.read_text()
    for package in re.findall(r"^% needs (\w+)$", text, re.MULTILINE):
        warnings.simplefilter("ignore")  # which other packages give, and not for us to mend
        pytest.importorskip(package)
    namespaces = [{"__name__": "page"}]
    for block in BLOCK.finditer(text):
        if not page.is_relative_to(DOCS):
            namespaces.append({"__name__": "page"})
        line = text[: block.start()].count("\n") + 1
        code = compile("\n" * line + block[1], str(page), "exec")
        exec(code, namespaces[-1])
        printed = capsys.readouterr().out
        if block[2] is not None:
            assert agrees(block[2], printed), f"line {line} prints:\n{printed}"
        elif page.is_relative_to(DOCS):
            assert printed == "", f"line {line} prints, and the page does not show it:\n{printed}"
    for namespace in namespaces:
        tests = [thing for name, thing in namespace.items() if name.startswith("test_")]
        for test in tests:  # the pages show tests too
            test()


def slugs(page):
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    found, text = set(), FENCED.sub("", page.read_text())
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-"))
    return found


def links(page):
    """Return the relative targets of a page's links and pictures."""
    text = FENCED.sub("", page.read_text())
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    found += re.findall(r"^```\{image\} (\S+)$", page.read_text(), re.MULTILINE)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_somewhere(page):
    dead = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if target.parent == GALLERY:
            target = ROOT / "examples" / f"{target.stem}.py"
        checked = anchor and target.suffix == ".md"
        if not target.exists() or (checked and anchor not in slugs(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_what_commands_name_exists(page):
    text = page.read_text()
    commands = "".join(re.findall(r"^```(?:sh|bash|console)\n(.*?)^```$", text, re.S | re.M))
    paths = set(re.findall(r"(?<![\w./-])\.?\w[\w.-]*/[\w./-]*", commands))
    paths |= set(re.findall(r"(?<![\w./-])\w+\.py\b", commands))
    paths -= {"docs/_build/html"}  # which a command makes
    missing = [path for path in sorted(paths) if not (ROOT / path).exists()]
    for module in set(re.findall(r"python -m ((?:tests|tinynn)[\w.]*\w)", text)):
        path = module.replace(".", "/")
        if not any((ROOT / file).exists() for file in (f"{path}.py", f"{path}/__main__.py")):
            missing.append(module)
    assert missing == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.is_relative_to(DOCS)], ids=page_name)
def test_every_page_is_in_a_table_of_contents(page):
    if page == DOCS / "index.md":
        return
    listed = set()
    for other in PAGES[1:]:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```$", other.read_text(), re.S | re.M):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(other.parent / name).resolve() for name in names}
    assert page.with_suffix("") in listed


def test_no_page_is_about_the_place_where_it_was_written():
    pages = [*PAGES[1:], *(DOCS / "reference").glob("*.rst")]
    place = re.compile(r"/(work|tmp|home|root)/")
    assert [page_name(page) for page in pages if place.search(page.read_text())] == []


def test_the_readme_shows_both_commands_in_full():
    text = (ROOT / "README.md").read_text()
    install = 'python -m pip install -e ".['
    assert f'{install}plots]" && python examples/detect_spikes.py --plot spikes.png\n' in text
    assert f'{install}test]" && python -m pytest\n' in text


def test_every_path_on_the_readmes_map_exists():
    text = (ROOT / "README.md").read_text()
    paths = re.findall(r"^\| `([\w./-]+)`", text, re.MULTILINE)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_gallery_knows_every_example():
    text = (DOCS / "_ext" / "lecture_gallery.py").read_text()
    order = re.search(r"^ORDER = \((.*?)^\)", text, re.DOTALL | re.MULTILINE)
    named = re.findall(r'"(\w+)"', order[1])
    scripts = {p.stem for p in (ROOT / "examples").glob("*.py") if not p.stem.startswith("_")}
    assert scripts == set(named)


def test_the_budget_is_that_of_the_layering_test():
    text = (DOCS / "contributing.md").read_text()
    rows = re.findall(r"^\| `tinynn/?(\w*)`.* \| ([\d,]+) \|$", text, re.MULTILINE)
    assert {folder: int(lines.replace(",", "")) for folder, lines in rows} == CEILINGS
