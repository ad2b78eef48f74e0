"""tinynn.debug finds the first nan or infinity, and names operation, layer and line."""

import gc
import threading
import traceback
from functools import partial

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff.listening import listener

RNG = np.random.default_rng(0)


def leaf(*values, dtype=None):
    return tnn.Tensor(list(values), requires_grad=True, dtype=dtype)


def caught(f, **options):
    """Return the error that ``f()`` raises under debug()."""
    with pytest.raises(FloatingPointError) as found, tnn.debug(**options):
        f()
    assert listener.get() is None
    return found.value


class Log(tnn.Layer):
    """A layer of one's own, two operations deep."""

    def __init__(self, shift=0.0):
        self.shift = tnn.Tensor([shift], requires_grad=True)

    def forward(self, x):
        y = x + self.shift
        return tnn.log(y)


class Deep(tnn.Layer):
    def __init__(self):
        self.blocks = {"left": [tnn.Dense(2, 2, rng=0)], "right": [tnn.Dense(2, 2, rng=1), Log()]}

    def forward(self, x):
        for layer in self.blocks["right"]:
            x = layer(x)
        return x


# ---------------------------------------------------------------- forward

MADE = {  # function, argument, the operation, what it makes
    "log": (tnn.log, [1.0, 0.0, 2.0], "log", "1 -inf, at [1]"),
    "log of a negative": (tnn.log, [1.0, 2.0, -1.0], "log", "1 nan, at [2]"),
    "log1p": (tnn.log1p, [0.0, -1.0], "log1p", "1 -inf, at [1]"),
    "sqrt": (tnn.sqrt, [-4.0, 1.0], "sqrt", "1 nan, at [0]"),
    "exp": (tnn.exp, [1.0, 1000.0], "exp", "1 inf, at [1]"),
    "sinh": (tnn.sinh, [-1000.0], "sinh", "1 -inf, at [0]"),
    "square": (tnn.square, [1e200], "square", "1 inf, at [0]"),
    "divide": (lambda x: 1 / x, [1.0, 0.0], "divide", "1 inf, at [1]"),
    "0 / 0": (lambda x: x / x, [0.0, 1.0], "divide", "1 nan, at [0]"),
    "power": (lambda x: x**0.5, [1.0, -1.0], "power", "1 nan, at [1]"),
    "multiply": (lambda x: x * 1e200, [1e200], "multiply", "1 inf, at [0]"),
    "matmul": (lambda x: x @ x, [1e200, 1.0], "matmul", "inf"),
    "sum": (tnn.sum, [1e308, 1e308], "sum", "inf"),
    "prod": (tnn.prod, [1e200, 1e200], "multiply", "1 inf"),
    "cumsum": (tnn.cumsum, [1e308, 1.0, 1e308], "cumsum", "1 inf, at [2]"),
    "inf - inf": (lambda x: x * np.inf - np.inf, [1.0], "subtract", "1 nan, at [0]"),
    "astype": (lambda x: x.astype("float32"), [1.0, 1e300], "astype", "1 inf, at [1]"),
    "conv": (
        lambda x: tnn.conv1d(x.reshape(1, 4, 1), np.full((2, 1, 1), 1e200)),
        [1.0, 1.0, 1.0, 1e200], "conv", "1 inf, at [0, 2, 0] of shape (1, 3, 1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(("f", "x", "op", "what"), MADE.values(), ids=MADE)
def test_the_operation_that_makes_it_is_named(f, x, op, what, recorded):
    x = tnn.Tensor(x, requires_grad=recorded)
    error = caught(lambda: f(x).sum())
    assert str(error).startswith(f"{op} makes {what}"), error
    assert "test_finite.py, line" in str(error)


def test_the_message_says_what_it_was_given_where_and_in_which_line():
    x = tnn.Tensor([[1.0, 2.0], [-0.2, 0.0], [3.0, -0.1]])
    text = str(caught(lambda: tnn.log(x)))
    assert "makes 2 nan and 1 -inf, the first at [1, 0] of shape (3, 2)" in text
    assert "x: (3, 2) float64, from -0.2 to 3; 3 values <= 0, the smallest -0.2" in text
    assert "at [1, 0] it is -0.2" in text
    assert "tnn.log(x)" in text.splitlines()[-1]


def test_a_broadcast_argument_is_shown_at_the_element_that_it_gave():
    text = str(caught(lambda: tnn.Tensor(np.ones((2, 3))) / tnn.Tensor([1.0, 0.0, 2.0])))
    assert "makes 2 inf, the first at [0, 1] of shape (2, 3)" in text
    assert "at [1] it is 0" in text
    text = str(caught(lambda: tnn.Tensor(np.ones((2, 3))) / tnn.Tensor([[1.0], [0.0]])))
    assert "at [1, 0] it is 0" in text


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_dtype_overflows_in_its_own_way(dtype):
    x = tnn.Tensor([np.finfo(dtype).max], dtype=dtype)
    assert str(caught(lambda: x * 2)).startswith("multiply makes 1 inf")


def test_the_traceback_ends_at_the_users_line():
    def inner():
        return tnn.log(tnn.Tensor([-1.0]))

    error = caught(inner)
    last = traceback.extract_tb(error.__traceback__)[-1]
    assert (last.filename, last.name) == (__file__, "inner")
    assert "tnn.log" in last.line


def test_the_traceback_of_a_backward_ends_there_too():
    error = caught(lambda: tnn.sqrt(leaf(0.0)).sum().backward())
    assert traceback.extract_tb(error.__traceback__)[-1].filename == __file__


def test_an_error_of_another_kind_keeps_its_traceback():
    with pytest.raises(ValueError, match="do not fit") as found, tnn.debug():
        tnn.Tensor([1.0, 2.0]) + tnn.Tensor([1.0, 2.0, 3.0])
    assert "tinynn" in traceback.extract_tb(found.value.__traceback__)[-1].filename


# ---------------------------------------------------------------- layers


def test_a_layer_is_named_by_its_path():
    model = tnn.Sequential(tnn.Dense(2, 2, rng=0), tnn.Activation("relu"), Log(-1.0))
    text = str(caught(lambda: model(np.zeros((3, 2)))))
    assert text.startswith("log makes 6 nan")
    assert "in layers.2 (Log)" in text
    assert "in forward: return tnn.log(y)" in text


def test_a_layer_deep_in_containers_is_named_by_its_path():
    model = tnn.Sequential(Deep(), tnn.Dense(2, 1, rng=0))
    text = str(caught(lambda: model(np.zeros((3, 2)))))
    assert "in layers.0.blocks.right.1 (Log)" in text


def test_the_path_begins_at_the_outermost_layer_that_was_called():
    model = tnn.Sequential(Deep())
    assert "in blocks.right.1 (Log)" in str(caught(lambda: model[0](np.zeros((1, 2)))))
    assert "in model (Log)" in str(caught(lambda: Log()(np.zeros(2))))


def test_a_shared_layer_is_named():
    shared = Log()
    model = tnn.Sequential(shared, tnn.Activation("relu"), shared)
    assert "in layers.0 (Log)" in str(caught(lambda: model(np.array([1.0, 0.5]))))


def test_an_activation_of_a_layer_is_in_it():
    model = tnn.Sequential(tnn.Dense(1, 1, activation="exponential", kernel_initializer="ones"))
    text = str(caught(lambda: model(np.full((1, 1), 1000.0))))
    assert text.startswith("exp makes 1 inf, at [0, 0] of shape (1, 1), in layers.0 (Dense)")


def test_a_layer_that_is_no_part_of_the_outermost_is_named_all_the_same():
    other = tnn.Sequential(Log())

    class Outer(tnn.Layer):
        def forward(self, x):
            return other(x)

    assert "in layers.0 (Log)" in str(caught(lambda: Outer()(np.zeros(2))))


def test_a_layer_that_is_exchanged_within_debug_has_its_new_name():
    model = tnn.Sequential(tnn.Activation("relu"), tnn.Dense(1, 1, rng=0))

    def run():
        model(np.ones((1, 1)))
        model.layers.append(Log())
        model(np.full((1, 1), 0.0))

    assert "in layers.2 (Log)" in str(caught(run))


# ---------------------------------------------------------------- what comes in


def test_nan_in_the_input_of_the_model_is_said_to():
    x = np.ones((3, 2))
    x[1, 0] = np.nan
    model = tnn.Sequential(tnn.Dense(2, 2, dtype="float64", rng=0))
    text = str(caught(lambda: model(x)))
    assert "argument x of model (Sequential) holds 1 nan, at [1, 0] of shape (3, 2)" in text
    assert "came from outside" in text


def test_nan_that_the_model_masks_is_no_fault():
    class Masked(tnn.Layer):
        def forward(self, x):
            return tnn.where(np.array([True, False]), 0.0, x) * 2

    with tnn.debug():
        assert Masked()(np.array([np.nan, 1.0])).tolist() == [0.0, 2.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_parameter_that_is_not_finite_is_named_by_its_path(bad):
    model = tnn.Sequential(tnn.Dense(2, 2, rng=0), tnn.Dense(2, 1, rng=0))
    model[1].bias.data[0] = bad
    text = str(caught(lambda: model(np.ones((1, 2)))))
    assert "add is given what is not finite: parameter layers.1.bias holds 1 " in text


def test_an_infinite_input_of_the_model_is_said_to():
    x = np.array([[1.0, np.inf]], "float32")
    text = str(caught(lambda: tnn.Dense(2, 2, rng=0)(x)))
    assert "argument x of model (Dense) holds 1 inf, at [0, 1]" in text
    with tnn.debug(infinities=False):
        tnn.Dense(2, 2, rng=0)(x)


def test_a_variable_of_the_user_is_named():
    noise = np.array([np.nan])
    assert "noise holds 1 nan" in str(caught(lambda: tnn.Tensor([1.0]) + noise))


def test_a_result_from_before_debug_is_said_to_come_from_outside():
    with np.errstate(invalid="ignore"):
        y = tnn.log(leaf(-1.0))
    assert "is given what is not finite: y holds 1 nan" in str(caught(lambda: y * 2))
    assert "backward: y itself holds 1 nan" in str(caught(lambda: y.backward()))


# ---------------------------------------------------------------- infinities that are meant


def test_a_mask_of_minus_infinity_is_no_fault():
    scores, mask = leaf(1.0, 2.0, 3.0), np.array([True, False, True])
    with tnn.debug():
        share = tnn.softmax(tnn.where(mask, scores, -np.inf) * 2)
        share[0].backward()
        bias = np.where(mask, 0.0, -np.inf)
        tnn.logsumexp(scores + bias).backward()
    assert share.data[1] == 0


def test_an_infinity_that_is_meant_may_be_given_to_a_layer():
    scaled = tnn.Activation(lambda x: tnn.softmax(x * 2))
    with tnn.debug():
        masked = tnn.where(np.array([True, False]), leaf(1.0, 2.0), -np.inf)
        assert scaled(masked).tolist() == [1.0, 0.0]


def test_pooling_pads_with_minus_infinity():
    with tnn.debug():
        tnn.MaxPool1d(3, padding="same")(np.ones((1, 4, 1)))


def test_a_new_infinity_beside_one_that_is_meant_is_found():
    x = tnn.where(np.array([True, False]), leaf(1000.0, 1.0), -np.inf)
    assert "exp makes 1 inf, at [0]" in str(caught(lambda: tnn.exp(x)))


def test_a_row_that_is_masked_out_altogether_makes_nan():
    def run():
        return tnn.softmax(tnn.where(False, leaf(1.0, 2.0), -np.inf))

    text = str(caught(run))
    assert "softmax makes 2 nan" in text
    assert "with 2 -inf" in text


def test_infinities_may_be_left_alone():
    with tnn.debug(infinities=False):
        assert tnn.log(tnn.Tensor([0.0])).tolist() == [-np.inf]
    assert "log makes 1 nan, at [1]" in str(
        caught(lambda: tnn.log(tnn.Tensor([0.0, -1.0])), infinities=False)
    )


# ---------------------------------------------------------------- backward


def test_the_line_of_the_forward_pass_is_named_for_a_gradient():
    x = leaf(4.0, 0.0)

    def run():
        root = tnn.sqrt(x)
        total = root.sum()
        total.backward()

    text = str(caught(run))
    assert text.startswith("backward: the gradient of sqrt makes 1 inf, at [1] of shape (2,)")
    assert "for its x" in text
    assert "1 value <= 0, the smallest 0; at [1] it is 0" in text
    assert "in run: root = tnn.sqrt(x)" in text
    assert "Then the gradient of x has 1 inf" in text
    assert x.grad is None


class Norm(tnn.Layer):
    def __init__(self):
        self.scale = tnn.Tensor(np.ones(2), requires_grad=True)

    def forward(self, x):
        x = x * self.scale
        return tnn.sqrt((x * x).sum(-1))


def test_a_norm_at_zero_names_layer_and_parameter():
    model = tnn.Sequential(tnn.Dense(2, 2, rng=0, dtype="float64"), Norm())
    x = np.array([[1.0, 2.0], [0.0, 0.0]])
    text = str(caught(lambda: model(x).sum().backward()))
    assert "the gradient of sqrt makes 1 inf, at [1] of shape (2,)" in text
    assert "in layers.1 (Norm)" in text
    assert "Then the gradient of parameter layers." in text
    assert "in forward: return tnn.sqrt" in text


def test_the_first_is_named_not_those_that_follow():
    def run():
        x = leaf(0.0, 1.0)
        y = tnn.sqrt(x * x) * 3 + 1
        tnn.exp(y).sum().backward()

    assert "the gradient of sqrt makes 1 inf" in str(caught(run))


def test_of_two_the_one_that_the_walk_back_met_first_is_named():
    def run():
        x = leaf(0.0)
        (tnn.sqrt(x) + x**0.25).sum().backward()

    text = str(caught(run))
    assert "the gradient of power makes 1 inf" in text
    assert "Then the gradient of x" in text


def test_overflow_in_the_gradient_alone_is_found():
    def run():
        x = leaf(1e-200)
        (x * 1e200 * 1e200).backward()

    assert "the gradient of multiply makes 1 inf" in str(caught(run))


def test_gradients_that_add_up_to_infinity_are_told():
    def run():
        x = leaf(1e-300)
        y = x * 1.0
        (y * 1.5e308 + y * 1.5e308).sum().backward()

    text = str(caught(run))
    assert "gradients that reach the result of multiply add up to 1 inf" in text
    assert "y = x * 1.0" in text


def test_an_own_primitive_is_named_and_its_rule_in_numpy_is_looked_at():
    @tnn.primitive(lambda g, y, x: g * np.log(x))
    def strange(x):
        return x * 1.0

    x = leaf(1.0, -1.0)
    with np.errstate(invalid="ignore"):
        text = str(caught(lambda: strange(x).sum().backward()))
    assert "the gradient of strange makes 1 nan, at [1]" in text


def test_what_an_own_primitive_computes_with_inside_is_its_own_affair():
    @tnn.primitive(lambda g, y, x: g)
    def guarded(x):
        return np.where(x > 0, tnn.log(x), 0.0)

    with np.errstate(all="ignore"), tnn.debug():
        guarded(leaf(1.0, -1.0)).sum().backward()


def test_an_infinite_slope_that_carries_no_gradient_is_no_fault():
    x = leaf(0.0, 4.0)
    with tnn.debug():
        tnn.where(np.array([False, True]), tnn.sqrt(x), x).sum().backward()
        tnn.sqrt(tnn.relu(leaf(-1.0, 4.0)))[1].backward()
    assert x.grad.tolist() == [1.0, 0.25]


def test_only_gradients_that_are_asked_for_count():
    a, b = leaf(0.0), leaf(1.0)
    with tnn.debug():
        assert tnn.grad((tnn.sqrt(a) + b).sum(), [b])[0].tolist() == [1.0]
    assert "grad: the gradient of sqrt" in str(
        caught(lambda: tnn.grad((tnn.sqrt(a) + b).sum(), [a]))
    )


def test_a_graph_from_before_debug_is_told():
    y = tnn.sqrt(leaf(0.0)).sum()
    text = str(caught(lambda: y.backward()))
    assert "backward: " in text
    assert "operation was called before debug()" in text


def test_a_graph_from_within_works_afterwards():
    x = leaf(4.0)
    with tnn.debug():
        y = tnn.sqrt(x)
    y.backward()
    assert x.grad.tolist() == [0.25]


def test_the_second_derivative_names_the_first_and_the_line():
    def run():
        x = leaf(0.0, 1.0)
        y = x**1.5
        (g,) = tnn.grad(y.sum(), [x], create_graph=True)
        g.sum().backward()

    text = str(caught(run))
    assert "power in the gradient of power" in text
    assert "in run: y = x**1.5" in text


@pytest.mark.parametrize(
    ("f", "owner"),
    [
        (lambda x: tnn.value_and_grad(lambda z: tnn.sqrt(z).sum())(x), "value_and_grad"),
        (lambda x: tnn.jacobian(tnn.sqrt)(x), "jacobian"),
        (lambda x: tnn.hessian(lambda z: (z**1.5).sum())(x), "hessian"),
        (lambda x: tnn.vjp(tnn.sqrt, x)[1](np.ones(2)), "vjp"),
        (lambda x: tnn.jvp(tnn.sqrt, [x], [np.ones(2)]), "jvp"),
    ],
)
def test_transforms_are_looked_at(f, owner):
    text = str(caught(lambda: f(np.array([0.0, 1.0]))))
    assert text.startswith(f"{owner}: the gradient of ")
    assert "test_finite.py" in text


# ---------------------------------------------------------------- losses, updates, fit


def regression(**options):
    model = tnn.Sequential(tnn.Dense(3, 4, "relu", rng=0), tnn.Dropout(0.2, rng=3), tnn.Dense(4, 1))
    model[2].kernel.data = np.random.default_rng(1).normal(size=(4, 1))
    x = np.random.default_rng(2).normal(size=(20, 3)).astype("float32")
    optimizer = tnn.Adam(model.parameters(), options.pop("rate", 0.01))
    settings = {"loss": "mean_squared_error", "optimizer": optimizer, "epochs": 2, "rng": 0}
    run = partial(tnn.fit, model, progress=False, **{**settings, **options})
    return model, x, x.sum(1, keepdims=True), run


def test_a_loss_is_named_where_no_layer_is_at_work():
    def run():
        return tnn.losses.mean_squared_error(leaf(1e30, dtype="float32"), np.zeros(1, "float32"))

    text = str(caught(run))
    assert "square makes 1 inf, at [0] of shape (1,), in mean_squared_error" in text


def test_a_loss_of_ones_own_is_named_by_its_line():
    def my_loss(prediction, target):
        return (tnn.log(prediction) * target).mean()

    *_, x, y, run = regression(loss=my_loss)
    text = str(caught(lambda: run(x, y)))
    assert text.startswith("log makes")
    assert "in my_loss: return (tnn.log(prediction) * target).mean()" in text


@pytest.mark.parametrize(("which", "name"), [(0, "argument x of model"), (1, "argument target of")])
def test_nan_in_the_data_of_fit_is_said_to(which, name):
    *_, x, y, run = regression()
    (x, y)[which][7, 0] = np.nan
    assert name in str(caught(lambda: run(x, y)))


@pytest.mark.parametrize("compile", [False, True, "auto"])
def test_fit_runs_eagerly_to_the_same_bits(compile):
    model, x, y, run = regression(compile=False)
    plain = run(x, y, validation_data=(x, y))
    other, x, y, run = regression(compile=compile)
    with tnn.debug():
        looked = run(x, y, validation_data=(x, y))
    assert looked.history == plain.history
    assert ("compile=False" if compile is False else "tinynn.debug") in looked.eager
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


def test_an_update_that_overflows_is_named_by_optimizer_and_path():
    model = tnn.Dense(1, 1, kernel_initializer="ones", use_bias=False)
    optimizer = tnn.SGD(model.parameters(), learning_rate=1e30)

    def run():
        (model(np.ones((1, 1))) * 1e20).sum().backward()
        optimizer.step()

    text = str(caught(run))
    assert text.startswith(
        "SGD: the step makes 1 -inf, at [0, 0] of shape (1, 1), in parameter kernel"
    )
    assert "before: (1, 1) float32, from 1 to 1" in text
    assert "learning_rate = 1e+30" in text
    assert "in run: optimizer.step()" in text


def test_an_update_written_out_is_looked_at():
    w = leaf(1e38, dtype="float32")

    def run():
        w.data = w.data * np.float32(1e38)

    with np.errstate(over="ignore"):
        assert "the new data of w hold 1 inf" in str(caught(run))


def test_checks_that_raise_go_on_raising():
    with pytest.raises(ValueError, match="labels"), tnn.debug():
        tnn.losses.binary_crossentropy(tnn.Tensor([0.5]), np.array([2.0]))


# ---------------------------------------------------------------- clean code, the same bits


def steps():
    """Train a little in a loop of one's own; return all numbers."""
    rng = np.random.default_rng(5)
    model = tnn.Sequential(
        tnn.Conv1d(2, 3, 5, padding="same", activation="tanh", rng=0),
        tnn.MaxPool1d(2, padding="same"), tnn.Dropout(0.1, rng=1), tnn.Conv1d(3, 1, 3, rng=2),
    )  # fmt: skip
    optimizer = tnn.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    numbers = []
    for _ in range(3):
        x = rng.normal(size=(4, 31, 2)).astype("float32")
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        (g,) = tnn.grad(loss, [model[0].kernel], create_graph=True)
        (loss + (g * g).sum()).backward()
        tnn.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        numbers += [loss.item(), *(p.numpy() for p in model.parameters())]
    numbers.append(tnn.predict(model, x, piece_length=16, threads=2))
    numbers.append(tnn.hessian(lambda z: (tnn.sigmoid(z) * z).sum())(rng.normal(size=3)))
    return numbers


def test_a_loop_of_ones_own_has_the_same_bits():
    plain = steps()
    with tnn.debug():
        looked = steps()
    assert all(np.array_equal(a, b) for a, b in zip(plain, looked, strict=True))


def test_compiled_functions_run_eagerly_and_are_looked_at():
    w = leaf(1.0)

    @tnn.compile
    def f(x):
        return (tnn.log(x) * w).sum().item()

    assert f(np.array([1.0])) == 0
    with tnn.debug():
        assert f(np.array([1.0])) == 0
    assert "in f: return (tnn.log(x) * w)" in str(caught(lambda: f(np.array([0.0]))))
    with np.errstate(divide="ignore"):
        assert f(np.array([0.0])) == -np.inf


def test_a_stream_made_outside_is_looked_at():
    layer = tnn.Conv1d(1, 1, 3, activation="exponential", kernel_initializer="ones")
    stream = tnn.stream(layer)
    for _ in range(3):
        stream.push(np.ones((4, 1)))
    assert "exp makes" in str(caught(lambda: stream.push(np.full((4, 1), 1e4))))


def test_predict_is_looked_at_on_all_its_threads():
    layer = tnn.Conv1d(1, 1, 3, activation="exponential", kernel_initializer="ones")
    x = np.zeros((20_000, 1), "float32")
    x[-1] = 1e4
    text = str(caught(lambda: tnn.predict(layer, x, piece_length=1000, threads=2)))
    assert text.startswith("exp makes")
    assert "in model (Conv1d)" in text


def test_debug_within_what_is_recorded_is_refused():
    @tnn.compile
    def f(x):
        with tnn.debug():
            return tnn.exp(x)

    with pytest.raises(tnn.NotReplayable, match=r"looks at each operation, as tinynn\.debug"):
        f(np.ones(2))


def test_fit_is_eager_for_a_loss_that_debugs():
    @tnn.pure
    def loss(prediction, target):
        with tnn.debug():
            return ((prediction - target) ** 2).mean()

    *_, x, y, run = regression(loss=loss)
    assert "tinynn.debug" in run(x, y).eager


# ---------------------------------------------------------------- as a context and a decorator


def test_as_a_decorator():
    @tnn.debug()
    def f(x):
        return tnn.log(x)

    for _ in range(2):
        with pytest.raises(FloatingPointError, match=r"in f: return tnn\.log"):
            f(tnn.Tensor([0.0]))
    assert listener.get() is None


def test_a_generator_is_refused():
    with pytest.raises(TypeError, match="debug: batches is a generator"):

        @tnn.debug()
        def batches():
            yield 1


def test_it_nests_and_may_be_entered_again():
    looking = tnn.debug(infinities=False)
    with looking:
        with looking, tnn.debug(), pytest.raises(FloatingPointError, match="log makes"):
            tnn.log(tnn.Tensor([0.0]))
        tnn.log(tnn.Tensor([0.0]))  # the outer one does not mind
        with pytest.raises(FloatingPointError, match="log makes"):
            tnn.log(tnn.Tensor([-1.0]))
    assert listener.get() is None


def test_another_thread_is_not_looked_at():
    found = []
    with tnn.debug():
        thread = threading.Thread(target=lambda: found.append(listener.get()))
        thread.start()
        thread.join()
    assert found == [None]


def test_one_object_serves_two_threads():
    looking, begun, done = tnn.debug(), threading.Event(), threading.Event()
    errors = []

    def other():
        with looking:
            begun.set()
            done.wait(5)
            try:
                tnn.log(tnn.Tensor([0.0]))
            except FloatingPointError as error:
                errors.append(error)

    thread = threading.Thread(target=other)
    with looking:
        thread.start()
        begun.wait(5)
    assert listener.get() is None
    done.set()
    thread.join()
    assert len(errors) == 1


def test_the_flag_is_checked():
    with pytest.raises(TypeError, match="debug: infinities must be True or False"):
        tnn.debug(infinities="no")


def test_nothing_is_left_for_the_garbage_collector():
    model, x = tnn.Sequential(tnn.Dense(3, 2, "tanh", rng=0), Norm()), np.ones((4, 3))
    optimizer = tnn.SGD(model.parameters())
    with tnn.debug():
        for _ in range(3):
            gc.collect()
            model(x).sum().backward()
            optimizer.step()
            assert gc.collect() == 0
