"""Batches of random network voxels."""

from __future__ import annotations

import torch


def batch_of(*counts: int, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    cells = [
        torch.unique(torch.randint(-9, 9, (n, 3), generator=generator), dim=0).int() for n in counts
    ]
    splits = torch.tensor([0, *(len(c) for c in cells)]).cumsum(0)
    total = int(splits[-1])
    return {
        "cells": torch.cat(cells),
        "splits": splits,
        "features": torch.randn(total, 4, generator=generator),
        "target": torch.randint(0, 3, (total,), generator=generator),
        "point_to_voxel": torch.arange(total),
        "num_points": splits.diff(),
    }
