"""Every way to compute a convolution of padded batches, against the slow loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.kernels import choose, overlap_save
from tinynn.kernels.depthwise import Depthwise
from tinynn.kernels.overlap_save import OverlapSave
from tinynn.kernels.padded_batch import PaddedBatch
from tinynn.kernels.toeplitz import RowTiling, Toeplitz, outputs_per_row


def slow(x, kernel, left, dilation=1):
    """Correlate (series, length, channels) with zeros around, one output after the other."""
    reach = dilation * (len(kernel) - 1)
    padded = np.pad(x, ((0, 0), (left, reach + 1), (0, 0)))
    y = np.zeros((*x.shape[:2], kernel.shape[2]))
    for t in range(x.shape[1]):
        seen = padded[:, t : t + reach + 1 : dilation]
        y[:, t] = np.einsum("nkc,kcf->nf", seen, kernel)
    return y


def slow_kernel(x, g, left, taps):
    padded = np.pad(x, ((0, 0), (left, taps), (0, 0)))
    seen = [padded[:, k : k + x.shape[1]] for k in range(taps)]
    return np.stack([np.einsum("nlc,nlf->cf", s, g) for s in seen])


def run(calls):
    for function, args in calls:
        function(*args)


def padded(values, pitch, gap, room):
    made = PaddedBatch(values.shape, pitch, gap, room, values.dtype)
    made.array[...] = values
    return made


def zeros_between(made):
    """Tell whether all rows that belong to no series are zero."""
    copy = made.flat[0].copy()
    series, length = made.array.shape[:2]
    for n in range(series):
        start = made.gap + n * made.pitch
        copy[start : start + length] = 0
    return not copy.any()


def check_maps(n, length, channels, filters, taps, left, size, dtype, rng, more=0):
    gap, pitch = taps - 1, length + taps - 1 + more
    room = max(choose.room(taps, channels, filters), 4 * (size or 0) + taps)
    x = rng.normal(size=(n, length, channels)).astype(dtype)
    g = rng.normal(size=(n, length, filters)).astype(dtype)
    kernel = rng.normal(size=(taps, channels, filters)).astype(dtype)
    bias = rng.normal(size=filters).astype(dtype)
    known = {}

    def way(*names):
        return OverlapSave(size, taps, kernel.dtype, known, names) if size else Toeplitz()

    in_x, in_g = padded(x, pitch, gap, room), padded(g, pitch, gap, room)
    y, dx = (padded(np.zeros_like(a), pitch, gap, room) for a in (g, x))
    dk = np.empty_like(kernel)
    calls = way("x", "k").forward(in_x, kernel, left, y, bias)
    calls += way("g", "k").input_gradient(in_g, kernel, left, dx)
    calls += way("x", "g").kernel_gradient(in_x, in_g, left, dk)
    tolerance = 2e-5 if dtype == "float32" else 1e-12

    def close(found, expected, times=1):
        atol = tolerance * times * (1 + abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)

    for _ in range(2):  # a repetition finds what the run before it has left
        run(calls)
        a, k, b = x.astype(float), kernel.astype(float), g.astype(float)
        close(y.array, slow(a, k, left) + bias)
        close(dx.array, slow(b, k[::-1].transpose(0, 2, 1), taps - 1 - left))
        close(dk, slow_kernel(a, b, left, taps), times=n)
        assert zeros_between(y)
        assert zeros_between(dx)
        total = np.empty(filters, dtype)
        run([in_g.total(total)])
        np.testing.assert_allclose(total, g.sum((0, 1)), rtol=0, atol=tolerance * n * length)


@st.composite
def cases(draw):
    """Draw a convolution: arguments of check_maps, but for the size of the blocks."""
    taps = draw(st.integers(1, 12))
    return {
        "n": draw(st.integers(1, 3)),
        "length": draw(st.integers(1, 60)),
        "channels": draw(st.integers(1, 5)),
        "filters": draw(st.integers(1, 5)),
        "taps": taps,
        "left": draw(st.integers(0, taps - 1)),
        "dtype": draw(st.sampled_from(["float32", "float64"])),
        "rng": np.random.default_rng(draw(st.integers(0, 9))),
    }


@given(case=cases(), more=st.integers(0, 9))
def test_toeplitz_products_equal_the_slow_loop(case, more):
    check_maps(**case, size=None, more=more)


@given(case=cases(), extra=st.integers(0, 10))
def test_block_transforms_equal_the_slow_loop(case, extra):
    check_maps(**case, size=max(4, 2 * (case["taps"] - 1 + extra)))


@pytest.mark.parametrize("taps", [1, 2, 5, 9, 70])
def test_long_series_are_tiled_without_a_copy(taps):
    rng = np.random.default_rng(taps)
    assert not RowTiling(taps, 2, 3, 3 * 3000).copied
    check_maps(3, 3000, 2, 3, taps, taps // 2, None, "float64", rng)


@given(
    n=st.integers(1, 3), length=st.integers(1, 40), channels=st.integers(1, 5),
    taps=st.integers(1, 4), dilation=st.integers(1, 3), left=st.integers(0, 9),
    dtype=st.sampled_from(["float32", "float64"]), seed=st.integers(0, 9),
)  # fmt: skip
def test_taps_of_each_channel_equal_the_slow_loop(
    n, length, channels, taps, dilation, left, dtype, seed
):
    rng = np.random.default_rng(seed)
    left %= dilation * (taps - 1) + 1
    x, g = (rng.normal(size=(n, length, channels)).astype(dtype) for _ in range(2))
    kernel, bias = (rng.normal(size=s).astype(dtype) for s in ((taps, 1, channels), channels))
    reach = dilation * (taps - 1)
    in_x, in_g = (padded(a, length + reach, reach, 0) for a in (x, g))
    y, dx = (padded(np.zeros_like(a), length + 2, 0, 0) for a in (g, x))
    dk, way = np.empty_like(kernel), Depthwise(dilation)
    calls = way.forward(in_x, kernel, left, y, bias)
    calls += way.input_gradient(in_g, kernel, left, dx)
    calls += way.kernel_gradient(in_x, in_g, left, dk)
    full = np.zeros((taps, channels, channels))
    full[:, range(channels), range(channels)] = kernel[:, 0]
    a, b = x.astype(float), g.astype(float)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for _ in range(2):
        run(calls)
        expected = slow(a, full, left, dilation)
        np.testing.assert_allclose(y.array, expected + bias, rtol=0, atol=10 * tolerance)
        back = slow(b, full[::-1], reach - left, dilation)
        np.testing.assert_allclose(dx.array, back, rtol=0, atol=10 * tolerance)
        spread = np.zeros((reach + 1, channels, channels))
        spread[...] = slow_kernel(a, b, left, reach + 1)
        expected = spread[::dilation, range(channels), range(channels)]
        np.testing.assert_allclose(dk[:, 0], expected, rtol=0, atol=n * length * tolerance)
        assert zeros_between(y)


@pytest.mark.parametrize("size", [8, 24, 48, 64, 128])
def test_the_transform_and_its_inverse_undo_each_other(size):
    there, back = overlap_save._matrices(size, "<f8")
    np.testing.assert_allclose(back @ there, np.eye(size), atol=1e-13)
    x = np.random.default_rng(0).normal(size=size)
    spectrum = np.fft.rfft(x)
    np.testing.assert_allclose((there @ x)[2::2], spectrum[1:-1].real, atol=1e-12)
    np.testing.assert_allclose((there @ x)[3::2], spectrum[1:-1].imag, atol=1e-12)
    np.testing.assert_allclose((there @ x)[:2], spectrum[[0, -1]].real, atol=1e-12)


@pytest.mark.parametrize(
    ("taps", "channels", "filters", "transformed"),
    [
        (9, 1, 8, False),
        (9, 16, 16, False),
        (3, 64, 64, False),
        (9, 64, 64, True),
        (25, 16, 16, True),
        (65, 32, 32, True),
        (65, 4, 4, False),
    ],
)
def test_transforms_are_chosen_where_they_were_measured_to_pay(
    taps, channels, filters, transformed
):
    size = overlap_save.best_size(taps, channels, filters)
    assert (size is not None) == transformed
    assert size is None or (size % 2 == 0 and size - taps + 1 >= taps - 1)
    way = choose.way(taps, channels, filters, np.dtype("float32"))
    assert isinstance(way, OverlapSave if transformed else Toeplitz)


def test_rounding_of_the_transforms_is_as_stated():
    # float32: a relative error of at most 3e-6 of the largest output
    rng = np.random.default_rng(0)
    for taps, width in ((9, 64), (25, 16), (65, 32)):
        room = choose.room(taps, width, width)
        x = rng.normal(size=(2, 300, width)).astype("float32")
        kernel = rng.normal(size=(taps, width, width)).astype("float32")
        in_x = padded(x, 300 + taps, taps, room)
        y = padded(np.zeros_like(x), 300 + taps, taps, room)
        way = choose.way(taps, width, width, x.dtype)
        run(way.forward(in_x, kernel, 3, y))
        expected = slow(x.astype(float), kernel.astype(float), 3)
        assert abs(y.array - expected).max() < 3e-6 * abs(expected).max()


def test_maps_of_one_convolution_share_their_transforms():
    rng = np.random.default_rng(0)
    x, g = (padded(rng.normal(size=(2, 50, 3)), 60, 9, 99) for _ in range(2))
    kernel, known = rng.normal(size=(9, 3, 3)), {}

    def way(*names):
        return OverlapSave(24, 9, kernel.dtype, known, names)

    y = padded(np.zeros((2, 50, 3)), 60, 9, 99)
    alone = len(OverlapSave(24, 9, kernel.dtype).input_gradient(g, kernel, 4, y))
    way("x", "k").forward(x, kernel, 4, y)
    assert len(way("g", "k").input_gradient(g, kernel, 4, y)) == alone - 7  # the kernel's
    shared = way("x", "g").kernel_gradient(x, g, 4, np.empty_like(kernel))
    apart = OverlapSave(24, 9, kernel.dtype).kernel_gradient(x, g, 4, np.empty_like(kernel))
    assert len(shared) == len(apart) - 2


def test_tilings_of_every_kind_are_tried_above():
    assert {outputs_per_row(t, c, 3) for t in range(1, 13) for c in range(1, 6)} >= {1, 2, 3, 7, 8}


@pytest.mark.parametrize(("taps", "channels", "filters"), [(9, 1, 8), (25, 4, 4), (3, 16, 16)])
def test_rows_end_where_series_do_if_the_pitch_is_a_multiple(taps, channels, filters):
    multiple = Toeplitz.pitch_multiple([(taps, channels, filters)], 1000)
    rows = RowTiling(taps, channels, filters, 50 * multiple * 10)
    assert rows.written == 50 * multiple * 10
    assert Toeplitz.pitch_multiple([(taps, channels, filters)], 8 * multiple - 1) == 1


# ---------------------------------------------------------------- padded batches


def test_a_padded_batch_knows_its_series_and_what_is_between():
    batch = PaddedBatch((2, 3, 2), 5, 1, 4, np.dtype(float))
    batch.flat[...] = np.arange(batch.flat.size).reshape(batch.flat.shape)
    assert batch.flat.shape == (1, 1 + 2 * 5 + 4, 2)
    assert batch.array[:, :, 0].tolist() == [[2, 4, 6], [12, 14, 16]]
    assert batch.body.shape == (2, 10)
    assert np.shares_memory(batch.body, batch.flat)
    assert batch.body[:, 0].tolist() == [2, 12]
    kept = batch.array.copy()
    batch.empty_gaps()
    assert zeros_between(batch)
    assert (batch.array == kept).all()
    batch.flat[...] = 1
    run(batch.clear(2 * 5 + 3))
    assert batch.array.all()
    assert batch.flat[0, :, 0].tolist() == [1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1]
    assert batch.fits(PaddedBatch((2, 3, 2), 5, 3, 0, np.dtype("float32")))
    assert not batch.fits(PaddedBatch((2, 3, 2), 6, 1, 4, np.dtype(float)))
    assert not batch.fits(PaddedBatch((2, 4, 2), 5, 1, 4, np.dtype(float)))


def test_what_needs_no_padding_is_no_copy():
    x = np.zeros((2, 50_000, 1))
    assert PaddedBatch.of(x, 50_000, 0, 9)[0].array.base is not None
    assert np.shares_memory(PaddedBatch.of(x, 50_000, 0, 9)[0].flat, x)
    for pitch, gap, array in ((50_001, 0, x), (50_000, 1, x), (25_000, 0, x[:, ::2])):
        batch, [(target, source)] = PaddedBatch.of(array, pitch, gap, 9)
        target[...] = source
        assert not np.shares_memory(batch.flat, x)
        np.testing.assert_array_equal(batch.array, array)


def test_an_axis_with_one_entry_may_have_any_stride():
    x = np.arange(8.0)[None, :, None]
    assert x.strides[0] == x.strides[2] == 0
    batch, _ = PaddedBatch.of(x, 8)
    assert np.shares_memory(batch.flat, x)
    y = PaddedBatch((1, 7, 1), 8, 0, 9, x.dtype)
    run(Toeplitz().forward(batch, np.ones((2, 1, 1)), 0, y))
    assert y.array[0, :, 0].tolist() == [1, 3, 5, 7, 9, 11, 13]
