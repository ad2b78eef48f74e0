"""Differentiable arrays: graphs, operations, convolution and the Tensor."""
