"""Convolution on plain arrays: no Tensor, no gradient rule.

convolution.py holds the three maps; all else is how they are computed, each way in its own file.
"""
