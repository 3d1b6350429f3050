"""Calls of the library in csrc/cuda, with the reference's signatures.

One class for its two builds: for CUDA (:mod:`.cuda_library`), and for host threads, which the
tests build to run the same code without a GPU. Nothing here waits for the device except to read
what a result needs: the number of voxels, and whether a value was refused. The reference then runs
to raise.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import AbstractContextManager
from ctypes import byref
from typing import Any

import torch
from torch import Tensor

from annotator3d.kernels import reference
from annotator3d.kernels.cuda_abi import (
    SCORES,
    Batch,
    Run,
    Select,
    cells_batch,
    points_batch,
    prediction_of,
)
from annotator3d.kernels.precision import sum_dtype
from annotator3d.kernels.reference import SelectionTensors, VoxelTensors
from annotator3d.kernels.request import SelectionRequest


class CudaKernels:
    """The kernels of :mod:`.reference` by a loaded library.

    Args:
        library: gives the library of :func:`.cuda_abi.load` when it is first needed.
        place: for a tensor, a context that gives the number of its device and the stream to run on
            (for the host build the number of threads).
    """

    def __init__(
        self,
        library: Callable[[], ctypes.CDLL],
        place: Callable[[Tensor], AbstractContextManager[tuple[int, int]]],
    ) -> None:
        self._library, self._place = library, place

    def voxelize(self, points: Tensor, size: float, splits: Tensor) -> VoxelTensors:
        """As :func:`.reference.voxelize`."""
        batch, keep = points_batch(points, splits)
        group = self._group(batch, size, keep, splits)
        return group or reference.voxelize(points, size, splits)

    def group_cells(self, cells: Tensor, splits: Tensor) -> VoxelTensors:
        """As :func:`.reference.group_cells`."""
        batch, keep = cells_batch(cells, splits)
        group = self._group(batch, 1.0, keep, splits)
        assert group, "the library refuses a cell that the reference takes"
        return group

    def _group(
        self, batch: Batch, size: float, like: Tensor, splits: Tensor
    ) -> VoxelTensors | None:
        """The voxels, or None where a value is refused."""
        sizes = _longs(like, 3)
        workspace = self._call("group_begin", like, byref(batch), size, sizes.data_ptr())
        voxels, largest, bad = sizes.tolist()
        if bad:
            return None
        n = batch.rows
        cells = like.new_empty((voxels, 3), dtype=torch.int32)
        rest = [_longs(like, m) for m in (voxels, n, n, voxels + 1, len(splits))]
        out = (cells, *rest)
        arguments = (byref(batch), size, voxels, largest, *(t.data_ptr() for t in out))
        self._call("group_finish", like, *arguments, workspace=workspace)
        return out

    def voxel_mean(
        self, features: Tensor, point_to_voxel: Tensor, members: Tensor, splits: Tensor
    ) -> Tensor:
        """As :func:`.reference.voxel_mean`."""
        wide = features.dtype != torch.float32
        values = (features.double() if wide else features).contiguous()
        out = values.new_empty((len(splits) - 1, values.shape[1]))
        pointers = (members.data_ptr(), splits.data_ptr(), *out.shape, out.data_ptr())
        self._call("voxel_mean", values, values.data_ptr(), wide, *pointers)
        return out.to(features.dtype)

    def histogram(
        self,
        labels: Tensor,
        point_to_voxel: Tensor,
        members: Tensor,
        splits: Tensor,
        scan: Tensor,
        num_classes: int,
    ) -> Tensor:
        """As :func:`.reference.histogram`."""
        prediction, keep = prediction_of(labels, num_classes)
        out = torch.empty((len(scan), num_classes), dtype=torch.int32, device=labels.device)
        status = _longs(out, 1)
        arguments = (point_to_voxel.data_ptr(), len(scan), out.data_ptr(), status.data_ptr())
        self._call("histogram", keep, byref(prediction), *arguments)
        if int(status):
            layout = (point_to_voxel, members, splits, scan)
            return reference.histogram(labels, *layout, num_classes)
        return out

    def confusion(
        self,
        prediction: Tensor,
        point_to_voxel: Tensor,
        members: Tensor,
        splits: Tensor,
        scan: Tensor,
        table: Tensor,
        num_classes: int,
    ) -> Tensor:
        """As :func:`.reference.confusion`."""
        described, keep = prediction_of(prediction, num_classes)
        table = table.to(keep.device)
        out, status = _longs(keep, len(scan)), _longs(keep, 1)
        arguments = (point_to_voxel.data_ptr(), len(scan), table.data_ptr(), len(table))
        outputs = (out.data_ptr(), status.data_ptr())
        self._call("confusion", keep, byref(described), *arguments, *outputs)
        if int(status):
            layout = (point_to_voxel, members, splits, scan)
            return reference.confusion(prediction, *layout, table, num_classes)
        return out

    def entropy_and_margin(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """As :func:`.reference.entropy_and_margin`, in float32: see csrc/arith.h."""
        described, keep = prediction_of(logits.float(), logits.shape[1])
        entropy, margin, status = (
            _longs(keep, len(logits)),
            _longs(keep, len(logits)),
            _longs(keep, 1),
        )
        pointers = (t.data_ptr() for t in (entropy, margin, status))
        self._call("point_scores", keep, byref(described), *pointers)
        return reference.entropy_and_margin(logits) if int(status) else (entropy, margin)

    def select(self, request: SelectionRequest) -> SelectionTensors:
        """As :func:`.reference.select`, but a refused value only ends up in the status."""
        r = request
        batch, keep = points_batch(r.points, r.splits)
        asked, keep_asked = cells_batch(r.asked, r.asked_splits)
        prediction, keep_prediction = prediction_of(r.prediction, r.num_classes)
        n, b = len(r.points), len(r.splits) - 1
        cells = keep.new_empty((b, r.k, 3), dtype=torch.int32)
        picks = keep.new_empty(n, dtype=torch.int32)
        per_point = _longs(keep, n if r.want_scores else 0)
        out = (cells, _longs(keep, b, r.k), _longs(keep, b, r.k), picks, per_point, _longs(keep, 1))
        table = r.table.to(keep.device)
        arguments = Select(
            *(batch, r.size, prediction, r.rows.data_ptr() or None, SCORES.index(r.score)),
            *(r.reduce == "mean", table.data_ptr(), len(table), asked, r.seeds.data_ptr()),
            *(r.k, r.min_points, r.max_range, *(t.data_ptr() or None for t in out)),
        )
        self._call("select", keep, byref(arguments))
        del keep_asked, keep_prediction  # they had to live as long as their addresses were needed
        return out

    def interpolation(
        self, points: Tensor, point_splits: Tensor, cells: Tensor, splits: Tensor, stride: int
    ) -> tuple[Tensor, Tensor]:
        """As :func:`.reference.interpolation`."""
        batch, keep = points_batch(points, point_splits)
        known, keep_cells = cells_batch(cells, splits)
        index, status = _longs(keep, len(points), 8), _longs(keep, 1)
        weight = keep.new_empty((len(points), 8), dtype=torch.float32)
        outputs = (index.data_ptr(), weight.data_ptr(), status.data_ptr())
        self._call("interpolation", keep, byref(batch), byref(known), stride, *outputs)
        del keep_cells
        if int(status):
            return reference.interpolation(points, point_splits, cells, splits, stride)
        return index, weight

    def devoxelize(self, features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        """As :func:`.reference.devoxelize`."""
        values, index, parts = _rows_alike(features, index, weight)
        out = values.new_empty((len(index), values.shape[1]))
        status = _longs(values, 1)
        wide = values.dtype == torch.float64
        arguments = (values.data_ptr(), wide, *values.shape, index.data_ptr(), parts.data_ptr())
        outputs = (*index.shape, out.data_ptr(), status.data_ptr())
        self._call("devoxelize", values, *arguments, *outputs)
        if int(status):
            return reference.devoxelize(features, index, weight)
        return out.to(features.dtype)

    def devoxelize_backward(self, grad: Tensor, index: Tensor, weight: Tensor, rows: int) -> Tensor:
        """As :func:`.reference.devoxelize_backward`; the sums have its order."""
        values, index, parts = _rows_alike(grad, index, weight)
        out = values.new_empty((rows, values.shape[1]))
        wide = values.dtype == torch.float64
        arguments = (values.data_ptr(), wide, *out.shape, index.data_ptr(), parts.data_ptr())
        self._call("devoxelize_backward", values, *arguments, *index.shape, out.data_ptr())
        return out.to(grad.dtype)

    def _call(
        self, name: str, like: Tensor, *arguments: Any, workspace: Tensor | None = None
    ) -> Tensor:
        """Calls a3d_cuda_<name> with a workspace, which is returned."""
        function = getattr(self._library(), f"a3d_cuda_{name}")
        with self._place(like) as (device, stream):
            run = Run(None, 0, device, stream)
            if workspace is None:
                wanted = self._checked(function(*arguments, byref(run)))
                workspace = torch.empty(max(wanted, 1), dtype=torch.uint8, device=like.device)
            run.workspace, run.bytes = workspace.data_ptr(), len(workspace)
            self._checked(function(*arguments, byref(run)))
        return workspace

    def _checked(self, code: int) -> int:
        if code < 0:
            words = self._library().a3d_cuda_error(code).decode()
            raise RuntimeError(f"annotator3d kernels: {words}")
        return code


def _rows_alike(values: Tensor, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Contiguous, values and weights in the precision that they are added in."""
    wide = sum_dtype(values)
    return values.to(wide).contiguous(), index.contiguous(), weight.to(wide).contiguous()


def _longs(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.int64, device=like.device)
