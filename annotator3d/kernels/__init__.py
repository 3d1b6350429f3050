"""Voxel kernels: points to voxels, predictions to what to ask, cells to maps (docs/kernels.md).

Public functions check their arguments once and then run the C++ library on CPU tensors, the CUDA
library on CUDA tensors, or, where one is not built, the plain torch reference (the specification).
All give the same integers; entropy and margin of the reference are within 1e-6 of the libraries'.
"""

from .api import (
    group_cells,
    point_scores,
    voxel_class_histogram,
    voxel_confusion,
    voxel_features,
    voxel_mean,
    voxel_reduce,
    voxelize,
)
from .api_neighbours import devoxelize, interpolation, kernel_map
from .api_select import cells_in_range, select_voxels, top_voxels
from .dispatch import cuda_info
from .native import build_info
from .picks import Selection, VoxelPick
from .score import SCORE_ONE
from .voxels import IGNORE, Voxels

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
    "point_scores",
    "select_voxels",
    "top_voxels",
    "voxel_class_histogram",
    "voxel_confusion",
    "voxel_features",
    "voxel_mean",
    "voxel_reduce",
    "voxelize",
]
