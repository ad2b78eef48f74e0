"""The checks of exercises 9 to 11. Do your exercises first: what is right is computed here."""

import numpy as np
from _checking import BEYOND, Error, Exercise, Mistake, Part

import tinynn as tnn

rng = np.random.default_rng(2)


def slid(x, kernel, bias=None, padding="valid"):
    """Return the library's maps of one series (n,) or (n, channels), kernel (f, channels, k)."""
    x = np.asarray(x, float).reshape(len(x), -1)
    kernel = np.asarray(kernel, float).reshape(len(kernel), x.shape[1], -1)
    return tnn.conv1d(x[None], kernel, bias, padding=padding)[0]


# ---------------------------------------------------------------- 9

SUMS = np.array([-2.0, -0.5, 0, 1, 3])
ACTIVATIONS = [
    {"z": SUMS},
    *({"z": SUMS, "activation": name} for name in ("linear", "relu", "sigmoid")),
]
LAYERS = [
    {
        "W1": np.array([[1.0, 2], [0, 1]]), "b1": np.array([1.0, 2]),
        "W2": np.array([[1.0, 0], [3, 1]]), "b2": np.array([10.0, 20]),
    },
    {
        "W1": rng.normal(size=(3, 3)), "b1": rng.normal(size=3),
        "W2": rng.normal(size=(3, 3)), "b2": rng.normal(size=3),
    },
]  # fmt: skip


def activated_with(default="linear", **other):
    """Return the right function, but for the default and the activations that are given."""
    rules = {"linear": lambda z: z, "relu": tnn.relu, "sigmoid": tnn.sigmoid, **other}
    return lambda z, activation=default: rules[activation](z)


activation = Exercise(
    "09_activation",
    Part(
        "activated",
        activated_with(),
        ACTIVATIONS,
        [
            Mistake(
                'the default is "relu"',
                'In tinynn and in Keras it is "linear": nothing is cut off unless you say so.',
                activated_with("relu"),
            ),
            Mistake(
                'the default is "sigmoid"',
                'In tinynn and in Keras it is "linear".',
                activated_with("sigmoid"),
            ),
            Mistake(
                '"relu" takes the absolute value',
                "What is negative becomes 0, not positive.",
                activated_with(relu=np.abs),
            ),
            Mistake(
                '"relu" cuts off the wrong side',
                "What is negative becomes 0. What is positive stays.",
                activated_with(relu=lambda z: np.minimum(z, 0)),
            ),
            Mistake(
                '"relu" only says where z is positive',
                "z > 0 is True or False. Return z itself there, and 0 elsewhere.",
                activated_with(relu=lambda z: z > 0),
            ),
            Mistake(
                '"relu" returns the largest value of z alone',
                "np.max(z) takes one maximum of all. np.maximum(z, 0) compares each value with 0.",
                activated_with(relu=lambda z: max(z.max(), 0)),
            ),
            Mistake(
                '"relu" drops what is negative',
                "z[z > 0] is shorter than z. The negative values must stay, as 0.",
                activated_with(relu=lambda z: z[z > 0]),
            ),
            Mistake(
                '"relu" takes one decision for the whole array',
                "z holds many values. np.maximum(z, 0) compares each of them with 0.",
                Error(ValueError, "truth value"),
            ),
            Mistake(
                'the brackets of "sigmoid" are missing',
                "1 / 1 + exp(-z) is 1 + exp(-z). Write 1 / (1 + exp(-z)).",
                activated_with(sigmoid=lambda z: 1 + np.exp(-z)),
            ),
            Mistake(
                '"sigmoid" falls where it should rise',
                "The sign in the exponent: 1 / (1 + exp(-z)).",
                activated_with(sigmoid=lambda z: tnn.sigmoid(-z)),
            ),
            Mistake(
                '"sigmoid" is exp(z)',
                "A sigmoid lies between 0 and 1: 1 / (1 + exp(-z)).",
                activated_with(sigmoid=np.exp),
            ),
            Mistake(
                "there is no default",
                'Write it into the first line of the function: activation="linear".',
                Error(TypeError, "missing 1 required"),
            ),
            Mistake(
                "the default is no name of an activation",
                'It is a word in quotes: activation="linear".',
                Error(ValueError, "unknown activation"),
            ),
        ],
        axes=("index",),
    ),
    Part(
        "merged",
        lambda W1, b1, W2, b2: (W1 @ W2, b1 @ W2 + b2),
        LAYERS,
        [
            Mistake(
                "b1 does not pass the second layer",
                "The second layer multiplies all that comes in by W2, and b1 with it.",
                lambda W1, b1, W2, b2: (W1 @ W2, b1 + b2),
            ),
            Mistake(
                "b1 is forgotten",
                "Multiply out (x @ W1 + b1) @ W2 + b2: one term holds b1.",
                lambda W1, b1, W2, b2: (W1 @ W2, b2),
            ),
            Mistake(
                "b2 is forgotten",
                "Multiply out (x @ W1 + b1) @ W2 + b2. The last term is b2 itself.",
                lambda W1, b1, W2, b2: (W1 @ W2, b1 @ W2),
            ),
            Mistake(
                "the matrices are in the wrong order",
                "x meets W1 first: x @ W1 @ W2. The order of a matrix product matters.",
                lambda W1, b1, W2, b2: (W2 @ W1, b1 @ W2 + b2),
            ),
            Mistake(
                "the weights are multiplied element by element",
                "x @ W1 @ W2 is a matrix product: use @, not *.",
                lambda W1, b1, W2, b2: (W1 * W2, b1 @ W2 + b2),
            ),
            Mistake(
                "the weights are added",
                "One layer works on what the other made, so their weights multiply: W1 @ W2.",
                lambda W1, b1, W2, b2: (W1 + W2, b1 + b2),
            ),
        ],
        results=("W", "b"),
    ),
    then="With a relu in between no such W exists. That is what activations are for.\n"
    "Next: 10_shift.py",
)

