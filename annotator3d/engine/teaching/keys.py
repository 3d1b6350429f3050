"""What the labels that a scan is taught depend on, as a digest: if it is the same, so are they."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.stored_predictions import stored_file
from annotator3d.data.scan import VoxelLabels
from annotator3d.engine.teaching.posed_scans import PosedScans

VERSION = 3  # of how labels are made; a new one renews them all


class Keys:
    """Digests of the scans of a pool.

    Args:
        settings: all settings that the labels depend on, in words.
        places: None where no answer reaches another scan.
        folder: ``rounds/`` of the work directory, with its predictions.
        agreeing: None where predictions teach nothing.
        round: whose predictions teach.
    """

    def __init__(
        self,
        pool,
        settings: str,
        places: PosedScans | None,
        answers: Mapping[str, Sequence[VoxelLabels]],
        folder: Path,
        agreeing: PosedScans | None = None,
        round: int = 0,
    ) -> None:
        self._pool, self._settings, self._places = pool, settings, places
        self._agreeing, self._round = agreeing, round
        posed = places or agreeing
        self._poses = None if posed is None else posed.poses
        self._answers, self._folder = answers, folder
        self._known: dict[int, bytes] = {}
        self._stored: dict[int, bytes] = {}

    def of(self, index: int) -> str:
        """Digest of what scan `index` is taught: of itself and the scans in its reach."""
        digest = hashlib.blake2b(f"{VERSION} {self._settings}\n".encode(), digest_size=16)
        digest.update(self._scan(index))
        digest.update(_state(self._pool.label_path(index)))
        for voxel in self._answers.get(self._pool.ids[index], ()):
            path = stored_file(self._folder, voxel.round, self._pool.ids[index])
            digest.update(_state(path))
        for other in self._places.within_reach(index) if self._places is not None else ():
            digest.update(self._scan(other))
        if self._agreeing is not None:
            digest.update(f"{self._round}\n".encode())
            for other in (index, *self._agreeing.within_reach(index)):
                digest.update(self._scan(other) + self._predicted(other))
        return digest.hexdigest()

    def _predicted(self, index: int) -> bytes:
        """State of what the round has predicted of a scan."""
        if index not in self._stored:
            path = stored_file(self._folder, self._round, self._pool.ids[index])
            self._stored[index] = _state(path)
        return self._stored[index]

    def _scan(self, index: int) -> bytes:
        """Digest of a scan's file, pose and answers."""
        if index not in self._known:
            digest = hashlib.blake2b(_state(self._pool.path(index)), digest_size=16)
            pose = None if self._poses is None else self._poses[index]
            digest.update(b"none" if pose is None else np.ascontiguousarray(pose).tobytes())
            for voxel in self._answers.get(self._pool.ids[index], ()):
                digest.update(repr((tuple(map(int, voxel.cell)), voxel.round)).encode())
                digest.update(_bytes(voxel.labels))
            self._known[index] = digest.digest()
        return self._known[index]


def _bytes(labels: NDArray[np.uint8]) -> bytes:
    return np.ascontiguousarray(labels, np.uint8).tobytes()


def _state(path: Path) -> bytes:
    """Size and time of a file: what changes when it is written again; none if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return b"none\n"
    return f"{found.st_size} {found.st_mtime_ns}\n".encode()
