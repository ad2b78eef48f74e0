"""The checks of exercises 6 to 8. Do your exercises first: what is right is computed here."""

import numpy as np
from _checking import LENGTHS_DIFFER, NOT_A_NUMBER, Error, Exercise, Mistake, Part

import tinynn as tnn

rng = np.random.default_rng(2)
BY_HAND = ("convolve", "correlate", "conv1d", "Conv1d", "sliding_window_view")


def slid(x, kernel, bias=None, padding="valid"):
    """Return the library's maps of one series (n,) or (n, channels), kernel (f, channels, k)."""
    x = np.asarray(x, float).reshape(len(x), -1)
    kernel = np.asarray(kernel, float).reshape(len(kernel), x.shape[1], -1)
    return tnn.conv1d(x[None], kernel, bias, padding=padding)[0]


# ---------------------------------------------------------------- 6

FEATURES = [
    {"x": np.array([0.0, 1, 3, 1, 0]), "kernels": np.array([[1.0, 0], [2, 1], [-1, 0]])},
    {"x": rng.normal(size=9), "kernels": rng.normal(size=(4, 3))},
    {"x": rng.normal(size=7), "kernels": rng.normal(size=(2, 4))},
]


def products(x, kernels):
    """Return all products, without their sums: (locations, f, features)."""
    f = len(kernels)
    return np.array([x[j : j + f, None] * kernels for j in range(len(x) - f + 1)])


several_features = Exercise(
    "06_several_features",
    Part(
        "feature_maps",
        slid,
        FEATURES,
        [
            Mistake(
                "the maps are rows, not columns",
                "Shape (features, locations) came out. tinynn keeps features in the LAST axis: "
                "transpose, or stack along axis 1.",
                lambda x, kernels: slid(x, kernels).T,
            ),
            Mistake(
                "the products are not added up",
                "A product for each weight came out. Add them up over the window: one number for "
                "each location and feature. The operator @ multiplies and adds up.",
                products,
            ),
            Mistake(
                "the products are not added up",
                "A product for each weight came out. Add them up over the window: one number for "
                "each location and feature. The operator @ multiplies and adds up.",
                lambda x, kernels: products(x, kernels).swapaxes(1, 2),
            ),
            Mistake(
                "the features are added up",
                "One map came out. Each kernel makes a map of its own: (locations, features).",
                lambda x, kernels: slid(x, kernels).sum(axis=1),
            ),
            Mistake(
                "there is one map only, that of the first kernel",
                "kernels[:, 0] is one kernel of several. Do the same with each of them.",
                lambda x, kernels: slid(x, kernels[:, 0])[:, 0],
            ),
            Mistake(
                "the kernels are turned round",
                "The first weight of each kernel belongs to the first value of the window.",
                lambda x, kernels: slid(x, kernels[::-1]),
            ),
            Mistake(
                "the features are in the reverse order",
                "Column k of the result belongs to kernels[:, k]. [::-1] turned the wrong axis.",
                lambda x, kernels: slid(x, kernels[:, ::-1]),
            ),
            Mistake(
                "the weights are reshaped where they should be transposed",
                "reshape keeps the order in memory, so weights of other kernels get in. A "
                "transpose is .T.",
                lambda x, kernels: slid(x, kernels.reshape(kernels.shape[::-1]).T),
            ),
            Mistake(
                "the last location is missing",
                "n values hold n - f + 1 windows of f values.",
                lambda x, kernels: slid(x, kernels)[:-1],
            ),
            Mistake(
                "two arrays do not fit together",
                "Are rows and columns of `kernels` mixed up? It has shape (f, features): kernel k "
                "is the COLUMN kernels[:, k], and f is len(kernels). Or is a window too short? "
                "Window j is x[j : j + f]. Or is there a * where @ belongs?",
                Error((ValueError, IndexError), *LENGTHS_DIFFER, "out of bounds"),
            ),
        ],
        axes=("location", "feature"),
        without=BY_HAND,
    ),
    Part(
        "best_feature",
        lambda y: y.argmax(axis=1),
        [
            {"y": np.array([[1.0, 5, 2], [7, 0, 3], [-3, -2, -1], [0, 4, 9]])},
            {"y": rng.normal(size=(5, 3))},
        ],
        [
            Mistake(
                "the maximum was taken over the locations",
                "axis=0 are the locations, axis=1 the features. Compare the features.",
                lambda y: y.argmax(axis=0),
            ),
            Mistake(
                "the matches themselves, not the kernels' numbers",
                "max returns how large the best match is. argmax returns which it is.",
                lambda y: y.max(axis=1),
            ),
            Mistake(
                "one number for the whole array",
                "Without an axis, argmax counts through all values. Give it the axis of features.",
                lambda y: y.argmax(),
            ),
            Mistake(
                "the kernel that matches worst",
                "A good match is a LARGE dot product.",
                lambda y: y.argmin(axis=1),
            ),
        ],
        axes=("location",),
    ),
    then="How many maps does Conv1d(1, 8, 25) make? Next: 07_several_channels.py",
)

