"""Checking a gradient: four wrong drafts of a rule, and the reports on them.

The operation is steep at flanks: y_j = s_j^3 with s_j = (x_{j+2} - x_j) / 2. Its rule, the vjp,
receives g_j = dL/dy_j and must return dL/dx_i. Each x_i takes part in two slopes, once with a plus
and once with a minus. So with r_j = 3/2 g_j s_j^2 the gradient is dL/dx_i = r_{i-2} - r_i.

The first draft has the wrong length, the second the wrong sign. The third is right but cannot be
differentiated again. The fourth turns float32 into float64. tnn.testing.check_grads and
check_primitive find them and say what is wrong.

The second half shows why a check is harder than it looks. A difference quotient with a long step h
is wrong because the function bends, with a short one because it is rounded. Only near the bottom of
that V can a right gradient be told from a wrong one.

    python examples/gradient_checking.py --plot checking.png
"""

import textwrap

import numpy as np
from _shared import command_line, generator, save, start

import tinynn as tnn
from tinynn import plots

EPS = float(np.finfo(float).eps)
RTOL = 1e-5  # how far off a gradient may be, relative to the slope: the default of check_grads
FAULT = 1e-4  # the relative error of the rule that is only slightly wrong
METHODS = ("forward", "central", "complex")
LOOKS = {  # colour, mark and its size
    "forward": (plots.ORANGE, "s", 3),
    "central": (plots.BLUE, "o", 4.5),
    "complex": (plots.GREEN, "^", 3),
}

# %% The forward and five rules
# The forward is one line of NumPy. A rule gets ``g``, the result ``y`` and the input ``x``; with
# ``tnn.pad`` it puts the two copies of r where they belong. Compare each draft with the
# formula above, and guess what its report will say.


def slopes(x):
    """Return the slope over three neighbours: (length,) to (length - 2,)."""
    return (x[2:] - x[:-2]) / 2


def wrong_length(g, y, x):
    """Forget that the input is longer than the result."""
    return 1.5 * g * slopes(x) ** 2


def wrong_sign(g, y, x):
    """Put the two copies in each other's place."""
    r = 1.5 * g * slopes(x) ** 2
    return tnn.pad(r, [(0, 2)]) - tnn.pad(r, [(2, 0)])


def frozen(g, y, x):
    """Take the slopes for constants: right once, but they move with x as well."""
    r = 1.5 * g * slopes(np.asarray(x)) ** 2
    return tnn.pad(r, [(2, 0)]) - tnn.pad(r, [(0, 2)])


def wide(g, y, x):
    """Use a float64 constant of NumPy's, which turns float32 into float64."""
    r = np.float64(1.5) * g * slopes(x) ** 2
    return tnn.pad(r, [(2, 0)]) - tnn.pad(r, [(0, 2)])


def right(g, y, x):
    """Return r shifted by two, minus r."""
    r = 1.5 * g * slopes(x) ** 2
    return tnn.pad(r, [(2, 0)]) - tnn.pad(r, [(0, 2)])


def slightly_wrong(g, y, x):
    """Return the right gradient, too large by one part in ten thousand."""
    return (1 + FAULT) * right(g, y, x)


def operation(rule):
    """Make the operation: the forward below, with ``rule`` for its gradient."""

    @tnn.primitive(rule)
    def flank(x):
        return slopes(x) ** 3

    return flank


# %% Reading a report
# ``check_grads`` returns a report, or with its default settings raises an error that carries it.
# ``check_primitive`` always raises. Here the report's lines are printed one by one, each with an
# explanation below it. A line more or less would be an error: the text must fit the report.


def report_of(rule, x, order=1):
    """Return the report of ``check_grads`` on the operation with this rule."""
    return tnn.testing.check_grads(operation(rule), x, order=order, raise_on_fail=False)


def complaint_of(check):
    """Return the text of the error that ``check()`` raises; fail if it raises none."""
    try:
        check()
    except (AssertionError, TypeError, ValueError) as error:
        return str(error)
    raise AssertionError("this check should have failed")


