"""Derivatives by other means: the complex step and central differences, of plain functions."""

import numpy as np

import tinynn as tnn


def complex_step(f, args):
    """Return the gradients of a real scalar analytic ``f``: exact but for rounding."""
    h, grads = 1e-30, []
    for i, x in enumerate(args):
        grad = np.zeros(x.shape)
        for where in np.ndindex(x.shape):
            moved = x.astype(complex)
            moved[where] += 1j * h
            grad[where] = f(*args[:i], moved, *args[i + 1 :]).imag / h
        grads.append(grad)
    return grads


def differences(f, args, h=1e-3):
    """Return the gradients of a scalar ``f`` by four-point central differences, error h^4."""
    grads = []
    for i, x in enumerate(args):
        grad = np.zeros(x.shape)
        for where in np.ndindex(x.shape):
            at = {}
            for step in (-2, -1, 1, 2):
                moved = x.copy()
                moved[where] += step * h
                at[step] = f(*args[:i], moved, *args[i + 1 :])
            grad[where] = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h)
        grads.append(grad)
    return grads


def assert_close(actual, expected, rtol=1e-7, noise=1e-10):
    """Compare relative to the size of ``expected``; ``noise`` is the rounding of the oracle."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    bound = rtol * np.abs(expected).max(initial=0) + noise
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound)


def leaves(args):
    """Return float arrays as Tensors that require a gradient, all else as it is."""
    return [
        tnn.Tensor(a, requires_grad=True)
        if isinstance(a, np.ndarray) and a.dtype.kind == "f"
        else a
        for a in args
    ]


def pulled_back(f, args, g, **how):
    """Return tinynn's gradients of <g, f(args)> for the float arrays among ``args``."""
    tensors = leaves(args)
    return tnn.grad(f(*tensors), [t for t in tensors if isinstance(t, tnn.Tensor)], g, **how)


def check_first_order(f, args, rng, *, reference=None, analytic=False):
    """Compare grad() with the derivative of ``reference``, plain NumPy, for a random cotangent."""
    reference = reference or f
    places = [i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    g = rng.normal(size=np.shape(reference(*args)))

    def scalar(*xs):
        full = list(args)
        for i, x in zip(places, xs, strict=True):
            full[i] = x
        return np.sum(g * reference(*full))

    oracle = complex_step if analytic else differences
    expected = oracle(scalar, [args[i] for i in places])
    for actual, wanted in zip(pulled_back(f, args, g), expected, strict=True):
        assert type(actual) is np.ndarray
        assert_close(actual, wanted, rtol=1e-10 if analytic else 1e-7)


def check_second_order(f, args, rng):
    """Compare the gradient's own gradient, in arguments and cotangent, with its differences."""
    g = rng.normal(size=np.shape(f(*args)))
    first = pulled_back(f, args, g)
    hs = [rng.normal(size=a.shape) for a in first]
    tensors = leaves([*args, g])
    xs = [t for t in tensors if isinstance(t, tnn.Tensor)]
    grads = tnn.grad(f(*tensors[:-1]), xs[:-1], xs[-1], create_graph=True)
    for a, b in zip(grads, first, strict=True):
        assert_close(a.numpy(), b, rtol=1e-14, noise=0)
    total = sum((a * h).sum() for a, h in zip(grads, hs, strict=True))
    total = total + sum((x * 0.0).sum() for x in xs)  # every x is part of the graph
    places = [i for i, t in enumerate(tensors) if isinstance(t, tnn.Tensor)]

    def scalar(*moved):
        full = [*args, g]
        for i, x in zip(places, moved, strict=True):
            full[i] = x
        grads = pulled_back(f, full[:-1], full[-1])
        return sum(np.sum(a * h) for a, h in zip(grads, hs, strict=True))

    expected = differences(scalar, [x.numpy() for x in xs])
    for actual, wanted in zip(tnn.grad(total, xs), expected, strict=True):
        assert_close(actual, wanted, rtol=1e-7, noise=1e-9)


def conv_terms(x_shape, kernel_shape, outputs, strides, left, dilation, groups):
    """Yield output step, input step, tap, channels and filters of every product."""
    width, per_group = x_shape[2] // groups, kernel_shape[2] // groups
    for t in range(outputs):
        for j in range(kernel_shape[0]):
            i = t * strides + j * dilation - left
            if 0 <= i < x_shape[1]:
                for q in range(groups):
                    yield (
                        *(t, i, j),
                        slice(q * width, (q + 1) * width),
                        slice(q * per_group, (q + 1) * per_group),
                    )


def conv(x, kernel, *, strides, padding, dilation, groups):
    """Convolution written out in loops."""
    extent = dilation * (kernel.shape[0] - 1) + 1
    outputs = (x.shape[1] + sum(padding) - extent) // strides + 1
    y = np.zeros((x.shape[0], outputs, kernel.shape[2]), np.result_type(x, kernel))
    for t, i, j, cs, fs in conv_terms(
        x.shape, kernel.shape, outputs, strides, padding[0], dilation, groups
    ):
        y[:, t, fs] += x[:, i, cs] @ kernel[j, :, fs]
    return y


def conv_input(g, kernel, *, length, strides, padding, dilation, groups):
    """Its adjoint in the input: every product of the loops goes back where it came from."""
    x = np.zeros((g.shape[0], length, kernel.shape[1] * groups), np.result_type(g, kernel))
    for t, i, j, cs, fs in conv_terms(
        x.shape, kernel.shape, g.shape[1], strides, padding[0], dilation, groups
    ):
        x[:, i, cs] += g[:, t, fs] @ kernel[j, :, fs].T
    return x


def conv_kernel(x, g, *, kernel_size, strides, padding, dilation, groups):
    """Its adjoint in the kernel."""
    shape = (kernel_size, x.shape[2] // groups, g.shape[2])
    kernel = np.zeros(shape, np.result_type(x, g))
    for t, i, j, cs, fs in conv_terms(
        x.shape, shape, g.shape[1], strides, padding[0], dilation, groups
    ):
        kernel[j, :, fs] += x[:, i, cs].T @ g[:, t, fs]
    return kernel


def draw_convolution(seed, paddings):
    """Draw shapes of x and kernel, and keywords, evenly; the padding is one of those given."""
    rng = np.random.default_rng(seed)
    groups, taps = (int(rng.integers(1, n)) for n in (4, 10))
    strides, dilation = (int(rng.integers(1, n)) for n in (6, 5))
    batch, length, width, filters = (
        int(rng.integers(*n)) for n in ((1, 4), (1, 40), (1, 5), (1, 5))
    )
    padding = paddings[rng.integers(len(paddings))]
    if padding == "valid":
        length += dilation * (taps - 1)
    elif not isinstance(padding, str):
        left, right = (padding, padding) if isinstance(padding, int) else padding
        length += max(0, dilation * (taps - 1) - left - right)
    how = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups}
    return (batch, length, width * groups), (taps, width, filters * groups), how
