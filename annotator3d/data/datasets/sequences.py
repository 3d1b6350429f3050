"""Data sets in folders of sequences, with the two that need no more than that."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.datasets.base import Intensity, Labels, PathLike, ScanDataset, check_choice
from annotator3d.data.datasets.listing import check_names, choose, contents, stems
from annotator3d.errors import some
from annotator3d.registry import DATASETS

SEMANTICKITTI_TRAIN = ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10")
SEMANTICKITTI_VAL = ("08",)
SEMANTICKITTI_TEST = tuple(str(number) for number in range(11, 22))  # without public labels


class SequenceDataset(ScanDataset):
    """Scans in SemanticKITTI's layout: ``SS/{velodyne/*.bin, labels/*.label}`` below `FOLDERS`.

    Scans are sorted by sequence and frame; ids are ``"SS/FFFFFF"``.

    Args:
        root: the folder that holds ``sequences``.
        sequences: names of the sequences, such as ``["00", "01"]``.
        taxonomy, labels, intensity: see `ScanDataset`.
        stride: take every n-th scan of each sequence.
        scans: take only these ids; or a text file with one id per line ('#' starts a comment).
        split: 'train' or 'val' of the benchmark, in place of `sequences`.

    Raises FileNotFoundError or ValueError naming the folder or id that is missing or given twice.
    """

    FOLDERS: ClassVar[tuple[str, ...]] = ("sequences",)  # where sequences lie below root
    SPLITS: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(
        self,
        root: PathLike,
        sequences: Sequence[str] | None = None,
        taxonomy: PathLike | None = None,
        stride: int = 1,
        scans: Sequence[str] | PathLike | None = None,
        labels: Labels = "required",
        split: str | None = None,
        intensity: Intensity = "unit",
    ) -> None:
        super().__init__(root, taxonomy, labels, intensity)
        names = self._sequences(sequences, split)
        self._folder = self._find_folder(names)
        ids = [f"{name}/{frame}" for name in names for frame in self._all_frames(name)]
        self._set_ids(choose(ids, stride, scans, self.root))
        self._check_labels()

    def path(self, i: int) -> Path:
        sequence, frame = self.ids[i].split("/")
        return self._folder / sequence / "velodyne" / f"{frame}.bin"

    def label_path(self, i: int) -> Path:
        sequence, frame = self.ids[i].split("/")
        return self._folder / sequence / "labels" / f"{frame}.label"

    def not_folders(self) -> list[Path]:
        """What stands where a folder should be: files, and links that lead nowhere."""
        found = [p for name in ("velodyne", "labels") for p in self._folder.glob(f"*/{name}")]
        found += [path for path in self._folder.iterdir() if path.is_symlink()]
        return sorted(path for path in found if not path.is_dir())

    def _sequences(self, sequences: Sequence[str] | None, split: str | None) -> list[str]:
        if (sequences is None) == (split is None):
            raise ValueError(
                f"{type(self).__name__} needs either sequences or split ({', '.join(self.SPLITS)})"
            )
        if split is not None:
            check_choice("split", split, tuple(self.SPLITS))
            sequences = self.SPLITS[split]
        check_names(sequences, "sequences")
        return sorted(sequences)

    def _find_folder(self, names: Sequence[str]) -> Path:
        """The folder that holds the sequences, each of them with scans."""
        for name in self.FOLDERS:
            folder = self.root / name
            if any((folder / sequence / "velodyne").is_dir() for sequence in names):
                break
        else:
            folder = self._no_folder()
        for sequence in names:
            if not (folder / sequence / "velodyne").is_dir():
                raise FileNotFoundError(
                    f"sequence {sequence!r} has no folder {folder / sequence / 'velodyne'}; "
                    f"{folder} holds {contents(folder)}"
                )
        return folder

    def _no_folder(self) -> Path:
        """The folder to complain about where no sequence was found."""
        for name in reversed(self.FOLDERS):
            if (self.root / name).is_dir():
                return self.root / name
        there = self.root.is_dir()
        found = f"it holds {contents(self.root)}" if there else "that folder does not exist"
        raise FileNotFoundError(
            f"{self.root} has no folder 'sequences' ({found}); root must be the folder above it"
        )

    def _all_frames(self, sequence: str) -> list[str]:
        return self._frames(sequence, stems(self._folder / sequence / "velodyne", ".bin"))

    def _frames(self, sequence: str, frames: list[str]) -> list[str]:
        """Those of the sorted frames of a sequence that the split takes."""
        return frames


@DATASETS.register_module()
class SemanticKITTI(SequenceDataset):
    """SemanticKITTI and whatever has its layout. Source: http://semantic-kitti.org/dataset.html

    ``root`` is the folder ``dataset`` of the official archives. Keywords: see `SequenceDataset`.
    """

    SPLITS = {
        "train": SEMANTICKITTI_TRAIN,
        "val": SEMANTICKITTI_VAL,
        "test": SEMANTICKITTI_TEST,
    }
    KNOWN_BY = "sequences"
    GENERIC = True

    @classmethod
    def matches(cls, root: Path) -> bool:
        return (root / "sequences").is_dir()

    @classmethod
    def open_parts(cls, root: Path, taxonomy: PathLike | None) -> list[ScanDataset]:
        folders = sorted(os.scandir(root / "sequences"), key=lambda entry: entry.name)
        names = [e.name for e in folders if (Path(e.path) / "velodyne").is_dir()]
        if not names:
            folder = root / "sequences"
            files = [str(path) for path in folder.glob("*/velodyne")]
            found = f"{some(files)} is not a folder" if files else f"it holds {contents(folder)}"
            raise FileNotFoundError(f"{folder} has no folder SEQUENCE/velodyne; {found}")
        return [cls(root, names, taxonomy, labels="optional")]


@DATASETS.register_module()
class SemanticPOSS(SequenceDataset):
    """SemanticPOSS, a campus by a 40-beam Pandora. Source: http://www.poss.pku.edu.cn/semanticposs

    ``root`` is the folder ``dataset`` of the official archive. Its ``tag`` files say which pixels
    of the 40 x 1800 range image the points are, row by row; they are needed for ring numbers only.
    Intensities are stored as 0..255. Keywords: see `SequenceDataset`.
    """

    TAXONOMY = "semanticposs13"
    INTENSITY_MAX = 255.0
    SPLITS = {"train": ("00", "01", "02", "04", "05"), "val": ("03",)}
    BEAMS: ClassVar[int] = 40
    COLUMNS: ClassVar[int] = 1800

    def read_ring(self, i: int, xyz: NDArray[np.float32]) -> NDArray[np.float32] | None:
        points = self.path(i)
        path = points.parents[1] / "tag" / f"{points.stem}.tag"
        if not path.parent.is_dir():
            return None
        if not path.is_file():  # of the others there are some: rows must not mean two things
            return np.full(len(xyz), np.nan, np.float32)
        taken = np.flatnonzero(np.fromfile(path, np.uint8))
        if len(taken) != len(xyz) or os.stat(path).st_size != self.BEAMS * self.COLUMNS:
            return np.full(len(xyz), np.nan, np.float32)
        return (taken // self.COLUMNS).astype(np.float32)