def explained(report, words):
    """Return the report, its lines followed by what they mean, in lines of at most 96 letters."""
    text = []
    for line, meaning in zip(str(report).splitlines(), words, strict=True):
        indent = len(line) - len(line.lstrip())
        text += textwrap.wrap(line, 96, subsequent_indent=" " * (indent + 2))
        text += textwrap.wrap(meaning, 96, initial_indent="    |   ", subsequent_indent="    |   ")
    return "\n".join(text)


SIGN = (
    "The verdict and the likely cause, found by comparing the two gradients with each other: is "
    "one the negative of the other, a multiple, a mirror image? Order 1 is the first derivative.",
    "The element that is furthest off: what the backward pass says (analytic), and how much the "
    "result really moves (numeric). A relative error of 2 is what a wrong sign gives.",
    "The evidence. The slopes to either side agree but for the function's bend, so this is no "
    "kink; and numeric knows its own error, which is far too small to explain the difference.",
    "What to look for. In the rule, the two pads have to change places.",
    "Which input, and how many of its elements.",
)
FROZEN = (
    "The verdict: first derivatives right, second derivatives wrong. A check of order 1 passes.",
    "The backward pass of the backward pass gives 0, but the gradient does move with x.",
    "Again no kink and no rounding.",
    "",
    "It names the culprit: numpy.asarray in the vjp. slopes(x) itself is all that is needed.",
    "The gradient is a function too, of x and of g. This is its derivative with respect to x.",
    "The first derivative along a random direction: analytic and numeric agree.",
    "With respect to g, called the cotangent, all is well: the gradient is linear in g.",
)
PASSED = (
    "All contracts hold, derivatives up to order 2 among them.",
    "The first derivative.",
    "The second derivative, with respect to x ...",
    "... and with respect to g.",
)

# %% Why the step matters
# Move x by h along a direction d, and let phi(h) = sum_j c_j y_j(x + h d). For this operation phi
# is a polynomial of degree 3 in h, so the truncation errors are known exactly: h phi''/2 +
# h^2 phi'''/6 for the forward quotient, h^2 phi'''/6 for the central one. The derivatives come from
# differentiating three times with ``tnn.grad``. Rounding adds about eps sum_j |c_j y_j| / h. The
# complex step, Im phi(ih) / h, subtracts nothing and so has no such term.


def problem(rng, length=12):
    """Return a point x, a direction d (both (length,)) and a cotangent c (length - 2,).

    The direction is that of the gradient, along which the slope is largest.
    """
    x, c = rng.normal(size=length), rng.normal(size=length - 2)
    gradient = right(c, None, x)
    return x, np.asarray(gradient / np.abs(gradient).max()), c


def derivatives(x, d, c):
    """Return phi and its first three derivatives at h = 0, by the backward pass of each."""
    h = tnn.Tensor(0.0, requires_grad=True)
    value = (operation(right)(h * d + x) * c).sum()
    found = [float(value)]
    for _ in range(3):
        (value,) = tnn.grad(value, [h], create_graph=True)
        found.append(float(value))
    return found


def slope_by_rule(rule, x, d, c):
    """Return the analytic slope along d: the gradient that the rule gives, times d."""
    point = tnn.Tensor(x, requires_grad=True)
    (gradient,) = tnn.grad((operation(rule)(point) * c).sum(), [point])
    return float(np.asarray(gradient) @ d)


def quotients(x, d, c, h):
    """Return the three numeric slopes along d for a step of h, in the order of METHODS."""

    def phi(step):
        return np.sum(c * slopes(x + step * d) ** 3)

    there, here, back = phi(h), phi(0.0), phi(-h)
    return (there - here) / h, (there - back) / (2 * h), phi(1j * h).imag / h


def relative_errors(analytic, x, d, c, steps):
    """Return |analytic - numeric| / |numeric|, (3 methods, steps)."""
    numeric = np.array([quotients(x, d, c, h) for h in steps]).T
    with np.errstate(divide="ignore"):  # a step too short to change anything gives a slope of 0
        return np.abs(analytic - numeric) / np.abs(numeric)


