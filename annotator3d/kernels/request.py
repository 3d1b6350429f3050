"""The arguments of a selection, which every implementation of `select` takes."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SelectionRequest(NamedTuple):
    """The checked arguments of one selection: N points of B scans, the best k voxels of each scan.

    The operator ``annotator3d::select`` takes the fields one by one, in this order.
    """

    points: Tensor
    """[N, 3+] float32; the first three columns are xyz in metres."""
    splits: Tensor
    """[B+1] int64, scan b has the points ``splits[b]:splits[b+1]``."""
    size: float
    """Edge of a voxel in metres."""
    prediction: Tensor
    """Logits [M, C] float32 (or float64 with score 'vcd'), labels [M] uint8, int32 or int64, or
    anything empty with score 'none'."""
    rows: Tensor
    """[N] int64, row of the prediction of each point; empty: row i is point i's (M = N)."""
    num_classes: int
    score: str
    """'none', 'vcd', 'entropy' or 'margin'."""
    reduce: str
    """'max' or 'mean'."""
    table: Tensor
    """See `score_table`; for 'vcd' it is long enough for the largest voxel that can be scored."""
    asked: Tensor
    """[Q, 3] int32, cells that are never picked."""
    asked_splits: Tensor
    """[B+1] int64, scan b has the asked cells ``asked_splits[b]:asked_splits[b+1]``."""
    seeds: Tensor
    """[B] int64, for the order of equal scores."""
    k: int
    """Most voxels to pick in a scan."""
    min_points: int
    """A voxel with fewer points is not picked."""
    max_range: float
    """Metres; a voxel whose centre lies farther away horizontally is not picked; inf: no limit."""
    want_scores: bool
    """Whether the score of each point's voxel is wanted."""
