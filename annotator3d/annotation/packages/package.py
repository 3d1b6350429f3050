"""Work packages: queries for somebody on another machine, in one file with all that they need.

A package is a ledger: same tables, same rules, same `ledger_id` and query ids as the one at home,
but with some of its queries only. More tables hold the points of their scans, stored predictions,
the class list, what the package is, and camera images if they were asked for. Answers are written
straight into it. It has a rollback journal instead of a WAL, so that the one file is whole whenever
nobody has it open.
"""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import Scan
from annotator3d.data.scan_source import Pose, Prediction
from annotator3d.ledger.database import open_reader
from annotator3d.ledger.ledger import Ledger

FORMAT = 1
TABLES = (
    "CREATE TABLE package (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",
    "CREATE TABLE package_scans (scan TEXT PRIMARY KEY NOT NULL, content BLOB NOT NULL,"
    " digest TEXT NOT NULL, pose BLOB, world TEXT)",
    "CREATE TABLE package_predictions (scan TEXT NOT NULL, round INTEGER NOT NULL,"
    " content BLOB NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (scan, round))",
    "CREATE TABLE package_files (name TEXT PRIMARY KEY NOT NULL, content BLOB NOT NULL,"
    " digest TEXT NOT NULL)",
)
IMAGES = (
    "CREATE TABLE package_images (scan TEXT NOT NULL, x INTEGER NOT NULL, y INTEGER NOT NULL,"
    " z INTEGER NOT NULL, content BLOB NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (scan, x, y, z))"
)
"""One more table, of packages with camera images only."""
TAXONOMY_FILE = "taxonomy.yaml"
_HAS_IMAGES = "SELECT 1 FROM sqlite_master WHERE name = 'package_images'"


@dataclass(frozen=True)
class Manifest:
    """What a package says of itself."""

    id: str
    ledger_id: str
    to: str  # whom it is for
    made_by: str
    made_at: str  # UTC, ISO 8601
    days: float  # for which the queries are held at home
    crop: float | None  # metres around the queries that scans were cut to; None: whole scans
    format: int = FORMAT

    def rows(self) -> list[tuple[str, str]]:
        return [(key, json.dumps(value)) for key, value in asdict(self).items()]


def read_manifest(path: Path) -> Manifest:
    """What a package says of itself.

    Raises FileNotFoundError if there is no such file; ValueError if it is no package, is damaged or
    of a newer format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no package {path}")
    try:
        with closing(open_reader(path)) as db:
            values = {key: json.loads(v) for key, v in db.execute("SELECT key, value FROM package")}
    except (sqlite3.Error, ValueError) as error:
        raise ValueError(
            f"{path} is not a work package, or is damaged: {error}; `annotator3d package export` "
            "makes one"
        ) from error
    if values.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a package of format {values.get('format')}, this annotator3d reads format "
            f"{FORMAT}; install the version that wrote it"
        )
    return Manifest(**values)


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


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class PackageSource:
    """The scans and predictions in a package: `active.scans.ScanSource` and `views.Predictions`.

    Points keep the order and the row numbers that they have in the file at home. Camera images are
    those of the queries, where the package was made with them.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.manifest = path, read_manifest(path)
        self.warnings: set[str] = set()
        with Ledger.read(path) as ledger:
            self._voxel_size = ledger.voxel_size
            self._prints = {scan.id: scan.fingerprint for scan in ledger.scans()}
        with closing(open_reader(path)) as db:
            rows = db.execute("SELECT scan, pose, world FROM package_scans").fetchall()
            self._has_images = db.execute(_HAS_IMAGES).fetchone() is not None
        self._poses = {
            scan_id: Pose(world, np.frombuffer(matrix, np.float64).reshape(4, 4))
            for scan_id, matrix, world in rows
            if matrix is not None
        }

    def scan(self, scan_id: str) -> Scan:
        arrays = self._arrays("package_scans", "scan = ?", scan_id)
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
        content = self._content(
            "package_images", "scan = ? AND x = ? AND y = ? AND z = ?", scan_id, *cell
        )
        if content is None:
            return None
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))

    def __call__(self, round: int, scan: Scan) -> Prediction | None:
        """The prediction that a round stored of a scan."""
        arrays = self._arrays("package_predictions", "scan = ? AND round = ?", scan.id, round)
        return None if arrays is None else Prediction(arrays.get("classes"), arrays["score"])

    def file(self, name: str) -> bytes:
        """A file that the package carries, such as `TAXONOMY_FILE`."""
        content = self._content("package_files", "name = ?", name)
        if content is None:
            raise ValueError(f"{self.path} holds no {name}; ask for the package again")
        return content

    def _arrays(self, table: str, where: str, *values: object) -> dict[str, NDArray] | None:
        content = self._content(table, where, *values)
        if content is None:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def _content(self, table: str, where: str, *values: object) -> bytes | None:
        # A connection of its own each time: scans are read ahead in other threads.
        with closing(open_reader(self.path)) as db:
            sql = f"SELECT content, digest FROM {table} WHERE {where}"
            row = db.execute(sql, values).fetchone()
        if row is None:
            return None
        if digest_of(row[0]) != row[1]:
            raise ValueError(f"{self.path} is damaged: {table} of {values[0]}; ask for it again")
        return row[0]


def damaged_contents(path: Path) -> Iterable[str]:
    """What a package carries and what is not as it was written, in words."""
    with closing(open_reader(path)) as db:
        images = ("package_images",) if db.execute(_HAS_IMAGES).fetchone() else ()
        for table in ("package_scans", "package_predictions", "package_files", *images):
            rows = db.execute(f"SELECT rowid, content, digest FROM {table}")
            for row, content, digest in rows:
                if digest_of(content) != digest:
                    yield f"row {row} of {table} is not as it was written"
