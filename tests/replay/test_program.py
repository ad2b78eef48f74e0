"""A program does what eager code does: results, gradients and effects, run after run."""

import threading

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import ops
from tinynn.autodiff.primitive import inspected
from tinynn.replay.planning import NotFinite
from tinynn.replay.program import Program

from .recorded import names, program, recorded

RNG = np.random.default_rng


def leaf(*shape, seed=0, dtype=float):
    return tnn.Tensor(RNG(seed).normal(size=shape).astype(dtype), requires_grad=True)


def close(got, expected, rtol=1e-12):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(
        got, expected, rtol=rtol, atol=rtol * np.abs(expected).max(initial=0)
    )


# ---------------------------------------------------------------- results and gradients


def test_results_and_gradients_are_those_of_eager_code_at_each_run():
    w, b = leaf(3, 4), leaf(4)

    def f(x):
        w.grad = b.grad = None
        h = tnn.tanh(x @ w + b) - x.sum(axis=1, keepdims=True) * 0.1
        loss = (h * h).mean() + (tnn.softmax(h) ** 3).sum()
        loss.backward()
        return {"loss": loss.item(), "parts": [h.detach(), (w.grad[:, ::-1], 7)]}

    p = program(f, RNG(1).normal(size=(5, 3)))
    for seed in range(3):
        x = RNG(seed).normal(size=(5, 3))
        got = p.run([x])
        gradients = w.grad, b.grad
        expected = f(x)
        close(got["loss"], expected["loss"])
        assert isinstance(got["parts"][0], tnn.Tensor)
        close(got["parts"][0].data, expected["parts"][0].data)
        close(got["parts"][1][0], expected["parts"][1][0])
        assert got["parts"][1][1] == 7
        close(gradients[0], w.grad)
        close(gradients[1], b.grad)


def test_what_is_handed_out_belongs_to_the_caller():
    w = leaf(3)

    def f(x):
        w.grad = None
        (w * x).sum().backward()
        return x * 2, w.grad

    p = program(f, np.ones(3))
    y, g = p.run([np.ones(3)])
    first = w.grad
    y[...] = g[...] = first[...] = -1
    again, g = p.run([np.ones(3)])
    assert again.tolist() == [2, 2, 2]
    assert g.tolist() == w.grad.tolist() == [1, 1, 1]


def test_leaves_are_read_anew_however_they_were_changed():
    w = leaf(3)
    p = program(lambda x: ops.sum(w * x).item(), np.ones(3))
    for change in (
        lambda: setattr(w, "data", [1.0, 2.0, 3.0]),
        lambda: w.data.fill(4.0),
        lambda: w.data.__setitem__(0, -1.0),
        lambda: w._replace(np.array([0.5, 0.5, 0.5])),
    ):
        change()
        assert p.run([np.ones(3)]) == w.numpy().sum()


def test_gradients_from_before_the_call_are_added_to():
    w = leaf(3)
    w.grad = np.array([1.0, 2.0, 3.0])
    p = program(lambda x: (w * x).sum().backward(), np.ones(3))
    p.run([np.full(3, 10.0)])
    assert w.grad.tolist() == [11, 12, 13]
    p.run([np.full(3, 100.0)])
    assert w.grad.tolist() == [111, 112, 113]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[4:1:-1] * 1.0,
        lambda x: x[4:1:-1],
        lambda x: x.reshape(2, 4).T[::-1, 1:],
        lambda x: (x * 2)[::-2].reshape(2, 2).T,
        lambda x: tnn.broadcast_to(x[:1] + 1, (3, 1))[::-1] * 2,
        lambda x: (lambda y: (y[::-1], y * 1, y[1::3]))(x + 1),
        lambda x: ops.flip(x * 2) + x,
        lambda x: x[[0, 0, 3]] * x[[1, 2, 0]],
        lambda x: ops.concatenate([x[:2], x[::-1]]),
    ],
)
def test_views_reversed_and_strided_ones_too(f):
    p = program(f, np.arange(8.0))
    for i in range(3):
        x = np.arange(8.0) ** 2 + i
        got, expected = p.run([x]), f(x)
        for a, b in zip(
            *(r if isinstance(r, tuple) else (r,) for r in (got, expected)), strict=True
        ):
            close(a, b)


