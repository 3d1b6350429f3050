"""Batches and questions for the bodies of the CUDA kernels, run on host threads."""

from __future__ import annotations

import numpy as np
import torch
from kernel_paths import cloud
from torch import Tensor

from annotator3d.kernels.request import SelectionRequest
from annotator3d.kernels.score_table import score_table

NOTHING = torch.zeros(0, dtype=torch.int64)


def same(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> bool:
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(left, right, strict=True))


def batch(lengths: list[int], kind: str, seed: int) -> tuple[Tensor, Tensor]:
    return cloud(seed, sum(lengths), kind), torch.tensor([0, *np.cumsum(lengths).tolist()])


def question(points: Tensor, splits: Tensor, score: str, **changes) -> SelectionRequest:
    """What `select` is asked; some cells were asked about before."""
    n, b = len(points), len(splits) - 1
    generator = torch.Generator().manual_seed(n)
    asked = (points[::9, :3] / 0.25).floor().int()
    bounds = torch.searchsorted(torch.arange(0, n, 9), splits)
    given = {
        "points": points,
        "splits": splits,
        "size": 0.25,
        "prediction": torch.randint(-2, 3, (n, 6), generator=generator).float(),
        "rows": NOTHING,
        "num_classes": 6,
        "score": score,
        "reduce": "max",
        "table": score_table(n),
        "asked": asked,
        "asked_splits": bounds,
        "seeds": torch.arange(b) - 1,
        "k": min(n, 7),
        "min_points": 1,
        "max_range": 1e3,
        "want_scores": True,
    }
    return SelectionRequest(**(given | changes))
