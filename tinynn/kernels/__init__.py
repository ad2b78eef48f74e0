"""Convolution on plain arrays: no Tensor, no gradient rule."""
