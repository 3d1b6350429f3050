"""The C++ library (csrc/): found, loaded with ctypes, called with the reference's signatures.

The library knows nothing of torch: it gets pointers and lengths, and the interpreter lock is
released while it works. It refuses the values that the reference refuses; the reference then runs
on them to raise with words.
"""

from __future__ import annotations

import ctypes
import site
import sys
import sysconfig
from ctypes import c_char_p, c_float, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from . import reference
from .reference import Group

_ABI = 1
_NAMES = ("libannotator3d_cpu.so", "libannotator3d_cpu.dylib", "annotator3d_cpu.dll")
_BAD_VALUE, _NO_MEMORY = -1, -2

_TYPES = {"p": c_void_p, "i": c_int64, "f": c_float}
_SIGNATURES = {  # in the order of csrc/abi.h
    "a3d_voxelize": "pifpi" + "pppppp",
    "a3d_group_cells": "ppi" + "pppppp",
    "a3d_labels_u8": "piip",
    "a3d_labels_i32": "piip",
    "a3d_labels_i64": "piip",
    "a3d_argmax_f32": "piip",
    "a3d_argmax_f64": "piip",
    "a3d_histogram": "pppiip",
    "a3d_confusion": "pppipp",
    "a3d_kernel_map": "ppipippip",
}


def folders() -> list[Path]:
    """Where the library may lie: beside this file, then in any site-packages.

    An editable install puts it into site-packages while this file is in the checkout, and so does a
    plain install when Python starts in the checkout, whose folder then shadows the installed one.
    """
    roots = [sysconfig.get_path("platlib"), *site.getsitepackages(), site.getusersitepackages()]
    found = [Path(__file__).parent, *(Path(r) / "annotator3d/kernels" for r in roots + sys.path)]
    return list(dict.fromkeys(found))


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    reason = "the C++ library is not built"
    for path in (folder / name for folder in folders() for name in _NAMES):
        if not path.is_file():
            continue
        try:
            lib = ctypes.CDLL(str(path))
            lib.a3d_abi.restype = c_int64
            if lib.a3d_abi() != _ABI:
                reason = f"{path} is from another version (reinstall annotator3d)"
                continue
            for name, types in _SIGNATURES.items():
                function = getattr(lib, name)
                function.argtypes, function.restype = [_TYPES[t] for t in types], c_int64
            lib.a3d_build.restype = c_char_p
        except (OSError, AttributeError) as error:
            reason = f"{path} cannot be loaded ({error})"
            continue
        return lib, str(path)
    return None, reason


def library() -> ctypes.CDLL | None:
    """The loaded library, or None."""
    return _load()[0]


def missing_reason() -> str:
    """Why there is no library, in words."""
    return _load()[1]


def build_info() -> dict[str, str | None]:
    """What runs: library (path or None), variant ('cpp' or 'reference'), version, compiler, flags;
    reason says why there is no library."""
    lib, note = _load()
    if lib is None:
        return dict.fromkeys(("library", "version", "compiler", "flags")) | {
            "variant": "reference",
            "reason": note,
        }
    version, compiler, flags = lib.a3d_build().decode().split("\n")
    return {
        "library": note,
        "variant": "cpp",
        "version": version,
        "compiler": compiler,
        "flags": flags,
    }


def voxelize(points: Tensor, size: float, splits: Tensor) -> Group:
    """As :func:`.reference.voxelize`."""
    if points.stride(1) != 1 or points.stride(0) < 3:
        points = points[:, :3].contiguous()
    out = _group_buffers(points, splits)
    status = library().a3d_voxelize(
        points.data_ptr(), points.stride(0), size, splits.data_ptr(), len(splits) - 1, *_at(out)
    )
    if status == _BAD_VALUE:
        reference.voxelize(points, size, splits)
    return _trim(out, _done(status))


def group_cells(cells: Tensor, splits: Tensor) -> Group:
    """As :func:`.reference.group_cells`."""
    cells, out = cells.contiguous(), _group_buffers(cells, splits)
    status = library().a3d_group_cells(
        cells.data_ptr(), splits.data_ptr(), len(splits) - 1, *_at(out)
    )
    return _trim(out, _done(status))


def histogram(
    labels: Tensor,
    point_to_voxel: Tensor,
    members: Tensor,
    splits: Tensor,
    scan: Tensor,
    num_classes: int,
) -> Tensor:
    """As :func:`.reference.histogram`."""
    classes = _classes(labels, num_classes)
    if classes is None:
        return reference.histogram(labels, point_to_voxel, members, splits, scan, num_classes)
    out = torch.zeros(len(scan), num_classes, dtype=torch.int32)
    _done(
        library().a3d_histogram(
            classes.data_ptr(), members.data_ptr(), splits.data_ptr(), *out.shape, out.data_ptr()
        )
    )
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
    classes = _classes(prediction, num_classes)
    if classes is None:
        return reference.confusion(
            prediction, point_to_voxel, members, splits, scan, table, num_classes
        )
    out = torch.empty(len(scan), dtype=torch.int64)
    pointers = _at((classes, members, splits))
    _done(library().a3d_confusion(*pointers, len(scan), table.data_ptr(), out.data_ptr()))
    return out


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
        reference.kernel_map(cells, scan_splits, offsets[:0], out_cells, out_splits, stride)
    _done(status)
    return out


def _classes(prediction: Tensor, num_classes: int) -> Tensor | None:
    """Class of each point as uint8, or None where the reference has something to refuse."""
    if prediction.dim() == 2:
        wide = prediction.dtype == torch.float64
        prediction = prediction if wide else prediction.float()  # halves: exact
        convert = library().a3d_argmax_f64 if wide else library().a3d_argmax_f32
    elif prediction.dtype == torch.uint8:
        convert = library().a3d_labels_u8
    elif prediction.dtype == torch.int32:
        convert = library().a3d_labels_i32
    else:
        prediction, convert = prediction.long(), library().a3d_labels_i64
    prediction = prediction.contiguous()
    out = torch.empty(len(prediction), dtype=torch.uint8)
    status = convert(prediction.data_ptr(), len(prediction), num_classes, out.data_ptr())
    return None if status == _BAD_VALUE else out


def _group_buffers(rows: Tensor, splits: Tensor) -> Group:
    n = len(rows)
    longs = [torch.empty(m, dtype=torch.int64) for m in (n, n, n, n + 1, len(splits))]
    return torch.empty(n, 3, dtype=torch.int32), *longs


def _trim(out: Group, voxels: int) -> Group:
    cells, scan, point_to_voxel, members, splits, scan_splits = out
    # Clones, so that the voxels do not hold the memory that one voxel per point would need.
    return (
        cells[:voxels].clone(),
        scan[:voxels].clone(),
        point_to_voxel,
        members,
        splits[: voxels + 1].clone(),
        scan_splits,
    )


def _at(tensors: tuple[Tensor, ...]) -> list[int]:
    return [t.data_ptr() for t in tensors]


def _done(status: int) -> int:
    if status == _NO_MEMORY:
        raise MemoryError("annotator3d kernels: not enough memory for this batch; pass fewer scans")
    assert status >= 0, "the library refuses a value that the reference takes"
    return status
