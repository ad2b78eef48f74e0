"""Convolution, padding and pooling against slow references written out in loops."""

import itertools
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import tinynn as tnn

from . import oracles

WORDS = ("valid", "same", "same_lower", "causal")


def normal(*shape, seed=0, dtype=float):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def zeros_and_length(padding, length, taps, stride, dilation):
    """Return zeros left and right, and the output length: the table of the documentation."""
    extent = dilation * (taps - 1) + 1
    ceil = -(-length // stride)
    total = max(0, (ceil - 1) * stride + extent - length)
    if padding == "valid":
        left = right = 0
    elif padding == "same":
        left, right = total // 2, total - total // 2
        return left, right, ceil
    elif padding == "same_lower":
        left, right = total - total // 2, total // 2
        return left, right, ceil
    elif padding == "causal":
        return dilation * (taps - 1), 0, ceil
    else:
        left, right = (padding, padding) if isinstance(padding, int) else padding
    return left, right, (length + left + right - extent) // stride + 1


@st.composite
def configurations(draw, most=4):
    """Draw the shapes of x and kernel and the keywords of a convolution that fits."""
    groups = draw(st.integers(1, 3))
    taps, dilation = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    x = (
        draw(st.integers(0, 3)),
        draw(st.integers(0, 30)),
        groups * draw(st.integers(1, most)),
    )
    kernel = (taps, x[2] // groups, groups * draw(st.integers(1, most)))
    few = st.integers(0, 6)
    how = {
        "strides": draw(st.integers(1, 5)),
        "padding": draw(st.sampled_from(WORDS) | few | st.tuples(few, few)),
        "dilation_rate": dilation,
        "groups": groups,
    }
    return x, kernel, how


def check_conv(x_shape, kernel_shape, how, dtype=float):
    """Check values, all gradients, and the gradients of those: everything is bilinear."""
    length, taps = x_shape[1], kernel_shape[0]
    left, right, outputs = zeros_and_length(
        how["padding"], length, taps, how["strides"], how["dilation_rate"]
    )
    loops = {
        "strides": how["strides"],
        "padding": (left, right),
        "dilation": how["dilation_rate"],
        "groups": how["groups"],
    }
    arrays = [normal(*s, dtype=dtype) for s in (x_shape, kernel_shape, kernel_shape[2:])]
    x, kernel, bias = (tnn.Tensor(a, requires_grad=True) for a in arrays)
    y = tnn.conv1d(x, kernel, bias, **how)
    assert y.shape == (x_shape[0], outputs, kernel_shape[2])
    assert y.dtype == dtype

    def close(actual, expected):
        assert actual.dtype == dtype
        rtol = 1e-12 if actual.dtype.itemsize == 8 else 1e-5
        oracles.assert_close(actual, expected, rtol=rtol, noise=rtol)

    a, k, b = (array.astype(float) for array in arrays)
    close(y.numpy(), oracles.conv(a, k, **loops) + b)
    close(tnn.conv1d(*arrays, **how), y.numpy())

    c = normal(*y.shape, seed=1)
    g = tnn.Tensor(c, dtype=dtype, requires_grad=True)
    pulled = tnn.grad(y, [x, kernel, bias], g, create_graph=True)
    close(pulled[0].numpy(), oracles.conv_input(c, k, length=length, **loops))
    close(pulled[1].numpy(), oracles.conv_kernel(a, c, kernel_size=taps, **loops))
    close(pulled[2].numpy(), c.sum(axis=(0, 1)))
    for raw, recorded in zip(tnn.grad(y, [x, kernel, bias], c), pulled, strict=True):
        close(raw, recorded.numpy())

    ha, hk = normal(*x_shape, seed=2), normal(*kernel_shape, seed=3)
    # d/dx, d/dkernel and d/dg of <ha, dx> + <hk, dkernel>
    again = tnn.grad((pulled[0] * ha).sum() + (pulled[1] * hk).sum(), [x, kernel, g])
    close(again[0], oracles.conv_input(c, hk, length=length, **loops))
    close(again[1], oracles.conv_kernel(ha, c, kernel_size=taps, **loops))
    close(again[2], oracles.conv(ha, k, **loops) + oracles.conv(a, hk, **loops))


EVERY_PADDING = [*WORDS, 0, 1, 4, (0, 3), (5, 0), (2, 3)]


@pytest.mark.parametrize("seed", range(200))
def test_conv1d_and_its_derivatives(seed):
    x, kernel, how = oracles.draw_convolution(seed, EVERY_PADDING)
    check_conv(x, kernel, how, np.dtype(["float64", "float32"][seed % 2]))


@settings(max_examples=100)
@given(configurations(), st.sampled_from(["float64", "float32"]))
@example(
    ((2, 1, 1), (9, 1, 1), {"strides": 1, "padding": "same", "dilation_rate": 4, "groups": 1}),
    float,
)
@example(
    ((0, 5, 2), (3, 2, 1), {"strides": 2, "padding": "causal", "dilation_rate": 1, "groups": 1}),
    float,
)
@example(
    ((2, 0, 2), (3, 2, 1), {"strides": 1, "padding": "same", "dilation_rate": 1, "groups": 1}),
    float,
)
def test_conv1d_at_the_edges(configuration, dtype):
    x, kernel, how = configuration
    *_, outputs = zeros_and_length(
        how["padding"], x[1], kernel[0], how["strides"], how["dilation_rate"]
    )
    if outputs < 1 and (x[1] or not isinstance(how["padding"], str) or how["padding"] == "valid"):
        with pytest.raises(ValueError, match=r"^conv1d: the input has \d+ steps and .* spans \d+"):
            tnn.conv1d(np.zeros(x), np.zeros(kernel), **how)
        return
    check_conv(x, kernel, how, np.dtype(dtype))


@pytest.mark.parametrize("channels", [1, 2, 5, 33])
@pytest.mark.parametrize("filters", [1, 3, 16, 40])
@pytest.mark.parametrize("taps", [1, 2, 3, 8, 9, 25])
def test_every_way_to_lay_out_the_products(taps, filters, channels):
    how = {"strides": 1, "padding": "same", "dilation_rate": 1, "groups": 1}
    check_conv((2, 31, channels), (taps, channels, filters), how)


@pytest.mark.parametrize("length", range(95, 105))
@pytest.mark.parametrize(("taps", "stride"), [(7, 1), (40, 1), (7, 3), (16, 16), (3, 5)])
def test_every_remainder_of_the_last_rows(length, taps, stride):
    how = {"strides": stride, "padding": "valid", "dilation_rate": 1, "groups": 1}
    check_conv((1, length, 1), (taps, 1, 1), how)


def test_a_series_alone_is_a_batch_of_one():
    x, k, b = normal(9, 2), normal(3, 2, 4), normal(4)
    for f, kernel, bias in ((tnn.conv1d, k, b), (tnn.conv1d_transpose, k.transpose(0, 2, 1), b)):
        single, batch = f(x, kernel, bias), f(x[None], kernel, bias)
        assert single.shape == batch.shape[1:]
        np.testing.assert_array_equal(single, batch[0])
    for f in (tnn.max_pool1d, tnn.avg_pool1d):
        np.testing.assert_array_equal(f(x, 2, padding="same"), f(x[None], 2, padding="same")[0])
    for mode in ("zeros", "reflect", "replicate", "circular"):
        np.testing.assert_array_equal(tnn.pad1d(x, 2, mode), tnn.pad1d(x[None], 2, mode)[0])


def test_the_kernel_is_not_flipped_and_lists_will_do():
    y = tnn.conv1d([[1], [10], [100]], [[[1]], [[2]]], [5])
    np.testing.assert_array_equal(y, [[26], [215]])


def test_no_series_sees_another_and_causal_sees_no_future():
    x, k = normal(3, 20, 2), normal(5, 2, 3)
    for how in (
        {"padding": "same"},
        {"padding": "valid"},
        {"padding": "causal", "dilation_rate": 2},
    ):
        together = tnn.conv1d(x, k, **how)
        for i in range(3):
            np.testing.assert_allclose(
                together[i : i + 1], tnn.conv1d(x[i : i + 1], k, **how), atol=1e-13
            )
    moved = x.copy()
    moved[:, 11:] += 1e6
    before, after = (tnn.conv1d(a, k, padding="causal", dilation_rate=3) for a in (x, moved))
    np.testing.assert_allclose(before[:, :11], after[:, :11], atol=1e-13)


@pytest.mark.parametrize(
    "laid_out",
    [
        np.asfortranarray,
        lambda a: a[::-1, ::-1][::-1, ::-1],
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),  # read-only
    ],
    ids=["columns", "reversed", "strided", "swapped bytes", "read-only"],
)
def test_any_layout_in_memory(laid_out):
    x, k = normal(2, 12, 2), normal(4, 2, 3)
    for how in ({}, {"strides": 2, "padding": "same"}, {"dilation_rate": 2, "padding": "causal"}):
        a, b = (tnn.Tensor(v, requires_grad=True) for v in (x, k))
        y = tnn.conv1d(a, b, **how)
        np.testing.assert_allclose(
            tnn.conv1d(laid_out(x), laid_out(k), **how), y.numpy(), rtol=1e-13
        )
        a._data, b._data = laid_out(x), laid_out(k)
        g = normal(*y.shape, seed=1)
        for left, right in zip(
            tnn.grad(tnn.conv1d(a, b, **how), [a, b], laid_out(g)),
            tnn.grad(y, [a, b], g),
            strict=True,
        ):
            np.testing.assert_allclose(left, right, rtol=1e-13, atol=1e-14)


def test_dtypes_of_mixed_arguments():
    x, k = normal(1, 5, 1), tnn.Tensor(normal(3, 1, 2, dtype="float32"), requires_grad=True)
    y = tnn.conv1d(x, k)
    assert y.dtype == float
    assert tnn.grad(y.sum(), k)[0].dtype == np.float32
    for f in (tnn.conv1d, tnn.conv1d_transpose):
        whole = f(np.arange(5).reshape(5, 1), np.ones((2, 1, 1), int))
        assert whole.dtype.kind == "i"


# ---------------------------------------------------------------- transposed


def check_transpose(configuration):
    _, (taps, width, filters), how = configuration
    batch, steps = configuration[0][:2]
    stride, dilation, padding = how["strides"], how["dilation_rate"], how["padding"]
    extent = dilation * (taps - 1) + 1
    if padding == "valid":
        left, length = 0, steps * stride + max(extent - stride, 0)
    elif padding == "same":
        left, length = max(0, extent - stride) // 2, steps * stride
    else:
        left, right = (padding, padding) if isinstance(padding, int) else padding
        length = (steps - 1) * stride + extent - left - right
    x, k = normal(batch, steps, filters), normal(taps, width, filters)
    bias = normal(width * how["groups"])
    if length < 1 and not isinstance(padding, str):
        with pytest.raises(
            ValueError, match=r"^conv1d_transpose: padding=\(\d, \d\) crops all of t"
        ):
            tnn.conv1d_transpose(x, k, bias, **how)
        return
    loops = {"strides": stride, "padding": (left, 0), "dilation": dilation, "groups": how["groups"]}
    tx, tk, tb = (tnn.Tensor(a, requires_grad=True) for a in (x, k, bias))
    y = tnn.conv1d_transpose(tx, tk, tb, **how)
    oracles.assert_close(
        y.numpy(), oracles.conv_input(x, k, length=length, **loops) + bias, rtol=1e-12
    )
    assert y.shape == (batch, length, len(bias))
    g = normal(*y.shape, seed=1)
    gx, gk, gb = tnn.grad(y, [tx, tk, tb], g)
    padded = np.pad(g, ((0, 0), (0, steps * stride + extent), (0, 0)))  # a window for every step
    back = oracles.conv(padded, k, **loops)[:, :steps]
    oracles.assert_close(gx, back, rtol=1e-12)
    oracles.assert_close(gk, oracles.conv_kernel(g, x, kernel_size=taps, **loops), rtol=1e-12)
    oracles.assert_close(gb, g.sum(axis=(0, 1)), rtol=1e-12)


@pytest.mark.parametrize("seed", range(100))
def test_conv1d_transpose(seed):
    check_transpose(oracles.draw_convolution(seed, ["valid", "same", 0, 1, (0, 2), (3, 1)]))


@given(configurations(most=2))
def test_conv1d_transpose_at_the_edges(configuration):
    assume(configuration[2]["padding"] not in ("same_lower", "causal"))
    check_transpose(configuration)


@given(configurations(most=2))
def test_the_transposed_convolution_is_the_adjoint(configuration):
    (batch, outputs, channels), kernel_shape, how = configuration
    extent = how["dilation_rate"] * (kernel_shape[0] - 1) + 1
    left, right = how["padding"] if isinstance(how["padding"], tuple) else (0, 0)
    if how["padding"] == "same":
        how["strides"], length = 1, outputs
    else:
        how["padding"] = left, right
        length = (outputs - 1) * how["strides"] + extent - left - right  # nothing is left over
    assume(length >= 1 and outputs >= 1)
    x, k = normal(batch, length, channels), normal(*kernel_shape)
    y = tnn.conv1d(x, k, **how)
    g = normal(*y.shape, seed=1)
    back = tnn.conv1d_transpose(g, k, **how)
    assert (back.shape, y.shape[1]) == (x.shape, outputs)
    assert np.sum(y * g) == pytest.approx(np.sum(x * back), rel=1e-10, abs=1e-10)


# ---------------------------------------------------------------- padding

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@given(
    st.sampled_from(sorted(MODES)),
    st.integers(1, 6),
    st.tuples(st.integers(0, 7), st.integers(0, 7)) | st.integers(0, 7),
)
def test_pad1d(mode, length, padding):
    left, right = (padding, padding) if isinstance(padding, int) else padding
    most = {"reflect": length - 1, "circular": length}.get(mode, 99)
    x = normal(1, length, 2)
    if max(left, right) > most:
        words = rf"^pad1d: mode='{mode}' can add at most {most} steps to a series of {length}, got"
        with pytest.raises(ValueError, match=words):
            tnn.pad1d(x, padding, mode)
        return

    def reference(x):
        return np.pad(x, ((0, 0), (left, right), (0, 0)), MODES[mode])

    np.testing.assert_array_equal(tnn.pad1d(x, padding, mode), reference(x))
    rng = np.random.default_rng(0)
    args = [x], rng
    oracles.check_first_order(
        lambda x: tnn.pad1d(x, padding, mode), *args, reference=reference, analytic=True
    )
    oracles.check_second_order(lambda x: tnn.pad1d(x, padding, mode) ** 2, *args)


# ---------------------------------------------------------------- pooling


def slow_pool(x, size, stride, padding, reduce):
    left = right = 0
    if padding == "same":
        left, right, _ = zeros_and_length("same", x.shape[1], size, stride, 1)
    out = []
    for start in range(-left, x.shape[1] + right - size + 1, stride):
        out.append(reduce(x[:, max(0, start) : start + size], axis=1))
    return np.stack(out, axis=1)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(kind, padding):
    f = {"max": tnn.max_pool1d, "avg": tnn.avg_pool1d}[kind]
    reduce = {"max": np.max, "avg": np.mean}[kind]
    rng = np.random.default_rng(0)
    for length, size, strides in itertools.product(range(1, 10), range(1, 6), [None, *range(1, 7)]):
        stride = strides or size
        x = (rng.permutation(length * 2).reshape(1, length, 2) / 10 - 9.0).repeat(2, axis=0)
        if padding == "valid" and length < size:
            words = rf"^{kind}_pool1d: the input has {length} steps .* shortest .* has {size} steps"
            with pytest.raises(ValueError, match=words):
                f(x, size, strides=strides)
            continue

        def op(x, size=size, strides=strides):
            return f(x, size, strides=strides, padding=padding)

        def reference(x, size=size, stride=stride):
            return slow_pool(x, size, stride, padding, reduce)

        y = op(tnn.Tensor(x))
        np.testing.assert_allclose(y.numpy(), reference(x), rtol=1e-13)
        outputs = -(-length // stride) if padding == "same" else (length - size) // stride + 1
        assert y.shape == (2, outputs, 2)
        if length in (4, 7) and size in (2, 3, 4):
            assert op(x.astype("float32")).dtype == np.float32
            assert op(x[:0]).shape == (0, outputs, 2)
            oracles.check_first_order(op, [x[:1]], rng, reference=reference)
            oracles.check_second_order(lambda x, op=op: op(x) ** 2, [x[:1, :, :1]], rng)


def test_max_pooling_shares_ties_with_no_padded_step_and_takes_whole_numbers():
    x = tnn.Tensor([[0.0], [0.0], [-1.0], [-2.0], [-3.0]], requires_grad=True)
    y = tnn.max_pool1d(x, 3, strides=2, padding="same")
    np.testing.assert_array_equal(y.numpy(), [[0], [0], [-2]])
    expected = [[0.5], [0.5 + 1], [0], [1], [0]]
    np.testing.assert_array_equal(tnn.grad(y.sum(), x)[0], expected)
    whole = tnn.max_pool1d(np.array([[-5], [-6], [-7]]), 2, padding="same")
    np.testing.assert_array_equal(whole, [[-5], [-7]])
    assert whole.dtype.kind == "i"


# ---------------------------------------------------------------- what it costs


def python_calls(f):
    count = 0

    def tick(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tick)
    try:
        f()
    finally:
        sys.setprofile(None)
    return count


LONG = {
    "conv1d": lambda x, k: tnn.conv1d(x, k, padding="same"),
    "strided": lambda x, k: tnn.conv1d(x, k, strides=3, dilation_rate=2, groups=2),
    "transpose": lambda x, k: tnn.conv1d_transpose(x, k, strides=2),
    "pooling": lambda x, k: tnn.max_pool1d(x, 3, strides=2, padding="same") * k.sum(),
    "padding": lambda x, k: tnn.pad1d(x, 3, "reflect") * k.sum(),
}


@pytest.mark.parametrize("name", LONG)
def test_no_loop_over_positions_or_series(name):
    def work(batch, length):
        x = tnn.Tensor(normal(batch, length, 4), requires_grad=True)
        k = tnn.Tensor(normal(5, 2 if name == "strided" else 4, 4), requires_grad=True)
        LONG[name](x, k).sum().backward()  # after this there is memory for a small one
        return python_calls(lambda: LONG[name](x, k).sum().backward())

    assert abs(work(20, 20_000) - work(2, 10_000)) <= 12  # a last row more or less
    assert abs(work(20, 200) - work(2, 50)) <= 12


@pytest.mark.parametrize(("taps", "channels", "filters"), [(65, 1, 8), (33, 8, 8), (9, 32, 4)])
def test_no_copy_of_every_window(taps, channels, filters):
    x = normal(1, 400_000 // channels, channels, dtype="float32")
    k = tnn.Tensor(normal(taps, channels, filters, dtype="float32"), requires_grad=True)
    tnn.conv1d(x[:, :1000], k)

    def peak(f):
        tracemalloc.start()
        kept = f()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, kept

    t = tnn.Tensor(x, requires_grad=True)
    most, y = peak(lambda: tnn.conv1d(t, k))
    assert most < y.numpy().nbytes + 0.1 * x.nbytes  # the output, and little else
    g = y.numpy()
    most, _ = peak(lambda: y.backward(g))
    assert most < 2.5 * (g.nbytes + x.nbytes)  # windows would take taps times that of x


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda x, k: tnn.conv1d(x[:, :4], k),
            ValueError,
            r"^conv1d: the input has 4 steps and 0 \+ 0 of padding, but a window spans 5\. "
            r"The shortest input for padding='valid' has 5 steps; pad more, or use a smaller",
        ),
        (
            lambda x, k: tnn.conv1d(x[:, :1], k, padding=(1, 0), dilation_rate=2),
            ValueError,
            r"has 1 steps and 1 \+ 0 of padding, but a window spans 9\. .* has 8 steps",
        ),
        (
            lambda x, k: tnn.conv1d(x[:, :0], k),
            ValueError,
            r"has 0 steps .* for padding='valid' has 5 steps",
        ),
        (
            lambda x, k: tnn.conv1d(x.swapaxes(1, 2), k),
            ValueError,
            r"^conv1d: a kernel of shape \(5, 2, 3\) with groups=1 takes 2 channels, but x has 8 "
            r"\(shape \(1, 2, 8\)\)\. It looks like \(batch, channels, length\), PyTorch's layout: "
            r"tinynn's is \(batch, length, channels\)\. Swap with x\.swapaxes\(-1, -2\)\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x[..., :1], k),
            ValueError,
            r"takes 2 channels, but x has 1 \(shape \(1, 8, 1\)\)\. Give x as \(batch, length, ch",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, groups=3),
            ValueError,
            r"a kernel of shape \(5, 2, 3\) with groups=3 takes 6 channels, but x has 2",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, groups=2),
            ValueError,
            r"groups must divide the kernel's last axis, got groups=2 and a kernel of shape \(5, 2",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, np.ones(2)),
            ValueError,
            r"^conv1d: bias must have shape \(3,\), got \(2,\)\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, 1.0),
            ValueError,
            r"^conv1d: bias must have shape \(3,\), got \(\)\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x[0, 0], k),
            ValueError,
            r"^conv1d: x must be \(batch, length, channels\) or \(length, channels\), got .*\(2,\)",
        ),
        (
            lambda x, k: tnn.conv1d(x, k[0]),
            ValueError,
            r"^conv1d: kernel must be \(kernel_size, channels // groups, filters\), got shape \(2,",
        ),
        (
            lambda x, k: tnn.conv1d_transpose(x, k[:0]),
            ValueError,
            r"kernel must be \(kernel_size, out_channels // groups, channels\), got shape \(0, 2,",
        ),
        (
            lambda x, k: tnn.conv1d_transpose(x, k),
            ValueError,
            r"^conv1d_transpose: a kernel of shape \(5, 2, 3\) with groups=1 takes 3 channels, but",
        ),
        (
            lambda x, k: tnn.conv1d_transpose(x, k, padding="causal"),
            ValueError,
            r"^conv1d_transpose: padding must be one of 'same', 'valid', got 'causal'\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, padding="sane"),
            ValueError,
            r"^conv1d: padding must be one of 'causal', 'same', 'same_lower', 'valid', got 'sane'"
            r"\. Did you mean 'same'\?$",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, padding=-1),
            ValueError,
            r"^conv1d: padding\[0\] must be a non-negative integer, got -1\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, padding=(0, 1.5)),
            TypeError,
            r"^conv1d: padding\[1\] must be a non-negative integer, got 1\.5\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, padding=(1, 2, 3)),
            TypeError,
            r"padding must be one of .*, a non-negative integer or a pair \(left, right\), got \(",
        ),
        (lambda x, k: tnn.conv1d(x, k, padding=True), TypeError, r"padding must be .* got True\.$"),
        (lambda x, k: tnn.conv1d(x, k, padding=None), TypeError, r"padding must be .* got None\.$"),
        (
            lambda x, k: tnn.conv1d(x, k, strides=0),
            ValueError,
            r"^conv1d: strides must be a positive integer, got 0\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, strides=1.0),
            TypeError,
            r"^conv1d: strides must be a positive integer, got 1\.0\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, dilation_rate=True),
            TypeError,
            r"^conv1d: dilation_rate must be a positive integer, got True\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, groups=np.int64(0)),
            ValueError,
            r"^conv1d: groups must be a positive integer, got 0\.$",
        ),
        (
            lambda x, k: tnn.conv1d(x, k, stride=2),
            TypeError,
            "unexpected keyword argument 'stride'",
        ),
        (
            lambda x, k: tnn.conv1d_transpose(x[:, :1], k[:2].swapaxes(1, 2), padding=3),
            ValueError,
            r"^conv1d_transpose: padding=\(3, 3\) crops all of the 2 output steps\. Crop less\.$",
        ),
        (
            lambda x, k: tnn.pad1d(x, "same"),
            TypeError,
            r"^pad1d: padding must be an integer or a pair .* got 'same'\. Words such as 'same' ar",
        ),
        (
            lambda x, k: tnn.pad1d(x, 1, "mirror"),
            ValueError,
            r"^pad1d: mode must be one of 'circular', 'reflect', 'replicate', 'zeros', got 'mirr",
        ),
        (
            lambda x, k: tnn.pad1d(x[:, :0], 1, "replicate"),
            ValueError,
            r"^pad1d: mode='replicate' can add at most 0 steps to a series of 0, got \(1, 1\)",
        ),
        (
            lambda x, k: tnn.pad1d(x[0, 0], 1),
            ValueError,
            r"^pad1d: x must be \(batch, length, channels\) or \(length, channels\), got shape \(2",
        ),
        (
            lambda x, k: tnn.max_pool1d(x, 0),
            ValueError,
            r"^max_pool1d: pool_size must be a positive integer, got 0\.$",
        ),
        (
            lambda x, k: tnn.avg_pool1d(x, 2, strides=0),
            ValueError,
            r"^avg_pool1d: strides must be a positive integer, got 0\.$",
        ),
        (
            lambda x, k: tnn.max_pool1d(x, 2, padding="causal"),
            ValueError,
            r"^max_pool1d: padding must be one of 'same', 'valid', got 'causal'",
        ),
        (
            lambda x, k: tnn.max_pool1d(x, 2, padding=1),
            TypeError,
            r"^max_pool1d: padding must be one of 'same', 'valid', got 1\.$",
        ),
        (
            lambda x, k: tnn.avg_pool1d(x[0, 0], 2),
            ValueError,
            r"^avg_pool1d: x must be \(batch, length, channels\) or \(length, channels\), got sha",
        ),
    ],
)
def test_misuse(call, error, words):
    with pytest.raises(error, match=words):
        call(np.ones((1, 8, 2)), np.ones((5, 2, 3)))


