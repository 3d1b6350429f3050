"""Simulated streets whose scans see the same places, and runs over them that propagate answers."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
from tiny_runs import BACKBONE

from annotator3d.data.batch import answer_labels, answered_points
from annotator3d.data.formats.kitti import read_calib, read_poses, write_poses
from annotator3d.data.simulator.sequence import simulate
from annotator3d.engine.config.load import make_config
from annotator3d.engine.config.schema import RunConfig

SCANS = 5  # of each of two sequences


def make_streets(folder: Path) -> Path:
    simulate(folder, "ideal", 2, SCANS, 3, beams=32, azimuths=256, spacing=1.0)
    return folder


def config_over(root: Path, training: dict, setting: str = "al", **changes) -> RunConfig:
    """A run of two rounds over both sequences; `changes` are tables that update the config's."""
    scans = {"type": "SemanticKITTI", "root": str(root), "sequences": ["00", "01"]}
    values: dict = {
        "setting": setting,
        "device": "cpu",
        "data": {"train": scans, "val": None},
        "model": {"backbone": BACKBONE, "voxel_size": 1.0},
        "schedule": {"epochs": 2, "batch_size": 2, "optimizer": {"type": "AdamW", "lr": 0.01}},
        "active": {"rounds_at": [0, 1], "voxel_size": 1.0, "queries_per_scan": 4},
        "training": training,
    }
    for key, change in changes.items():
        values[key] = {**values[key], **change} if isinstance(change, dict) else change
    return make_config(values)


def poses_of(root: Path, sequence: str) -> list[np.ndarray]:
    """Sensor -> world of each scan, by the matrices of SemanticKITTI."""
    folder = root / "sequences" / sequence
    tr = read_calib(folder / "calib.txt")["Tr"]
    return [np.linalg.inv(tr) @ pose @ tr for pose in read_poses(folder / "poses.txt")]


def move(root: Path, sequence: str, number: int, metres: float) -> None:
    """Let the pose of one scan jump to the side."""
    folder = root / "sequences" / sequence
    poses = read_poses(folder / "poses.txt")
    poses[number, 0, 3] += metres
    write_poses(folder / "poses.txt", poses)


def expected(dataset, root, answers, voxel_size, cell, reach, metres, moves) -> dict:
    """Scan -> {row: label}, point by point, with nothing seen through: the slow reference."""
    found = {}
    for scan_id in dataset.ids:
        sequence, frame = scan_id.split("/")
        poses = poses_of(root, sequence)
        here = poses[int(frame)]
        votes = defaultdict(set)
        for other in range(SCANS):
            apart = np.linalg.norm(here[:3, 3] - poses[other][:3, 3])
            other_id = f"{sequence}/{other:06d}"
            if abs(other - int(frame)) > reach or apart > metres or other_id not in answers:
                continue
            scan = dataset[other_id]
            labels = answer_labels(scan, answers[other_id], voxel_size)
            for row in np.flatnonzero(labels != 255):
                place = world_cell(poses[other], scan.xyz[row], cell)
                votes[place].add((int(labels[row]), other_id != scan_id))
        scan = dataset[scan_id]
        answered = answered_points(scan, answers.get(scan_id, ()), voxel_size)
        taught = {}
        for row in np.flatnonzero(~answered):
            said = votes.get(world_cell(here, scan.xyz[row], cell), set())
            classes = {label for label, _ in said}
            if len(classes) == 1 and any(other for _, other in said):
                (label,) = classes
                if not moves[label]:
                    taught[int(row)] = label
        found[scan_id] = taught
    return found


def world_cell(pose, xyz, cell) -> tuple:
    x, y, z = (float(v) for v in xyz)
    place = [m[0] * x + m[1] * y + m[2] * z + m[3] for m in pose[:3].tolist()]
    return tuple(math.floor(v / cell) for v in place)
