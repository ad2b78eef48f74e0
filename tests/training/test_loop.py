"""fit, predict, batches: histories, modes, interrupts, losses that are no longer finite."""

import gc
import io
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import tinynn as tnn


def problem(n=24):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    return x, (x @ [[1.0], [-2.0], [0.5]]).astype(np.float32)


def how(model, rate=0.1, **more):
    sgd = tnn.SGD(model.parameters(), rate)
    return {"loss": "mean_squared_error", "optimizer": sgd, "progress": False, "rng": 0, **more}


def test_fit_learns_and_keeps_a_history():
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    history = tnn.fit(model, x, y, epochs=40, batch_size=8, validation_data=(x, y), **how(model))
    losses = history.history["loss"]
    assert len(losses) == len(history.history["val_loss"]) == 40
    assert all(type(value) is float for value in losses)
    assert losses[-1] < 1e-3 * losses[0]
    np.testing.assert_allclose(model.kernel.data.ravel(), [1, -2, 0.5], atol=0.02)


def test_the_hand_written_loop_gives_the_same_weights_as_fit():
    x, y = problem()
    fitted, by_hand = tnn.Dense(3, 1, rng=0), tnn.Dense(3, 1, rng=0)
    tnn.fit(fitted, x, y, epochs=3, batch_size=5, **how(fitted))
    sgd = tnn.SGD(by_hand.parameters(), 0.1)
    pieces = tnn.batches(x, y, 5, rng=0)
    for _ in range(3):
        for xb, yb in pieces:
            sgd.zero_grad()
            loss = tnn.losses.mean_squared_error(by_hand(xb), yb)
            loss.backward()
            sgd.step()
    np.testing.assert_array_equal(fitted.kernel.data, by_hand.kernel.data)


def test_the_same_seed_gives_the_same_bits():
    x, y = problem()
    runs = []
    for _ in range(2):
        model = tnn.Sequential(
            tnn.Dense(3, 8, "relu", rng=1), tnn.Dropout(0.2, rng=2), tnn.Dense(8, 1, rng=3)
        )
        runs.append((tnn.fit(model, x, y, epochs=3, **how(model)).history, model.state_dict()))
    assert runs[0][0] == runs[1][0]
    for path, array in runs[0][1].items():
        np.testing.assert_array_equal(array, runs[1][1][path])


def test_the_loss_of_an_epoch_is_the_mean_over_samples_also_with_a_smaller_last_batch():
    x, y = problem(7)
    model = tnn.Dense(3, 1, rng=0)
    full = float(tnn.losses.mean_squared_error(model(x), y))
    history = tnn.fit(
        model, x, y, epochs=1, batch_size=3, validation_data=(x, y), **how(model, 0.0)
    )
    assert history.history["loss"][0] == pytest.approx(full, rel=1e-6)
    assert history.history["val_loss"][0] == pytest.approx(full, rel=1e-6)


def test_training_mode_inside_and_each_layers_own_mode_afterwards():
    x, y = problem()
    seen = []

    class Probe(tnn.Layer):
        def forward(self, z):
            seen.append(self.training)
            return z

    model = tnn.Sequential(tnn.Dense(3, 1, rng=0), Probe(), tnn.Dropout(0.5, rng=0))
    model[2].training = False
    tnn.fit(model, x, y, epochs=1, validation_data=(x, y), **how(model))
    assert seen == [True, False]
    assert [layer.training for layer in model] == [True, True, False]
    tnn.predict(model, x)
    assert seen[-1] is False
    assert [layer.training for layer in model] == [True, True, False]


def test_callbacks_see_each_epoch_and_can_end_the_training():
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    calls = []
    history = tnn.fit(
        model,
        *(x, y),
        epochs=10,
        callbacks=[lambda epoch, logs: calls.append((epoch, logs)), lambda epoch, logs: epoch == 2],
        **how(model),
    )
    assert [epoch for epoch, _ in calls] == [0, 1, 2]
    assert [logs["loss"] for _, logs in calls] == history.history["loss"]


