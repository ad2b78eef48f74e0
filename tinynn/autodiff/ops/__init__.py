"""The operations, a file a kind: each one's forward, vjps and docstring in one place.

Given plain arrays every function is plain NumPy; given a Tensor it returns a Tensor and records.
Names, shapes, axes and broadcasting are NumPy's. Python scalars never change a dtype.

In a vjp, ``g`` is the gradient of the result ``y``. Where a slope may be infinite or undefined,
``guarded_multiply`` and ``guarded_divide`` keep a zero gradient zero (arithmetic.py says why).

An operation is a function in one of these files, with its rule, and is imported below. What else
must know of it, and its row among the tests, tests/autodiff/test_ops.py will name.
"""

from tinynn.autodiff.ops.activations import (
    elu, gelu, leaky_relu, logaddexp, logit_crossentropy, logit_slope, long_row, relu, sigmoid,
    silu, softplus,
)  # fmt: skip
from tinynn.autodiff.ops.arithmetic import (
    add, all_finite, astype, divide, guarded_divide, guarded_multiply, multiply, negative,
    product_of_gradients, subtract,
)  # fmt: skip
from tinynn.autodiff.ops.broadcasting import broadcast_to, elementwise, sum_to
from tinynn.autodiff.ops.choices import clip, compare, equal, holds, maximum, minimum, where
from tinynn.autodiff.ops.elementary import (
    abs, arccos, arcsin, arctan, arctan2, cos, cosh, erf, exp, exp2, expm1, log, log10, log1p, log2,
    power, sign, sin, sinh, sqrt, square, tan, tanh,
)  # fmt: skip
from tinynn.autodiff.ops.indexing import getitem
from tinynn.autodiff.ops.linalg import dot, einsum, matmul, outer, tensordot
from tinynn.autodiff.ops.reductions import (
    argmax, argmin, cumprod, cumsum, diff, log_softmax, logsumexp, max, mean, min, norm, prod,
    softmax, std, sum, var,
)  # fmt: skip
from tinynn.autodiff.ops.selections import sort, take, take_along_axis
from tinynn.autodiff.ops.shapes import (
    Axis, concatenate, expand_dims, flip, hstack, moveaxis, pad, ravel, repeat, reshape, roll,
    split, squeeze, stack, swapaxes, tile, transpose, vstack,
)  # fmt: skip
from tinynn.autodiff.primitive import values
