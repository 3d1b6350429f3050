"""active.stored_predictions."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.selector import ScanSelection
from annotator3d.data.files import atomic_write
from annotator3d.data.scan import IGNORE, Scan
from annotator3d.data.scan_source import Prediction
from annotator3d.ledger.records import UNASSIGNED, Cell, Query


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


def predicted_classes(folder: str | Path, queries: Sequence[Query]) -> list[int | None]:
    """How many classes were predicted in each query's voxel; None where that was not stored.

    Args:
        folder: as for `StoredPredictions`.

    Raises ValueError, naming the file, for one that is damaged.
    """
    files: dict[Path, dict[Cell, int]] = {}
    found = []
    for query in queries:
        path = Path(folder) / str(query.round) / f"{query.scan.replace('/', '_')}.npz"
        if path not in files:
            files[path] = _cell_classes(path) if path.is_file() else {}
        found.append(files[path].get(query.cell) or None)
    return found


def _cell_classes(path: Path) -> dict[Cell, int]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if "cell_classes" not in file:  # random rounds, scores of points, earlier versions
                return {}
            cells, counts = file["cells"].tolist(), file["cell_classes"].tolist()
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a stored prediction: {error!r}; delete it") from error
    return {tuple(cell): count for cell, count in zip(cells, counts, strict=True)}


def _translated(classes: NDArray[np.uint8], table: bytes) -> NDArray[np.uint8]:
    """Predictions in other classes; of one that was split it is not known which part."""
    table = table.replace(bytes([UNASSIGNED]), bytes([IGNORE]))
    return np.frombuffer(classes.tobytes().translate(table), np.uint8)


def _spread(values: NDArray, at: NDArray, count: int, fill: float) -> NDArray:
    """Values of some points as values of all."""
    whole = np.full(count, fill, values.dtype)
    whole[at] = values
    return whole


def _keep_for_viewer(
    folder: Path,
    scan: Scan,
    scores: Mapping[str, Tensor],
    chosen: ScanSelection,
    taxonomy: int,
) -> None:
    """Of each finite point: its row in the raw file, its voxel's score and its predicted class.

    The rows are kept as steps from one to the next, mostly 1: a sixth of the size on disk. Of each
    picked voxel the number of predicted classes, which says how long an answer may take.
    """
    steps = np.diff(scan.rows, prepend=0).astype(np.int32)
    arrays = {"row_steps": steps, "score": chosen.point_scores, "taxonomy": np.int64(taxonomy)}
    classes = None
    if "logits" in scores:
        classes = scores["logits"].argmax(1)
    elif "labels_pred" in scores:
        classes = scores["labels_pred"]
    if classes is not None:
        classes = classes[scores["rows"]] if "rows" in scores else classes
        predicted = classes.cpu().numpy().astype(np.uint8)
        counts = [_classes(predicted[pick.point_rows]) for pick in chosen.picks]
        arrays["prediction"] = predicted
        arrays["cells"] = np.array([pick.cell for pick in chosen.picks], np.int32)
        arrays["cell_classes"] = np.array(counts, np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(_file_for_viewer(folder, scan.id)) as file:
        np.savez_compressed(file, **arrays)


def _classes(predicted: np.ndarray) -> int:
    return len(np.setdiff1d(predicted, IGNORE))


def _file_for_viewer(folder: Path, scan_id: str) -> Path:
    return folder / f"{scan_id.replace('/', '_')}.npz"
