"""The checks of exercises 1 and 2. Do your exercises first: what is right is computed here."""

import numpy as np
from _checking import LENGTHS_DIFFER, Error, Exercise, Mistake, Part

import tinynn as tnn

rng = np.random.default_rng(1)

# ---------------------------------------------------------------- 1

PAIRS = [
    {"x": np.array([0.0, 1, 3, 1]), "W": np.array([1.0, 2, 1, -1])},
    {"x": rng.normal(size=7), "W": rng.normal(size=7)},
    {"x": rng.normal(size=6), "W": rng.normal(size=6)},
]
PLACES = [
    {"spike": np.array([1.0, 3, -2]), "start": 2, "n": 8},
    {"spike": np.array([2.0, 5, 1, -1]), "start": 0, "n": 6},
    {"spike": np.array([1.0, 4, 2]), "start": 4, "n": 7},
]


def placed(spike, start, n, fill=0.0):
    values = [spike[i - start] if 0 <= i - start < len(spike) else fill for i in range(n)]
    return np.array(values)


def repeated(spike, start, n):
    return np.array([spike[(i - start) % len(spike)] for i in range(n)])


dot_product = Exercise(
    "01_dot_product",
    Part(
        "unit",
        lambda x, W: tnn.dot(x, W),
        PAIRS,
        [
            Mistake(
                "the products are not added up",
                "x * W holds one product for each input. A unit returns their sum: one number that "
                "says how well the whole input matches.",
                lambda x, W: x * W,
            ),
            Mistake(
                "a mean, where a sum belongs",
                "The products are averaged. A dot product adds them up: divide by nothing.",
                lambda x, W: (x * W).mean(),
            ),
            Mistake(
                "inputs and weights are added, not multiplied",
                "A large weight must make its input count more. Multiply each input by its weight, "
                "and add up the products.",
                lambda x, W: (x + W).sum(),
            ),
            Mistake(
                "the sums are multiplied, not the pairs",
                "sum(x) * sum(W) loses which input meets which weight. Multiply pair by pair, and "
                "then add up.",
                lambda x, W: x.sum() * W.sum(),
            ),
            Mistake(
                "the sum is divided by the lengths of the vectors",
                "This is the cosine of an angle. It is a good measure of likeness, but no Dense "
                "unit: leave out the norms.",
                lambda x, W: x @ W / np.sqrt((x @ x) * (W @ W)),
            ),
            Mistake(
                "every input meets every weight",
                "np.outer makes a table of all pairs. Input i meets weight i only.",
                np.outer,
            ),
            Mistake(
                "the weights are read backwards",
                "The first input meets the first weight. Nothing is turned round here.",
                lambda x, W: x @ W[::-1],
            ),
            Mistake(
                "the weights are not used",
                "This is the sum of the inputs. Multiply each by its weight first.",
                lambda x, W: x.sum(),
            ),
        ],
    ),
    Part(
        "pattern_for",
        placed,
        PLACES,
        [
            Mistake(
                "the spike begins one place too late",
                "Indices count from 0, and `start` is the index of the spike's first value.",
                lambda spike, start, n: np.roll(placed(spike, start, n + 1), 1)[:n],
            ),
            Mistake(
                "the spike is centred at `start`",
                "`start` is where its first value goes, not its middle.",
                lambda spike, start, n: placed(spike, start - len(spike) // 2, n),
            ),
            Mistake(
                "the spike is written at every place",
                "A Dense pattern holds the spike once. That it looks at one place only is its "
                "weakness, and the reason for convolution.",
                repeated,
            ),
            Mistake(
                "the pattern is 0 everywhere",
                "Write the spike into W: W[start : ...] = spike.",
                lambda spike, start, n: np.zeros(n),
            ),
            Mistake(
                "the spike alone, without the zeros",
                "The pattern has n weights. Write the spike into a part of W: W[start : ...] = "
                "spike.",
                lambda spike, start, n: spike,
            ),
            Mistake(
                "the slice has another length than the spike",
                "W[a:b] holds b - a weights. From `start` on there must be len(spike) of them.",
                Error(ValueError, *LENGTHS_DIFFER),
            ),
        ],
        axes=("index",),
    ),
    then="A pattern as long as the input sees the spike at one place only. How many patterns\n"
    "would you need to see it anywhere? Next: 02_order.py",
)

# ---------------------------------------------------------------- 2

SHUFFLES = [
    {"x": np.array([5.0, 6, 7, 8]), "W": np.array([1.0, 0, 2, -1]), "perm": np.array([2, 0, 3, 1])},
    {"x": rng.normal(size=6), "W": rng.normal(size=6), "perm": np.array([3, 5, 1, 0, 2, 4])},
]
BACK = [{"x_shuffled": case["x"][case["perm"]], "perm": case["perm"]} for case in SHUFFLES]

order = Exercise(
    "02_order",
    Part(
        "shuffled",
        lambda x, W, perm: (x[perm], W[perm]),
        SHUFFLES,
        [
            Mistake(
                "the weights stay where they were",
                "Now inputs meet weights of other inputs, and the dot product changes. Shuffle W "
                "as x is shuffled.",
                lambda x, W, perm: (x[perm], W),
            ),
            Mistake(
                "the weights are shuffled by the inverse",
                "x and W need the SAME order, so that each input keeps its weight: use perm for "
                "both.",
                lambda x, W, perm: (x[perm], W[np.argsort(perm)]),
            ),
            Mistake(
                "both are put back, not shuffled",
                "The dot product is right, but the new x must begin with x[perm[0]]. Index with "
                "perm itself.",
                lambda x, W, perm: (x[np.argsort(perm)], W[np.argsort(perm)]),
            ),
            Mistake(
                "each is sorted by itself",
                "Sorting tears inputs from their weights. Take both in the order that perm gives.",
                lambda x, W, perm: (np.sort(x), np.sort(W)),
            ),
            Mistake(
                "nothing is shuffled",
                "The dot product is right, but the order is the old one. Index with perm.",
                lambda x, W, perm: (x, W),
            ),
            Mistake(
                "the dot product is returned, not the two arrays",
                "It is the number that must stay the same. Return the shuffled x and the shuffled "
                "W: return ..., ...",
                lambda x, W, perm: x @ W,
            ),
            Mistake(
                "both are reversed",
                "That is one other order. The order wanted is perm's: index with it.",
                lambda x, W, perm: (x[::-1], W[::-1]),
            ),
        ],
        results=("x", "W"),
        axes=("index",),
    ),
    Part(
        "in_order_again",
        lambda x_shuffled, perm: x_shuffled[np.argsort(perm)],
        BACK,
        [
            Mistake(
                "it is shuffled a second time",
                "x_shuffled[perm] takes values FROM perm's places. They must go TO them: "
                "x[perm] = ...",
                lambda x_shuffled, perm: x_shuffled[perm],
            ),
            Mistake(
                "it is still shuffled",
                "Each value must go to its place: perm says where.",
                lambda x_shuffled, perm: x_shuffled,
            ),
            Mistake(
                "it is sorted by size",
                "That x was in increasing order is nowhere said. perm knows the places.",
                lambda x_shuffled, perm: np.sort(x_shuffled),
            ),
        ],
        axes=("index",),
    ),
    then="What would happen to a spike of three neighbouring values? Next: 03_sliding.py",
)
