"""BLAS keeps to one thread while someone asks for it, and has its own back afterwards."""

import sys
import threading

import numpy as np
import pytest

import tinynn as tnn
from tinynn.training import threads
from tinynn.training.threads import one_blas_thread, spread

blas = pytest.mark.skipif(not threads._blas(), reason="NumPy comes with a BLAS that is not known")


def counts():
    return [library.num_threads for library in threads._blas()]


@pytest.fixture
def two():
    """BLAS on two threads, whatever it was before."""
    before = counts()
    threads._set_threads([2] * len(before))
    yield [2] * len(before)
    threads._set_threads(before)


@blas
def test_one_thread_inside_and_as_before_outside(two):
    with one_blas_thread() as alone:
        assert alone
        assert set(counts()) == {1}
    assert counts() == two
    with pytest.raises(KeyError, match="x"), one_blas_thread():
        raise KeyError("x")
    assert counts() == two


def test_without_a_way_to_tell_blas_everything_trains_all_the_same(monkeypatch):
    x = np.random.default_rng(0).normal(size=(8, 600, 1)).astype("float32")

    def trained():
        model = tnn.Conv1d(1, 1, 3, padding="same", rng=0)
        how = {"loss": "mse", "optimizer": tnn.SGD(model.parameters(), 0.1), "progress": False}
        assert tnn.fit(model, x, x, epochs=2, rng=0, **how).eager is None
        return tnn.predict(model, x)

    expected = trained()
    threads._blas.cache_clear()
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)  # an import of it is an ImportError
    try:
        with one_blas_thread() as alone:
            assert not alone
        np.testing.assert_allclose(trained(), expected, rtol=1e-5, atol=1e-6)
    finally:
        threads._blas.cache_clear()


@blas
def test_whoever_leaves_last_gives_the_threads_back(two):
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # not in the order in which they came
    assert set(counts()) == {1}
    second.__exit__(None, None, None)
    assert counts() == two


@blas
def test_the_last_to_leave_may_be_another_thread(two):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            entered.set()
            leave.wait(10)

    with one_blas_thread():
        worker = threading.Thread(target=other)
        worker.start()
        entered.wait(10)
    assert set(counts()) == {1}
    leave.set()
    worker.join()
    assert counts() == two


@blas
def test_a_limit_that_another_thread_has_set_is_no_obstacle(two):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    entered, leave = threading.Event(), threading.Event()

    def other():
        with threadpoolctl.threadpool_limits(2):
            entered.set()
            leave.wait(10)

    worker = threading.Thread(target=other)
    worker.start()
    entered.wait(10)
    with one_blas_thread():
        assert set(counts()) == {1}
    assert counts() == two
    leave.set()
    worker.join()


@blas
def test_fit_and_predict_give_them_back(two):
    seen = []

    class Probe(tnn.Layer):
        def forward(self, x):
            seen.append(set(counts()))
            return x

    model = tnn.Sequential(tnn.Dense(3, 1, rng=0), Probe())
    x = np.ones((3000, 3))
    sgd = tnn.SGD(model.parameters(), 0.1)
    tnn.fit(model, x, x[:, :1], loss="mse", optimizer=sgd, epochs=1, progress=False)
    tnn.predict(model, x)
    assert seen
    assert all(found == {1} for found in seen)
    assert counts() == two


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_spread_keeps_order_context_and_errors(workers):
    assert spread(lambda i, k: (i, k), 4, workers) == [
        (i, i % workers if workers > 1 else 0) for i in range(4)
    ]
    x = tnn.Tensor([1.0], requires_grad=True)
    with tnn.no_grad():
        assert not any(y.requires_grad for y in spread(lambda i, k: x * 2, 4, workers))
    with pytest.raises(ZeroDivisionError, match="division"):
        spread(lambda i, k: 1 // i, 3, workers)
