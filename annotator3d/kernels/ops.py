"""The kernels as torch.library operators ``annotator3d::*``.

The fake implementations let torch.compile and torch.export trace through; sizes that depend on the
data (the number of voxels) are dynamic there.
"""

from __future__ import annotations

from typing import get_type_hints

import torch
from torch import Tensor

from annotator3d.kernels.dispatch import run
from annotator3d.kernels.operators import fake, operator
from annotator3d.kernels.request import SelectionRequest


def _select_schema() -> str:
    """The fields of :class:`SelectionRequest`, one by one."""
    names = {Tensor: "Tensor", float: "float", int: "SymInt", str: "str", bool: "bool"}
    fields = get_type_hints(SelectionRequest).items()
    arguments = ", ".join(f"{names[kind]} {field}" for field, kind in fields)
    return f"({arguments}) -> ({', '.join(['Tensor'] * 6)})"


@operator
def voxelize(
    points: Tensor, size: float, splits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :class:`Voxels`, in its order."""
    return run("voxelize", points, size, splits)


@operator
def group_cells(
    cells: Tensor, splits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :class:`Voxels`, in its order."""
    return run("group_cells", cells, splits)


@operator
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


@operator
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


@operator
def entropy_and_margin(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy and margin, [N] int64 each."""
    return run("entropy_and_margin", logits)


def select(*arguments: object) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :func:`.reference.select` for the fields of a :class:`SelectionRequest`.

    Nothing is raised where the last, the status, is not 0.
    """
    request = SelectionRequest(*arguments)
    return run("select", request, like=request.points)


select = operator(select, _select_schema())


def _fake_group(rows: Tensor, splits: Tensor) -> tuple[Tensor, ...]:
    n, v = rows.shape[0], torch.library.get_ctx().new_dynamic_size()

    def longs(length: object) -> Tensor:
        return rows.new_empty(length, dtype=torch.int64)

    cells = rows.new_empty((v, 3), dtype=torch.int32)
    return cells, longs(v), longs(n), longs(n), longs(v + 1), longs(splits.shape[0])


fake(voxelize)(lambda points, size, splits: _fake_group(points, splits))
fake(group_cells)(_fake_group)


@fake(histogram)
def _(labels, point_to_voxel, members, splits, scan, num_classes):
    return scan.new_empty((scan.shape[0], num_classes), dtype=torch.int32)


@fake(confusion)
def _(prediction, point_to_voxel, members, splits, scan, table, num_classes):
    return scan.new_empty(scan.shape)


@fake(entropy_and_margin)
def _(logits):
    return tuple(logits.new_empty(logits.shape[0], dtype=torch.int64) for _ in range(2))


@fake(select)
def _(*arguments):
    request = SelectionRequest(*arguments)
    points, k = request.points, request.k
    n, b = points.shape[0], request.splits.shape[0] - 1

    def longs(*shape: object) -> Tensor:
        return points.new_empty(shape, dtype=torch.int64)

    cells = points.new_empty((b, k, 3), dtype=torch.int32)
    picks = points.new_empty(n, dtype=torch.int32)
    return cells, longs(b, k), longs(b, k), picks, longs(n if request.want_scores else 0), longs(1)


@torch.library.custom_op("annotator3d::kernel_map", mutates_args=())
def kernel_map(
    cells: Tensor,
    scan_splits: Tensor,
    offsets: Tensor,
    out_cells: Tensor,
    out_splits: Tensor,
    stride: int,
) -> Tensor:
    """[K, Vout] int64. The operator wants distinct tensors or the same ones; it copies neither."""
    return run("kernel_map", cells, scan_splits, offsets, out_cells, out_splits, stride)


@torch.library.custom_op("annotator3d::voxel_mean", mutates_args=())
def voxel_mean(features: Tensor, point_to_voxel: Tensor, members: Tensor, splits: Tensor) -> Tensor:
    """[V, C], dtype of the features."""
    return run("voxel_mean", features, point_to_voxel, members, splits)


@torch.library.custom_op("annotator3d::interpolation", mutates_args=())
def interpolation(
    points: Tensor, point_splits: Tensor, cells: Tensor, splits: Tensor, stride: int
) -> tuple[Tensor, Tensor]:
    """Rows [N, 8] int64 and weights [N, 8] float32."""
    return run("interpolation", points, point_splits, cells, splits, stride)


@torch.library.custom_op("annotator3d::devoxelize", mutates_args=())
def devoxelize(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """[N, C], dtype of the features."""
    return run("devoxelize", features, index, weight)


@torch.library.custom_op("annotator3d::devoxelize_backward", mutates_args=())
def devoxelize_backward(grad: Tensor, index: Tensor, weight: Tensor, rows: int) -> Tensor:
    """[rows, C], dtype of the gradient."""
    return run("devoxelize_backward", grad, index, weight, rows)


@kernel_map.register_fake
def _(cells, scan_splits, offsets, out_cells, out_splits, stride):
    return out_splits.new_empty((offsets.shape[0], out_cells.shape[0]))


@voxel_mean.register_fake
def _(features, point_to_voxel, members, splits):
    return features.new_empty((splits.shape[0] - 1, features.shape[1]))


@interpolation.register_fake
def _(points, point_splits, cells, splits, stride):
    shape = (points.shape[0], 8)
    return points.new_empty(shape, dtype=torch.int64), points.new_empty(shape)


@devoxelize.register_fake
def _(features, index, weight):
    return features.new_empty((index.shape[0], features.shape[1]))


@devoxelize_backward.register_fake
def _(grad, index, weight, rows):
    return grad.new_empty((rows, grad.shape[1]))


def _keep_layout(ctx, inputs, output) -> None:
    _, point_to_voxel, _, splits = inputs
    ctx.save_for_backward(point_to_voxel, splits)


def _mean_backward(ctx, grad):
    point_to_voxel, splits = ctx.saved_tensors
    share = grad.double() / splits.diff()[:, None]  # half precision ends below crowded voxels
    return share.to(grad.dtype)[point_to_voxel], None, None, None


def _keep_weights(ctx, inputs, output) -> None:
    features, index, weight = inputs
    ctx.save_for_backward(index, weight)
    ctx.rows = features.shape[0]


def _devoxelize_gradient(ctx, grad):
    index, weight = ctx.saved_tensors
    return devoxelize_backward(grad.contiguous(), index, weight, ctx.rows), None, None


def _keep_transposed(ctx, inputs, output) -> None:
    ctx.save_for_backward(inputs[1], inputs[2])


def _devoxelize_backward_gradient(ctx, grad):
    return devoxelize(grad.contiguous(), *ctx.saved_tensors), None, None, None


voxel_mean.register_autograd(_mean_backward, setup_context=_keep_layout)
devoxelize.register_autograd(_devoxelize_gradient, setup_context=_keep_weights)
devoxelize_backward.register_autograd(_devoxelize_backward_gradient, setup_context=_keep_transposed)
