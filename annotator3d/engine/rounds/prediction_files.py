"""Predictions of a network from elsewhere, as files that `annotator3d select` reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from annotator3d.active.prediction_kinds import UnclearPredictionError, settle
from annotator3d.data.formats.kitti import read_label
from annotator3d.data.scan import IGNORE, Scan
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.errors import ConfigError

KINDS = ("logits", "probabilities", "scores", "train_ids", "raw_ids")
_IDS = ("train_ids", "raw_ids")


class PredictionFiles:
    """A `Scorer` that reads what another network predicts, one file for each scan.

    Args:
        folder: holds, for scan ``SS/FFFFFF``, ``SS/FFFFFF.label`` (raw ids, as SemanticKITTI) or
            ``SS/FFFFFF.npy`` (floats, [N, C] logits or probabilities or [N] scores of the strategy;
            integers [N], class ids); or the same below ``sequences/SS/predictions/``.
        taxonomy: maps raw ids to train ids.
        kind: one of `KINDS`, what the ``.npy`` files hold; None: what they look like.
        only_classes: see `active.prediction_kinds.settle`.

    Raises FileNotFoundError for no such folder.
    """

    def __init__(
        self,
        folder: Path,
        taxonomy: Taxonomy,
        kind: str | None = None,
        only_classes: bool = False,
    ) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"--predictions: no folder {folder}")
        self.folder, self.taxonomy = folder, taxonomy
        self.kind, self.only_classes = kind, only_classes

    def check(self, sizes: Iterable[tuple[str, int]]) -> str:
        """Look at the files of all scans, before anything is selected.

        Args:
            sizes: (scan id, points in its file) of each scan.

        Returns:
            what was decided about them, in words; empty if nothing was.

        Raises:
            FileNotFoundError: a scan has none.
            ConfigError: it is not clear whether class ids are raw ids or train ids.
            ValueError: another shape or type.
        """
        ids: dict[int, Path] = {}  # class id -> a file that holds it
        files, missing = 0, []
        for scan, points in sizes:
            try:
                path = self._find(scan)
            except FileNotFoundError as error:
                missing.append(error)
                continue
            if path.suffix != ".npy":
                continue
            values = self._load(path, scan, points)
            if values.dtype.kind != "f":
                files += 1
                ids = {**dict.fromkeys(np.unique(values).tolist(), path), **ids}
        if missing:
            more = f"; {len(missing) - 1:,} more scans have none" if len(missing) > 1 else ""
            raise FileNotFoundError(f"{missing[0]}{more}")
        return self._decide_ids(ids, files) if ids and self.kind is None else ""

    def __call__(self, scan: Scan) -> dict[str, torch.Tensor]:
        """``prediction`` of the points of `scan`: uint8 [N] train ids, float32 [N, C] or [N].

        Raises FileNotFoundError if the scan has none, ValueError for another shape or type, and
        ConfigError if it is not clear what the numbers mean.
        """
        path = self._find(scan.id)
        if path.suffix == ".label":
            raw = read_label(path, scan.num_raw)
            labels = self.taxonomy.to_train(raw, path)[scan.rows]
            return {"prediction": torch.from_numpy(labels)}
        values = self._load(path, scan.id, scan.num_raw)
        if values.dtype.kind != "f":
            return {"prediction": torch.from_numpy(self._train_ids(values, path)[scan.rows])}
        given = torch.from_numpy(np.asarray(values)[scan.rows].astype(np.float32))
        kind, classes = None if self.kind in _IDS else self.kind, self.taxonomy.num_classes
        try:
            return {"prediction": settle(given, kind, self.only_classes, classes)}
        except UnclearPredictionError as error:
            raise ConfigError(f"{path}: {error.words}. {_options(*error.kinds)}") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _load(self, path: Path, scan_id: str, points: int) -> NDArray:
        """The array of a file, not read yet: integers [N], or floats [N] or [N, C]."""
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            shape, dtype = values.shape, values.dtype
        except Exception as error:  # numpy raises many kinds on bytes that make no sense
            raise ValueError(f"{path}: cannot be read as .npy ({error})") from error
        classes = self.taxonomy.num_classes
        if shape == (points, 1) and classes > 1:
            values = values[:, 0]
        known = {"f": [(points,), (points, classes)], "i": [(points,)], "u": [(points,)]}
        if values.shape not in known.get(dtype.kind, []):
            raise ValueError(
                f"{path}: expected floats of shape {(points,)} or {(points, classes)}, or integers "
                f"of shape {(points,)}, for scan {scan_id}, got {dtype} {shape}"
                f"{_hint(shape, points, classes)}"
            )
        if self.kind is not None and (dtype.kind == "f") == (self.kind in _IDS):
            if dtype.kind == "f" and values.ndim == 1 and bool((values == np.floor(values)).all()):
                return values.astype(np.int64)
            raise ValueError(f"{path}: {_flag(self.kind)} was given, got {dtype} {shape}")
        return values

    def _decide_ids(self, ids: dict[int, Path], files: int) -> str:
        """Settle what class ids are that the user has not told."""
        readings = {kind: self._read_ids(np.array(list(ids)), kind) for kind in _IDS}
        fitting = [kind for kind, found in readings.items() if (found >= 0).all()]
        span = f"{min(ids)} to {max(ids)} in {files:,} .npy file{'s' * (files != 1)}"
        if not fitting:
            wrong = min(id_ for id_, read in zip(ids, readings["raw_ids"], strict=True) if read < 0)
            raise ValueError(
                f"{ids[wrong]}: class ids {span} are neither train ids, 0 to "
                f"{self.taxonomy.num_classes - 1}, nor raw ids of class map "
                f"{self.taxonomy.name!r}, which does not know {wrong}"
            )
        if len(fitting) == 2 and (readings["train_ids"] != readings["raw_ids"]).any():
            raise ConfigError(
                f"--predictions: class ids {span} may be train ids (in the order of the class "
                f"map, from 0) or raw ids (as in its files). {_options('train_ids', 'raw_ids')}"
            )
        self.kind = fitting[0]
        return f"predictions: class ids {span}, read as {self.kind.replace('_', ' ')}"

    def _read_ids(self, ids: NDArray, kind: str) -> NDArray[np.int64]:
        """Train ids of class ids that were found, -1 for none; -1 in a file is no class."""
        ids = ids.astype(np.int64)
        if kind == "train_ids":
            known = (ids >= 0) & (ids < self.taxonomy.num_classes) | (ids == IGNORE)
            found = np.where(known, ids, -1)
        else:
            known = np.isin(ids & 0xFFFF, list(self.taxonomy.learning_map)) & (ids >= 0)
            found = np.full(len(ids), -1)
            found[known] = self.taxonomy.to_train(ids[known], "")
        return np.where(ids == -1, IGNORE, found)

    def _train_ids(self, values: NDArray, path: Path) -> NDArray[np.uint8]:
        ids, where = np.unique(values, return_inverse=True)
        kind = self.kind if self.kind in _IDS else "train_ids"
        found = self._read_ids(ids, kind)
        if (found < 0).any():
            raise ValueError(
                f"{path}: class {int(ids[found < 0][0])} is none of the "
                f"{kind.replace('_', ' ')} of class map {self.taxonomy.name!r}"
            )
        return found[where].astype(np.uint8)

    def _find(self, scan_id: str) -> Path:
        sequence, frame = scan_id.split("/")
        folders = (self.folder / sequence, self.folder / "sequences" / sequence / "predictions")
        for folder in folders:
            for suffix in (".label", ".npy"):
                if (folder / (frame + suffix)).is_file():
                    return folder / (frame + suffix)
        raise FileNotFoundError(
            f"--predictions: no prediction of scan {scan_id}; looked for "
            f"{folders[0] / frame}.label and .npy, and the same in {folders[1]}"
        )


def _flag(kind: str) -> str:
    return f"--{kind.replace('_', '-')}"


def _options(*kinds: str) -> str:
    flags, words = " or ".join(map(_flag, kinds)), " or ".join(map(repr, kinds))
    return f"Say what they are with {flags} (in Python prediction_kind={words})"


def _hint(shape: tuple[int, ...], points: int, classes: int) -> str:
    if shape == (points, classes + 1):
        return "; leave out the column of no class"
    if shape == (classes, points):
        return "; transpose it"
    return ""