def test_callbacks_may_come_from_a_generator():
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    calls = []
    hooks = (lambda epoch, logs: calls.append(epoch) for _ in range(3))
    tnn.fit(model, x, y, epochs=2, callbacks=hooks, **how(model))
    assert calls == [0, 0, 0, 1, 1, 1]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_an_epoch_with_all_figures_on_a_terminal(monkeypatch):
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    evaluated = tnn.callbacks.Evaluate(lambda model: {"f1": 0.25})
    arguments = how(model, progress=True, metrics=["mae"], validation_data=(x, y))
    tnn.fit(model, x, y, epochs=2, batch_size=8, callbacks=[evaluated], **arguments)
    text = screen.getvalue()
    assert text.count("\n") == 2
    last = text.rstrip().split("\r")[-1]
    assert "Epoch 2/2: 100%" in last
    assert "3/3" in last
    words = [word.split("=")[0] for word in last.rpartition("it/s, ")[2].rstrip("]").split(", ")]
    assert words == ["loss", "mae", "val_loss", "val_mae", "f1"]
    tnn.fit(model, x, y, epochs=2, **how(model))
    assert screen.getvalue() == text


def test_one_bar_for_all_epochs_where_the_output_is_no_terminal(capsys):
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    tnn.fit(model, x, y, epochs=20, batch_size=8, **how(model, progress=True))
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "Epoch 20/20: 100%" in text
    assert "60/60" in text
    assert "loss=" in text


@pytest.mark.parametrize("own", [False, True])
def test_the_bar_says_eager_where_the_user_can_change_it(own, capsys):
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    loss = (lambda p, t: tnn.losses.mean_squared_error(p, t)) if own else "mse"
    for compile in ("auto", False):
        tnn.fit(model, x, y, epochs=1, **how(model, progress=True, loss=loss, compile=compile))
        replaceable = own and compile == "auto" and "tinynn.replay" in sys.modules
        assert ("eager]" in capsys.readouterr().err) == replaceable


@pytest.mark.parametrize("compile", [False, "auto"])
@pytest.mark.parametrize("where", ["loss", "step", "callback"])
def test_an_interrupt_ends_the_training_with_the_last_whole_step(where, compile, monkeypatch):
    x, y = problem()
    model = tnn.Sequential(tnn.Dense(3, 4, rng=0), tnn.Dense(4, 1, rng=1)).eval()
    whole = [model.state_dict()]
    arguments = how(model)
    sgd, calls = arguments["optimizer"], []
    step = sgd.step

    def recorded():
        step()
        whole.append(model.state_dict())

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    sgd.step = recorded
    if where == "loss":
        original = tnn.losses.mean_squared_error
        arguments["loss"] = interrupted
    elif where == "step":
        original = tnn.Tensor._replace
        monkeypatch.setattr(tnn.Tensor, "_replace", interrupted)
    else:
        original = print
        arguments["callbacks"] = [lambda epoch, logs: (_ for _ in ()).throw(KeyboardInterrupt)]
    history = tnn.fit(model, x, y, epochs=3, batch_size=8, compile=compile, **arguments)
    assert history.stopped == "Ctrl-C"
    assert len(history.epoch) == (0 if where == "step" else 1)  # which ended before
    for path, array in model.state_dict().items():
        np.testing.assert_array_equal(array, whole[-1][path])
    assert not model.training


# ---------------------------------------------------------------- no longer finite


def test_a_diverging_loss_names_epoch_batch_and_parameter():
    x, y = problem()
    model = tnn.Sequential(tnn.Dense(3, 4, rng=0), tnn.Dense(4, 1, rng=1))
    message = r"the loss is inf in epoch 1/50, batch 3/3: all parameters and .* in the loss"
    with pytest.raises(FloatingPointError, match=message):  # and no RuntimeWarning before it
        tnn.fit(model, x, y, epochs=50, batch_size=8, **how(model, 1e4))


