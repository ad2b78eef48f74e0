"""The README and the docs are true: the code runs, prints what they show, links lead somewhere.

Every Python block of a page runs, in order, in one namespace a page; those of the README each in
one of its own, so that it can be pasted into a file. A block marked ``text`` right below a Python
block is what that block prints. A number with a decimal point may differ by two in its last digit,
as machines round differently. Any number will do where it says how large the rounding is or
in which line the code stands, and in a block marked ``text roughly``. ``...`` stands for any text.
A line ``% needs NAME`` skips a page where that package is not installed.
"""

import os
import re
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinynn as tnn

from .test_layering import CEILINGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = {"_build", "_ext", "figures"}
PAGES = [
    ROOT / "README.md",
    *sorted(p for p in DOCS.rglob("*.md") if not BUILT & set(p.relative_to(DOCS).parts)),
]
GALLERY = DOCS / "lecture" / "lessons"  # made of lessons/*.py while the site is built

BLOCK = re.compile(
    r"^```python\n(.*?)^```\n(?:```text( roughly)?\n(.*?)^```$)?", re.DOTALL | re.MULTILINE
)
PLACE = r"[\w.]+, line \d+"
NUMBER = r"-?\d+(?:\.\d*)?(?:e[-+]\d+)?"
OF_THE_RUN = rf"(?<=\(relative error ){NUMBER}|(?<=numeric may be off by ){NUMBER}|{PLACE}"
FENCED = re.compile(r"^(```+|~~~+).*?^\1$", re.DOTALL | re.MULTILINE)


def page_name(page):
    return str(page.relative_to(ROOT))


def agrees(shown, printed, *, roughly=False):
    """Tell whether ``printed`` is what the page shows."""
    pattern, last_digits = "", []
    shown = re.sub(NUMBER if roughly else OF_THE_RUN, "\0", shown.strip())
    for part in re.split(r"(\.\.\.|\0|\d+\.\d+|\s+)", shown):
        if part == "...":
            pattern += r".*?"
        elif part == "\0":
            pattern += rf"(?:{NUMBER}|{PLACE})"
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
        ("1.5 (relative error 2e-15)\n", "1.5 (relative error 7.1e-16)\n", True),
        ("1.5 (relative error 2e-15)\n", "1.8 (relative error 2e-15)\n", False),
        ("1.5 (relative error 2e-15)\n", "1.5 (relative error nan)\n", False),
    ],
)
def test_shown_and_printed_are_compared(shown, printed, same):
    assert agrees(shown, printed) == same


def test_what_is_shown_roughly_may_have_other_numbers():
    assert agrees("worst at (4, 0): 8.6\n", "worst at (2, 17): 9.12e-08\n", roughly=True)
    assert not agrees("worst at (4, 0): 8.6\n", "best at (4, 0): 8.6\n", roughly=True)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_code_on_the_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    text = page.read_text()
    for package in re.findall(r"^% needs (\w+)$", text, re.MULTILINE):
        warnings.simplefilter("ignore")  # which other packages give, and not for us to mend
        pytest.importorskip(package)
    if "tnn.plots." in text:
        plt = pytest.importorskip("matplotlib.pyplot")
        plt.switch_backend("Agg")
    namespaces = [{"__name__": "page"}]
    for block in BLOCK.finditer(text):
        if not page.is_relative_to(DOCS):
            namespaces.append({"__name__": "page"})
        line = text[: block.start()].count("\n") + 1
        code = compile("\n" * line + block[1], str(page), "exec")
        exec(code, namespaces[-1])
        printed = capsys.readouterr().out
        if block[3] is not None:
            same = agrees(block[3], printed, roughly=bool(block[2]))
            assert same, f"line {line} prints:\n{printed}"
        elif page.is_relative_to(DOCS):
            assert printed == "", f"line {line} prints, and the page does not show it:\n{printed}"
    for namespace in namespaces:
        tests = [thing for name, thing in namespace.items() if name.startswith("test_")]
        for test in tests:  # the pages show tests too
            test()
    if "tnn.plots." in text:
        plt.close("all")


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
    found += re.findall(r'\b(?:src|srcset|href)="([^"]+)"', text)
    found += re.findall(r"^```\{image\} (\S+)$", page.read_text(), re.MULTILINE)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_somewhere(page):
    dead = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if target.parent == GALLERY and page.is_relative_to(DOCS):  # on a code host it is not there
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


