"""Thirty right pairs of forward and backward, written by hand as people do, and their inputs."""

import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# ---------------------------------------------------------------- without a cache


def square_loss(p, t):
    return ((p - t) ** 2).mean()


def square_loss_back(dy, p, t):
    d = 2 * (p - t) * dy / p.size
    return d, -d


def product(a, b):
    return a * b


def product_back(dy, a, b):
    return dy * b, dy * a


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


def leaky_back(dy, x, slope):
    return dy * np.where(x > 0, 1, slope), np.sum(dy * x * (x <= 0))


def take(x, index):
    return x[index]


def take_back(dy, x, index):
    d = np.zeros_like(x)
    np.add.at(d, index, dy)
    return d, None


def norm(x):
    return np.sqrt((x**2).sum(axis=-1, keepdims=True))


def norm_back(dy, x):
    return dy * x / norm(x)


# ---------------------------------------------------------------- with a cache


def dense(x, w, b):
    return x @ w + b, (x, w)


def dense_back(dy, cache):
    x, w = cache
    rows = tuple(range(dy.ndim - 1))
    return dy @ w.T, np.tensordot(x, dy, axes=(rows, rows)), dy.sum(axis=rows)


def dense_relu(x, w, b):
    z = x @ w + b
    return np.maximum(z, 0), {"x": x, "w": w, "mask": z > 0}


def dense_relu_back(dy, cache):
    dz = dy * cache["mask"]
    return dz @ cache["w"].T, cache["x"].T @ dz, dz.sum(axis=0)


def two_layers(x, w1, w2):
    h = np.tanh(x @ w1)
    return h @ w2, (x, w1, w2, h)


def two_layers_back(dy, cache):
    x, w1, w2, h = cache
    dh = dy @ w2.T * (1 - h**2)
    return dh @ w1.T, x.T @ dh, h.T @ dy


def tanh(x):
    y = np.tanh(x)
    return y, y


def tanh_back(dy, y):
    return dy * (1 - y * y)


def sigmoid_(x):
    y = sigmoid(x)
    return y, y


def sigmoid_back(dy, y):
    return dy * y * (1 - y)


def gelu(x):
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), (x, t)


def gelu_back(dy, cache):
    x, t = cache
    inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)


def softmax_(x):
    y = softmax(x)
    return y, y


def softmax_back(dy, y):
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def log_softmax(x):
    y = x - x.max(axis=-1, keepdims=True)
    y = y - np.log(np.exp(y).sum(axis=-1, keepdims=True))
    return y, y


def log_softmax_back(dy, y):
    return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)


def crossentropy(z, labels):
    p = softmax(z)
    rows = np.arange(len(labels))
    return -np.log(p[rows, labels]).mean(), (p, labels)


def crossentropy_back(dy, cache):
    p, labels = cache
    d = p.copy()
    d[np.arange(len(labels)), labels] -= 1
    return d * dy / len(labels), None


def soft_crossentropy(z, t):
    p = softmax(z)
    return -(t * np.log(p)).sum(axis=-1), (p, t)


def soft_crossentropy_back(dy, cache):
    p, t = cache
    return (p * t.sum(axis=-1, keepdims=True) - t) * dy[:, None], -np.log(p) * dy[:, None]


def logit_loss(z, t):
    return (np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))).mean(), (z, t)


def logit_loss_back(dy, cache):
    z, t = cache
    return (sigmoid(z) - t) * dy / z.size, -z * dy / z.size


def batch_norm(x, gamma, beta):
    std = np.sqrt(x.var(axis=0) + 1e-5)
    xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)


def batch_norm_back(dy, cache):
    xhat, std, gamma = cache
    d = dy * gamma
    dx = (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0)) / std
    return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)


def layer_norm(x, gamma, beta):
    std = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    xhat = (x - x.mean(axis=-1, keepdims=True)) / std
    return gamma * xhat + beta, (xhat, std, gamma)


def layer_norm_back(dy, cache):
    xhat, std, gamma = cache
    d = dy * gamma
    mean, along = d.mean(axis=-1, keepdims=True), (d * xhat).mean(axis=-1, keepdims=True)
    rows = tuple(range(dy.ndim - 1))
    return (d - mean - xhat * along) / std, (dy * xhat).sum(axis=rows), dy.sum(axis=rows)


