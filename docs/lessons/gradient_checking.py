r"""
Checking a gradient
===================

Training follows the gradient. A wrong gradient raises no error: the loss falls more slowly, or not
at all, and you look for the fault everywhere else. So if you write an operation, check its gradient
against what the function really does when its input moves.

**Claim.** A gradient checker that names the cause saves the search.
"""

# %%
# In code
# -------
# The operation is steep at flanks of the series: :math:`y_j = ((x_{j+2} - x_j) / 2)^3`. Its rule
# gets :math:`g_j`, the gradient of the loss with respect to :math:`y_j`. It must return the
# gradient with respect to :math:`x`. Each :math:`x_i` takes part twice, once with a plus and once
# with a minus. This draft has the two signs the wrong way round.

import numpy as np

import tinynn as tnn


def rule(g, y, x):
    r = 1.5 * g * ((x[2:] - x[:-2]) / 2) ** 2
    return tnn.pad(r, [(0, 2)]) - tnn.pad(r, [(2, 0)])  # right: the two in each other's place


@tnn.primitive(rule)
def flank(x):
    return ((x[2:] - x[:-2]) / 2) ** 3


x = np.random.default_rng(0).normal(size=12)
print(tnn.testing.check_grads(flank, x, raise_on_fail=False))

# %%
# The report gives the verdict and the likely cause first. Then comes the element that is furthest
# off: *analytic* is what the rule says, *numeric* what the function does. The difference quotients
# to both sides agree, so this is no kink. In a test leave ``raise_on_fail`` away: then a failure
# raises an error with this report.

# %%
# The picture
# -----------
# The numeric slope comes from a small step h. How small should it be?

# Drawing
# The error of three numeric slopes against the step: two are a V, the complex step is not
import matplotlib.pyplot as plt

d, c = np.cos(np.arange(12.0)), np.sin(np.arange(10.0) + 1)
values = lambda h: np.sum(c * (((x + h * d)[2:] - (x + h * d)[:-2]) / 2) ** 3)  # noqa: E731
steps = np.logspace(-15, 0, 61)
true = values(1e-30j).imag / 1e-30
quotients = {
    "forward: (f(h) - f(0)) / h": [(values(h) - values(0)) / h for h in steps],
    "central: (f(h) - f(-h)) / 2h": [(values(h) - values(-h)) / (2 * h) for h in steps],
    "complex step: Im f(ih) / h": [values(1j * h).imag / h for h in steps],
}
page, ax = tnn.plots.figure(height=3.2)
looks = (tnn.plots.ORANGE, "s"), (tnn.plots.BLUE, "o"), (tnn.plots.GREEN, "^")
for (name, slopes), (color, mark) in zip(quotients.items(), looks, strict=True):
    errors = np.maximum(np.abs(np.array(slopes) / true - 1), 1e-17)
    ax.loglog(steps, errors, mark, color=color, ms=3.5, mfc="none", label=name)
ax.axhline(1e-5, color=tnn.plots.GRAY, ls=":")
ax.text(1.4, 1e-5, "tolerance", fontsize=8, va="center")
ax.set(xlabel="step h", ylabel="relative error of the slope")
ax.legend(frameon=False, fontsize=8, loc="upper center")
plt.show()

# %%
# A long step is wrong because the function bends. A short step is wrong because computers round.
# So the error of a difference quotient is a V. Near the bottom of the V, a right gradient can be
# told from a wrong one. The central quotient has the lower V. The complex step subtracts nothing,
# so it has no left branch. ``check_grads`` chooses the method and the step by itself.

# %%
# Change this: what do you expect?
# --------------------------------
# Put the two ``tnn.pad`` in each other's place, and write 1.6 instead of 1.5. What will the report
# say?
#
# .. admonition:: Answer
#    :collapsible: closed
#
#    The gradient now has the right form, but it is too large by the same factor everywhere. The
#    report says so: a constant factor of 1.067, which is 1.6 / 1.5. With 1.5 the check passes. Try
#    ``order=2`` as well: it checks the gradient of the gradient.

# %%
# The whole experiment
# --------------------
# Four wrong drafts of this rule, and the whole report on each, with a word on every line.
