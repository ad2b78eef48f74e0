"""Groups of parameters with settings of their own, and states by parameter path."""

import copy
import io
import itertools
import math
import pickle
from functools import partial

import numpy as np
import pytest

import tinynn as tnn

S = tnn.schedules


def parameters(dtype="float64"):
    rng = np.random.default_rng(0)
    shapes = (2, 3), (3,), (), (4, 1), (2,)
    return [tnn.Tensor(rng.normal(size=s), dtype=dtype, requires_grad=True) for s in shapes]


def run(optimizer, tensors, steps=5, first=0, without=()):
    """Take steps with gradients that depend on the values, and return the last values."""
    for step in range(first, first + steps):
        for i, p in enumerate(tensors):
            p.grad = None if i in without else p.data * (i + 1) + step
        optimizer.step()
    return [p.data.copy() for p in tensors]


# ---------------------------------------------------------------- against loops, written out

DEFAULTS = {
    tnn.SGD: {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    tnn.Adam: {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.0},
    tnn.AdamW: {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.004},
    tnn.RMSprop: {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "weight_decay": 0.0},
}


def moved(kind, w, g, kept, t, learning_rate, weight_decay, **how):
    """One element's step, as the docs write it; ``kept``: a dict that goes on."""
    w -= learning_rate * weight_decay * w
    if kind is tnn.SGD:
        momentum = how["momentum"]
        v = kept["v"] = momentum * kept.get("v", 0.0) - learning_rate * g
        if not momentum:
            kept.clear()
        return w + momentum * v - learning_rate * g if how["nesterov"] else w + v
    if kind is tnn.RMSprop:
        s = kept["s"] = how["rho"] * kept.get("s", 0.0) + (1 - how["rho"]) * g * g
        step = learning_rate * g / math.sqrt(s + how["epsilon"])
        if not how["momentum"]:
            kept.pop("v", None)
            return w - step
        kept["v"] = how["momentum"] * kept.get("v", 0.0) + step
        return w - kept["v"]
    a, b = how["beta_1"], how["beta_2"]
    kept["m"] = a * kept.get("m", 0.0) + (1 - a) * g
    kept["v"] = b * kept.get("v", 0.0) + (1 - b) * g * g
    rate = learning_rate * math.sqrt(1 - b**t) / (1 - a**t)
    return w - rate * kept["m"] / (math.sqrt(kept["v"]) + how["epsilon"])


def expected(kind, tensors, groups, general, steps, clip_value, clip_norm, missing):
    """The values after steps, element by element, in Python's numbers."""
    ws = [p.data.ravel().tolist() for p in tensors]
    kept = [[{} for _ in w] for w in ws]
    places = {id(p): i for i, p in enumerate(tensors)}
    for step in range(steps):
        gs = [[x * (i + 1) + step for x in w] for i, w in enumerate(ws)]
        used = [i for i in range(len(ws)) if (step, i) not in missing]
        if clip_value:
            gs = [[max(-clip_value, min(clip_value, g)) for g in row] for row in gs]
        if clip_norm:
            norm = math.sqrt(math.fsum(g * g for i in used for g in gs[i]))
            gs = [[g * min(1.0, clip_norm / norm) for g in row] for row in gs]
        for group in groups:
            how = {**DEFAULTS[kind], **general, **group}
            del how["parameters"]
            how = {k: v(step) if callable(v) else v for k, v in how.items()}
            for i in (places[id(p)] for p in group["parameters"]):
                for j in range(len(ws[i])) if i in used else ():
                    ws[i][j] = moved(kind, ws[i][j], gs[i][j], kept[i][j], step + 1, **how)
    return ws


def drawn(rng, kind):
    """Settings at random, numbers and schedules."""
    rates = [0.05, S.cosine_decay(0.1, 9), lambda t: 0.1 / (1 + t), S.warmup(3, S.constant(0.07))]
    momenta = [0.0, 0.9, S.piecewise({0: 0.5, 4: 0.0, 6: 0.8}), lambda t: 0.9 if t % 3 else 0.0]
    how = {"learning_rate": rates[rng.integers(4)]}
    if "momentum" in DEFAULTS[kind] and rng.random() < 0.7:
        how["momentum"] = momenta[rng.integers(4)]
    if kind is tnn.SGD and how.get("momentum") == 0.9:
        how["nesterov"] = bool(rng.integers(2))
    if rng.random() < 0.5:
        how["weight_decay"] = 0.1
    if kind is tnn.RMSprop and rng.random() < 0.5:
        how["rho"] = 0.8
    if "beta_1" in DEFAULTS[kind] and rng.random() < 0.5:
        how["beta_1"] = 0.7
    return how


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", DEFAULTS)
@pytest.mark.parametrize("seed", range(12))
def test_groups_schedules_and_clipping_are_loops_over_elements(kind, seed, compiled):
    if compiled:
        pytest.importorskip("tinynn.replay")
    rng = np.random.default_rng(seed)
    tensors = parameters()
    general = drawn(rng, kind)
    order = [tensors[i] for i in rng.permutation(5)]
    cuts = sorted(rng.choice(range(1, 5), size=rng.integers(0, 4), replace=False).tolist())
    groups = [
        {"parameters": order[a:b], **(drawn(rng, kind) if rng.random() < 0.6 else {})}
        for a, b in itertools.pairwise([0, *cuts, 5])
    ]
    for group in groups:
        if group.get("nesterov") is None and general.get("nesterov") and "momentum" in group:
            group["nesterov"] = False
    limits = {"clip_value": rng.choice([None, 2.0]), "clip_norm": rng.choice([None, 3.0])}
    missing = set() if compiled else {(int(s), 1) for s in rng.integers(0, 9, 2)}
    wanted = expected(kind, tensors, groups, general, 9, *limits.values(), missing)
    optimizer = kind(groups, **general, **limits)
    if seed % 3 == 2:  # rules that see each parameter by itself
        optimizer.updated = partial(kind.updated, optimizer)

    def step(offset):
        for i, p in enumerate(tensors):
            p.grad = p.data * (i + 1) + offset
        optimizer.step()

    act = tnn.compile(step) if compiled else step
    for n in range(9):
        if compiled:
            act(np.float64(n) * np.ones(()))
        else:
            run(optimizer, tensors, 1, n, [i for s, i in missing if s == n])
        if n == 4 and not compiled:
            optimizer = copy.deepcopy(optimizer)
            tensors = [optimizer.parameters[[id(q) for q in order].index(id(p))] for p in tensors]
            optimizer.load_state_dict(optimizer.state_dict())
            if seed % 3 == 2:
                optimizer.updated = partial(kind.updated, optimizer)
    for p, w in zip(tensors, wanted, strict=True):
        np.testing.assert_allclose(p.data.ravel(), w, rtol=1e-10)


# ---------------------------------------------------------------- what groups are


def test_settings_of_groups_are_read_and_set():
    a, b, *_ = parameters()
    sgd = tnn.SGD([{"parameters": [a], "learning_rate": 0.5}, {"parameters": iter([b])}], 0.1)
    first, second = sgd.groups
    assert (first.learning_rate, second.learning_rate, first.momentum) == (0.5, 0.1, 0.0)
    assert [p is q for p, q in zip(first.parameters + second.parameters, (a, b), strict=True)]
    sgd.learning_rate = 0.2
    assert (first.learning_rate, second.learning_rate) == (0.5, 0.2)
    second.learning_rate = S.constant(0.3)
    first.momentum = 0.9
    assert [g.own for g in sgd.groups] == [
        {"learning_rate": 0.5, "momentum": 0.9},
        {"learning_rate": S.constant(0.3)},
    ]
    assert (second.learning_rate, sgd.learning_rate) == (0.3, 0.2)
    assert sgd.schedules == {"groups.1.learning_rate": S.constant(0.3)}
    with pytest.raises(ValueError, match=r"SGD: momentum must be a finite number .*, got 1.5"):
        first.momentum = 1.5
    with pytest.raises(AttributeError, match=r"SGD: a group has no setting 'lr'. It is 'learning_"):
        first.lr = 1
    assert not hasattr(first, "beta_1")
    assert repr(first) == "Group(1 parameters, learning_rate=0.5, momentum=0.9)"


def test_without_groups_there_is_one_of_all():
    tensors = parameters()
    sgd = tnn.SGD(tensors, 0.5)
    (group,) = sgd.groups
    assert len(group.parameters) == 5
    assert group.own == {}
    assert not [key for key in sgd.state_dict() if key.startswith("groups")]


def test_a_rule_of_ones_own_has_groups_for_its_arguments():
    class Signum(tnn.Optimizer):
        elementwise = True

        def __init__(self, parameters, learning_rate=1e-3, momentum=0.9, other=0):
            super().__init__(parameters, learning_rate)
            self.momentum = momentum

        def updated(self, w, g, slots):
            mean = self.momentum * slots.get("mean", 0) + (1 - self.momentum) * g
            return w - self.learning_rate * np.sign(mean), {"mean": mean}

    a, b, *_ = parameters()
    before = [a.numpy(), b.numpy()]
    groups = [{"parameters": [a], "momentum": 0.5}, {"parameters": [b]}]
    signum = Signum(groups, 0.1)
    a.grad, b.grad = np.ones(a.shape), -np.ones(b.shape)
    signum.step()
    state = signum.state_dict()
    np.testing.assert_allclose(state["0.mean"], 0.5)
    np.testing.assert_allclose(state["1.mean"], -0.1)
    np.testing.assert_allclose(
        [a.data[0, 0], b.data[0]], [before[0][0, 0] - 0.1, before[1][0] + 0.1]
    )
    assert (signum.momentum, signum.groups[0].momentum) == (0.9, 0.5)
    with pytest.raises(TypeError, match="Signum: momentum must be a number or a flag, got"):
        Signum([{"parameters": [a], "momentum": S.constant(0.1)}])
    unheeded = Signum([{"parameters": [a], "other": 1}])
    with pytest.raises(AttributeError, match="Signum: a group has a other, Signum itself none"):
        unheeded.step()


@pytest.mark.parametrize("bad", ["an error", "an interrupt"])
def test_a_step_that_fails_in_the_last_group_changes_nothing(bad):
    tensors = parameters()
    kind = KeyboardInterrupt if bad == "an interrupt" else ZeroDivisionError

    class Odd(tnn.SGD):
        elementwise = True

        def updated(self, w, g, slots):
            if self.learning_rate == 0.25 and self.iterations:
                raise kind
            return super().updated(w, g, slots)

    groups = [{"parameters": tensors[:3]}, {"parameters": tensors[3:], "learning_rate": 0.25}]
    odd = Odd(groups, S.constant(0.5), momentum=0.5)
    run(odd, tensors, 1)
    before, state = [p.numpy() for p in tensors], odd.state_dict()
    with pytest.raises(kind, match=r"^$"):
        run(odd, tensors, 1)
    np.testing.assert_equal([p.data for p in tensors], before)
    np.testing.assert_equal(odd.state_dict(), state)
    assert odd.schedules == {"learning_rate": S.constant(0.5)}


def test_an_interrupt_while_values_are_taken_over_undoes_all_groups(monkeypatch):
    tensors = parameters()
    groups = [{"parameters": tensors[:2]}, {"parameters": tensors[2:], "learning_rate": 0.25}]
    adam = tnn.Adam(groups, 0.1)
    run(adam, tensors, 2)
    before, state = [p.numpy() for p in tensors], adam.state_dict()
    replace, calls = tnn.Tensor._replace, []

    def interrupted(tensor, array):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(tensor)
        replace(tensor, array)

    monkeypatch.setattr(tnn.Tensor, "_replace", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run(adam, tensors, 1)
    np.testing.assert_equal([p.data for p in tensors], before)
    np.testing.assert_equal(adam.state_dict(), state)


def test_unused_frozen_and_half_parameters_in_groups():
    a, b, c, d, e = parameters("float16")
    f = tnn.Tensor([1.0], requires_grad=True)
    adam = tnn.AdamW(
        [{"parameters": [a, b, c]}, {"parameters": [d, e, f], "weight_decay": 0.5}], 0.01
    )
    before = [p.numpy() for p in (a, b, c, d, e, f)]
    e.requires_grad = False
    (a.sum() + c.sum() * d.sum() + f.sum()).backward()
    adam.step()
    after = [p.data for p in (a, b, c, d, e, f)]
    assert [bool((x != y).any()) for x, y in zip(before, after, strict=True)] == [1, 0, 1, 1, 0, 1]
    assert [p.dtype for p in after] == ["float16"] * 5 + ["float64"]
    adam.zero_grad()
    assert [p.grad for p in adam.parameters] == [None] * 6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda a, b: {"parameters": [a]}, "SGD: a dict is one group; give a list of them"),
        (lambda a, b: [{"parameters": [a]}, b], r"SGD: parameters\[1\] must be a group, a dict"),
        (lambda a, b: [a, {"parameters": [b]}], r"SGD: parameters\[0\] must be a group, a dict"),
        (
            lambda a, b: [{"params": [a]}],
            "SGD: group 0 has no setting 'params'. It is 'parameters'",
        ),
        (
            lambda a, b: [{"parameters": [a], "lr": 1}],
            "group 0 has no setting 'lr'. It is 'learning_r",
        ),
        (
            lambda a, b: [{"parameters": [a], "momentun": 0}],
            "no setting 'momentun'. It is 'momentum'",
        ),
        (
            lambda a, b: [{"parameters": [a], "q": 0}],
            "no setting 'q'. There are learning_rate, mom",
        ),
        (lambda a, b: [{"parameters": [a], 3: 0}], "group 0 has no setting 3"),
        (lambda a, b: [{"learning_rate": 0.1}], "SGD: group 0 has no 'parameters'"),
        (lambda a, b: [{"parameters": []}], "SGD: the parameters of group 0 is empty"),
        (
            lambda a, b: [{"parameters": a}],
            "SGD: the parameters of group 0 must be a list of Tensors",
        ),
        (
            lambda a, b: [{"parameters": [a]}, {"parameters": {a}}],
            "of group 1 must be a list of Tens",
        ),
        (
            lambda a, b: [{"parameters": [a]}, {"parameters": [b, a]}],
            "a parameter is in two groups",
        ),
        (
            lambda a, b: [{"parameters": [a], "momentum": 1}],
            "SGD: momentum must be .* below 1, got 1",
        ),
        (
            lambda a, b: [{"parameters": [a], "nesterov": True}],
            "nesterov=True needs a momentum above",
        ),
        (lambda a, b: [("w", 3)], r"SGD: parameters\[0\] must be a Tensor, got 3"),
    ],
)
def test_refusals(given, message):
    a, b, *_ = parameters()
    with pytest.raises((TypeError, ValueError), match=message):
        tnn.SGD(given(a, b))


