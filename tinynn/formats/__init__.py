"""Models of other libraries, and their files: safetensors, ONNX, PyTorch, Keras.

Nothing else in tinynn needs them, and each imports its package when it is called. What cannot be
carried over is refused by the path of the layer, before anything is made or written.
"""

from tinynn.formats.keras_both import from_keras, to_keras
from tinynn.formats.onnx_out import save_onnx
from tinynn.formats.tensors import load_safetensors, save_safetensors
from tinynn.formats.torch_in import from_torch
from tinynn.formats.torch_out import to_torch

__all__ = [
    "from_keras",
    "from_torch",
    "load_safetensors",
    "save_onnx",
    "save_safetensors",
    "to_keras",
    "to_torch",
]
