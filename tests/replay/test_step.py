"""fit()'s ways to compute a step give the same numbers: eager, replayed, chunked, threaded."""

import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import tinynn as tnn
from tinynn.replay import step as steps
from tinynn.replay.forward import Forward
from tinynn.replay.program import Program
from tinynn.replay.tracing import Tracer
from tinynn.training import threads


def detector(dtype="float64", width=4):
    rng = np.random.default_rng(0)
    return tnn.Sequential(
        tnn.Conv1d(1, width, 5, padding="same", activation="relu", dtype=dtype, rng=rng),
        tnn.Conv1d(width, 1, 4, padding="same", dtype=dtype, rng=rng),
    )


def problem(n=23, length=30, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, length, 1))
    return x, (rng.random((n, length, 1)) < 0.2).astype(float)


crossentropy = partial(tnn.losses.binary_crossentropy, from_logits=True)


def trained(model=None, loss=crossentropy, batch_size=8, epochs=3, **how):
    model = model or detector()
    optimizer = tnn.SGD(model.parameters(), 0.1, momentum=0.9)
    history = tnn.fit(
        model, *problem(), loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size,
        rng=0, progress=False, **how,
    )  # fmt: skip
    gradients = [p.grad for p in model.parameters()]
    return model.state_dict(), gradients, history


def assert_equal(a, b, rtol=1e-11):
    for path, value in a[0].items():
        np.testing.assert_allclose(b[0][path], value, rtol=rtol, atol=1e-13)
    for g, h in zip(a[1], b[1], strict=True):
        np.testing.assert_allclose(h, g, rtol=rtol, atol=1e-13)
    np.testing.assert_allclose(b[2].history["loss"], a[2].history["loss"], rtol=rtol)


WAYS = [
    {"chunk": None},
    {"chunk": 1},
    {"chunk": 3},
    {"chunk": 8},
    {"chunk": 1000},
    {"chunk": "auto"},
    {"chunk": 2, "threads": 2},
    {"chunk": 3, "threads": 3},
    {"chunk": 1, "threads": 1},
    {"threads": 2},
]


@pytest.mark.parametrize("how", WAYS, ids=str)
def test_all_ways_give_the_same_weights_gradients_and_losses(how):
    assert_equal(trained(compile=False), trained(**how))


@pytest.mark.parametrize("how", WAYS[:6], ids=str)
@pytest.mark.parametrize("kind", ["of a series", "of each step"])
def test_integer_classes_are_replayed_and_cut_too(kind, how):
    x, y = problem()
    classes = y[:, 0, 0].astype(int) if kind == "of a series" else y[:, :, 0].astype(int)

    def run(**how):
        first = tnn.Conv1d(1, 3, 5, padding="same", dtype="float64", rng=0)
        end = [tnn.Flatten(), tnn.Dense(90, 3, dtype="float64", rng=1)]
        model = tnn.Sequential(first, *(end if kind == "of a series" else []))
        optimizer = tnn.SGD(model.parameters(), 0.1)
        history = tnn.fit(
            model, x, classes, optimizer=optimizer, epochs=3, batch_size=8, rng=0, progress=False,
            loss=partial(tnn.losses.sparse_categorical_crossentropy, from_logits=True), **how,
        )  # fmt: skip
        return model.state_dict(), [p.grad for p in model.parameters()], history

    eager, replayed = run(compile=False), run(**how)
    assert replayed[2].eager is None
    assert_equal(eager, replayed)


@pytest.mark.parametrize("how", [{}, {"chunk": 2, "threads": 2}, {"chunk": 3}], ids=str)
def test_one_way_gives_the_same_bits_each_time(how):
    first, second = trained(**how), trained(**how)
    for path, value in first[0].items():
        np.testing.assert_array_equal(second[0][path], value)
    assert first[2].history == second[2].history


def test_replayed_is_the_default_and_the_history_says_when_it_is_not():
    assert trained()[2].eager is None
    assert trained(compile=False)[2].eager == "compile=False"


@tnn.pure
class Counted(tnn.Conv1d):
    calls = 0

    def forward(self, x):
        Counted.calls += 1
        return super().forward(x)


def test_a_marked_model_is_run_to_record_and_to_verify_only():
    Counted.calls = 0
    model = Counted(1, 1, 3, padding="same", dtype="float64", rng=0)
    history = trained(model, epochs=20)[2]
    assert history.eager is None
    # Recorded for batches of 8 and of 7, on Tensors and on arrays; epochs 2, 4, 8, 15, 16 verified.
    assert Counted.calls == 4 + 5


