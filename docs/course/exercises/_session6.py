"""The check of exercise 14. Do the exercise first: what is right is computed here."""

import re

import numpy as np
from _checking import Answer, Error, Exercise, Mistake, Raised, in_general, outcome, tree_of

from tinynn.testing import check_backward

NAMES = ("x", "kernel", "bias")


def forward(x, kernel, bias):
    f, locations = len(kernel), x.shape[1] - len(kernel) + 1
    y = sum(x[:, k : k + locations] @ kernel[k] for k in range(f))
    return y + bias, (x, kernel)


def backward(dy, cache, dx_from=None, adds=True, dx_at=None, window=None):
    """Return the right gradients, or those of a mistake in one line.

    dx_from: kernel and k to the (channels, features) weights.  adds: += and not =.
    dx_at, window: where the k-th weight's inputs begin, for dx and for dkernel.
    """
    x, kernel = cache
    locations = dy.shape[1]
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for k in range(len(kernel)):
        weights = kernel[k] if dx_from is None else dx_from(kernel, k)
        begin = k if dx_at is None else dx_at(k, len(kernel))
        inputs = slice(begin, begin + locations)
        dx[:, inputs] = (dx[:, inputs] if adds else 0) + dy @ weights.T
        begin = k if window is None else window(k, len(kernel))
        dkernel[k] = np.einsum("bjc,bjo->co", x[:, begin : begin + locations], dy)
    return dx, dkernel, dy.sum(axis=(0, 1))


def in_line(name):
    """Return a condition: the error comes from the line of this gradient."""
    return lambda raised, case: raised.code.startswith(name)


def scaled(dy, cache, which, by):
    """Return the right gradients, one of them divided by a number."""
    return tuple(g / by if k == which else g for k, g in enumerate(backward(dy, cache)))


def first_sample(dy, cache, which):
    """Return the right gradients, but one of them of the first sample alone."""
    x, kernel = cache
    alone = backward(dy[:1], (x[:1], kernel))[which]
    return tuple(alone if k == which else g for k, g in enumerate(backward(dy, cache)))


