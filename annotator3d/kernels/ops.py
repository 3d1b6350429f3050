"""The kernels as torch.library operators ``annotator3d::*``.

The fake implementations let torch.compile and torch.export trace through; sizes that depend on the
data (the number of voxels) are dynamic there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .dispatch import run

_LIBRARY = torch.library.Library("annotator3d", "FRAGMENT")


def _operator(kernel: Callable) -> torch._ops.OpOverload:
    """Register an operator without gradient, as torch.library.custom_op does, but without layers of
    Python around its call: they take longer than the rest of a call with few points."""
    name = kernel.__name__

    untraced: list[Callable] = []  # made at the first call, because it loads the compiler

    def run_untraced(*args: object) -> object:
        if not untraced:
            untraced.append(torch.compiler.disable(kernel))
        return untraced[0](*args)

    _LIBRARY.define(name + torch.library.infer_schema(kernel, mutates_args=()))
    _LIBRARY.impl(name, run_untraced, "CompositeExplicitAutograd")
    return getattr(torch.ops.annotator3d, name).default


def _fake(operator: torch._ops.OpOverload) -> Callable:
    """Decorator: the operator's outputs without their values."""
    return torch.library.register_fake(operator, lib=_LIBRARY)


@_operator
def voxelize(
    points: Tensor, size: float, splits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :class:`Voxels`, in its order."""
    return run("voxelize", points, size, splits)


@_operator
def group_cells(
    cells: Tensor, splits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :class:`Voxels`, in its order."""
    return run("group_cells", cells, splits)


@_operator
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


@_operator
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


@_operator
def point_scores(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy and margin, [N] int64 each."""
    return run("point_scores", logits)


@_operator
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


_fake(voxelize)(lambda points, size, splits: _fake_group(points, splits))
_fake(group_cells)(_fake_group)


@_fake(histogram)
def _(labels, point_to_voxel, members, splits, scan, num_classes):
    return scan.new_empty((scan.shape[0], num_classes), dtype=torch.int32)


@_fake(confusion)
def _(prediction, point_to_voxel, members, splits, scan, table, num_classes):
    return scan.new_empty(scan.shape)


@_fake(point_scores)
def _(logits):
    return tuple(logits.new_empty(logits.shape[0], dtype=torch.int64) for _ in range(2))


@_fake(select)
def _(points, splits, size, prediction, rows, num_classes, score, reduce, table, asked,
      asked_splits, seeds, k, min_points, max_range, want_scores):  # fmt: skip
    n, b = points.shape[0], splits.shape[0] - 1

    def longs(*shape: object) -> Tensor:
        return points.new_empty(shape, dtype=torch.int64)

    cells = points.new_empty((b, k, 3), dtype=torch.int32)
    picks = points.new_empty(n, dtype=torch.int32)
    return cells, longs(b, k), longs(b, k), picks, longs(n if want_scores else 0), longs(1)