def test_arrays_of_the_user_are_read_at_each_run_and_so_are_views_of_them():
    table = np.arange(6.0)
    p = program(lambda x: (x * table, ops.flip(table)[1:] + x[1:], ops.exp(table)), np.ones(6))
    for scale in (1.0, -3.0, 0.0):
        table[...] = scale * np.arange(6.0)
        x = RNG(1).normal(size=6)
        got = p.run([x])
        for a, b in zip(got, (x * table, table[::-1][1:] + x[1:], np.exp(table)), strict=True):
            close(a, b)


def test_draws_are_made_anew_or_those_that_are_given_once():
    rng, same = RNG(5), RNG(5)
    p = program(lambda x: x + tnn.fresh(lambda: rng.normal(size=3)), np.zeros(3))
    same.normal(size=3)
    close(p.run([np.zeros(3)]), same.normal(size=3))
    p.draws = [np.arange(3.0)]
    assert p.run([np.ones(3)]).tolist() == [1, 2, 3]
    close(p.run([np.zeros(3)]), same.normal(size=3))


def test_a_draw_that_is_not_used_moves_its_generator_on():
    rng, same = RNG(5), RNG(5)
    p = program(lambda x: (tnn.fresh(lambda: rng.normal(size=3)), x + 1)[1], np.zeros(3))
    p.run([np.zeros(3)])
    same.normal(size=6)
    assert rng.normal() == same.normal()


def test_a_draw_of_another_shape_is_left_to_eager_code():
    shapes = iter([(3,), (1,)])
    p = program(lambda x: x + tnn.fresh(lambda: np.ones(next(shapes))), np.zeros(3))
    with pytest.raises(NotFinite, match=r"a draw returned shape \(1,\)"):
        p.run([np.zeros(3)])


# ---------------------------------------------------------------- gradients side by side


def test_gradients_side_by_side_in_the_order_asked_for_and_not_set():
    a, b, c, unused = leaf(2, 3), leaf(3, seed=1), leaf(3, seed=2), leaf(2)

    def f(x):
        for w in (a, b, c):
            w.grad = None
        loss = (x @ a + (b + c)).sum()
        loss.backward()
        return loss.item()

    x = RNG(0).normal(size=(4, 2))
    p = program(f, x, order=[c, unused, a, b])
    a.grad = np.full((2, 3), 5.0)
    p.load([x])
    p.execute()
    assert (a.grad == 5).all()
    found = p.result()
    close(found, f(x))
    zero = np.zeros(2)
    close(p.flat_gradient, np.concatenate([c.grad, zero, a.grad.ravel(), b.grad]))


def test_gradients_of_several_dtypes_side_by_side():
    a, b = leaf(2), leaf(2, dtype="float32")
    p = program(
        lambda x: (x * a).sum().backward() or (3 * b).sum().backward(), np.ones(2), order=[b, a]
    )
    p.run([np.array([1.0, 2.0])])
    assert p.flat_gradient.tolist() == [3, 3, 1, 2]
    assert p.flat_gradient.dtype == np.float64


# ---------------------------------------------------------------- effects