def test_numpy_still_raises_in_fit_for_those_who_asked_it_to():
    x, y = problem()
    model = tnn.Sequential(tnn.Dense(3, 4, rng=0), tnn.Dense(4, 1, rng=1))
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="overflow encountered"):
        tnn.fit(model, x, y, epochs=50, batch_size=8, **how(model, 1e4))


def test_the_first_parameter_that_is_not_finite_is_named():
    x, y = problem()
    model = tnn.Sequential(tnn.Dense(3, 4, rng=0), tnn.Dense(4, 1, rng=1))
    model[1].bias.data[0] = np.nan
    message = r"loss is nan in epoch 1/1, batch 1/1: parameter layers\.1\.bias is not finite"
    with pytest.raises(FloatingPointError, match=message):
        tnn.fit(model, x, y, epochs=1, **how(model))


def test_the_first_layer_whose_output_is_not_finite_is_named():
    x, y = problem()

    class Log(tnn.Layer):
        def forward(self, z):
            return tnn.log(z * 0.0 - 1.0)

    model = tnn.Sequential(tnn.Dense(3, 4, rng=0), Log(), tnn.Dense(4, 1, rng=1))
    message = r"batch 1/1: first in the output of layer layers\.1 \(Log\)"
    with pytest.raises(FloatingPointError, match=message):
        tnn.fit(model, x, y, epochs=1, **how(model))
    assert "forward" not in vars(model[1])


def test_a_layer_that_is_bad_in_training_only_is_named():
    x, y = problem()

    class Noise(tnn.Layer):
        def forward(self, z):
            return z * np.inf if self.training else z

    model = tnn.Sequential(tnn.Dense(3, 1, rng=0), Noise())
    with pytest.raises(FloatingPointError, match=r"layers\.1 \(Noise\)"):
        tnn.fit(model, x, y, epochs=1, **how(model))


def test_a_validation_loss_that_is_not_finite_is_an_error():
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    message = "the validation loss is nan in epoch 1/2, batch 1: y itself is not finite"
    with pytest.raises(FloatingPointError, match=message):
        tnn.fit(model, x, y, epochs=2, validation_data=(x, y * np.nan), **how(model))


def test_a_model_with_nothing_to_train_is_refused():
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    arguments = how(model)
    for p in model.parameters():
        p.requires_grad = False
    with pytest.raises(ValueError, match="the model has no parameter that requires a gradient"):
        tnn.fit(model, x, y, epochs=1, **arguments)


def test_lists_of_tensors_that_require_a_gradient_are_refused():
    x, y = problem()
    w = tnn.Tensor(x[0], requires_grad=True)
    for call in (
        lambda: tnn.fit(tnn.Dense(3, 1), [w], y[:1], epochs=1, **how(tnn.Dense(3, 1))),
        lambda: tnn.Dense(3, 1)([w]),
        lambda: tnn.losses.mean_squared_error([w], x[:1]),
        lambda: tnn.losses.mean_squared_error(x[:1], [w]),
    ):
        with pytest.raises(TypeError, match="holds Tensors that require a gradient"):
            call()


@pytest.mark.parametrize("name", ["x", "y"])
def test_nan_in_the_data_is_named(name):
    data = dict(zip("xy", problem(), strict=True))
    data[name][13, 0] = np.nan
    model = tnn.Dense(3, 1, rng=0)
    message = rf"in epoch 1/1, batch 2/3: {name} itself is not finite in this batch"
    with pytest.raises(FloatingPointError, match=message):
        tnn.fit(model, **data, epochs=1, batch_size=8, shuffle=False, **how(model))


