"""Models drawn by a seed: every layer, every option, with lengths that they take."""

import numpy as np

import tinynn as tnn
from tinynn.nn import activations
from tinynn.nn.config import describe

ACTIVATIONS = [*activations.TABLE, "linear", "linear", "relu", "tanh"]
MODES = ("zeros", "zeros", "reflect", "replicate", "circular")


class Drawer:
    """Draws layers one after the other; knows the channels by now."""

    def __init__(self, seed, channels):
        self.rng = np.random.default_rng(seed)
        self.channels = channels

    def n(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def activation(self):
        return self.one_of(*ACTIVATIONS)

    def conv(self, keep=False):
        groups = self.one_of(1, 1, *[g for g in (2, 3) if self.channels % g == 0])
        filters = self.channels if keep else groups * self.n(1, 3)
        padding = self.one_of("valid", "same", "same_lower", "causal", self.n(0, 3), "pair")
        padding = (self.n(0, 3), self.n(0, 3)) if padding == "pair" else padding
        padding = self.one_of("same", "same_lower", "causal") if keep else padding
        how = {"kernel_size": self.n(1, 6), "dilation_rate": self.one_of(1, 1, 2, 3)}
        how |= {"strides": 1 if keep else self.one_of(1, 1, 2, 3), "groups": groups}
        layer = tnn.Conv1d(
            self.channels, filters, padding=padding, padding_mode=self.one_of(*MODES),
            activation=self.activation(), use_bias=self.n(0, 3) > 0,
            bias_initializer="random_normal", rng=self.rng, **how,
        )  # fmt: skip
        self.channels = filters
        return layer

    def transposed(self):
        groups = self.one_of(1, 1, *[g for g in (2, 3) if self.channels % g == 0])
        filters, strides = groups * self.n(1, 3), self.n(1, 3)
        padding = self.one_of("valid", "same", self.n(0, 2), (self.n(0, 2), self.n(0, 2)))
        layer = tnn.Conv1dTranspose(
            self.channels, filters, self.n(1, 6), strides=strides, padding=padding,
            output_padding=self.one_of(None, self.n(0, strides - 1)),
            dilation_rate=self.one_of(1, 1, 2), groups=groups, activation=self.activation(),
            bias_initializer="random_normal", rng=self.rng,
        )  # fmt: skip
        self.channels = filters
        return layer

    def dense(self):
        units = self.n(1, 5)
        layer = tnn.Dense(
            self.channels, units, self.activation(), use_bias=self.n(0, 3) > 0,
            bias_initializer="random_normal", rng=self.rng,
        )  # fmt: skip
        self.channels = units
        return layer

    def norm(self):
        if self.n(0, 2) == 0 and self.channels > 1:
            layer = tnn.LayerNorm(self.channels, epsilon=self.one_of(1e-3, 0.1))
        else:
            layer = tnn.BatchNorm(self.channels, momentum=0.9, epsilon=self.one_of(1e-3, 1e-5))
            layer.moving_mean.data = self.rng.normal(size=self.channels)
            layer.moving_variance.data = self.rng.uniform(0.5, 2, self.channels)
        layer.gamma.data = self.rng.normal(size=self.channels)
        layer.beta.data = self.rng.normal(size=self.channels)
        return layer

    def pool(self):
        strides = self.one_of(None, 1, 2)
        kind = self.one_of(tnn.MaxPool1d, tnn.AvgPool1d)
        return kind(self.n(1, 4), strides=strides, padding=self.one_of("valid", "same"))

    def branches(self, depth):
        if self.n(0, 1):
            return tnn.Residual(tnn.Sequential(self.conv(keep=True), tnn.Dropout(0.3, rng=0)))
        start, layers, total = self.channels, [tnn.Sequential()], self.channels
        for _ in range(self.n(1, 2)):
            self.channels = start
            layer = self.conv(keep=True)
            layers.append(tnn.Sequential(layer, self.dense()) if self.n(0, 1) else layer)
            total += self.channels
        self.channels = total
        return tnn.Parallel(*layers[self.n(0, 1) and depth :]) if depth else tnn.Parallel(*layers)

    def other(self):
        return self.one_of(
            tnn.Activation(self.activation()), tnn.Dropout(0.5, rng=0),
            tnn.UpSample1d(self.n(1, 3)), tnn.ZeroPad1d((self.n(0, 3), self.n(0, 3))),
            tnn.Sequential(), tnn.Sequential(self.norm(), tnn.Activation("silu")),
        )  # fmt: skip

    def layer(self):
        kind = self.n(0, 10)
        if kind < 4:
            return self.conv()
        makes = self.transposed, self.dense, self.norm, self.pool, self.other
        return self.branches(0) if kind > 8 else makes[kind - 4]()


def fitting(layer, series):
    """Tell whether a layer takes series, and leaves more than one step of each."""
    try:
        return min(layer(x).shape[1] for x in series) > 1
    except ValueError:
        return False


def drawn_model(seed, channels=None):
    """Return a model in evaluation mode, and series (batch, length, channels) that it takes."""
    draw = Drawer(seed, channels or 1 + seed % 4)
    series = [draw.rng.normal(size=(2, 13 + 4 * i + seed % 7, draw.channels)) for i in range(3)]
    series = [x.astype(np.float32) for x in series]
    layers, now = [], series
    for _ in range(draw.n(1, 6)):
        before, layer = draw.channels, draw.layer().eval()
        if fitting(layer, now):
            layers.append(layer)
            now = [layer(x) for x in now]
        else:
            draw.channels = before
    end = draw.n(0, 5)
    if end < 2:
        layers.append((tnn.GlobalMaxPool1d, tnn.GlobalAvgPool1d)[end]())
        layers += [draw.norm(), tnn.Flatten(), draw.dense()][draw.n(0, 2) :]
    elif end == 2:
        layers.append(tnn.Flatten())
        series, now = series[:1], now[:1]
        draw.channels *= now[0].shape[1]
        layers += [draw.norm(), tnn.Activation("relu"), draw.dense(), draw.dense()]
    model = tnn.Sequential(layers).eval()
    return (layers[0] if len(layers) == 1 and draw.n(0, 1) else model), series


def file_of(model):
    """What a file holds: how the model is made, and its weights."""
    state = model.state_dict()
    return describe(model), [(name, v.dtype, v.shape, v.tobytes()) for name, v in state.items()]
