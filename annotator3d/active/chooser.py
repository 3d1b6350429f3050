"""The chooser of a round: which candidates of all scans are asked about.

It works through the candidates by utility and keeps one if its scan is not full and no voxel that
was asked before, in this round or an earlier one, lies within the spacing. What moves is elsewhere
in the next scan, so it neither keeps the spacing nor takes a place. Strata (classes,
clusters) choose before, each up to its quota. It depends on the candidates alone: on their
utilities, ranks, scans and places, never on the order in which they are given.

Spacing in the world, also across rounds: LiDAL (ECCV 2022), whose `sv_dis_thresh` is 5 m.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.budget import round_hash

# The cell itself first, where a neighbour is likeliest.
_AROUND = sorted(product((-1, 0, 1), repeat=3), key=lambda step: sum(map(abs, step)))


@dataclass(frozen=True)
class Candidates:
    """Voxels of many scans that may be asked about, n in all; one may be in several strata."""

    scan: NDArray[np.int32]
    """[n] number of its scan."""
    stratum: NDArray[np.int32]
    """[n], -1: among the highest utilities of the scan."""
    rank: NDArray[np.int32]
    """[n] in its scan and stratum, 0 the best."""
    utility: NDArray[np.float64]
    """[n]."""
    cell: NDArray[np.int32]
    """[n, 3]."""
    num_points: NDArray[np.int32]
    """[n]."""
    place: NDArray[np.float64]
    """[n, 3] centre in metres, in the world of its scan."""
    moves: NDArray[np.bool_]
    """[n] whether it is predicted to be of a class that moves: such a voxel keeps no spacing."""

    def __len__(self) -> int:
        return len(self.scan)

    @staticmethod
    def join(parts: Sequence[Candidates]) -> Candidates:
        names = Candidates.__dataclass_fields__
        return Candidates(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


@dataclass(frozen=True)
class Limits:
    """What a round may ask."""

    budget: int
    """Voxels over all scans."""
    per_scan: int
    spacing: float | None = None
    """Least distance of two voxels in metres; None: any."""
    quotas: Sequence[tuple[int, int]] = ()
    """(stratum, most voxels), in the order in which the strata choose."""


class Spacing:
    """Places that are taken, world by world, on a grid whose cells are as wide as the spacing."""

    def __init__(self, metres: float) -> None:
        self.metres = metres
        self._taken: dict[tuple, list[tuple[float, float, float]]] = defaultdict(list)

    def take(self, world: object, place: tuple[float, float, float]) -> None:
        self._taken[(world, *self._cell(place))].append(place)

    def is_free(self, world: object, place: tuple[float, float, float]) -> bool:
        """Whether nothing taken in this world is nearer than the spacing."""
        x, y, z = self._cell(place)
        for i, j, k in _AROUND:
            for other in self._taken.get((world, x + i, y + j, z + k), ()):
                if math.dist(place, other) < self.metres:
                    return False
        return True

    def _cell(self, place: tuple[float, float, float]) -> tuple[int, int, int]:
        x, y, z = place
        size = self.metres
        return math.floor(x / size), math.floor(y / size), math.floor(z / size)


def choose(
    candidates: Candidates,
    scans: Sequence[str],
    worlds: Sequence[object],
    limits: Limits,
    seed: int,
    round: int,
    taken: Spacing | None = None,
) -> NDArray[np.int64]:
    """Rows of the candidates that are asked about, in the order in which they were chosen.

    Equal utilities: the better rank in its scan first, then a hash of (seed, round, scan id), as in
    `budget.rank_round`.

    Args:
        scans: id of each scan number.
        worlds: of each scan number; places of one world may be compared.
        taken: places of earlier rounds, to which those of this one are added; needed for a spacing.
    """
    if limits.spacing is not None and taken is None:
        taken = Spacing(limits.spacing)
    order = _order(candidates, scans, seed, round)
    chosen: list[int] = []
    used: dict[int, int] = defaultdict(int)
    voxels: set[tuple[int, ...]] = set()

    def choose_from(rows: Iterator[int], most: int) -> None:
        for row in rows:
            if most <= 0:
                return
            scan = int(candidates.scan[row])
            voxel = (scan, *candidates.cell[row].tolist())
            if used[scan] >= limits.per_scan or voxel in voxels:
                continue
            place = tuple(candidates.place[row].tolist())
            if taken is not None and not candidates.moves[row]:
                if not taken.is_free(worlds[scan], place):
                    continue
                taken.take(worlds[scan], place)
            used[scan] += 1
            voxels.add(voxel)
            chosen.append(row)
            most -= 1

    by_stratum = candidates.stratum[order]
    for stratum, quota in limits.quotas:
        rows = order[by_stratum == stratum]
        choose_from(iter(rows.tolist()), min(quota, limits.budget - len(chosen)))
    choose_from(iter(order[by_stratum == -1].tolist()), limits.budget - len(chosen))
    return np.array(chosen, np.int64)


def class_quotas(frequencies: NDArray[np.int64], budget: int, share: float) -> list:
    """Quotas of classes: this share of the budget, equally; the rarest predicted class first.

    What the share does not divide evenly goes to the rarest. A class that is predicted nowhere has
    no candidates, so its part goes on to the others.

    Args:
        frequencies: [C] predicted points of each class in the pool.
        share: 0..1.
    """
    order = [c for c in np.argsort(frequencies, kind="stable").tolist() if frequencies[c] > 0]
    if not order:
        return []
    each, more = divmod(round(share * budget), len(order))
    return [(c, each + (place < more)) for place, c in enumerate(order)]


def _order(
    candidates: Candidates, scans: Sequence[str], seed: int, round: int
) -> NDArray[np.int64]:
    """Rows by utility, rank, hash of the scan, and its id."""
    of_scan = np.array([round_hash(seed, round, scan) for scan in scans], np.uint64)
    by_id = np.argsort(np.argsort(np.array(scans, dtype=object), kind="stable"))
    keys = (by_id[candidates.scan], of_scan[candidates.scan], candidates.rank)
    return np.lexsort((*keys, -candidates.utility))
