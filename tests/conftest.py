"""One setting for all property tests: the same examples in every run, and no clock."""

from hypothesis import settings

settings.register_profile(
    "tinynn", deadline=None, derandomize=True, database=None, max_examples=60, print_blob=False
)
settings.load_profile("tinynn")
