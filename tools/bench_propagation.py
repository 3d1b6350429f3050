#!/usr/bin/env python3
"""Seconds and memory to teach the scans of a run: what changes, and what has not.

    python tools/bench_propagation.py [--scans 300] [--answers 5] [--surface | --agreement]
        [--data-root DIR]

Simulated drives of full resolution (1 m between two scans), or the sequences of a real data set,
with crowded voxels answered from the labels. A drive that is shorter than `--scans` is linked again
under other names, so that 19,130 scans, SemanticKITTI's training sequences, can be measured as
such; fewer are extrapolated by the time of a scan. With --agreement predictions alone teach: the
labels, a part of whose voxels are predicted to be of another class.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from annotator3d.active.stored_predictions import prediction_file, store_prediction
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.scan import IGNORE, VoxelLabels
from annotator3d.data.simulator.sequence import simulate
from annotator3d.engine.config.schema import (
    AgreementConfig,
    PropagateConfig,
    SurfaceConfig,
    TrainingConfig,
)
from annotator3d.engine.teaching.renew import Teaching

FULL = 19_130  # scans of SemanticKITTI's training sequences
SIZE = 0.25  # metres, of a voxel that is asked about
DRIVE = 100  # simulated scans
WRONG = 0.1  # part of the voxels that are predicted wrongly
LEAST_POINTS = 5  # of an answered voxel: about as many points in the mean as vcd picks


def linked(source: Path, root: Path, scans: int) -> list[str]:
    """Names of sequences below `root`, links to those of `source`, that hold so many scans."""
    (root / "sequences").mkdir(parents=True)
    names, there = [], sorted((source / "sequences").iterdir())
    while scans > 0:
        folder = there[len(names) % len(there)]
        names.append(f"{len(names):03d}")
        os.symlink(folder.resolve(), root / "sequences" / names[-1])
        scans -= len(list((folder / "velodyne").glob("*.bin")))
    return names


def answer(dataset: SemanticKITTI, each: int, seed: int = 0) -> dict[str, list[VoxelLabels]]:
    """So many answered voxels of each scan; a scan that is linked again has the same ones."""
    answers, known = {}, {}
    for index, scan_id in enumerate(dataset.ids):
        path = dataset.path(index).resolve()
        if path not in known:
            known[path] = _of_scan(dataset.read(index), each, [seed, len(known)])
        answers[scan_id] = known[path]
    return answers


def _of_scan(scan, each: int, seed: list[int]) -> list[VoxelLabels]:
    cells = np.floor(scan.xyz / np.float32(SIZE)).astype(np.int64)
    unique, of_point, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    of_point = of_point.reshape(-1)
    crowded = np.flatnonzero(counts >= LEAST_POINTS)
    picked = np.random.default_rng(seed).choice(crowded, each, replace=False)
    return [
        VoxelLabels(tuple(unique[v].tolist()), scan.labels[of_point == v], 1)
        for v in picked.tolist()
    ]


def predict(dataset: SemanticKITTI, folder: Path, seed: int = 0) -> None:
    """Store predictions of all scans, as round 1 would."""
    for index, scan_id in enumerate(dataset.ids):
        scan, random = dataset.read(index), np.random.default_rng([seed, index])
        cells = np.floor(scan.xyz / np.float32(SIZE)).astype(np.int64)
        unique, of_point = np.unique(cells, axis=0, return_inverse=True)
        wrong = (random.random(len(unique)) < WRONG)[of_point.reshape(-1)]
        other = np.uint8(random.integers(dataset.taxonomy.num_classes))
        classes = np.where(wrong | (scan.labels == IGNORE), other, scan.labels)
        score = np.zeros(len(scan), np.float32)
        store_prediction(prediction_file(folder, 1, scan_id), scan, score, classes)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print; returns seconds and GB by name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scans", type=int, default=300)
    parser.add_argument("--answers", type=int, default=5, help="voxels of each scan")
    parser.add_argument("--surface", action="store_true", help="along surfaces, too")
    parser.add_argument("--agreement", action="store_true", help="predictions instead of answers")
    parser.add_argument("--data-root", type=Path, help="real scans, in SemanticKITTI's layout")
    parser.add_argument("--azimuths", type=int, default=2048, help="of the simulated sensor")
    parser.add_argument("--drive", type=int, default=DRIVE, help="simulated scans of a drive")
    args = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bench_propagation_"))
    try:
        return _measure(args, folder)
    finally:
        shutil.rmtree(folder)


def _measure(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    source = args.data_root
    if source is None:
        source = folder / "simulated"
        simulate(source, "hdl64", 1, args.drive, 0, azimuths=args.azimuths, spacing=1.0)
    names = linked(source, folder / "linked", args.scans)
    dataset = SemanticKITTI(folder / "linked", names)
    answers = answer(dataset, args.answers)
    surface = SurfaceConfig() if args.surface else None
    levers = TrainingConfig(propagate=PropagateConfig(), surface=surface)
    if args.agreement:
        levers = TrainingConfig(agreement=AgreementConfig())
        predict(dataset, folder / "rounds")
    teaching = Teaching(dataset, levers, folder / "taught", folder / "rounds", SIZE)
    report, scans = {}, len(dataset)
    for name in ("all new", "nothing new"):
        start = time.perf_counter(), time.process_time()
        found = teaching.renew(answers, round=1)
        report[name] = time.perf_counter() - start[0]
        report[f"{name} (processor)"] = time.process_time() - start[1]
    report["memory (GB)"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    report["files (GB)"] = sum(p.stat().st_size for p in (folder / "taught").iterdir()) / 1e9
    print(f"{scans:,} scans, {sum(map(len, answers.values())):,} answers")
    print("\n".join(found.describe(sum(map(len, answers.values())))))
    for name, value in report.items():
        per_scan = f"{1000 * value / scans:8.2f} ms a scan" if "GB" not in name else " " * 18
        whole = (
            f"{value / scans * FULL / 60:8.1f} min for {FULL:,} scans" if "GB" not in name else ""
        )
        print(f"{name:26} {value:9.3f} {'GB' if 'GB' in name else 's '} {per_scan} {whole}")
    return report


if __name__ == "__main__":
    main()
