"""Convolutions of small arrays keep their memory: nothing of one may show in another."""

import threading
from collections import OrderedDict

import numpy as np
import pytest

from tinynn.kernels import convolution, direct

HOW = 1, (2, 2), 1, 1
MAPS = {
    "forward": lambda x, k, g: convolution.conv(x, k, *HOW),
    "input gradient": lambda x, k, g: convolution.conv_input(g, k, x.shape[1], *HOW),
    "kernel gradient": lambda x, k, g: convolution.conv_kernel(x, g, len(k), *HOW),
}
SLOW = {
    "forward": lambda x, k, g: direct.forward(x, k, g.shape[1], HOW),
    "input gradient": lambda x, k, g: direct.input_gradient(g, k, x.shape[1], HOW),
    "kernel gradient": lambda x, k, g: direct.kernel_gradient(x, g, len(k), HOW),
}


def arrays(seed=0, batch=2, length=40):
    shapes = (batch, length, 3), (5, 3, 4), (batch, length, 4)
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape) for shape in shapes)


@pytest.mark.parametrize("name", MAPS)
def test_a_result_is_the_callers_own(name):
    first = MAPS[name](*arrays(1))
    kept = first.copy()
    second = MAPS[name](*arrays(7))
    np.testing.assert_array_equal(first, kept)
    second[...] = np.nan
    np.testing.assert_array_equal(MAPS[name](*arrays(1)), kept)


@pytest.mark.parametrize("name", MAPS)
def test_a_nan_or_an_error_leaves_nothing_behind(name):
    want = MAPS[name](*arrays())
    for place in range(3):
        given = arrays()
        given[place][...] = np.nan
        MAPS[name](*given)
    np.testing.assert_array_equal(MAPS[name](*arrays()), want)


@pytest.mark.parametrize("name", MAPS)
def test_threads_do_not_share_memory(name):
    wrong = []

    def work(seed):
        given = arrays(seed)
        want = SLOW[name](*given)
        for _ in range(300):
            if not np.allclose(MAPS[name](*given), want, rtol=1e-9, atol=1e-9):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(10 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_convolution_within_another_has_memory_of_its_own(monkeypatch):
    given = arrays()
    monkeypatch.setattr(convolution, "_kept", OrderedDict())
    want = MAPS["forward"](*given)
    key, (places, calls, result) = convolution._kept.popitem()

    def interrupted():  # as by a handler of a signal
        MAPS["forward"](*arrays(5))

    convolution._kept[key] = places, [*calls[:-1], (interrupted, ()), calls[-1]], result
    np.testing.assert_array_equal(MAPS["forward"](*given), want)


def test_memory_is_kept_for_some_shapes_and_small_arrays_only():
    for length in range(5, 15 + convolution.KEPT):
        MAPS["forward"](*arrays(length=length))
    assert len(convolution._kept) <= convolution.KEPT
    newest = list(convolution._kept)
    MAPS["forward"](*arrays(length=30_000))
    assert list(convolution._kept) == newest
