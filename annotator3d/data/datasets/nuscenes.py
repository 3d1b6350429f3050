"""nuScenes-lidarseg, found through its JSON tables; the devkit is not needed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.datasets.base import Intensity, Labels, PathLike, ScanDataset, check_choice
from annotator3d.data.datasets.listing import absent, choose, contents
from annotator3d.data.datasets.nuscenes_tables import rows, scenes_of
from annotator3d.data.formats.kitti import read_bin, read_lidarseg
from annotator3d.data.taxonomy import load_taxonomy
from annotator3d.registry import DATASETS


@DATASETS.register_module()
class NuScenes(ScanDataset):
    """The LIDAR_TOP key frames of an official split, sorted by scene and time.

    Ids are ``"scene-0061/1532402927647951"``: the scene's name and the time in microseconds.
    Intensities are stored as 0..255. Layout and labels: https://www.nuscenes.org/nuscenes; tables:
    docs/schema_nuscenes.md of the devkit.

    Args:
        root: the folder that holds ``samples``, ``lidarseg`` and the folder of `version`.
        split: 'train' or 'val'; 'test' of v1.0-test. A sample belongs to the split whose official
            list names its scene.
        version: v1.0-trainval, v1.0-mini or v1.0-test.
        taxonomy, labels, intensity: see `ScanDataset`.
        stride: take every n-th scan of each scene.
        scans: take only these ids; or a text file with one id per line ('#' starts a comment).

    Raises FileNotFoundError or ValueError naming the table, file or id that is missing or wrong.
    """

    TAXONOMY = "nuscenes7"
    INTENSITY_MAX = 255.0
    POINT_BYTES = 20
    LABEL_BYTES = 1
    BEAMS: ClassVar[int] = 32
    KNOWN_BY = "v1.0-..."
    LISTS: ClassVar[dict[str, dict[str, str]]] = {
        "v1.0-trainval": {"train": "train", "val": "val"},
        "v1.0-mini": {"train": "mini_train", "val": "mini_val"},
        "v1.0-test": {"test": "test"},
    }

    def __init__(
        self,
        root: PathLike,
        split: str,
        version: str = "v1.0-trainval",
        taxonomy: PathLike | None = None,
        stride: int = 1,
        scans: Sequence[str] | PathLike | None = None,
        labels: Labels = "required",
        intensity: Intensity = "unit",
    ) -> None:
        super().__init__(root, taxonomy, labels, intensity)
        check_choice("version", version, tuple(self.LISTS))
        check_choice(f"split of {version}", split, tuple(self.LISTS[version]))
        self._tables = self._find_tables(version)
        frames = self._frames(self._samples(self.LISTS[version][split]))
        self._set_ids(choose(frames, stride, scans, self.root))
        self._files = [frames[scan_id] for scan_id in self.ids]
        self._check_files()
        if self._labelled:
            self._check_categories()
        self._check_labels()

    @classmethod
    def matches(cls, root: Path) -> bool:
        return any((root / version).is_dir() for version in cls.LISTS)

    @classmethod
    def open_parts(cls, root: Path, taxonomy: PathLike | None) -> list[ScanDataset]:
        return [
            cls(root, split, version, taxonomy, labels="optional")
            for version, splits in cls.LISTS.items()
            if (root / version).is_dir()
            for split in splits
        ]

    def path(self, i: int) -> Path:
        return self.root / self._files[i][0]

    def label_path(self, i: int) -> Path:
        return self.root / self._files[i][1]

    def read_points(self, i: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return read_bin(self.path(i), columns=5)

    def read_ring(self, i: int, xyz: NDArray[np.float32]) -> NDArray[np.float32]:
        # Stored from the lowest beam up.
        return self.BEAMS - 1 - np.fromfile(self.path(i), "<f4")[4::5].astype(np.float32)

    def read_raw_labels(self, i: int, num_points: int) -> NDArray[np.uint8]:
        return read_lidarseg(self.label_path(i), num_points, scan_path=self.path(i))

    def _keep(self, rows: Sequence[int]) -> None:
        self._files = [self._files[i] for i in rows]
        super()._keep(rows)

    def _find_tables(self, version: str) -> Path:
        folder = self.root / version
        if not folder.is_dir():
            there = self.root.is_dir()
            found = f"it holds {contents(self.root)}" if there else "that folder does not exist"
            raise FileNotFoundError(
                f"{self.root} has no folder {version!r} ({found}); root must be the folder that "
                "holds it, lidarseg and samples"
            )
        return folder

    def _samples(self, wanted: str) -> dict[str, str]:
        """Token of each sample of the split -> name of its scene."""
        names = set(scenes_of(wanted))
        table = self._tables / "scene.json"
        scenes = {token: name for token, name in rows(table, "token", "name") if name in names}
        if not scenes:
            raise ValueError(f"{table} names none of the {len(names)} scenes of {wanted!r}")
        if len(scenes) < len(names):
            warnings.warn(
                f"{table} names only {len(scenes)} of the {len(names)} scenes of {wanted!r}; "
                "numbers on a part of a split are not comparable",
                RuntimeWarning,
                stacklevel=3,
            )
        samples = rows(self._tables / "sample.json", "token", "scene_token")
        return {token: scenes[scene] for token, scene in samples if scene in scenes}

    def _frames(self, samples: dict[str, str]) -> dict[str, tuple[str, str]]:
        """Scan id -> files of its points and labels, sorted by scene and time."""
        table = self._tables / "lidarseg.json"
        self._labelled = table.is_file()
        if not self._labelled and self._labels == "required":
            raise FileNotFoundError(
                f"there is no table {table}: unpack nuScenes-lidarseg over nuScenes"
            )
        named = dict(rows(table, "sample_data_token", "filename")) if self._labelled else {}
        folder = f"lidarseg/{self._tables.name}"
        found = []
        for token, sample, file, time, key in rows(
            self._tables / "sample_data.json",
            *("token", "sample_token", "filename", "timestamp", "is_key_frame"),
            having=b"samples/LIDAR_TOP/",
        ):
            if key and sample in samples:
                label = named.get(token, f"{folder}/{token}_lidarseg.bin")
                found.append((samples[sample], time, file, label))
        return {f"{scene}/{time}": (file, label) for scene, time, file, label in sorted(found)}

    def _check_files(self) -> None:
        if missing := absent(self.path(i) for i in range(len(self))):
            raise FileNotFoundError(
                f"{len(missing)} of {len(self)} scans are not there, the first is {missing[0]}; "
                "unpack every part of the archive"
            )

    def _check_categories(self) -> None:
        """The label ids are defined by category.json: they must be those of our class map."""
        if self.taxonomy.name != self.TAXONOMY:  # of another map, the user knows the ids
            return
        table = self._tables / "category.json"
        try:
            found = {index: name for index, name in rows(table, "index", "name")}
        except ValueError as error:
            raise ValueError(
                f"{error}; category.json must be that of nuScenes-lidarseg, which replaces the "
                "one of nuScenes"
            ) from None
        known = load_taxonomy(self.TAXONOMY).labels
        if wrong := sorted(i for i in {*found, *known} if found.get(i) != known.get(i)):
            first = wrong[0]
            raise ValueError(
                f"{table} gives id {first} to {found.get(first)!r}, the class map "
                f"{self.TAXONOMY!r} to {known.get(first)!r} ({len(wrong)} ids differ): these "
                "labels need a class map of their own"
            )
