"""What a user would otherwise write or install to choose and build voxels: torch, numpy, libraries.

All of one scan, in floor cells, every point counted: the same task as `annotator3d.kernels`, except
where a function says what it leaves out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def torch_voxels(xyz: Tensor, size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Cells [V, 3], voxel of each point [N] and counts [V], by `unique` of a 64-bit key."""
    cells = torch.floor(xyz / size).long()
    low = cells.amin(0)
    extent = (cells.amax(0) - low + 1).tolist()
    x, y, z = (cells - low).unbind(1)
    key = (x * extent[1] + y) * extent[2] + z
    known, inverse, counts = key.unique(return_inverse=True, return_counts=True)
    xy = known.div(extent[2], rounding_mode="floor")
    parts = (xy.div(extent[1], rounding_mode="floor"), xy % extent[1], known % extent[2])
    return torch.stack(parts, 1) + low, inverse, counts


def torch_select(
    xyz: Tensor, prediction: Tensor, size: float, score: str, asked: Tensor, k: int, classes: int
) -> tuple[Tensor, Tensor]:
    """Cells and scores of the best k voxels that were not asked, by vectorised torch."""
    cells, inverse, counts = torch_voxels(xyz, size)
    v = len(counts)
    if score == "vcd":
        labels = prediction.argmax(1) if prediction.dim() == 2 else prediction.long()
        histogram = torch.bincount(inverse * classes + labels, minlength=v * classes)
        p = histogram.view(v, classes) / counts[:, None]
        scores = torch.special.entr(p).sum(1) / np.log(2)
    else:
        p = prediction.softmax(1)
        if score == "entropy":
            points = torch.special.entr(p).sum(1) / np.log(2)
        else:
            best = p.topk(2, dim=1).values
            points = best[:, 0] - best[:, 1]
        scores = torch.zeros(v, device=p.device).scatter_reduce(0, inverse, points, "amax")
        scores = scores if score == "entropy" else -scores
    hit = (cells[:, None] == asked[None]).all(2).any(1)
    best = scores.masked_fill(hit, -torch.inf).topk(min(k, v)).indices
    return cells[best], scores[best]


def numpy_select(
    xyz: np.ndarray, prediction: np.ndarray, size: float, score: str, asked: np.ndarray, k: int,
    classes: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The same in numpy."""
    cells = np.floor(xyz / np.float32(size)).astype(np.int64)
    low = cells.min(0)
    shape = cells.max(0) - low + 1
    key = np.ravel_multi_index((cells - low).T, shape)
    known, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    v = len(known)
    if score == "vcd":
        labels = prediction.argmax(1) if prediction.ndim == 2 else prediction
        histogram = np.bincount(inverse * classes + labels, minlength=v * classes)
        p = histogram.reshape(v, classes) / counts[:, None]
        scores = -(p * np.log2(p, where=p > 0, out=np.zeros_like(p))).sum(1)
    else:
        e = np.exp(prediction - prediction.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        if score == "entropy":
            points = -(p * np.log2(p, where=p > 0, out=np.zeros_like(p))).sum(1)
        else:
            best = np.partition(p, -2, axis=1)
            points = best[:, -1] - best[:, -2]
        scores = np.zeros(v, np.float32)
        np.maximum.at(scores, inverse, points)
        scores = scores if score == "entropy" else -scores
    cells = np.stack(np.unravel_index(known, shape), 1) + low
    scores[(cells[:, None] == asked[None]).all(2).any(1)] = -np.inf
    best = np.argpartition(-scores, min(k, v - 1))[:k]
    best = best[np.argsort(-scores[best])]
    return cells[best], scores[best]


def numpy_voxelize(xyz: np.ndarray, size: float) -> tuple[np.ndarray, ...]:
    """The published input pipeline: rounded cells, a ravelled hash, first points and inverse."""
    cells = np.round(xyz / size).astype(np.int32)
    cells -= cells.min(0)
    extent = cells.max(0).astype(np.int64) + 1
    key = (cells[:, 0].astype(np.int64) * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return cells[first], first, inverse


def spconv_voxelize(size: float) -> Callable[[Tensor], object] | None:
    """`PointToVoxel` of spconv on the CPU, or None where it is not installed.

    It knows 80 x 80 x 6.4 m only and 5 points of a voxel: its grid is dense, and one over a whole
    scan at 0.05 m would need about 25 GB.
    """
    try:
        from spconv.pytorch.utils import PointToVoxel
    except Exception:  # whatever does not load in an optional package
        return None
    generator = PointToVoxel([size] * 3, [-40, -40, -3.2, 40, 40, 3.2], 4, 150_000, 5)
    return generator.generate_voxel_with_id


def open3d_trace(size: float) -> Callable[[np.ndarray], object] | None:
    """`voxel_down_sample_and_trace` of Open3D, or None where it is not installed."""
    try:
        import open3d
    except Exception:
        return None

    def run(xyz: np.ndarray) -> object:
        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz.astype(np.float64)))
        low, high = cloud.get_min_bound(), cloud.get_max_bound()
        return cloud.voxel_down_sample_and_trace(size, low, high)

    return run
