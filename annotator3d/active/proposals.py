"""What a person is offered: the stored prediction of a round, and answers for the same place.

The queue asks where the network is confused, so its guess inside a mixed voxel is worth little and
pulls people towards it (anchoring). Therefore it is offered by default only where all points of the
voxel have one predicted class.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.records import IGNORE, UNASSIGNED
from annotator3d.data.scan import Scan

OFFERS = ("uniform", "all", "off")
"""For which voxels a prediction is offered: those of one predicted class, all, or none."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a round's selection stored of one scan, one value per point of `Scan.xyz`."""

    classes: NDArray[np.uint8] | None  # [N] train ids, 255 = none; None if only scores were given
    score: NDArray[np.float32]  # [N] score of the voxel that each point lies in, NaN = none


@dataclass(frozen=True, eq=False)
class Proposal:
    """Labels that one key accepts."""

    labels: NDArray[np.uint8]  # [n] one per point of the voxel
    source: str  # "prediction", or "place": answers for the same place in other scans
    queries: tuple[int, ...] = ()  # the queries whose answers it comes from


class StoredPredictions:
    """The folder ``rounds/`` of a work directory, which `engine.selection` writes.

    Args:
        folder: holds ``N/SS_FFFFFF.npz`` for round N and scan ``SS/FFFFFF``.
        to_today: `Ledger.to_today`, by which predictions of earlier classes are read.
    """

    def __init__(self, folder: str | Path, to_today: Mapping[int, bytes] | None = None) -> None:
        self.folder, self._to_today = Path(folder), to_today or {}

    def __call__(self, round: int, scan: Scan) -> Prediction | None:
        """The prediction of a round on a scan; None where none was stored (random rounds).

        Raises ValueError, naming the file, for one that is damaged or of another scan.
        """
        path = self.folder / str(round) / f"{scan.id.replace('/', '_')}.npz"
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            rows = arrays["rows"] if "rows" in arrays else arrays["row_steps"].cumsum()
            score, classes = arrays["score"], arrays.get("prediction")
            version = int(arrays.get("taxonomy", 1))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a stored prediction: {error!r}; delete it") from error
        at = np.searchsorted(scan.rows, rows)
        if len(score) != len(rows) or not np.array_equal(scan.rows[at % max(len(scan), 1)], rows):
            raise ValueError(f"{path} is of another scan than {scan.id} as it is now; delete it")
        if classes is not None and version in self._to_today:
            classes = _translated(classes, self._to_today[version])
        return Prediction(
            None if classes is None else _spread(classes, at, len(scan), IGNORE),
            _spread(score.astype(np.float32), at, len(scan), np.nan),
        )


def _translated(classes: NDArray[np.uint8], table: bytes) -> NDArray[np.uint8]:
    """Predictions in other classes; of one that was split it is not known which part."""
    table = table.replace(bytes([UNASSIGNED]), bytes([IGNORE]))
    return np.frombuffer(classes.tobytes().translate(table), np.uint8)


def _spread(values: NDArray, at: NDArray, count: int, fill: float) -> NDArray:
    """Values of some points as values of all."""
    whole = np.full(count, fill, values.dtype)
    whole[at] = values
    return whole


def from_prediction(predicted: NDArray[np.uint8] | None, offer: str) -> Proposal | None:
    """The predicted classes [n] of a voxel as a proposal, where `offer` (of `OFFERS`) allows it."""
    if predicted is None or offer == "off" or not len(predicted) or (predicted == IGNORE).any():
        return None
    if offer == "uniform" and len(np.unique(predicted)) > 1:
        return None
    return Proposal(predicted, "prediction")


def from_place(
    num_points: int,
    answers: Sequence[tuple[int, NDArray[np.uint8]]],
    movable: frozenset[int] | None,
) -> Proposal | None:
    """One class for the voxel, if that is what the answers for the same place agree on.

    Args:
        num_points: of the voxel.
        answers: (query, labels) of answered voxels at the same place.
        movable: train ids of things that move, which may have left since; None: nobody has said
            which, so nothing is offered.
    """
    if movable is None or not answers:
        return None
    found = np.unique(np.concatenate([labels for _, labels in answers]))
    if len(found) != 1 or found[0] == IGNORE or int(found[0]) in movable:
        return None
    labels = np.full(num_points, found[0], np.uint8)
    return Proposal(labels, "place", tuple(query for query, _ in answers))
