"""The same functions in PyTorch: values, gradients and gradients of gradients."""

import numpy as np
import pytest

import tinynn as tnn

from . import oracles

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # these arrays are tiny
F = torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch, of itself


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def compare(ours, theirs, *arrays, rtol=1e-9):
    """Compare two functions of the same arrays: values, first and second derivatives."""
    xs = [tnn.Tensor(a, requires_grad=True) for a in arrays]
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, t = ours(*xs), theirs(*ts)

    def close(a, b):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=rtol, atol=1e-10)

    assert y.shape == tuple(t.shape)
    close(y.numpy(), t)
    g = normal(*y.shape, seed=1)
    first = tnn.grad(y, xs, g, create_graph=True)
    wanted = torch.autograd.grad(t, ts, torch.tensor(g), create_graph=True)
    hs = [normal(*a.shape, seed=2) for a in arrays]
    for a, b in zip(first, wanted, strict=True):
        close(a.numpy(), b)
    late = sum((a * h).sum() for a, h in zip(first, hs, strict=True)) + sum(
        (x * 0.0).sum() for x in xs
    )
    total = sum((b * torch.tensor(h)).sum() for b, h in zip(wanted, hs, strict=True))
    total = total + sum((x * 0.0).sum() for x in ts)
    for a, b in zip(tnn.grad(late, xs), torch.autograd.grad(total, ts), strict=True):
        close(a, b)


FUNCTIONS = {
    "gelu": (tnn.gelu, F.gelu),
    "gelu tanh": (lambda x: tnn.gelu(x, True), lambda x: F.gelu(x, approximate="tanh")),
    "elu": (lambda x: tnn.elu(x, 0.7), lambda x: F.elu(x, 0.7)),
    "leaky_relu": (tnn.leaky_relu, lambda x: F.leaky_relu(x, 0.2)),
    "relu": (tnn.relu, F.relu),
    "silu": (tnn.silu, F.silu),
    "sigmoid": (tnn.sigmoid, torch.sigmoid),
    "softplus": (tnn.softplus, lambda x: F.softplus(x, threshold=50)),
    "tanh": (tnn.tanh, torch.tanh),
    "logsumexp": (lambda x: tnn.logsumexp(x, axis=(0, 2)), lambda x: torch.logsumexp(x, (0, 2))),
    "softmax": (lambda x: tnn.softmax(x, axis=1), lambda x: torch.softmax(x, 1)),
    "log_softmax": (tnn.log_softmax, lambda x: torch.log_softmax(x, -1)),
    "var": (lambda x: tnn.var(x, axis=(0, -1), ddof=1), lambda x: torch.var(x, (0, -1))),
    "std": (lambda x: x.std(axis=1, keepdims=True), lambda x: x.std(1, False, True)),
    "cumsum": (lambda x: tnn.cumsum(x, axis=1), lambda x: torch.cumsum(x, 1)),
    "cumprod": (lambda x: tnn.cumprod(x, axis=1), lambda x: torch.cumprod(x, 1)),
    "diff": (lambda x: tnn.diff(x, 2, axis=1), lambda x: torch.diff(x, 2, 1)),
    "exp2": (tnn.exp2, torch.exp2),
    "log2": (lambda x: tnn.log2(x * x), lambda x: torch.log2(x * x)),
    "log10": (lambda x: tnn.log10(x * x), lambda x: torch.log10(x * x)),
    "arcsin": (lambda x: tnn.arcsin(tnn.tanh(x)), lambda x: torch.asin(torch.tanh(x))),
    "arccos": (lambda x: tnn.arccos(tnn.tanh(x)), lambda x: torch.acos(torch.tanh(x))),
    "arctan2": (lambda x: tnn.arctan2(x[:1], x[1:]), lambda x: torch.atan2(x[:1], x[1:])),
    "logaddexp": (lambda x: tnn.logaddexp(x[:1], x), lambda x: torch.logaddexp(x[:1], x)),
    "norm 1": (lambda x: tnn.norm(x, 1, 2), lambda x: torch.linalg.vector_norm(x, 1, 2)),
    "norm inf": (
        lambda x: tnn.norm(x, np.inf, 0),
        lambda x: torch.linalg.vector_norm(x, np.inf, 0),
    ),
    "norm of matrices": (
        lambda x: tnn.norm(x, "fro", (1, 2)),
        lambda x: torch.linalg.matrix_norm(x, "fro", (1, 2)),
    ),
    "tile": (lambda x: tnn.tile(x, (2, 1, 3)), lambda x: torch.tile(x, (2, 1, 3))),
    "vstack": (lambda x: tnn.vstack([x, 2 * x]), lambda x: torch.vstack([x, 2 * x])),
    "hstack": (lambda x: tnn.hstack([x, 2 * x]), lambda x: torch.hstack([x, 2 * x])),
    "sort": (lambda x: tnn.sort(x, axis=1), lambda x: torch.sort(x, dim=1)[0]),
    "take": (
        lambda x: tnn.take(x, [5, 5, 0]),
        lambda x: torch.take(x, torch.tensor([5, 5, 0])),
    ),
    "take_along_axis": (
        lambda x: tnn.take_along_axis(x, np.full((2, 5, 4), 1), axis=1),
        lambda x: torch.gather(x, 1, torch.full((2, 5, 4), 1)),
    ),
    "prod": (lambda x: tnn.prod(x, axis=-1), lambda x: torch.prod(x, -1)),
    "amax": (lambda x: tnn.max(x, axis=(0, 1)), lambda x: torch.amax(x, (0, 1))),
    "norm": (lambda x: tnn.sqrt((x * x).sum(axis=0)), lambda x: torch.linalg.vector_norm(x, dim=0)),
    "clip": (lambda x: tnn.clip(x, -0.5, 0.5), lambda x: torch.clamp(x, -0.5, 0.5)),
    "roll": (lambda x: tnn.roll(x, (1, -2), (0, 1)), lambda x: torch.roll(x, (1, -2), (0, 1))),
    "index": (lambda x: x[:, [0, 2, 2]][..., None, -1], lambda x: x[:, [0, 2, 2]][..., None, -1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    compare(*FUNCTIONS[name], normal(2, 3, 4))


@pytest.mark.parametrize("zeros", [[], [1], [1, 3], [0, 1, 2, 3]])
def test_product_with_zeros(zeros):
    x = normal(2, 4)
    x[0, zeros] = 0
    compare(lambda x: tnn.prod(x, axis=1), lambda x: torch.prod(x, 1), x)
    compare(tnn.prod, torch.prod, x[0])
    compare(lambda x: tnn.cumprod(x, axis=1), lambda x: torch.cumprod(x, 1), x)


@pytest.mark.parametrize("x", [1e-8, 1e-3, 1.0, 5.0, 30.0, 500.0])
def test_tails(x):
    points = np.array([x, -x])
    for name in ("gelu", "gelu tanh", "elu", "silu", "sigmoid", "softplus", "tanh"):
        compare(*FUNCTIONS[name], points, rtol=1e-8)


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]),
        ("...ij,jk->...ik", [(2, 3, 4), (4, 2)]),
        ("ij,ij->", [(2, 3), (2, 3)]),
        ("ii->i", [(3, 3)]),
        ("iij->j", [(3, 3, 2)]),
        ("ij,k->ki", [(2, 3), (4,)]),
        ("i,j,k,jik->", [(2,), (3,), (4,), (3, 2, 4)]),
        ("ij,ij->ij", [(1, 3), (2, 3)]),
        ("bn,anm,bm->ba", [(2, 5), (3, 5, 4), (2, 4)]),
    ],
)
def test_einsum(subscripts, shapes):
    arrays = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    compare(
        lambda *xs: tnn.einsum(subscripts, *xs), lambda *xs: torch.einsum(subscripts, *xs), *arrays
    )