def test_readme_and_home_page_begin_with_the_same_code():
    readme, home = (BLOCK.search(p.read_text())[1] for p in (ROOT / "README.md", DOCS / "index.md"))
    assert readme == home
    lines = [line for line in readme.splitlines() if line and not line.startswith("import")]
    assert len(lines) == 6


def test_the_dark_picture_of_the_readme_is_that_of_the_light_one(monkeypatch):
    pytest.importorskip("docutils")
    monkeypatch.syspath_prepend(DOCS / "_ext")
    from two_tones import dark

    light = (DOCS / "images" / "first.svg").read_text()
    assert (DOCS / "images" / "first-dark.svg").read_text() == dark(light)


def test_dark_swaps_ink_and_paper_and_keeps_hues(monkeypatch):
    pytest.importorskip("docutils")
    monkeypatch.syspath_prepend(DOCS / "_ext")
    from two_tones import dark, darkened

    assert darkened("#ffffff") == darkened("#fff") == "#141414"
    assert darkened("#000000") == "#dbdbdb"
    assert darkened("#56b4e9") == darkened("#56B4E9") != darkened("#0072b2")
    picture = '<svg><path style="fill: #ffffff; stroke: #000000"/><use xlink:href="#fade"/></svg>'
    assert dark(picture) == (
        '<svg fill="#dbdbdb"><path style="fill: #141414; stroke: #dbdbdb"/>'
        '<use xlink:href="#fade"/></svg>'
    )


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_drawn_picture_says_what_is_to_be_seen(page):
    options = re.findall(r"^```\{drawn\}\n(.*)$", page.read_text(), re.MULTILINE)
    assert [line for line in options if not re.match(r":alt: \w.{20}", line)] == []


def test_every_path_on_the_readmes_map_exists():
    text = (ROOT / "README.md").read_text()
    paths = re.findall(r"^\| `([\w./-]+)`", text, re.MULTILINE)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_budget_is_that_of_the_layering_test():
    text = (DOCS / "contributing.md").read_text()
    rows = re.findall(r"^\| `tinynn/?(\w*)`.* \| ([\d,]+) \|$", text, re.MULTILINE)
    assert {folder: int(lines.replace(",", "")) for folder, lines in rows} == CEILINGS


# Pages whose sentences are not all short yet. A page that is mended leaves the list.
WORDS = 25
NOTE = re.compile(
    r"^(`{3,}|:{3,})\{(?:note|tip|hint|important|warning|admonition|dropdown|seealso)\}.*?\n(.*?)^\1$",
    re.DOTALL | re.MULTILINE,
)
ENDS = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<!et al\.)(?<=[.!?])[)\"*_']*\s+")


def sentences(text):
    """Return the sentences of a page's prose: no code, tables, formulas, targets of links.

    An inline piece of code or mathematics becomes "X", which begins a sentence and is no word.
    """
    text = FENCED.sub("", NOTE.sub(r"\2", text))
    text = re.sub(r"\$\$.*?\$\$|<!--.*?-->|<[a-z/][^>]*>", "", text, flags=re.S)
    text = re.sub(r"^(?:\|.*|:[\w-]+:.*|:{3,}.*|\[\^\w+\]: )", "", text, flags=re.M)
    text = re.sub(r"`+[^`]+`+|\$[^$\n]+\$|\[\^\w+\]", " X ", text)
    text = re.sub(r"!\[[^]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    found = []
    for part in re.split(r"\n\s*\n|^(?=\s*(?:[-*+]|\d+\.) )|^#+ .*$", text, flags=re.M):
        part = re.sub(r"^\s*(?:[-*+]|\d+\.) ", "", part)
        found += [" ".join(sentence.split()) for sentence in ENDS.split(part)]
    return [sentence for sentence in found if sentence]


def words(sentence):
    """Count the words of a sentence."""
    return sum(bool(re.search(r"\w", w)) and w.strip(".,:;()*'\"") != "X" for w in sentence.split())


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("One two. Three four\nfive?\n\n- six\n- seven eight\n", [2, 3, 1, 2]),
        ("# A title\n\nThe `kernel of a` layer. `x` is [a link](to/a/page.md).\n", [2, 3]),
        ("Before:\n\n```python\nx = 1  # a b c\n```\n\n| a | b |\n\nAfter $x + y$ it.\n", [1, 2]),
        ("```{note}\nRead this. Then that.\n```\n", [2, 2]),
        ("About 0.5 of it, as e.g. here.", [7]),
    ],
)
def test_words_of_prose_are_counted(text, counts):
    assert [words(sentence) for sentence in sentences(text)] == counts


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_sentences_are_short(page):
    long = [s for s in sentences(page.read_text()) if words(s) > WORDS]
    assert long == [], "\n".join(f"{words(s)} words: {s}" for s in long)


