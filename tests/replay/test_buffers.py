"""Memory: aligned, side by side, and used again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinynn.replay.buffers import ALIGNMENT, Buffers, aligned, side_by_side

SHAPES = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=5)


@given(SHAPES, st.sampled_from(["float32", "float64", "float16"]))
def test_parts_side_by_side_have_their_shapes_and_share_one_flat_array(shapes, dtype):
    flat, parts = side_by_side(shapes, dtype)
    assert not flat.any()
    flat[...] = np.arange(flat.size)
    assert not flat.size or flat.ctypes.data % ALIGNMENT == 0
    assert [part.shape for part in parts] == shapes
    assert np.concatenate([part.ravel() for part in parts]).tolist() == flat.tolist()


def test_an_array_starts_on_a_cache_line():
    for shape, dtype in (((3, 5), "float32"), ((), "float64"), ((7,), "int8")):
        array = aligned(shape, dtype)
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.ctypes.data % ALIGNMENT == 0


def test_a_place_is_free_when_the_last_that_lives_there_is_released():
    made = []
    buffers = Buffers()

    def take(index, fitting="a"):
        return buffers.take(index, fitting, lambda: made.append(index) or object())

    first = take(0)
    buffers.share(1, 0)
    assert not buffers.alone(0)
    buffers.release(0)
    assert buffers.alone(1)
    assert take(2) is not first
    buffers.release(1)
    assert take(3, "b") is not first  # another kind
    assert take(4) is first
    buffers.release(7)  # an array that has no place here
    buffers.share(8, 7)
    assert not buffers.alone(8)
    assert made == [0, 2, 3]