def test_a_parameter_ruined_by_the_very_last_step_is_noticed():
    x, y = problem(4)
    model = tnn.Dense(3, 1, rng=0)
    x[:] = 1e30
    with pytest.raises(FloatingPointError, match="kernel is no longer finite after"):
        tnn.fit(model, x, y * 0, epochs=1, **how(model, 1e30, loss=lambda p, t: p.sum() * 1e-20))


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": len}, "fit: model must be a Layer"),
        ({"y": np.zeros((5, 1))}, "x and y must have the same number of samples, got 24 and 5"),
        ({"x": np.zeros((0, 3)), "y": np.zeros((0, 1))}, "x and y hold no samples"),
        ({"x": 3.0}, "fit: x must be an array of numbers with samples along its first axis"),
        ({"epochs": 0}, "fit: epochs must be a positive integer, got 0"),
        ({"batch_size": 0}, "fit: batch_size must be a positive integer, got 0"),
        ({"loss": "rmse"}, "fit: loss must be one of .*'mean_squared_error'"),
        ({"optimizer": "sgd"}, "fit: optimizer must be an Optimizer, such as tinynn.SGD"),
        ({"validation_data": np.zeros(3)}, "validation_data must be a pair"),
        ({"validation_data": (np.zeros(3), np.zeros((3, 1)))}, r"validation_data: x must have as"),
        ({"validation_data": (np.zeros((3, 3)), np.zeros(3))}, r"validation_data: y must have as"),
        (
            {"validation_data": (np.zeros((2, 3)), np.zeros((3, 1)))},
            "fit: validation_data: x and y",
        ),
        ({"callbacks": [3]}, r"callbacks must be a list of functions .*, got \[3\]"),
        ({"callbacks": print}, "callbacks must be a list of functions"),
        ({"shuffle": "yes"}, "shuffle must be True or False"),
        ({"progress": 2}, "progress must be True or False"),
        (
            {"loss": lambda p, t: p - t},
            r"must return a scalar Tensor, got shape \(24, 1\)",
        ),
        ({"loss": lambda p, t: 0.0}, "the loss must return a scalar Tensor, got float"),
        ({"loss": lambda p, t: None}, "scalar Tensor, got None. Does it end with a return?"),
        ({"loss": lambda p, t: p.detach().sum()}, "fit: the loss does not depend on any param"),
        ({"rng": "seed"}, "rng must be a numpy.random.Generator"),
    ],
)
def test_fit_refuses(change, message):
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    arguments = {"model": model, "x": x, "y": y, "epochs": 1, **how(model)} | change
    with pytest.raises((ValueError, TypeError), match=message):
        tnn.fit(**arguments)


def test_an_optimizer_of_another_model_is_refused():
    x, y = problem()
    with pytest.raises(ValueError, match="holds none of the model's parameters"):
        tnn.fit(tnn.Dense(3, 1), x, y, epochs=1, **how(tnn.Dense(3, 1)))


def test_a_prediction_of_another_shape_than_the_target_is_an_error_not_a_matrix():
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    with pytest.raises(ValueError, match=r"equal shapes, got \(24, 1\) and \(24,\)"):
        tnn.fit(model, x, y.ravel(), epochs=1, **how(model))


def test_a_generator_is_refused_with_advice():
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    for data, message in (
        ({"x": (row for row in x)}, r"fit: x is a generator, .*read only once.*numpy\.stack"),
        ({"y": iter(y)}, r"fit: y is an iterator \(.*iterator\), like a generator"),
        ({"validation_data": (map(len, x), y)}, r"fit: validation_data: x is an iterator \(map\)"),
    ):
        with pytest.raises(TypeError, match=message):
            tnn.fit(**{"model": model, "x": x, "y": y, "epochs": 1, **how(model), **data})
    with pytest.raises(TypeError, match="predict: x is a generator"):
        tnn.predict(model, (row for row in x))
    with pytest.raises(TypeError, match="batches: y is a generator"):
        tnn.batches(x, (row for row in y), 2)
    with pytest.raises(TypeError, match=r"Stream\.push: x is a generator"):
        tnn.stream(model).push(row for row in x)


