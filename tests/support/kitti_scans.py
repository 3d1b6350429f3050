"""Small scans in the layout of SemanticKITTI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

RAW_IDS = (0, 10, 11, 30, 40, 48, 50, 70, 72, 80, 81, 252, 254)


def make_kitti_in(folder: Path) -> Callable[..., Path]:
    """Builds a SemanticKITTI folder of small random scans and returns its root.

    ``make_kitti(sequences=("00",), scans=3, points=200, labels=True, seed=0, name="kitti")``.
    Written with numpy alone, so that readers are not tested against our own writers.
    """

    def make(
        sequences: Sequence[str] = ("00",),
        scans: int = 3,
        points: int = 200,
        labels: bool = True,
        seed: int = 0,
        name: str = "kitti",
    ) -> Path:
        random = np.random.default_rng(seed)
        root = folder / name
        for sequence in sequences:
            velodyne, label = (root / "sequences" / sequence / d for d in ("velodyne", "labels"))
            velodyne.mkdir(parents=True)
            label.mkdir()
            for frame in range(scans):
                xyz = random.uniform([-20, -20, -2], [20, 20, 3], (points, 3))
                data = np.column_stack([xyz, random.random(points)]).astype("<f4")
                data.tofile(velodyne / f"{frame:06d}.bin")
                raw = random.choice(RAW_IDS, points) | random.integers(0, 50, points) << 16
                if labels:
                    raw.astype("<u4").tofile(label / f"{frame:06d}.label")
        return root

    return make
