"""The three maps on plain arrays, by whatever way is chosen, against loops written out."""

import itertools
import threading
import warnings

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tinynn.kernels import choose, convolution, direct
from tinynn.kernels.depthwise import Depthwise

from ..autodiff import oracles

UNIT = {"strides": 1, "padding": (0, 0), "dilation": 1, "groups": 1}


def normal(*shape, seed=0, dtype=float):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def conv(x, kernel, **how):
    return convolution.conv(x, kernel, **how)


def maps(x, kernel, g, **how):
    """Return all three maps of the same arrays."""
    return (
        convolution.conv(x, kernel, **how),
        convolution.conv_input(g, kernel, length=x.shape[1], **how),
        convolution.conv_kernel(x, g, kernel_size=len(kernel), **how),
    )


def slow_maps(x, kernel, g, **how):
    return (
        oracles.conv(x, kernel, **how),
        oracles.conv_input(g, kernel, length=x.shape[1], **how),
        oracles.conv_kernel(x, g, kernel_size=len(kernel), **how),
    )


def direct_maps(x, kernel, g, **how):
    return (
        direct.forward(x, kernel, g.shape[1], tuple(how.values())),
        direct.input_gradient(g, kernel, x.shape[1], tuple(how.values())),
        direct.kernel_gradient(x, g, len(kernel), tuple(how.values())),
    )


@st.composite
def settings_and_shapes(draw):
    """Draw shapes of x, kernel and g, and the settings of a convolution that fits them."""
    taps, strides, dilation = (draw(st.integers(1, n)) for n in (9, 4, 3))
    left, right = (draw(st.integers(0, 8)) for _ in range(2))
    groups = draw(st.integers(1, 3))
    width, per_group = (draw(st.integers(1, 3)) for _ in range(2))
    n, length = draw(st.integers(0, 3)), draw(st.integers(0, 30))
    extent = dilation * (taps - 1) + 1
    assume(length + left + right >= extent)
    outputs = (length + left + right - extent) // strides + 1
    how = {"strides": strides, "padding": (left, right), "dilation": dilation, "groups": groups}
    filters = groups * per_group
    return (n, length, groups * width), (taps, width, filters), (n, outputs, filters), how


DTYPES = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "int64": 0, "complex128": 1e-12}


@given(settings_and_shapes(), st.sampled_from(sorted(DTYPES)))
@example(((2, 0, 3), (4, 1, 3), (2, 2, 3), {**UNIT, "padding": (2, 3), "groups": 3}), "float32")
@example(((1, 4, 2), (3, 2, 1), (1, 12, 1), {**UNIT, "padding": (5, 5)}), "float64")
@example(((3, 9, 1), (2, 1, 1), (3, 1, 1), {**UNIT, "strides": 9}), "float16")
def test_every_map_equals_the_loops(drawn, dtype):
    *shapes, how = drawn
    arrays = [(4 * normal(*s, seed=i)).astype(dtype) for i, s in enumerate(shapes)]
    exact = [a.astype("f8" if dtype == "float16" else dtype) for a in arrays]
    for way in (maps, direct_maps):
        for found, expected in zip(way(*arrays, **how), slow_maps(*exact, **how), strict=True):
            assert found.shape == expected.shape
            assert found.dtype.kind == expected.dtype.kind
            if way is maps or dtype != "float16":
                atol = DTYPES[dtype] * abs(expected).max(initial=1)
                np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def test_every_small_convolution():
    sizes = (range(1, 7), range(1, 4), range(1, 5), range(1, 5), range(3), range(3))
    for length, taps, stride, dilation, left, right in itertools.product(*sizes):
        how = {"strides": stride, "padding": (left, right), "dilation": dilation, "groups": 1}
        if length + left + right <= dilation * (taps - 1):
            continue
        x, k = normal(2, length, 1), normal(taps, 1, 2)
        g = normal(*oracles.conv(x, k, **how).shape, seed=1)
        for found, expected in zip(maps(x, k, g, **how), slow_maps(x, k, g, **how), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("x", "kernel", "how"),
    [
        ((3, 9000, 2), (5, 2, 3), {}),
        ((3, 9000, 2), (5, 2, 3), {"padding": (2, 2)}),
        ((2, 9000, 3), (40, 3, 2), {"padding": (39, 0)}),
        ((2, 9000, 4), (5, 2, 6), {"groups": 2, "strides": 2}),
        ((2, 9001, 3), (4, 3, 2), {"strides": 3, "dilation": 2, "padding": (1, 1)}),
        ((2, 9000, 3), (3, 1, 3), {"groups": 3}),
        ((20, 900, 3), (4, 1, 3), {"groups": 3, "dilation": 3, "padding": (9, 0)}),
    ],
)
def test_long_series_and_large_batches(x, kernel, how, dtype):
    how = UNIT | how
    x, k = normal(*x, dtype=dtype), normal(*kernel, dtype=dtype)
    g = normal(*conv(x, k, **how).shape, seed=1, dtype=dtype)
    exact = [a.astype(float) for a in (x, k, g)]
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for found, expected in zip(maps(x, k, g, **how), direct_maps(*exact, **how), strict=True):
        assert found.dtype == dtype
        atol = tolerance * abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def test_block_transforms_serve_wide_convolutions_of_many_steps():
    kernel, padding = (9, 64, 64), (4, 4)
    for n, transformed in ((1, False), (64, True)):
        chosen = choose.plan((n, 256), kernel, 256, np.dtype("float32"), (1, padding, 1, 1))
        assert (chosen.size is not None) == transformed
    for dtype, strides, dilation, groups in (
        ("complex64", 1, 1, 1),
        ("float32", 2, 1, 1),
        ("float32", 1, 2, 1),
        ("float32", 1, 1, 2),
    ):
        how = strides, padding, dilation, groups
        assert choose.plan((64, 256), kernel, 256, np.dtype(dtype), how).size is None
    for dtype, tolerance in (("float32", 3e-6), ("float64", 1e-14)):
        x, k = normal(3, 700, 64, dtype=dtype), normal(*kernel, dtype=dtype)
        x[1, 300, 7] = 0
        for padding in ((4, 4), (0, 0), (0, 8), (12, 3)):
            how = UNIT | {"padding": padding}
            g = normal(3, 692 + sum(padding), 64, seed=1, dtype=dtype)
            assert choose.plan((3, 700), kernel, g.shape[1], x.dtype, tuple(how.values())).size
            found, expected = maps(x, k, g, **how), direct_maps(x, k, g, **how)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * abs(b).max())
        x[1, 300, 7] = np.nan
        seen = np.isnan(conv(x, k, **UNIT)).any(axis=2)
        assert np.argwhere(seen).tolist() == [[1, t] for t in range(292, 301)]