class Branching(tnn.Layer):
    """Does one thing or another, as its input says."""

    def __init__(self):
        self.conv = tnn.Conv1d(1, 1, 3, padding="same", dtype="float64", rng=0)

    def forward(self, x):
        y = self.conv(x)
        return y * 2 if float(y.sum()) > 0 else y


def test_what_is_not_known_to_be_pure_runs_eagerly_and_is_named():
    expected, found = trained(Branching(), compile=False), trained(Branching())
    assert_equal(expected, found, rtol=0)
    eager = found[2].eager
    assert eager.startswith("Branching.forward (test_step.py, line ")
    assert "@tnn.pure" in eager
    assert "compile=True" in eager


def test_a_model_that_cannot_be_replayed_is_trained_eagerly_though_asked():
    expected, found = trained(Branching(), compile=False), trained(Branching(), compile=True)
    assert "plain numbers by float() (test_step.py, line" in found[2].eager
    assert_equal(expected, found, rtol=0)


def own_loss(prediction, target):
    return ((prediction - target) ** 2).mean()


marked_loss = tnn.pure(lambda p, t: ((p - t) ** 2).mean())


@tnn.pure
class MarkedLoss:
    def __call__(self, prediction, target):
        return own_loss(prediction, target)


class Subclass(tnn.Conv1d):
    """Without a method of its own it is what its base is."""

    takes_series = True


class Anew(Counted):
    def forward(self, x):
        return super().forward(x) * 1


def conv(cls=tnn.Conv1d, **how):
    return cls(1, 1, 3, padding="same", dtype="float64", rng=0, **how)


KNOWN = [
    (lambda: conv(), "mse", True),
    (lambda: conv(), tnn.losses.huber, True),
    (lambda: conv(), partial(tnn.losses.huber, delta=0.5), True),
    (lambda: conv(), partial(partial(tnn.losses.huber), delta=0.5), True),
    (lambda: conv(), marked_loss, True),
    (lambda: conv(), MarkedLoss(), True),
    (lambda: conv(Subclass), "mse", True),
    (lambda: conv(Counted), "mse", True),
    (lambda: conv(activation=tnn.tanh), "mse", True),
    (lambda: conv(activation=partial(tnn.elu, alpha=0.5)), "mse", True),
    (lambda: conv(activation=np.tanh), "mse", True),
    (lambda: conv(), own_loss, "own_loss (test_step.py"),
    (lambda: conv(), partial(own_loss), "own_loss (test_step.py"),
    (lambda: conv(), lambda p, t: marked_loss(p, t), "<lambda> (test_step.py"),
    (lambda: conv(Anew), "mse", "Anew.forward (test_step.py"),
    (lambda: conv(activation=lambda x: x * 2), "mse", "Conv1d.activation: <lambda> (test_step"),
]


@pytest.mark.parametrize(("model", "loss", "known"), KNOWN)
def test_what_is_known_to_be_pure_is_replayed_and_nothing_else(model, loss, known):
    history = trained(model(), loss=loss)[2]
    if known is True:
        assert history.eager is None
    else:
        assert known in history.eager
    assert_equal(trained(model(), loss=loss, compile=False), trained(model(), loss=loss))


def test_a_wrapper_does_not_inherit_the_mark_of_what_it_wraps():
    from functools import wraps

    calls = []

    @wraps(marked_loss)
    def logged(p, t):
        calls.append(1)
        return marked_loss(p, t)

    assert "logged" in trained(loss=logged)[2].eager.replace("<lambda>", "logged")
    assert len(calls) == 9


def test_a_method_given_to_one_layer_makes_it_unknown():
    model = detector()
    model[0].forward = partial(tnn.Conv1d.forward, model[0])
    assert "Conv1d.forward" in trained(model)[2].eager


def test_arrays_that_a_loss_holds_are_read_at_each_step():
    def run(**how):
        weight = np.array([1.0])
        loss = partial(crossentropy, pos_weight=weight)
        model = detector()
        optimizer = tnn.SGD(model.parameters(), 0.1)
        history = tnn.fit(
            model, *problem(), loss=loss, optimizer=optimizer, epochs=4, batch_size=8, rng=0,
            progress=False, callbacks=[lambda epoch, logs: weight.__iadd__(3.0) is None], **how,
        )  # fmt: skip
        return model.state_dict(), [], history

    expected, found = run(compile=False), run()
    assert found[2].eager is None
    assert_equal(expected, found)