# ---------------------------------------------------------------- states by path


def network(rng=0):
    return tnn.Sequential(tnn.Dense(3, 4, "tanh", rng=rng), tnn.Dense(4, 1, rng=rng + 1))


def trained(model, optimizer, steps=3):
    x = np.random.default_rng(5).normal(size=(8, 3))
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()
    return model.state_dict()


def goes_on(model, optimizer, other, second):
    """Tell whether a second optimizer goes on as the first does."""
    second.load_state_dict(optimizer.state_dict())
    other.load_state_dict(model.state_dict())
    np.testing.assert_equal(trained(other, second), trained(model, optimizer))
    assert other.state_dict().keys() == model.state_dict().keys()


def test_a_state_goes_by_the_paths_of_the_parameters():
    model = network()
    sgd = tnn.SGD(model.parameters(), momentum=0.9)
    trained(model, sgd)
    paths = [key.removesuffix(".velocity") for key in sgd.state_dict() if "velocity" in key]
    assert paths == ["layers.0.kernel", "layers.0.bias", "layers.1.kernel", "layers.1.bias"]
    pairs = tnn.SGD(model.named_parameters(), momentum=0.9)
    pairs.load_state_dict(sgd.state_dict())
    assert pairs.state_dict().keys() == sgd.state_dict().keys()
    for plain in ([*model.parameters()], iter(model.parameters()), model.parameters()[:4]):
        assert "0.velocity" in pairs_state(tnn.SGD(plain, momentum=0.9), model)


