"""One class a format: where the labels of a scan go, and how they are written and read back."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.datasets.nuscenes import NuScenes
from annotator3d.data.exporting.las_copy import drop_index, holds, relabel
from annotator3d.data.exporting.las_new import grid_of, intensity_fields
from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.formats.cloud import Cloud
from annotator3d.data.formats.kitti import read_label, read_lidarseg, split_label, write_label
from annotator3d.data.formats.las import open_las, write_las
from annotator3d.data.formats.ply import write_ply
from annotator3d.data.formats.registry import read_cloud, require
from annotator3d.data.importing.card import Origin
from annotator3d.data.importing.rules import FIELDS
from annotator3d.data.plain_json import parse_json
from annotator3d.data.scan import file_stem

if TYPE_CHECKING:
    import laspy


@dataclass(frozen=True)
class Labels:
    """Labels of one scan: train ids [num_raw] uint8, 255 = none, and instances of the input."""

    train: NDArray[np.uint8]
    instances: NDArray[np.uint16] | None


class Writer(ABC):
    """Writes the labels of a dataset's scans below a folder.

    Args:
        dataset: whose scans they are.
        out: the folder.
        predicted: they are predictions, not answers.
    """

    format: ClassVar[str]

    def __init__(self, dataset: ScanDataset, out: Path, predicted: bool) -> None:
        require(self.format)
        self.dataset, self.out, self.predicted = dataset, out, predicted
        self.notes: dict[str, list[Path]] = {}  # what was lost or changed -> the files written
        self.void = int(dataset.taxonomy.raw_ids[255])
        self.largest = int(dataset.taxonomy.raw_ids[: dataset.taxonomy.num_classes].max())

    @abstractmethod
    def path(self, i: int) -> Path:
        """The file of scan ``i``."""

    @abstractmethod
    def write(self, i: int, labels: Labels) -> None:
        """Write that file, whole or not at all."""

    @abstractmethod
    def read(self, path: Path) -> NDArray:
        """Raw ids of a file that is there already. Raises ValueError if it holds none."""

    def is_input(self, i: int) -> bool:
        """Whether that file is one that the dataset was made from, which is never replaced."""
        return self.predicted and _same(self.path(i), self.dataset.label_path(i))

    def finish(self, written: list[int]) -> None:  # noqa: B027 - most formats have nothing
        """Write what belongs to all files together, if the format has that."""


class SemanticKittiWriter(Writer):
    """``sequences/SS/labels/FFFFFF.label``, or ``predictions`` in place of ``labels``.

    Source: http://semantic-kitti.org/dataset.html#format
    """

    format = "semantickitti"

    def path(self, i: int) -> Path:
        sequence, frame = self.dataset.ids[i].split("/")
        folder = "predictions" if self.predicted else "labels"
        return self.out / "sequences" / sequence / folder / f"{frame}.label"

    def write(self, i: int, labels: Labels) -> None:
        write_label(self.path(i), self.dataset.taxonomy.to_raw(labels.train), labels.instances)

    def read(self, path: Path) -> NDArray:
        return split_label(read_label(path))[0]


class LidarsegWriter(Writer):
    """One uint8 a point, with the table ``lidarseg.json``; raw ids above 255 are refused.

    Scans of nuScenes go where nuScenes has them; others to ``lidarseg/SS_FFFFFF_lidarseg.bin``.
    Source: https://www.nuscenes.org/nuscenes#lidarseg
    """

    format = "lidarseg"

    def __init__(self, dataset: ScanDataset, out: Path, predicted: bool) -> None:
        super().__init__(dataset, out, predicted)
        if max(self.largest, self.void) > 255:
            raise ValueError(
                f"lidarseg has 8 bits a label, but taxonomy {dataset.taxonomy.name!r} writes raw "
                f"ids up to {max(self.largest, self.void)}; choose --format semantickitti"
            )

    def path(self, i: int) -> Path:
        if isinstance(self.dataset, NuScenes):
            return self.out / self.dataset.label_path(i).relative_to(self.dataset.root)
        return self.out / "lidarseg" / f"{file_stem(self.dataset.ids[i])}_lidarseg.bin"

    def write(self, i: int, labels: Labels) -> None:
        with atomic_write(self.path(i)) as file:
            file.write(self.dataset.taxonomy.to_raw(labels.train).astype(np.uint8).tobytes())

    def read(self, path: Path) -> NDArray:
        return read_lidarseg(path)

    def finish(self, written: list[int]) -> None:
        nuscenes = isinstance(self.dataset, NuScenes)
        folder = self.out / self.path(written[0]).parent.name if nuscenes else self.out
        make_folder(folder)
        table = folder / "lidarseg.json"
        rows = parse_json(table.read_text(encoding="utf-8")) if table.is_file() else []
        named = {row["filename"]: row for row in rows}
        for i in written:
            path = self.path(i)
            token = path.name.removesuffix("_lidarseg.bin")
            name = path.relative_to(self.out).as_posix()
            named.setdefault(name, {"token": token, "sample_data_token": token, "filename": name})
        with atomic_write(table) as file:
            file.write(json.dumps(list(named.values()), indent=0).encode())


class CloudWriter(Writer):
    """Points and labels in one file, named as the file that the scan was imported from."""

    def path(self, i: int) -> Path:
        origin = self._origin(i)
        name = self.dataset.ids[i] if origin is None else origin.source.rsplit(".", 1)[0]
        return self.out / f"{name}.{self.format}"

    def is_input(self, i: int) -> bool:
        origin = self._origin(i)
        return origin is not None and _same(self.path(i), self.dataset.source / origin.source)

    def read(self, path: Path) -> NDArray:
        cloud = read_cloud(path, self.format)
        name = cloud.find(FIELDS["label"])
        if name is None:
            raise ValueError(f"{path} has no field for labels")
        return cloud.fields[name]

    def _origin(self, i: int) -> Origin | None:
        return self.dataset.origin(i) if isinstance(self.dataset, ImportedScans) else None

    def _offset(self, i: int) -> NDArray[np.float64]:
        origin = self._origin(i)
        return np.array((origin.offset if origin else ()) or (0.0, 0.0, 0.0))


class PlyWriter(CloudWriter):
    """x, y, z, intensity, label (uint16), instance (uint16) where there is one, and the color.

    Coordinates are float32, or float64 where an import subtracted an offset, which is added again.
    """

    format = "ply"

    def write(self, i: int, labels: Labels) -> None:
        xyz, intensity = self.dataset.read_points(i)
        if (offset := self._offset(i)).any():
            xyz = xyz.astype(np.float64) + offset
        fields = {"intensity": intensity, "label": self.dataset.taxonomy.to_raw(labels.train)}
        if labels.instances is not None:
            fields["instance"] = labels.instances
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.dataset.taxonomy.num_classes] = self.dataset.taxonomy.colors
        rgb = palette[labels.train]
        fields |= {name: rgb[:, k] for k, name in enumerate(("red", "green", "blue"))}
        with atomic_write(self.path(i)) as file:
            write_ply(file, Cloud(xyz, fields))


class LasWriter(CloudWriter):
    """The file that was imported with other labels, if it is a LAS or LAZ file that is still there.

    Otherwise LAS 1.4 with what the dataset has: points, intensity, labels in ``classification``, or
    ``label`` (uint16) where ids pass 255, and ``instance``. Intensities that are not whole numbers
    stand exact in ``remission`` (float32) too.
    """

    format = "las"

    def write(self, i: int, labels: Labels) -> None:
        xyz, intensity = self.dataset.read_points(i)
        raw = self.dataset.taxonomy.to_raw(labels.train)
        if (las := self._imported(i, xyz)) is not None:
            largest = max(self.largest, self.void)
            field = relabel(las, raw, largest, labels.instances, self._origin(i))
            if field != "classification":
                self._note(f"the labels stand in {field!r}, and classification is as it was", i)
            if drop_index(las):
                self._note("the index of a cloud-optimised file (COPC) is left out", i)
            with atomic_write(self.path(i)) as file:
                las.write(file, do_compress=self.format == "laz")
            return
        if not (np.isfinite(xyz).all() and np.isfinite(intensity).all()):
            raise ValueError(
                f"{self.dataset.path(i)} has points that are not finite, which LAS cannot hold; "
                "choose --format ply"
            )
        small = max(self.largest, self.void) <= 255
        fields: dict[str, NDArray] = {
            "classification" if small else "label": raw.astype(np.uint8 if small else np.uint16)
        }
        if labels.instances is not None:
            fields["instance"] = labels.instances
        fields |= intensity_fields(intensity)
        grid = grid_of(xyz, self._origin(i) or Origin(""))
        if grid.rounded:
            self._note("float32 holds the coordinates more coarsely than the steps of the LAS", i)
        with atomic_write(self.path(i)) as file:
            laz = self.format == "laz"
            write_las(file, grid.whole, grid.scales, grid.offsets, fields, laz)

    def _imported(self, i: int, xyz: NDArray[np.float32]) -> laspy.LasData | None:
        """The file that scan ``i`` was imported from, with the same points; None: none such."""
        origin = self._origin(i)
        if origin is None or not origin.source.lower().endswith((".las", ".laz")):
            return None
        path = self.dataset.source / origin.source
        lost = "its system, times, colours, returns and other fields are lost"
        if not path.is_file():
            self._note(f"the imported file is no longer in {self.dataset.source}: {lost}", i)
            return None
        try:
            las = open_las(path)
        except Exception as error:  # laspy raises whatever comes on a damaged file
            words = " ".join(str(error).split())[:80]
            self._note(f"the imported file cannot be read ({words}): {lost}", i)
            return None
        if not holds(las, xyz, origin):
            self._note(f"the imported file has other points by now: {lost}", i)
            return None
        return las

    def _note(self, words: str, i: int) -> None:
        self.notes.setdefault(words, []).append(self.path(i))


class LazWriter(LasWriter):
    """The same, compressed."""

    format = "laz"


def _same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


_ALL = (SemanticKittiWriter, LidarsegWriter, PlyWriter, LasWriter, LazWriter)
WRITERS: dict[str, type[Writer]] = {cls.format: cls for cls in _ALL}
