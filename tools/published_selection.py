"""The published voxel selection, written out in torch from its description, defects included.

What Annotator's released code (NeurIPS 2023, arXiv 2310.20293) computes for one scan: cells by
truncation, a table [V, P] of the points in each voxel padded with -1, a loop over the classes, the
best voxel that is not labelled yet. The benchmark runs against it, and tests show its documented
defects beside what annotator3d does. Not for use.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_POINTS = 100
CROWDED_SHARE = 0.01
_FNV_START = 14695981039346656037 - 2**64  # as a signed number
_FNV_PRIME = 1099511628211


@dataclass(frozen=True)
class PublishedVoxels:
    """Voxels of one scan, in the order of the hash of their cell."""

    table: Tensor
    """[V, P] int64: rows of the points in each voxel, the first P at most, padded with -1."""
    counts: Tensor
    """[V] int64: how many of the P are points."""


def cell_hash(cells: Tensor) -> Tensor:
    """FNV-1a of a cell [N, 3] and batch index 0, folded to 60 bits: [N] int64."""
    state = cells.new_full((len(cells),), _FNV_START, dtype=torch.int64)
    for part in (*cells.long().unbind(1), cells.new_zeros(1, dtype=torch.int64)):
        state = (state ^ (part & 0xFFFFFFFF)) * _FNV_PRIME
    return ((state >> 60) & 0xF) ^ (state & 0xFFFFFFFFFFFFFFF)


def published_voxels(xyz: Tensor, size: float) -> PublishedVoxels:
    """Group points xyz [N, 3]; needs at least 100 voxels.

    A voxel counts with its first P points, P the population of the voxel at the 99th percentile and
    at most 100.
    """
    key, order = cell_hash((xyz / size).int()).sort(stable=True)
    _, voxel, counts = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
    crowded = counts.topk(int(CROWDED_SHARE * len(counts))).values
    width = min(MOST_POINTS, int(crowded[-1]))
    place = torch.arange(len(order), device=xyz.device) - (counts.cumsum(0) - counts)[voxel]
    kept = place < width
    table = torch.full((len(counts), width), -1, device=xyz.device)
    table[voxel[kept], place[kept]] = order[kept]
    return PublishedVoxels(table, counts.clamp(max=width))


def vcd(logits: Tensor, voxels: PublishedVoxels) -> Tensor:
    """Entropy of the predicted classes of each voxel; channel 0 means "ignored"."""
    return vcd_of_labels(logits.argmax(1), voxels, logits.shape[1])


def vcd_of_labels(labels: Tensor, voxels: PublishedVoxels, channels: int) -> Tensor:
    """The same from classes [N]."""
    members = labels[voxels.table]
    members[voxels.table == -1] = -1
    total = torch.zeros(len(members), device=labels.device)
    for c in range(1, channels):
        share = (members == c).sum(1) / voxels.counts
        total -= torch.where(share > 0, share * share.log2(), 0.0)
    return total


def entropy(logits: Tensor, voxels: PublishedVoxels) -> Tensor:
    """Largest softmax entropy of the points of each voxel."""
    p = logits.softmax(1)
    points = -(p * p.log2()).sum(1)
    members = points[voxels.table]
    members[voxels.table == -1] = 0
    return members.max(1).values


def margin(logits: Tensor, voxels: PublishedVoxels) -> Tensor:
    """Minus the largest gap between the two likeliest classes, so that the highest is picked."""
    best = logits.softmax(1).topk(2, dim=1).values
    points = best[:, 0] - best[:, 1]
    return -points[voxels.table].max(1).values  # -1 reads the scan's last point


def pick(scores: Tensor, voxels: PublishedVoxels, labelled: Tensor, count: int = 1) -> Tensor:
    """The best voxels whose first point is not labelled; their points get labelled [N] bool."""
    free = (~labelled[voxels.table[:, 0]]).nonzero()[:, 0]
    best = free[scores[free].argsort(descending=True, stable=True)[:count]]
    labelled[voxels.table[best]] = True
    labelled[-1] = False  # what the padding set
    return best
