"""The recipes for other libraries, on the page about check_backward, where these are installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "start" / "check-backward.md"
SECTIONS = {
    part.splitlines()[0]: re.findall(r"^```\{code-block\} (\w+)\n(.*?)^```$", part, re.S | re.M)
    for part in PAGE.read_text(encoding="utf-8").split("\n### ")[1:]
}


def run(section):
    namespace = {}
    for language, code in SECTIONS[section]:
        if language == "python":
            exec(compile(code, str(PAGE), "exec"), namespace)
    return namespace


def wrong(backward):
    return lambda dy, kept: tuple(3 * g for g in as_tuple(backward(dy, kept)))


def as_tuple(found):
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize(
    ("module", "section"),
    [
        ("torch", "PyTorch: an autograd.Function"),
        ("jax", "JAX: a custom_vjp"),
        ("", "C, by ctypes"),
    ],
)
def test_a_recipe_runs_and_finds_a_fault(module, section, tmp_path, monkeypatch):
    if module:
        pytest.importorskip(module)
    else:
        if not shutil.which("cc"):
            pytest.skip("there is no C compiler")
        (tmp_path / "cube.c").write_text(SECTIONS[section][0][1])
        (command,) = re.findall(r"^cc .*$", PAGE.read_text(encoding="utf-8"), re.M)
        subprocess.run(command.split(), check=True, cwd=tmp_path)
        monkeypatch.chdir(tmp_path)
    made = run(section)
    forward, backward, check, np = (
        made[name] for name in ("forward", "backward", "check_backward", "np")
    )
    x = np.array([0.5, -1.0, 2.0])
    for mode in ("auto", "full", "fast"):
        assert check(forward, backward, x, mode=mode)
        report = check(forward, wrong(backward), x, mode=mode, raise_on_fail=False)
        assert report.cause.startswith("a constant factor 3") or mode == "fast"
        assert not report
    if module == "jax":
        assert "forward rounds to float32" in str(made["report"])
