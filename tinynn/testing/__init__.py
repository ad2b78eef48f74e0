"""Gradient checks for tests: :func:`check_grads` for functions, :func:`check_primitive` for ops.

Numeric slopes know their own error, so that a wrong gradient is told from one that none can check.
"""

from tinynn.testing.gradients import check_grads
from tinynn.testing.primitives import check_primitive
from tinynn.testing.reports import GradcheckError, GradcheckReport, InputReport

__all__ = ["GradcheckError", "GradcheckReport", "InputReport", "check_grads", "check_primitive"]
