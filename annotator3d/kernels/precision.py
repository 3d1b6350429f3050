"""The precision that kernels add numbers in."""

from __future__ import annotations

import torch
from torch import Tensor


def sum_dtype(values: Tensor) -> torch.dtype:
    """float64 for float64, else float32: sums of half precision would lose too much."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32
