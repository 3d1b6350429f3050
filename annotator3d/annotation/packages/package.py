"""Work packages: queries for somebody on another machine, in one file with all that they need.

A package is a ledger: same tables, same rules, same `ledger_id` and query ids as the one at home,
but with some of its queries only. More tables hold the points of their scans, stored predictions,
the class list, what the package is, and camera images if they were asked for. Answers are written
straight into it. It has a rollback journal instead of a WAL, so that the one file is whole whenever
nobody has it open.
"""

from __future__ import annotations

import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import Scan
from annotator3d.data.scan_source import Pose, Prediction
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.package_file import PackageFile

FORMAT = 1
TAXONOMY_FILE = "taxonomy.yaml"


@dataclass(frozen=True)
class Manifest:
    """What a package says of itself."""

    id: str
    ledger_id: str
    recipient: str  # stored as `to`
    made_by: str
    made_at: str  # UTC, ISO 8601
    days: float  # for which the queries are held at home
    crop: float | None  # metres around the queries that scans were cut to; None: whole scans
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """As it is stored."""
        values = asdict(self)
        return {"to" if key == "recipient" else key: value for key, value in values.items()}


def read_manifest(path: Path) -> Manifest:
    """What a package says of itself.

    Raises FileNotFoundError if there is no such file; ValueError if it is no package, is damaged or
    of a newer format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no package {path}")
    values = PackageFile(path).manifest()
    if values.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a package of format {values.get('format')}, this annotator3d reads format "
            f"{FORMAT}; install the version that wrote it"
        )
    manifest = _manifest_of(values)
    if manifest is None:
        raise ValueError(
            f"{path} is damaged: it does not say of itself what a package says; ask for it again"
        )
    return manifest


def _manifest_of(values: dict[str, Any]) -> Manifest | None:
    """The manifest of these values; None where one is missing, too many or of another kind."""
    texts = ("id", "ledger_id", "to", "made_by", "made_at")
    if set(values) != {*texts, "days", "crop", "format"}:
        return None
    numbers = [values["days"], *([] if values["crop"] is None else [values["crop"]])]
    if not all(isinstance(values[name], str) and values[name].strip() for name in texts) or not all(
        isinstance(number, (int, float)) and 0 < number < math.inf for number in numbers
    ):
        return None
    return Manifest(recipient=values.pop("to"), **values)


def pack(arrays: dict[str, NDArray]) -> bytes:
    """Arrays as the bytes of an .npz file."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def pack_image(image: NDArray[np.uint8]) -> bytes:
    """An image [H, W, 3] RGB as the bytes of a JPEG file."""
    from PIL import Image  # comes with matplotlib

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=90)
    return stream.getvalue()


class PackageSource:
    """The scans and predictions in a package: `ScanSource` and `Predictions`.

    Points keep the order and the row numbers that they have in the file at home. Camera images are
    those of the queries, where the package was made with them.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.manifest = path, read_manifest(path)
        self.warnings: set[str] = set()
        with Ledger.read(path) as ledger:
            self._voxel_size = ledger.voxel_size
            self._prints = {scan.id: scan.fingerprint for scan in ledger.scans()}
        self._file = PackageFile(path)
        self._file.require_sealed()
        self._has_images = self._file.has_images()
        self._poses = {
            scan_id: Pose(world, np.frombuffer(matrix, np.float64).reshape(4, 4))
            for scan_id, matrix, world in self._file.poses()
        }

    def scan(self, scan_id: str) -> Scan:
        arrays = _unpack(self._file.scan(scan_id))
        if arrays is None:
            raise ValueError(f"{self.path} does not hold scan {scan_id}")
        rows = arrays["steps"].cumsum(dtype=np.int64)
        return Scan(scan_id, arrays["xyz"], arrays["intensity"], None, rows, int(arrays["num_raw"]))

    def fingerprint(self, scan_id: str) -> str:
        """That of the file at home; the bytes here have a digest of their own."""
        return self._prints[scan_id]

    def pose(self, scan_id: str) -> Pose | None:
        return self._poses.get(scan_id)

    def neighbours(self, scan_id: str, back: int, forth: int) -> list[str]:
        drive, ids = scan_id.rsplit("/", 1)[0], sorted(self._prints)
        at = ids.index(scan_id)
        near = ids[max(at - back, 0) : at] + ids[at + 1 : at + forth + 1]
        return [other for other in near if other.rsplit("/", 1)[0] == drive]

    def image(self, scan_id: str, centre: NDArray[np.float64]) -> NDArray[np.uint8] | None:
        if not self._has_images:
            return None
        cell = np.floor(np.asarray(centre) / self._voxel_size).astype(int).tolist()
        content = self._file.image(scan_id, cell)
        if content is None:
            return None
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))

    def __call__(self, round: int, scan: Scan) -> Prediction | None:
        """The prediction that a round stored of a scan."""
        arrays = _unpack(self._file.prediction(scan.id, round))
        return None if arrays is None else Prediction(arrays.get("classes"), arrays["score"])

    def file(self, name: str) -> bytes:
        """A file that the package carries, such as `TAXONOMY_FILE`."""
        content = self._file.file(name)
        if content is None:
            raise ValueError(f"{self.path} holds no {name}; ask for the package again")
        return content


def damaged_contents(path: Path) -> list[str]:
    """What has changed since the package was written, one line each."""
    return PackageFile(path).damage()


def _unpack(content: bytes | None) -> dict[str, NDArray] | None:
    """The arrays of `pack`."""
    if content is None:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