def rms_norm(x, gamma):
    rms = np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
    return gamma * x / rms, (x, rms, gamma)


def rms_norm_back(dy, cache):
    x, rms, gamma = cache
    d = dy * gamma
    dx = d / rms - x * (d * x).mean(axis=-1, keepdims=True) / rms**3
    return dx, (dy * x / rms).sum(axis=0)


def conv(x, k, b):
    """Convolve (batch, length, channels) with (taps, channels, filters), padded to the same."""
    taps = len(k)
    left = (taps - 1) // 2
    padded = np.pad(x, ((0, 0), (left, taps - 1 - left), (0, 0)))
    y = sum(padded[:, t : t + x.shape[1]] @ k[t] for t in range(taps)) + b
    return y, (padded, k, left)


def conv_back(dy, cache):
    padded, k, left = cache
    length = dy.shape[1]
    dpadded, dk = np.zeros_like(padded), np.zeros_like(k)
    for t in range(len(k)):
        dpadded[:, t : t + length] += dy @ k[t].T
        dk[t] = np.tensordot(padded[:, t : t + length], dy, axes=((0, 1), (0, 1)))
    return dpadded[:, left : left + length], dk, dy.sum(axis=(0, 1))


def strided_conv(x, k, stride):
    taps, length = len(k), (x.shape[1] - len(k)) // stride + 1
    index = stride * np.arange(length)[:, None] + np.arange(taps)
    windows = x[:, index]  # (batch, length, taps, channels)
    return np.einsum("bltc,tcf->blf", windows, k), (x, k, index, windows)


def strided_conv_back(dy, cache):
    x, k, index, windows = cache
    dx = np.zeros_like(x)
    np.add.at(dx, (slice(None), index), np.einsum("blf,tcf->bltc", dy, k))
    return dx, np.einsum("bltc,blf->tcf", windows, dy), None


def conv2d(x, k):
    """Convolve (batch, channels, height, width) with (filters, channels, 3, 3), valid."""
    windows = np.lib.stride_tricks.sliding_window_view(x, k.shape[2:], axis=(2, 3))
    return np.einsum("bchwij,fcij->bfhw", windows, k), (x, k)


def conv2d_back(dy, cache):
    x, k = cache
    windows = np.lib.stride_tricks.sliding_window_view(x, k.shape[2:], axis=(2, 3))
    dk = np.einsum("bchwij,bfhw->fcij", windows, dy)
    wide = np.pad(dy, ((0, 0), (0, 0), (2, 2), (2, 2)))
    wide = np.lib.stride_tricks.sliding_window_view(wide, k.shape[2:], axis=(2, 3))
    return np.einsum("bfhwij,fcij->bchw", wide, k[:, :, ::-1, ::-1]), dk


def depthwise(x, k):
    taps, length = len(k), x.shape[1] - len(k) + 1
    return sum(x[:, t : t + length] * k[t] for t in range(taps)), (x, k)


def depthwise_back(dy, cache):
    x, k = cache
    dx, dk, length = np.zeros_like(x), np.zeros_like(k), dy.shape[1]
    for t in range(len(k)):
        dx[:, t : t + length] += dy * k[t]
        dk[t] = (x[:, t : t + length] * dy).sum(axis=(0, 1))
    return dx, dk


def max_pool(x, size):
    parts = x.reshape(x.shape[0], -1, size, x.shape[2])
    at = parts.argmax(axis=2)[:, :, None]
    return np.take_along_axis(parts, at, axis=2)[:, :, 0], (x.shape, parts.shape, at)


def max_pool_back(dy, cache):
    shape, parts, at = cache
    d = np.zeros(parts, dy.dtype)
    np.put_along_axis(d, at, dy[:, :, None], axis=2)
    return d.reshape(shape), None


def mean_pool(x, size):
    return x.reshape(x.shape[0], -1, size, x.shape[2]).mean(axis=2), size


def mean_pool_back(dy, size):
    return np.repeat(dy, size, axis=1) / size, None


def global_max(x):
    at = x.argmax(axis=1)
    return x.max(axis=1), (x.shape, at)


