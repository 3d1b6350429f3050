"""The C++ library (csrc/cpu), called with the reference's signatures.

The library knows nothing of torch: it gets pointers and lengths, and the interpreter lock is
released while it works. It refuses the values that the reference refuses; the reference then runs
on them to raise with words.
"""

from __future__ import annotations

from ctypes import byref, c_void_p
from operator import attrgetter

import torch
from torch import Tensor

from annotator3d.kernels import cpu_abi, reference
from annotator3d.kernels.cpu_convolution import (
    convolution,
    convolution_weight_gradient,
    sorted_pairs,
    submanifold_pairs,
)
from annotator3d.kernels.cpu_library import checked, library, missing_reason
from annotator3d.kernels.cpu_normalization import batch_norm, batch_norm_gradient
from annotator3d.kernels.precision import sum_dtype
from annotator3d.kernels.reference import SelectionTensors, VoxelTensors
from annotator3d.kernels.request import SelectionRequest

__all__ = [
    "batch_norm",
    "batch_norm_gradient",
    "confusion",
    "convolution",
    "convolution_weight_gradient",
    "devoxelize",
    "devoxelize_backward",
    "entropy_and_margin",
    "group_cells",
    "histogram",
    "interpolation",
    "kernel_map",
    "library",
    "lovasz_softmax",
    "missing_reason",
    "select",
    "sorted_pairs",
    "submanifold_pairs",
    "voxel_mean",
    "voxelize",
]

_BAD_VALUE = cpu_abi.BAD_VALUE
_tensors = attrgetter("splits", "prediction", "rows", "table", "asked", "asked_splits", "seeds")


def voxelize(points: Tensor, size: float, splits: Tensor) -> VoxelTensors:
    """As :func:`.reference.voxelize`."""
    points = _rows(points)
    found = _group(splits, len(points), "points", points.data_ptr(), points.stride(0), size)
    return found or reference.voxelize(points, size, splits)


def group_cells(cells: Tensor, splits: Tensor) -> VoxelTensors:
    """As :func:`.reference.group_cells`."""
    cells = cells.contiguous()
    return _group(splits, len(cells), "cells", cells.data_ptr())


