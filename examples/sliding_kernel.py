"""Sliding the kernel, location by location: the arithmetic, a picture, an animation.

The table shows the inputs that the kernel sees, the products, their sum and the output. Then the
input is moved by s samples: the feature map moves by s samples too and is otherwise the same
(equivariance). A Dense layer with weights of its own for each location does not do it.

    python examples/sliding_kernel.py --position 8 --plot still.png
    python examples/sliding_kernel.py --animate sliding.gif
"""

from pathlib import Path

import numpy as np
from _shared import check_outputs, command_line, generator, save, start

import tinynn as tnn

SPIKE = np.array([1.0, 3.0, -1.0])  # as it is added to the noise, its peak at the spike's time
KERNELS = {3: np.array([0.5, 1.0, -0.5]), 5: np.array([-0.25, 0.5, 1.0, -0.5, 0.0])}
TIMES = (8, 21)  # the samples of the two spikes
LENGTH, NOISE = 30, 0.25

# %% The kernel, or filter, and its size
# A short series with two spikes of the same shape in a little noise. The kernel is given here, not
# learned, so that every number can be checked with pencil and paper: it rises, peaks and dips, as
# the spike does.


def series(rng, length=LENGTH, times=TIMES, noise=NOISE):
    """Return spikes at ``times`` in white noise, (length,), rounded to two decimals."""
    x = noise * rng.normal(size=length)
    for time in times:
        x[time - 1 : time + 2] += SPIKE
    return x.round(2)


def convolution(kernel):
    """Return a Conv1d layer with this one kernel, (kernel_size,), and no bias."""
    layer = tnn.Conv1d(
        *(1, 1, len(kernel)),
        padding="same",
        activation="linear",
        use_bias=False,
        dtype="float64",
    )
    layer.kernel.data[:, 0, 0] = kernel
    return layer


# %% The neighbourhood, the dot product, the feature map
# First the long way round, exactly as the three steps say; then the layer. The two agree to the
# last digit that a computer keeps. ``layer.output_positions`` knows on which input each output is
# centred: on its own location, for this padding.


def neighbourhood(x, size, j):
    """Return the ``size`` inputs around location ``j`` of x (length,); 0 beyond its ends."""
    steps = j - (size - 1) // 2 + np.arange(size)
    inside = (steps >= 0) & (steps < len(x))
    return np.where(inside, x[np.clip(steps, 0, len(x) - 1)], 0.0)


def by_hand(x, kernel):
    """Return the feature map, (length,), location by location."""
    return np.array([neighbourhood(x, len(kernel), j) @ kernel for j in range(len(x))])


def feature_map(x, kernel):
    """Return the feature map, (length,), of a Conv1d layer."""
    return tnn.predict(convolution(kernel), x[:, None])[:, 0]


# %% Shared weights
# Equivariance, measured: move the input, and see whether the feature map moves along. What is
# moved in at the front is silence, zeros, so it must hold for all samples that have not left the
# series at the other end. A dense layer with weights of its own for each location does not do it.


def shifted(x, shift):
    """Return x (length,), later by ``shift`` samples, zeros before it."""
    return np.concatenate([np.zeros(shift), x[: len(x) - shift]])


def shift_error(layer, x, shift, margin):
    """Return the largest difference of map(shifted x) from shifted map(x), ends left out."""
    moved = layer(shifted(x, shift))
    expected = shifted(layer(x), shift)
    return np.abs(moved - expected)[shift + margin : len(x) - margin].max()


def dense(length, rng):
    """Return a layer with one output for each location, each with weights of its own."""
    layer = tnn.Dense(length, length, use_bias=False, dtype="float64", rng=rng)
    return lambda x: tnn.predict(layer, x[None])[0]


# %% Location by location
# The table shows the arithmetic around the first spike, tap by tap.


