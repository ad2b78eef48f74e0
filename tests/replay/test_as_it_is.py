"""A compiled function does what the function does, or says that it cannot: Python's own effects."""

import copy
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import tinynn as tnn

A = np.random.default_rng(0).normal(size=(4, 3))


def parameter(seed=0):
    return tnn.Tensor(np.random.default_rng(seed).normal(size=3), requires_grad=True)


def scaled_gradients_in_a_list(w, x):
    gradients = tnn.grad(((x * w) ** 2).mean(), [w])
    for g in gradients:
        g *= 0.5
    w.data = w.data - 0.1 * gradients[0]


def scaled_gradient_under_another_name(w, x):
    w.grad = None
    ((x * w) ** 2).mean().backward()
    g = w.grad
    g *= 0.5
    w.data = w.data - 0.1 * w.grad


def data_under_another_name(w, x):
    (g,) = tnn.grad(((x * w) ** 2).mean(), [w])
    data = w.data
    data -= 0.1 * g


def data_and_gradient_by_their_names(w, x):
    w.grad = None
    ((x * w) ** 2).mean().backward()
    w.grad *= 0.5
    w.data -= 0.1 * w.grad


@pytest.mark.parametrize(
    "step",
    [
        scaled_gradients_in_a_list,
        scaled_gradient_under_another_name,
        data_under_another_name,
        data_and_gradient_by_their_names,
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_what_is_changed_in_place_is_changed(step, verify):
    eager, replayed = parameter(), parameter()
    compiled = tnn.compile(lambda x: step(replayed, x), verify=verify)
    for _ in range(5):
        step(eager, A)
        compiled(A)
        np.testing.assert_allclose(replayed.data, eager.data)
        if eager.grad is not None:
            np.testing.assert_allclose(replayed.grad, eager.grad)


def change_in_place(x):
    x += 1
    return tnn.exp(x)


def change_all_names_of_a_value(x):
    first = tnn.exp(x)
    second = first
    first += 1
    return second


def change_what_a_view_sees(x):
    y = (tnn.Tensor(x) * 2).numpy()
    part = y[:2]
    part += 1
    return y


def ask_for_an_attribute(x):
    return tnn.exp(x) * (2 if hasattr(x, "nbytes") else 3)


@pytest.mark.parametrize(
    "f",
    [change_in_place, change_all_names_of_a_value, change_what_a_view_sees, ask_for_an_attribute],
)
@pytest.mark.parametrize("verify", [True, False])
def test_arrays_behave_as_arrays(f, verify):
    compiled = tnn.compile(f, verify=verify)
    for _ in range(4):
        mine, theirs = A.copy(), A.copy()
        np.testing.assert_allclose(compiled(mine), f(theirs))
        np.testing.assert_array_equal(mine, theirs)


def sets_a_schedule():
    layer = tnn.Dense(3, 1, rng=0)
    sgd = tnn.SGD(layer.parameters(), 0.1)

    def step(x):
        sgd.learning_rate *= 0.9
        sgd.zero_grad()
        (layer(x) ** 2).mean().backward()
        sgd.step()

    return step


def keeps_an_array():
    mean = np.zeros(3)

    def f(x):
        mean[:] = 0.9 * mean + 0.1
        return x * mean

    return f


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: x * (2 if isinstance(x, np.ndarray) else 3), A),
        (lambda x: x * (2 if isinstance(x, tnn.Tensor) else 3), A),
        (lambda x: x * (2 if type(x) is np.ndarray else 3), A),
        (keeps_an_array(), A),
    ],
)
def test_what_differs_for_tensors_is_noticed_at_the_first_call(f, x):
    with pytest.raises(tnn.ReplayMismatch, match="did something else than one on Tensors"):
        tnn.compile(f)(x)


def numbers(x):
    for i in range(3):
        yield tnn.exp(x) * i


def in_a_thread(x):
    found = []
    thread = threading.Thread(target=lambda: found.append(tnn.exp(x)))
    thread.start()
    thread.join()
    return found[0] * 2


def an_own_error_handler(x):
    try:
        return x * float(x.sum())
    except Exception:
        return x


def freezes(x):
    w = FROZEN
    w.requires_grad = not w.requires_grad
    return x * 2


def makes_an_optimizer(x):
    w = tnn.Tensor(np.ones(3), requires_grad=True)
    ((x * w) ** 2).mean().backward()
    tnn.Adam([w]).step()
    return w.data


