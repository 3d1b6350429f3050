"""Voxel kernels: points to voxels, predictions to confusion, cells to kernel maps.

Public functions check their arguments once and then run the C++ library on CPU tensors, or the
plain torch reference (:mod:`.reference`, the specification) where the library is not built and on
CUDA tensors. Both give the same integers bit for bit.
"""

from .api import (
    group_cells,
    kernel_map,
    top_voxels,
    voxel_class_histogram,
    voxel_confusion,
    voxel_reduce,
    voxelize,
)
from .native import build_info
from .score import SCORE_ONE
from .voxels import IGNORE, Voxels

__all__ = [
    "IGNORE",
    "SCORE_ONE",
    "Voxels",
    "build_info",
    "group_cells",
    "kernel_map",
    "top_voxels",
    "voxel_class_histogram",
    "voxel_confusion",
    "voxel_reduce",
    "voxelize",
]