# ---------------------------------------------------------------- 7

CHANNELS = [
    {
        "x": np.array([[1.0, 0], [2, 1], [0, 3], [1, -1]]),
        "kernel": np.array([[1.0, 10], [2, 20]]),
    },
    {"x": rng.normal(size=(9, 3)), "kernel": rng.normal(size=(4, 3))},
    {"x": rng.normal(size=(6, 2)), "kernel": rng.normal(size=(3, 2))},
]


def by_channel(x, kernel):
    return np.stack([slid(x[:, c], kernel[:, c])[:, 0] for c in range(x.shape[1])], axis=1)


def crossed(x, kernel):
    """All channels meet all channels."""
    return slid(x.sum(axis=1), kernel.sum(axis=1))[:, 0]


def by_value(x, kernel):
    f = len(kernel)
    return np.array([(x[j : j + f] * kernel).sum(axis=1) for j in range(len(x) - f + 1)])


several_channels = Exercise(
    "07_several_channels",
    Part(
        "feature_map",
        lambda x, kernel: slid(x, kernel)[:, 0],
        CHANNELS,
        [
            Mistake(
                "the products are not added up",
                "The window * kernel is a table of products. The map has their sum: one number for "
                "each location.",
                Error((TypeError, ValueError), *NOT_A_NUMBER),
            ),
            Mistake(
                "the products are not added up",
                "x * kernel holds one product for each value and channel. Add over both: one "
                "number for each location.",
                lambda x, kernel: np.array(
                    [x[j : j + len(kernel)] * kernel for j in range(len(x) - len(kernel) + 1)]
                ),
            ),
            Mistake(
                "the channels are not added up",
                "A map for each channel came out. One kernel makes ONE map: add over values and "
                "channels.",
                by_channel,
            ),
            Mistake(
                "the values of the window are not added up",
                "The sum runs over the channels only. Add over both axes of the window.",
                by_value,
            ),
            Mistake(
                "a mean over the channels",
                "The channels are added up, not averaged.",
                lambda x, kernel: by_channel(x, kernel).mean(axis=1),
            ),
            Mistake(
                "only the first channel is used",
                "x[:, 0] leaves out what the other channels hold.",
                lambda x, kernel: by_channel(x, kernel)[:, 0],
            ),
            Mistake(
                "every channel meets the weights of every other",
                "A matrix product of x and kernel pairs all channels with all. Channel c meets "
                "kernel[:, c] only: multiply elementwise, then add up.",
                crossed,
            ),
            Mistake(
                "the channels are reversed",
                "Turn no axis round: channel 0 meets kernel[:, 0].",
                lambda x, kernel: slid(x, kernel[:, ::-1])[:, 0],
            ),
            Mistake(
                "the kernel is turned round",
                "Its first row belongs to the first value of the window.",
                lambda x, kernel: slid(x, kernel[::-1])[:, 0],
            ),
            Mistake(
                "the first channel's weights are used for all channels",
                "Each channel has weights of its own: kernel[:, c].",
                lambda x, kernel: slid(x.sum(axis=1), kernel[:, 0])[:, 0],
            ),
            Mistake(
                "all channels meet all: a table for each location",
                "x.T @ kernel makes (channels, channels). Multiply elementwise, then add up.",
                lambda x, kernel: np.array(
                    [x[j : j + len(kernel)].T @ kernel for j in range(len(x) - len(kernel) + 1)]
                ),
            ),
        ],
        axes=("location",),
        without=BY_HAND,
    ),
    Part(
        "kernel_shape",
        lambda f, channels, features: (f, channels, features),
        [{"f": 5, "channels": 2, "features": 8}, {"f": 3, "channels": 4, "features": 1}],
        [
            Mistake(
                "that is PyTorch's order",
                "PyTorch keeps (features, channels, f). tinynn and Keras keep (f, channels, "
                "features).",
                lambda f, channels, features: (features, channels, f),
            ),
            Mistake(
                "channels and features are swapped",
                "What comes in stands before what goes out.",
                lambda f, channels, features: (f, features, channels),
            ),
            Mistake(
                "the number of weights, not their shape",
                "Return three numbers: return ..., ..., ...",
                lambda f, channels, features: f * channels * features,
            ),
        ],
        results=("values", "channels", "features"),
    ),
    then="A picture slides in two directions, but its colours are channels too. Next: 08_bias.py",
)

