"""Time the voxel kernels on a synthetic scan: C++ library, torch reference, numpy.

The variants run in turn, so that a busy machine slows all of them alike. Read the ratios, not the
milliseconds (medians). Usage: python tools/bench_kernels.py [--points 120000] [--rounds 15]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from annotator3d.kernels import build_info, reference, voxel_confusion, voxelize
from annotator3d.kernels.score import score_table

CLASSES = 19


def street(points: int, seed: int = 0) -> Tensor:
    """[points, 4] float32 in ring order: ground, two walls 15 m away and some clutter."""
    rng = np.random.default_rng(seed)
    azimuth = np.tile(np.linspace(-np.pi, np.pi, -(-points // 64), endpoint=False), 64)[:points]
    elevation = np.repeat(np.linspace(-0.43, 0.035, 64), -(-points // 64))[:points]
    to_ground = 1.73 / np.maximum(-np.sin(elevation), 1e-3)
    to_wall = 15 / np.maximum(np.abs(np.sin(azimuth)), 1e-3)
    reach = np.minimum(np.minimum(to_ground, to_wall), 80) * rng.choice(
        [1, 0.7], points, p=[0.9, 0.1]
    )
    flat = reach * np.cos(elevation)
    xyz = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), reach * np.sin(elevation)], 1)
    return torch.from_numpy(np.c_[xyz, rng.random(points)].astype(np.float32))


def numpy_voxels(points: np.ndarray, size: float) -> tuple[np.ndarray, ...]:
    """Cells, first rows and inverse by np.unique of a 63-bit key."""
    cells = np.floor(points[:, :3] / np.float32(size)).astype(np.int64)
    cells -= cells.min(0)
    key = np.ravel_multi_index(cells.T, cells.max(0) + 1)
    return np.unique(key, return_index=True, return_inverse=True)


def numpy_confusion(logits: np.ndarray, inverse: np.ndarray, voxels: int) -> np.ndarray:
    """Entropy of the predicted classes of each voxel in bits."""
    bins = inverse * CLASSES + logits.argmax(1)
    h = np.bincount(bins, minlength=voxels * CLASSES).reshape(voxels, CLASSES)
    p = h / h.sum(1, keepdims=True)
    return -(p * np.log2(np.maximum(p, 1e-30))).sum(1)


def medians(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each variant, run in turn; the first two turns warm up."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds + 2):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: float(np.median(t[2:])) for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, default=120_000)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    points = street(args.points)
    logits = torch.randn(args.points, CLASSES, generator=torch.Generator().manual_seed(0))
    v = voxelize(points, 0.25)
    layout = (v.point_to_voxel, v.members, v.splits, v.scan, score_table(args.points), CLASSES)
    tasks = {
        **{
            f"voxelize {size} m": {
                "C++": partial(voxelize, points, size),
                "torch": partial(reference.voxelize, points, size, torch.tensor([0, args.points])),
                "numpy": partial(numpy_voxels, points.numpy(), size),
            }
            for size in (0.25, 0.05)
        },
        "confusion from logits": {
            "C++": lambda: voxel_confusion(logits, v, CLASSES),
            "torch": lambda: reference.confusion(logits, *layout),
            "numpy": lambda: numpy_confusion(logits.numpy(), v.point_to_voxel.numpy(), len(v)),
        },
    }
    print(f"{'':24}" + "".join(f"{c:>10}" for c in ("C++", "torch", "numpy", "best/C++")))
    for task, variants in tasks.items():
        ms = medians(variants, args.rounds)
        ratio = min(ms["torch"], ms["numpy"]) / ms["C++"]
        print(f"{task:24}" + "".join(f"{t:7.2f} ms" for t in ms.values()) + f"{ratio:9.1f}x")
    print(f"library: {build_info()['library']} (None: C++ column is the reference)")


if __name__ == "__main__":
    main()
