"""The improved random baseline, and a first round without a network: all kinds of places alike."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.active.draws import uniform
from annotator3d.active.evidence import Evidence
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.voxel_shapes import SHAPES, heights, shapes
from annotator3d.kernels.grouping import voxel_mean
from annotator3d.registry import STRATEGIES

RANGES = (10.0, 20.0, 40.0)  # metres from the sensor, horizontally
HEIGHTS = (0.3, 1.0, 2.5)  # metres above the ground
FULL = 5  # points, from which on a shape can be told


@STRATEGIES.register_module("geometry_random")
class GeometryRandom(QueryStrategy):
    """Random voxels, equally many of each kind that a scan has. It needs no network.

    A kind is a bin of range (10, 20, 40 m), height above the ground (0.3, 1, 2.5 m), shape of the
    points around it (linear, planar, scattered) and intensity (thirds of the scan). The kinds take
    turns, in each scan and from round to round: drawn voxel by drawn voxel, those of at least 5
    points before all others.

    Stratified sampling; that active learning must beat an improved random baseline: nnActive (TMLR
    08/2025, arXiv 2511.19183).
    """

    name = "geometry_random"
    needs_model = False

    def score(self, evidence: Evidence) -> Tensor:
        """[V], minus the number of voxels of its kind that are asked before it."""
        voxels = evidence.voxels
        sparse = (voxels.counts < FULL).long()
        kind = kinds(evidence) * 2 + sparse
        draw = uniform(voxels.cells, evidence.moment.seed, evidence.scan_id, self.name)
        order = draw.argsort()
        order = order[kind[order].argsort(stable=True)]
        turn = torch.empty_like(order)
        sizes = kind.bincount()
        turn[order] = (
            torch.arange(len(order), device=order.device) - ((sizes.cumsum(0) - sizes)[kind[order]])
        )
        return -(turn + sparse * len(voxels)).double()


def kinds(evidence: Evidence) -> Tensor:
    """[V] int64, bin of each voxel; without an intensity all are of one."""
    voxels, size = evidence.voxels, evidence.voxel_size
    centres = (voxels.cells.double() + 0.5) * size
    kind = _bins(centres[:, :2].square().sum(1).sqrt(), RANGES)
    kind = kind * (len(HEIGHTS) + 1) + _bins(heights(voxels, size), HEIGHTS)
    kind = kind * len(SHAPES) + shapes(evidence.xyz, voxels, size)
    return kind * 3 + _thirds(evidence)


def _bins(values: Tensor, edges: tuple[float, ...]) -> Tensor:
    return torch.bucketize(values, torch.tensor(edges, dtype=values.dtype, device=values.device))


def _thirds(evidence: Evidence) -> Tensor:
    """[V] 0, 1 or 2: the third of the scan's voxels that a voxel's mean intensity lies in."""
    voxels = evidence.voxels
    if evidence.intensity is None or len(voxels) == 0:
        return torch.zeros_like(voxels.counts)
    steps = (evidence.intensity.to(voxels.cells.device).double() * 2**16).round()  # exact sums
    mean = voxel_mean(steps[:, None], voxels)[:, 0]
    ordered, v = mean.sort().values, len(mean)
    return (mean > ordered[(v - 1) // 3]).long() + (mean > ordered[2 * (v - 1) // 3]).long()
