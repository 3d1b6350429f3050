"""Random numbers of voxels that depend on a seed, the scan and the cell alone."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.active.budget import scan_seed
from annotator3d.kernels.reference.selection import tie_hash


def uniform(cells: Tensor, seed: int, scan_id: str, purpose: str) -> Tensor:
    """[V] float64 in (0, 1), the same in every process and order.

    Args:
        cells: [V, 3] int32.
        purpose: draws for other purposes are independent.
    """
    start = torch.tensor(scan_seed(seed, f"{purpose}\0{scan_id}"), device=cells.device)
    bits = (tie_hash(start, cells) >> 11) & (2**53 - 1)  # as many as a float64 holds
    return (bits.double() + 0.5) / 2**53


def gumbel(cells: Tensor, seed: int, scan_id: str, purpose: str) -> Tensor:
    """[V] float64 from the standard Gumbel distribution; otherwise as `uniform`."""
    return -(-uniform(cells, seed, scan_id, purpose).log()).log()
