"""What fit is fed with: splits, weights of samples and classes, datasets, against Keras as well."""

import os
import warnings
from functools import partial

import numpy as np
import pytest

import tinynn as tnn

crossentropy = partial(tnn.losses.binary_crossentropy, from_logits=True)
sparse = partial(tnn.losses.sparse_categorical_crossentropy, from_logits=True)
one_hot = partial(tnn.losses.categorical_crossentropy, from_logits=True)


def rows(n=23):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    return x, x @ [[1.0], [-2.0], [0.5]]


def series(n=11, length=7):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, length, 2))
    return x, rng.integers(3, size=(n, length))


def dense(units=1, features=3):
    return tnn.Dense(features, units, dtype="float64", rng=0)


def fitted(model, *data, loss="mse", epochs=3, **more):
    optimizer = tnn.SGD(model.parameters(), 0.1)
    how = {"batch_size": 5, "rng": 0} if len(data) == 2 else {}
    history = tnn.fit(
        model, *data, loss=loss, optimizer=optimizer, epochs=epochs, progress=False, **how | more
    )
    return np.concatenate([p.data.ravel() for p in model.parameters()]), history


def by_hand(model, x, y, weight, loss, epochs=3):
    """Train as fit does, with weights in the shape that the loss takes."""
    sgd = tnn.SGD(model.parameters(), 0.1)
    rng, losses = np.random.default_rng(0), []
    for _ in range(epochs):
        order, total = rng.permutation(len(x)), 0.0
        for start in range(0, len(x), 5):
            rows = order[start : start + 5]
            sgd.zero_grad()
            value = loss(model(x[rows]), y[rows], sample_weight=weight[rows])
            value.backward()
            sgd.step()
            total += value.item() * len(rows)
        losses.append(total / len(x))
    return np.concatenate([p.data.ravel() for p in model.parameters()]), losses


def same(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-11)
    np.testing.assert_allclose(found[1].history["loss"], expected[1], rtol=1e-11)


# ---------------------------------------------------------------- weights

CLASS = {0: 0.5, 2: 4.0}  # and 1 counts 1
TABLE = np.array([0.5, 1.0, 4.0])
X, CLASSES = series()
EVENTS = (CLASSES == 2)[..., None].astype(float)
EACH, STEPS = np.linspace(0, 2, 11), np.random.default_rng(2).random((11, 7))

WEIGHED = [  # loss, units, target, arguments of fit, weights by hand
    ("mse", 1, EVENTS, {"sample_weight": EACH}, EACH[:, None, None]),
    ("mse", 1, EVENTS, {"sample_weight": EACH[:, None, None]}, EACH[:, None, None]),
    ("mse", 1, EVENTS, {"sample_weight": STEPS}, STEPS[..., None]),
    ("mse", 1, EVENTS, {"sample_weight": STEPS[..., None]}, STEPS[..., None]),
    ("mse", 1, EVENTS, {"sample_weight": STEPS > 0.5}, STEPS[..., None] > 0.5),
    (crossentropy, 1, EVENTS, {"class_weight": {1: 9.0}}, 1 + 8 * EVENTS),
    (
        crossentropy,
        *(1, EVENTS, {"class_weight": {0: 0.5, 1: 9}, "sample_weight": EACH}),
        (0.5 + 8.5 * EVENTS) * EACH[:, None, None],
    ),
    (sparse, 3, CLASSES, {"class_weight": CLASS}, TABLE[CLASSES]),
    (
        sparse,
        *(3, CLASSES, {"class_weight": CLASS, "sample_weight": STEPS[..., None]}),
        TABLE[CLASSES] * STEPS,
    ),
    (one_hot, 3, np.eye(3)[CLASSES], {"class_weight": CLASS}, TABLE[CLASSES]),
    (one_hot, 3, np.eye(3)[CLASSES], {"sample_weight": STEPS[..., None]}, STEPS),
]