# ---------------------------------------------------------------- 10

SHIFTS = [
    {"x": np.array([1.0, 2, 3, 4, 5]), "steps": 2},
    {"x": np.array([1.0, 2, 3, 4, 5]), "steps": 0},
    {"x": np.array([1.0, 2, 3, 4, 5]), "steps": 5},
    {"x": rng.normal(size=7), "steps": 3},
]


def later(x, steps):
    return np.concatenate([np.zeros(steps), x[: len(x) - steps]])


class Layer:
    """A function on series, and what it is called in a message."""

    def __init__(self, says, f):
        self.says, self.f = says, f

    def __call__(self, x):
        """Return the map of a series."""
        return self.f(x)


MATRIX = np.random.default_rng(3).normal(size=(12, 12))
SPIKE = np.array([0.0, 0, 1, 3, -1, 0, 0, 0, 0, 0, 0, 0])
STEPPED = [
    {"layer": Layer(says, f), "x": SPIKE, "steps": 3}
    for says, f in (
        ('Conv1d, padding "same"', lambda x: slid(x, [1, 3, -1], padding="same")[:, 0]),
        ("Dense(12, 12)", lambda x: x @ MATRIX),
        ("a layer that always returns 1", np.ones_like),
        ("a layer that returns its input", lambda x: x),
        ("a layer that returns its largest input at all locations", lambda x: 0 * x + x.max()),
        ("a layer that weighs each location differently", lambda x: x * np.arange(len(x))),
        ("a layer that returns its input in reverse order", lambda x: x[::-1]),
    )
]


def left(x, steps):
    return np.concatenate([x[steps:], np.zeros(steps)])


shift = Exercise(
    "10_shift",
    Part(
        "shifted",
        later,
        SHIFTS,
        [
            Mistake(
                "what drops out at the end comes in at the beginning",
                "np.roll goes round in a circle. Zeros must come in.",
                np.roll,
            ),
            Mistake(
                "the series moves to the left",
                "Later means a larger index: x[0] goes to y[steps].",
                left,
            ),
            Mistake(
                "the values are raised, not moved",
                "x + steps adds `steps` to each value. The values stay as they are, and go to "
                "larger INDICES: y[steps:] = ...",
                lambda x, steps: x + steps,
            ),
            Mistake(
                "the series does not move: its beginning is cut off",
                "The values kept are right, their places are not: y[steps:] takes the FIRST ones.",
                lambda x, steps: np.where(np.arange(len(x)) < steps, 0, x),
            ),
            Mistake(
                "for 0 steps nothing is left",
                "x[:-0] is x[:0], and that is empty. Write x[: len(x) - steps].",
                Error(ValueError, "broadcast", when=lambda y, case: case["steps"] == 0),
            ),
            Mistake(
                "the two slices have different lengths",
                "y[steps:] has len(y) - steps values. Take as many from x: its first ones.",
                Error(ValueError, "broadcast"),
            ),
            Mistake(
                "values are written beyond the end",
                "The last `steps` values drop out: let the loop end at len(x) - steps.",
                Error(IndexError, *BEYOND),
            ),
            Mistake(
                "one step too many",
                "x[0] goes to index `steps`, since indices count from 0.",
                lambda x, steps: later(x, min(steps + 1, len(x))),
            ),
            Mistake(
                "the result is longer than the series",
                "The last values drop out: the length stays.",
                lambda x, steps: np.concatenate([np.zeros(steps), x]),
            ),
        ],
        axes=("location",),
    ),
    Part(
        "moves_along",
        lambda layer, x, steps: np.allclose(layer(later(x, steps)), later(layer(x), steps)),
        STEPPED,
        [
            Mistake(
                "it tells whether the map stays, not whether it moves along",
                "layer(x) and layer(shifted(x)) are equal if the layer does not notice the shift. "
                "That is invariance. Here the map must be shifted too.",
                lambda layer, x, steps: np.allclose(layer(later(x, steps)), layer(x)),
            ),
            Mistake(
                "it is always True",
                "Both lines seem to compute the same. One shifts before the layer, one behind it.",
                lambda layer, x, steps: True,
            ),
            Mistake(
                "the layer is called in one line only",
                "layer(shifted(x)) is to be compared with shifted(layer(x)): one call in each.",
                lambda layer, x, steps: np.allclose(layer(later(x, steps)), later(x, steps)),
            ),
            Mistake(
                "the map is compared with the shifted map",
                "One of the two lines lacks a shift BEFORE the layer.",
                lambda layer, x, steps: np.allclose(layer(x), later(layer(x), steps)),
            ),
            Mistake(
                "one of the two is shifted in the other direction",
                "Both lines shift by the same `steps`.",
                lambda layer, x, steps: np.allclose(layer(later(x, steps)), left(layer(x), steps)),
            ),
        ],
        after=("shifted",),
    ),
    then="A convolution notices a shift only near the ends, where it meets zeros.\n"
    "Next: 11_counting.py",
)

