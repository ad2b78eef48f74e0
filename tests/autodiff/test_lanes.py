"""The fast maps of a convolution, on lanes and by block transforms, against the slow loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.autodiff import blocks, lanes


def slow(x, kernel, left):
    """Correlate (series, length, channels) with zeros around, one output after the other."""
    taps = len(kernel)
    padded = np.pad(x, ((0, 0), (left, taps), (0, 0)))
    y = np.zeros((*x.shape[:2], kernel.shape[2]))
    for t in range(x.shape[1]):
        y[:, t] = np.einsum("nkc,kcf->nf", padded[:, t : t + taps], kernel)
    return y


def run(calls):
    for function, args in calls:
        function(*args)


def lane(values, pitch, gap, room):
    made = lanes.Lane(values.shape, pitch, gap, room, values.dtype)
    made.array[...] = values
    return made


def zeros_between(made):
    """Tell whether all rows that belong to no series are zero."""
    copy = made.flat.copy()
    series, length = made.array.shape[:2]
    for n in range(series):
        start = made.gap + n * made.pitch
        copy[start : start + length] = 0
    return not copy.any()


def check_maps(n, length, channels, filters, taps, left, size, dtype, rng, more=0):
    gap, pitch = taps - 1, length + taps - 1 + more
    room = max(lanes.room(taps, channels, filters), 4 * (size or 0) + taps)
    x = rng.normal(size=(n, length, channels)).astype(dtype)
    g = rng.normal(size=(n, length, filters)).astype(dtype)
    kernel = rng.normal(size=(taps, channels, filters)).astype(dtype)
    bias = rng.normal(size=filters).astype(dtype)
    known = {}

    def way(of, *names):
        return lanes if size is None else blocks.Blocks(size, taps, of, known, names)

    in_x, in_g = lane(x, pitch, gap, room), lane(g, pitch, gap, room)
    y, dx = lane(np.zeros_like(g), pitch, gap, room), lane(np.zeros_like(x), pitch, gap, room)
    dk = np.empty_like(kernel)
    calls = way(in_x, "x", "k").correlate(in_x, kernel, left, y, bias)
    calls += way(in_g, "g", "k").correlate_input(in_g, kernel, left, dx)
    calls += way(in_x, "x", "g").correlate_kernel(in_x, in_g, left, dk)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for _ in range(2):  # a replay finds what the one before it has left
        run(calls)
        expected = slow(x.astype(float), kernel.astype(float), left)
        np.testing.assert_allclose(
            y.array, expected + bias, rtol=0, atol=tolerance * (1 + abs(expected).max())
        )
        # <conv(x', k'), g> is bilinear: its slopes are the adjoints
        flipped = kernel[::-1].transpose(0, 2, 1).astype(float)
        expected = slow(g.astype(float), flipped, taps - 1 - left)
        np.testing.assert_allclose(
            dx.array, expected, rtol=0, atol=tolerance * (1 + abs(expected).max())
        )
        padded = np.pad(x.astype(float), ((0, 0), (left, taps), (0, 0)))
        for k in range(taps):
            expected = np.einsum("nlc,nlf->cf", padded[:, k : k + length], g.astype(float))
            np.testing.assert_allclose(dk[k], expected, rtol=0, atol=tolerance * n * (10 + length))
        assert zeros_between(y)
        assert zeros_between(dx)
        total = np.empty(filters, dtype)
        run([lanes.total(in_g, total)])
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
def test_lanes_equal_the_slow_loop(case, more):
    check_maps(**case, size=None, more=more)


@given(case=cases(), extra=st.integers(0, 10))
def test_block_transforms_equal_the_slow_loop(case, extra):
    check_maps(**case, size=max(4, 2 * (case["taps"] - 1 + extra)))


@pytest.mark.parametrize("size", [8, 24, 48, 64, 128])
def test_the_transform_and_its_inverse_undo_each_other(size):
    there, back = blocks._matrices(size, "<f8")
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
    size = blocks.best_size(taps, channels, filters)
    assert (size is not None) == transformed
    assert size is None or (size % 2 == 0 and size - taps + 1 >= taps - 1)


def test_rounding_of_the_transforms_is_as_stated():
    # float32: a relative error of at most 3e-6 of the largest output
    rng = np.random.default_rng(0)
    for taps, width in ((9, 64), (25, 16), (65, 32)):
        size = blocks.best_size(taps, width, width)
        x = rng.normal(size=(2, 300, width)).astype("float32")
        kernel = rng.normal(size=(taps, width, width)).astype("float32")
        in_x = lane(x, 300 + taps, taps, 4 * size + taps)
        y = lane(np.zeros_like(x), 300 + taps, taps, 4 * size + taps)
        run(blocks.Blocks(size, taps, in_x, {}, "xk").correlate(in_x, kernel, 3, y))
        expected = slow(x.astype(float), kernel.astype(float), 3)
        assert abs(y.array - expected).max() < 3e-6 * abs(expected).max()