@pytest.mark.parametrize(("loss", "units", "y", "how", "weight"), WEIGHED)
@pytest.mark.parametrize("step", [{"compile": False}, {}, {"chunk": 2, "threads": 2}], ids=str)
def test_weights_multiply_and_reach_the_loss_in_its_shape(loss, units, y, how, weight, step):
    function = tnn.losses.mean_squared_error if loss == "mse" else loss
    expected = by_hand(dense(units, 2), X, y, weight, function)
    found = fitted(dense(units, 2), X, y, loss=loss, **how, **step)
    same(found, expected)
    ran = found[1].eager
    assert ran is None or step or "not installed" in ran


def test_weights_of_a_map_of_a_file_are_those_of_an_array(tmp_path):
    np.save(tmp_path / "y.npy", EVENTS)
    how = {"loss": crossentropy, "class_weight": {1: 9.0}, "sample_weight": STEPS}
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    expected = fitted(dense(1, 2), X, EVENTS, **how)
    found = fitted(dense(1, 2), X, mapped, **how)
    np.testing.assert_array_equal(found[0], expected[0])


def test_validation_is_weighed_by_sample_and_not_by_class():
    x, y = rows()
    weight = np.linspace(1, 3, 23)
    model = dense()
    split = {"validation_split": 0.3, "sample_weight": weight, "shuffle": False}
    how = {"loss": tnn.losses.mean_squared_error, "class_weight": {1: 5.0}, "epochs": 1}
    labels = (y > 0).astype(float)
    _, history = fitted(model, x, labels, **split, **how)
    held_out = slice(16, None)  # floor(23 * 0.7)
    expected = how["loss"](model(x[held_out]), labels[held_out], sample_weight=weight[16:, None])
    assert history.history["val_loss"][0] == pytest.approx(expected.item(), rel=1e-12)
    given = (x[held_out], labels[held_out], weight[held_out])
    again, model = fitted(dense(), x[:16], labels[:16], validation_data=given, shuffle=False,
                          sample_weight=weight[:16], **how), None  # fmt: skip
    np.testing.assert_array_equal(again[1].history["val_loss"], history.history["val_loss"])


def test_weights_of_zero_leave_samples_out():
    x, y = rows(20)
    y[::2] += 100
    kept = np.arange(20) % 2
    full = {"batch_size": 20, "epochs": 5}
    weights, _ = fitted(dense(), x, y, sample_weight=2.0 * kept, **full)
    expected, _ = fitted(dense(), x[1::2], y[1::2], **full)
    np.testing.assert_allclose(weights, expected, rtol=1e-10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["labels", "classes", "one-hot"])
@pytest.mark.parametrize("by", ["sample", "class"])
def test_losses_and_weights_are_keras(kind, by):
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    x, classes = rng.normal(size=(30, 3)).astype("float32"), rng.integers(3, size=30)
    their_loss, loss, y = {
        "labels": (keras.losses.BinaryCrossentropy(True), crossentropy, (classes[:, None] > 1) * 1),
        "classes": (keras.losses.SparseCategoricalCrossentropy(True), sparse, classes),
        "one-hot": (keras.losses.CategoricalCrossentropy(True), one_hot, np.eye(3)[classes]),
    }[kind]
    weight = rng.random(30).astype("float32")
    ours = tnn.Dense(3, 1 if kind == "labels" else 3, rng=0)
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(ours.units)])
    theirs.set_weights([ours.kernel.data, ours.bias.data])
    theirs.compile(keras.optimizers.SGD(0.1), their_loss)
    how = {"epochs": 4, "batch_size": 8, "shuffle": False, "validation_split": 0.2}
    how |= {"sample_weight": weight} if by == "sample" else {"class_weight": {0: 0.5, 1: 3.0}}
    expected = theirs.fit(x, y.astype("float32"), verbose=0, **how).history
    _, history = fitted(ours, x, y, loss=loss, **how)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history.history[name], expected[name], rtol=1e-5)
    np.testing.assert_allclose(ours.kernel.data, theirs.get_weights()[0], rtol=1e-4, atol=1e-6)


def test_an_own_loss_gets_weights_with_the_axes_of_the_target():
    seen = []

    def loss(prediction, target, sample_weight=None):
        seen.append(None if sample_weight is None else sample_weight.shape)
        return tnn.losses.mean_squared_error(prediction, target, sample_weight=sample_weight)

    fitted(dense(1, 2), X, EVENTS, loss=loss, sample_weight=EACH, epochs=1)
    fitted(dense(1, 2), X, EVENTS, loss=loss, epochs=1)
    assert seen == [(5, 1, 1), (5, 1, 1), (1, 1, 1), None, None, None]