def lovasz_softmax(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`.reference.lovasz_softmax`."""
    if probabilities.dtype != torch.float32:
        return reference.lovasz_softmax(probabilities, target)
    probabilities, target = probabilities.contiguous(), target.contiguous()
    loss, gradient = torch.empty(()), torch.empty_like(probabilities)
    status = library().a3d_lovasz(
        *(*_at((probabilities, target)), *probabilities.shape),
        *(torch.get_num_threads(), *_at((loss, gradient))),
    )
    if status == _BAD_VALUE:  # probabilities of a network that has diverged
        return reference.lovasz_softmax(probabilities, target)
    checked(status)
    return loss, gradient


def select(request: SelectionRequest) -> SelectionTensors:
    """As :func:`.reference.select`; a bad value sets the status."""
    points, b, k = _rows(request.points), len(request.splits) - 1, request.k
    kept = [tensor.contiguous() for tensor in _tensors(request)]  # while their addresses are used
    splits, prediction, rows, table, asked, asked_splits, seeds = kept
    cells = torch.empty(b, k, 3, dtype=torch.int32)
    scores, counts = (torch.empty(b, k, dtype=torch.int64) for _ in range(2))
    pick_of_point = torch.empty(len(points), dtype=torch.int32)
    per_point = torch.empty(len(points) if request.want_scores else 0, dtype=torch.int64)
    question = cpu_abi.Select(
        *(points.data_ptr(), points.stride(0), splits.data_ptr(), b, request.size),
        *(prediction.data_ptr(), cpu_abi.KINDS[prediction.dtype], len(prediction)),
        *(rows.data_ptr() if len(rows) else None, request.num_classes),
        *(cpu_abi.SCORES.index(request.score), cpu_abi.REDUCTIONS.index(request.reduce)),
        *(table.data_ptr(), len(table), *_at((asked, asked_splits, seeds)), k),
        *(request.min_points, request.max_range, _threads(splits)),
        *_at((cells, scores, counts, pick_of_point)),
        per_point.data_ptr() if request.want_scores else None,
    )
    status = library().a3d_select(byref(question))
    bad = int(status == _BAD_VALUE or checked(status))
    return cells, scores, counts, pick_of_point, per_point, torch.tensor([bad])


def histogram(
    labels: Tensor,
    point_to_voxel: Tensor,
    members: Tensor,
    splits: Tensor,
    scan: Tensor,
    num_classes: int,
) -> Tensor:
    """As :func:`.reference.histogram`."""
    if (classes := _classes(labels, num_classes)) is None:
        return reference.histogram(labels, point_to_voxel, members, splits, scan, num_classes)
    out = torch.zeros(len(scan), num_classes, dtype=torch.int32)
    checked(library().a3d_histogram(*_at((classes, members, splits)), *out.shape, out.data_ptr()))
    return out


def confusion(
    prediction: Tensor,
    point_to_voxel: Tensor,
    members: Tensor,
    splits: Tensor,
    scan: Tensor,
    table: Tensor,
    num_classes: int,
) -> Tensor:
    """As :func:`.reference.confusion`."""
    if (classes := _classes(prediction, num_classes)) is None:
        layout = (point_to_voxel, members, splits, scan)
        return reference.confusion(prediction, *layout, table, num_classes)
    out = torch.empty(len(scan), dtype=torch.int64)
    pointers = _at((classes, members, splits))
    checked(library().a3d_confusion(*pointers, len(scan), table.data_ptr(), out.data_ptr()))
    return out


def entropy_and_margin(logits: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`.reference.entropy_and_margin`, computed in float32."""
    logits = logits.float().contiguous()
    entropy, margin = (torch.empty(len(logits), dtype=torch.int64) for _ in range(2))
    status = library().a3d_point_scores(logits.data_ptr(), *logits.shape, *_at((entropy, margin)))
    return reference.entropy_and_margin(logits) if status == _BAD_VALUE else (entropy, margin)


def voxel_mean(features: Tensor, point_to_voxel: Tensor, members: Tensor, splits: Tensor) -> Tensor:
    """As :func:`.reference.voxel_mean`."""
    if features.element_size() < 4:  # half precision
        return reference.voxel_mean(features, point_to_voxel, members, splits)
    features = features.contiguous()
    out = features.new_empty(len(splits) - 1, features.shape[1])
    arguments = (features.data_ptr(), features.element_size(), *_at((members, splits)))
    checked(library().a3d_mean(*arguments, *out.shape, out.data_ptr()))
    return out


def interpolation(
    points: Tensor, point_splits: Tensor, cells: Tensor, splits: Tensor, stride: int
) -> tuple[Tensor, Tensor]:
    """As :func:`.reference.interpolation`."""
    points, cells = _rows(points), cells.contiguous()
    index = torch.empty(len(points), 8, dtype=torch.int64)
    weight = torch.empty(len(points), 8)
    question = cpu_abi.Interpolation(
        *(points.data_ptr(), points.stride(0), *_at((point_splits, cells, splits))),
        *(len(splits) - 1, stride, _threads(splits), *_at((index, weight))),
    )
    status = library().a3d_interpolation(byref(question))
    if status == _BAD_VALUE:
        return reference.interpolation(points, point_splits, cells, splits, stride)
    checked(status)
    return index, weight


def devoxelize(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """As :func:`.reference.devoxelize`."""
    out = _devoxelized("devoxelize", features, index, weight, len(features), len(index))
    return reference.devoxelize(features, index, weight) if out is None else out


def devoxelize_backward(grad: Tensor, index: Tensor, weight: Tensor, rows: int) -> Tensor:
    """As :func:`.reference.devoxelize_backward`."""
    out = _devoxelized("devoxelize_backward", grad, index, weight, rows, rows)
    return reference.devoxelize_backward(grad, index, weight, rows) if out is None else out


def kernel_map(
    cells: Tensor,
    scan_splits: Tensor,
    offsets: Tensor,
    out_cells: Tensor,
    out_splits: Tensor,
    stride: int,
) -> Tensor:
    """As :func:`.reference.kernel_map`."""
    cells, offsets, out_cells = cells.contiguous(), offsets.contiguous(), out_cells.contiguous()
    out = torch.empty(len(offsets), len(out_cells), dtype=torch.int64)
    status = library().a3d_kernel_map(
        *(cells.data_ptr(), scan_splits.data_ptr(), len(scan_splits) - 1),
        *(offsets.data_ptr(), len(offsets), out_cells.data_ptr(), out_splits.data_ptr()),
        *(stride, out.data_ptr()),
    )
    if status == _BAD_VALUE:
        return reference.kernel_map(cells, scan_splits, offsets, out_cells, out_splits, stride)
    checked(status)
    return out


def _group(splits: Tensor, rows: int, what: str, *source: int | float) -> VoxelTensors | None:
    """The voxels of points or cells, or None where a value is refused."""
    splits = splits.contiguous()
    lib, group, threads = library(), c_void_p(), _threads(splits)
    place = (splits.data_ptr(), len(splits) - 1, threads, byref(group))
    voxels = getattr(lib, f"a3d_group_{what}")(*source, *place)
    if voxels == _BAD_VALUE:
        return None
    checked(voxels)
    try:
        cells = torch.empty(voxels, 3, dtype=torch.int32)
        lengths = (voxels, rows, rows, voxels + 1, len(splits))
        out = cells, *(torch.empty(n, dtype=torch.int64) for n in lengths)
        lib.a3d_group_write(group, byref(cpu_abi.GroupOut(*_at(out))), threads)
    finally:
        lib.a3d_group_free(group)
    return out


def _devoxelized(
    function: str, values: Tensor, index: Tensor, weight: Tensor, voxels: int, rows: int
) -> Tensor | None:
    """Either way of devoxelize, into so many rows; None where a value is refused."""
    wide = sum_dtype(values)
    source, weight, index = (t.contiguous() for t in (values.to(wide), weight.to(wide), index))
    out = torch.zeros(rows, values.shape[1], dtype=wide)
    question = cpu_abi.Devoxelize(
        *(source.data_ptr(), source.element_size(), *_at((index, weight)), *index.shape),
        *(voxels, values.shape[1], out.data_ptr()),
    )
    status = getattr(library(), f"a3d_{function}")(byref(question))
    return None if status == _BAD_VALUE else out.to(values.dtype)


def _classes(prediction: Tensor, num_classes: int) -> Tensor | None:
    """Class of each point as uint8, or None where the reference has something to refuse."""
    if prediction.dtype not in cpu_abi.KINDS:  # halves and short integers: exact
        prediction = prediction.float() if prediction.is_floating_point() else prediction.long()
    prediction = prediction.contiguous()
    out = torch.empty(len(prediction), dtype=torch.uint8)
    kind = cpu_abi.KINDS[prediction.dtype]
    status = library().a3d_classes(
        prediction.data_ptr(), kind, len(prediction), num_classes, out.data_ptr()
    )
    return None if status == _BAD_VALUE else out


def _rows(points: Tensor) -> Tensor:
    """Points whose x, y and z are neighbours in memory, row after row."""
    if points.stride(1) != 1 or points.stride(0) < 3:
        return points[:, :3].contiguous()
    return points


def _threads(splits: Tensor) -> int:
    """Threads have a scan each to themselves."""
    return max(1, min(len(splits) - 1, torch.get_num_threads()))


def _at(tensors: tuple[Tensor, ...]) -> list[int]:
    return [t.data_ptr() for t in tensors]
