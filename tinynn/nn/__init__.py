"""Layers and losses: what models are made of, and what they are trained by.

Each is a composition of operations, so that no gradient is written here.
"""
