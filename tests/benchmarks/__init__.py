"""Benchmarks of tinynn beside PyTorch and JAX: ``python -m tests.benchmarks --help``."""
