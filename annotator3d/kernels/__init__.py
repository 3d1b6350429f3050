"""Voxel kernels: points to voxels, predictions to queries, cells to maps (docs/kernels.md).

Public functions check their arguments once and then run the C++ library on CPU tensors, the CUDA
library on CUDA tensors, or, where one is not built, the plain torch reference (the specification).
All give the same integers; entropy and margin of the reference are within 1e-6 of the libraries'.

One row of files for each operation, the same word in each: grouping, scores, selection, neighbours
(public), ``reference/`` (specification), `cpu` and `cuda` (calls of the libraries) and ``csrc/``
(their code). Imports no other folder of the package, and torch only when a name is asked for:
`labels` is for code that runs without torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "IGNORE": "labels",
    "Rulebook": "convolution",
    "SCORE_ONE": "score_table",
    "Selection": "selection",
    "VoxelPick": "selection",
    "Voxels": "voxels",
    "batch_norm": "normalization",
    "build_info": "cpu_library",
    "cells_in_range": "selection",
    "cuda_info": "cuda_library",
    "devoxelize": "neighbours",
    "entropy_and_margin": "scores",
    "group_cells": "grouping",
    "interpolation": "neighbours",
    "kernel_map": "neighbours",
    "lovasz_softmax": "losses",
    "select_voxels": "selection",
    "sparse_convolution": "convolution",
    "strided_rulebook": "convolution",
    "submanifold_rulebook": "convolution",
    "top_voxels": "selection",
    "voxel_class_histogram": "scores",
    "voxel_confusion": "scores",
    "voxel_features": "grouping",
    "voxel_mean": "grouping",
    "voxel_reduce": "scores",
    "voxelize": "grouping",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
