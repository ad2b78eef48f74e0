"""The course: each blank is named, each typical mistake gets its answer, each solution passes."""

import ast
import importlib
import io
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
COURSE = HERE.parents[1] / "docs" / "course"
EXERCISES, SOLUTIONS = COURSE / "exercises", COURSE / "solutions"
NAMES = sorted(path.stem for path in EXERCISES.glob("[0-9]*.py"))
TYPICAL = 5  # mistakes of each exercise, at least


def functions(path):
    """Return the functions of a file as (name, arguments)."""
    tree = ast.parse(path.read_text())
    return [(f.name, [a.arg for a in f.args.args]) for f in tree.body
            if isinstance(f, ast.FunctionDef)]  # fmt: skip


def mistakes():
    """Return, for each exercise, its mistakes: (function, mistake, words of the answer)."""
    found = {}
    for path in sorted((HERE / "mistakes").glob("*.py")):
        for name, group in runpy.run_path(str(path)).items():
            if isinstance(group, type) and re.match(r"_\d\d_", name):
                parts = [f for f in vars(group).values() if callable(f)]
                found[name[1:]] = [(f.__name__.partition("__")[0], f, f.__doc__) for f in parts]
    return found


MISTAKES = mistakes()


@pytest.fixture(scope="module")
def kit():
    """Return the checks of all exercises by the exercise's name."""
    sys.path.insert(0, str(EXERCISES))
    checking = importlib.import_module("_checking")
    sheets = [importlib.import_module(path.stem) for path in EXERCISES.glob("_session*.py")]
    yield {
        part.name: part
        for sheet in sheets
        for part in vars(sheet).values()
        if isinstance(part, checking.Exercise)
    }
    sys.path.remove(str(EXERCISES))


def namespace(folder, name):
    return runpy.run_path(str(folder / f"{name}.py"))


def judged(exercise, function, f):
    """Return the answer to one function of an exercise."""
    return next(part for part in exercise.parts if part.function == function).answer(f)


