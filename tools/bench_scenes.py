"""Scans for the kernels' benchmark, real or simulated, with predictions that have structure."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from annotator3d.data.datasets.simulated import SimulatedStreets
from annotator3d.data.formats.kitti import read_bin
from annotator3d.kernels.grouping import voxelize

CLASSES, SIZE, ASKED, PICKS = 20, 0.25, 5, 5


@dataclass(frozen=True)
class Scene:
    """A scan, what a network says about it, and voxels that were asked about before."""

    points: Tensor  # [N, 4] float32: x, y, z, intensity
    xyz: Tensor  # [N, 3], contiguous
    logits: Tensor  # [N, CLASSES] float32
    labels: Tensor  # [N] uint8, the best class of each point
    asked: Tensor  # [ASKED, 3] int32
    labelled: Tensor  # [N] bool, the points in them


@dataclass(frozen=True)
class Batch:
    """All scenes in one."""

    xyz: Tensor
    logits: Tensor
    labels: Tensor
    splits: Tensor
    asked: Tensor
    asked_splits: Tensor


def load_scenes(data_root: str | None, scans: int, device: str, quick: bool) -> list[Scene]:
    """Scenes of scans spread evenly over those under data_root; simulated ones if None."""
    if data_root is None:
        clouds = _simulated(scans, quick)
    else:
        files = sorted(Path(data_root).glob("sequences/*/velodyne/*.bin"))
        if not files:
            raise SystemExit(f"--data-root: no sequences/*/velodyne/*.bin under {data_root}")
        steps = np.linspace(0, len(files) - 1, min(scans, len(files))).round().astype(int)
        clouds = [np.column_stack(read_bin(files[i])).astype(np.float32) for i in steps]
    return [_scene(cloud, seed, device) for seed, cloud in enumerate(clouds)]


def make_batch(scenes: list[Scene]) -> Batch:
    """The scenes one after the other."""

    def joined(part: str) -> Tensor:
        return torch.cat([getattr(scene, part) for scene in scenes])

    def splits(part: str) -> Tensor:
        return torch.tensor([0, *(len(getattr(s, part)) for s in scenes)]).cumsum(0)

    return Batch(
        *(joined(part) for part in ("xyz", "logits", "labels")),
        splits("xyz"),
        joined("asked"),
        splits("asked"),
    )


def _simulated(scans: int, quick: bool) -> list[np.ndarray]:
    """Scans of a simulated HDL-64E of about 120,000 points, of some streets."""
    streets = 1 if quick else min(4, scans)
    azimuths = 64 if quick else 2083
    with tempfile.TemporaryDirectory() as folder:
        dataset = SimulatedStreets(
            "hdl64", streets, -(-scans // streets), azimuths=azimuths, root=folder
        )
        found = [dataset.read(i, labels=False) for i in range(scans)]
    return [np.column_stack([s.xyz, s.intensity]).astype(np.float32) for s in found]


def _scene(cloud: np.ndarray, seed: int, device: str) -> Scene:
    rng = np.random.default_rng(seed)
    cloud = cloud[np.isfinite(cloud).all(1)]
    places = np.floor(cloud[:, :3] / 2).astype(np.int64)  # a class for each block of 2 m
    block = (places @ [73856093, 19349663, 83492791]) % CLASSES
    logits = rng.normal(0, 1, (len(cloud), CLASSES)).astype(np.float32)
    logits[np.arange(len(cloud)), block] += 3
    points, logits = torch.from_numpy(cloud), torch.from_numpy(logits)
    voxels = voxelize(points, SIZE)
    chosen = torch.from_numpy(rng.choice(len(voxels), ASKED, replace=False))
    labelled = torch.isin(voxels.point_to_voxel, chosen)
    return Scene(
        *(
            part.to(device)
            for part in (
                points,
                points[:, :3].contiguous(),
                logits,
                logits.argmax(1).to(torch.uint8),
                voxels.cells[chosen],
                labelled,
            )
        )
    )
