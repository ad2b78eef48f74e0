"""Jobs of several ranks, as a user starts them."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOUND = shutil.which("mpiexec", path=sysconfig.get_path("scripts")) or shutil.which("mpiexec")
INSTALLED = importlib.util.find_spec("mpi4py") is not None

needs_mpi = pytest.mark.skipif(
    not (FOUND and INSTALLED), reason="mpi4py and mpiexec are needed: the extra 'mpi'"
)


def command(ranks, script, *arguments):
    return [FOUND, "-n", str(ranks), sys.executable, str(script), *map(str, arguments)]


def environment():
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    given = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, **given}


def run(ranks, script, *arguments, timeout=100):
    """Return a job that has ended."""
    return subprocess.run(
        command(ranks, script, *arguments),
        capture_output=True, text=True, timeout=timeout, env=environment(), check=False,
    )  # fmt: skip
