"""The columns of the tables: which library, run in which way."""

from importlib import import_module
from types import ModuleType

OURS = {"tinynn eager": "", "tinynn compile": "compile", "tinynn fit": "fit"}
PEERS = {"PyTorch": "", "torch.compile": "compile", "JAX": ""}
TRAINING = (*OURS, *PEERS)
INFERENCE = ("tinynn predict", "tinynn stream", *PEERS)
EAGER = ("tinynn eager", "PyTorch")

SIDES = {"tinynn": "tinynn_side", "PyTorch": "torch_side", "torch": "torch_side", "JAX": "jax_side"}


def side(column: str) -> tuple[ModuleType, str]:
    """Import the library of a column; return its module here and the variant."""
    library, _, variant = column.replace("torch.compile", "torch compile").partition(" ")
    return import_module(f".{SIDES[library]}", __package__), variant.replace("eager", "")


def is_ours(column: str) -> bool:
    """Tell tinynn's columns from the peers'."""
    return column.startswith("tinynn")
