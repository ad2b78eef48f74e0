"""Drawn shapes, axes and indices: values as NumPy's, gradients as the definition says."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynn as tnn

from . import oracles

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
FILLED = hnp.array_shapes(min_dims=0, max_dims=4, max_side=4)


def normal(shape, seed=0):
    return np.asarray(np.random.default_rng(seed).normal(size=shape))


def some_axes(ndim):
    """None, an int or a tuple of ints, negative ones too, some of them np.int64."""
    axis = st.integers(-ndim, ndim - 1).map(lambda i: np.int64(i) if i % 2 else i)
    several = st.lists(axis, max_size=ndim, unique_by=lambda i: i % ndim).map(tuple)
    return st.none() | axis | several if ndim else st.none()


def check_linear(f, shape, reference):
    """Check values and, from each unit vector, the adjoint of a linear map; then that of that."""
    x = normal(shape)
    leaf = tnn.Tensor(x, requires_grad=True)
    y = f(leaf)
    np.testing.assert_allclose(y.numpy(), reference(x), rtol=1e-13, atol=1e-13, strict=True)
    g = tnn.Tensor(normal(y.shape, 1), requires_grad=True)
    [pulled] = tnn.grad(y, [leaf], g, create_graph=True)
    units = np.eye(x.size).reshape(x.size, *shape)
    expected = [np.sum(g.numpy() * reference(unit)) for unit in units]
    np.testing.assert_allclose(pulled.numpy().ravel(), expected, rtol=1e-12, atol=1e-13)
    [pushed] = tnn.grad(pulled, [g], x)  # the adjoint's adjoint is the map itself
    np.testing.assert_allclose(pushed, y.numpy(), rtol=1e-12, atol=1e-13)


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3), st.data())
def test_elementwise_gradients_are_summed_over_broadcast_axes(shapes, data):
    name = data.draw(st.sampled_from(["add", "subtract", "multiply", "divide", "maximum", "power"]))
    a, b = (np.asarray(np.abs(normal(s, i)) + 0.5) for i, s in enumerate(shapes.input_shapes))
    full = np.broadcast_arrays(a, b)
    g = normal(shapes.result_shape, 2)
    grads = oracles.pulled_back(getattr(np, name), [a, b], g)
    wide = oracles.pulled_back(getattr(np, name), [x.copy() for x in full], g)
    for x, grad, summand in zip((a, b), grads, wide, strict=True):
        expected = np.zeros(x.shape)  # each element of the result goes where it was read
        places = np.broadcast_to(np.arange(x.size).reshape(x.shape), g.shape)
        np.add.at(expected.reshape(-1), places, summand)
        np.testing.assert_allclose(grad, expected, rtol=1e-12, atol=1e-12)


@given(SHAPES, st.data())
def test_basic_indexing(shape, data):
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    check_linear(lambda x: x[index], shape, lambda x: x[index])


@given(FILLED, st.data())
def test_integer_arrays_with_repeats(shape, data):
    assume(shape)
    index = data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2)))
    check_linear(lambda x: x[index], shape, lambda x: x[index])
    as_tensors = tuple(tnn.Tensor(part) for part in index)
    check_linear(lambda x: x[as_tensors], shape, lambda x: x[index])
    nested = tuple(part.tolist() for part in index)
    check_linear(lambda x: x[nested], shape, lambda x: x[nested])


@given(SHAPES, st.data())
def test_masks(shape, data):
    dims = data.draw(st.integers(0, len(shape)))
    mask = data.draw(hnp.arrays(bool, shape[:dims]))
    check_linear(lambda x: x[mask], shape, lambda x: x[mask])
    check_linear(lambda x: x[tnn.Tensor(mask)], shape, lambda x: x[mask])


MIXED = [
    (slice(None), [0, 0, 2]),
    ([1, 0, 1], slice(1, 3)),
    ([1, 1], slice(None), [0, 3]),  # separated: their axis comes first
    (0, [1, 1], ...),
    (..., [2, 2], None, slice(None, None, -1)),
    ((0, 0), 1),
    ((0, 0),),
    (((0, 1), (1, 1)), 2),
    (np.array([[0], [1]]), np.array([0, 0, 2])),
    ([True, False], [0, 1, 1]),
    (np.array([True, False]), slice(None), 1),
    (0, np.array([[True] * 4, [False] * 4, [True] * 4])),
    (None, 1, ..., np.int64(2)),
    (np.array(1), [0, 0]),
    (True,),
    (np.False_, 0),
    [],
    (),
    ([],),
    ((),),
    range(2),
    np.int8(-1),
    np.array(1),
    np.zeros((0, 3), int),
    slice(np.int64(0), np.int64(1)),
]


@pytest.mark.parametrize("index", MIXED, ids=repr)
def test_mixed_indices(index):
    check_linear(lambda x: x[index], (2, 3, 4), lambda x: x[index])


@given(SHAPES, st.data())
def test_sums_and_means(shape, data):
    axis = data.draw(some_axes(len(shape)))
    keep = data.draw(st.booleans())
    check_linear(lambda x: x.sum(axis, keep), shape, lambda x: x.sum(axis, keepdims=keep))
    assume(np.prod(shape))
    check_linear(lambda x: x.mean(axis, keep), shape, lambda x: x.mean(axis, keepdims=keep))


@given(FILLED, st.data())
def test_max_shares_among_ties(shape, data):
    axis = data.draw(some_axes(len(shape)))
    x = data.draw(hnp.arrays(float, shape, elements=st.sampled_from([-1.0, 0.0, 2.0])))
    for name, sign in (("max", 1), ("min", -1)):
        f, reference = getattr(tnn, name), getattr(np, name)
        leaf = tnn.Tensor(x, requires_grad=True)
        y = f(leaf, axis=axis)
        np.testing.assert_array_equal(y.numpy(), reference(x, axis=axis), strict=True)
        [grad] = tnn.grad(y, [leaf], np.ones(y.shape))
        np.testing.assert_allclose(grad.sum(axis=axis), 1, rtol=1e-14)
        winners = x == reference(x, axis=axis, keepdims=True)
        assert np.array_equal(grad > 0, winners), sign
        ties = np.broadcast_to(winners.sum(axis=axis, keepdims=True), shape)
        np.testing.assert_allclose(grad[winners], 1 / ties[winners], rtol=1e-14)


@given(SHAPES, st.data())
def test_reshape_and_transpose(shape, data):
    order = data.draw(st.permutations(range(len(shape))))
    order = [data.draw(st.sampled_from([i, i - len(shape)])) for i in order]
    check_linear(lambda x: x.transpose(order), shape, lambda x: x.transpose(order))
    check_linear(lambda x: x.transpose(*order), shape, lambda x: x.transpose(*order))
    turned = [shape[i] for i in order]
    check_linear(lambda x: x.reshape(turned), shape, lambda x: x.reshape(turned))
    assume(shape)
    check_linear(lambda x: x.reshape(*turned), shape, lambda x: x.reshape(*turned))
    a, b = (data.draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
    check_linear(lambda x: tnn.moveaxis(x, a, b), shape, lambda x: np.moveaxis(x, a, b))
    check_linear(lambda x: x.swapaxes(a, b), shape, lambda x: x.swapaxes(a, b))
    check_linear(lambda x: tnn.flip(x, a), shape, lambda x: np.flip(x, a))
    check_linear(lambda x: tnn.roll(x, a * 3, b), shape, lambda x: np.roll(x, a * 3, b))
    check_linear(lambda x: tnn.cumsum(x, b), shape, lambda x: np.cumsum(x, b))


@given(FILLED, st.data())
def test_padding(shape, data):
    mode = data.draw(st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap"]))
    width = st.tuples(st.integers(0, 5), st.integers(0, 5))
    widths = data.draw(st.lists(width, min_size=len(shape), max_size=len(shape)))
    assume(widths)
    check_linear(lambda x: tnn.pad(x, widths, mode), shape, lambda x: np.pad(x, widths, mode))


@given(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4), st.data())
def test_repeat_and_joins(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    counts = data.draw(hnp.arrays(int, shape[axis], elements=st.integers(0, 3)))
    check_linear(lambda x: x.repeat(counts, axis), shape, lambda x: x.repeat(counts, axis))
    cuts = sorted(data.draw(st.lists(st.integers(0, 5), max_size=3)))

    def rejoined(m):
        def f(x):
            parts = m.split(x, cuts, axis)
            return m.concatenate([parts[-1], *parts, parts[0]], axis)

        return f

    check_linear(rejoined(tnn), shape, rejoined(np))
    check_linear(
        lambda x: tnn.stack([x, 2 * x, x], axis), shape, lambda x: np.stack([x, 2 * x, x], axis)
    )


@given(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_side=3, max_dims=2))
def test_matmul(shapes):
    a, b = (normal(s, i) for i, s in enumerate(shapes.input_shapes))
    check_linear(lambda x: x @ b, a.shape, lambda x: x @ b)
    check_linear(lambda x: a @ x, b.shape, lambda x: a @ x)
