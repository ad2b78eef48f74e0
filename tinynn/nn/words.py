"""The old name of argument_hints, for as long as the optimizers ask for it."""

from tinynn.nn.argument_hints import with_hints as explained

__all__ = ["explained"]
