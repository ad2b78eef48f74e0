"""Faults planted into right pairs: each is caught, located and, where it can be told, named."""

import re

import numpy as np
import pytest

from tinynn.testing import GradcheckError, check_backward

from .pairs import (
    RIGHT,
    attention_back,
    batch_norm_back,
    conv_back,
    crossentropy_back,
    dense_back,
    dense_relu_back,
    depthwise_back,
    layer_norm_back,
    logit_loss_back,
    lstm_cell_back,
    max_pool_back,
    mean_pool_back,
    product_back,
    residual_back,
    rnn_back,
    sigmoid,
    soft_crossentropy_back,
    softmax_back,
    split_back,
    square_loss_back,
    statistics_back,
    strided_conv_back,
    tanh_back,
    two_layers_back,
)

BATCH = "off by the batch size"
MASK = "mask"


def changed(back, *changes):
    """Return a backward whose gradients go through functions; None leaves one as it is."""

    def wrong(dy, *kept):
        found = back(dy, *kept)
        found = found if isinstance(found, tuple) else (found,)
        pairs = zip(found, [*changes, *[None] * (len(found) - len(changes))], strict=True)
        return tuple(g if change is None else change(g) for g, change in pairs)

    return wrong


def with_dy(back, change):
    """Return a backward that does something to dy first."""
    return lambda dy, *kept: back(change(dy), *kept)


def with_cache(back, **items):
    """Return a backward that takes other things from its cache, by their places."""

    def wrong(dy, cache):
        cache = list(cache)
        for name, change in items.items():
            k = int(name[1:])
            cache[k] = change(cache)
        return back(dy, cache)

    return wrong


def relu_with(mask):
    def back(dy, cache):
        x, w = cache["x"], cache["w"]
        dz = dy * mask(dy, x, w, cache)
        return dz @ w.T, x.T @ dz, dz.sum(axis=0)

    return back


def writes(back, write):
    def wrong(dy, *kept):
        found = back(dy, *kept)
        write(dy, *kept)
        return found

    return wrong


def probabilities(dy, cache):
    p, labels = cache
    return p * dy / len(labels), None


def added_target(dy, cache):
    p, labels = cache
    d = p.copy()
    d[np.arange(len(labels)), labels] += 1
    return d * dy / len(labels), None


def flip_taps(cache):
    return cache[1][::-1]


def roll(axis, by=1):
    return lambda a: np.roll(a, by, axis)


def shift(g, axis, by=1):
    moved = np.roll(g, by, axis)
    edge = [slice(None)] * g.ndim
    edge[axis] = 0 if by > 0 else -1
    moved[tuple(edge)] = 0
    return moved


def double(g):
    return 2 * g


def half(g):
    return g / 2


def times(k):
    return lambda g: g * np.asarray(k, g.dtype)


def batch_norm_without(term):
    def back(dy, cache):
        xhat, std, gamma = cache
        d = dy * gamma
        first = d - (0 if term == "mean" else d.mean(axis=0))
        second = 0 if term == "xhat" else xhat * (d * xhat).mean(axis=0)
        return (first - second) / std, (dy * xhat).sum(axis=0), dy.sum(axis=0)

    return back


def layer_norm_plain(dy, cache):
    _, std, gamma = cache
    return dy * gamma / std, *layer_norm_back(dy, cache)[1:]


def attention_without_sum(dy, cache):
    q, k, v, a, scale = cache
    ds = a * (dy @ v.swapaxes(-1, -2)) / scale
    return ds @ k, ds.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ dy


def attention_swapped(dy, cache):
    dq, dk, dv = attention_back(dy, cache)
    return dq, dk[:, :, ::-1].copy(), dv


def lstm_no_cell(dy, cache):
    return lstm_cell_back((dy[0], 0 * dy[1]), cache)


