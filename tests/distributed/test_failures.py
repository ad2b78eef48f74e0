"""A rank that fails ends the job, with its error, and leaves nobody waiting."""

import re
import signal
from pathlib import Path

from . import jobs

pytestmark = jobs.needs_mpi
SCRIPT = Path(__file__).with_name("failing.py")
SOON = 20.0  # seconds: start of the processes, three epochs, and an end that is no timeout


def test_a_rank_that_raises_ends_the_job_with_its_traceback():
    job, out, err = jobs.run(3, SCRIPT, "raise", timeout=SOON)
    assert job.returncode > 0
    assert "fit: rank 1 has failed, and ends all:" in err
    assert "in meanwhile" in err
    assert "ZeroDivisionError: on one rank alone" in err
    assert "caught" not in out


def test_a_rank_that_is_killed_ends_the_job():
    job, out, err = jobs.run(3, SCRIPT, "killed", timeout=SOON)
    assert job.returncode > 0
    assert "hung" not in err
    assert "ended" not in out


def test_what_all_ranks_raise_can_be_caught_on_all():
    job, out, err = jobs.run(3, SCRIPT, "raise on all", timeout=SOON)
    assert job.returncode == 0, err
    assert out.count("caught, after 3 epochs: on every rank") == 3


def heard(job, words, times):
    """Read what a job prints until all ranks have said some words, which may share a line."""
    text = ""
    while text.count(words) < times:
        letter = job.stdout.read(1)
        if not letter:
            job.kill()
            raise AssertionError(f"the job has ended after {text!r}: {job.communicate()}")
        text += letter


def test_ctrl_c_ends_the_training_on_all_ranks_after_the_same_step():
    job = jobs.start(3, SCRIPT, "interrupted")
    heard(job, "epoch 3 is over", 3)
    job.send_signal(signal.SIGINT)  # which mpiexec passes on
    out, err = job.communicate(timeout=SOON)
    assert job.returncode == 0, err
    ends = re.findall(r"ended after \d+ epochs: Ctrl-C", out)  # which may share a line
    assert len(ends) == 3
    assert len(set(ends)) == 1
    assert err.count("| 0/2000 ") == 1, "more than one bar"