def test_pandas_lists_and_memory_maps_are_arrays(tmp_path):
    pandas = pytest.importorskip("pandas")
    x, y = problem()
    np.save(tmp_path / "x.npy", x)
    frame = pandas.DataFrame(x, index=range(100, 124))
    losses = []
    for xs, ys in (
        (x, y),
        (x.tolist(), y.tolist()),
        (frame, pandas.DataFrame(y)),
        (np.load(tmp_path / "x.npy", mmap_mode="r"), y),
    ):
        model = tnn.Dense(3, 1, rng=0)
        losses.append(tnn.fit(model, xs, ys, epochs=2, **how(model)).history["loss"])
    np.testing.assert_allclose(losses, [losses[0]] * 4, rtol=1e-6)
    np.testing.assert_array_equal(tnn.predict(model, frame), tnn.predict(model, x))
    mixed = pandas.DataFrame({"a": [1.0, 2.0], "b": ["u", "v"]})
    with pytest.raises(TypeError, match=r"fit: x must be .*, got a DataFrame.* x\.to_numpy\(float"):
        tnn.fit(model, mixed, y[:2], epochs=1, **how(model))
    with pytest.raises(ValueError, match="fit: x: nested lists must have equal lengths"):
        tnn.fit(model, [[1.0], [1.0, 2.0]], y[:2], epochs=1, **how(model))


