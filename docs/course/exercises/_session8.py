"""The check of exercise 17. Do the exercise first: what is right is computed here."""

from functools import cache

import numpy as np
from _checking import Answer, Error, Exercise, Mistake, Part, Raised, in_general, outcome

import tinynn as tnn

rng = np.random.default_rng(6)

TAPS, DPRIME, RATE, SAMPLES = 25, 4.0, 0.01, 100_000


@cache
def recording(seed, length=SAMPLES):
    return tnn.spikes.simulate(length, rate=RATE, dprime=DPRIME, rng=seed)


def fresh_model():
    return tnn.Conv1d(1, 1, TAPS, padding="same", activation="linear", rng=1)


@cache
def matched_filter():
    """A model without training: the best kernel, and the log-odds' bias."""
    model = fresh_model()
    template = recording(0).template.reshape(TAPS, 1, 1)
    model.kernel.data = template.astype("float32")
    model.bias.data = np.float32([np.log(RATE) - DPRIME**2 / 2])
    return model


def said(function, verdict, advice="", where=""):
    return Answer(function, verdict.startswith("right"), verdict, advice, where)


def failed(function, received):
    verdict, advice = in_general([np.zeros(1)], [received], 0, ())
    return said(function, verdict, advice, getattr(received, "line", ""))


class Model:
    """The model: judged by its settings."""

    function, after = "make_model", ()

    def answer(self, f):
        """Return the Answer to a student's make_model."""
        model = outcome(f, {"taps": TAPS})
        if isinstance(model, Raised) or model is None:
            return failed("make_model", model)
        if isinstance(model, tnn.Dense):
            return said(
                "make_model", "a Dense layer",
                "Spikes may be anywhere, and a Dense pattern sits at one place: use Conv1d.",
            )  # fmt: skip
        layers = list(model) if isinstance(model, tnn.Sequential) else [model]
        if not isinstance(layers[0], tnn.Conv1d):
            kind = type(layers[0]).__name__
            return said("make_model", f"it returns a {kind}", "Return tnn.Conv1d(1, 1, taps, ...).")
        if len(layers) > 1:
            return said("make_model", "more than one layer", "One Conv1d is enough here.")
        return said("make_model", *self.judged(layers[0]))

    def judged(self, conv):
        taps, channels, filters = conv.kernel.shape
        if (channels, filters) != (1, 1):
            verdict = f"{channels} channels in and {filters} features out"
            return verdict, "The recording has one channel, and the score is one feature: 1, 1."
        if taps != TAPS:
            return f"the kernel has {taps} weights, not `taps` = {TAPS}", (
                "A spike is 25 samples long. Give kernel_size=taps, the third argument."
            )  # fmt: skip
        if conv.padding == "valid":
            return 'the padding is "valid", the default', (
                "Then 500 samples have 476 scores, and labels and scores do not fit. Write "
                'padding="same".'
            )
        if conv.padding != "same":
            return f"the padding is {conv.padding!r}", (
                'The score of a sample is to be centred on it: padding="same".'
            )
        name = getattr(conv.activation, "__name__", conv.activation)
        if name not in ("linear", None):
            return f"the activation is {name!r}", (
                "The score is log-odds: any number, negative ones too. The loss does the rest: "
                'activation="linear".'
            )
        if conv.bias is None:
            return "there is no bias", "Spikes are rare, and the bias learns how rare."
        if conv.output_length(500) != 500:
            return "there is not one score for each sample", "Leave the strides at 1."
        return ("right",)


class Training:
    """The training: judged by the loss and by the kernel that comes out."""

    function, after = "train", ("loss",)

    def answer(self, f):
        """Return the Answer to a student's train."""
        data, model = recording(0), fresh_model()
        x = data.x.reshape(-1, 500, 1)
        y = tnn.spikes.labels(data.times[0], SAMPLES).reshape(x.shape)
        before = model.kernel.data.copy()
        start = self.loss(model, x, y)
        result = outcome(f, {"model": model, "x": x, "y": y})
        if isinstance(result, Raised):
            return self.stopped(result)
        end = self.loss(model, x, y)
        reached = (tnn.spikes.dprime(model.kernel.data, data.template, data.noise) / DPRIME) ** 2
        where = (
            f"The loss was {start:.3f} before and is {end:.3f} now; 0.05 or less is good. The "
            f"kernel extracts {reached:.0%} of the spike's squared signal-to-noise ratio."
        )
        if np.array_equal(before, model.kernel.data):
            advice = "Give the optimizer the model's own weights: model.parameters()."
            return said("train", "the kernel has not moved", advice, where)
        if reached >= 0.9 and end < 0.09:
            return said("train", f"right: the kernel reaches an efficiency of {reached:.0%}")
        epochs = self.epochs(result)
        if end > 1.2 * start or reached >= 0.9:
            verdict = "the steps are too long"
            advice = "The loss jumps about. Take a smaller learning rate."
        elif epochs is not None and epochs < 4:
            verdict = "it ends too early"
            advice = f"{epochs} epoch{'s' * (epochs != 1)} of 13 steps: try 10 or more."
        else:
            verdict = "it learns too slowly"
            advice = (
                "Each step is short: take a larger learning rate, such as 1 for SGD or 0.05 for "
                "Adam (the default is made for other problems), or momentum=0.9, or more epochs."
            )
        return said("train", verdict, advice, where)

    def stopped(self, result):
        if isinstance(result.error, FloatingPointError):
            verdict, advice = (
                "the loss is no number any more",
                ("The steps are so long that the weights blow up. Take a smaller learning rate."),
            )
            return said("train", verdict, advice, str(result))
        return failed("train", result)

    @staticmethod
    def epochs(result):
        return len(result.history["loss"]) if isinstance(result, tnn.History) else None

    @staticmethod
    def loss(model, x, y):
        score = tnn.predict(model, x)
        return float(tnn.losses.binary_crossentropy(score, y, from_logits=True))


