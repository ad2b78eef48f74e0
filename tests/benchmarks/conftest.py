"""Keep pytest out: nothing here is a test, and doctest collection would import every file."""

collect_ignore_glob = ["*"]