def pairs_state(optimizer, model):
    trained(model, optimizer, 1)
    return optimizer.state_dict()


def test_the_same_parameters_in_another_order_go_on():
    a, b = network(), network(2)
    turned = b.parameters()
    turned.reverse()
    adam, other = tnn.Adam(a.parameters(), 0.1), tnn.Adam(turned, 0.1)
    trained(a, adam)
    goes_on(a, adam, b, other)
    orders = [[key for key in o.state_dict() if key.endswith(".m")] for o in (adam, other)]
    assert orders[0] == orders[1][::-1]


def test_a_state_by_place_is_taken_and_one_by_path_needs_paths():
    a, b = network(), network(2)
    by_place, by_path = tnn.Adam([*a.parameters()], 0.1), tnn.Adam(b.parameters(), 0.1)
    trained(a, by_place)
    goes_on(a, by_place, b, by_path)
    with pytest.raises(
        ValueError, match=r"unexpected entry 'layers.*If it is a path, .* model.parameters\(\)"
    ):
        by_place.load_state_dict(by_path.state_dict())
    state = by_path.state_dict()
    with pytest.raises(ValueError, match=r"m of layers.0.kernel is there twice"):
        by_path.load_state_dict(state | {"0.m": state["layers.0.kernel.m"]})
    del state["layers.0.kernel.m"]
    with pytest.raises(ValueError, match="each parameter needs all of m, v"):
        by_path.load_state_dict(state)


