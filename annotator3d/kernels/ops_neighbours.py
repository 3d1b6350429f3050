"""The kernels between points, voxels and their neighbours as operators; some have gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from .dispatch import run


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
