"""Differentiable arrays: graphs, operations, convolution and the Tensor.

Each operation has one rule for its gradient, which serves derivatives of any order.
"""
