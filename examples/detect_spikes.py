"""Train a Conv1d spike detector, and see how near it comes to what is possible at all.

A recording holds spikes of one shape at random times, in noise. One small kernel, slid over the
series, learns to find them anywhere: its output at each sample is the log-odds of a spike there.
The table compares, on a recording that none of them has seen,

* a bare threshold on the amplitude,
* the matched filter, the best linear detector, which is told the spike's shape and the noise,
* the trained kernel, which has only seen labelled examples,
* the exact posterior, the optimum of every detector, told everything (a hidden Markov model).

Every threshold is chosen on a validation recording. d' is the signal-to-noise ratio of one spike
at a known time; (d'(w)/d')^2 is the share of it that the learned kernel extracts.

    python examples/detect_spikes.py --plot spikes.png
    python examples/detect_spikes.py --dprime 3.3 --noise 0.9
"""

import argparse

import numpy as np
from _shared import (
    command_line,
    detector_page,
    generator,
    save,
    soft_labels,
    start,
    table,
    train,
    windows,
)

import tinynn as tnn
from tinynn import spikes

TOLERANCE = 2  # samples between a found spike and the true one
EXCLUSION = 12  # samples around a found spike in which no second one is looked for


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--dprime", type=float, default=4.0, help="detectability of one spike (default: 4)")
    add("--rate", type=float, default=0.01, help="spikes per sample (default: 0.01)")
    add("--noise", default="white", help="'white', or AR coefficients such as 0.9 or 1.2,-0.5")
    add("--kernel-size", type=int, default=25, help="taps of the kernel (default: 25)")
    add("--filters", type=int, default=1, help="kernels; above 1, ReLU maps that a last layer adds")
    add("--epochs", type=int, default=30, help="passes over the training data (default: 30)")
    return parser


def noise_model(text: str) -> str | list[float]:
    """Return what ``--noise`` says: "white", or a list of coefficients."""
    if text == "white":
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--noise must be 'white' or numbers separated by commas, got {text!r}."
        ) from None


def detector(
    filters: int, kernel_size: int, rate: float, rng: np.random.Generator
) -> tnn.Sequential:
    """Return the model: one linear kernel, or several with ReLU and one unit that joins them."""
    if filters == 1:
        return tnn.Sequential(
            tnn.Conv1d(1, 1, kernel_size, padding="same", activation="linear", rng=rng)
        )
    model = tnn.Sequential(
        tnn.Conv1d(1, filters, kernel_size, padding="same", activation="relu", rng=rng),
        tnn.Conv1d(filters, 1, 1, activation="linear", rng=rng),
    )
    model[-1].bias.data[:] = np.log(rate)  # else the first steps, down to it, shut every ReLU
    return model


def filtered(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Slide ``kernel`` (taps,) over x (series, length, 1)."""
    return tnn.conv1d(x, kernel[:, None, None].astype(x.dtype), padding="same")


def run(options: argparse.Namespace) -> None:
    """Simulate, train, choose thresholds, compare."""
    if not (options.rate > 0 and options.dprime > 0):
        raise ValueError("--rate and --dprime must be above 0, or there is nothing to find.")
    rng = generator(options.seed)
    length = 40_000 if options.quick else 100_000
    epochs = min(options.epochs, 9) if options.quick else options.epochs
    model = detector(options.filters, options.kernel_size, options.rate, rng)

    def recording(n):
        noise = noise_model(options.noise)
        return spikes.simulate(n, rate=options.rate, dprime=options.dprime, noise=noise, rng=rng)

    training, validation, test = recording(4 * length), recording(length), recording(length)
    x, y = windows(training.x, 1000), windows(soft_labels(training), 1000)
    learning_rate = 1.0 if options.filters == 1 else 0.3
    history = train(model, x, y, epochs=epochs, learning_rate=learning_rate, rng=rng)

    best = spikes.matched_filter(test.template, test.noise)
    sign = np.sign(test.template[np.argmax(np.abs(test.template))])
    scores = {
        "bare amplitude threshold": lambda r: sign * r.x,
        "matched filter": lambda r: filtered(r.x, best),
        "trained detector": lambda r: tnn.predict(model, r.x),
        "exact posterior (the limit)": lambda r: spikes.posterior(
            r.x, r.template, r.noise, r.rate, r.refractory
        ),
    }
    thresholds, found, rows = {}, {}, []
    for name, score in scores.items():
        thresholds[name], _ = spikes.best_threshold(
            score(validation), validation.times, tolerance=TOLERANCE, exclusion=EXCLUSION
        )
        found[name] = spikes.find_events(score(test)[0], thresholds[name], exclusion=EXCLUSION)
        rows.append((name, spikes.match(test.times[0], found[name], TOLERANCE)))

    print(
        f"\n{len(test.times[0])} spikes in {length:,} samples, d' = {options.dprime:g}, "
        f"noise {options.noise}; within {TOLERANCE} samples:"
    )
    table(rows)
    predicted = spikes.predicted_f1(
        options.dprime,
        options.rate,
        tolerance=TOLERANCE,
        template=test.template,
        noise=test.noise,
    )
    print(f"{'theory predicts, matched filter':34s}{'':17s}{predicted:7.3f}")
    kernels = model[0].kernel.data[:, 0, :].T
    reached = [spikes.dprime(kernel, test.template, test.noise) for kernel in kernels]
    share = (max(reached) / options.dprime) ** 2
    which = "the kernel" if len(kernels) == 1 else "the best kernel"
    print(f"efficiency of {which}, (d'(w)/d')^2: {share:.3f}")

    if options.plot:
        recording = {
            "recording": test,
            "found": found["trained detector"],
            "score": tnn.predict(model, test.x),
            "threshold": thresholds["trained detector"],
            "stop": 1500,
            "tolerance": TOLERANCE,
        }
        page, ax = detector_page("An unseen recording", recording, history)
        shapes = {"the spike": test.template, "best linear filter": best}
        if options.noise == "white":
            shapes = {"the spike, the best filter": test.template}
        names = [f"trained kernel{f' {k}' * (len(kernels) > 1)}" for k in range(len(kernels))]
        tnn.plots.kernels(model, shapes, ax, names=names)
        few = "The kernel" if len(kernels) == 1 else f"{len(kernels)} kernels, the best"
        ax.set_title(f"{few}: efficiency {share:.2f}", loc="left", fontsize=10)
        save(page, options.plot)


if __name__ == "__main__":
    start(arguments(), run)
