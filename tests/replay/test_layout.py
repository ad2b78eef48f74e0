"""Convolutions on padded batches: as eager code, at every run, whatever stands between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn as tnn
from tinynn.autodiff import ops
from tinynn.autodiff.ops import convolution as conv
from tinynn.kernels.padded_batch import PaddedBatch
from tinynn.replay.layout import Layout
from tinynn.replay.lowering import lower
from tinynn.replay.planning import NotFinite

from .recorded import names, program, recorded

RNG = np.random.default_rng

ACTIVATIONS = {
    "relu": ops.relu,
    "tanh": ops.tanh,
    "leaky": ops.leaky_relu,
    "2x + 1": lambda x: 2 * x + 1,  # does not keep zeros zero
    "exp": lambda x: ops.exp(-x * x),
    "x / (1 + x^2)": lambda x: x / (1 + x * x),
    "softmax": ops.softmax,
    "step": lambda x: x * ops.astype(x > 0, x.dtype),
    "cut": lambda x: x[:, 1:],
    "pool": lambda x: tnn.max_pool1d(x, 2),
}


def kernels(channels, taps, dtype, seed=0):
    rng = RNG(seed)
    pairs = zip(channels, channels[1:], taps, strict=False)
    ks = [rng.normal(size=(t, a, b)) / np.sqrt(a * t) for a, b, t in pairs]
    bs = [rng.normal(size=k.shape[2]) for k in ks]
    return [tnn.Tensor(a.astype(dtype), requires_grad=True) for a in (*ks, *bs)]


def network(leaves, paddings, activation):
    """Return a step through convolutions of these paddings, which leaves gradients."""
    n = len(leaves) // 2

    def step(x):
        for w in leaves:
            w.grad = None
        h = x
        for k, b, padding in zip(leaves[:n], leaves[n:], paddings, strict=True):
            h = activation(tnn.conv1d(h, k, b, padding=padding))
        loss = (h * h).mean()
        loss.backward()
        return loss.item(), h.detach().numpy()

    return step


def same(got, expected, rtol):
    for a, b in zip(got, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        scale = np.abs(b).max() if np.size(b) else 0
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale)


def agree(step, leaves, xs, rtol):
    """Compare a program with eager code on several inputs; return the program."""
    p = program(step, xs[0])
    for x in xs:
        got = *p.run([x]), *[w.grad for w in leaves]
        same(got, (*step(x), *[w.grad for w in leaves]), rtol)
    return p


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_between_convolutions_anything_may_stand(activation, dtype):
    leaves = kernels([2, 4, 3, 1], [5, 4, 3], dtype)
    step = network(leaves, ["same", "causal", (0, 2)], ACTIVATIONS[activation])
    xs = [RNG(i).normal(size=(3, 40, 2)).astype(dtype) for i in range(3)]
    agree(step, leaves, xs, {"float32": 2e-5, "float64": 1e-13, "float16": 0.02}[dtype])


@given(st.data())
def test_any_sizes_and_paddings(data):
    draw = data.draw
    taps = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    channels = draw(st.lists(st.integers(1, 9), min_size=len(taps) + 1, max_size=len(taps) + 1))
    pads = st.sampled_from(["same", "same_lower", "causal", "valid"]) | st.tuples(
        st.integers(0, 7), st.integers(0, 7)
    )
    paddings = [draw(pads) for _ in taps]
    leaves = kernels(channels, taps, "float64")
    shape = draw(st.integers(1, 4)), draw(st.integers(22, 60)), channels[0]
    xs = [RNG(i).normal(size=shape) for i in range(2)]
    agree(network(leaves, paddings, ops.tanh), leaves, xs, 1e-12)


@pytest.mark.parametrize(("channels", "taps"), [((1, 16, 16, 1), 25), ((1, 32, 32, 8), 33)])
def test_long_kernels_of_many_channels(channels, taps):
    leaves = kernels(channels, [taps] * 3, "float64")
    xs = [RNG(i).normal(size=(2, 200, 1)) for i in range(3)]
    agree(network(leaves, ["same", "valid", "causal"], ops.tanh), leaves, xs, 1e-11)


@pytest.mark.parametrize(
    "paddings",
    [
        [(6, 6), (6, 6), (6, 6), (6, 6)],
        [(6, 6), (6, 5), "same", "causal"],
        [(0, 0), (6, 6), (6, 6), 0],
    ],
)
def test_series_that_outgrow_the_pitch(paddings):
    leaves = kernels([2, 3, 2, 3, 2], [7] * 4, "float64")
    xs = [RNG(i).normal(size=(3, 30, 2)) for i in range(2)]
    agree(network(leaves, paddings, ops.tanh), leaves, xs, 1e-12)


@pytest.mark.parametrize("options", [{"strides": 2}, {"dilation_rate": 2}, {"groups": 2}])
def test_other_convolutions_between_them(options):
    k = kernels([2, 4], [5], "float64")[0]
    inner = tnn.Tensor(
        RNG(3).normal(size=(3, 4 // options.get("groups", 1), 4)), requires_grad=True
    )

    def step(x):
        k.grad = inner.grad = None
        h = tnn.relu(tnn.conv1d(x, k, padding="same"))
        h = tnn.conv1d(h, inner, padding="same", **options)
        (tnn.conv1d(h, ops.transpose(k, (0, 2, 1)), padding="same") ** 2).sum().backward()
        return 0.0, h.detach().numpy()

    agree(step, [k, inner], [RNG(i).normal(size=(2, 30, 2)) for i in range(2)], 1e-12)


def test_arrays_that_two_convolutions_share_and_residual_sums():
    a, b = kernels([3, 3, 3], [5, 3], "float64")[:2]

    def step(x):
        a.grad = b.grad = None
        h = x
        for _ in range(2):
            h = h + tnn.conv1d(ops.relu(tnn.conv1d(h, a, padding="same")), b, padding="same")
        (h * x).sum().backward()
        return 0.0, h.detach().numpy()

    agree(step, [a, b], [RNG(i).normal(size=(2, 30, 3)) for i in range(3)], 1e-12)


def test_the_gradient_of_a_series_may_be_that_of_a_leaf():
    k = kernels([2, 2], [5], "float64")[0]
    x = tnn.Tensor(RNG(0).normal(size=(2, 30, 2)), requires_grad=True)

    def step(y):
        k.grad = x.grad = None
        (tnn.tanh(tnn.conv1d(x, k, padding="same")) * y).sum().backward()
        return 0.0, y * 2

    agree(step, [k, x], [RNG(i).normal(size=(2, 30, 2)) for i in range(3)], 1e-12)
    p = program(step, np.ones((2, 30, 2)), order=[x, k])
    p.run([np.ones((2, 30, 2))])
    step(np.ones((2, 30, 2)))
    same([p.flat_gradient], [np.concatenate([x.grad.ravel(), k.grad.ravel()])], 1e-12)


def test_second_derivatives():
    k = kernels([2, 2], [5], "float64")[0]

    def step(x):
        k.grad = None
        x = tnn.Tensor(x, requires_grad=True)
        y = tnn.tanh(tnn.conv1d(x, k, padding="same")).sum()
        (g,) = tnn.grad(y, [x], create_graph=True)
        (g * g).sum().backward()
        return 0.0, g.detach().numpy()

    agree(step, [k], [RNG(i).normal(size=(2, 30, 2)) for i in range(2)], 1e-12)


def test_there_is_one_product_for_all_series_and_no_copy_between_convolutions():
    leaves = kernels([1, 8, 1], [9, 9], "float32")
    x = np.ones((32, 512, 1), "float32")

    def forward(x):
        h = ops.relu(tnn.conv1d(x, leaves[0], leaves[2], padding="same"))
        return tnn.conv1d(h, leaves[1], leaves[3], padding="same").detach()

    found = names(program(forward, x))
    assert found.count("matmul") == 2
    assert found.count("copyto") == 4  # kernels and biases
    assert found.count("_run") == found.count("conv") == 0


# ---------------------------------------------------------------- what is not finite


@pytest.mark.parametrize("hide", [np.nan_to_num, lambda y: np.where(y > 0, 1.0, 0.0), np.isnan])
def test_a_nan_that_an_operation_of_ones_own_hides_stays_where_it_is(hide):
    hidden = tnn.elementwise(None)(lambda y: hide(y) * 1.0)
    k = kernels([1, 1], [3], "float64")[0]

    def f(x):
        return hidden(tnn.conv1d(x, k, padding="same")).sum().detach().item()

    x = RNG(1).normal(size=(2, 40, 1))
    p = program(f, x)
    assert p.run([x]) == pytest.approx(f(x))
    x[0, 10] = np.inf
    with pytest.raises(NotFinite, match="not finite"):
        p.run([x])


def test_a_convolution_that_is_made_twice_is_checked_if_either_hides_a_nan():
    k = kernels([1, 1], [3], "float64")[0]

    def f(x):
        first = tnn.conv1d(x, k, padding="same")[:, :5].detach()
        second = tnn.conv1d(x, k, padding="same").detach()
        return first, tnn.where(second > 0, 1.0, -1.0)

    x = RNG(1).normal(size=(2, 40, 1))
    p = program(f, x)
    assert names(p).count("matmul") == 1
    same(p.run([x]), f(x), 1e-12)
    x[0, 20] = np.inf
    with pytest.raises(NotFinite, match="not finite"):
        p.run([x])


def test_after_a_nan_the_gaps_are_empty():
    leaves = kernels([1, 3, 1], [5, 5], "float64")
    step = network(leaves, ["same", "same"], ops.tanh)
    x = RNG(1).normal(size=(3, 30, 1))
    p = program(step, x)
    with pytest.raises(NotFinite, match="not finite"):
        p.run([np.where(x > 2, x, np.nan)])
    same(p.run([x]), step(x), 1e-12)


def test_wherever_it_is_interrupted_the_next_run_is_right():
    same_again = tnn.elementwise(lambda g, y, x: g, passes_nan=True)(lambda x: x + 0)
    ks = kernels([2] * 5, [3, 7, 3, 5], "float64")[:4]

    def f(x):
        for k in ks:
            x = same_again(tnn.conv1d(same_again(x), k, padding="same"))
        return x.detach().numpy()

    def interrupt():
        raise KeyboardInterrupt

    x = RNG(0).normal(size=(3, 20, 2))
    p, expected = program(f, x), f(x)
    for i in range(len(p.calls)):
        p.calls.insert(i, (interrupt, ()))
        with pytest.raises(KeyboardInterrupt):
            p.run([x * 100])
        del p.calls[i]
        same([p.run([x])], [expected], 1e-12)


def test_after_an_update_transforms_of_arrays_that_it_changed_are_made_anew():
    k = RNG(0).normal(size=(33, 16, 16)) / 20
    w = tnn.Tensor([1.0], requires_grad=True)

    class Doubling(tnn.SGD):
        def updated(self, w, g, slots):
            k[...] *= 2
            return super().updated(w, g, slots)

    optimizer = Doubling([w], 0.0)

    def f(x):
        before = tnn.conv1d(x, k, padding="same")
        w.grad = None
        (w * 1.0).sum().backward()
        optimizer.step()
        return before, tnn.conv1d(x, k, padding="same")

    x = RNG(1).normal(size=(2, 200, 16))
    p = program(f, x)
    before, after = p.run([x])
    same([after], [before * 2], 1e-11)


def test_after_an_assignment_convolutions_still_stand_in_padded_batches():
    k, c = kernels([2, 2], [5], "float64")

    def step(x):
        k.grad = None
        c.data = c.data * 1
        y = tnn.conv1d(x, k, c, padding="same")
        (y * y).sum().backward()
        return 0.0, y.detach().numpy()

    xs = [RNG(i).normal(size=(2, 30, 2)) for i in range(2)]
    p = agree(step, [k], xs, 1e-12)
    assert not {"conv", "conv_kernel"} & {*names(p)}
    before = c.numpy().copy()
    with pytest.raises(NotFinite, match="not finite"):
        p.run([xs[0] * np.nan])
    assert c.numpy().tolist() == before.tolist()


def test_after_an_update_a_nan_stays_where_it_is():
    k, c = kernels([2, 2], [5], "float64")
    optimizer = tnn.SGD([c], 0.1)

    def step(x):
        k.grad = None
        c.grad = c.data * 0
        optimizer.step()
        y = tnn.conv1d(x, k, c, padding="same")
        (y * y).sum().backward()
        return 0.0, y.detach().numpy()

    xs = [RNG(i).normal(size=(2, 30, 2)) for i in range(2)]
    p = agree(step, [k], xs, 1e-12)
    bad = xs[0].copy()
    bad[1, 5] = np.nan
    _, got = p.run([bad])
    np.testing.assert_allclose(got, step(bad)[1], rtol=1e-12)
    assert np.isnan(got).any(axis=2).sum() == 5
    same(p.run([xs[0]]), step(xs[0]), 1e-12)


def test_a_sum_to_a_shape_other_than_the_channels_is_right():
    k, b = kernels([1, 3], [5], "float64")
    one = tnn.Tensor([0.5], requires_grad=True)

    def step(x):
        one.grad = None
        y = tnn.conv1d(x, k, b, padding="same") + one
        (y * y).sum().backward()
        return 0.0, y.detach().numpy()

    agree(step, [one], [RNG(i).normal(size=(2, 30, 1)) for i in range(2)], 1e-12)


def test_half_precision_and_empty_batches_are_no_padded_batches():
    for shape, dtype in (((2, 9, 1), "float16"), ((0, 9, 1), "float32")):
        k = tnn.Tensor(np.ones((3, 1, 2), dtype))
        lowered = lower(recorded(lambda x, k=k: conv.conv1d(x, k), np.ones(shape, dtype)))
        assert not Layout(lowered).maps


def test_batches_of_equal_shape_are_used_again():
    ks = kernels([2] * 7, [3] * 6, "float64")[:6]

    def f(x):
        for k in ks:
            x = ops.tanh(tnn.conv1d(x, k, padding="same"))
        return x.detach()

    p = program(f, np.ones((2, 30, 2)))
    assert len(p.padded) == 3
    assert all(isinstance(batch, PaddedBatch) for batch in p.padded)