def best_of(model, data):
    score = tnn.predict(model, data.x)
    return tnn.spikes.best_threshold(score, data.times, tolerance=2, exclusion=12)


MARGIN = rng.normal(size=6)
LOSSES = [
    {"score": np.array([2.0, -1, -3]), "label": np.array([1.0, 0, 0])},
    {"score": 3 * MARGIN, "label": np.array([1.0, 0, 0, 1, 0.5, 0])},
]
VALIDATION = [{"model": matched_filter(), "recording": recording(1, 20_000)}]


def final_score(namespace):
    """Return a sentence on the student's own detector, on a recording that nothing has seen."""
    data, model = recording(0), namespace["make_model"](TAPS)
    x = data.x.reshape(-1, 500, 1)
    namespace["train"](model, x, tnn.spikes.labels(data.times[0], SAMPLES).reshape(x.shape))
    threshold, test = namespace["choose_threshold"](model, recording(1)), recording(2)
    found = tnn.spikes.find_events(tnn.predict(model, test.x), float(threshold), exclusion=12)
    result = tnn.spikes.match(test.times[0], found, tolerance=2)
    limit = tnn.spikes.predicted_f1(DPRIME, RATE, tolerance=2)
    return (
        f"On a new recording your detector has precision {result.precision:.2f}, recall "
        f"{result.recall:.2f}\nand F1 {result.f1:.2f}. Theory predicts {limit:.2f} for the best "
        "kernel."
    )


detector = Exercise(
    "17_detector",
    Model(),
    Part(
        "loss",
        lambda score, label: tnn.losses.binary_crossentropy(score, label, from_logits=True),
        LOSSES,
        [
            Mistake(
                "from_logits is forgotten",
                "The score is log-odds, not a probability, and the loss must know it: "
                "from_logits=True.",
                Error(ValueError, "from_logits=True"),
            ),
            Mistake(
                "a squared error",
                "It hardly punishes a spike that is missed for sure. Take the crossentropy.",
                lambda score, label: ((score - label) ** 2).mean(),
            ),
            Mistake(
                "score and label are swapped",
                "The prediction comes first, then the target.",
                lambda score, label: tnn.losses.binary_crossentropy(label, score, from_logits=True),
            ),
            Mistake(
                "the sigmoid is applied twice",
                "from_logits=True does it already: give the score as it is.",
                lambda score, label: tnn.losses.binary_crossentropy(
                    1 / (1 + np.exp(-score)), label, from_logits=True
                ),
            ),
            Mistake(
                "the sigmoid is applied twice",
                "from_logits=True does it already: give the score as it is.",
                Error(ValueError, "sigmoid"),
            ),
            Mistake(
                "a loss for each sample",
                "One number is needed: leave reduction at its default.",
                lambda score, label: tnn.losses.binary_crossentropy(
                    score, label, from_logits=True, reduction="none"
                ),
            ),
            Mistake(
                "a sum, where the mean belongs",
                "A sum grows with the batch, and so do the steps: leave reduction at its default.",
                lambda score, label: tnn.losses.binary_crossentropy(
                    score, label, from_logits=True, reduction="sum"
                ),
            ),
        ],
    ),
    Training(),
    Part(
        "choose_threshold",
        lambda model, data: best_of(model, data)[0],
        VALIDATION,
        [
            Mistake(
                "the threshold is 0: that asks for p > 1/2",
                "Noise moves the peaks, and the score is not a perfect probability. The best "
                "threshold is looked for on a recording: tnn.spikes.best_threshold.",
                lambda model, data: 0.0,
            ),
            Mistake(
                "the threshold is 0.5, as if the score were a probability",
                "The score is log-odds. Look for the best threshold: tnn.spikes.best_threshold.",
                lambda model, data: 0.5,
            ),
            Mistake(
                "the threshold and the Match came back together",
                "best_threshold returns a pair. Return its first part: ...[0].",
                lambda model, data: (np.asarray(best_of(model, data)[0]), best_of(model, data)[1]),
            ),
            Mistake(
                "the best F1 is returned, not the threshold",
                "best_threshold returns (threshold, match). The first part is wanted.",
                lambda model, data: best_of(model, data)[1].f1,
            ),
            Mistake(
                "the threshold is a probability",
                "The score is compared with it as it is: no sigmoid.",
                lambda model, data: 1 / (1 + np.exp(-best_of(model, data)[0])),
            ),
            Mistake(
                "the largest score is the threshold",
                "Then nothing lies above it. Look for the best F1.",
                lambda model, data: tnn.predict(model, data.x).max(),
            ),
        ],
    ),
    then=final_score,
)