def truncation(x, d, c, h):
    """Return what theory says of the quotients' errors without rounding, as METHODS."""
    _, _, second, third = derivatives(x, d, c)
    return h * second / 2 + h**2 * third / 6, h**2 * third / 6, -(h**2) * third / 6


def rounding(x, c):
    """Return the size of the rounding error of phi: the sum of the terms' own."""
    return EPS * float(np.sum(np.abs(c * slopes(x) ** 3)))


def best_steps(x, d, c):
    """Return where rounding and truncation add up to the least: forward and central step."""
    _, _, second, third = derivatives(x, d, c)
    noise = rounding(x, c)
    return np.sqrt(2 * noise / abs(second)), np.cbrt(3 * noise / abs(third))


def window(good, bad, steps):
    """Return the first and the last of the ``steps`` at which both verdicts are true.

    ``good``, ``bad``: (steps,) relative errors of a right and of a wrong gradient. The right one
    must pass and the wrong one fail, at that step and at all between.
    """
    told = (good <= RTOL) & (bad > RTOL)
    edges = np.flatnonzero(np.diff(np.r_[False, told, False]))
    first, last = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[1] - run[0])
    return steps[first], steps[last - 1]


def draw(x, d, c, steps):
    """Draw the V of every method, the same for a wrong rule, and where the two can be told."""
    good, bad = (
        relative_errors(slope_by_rule(rule, x, d, c), x, d, c, steps)
        for rule in (right, slightly_wrong)
    )
    page, axes = plots.figure(
        3, sharex=True, figsize=(8, 8.2), gridspec_kw={"height_ratios": (3, 2, 1)}
    )
    for ax, errors in ((axes[0], good), (axes[1], bad)):
        for row in (2, 0, 1):  # central last: circles around the triangles that it falls on
            color, marker, size = LOOKS[METHODS[row]]
            look = {"color": color, "ms": size, "mfc": "none", "mew": 0.9, "label": METHODS[row]}
            ax.loglog(steps, np.clip(errors[row], 1e-17, 10), marker, **look)
        ax.axhline(RTOL, color=plots.INK, linestyle=":", linewidth=1)
        where = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8}
        ax.annotate("tolerance", (1.004, RTOL), color=plots.INK, **where)
        ax.set_ylabel("relative error")
    _theory(axes[0], x, d, c, steps)
    axes[0].set_ylim(3e-18, 3e3)
    axes[0].legend(frameon=False, fontsize=8, ncols=2, loc="upper center")
    axes[1].set_ylim(1e-7, 30)
    for row, name in enumerate(METHODS):
        low, high = window(good[row], bad[row], steps)
        axes[2].plot([low, high], [-row, -row], color=LOOKS[name][0], lw=6, solid_capstyle="butt")
        middle, text = np.sqrt(low * high), f"{low:.0e} to {high:.0e}"
        axes[2].text(middle, 0.22 - row, text, fontsize=8, ha="center", color=plots.INK)
    axes[2].set(yticks=(0, -1, -2), yticklabels=METHODS, ylim=(-2.5, 1.0), xlabel="step h")
    titles = (
        "The right gradient: a V for each difference quotient, none for the complex step",
        "A gradient wrong by one part in 10,000: it shows only at the bottom of the V",
        "The steps at which both verdicts are true: the right one passes, the wrong one does not",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, loc="left", fontsize=10)
    return page


def _theory(ax, x, d, c, steps):
    """Draw the lines of truncation and rounding."""
    _, first, second, third = np.abs(derivatives(x, d, c))
    lines = {
        "rounding, ~ eps / h": (rounding(x, c) / steps, plots.GRAY, "-"),
        "truncation, forward, ~ h": (steps * second / 2, plots.ORANGE, "--"),
        "truncation, central and complex, ~ h\u00b2": (steps**2 * third / 6, plots.BLUE, "-."),
    }
    for name, (values, color, style) in lines.items():
        ax.plot(steps, values / first, color=color, ls=style, lw=1, label=name, zorder=1)


