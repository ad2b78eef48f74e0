"""The checks of exercises 3 to 5. Do your exercises first: what is right is computed here."""

import numpy as np
from _checking import (
    BEYOND,
    FRACTIONS,
    LENGTHS_DIFFER,
    NOT_A_NUMBER,
    Error,
    Exercise,
    Mistake,
    Part,
)

import tinynn as tnn

rng = np.random.default_rng(1)
BY_HAND = ("convolve", "correlate", "conv1d", "Conv1d", "sliding_window_view")


def slid(x, kernel, padding="valid"):
    """Return the library's feature map of one series and one kernel."""
    x, kernel = np.asarray(x, float)[:, None], np.asarray(kernel, float)[:, None, None]
    return tnn.conv1d(x[None], kernel, padding=padding)[0, :, 0]


def window_sums(x, f):
    return slid(x, np.ones(f))


# ---------------------------------------------------------------- 3

SERIES = [
    {"x": np.array([0.0, 1, 3, 1, 0, -2]), "kernel": np.array([1.0, 2, -1])},
    {"x": rng.normal(size=9), "kernel": rng.normal(size=4)},
    {"x": rng.normal(size=5), "kernel": rng.normal(size=5)},
    {"x": rng.normal(size=8), "kernel": rng.normal(size=2)},
]


def beyond_the_end(raised, case):
    return raised.locals.get("j") == len(case["x"]) - len(case["kernel"]) + 1


def at_the_beginning(raised, case):
    return raised.locals.get("j") == 0 and len(case["kernel"]) == 3


FLIPPED = Mistake(
    "the kernel is turned round",
    "Its first weight belongs to the first value of the window. Signal processing turns the kernel "
    "round (np.convolve does), layers do not.",
    lambda x, kernel: slid(x, kernel[::-1]),
)
MOVING_SUM = Mistake(
    "the weights are not used",
    "These are sums of the window. Multiply each value by its weight first.",
    lambda x, kernel: window_sums(x, len(kernel)),
)

NOT_ADDED = (
    "the products are not added up",
    "A window * kernel holds one product for each weight. The map has their sum: one number for "
    "each location. The operator @ multiplies and adds up.",
)

sliding = Exercise(
    "03_sliding",
    Part(
        "feature_map",
        slid,
        SERIES,
        [
            FLIPPED,
            MOVING_SUM,
            Mistake(*NOT_ADDED, Error((TypeError, ValueError), *NOT_A_NUMBER)),
            Mistake(
                *NOT_ADDED,
                lambda x, kernel: np.array(
                    [x[j : j + len(kernel)] * kernel for j in range(len(x) - len(kernel) + 1)]
                ),
            ),
            Mistake(
                "the last location is missing",
                "n values hold n - f + 1 windows of f values, not n - f. For n = f there is one.",
                lambda x, kernel: slid(x, kernel)[:-1],
            ),
            Mistake(
                "the kernel jumps by its own length",
                "The windows overlap: after the one that begins at 0 comes the one that begins "
                "at 1.",
                lambda x, kernel: slid(x, kernel)[:: len(kernel)],
            ),
            Mistake(
                "the map is as long as the series",
                'This is padding "same", the lecture\'s picture. Here the kernel stays inside the '
                "series: the map has n - f + 1 values.",
                lambda x, kernel: slid(x, kernel, "same"),
            ),
            Mistake(
                "the kernel runs out of the series",
                "The last window holds fewer than f values. Window j is x[j : j + f], and there "
                "are only n - f + 1 locations where it is whole.",
                Error(ValueError, *LENGTHS_DIFFER, when=beyond_the_end),
            ),
            Mistake(
                "the first window is empty or too short",
                "Window j begins AT j: x[j : j + f]. An index below 0 counts from the end in "
                "Python.",
                Error(ValueError, *LENGTHS_DIFFER, when=at_the_beginning),
            ),
            Mistake(
                "the map has n values, and the last ones are 0",
                "Where the kernel does not fit there is no location, and no value either: the map "
                "has n - f + 1.",
                lambda x, kernel: np.append(slid(x, kernel), np.zeros(len(kernel) - 1)),
            ),
            Mistake(
                "it is right for kernels of 3 weights only",
                "Is a 3 or a 2 written out? The window holds f values, and the map n - f + 1.",
                Error(ValueError, *LENGTHS_DIFFER, when=lambda y, case: len(case["kernel"]) != 3),
            ),
            Mistake(
                "an index is beyond the end of the series",
                "The last window begins at n - f, so there are n - f + 1 locations.",
                Error(IndexError, *BEYOND),
            ),
            Mistake(
                "a mean, where a sum belongs",
                "The products are averaged over the window. A dot product adds them up.",
                lambda x, kernel: slid(x, kernel) / len(kernel),
            ),
        ],
        axes=("location",),
        without=BY_HAND,
    ),
    then="The same weights were used at every location. How many weights are that, however long\n"
    "the series is? Next: 04_neighbourhood.py",
)

