"""The checks of exercises 12 and 13. Do your exercises first: what is right is computed here."""

import numpy as np
from _checking import LENGTHS_DIFFER, Error, Exercise, Mistake, Part

import tinynn as tnn

rng = np.random.default_rng(5)

# ---------------------------------------------------------------- 12

ERRORS = [
    {"prediction": np.array([1.0, 2, 5]), "target": np.array([1.0, 4, 2])},
    {"prediction": rng.normal(size=4), "target": rng.normal(size=4)},
]
BATCHES = [
    {
        "x": np.array([[1.0, 0], [2, 1], [0, 3]]),
        "prediction": np.array([1.0, 2, 5]),
        "target": np.array([1.0, 4, 2]),
    },
    {"x": rng.normal(size=(4, 3)), "prediction": rng.normal(size=4), "target": rng.normal(size=4)},
    {"x": rng.normal(size=(5, 5)), "prediction": rng.normal(size=5), "target": rng.normal(size=5)},
]
STEPS = [
    {"W": np.array([1.0, 2]), "b": 3.0, "dW": np.array([10.0, -20]), "db": 5.0,
     "learning_rate": 0.1},
    {"W": rng.normal(size=3), "b": -1.0, "dW": rng.normal(size=3), "db": 0.7,
     "learning_rate": 0.01},
]  # fmt: skip


def gradients(x, prediction, target, of_prediction=None):
    """Return (dW, db); of_prediction: another derivative of the loss."""
    error = prediction - target
    d = 2 * error / len(error) if of_prediction is None else of_prediction(error)
    return d @ x, d.sum()


def with_derivative(of_prediction):
    return lambda x, prediction, target: gradients(x, prediction, target, of_prediction)