def test_parameters_that_were_changed_have_no_wrong_paths():
    model, extra = network(), tnn.Tensor([1.0], requires_grad=True)
    longer = model.parameters()
    longer.append(extra)
    assert tnn.SGD(longer)._paths is None
    exchanged = model.parameters()
    exchanged[0] = extra
    assert tnn.SGD(exchanged)._paths is None
    shorter = model.parameters()
    del shorter[0]
    assert tnn.SGD(shorter)._paths == ["layers.0.bias", "layers.1.kernel", "layers.1.bias"]
    parts = [{"parameters": layer.parameters()} for layer in model]
    assert tnn.SGD(parts)._paths is None  # there are two kernels
    assert tnn.SGD([("w", extra), ("w", longer[0])])._paths is None


def groups(model, **how):
    kernels = [(path, p) for path, p in model.named_parameters() if path.endswith("kernel")]
    biases = [(path, p) for path, p in model.named_parameters() if path.endswith("bias")]
    return [{"parameters": kernels, "weight_decay": 0.1}, {"parameters": biases, **how}]


def test_a_state_of_groups_goes_through_a_file():
    a, b = network(), network(2)
    first = tnn.SGD(groups(a, learning_rate=S.step_decay(0.1, 0.5, 2)), 0.05, momentum=0.9)
    trained(a, first)
    first.groups[0].momentum = 0.5
    state = first.state_dict()
    assert state["groups"].tolist() == [2, 2]
    assert (state["groups.0.weight_decay"], state["groups.0.momentum"]) == (0.1, 0.5)
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    second = tnn.SGD(groups(b, learning_rate=S.step_decay(0.1, 0.5, 2)), 0.3, momentum=0.9)
    second.load_state_dict(dict(np.load(file)))
    assert [g.own for g in second.groups] == [g.own for g in first.groups]
    goes_on(a, first, b, second)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: tnn.SGD(m.parameters()), r"it has groups of \[2, 2\] parameters, not \[4\]"),
        (lambda m: tnn.SGD([{"parameters": m.parameters()}]), r"not \[4\]"),
        (lambda m: tnn.SGD(groups(m, learning_rate=0.5)), "groups.1.learning_rate is step_decay"),
        (lambda m: tnn.SGD(groups(m)), "groups.1.learning_rate is step_decay.* there, None here"),
        (
            lambda m: tnn.SGD(
                groups(m, learning_rate=S.step_decay(1, 0.5, 2), momentum=S.constant(0.1))
            ),
            "groups.1.momentum missing",
        ),
    ],
)
def test_other_groups_are_refused_by_name(make, message):
    model = network()
    first = tnn.SGD(groups(model, learning_rate=S.step_decay(1, 0.5, 2)))
    second = make(model)
    before = second.state_dict()
    with pytest.raises(ValueError, match=message):
        second.load_state_dict(first.state_dict())
    np.testing.assert_equal(second.state_dict(), before)


