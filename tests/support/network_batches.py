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


def assert_scans_are_independent(model: torch.nn.Module) -> None:
    """A scan's logits are the same alone and beside another one in a batch."""
    both = batch_of(80, 60)
    together = model(both)
    for b in range(2):
        start, stop = both["splits"][b : b + 2].tolist()
        alone = {
            "cells": both["cells"][start:stop],
            "features": both["features"][start:stop],
            "splits": torch.tensor([0, stop - start]),
        }
        torch.testing.assert_close(model(alone), together[start:stop], atol=1e-5, rtol=1e-4)
