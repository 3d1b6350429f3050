"""The published training augmentation: one rotation, scale, flip and shift of a whole scan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FLIPS = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [-1, -1, 1]], dtype=np.float64)


def augment(
    xyz: NDArray[np.floating],
    seed: int,
    epoch: int,
    index: int,
    *,
    rotate: bool = True,
    scale: tuple[float, float] = (0.9, 1.1),
    flip: bool = True,
    translate: float = 0.1,
) -> NDArray[np.float32]:
    """Move a scan as Annotator does in training; a pure function of its arguments.

    In this order: rotation about z, uniform in 0..2 pi; scale, uniform in ``scale``; mirroring,
    each of {nothing, x, y, x and y} with 1/4; one shift for the scan, normal with standard
    deviation ``translate`` metres per axis. Switching one off changes none of the others.

    Args:
        xyz: [N, 3] points in metres, not modified.
        seed, epoch, index: not negative; a resumed run sees the samples of the unbroken one.

    Returns:
        [N, 3] float32, a new array.

    Source: BIT-DA/Annotator, tools/utils/common/seg_utils.py (aug_points), with a generator of its
    own for every sample in place of a global one.
    """
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ValueError(f"xyz must be [N, 3], got {xyz.shape}")
    random = np.random.default_rng([seed, epoch, index])
    angle = random.uniform(0.0, 2.0 * np.pi)
    factor = random.uniform(*scale)
    mirror = _FLIPS[random.integers(len(_FLIPS))]
    shift = random.normal(0.0, 1.0, 3) * translate

    matrix = np.eye(3)
    if rotate:
        cos, sin = np.cos(angle), np.sin(angle)
        matrix[:2, :2] = [[cos, -sin], [sin, cos]]
    matrix *= factor
    if flip:
        matrix = mirror[:, None] * matrix
    # Column by column: a matrix product this thin goes to BLAS, whose threads fight over the cores
    # with the other loader workers.
    x, y, z = xyz.T.astype(np.float64)
    moved = np.empty(xyz.shape, np.float32)
    for axis in range(3):
        a, b, c = matrix[axis]
        moved[:, axis] = a * x + b * y + c * z + shift[axis]
    return moved