def unweighed(prediction, target):
    return ((prediction - target) ** 2).mean()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"sample_weight": np.ones(22)}, "sample_weight must have as many samples as x, 23, got"),
        ({"sample_weight": np.ones((23, 2))}, r"one number for each sample.*got shape \(23, 2\)"),
        ({"sample_weight": 2.0}, "sample_weight must be an array"),
        ({"sample_weight": -np.ones(23)}, "sample_weight must be finite and not negative, got"),
        ({"sample_weight": np.full(23, np.nan)}, "sample_weight must be finite"),
        ({"sample_weight": np.ones(23), "loss": unweighed}, "loss unweighed takes no sample_weig"),
        ({"class_weight": {0: 1}, "loss": unweighed}, "the loss unweighed takes no sample_weight"),
        (
            {"sample_weight": np.ones(23), "loss": partial(tnn.losses.huber, sample_weight=2.0)},
            "the loss holds a sample_weight already",
        ),
        ({"class_weight": {0: 2.0}}, "class_weight needs targets that are classes.*soft labels"),
        ({"class_weight": [1, 2]}, "class_weight must be a dict"),
        ({"class_weight": "balanced"}, "class_weight must be a dict"),
        ({"class_weight": {}}, "class_weight names no class, got {}. .* leave it out"),
        ({"class_weight": {"a": 2.0}}, "a class of class_weight must be a non-negative integer"),
        ({"class_weight": {0: -1.0}}, r"class_weight\[0\] must be a finite number at least 0"),
        ({"validation_split": 1.0}, "validation_split must be .* below 1"),
        ({"validation_split": 0.99}, "validation_split 0.99 of 23 samples leaves 0 to train on"),
        ({"validation_split": 1e-20}, "leaves 23 to train on and 0 to validate"),
        ({"validation_split": 0.5, "validation_data": rows()}, "validation_split, not both"),
        ({"validation_data": rows() + rows()}, "validation_data must be a pair"),
    ],
)
def test_fit_refuses(how, message):
    with pytest.raises((TypeError, ValueError), match=f"^fit: .*{message}"):
        fitted(dense(), *rows(), **how)


def test_the_last_share_is_held_out_before_shuffling():
    x, y = rows(10)
    model = dense()
    _, history = fitted(model, x, y, validation_split=0.25, epochs=2)
    expected = tnn.losses.mean_squared_error(model(x[7:]), y[7:]).item()
    assert history.history["val_loss"][-1] == pytest.approx(expected)
    other = fitted(dense(), x[:7], y[:7], epochs=2)
    np.testing.assert_array_equal(
        other[0], np.concatenate([model.kernel.data.ravel(), model.bias.data])
    )


# ---------------------------------------------------------------- datasets


class Made:
    """Batches made on the way, of two sizes."""

    def __init__(self, *parts, length=None):
        self.parts, self.length, self.begun = parts, length, 0

    def __len__(self):
        return len(self.parts) if self.length is None else self.length

    def __iter__(self):
        self.begun += 1
        yield from self.parts


def cut(x, *others):
    return [tuple(a[i : i + 5] for a in (x, *others)) for i in range(0, len(x), 5)]


@pytest.mark.parametrize("kind", ["class", "list", "batches"])
def test_a_dataset_is_its_batches(kind):
    x, y = rows()
    made = {"class": Made(*cut(x, y)), "list": cut(x, y), "batches": tnn.batches(x, y, 5, rng=0)}
    expected = fitted(dense(), x, y, shuffle=kind == "batches", validation_data=(x, y))
    found = fitted(dense(), made[kind], validation_data=cut(x, y))
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1].history == expected[1].history
    if kind == "class":
        assert made[kind].begun == 3