@pytest.mark.parametrize("what", ["keywords", "activation", "attribute", "forward", "list"])
def test_a_part_that_a_callback_changes_is_noticed(what):
    def run(**how):
        model = detector()
        model[0].activation = partial(tnn.elu, alpha=1.0)
        loss = partial(tnn.losses.huber, delta=1.0)
        optimizer = tnn.SGD(model.parameters(), 0.1)

        def callback(epoch, logs):
            if epoch == 1:
                if what == "keywords":
                    loss.keywords["delta"] = 0.01
                elif what == "activation":
                    model[0].activation.keywords["alpha"] = 3.0
                elif what == "attribute":
                    model[0].activation = tnn.tanh
                elif what == "forward":
                    model[0].forward = lambda x: tnn.Conv1d.forward(model[0], x) * 2
                else:
                    model.layers.insert(1, tnn.Activation("tanh"))

        history = tnn.fit(
            model, *problem(), loss=loss, optimizer=optimizer, epochs=4, batch_size=8, rng=0,
            progress=False, callbacks=[callback], **how,
        )  # fmt: skip
        return model.state_dict(), [], history

    expected, found = run(compile=False), run()
    assert_equal(expected, found)
    assert (found[2].eager is not None) == (what == "forward")


def test_a_marked_part_that_is_not_pure_is_noticed_at_the_next_epoch():
    scale = [1.0]
    loss = tnn.pure(lambda p, t: ((p - t) ** 2).mean() * scale[0])

    def callback(epoch, logs):
        scale[0] += 1

    model = detector()
    how = {"optimizer": tnn.SGD(model.parameters(), 0.1), "progress": False, "epochs": 4}
    with pytest.raises(tnn.ReplayMismatch, match=r"^fit: .*multiply was given other plain.*pure"):
        tnn.fit(model, *problem(), loss=loss, callbacks=[callback], **how)


# ---------------------------------------------------------------- chunks


CUT = [
    ("mse", True),
    (crossentropy, True),
    (partial(crossentropy, pos_weight=9.0), True),
    (partial(tnn.losses.huber, reduction="sum"), True),
    (partial(crossentropy, pos_weight=np.array([9.0])), False),
    (partial(tnn.losses.mean_squared_error, sample_weight=np.ones((8, 1, 1))), False),
    (marked_loss, False),
]


@pytest.mark.parametrize(("loss", "cut"), CUT)
def test_only_known_means_and_sums_over_samples_are_cut(loss, cut):
    x, y = problem(8)
    seen = []
    original = Program.execute

    def counted(self, whole):
        seen.append(1)
        return original(self, whole)

    def run(**how):
        model = detector()
        tnn.fit(
            model, x, y, loss=loss, epochs=2, batch_size=8, rng=0, progress=False,
            optimizer=tnn.SGD(model.parameters(), 0.01), **how,
        )  # fmt: skip
        return model.state_dict()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "execute", counted)
        found = run(chunk=2)
    assert len(seen) == (8 if cut else 2)
    expected = run(compile=False)
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=1e-9)


def test_a_model_that_does_not_say_it_takes_samples_one_by_one_is_not_cut():
    @tnn.pure
    class Centred(tnn.Layer):
        def __init__(self):
            self.conv = conv()

        def forward(self, x):
            y = self.conv(x)
            return y - y.mean(axis=0)

    assert_equal(trained(Centred(), compile=False), trained(Centred(), chunk=2))


