"""A replay sees the arguments of its own call, however they are looked at; large ones, too."""

import numpy as np
import pytest

import tinynn as tnn

LARGE = 2**20  # bytes
STEPS = LARGE // 4 // 2 + 3  # of two channels of float32, more than LARGE bytes
VIEWS = {
    "as it is": lambda x: x,
    "reshaped": lambda x: x.reshape(1, -1, 2),
    "reversed": lambda x: x[:, ::-1],
    "cut": lambda x: x[:, 5:],
    "transposed twice": lambda x: x.transpose(0, 2, 1).transpose(0, 2, 1),
    "its halves": lambda x: tnn.concatenate(tnn.split(x[:, :-1], 2, axis=1), axis=0),
    "computed with": lambda x: x * 2.0,
    "one channel": lambda x: x[..., :1] + 0 * x,
}


def series(seed):
    return np.random.default_rng(seed).normal(size=(1, STEPS, 2)).astype("float32")


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_convolution_of_a_large_argument_is_that_of_the_call(view):
    kernel = np.random.default_rng(9).normal(size=(5, 2, 3)).astype("float32")
    for f in (
        lambda x: tnn.conv1d(view(x), kernel, padding="same"),
        lambda x: tnn.max_pool1d(tnn.relu(view(x)), 2),
        lambda x: view(x) @ kernel[0],
    ):
        compiled = tnn.compile(f)
        for seed in range(3):
            x = tnn.Tensor(series(seed))
            np.testing.assert_allclose(compiled(x).data, f(x).data, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_gradients_beside_a_large_argument_are_those_of_the_call(view):
    kernel = tnn.Tensor(np.random.default_rng(9).normal(size=(5, 2, 1)), requires_grad=True)

    def f(x):
        return tnn.grad(tnn.square(tnn.conv1d(view(x), kernel, padding="same")).mean(), [kernel])[0]

    compiled = tnn.compile(f)
    for seed in range(3):
        x = tnn.Tensor(series(seed).astype(float))
        np.testing.assert_allclose(compiled(x), f(x), rtol=1e-8)


def test_a_large_kernel_is_that_of_the_call():
    x = np.random.default_rng(0).normal(size=(1, 40, 512)).astype("float32")

    def f(kernel, g):
        return tnn.conv1d(x, kernel, padding="same") * g

    compiled = tnn.compile(f)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        kernel = tnn.Tensor(rng.normal(size=(3, 512, LARGE // 4 // 3 // 512 + 1)).astype("float32"))
        g = tnn.Tensor(rng.normal(size=(1, 40, kernel.shape[2])).astype("float32"))
        np.testing.assert_allclose(
            compiled(kernel, g).data, f(kernel, g).data, rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("threads", [1, 2])
def test_predict_of_a_long_series_is_the_same_each_time(threads):
    model = tnn.Sequential(
        tnn.Conv1d(2, 4, 9, padding="same", activation="relu", rng=0),
        tnn.Conv1d(4, 1, 9, padding="same", rng=1),
    )
    for seed in range(3):
        x = series(seed)[0]
        expected = model(x).data
        for how in ({}, {"piece_length": len(x)}, {"piece_length": len(x) // 2}):
            got = tnn.predict(model, x, threads=threads, **how)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
