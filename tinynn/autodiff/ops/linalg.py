"""Linear algebra: matrix products, tensordot, einsum."""

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinynn.autodiff.ops.arithmetic import multiply
from tinynn.autodiff.ops.broadcasting import sum_to, widened
from tinynn.autodiff.ops.indexing import getitem
from tinynn.autodiff.ops.shapes import expand_dims, reshape, squeeze, swapaxes, transpose
from tinynn.autodiff.primitive import as_array, dtype_of, operation, primitive, shape_of, variadic


def _matmul_vjp_a(g: Any, y: Any, a: Any, b: Any) -> Any:
    shape = a.shape
    g, a, b = _as_matrices(g, a, b)
    return reshape(sum_to(matmul(g, swapaxes(b, -1, -2)), a.shape), shape)


def _matmul_vjp_b(g: Any, y: Any, a: Any, b: Any) -> Any:
    shape = b.shape
    g, a, b = _as_matrices(g, a, b)
    if b.ndim == 2:  # one large product in place of a stack of small ones
        rows = math.prod(a.shape[:-1])
        a, g = reshape(a, (rows, a.shape[-1])), reshape(g, (rows, g.shape[-1]))
    return reshape(sum_to(matmul(swapaxes(a, -1, -2), g), b.shape), shape)


@primitive(_matmul_vjp_a, _matmul_vjp_b, passes_nan=True)
def matmul(a: Any, b: Any) -> Any:
    """Matrix product ``(..., n, k) @ (..., k, m) -> (..., n, m)``; vectors as in NumPy.

    >>> matmul(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]))
    array([3., 7.])
    """
    a, b = (x if hasattr(x, "dtype") else np.asarray(x) for x in (a, b))
    if a.dtype == b.dtype == np.float16:
        return np.matmul(widened(a), widened(b)).astype(np.float16)
    return np.matmul(a, b)