def test_each_exercise_has_a_check_a_solution_and_mistakes(kit):
    assert NAMES == sorted(kit) == sorted(path.stem for path in SOLUTIONS.glob("*.py"))
    assert sorted(MISTAKES) == NAMES
    assert [int(name[:2]) for name in NAMES] == list(range(1, len(NAMES) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes(kit, name):
    answers = kit[name].answers(namespace(SOLUTIONS, name))
    assert [str(answer) for answer in answers if not answer.ok] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_has_the_functions_of_its_exercise(kit, name):
    solved = functions(SOLUTIONS / f"{name}.py")
    assert solved == functions(EXERCISES / f"{name}.py")
    assert {part.function for part in kit[name].parts} <= {name for name, _ in solved}


@pytest.mark.parametrize("name", NAMES)
def test_the_blank_is_told_where_its_blanks_are(kit, name):
    path = EXERCISES / f"{name}.py"
    lines = path.read_text().splitlines()
    for answer in kit[name].answers(namespace(EXERCISES, name)):
        assert answer.blank
        assert not answer.ok
        assert answer.verdict == "not filled in yet."
        for number, code in re.findall(r"^Line (\d+): (.*)$", answer.advice, re.MULTILINE):
            assert "..." in code
            assert lines[int(number) - 1].strip() == code
    with redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit, match="1"):
        runpy.run_path(str(path), run_name="__main__")
    assert "not filled in yet" in printed.getvalue()
    assert "Traceback" not in printed.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_each_typical_mistake_gets_its_own_answer(kit, name):
    told = []
    for function, mistake, words in MISTAKES[name]:
        answer = judged(kit[name], function, mistake)
        assert not answer.ok, mistake.__name__
        assert not answer.blank, mistake.__name__
        assert words in str(answer).replace("\n    ", " "), f"{mistake.__name__}:\n{answer}"
        assert max(map(len, str(answer).splitlines())) <= 100, f"too wide:\n{answer}"
        told.append((answer.function, answer.verdict))
    assert len(told) >= TYPICAL
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_mistakes_of_a_check_are_the_same_numbers(kit, name):
    """A mistake that gives another's results, or the right ones, would never be told."""
    checking = sys.modules["_checking"]
    parts = [part for part in kit[name].parts if isinstance(part, checking.Part)]
    for part in parts:
        numbers = [m for m in part.mistakes if not isinstance(m.computes, checking.Outcome)]
        for mistake in numbers:
            outcomes = [
                checking.outcome(mistake.computes, checking.copied(case)) for case in part.cases
            ]
            right = [checking.outcome(part.right, checking.copied(case)) for case in part.cases]
            agree = list(map(checking.same, right, outcomes))
            assert not all(agree), mistake.verdict
            wrong = agree.index(False)
            first = next(m for m in part.mistakes if m.explains(part.cases, outcomes, wrong))
            assert first is mistake, f"{mistake.verdict} is told as {first.verdict}"


# ---------------------------------------------------------------- mistakes of no known kind


def windows(x, f):
    return [x[j : j + f] for j in range(len(x) - f + 1)]


def loses_one_weight(x, kernel):
    y = np.array([w @ kernel for w in windows(x, len(kernel))])
    y[len(y) // 2] += 0.25
    return y


def of_another_shape(x, kernel):
    return np.zeros((2, 2))


def that_divides(x, kernel):
    return np.array([w @ kernel / 0.0 for w in windows(x, len(kernel))])


def that_forgets_return(x, kernel):
    [w @ kernel for w in windows(x, len(kernel))]


def that_misspells(x, kernel):
    return kernal @ x  # noqa: F821


def that_puts_arrays(x, kernel):
    y = np.zeros(len(x) - len(kernel) + 1)
    for j in range(len(y)):
        y[j] = x[j : j + len(kernel)] * kernel
    return y


def that_doubles(x, kernel):
    return np.array([2 * (w @ kernel) for w in windows(x, len(kernel))])


def that_negates(x, kernel):
    return np.array([-(w @ kernel) for w in windows(x, len(kernel))])


def that_reverses(x, kernel):
    return np.array([w @ kernel for w in windows(x, len(kernel))])[::-1]


def that_changes_x(x, kernel):
    y = np.array([w @ kernel for w in windows(x, len(kernel))])
    x[0] = 7
    return y


def that_lets_numpy_do_it(x, kernel):
    return np.correlate(x, kernel, "valid")


def that_returns_words(x, kernel):
    return "the map"


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (loses_one_weight, ["numbers are wrong", "at location 2", "expected 5, received 5.25",
                            "wrong at 1 of 4"]),
        (of_another_shape, ["another shape", "expected shape (4,), received shape (2, 2)"]),
        (that_divides, ["nan or inf"]),
        (that_forgets_return, ["returns nothing", "`return` missing"]),
        (that_misspells, ["NameError: name 'kernal' is not defined", "misspelt", "Line "]),
        (that_puts_arrays, ["the products are not added up", "y[j] = x[j"]),
        (that_doubles, ["2 times what it should be"]),
        (that_negates, ["every number has the other sign"]),
        (that_reverses, ["reverse order"]),
        (that_changes_x, ["it changes its argument x"]),
        (that_lets_numpy_do_it, ["right, but `correlate` did the work"]),
        (that_returns_words, ["it returns 'the map', a str"]),
    ],
)  # fmt: skip
def test_a_mistake_of_no_known_kind_is_shown_with_where_and_what(kit, f, words):
    answer = judged(kit["03_sliding"], "feature_map", f)
    assert not answer.ok
    for part in words:
        assert part in str(answer).replace("\n    ", " "), answer


@pytest.mark.parametrize("name", ["03_sliding", "07_several_channels"])
def test_an_array_of_products_put_in_the_map_is_not_added_up(kit, name):
    answer = judged(kit[name], "feature_map", that_puts_arrays)
    assert answer.verdict == "the products are not added up"