def show(x, kernel, locations):
    """Print the inputs seen, the products, their sum and the output at some locations."""
    y = feature_map(x, kernel)
    width = 7 * len(kernel)

    def cells(values):
        return "".join(f"{value:7.2f}" for value in values.round(2) + 0.0)  # no -0.00

    print(f"weights W, f = {len(kernel)}:{cells(kernel)}\n")
    heads = [f"{'the inputs seen, N(y, W, j)':>{max(width, 27)}}", f"{'products':>{width + 2}}"]
    print(f"{'j':>3}  {heads[0]}{heads[1]}     sum     y_j")
    for j in locations:
        seen = neighbourhood(x, len(kernel), j)
        products = seen * kernel
        print(
            f"{j:3d}  {cells(seen):>{max(width, 27)}}  {cells(products)}"
            f"{products.sum():8.3f}{y[j]:8.3f}"
        )


# %% The picture of one location, and of all locations, one after the other


def draw(x, kernel, position):
    """Return the still of one location."""
    return tnn.plots.sliding(x, kernel, position)


def animate(x, kernel, path=None):
    """Return the animation over all locations; with a path, save it as .gif or .html."""
    animation = tnn.plots.sliding(x, kernel, interval=250)
    if path is not None and path.endswith(".html"):
        Path(path).write_text(animation.to_jshtml(), encoding="utf-8")
    elif path is not None:
        animation.save(path, writer="pillow", dpi=80)
    if path is not None:
        print(f"animation: {path}")
    return animation


def checked(options):
    """Refuse what the command line got wrong before any work is done."""
    if options.kernel_size not in KERNELS:
        raise ValueError(f"--kernel-size must be 3 or 5, got {options.kernel_size}.")
    if not 0 <= options.position < LENGTH:
        raise ValueError(f"--position must be from 0 to {LENGTH - 1}, got {options.position}.")
    if options.animate:
        if Path(options.animate).suffix not in (".gif", ".html"):
            raise ValueError(f"{options.animate}: an animation's name must end in .gif or .html.")
        check_outputs(options.animate)
        import matplotlib

        matplotlib.use("Agg")  # files only: no window, no display needed


def run(options):
    checked(options)
    rng = generator(options.seed)
    x, kernel = series(rng), KERNELS[options.kernel_size]
    y = feature_map(x, kernel)
    near = range(max(0, options.position - 3), min(LENGTH, options.position + 4))
    show(x, kernel, near)
    print(f"\nlocations in the input: {len(x)}, entries in the feature map: {len(y)}")
    print(f"largest difference, layer and by hand: {np.abs(y - by_hand(x, kernel)).max():.1e}")
    highest = np.sort(np.argsort(y)[-2:])
    print(f"spikes at {TIMES[0]} and {TIMES[1]}, the two highest entries at {highest.tolist()}")

    margin, full = len(kernel) // 2, dense(LENGTH, rng)
    print("\nInput moved by s samples: the largest difference from the moved feature map")
    print("                 s =       1       4       7")
    layers = (("Conv1d, shared weights", lambda v: feature_map(v, kernel)), ("Dense", full))
    for name, layer in layers:
        errors = [shift_error(layer, x, s, margin) for s in (1, 4, 7)]
        print(f"{name:23s}" + "".join(f"{error:8.1e}" for error in errors))

    if options.plot:
        save(draw(x, kernel, options.position), options.plot)
    return animate(x, kernel, options.animate) if options.plot or options.animate else None


def arguments():
    """Return the command line."""
    parser = command_line(__doc__, quick="no difference: this example is quick already")
    add = parser.add_argument
    add("--position", type=int, default=TIMES[0], metavar="J", help="location of the still")
    add("--kernel-size", type=int, default=3, metavar="F", help="3 or 5 (default: 3)")
    add("--animate", metavar="FILE", help="save an animation, .gif or .html")
    return parser


# %% What the picture shows
# Above, the series, and shaded the neighbourhood of a location. In the
# middle the kernel lies over it as a line, and the bars are the products. Their sum is the orange
# point below, one entry of the feature map. The animation slides on: the same line, at every
# location. Watch the feature map rise when the kernel lies on a spike, and only there.

if __name__ == "__main__":
    animation = start(arguments(), run)