def _as_matrices(g: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Give vectors the axis of length 1 that the matrix product treats them as having."""
    if b.ndim == 1:
        g, b = expand_dims(g, -1), expand_dims(b, -1)
    if a.ndim == 1:
        g, a = expand_dims(g, -2), expand_dims(a, 0)
    return g, a, b


@operation
def dot(a: Any, b: Any) -> Any:
    """Dot product: over the last axis of ``a`` and the second to last (or only) one of ``b``.

    >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.float64(11.0)
    """
    n, m = len(shape_of(a)), len(shape_of(b))
    if n == 0 or m == 0:
        return multiply(a, b)
    if m <= 2 or n == 1:
        return matmul(a, b)
    return tensordot(a, b, axes=((n - 1,), (m - 2,)))


@operation
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over ``axes``: a number of axes (last of a, first of b), or a pair of lists.

    >>> tensordot(np.ones((2, 3)), np.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    shape_a, shape_b = shape_of(a), shape_of(b)
    n, m = len(shape_a), len(shape_b)
    if isinstance(axes, (int, np.integer)):
        axes = (range(n - axes, n), range(axes))
    over_a, over_b = (list(normalize_axis_tuple(i, k)) for i, k in zip(axes, (n, m), strict=True))
    if [shape_a[i] for i in over_a] != [shape_b[i] for i in over_b]:
        raise ValueError(
            f"tensordot: axes {over_a} of shape {shape_a} and {over_b} of shape {shape_b} "
            "must have the same lengths."
        )
    rest_a = [i for i in range(n) if i not in over_a]
    rest_b = [i for i in range(m) if i not in over_b]
    size = math.prod(shape_a[i] for i in over_a)
    left, right = tuple(shape_a[i] for i in rest_a), tuple(shape_b[i] for i in rest_b)
    a = reshape(transpose(a, rest_a + over_a), (math.prod(left), size))
    b = reshape(transpose(b, over_b + rest_b), (size, math.prod(right)))
    return reshape(matmul(a, b), left + right)


@operation
def outer(a: Any, b: Any) -> Any:
    """Outer product of two arrays, flattened: ``(n,), (m,) -> (n, m)``.

    >>> outer(np.array([1, 2]), np.array([3, 4]))
    array([[3, 4],
           [6, 8]])
    """
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


@operation
def einsum(subscripts: str, *operands: Any) -> Any:
    """Sum of products by Einstein's convention; subscripts as in numpy.einsum.

    Raises ValueError for a subscript that does not fit its operand.

    >>> einsum("ij,ij->i", np.ones((2, 3)), np.ones((2, 3)))
    array([3., 3.])
    """
    if not isinstance(subscripts, str):
        raise TypeError(
            f"einsum: the first argument must be the subscripts, such as 'ij,jk->ik', "
            f"got {type(subscripts).__name__}."
        )
    xs = [as_array("einsum", x) for x in operands]
    shapes = [shape_of(x) for x in xs]
    np.einsum(subscripts, *[np.zeros((1,) * len(s)) for s in shapes])  # NumPy's own errors
    terms, output = _explicit(subscripts.replace(" ", ""), [len(s) for s in shapes])
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        own = dict(zip(term, shape, strict=True))
        for c, n in zip(term, shape, strict=True):
            known = sizes.setdefault(c, n)
            if n != own[c] or (n != known and 1 not in (n, known)):
                raise ValueError(
                    f"einsum: in {subscripts!r} one subscript stands for axes of lengths "
                    f"{own[c] if n != own[c] else known} and {n}: the shapes are {shapes}."
                )
            sizes[c] = n if known == 1 else known
    for i, x in enumerate(xs):
        terms[i], xs[i] = _distinct(terms[i], x, sizes)
    return _einsum(*xs, subscripts=",".join(terms) + "->" + output)


def _einsum_vjp(i: int, g: Any, y: Any, xs: Sequence[Any], subscripts: str) -> Any:
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    others = [(t, x) for j, (t, x) in enumerate(zip(terms, xs, strict=True)) if j != i]
    seen = output + "".join(t for t, _ in others)
    alone = "".join(c for c in terms[i] if c not in seen)  # summed within this operand only
    sizes = [xs[i].shape[terms[i].index(c)] for c in alone]
    ones = [(c, np.ones(n, dtype_of(g))) for c, n in zip(alone, sizes, strict=True)]
    factors, xs = zip((output, g), *others, *ones, strict=True)
    return _einsum(*xs, subscripts=",".join(factors) + "->" + terms[i])


@variadic(_einsum_vjp, passes_nan=True)
def _einsum(*xs: Any, subscripts: str) -> Any:
    dtype = np.result_type(*xs)
    if dtype == np.float16:
        xs = tuple(widened(np.asarray(x)) for x in xs)
    return np.einsum(subscripts, *xs, optimize=len(xs) > 2).astype(dtype, copy=False)


def _explicit(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """Replace each ellipsis by letters of its own and write out the result's subscripts."""
    inputs, arrow, output = subscripts.partition("->")
    terms = inputs.split(",")
    free = [c for c in map(chr, range(ord("A"), ord("z") + 1)) if c.isalpha()]
    free = [c for c in free if c not in subscripts]
    fixed = [len(t.replace("...", "")) for t in terms]
    widths = ["..." in t and n - k for t, n, k in zip(terms, ndims, fixed, strict=True)]
    dots = "".join(free[: builtins.max(widths, default=0)])
    if not arrow:
        letters = inputs.replace("...", "").replace(",", "")
        output = "..." + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    terms = [t.replace("...", dots[len(dots) - w :]) for t, w in zip(terms, widths, strict=True)]
    return terms, output.replace("...", dots)


def _distinct(term: str, x: Any, sizes: dict[str, int]) -> tuple[str, Any]:
    """Take diagonals of repeated subscripts; drop axes of length 1 that others broadcast."""
    shape = shape_of(x)
    stretched = [i for i, c in enumerate(term) if shape[i] == 1 and sizes[c] != 1]
    if stretched:
        x = squeeze(x, tuple(stretched))
        term = "".join(c for i, c in enumerate(term) if i not in stretched)
    for c in sorted({c for c in term if term.count(c) > 1}):
        places = [i for i, d in enumerate(term) if d == c]
        others = [i for i, d in enumerate(term) if d != c]
        x = getitem(transpose(x, places + others), (np.arange(sizes[c]),) * len(places))
        term = c + "".join(term[i] for i in others)
    return term, x
