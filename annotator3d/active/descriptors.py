"""What the voxels of a scan look like, without a network: heights, shapes, densities.

Shapes: Guinard and Landrieu (ISPRS Archives XLII-1/W1, 2017), as in superpoint graphs (Landrieu and
Simonovsky, CVPR 2018), over the points of the 27 voxels about each one.

Sums are of integers and voxels are worked through in the order of their cells, so the order of the
points changes no bit.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.kernels.neighbours import kernel_map
from annotator3d.kernels.voxels import Voxels

GROUND_EDGE = 2.0
"""Edge in metres of the columns in which the ground is looked for."""
_ONE_METRE = 1024  # units of coordinates inside a voxel: about a millimetre
_ONE = 2**16  # units of intensities
_LEAST_DEVIATION = 0.001  # metres; below, points are one place
_AROUND = tuple(product((-1, 0, 1), repeat=3))


class Descriptors(NamedTuple):
    """Of voxels, [V] float64 each."""

    height: NDArray[np.float64]
    """Metres of the mean of the voxel's points above the ground."""
    range: NDArray[np.float64]
    """Metres from the sensor to the centre of the voxel, horizontally."""
    linearity: NDArray[np.float64]
    """0..1 as the next three; 0 where all points about the voxel are one place."""
    planarity: NDArray[np.float64]
    scattering: NDArray[np.float64]
    verticality: NDArray[np.float64]
    """0 on level ground, 1 along a pole, about 0.7 on a wall."""
    density: NDArray[np.float64]
    """log2 of the points in the voxels about it."""
    intensity: NDArray[np.float64]
    """Mean of the voxel's points; 0 where none is known."""


def describe_voxels(
    xyz: Tensor,
    voxels: Voxels,
    voxel_size: float,
    intensity: Tensor | None = None,
    rows: Tensor | None = None,
) -> Descriptors:
    """The descriptors of the voxels of one scan.

    Args:
        xyz: [N, 3] float32 metres, sensor frame.
        voxels: of these points, with this size in metres.
        intensity: [N], or None.
        rows: [K] numbers of the voxels that are described; None: all, in their order.
    """
    order = np.lexsort(voxels.cells.cpu().numpy().T)
    cells = voxels.cells.cpu()[order]
    place = np.argsort(order)  # of each voxel in this order
    voxel = torch.from_numpy(place)[voxels.point_to_voxel.cpu()]
    counts, means, spreads = _moments(xyz.cpu(), cells, voxel, voxel_size)
    values = torch.zeros(len(voxel)) if intensity is None else intensity.cpu()
    bright = _sums((values.double() * _ONE).round().long()[:, None], voxel, len(cells))
    wanted = place if rows is None else place[rows.cpu().numpy()]
    centres = (cells[:, :2].double().numpy() + 0.5) * voxel_size
    ground = np.full(len(cells), np.inf)
    np.minimum.at(ground, voxel.numpy(), ground_heights(xyz))
    height = cells[:, 2].double().numpy() * voxel_size + means[:, 2] - ground
    total, shapes = _shapes(counts, means, spreads, cells, wanted, voxel_size)
    return Descriptors(
        height[wanted],
        np.hypot(centres[:, 0], centres[:, 1])[wanted],
        *shapes.T,
        np.log2(total),
        (bright[:, 0] / _ONE / counts)[wanted],
    )


def ground_heights(xyz: Tensor) -> NDArray[np.float64]:
    """[N] metres, the height of the ground below each point, sensor frame.

    Each column of 2 m has a lowest point. The ground is the lower quartile of those of the 3 x 3
    columns about a point, so that neither a reflection below the ground nor one column without
    ground matters.
    """
    points = xyz.cpu().double().numpy()
    columns = np.floor(points[:, :2] / GROUND_EDGE).astype(np.int64)
    known, column = np.unique(columns, axis=0, return_inverse=True)
    column = column.reshape(-1)
    lowest = np.full(len(known), np.inf)
    np.minimum.at(lowest, column, points[:, 2])
    row = {tuple(at): i for i, at in enumerate(known.tolist())}
    around = np.full((len(known), 9), np.inf)
    for k, (dx, dy) in enumerate(product((-1, 0, 1), repeat=2)):
        near = [row.get((x + dx, y + dy), -1) for x, y in known.tolist()]
        around[:, k] = np.append(lowest, np.inf)[near]
    there = np.isfinite(around).sum(1)
    quartile = np.take_along_axis(np.sort(around, 1), (there // 4)[:, None], 1)
    return quartile[column, 0]


def _moments(
    xyz: Tensor, cells: Tensor, voxel: Tensor, size: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of the points of each voxel: their number [V], mean [V, 3] in metres from the lowest corner
    of the voxel, and the sums [V, 3, 3] of the products of these coordinates."""
    inside = ((xyz.double() - cells.double()[voxel] * size) * _ONE_METRE).round().long()
    products = (inside[:, :, None] * inside[:, None, :]).reshape(-1, 9)
    counts = _sums(torch.ones_like(voxel)[:, None], voxel, len(cells))[:, 0]
    means = _sums(inside, voxel, len(cells)) / _ONE_METRE / counts[:, None]
    return counts, means, _sums(products, voxel, len(cells)).reshape(-1, 3, 3) / _ONE_METRE**2


def _sums(values: Tensor, voxel: Tensor, count: int) -> NDArray[np.float64]:
    """[count, D] exact sums of integers [N, D]."""
    return values.new_zeros(count, values.shape[1]).index_add_(0, voxel, values).double().numpy()


def _shapes(
    counts: NDArray[np.float64],
    means: NDArray[np.float64],
    spreads: NDArray[np.float64],
    cells: Tensor,
    wanted: NDArray[np.int64],
    size: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points about each wanted voxel [K], and linearity, planarity, scattering, verticality [K, 4].
    Each is computed by itself, so the others change no bit of it."""
    k, offsets = len(wanted), torch.tensor(_AROUND, dtype=torch.int32)
    all_cells, all_wanted = torch.tensor([0, len(cells)]), torch.tensor([0, k])
    rows = kernel_map(cells, all_cells, offsets, cells[wanted], all_wanted).numpy()
    total, sums, squares = np.zeros(k), np.zeros((k, 3)), np.zeros((k, 3, 3))
    for offset, row in zip(_AROUND, rows, strict=True):
        n = np.where(row >= 0, counts[row], 0)
        mean = means[row]
        moved = mean + np.array(offset) * size
        total += n
        sums += n[:, None] * moved
        by_move = moved[:, :, None] * moved[:, None, :] - mean[:, :, None] * mean[:, None, :]
        squares += (row >= 0)[:, None, None] * spreads[row] + n[:, None, None] * by_move
    mean = sums / total[:, None]
    covariance = squares / total[:, None, None] - mean[:, :, None] * mean[:, None, :]
    values, vectors = np.linalg.eigh(covariance)
    deviations = np.sqrt(np.maximum(values, 0))  # ascending
    known = deviations[:, 2] > _LEAST_DEVIATION
    third, second, first = np.where(known[:, None], deviations, 0).T
    unit = np.where(known, first, 1)
    main = (np.abs(vectors) * deviations[:, None, :]).sum(2)
    vertical = main[:, 2] / np.where(known, np.linalg.norm(main, axis=1), 1)
    shapes = [(first - second) / unit, (second - third) / unit, third / unit, vertical * known]
    return total, np.column_stack(shapes)