def global_max_back(dy, cache):
    shape, at = cache
    d = np.zeros(shape, dy.dtype)
    np.put_along_axis(d, at[:, None], dy[:, None], axis=1)
    return d


def dropout(x, seed):
    mask = (np.random.default_rng(seed).random(x.shape) < 0.6) / 0.6
    return x * mask.astype(x.dtype), mask.astype(x.dtype)


def dropout_back(dy, mask):
    return dy * mask, None


def lstm_cell(x, h, c, w, u, b):
    n = h.shape[1]
    z = x @ w + h @ u + b
    i, f, o = (sigmoid(z[:, k * n : (k + 1) * n]) for k in (0, 1, 3))
    g = np.tanh(z[:, 2 * n : 3 * n])
    after = f * c + i * g
    t = np.tanh(after)
    return (o * t, after), (x, h, c, w, u, i, f, g, o, t)


def lstm_cell_back(dy, cache):
    dh, dafter = dy
    x, h, c, w, u, i, f, g, o, t = cache
    dafter = dafter + dh * o * (1 - t * t)
    parts = dafter * g * i * (1 - i), dafter * c * f * (1 - f), dafter * i * (1 - g * g)
    dz = np.concatenate([*parts, dh * t * o * (1 - o)], axis=1)
    return dz @ w.T, dz @ u.T, dafter * f, x.T @ dz, h.T @ dz, dz.sum(axis=0)


def rnn(x, w, u):
    """Run a recurrent net over (batch, steps, features)."""
    states = [np.zeros((len(x), len(u)), x.dtype)]
    for t in range(x.shape[1]):
        states.append(np.tanh(x[:, t] @ w + states[-1] @ u))
    return np.stack(states[1:], axis=1), (x, w, u, states)


def rnn_back(dy, cache):
    x, w, u, states = cache
    dx, dw, du, dh = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u), 0
    for t in reversed(range(x.shape[1])):
        dz = (dy[:, t] + dh) * (1 - states[t + 1] ** 2)
        dx[:, t], dh = dz @ w.T, dz @ u.T
        dw += x[:, t].T @ dz
        du += states[t].T @ dz
    return dx, dw, du


def attention(q, k, v):
    scale = np.sqrt(q.shape[-1]).astype(q.dtype)
    a = softmax(q @ k.swapaxes(-1, -2) / scale)
    return a @ v, (q, k, v, a, scale)


def attention_back(dy, cache):
    q, k, v, a, scale = cache
    da = dy @ v.swapaxes(-1, -2)
    ds = a * (da - (da * a).sum(axis=-1, keepdims=True)) / scale
    return ds @ k, ds.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ dy


def residual(x, w):
    z = x @ w
    return x + np.maximum(z, 0), (x, w, z > 0)


def residual_back(dy, cache):
    x, w, mask = cache
    dz = dy * mask
    return dy + dz @ w.T, x.T @ dz


def embedding(table, tokens):
    return table[tokens], (table.shape, tokens)


def embedding_back(dy, cache):
    shape, tokens = cache
    d = np.zeros(shape, dy.dtype)
    np.add.at(d, tokens, dy)
    return d, None


def split(x):
    half = x.shape[1] // 2
    return [x[:, :half], x[:, half:] ** 2], x


