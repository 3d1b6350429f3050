"""The kernels as torch.library operators ``annotator3d::*``.

The fake implementations let torch.compile and torch.export trace through; sizes that depend on the
data (the number of voxels) are dynamic there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .dispatch import run


@torch.library.custom_op("annotator3d::voxelize", mutates_args=())
def voxelize(
    points: Tensor, size: float, splits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :class:`Voxels`, in its order."""
    return run("voxelize", points, size, splits)


@torch.library.custom_op("annotator3d::group_cells", mutates_args=())
def group_cells(
    cells: Tensor, splits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :class:`Voxels`, in its order."""
    return run("group_cells", cells, splits)


@torch.library.custom_op("annotator3d::histogram", mutates_args=())
def histogram(
    labels: Tensor,
    point_to_voxel: Tensor,
    members: Tensor,
    splits: Tensor,
    scan: Tensor,
    num_classes: int,
) -> Tensor:
    """[V, num_classes] int32."""
    return run("histogram", labels, point_to_voxel, members, splits, scan, num_classes)


@torch.library.custom_op("annotator3d::confusion", mutates_args=())
def confusion(
    prediction: Tensor,
    point_to_voxel: Tensor,
    members: Tensor,
    splits: Tensor,
    scan: Tensor,
    table: Tensor,
    num_classes: int,
) -> Tensor:
    """[V] int64."""
    layout = (point_to_voxel, members, splits, scan)
    return run("confusion", prediction, *layout, table, num_classes)


@torch.library.custom_op("annotator3d::point_scores", mutates_args=())
def point_scores(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy and margin, [N] int64 each."""
    return run("point_scores", logits)


@torch.library.custom_op("annotator3d::select", mutates_args=())
def select(
    points: Tensor,
    splits: Tensor,
    size: float,
    prediction: Tensor,
    rows: Tensor,
    num_classes: int,
    score: str,
    reduce: str,
    table: Tensor,
    asked: Tensor,
    asked_splits: Tensor,
    seeds: Tensor,
    k: int,
    min_points: int,
    max_range: float,
    want_scores: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :func:`.reference.select`; nothing is raised where the last is not 0."""
    scoring = (prediction, rows, num_classes, score, reduce, table)
    choice = (asked, asked_splits, seeds, k, min_points, max_range, want_scores)
    return run("select", points, splits, size, *scoring, *choice)


def _fake_group(rows: Tensor, splits: Tensor) -> tuple[Tensor, ...]:
    n, v = rows.shape[0], torch.library.get_ctx().new_dynamic_size()

    def longs(length: object) -> Tensor:
        return rows.new_empty(length, dtype=torch.int64)

    cells = rows.new_empty((v, 3), dtype=torch.int32)
    return cells, longs(v), longs(n), longs(n), longs(v + 1), longs(splits.shape[0])


voxelize.register_fake(lambda points, size, splits: _fake_group(points, splits))
group_cells.register_fake(_fake_group)


@histogram.register_fake
def _(labels, point_to_voxel, members, splits, scan, num_classes):
    return scan.new_empty((scan.shape[0], num_classes), dtype=torch.int32)


@confusion.register_fake
def _(prediction, point_to_voxel, members, splits, scan, table, num_classes):
    return scan.new_empty(scan.shape)


@point_scores.register_fake
def _(logits):
    return tuple(logits.new_empty(logits.shape[0], dtype=torch.int64) for _ in range(2))


@select.register_fake
def _(points, splits, size, prediction, rows, num_classes, score, reduce, table, asked,
      asked_splits, seeds, k, min_points, max_range, want_scores):  # fmt: skip
    n, b = points.shape[0], splits.shape[0] - 1

    def longs(*shape: object) -> Tensor:
        return points.new_empty(shape, dtype=torch.int64)

    cells = points.new_empty((b, k, 3), dtype=torch.int32)
    picks = points.new_empty(n, dtype=torch.int32)
    return cells, longs(b, k), longs(b, k), picks, longs(n if want_scores else 0), longs(1)
