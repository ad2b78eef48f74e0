"""Memory: aligned, side by side, and kept when it is freed."""

import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.autodiff import memory

SHAPES = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)


@given(SHAPES, st.sampled_from(["float32", "float64", "float16"]))
def test_parts_side_by_side_have_their_shapes_and_share_one_flat_array(shapes, dtype):
    like = [np.zeros(shape, dtype) for shape in shapes]
    flat, parts = memory.side_by_side(like)
    flat[...] = np.arange(flat.size)
    assert flat.ctypes.data % memory.ALIGNMENT == 0
    assert [part.shape for part in parts] == shapes
    assert np.concatenate([part.ravel() for part in parts]).tolist() == flat.tolist()
    again = memory.joined(parts)
    assert again is not None
    again[...] = 7
    assert (flat == 7).all()


def test_arrays_of_two_dtypes_do_not_lie_side_by_side():
    assert memory.side_by_side([np.zeros(2), np.zeros(2, "float32")]) == (None, [])
    flat = np.zeros(6)
    assert memory.joined([flat[:2], flat[3:]]) is None
    assert memory.joined([flat[:2], flat[2:].view("float32")]) is None
    assert memory.joined([flat[:4:2], flat[4:]]) is None


FAULTS = """
import resource
import numpy as np
{load}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(50):
    some = [np.ones(50_000) for _ in range(20)]
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc returns freed memory")
def test_freed_memory_is_not_taken_from_the_system_anew():
    def count(load):
        code = FAULTS.format(load=load)
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return int(run.stdout)

    assert (
        count("") > 20_000
    )  # or else the library need not do anything; 20 arrays have 1,950 pages
    assert count("import tinynn") < 5_000