def test_all_steps_of_a_run_are_cut_alike():
    sizes = []
    original = Program.load

    def seen(self, arguments):
        sizes.append(len(arguments[0]))
        return original(self, arguments)

    x = np.random.default_rng(0).normal(size=(64, 500, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "load", seen)
        patch.setattr(steps, "CHUNK_BYTES", 2**17)
        model = detector()
        how = {"optimizer": tnn.SGD(model.parameters(), 0.1), "progress": False, "loss": "mse"}
        tnn.fit(model, x, x, epochs=2, batch_size=32, **how)
    assert len(set(sizes)) == 1
    assert sizes[0] < 32


def dropping():
    rng = np.random.default_rng(3)
    return tnn.Sequential(
        tnn.Conv1d(1, 4, 3, padding="same", dtype="float64", rng=rng),
        tnn.Dropout(0.5, rng=rng),
        tnn.Conv1d(4, 1, 3, padding="same", dtype="float64", rng=rng),
    )


def test_dropout_draws_as_in_eager_steps():
    expected, found = trained(dropping(), compile=False), trained(dropping())
    assert found[2].eager is None
    assert_equal(expected, found)


@pytest.mark.parametrize("threads", [1, 2])
def test_dropout_may_be_chunked_on_request_and_draws_in_one_order(threads):
    first, second = (trained(dropping(), chunk=2, threads=threads) for _ in range(2))
    assert first[2].eager is None
    assert first[2].history == second[2].history


@pytest.mark.parametrize("change", ["rate", "weights", "state", "freeze"])
def test_changes_between_epochs_take_effect(change):
    def run(**how):
        model = detector()
        optimizer = tnn.SGD(model.parameters(), 0.1, momentum=0.5)

        def callback(epoch, logs):
            if change == "rate":
                optimizer.learning_rate *= 0.5
            elif change == "weights":
                model[0].kernel.data[...] *= 0.9
            elif change == "state":
                model[1].load_state_dict({"kernel": np.full((4, 4, 1), 0.1), "bias": [epoch]})
            elif epoch == 1:
                model[0].kernel.requires_grad = False

        history = tnn.fit(
            model, *problem(), loss=crossentropy, optimizer=optimizer, epochs=4, batch_size=8,
            rng=0, progress=False, callbacks=[callback], **how,
        )  # fmt: skip
        return model.state_dict(), [], history

    assert_equal(run(compile=False), run())


def test_one_fit_after_another_goes_on_with_what_was_recorded():
    Counted.calls = 0
    model = conv(Counted)
    optimizer = tnn.SGD(model.parameters(), 0.1)
    x, y = problem(16)
    for _ in range(5):
        tnn.fit(
            model, x, y, loss="mse", optimizer=optimizer, epochs=1, batch_size=8,
            progress=False, rng=0,
        )  # fmt: skip
    assert Counted.calls == 2 + 4  # the word is verified in the first epoch of each other one


@pytest.mark.parametrize("own", [False, True])
def test_a_run_that_is_cut_and_resumed_ends_in_the_same_bits(own):
    def make():
        model = dropping()
        return model, tnn.Adam(model.parameters(), 0.01), np.random.default_rng(7)

    def fit(model, optimizer, rng, epochs):
        loss = marked_loss if own else "mse"
        how = {"loss": loss, "optimizer": optimizer, "rng": rng, "progress": False}
        tnn.fit(model, *problem(), epochs=epochs, batch_size=8, **how)

    model, optimizer, rng = make()
    fit(model, optimizer, rng, 6)
    again, other, generator = make()
    for _ in range(6):
        fit(again, other, generator, 1)
        state, slots = again.state_dict(), other.state_dict()
        draws = again[1].rng.bit_generator.state
        again, other, _ = make()  # as a new process would
        again.load_state_dict(state)
        other.load_state_dict(slots)
        again[1].rng.bit_generator.state = draws
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[path], value)


@pytest.mark.parametrize("what", ["step", "zero_grad", "updated", "_updated"])
def test_what_an_optimizer_overrides_is_called_in_replayed_steps_too(what):
    calls = []

    def method(self, *args):
        calls.append(1)
        return getattr(super(Own, self), what)(*args)

    Own = type("Own", (tnn.SGD,), {what: method})
    model = detector()
    history = tnn.fit(
        model, *problem(), loss="mse", optimizer=Own(model.parameters(), 0.1), epochs=2,
        batch_size=8, progress=False,
    )  # fmt: skip
    assert history.eager is None
    assert len(calls) == 6 * (4 if "updated" in what else 1)


def test_gradients_add_up_where_an_optimizer_does_not_reset_them():
    class Accumulating(tnn.SGD):
        def zero_grad(self):
            if self.iterations % 2 == 0:
                super().zero_grad()

    def run(**how):
        model = detector()
        frozen = model[0].parameters()[0]  # it adds up all the time: nobody resets it
        optimizer = Accumulating(model.parameters()[1:], 0.1)
        history = tnn.fit(
            model, *problem(), loss="mse", optimizer=optimizer, epochs=3, batch_size=8,
            progress=False, rng=0, **how,
        )  # fmt: skip
        return model.state_dict(), [p.grad for p in model.parameters()], history, frozen.grad

    assert_equal(run(compile=False), run())