# ---------------------------------------------------------------- 11

DENSE = [{"inputs": 500, "units": 1}, {"inputs": 7, "units": 3}]
CONV = [
    {"f": 25, "channels": 1, "filters": 1},
    {"f": 3, "channels": 4, "filters": 8},
    {"f": 5, "channels": 8, "filters": 2},
]
HOW_MANY = [{"n": 10, "f": 3}, {"n": 500, "f": 25}]

counting = Exercise(
    "11_counting",
    Part(
        "dense_parameters",
        lambda inputs, units: inputs * units + units,
        DENSE,
        [
            Mistake(
                "the biases are forgotten",
                "Each unit has a bias beside its weights: units more.",
                lambda inputs, units: inputs * units,
            ),
            Mistake(
                "one bias for the whole layer",
                "Each unit has a bias of its own.",
                lambda inputs, units: inputs * units + 1,
            ),
            Mistake(
                "a bias for each input",
                "The bias is added to a unit's sum: one for each unit.",
                lambda inputs, units: inputs * units + inputs,
            ),
            Mistake(
                "inputs and units are added",
                "EACH unit has a weight for EACH input: multiply.",
                lambda inputs, units: inputs + units,
            ),
        ],
    ),
    Part(
        "conv1d_parameters",
        lambda f, channels, filters: f * channels * filters + filters,
        CONV,
        [
            Mistake(
                "the biases are forgotten",
                "Each filter has a bias: filters more.",
                lambda f, channels, filters: f * channels * filters,
            ),
            Mistake(
                "the channels are forgotten",
                "A kernel has f weights for EACH input channel (exercise 7).",
                lambda f, channels, filters: f * filters + filters,
            ),
            Mistake(
                "one bias for the whole layer",
                "Each filter has a bias of its own.",
                lambda f, channels, filters: f * channels * filters + 1,
            ),
            Mistake(
                "a bias for each channel and filter",
                "The bias is added when all channels are summed: one for each filter.",
                lambda f, channels, filters: f * channels * filters + channels * filters,
            ),
            Mistake(
                "a bias for each input channel",
                "The bias belongs to what comes OUT: one for each filter.",
                lambda f, channels, filters: f * channels * filters + channels,
            ),
            Mistake(
                "the filters are forgotten",
                "Each filter has a kernel of its own, with f * channels weights.",
                lambda f, channels, filters: f * channels + 1,
            ),
        ],
    ),
    Part(
        "without_sharing",
        lambda n, f: (n - f + 1) * f,
        HOW_MANY,
        [
            Mistake(
                "the map is taken to be as long as the series",
                "Without padding there are n - f + 1 locations.",
                lambda n, f: n * f,
            ),
            Mistake(
                "off by one: n - f locations",
                "n values hold n - f + 1 windows of f values.",
                lambda n, f: (n - f) * f,
            ),
            Mistake(
                "one kernel for all locations",
                "That is Conv1d, which shares. Here each location has f weights of its own.",
                lambda n, f: f,
            ),
            Mistake(
                "all to all: that is Dense",
                "Each location still sees f values only.",
                lambda n, f: (n - f + 1) * n,
            ),
            Mistake(
                "the locations are counted, not the weights",
                "Each of them has a kernel of f weights.",
                lambda n, f: n - f + 1,
            ),
        ],
    ),
    then="model.summary(shape) of tinynn counts them for you. Next: 12_loss_and_step.py",
)