def test_a_memory_map_is_read_batch_by_batch(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "float32", (4000, 1000))
    model = tnn.Dense(1000, 1, rng=0)
    arguments = how(model, compile=False)
    tnn.fit(model, x[:64], np.zeros((64, 1)), epochs=1, **arguments)  # whatever is loaded late
    tracemalloc.start()
    try:
        tnn.fit(model, x, np.zeros((4000, 1)), epochs=1, **arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 8


# ---------------------------------------------------------------- as the loop written by hand


class Counted(tnn.Layer):
    """A layer that notes how often it is called, with which shapes, and on which it trains."""

    def __init__(self, inner):
        self.inner, self.calls = inner, []

    def forward(self, x):
        self.calls.append((np.shape(x), self.training))
        return self.inner(x)


@pytest.mark.parametrize("compile", ["auto", False])
@pytest.mark.parametrize("validated", [False, True])
def test_user_code_is_called_as_often_as_by_a_loop_written_by_hand(compile, validated):
    x = np.random.default_rng(0).normal(size=(10, 7, 1)).astype(np.float32)
    counts = []

    def loss(prediction, target):
        counts.append((prediction.shape, type(target)))
        return tnn.losses.mean_squared_error(prediction, target)

    def make():
        counts.clear()
        model = Counted(tnn.Conv1d(1, 1, 3, padding="same", rng=0))
        return model, tnn.SGD(model.parameters(), 0.1)

    model, sgd = make()
    pieces = tnn.batches(x, x, 4, rng=0)
    for _ in range(2):
        for xb, yb in pieces:
            sgd.zero_grad()
            loss(model(xb), yb).backward()
            sgd.step()
        if validated:
            model.eval()
            with tnn.no_grad():
                for xb, yb in tnn.batches(x, x, 4, shuffle=False):
                    loss(model(xb), yb)
            model.train()
    expected = model.calls, list(counts), model.state_dict()
    model, sgd = make()
    tnn.fit(
        model, x, x, loss=loss, optimizer=sgd, epochs=2, batch_size=4, rng=0, progress=False,
        validation_data=(x, x) if validated else None, compile=compile,
    )  # fmt: skip
    np.testing.assert_equal((model.calls, counts, model.state_dict()), expected)


def test_predict_and_stream_call_a_layer_of_ones_own_once_a_piece():
    x = np.random.default_rng(0).normal(size=(12, 1)).astype(np.float32)
    model = Counted(tnn.Dense(1, 1, rng=0))
    tnn.predict(model, x, batch_size=5)
    assert [shape for shape, _ in model.calls] == [(5, 1), (5, 1), (2, 1)]
    model.reach = lambda: (1, 0, 0)
    model.calls.clear()
    scores = tnn.stream(model)
    for start in range(0, 12, 4):
        scores.push(x[start : start + 4])
    assert len(model.calls) == 3


def test_an_unused_parameter_and_one_of_another_model_do_not_disturb():
    x, y = problem()
    runs = []
    for parts in ((), ("unused",), ("other",), ("unused", "other")):
        model = tnn.Sequential(tnn.Dense(3, 1, rng=0))
        parameters = model.parameters()
        if "unused" in parts:
            model[0].unused = tnn.Tensor([1.0], requires_grad=True)
            parameters = model.parameters()
        if "other" in parts:
            parameters = [*parameters, tnn.Tensor(np.ones(3), requires_grad=True)]
        adam = tnn.Adam(parameters, 0.1)
        tnn.fit(model, x, y, epochs=2, **how(model, optimizer=adam))
        runs.append(model[0].kernel.numpy())
        if parts:
            assert parameters[-1].data[0] == 1
    np.testing.assert_array_equal(runs, [runs[0]] * 4)


def test_parameters_that_the_optimizer_does_not_hold_stay():
    x, y = problem()
    model = tnn.Sequential(tnn.Dense(3, 2, rng=0), tnn.Dense(2, 1, rng=1))
    before = model.state_dict()
    sgd = tnn.SGD(model[1].parameters(), 0.1)
    tnn.fit(model, x, y, epochs=1, **how(model, optimizer=sgd))
    np.testing.assert_array_equal(model[0].kernel.data, before["layers.0.kernel"])
    assert (model[1].kernel.data != before["layers.1.kernel"]).all()


def test_a_gradient_taken_in_the_loss_is_part_of_the_loss():
    def loss(prediction, target):
        w = model.kernel[0, 0]
        slope = tnn.value_and_grad(lambda z: (w * z * z).sum())(np.array([3.0]))[1]  # 6 w
        return (slope**2).sum() + 0 * prediction.sum()

    model = tnn.Dense(1, 1, dtype="float64", rng=0)
    before, x = model.kernel.item(), np.ones((4, 1))
    tnn.fit(model, x, x, epochs=1, compile=False, **how(model, 1e-3, loss=loss))
    assert model.kernel.item() == pytest.approx(before - 1e-3 * 72 * before)


@pytest.mark.parametrize("compile", [False, "auto"])
def test_nothing_is_left_for_the_garbage_collector(compile):
    x = np.ones((40, 30, 1), np.float32)

    def run():
        model = tnn.Sequential(tnn.Conv1d(1, 2, 3, padding="same", rng=0), tnn.Dense(2, 1, rng=0))
        adam = tnn.Adam(model.parameters())
        arguments = how(model, optimizer=adam, validation_data=(x, x), compile=compile)
        stopping = tnn.callbacks.EarlyStopping("mae")
        arguments |= {"metrics": ["mae"], "sample_weight": x[:, 0], "callbacks": [stopping]}
        tnn.fit(model, x, x, epochs=2, **arguments)
        tnn.predict(model, x)
        tnn.predict(model, x[0], piece_length=10, threads=2)
        scores = tnn.stream(model)
        scores.push(x[0])
        scores.finish()
        adam.load_state_dict(adam.state_dict())
        tnn.save(io.BytesIO(), model)

    run()  # whatever is loaded late
    gc.collect()
    gc.disable()
    try:
        run()
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compile": np.array(["auto"] * 2)}, 'fit: compile must be "auto", True or False, got'),
        ({"chunk": np.array([1, 2])}, "fit: chunk must be a positive integer, got"),
        ({"compile": 1}, 'fit: compile must be "auto", True or False, got 1'),
        ({"compile": "yes"}, "fit: compile must be \"auto\", True or False, got 'yes'"),
        ({"chunk": 0}, "fit: chunk must be a positive integer, got 0"),
        ({"threads": 0}, "fit: threads must be a positive integer, got 0"),
        ({"compile": False, "chunk": 4}, 'fit: chunk=4 .* need compile="auto" or True, got False'),
        ({"compile": False, "threads": 2}, 'need compile="auto" or True'),
    ],
)
def test_settings_of_the_fast_path_are_checked(settings, message):
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    with pytest.raises((ValueError, TypeError), match=message):
        tnn.fit(model, x, y, epochs=1, **how(model), **settings)