def test_a_parameter_that_the_loss_does_not_reach_makes_nothing_eager():
    class Spare(tnn.Layer):
        def __init__(self):
            self.conv, self.spare = conv(), conv()

        def forward(self, x):
            return self.conv(x)

    tnn.pure(Spare)
    expected, found = trained(Spare(), compile=False), trained(Spare())
    assert found[2].eager is None
    for path, value in expected[0].items():
        np.testing.assert_allclose(found[0][path], value, rtol=1e-11)


def test_a_finite_step_beside_an_infinite_slope_is_the_eager_one():
    # sqrt has an infinite slope at 0, which `where` does not take: the replay's nan is noticed
    @tnn.pure
    class Guarded(tnn.Layer):
        def __init__(self):
            self.w = tnn.Tensor(np.array([[1.0]]), requires_grad=True)

        def forward(self, x):
            y = x @ self.w
            return tnn.where(x > 0, tnn.sqrt(tnn.maximum(y, 0)), y)

    x = np.maximum(np.random.default_rng(0).normal(size=(12, 1)), 0)

    def run(**how):
        model = Guarded()
        optimizer = tnn.SGD(model.parameters(), 0.1)
        history = tnn.fit(
            model, x, x, loss="mse", optimizer=optimizer, epochs=6, batch_size=4, rng=0,
            progress=False, **how,
        )  # fmt: skip
        return model.state_dict(), [], history

    expected = run(compile=False)
    assert np.isfinite(expected[0]["w"]).all()
    assert_equal(expected, run())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"chunk": 0}, "fit: chunk must be a positive integer, got 0"),
        ({"chunk": 2.5}, "fit: chunk must be a positive integer, got 2.5"),
        ({"chunk": "some"}, "fit: chunk must be a positive integer, got 'some'"),
        ({"threads": 0}, "fit: threads must be a positive integer, got 0"),
        ({"compile": 1}, 'fit: compile must be "auto", True or False, got 1'),
        ({"compile": False, "chunk": 4}, 'need compile="auto" or True'),
        ({"compile": False, "threads": 2}, 'need compile="auto" or True'),
    ],
)
def test_wrong_settings_are_refused(how, message):
    with pytest.raises((TypeError, ValueError), match=message):
        trained(**how)


def test_threads_end_with_fit():
    import threading

    trained(chunk=2, threads=2)
    for _ in range(100):
        left = [t for t in threading.enumerate() if t.name.startswith("tinynn")]
        if not left:
            break
        time.sleep(0.01)
    assert left == []


def test_a_forward_replays_and_reads_changed_weights():
    model = detector()
    forward = Forward(model)
    x, _ = problem(3)
    with tnn.no_grad():
        for i in range(5):
            np.testing.assert_allclose(forward(x + i), model(x + i).numpy(), rtol=1e-11)
        model[1].kernel.data[...] *= 2
        np.testing.assert_allclose(forward(x), model(x).numpy(), rtol=1e-11)
        model[1].bias = tnn.Tensor([3.0], requires_grad=True)
        for i in range(3):
            np.testing.assert_allclose(forward(x + i), model(x + i).numpy(), rtol=1e-11)


def test_a_forward_that_cannot_be_replayed_runs_eagerly():
    model = Branching()
    forward = Forward(model)
    x, _ = problem(3)
    with tnn.no_grad():
        for i in range(5):
            np.testing.assert_array_equal(forward(x - i), model(x - i).numpy())


def fitted(model, loss, callback=lambda epoch, logs: None, **how):
    start = model.state_dict()
    history = tnn.fit(
        model, *problem(16), loss=loss, optimizer=tnn.SGD(model.parameters(), 0.1), epochs=3,
        batch_size=8, progress=False, rng=0, callbacks=[callback], **how,
    )  # fmt: skip
    end = np.hstack([value.ravel() for value in model.state_dict().values()])
    model.load_state_dict(start)
    return end, history.eager


@pytest.mark.parametrize("delta", [0.25, 0.5, 1, np.float64(0.5), np.array(0.5)])
def test_a_partial_made_anew_for_each_fit_is_the_same_loss_if_its_options_are(delta, monkeypatch):
    model = detector()
    fitted(model, partial(tnn.losses.huber, delta=0.5))
    expected, _ = fitted(model, partial(tnn.losses.huber, delta=delta), compile=False)
    recorded = []
    init = Tracer.__init__
    monkeypatch.setattr(
        Tracer, "__init__", lambda self, *a: (recorded.append(a), init(self, *a))[1]
    )
    got, eager = fitted(model, partial(tnn.losses.huber, delta=delta))
    assert eager is None
    assert bool(recorded) is not (type(delta) is float and delta == 0.5)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_a_partial_that_changes_after_it_was_found_equal_is_not_replayed_as_it_was():
    model = detector()
    fitted(model, partial(tnn.losses.huber, delta=0.5))
    ends = []
    for how in ({}, {"compile": False}):
        loss = partial(tnn.losses.huber, delta=0.5)
        ends.append(fitted(model, loss, lambda *_, p=loss: p.keywords.update(delta=0.01), **how)[0])
    np.testing.assert_allclose(*ends, rtol=1e-9)