@pytest.mark.parametrize(
    "padding", [2, np.int8(2), (2, 2), [2, np.int64(2)], np.array([2, 2]), np.array(2)]
)
def test_a_padding_in_any_integral_form(padding):
    x, k = normal(1, 8, 2), normal(5, 2, 3)
    expected = tnn.conv1d(x, k, padding="same")
    np.testing.assert_array_equal(tnn.conv1d(x, k, padding=padding), expected)
    np.testing.assert_array_equal(tnn.pad1d(x, padding), np.pad(x, ((0, 0), (2, 2), (0, 0))))
    np.testing.assert_array_equal(
        tnn.conv1d(
            x, k, strides=np.uint8(1), dilation_rate=np.int32(1), groups=np.array(1), padding=2
        ),
        expected,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (2, 8), (16, 16)])
def test_a_bad_value_reaches_the_outputs_that_see_it_and_no_other(bad, channels, filters):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 40, channels)), rng.normal(size=(5, channels, filters))
    x[1, 20, 0] = bad
    y = tnn.conv1d(x, kernel, padding="same")
    assert np.isfinite(y[0]).all()
    seen = ~np.isfinite(y[1]).all(axis=-1)
    assert np.flatnonzero(seen).tolist() == [18, 19, 20, 21, 22]


@pytest.mark.parametrize("name", ["strides", "dilation_rate", "groups"])
def test_a_setting_that_was_accepted_does_not_let_an_equal_one_of_another_type_through(name):
    x, k = normal(1, 8, 1), normal(3, 1, 1)
    tnn.conv1d(x, k, **{name: 1})
    for wrong in (True, 1.0, [1]):
        with pytest.raises(TypeError, match=f"{name} must be a positive integer, got"):
            tnn.conv1d(x, k, **{name: wrong})