loss_and_step = Exercise(
    "12_loss_and_step",
    Part(
        "loss",
        tnn.losses.mean_squared_error,
        ERRORS,
        [
            Mistake(
                "a sum, where the mean belongs",
                "Divide by the size of the batch, or the loss grows with the batch: np.mean.",
                lambda prediction, target: ((prediction - target) ** 2).sum(),
            ),
            Mistake(
                "the errors are not squared",
                "Errors of both signs cancel. Square each one first.",
                lambda prediction, target: (prediction - target).mean(),
            ),
            Mistake(
                "the mean is squared, not each error",
                "Errors of both signs cancel in the mean. Square first, then take the mean.",
                lambda prediction, target: (prediction - target).mean() ** 2,
            ),
            Mistake(
                "absolute values, where squares belong",
                "That is the mean absolute error, another loss.",
                lambda prediction, target: np.abs(prediction - target).mean(),
            ),
            Mistake(
                "a loss for each sample",
                "The batch has ONE loss: take the mean over it.",
                lambda prediction, target: (prediction - target) ** 2,
            ),
            Mistake(
                "the squares are divided by the batch, and not added up",
                "A mean is a sum over the batch: np.mean does both.",
                lambda prediction, target: (prediction - target) ** 2 / len(target),
            ),
            Mistake(
                "the root of the loss",
                "The mean of the squares is wanted, without a root.",
                lambda prediction, target: np.sqrt(((prediction - target) ** 2).mean()),
            ),
            Mistake(
                "half of the loss",
                "Some books put 1/2 in front, so that the derivative loses its 2. Here it is a "
                "plain mean.",
                lambda prediction, target: ((prediction - target) ** 2).mean() / 2,
            ),
        ],
        without=("mean_squared_error",),
    ),
    Part(
        "gradients",
        gradients,
        BATCHES,
        [
            Mistake(
                "the 2 of the square is missing",
                "The derivative of error**2 is 2 * error.",
                with_derivative(lambda error: error / len(error)),
            ),
            Mistake(
                "the gradient is not divided by the size of the batch",
                "The loss is a mean, so each sample has the share 1 / batch.",
                with_derivative(lambda error: 2 * error),
            ),
            Mistake(
                "neither the 2 of the square nor the mean over the batch is there",
                "The derivative of the loss is 2 * (prediction - target) / batch.",
                with_derivative(lambda error: error),
            ),
            Mistake(
                "the sign is wrong",
                "It must be prediction - target: a prediction that is too high raises the loss.",
                with_derivative(lambda error: -2 * error / len(error)),
            ),
            Mistake(
                "db is not summed over the batch",
                "All samples share the one bias, so its gradient is the sum of theirs.",
                lambda x, prediction, target: (
                    gradients(x, prediction, target)[0],
                    2 * (prediction - target) / len(target),
                ),
            ),
            Mistake(
                "dW is not summed over the batch",
                "All samples share the weights, so their gradients add up: shape (n,), not "
                "(batch, n).",
                lambda x, prediction, target: (
                    (2 * (prediction - target) / len(target))[:, None] * x,
                    gradients(x, prediction, target)[1],
                ),
            ),
            Mistake(
                "dW is summed over the weights, not over the batch",
                "It must have one number for each WEIGHT: sum over the axis of the batch.",
                lambda x, prediction, target: (
                    (2 * (prediction - target) / len(target) * x.T).sum(axis=0),
                    gradients(x, prediction, target)[1],
                ),
            ),
            Mistake(
                "dW is averaged over the batch once more",
                "The mean is in dprediction already. The samples' shares are summed.",
                lambda x, prediction, target: (
                    gradients(x, prediction, target)[0] / len(x),
                    gradients(x, prediction, target)[1],
                ),
            ),
            Mistake(
                "db is averaged over the batch once more",
                "The mean is in dprediction already. The samples' shares are summed.",
                lambda x, prediction, target: (
                    gradients(x, prediction, target)[0],
                    gradients(x, prediction, target)[1] / len(x),
                ),
            ),
            Mistake(
                "dW does not know the inputs",
                "The derivative of x @ W with respect to a weight is the input that it meets: the "
                "chain rule multiplies by x.",
                lambda x, prediction, target: (
                    np.full(x.shape[1], gradients(x, prediction, target)[1]),
                    gradients(x, prediction, target)[1],
                ),
            ),
            Mistake(
                "the gradient is divided by the size of the batch twice",
                "The mean is in the derivative already. Then the samples' shares are summed.",
                with_derivative(lambda error: 2 * error / len(error) ** 2),
            ),
            Mistake(
                "x and dprediction are multiplied element by element",
                "dW sums over the batch: dprediction @ x. (x has shape (batch, n).)",
                Error(ValueError, "broadcast"),
            ),
            Mistake(
                "x stands on the wrong side, or its axes are swapped",
                "dprediction has shape (batch,), x has (batch, n): sum over the batch with "
                "dprediction @ x.",
                Error(ValueError, *LENGTHS_DIFFER),
            ),
        ],
        results=("dW", "db"),
        axes=("weight",),
    ),
    Part(
        "step",
        lambda W, b, dW, db, learning_rate: (W - learning_rate * dW, b - learning_rate * db),
        STEPS,
        [
            Mistake(
                "the step goes uphill",
                "The gradient points to where the loss RISES. Subtract it.",
                lambda W, b, dW, db, rate: (W + rate * dW, b + rate * db),
            ),
            Mistake(
                "the learning rate is not used",
                "The gradient gives the direction, the learning rate how far to go.",
                lambda W, b, dW, db, rate: (W - dW, b - db),
            ),
            Mistake(
                "the weights are multiplied by the learning rate too",
                "Mind the brackets: W - learning_rate * dW.",
                lambda W, b, dW, db, rate: ((W - dW) * rate, (b - db) * rate),
            ),
            Mistake(
                "it is divided by the learning rate",
                "A larger learning rate makes a longer step: multiply.",
                lambda W, b, dW, db, rate: (W - dW / rate, b - db / rate),
            ),
            Mistake(
                "the bias does not move",
                "b is learned as the weights are.",
                lambda W, b, dW, db, rate: (W - rate * dW, b),
            ),
            Mistake(
                "the step alone is returned",
                "Return where W and b ARE after it: W - learning_rate * dW.",
                lambda W, b, dW, db, rate: (-rate * dW, -rate * db),
            ),
            Mistake(
                "the weights shrink instead of moving",
                "W * ... changes W in proportion to itself. Subtract learning_rate * dW.",
                lambda W, b, dW, db, rate: (W - rate * W * dW, b - rate * b * db),
            ),
        ],
        results=("W", "b"),
        axes=("weight",),
    ),
    then="These are tnn.losses.mean_squared_error, loss.backward() and tnn.SGD(...).step().\n"
    "Next: 13_gradient_check.py",
)

# ---------------------------------------------------------------- 13


class Function:
    """A function of an array, and what it is called in a message."""

    def __init__(self, says, f):
        self.says, self.f = says, f

    def __call__(self, x):
        """Return one number."""
        return self.f(x)


WEIGHTS = np.random.default_rng(6).normal(size=(2, 3))
CURVED = [
    {"f": Function("sum(x**2)", lambda x: (x**2).sum()), "x": np.array([1.0, -2, 3]), "eps": 0.01},
    {"f": Function("x[0] * x[1]", lambda x: x[0] * x[1]), "x": np.array([2.0, 5]), "eps": 0.1},
    {
        "f": Function("sum(W * x**2)", lambda x: (WEIGHTS * x**2).sum()),
        "x": rng.normal(size=(2, 3)),
        "eps": 0.01,
    },
]
TWO = [
    {"analytic": np.array([1.0, 2, 4.5]), "numeric": np.array([1.0, 2, 5])},
    {"analytic": np.array([1.0, -8]), "numeric": np.array([3.0, -10])},
    {"analytic": rng.normal(size=(2, 2)), "numeric": rng.normal(size=(2, 2))},
]


def slopes(f, x, up, down, distance):
    """Return difference quotients; up and down: steps in units of the axis's direction."""
    result = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        e = np.zeros(x.shape)
        e[index] = 1
        result[index] = (f(x + up * e) - f(x + down * e)) / distance
    return result


def all_at_once(f, x, eps):
    return np.full(x.shape, (f(x + eps) - f(x - eps)) / (2 * eps))


