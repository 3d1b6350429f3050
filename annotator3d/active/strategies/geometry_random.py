"""The improved random baseline, and a first round without a network: all kinds of places alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from annotator3d.active.descriptors import describe_voxels
from annotator3d.active.draws import uniform
from annotator3d.active.evidence import Evidence
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.registry import STRATEGIES

RANGES = (10.0, 20.0, 40.0)  # metres from the sensor, horizontally
HEIGHTS = (0.3, 1.0, 2.5)  # metres above the ground
FULL = 5  # points, from which on a shape can be told


@STRATEGIES.register_module("geometry_random")
class GeometryRandom(QueryStrategy):
    """Random voxels, equally many of each kind that a scan has. It needs no network.

    A kind is a bin of range (10, 20, 40 m), height above the ground (0.3, 1, 2.5 m), shape of the
    points in the 27 cells around it (linear, planar, scattered; `descriptors`) and intensity
    (thirds of the scan). The kinds take
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
    voxels = evidence.voxels
    found = describe_voxels(evidence.xyz, voxels, evidence.voxel_size, evidence.intensity)
    shapes = np.stack([found.scattering, found.linearity, found.planarity])  # 0: a single place
    ordered, v = np.sort(found.intensity), len(voxels)
    thirds = ordered[[(v - 1) // 3, 2 * (v - 1) // 3]] if v else ordered
    parts = (
        (np.digitize(found.range, RANGES, right=True), len(RANGES) + 1),
        (np.digitize(found.height, HEIGHTS, right=True), len(HEIGHTS) + 1),
        (shapes.argmax(0), len(shapes)),
        (np.digitize(found.intensity, thirds, right=True), 3),
    )
    kind = np.zeros(v, np.int64)
    for bins, count in parts:
        kind = kind * count + bins
    return torch.from_numpy(kind).to(voxels.cells.device)
