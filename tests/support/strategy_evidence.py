"""What strategies ask for beside the prediction, made of the points and cells of a scan alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from annotator3d.active.evidence import (
    FEATURES,
    LABELLED,
    NEIGHBOURS,
    POOL,
    PREVIOUS,
    PROTOTYPES,
    VIEWS,
    Agreement,
    Evidence,
    Given,
    Moment,
)
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.kernels.grouping import voxelize

MOMENT = Moment(round=2, rounds=5, budget=4, scans=3, per_scan=2)


def given_to(
    strategy: QueryStrategy,
    xyz: np.ndarray,
    logits: Tensor,
    rows: Tensor | None = None,
    scan_id: str = "00/000000",
    asked: np.ndarray | None = None,
) -> Given:
    """What `strategy` has declared, and nothing else; it moves with the points if they do.

    The pool, if that is asked for, is this scan and two others.
    """
    classes = logits.shape[1]
    of_points = (logits if rows is None else logits[rows]).detach()
    points = torch.from_numpy(xyz)
    cells = voxelize(points, strategy.voxel_size).cells
    made: dict[str, Callable] = {
        FEATURES: lambda: torch.cat([logits, logits * 0.5], 1).detach(),
        VIEWS: lambda: torch.stack([of_points, of_points.flip(1), of_points * 0.5]),
        PREVIOUS: lambda: probabilities_at(cells, classes, 1),
        NEIGHBOURS: lambda: agreement_at(cells, classes),
        LABELLED: lambda: np.arange(classes) * 7,
        POOL: lambda: (),
        PROTOTYPES: lambda: prototypes_of(classes, 2 * classes),
    }
    found = {need: made[need]() for need in strategy.needs}
    given = Given(**found, intensity=(points.abs() % 1).amax(1), moment=MOMENT)
    if POOL not in strategy.needs:
        return given
    prediction = logits if strategy.needs_model else None
    seen = strategy.evidence(xyz, prediction, rows, classes, scan_id, given, asked)
    observed = {scan_id: strategy.observe(seen)} | {
        f"{scan_id} {other}": strategy.observe(_other_scan(strategy, classes, other))
        for other in range(2)
    }
    return Given(**{**vars(given), "pool": strategy.conclude(observed, MOMENT)})


def _other_scan(strategy: QueryStrategy, classes: int, seed: int) -> Evidence:
    random = torch.Generator().manual_seed(100 + seed)
    xyz = torch.rand(300, 3, generator=random) * 4
    logits = torch.randn(300, classes, generator=random) if strategy.needs_model else None
    intensity = torch.rand(300, generator=random)
    features = None if logits is None else torch.cat([logits, logits * 0.5], 1)
    others = dict.fromkeys(set(strategy.needs) - {FEATURES}, ())
    given = Given(**others, features=features, intensity=intensity, moment=MOMENT)
    return strategy.evidence(xyz.numpy(), logits, None, classes, f"other {seed}", given)


def probabilities_at(cells: Tensor, classes: int, salt: int) -> np.ndarray:
    """[V, C] float32 in steps of 1 / 255, drawn from each cell."""
    draws = [np.random.default_rng([*(np.array(cell) % 2**31), salt]) for cell in cells.tolist()]
    means = [draw.dirichlet(np.ones(classes)) for draw in draws]
    return np.round(np.reshape(means, (-1, classes)) * 255).astype(np.float32) / 255


def prototypes_of(classes: int, width: int) -> Tensor:
    """[C, D], of which the source has no point of class 1."""
    found = torch.randn(classes, width, generator=torch.Generator().manual_seed(5))
    found[1] = torch.nan
    return found


def agreement_at(cells: Tensor, classes: int) -> Agreement:
    """Of one to three scans that see a cell."""
    views = np.stack([probabilities_at(cells, classes, salt) for salt in range(3)])
    scans = 1 + cells.abs().sum(1).numpy() % 3
    seen = (np.arange(3)[:, None] < scans)[:, :, None]
    shares = np.where(views > 0, views, 1)
    entropy = (-(views * np.log2(shares)) * seen).sum((0, 2)) / scans
    means = (views * seen).sum(0) / scans[:, None]
    return Agreement(means.astype(np.float32), entropy.astype(np.float32), scans)


def add_poses(root: Path, sequence: str, scans: int, step: float = 1.0) -> None:
    """Poses of a drive along x beside the scans of a sequence in SemanticKITTI's layout."""
    folder = root / "sequences" / sequence
    turn = "1 0 0 {x} 0 1 0 0 0 0 1 0"
    poses = [turn.format(x=step * frame) for frame in range(scans)]
    (folder / "poses.txt").write_text("\n".join(poses) + "\n")
    (folder / "calib.txt").write_text("Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n")
