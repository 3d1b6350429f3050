"""What a round predicted of its scans: ``rounds/N/SS_FFFFFF.npz`` for round N and scan
``SS/FFFFFF``, written when a round is selected, read by the viewer and by the cost model.

Arrays: ``row_steps`` [M] int32, differences of the rows (in the raw file) of the scan's finite
points, mostly 1, which compress to a sixth of the rows; ``score`` [M] float32, utility of each
point's voxel; ``taxonomy``, version of the class list. If classes were predicted also
``prediction`` [M] uint8 train ids, ``cells`` [Q, 3] int32 of the picked voxels and ``cell_classes``
[Q] uint8, how many classes were predicted in each, from which the time of an answer is estimated.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.scan import IGNORE, Scan, file_stem
from annotator3d.data.scan_source import Prediction
from annotator3d.ledger.records import UNASSIGNED, Cell, Query
from annotator3d.system_errors import in_words, is_refusal


def prediction_file(folder: str | Path, round: int, scan_id: str) -> Path:
    """Where a scan's prediction is written; `folder` is ``rounds/`` of a work directory."""
    return Path(folder) / str(round) / f"{file_stem(scan_id)}.npz"


def stored_file(folder: str | Path, round: int, scan_id: str) -> Path:
    """Where it is read: there, or where an earlier version wrote it."""
    path = prediction_file(folder, round, scan_id)
    before = path.with_name(f"{scan_id.replace('/', '_')}.npz")
    return before if not path.is_file() and before.is_file() else path


def store_prediction(
    path: Path,
    scan: Scan,
    utilities: NDArray[np.float32],
    classes: NDArray[np.uint8] | None = None,
    picked: Mapping[Cell, NDArray[np.int64]] | None = None,
    taxonomy: int = 1,
) -> None:
    """Write what a round predicted of a scan of N points; creates the folder.

    Args:
        path: see `prediction_file`.
        utilities: [N] of each point's voxel.
        classes: [N] predicted train ids, 255 for none; None: only scores of points were given.
        picked: cell -> rows of its points, of the voxels that are asked about.
        taxonomy: version of the ledger's class list that `classes` belong to.
    """
    steps = np.diff(scan.rows, prepend=0).astype(np.int32)
    arrays = {"row_steps": steps, "score": utilities, "taxonomy": np.int64(taxonomy)}
    if classes is not None:
        counts = [_classes_in(classes[points]) for points in (picked or {}).values()]
        arrays["prediction"] = classes
        arrays["cells"] = np.array(list(picked or {}), np.int32).reshape(-1, 3)
        arrays["cell_classes"] = np.array(counts, np.uint8)
    make_folder(path.parent)
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)


class StoredPredictions:
    """Reads the predictions of the rounds of a work directory.

    Args:
        folder: ``rounds/`` of a work directory; see `prediction_file`.
        to_current: `Ledger.to_current`, by which predictions of earlier classes are read.
    """

    def __init__(self, folder: str | Path, to_current: Mapping[int, bytes] | None = None) -> None:
        self.folder, self._to_current = Path(folder), to_current or {}

    def __call__(self, round: int, scan: Scan) -> Prediction | None:
        """The prediction of a round on a scan; None where none was stored (random rounds).

        Raises ValueError, naming the file, for one that is damaged or of another scan.
        """
        path = stored_file(self.folder, round, scan.id)
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            rows = arrays["rows"] if "rows" in arrays else arrays["row_steps"].cumsum()
            score, classes = arrays["score"], arrays.get("prediction")
            version = int(arrays.get("taxonomy", 1))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise _unusable(path, error) from error
        at = np.searchsorted(scan.rows, rows)
        if len(score) != len(rows) or not np.array_equal(scan.rows[at % max(len(scan), 1)], rows):
            raise ValueError(f"{path} is of another scan than {scan.id} as it is now; delete it")
        if classes is not None and version in self._to_current:
            classes = _translated(classes, self._to_current[version])
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
        path = stored_file(folder, query.round, query.scan)
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
        raise _unusable(path, error) from error
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


def _classes_in(predicted: NDArray[np.uint8]) -> int:
    return len(np.setdiff1d(predicted, IGNORE))


def _unusable(path: Path, error: Exception) -> Exception:
    if is_refusal(error):  # nobody knows what the file holds
        return OSError(in_words(error))
    return ValueError(f"{path} is not a stored prediction: {error!r}; delete it")
