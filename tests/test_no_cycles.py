"""Whatever a public call makes dies with its last reference: nothing is left for the collector."""

import copy
import gc
import io
import pickle

import numpy as np
import pytest

import tinynn as tnn

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 12, 1)), RNG.normal(size=(8, 12, 1))


def model():
    return tnn.Sequential(
        tnn.Conv1d(1, 4, 3, padding="same", activation="relu", rng=0), tnn.Dense(4, 1, rng=1)
    )


def loss(x):
    return (tnn.tanh(x) * x).sum()


def train(**settings):
    net = model()
    how = {"loss": "mean_squared_error", "epochs": 2, "batch_size": 4, "progress": False, "rng": 0}
    optimizer = tnn.Adam(net.parameters(), 0.01)
    return tnn.fit(net, X, Y, optimizer=optimizer, **{**how, **settings})


def by_hand():
    net = model()
    optimizer = tnn.SGD(net.parameters(), 0.1, momentum=0.9)
    for x, y in tnn.batches(X, Y, 4, rng=0):
        optimizer.zero_grad()
        tnn.losses.mean_squared_error(net(x), y).backward()
        tnn.clip_grad_norm(net.parameters(), 1.0)
        optimizer.step()


def of_second_order():
    x = tnn.Tensor(X[0], requires_grad=True)
    [g] = tnn.grad(loss(x), x, create_graph=True)
    (g * g).sum().backward()


def from_a_file():
    file = io.BytesIO()
    tnn.save(file, model())
    file.seek(0)
    tnn.load(file, model())


def streamed():
    stream = tnn.stream(model())
    stream.push(X[0])
    stream.finish()


CALLS = {
    "operations": lambda: repr(tnn.softmax(tnn.Tensor(X) @ np.ones((1, 3))).std(axis=1)),
    "NumPy's": lambda: np.stack([np.exp(tnn.Tensor(X)), np.ones_like(tnn.Tensor(X))]),
    "backward": lambda: loss(tnn.Tensor(X, requires_grad=True)).backward(),
    "second order": of_second_order,
    "value_and_grad": lambda: tnn.value_and_grad(loss)(X),
    "vjp": lambda: tnn.vjp(tnn.tanh, X)[1](X),
    "jvp": lambda: tnn.jvp(tnn.tanh, [X], [X]),
    "jacobian": lambda: tnn.jacobian(tnn.tanh)(X[0]),
    "hessian": lambda: tnn.hessian(loss)(X[0]),
    "nested": lambda: tnn.jacobian(tnn.jacobian(tnn.tanh))(X[0, :3]),
    "check_grads": lambda: tnn.testing.check_grads(loss, X[0], order=2),
    "a failed check_grads": lambda: tnn.testing.check_grads(
        lambda x: loss(x) + (x * x.numpy()).sum(), X[0], raise_on_fail=False
    ),
    "check_primitive": lambda: tnn.testing.check_primitive(tnn.exp, [X[0]], rng=0),
    "a model": lambda: model()(X),
    "summary": lambda: str(model().summary((12, 1))),
    "copies": lambda: pickle.loads(pickle.dumps(copy.deepcopy(model()).state_dict())),
    "by hand": by_hand,
    "fit, eager": lambda: train(compile=False),
    "fit": train,
    "fit with validation": lambda: train(validation_data=(X, Y), loss=lambda p, t: (p - t).sum()),
    "fit with a bar": lambda: train(progress=True),
    "predict": lambda: tnn.predict(model(), X),
    "stream": streamed,
    "save and load": from_a_file,
    "compile": lambda: [tnn.compile(loss)(X) for _ in range(3)],
}
ERRORS = {
    "shapes": lambda: tnn.Tensor(X) + np.ones((5, 1)),
    "released": lambda: [y := loss(tnn.Tensor(X, requires_grad=True)), y.backward(), y.backward()],
    "transform": lambda: tnn.value_and_grad(lambda x: x * 2)(X),
    "no counterpart": lambda: np.fft.fft(tnn.Tensor(X)),
    "a layer": lambda: model()(X[..., [0, 0]]),
    "fit": lambda: train(loss="no such loss"),
}


def garbage(call):
    """Return what only the collector finds after a call, the second of its kind."""
    for _ in range(2):  # the first fills caches
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        call()
        gc.collect()
        found = [type(o).__name__ for o in gc.garbage]
        gc.set_debug(0)
        gc.garbage.clear()
    return found


@pytest.fixture(autouse=True)
def _no_collector():
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize("name", CALLS)
def test_no_cycle_is_left_by_a_call(name):
    found = garbage(CALLS[name])
    if name == "save and load":  # NumPy reads a file's header by ast.literal_eval, which makes one
        found = [kind for kind in found if kind not in ("cell", "function", "tuple")]
    assert found == []


@pytest.mark.parametrize("name", ERRORS)
def test_no_cycle_is_left_by_an_error(name):
    def call():
        with pytest.raises((ValueError, TypeError, RuntimeError), match=r": |no counterpart"):
            ERRORS[name]()

    assert garbage(call) == []


def test_a_cycle_is_found():
    def call():
        x = tnn.Tensor([1.0], requires_grad=True)
        x.grad = x.data
        cycle = [x]
        cycle.append(cycle)

    assert "Tensor" in garbage(call)