def test_a_model_with_an_attribute_called_groups():
    class Model(tnn.Layer):
        def __init__(self):
            self.groups = [tnn.Tensor([1.0], requires_grad=True), tnn.Dense(1, 1, rng=0)]

    model = Model()
    sgd = tnn.SGD(model.parameters(), momentum=0.9)
    for p in model.parameters():
        p.grad = np.ones(p.shape)
    sgd.step()
    state = sgd.state_dict()
    assert {"groups.0.velocity", "groups.1.kernel.velocity"} <= state.keys()
    other = tnn.SGD(Model().parameters(), momentum=0.9)
    other.load_state_dict(state)
    np.testing.assert_equal(other.state_dict(), state)


def test_copies_write_to_their_own_parameters():
    model = network()
    adam = tnn.Adam(groups(model, beta_1=0.5), S.cosine_decay(0.1, 20))
    trained(model, adam)
    for copied in (copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))):
        other, second = copied((model, adam))
        for p in second.parameters:
            p.data[...] += 0.5  # in place, which no array of all may miss
        for p in adam.parameters:
            p.data[...] += 0.5
        state, weights = adam.state_dict(), model.state_dict()
        found = trained(other, second)
        np.testing.assert_equal(found, trained(model, adam))
        model.load_state_dict(weights)
        adam.load_state_dict(state)
        for p in adam.parameters:
            p.data[...] -= 0.5