class Backward:
    """A backward pass, judged by check_backward."""

    function, after = "backward", ()
    mistakes = (
        Mistake(
            "dx is overwritten, not added to",
            "An input meets several weights, and gets a share from each: dx[...] += ..., not =.",
            lambda dy, cache: backward(dy, cache, adds=False),
        ),
        Mistake(
            "in dx the kernel is turned round",
            "It would be turned round if you slid it over dy. Here the k-th weight's share goes "
            "to the inputs that it met, so it is kernel[k] itself.",
            lambda dy, cache: backward(dy, cache, dx_from=lambda kernel, k: kernel[::-1][k]),
        ),
        Mistake(
            "in dx every share goes to the beginning of the series",
            "The k-th weight met the inputs k, k + 1, ...: add to dx[:, k : k + locations].",
            lambda dy, cache: backward(dy, cache, dx_at=lambda k, f: 0),
        ),
        Mistake(
            "in dkernel every weight gets the first weight's gradient",
            "The k-th weight met x[:, k : k + locations], as in forward.",
            lambda dy, cache: backward(dy, cache, window=lambda k, f: 0),
        ),
        Mistake(
            "in dkernel the windows are taken from the end",
            "The k-th weight met x[:, k : k + locations], as in forward.",
            lambda dy, cache: backward(dy, cache, window=lambda k, f: f - 1 - k),
        ),
        Mistake(
            "dkernel is averaged over the batch",
            "Every sample moves the loss through the same weights: add their shares up. If the "
            "loss is a mean, dy knows it already.",
            lambda dy, cache: scaled(dy, cache, 1, len(dy)),
        ),
        Mistake(
            "dbias is averaged, not summed",
            "The bias is added at each location of each sample, so its gradient is the sum of dy "
            "over both axes.",
            lambda dy, cache: scaled(dy, cache, 2, dy.shape[0] * dy.shape[1]),
        ),
        Mistake(
            "dbias is not summed over the batch",
            "The same bias serves all samples: sum over the axes 0 and 1.",
            lambda dy, cache: (*backward(dy, cache)[:2], dy.sum(axis=1)),
        ),
        Mistake(
            "in dkernel only the first sample of the batch counts",
            "Every sample meets the same weights: sum over the batch, too.",
            lambda dy, cache: first_sample(dy, cache, 1),
        ),
        Mistake(
            "in dbias only the first sample of the batch counts",
            "The same bias is added to every sample: sum over the batch, too.",
            lambda dy, cache: first_sample(dy, cache, 2),
        ),
        Mistake(
            "dbias is not summed over the locations",
            "The same bias serves all locations: sum over the axes 0 and 1.",
            lambda dy, cache: (*backward(dy, cache)[:2], dy.sum(axis=0)),
        ),
        Mistake(
            "dbias is summed over the features, too",
            "Each feature has a bias of its own, so there is one sum for each feature: keep the "
            "last axis, dy.sum(axis=(0, 1)).",
            lambda dy, cache: (*backward(dy, cache)[:2], dy.sum()),
        ),
        Mistake(
            "dkernel is not summed over the batch",
            "A table for each sample came out. All samples share the weights: sum over axis 0.",
            Error(ValueError, "from shape (3,2,5)", "from shape (3,5,2)", when=in_line("dkernel")),
        ),
        Mistake(
            "dkernel is transposed",
            "kernel[k] has shape (channels, features), and so has its gradient.",
            Error(ValueError, "from shape (5,2) into shape (2,5)", when=in_line("dkernel")),
        ),
        Mistake(
            "in dkernel the whole series meets dy",
            "dy has fewer locations than x. The k-th weight met x[:, k : k + locations].",
            Error(ValueError, "remapped shapes", when=in_line("dkernel")),
        ),
        Mistake(
            "a matrix product meets the batch axis",
            "x and dy have three axes, and .T turns all of them. For dkernel sum over the batch "
            "and the locations, channels by features: np.einsum or np.tensordot.",
            Error(ValueError, "mismatch", "not aligned", when=in_line("dkernel")),
        ),
        Mistake(
            "in dx the features do not meet the features",
            "dy has (batch, locations, features), kernel[k] has (channels, features). Turn the "
            "kernel's axes: kernel[k].T.",
            Error(ValueError, "mismatch", "not aligned", when=in_line("dx")),
        ),
        Mistake(
            "in dkernel two arrays are multiplied element by element",
            "Channels and features stay apart, the batch and the locations are summed: np.einsum "
            "or np.tensordot.",
            Error(ValueError, "operands could not be broadcast", when=in_line("dkernel")),
        ),
    )

    def answer(self, f):
        """Return the Answer to a student's backward."""
        drawn = np.random.default_rng(7)
        x, kernel, bias = (drawn.normal(size=shape) for shape in ((3, 7, 2), (4, 2, 5), (5,)))
        y, cache = forward(x, kernel, bias)
        case = {"dy": drawn.normal(size=y.shape), "cache": cache}
        received, right = outcome(f, case), outcome(backward, case)
        known = next((m for m in self.mistakes if m.explains([case], [received])), None)
        if isinstance(received, Raised):
            verdict, advice = in_general([right], [received], 0, ("dx", "dkernel", "dbias"))
            if known:
                verdict, advice = known.verdict, f"{known.advice}\n{received}"
            shapes = f"{received.line}\ndy {y.shape}, x {x.shape}, kernel {kernel.shape}."
            return Answer("backward", False, verdict, advice, shapes)
        if isinstance(received, tuple) and any(g is None for g in received):
            advice = "All three arrays move the result. Each has a gradient."
            return Answer("backward", False, "a gradient is None", advice)
        try:
            report = check_backward(
                forward, f, x, kernel, bias, mode="full", raise_on_fail=False, rng=0
            )
        except Exception as error:
            return Answer("backward", False, str(error))
        if report.ok:
            return Answer("backward", True, "right, says check_backward")
        return self.told(report, known, f)

    def told(self, report, known, f):
        """Return a failed report in the words of the exercise."""
        wrong = next((entry for entry in report.inputs if entry.verdict == "wrong"), None)
        cause, advice = (wrong.cause, wrong.advice) if wrong else (report.cause, report.advice)
        place = ""
        if wrong:
            name = named(wrong.name)
            cause = f"d{name} has {cause}" if cause.startswith("a ") else f"d{name}: {cause}"
            place = f"worst in d{name} at {wrong.index}: expected {wrong.numeric:.6g}, received "
            place += f"{wrong.analytic:.6g} (wrong at {wrong.count} of {np.prod(wrong.shape)})."
            if "elementwise" in advice and name != "x":
                cause = f"d{name} is a sum over too little"
                advice = MISSING_SUM
            good = [f"d{named(entry.name)}" for entry in report.inputs if entry.verdict == "ok"]
            place += f"\n{' and '.join(good)}: right." if good else ""
        if known:
            teacher = named(str(report).splitlines()[0])
            return Answer(
                "backward",
                False,
                known.verdict,
                known.advice,
                f"{teacher}\n{lines_of(f, known.verdict)}\n{place}",
            )
        return Answer("backward", False, named(cause), named(advice), place)


MISSING_SUM = (
    "Only some samples count, or some locations. All of them use the same weights and biases: sum "
    "over the batch, too, and over all locations."
)


def lines_of(f, words):
    """Return the lines of a function that assign to the gradient that the words name."""
    found, name = tree_of(f), re.search(r"\bd(?:x|kernel|bias)\b", words)
    if not found or not name:
        return ""
    _, first, lines = found
    codes = [(first + k, line.partition("  #")[0].strip()) for k, line in enumerate(lines)]
    assigns = re.compile(rf"{name[0]}(\[.*\])? *[-+]?= ")
    return "\n".join(f"Line {k}: {code}" for k, code in codes if assigns.match(code))


def named(words):
    """Call the inputs by their names, as the exercise does."""
    words = words.replace("a cotangent of ones", "a dy of ones")
    for k, name in enumerate(NAMES):
        words = words.replace(f"input {k}", name)
    return words


backward_pass = Exercise(
    "14_backward",
    Backward(),
    then="You have written what tinynn does when it learns. Next: 15_events.py",
)
