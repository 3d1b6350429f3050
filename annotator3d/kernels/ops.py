"""The kernels as torch.library operators ``annotator3d::*`` and the choice of the path.

CPU tensors go to the C++ library when it is there, everything else to the reference. The fake
implementations let torch.compile and torch.export trace through; sizes that depend on the data
(the number of voxels) are dynamic there.
"""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from . import native, reference


def _path(tensor: Tensor) -> ModuleType:
    if tensor.device.type != "cpu":
        _warn_once(
            f"annotator3d: the kernels have no {tensor.device.type} library in this version; "
            "the slower torch reference runs there (same results)"
        )
    elif native.library() is not None:
        return native
    else:
        _warn_once(
            f"annotator3d: {native.missing_reason()}; the slower torch reference runs (same "
            "results). Install a C++ compiler and reinstall annotator3d to build the library"
        )
    return reference


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)


@torch.library.custom_op("annotator3d::voxelize", mutates_args=())
def voxelize(
    points: Tensor, size: float, splits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :class:`Voxels`, in its order."""
    return _path(points).voxelize(points, size, splits)


@torch.library.custom_op("annotator3d::group_cells", mutates_args=())
def group_cells(
    cells: Tensor, splits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of :class:`Voxels`, in its order."""
    return _path(cells).group_cells(cells, splits)


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
    return _path(labels).histogram(labels, point_to_voxel, members, splits, scan, num_classes)


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
    return _path(prediction).confusion(
        prediction, point_to_voxel, members, splits, scan, table, num_classes
    )


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
    return _path(cells).kernel_map(cells, scan_splits, offsets, out_cells, out_splits, stride)


def _fake_group(rows: Tensor, splits: Tensor) -> tuple[Tensor, ...]:
    n, v = rows.shape[0], torch.library.get_ctx().new_dynamic_size()

    def longs(length: object) -> Tensor:
        return rows.new_empty(length, dtype=torch.int64)

    cells = rows.new_empty((v, 3), dtype=torch.int32)
    return cells, longs(v), longs(n), longs(n), longs(v + 1), longs(splits.shape[0])


voxelize.register_fake(lambda points, size, splits: _fake_group(points, splits))
group_cells.register_fake(_fake_group)
histogram.register_fake(
    lambda labels, point_to_voxel, members, splits, scan, num_classes: scan.new_empty(
        (scan.shape[0], num_classes), dtype=torch.int32
    )
)
confusion.register_fake(
    lambda prediction, point_to_voxel, members, splits, scan, table, num_classes: scan.new_empty(
        scan.shape
    )
)
kernel_map.register_fake(
    lambda cells, scan_splits, offsets, out_cells, out_splits, stride: out_splits.new_empty(
        (offsets.shape[0], out_cells.shape[0])
    )
)
