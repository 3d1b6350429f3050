"""Voxel kernels: points to voxels, predictions to what to ask, cells to maps (docs/kernels.md).

Public functions check their arguments once and then run the C++ library on CPU tensors, the CUDA
library on CUDA tensors, or, where one is not built, the plain torch reference (the specification).
All give the same integers; entropy and margin of the reference are within 1e-6 of the libraries'.
"""

from annotator3d.kernels.cpu import build_info
from annotator3d.kernels.cuda_library import build_info as cuda_info
from annotator3d.kernels.grouping import group_cells, voxel_features, voxel_mean, voxelize
from annotator3d.kernels.neighbours import devoxelize, interpolation, kernel_map
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.scores import (
    entropy_and_margin,
    voxel_class_histogram,
    voxel_confusion,
    voxel_reduce,
)
from annotator3d.kernels.selection import (
    Selection,
    VoxelPick,
    cells_in_range,
    select_voxels,
    top_voxels,
)
from annotator3d.kernels.voxels import IGNORE, Voxels

__all__ = [
    "IGNORE",
    "SCORE_ONE",
    "Selection",
    "VoxelPick",
    "Voxels",
    "build_info",
    "cells_in_range",
    "cuda_info",
    "devoxelize",
    "group_cells",
    "interpolation",
    "kernel_map",
    "entropy_and_margin",
    "select_voxels",
    "top_voxels",
    "voxel_class_histogram",
    "voxel_confusion",
    "voxel_features",
    "voxel_mean",
    "voxel_reduce",
    "voxelize",
]
