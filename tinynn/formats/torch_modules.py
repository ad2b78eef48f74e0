"""Small modules for what PyTorch lacks. They need PyTorch alone.

Series are (batch, channels, length).
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Exp(nn.Module):
    """The exponential function."""

    def forward(self, x: Any) -> Any:
        """Return exp(x)."""
        return torch.exp(x)


class Transpose(nn.Module):
    """Exchange channels and steps."""

    def forward(self, x: Any) -> Any:
        """Return (batch, channels, length) as (batch, length, channels), or back."""
        return x.transpose(1, 2)


class Residual(nn.Module):
    """Add to the input what a module makes of it."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Any) -> Any:
        """Return x + body(x)."""
        return x + self.body(x)


class Parallel(nn.ModuleList):
    """Give the input to several modules, and join their outputs along axis 1."""

    def forward(self, x: Any) -> Any:
        """Return all outputs, joined."""
        return torch.cat([module(x) for module in self], 1)


class SamePad1d(nn.Module):
    """Pad so that windows of ``extent`` steps, ``stride`` apart, number length / stride."""

    def __init__(
        self, extent: int, stride: int, lower: bool = False, mode: str = "constant",
        value: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.extent, self.stride, self.lower = extent, stride, lower
        self.mode, self.value = mode, value

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.extent}, {self.stride}, {self.lower}, {self.mode!r}, {self.value}"

    def forward(self, x: Any) -> Any:
        """Return x with steps at both ends."""
        length = x.shape[2]
        windows = (length + self.stride - 1) // self.stride
        total = max((windows - 1) * self.stride + self.extent - length, 0)
        short, rest = total // 2, total - total // 2
        pair = (rest, short) if self.lower else (short, rest)
        value = self.value if self.mode == "constant" else None
        return functional.pad(x, pair, self.mode, value)


class SameAvgPool1d(nn.Module):
    """Mean of each window, of real samples only, with padding "same"."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.pad, self.pool = SamePad1d(kernel_size, stride), nn.AvgPool1d(kernel_size, stride)

    def forward(self, x: Any) -> Any:
        """Return one value for each window."""
        return self.pool(self.pad(x)) / self.pool(self.pad(torch.ones_like(x)))