FROZEN = parameter()


def test_a_number_is_a_float_and_lists_stay_as_they_are():
    compiled = tnn.compile(lambda x: isinstance(tnn.Tensor(x).sum().item(), float))
    assert [compiled(A), compiled(A)] == [True, True]
    given = [A, A + 1]
    with pytest.raises(tnn.NotReplayable, match="changes a list or dict that is an argument"):
        tnn.compile(lambda x: x.pop() * 2)(given)
    assert len(given) == 2


def test_methods_are_bound_and_copies_are_the_function_itself():
    class Owner:
        factor = 2.0

        @tnn.compile
        def scaled(self, x):
            return x * self.factor

    for _ in range(3):
        np.testing.assert_array_equal(Owner().scaled(A), A * 2)
    assert copy.deepcopy(Owner.scaled) is Owner.scaled


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("f", "message"),
    [
        (numbers, "returns a generator"),
        (lambda x: map(tnn.exp, [x]), "returns a map"),
        (lambda x: SimpleNamespace(y=tnn.exp(x)), "returns a SimpleNamespace"),
        (lambda x: (lambda y: lambda: y)(tnn.exp(x)), "returns a function"),
        (in_a_thread, "in another thread"),
        (an_own_error_handler, r"by float\(\)"),
        (freezes, "changes the requires_grad"),
        (sets_a_schedule(), "it sets SGD.learning_rate"),
        (makes_an_optimizer, "makes an optimizer"),
        (lambda x: x * copy.copy(FROZEN), "by a copy"),
    ],
)
def test_what_a_replay_cannot_do_is_refused(f, message, verify):
    with pytest.raises(tnn.NotReplayable, match=message):
        tnn.compile(f, verify=verify)(A)
    assert FROZEN.requires_grad


@pytest.mark.parametrize("name", ["data", "grad"])
def test_an_argument_is_not_assigned_to(name):
    given = tnn.Tensor(A)
    with pytest.raises(tnn.NotReplayable, match="changes a Tensor that is an argument"):
        tnn.compile(lambda t: setattr(t, name, t * 2))(given)
    with pytest.raises(tnn.NotReplayable, match="changes a Tensor that is an argument"):
        tnn.compile(lambda t: setattr(given, name, t * 2))(given)
    np.testing.assert_array_equal(given.data, A)


def test_zero_and_minus_zero_are_two_plain_values():
    compiled = tnn.compile(lambda x, k: x * k)
    for k in (0.0, -0.0, 0.0, -0.0):
        np.testing.assert_array_equal(np.signbit(compiled(np.ones(2), k)), np.signbit([k, k]))


def test_a_tensor_from_outside_makes_a_tensor_of_an_array():
    outside = (parameter() * 2).detach()
    compiled = tnn.compile(lambda x: tnn.exp(x) * outside)
    for _ in range(3):
        assert isinstance(compiled(A), tnn.Tensor)


def test_an_array_from_outside_is_returned_as_it_is_now():
    outside = np.zeros(3)
    compiled = tnn.compile(lambda x: (tnn.exp(x), outside))
    for i in range(4):
        outside[:] = i
        assert compiled(A)[1].tolist() == [i] * 3


def test_a_call_that_is_run_again_uses_the_numbers_that_were_drawn():
    rngs = [np.random.default_rng(0) for _ in range(2)]
    sizes = iter([3, 3, 3, 1, 3])

    def noisy(x, rng, size):
        return x + tnn.fresh(lambda: rng.normal(size=size()))

    compiled = tnn.compile(lambda x: noisy(x, rngs[0], lambda: next(sizes)), verify=False)
    for size in (3, 3, 3, 1, 3):
        np.testing.assert_allclose(compiled(A), noisy(A, rngs[1], lambda n=size: n))


def test_sums_of_plain_arrays_are_numbers_of_numpy():
    compiled = tnn.compile(lambda x: {"sums": [x.sum(), np.mean(x)], 1: np.sum(x, axis=0)})
    for x in (A, np.arange(6).reshape(2, 3), A):
        for _ in range(3):
            found = compiled(x)
            assert type(found["sums"][0]) is type(x.sum())
            np.testing.assert_allclose(found["sums"], [x.sum(), x.mean()])
            np.testing.assert_allclose(found[1], x.sum(axis=0))