@pytest.mark.parametrize("path", sorted((DOCS / "lessons").glob("*.py")), ids=lambda p: p.stem)
def test_sentences_of_a_lesson_are_short(path):
    text = re.sub(r":\w+:`[^`]*`", "`x`", path.read_text())
    parts = [text.split('"""')[1]]
    parts += re.findall(r"^# %%\n((?:#.*\n)+)", text, re.MULTILINE)
    prose = "\n\n".join(re.sub(r"^#(?: ?\.\. .*| ?:.*| -+$)?", "", p, flags=re.M) for p in parts)
    prose = re.sub(r"^\.\. math::(?:.*\n)(?: +.*\n)*", "", prose, flags=re.M)
    prose = re.sub(r"^ *(?:\*|\d\.) ", "\n- ", re.sub(r"^ +", "", prose, flags=re.M), flags=re.M)
    long = [s for s in sentences(prose) if words(s) > WORDS]
    assert long == [], "\n".join(f"{words(s)} words: {s}" for s in long)


def test_the_cheat_sheet_runs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib.pyplot").switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "reference" / "cheat-sheet.md").read_text()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 50, 1)).astype("float32")
    score = rng.normal(size=(2000, 1))
    names = {
        "tnn": tnn, "np": np, "partial": partial, "array": x[0, :, 0].astype(float),
        "inputs": 3, "units": 2, "channels": 1, "c": 1, "filters": 2, "kernel_size": 3,
        "length": 50, "f": tnn.tanh, "p": np.full(3, 0.5), "steps": 10,
        "a": tnn.Conv1d(1, 1, 3, padding="same"), "b": tnn.Conv1d(1, 1, 3, padding="same"),
        "model": tnn.Conv1d(1, 1, 5, padding="same", activation="sigmoid", rng=0),
        "probabilities": np.full((4, 3), 1 / 3), "classes": np.array([0, 1, 2, 0]),
        "forward": np.square, "backward": lambda dy, x: 2 * x * dy, "layer": tnn.Dense(3, 2),
        "score": score, "times": np.arange(50, 2000, 100), "recording": score,
    }  # fmt: skip
    names["optimizer"] = tnn.SGD(names["model"].parameters(), 0.01)
    given = {  # what else a block needs
        "**Training**": {"x": x, "y": (rng.random(x.shape) < 0.1).astype("float32")},
        "**Losses and rates**": {"y": np.array([0.0, 1.0, 1.0])},
        "**Gradient checks**": {"x": rng.normal(size=3), "inputs": [rng.normal(size=4)]},
        "**When it goes wrong**": {"x": x},
    }
    for head, block in re.findall(
        r"^(\*\*.*\*\*).*\n```\{code-block\} python\n((?:.*\n)*?)```$", text, re.M
    ):
        names |= given.get(head, {})
        exec(compile(block, head, "exec"), names)


def test_the_glossary_is_in_order_and_each_term_is_used_on_a_page():
    text = (DOCS / "reference" / "glossary.md").read_text()
    terms = re.findall(r"^(\S.*)\n    ", text.split("```{glossary}")[1], re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)
    pages = [page.read_text() for page in PAGES if page.name != "glossary.md"]
    lessons = [path.read_text() for path in (DOCS / "lessons").glob("*.py")]
    everything = "\n".join(pages + lessons)
    assert [
        t for t in terms if not re.search(rf"(?<!\w){re.escape(t)}s?(?!\w)", everything, re.I)
    ] == []
