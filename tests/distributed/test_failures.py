"""A rank that fails ends the job, with its error, and leaves nobody waiting."""

import signal
import subprocess
import time
from pathlib import Path

from . import jobs

pytestmark = jobs.needs_mpi
SCRIPT = Path(__file__).with_name("failing.py")
SOON = 20.0  # seconds: start of the processes, three epochs, and an end that is no timeout


def failing(how):
    begin = time.monotonic()
    done = jobs.run(3, SCRIPT, how)
    assert time.monotonic() - begin < SOON
    return done


def test_a_rank_that_raises_ends_the_job_with_its_traceback():
    done = failing("raise")
    assert done.returncode
    assert "fit: rank 1 has failed, and ends all:" in done.stderr
    assert "in meanwhile" in done.stderr
    assert "ZeroDivisionError: on one rank alone" in done.stderr
    assert "caught" not in done.stdout


def test_a_rank_that_is_killed_ends_the_job():
    done = failing("killed")
    assert done.returncode
    assert "ended" not in done.stdout


def test_what_all_ranks_raise_can_be_caught_on_all():
    done = failing("raise on all")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("caught, after 3 epochs: on every rank") == 3


def test_ctrl_c_ends_the_training_on_all_ranks_after_the_same_step():
    job = subprocess.Popen(
        jobs.command(3, SCRIPT, "interrupted"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=jobs.environment(),
        start_new_session=True,
    )  # fmt: skip
    lines = [job.stdout.readline() for _ in range(3)]
    assert lines == ["epoch 3 is over\n"] * 3
    job.send_signal(signal.SIGINT)  # which mpiexec passes on
    out, err = job.communicate(timeout=SOON)
    assert job.returncode == 0, err
    ends = [line for line in out.splitlines() if line.startswith("ended")]
    assert len(ends) == 3
    assert len(set(ends)) == 1
    assert "Ctrl-C" in ends[0]
    assert err.count("| 0/2000 ") == 1, "more than one bar"
