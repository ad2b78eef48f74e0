"""Large graphs, and their end: depth, fan-in, and memory with the garbage collector off."""

import gc
import sys
import weakref

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff import graph

DEPTH = 100_000


def leaf(data, dtype=float):
    return tnn.Tensor(data, dtype=dtype, requires_grad=True)


@pytest.fixture
def no_collector():
    """Reference counting alone; yields a function that counts the nodes alive."""
    gc.collect()
    gc.disable()

    def alive():
        return sum(issubclass(type(o), graph.Node) for o in gc.get_objects())

    yield alive
    gc.enable()


# ---------------------------------------------------------------- depth


def chain(x, depth=DEPTH):
    for _ in range(depth // 2):
        x = x * 1.00001 - 0.5e-5
    return x


def test_a_hundred_thousand_operations_forward_backward_twice_and_gone(no_collector):
    x = leaf(1.0)
    before = no_collector()
    y = chain(x)
    assert no_collector() == before + DEPTH
    [first] = tnn.grad(y * y, x, create_graph=True)
    slope = 1.00001 ** (DEPTH // 2)
    assert first.item() == pytest.approx(2 * y.item() * slope, rel=1e-9)
    assert tnn.grad(first, x)[0] == pytest.approx(2 * slope**2, rel=1e-9)
    assert no_collector() >= before + DEPTH + DEPTH // 2
    del first  # a recursive release would overflow the stack here
    assert no_collector() == before + DEPTH
    y.backward()
    assert x.grad == pytest.approx(slope, rel=1e-9)
    assert no_collector() == before + 1
    y = chain(x)
    del y
    assert no_collector() == before


def test_depth_does_not_depend_on_the_recursion_limit():
    x = leaf(1.0)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        y = chain(x, 1000)
        [first] = tnn.grad(y * y, x, create_graph=True)
        first.backward()
        del y, first
    finally:
        sys.setrecursionlimit(limit)
    assert x.grad == pytest.approx(2 * 1.00001**1000, rel=1e-9)


# ---------------------------------------------------------------- memory


def model(x, k, b):
    y = tnn.relu(tnn.conv1d(x, k, b, padding="same", strides=2, groups=2))
    y = tnn.concatenate([y, tnn.max_pool1d(y, 2, strides=1, padding="same")], axis=-1)
    y = tnn.stack([y[:, ::2], y[:, 1::2]]).max(axis=0)
    y = tnn.softmax(y) * tnn.logsumexp(y, axis=-1, keepdims=True) + y.std() + y.prod(axis=0)[0]
    return tnn.einsum("blc,bmc->", y, y) + tnn.where(y > 0, tnn.sqrt(y), y).mean()


def arguments():
    rng = np.random.default_rng(0)
    return [leaf(rng.normal(size=s)) for s in ((2, 8, 4), (3, 2, 4), (4,))]


@pytest.mark.parametrize("how", ["forward", "grad", "create_graph", "third", "backward", "no_grad"])
def test_graphs_die_by_reference_counting_alone(how, no_collector):
    xs = arguments()
    before = no_collector()
    for _ in range(3):
        y = model(*xs)
        gone = [weakref.ref(part) for part in (y, y._data, y._trace[2][0])]
        if how == "grad":
            tnn.grad(y, xs)
        elif how == "backward":
            y.backward()
        elif how == "no_grad":
            with tnn.no_grad():
                y = model(*xs)
        elif how in ("create_graph", "third"):
            grads = tnn.grad(y, xs, create_graph=True)
            if how == "third":
                grads = tnn.grad(sum((g * g).sum() for g in grads), xs, create_graph=True)
            sum((g * g).sum() for g in grads).backward()
            del grads
        del y
        assert [ref() for ref in gone] == [None, None, None]
        assert no_collector() == before
    assert gc.collect() == 0 or gc.garbage == []


def test_backward_frees_the_saved_arrays_while_the_result_lives(no_collector):
    xs = arguments()
    before = no_collector()
    y = model(*xs)
    y.backward()
    assert no_collector() == before + 1
    assert np.isfinite(y.item())


def test_functions_of_functions_leave_nothing_behind(no_collector):
    a = np.linspace(0.5, 1, 3)
    before = no_collector()

    def f(x):
        return (x * tnn.sin(x)).sum() * x

    def energy(x):
        return f(x).sum()

    tnn.value_and_grad(energy)(a)
    tnn.jvp(f, [a], [a])
    tnn.jacobian(f)(a)
    tnn.hessian(energy)(a)
    y, pull = tnn.vjp(f, a)
    pull(a)
    del y, pull
    assert no_collector() == before


@pytest.mark.parametrize("create_graph", [False, True])
def test_nothing_is_left_after_an_exception_in_a_vjp(create_graph, no_collector):
    def broken(g, y, x):
        raise ZeroDivisionError("broken vjp")

    @tnn.primitive(broken)
    def unlucky(x):
        return 2 * x

    x = leaf([1.0, 2.0])
    before = no_collector()
    y = unlucky(tnn.exp(x * x)).sum()
    with pytest.raises(ZeroDivisionError, match="broken vjp") as caught:
        tnn.grad(y, x, create_graph=create_graph)
    del caught, y
    assert no_collector() == before
    assert (2 * x).requires_grad


def test_no_cycle_is_made_at_all():
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            xs = arguments()
            y = model(*xs)
            sum((g * g).sum() for g in tnn.grad(y, xs, create_graph=True)).backward()
            repr(y), y.detach(), list(xs[0]), np.sum(y), xs[0].T @ np.ones((2, 1))
            del xs, y
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_records_are_kept_only_where_a_gradient_can_flow(no_collector):
    constant, x = tnn.Tensor(np.ones(3)), leaf(np.ones(3))
    before = no_collector()
    y = constant
    for _ in range(10):
        y = y * 2 + 1
    assert no_collector() == before + 1
    with tnn.no_grad():
        z = x
        for _ in range(10):
            z = z * 2 + 1
    assert no_collector() == before + 2
    assert z.requires_grad is y.requires_grad is False


# ---------------------------------------------------------------- work


def calls(f):
    """Count the Python and C calls that ``f`` makes: a clock that is never late."""
    count = 0

    def tick(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tick)
    try:
        f()
    finally:
        sys.setprofile(None)
    return count


FAN_INS = {
    "sum of leaves": lambda xs: sum(xs),
    "stack": lambda xs: tnn.stack(xs).sum(axis=0),
    "concatenate": lambda xs: tnn.concatenate(xs),
    "one leaf, many uses": lambda xs: sum(xs[0] * i for i, _ in enumerate(xs)),
    "parts": lambda xs: sum(tnn.split(tnn.concatenate(xs), len(xs))),
}


@pytest.mark.parametrize("name", FAN_INS)
def test_fan_in_costs_in_proportion(name):
    def work(n):
        xs = [leaf([1.0, 2.0]) for _ in range(n)]
        counted = calls(lambda: FAN_INS[name](xs).sum().backward())
        np.testing.assert_array_equal(xs[0].grad, [n * (n - 1) / 2] * 2 if "uses" in name else 1)
        return counted

    assert work(4000) < 4.2 * work(1000)


def test_gradients_nobody_asked_for_are_not_computed():
    asked = []

    @tnn.primitive(
        lambda g, y, a, b: asked.append("a") or g * b, lambda g, y, a, b: asked.append("b") or g * a
    )
    def product(a, b):
        return a * b

    data, w, unused = tnn.Tensor([1.0, 2.0]), leaf([3.0, 4.0]), leaf([1.0, 1.0])
    product(data, w).sum().backward()
    assert asked == ["b"]
    asked.clear()
    y = product(unused, product(data, w))
    np.testing.assert_array_equal(tnn.grad(y.sum(), [w])[0], [1, 2])
    assert asked == ["b", "b"]
    asked.clear()
    deep = product(product(unused, unused), w)  # nothing below w leads to w
    tnn.grad(deep.sum(), [w])
    assert asked == ["b"]


def test_each_node_is_visited_once():
    x, seen = leaf(1.0), []

    @tnn.primitive(lambda g, y, x: seen.append(1) or g)
    def same(x):
        return x + 0.0

    y = x
    for _ in range(30):  # 2^30 paths
        y = same(y)
        y = y + y
    assert tnn.grad(y, x)[0] == 2.0**30
    assert len(seen) == 30
