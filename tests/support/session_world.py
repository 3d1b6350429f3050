"""A small world for the tests of the labelling session: scans in memory, a ledger, queries."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from asked import Asked

from annotator3d.annotation.session import LabelSession, SessionOptions
from annotator3d.data.scan import Scan
from annotator3d.data.scan_source import Pose, Prediction
from annotator3d.ledger.ledger import Ledger, ScanRecord

NAMES, DIGEST = ("road", "car", "tree"), "d1g357"
SIZE = 0.25


@dataclass
class Source:
    """Scans in memory; take one out, or change its fingerprint, to see what happens."""

    scans: dict[str, Scan]
    prints: dict[str, str] = field(default_factory=dict)
    poses: dict[str, Pose] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def scan(self, scan_id):
        self.reads.append(scan_id)
        if scan_id not in self.scans:
            raise FileNotFoundError(f"{scan_id}.bin is gone")
        return self.scans[scan_id]

    def fingerprint(self, scan_id):
        return self.prints.get(scan_id, f"file {scan_id}")

    def pose(self, scan_id):
        return self.poses.get(scan_id)

    def neighbours(self, scan_id, back, forth):
        ids = sorted(self.scans)
        at = ids.index(scan_id)
        return ids[max(at - back, 0) : at] + ids[at + 1 : at + forth + 1]

    def image(self, scan_id, centre):
        return None


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def make_scan(scan_id, cells, points=4, seed=0):
    """A scan with `points` points in each cell, in a shuffled order, and some elsewhere."""
    random = np.random.default_rng([seed, *scan_id.encode()])
    corners = np.repeat(np.array(cells, np.float32), points, axis=0)
    inside = corners + random.uniform(0.05, 0.95, corners.shape)
    far = random.uniform(50, 60, (7, 3)) / SIZE
    xyz = np.concatenate([inside, far]).astype(np.float32) * np.float32(SIZE)
    xyz = xyz[random.permutation(len(xyz))]
    return Scan.from_raw(scan_id, xyz, random.random(len(xyz)).astype(np.float32))


CELLS = [(4, 0, 0), (5, 0, 0), (-8, 3, 1)]


def make_world(
    path, scans=("00/0", "00/1"), cells=CELLS, points=4, scores=None, spare=(), asked=None
):
    """A source and a ledger with one round that asks about `cells` of each scan.

    Cells of `spare` have points too and wait for another round. `asked` are the places of the
    points that are asked about in each voxel; None: all.
    """
    source = Source({scan: make_scan(scan, [*cells, *spare], points) for scan in scans})
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.register_scans(
            ScanRecord(scan, f"file {scan}", source.scans[scan].num_raw) for scan in scans
        )
        scores = scores or [float(len(cells) - i) for i in range(len(cells))]
        picks = [Asked(c, points, s, asked) for c, s in zip(cells, scores, strict=True)]
        ledger.add_round(1, "vcd", 7, len(cells), dict.fromkeys(scans, picks))
    return source


def start(path, source, annotator="ann", predictions=None, clock=None, **options):
    """A session on the ledger of `make_world`."""
    ledger = Ledger.open(path, NAMES, DIGEST, SIZE)
    return LabelSession(ledger, source, annotator, predictions, SessionOptions(**options), clock)


def seen(path, query):
    """What another process reads of a query."""
    with Ledger.read(path) as ledger:
        return ledger.current(query)


def predict(classes):
    """Stored predictions: per point class from a function of (round, scan) -> [N] train ids."""

    def stored(round, scan):
        found = classes(round, scan)
        return None if found is None else Prediction(found, np.zeros(len(scan), np.float32))

    return stored
