"""What a work package carries of the scans: points, poses, predictions, camera images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from annotator3d.annotation.packages.package import pack, pack_image
from annotator3d.data.scan import Scan
from annotator3d.data.scan_source import Predictions, ScanSource
from annotator3d.ledger.ledger import Ledger, Query
from annotator3d.ledger.package_file import PackageWriter
from annotator3d.ledger.records import CHANGED
from annotator3d.system_errors import in_words

_SHOWN, _RUNS = 3, 10  # scans and stretches of queries that a message names


def require_scans(ledger: Ledger, queries: Sequence[Query], source: ScanSource) -> None:
    """ValueError naming the scans of some queries whose files are gone or have changed."""
    unusable: dict[str, str] = {}
    for scan_id in dict.fromkeys(query.scan for query in queries):
        try:
            if source.fingerprint(scan_id) != ledger.scan(scan_id).fingerprint:
                unusable[scan_id] = CHANGED
        except (FileNotFoundError, ValueError):  # no such file, or not in the data set
            unusable[scan_id] = "is gone"
        except OSError as error:
            unusable[scan_id] = in_words(error)
    if unusable:
        named = "; ".join(f"scan {name} {why}" for name, why in list(unusable.items())[:_SHOWN])
        more = f" and {len(unusable) - _SHOWN} more scans" if len(unusable) > _SHOWN else ""
        theirs = sorted(query.id for query in queries if query.scan in unusable)
        raise ValueError(
            f"{named}{more}; nothing was packed: restore the files, or choose other queries by "
            f"--queries or --scan, without {_listed(theirs)}"
        )


def put_scans(
    ledger: Ledger,
    package: PackageWriter,
    queries: Sequence[Query],
    source: ScanSource,
    crop: float | None,
    predictions: Predictions | None,
    progress: Callable[[int, int], None],
) -> int:
    """Write points, poses and predictions of the scans of some queries; returns how many scans.

    Raises ValueError for a scan that has changed since it was asked about.
    """
    by_scan: dict[str, list[Query]] = {}
    for query in queries:
        by_scan.setdefault(query.scan, []).append(query)
    for done, (scan_id, members) in enumerate(by_scan.items(), 1):
        scan, record = source.scan(scan_id), ledger.scan(scan_id)
        now, name = source.fingerprint(scan_id), f"scan {scan_id}"
        if change := record.change(scan.num_raw, now, name):
            raise ValueError(change)
        keep = _kept(scan, members, ledger.voxel_size, crop)
        rows = scan.rows[keep]
        arrays = {
            "xyz": scan.xyz[keep],
            "intensity": scan.intensity[keep],
            "steps": np.diff(rows, prepend=0).astype(np.int32),
            "num_raw": np.array(scan.num_raw),
        }
        pose, place = source.pose(scan_id), (None, None)
        if pose is not None:  # the world's name may be a path on this machine
            world = hashlib.sha256(pose.world.encode()).hexdigest()[:16]
            place = (np.ascontiguousarray(pose.matrix, np.float64).tobytes(), world)
        package.add_scan(scan_id, pack(arrays), *place)
        for number in sorted({query.round for query in members}):
            stored = None if predictions is None else predictions(number, scan)
            if stored is not None:
                more = {} if stored.classes is None else {"classes": stored.classes[keep]}
                package.add_prediction(scan_id, number, pack({"score": stored.score[keep], **more}))
        progress(done, len(by_scan))
    return len(by_scan)


def put_images(
    ledger: Ledger, package: PackageWriter, queries: Sequence[Query], source: ScanSource
) -> int:
    """Write what the camera saw around some queries; returns of how many there is an image."""
    seen = (
        (query, source.image(query.scan, (np.array(query.cell) + 0.5) * ledger.voxel_size))
        for query in queries
    )
    return package.add_images(
        (query.scan, query.cell, pack_image(image)) for query, image in seen if image is not None
    )


def _listed(numbers: Sequence[int]) -> str:
    """Numbers in order, as --queries takes them."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [f"{a}-{b}" if b > a else f"{a}" for a, b in runs]
    return ",".join(words[:_RUNS]) + (",..." if len(words) > _RUNS else "")


def _kept(scan: Scan, queries: Sequence[Query], size: float, crop: float | None) -> np.ndarray:
    """[N] which points of a scan are packed: those of the queried voxels always."""
    if crop is None:
        return np.ones(len(scan), bool)
    keep = np.zeros(len(scan), bool)
    cells = np.floor(scan.xyz / np.float32(size))
    for query in queries:
        cell = np.array(query.cell, np.float32)
        centre = (np.array(query.cell) + 0.5) * size
        near = np.linalg.norm(scan.xyz - centre, axis=1) <= crop
        keep |= near | (cells == cell).all(1)
    return keep