def turned(x):
    return x.transpose(-1, -2).contiguous()


@pytest.mark.parametrize("seed", range(200))
def test_conv1d(seed):
    x, kernel, how = oracles.draw_convolution(seed, ["same", 0, 1, 2, 5])
    if how["padding"] == "same":
        how["strides"] = 1  # torch refuses others

    def theirs(x, kernel, bias):
        weight = kernel.permute(2, 1, 0).contiguous()
        return turned(F.conv1d(turned(x), weight, bias, *how.values()))

    compare(
        lambda *xs: tnn.conv1d(*xs, **how), theirs, normal(*x), normal(*kernel), normal(kernel[2])
    )


@pytest.mark.parametrize("seed", range(100))
def test_conv1d_transpose(seed):
    (batch, length, channels), kernel, how = oracles.draw_convolution(seed, [0, 0, 1, 2])
    strides, padding, dilation, groups = how.values()
    length += 2 * padding

    def theirs(x, kernel, bias):
        weight = kernel.permute(2, 1, 0).contiguous()
        y = F.conv_transpose1d(turned(x), weight, bias, strides, padding, 0, groups, dilation)
        return turned(y)

    compare(
        lambda *xs: tnn.conv1d_transpose(*xs, **how),
        theirs,
        *(normal(batch, length, kernel[2]), normal(*kernel), normal(channels)),
    )


@pytest.mark.parametrize("length", [1, 2, 5, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [None, 1, 2, 6])
def test_pooling(length, size, stride):
    length += size - 1
    for ours, theirs in ((tnn.max_pool1d, F.max_pool1d), (tnn.avg_pool1d, F.avg_pool1d)):
        compare(
            lambda x, f=ours: f(x, size, strides=stride),
            lambda x, f=theirs: turned(f(turned(x), size, stride)),
            normal(2, length, 3),
        )


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_pad1d(mode):
    compare(
        lambda x: tnn.pad1d(x, (2, 4), mode),
        lambda x: turned(F.pad(turned(x), (2, 4), mode=mode)),
        normal(2, 5, 3),
    )
