"""Freed memory is kept for the next arrays."""

import platform
import subprocess
import sys

import pytest

BACKWARD = "tinynn.Tensor(1.0, requires_grad=True).backward()"  # the first one sees to it
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
    assert count(f"import tinynn\n{BACKWARD}") < 5_000
