"""tinynn.profile: the rows name what ran, add up to the whole, and fit a terminal."""

import time
import tracemalloc

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff.listening import listener


def training(layers=()):
    model = tnn.Sequential(
        tnn.Conv1d(1, 4, 5, padding="same", activation="relu", rng=0), *layers,
        tnn.Conv1d(4, 1, 3, padding="same", rng=1),
    )  # fmt: skip
    optimizer = tnn.Adam(model.parameters())
    x = np.random.default_rng(0).normal(size=(4, 100, 1)).astype("float32")

    def step(x):
        optimizer.zero_grad()
        loss = tnn.losses.mean_squared_error(model(x), x)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, x


def keys(found):
    return {row[:3] for row in found.rows}


def test_the_rows_name_layer_operation_and_pass():
    found = tnn.profile(*training())
    assert {
        ("layers.0 (Conv1d)", "conv", "forward"),
        ("layers.0 (Conv1d)", "conv", "backward"),
        ("layers.0 (Conv1d)", "relu", "backward"),
        ("layers.1 (Conv1d)", "conv", "backward"),
        ("mean_squared_error", "square", "forward"),
        ("mean_squared_error", "square", "backward"),
        ("Adam", "step", "update"),
        ("elsewhere", "-", "-"),
    } <= keys(found)
    calls = {row[:3]: row.calls for row in found.rows}
    assert calls["layers.0 (Conv1d)", "conv", "forward"] == 1
    assert calls["layers.0 (Conv1d)", "conv", "backward"] == 2  # its kernel and its bias
    assert calls["layers.1 (Conv1d)", "conv", "backward"] == 3  # and its input


@pytest.mark.parametrize("repeat", [1, 2, 5])
def test_the_rows_add_up_to_the_whole(repeat):
    step, x = training()
    found = tnn.profile(step, x, repeat=repeat)
    assert np.isclose(sum(row.time for row in found.rows), found.total)
    assert np.isclose(sum(row.share for row in found.rows), 1)
    assert all(row.time >= 0 for row in found.rows)
    *parts, elsewhere = found.rows
    assert [row.time for row in parts] == sorted((row.time for row in parts), reverse=True)
    assert elsewhere.layer == "elsewhere"


def test_it_is_called_once_more_than_it_is_timed():
    calls = []
    tnn.profile(lambda *args: calls.append(args), 1, "a", repeat=4)
    assert calls == [(1, "a")] * 5


def test_the_figures_are_those_of_the_median_call():
    durations = iter([0.0, 0.03, 0.0, 0.09])  # the first call is not timed
    found = tnn.profile(lambda: time.sleep(next(durations)))
    assert 0.03 <= found.total < 0.09


def slept(g, y, x):
    time.sleep(0.02)
    return g


@tnn.primitive(slept)
def slow(x):
    time.sleep(0.04)
    return x * 1.0


def test_what_is_slow_comes_first():
    step, x = training([tnn.Activation(slow)])
    first, second = tnn.profile(step, x, repeat=1).rows[:2]
    assert first[:3] == ("layers.1 (Activation)", "slow", "forward")
    assert second[:3] == ("layers.1 (Activation)", "slow", "backward")
    assert first.time >= 0.04
    assert second.time >= 0.02


def test_python_between_operations_is_elsewhere():
    found = tnn.profile(lambda: time.sleep(0.03), repeat=1)
    assert keys(found) == {("elsewhere", "-", "-")}
    assert found.total >= 0.03


def test_memory_is_that_of_new_arrays():
    x = tnn.Tensor(np.zeros((50, 20)))  # 8,000 bytes
    found = tnn.profile(lambda: tnn.exp(x).reshape(-1).sum())
    memory = {row.operation: row.memory for row in found.rows}
    assert memory == {"exp": 8000, "reshape": 0, "sum": 8, "-": 0}
    assert 8000 <= found.peak < 30_000


def test_the_peak_counts_what_is_held_at_one_time():
    x = np.zeros(100_000)
    together = tnn.profile(lambda: [tnn.exp(x) for _ in range(5)])
    apart = tnn.profile(lambda: [tnn.exp(x).sum() for _ in range(5)])
    assert 4_000_000 <= together.peak < 4_200_000
    assert 800_000 <= apart.peak < 1_800_000
    assert not tracemalloc.is_tracing()


def test_a_trace_of_memory_of_the_users_goes_on():
    tracemalloc.start()
    try:
        np.ones(100_000)
        assert tnn.profile(tnn.exp, np.ones(3)).peak < 100_000
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_second_derivatives_have_rows_of_their_own():
    w = tnn.Tensor([1.0, 2.0], requires_grad=True)

    def f():
        (g,) = tnn.grad((w**3).sum(), [w], create_graph=True)
        g.sum().backward()

    assert ("-", "power in the gradient of power", "backward") in keys(tnn.profile(f))


def test_a_compiled_function_and_fit_are_run_eagerly():
    step, x = training()
    compiled = tnn.compile(step)
    compiled(x)
    assert ("layers.0 (Conv1d)", "conv", "backward") in keys(tnn.profile(compiled, x))
    model = tnn.Dense(1, 1, rng=0)
    reasons = []

    def run():
        history = tnn.fit(
            model, x[0], x[0], loss="mean_squared_error", optimizer=tnn.SGD(model.parameters()),
            epochs=1, progress=False, rng=0,
        )  # fmt: skip
        reasons.append(history.eager)

    assert ("model (Dense)", "matmul", "backward") in keys(tnn.profile(run))
    assert all("tinynn.profile" in reason for reason in reasons)


def test_results_are_the_same_bits():
    (step, x), (other, _) = training(), training()
    plain = [step(x) for _ in range(4)]
    looked = []
    tnn.profile(lambda: looked.append(other(x)))
    assert looked == plain


def test_the_table_fits_a_terminal():
    layers = {
        f"a_rather_long_name_{i}": tnn.Dense(4, 4, activation="tanh", rng=i) for i in range(9)
    }

    class Named(tnn.Layer):
        def __init__(self):
            self.layers = layers

        def forward(self, x):
            for layer in self.layers.values():
                x = layer(x)
            return x

    found = tnn.profile(Named(), np.ones((2, 4), "float32"))
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["layer", "operation", "pass", "calls", "ms", "share", "KB"]
    assert len(found.rows) == 28
    assert "7 more" in lines[-4]
    assert lines[-2].split()[0] == "total"
    assert "100.0%" in lines[-2]


def test_nothing_listens_any_more_after_an_error():
    with pytest.raises(ZeroDivisionError):
        tnn.profile(lambda: 1 // 0)
    assert listener.get() is None
    assert not tracemalloc.is_tracing()


def test_debug_works_within_what_is_profiled():
    def f():
        with tnn.debug():
            return tnn.exp(tnn.Tensor([1.0])) + 1

    assert ("-", "exp", "forward") in keys(tnn.profile(f))


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="profile: give a function and its arguments"):
        tnn.profile(3)
    with pytest.raises(ValueError, match="profile: repeat must be a positive integer"):
        tnn.profile(len, [], repeat=0)
