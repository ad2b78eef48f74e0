"""How the exercises are checked. Nothing is to be filled in here.

An exercise has parts, one for each function that you write. A part calls your function and
compares. Where the result is wrong, it asks which known mistake gives just this result.
"""

import ast
import copy
import inspect
import linecache
import sys
import textwrap
import traceback

import numpy as np

WIDTH = 96


class Answer:
    """What is said of one function: the verdict in a line, then advice, then the numbers."""

    def __init__(self, function, ok, verdict, advice="", where="", blank=False):
        self.function, self.ok, self.verdict = function, ok, verdict
        self.advice, self.where, self.blank = advice, where, blank

    def __str__(self):
        lines = textwrap.wrap(f"{self.function}: {self.verdict}", WIDTH, break_long_words=False)
        for text in filter(None, (*self.advice.split("\n"), *self.where.split("\n"))):
            lines += textwrap.wrap(
                text, WIDTH, initial_indent="    ", subsequent_indent="    ",
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
        return "\n".join(lines)


class Raised:
    """What a function raised, in the place of a result."""

    def __init__(self, error, function=None):
        self.error, self.code, self.locals, self.line = error, "", {}, ""
        file = getattr(getattr(function, "__code__", None), "co_filename", None)
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename == file:
                self.locals |= frame.f_locals
                code = linecache.getline(file, number).partition("  #")[0].strip()
                self.code, self.line = code, f"Line {number}: {code}"
        counts = [f"{name} = {value}" for name, value in self.locals.items()
                  if type(value) in (int, float) and name.isalpha()]  # fmt: skip
        self.line += f"\nThere, {', '.join(counts)}." if counts else ""

    def __str__(self):
        return f"{type(self.error).__name__}: {self.error}"


class Outcome:
    """What a mistake leads to, where many results are possible: one of which `when` is true."""

    def __init__(self, when):
        self.when = when

    def fits(self, y, case):
        """Tell whether an outcome is one of these."""
        return self.when(y, case)


class Error(Outcome):
    """What a mistake leads to, if not to a result: an error, with one of these words.

    when: a condition of what was Raised and of the case.
    """

    def __init__(self, kind, *words, when=None):
        self.kind, self.words, self.when = kind, words or ("",), when or (lambda *_: True)

    def fits(self, y, case):
        """Tell whether an outcome is this error."""
        return (
            isinstance(y, Raised) and isinstance(y.error, self.kind)
            and any(word in str(y.error) for word in self.words) and self.when(y, case)
        )  # fmt: skip


class Mistake:
    """A known mistake: what to say, and what it computes, or the Outcome that it leads to.

    among: the cases that it changes, by a condition. Elsewhere there may be other mistakes.
    """

    def __init__(self, verdict, advice, computes, among=lambda case: True):
        self.verdict, self.advice, self.computes, self.among = verdict, advice, computes, among

    def explains(self, cases, outcomes, wrong=0):
        """Tell whether the mistake gives every one of these results, or the first wrong one."""
        if not self.among(cases[wrong]):
            return False
        if isinstance(self.computes, Outcome):
            return self.computes.fits(outcomes[wrong], cases[wrong])
        pairs = [pair for pair in zip(cases, outcomes, strict=True) if self.among(pair[0])]
        return all(same(outcome(self.computes, copied(case)), y) for case, y in pairs)


class Part:
    """One function of an exercise.

    right: the right result, computed from the same arguments.  cases: arguments by name, the
    first one small enough to follow by hand.  results: names, if a tuple is returned.
    axes: what the axes of the result count.  without: functions that would do all the work.
    after: functions of the same exercise that must be right first.
    """

    def __init__(
        self, function, right, cases, mistakes=(), *, results=(), axes=(), without=(), after=()
    ):
        self.function, self.right, self.cases, self.mistakes = function, right, cases, mistakes
        self.results, self.axes, self.without, self.after = results, axes, without, after

    def answer(self, f):
        """Return the Answer to a student's function."""
        outcomes, changed = [], ""
        for case in self.cases:
            given = copied(case)
            outcomes.append(outcome(f, given, self.results))
            changed = changed or next(
                (name for name in case if not same(*map(as_arrays, (case[name], given[name])))), ""
            )
        expected = [outcome(self.right, copied(case)) for case in self.cases]
        if all(map(same, expected, outcomes)):
            return self.with_right_results(f, changed)
        wrong = next(i for i, y in enumerate(outcomes) if not same(expected[i], y))
        where = self.where(self.cases[wrong], expected[wrong], outcomes[wrong])
        for mistake in self.mistakes:
            if mistake.explains(self.cases, outcomes, wrong):
                return Answer(self.function, False, mistake.verdict, mistake.advice, where)
        if changed:
            return Answer(self.function, False, *in_place(changed), where)
        verdict, advice = in_general(expected, outcomes, wrong, self.results)
        if wrong and not any(isinstance(value, str) for value in self.cases[wrong].values()):
            advice += f"\nIt is right with {arguments(self.cases[0])}. What is different here?"
        return Answer(self.function, False, verdict, advice, where)

    def with_right_results(self, f, changed):
        if changed:
            return Answer(self.function, False, *in_place(changed))
        used = sorted(names_in(f) & set(self.without))
        if used:
            return Answer(
                self.function, False, f"right, but `{used[0]}` did the work",
                "Here you are to write it yourself, with a loop and a dot product.",
            )  # fmt: skip
        return Answer(self.function, True, "right")

    def where(self, case, expected, received):
        """Show the arguments, and the first number that is wrong."""
        lines = [f"With {arguments(case)}:"]
        if len(lines[0]) > 2 * WIDTH:
            lines = ["With", *(f"{name} = {text(value)}" for name, value in case.items())]
        if isinstance(received, Raised):
            return "\n".join([*lines, f"expected {text(expected)}, but there is an error.",
                              received.line])  # fmt: skip
        if isinstance(expected, tuple):
            if not isinstance(received, tuple) or len(received) != len(expected):
                return "\n".join([*lines, f"expected {text(expected)}, received {text(received)}."])
            k = next(k for k, y in enumerate(expected) if not same(y, received[k]))
            expected, received = expected[k], received[k]
            lines.append(f"in {self.results[k]} {compared(expected, received, self.axes)}")
        else:
            lines.append(compared(expected, received, self.axes))
        return "\n".join(lines)


class Exercise:
    """An exercise by its file's name, its parts, and what is said when all of them are right."""

    def __init__(self, name, *parts, then=""):
        self.name, self.parts, self.then = name, parts, then

    def answers(self, namespace):
        """Return one Answer for each part."""
        found = {}
        for part in self.parts:
            f = namespace.get(part.function)
            waits = [name for name in part.after if not found[name].ok]
            if not callable(f):
                verdict = "there is no function of this name. Keep the name that the file gives it."
                answer = Answer(part.function, False, verdict)
            elif blanks := blanks_in(f):
                answer = Answer(part.function, False, "not filled in yet.", blanks, blank=True)
            elif waits:
                verdict = f"is checked when {' and '.join(waits)} is right."
                answer = Answer(part.function, False, verdict, blank=True)
            else:
                answer = part.answer(f)
            found[part.function] = answer
        return list(found.values())

    def check(self, namespace):
        """Print what is right and what is wrong; leave Python with 1 if anything is."""
        linecache.checkcache()  # the file may have changed since Python was started
        answers = self.answers(namespace)
        print("\n".join(map(str, answers)))
        if not all(answer.ok for answer in answers):
            sys.exit(1)
        print(f"\nAll right. {self.then(namespace) if callable(self.then) else self.then}")


# ---------------------------------------------------------------- results


def outcome(f, case, names=()):
    """Call a function with a case's arguments; return its result, or results, as arrays."""
    try:
        with np.errstate(all="ignore"):
            result = f(*case.values())
        return as_arrays(tuple(result) if names and isinstance(result, list) else result)
    except Exception as error:
        return Raised(error, f)


def arguments(case):
    return ", ".join(f"{name} = {text(value)}" for name, value in case.items())


def copied(case):
    return {name: copy.deepcopy(value) for name, value in case.items()}


def as_arrays(result):
    """Return a result as an array, a tuple as arrays; what is neither, as it is."""
    if isinstance(result, tuple):
        return tuple(map(as_arrays, result))
    if result is None or result is ... or isinstance(result, str) or callable(result):
        return result
    try:
        array = np.asarray(result)
    except (TypeError, ValueError):
        return result
    return array if array.dtype.kind in "biufc" else result


def same(expected, received):
    """Tell whether two results agree, in their shapes and to a few rounding errors."""
    if isinstance(expected, Raised) or isinstance(received, Raised):
        return isinstance(received, Raised) and type(expected) is type(received)
    if isinstance(expected, tuple):
        return (
            isinstance(received, tuple) and len(expected) == len(received)
            and all(map(same, expected, received))
        )  # fmt: skip
    if not isinstance(expected, np.ndarray):
        return type(expected) is type(received)
    if not isinstance(received, np.ndarray) or expected.shape != received.shape:
        return False
    if not np.isfinite(expected).all():
        return False
    size = np.max(np.abs(expected), initial=0)
    return np.allclose(received, expected, rtol=1e-5, atol=1e-6 * size + 1e-12)


def compared(expected, received, axes):
    """Say where two results differ first, what was expected there, and what was received."""
    if not isinstance(received, np.ndarray):
        return f"expected {text(expected)}, received {text(received)}."
    if expected.shape != received.shape:
        both = f"expected {text(expected)}, received {text(received)}."
        shapes = [f"shape {y.shape}" if y.ndim else "one number" for y in (expected, received)]
        return f"expected {shapes[0]}, received {shapes[1]}.\n{both}"
    if expected.ndim == 0:
        return f"expected {number(expected)}, received {number(received)}."
    size = 1e-6 * np.max(np.abs(expected), initial=0) + 1e-12
    wrong = ~np.isclose(received, expected, rtol=1e-5, atol=size)
    index = tuple(map(int, np.argwhere(wrong)[0]))
    names = axes if len(axes) == expected.ndim else [f"axis {k}, index" for k in range(len(index))]
    place = ", ".join(f"{name} {i}" for name, i in zip(names, index, strict=True))
    return (
        f"at {place}: expected {number(expected[index])}, received {number(received[index])} "
        f"(wrong at {wrong.sum()} of {wrong.size}).\n"
        f"expected {text(expected)}\nreceived {text(received)}"
    )


def number(value):
    value = np.asarray(value)[()]
    return str(value) if value.dtype.kind in "bi" else f"{value:.6g}"


def text(value):
    """Return a value as it is printed: small arrays in full, of large ones the shape."""
    if isinstance(value, tuple):
        return f"({', '.join(map(text, value))})"
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return number(value)
    if isinstance(value, list | np.ndarray):
        array = np.asarray(value)
        if array.size > 16 or array.dtype == object:
            return f"an array of shape {array.shape}"
        return np.array2string(array, precision=4, suppress_small=True, separator=", ").replace(
            "\n", ""
        )
    return getattr(value, "says", None) or repr(value)


# ---------------------------------------------------------------- any exercise


def in_place(name):
    return (
        f"it changes its argument {name}",
        f"Whoever called the function still needs {name}. Compute a new array, or work on a copy: "
        f"{name} = {name}.copy().",
    )


def in_general(expected, outcomes, wrong, names):
    """Return verdict and advice for a result that no known mistake explains."""
    y = outcomes[wrong]
    if isinstance(y, Raised):
        advice = next((text for words, text in ERRORS if any(w in str(y) for w in words)), "")
        return str(y), advice or "Python stops in the line below."
    if y is None:
        return "it returns nothing", "Is `return` missing, or does an `if` leave a way without one?"
    first = expected[wrong]
    if isinstance(first, tuple) and not (isinstance(y, tuple) and len(y) == len(first)):
        what = ", ".join(names) or f"{len(first)} results"
        return "it returns something else", f"Return {len(first)} results, in this order: {what}."
    if isinstance(first, tuple) and all(any(same(b, a) for b in y) for a in first):
        return "the results are in another order", f"Return {', '.join(names)}, in this order."
    if isinstance(first, tuple):
        k = next(k for k, part in enumerate(first) if not same(part, y[k]))
        expected = [part[k] for part in expected]
        outcomes = [part[k] if isinstance(part, tuple) and len(part) > k else None
                    for part in outcomes]  # fmt: skip
        y, first = outcomes[wrong], expected[wrong]
    if not isinstance(y, np.ndarray):
        return f"it returns {text(y)}, a {type(y).__name__}", "Return numbers: one, or an array."
    return likeness(expected, outcomes) or shape_or_number(first, y)


def shape_or_number(expected, received):
    if expected.shape != received.shape:
        if not received.shape:
            return "one number, where an array is expected", (
                "Something was added up that should stay apart, or only one value is returned."
            )  # fmt: skip
        return "the result has another shape", (
            "Write down the shape of each array in your lines, one after the other."
        )
    if not np.isfinite(received).all():
        return "the result holds nan or inf", "Is there a division by 0, a log, or a large power?"
    if not received.ndim:
        return "the number is wrong", "Compute it by hand, with the values below."
    return "the numbers are wrong", "Compute the first one by hand, with the values below."


def likeness(expected, outcomes):
    """Recognise simple relations between what is expected and what was received, in all cases."""
    pairs = list(zip(expected, outcomes, strict=True))
    if any(not isinstance(b, np.ndarray) or b.dtype == bool for _, b in pairs):
        return None
    for relation, verdict, advice in RELATIONS:
        if all(a.ndim and np.shape(b) and same(relation(a), b) for a, b in pairs):
            return verdict, advice
    if any(a.shape != b.shape for a, b in pairs):
        return None
    a = np.concatenate([np.ravel(a).astype(float) for a, _ in pairs])
    b = np.concatenate([np.ravel(b).astype(float) for _, b in pairs])
    if a.size < 2 or not a.any() or not np.isfinite(b).all():
        return None
    if not b.any():
        return "every number is 0", "Is the result ever written? Does the loop run at all?"
    factor = a @ b / (a @ a)
    if same(factor * a, b):
        if abs(factor + 1) < 1e-6:
            return "every number has the other sign", "Where does the minus come from?"
        return f"every number is {factor:.4g} times what it should be", (
            "A factor is missing, or there is one too many."
        )
    if same(a + (b - a).mean(), b):
        return f"every number is off by {number((b - a).mean())}", "Something is added too often."
    return None


def fractional(y, case):
    """Tell whether a number, or one of several, is no whole number."""
    numbers = y if isinstance(y, tuple) else (y,)
    return any(isinstance(n, np.ndarray) and n.dtype.kind == "f" and n.ndim == 0 and n % 1
               for n in numbers)  # fmt: skip


LENGTHS_DIFFER = ("mismatch", "not aligned", "broadcast")  # of two arrays, in NumPy's words
NOT_A_NUMBER = ("with a sequence", "to Python scalars", "to a scalar")  # but an array
BEYOND = ("out of bounds", "out of range")
FRACTIONS = Outcome(fractional)
ERRORS = [
    (NOT_A_NUMBER, "An array is put where one number belongs. Is a sum missing?"),
    (LENGTHS_DIFFER, "Two arrays meet whose lengths do not fit. Print their shapes."),
    (BEYOND, "An index is beyond the end. Indices count from 0."),
    (("sequence of integers", "as an integer", "must be integers", "only integers"),
     "Lengths and indices are whole numbers: / makes fractions, // does not."),
    (("truth value of an array",),
     "`if` and `max` want one number. Work element by element: np.maximum, np.where, a mask."),
    (("positional argument",),
     "A function is called with too few or too many arguments. Look at its first line."),
    (("is not defined",), "A name is misspelt, not imported, or used before it has a value."),
    (("ellipsis", "Ellipsis"), "Somewhere a blank is still `...`."),
]  # fmt: skip

RELATIONS = [
    (lambda a: a.T if a.ndim > 1 and a.T.shape != a.shape else np.array([np.nan]),
     "rows and columns are swapped", "Transpose the result, or build it the other way round."),
    (lambda a: a[::-1], "the result is in the reverse order", "What is first must come last."),
    (lambda a: a[:-1], "the last value is missing", "The loop ends one step too early."),
    (lambda a: a[1:], "the first value is missing", "The loop begins one step too late."),
]  # fmt: skip


# ---------------------------------------------------------------- the student's file


def tree_of(f):
    """Return a function as Python reads it, and its first line; None if there is no file."""
    try:
        lines, first = inspect.getsourcelines(f)
        return ast.parse(textwrap.dedent("".join(lines))), first, lines
    except (OSError, TypeError, SyntaxError):
        return None


def blanks_in(f):
    """Return the lines of a function that still hold ``...``, as text; "" if none does."""
    found = tree_of(f)
    if found is None:
        return ""
    tree, first, lines = found
    indexing = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Subscript)
                for part in ast.walk(node.slice)}  # fmt: skip
    numbers = sorted({
        node.lineno for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value is ... and id(node) not in indexing
    })  # fmt: skip
    return "\n".join(f"Line {first + k - 1}: {lines[k - 1].strip()}" for k in numbers)


def names_in(f):
    """Return all names and attributes that a function uses."""
    found = tree_of(f)
    nodes = ast.walk(found[0]) if found else ()
    return {getattr(node, "attr", None) or getattr(node, "id", None) for node in nodes}
