"""The lessons of the site: each runs alone, has all its parts, and says what is true."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinynn as tnn

DOCS = Path(__file__).parents[2] / "docs"
LESSONS = sorted((DOCS / "lessons").glob("*.py"))
PARTS = ("In code", "The picture", "Change this: what do you expect?", "The whole experiment")
LINES = range(8, 16)  # of a lesson's first code, beside imports, comments and empty lines

lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def blocks(path):
    """Return the blocks of a lesson's script, texts and code in turn."""
    return re.split(r"^# %%\n", path.read_text(), flags=re.MULTILINE)


def code_of(block):
    """Return the lines of a block below the comment with which it begins."""
    lines = block.splitlines()
    start = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(lines[start:]).strip()


def imported(path):
    """Skip a lesson whose packages are not installed."""
    for module in re.findall(r"^import (\w+)", path.read_text(), re.MULTILINE):
        pytest.importorskip(module)
    pytest.importorskip("matplotlib")


def run(code, folder):
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(DOCS.parent)}
    quiet = ("-W", "error", "-W", "ignore:FigureCanvasAgg")  # which shows nothing
    command = [sys.executable, *quiet, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_every_lesson_is_in_the_order_and_has_its_experiment():
    text = (DOCS / "_ext" / "lessons.py").read_text()
    order = re.search(r"^ORDER = \((.*?)^\)", text, re.DOTALL | re.MULTILINE)
    named = re.findall(r'"(\w+)"', order[1])
    assert sorted(named) == [path.stem for path in LESSONS]
    assert all((DOCS.parent / "examples" / f"{name}.py").exists() for name in named)
    index = (DOCS / "lecture" / "index.md").read_text()
    assert re.findall(r"^lessons/(\w+)$", index, re.MULTILINE) == named


@lessons
def test_a_lesson_is_a_claim_some_code_a_picture_and_a_question(path):
    text = path.read_text()
    heads = re.findall(r"^# (.*)\n# -+$", text, re.MULTILINE)
    assert [head for head in heads if head in PARTS] == list(PARTS)
    assert "\n**Claim.** " in text.split('"""')[1]
    assert text.count("# .. admonition:: Answer\n#    :collapsible: closed\n") == 1
    first = code_of(blocks(path)[1]).splitlines()
    statements = [line for line in first if line.strip() and not re.match(r"\s*#", line)]
    assert len([line for line in statements if not re.match(r"import|from", line)]) in LINES
    drawing = [i for i, block in enumerate(blocks(path)) if "# Drawing" in block]
    assert len(drawing) == 1
    assert len(code_of(blocks(path)[drawing[0] + 1])) == 0  # its explanation, right below


@lessons
def test_the_first_code_of_a_lesson_runs_alone_and_says_something(path, tmp_path):
    imported(path)
    done = run(code_of(blocks(path)[1]), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@lessons
def test_the_notebook_of_a_lesson_runs_and_has_no_markup_left(path, tmp_path):
    imported(path)
    pytest.importorskip("sphinx_gallery")
    from sphinx_gallery import gen_gallery, notebook, py_source_parser

    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        ours = importlib.import_module("lessons")
    finally:
        sys.path.remove(str(DOCS / "_ext"))
    conf = {**gen_gallery.DEFAULT_GALLERY_CONF, "src_dir": str(DOCS)}
    _, parts = py_source_parser.split_code_and_text_blocks(str(path))
    made = notebook.jupyter_notebook(parts, conf, str(tmp_path))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]]
    texts = [ours.markdown(text) for kind, text in cells if kind == "markdown"]
    assert not re.search(r"^\.\. |:\w+:`|:collapsible:", "\n".join(texts), re.MULTILINE)
    assert "<details><summary>Answer</summary>" in "\n".join(texts)
    code = "\n".join(text for kind, text in cells if kind == "code")
    done = run(code.replace("%matplotlib inline", ""), tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_drawing_says_what_it_shows():
    for path in LESSONS:
        assert re.search(r"^# Drawing\n# [A-Z].{30,}$", path.read_text(), re.MULTILINE), path.stem


# ---------------------------------------------------------------- the answers


def conv(x, kernel, padding="same"):
    return tnn.conv1d(x[:, None], np.asarray(kernel)[:, None, None], padding=padding)[:, 0]


def test_backwards_the_kernel_fits_less_and_turned_around_it_fits_again():
    x, spike = np.random.default_rng(0).normal(size=64), 6 * tnn.spikes.waveform("biphasic", 15)
    x[23:38] += spike
    assert max(conv(x[::-1], spike)) < 0.9 * max(conv(x, spike))
    np.testing.assert_allclose(conv(x[::-1], spike[::-1]), conv(x, spike)[::-1])


def test_a_moved_input_moves_the_map():
    x, kernel = np.array([0, 0.3, 1, 3, -1, 0.2, -0.4, 0, 0.1, -0.2, 1, 3, -1, 0.4]), (0.5, 1, -0.5)
    moved = conv(np.roll(x, 4), kernel)
    inside = np.setdiff1d(np.arange(14), (0, 3, 4, 13))  # where no end is in sight
    np.testing.assert_allclose(moved[inside], np.roll(conv(x, kernel), 4)[inside])


def test_the_zeros_of_an_even_kernel():
    found = {p: tnn.Conv1d(1, 1, 4, padding=p) for p in ("valid", "same", "same_lower", "causal")}
    assert [layer.output_length(8) for layer in found.values()] == [5, 8, 8, 8]
    zeros = {p: 1 - layer.output_positions(8)[0] for p, layer in found.items()}
    assert (zeros["same"], zeros["same_lower"]) == (1, 2)


def test_a_bias_before_relu_is_a_threshold():
    spike = tnn.spikes.waveform("biphasic", 25)
    x = np.zeros(120)
    x[18:43], x[78:103] = 5 * spike, -5 * spike
    score = sum(np.maximum(conv(x, sign * spike) - 2, 0) for sign in (1, -1))
    assert score[[30, 90]] == pytest.approx([3, 3])
    ripples = np.r_[0:25, 36:85, 96:120]
    assert (score[ripples] == 0).all()
    assert (np.abs(conv(x, spike))[ripples] > 0.3).any()


def test_white_noise_makes_the_spike_the_matched_filter():
    spike = tnn.spikes.waveform("biphasic", 25)
    best = tnn.spikes.matched_filter(spike, [])
    np.testing.assert_allclose(best / np.linalg.norm(best), spike / np.linalg.norm(spike))
