"""Which points of a picked voxel an answer labels, where a query does not ask about all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from annotator3d.active.draws import uniform
from annotator3d.kernels.selection import VoxelPick


def draw_points(num_points: int, seed: int, scan_id: str, cell: Sequence[int]) -> list[int]:
    """The points of a voxel in a random order, as places in file order from 0.

    It depends on the arguments alone and is the same on every machine.
    """
    places = torch.zeros(num_points, 3, dtype=torch.int32)
    places[:, 0] = torch.arange(num_points)
    where = f"{scan_id}\0{' '.join(str(int(i)) for i in cell)}"
    return uniform(places, seed, where, "label points").argsort(stable=True).tolist()


def with_label_points(pick: VoxelPick, number: int | None, seed: int, scan_id: str) -> VoxelPick:
    """A pick whose answer labels `number` points; of a smaller voxel all points.

    Points that the strategy has named come first, in their order, then those that a hash of (seed,
    scan, cell) draws. So the points for a smaller number are among those for a larger one.

    Args:
        number: None: all points.

    Raises ValueError where the strategy named points that the voxel does not have, or one twice.
    """
    named = [] if pick.label_points is None else [int(i) for i in pick.label_points]
    if len({*named}) != len(named) or not {*named} <= {*range(pick.num_points)}:
        raise ValueError(
            f"scan {scan_id}, cell {pick.cell}: label_points must be places among its "
            f"{pick.num_points} points, from 0, each once; got {named}"
        )
    if number is None or number >= pick.num_points:
        return replace(pick, label_points=None)
    drawn = draw_points(pick.num_points, seed, scan_id, pick.cell)
    order = [*named, *(place for place in drawn if place not in named)]
    return replace(pick, label_points=tuple(sorted(order[:number])))
