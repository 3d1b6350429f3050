"""What one renewal reads of the scans of a pool: points, answers and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.sight import Sight
from annotator3d.active.propagation.teaching import Witness
from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.data.batch import answer_labels, answered_points
from annotator3d.data.scan import IGNORE, Scan, VoxelLabels

Answers = Mapping[str, Sequence[VoxelLabels]]

_KEPT = 24  # scans whose points are kept; one is read again where an answer reaches further


class Reading:
    """The scans of a pool with these answers.

    Args:
        query_size: edge of the voxels that are asked about, metres.
        predictions: of the rounds.
    """

    def __init__(
        self, pool, answers: Answers, query_size: float, predictions: StoredPredictions
    ) -> None:
        self._pool, self._answers, self._size = pool, answers, query_size
        self._predictions = predictions
        self._scans: dict[int, Scan] = {}
        self._witnesses: dict[int, Witness] = {}
        self._labelled: tuple[int, NDArray[np.uint8]] = -1, np.zeros(0, np.uint8)

    def answers(self, index: int) -> Sequence[VoxelLabels]:
        return self._answers.get(self._pool.ids[index], ())

    def is_answered(self, index: int) -> bool:
        """Whether anything was answered about it."""
        return self._pool.ids[index] in self._answers

    def scan(self, index: int) -> Scan:
        """A scan with its truth where there is one; the last few are kept."""
        if index not in self._scans:
            for old in list(self._scans)[:-_KEPT]:
                del self._scans[old]
            labels = self._pool.label_path(index).is_file()
            self._scans[index] = self._pool.read(index, labels=labels)
        return self._scans[index]

    def labels(self, index: int) -> NDArray[np.uint8]:
        """[N] the labels of its answers; kept for the last scan, which is asked for again."""
        if self._labelled[0] != index:
            given = self.answers(index)
            self._labelled = index, answer_labels(self.scan(index), given, self._size)
        return self._labelled[1]

    def answered(self, index: int) -> NDArray[np.bool_]:
        """[N] points of its answered voxels."""
        return answered_points(self.scan(index), self.answers(index), self._size)

    def predicted(self, index: int, round: int) -> NDArray[np.uint8] | None:
        """[N] the classes that a round predicted, 255 for none; None without."""
        found = self._predictions(round, self.scan(index))
        return None if found is None else found.classes

    def witness(self, index: int, pose: NDArray[np.float64]) -> Witness:
        """What was answered about a scan; kept until it is forgotten."""
        if index not in self._witnesses:
            scan, labels = self.scan(index), self.labels(index)
            rows = np.flatnonzero(labels != IGNORE)
            self._witnesses[index] = Witness(pose, scan.xyz[rows], labels[rows], Sight(scan.xyz))
        return self._witnesses[index]

    def forget(self, first: int) -> None:
        """Let go of the witnesses before `first`, which no later scan needs."""
        for index in [index for index in self._witnesses if index < first]:
            del self._witnesses[index]
