"""How the browser of these tests is started."""

import os
import shutil

import pytest

from .browser import Browser


def test_a_browser_is_started_without_a_fork_of_which_jax_would_warn(tmp_path):
    forks = []
    os.register_at_fork(before=lambda: forks.append("here"))
    with pytest.raises(RuntimeError, match="pipe"):  # this one ends at once
        Browser(shutil.which("true"), tmp_path)
    assert forks == []