def left_there(f, x, eps):
    """Move each element, and do not move it back."""
    x, result = x.copy(), np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += eps
        above = f(x)
        x[index] -= 2 * eps
        result[index] = (above - f(x)) / (2 * eps)
    return result


def first_only(f, x, eps):
    """Move x[0], whatever the index: a number, or a whole row."""
    up, down = x.copy(), x.copy()
    up[0] += eps
    down[0] -= eps
    return np.full(x.shape, (f(up) - f(down)) / (2 * eps))


gradient_check = Exercise(
    "13_gradient_check",
    Part(
        "numeric_gradient",
        lambda f, x, eps: slopes(f, x, eps, -eps, 2 * eps),
        CURVED,
        [
            Mistake(
                "the distance of the two points is 2 * eps",
                "From x - eps to x + eps it is twice eps. Divide by 2 * eps.",
                lambda f, x, eps: slopes(f, x, eps, -eps, eps),
            ),
            Mistake(
                "a one-sided difference, upwards",
                "f(x + eps) - f(x) is off by half the curvature times eps. Take f(x + eps) - "
                "f(x - eps).",
                lambda f, x, eps: slopes(f, x, eps, 0, eps),
            ),
            Mistake(
                "a one-sided difference, downwards",
                "f(x) - f(x - eps) is off by half the curvature times eps. Take f(x + eps) - "
                "f(x - eps).",
                lambda f, x, eps: slopes(f, x, 0, -eps, eps),
            ),
            Mistake(
                "half of a one-sided difference",
                "One of the two points was not moved. Both must be, in opposite directions.",
                lambda f, x, eps: slopes(f, x, eps, 0, 2 * eps),
            ),
            Mistake(
                "the sign is wrong",
                "Upper value minus lower value: f(up) - f(down).",
                lambda f, x, eps: slopes(f, x, -eps, eps, 2 * eps),
            ),
            Mistake(
                "all elements move at once",
                "up += eps moves the whole array. Move one element: up[index] += eps.",
                all_at_once,
            ),
            Mistake(
                "it is not divided by anything",
                "A slope is a difference over a distance: divide by 2 * eps.",
                lambda f, x, eps: slopes(f, x, eps, -eps, 1),
            ),
            Mistake(
                "it is always the first element that moves",
                "Move the element at `index`: up[index] += eps.",
                first_only,
            ),
            Mistake(
                "the gradient itself is replaced by one slope",
                "Each slope has its place: gradient[index] = ...",
                lambda f, x, eps: slopes(f, x, eps, -eps, 2 * eps).flat[-1],
            ),
            Mistake(
                "each element stays where it was moved",
                "Before the next element moves, this one must be back. Fresh copies are safest.",
                left_there,
            ),
            Mistake(
                "nothing moves",
                "up and down are still equal: up[index] += eps, and down[index] -= eps.",
                lambda f, x, eps: np.zeros(x.shape),
            ),
            Mistake(
                "it is multiplied by eps where it should be divided",
                "Mind the brackets: / 2 * eps divides by 2 and multiplies by eps. Write "
                "/ (2 * eps).",
                lambda f, x, eps: slopes(f, x, eps, -eps, 2 / eps),
            ),
        ],
        axes=("index",),
    ),
    Part(
        "relative_error",
        lambda analytic, numeric: np.abs(analytic - numeric).max() / np.abs(numeric).max(),
        TWO,
        [
            Mistake(
                "the difference is not compared with any size",
                "Divide by the largest |numeric|. A difference of 0.1 is much for a gradient of 1, "
                "and little for one of 1000.",
                lambda analytic, numeric: np.abs(analytic - numeric).max(),
            ),
            Mistake(
                "without absolute values",
                "Errors of either sign count: np.abs(...) of the difference and of the size.",
                lambda analytic, numeric: (analytic - numeric).max() / numeric.max(),
            ),
            Mistake(
                "a number for each element",
                "Take the largest difference, then divide by the largest size: one number.",
                lambda analytic, numeric: np.abs(analytic - numeric) / np.abs(numeric),
            ),
            Mistake(
                "the size is that of the largest element, not of the largest size",
                "-10 is larger in size than 3: np.abs(numeric).max().",
                lambda analytic, numeric: np.abs(analytic - numeric).max() / np.abs(numeric.max()),
            ),
            Mistake(
                "the largest of the quotients",
                "Each element was divided by its own size. One that happens to be near 0 would "
                "spoil all. Take the largest difference, then the largest size.",
                lambda analytic, numeric: (np.abs(analytic - numeric) / np.abs(numeric)).max(),
            ),
            Mistake(
                "divided by the analytic gradient",
                "The analytic one is in doubt, and may be 0. Divide by the size of the numeric "
                "one.",
                lambda analytic, numeric: np.abs(analytic - numeric).max() / np.abs(analytic).max(),
            ),
            Mistake(
                "means, where the largest values belong",
                "One wrong element among thousands hides in a mean.",
                lambda analytic, numeric: (
                    np.abs(analytic - numeric).mean() / np.abs(numeric).mean()
                ),
            ),
        ],
    ),
    then="tinynn.testing.check_grads does this, and names the cause. Next: 14_backward.py",
)
