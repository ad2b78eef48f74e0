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
    given["OMPI_MCA_rmaps_base_oversubscribe"] = "1"  # Open MPI: more ranks than cores
    given["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe"  # from its version 5 on
    return {**os.environ, **given}


def start(ranks, script, *arguments):
    """Return a job that has begun."""
    return subprocess.Popen(
        command(ranks, script, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment(), start_new_session=True,
    )  # fmt: skip


def run(ranks, script, *arguments, timeout=100):
    """Return a job that has ended, and what it has written; one that hangs is ended."""
    job = start(ranks, script, *arguments)
    try:
        return job, *job.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        job.terminate()  # which mpiexec passes on, so that no rank is left
        out, err = job.communicate()
        return job, out, f"{err}\nit was ended after {timeout} s, for it hung"
