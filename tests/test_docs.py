"""Every Python block of the README and the docs runs, in order, in one namespace a page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_on_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for block in re.finditer(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        line = page.read_text()[: block.start()].count("\n") + 1
        code = compile("\n" * line + block[1], str(page), "exec")
        exec(code, namespace)
    tests = [thing for name, thing in namespace.items() if name.startswith("test_")]
    for test in tests:  # the pages show tests too
        test()


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
