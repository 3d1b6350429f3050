"""The specification of the kernels in plain torch, for any device.

Slow and obvious where the C++ and the CUDA code are fast. The public functions have checked types
and shapes; values are checked here, so that a fast path only has to report that it met a bad value:
the reference then runs and raises an error that explains it. May import `checks`, `labels`,
`request` and `score_table` of this package.
"""

from annotator3d.kernels.reference.convolution import (
    BLOCK_ROWS,
    Pairs,
    check_pairs,
    convolution,
    convolution_weight_gradient,
    sorted_pairs,
    submanifold_pairs,
)
from annotator3d.kernels.reference.grouping import VoxelTensors, group_cells, voxel_mean, voxelize
from annotator3d.kernels.reference.losses import lovasz_softmax
from annotator3d.kernels.reference.neighbours import (
    devoxelize,
    devoxelize_backward,
    interpolation,
    kernel_map,
)
from annotator3d.kernels.reference.normalization import batch_norm, batch_norm_gradient
from annotator3d.kernels.reference.scores import (
    confusion,
    entropy_and_margin,
    histogram,
    reduce_fixed,
)
from annotator3d.kernels.reference.selection import (
    SelectionTensors,
    in_range,
    select,
    tie_hash,
    top_rows,
)

__all__ = [
    "BLOCK_ROWS",
    "Pairs",
    "VoxelTensors",
    "SelectionTensors",
    "batch_norm",
    "batch_norm_gradient",
    "check_pairs",
    "confusion",
    "convolution",
    "convolution_weight_gradient",
    "devoxelize",
    "devoxelize_backward",
    "group_cells",
    "histogram",
    "in_range",
    "interpolation",
    "kernel_map",
    "lovasz_softmax",
    "entropy_and_margin",
    "reduce_fixed",
    "select",
    "sorted_pairs",
    "submanifold_pairs",
    "tie_hash",
    "top_rows",
    "voxel_mean",
    "voxelize",
]