def test_complex_series_are_convolved_too():
    x, k = normal(2, 9, 2) + 1j * normal(2, 9, 2), normal(3, 2, 4)
    parts = [tnn.conv1d(part, k, padding="same") for part in (x.real, x.imag)]
    np.testing.assert_allclose(tnn.conv1d(x, k, padding="same"), parts[0] + 1j * parts[1])
    x[0, 4, 1] += 1j * np.nan
    seen = np.isnan(tnn.conv1d(x, k, padding="same")).any(axis=2)
    assert seen.tolist() == [[3 <= i <= 5 for i in range(9)], [False] * 9]


def test_float16_sums_that_overflow_are_no_warning():
    x, k = np.full((4, 500, 2), 8, "e"), np.ones((3, 2, 4), "e")
    assert (tnn.conv1d(x, k) == 48).all()


def test_no_outputs_need_no_finite_kernel():
    kernel = np.array([1, np.nan, 2, 3, 4]).reshape(5, 1, 1)
    for strides in (1, 2):
        y = tnn.conv1d_transpose(np.zeros((1, 0, 1)), kernel, strides=strides)
        assert not y.any()


def test_depthwise_and_grouped_adjoints_agree_where_the_kernel_is_not_finite():
    for bad in (np.inf, np.nan):
        kernel, g = np.array([1.0, bad]).reshape(2, 1, 1), np.ones((1, 3, 1))
        alone = tnn.conv1d_transpose(g, kernel)
        twice = np.concatenate([kernel, kernel], axis=2)
        both = tnn.conv1d_transpose(np.concatenate([g, g], axis=2), twice, groups=2)
        np.testing.assert_array_equal(both, np.concatenate([alone, alone], axis=2))
        assert alone[0, 0, 0] == 1


def test_depthwise_series_that_are_not_finite_are_no_warning():
    x, k = np.ones((1, 6, 2)), np.ones((3, 1, 2))
    x[0, 2, 0], k[1] = np.inf, 0
    found = tnn.conv1d(x, k, groups=2)
    assert np.isfinite(found[..., 1]).all()
    assert np.isnan(found[0, 1, 0])


def test_large_finite_outputs_are_no_warning():
    x = np.full((1, 8, 1), 3e38, "float32")
    assert tnn.conv1d(x, np.ones((1, 1, 1), "float32")).tolist() == x.tolist()
