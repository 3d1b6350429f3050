"""The contents of one still picture of a scan, made without a window or a session."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import Scan, rows_of_cell
from annotator3d.data.scan_source import Predictions, ScanSource
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.records import UNASSIGNED
from annotator3d.viz.camera import CameraView, preset_view
from annotator3d.viz.colours import BACKGROUNDS, OPEN_PIN, PART, Colours, PointValues, colours


@dataclass(eq=False)
class Still:
    """Everything that is drawn in a still picture."""

    xyz: NDArray[np.float32]  # [N, 3]
    colours: Colours  # [N, 3]
    centres: NDArray[np.float64]  # [Q, 3] of queried voxels
    numbers: NDArray[np.int64]  # [Q] of the queries
    pins: Colours  # [Q, 3]
    current: NDArray[np.int64]  # [n] rows of the points that are drawn larger
    focus: NDArray[np.float64]  # [3] the target of the camera, or [0] for the whole scan
    voxel_size: float
    view: str
    background: str

    def camera(self) -> CameraView:
        """The camera of the picture."""
        if len(self.focus):
            return preset_view(self.view, self.focus)
        middle = np.median(self.xyz, axis=0) if len(self.xyz) else np.zeros(3)
        return CameraView(np.array([-22.0, 0, 14]), middle + [8.0, 0, 0], np.array([0, 0, 1.0]))

    @property
    def backdrop(self) -> tuple[float, float, float, float]:
        return BACKGROUNDS[self.background]

    def save(self, path: Path) -> None:
        """Write a file that `load` reads, in another process."""
        with open(path, "wb") as file:
            np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Still:
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        for name in ("voxel_size", "view", "background"):
            values[name] = values[name].item()
        return cls(**values)


def still_of_scan(scan: Scan, mode: str, view: str, background: str) -> Still:
    """A scan without queries, coloured by height or intensity."""
    none = np.full(len(scan), UNASSIGNED, np.uint8)
    values = PointValues(scan.xyz[:, 2], scan.intensity, None, none, None)
    nothing = np.empty((0, 3))
    return Still(
        scan.xyz,
        colours(values, mode, np.empty((0, 3), np.float32)),
        nothing,
        np.empty(0, np.int64),
        nothing.astype(np.float32),
        np.empty(0, np.int64),
        np.empty(0),
        1.0,
        view,
        background,
    )


def still_of_query(
    ledger: Ledger,
    source: ScanSource,
    predictions: Predictions,
    number: int | None,
    palette: Colours,
    mode: str | None,
    view: str,
    background: str,
) -> Still:
    """The scan of a query of a ledger; nothing is written to it.

    Args:
        predictions: those that the rounds have stored.
        number: the query; None: the first one of the last round.
        mode: of `colours.MODES`; None: the confusion if it was stored, else the height.

    Raises ValueError for an unknown query, and if the file of its scan has changed.
    """
    if number is None:
        asked = ledger.queries()
        if not asked:
            raise ValueError(f"{ledger.path} has no queries yet")
        number = max(asked, key=lambda q: (q.round, -q.rank, -q.id)).id
    query, size = ledger.query(number), ledger.voxel_size
    scan, known = source.scan(query.scan), ledger.scan(query.scan)
    if known and (change := known.change(scan.num_raw, source.fingerprint(query.scan))):
        raise ValueError(f"scan {query.scan}: {change}")
    stored = predictions(query.round, scan)
    labels = np.full(len(scan), UNASSIGNED, np.uint8)
    found = ledger.queries(scan=query.scan)
    asked = {each.cell: each for each in found}
    for cell, given, _ in ledger.labels_for_scan(query.scan):
        rows = rows_of_cell(scan.xyz, cell, size)
        labels[asked[cell].asked_of(rows)] = asked[cell].asked_of(given)
    values = PointValues(
        scan.xyz[:, 2],
        scan.intensity,
        None if stored is None else stored.classes,
        labels,
        None if stored is None else stored.score,
    )
    current = query.asked_of(rows_of_cell(scan.xyz, query.cell, size))
    painted = colours(values, mode or ("height" if stored is None else "confusion"), palette)
    painted[current] = PART
    return Still(
        scan.xyz,
        painted,
        (np.array([q.cell for q in found], np.float64) + 0.5) * size,
        np.array([q.id for q in found]),
        np.tile(OPEN_PIN, (len(found), 1)),
        current,
        (np.array(query.cell) + 0.5) * size,
        size,
        view,
        background,
    )