@pytest.mark.parametrize("how", ["subclass", "object", "class"])
def test_a_step_of_ones_own_may_change_the_model_within_an_epoch(how, monkeypatch):
    def trained_with(compile):
        model = detector()

        def step(optimizer):
            tnn.SGD._step(optimizer)
            model[0].activation = tnn.tanh if optimizer.iterations % 3 else tnn.sigmoid

        class Changing(tnn.SGD):
            pass

        Changing.step = step
        optimizer = (Changing if how == "subclass" else tnn.SGD)(model.parameters(), 0.1)
        with monkeypatch.context() as patched:
            if how != "subclass":
                by = step if how == "class" else partial(step, optimizer)
                patched.setattr(tnn.SGD if how == "class" else optimizer, "step", by)
            tnn.fit(
                model, *problem(64), loss="mse", optimizer=optimizer, epochs=3, batch_size=8,
                rng=0, progress=False, compile=compile,
            )  # fmt: skip
        return np.hstack([value.ravel() for value in model.state_dict().values()])

    np.testing.assert_allclose(trained_with("auto"), trained_with(False), rtol=1e-9)


def test_how_many_threads_work_does_not_depend_on_an_earlier_fit(monkeypatch):
    model = detector(width=16)
    x, y = problem(64, length=600)
    how = {"loss": "mse", "epochs": 1, "batch_size": 64, "rng": 0, "progress": False}
    workers = []

    def pool(count):
        workers.append(count)
        return threads.pool(count)

    monkeypatch.setattr(steps, "threads", SimpleNamespace(pool=pool, available=lambda: 2))
    for chunk in (8, "auto", 8):
        optimizer = tnn.SGD(model.parameters(), 0.1)
        tnn.fit(model, x, y, optimizer=optimizer, chunk=chunk, **how)
    assert workers == [2]  # of the second fit


@pytest.mark.parametrize("when", ["another fit", "a callback"])
def test_other_parameters_have_a_step_recorded_anew(when):
    """A loss that takes gradients itself has them in the graph of the parameters alone."""

    @tnn.pure
    class Line(tnn.Layer):
        def __init__(self):
            self.a = tnn.Tensor([[0.5], [-1.0]], requires_grad=True)
            self.b = tnn.Tensor([0.25], requires_grad=True)

        def forward(self, x):
            return x @ self.a + self.b

    def trained(compile):
        model = Line()

        @tnn.pure
        def loss(prediction, target):
            _, slope = tnn.value_and_grad(lambda z: ((z @ model.a) ** 3).sum())(np.ones((3, 2)))
            return ((prediction - target) ** 2).mean() + 0.1 * (slope * slope).sum()

        x = np.random.default_rng(0).normal(size=(16, 2))
        how = {"loss": loss, "batch_size": 8, "rng": 0, "progress": False, "compile": compile}
        optimizer = tnn.SGD([model.b], 0.01)
        if when == "another fit":
            tnn.fit(model, x, x[:, :1], optimizer=optimizer, epochs=2, **how)
            optimizer = tnn.SGD([model.a], 0.01)
            tnn.fit(model, x, x[:, :1], optimizer=optimizer, epochs=2, **how)
        else:
            change = [lambda *_: setattr(optimizer, "parameters", [model.a])]
            tnn.fit(model, x, x[:, :1], optimizer=optimizer, epochs=5, callbacks=change, **how)
        return np.hstack([value.ravel() for value in model.state_dict().values()])

    np.testing.assert_allclose(trained("auto"), trained(False), rtol=1e-9)


def test_numpys_true_is_a_word_as_well():
    model = detector()

    def loss(prediction, target):
        return ((prediction - target) ** 2).mean()

    history = tnn.fit(
        model, *problem(23), loss=loss, optimizer=tnn.SGD(model.parameters(), 0.1), epochs=2,
        batch_size=8, rng=0, progress=False, compile=np.True_,
    )  # fmt: skip
    assert history.eager is None