def test_whole_numbers_are_not_rounded_where_nothing_needs_it():
    rng = np.random.default_rng(0)
    for taps, width, transformed in ((9, 64, True), (65, 32, True), (5, 2, False)):
        x, k = (rng.integers(-9, 9, s) for s in ((4, 500, width), (taps, width, width)))
        g = rng.integers(-9, 9, (4, 501 - taps, width))
        found = maps(*(a.astype(float) for a in (x, k, g)), **UNIT)
        how = tuple(UNIT.values())
        chosen = choose.plan((4, 500), k.shape, 501 - taps, np.dtype(float), how)
        assert (chosen.size is not None) == transformed
        which = slice(1, 2) if transformed else slice(3)  # the input gradient never uses them
        expected = direct_maps(x, k, g, **UNIT)
        for a, b in zip(found[which], expected[which], strict=True):
            np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- dtypes


@pytest.mark.parametrize("groups", [1, 2])
def test_half_precision_is_summed_in_single_precision(groups):
    how = UNIT | {"groups": groups}
    x, k = np.full((1, 40_000, 2), 0.1, "e"), np.full((3, 2 // groups, 2), 0.1, "e")
    g = np.full((1, 39_998, 2), 0.1, "e")
    found = maps(x, k, g, **how)
    exact = direct_maps(*(a.astype(float) for a in (x, k, g)), **how)
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == np.float16
        np.testing.assert_allclose(a, b, rtol=1e-3)  # sums in half precision stop growing at 32
    kernel = np.ones((4000, 1, 1), "e")
    assert conv(np.ones((1, 4000, 1), "e"), kernel, **UNIT) == 4000
    nan = np.array([1, np.nan, 1, 1], "e").reshape(1, 4, 1)
    assert np.isnan(conv(nan, np.ones((2, 1, 1), "e"), **UNIT)).ravel().tolist() == [1, 1, 0]


@pytest.mark.parametrize("dtype", ["int8", "bool", "float16", ">f4", "float32", "float64", "c16"])
def test_the_number_of_taps_does_not_change_the_dtype(dtype):
    found = set()
    for taps in (1, 2, 5):
        x, k = np.ones((2, 9, 2), dtype), np.ones((taps, 1, 2), dtype)
        g = np.ones((2, 10 - taps, 2), dtype)
        found.add(tuple(array.dtype.str for array in maps(x, k, g, **UNIT | {"groups": 2})))
    assert len(found) == 1


def test_small_integers_are_summed_in_large_ones():
    x, g = np.full((1, 400, 1), 100, "int8"), np.full((1, 399, 1), 100, "int8")
    found = convolution.conv_kernel(x, g, kernel_size=2, **UNIT)
    assert found.ravel().tolist() == [3_990_000] * 2


# ---------------------------------------------------------------- what is not finite


@given(
    length=st.integers(1, 12), taps=st.integers(1, 5), strides=st.integers(1, 4),
    dilation=st.integers(1, 3), left=st.integers(0, 6), right=st.integers(0, 6),
    groups=st.integers(1, 2), width=st.integers(1, 2), place=st.integers(0, 11),
    bad=st.sampled_from([np.nan, np.inf]), seed=st.integers(0, 9),
)  # fmt: skip
def test_a_bad_value_reaches_just_the_results_that_see_it(
    length, taps, strides, dilation, left, right, groups, width, place, bad, seed
):
    assume(length + left + right > dilation * (taps - 1))
    how = {"strides": strides, "padding": (left, right), "dilation": dilation, "groups": groups}
    rng = np.random.default_rng(seed)
    x, k = rng.normal(size=(2, length, width * groups)), rng.normal(size=(taps, width, groups))
    y = conv(x, k, **how)
    g = rng.normal(size=y.shape)
    _, dx, dk = maps(x, k, g, **how)
    place %= length
    x[0, place, 0] = bad
    seen = np.array(
        [[t * strides - left + j * dilation for j in range(taps)] for t in range(y.shape[1])]
    )
    expected = np.zeros(y.shape, bool)
    expected[0, :, 0] = (seen == place).any(axis=1)
    found, _, found_dk = maps(x, k, g, **how)
    assert (~np.isfinite(found)).tolist() == expected.tolist()
    np.testing.assert_allclose(found[~expected], y[~expected], atol=1e-12)
    taps_that_see = np.zeros(dk.shape, bool)
    taps_that_see[:, 0, 0] = (seen == place).any(axis=0)
    assert (~np.isfinite(found_dk)).tolist() == taps_that_see.tolist()
    np.testing.assert_allclose(found_dk[~taps_that_see], dk[~taps_that_see], atol=1e-11)
    step = seed % y.shape[1]
    g[1, step, 0] = bad
    expected = np.zeros(x.shape, bool)
    expected[1, [i for i in seen[step] if 0 <= i < length], :width] = True
    found = convolution.conv_input(g, k, length=length, **how)
    assert (~np.isfinite(found)).tolist() == expected.tolist()
    np.testing.assert_allclose(found[~expected], dx[~expected], atol=1e-12)


def test_an_overflow_is_infinite_where_it_happens_and_warned_of_as_by_numpy():
    x = np.zeros((1, 12, 1), "float32")
    x[0, 3] = 3e38
    k = np.array([1, 2], "float32").reshape(2, 1, 1)
    with pytest.warns(RuntimeWarning, match="overflow"):
        y = conv(x, k, **UNIT)
    assert np.flatnonzero(np.isinf(y[0, :, 0])).tolist() == [2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # large, but not too large
        assert conv(x, k[:1], **UNIT).max() == np.float32(3e38)


# ---------------------------------------------------------------- edges


@given(
    n=st.integers(0, 2), length=st.integers(1, 12), taps=st.integers(1, 4),
    dilation=st.integers(1, 3), left=st.integers(0, 9), right=st.integers(0, 9),
    channels=st.integers(2, 4), seed=st.integers(0, 9),
)  # fmt: skip
def test_a_few_taps_for_each_channel(n, length, taps, dilation, left, right, channels, seed):
    assume(length + left + right > dilation * (taps - 1))
    how = {"strides": 1, "padding": (left, right), "dilation": dilation, "groups": channels}
    rng = np.random.default_rng(seed)
    x, k = rng.normal(size=(n, length, channels)), rng.normal(size=(taps, 1, channels))
    g = rng.normal(size=oracles.conv(x, k, **how).shape)
    chosen = choose.plan((n, length), k.shape, g.shape[1], k.dtype, tuple(how.values()))
    assert isinstance(chosen.way, Depthwise)
    for found, expected in zip(maps(x, k, g, **how), slow_maps(x, k, g, **how), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-11)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("strides", [1, 2])
def test_empty_batches_and_series(groups, strides):
    how = {"strides": strides, "padding": (3, 2), "dilation": 1, "groups": groups}
    k = normal(3, 2, 4)
    for n, length in ((0, 7), (2, 0), (0, 0)):
        x = np.zeros((n, length, 2 * groups))
        g = normal(n, (length + 5 - 3) // strides + 1, 4)
        y, dx, dk = maps(x, k, g, **how)
        assert (y.shape, dx.shape, dk.shape) == (g.shape, x.shape, k.shape)
        assert not y.any()
        assert not dk.any()


def test_arguments_are_never_written_to():
    for how in (UNIT, UNIT | {"strides": 2}, UNIT | {"groups": 2}, UNIT | {"dilation": 2}):
        x, k = normal(2, 20, 2), normal(3, 2 // how["groups"], 2)
        g = conv(x, k, **how)
        for array in (x, k, g):
            array.flags.writeable = False
        for result in maps(x, k, g, **how):
            assert result.flags.writeable
            assert not any(np.shares_memory(result, array) for array in (x, k, g))


def test_threads_may_convolve_at_the_same_time():
    xs = [normal(4, 300, 3, seed=i) for i in range(4)]
    k = normal(9, 3, 4)
    expected = [conv(x, k, **UNIT) for x in xs]
    wrong = []

    def work(x, y):
        for _ in range(200):
            if not np.array_equal(conv(x, k, **UNIT), y):
                wrong.append(x)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(xs, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