def test_a_dataset_may_weigh_and_classes_too():
    how = {"loss": crossentropy, "class_weight": {1: 9.0}}
    expected = fitted(dense(1, 2), X, EVENTS, sample_weight=STEPS, shuffle=False, **how)
    found = fitted(dense(1, 2), Made(*cut(X, EVENTS, STEPS)), **how)
    np.testing.assert_array_equal(found[0], expected[0])


def test_pytorchs_data_loader_is_a_dataset():
    torch = pytest.importorskip("torch")
    x, y = rows()
    tensors = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    loader = torch.utils.data.DataLoader(tensors, batch_size=5)
    found = fitted(dense(), loader, validation_data=loader)
    expected = fitted(dense(), x, y, shuffle=False, validation_data=(x, y))
    np.testing.assert_array_equal(found[0], expected[0])
    with pytest.raises(TypeError, match=r"fit: y is missing.*__len__ and an __iter__"):
        fitted(dense(), tensors)


BATCH = cut(*rows())[0]


class OneByOne:
    """Samples by their index, as PyTorch's Dataset."""

    def __len__(self):
        return 1

    def __getitem__(self, i):
        return BATCH


@pytest.mark.parametrize(
    ("x", "how", "message"),
    [
        ((pair for pair in [BATCH]), {}, "x is a generator, which can be read only once.*a class"),
        (iter([BATCH]), {}, "x is a list_iterator, which can be read only once"),
        (rows()[0], {}, r"y is missing. Without it x must be a dataset.*shape \(23, 3\)"),
        ({"x": 1}, {}, "y is missing"),
        (OneByOne(), {}, r"y is missing.*Got <.*OneByOne object.*>, which has no __iter__\.$"),
        (3, {}, r"y is missing.*Got 3, which has no __len__ and no __iter__\.$"),
        ([], {}, "the list holds no batches"),
        (Made(BATCH, BATCH, length=3), {}, "promises 3 batches, but an epoch gave 2"),
        (Made(BATCH, BATCH, length=1), {}, "promises 1 batches, but an epoch gave more"),
        ([BATCH[0]], {}, r"batch 1 must be \(x, y\) or \(x, y, weight\), got an array"),
        ([BATCH[:1]], {}, r"batch 1 must be .*got a tuple of length 1"),
        ([BATCH, (BATCH[0], BATCH[1][:2])], {}, "batch 2: x and y must have the same number"),
        ([(*BATCH, np.ones(4))], {}, r"batch 1: weight must have one number for each sample"),
        ([(BATCH[0], "no")], {}, "batch 1: y must be an array of numbers"),
        ([BATCH], {"batch_size": 5}, "batch_size is for arrays x and y, but x is a dataset"),
        ([BATCH], {"rng": 0}, "rng is for arrays x and y"),
        ([BATCH], {"shuffle": False}, "shuffle is for arrays x and y"),
        ([BATCH], {"validation_split": 0.2}, "validation_split is for arrays x and y"),
        ([BATCH], {"sample_weight": np.ones(5)}, "sample_weight is for arrays x and y"),
        ([BATCH], {"validation_data": iter([BATCH])}, "validation_data must be a pair"),
        ([BATCH], {"validation_data": Made(BATCH, length=2)}, "validation_data: len.. of the Made"),
    ],
)
def test_a_dataset_is_checked(x, how, message):
    with pytest.raises((TypeError, ValueError), match=f"^fit: .*{message}"):
        fitted(dense(), x, **how)


def test_a_series_where_a_batch_is_meant_is_found_in_a_dataset_too():
    model = tnn.Conv1d(1, 1, 3, padding="same", rng=0)
    with pytest.raises(ValueError, match=r"fit: x must be .*got shape \(50, 1\).*one series"):
        fitted(model, [(np.ones((50, 1)), np.ones((50, 1)))])


def test_one_hot_rows_are_no_classes_for_another_loss():
    x, y = np.ones((6, 2), "float32"), np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]
    model = tnn.Dense(2, 3, rng=0)
    how = {"optimizer": tnn.SGD(model.parameters(), 0.1), "epochs": 1, "progress": False}
    with pytest.raises(
        ValueError, match=r"class_weight names class 2, but targets of shape .* 0 and 1"
    ):
        tnn.fit(model, x, y, loss="mean_squared_error", class_weight={2: 100.0}, **how)