def lstm_gates_swapped(dy, cache):
    dx, dh, dc, dw, du, db = lstm_cell_back(dy, cache)
    return dx, dh, dc, dw[:, [2, 3, 0, 1, 4, 5, 6, 7]], du, db


def truncated(dy, cache):
    """Forget that a state moves the next ones."""
    x, w, _, states = cache
    dz = dy * (1 - np.stack(states[1:], axis=1) ** 2)
    before = np.stack(states[:-1], axis=1)
    return dz @ w.T, np.einsum("bti,btj->ij", x, dz), np.einsum("bti,btj->ij", before, dz)


def kept_sum(back):
    total = {}

    def wrong(dy, *kept):
        for k, g in enumerate(back(dy, *kept)):
            total[k] = total.get(k, 0) + g
        return tuple(total[k] for k in sorted(total))

    return wrong


def divide(g, n):
    return g / g.dtype.type(n)


CASES = [  # name, of RIGHT, the wrong backward, what the cause or advice must hold
    # a sum for a mean, the batch size
    ("mean for sum", "dense", changed(dense_back, None, lambda g: g / 4), BATCH),
    ("mean bias", "dense", changed(dense_back, None, None, lambda g: g / 4), BATCH),
    ("mean over steps", "dense over steps", changed(dense_back, None, lambda g: g / 8), "factor"),
    ("sum for mean, loss", "cross-entropy", changed(crossentropy_back, lambda g: g * 5), BATCH),
    ("sum for mean, squares", "square loss", changed(square_loss_back, lambda g: g * 12), "12"),
    ("mean of the batch only", "square loss", changed(square_loss_back, lambda g: g * 3), "3"),
    ("statistics", "statistics", changed(statistics_back, lambda g: g * 6), BATCH),
    ("pooling", "mean pooling", changed(mean_pool_back, lambda g: g * 3), "constant factor 3"),
    ("kernel mean", "convolution", changed(conv_back, None, lambda g: g / 2), "factor 0.5"),
    # a missing factor 2, other factors, signs
    ("no 2, squares", "square loss", changed(square_loss_back, half, half), "missing factor 2"),
    ("no 2, half", "split", changed(split_back, lambda g: g * np.repeat([1, 0.5], 2).astype(
        g.dtype)), "index 2 and 3 of axis 1"),
    ("no scale", "attention", changed(attention_back, times(3**0.5)), "square root of 3|1.732"),
    ("sign", "square loss", changed(square_loss_back, None, lambda g: -g), "flipped sign"),
    ("sign, log", "soft cross-entropy", changed(soft_crossentropy_back, np.negative), "sign"),
    # caches and inputs written to
    ("cache", "dense", writes(dense_back, lambda dy, c: c[0].__imul__(2)), "changes cache.0"),
    ("cache, dict", "dense and relu", writes(dense_relu_back, lambda dy, c: c["w"].fill(0)),
     "changes cache.'w'"),
    ("cache popped", "recurrent net", writes(rnn_back, lambda dy, c: c[3].pop()), "changes cache"),
    ("input", "product", writes(product_back, lambda dy, a, b: a.fill(1)), "changes input 0"),
    ("dy", "product", writes(product_back, lambda dy, a, b: dy.__imul__(a)), "changes dy"),
    ("sums up", "dense", kept_sum(dense_back), "adds up from call to call"),
    # gradients of other inputs
    ("swapped", "product", lambda dy, a, b: (dy * a, dy * b), "gradient of input"),
    ("same twice", "attention", lambda dy, c: (attention_back(dy, c)[1][:, :4], *attention_back(
        dy, c)[1:]), "wrong"),
    ("other's", "logit loss", lambda dy, c: (logit_loss_back(dy, c)[1],) * 2,
     "gradient of input 1"),
    ("order", "dense", lambda dy, c: (dense_back(dy, c)[1], dense_back(dy, c)[0],
                                      dense_back(dy, c)[2]), "that of input 1"),
    ("too few", "dense", lambda dy, c: dense_back(dy, c)[:2], "2 gradients for 3 inputs"),
    # convolutions
    ("kernel flipped", "convolution", with_cache(conv_back, _1=flip_taps),
     "input 1 is reversed along axis 0"),
    ("dk flipped", "convolution", changed(conv_back, None, lambda g: g[::-1]),
     "reversed along axis 0"),
    ("dk transposed", "2-D convolution", changed(RIGHT["2-D convolution"][1], None, lambda g: g.
                                                 swapaxes(2, 3)), "transposed"),
    ("depthwise flipped", "depthwise", with_cache(depthwise_back, _1=flip_taps), "reversed"),
    ("padding off by one", "convolution", with_cache(conv_back, _2=lambda c: c[2] + 1),
     "shifted by one along axis 1"),
    ("padding, kernel", "convolution", with_cache(conv_back, _0=lambda c: np.roll(c[0], 1, 1)),
     "shifted|off by one"),
    ("dy off by one", "convolution", with_dy(conv_back, lambda g: shift(g, 1)), "dy is shifted"),
    ("dy reversed", "convolution", with_dy(conv_back, lambda g: g[:, ::-1]), "dy is reversed"),
    ("last step lost", "strided convolution", with_dy(
        strided_conv_back, lambda g: g * (np.arange(4) < 3)[:, None]), "misses index 3|index 3"),
    # an axis mixed up
    ("W for W.T", "residual", lambda dy, c: (dy + dy * c[2] @ c[1], *residual_back(dy, c)[1:]),
     "transpose|axes in the order"),
    ("dw transposed", "residual", changed(residual_back, None, np.transpose), "transposed"),
    ("reshape", "softmax", changed(softmax_back, lambda g: g.T.reshape(g.shape)), "transposed"),
    ("sum over the wrong axis", "softmax", lambda dy, y: y * (dy - (dy * y).sum(0)), "wrong"),
    # a bias summed over too few axes
    ("bias", "dense", changed(dense_back, None, None, lambda g: g[None] * np.ones((4, 1), g.dtype)),
     "one axis too few"),
    ("bias over steps", "dense over steps",
     lambda dy, c: (*dense_back(dy, c)[:2], dy.sum(axis=0)), "one axis too few"),
    ("bias, conv", "convolution", lambda dy, c: (*conv_back(dy, c)[:2], dy.sum(axis=0)), "too few"),
    ("bias, conv, all", "convolution", lambda dy, c: (*conv_back(dy, c)[:2], dy), "2 axes too few"),
    ("bias, one step", "convolution", lambda dy, c: (*conv_back(dy, c)[:2], dy[:, 0].sum(axis=0)),
     "missing sum over a broadcast axis"),
    ("bias, one sample", "dense", lambda dy, c: (*dense_back(dy, c)[:2], dy[0]),
     "missing sum over a broadcast axis"),
    # masks
    ("mask of dy", "dense and relu", relu_with(lambda dy, x, w, c: dy > 0), "mask from dy"),
    ("no mask", "dense and relu", relu_with(lambda dy, x, w, c: np.ones(dy.shape, dy.dtype)), MASK),
    ("mask reversed", "dense and relu", relu_with(lambda dy, x, w, c: ~c["mask"]), MASK),
    ("mask of x @ w", "dense and relu", relu_with(lambda dy, x, w, c: x @ w > 0),
     "input 2 is left out"),
    ("mask of x", "residual", lambda dy, c: (dy + dy * (c[0] > 0) @ c[1].T,
                                             c[0].T @ (dy * (c[0] > 0))), MASK),
    ("mask of w", "leaky relu", lambda dy, x, s: (dy * np.where(dy > 0, 1, s).astype(dy.dtype),
                                                  np.sum(dy * x * (x <= 0))), "mask from dy"),
    # softmax with cross-entropy
    ("p", "cross-entropy", probabilities, "without its minus"),
    ("p + t", "cross-entropy", added_target, r"p \+ t"),
    ("p, soft", "soft cross-entropy", lambda dy, c: (c[0] * dy[:, None], soft_crossentropy_back(
        dy, c)[1]), "minus|input 1"),
    ("sigmoid", "logit loss", lambda dy, c: (sigmoid(c[0]) * dy / c[0].size, logit_loss_back(
        dy, c)[1]), "minus"),
    ("no dy", "cross-entropy", lambda dy, c: crossentropy_back(dy.dtype.type(1), c), "ignores dy"),
    # terms and factors
    ("no mean", "batch normalisation", batch_norm_without("mean"), "term"),
    ("no xhat", "batch normalisation", batch_norm_without("xhat"), "term"),
    ("constants", "layer normalisation", layer_norm_plain, "wrong"),
    ("no gamma", "layer normalisation", with_cache(layer_norm_back, _2=lambda c: np.ones_like(
        c[2])), "wrong"),
    ("gamma", "batch normalisation", changed(batch_norm_back, None, lambda g: g * 0 + 1), "dy"),
    ("softmax diagonal", "softmax", lambda dy, y: dy * y, "term"),
    ("softmax y", "softmax", lambda dy, y: dy * y * (1 - y), "only the diagonal"),
    ("attention", "attention", attention_without_sum, "wrong"),
    ("tanh", "tanh", lambda dy, y: dy * (1 - y), "wrong"),
    ("tanh of y", "tanh", lambda dy, y: dy * (1 - np.tanh(y) ** 2), "replaced by the result"),
    ("no skip", "residual", lambda dy, c: (residual_back(dy, c)[0] - dy, residual_back(dy, c)[1]),
     "term with dy"),
    ("no inner derivative", "two layers", lambda dy, c: (
        dy @ c[2].T @ c[1].T, c[0].T @ (dy @ c[2].T), c[3].T @ dy), "wrong"),
    ("derivative left out", "tanh", lambda dy, y: dy * 1, "1 - the result squared is missing"),
    ("not transposed", "cumulated", lambda dy, x: np.cumsum(dy, axis=1), "for its transpose"),
    ("both axes flipped", "2-D convolution", with_cache(
        RIGHT["2-D convolution"][1], _1=lambda c: c[1][:, :, ::-1, ::-1]),
     "input 1 is reversed along axes 2 and 3"),
    ("mean in log softmax", "log softmax",
     lambda dy, y: dy - np.exp(y) * dy.mean(axis=-1, keepdims=True), r"term with exp\(the result"),
    ("cell left out", "LSTM cell", lstm_no_cell, "dy of result 1 is left out"),
    ("gates", "LSTM cell", lstm_gates_swapped, "goes to other elements"),
    ("truncated", "recurrent net", truncated, "wrong"),
    ("heads", "attention", attention_swapped, "reversed along axis 2"),
    ("pool, first", "max pooling", with_cache(max_pool_back, _2=lambda c: 0 * c[2]), "wrong|other"),
    ("xhat", "two layers", with_cache(two_layers_back, _3=lambda c: c[3] ** 2), "wrong"),
    ("y for x", "tanh", lambda dy, y: tanh_back(dy, y) * y, "result is a factor too many"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("of", "back", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_planted_fault_is_caught_and_named(of, back, said, dtype):
    forward, _, draw = RIGHT[of]
    for seed in range(3):
        inputs = [
            x.astype(dtype) if getattr(x, "dtype", np.dtype(int)).kind == "f" else x
            for x in draw(np.random.default_rng(seed))
        ]
        with pytest.raises(GradcheckError) as caught:
            check_backward(forward, back, *inputs, allow_float32=True, rng=seed)
        text = str(caught.value)
        assert re.search(said, text), text
        lines = text.splitlines()
        assert len(lines) <= 40
        assert len(lines[0]) <= 120
