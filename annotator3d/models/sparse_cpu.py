"""Sparse convolution on CPU: the kernels of this package over rulebooks of exact cells.

Right for any grid size, batch and number of threads, and repeatable.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from annotator3d.kernels import (
    Rulebook,
    sparse_convolution,
    strided_rulebook,
    submanifold_rulebook,
)


@dataclass
class CpuGeometry:
    """Occupied cells of every resolution level of a batch, and the rulebooks between them."""

    cells: list[Tensor]  # level -> [V, 3] int32
    splits: list[Tensor]  # level -> [B + 1] int64
    rulebooks: dict[tuple[str, int], Rulebook] = field(default_factory=dict)

    def occupied(self, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Cells [V, 3] and splits [B + 1] of a level that the network has reached.

        The third is the row of each cell in the level's features; None: in their order.
        """
        return self.cells[level], self.splits[level], None

    def submanifold(self, level: int) -> Rulebook:
        """Of the 3x3x3 convolution whose output cells are its input cells."""
        key = ("subm", level)
        if key not in self.rulebooks:
            self.rulebooks[key] = submanifold_rulebook(self.cells[level], self.splits[level])
        return self.rulebooks[key]

    def down(self, level: int) -> Rulebook:
        """Of the 2x2x2 stride-2 convolution from `level` to `level + 1`."""
        key = ("down", level)
        if key not in self.rulebooks:
            parents, rulebook = strided_rulebook(self.cells[level], self.splits[level])
            if len(self.cells) == level + 1:
                self.cells.append(parents.cells)
                self.splits.append(parents.scan_splits)
            self.rulebooks[key] = rulebook
        return self.rulebooks[key]


def cpu_conv(
    kind: str,
    weight: Tensor,
    features: Tensor,
    geometry: CpuGeometry,
    level: int,
    added: tuple[Tensor | None, Tensor | None, bool] = (None, None, False),
) -> tuple[Tensor, int]:
    """Convolve on CPU.

    Args:
        kind: ``subm``, ``down`` or ``up``.
        weight: [out, k, k, k, in].
        features: [V, in] of the cells of `level`.
        added: bias [out], residual [V', out] and whether a ReLU follows: without a gradient.

    Returns:
        features [V', out] of the cells of the second value, the level.
    """
    if kind == "subm":
        rulebook = geometry.submanifold(level)
    elif kind == "down":
        rulebook, level = geometry.down(level), level + 1
    else:
        rulebook, level = geometry.down(level - 1).transposed(), level - 1
    if torch.is_autocast_enabled("cpu"):  # sums of half precision are kept in float32 anyway
        features, weight = features.float(), weight.float()
    return sparse_convolution(features, weight.flatten(1, 3), rulebook, *added), level