# ---------------------------------------------------------------- 8

BIASED = [
    {
        "x": np.array([0.0, 1, 3, 1]),
        "kernels": np.array([[1.0, 0], [2, 1]]),
        "bias": np.array([10.0, -100]),
    },
    {"x": rng.normal(size=8), "kernels": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)},
    {"x": rng.normal(size=6), "kernels": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)},
]

bias = Exercise(
    "08_bias",
    Part(
        "layer",
        slid,
        BIASED,
        [
            Mistake(
                "the bias is forgotten",
                "Add it to each location of the feature's map: ... + bias. Layers have one by "
                "default.",
                lambda x, kernels, bias: slid(x, kernels),
            ),
            Mistake(
                "the bias is subtracted",
                "It is added, in tinynn as in every other library.",
                lambda x, kernels, bias: slid(x, kernels, -bias),
            ),
            Mistake(
                "the bias is added f times",
                "It was added to each product. Add it once, when the products are summed.",
                lambda x, kernels, bias: slid(x, kernels, len(kernels) * bias),
            ),
            Mistake(
                "every feature gets the first feature's bias",
                "bias holds one number for each feature. Add the whole array: NumPy adds it to "
                "each row.",
                lambda x, kernels, bias: slid(x, kernels) + bias[0],
            ),
            Mistake(
                "every feature gets the sum of all biases",
                "Add the array as it is, without a sum.",
                lambda x, kernels, bias: slid(x, kernels) + bias.sum(),
            ),
            Mistake(
                "the bias is multiplied",
                "A bias is added. It moves the map up or down.",
                lambda x, kernels, bias: slid(x, kernels) * bias,
            ),
            Mistake(
                "the bias runs along the locations",
                "Each LOCATION got a number of its own here. It belongs to the features, the last "
                "axis.",
                lambda x, kernels, bias: slid(x, kernels) + bias[:, None],
            ),
            Mistake(
                "the products are not added up",
                "Each window meets each kernel, and f products become one number: a matrix "
                "product, @.",
                lambda x, kernels, bias: products(x, kernels) + bias,
            ),
            Mistake(
                "windows and kernels are multiplied element by element",
                "Each window meets each kernel: a matrix product, @.",
                lambda x, kernels, bias: (
                    x[np.add.outer(range(len(x) - len(kernels) + 1), range(len(kernels)))] * kernels
                ),
            ),
        ],
        axes=("location", "feature"),
        without=BY_HAND,
    ),
    Part(
        "bias_for",
        lambda threshold: -threshold,
        [{"threshold": 2.0}, {"threshold": -0.5}],
        [
            Mistake(
                "the sign is wrong",
                "match + bias must be 0 when the match equals the threshold.",
                lambda threshold: threshold,
            ),
            Mistake(
                "one over the threshold",
                "The bias is added, it does not scale.",
                lambda threshold: 1 / threshold,
            ),
            Mistake(
                "the bias is 0, whatever the threshold",
                "Then everything above 0 passes. Solve threshold + bias = 0.",
                lambda threshold: 0.0,
            ),
        ],
    ),
    then="A bias of -2 and a relu: only a match above 2 passes. Next: 09_activation.py",
)