@pytest.mark.parametrize(
    "make", [lambda w: tnn.SGD(w, 0.1, momentum=0.9), lambda w: tnn.Adam(w, 0.1)]
)
def test_effects_happen_in_order_and_later_steps_see_them(make):
    def trial():
        w, v = leaf(3, 2), leaf(2, seed=1)
        optimizer = make([w, v])

        def f(x):
            optimizer.zero_grad()
            ((x @ w + v) ** 2).mean().backward()
            first = w.grad * 1
            optimizer.step()
            loss = ((x @ w - v) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            v.data = v.data * 0.5 + w.grad.sum()
            optimizer.step()
            return loss.item(), first, w.detach(), v.detach()

        return f, (w, v), optimizer

    f, leaves, _ = trial()
    eager, others, _ = trial()
    x = RNG(4).normal(size=(5, 3))
    p = program(f, x)
    for i in range(4):
        got, expected = p.run([x + i]), eager(x + i)
        for a, b in zip(got, expected, strict=True):
            close(ops.values(a), ops.values(b))
        for a, b in zip(leaves, others, strict=True):
            close(a.numpy(), b.numpy())
            close(a.grad, b.grad)


def test_a_view_of_old_data_stays_as_it_was():
    w = tnn.Tensor(np.arange(4.0), requires_grad=True)

    def f(x):
        old = w[::-1]
        w.data = w.data + x
        return (old + 0).detach(), old.detach(), w.detach()

    p = program(f, np.ones(4))
    for i in range(2):
        added, old, new = p.run([np.ones(4)])
        assert added.numpy().tolist() == old.numpy().tolist() == [3 + i, 2 + i, 1 + i, i]
        assert new.numpy().tolist() == [1 + i, 2 + i, 3 + i, 4 + i]


def test_new_data_of_leaves_wait_until_all_is_computed_and_checked():
    def trial():
        leaves = [leaf(3, 2), leaf(2, seed=1)]

        def f(x):
            mean = x.mean(axis=0)
            leaves[0].grad = leaves[1].grad = None
            ((x @ leaves[0] + leaves[1] - mean[0]) ** 2).mean().backward()
            for w in leaves:
                w.data = w.data - 0.1 * w.grad
            return ops.exp(leaves[1]).detach()

        return f, leaves

    (f, leaves), (eager, others) = trial(), trial()
    x = RNG(4).normal(size=(5, 3))
    p = program(f, x)
    assert names(p)[-2:] == ["exp", "check_finite"]
    for _ in range(3):
        close(p.run([x]).numpy(), eager(x).numpy())
        for a, b in zip(leaves, others, strict=True):
            close(a.numpy(), b.numpy())
    with pytest.raises(NotFinite, match="not finite"):
        p.run([x * np.nan])
    assert [a.numpy().tolist() for a in leaves] == [b.numpy().tolist() for b in others]


def test_a_gradient_that_an_optimizer_got_is_the_one_that_is_left():
    seen = []

    class Seeing(tnn.SGD):
        def updated(self, w, g, slots):
            seen.append(g)
            return super().updated(w, g, slots)

    w = leaf(2)
    optimizer = Seeing([w], 0.1)

    def f(x):
        w.grad = None
        (w * x).sum().backward()
        optimizer.step()

    p = program(f, np.ones(2))
    p.run([np.ones(2)])
    assert w.grad is seen[-1]


def test_a_result_of_another_kind_after_an_update_is_an_error():
    w, changed = leaf(2), []
    optimizer = tnn.SGD([w], 0.1)

    @tnn.primitive(lambda g, y, x: g)
    def odd(x):
        return x[:1] if changed else x + 0

    def f(x):
        w.grad = x
        optimizer.step()
        return odd(x)

    p = program(f, np.ones(2))
    changed.append(True)
    with pytest.raises(RuntimeError, match=r"odd returned shape \(1,\)"):
        p.run([np.ones(2)])


def test_an_error_of_numpy_that_eager_code_may_not_make_is_left_to_it():
    p = program(lambda x: ops.exp(x), np.ones(2))
    with np.errstate(over="raise"), pytest.raises(NotFinite, match="NumPy raised"):
        p.run([np.full(2, 1e5)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_raises_before_anything_is_updated(bad):
    w = leaf(3, 1)
    optimizer = tnn.SGD([w], 0.1)

    def f(x):
        optimizer.zero_grad()
        loss = ((x @ w) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    p, x = program(f, np.ones((4, 3))), np.ones((4, 3))
    p.run([x])
    before, gradient, count = w.numpy().copy(), w.grad, optimizer.iterations
    x[1, 2] = bad
    with pytest.raises(NotFinite, match="not finite"):
        p.run([x])
    assert w.numpy().tolist() == before.tolist()
    assert w.grad is gradient
    assert optimizer.iterations == count


def test_a_zero_gradient_beside_an_infinite_slope_is_left_to_eager_code():
    w = tnn.Tensor([0.0, 4.0], requires_grad=True)

    def f(x):
        w.grad = None
        ops.where(w > 0, ops.sqrt(w) * x, 0.0).sum().backward()

    with np.errstate(all="ignore"):
        p = program(f, np.ones(2))
    with pytest.raises(NotFinite, match="not finite"):
        p.run([np.ones(2)])


def test_after_an_update_a_zero_gradient_stays_zero_and_a_nan_where_it_is():
    w, v = tnn.Tensor([0.0, 4.0], requires_grad=True), leaf(3, 1, 1, dtype="float32")
    x = np.ones((1, 12, 1), "float32")
    x[0, 2] = np.nan

    optimizer = tnn.SGD([v], 0.1)

    def f(x):
        v.grad = v.data * 0
        optimizer.step()
        w.grad = None
        ops.where(w > 0, ops.sqrt(w), 0.0).sum().backward()
        return tnn.conv1d(x, v, padding="same").detach()

    with np.errstate(all="ignore"):
        p = program(f, np.ones_like(x))
    got = p.run([x])
    assert w.grad.tolist() == [0, 0.25]
    assert np.isnan(got.numpy()).ravel().nonzero()[0].tolist() == [1, 2, 3]
    close(p.run([np.ones_like(x)]).numpy(), f(np.ones_like(x)).numpy(), 1e-6)


def test_an_error_in_the_middle_leaves_the_program_as_it_was():
    failing = []

    @tnn.primitive(lambda g, y, x: g, passes_nan=True)
    def fragile(x):
        if failing:
            raise failing[0]
        return x + 0

    k, v = leaf(5, 1, 3, dtype="float32"), leaf(5, 3, 1, seed=1, dtype="float32")

    def f(x):
        k.grad = v.grad = None
        y = tnn.conv1d(fragile(tnn.relu(tnn.conv1d(x, k, padding="same"))), v, padding="causal")
        (y * y).sum().backward()
        return y.detach()

    x = RNG(0).normal(size=(2, 30, 1)).astype("float32")
    p = program(f, x)
    for error in (ValueError("planted"), KeyboardInterrupt("planted")):
        failing.append(error)
        k.grad = None
        with pytest.raises(type(error), match="planted"):
            p.run([x * 3])
        assert k.grad is None
        failing.clear()
        got, gradient = p.run([x]), k.grad
        close(got.numpy(), f(x).numpy(), 1e-5)
        close(gradient, k.grad, 1e-5)


# ---------------------------------------------------------------- operations of users, and checks


def test_the_forward_of_a_users_operation_runs_at_each_run_and_may_read_what_changes():
    calls, scale = [], [1.0]

    @tnn.elementwise(lambda g, y, x: g * scale[0])
    def scaled(x):
        calls.append(type(x))
        return x * scale[0]

    p = program(lambda x: (scaled(x), scaled(x), None)[2] or scaled(x) + 1, np.ones(3))
    calls.clear()
    for scale[0] in (2.0, 3.0):
        assert p.run([np.ones(3)]).tolist() == [scale[0] + 1] * 3
    assert calls == [np.ndarray] * 6  # none is left out for being unused or the same


@pytest.mark.parametrize(
    "other", [lambda x: x[:1], lambda x: x.astype("float32"), lambda x: x.sum()]
)
def test_a_users_operation_that_gives_another_kind_of_array_is_left_to_eager_code(other):
    changed = []

    @tnn.primitive(lambda g, y, x: g)
    def f(x):
        return other(x) if changed else x + 1

    p = program(lambda x: f(x) * 2, np.ones(3))
    changed.append(True)
    with pytest.raises(NotFinite, match=r"f returned shape .* when it was recorded"):
        p.run([np.ones(3)])


def test_checks_are_made_at_each_run():
    def positive(x):
        if (x <= 0).any():
            raise ValueError("not positive")

    w = leaf(2)

    def f(x):
        inspected(positive, x * 2)
        w.data = w.data + x

    p = program(f, np.ones(2))
    before = w.numpy().copy()
    for _ in range(2):
        p.run([np.ones(2)])
        before += 1
        with pytest.raises(ValueError, match="not positive"):
            p.run([-np.ones(2)])
        assert w.numpy().tolist() == before.tolist()


def test_what_a_leaf_is_given_is_its_own():
    w = leaf(2)

    def f(x):
        y = x + 1
        w.data = y
        return y * 2

    p = program(f, np.ones(2))
    p.run([np.ones(2)])
    first = w.numpy()
    p.run([np.zeros(2)])
    assert first.tolist() == [2, 2]
    assert w.numpy().tolist() == [1, 1]


def test_a_check_of_values_that_are_not_finite_is_left_to_eager_code():
    def refuse(x):
        if np.isnan(x).any():
            raise ValueError("nan")

    p = program(lambda x: inspected(refuse, ops.log(x)), np.ones(2))
    with pytest.raises(NotFinite, match="not finite"):
        p.run([-np.ones(2)])


# ---------------------------------------------------------------- memory, threads


def test_memory_is_used_again():
    def f(x):
        for _ in range(20):
            x = ops.tanh(x * 2 + 1) - x
        return x

    p = program(f, np.ones((50, 40)))
    outs = {args[-1].__array_interface__["data"][0] for _, args in p.calls[:-1]}
    assert len(outs) <= 3
    x = RNG(0).normal(size=(50, 40))
    close(p.run([x]), f(x))


def test_what_has_views_is_not_overwritten():
    def f(x):
        a = x * 2
        b = a[::-1]
        return (a + 1) * 3 + b, b * 5

    p = program(f, np.arange(3.0))
    for a, b in zip(p.run([np.arange(3.0)]), f(np.arange(3.0)), strict=True):
        close(a, b)


def test_nothing_is_overwritten_that_is_read_later():
    def f(x):
        a = x * 2
        b = a[::-1]  # a view of a
        c = a + 1
        d = ops.exp(c) * c  # c twice
        e = a.reshape(2, 3).T
        return d + b, c * e.reshape(6), a * a

    p = program(f, np.ones(6))
    for seed in range(3):
        x = RNG(seed).normal(size=6)
        for a, b in zip(p.run([x]), f(x), strict=True):
            close(a, b)


@pytest.mark.parametrize(("size", "light"), [(8, False), (300, True), (3000, False)])
def test_blas_is_kept_from_threads_that_it_would_take_and_that_do_not_pay(size, light):
    w = leaf(size, 1500)
    assert program(lambda x: (x @ w).detach(), np.ones((2, size))).light is light


def test_several_programs_of_one_recording_run_at_the_same_time():
    w = leaf(64, 64)

    def f(x):
        return ops.tanh(x @ w).sum(axis=1).detach()

    recording = recorded(f, np.ones((32, 64)))
    found = {}

    def work(worker):
        p = Program(recording)
        found[worker] = [p.run([np.full((32, 64), worker + i)]).numpy() for i in range(20)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker, results in found.items():
        for i, result in enumerate(results):
            close(result, f(np.full((32, 64), worker + i)).numpy())


def test_the_gradient_is_checked_at_one_go():
    w, v = leaf(3, 4), leaf(4)

    def f(x):
        w.grad = v.grad = None
        (x @ w + v).sum().backward()

    assert names(program(f, np.ones((2, 3)))).count("check_finite") == 1
