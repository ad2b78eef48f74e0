"""The linear default, measured: three models for spikes that point up or down.

A linear kernel followed by another one is a single kernel, np.convolve of the two. A score that is
linear in the series, plus a bias, obeys y(+x) + y(-x) = 2 y(0). So if it rises for a spike up, it
falls for a spike down. With ReLU between the layers each map keeps its own matches.

One linear layer, two linear layers and two layers with ReLU are trained on the same recording. The
table counts what each finds.

    python examples/linear_activation.py --plot linear.png
"""

import numpy as np
from _shared import command_line, generator, save, soft_labels, start, table, train, windows

import tinynn as tnn
from tinynn import spikes

DPRIME, RATE = 5.0, 0.01  # detectability of a spike, spikes per sample
FIRST, SECOND, MAPS = 21, 5, 4  # taps of the two layers, feature maps between them
TAPS = FIRST + SECOND - 1  # of the one kernel that equals two linear ones
TOLERANCE, EXCLUSION = 2, 12  # samples: between true and found, and between two found

# %% Spikes that point up or down


def either_way(length, rng):
    """Simulate a recording of ``length`` samples and turn each spike over with probability 1/2.

    Returns the Recording, the series (1, length, 1), and the directions, +1 or -1, of its spikes.
    """
    made = spikes.simulate(length, rate=RATE, dprime=DPRIME, dtype="float64", rng=rng)
    signs = rng.choice([-1, 1], size=len(made.times[0]))
    x, size = made.x.copy(), len(made.template)
    for time in made.times[0][signs < 0] - (size - 1) // 2:
        x[0, time : time + size, 0] -= 2 * made.template
    return made, x, signs


# %% The models
# The stack has two layers. All the zeros for its receptive field of 25 samples are added
# before the first one, so that it and its single equal agree up to the very ends of a series. (With
# ``padding="same"`` in both layers they would differ in the last two samples at each end.)


def one_layer(rng):
    """Return a single linear Conv1d of TAPS taps."""
    model = tnn.Sequential(
        tnn.Conv1d(1, 1, TAPS, padding="same", activation="linear", dtype="float64", rng=rng)
    )
    return expecting_few(model)