def show_drafts(x):
    """Print what the checks say of every draft, and of the rule that is right."""
    print("draft 1, wrong_length: the backward pass stops at once")
    message = complaint_of(lambda: report_of(wrong_length, x))
    print(textwrap.fill(message, 96, initial_indent="  ", subsequent_indent="  "))
    print("\ndraft 2, wrong_sign: check_grads(flank, x)")
    print(explained(report_of(wrong_sign, x), SIGN))
    print("\ndraft 3, frozen: check_grads(flank, x) passes, check_grads(flank, x, order=2) fails")
    print(explained(report_of(frozen, x, order=2), FROZEN))
    print(
        "\ndraft 4, wide: check_grads passes at orders 1 and 2, check_primitive(flank, [x]) fails"
    )
    print(complaint_of(lambda: tnn.testing.check_primitive(operation(wide), [x])))
    print("\nright: check_primitive(flank, [x])")
    print(explained(tnn.testing.check_primitive(operation(right), [x]), PASSED))


def show_steps(x, d, c, steps):
    """Print relative errors and verdicts for a few steps, and the steps that theory prefers."""
    analytic, faulty = (slope_by_rule(rule, x, d, c) for rule in (right, slightly_wrong))
    forward, central = best_steps(x, d, c)
    print("\nThe right gradient against quotients: relative error, and what theory says of it")
    print(f"{'step h':>10s}" + "".join(f"{name:>12s}" for name in METHODS), end="")
    print(f"{'h^2 term':>12s}{'eps/h term':>12s}   central: right rule, wrong rule")
    for h in (1e-1, 1e-3, central, forward, 1e-11, 1e-14):
        good, bad = (relative_errors(a, x, d, c, [h])[:, 0] for a in (analytic, faulty))
        bend = abs(truncation(x, d, c, h)[1] / analytic)
        grain = rounding(x, c) / h / abs(analytic)
        verdicts = ", ".join("passes" if e <= RTOL else "fails" for e in (good[1], bad[1]))
        numbers = "".join(f"{e:12.1e}" for e in (*good, bend, grain))
        print(f"{h:10.1e}{numbers}   {verdicts}")
    print(f"best step in theory: forward {forward:.0e}, central {central:.0e}, complex any small h")
    print(f"steps at which both verdicts are true (tolerance {RTOL:g}, fault {FAULT:g}):")
    good, bad = (relative_errors(a, x, d, c, steps) for a in (analytic, faulty))
    for name, a, b in zip(METHODS, good, bad, strict=True):
        low, high = window(a, b, steps)
        print(f"{name:>10s}  {low:.0e} to {high:.0e}: {np.log10(high / low):4.1f} decades")


def run(options):
    """Carry out what the command line asks for."""
    x, d, c = problem(generator(options.seed))
    steps = np.logspace(-16, 0, 65 if options.quick else 97)
    show_drafts(x)
    show_steps(x, d, c, steps)
    if options.plot:
        save(draw(x, d, c, steps), options.plot)


# %% What the picture shows
# Above, the right gradient. From the right each quotient comes down along its truncation error,
# with slope 1 (forward) or 2 (central), meets the rounding error, and goes up again; there the
# points jump about, because rounding is haphazard. The complex step stays down (an error of 0 is
# drawn at 1e-17). In the middle, a gradient that is wrong by one part in ten thousand: the points
# settle on that value, but at a step too long or too short it looks no worse than a right one.
# Below, the steps that tell the two apart. ``check_grads`` does not bet on one step: it takes
# central differences from 2e-2 down to 2e-8 of the input's size, extrapolates them to h = 0, and
# keeps track of how far off they may be. Where it can, it takes the complex step too.

if __name__ == "__main__":
    start(command_line(__doc__, quick="fewer steps in the picture"), run)
