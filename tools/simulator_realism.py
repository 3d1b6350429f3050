"""Compare simulated scans with real SemanticKITTI scans and print the table of docs/simulator.md.

    python tools/simulator_realism.py [SEMANTICKITTI_ROOT]

The root (a folder with ``sequences/``) may also come from ANNOTATOR3D_SEMANTICKITTI. Without real
scans only the two simulated columns are printed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.kitti import read_bin, read_label, split_label
from annotator3d.data.simulator import DOMAINS, VERSION, simulate
from annotator3d.data.taxonomy import load_taxonomy

_RINGS, _FIRINGS = 64, 2170  # of the real sensor; the most points that any real ring holds
_AZIMUTHS = 2048
_RANGES = (0, 5, 10, 15, 20, 30, 40, 50, 65, 90)
_HEIGHTS = (-40, -2.2, -1.9, -1.6, -1.2, -0.6, 0.0, 0.6, 40)


@dataclass
class Tally:
    """Sums over the scans of one column of the table."""

    rays: int
    points: list[int] = field(default_factory=list)
    voxels: list[int] = field(default_factory=list)
    labels: list[NDArray] = field(default_factory=list)
    ranges: list[NDArray] = field(default_factory=list)
    heights: list[NDArray] = field(default_factory=list)
    intensities: list[NDArray] = field(default_factory=list)

    def add(self, scan: Path, train_ids) -> None:
        xyz, intensity = read_bin(scan)
        path = scan.parents[1] / "labels" / f"{scan.stem}.label"
        raw, _ = split_label(read_label(path, len(xyz)))
        self.points.append(len(xyz))
        cells = np.floor(xyz / np.float32(0.25)).astype(np.int64) + 4096
        self.voxels.append(len(np.unique(cells @ np.array([1 << 26, 1 << 13, 1]))))
        self.labels.append(train_ids(raw.astype(np.uint32), path))
        self.ranges.append(np.linalg.norm(xyz, axis=1))
        self.heights.append(xyz[:, 2])
        self.intensities.append(intensity)


def rows(tally: Tally, names: list[str]) -> Iterator[tuple[str, str]]:
    """Lines of one column, in the order of the table."""
    label, distance = np.concatenate(tally.labels), np.concatenate(tally.ranges)
    height, intensity = np.concatenate(tally.heights), np.concatenate(tally.intensities)
    used = label != 255
    yield "scans", f"{len(tally.points)}"
    yield "rays per scan", f"{tally.rays}"
    yield "points per ray", f"{np.mean(tally.points) / tally.rays:.3f}"
    yield "points per scan", f"{np.mean(tally.points):.0f}"
    yield "0.25 m voxels per scan", f"{np.mean(tally.voxels):.0f}"
    yield "unlabeled or ignored, %", f"{100 * (1 - used.mean()):.1f}"
    for index, name in enumerate(names):
        mine = label == index
        values = intensity[mine] if mine.any() else np.zeros(1)
        share = 100 * mine.sum() / used.sum()
        yield f"{name}: %, intensity", f"{share:.2f}, {values.mean():.2f} +- {values.std():.2f}"
    for low, high in zip(_RANGES[:-1], _RANGES[1:], strict=True):
        share = 100 * np.mean((distance >= low) & (distance < high))
        yield f"range {low}-{high} m, %", f"{share:.1f}"
    for low, high in zip(_HEIGHTS[:-1], _HEIGHTS[1:], strict=True):
        share = 100 * np.mean((height >= low) & (height < high))
        yield f"height {low} to {high} m, %", f"{share:.1f}"


def real_scans(root: Path) -> list[Path]:
    """Every labelled scan below ``root``, at most four of a sequence: neighbours look alike."""
    scans: list[Path] = []
    for folder in sorted((root / "sequences").iterdir()):
        found = sorted((folder / "velodyne").glob("*.bin"))
        labelled = [p for p in found if (folder / "labels" / f"{p.stem}.label").exists()]
        scans += labelled[:: max(1, len(labelled) // 4)][:4]
    return scans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default=os.environ.get("ANNOTATOR3D_SEMANTICKITTI"))
    parser.add_argument("--sequences", type=int, default=12)
    parser.add_argument("--scans", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    taxonomy = load_taxonomy("semantickitti19")
    columns: dict[str, Tally] = {}
    if args.root:
        columns["real"] = Tally(_RINGS * _FIRINGS)
        for scan in real_scans(Path(args.root)):
            columns["real"].add(scan, taxonomy.to_train)
    with tempfile.TemporaryDirectory() as folder:
        for name in reversed(DOMAINS):
            out = Path(folder, name)
            sizes = {"beams": _RINGS, "azimuths": _AZIMUTHS, "spacing": 15.0}
            ids = simulate(out, name, args.sequences, args.scans, args.seed, **sizes)
            columns[name] = Tally(_RINGS * _AZIMUTHS)
            for scan_id in ids:
                sequence, frame = scan_id.split("/")
                path = out / "sequences" / sequence / "velodyne" / f"{frame}.bin"
                columns[name].add(path, taxonomy.to_train)
    tables = {name: dict(rows(tally, taxonomy.names)) for name, tally in columns.items()}
    print(f"| simulator parameters version {VERSION} |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for key in next(iter(tables.values())):
        print(f"| {key} |", " | ".join(table[key] for table in tables.values()), "|")


if __name__ == "__main__":
    main()
