"""Datasets: which scans there are and how one is read.

A dataset of another format is a subclass of `ScanDataset`, registered in ``DATASETS``.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats import read_bin, read_label
from annotator3d.data.scan import Scan
from annotator3d.data.taxonomy import Taxonomy, load_taxonomy
from annotator3d.registry import DATASETS, nearest

SEMANTICKITTI_TRAIN = ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10")
SEMANTICKITTI_VAL = ("08",)

Labels = Literal["required", "optional"]


class ScanDataset(ABC):
    """A fixed, ordered list of scans.

    A subclass fills `ids` (unique), `taxonomy` and the paths, and says how raw data are read.
    """

    ids: list[str]
    taxonomy: Taxonomy
    makes_itself = False  # True: needs no root, its scans are generated

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def path(self, i: int) -> Path:
        """The file of the points of scan ``i``."""

    @abstractmethod
    def label_path(self, i: int) -> Path:
        """The file of the labels of scan ``i``, which need not exist."""

    @abstractmethod
    def read(self, i: int, labels: bool = True) -> Scan:
        """Read scan ``i``, without labels if ``labels`` is False."""

    def index(self, scan_id: str) -> int:
        """Position of a scan; ValueError if the dataset does not hold it."""
        try:
            return self._positions[scan_id]
        except KeyError:
            raise ValueError(f"there is no scan {scan_id!r} among the {len(self)} scans") from None

    def fingerprint(self) -> str:
        """``"blake2b:<hex>"`` of ids and file sizes; the contents are not read."""
        digest = hashlib.blake2b(digest_size=16)
        for i, scan_id in enumerate(self.ids):
            digest.update(f"{scan_id} {self.path(i).stat().st_size}\n".encode())
        return f"blake2b:{digest.hexdigest()}"

    def _set_ids(self, ids: Sequence[str]) -> None:
        self.ids = list(ids)
        self._positions = {scan_id: i for i, scan_id in enumerate(self.ids)}


@DATASETS.register_module()
class SemanticKITTI(ScanDataset):
    """Scans in SemanticKITTI's layout: ``root/sequences/SS/{velodyne/*.bin, labels/*.label}``.

    Scans are sorted by sequence and frame; ids are ``"SS/FFFFFF"``.

    Args:
        root: the folder that holds ``sequences``.
        sequences: names of the sequences, such as ``["00", "01"]``.
        taxonomy: name or path of a class map.
        stride: take every n-th scan of each sequence.
        scans: take only these ids; or a text file with one id per line ('#' starts a comment).
        labels: 'optional' reads a scan without a label file as unlabelled; 'required' refuses.

    Raises FileNotFoundError or ValueError naming the folder or id that is missing or given twice.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sequences: Sequence[str],
        taxonomy: str | os.PathLike[str] = "semantickitti19",
        stride: int = 1,
        scans: Sequence[str] | str | os.PathLike[str] | None = None,
        labels: Labels = "required",
    ) -> None:
        if labels not in ("required", "optional"):
            raise ValueError(f"labels must be 'required' or 'optional', got {labels!r}")
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f"stride must be a whole number of at least 1, got {stride!r}")
        self.root = Path(root)
        self.taxonomy = load_taxonomy(taxonomy)
        self._labels = labels
        ids = [
            i for name in _checked(self.root, sequences) for i in _ids(self.root, name)[::stride]
        ]
        self._set_ids(ids if scans is None else _restrict(ids, scans, self.root))
        if labels == "required":
            self._check_labels()

    def _check_labels(self) -> None:
        """Now, not after hours of training."""
        missing = [i for i in range(len(self)) if not self.label_path(i).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(self)} scans have no label file, the first is "
                f"{self.label_path(missing[0])}; where a person answers (active.oracle=person) "
                "training scans need none, elsewhere open the dataset with labels='optional'"
            )

    def path(self, i: int) -> Path:
        sequence, frame = self.ids[i].split("/")
        return self.root / "sequences" / sequence / "velodyne" / f"{frame}.bin"

    def label_path(self, i: int) -> Path:
        sequence, frame = self.ids[i].split("/")
        return self.root / "sequences" / sequence / "labels" / f"{frame}.label"

    def read(self, i: int, labels: bool = True) -> Scan:
        xyz, intensity = read_bin(self.path(i))
        train = self._read_labels(i, len(xyz)) if labels else None
        scan = Scan.from_raw(self.ids[i], xyz, intensity, train)
        if scan.num_dropped:
            warnings.warn(  # Python shows each message once
                f"{self.path(i)}: {scan.num_dropped} of {scan.num_raw} points are not finite; they "
                "are never asked about or trained on, and count as missed in the evaluation",
                RuntimeWarning,
                stacklevel=2,
            )
        return scan

    def _read_labels(self, i: int, num_points: int) -> NDArray[np.uint8] | None:
        path = self.label_path(i)
        if not path.is_file() and self._labels == "optional":
            return None
        return self.taxonomy.to_train(read_label(path, num_points, scan_path=self.path(i)), path)


def _checked(root: Path, sequences: Sequence[str]) -> list[str]:
    """The names of the sequences, sorted, after checking that each one has a folder of scans."""
    if isinstance(sequences, str) or not all(isinstance(name, str) for name in sequences):
        raise ValueError(f"sequences must be a list of strings such as ['08'], got {sequences!r}")
    if not sequences:
        raise ValueError("sequences must name at least one sequence")
    _refuse_duplicates(sequences, "sequences")
    folder = root / "sequences"
    if not folder.is_dir():
        found = f"it holds {_listing(root)}" if root.is_dir() else "that folder does not exist"
        raise FileNotFoundError(
            f"{root} has no folder 'sequences' ({found}); root must be the folder above it"
        )
    for name in sequences:
        if not (folder / name / "velodyne").is_dir():
            raise FileNotFoundError(
                f"sequence {name!r} has no folder {folder / name / 'velodyne'}; "
                f"{folder} holds {_listing(folder)}"
            )
    return sorted(sequences)


def _ids(root: Path, sequence: str) -> list[str]:
    folder = root / "sequences" / sequence / "velodyne"
    frames = sorted(path.stem for path in folder.glob("*.bin") if not path.name.startswith("."))
    if not frames:
        raise FileNotFoundError(f"{folder} holds no .bin files but {_listing(folder)}")
    return [f"{sequence}/{frame}" for frame in frames]


def _restrict(ids: list[str], scans: Sequence[str] | str | os.PathLike[str], root: Path) -> list:
    """Those of ``ids`` that ``scans`` names, in the order of ``ids``."""
    source = "scans"
    if isinstance(scans, (str, os.PathLike)):
        source, lines = str(scans), Path(scans).read_text(encoding="utf-8").splitlines()
        scans = [text for line in lines if (text := line.partition("#")[0].strip())]
    if not scans:
        raise ValueError(f"{source} names no scan")
    _refuse_duplicates(scans, source)
    if unknown := sorted(set(scans) - set(ids)):
        raise ValueError(
            f"{source} names {len(unknown)} scans that are not in the chosen sequences (and "
            f"stride) of {root}: {', '.join(unknown[:5])}; {nearest(unknown[0], ids)[:200]}"
        )
    wanted = set(scans)
    return [scan_id for scan_id in ids if scan_id in wanted]


def _refuse_duplicates(names: Sequence[str], what: str) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{what} names these more than once: {', '.join(twice[:5])}")


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or (
        "nothing"
    )
