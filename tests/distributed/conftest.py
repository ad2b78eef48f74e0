"""Keep pytest out of the scripts that the ranks run: they need mpi4py."""

collect_ignore = ["cases.py", "failing.py"]