# ---------------------------------------------------------------- 4

HERE = np.array([5.0, 6, 7, 8, 9])
LOCATIONS = [
    {"x": HERE, "f": 3, "j": 2},
    {"x": HERE, "f": 3, "j": 0},
    {"x": HERE, "f": 3, "j": 4},
    {"x": HERE, "f": 5, "j": 1},
    {"x": HERE, "f": 5, "j": 3},
    {"x": np.arange(1.0, 9), "f": 7, "j": 2},
    {"x": HERE, "f": 1, "j": 3},
]
ODD = [
    {"x": np.array([0.0, 1, 3, 1, 0, -2]), "kernel": np.array([1.0, 2, -1])},
    {"x": rng.normal(size=8), "kernel": rng.normal(size=5)},
]


def around(x, f, j, by=0):
    return np.pad(x, len(x) + f)[len(x) + f + j - f // 2 + by :][:f]


neighbours = Exercise(
    "04_neighbourhood",
    Part(
        "neighbourhood",
        around,
        LOCATIONS,
        [
            Mistake(
                "the values begin at location j",
                "They must be CENTRED there: as many before j as behind it, f // 2 on each side.",
                lambda x, f, j: around(x, f, j, f // 2),
            ),
            Mistake(
                "the values end at location j",
                "That is a causal window. The lecture's is centred: f // 2 values on each side.",
                lambda x, f, j: around(x, f, j, -(f // 2)),
            ),
            Mistake(
                "the values end before location j",
                "j - f lies f locations before j. The neighbourhood is centred at j, so half of it "
                "lies before: f // 2.",
                lambda x, f, j: around(x, f, j, f // 2 - f),
            ),
            Mistake(
                "everything is one location too early",
                "The lecture counts locations from 1, Python from 0. Here j = 0 is the first one: "
                "subtract no 1. The half width is f // 2.",
                lambda x, f, j: around(x, f, j, -1),
            ),
            Mistake(
                "everything is one location too late",
                "The half width of f values is f // 2: for f = 3 one value before j, and one "
                "behind it.",
                lambda x, f, j: around(x, f, j, 1),
            ),
            Mistake(
                "before the beginning it goes on at the end",
                "A negative index counts from the end in Python. Ask 0 <= i as well.",
                lambda x, f, j: np.array(
                    [x[i] if i < len(x) else 0 for i in range(j - f // 2, j + f // 2 + 1)]
                ),
            ),
            Mistake(
                "the series goes round in a circle",
                "Beyond the ends there are zeros, not the values of the other end.",
                lambda x, f, j: x[np.arange(j - f // 2, j + f // 2 + 1) % len(x)],
            ),
            Mistake(
                "the values at the ends are repeated",
                "Beyond the ends there are zeros, not copies of the last value.",
                lambda x, f, j: x[np.clip(np.arange(j - f // 2, j + f // 2 + 1), 0, len(x) - 1)],
            ),
            Mistake(
                "i is compared with f",
                "The location must lie in the series: 0 <= i < len(x).",
                lambda x, f, j: around(np.where(np.arange(len(x)) < f, x, 0), f, j),
            ),
            Mistake(
                "the value at location 0 is left out",
                "Location 0 exists: ask 0 <= i, not 0 < i.",
                lambda x, f, j: around(np.append(0, x[1:]), f, j),
            ),
            Mistake(
                "the location i is no whole number",
                "An index must be a whole number. f / 2 is not: / makes fractions. Write f // 2.",
                Error(IndexError, "only integers"),
            ),
            Mistake(
                "an index is beyond the end of the series",
                "The last location is len(x) - 1. Ask i < len(x).",
                Error(IndexError, *BEYOND),
            ),
        ],
        axes=("value",),
    ),
    Part(
        "feature_map",
        lambda x, kernel: slid(x, kernel, "same"),
        ODD,
        [
            Mistake(
                "the kernel is turned round",
                FLIPPED.advice,
                lambda x, kernel: slid(x, kernel[::-1], "same"),
            ),
            Mistake(
                *NOT_ADDED,
                lambda x, kernel: np.array(
                    [around(x, len(kernel), j) * kernel for j in range(len(x))]
                ),
            ),
            Mistake(
                "the neighbourhoods themselves are returned",
                "Each must become one number: its dot product with the kernel.",
                lambda x, kernel: np.array([around(x, len(kernel), j) for j in range(len(x))]),
            ),
            Mistake(
                MOVING_SUM.verdict,
                MOVING_SUM.advice,
                lambda x, kernel: slid(x, np.ones(len(kernel)), "same"),
            ),
        ],
        axes=("location",),
        without=BY_HAND,
        after=("neighbourhood",),
    ),
    then='This is Conv1d(1, 1, f, padding="same", use_bias=False). Next: 05_padding.py',
)

# ---------------------------------------------------------------- 5

ZEROS = [{"f": f, "padding": word} for word in ("valid", "same", "causal") for f in (3, 5, 4, 1)]
LENGTHS = [
    {"n": 10, "f": 3, "left": 0, "right": 0},
    {"n": 10, "f": 3, "left": 1, "right": 1},
    {"n": 10, "f": 4, "left": 3, "right": 0},
    {"n": 5, "f": 5, "left": 0, "right": 0},
    {"n": 7, "f": 2, "left": 0, "right": 2},
]


def zeros(f, padding):
    return {"valid": (0, 0), "same": ((f - 1) // 2, f // 2), "causal": (f - 1, 0)}[padding]


def zeros_of(word, verdict, advice, rule):
    """Return the Mistake of one padding. The two others may have mistakes of their own."""
    return Mistake(
        f'"{word}": {verdict}', advice,
        lambda f, padding: rule(f) if padding == word else zeros(f, padding),
        among=lambda case: case["padding"] == word,
    )  # fmt: skip


padding = Exercise(
    "05_padding",
    Part(
        "zeros",
        zeros,
        ZEROS,
        [
            zeros_of(
                "valid",
                "there are zeros",
                "Valid uses true values only, so it adds none. It is the default.",
                lambda f: ((f - 1) // 2, f // 2),
            ),
            zeros_of(
                "same",
                "f // 2 zeros on each side",
                "For an odd f this is right. For an even f these are f zeros, one too many: the "
                "map would be longer than the series. In all there are f - 1.",
                lambda f: (f // 2, f // 2),
            ),
            zeros_of(
                "same",
                "(f - 1) // 2 zeros on each side",
                "For an odd f this is right. For an even f one is missing. In all there are f - 1.",
                lambda f: ((f - 1) // 2, (f - 1) // 2),
            ),
            zeros_of(
                "same",
                "the odd zero is on the left",
                "For an even f the two sides differ by one. Keras and tinynn put it on the right.",
                lambda f: (f // 2, (f - 1) // 2),
            ),
            zeros_of(
                "same",
                "f - 1 zeros on each side",
                "f - 1 is how many there are in all. Each side gets half of them.",
                lambda f: (f - 1, f - 1),
            ),
            zeros_of(
                "same",
                "one zero on each side, whatever f",
                "One is right for f = 3. A longer kernel reaches further: f - 1 zeros in all.",
                lambda f: (1, 1),
            ),
            zeros_of(
                "causal",
                "the zeros are on the wrong side",
                "Causal means that an output sees no later input. So the zeros come BEFORE the "
                "series, and none behind it.",
                lambda f: (0, f - 1),
            ),
            zeros_of(
                "causal",
                "one zero too many",
                "The first output must see the first input: f - 1 zeros and one value make f.",
                lambda f: (f, 0),
            ),
            zeros_of(
                "causal",
                "half of the zeros are behind the series",
                'That is a centred window, as in "same": its outputs see later inputs. All f - 1 '
                "zeros come before the series.",
                lambda f: (f // 2, f // 2),
            ),
            zeros_of(
                "causal",
                'the same zeros as for "same"',
                "That is a centred window: its outputs see later inputs. All f - 1 zeros come "
                "before the series.",
                lambda f: ((f - 1) // 2, f // 2),
            ),
            Mistake(
                "the numbers are halves",
                "Numbers of zeros are whole numbers: //, not /. If f - 1 is odd, the side behind "
                "the series gets one more.",
                FRACTIONS,
            ),
        ],
        results=("left", "right"),
    ),
    Part(
        "map_length",
        lambda n, f, left, right: n + left + right - f + 1,
        LENGTHS,
        [
            Mistake(
                "off by one: too short",
                "A kernel as long as the series fits once, not 0 times: add 1.",
                lambda n, f, left, right: n + left + right - f,
            ),
            Mistake(
                "the zeros are not counted",
                "The kernel slides over the zeros too: left + n + right values in all.",
                lambda n, f, left, right: n - f + 1,
            ),
            Mistake(
                "the map is taken to be as long as the series",
                'It is so for padding "same" only. By default there are no zeros, and the map is '
                "shorter.",
                lambda n, f, left, right: n,
            ),
            Mistake(
                "the zeros of one side are not counted",
                "Both sides count: left + n + right.",
                lambda n, f, left, right: n + left - f + 1,
            ),
            Mistake(
                "the kernel jumps by its own length",
                "A division counts the windows that lie side by side. But they overlap: each "
                "begins one value after the last. How many do, from 0 on, and still fit?",
                lambda n, f, left, right: (n + left + right) // f,
            ),
            Mistake(
                "a length is no fraction",
                "Lengths are whole numbers: //, not /. Is a division needed at all? The windows "
                "overlap: each begins one value after the last.",
                FRACTIONS,
            ),
            Mistake(
                "the length with its zeros",
                "These are the values to slide over. The kernel fits at f - 1 places fewer.",
                lambda n, f, left, right: n + left + right,
            ),
        ],
    ),
    then="Say the padding whenever you write a layer. Next: 06_several_features.py",
)