def test_without_the_folder_of_the_fast_path_fit_says_so_and_goes_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "tinynn.replay", None)  # an import of it fails
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    history = tnn.fit(model, x, y, epochs=1, **how(model))
    assert history.eager == "tinynn.replay is not installed"
    assert tnn.fit(model, x, y, epochs=1, compile=False, **how(model)).eager == "compile=False"
    assert tnn.predict(model, np.ones((9000, 3)), batch_size=100).shape == (9000, 1)


def test_errors_are_in_the_name_of_fit():
    x, y = problem()
    model = tnn.Dense(3, 1, rng=0)
    for change, message in (
        ({"shuffle": "yes"}, "fit: shuffle must be"),
        ({"rng": "seed"}, "fit: rng must be"),
        ({"batch_size": 1.5}, "fit: batch_size must be"),
    ):
        with pytest.raises(TypeError, match=f"^{message}"):
            tnn.fit(model, x, y, epochs=1, **{**how(model), **change})


def test_a_series_where_samples_are_meant_is_found_at_the_first_call_of_a_layer_of_ones_own():
    x = np.ones((200, 1), np.float32)
    model = Counted(tnn.Conv1d(1, 1, 3, padding="same", rng=0))
    before = model.state_dict()
    words = r"shape \(200, 1\), which inner \(Conv1d\) takes for one series"
    with pytest.raises(ValueError, match=f"fit: x must be .*{words}"):
        tnn.fit(model, x, x, epochs=1, **how(model))
    assert len(model.calls) == 1
    np.testing.assert_equal(model.state_dict(), before)
    assert "forward" not in vars(model.inner)
    with pytest.raises(ValueError, match=f"predict: x must be .*{words}"):
        tnn.predict(model, x, batch_size=50)


def test_samples_to_which_an_activation_of_ones_own_adds_an_axis_are_no_series():
    model = tnn.Sequential(tnn.Activation(lambda x: x[..., None]), tnn.Conv1d(1, 1, 3, rng=0))
    x = np.ones((8, 5), np.float32)
    tnn.fit(model, x, np.zeros((8, 3, 1)), epochs=1, **{**how(model), "batch_size": 4})
    assert tnn.predict(model, x, batch_size=4).shape == (8, 3, 1)


def over_time():
    return [
        tnn.Conv1d(1, 1, 3, padding="same", rng=0),
        tnn.Conv1d(1, 1, 99, rng=0),  # a batch of time steps is too short for it
        tnn.Sequential(tnn.Dense(1, 1, rng=0), tnn.MaxPool1d(2)),
        tnn.Sequential(tnn.Dense(1, 1, rng=0), tnn.GlobalAvgPool1d()),
    ]


@pytest.mark.parametrize("model", over_time(), ids=repr)
def test_one_series_is_not_taken_for_samples(model):
    x = np.random.default_rng(0).normal(size=(200, 1))
    words = r"\(samples, length, channels\), got shape \(200, 1\), .*one series.* x\[None\]"
    with pytest.raises(ValueError, match=f"fit: x must be {words} and y"):
        tnn.fit(model, x, x, epochs=1, **how(model))
    with pytest.raises(ValueError, match=f"fit: x must be {words}"):
        tnn.fit(model, x[None], x[None], validation_data=(x, x), epochs=1, **how(model))
    with pytest.raises(ValueError, match=f"predict: x must be {words}, or leave out batch_size"):
        tnn.predict(model, x, batch_size=50)
    whole = tnn.predict(model, x)
    np.testing.assert_array_equal(tnn.predict(model, x, batch_size=200), whole)
    np.testing.assert_array_equal(tnn.predict(model, x[None], batch_size=50)[0], whole)


