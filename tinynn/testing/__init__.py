"""Gradient checks for tests: of functions, of layers, of operations, and of pairs written by hand.

Numeric slopes know their own error, so that a wrong gradient is told from one that none can check.
"""

from tinynn.testing.gradients import check_grads
from tinynn.testing.layers import check_layer
from tinynn.testing.pairs import check_backward
from tinynn.testing.primitives import check_primitive
from tinynn.testing.reports import GradcheckError, GradcheckReport, InputReport

__all__ = [
    "GradcheckError",
    "GradcheckReport",
    "InputReport",
    "check_backward",
    "check_grads",
    "check_layer",
    "check_primitive",
]