def split_back(dy, x):
    first, second = dy
    return np.concatenate([first, 2 * x[:, x.shape[1] // 2 :] * second], axis=1)


def cumulated(x):
    return np.cumsum(x, axis=1)


def cumulated_back(dy, x):
    return np.cumsum(dy[:, ::-1], axis=1)[:, ::-1]


def statistics(x):
    return (x.mean(axis=0), x.var(axis=0)), x


def statistics_back(dy, x):
    first, second = dy
    return (first + 2 * (x - x.mean(axis=0)) * second) / len(x) + np.zeros_like(x)


class Scale:
    """A pair that keeps what backward needs to itself, as courses teach it."""

    def forward(self, x, gain):
        self.x, self.gain = x, gain
        return x * gain

    def backward(self, dy, *inputs):
        return dy * self.gain, (dy * self.x).sum(axis=0)


def normal(*shapes):
    return lambda rng: [rng.normal(size=shape) for shape in shapes]


def distinct(*shapes):
    """Draw values that are 0.1 apart and none near 0."""

    def draw(rng):
        sizes = [int(np.prod(shape)) for shape in shapes]
        drawn = [(rng.permutation(n) - n // 2 + 0.5) * 0.1 for n in sizes]
        return [x.reshape(shape) for x, shape in zip(drawn, shapes, strict=True)]

    return draw


def labelled(shape):
    return lambda rng: [rng.normal(size=shape), rng.integers(0, shape[-1], shape[0])]


def with_last(draw, *last):
    return lambda rng: [*draw(rng), *last]


TOKENS = np.array([[0, 3, 1], [3, 3, 5]])
LSTM = normal((3, 4), (3, 2), (3, 2), (4, 8), (2, 8), (8,))
RIGHT = {  # name: forward, backward, how its inputs are drawn
    "square loss": (square_loss, square_loss_back, normal((4, 3), (4, 3))),
    "product": (product, product_back, normal((4, 3), (4, 3))),
    "leaky relu": (leaky, leaky_back, with_last(distinct((4, 3)), 0.1)),
    "take": (take, take_back, with_last(normal((6, 2)), np.array([0, 5, 5]))),
    "norm": (norm, norm_back, normal((4, 3))),
    "dense": (dense, dense_back, normal((4, 3), (3, 5), (5,))),
    "dense over steps": (dense, dense_back, normal((2, 4, 3), (3, 5), (5,))),
    "dense and relu": (dense_relu, dense_relu_back, normal((4, 3), (3, 5), (5,))),
    "two layers": (two_layers, two_layers_back, normal((4, 3), (3, 5), (5, 2))),
    "tanh": (tanh, tanh_back, normal((4, 3))),
    "sigmoid": (sigmoid_, sigmoid_back, normal((4, 3))),
    "gelu": (gelu, gelu_back, normal((4, 3))),
    "softmax": (softmax_, softmax_back, normal((4, 5))),
    "log softmax": (log_softmax, log_softmax_back, normal((4, 5))),
    "cross-entropy": (crossentropy, crossentropy_back, labelled((5, 4))),
    "soft cross-entropy": (soft_crossentropy, soft_crossentropy_back, normal((5, 4), (5, 4))),
    "logit loss": (logit_loss, logit_loss_back, normal((5, 2), (5, 2))),
    "batch normalisation": (batch_norm, batch_norm_back, normal((6, 3), (3,), (3,))),
    "layer normalisation": (layer_norm, layer_norm_back, normal((2, 4, 5), (5,), (5,))),
    "rms normalisation": (rms_norm, rms_norm_back, normal((4, 5), (5,))),
    "convolution": (conv, conv_back, normal((2, 9, 3), (4, 3, 2), (2,))),
    "strided convolution": (
        strided_conv,
        strided_conv_back,
        with_last(normal((2, 9, 3), (3, 3, 2)), 2),
    ),
    "2-D convolution": (conv2d, conv2d_back, normal((2, 2, 5, 6), (3, 2, 3, 3))),
    "depthwise": (depthwise, depthwise_back, normal((2, 9, 3), (4, 3))),
    "max pooling": (max_pool, max_pool_back, with_last(distinct((2, 8, 3)), 2)),
    "mean pooling": (mean_pool, mean_pool_back, with_last(normal((2, 9, 3)), 3)),
    "global max": (global_max, global_max_back, distinct((2, 7, 3))),
    "dropout": (dropout, dropout_back, with_last(normal((4, 5)), 3)),
    "LSTM cell": (lstm_cell, lstm_cell_back, LSTM),
    "recurrent net": (rnn, rnn_back, normal((2, 4, 3), (3, 2), (2, 2))),
    "attention": (attention, attention_back, normal((2, 4, 3), (2, 5, 3), (2, 5, 2))),
    "residual": (residual, residual_back, normal((4, 3), (3, 3))),
    "embedding": (embedding, embedding_back, with_last(normal((6, 3)), TOKENS)),
    "split": (split, split_back, normal((3, 4))),
    "cumulated": (cumulated, cumulated_back, normal((3, 5))),
    "statistics": (statistics, statistics_back, normal((6, 3))),
    "a pair with state": (
        *(lambda layer: (layer.forward, layer.backward))(Scale()),
        normal((4, 3), (3,)),
    ),
}