def test_a_model_may_add_the_missing_axis_itself():
    class Padded(tnn.Layer):
        def __init__(self):
            self.conv = tnn.Conv1d(1, 1, 3, padding="same", rng=0)

        def forward(self, x):
            return self.conv(x[..., None])[..., 0]

    model, x = Padded(), np.ones((8, 20))
    tnn.fit(model, x, x, epochs=1, batch_size=4, **how(model))
    assert tnn.predict(model, x, batch_size=4).shape == (8, 20)


# ---------------------------------------------------------------- predict and batches


@pytest.mark.parametrize("batch_size", [None, 1, 3, 100])
def test_predict_does_not_depend_on_the_batch_size(batch_size):
    rng = np.random.default_rng(0)
    model = tnn.Conv1d(1, 2, 5, padding="same", rng=rng)
    x = rng.normal(size=(7, 40, 1))
    found = tnn.predict(model, x, batch_size=batch_size)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, model(x).data, atol=1e-6)
    found[...] = 0  # it belongs to the caller


def test_predict_takes_one_series_and_none():
    model = tnn.Conv1d(1, 2, 5, padding="same", rng=0)
    x = np.random.default_rng(0).normal(size=(40, 1))
    np.testing.assert_array_equal(tnn.predict(model, x), model(x).data)
    assert tnn.predict(model, np.zeros((0, 40, 1))).shape == (0, 40, 2)
    for bad in (3.0, None, "x"):
        with pytest.raises(TypeError, match="predict: x must be an array of numbers, got"):
            tnn.predict(model, bad)
    with pytest.raises(TypeError, match="predict: model must be a Layer"):
        tnn.predict(print, x)


def test_batches_cover_each_sample_once_and_shuffle_anew():
    x, y = np.arange(10)[:, None], np.arange(10)
    pieces = tnn.batches(x, y, 4, rng=0)
    assert len(pieces) == 3
    first, second = ([yb.tolist() for _, yb in pieces] for _ in range(2))
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(10))
    assert first != second
    assert [len(part) for part in first] == [4, 4, 2]
    for xb, yb in pieces:
        np.testing.assert_array_equal(xb[:, 0], yb)
        xb[...] = -1  # a copy
    assert x.min() == 0
    assert [len(yb) for _, yb in tnn.batches(x, y, 4, drop_last=True)] == [4, 4]
    with pytest.raises(ValueError, match="leaves no batch at all"):
        tnn.batches(x, y, 11, drop_last=True)
    with pytest.raises(ValueError, match="batches: batch_size must be a positive integer"):
        tnn.batches(x, y, 0)


def test_ctrl_c_from_outside_leaves_a_whole_step(tmp_path):
    """A real signal at an arbitrary moment: two parameters that only move together stay equal."""
    script = tmp_path / "train.py"
    script.write_text(
        "import threading, _thread, time, numpy as np, tinynn as tnn\n"
        "model = tnn.Sequential(*[tnn.Dense(4, 4, kernel_initializer='ones') for _ in range(2)])\n"
        "a, b = model[0].kernel, model[1].kernel\n"
        "def loss(p, t):\n"
        "    return tnn.sum(a + b) * 1e-6\n"
        "x = np.zeros((64, 4))\n"
        "tnn.fit(model, x, x, loss=loss, epochs=1, progress=False,  # whatever is loaded late\n"
        "        optimizer=tnn.SGD([a, b], 0.1))\n"
        "for delay in np.linspace(0.01, 0.06, 12):\n"
        "    timer = threading.Timer(delay, _thread.interrupt_main); timer.start()\n"
        "    sgd = tnn.SGD([a, b], 0.1, momentum=0.9)\n"
        "    history = tnn.fit(model, x, x, loss=loss, epochs=10**6, batch_size=1, optimizer=sgd,\n"
        "                      progress=False)\n"
        "    timer.join()\n"
        "    assert history.stopped == 'Ctrl-C'\n"
        "    assert np.array_equal(a.data, b.data), (a, b)\n"
        "print('whole')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.stdout == "whole\n", done.stderr
