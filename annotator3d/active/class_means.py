"""Mean class probabilities of the voxels of scans, kept between passes and rounds:
``rounds/N/means/SS_FFFFFF.npz`` with ``cells`` [V, 3] int32 and ``means`` [V, C] uint8, in 1 / 255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.evidence import Agreement
from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.scan import file_stem
from annotator3d.data.scan_source import Pose
from annotator3d.kernels.grouping import voxel_mean, voxelize

_FULL = 255


def means_of_voxels(
    xyz: NDArray[np.float32], voxel_size: float, prediction: Tensor, rows: Tensor | None
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Cells [V, 3] of a scan and the mean softmax [V, C] of their points, in 1 / 255.

    Args:
        prediction: logits [M, C]. rows: [N] the row of each point; None: row i is point i's.

    Raises ValueError for a prediction without probabilities.
    """
    if prediction.dim() != 2:
        raise ValueError("class means need logits [N, C], not classes or scores of points")
    voxels = voxelize(torch.from_numpy(xyz), voxel_size)
    probabilities = prediction.float().softmax(1).cpu()
    if rows is not None:
        probabilities = probabilities[rows.cpu()]
    means = voxel_mean(probabilities, voxels)
    return voxels.cells.numpy(), (means * _FULL).round().byte().numpy()


def store_means(path: Path, cells: NDArray[np.int32], means: NDArray[np.uint8]) -> None:
    """Write the means of a scan; creates the folder."""
    make_folder(path.parent)
    with atomic_write(path) as file:
        np.savez(file, cells=cells, means=means)


class MeansOfScans:
    """Reads stored means. `folder` is ``rounds/`` of a work directory."""

    def __init__(self, folder: Path, voxel_size: float) -> None:
        self.folder, self.voxel_size = Path(folder), voxel_size

    def file(self, round: int, scan_id: str) -> Path:
        return self.folder / str(round) / "means" / f"{file_stem(scan_id)}.npz"

    def of_round(
        self, round: int, scan_id: str, cells: NDArray[np.int32]
    ) -> NDArray[np.float32] | None:
        """[V, C] of these cells by an earlier round; None where it has stored none."""
        path = self.file(round, scan_id)
        if not path.is_file():
            return None
        known, means = self._read(path)
        at = _find(known, cells)
        if (at < 0).any():
            raise ValueError(f"{path} is of another scan than {scan_id} as it is now; delete it")
        return means[at].astype(np.float32) / _FULL

    def agreement(
        self,
        round: int,
        scan_id: str,
        others: Sequence[str],
        cells: NDArray[np.int32],
        pose: Callable[[str], Pose | None],
    ) -> Agreement:
        """What a scan and those of `others` whose poses are of its world predict at its cells.

        A voxel of another scan is of the cell that its centre lies in.
        """
        own = self.of_round(round, scan_id, cells)
        means, entropy = own.copy(), _entropy(own)
        scans, here = np.ones(len(cells), np.int64), pose(scan_id)
        for other in others if here is not None else ():
            there = pose(other)
            if there is None or there.world != here.world:
                continue
            known, found = self._read(self.file(round, other))
            to_here = np.linalg.inv(here.matrix) @ there.matrix
            centres = (known + 0.5) * self.voxel_size @ to_here[:3, :3].T + to_here[:3, 3]
            at = _find(np.floor(centres / self.voxel_size).astype(np.int32), cells)
            seen, theirs = at >= 0, found[at].astype(np.float32) / _FULL
            means[seen] += theirs[seen]
            entropy[seen] += _entropy(theirs[seen])
            scans += seen
        return Agreement(means / scans[:, None], entropy / scans, scans)

    def _read(self, path: Path) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        with np.load(path, allow_pickle=False) as file:
            return file["cells"], file["means"]


def _entropy(p: NDArray[np.float32]) -> NDArray[np.float32]:
    """[V] bits."""
    with np.errstate(divide="ignore"):
        return -(p * np.where(p > 0, np.log2(p), 0)).sum(1)


def _find(known: NDArray[np.int32], wanted: NDArray[np.int32]) -> NDArray[np.int64]:
    """Row of each wanted cell among the known ones (the first of several); -1: there is none."""
    both, number = np.unique(np.concatenate([known, wanted]), axis=0, return_inverse=True)
    number = number.reshape(-1)
    first = np.full(len(both), -1, np.int64)
    first[number[: len(known)][::-1]] = np.arange(len(known))[::-1]
    return first[number[len(known) :]]