# ---------------------------------------------------------------- replayed steps


def user_rate(step):
    return 0.2 / (1 + step)


@pytest.mark.parametrize("rate", [S.one_cycle(0.3, 12), user_rate], ids=["ours", "theirs"])
@pytest.mark.parametrize("make", DEFAULTS)
def test_fit_replays_schedules_and_groups_as_it_trains_eagerly(make, rate):
    x = np.random.default_rng(0).normal(size=(12, 3))
    found = []
    for compile in (False, "auto"):
        model = tnn.Sequential(
            tnn.Dense(3, 4, "tanh", dtype="float64", rng=0), tnn.Dense(4, 1, dtype="float64", rng=1)
        )
        optimizer = make(groups(model, learning_rate=rate), rate, clip_norm=0.5)
        history = tnn.fit(
            model, x, x[:, :1], loss="mse", optimizer=optimizer, epochs=4, batch_size=4, rng=0,
            progress=False, compile=compile,
        )  # fmt: skip
        found.append(model.state_dict())
    if history.eager is not None and "not installed" in history.eager:
        pytest.skip("there is no fast path")
    assert history.eager is None
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-9)


def test_a_schedule_that_changes_the_model_is_heeded_by_replayed_steps():
    x = np.random.default_rng(0).normal(size=(40, 3))
    found = []
    for compile in (False, "auto"):
        model = tnn.Sequential(
            tnn.Dense(3, 4, "linear", dtype="float64", rng=0),
            tnn.Dense(4, 1, dtype="float64", rng=1),
        )

        def rate(step, model=model):
            if step == 5:
                model[0].activation = tnn.tanh
            return 0.1

        tnn.fit(
            model, x, x[:, :1], loss="mse", optimizer=tnn.SGD(model.parameters(), rate), epochs=1,
            batch_size=4, shuffle=False, progress=False, compile=compile,
        )  # fmt: skip
        found.append(model.state_dict())
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-9)


def test_a_users_schedule_is_somebodys_code():
    step = pytest.importorskip("tinynn.replay.step")
    (w, *_) = parameters()

    @tnn.pure
    def marked(t):
        return 0.1

    known = S.constant(0.1), S.warmup(3, S.one_cycle(0.1, 9)), marked, S.warmup(3, marked)
    for rate, ours in [(f, True) for f in known] + [
        (user_rate, False),
        (S.warmup(2, user_rate), False),
    ]:
        assert step._is_ours(tnn.SGD([w], rate)) is ours
        assert step._is_ours(tnn.SGD([{"parameters": [w], "momentum": rate}])) is ours


def test_a_compiled_step_refuses_what_it_would_freeze():
    replay = pytest.importorskip("tinynn.replay")
    a, b, *_ = parameters()
    sgd = tnn.SGD([{"parameters": [a]}, {"parameters": [b]}], S.step_decay(1, 0.5, 1))

    def act(what):
        @tnn.compile
        def step(x):
            sgd.zero_grad()
            (a.sum() + b.sum() * x).backward()
            sgd.step()
            return what()

        return step(np.ones(()))

    for what, message in (
        (lambda: sgd.learning_rate, "it reads SGD.learning_rate, which a schedule changes"),
        (lambda: sgd.groups[0].learning_rate, "it reads SGD.learning_rate, which a schedule"),
        (lambda: setattr(sgd.groups[0], "momentum", 0.5), "it sets momentum of a group of SGD"),
        (lambda: setattr(sgd, "learning_rate", S.constant(0.5)), "it sets SGD.learning_rate"),
    ):
        with pytest.raises(replay.NotReplayable, match=message):
            act(what)
    assert sgd.iterations == 0


def test_a_users_schedule_is_asked_at_each_replayed_step():
    pytest.importorskip("tinynn.replay")
    w, rates = tnn.Tensor([0.0], requires_grad=True), {"now": 1.0}
    sgd = tnn.SGD([w], lambda step: rates["now"])

    @tnn.compile
    def step(x):
        w.grad = x
        sgd.step()

    for now in (1.0, 0.5, 0.25, 0.125):
        rates["now"] = now
        step(np.ones(1))
    assert w.item() == -1.875