def stack(activation, rng):
    """Return two Conv1d layers, MAPS feature maps and an activation between them."""
    hidden = {"padding": (TAPS - 1) // 2, "activation": activation}
    model = tnn.Sequential(
        tnn.Conv1d(1, MAPS, FIRST, **hidden, dtype="float64", rng=rng),
        tnn.Conv1d(MAPS, 1, SECOND, activation="linear", dtype="float64", rng=rng),
    )
    return expecting_few(model)


def expecting_few(model):
    """Start the last bias near the log-odds of a spike, which are low everywhere."""
    model[-1].bias.data[:] = np.log(RATE)
    return model


def trained(model, x, y, epochs, rng):
    """Return the model, trained on windows x, y (pieces, size, 1)."""
    how = {"epochs": epochs, "learning_rate": 0.3, "batch_size": 8, "progress": False}
    train(model, x, y, **how, rng=rng)
    return model


# %% Two linear layers are one
# The kernel of the one is built from those of the two; nothing is trained here. A Dense layer is
# the case of one tap: there the sum is the matrix product of the two kernels.


def composed(first, second):
    """Return kernel and bias of the one Conv1d that equals two with linear activations.

    ``first``, ``second``: the layers, kernels (F, channels, maps) and (S, maps, filters). The
    result's have the shapes (F + S - 1, channels, filters) and (filters,).
    """
    a, b = first.kernel.data, second.kernel.data
    kernel = np.zeros((len(a) + len(b) - 1, a.shape[1], b.shape[2]))
    for shift, taps in enumerate(b):  # one tap of the second: the first kernel, moved by that much
        kernel[shift : shift + len(a)] += a @ taps
    return kernel, second.bias.data + first.bias.data @ b.sum(axis=0)


def as_one_layer(model):
    """Return the single layer that equals a stack of two linear ones."""
    layer = one_layer(rng=0)
    kernel, bias = composed(*model)
    layer.load_state_dict({"layers.0.kernel": kernel, "layers.0.bias": bias})
    return layer


# %% What the models say
# The response is the score at the centre of a spike without noise, of amplitude A: +1 points
# up, -1 down. The best possible score at a known place, the log-odds of "up or down" against
# "none", is log cosh of A times the square of d', plus a constant: a V with a rounded tip.


def response(model, template, amplitudes):
    """Return the score at the centre of a spike of each amplitude, (amplitudes,), without noise."""
    quiet = np.zeros((len(amplitudes), 4 * TAPS + 1, 1))
    onset = 2 * TAPS - (len(template) - 1) // 2
    quiet[:, onset : onset + len(template), 0] = np.outer(amplitudes, template)
    return tnn.predict(model, quiet)[:, 2 * TAPS, 0]


def ideal_response(amplitudes):
    """Return the log-odds of a spike of unknown direction, (amplitudes,), at a known place."""
    power = DPRIME**2
    return np.log(np.cosh(power * amplitudes)) - power / 2 + np.log(RATE)


def judge(score, validation, test):
    """Choose the threshold on one recording and count on the other: threshold, found, Match.

    ``score``: function of a series (1, length, 1); ``validation``, ``test``: as from either_way.
    """
    (chosen, before, _), (truth, series, _) = validation, test
    where = {"exclusion": EXCLUSION}
    threshold, _ = spikes.best_threshold(score(before), chosen.times, tolerance=TOLERANCE, **where)
    found = spikes.find_events(score(series), threshold, **where)
    return threshold, found, spikes.match(truth.times[0], found, TOLERANCE)


def matched(x, template):
    """Slide the matched filter over x (1, length, 1): the best linear score for spikes upwards."""
    kernel = spikes.matched_filter(template, "white")
    return tnn.conv1d(x, kernel[:, None, None], padding="same")


def not_linear(model, x):
    """Return the largest |y(x) + y(-x) - 2 y(0)|: zero for a linear score, whatever its bias."""
    up, down, none = (tnn.predict(model, sign * x) for sign in (1, -1, 0))
    return np.abs(up + down - 2 * none).max()


# %% The picture


def draw(models, test, judged, excerpt):
    """Draw the response of both stacks to a spike of any amplitude, and their scores.

    ``models``, ``judged``: by name, among them "linear stack" and "ReLU stack"; the latter as from
    judge; ``test``: as from either_way; ``excerpt``: the slice of it to show.
    """
    plots = tnn.plots
    made, x, signs = test
    page, axes = plots.figure(4, 2, height=2.1)
    for row in range(1, 4):  # one wide panel instead of two
        axes[row, 1].remove()
        axes[row, 0].set_subplotspec(axes[row, 0].get_gridspec()[row, :])
    line_and_v(axes[0, 0], models, made.template)
    kernels = axes[0, 1]
    plots.kernels(models["ReLU stack"], {"spike": made.template}, kernels)
    kernels.set_ylim(top=1.05)
    kernels.legend(frameon=False, fontsize=7, loc="upper right", ncols=3)
    kernels.set_title("ReLU: the four kernels, over a spike (pale)", loc="left", fontsize=10)

    series, *below = axes[1:, 0]
    t = np.arange(excerpt.start, excerpt.stop)
    series.plot(t, x[0, excerpt, 0], color=plots.INK, linewidth=0.7)
    series.set_ylabel("amplitude (noise = 1)")
    series.set_title(
        "A recording with spikes up (marked above) and down (below)", loc="left", fontsize=10
    )
    inside = (made.times[0] >= excerpt.start) & (made.times[0] < excerpt.stop)
    for sign, mark, y in ((1, "v", 7.5), (-1, "^", -7.5)):
        times = made.times[0][inside & (signs == sign)]
        series.plot(times, np.full(len(times), y), mark, color=plots.BLUE, markersize=5)
    for ax, name in zip(below, ("linear stack", "ReLU stack"), strict=True):
        threshold, found, counts = judged[name]
        score = tnn.predict(models[name], x)[0, :, 0]
        found = found[(found >= excerpt.start) & (found < excerpt.stop)]
        ax.plot(t, score[excerpt], color=plots.INK, linewidth=0.7)
        ax.axhline(threshold, color=plots.ORANGE, linestyle="--", linewidth=1)
        ax.plot(found, score[found], "o", color=plots.ORANGE, markersize=4, fillstyle="none")
        for time in made.times[0][inside]:
            ax.axvline(time, color=plots.SKY, linewidth=4, alpha=0.35, zorder=0)
        ax.set_ylabel("score (log-odds)")
        title = f"Score of the {name}: F1 {counts.f1:.2f} on the whole recording"
        ax.set_title(title, loc="left", fontsize=10)
    below[-1].set_xlabel("time (samples)")
    for ax in axes[1:, 0]:
        ax.set_xlim(excerpt.start - 5, excerpt.stop + 5)
    return page


def line_and_v(ax, models, template):
    """Draw the response of both stacks to a spike of each amplitude from -1 to 1."""
    plots = tnn.plots
    amplitudes = np.linspace(-1, 1, 81)
    for name, look in (
        ("linear stack", {"color": plots.BLUE, "linestyle": "--"}),
        ("ReLU stack", {"color": plots.ORANGE, "linestyle": "-"}),
    ):
        ax.plot(amplitudes, response(models[name], template, amplitudes), label=name, **look)
    ideal = ideal_response(amplitudes)
    ax.plot(amplitudes, ideal, ":", color=plots.INK, linewidth=1.2, label="ideal (theory)")
    ax.set(xlabel="amplitude of the spike", ylabel="score (log-odds)", xticks=[-1, -0.5, 0, 0.5, 1])
    ax.legend(frameon=False, fontsize=8, loc="upper center")
    ax.set_title("A straight line, and a V", loc="left", fontsize=10)


def run(options):
    """Train three models, show that two linear layers are one, and count what each finds."""
    rng = generator(options.seed)
    sizes = (100_000, 50_000, 50_000) if options.quick else (200_000, 50_000, 50_000)
    training, validation, test = (either_way(size, rng) for size in sizes)
    x, y = windows(training[1], 500), windows(soft_labels(training[0]), 500)
    models = {
        "one linear layer": one_layer(rng),
        "linear stack": stack("linear", rng),
        "ReLU stack": stack("relu", rng),
    }
    for model in models.values():
        trained(model, x, y, 6 if options.quick else 9, rng)
    linear, relu = models["linear stack"], models["ReLU stack"]
    single = as_one_layer(linear)
    print(linear.summary((1000, 1)))

    apart = np.abs(tnn.predict(linear, test[1]) - tnn.predict(single, test[1])).max()
    print(f"\nlinear stack against its one layer, largest difference of scores {apart:8.1e}")
    for name in ("linear stack", "ReLU stack"):
        print(f"{name + ', largest |y(x) + y(-x) - 2 y(0)|':64s}{not_linear(models[name], x):9.1e}")

    amplitudes, template = np.linspace(-1, 1, 5), test[0].template
    print(f"\n{'score of a spike of amplitude':34s}" + "".join(f"{a:7.1f}" for a in amplitudes))
    for name in ("linear stack", "ReLU stack"):
        values = response(models[name], template, amplitudes)
        print(f"{name:34s}" + "".join(f"{value:7.1f}" for value in values))
    print(f"{'ideal (theory)':34s}" + "".join(f"{a:7.1f}" for a in ideal_response(amplitudes)))

    scores = {
        "matched filter, linear": lambda s: matched(s, template),
        "one linear layer": lambda s: tnn.predict(models["one linear layer"], s),
        "linear stack": lambda s: tnn.predict(linear, s),
        "linear stack as one layer": lambda s: tnn.predict(single, s),
        "ReLU stack": lambda s: tnn.predict(relu, s),
        "|matched filter|, told the shape": lambda s: np.abs(matched(s, template)),
    }
    judged = {name: judge(score, validation, test) for name, score in scores.items()}
    print()
    table([(name, result[2]) for name, result in judged.items()])
    limit = spikes.predicted_f1(DPRIME, RATE / 2, tolerance=TOLERANCE)
    print(f"{'half of the spikes, no error':34s}{1:9.3f}{1 / 2:8.3f}{2 / 3:7.3f}")
    print(f"{'theory predicts, |matched filter|':34s}{'':17s}{limit:7.3f}")
    if options.plot:
        save(draw(models, test, judged, slice(0, 1200)), options.plot)


# %% What the picture shows
# Above left, the response to a spike of any amplitude. The linear stack can only draw a straight
# line, and training makes it nearly flat: what one direction gains the other loses. ReLU bends it
# into a V, flatter than the ideal one, which is told the spike's shape and place. Above right,
# the kernels that do it, over the spike (pale): some have become a spike, others a spike turned
# over, early or late by a few samples, which the second layer mends. Below, the scores; the pale
# bars are the true spikes. The linear stack's score barely moves, see its axis. What it finds is
# left to chance: the direction that training showed a little more often. ReLU's score peaks at
# both. So say what you want: write ``activation=`` in every layer, also where it is ``"linear"``,
# and look at ``model.summary()``, which notes two linear maps in a row.

if __name__ == "__main__":
    start(command_line(__doc__), run)