def test_a_product_in_the_place_of_a_matrix_product_is_asked_for(kit):
    def feature_maps(x, kernels):
        return np.array([w * kernels for w in windows(x, len(kernels))])

    answer = judged(kit["06_several_features"], "feature_maps", feature_maps)
    assert "is there a * where @ belongs?" in answer.advice


def test_an_index_that_is_no_whole_number_is_shown(kit):
    def halved(x, f, j):
        values = np.zeros(f)
        for k in range(f):
            i = j - f / 2 + k
            if 0 <= i < len(x):
                values[k] = x[i]
        return values

    answer = judged(kit["04_neighbourhood"], "neighbourhood", halved)
    assert "f / 2 is not" in answer.advice
    assert "There, f = 3, j = 2, k = 0, i = 0.5." in answer.where
    sliced = judged(kit["03_sliding"], "feature_map", lambda x, kernel: x[len(x) / 2])
    assert "/ makes fractions, // does not" in sliced.advice


def test_mistakes_of_two_paddings_are_told_one_after_the_other(kit):
    def zeros(f, padding, causal=lambda f: (0, f - 1)):
        return {"valid": (0, 0), "same": (f // 2, (f - 1) // 2), "causal": causal(f)}[padding]

    answer = judged(kit["05_padding"], "zeros", zeros)
    assert answer.verdict == '"same": the odd zero is on the left'
    unknown = judged(kit["05_padding"], "zeros", lambda f, padding: zeros(f, padding, lambda f: f))
    assert unknown.verdict == answer.verdict


def test_a_gradient_of_another_shape_is_told_with_its_line(kit):
    right = namespace(SOLUTIONS, "14_backward")["backward"]

    def backward(dy, cache):
        dx, dkernel, _ = right(dy, cache)
        dbias = dy.sum()
        return dx, dkernel, dbias

    answer = judged(kit["14_backward"], "backward", backward)
    assert "one sum for each feature: keep the last axis" in answer.advice
    assert re.search(r"^Line \d+: dbias = dy.sum\(\)$", answer.where, re.MULTILINE)


def test_a_sum_over_too_little_is_told_in_the_words_of_the_course(kit):
    right = namespace(SOLUTIONS, "14_backward")["backward"]

    def last_sample(dy, cache):
        return *right(dy, cache)[:2], right(dy[-1:], (cache[0][-1:], cache[1]))[2]

    answer = judged(kit["14_backward"], "backward", last_sample)
    assert answer.verdict == "dbias is a sum over too little"
    assert "sum over the batch, too" in answer.advice
    assert "@elementwise" not in str(answer)


def test_results_in_another_order_are_recognised(kit):
    answer = judged(
        kit["12_loss_and_step"],
        "step",
        lambda W, b, dW, db, rate: (b - rate * db, W - rate * dW),
    )
    assert "the results are in another order" in answer.verdict
    assert "W, b" in answer.advice


def test_a_list_of_results_is_as_good_as_a_tuple(kit):
    listed = judged(kit["02_order"], "shuffled", lambda x, W, perm: [x[perm], W[perm]])
    assert listed.ok
    alone = judged(kit["12_loss_and_step"], "step", lambda W, b, dW, db, rate: W - rate * dW)
    assert alone.verdict == "it returns something else"
    assert "Return 2 results, in this order: W, b." in alone.advice


def test_a_function_that_was_renamed_is_missed(kit):
    answers = kit["01_dot_product"].answers({})
    assert all("no function of this name" in answer.verdict for answer in answers)


def test_what_builds_on_a_wrong_function_waits(kit):
    given = namespace(SOLUTIONS, "04_neighbourhood") | {"neighbourhood": lambda x, f, j: x}
    first, second = kit["04_neighbourhood"].answers(given)
    assert not first.ok
    assert second.verdict == "is checked when neighbourhood is right."


# ---------------------------------------------------------------- the folder, as a student has it


def run(folder, name):
    return subprocess.run(
        [sys.executable, f"{name}.py"], cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(COURSE.parents[1]), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


def test_the_folder_works_wherever_it_is_copied(tmp_path):
    folder = tmp_path / "course"
    shutil.copytree(EXERCISES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    blank = run(folder, "03_sliding")
    assert (blank.returncode, blank.stderr) == (1, "")
    assert "Line 21: y = np.zeros(...)" in blank.stdout
    for name in ("03_sliding", "17_detector"):
        main = (folder / f"{name}.py").read_text().partition("\nif __name__")[2]
        filled = (SOLUTIONS / f"{name}.py").read_text()
        (folder / f"{name}.py").write_text(f"{filled}\n\nif __name__{main}")
        done = run(folder, name)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert "All right." in done.stdout
    assert re.search(r"On a new recording your detector has precision 0\.\d\d", done.stdout)
    everything = run(folder, "check_all")
    assert (everything.returncode, everything.stderr) == (0, "")
    assert re.search(r"^03_sliding +feature_map: right$", everything.stdout, re.MULTILINE)
    assert re.search(r"^5 of \d+ functions are right\.$", everything.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_python_names_the_files_that_an_exercise_needs(tmp_path, name):
    shutil.copy(EXERCISES / f"{name}.py", tmp_path)
    alone = run(tmp_path, name)
    sheet = re.search(r"No module named '(_session\d)'$", alone.stderr)
    assert f"# needs {sheet[1]}.py and _checking.py in the same folder" in alone.stderr


# ---------------------------------------------------------------- the pages


def test_the_first_page_says_to_keep_all_files_together():
    page = " ".join((COURSE / "index.md").read_text().split())
    assert "unpack **all of them into one folder**" in page
    assert "\"No module named '_session1'\" says that this file is missing" in page


def test_the_map_of_the_lecture_is_built_in_the_exercise_that_is_named():
    assert "as its input: see exercise 4." in (EXERCISES / "03_sliding.py").read_text()
    assert "the map is as long as the series" in (EXERCISES / "04_neighbourhood.py").read_text()


def test_no_condition_has_the_order_of_a_question():
    """ "Is f odd, then ..." has to be read twice: "If f is odd, ..." need not be."""
    inverted = (
        r"(?:^|[.:!?\"] )(?:Is|Are|Has|Have|Does|Do|Were|Should|Had) [^?.!]*, (?:then|it|so)\b"
    )
    for path in [*COURSE.glob("*.md"), *EXERCISES.glob("*.py")]:
        text = " ".join(path.read_text().split())
        assert not re.findall(inverted, text), path.name


def test_every_exercise_can_be_downloaded_and_its_solution_read():
    pages = "".join(path.read_text() for path in COURSE.glob("*.md"))
    for name in NAMES:
        assert f"{{download}}`{name}.py <exercises/{name}.py>`" in pages
        assert f"```{{literalinclude}} solutions/{name}.py" in pages
    for path in EXERCISES.glob("_*.py"):
        assert f"<exercises/{path.name}>`" in pages


def test_the_table_of_exercises_lists_them_in_order():
    rows = re.findall(r"^\| (\d+) \[", (COURSE / "index.md").read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, len(NAMES) + 1))


def test_the_first_page_shows_what_the_check_prints(kit):
    page = (COURSE / "index.md").read_text()
    command, mistake = re.findall(
        r"^```\{code-block\} (?:console|text)\n(.*?)^```$", page, re.S | re.M
    )
    blank = kit["01_dot_product"].answers(namespace(EXERCISES, "01_dot_product"))
    assert command == "$ python 01_dot_product.py\n" + "".join(f"{answer}\n" for answer in blank)
    assert mistake == f"{judged(kit['01_dot_product'], 'unit', lambda x, W: x * W)}\n"
