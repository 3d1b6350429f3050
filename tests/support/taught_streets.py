"""Simulated streets whose scans see the same places, and runs over them that propagate answers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from tiny_runs import BACKBONE

from annotator3d.data.batch import answer_labels, answered_points
from annotator3d.data.formats.kitti import read_calib, read_poses, write_poses
from annotator3d.data.simulator.sequence import simulate
from annotator3d.data.taught_labels import taught_file
from annotator3d.engine.config.load import make_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.run import train
from annotator3d.engine.workdir import WorkDir
from annotator3d.reporter import Reporter

SCANS = 5  # of each of two sequences


class Words(Reporter):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def info(self, text):
        self.lines.append(text)


class Stopping(Reporter):
    """Ends the run in a step, as a signal does."""

    def __init__(self, step):
        self.step = step

    def progress(self, task, done, total):
        if task == "training" and done == self.step:
            raise KeyboardInterrupt


def weights(work_dir, epochs=2):
    path = WorkDir(work_dir).checkpoints / f"epoch_{epochs}.pth"
    return torch.load(path, weights_only=True)["state_dict"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def labels_in(folder, scan_id, kind=None):
    with np.load(taught_file(folder, scan_id), allow_pickle=False) as file:
        rows, labels, kinds = file["rows"], file["labels"], file["kinds"]
    keep = np.ones(len(rows), bool) if kind is None else kinds == kind
    return dict(zip(rows[keep].tolist(), labels[keep].tolist(), strict=True))


def from_a_source(root: Path, folder: Path, setting: str, levers: dict) -> tuple[dict, dict]:
    """Weights of an epoch that starts from a source network: with these levers, and without.

    Sequence 01 is the source, 00 the target. The runs are in ``on`` and ``off`` of `folder`.
    """
    source = {"type": "SemanticKITTI", "root": str(root), "sequences": ["01"]}
    data = {"source": source, "train": {**source, "sequences": ["00"]}}
    short = {"schedule": {"epochs": 1}, "active": {"rounds_at": [0]}, "data": data}
    train(config_over(root, {}, "source_only", **short), folder / "source")
    init = str(WorkDir(folder / "source").checkpoints / "epoch_1.pth")
    for name, pulled in (("on", levers), ("off", {})):
        train(config_over(root, pulled, setting, init=init, **short), folder / name)
    return weights(folder / "on", 1), weights(folder / "off", 1)


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


def expected_of_predictions(dataset, root, folder, answers, voxel_size, rule, moves) -> dict:
    """Scan -> {row: label} of what predictions teach, point by point: the slow reference.

    Args:
        folder: with the predictions of one round. rule: the table of `training.agreement`.
    """
    found = {}
    for scan_id in dataset.ids:
        sequence, frame = scan_id.split("/")
        poses, said, right = poses_of(root, sequence), defaultdict(dict), defaultdict(set)
        here = poses[int(frame)]
        for other in range(SCANS):
            apart = np.linalg.norm(here[:3, 3] - poses[other][:3, 3])
            if abs(other - int(frame)) > rule["scans"] or apart > rule["metres"]:
                continue
            scan = dataset[other_id := f"{sequence}/{other:06d}"]
            predicted = prediction_in(folder, other_id, len(scan))
            labels = answer_labels(scan, answers.get(other_id, ()), voxel_size)
            for row in range(len(scan)):
                place = world_cell(poses[other], scan.xyz[row], rule["cell"])
                if predicted[row] != 255:
                    said[place].setdefault(other, Counter())[int(predicted[row])] += 1
                if labels[row] != 255:
                    right[place].add(int(labels[row]))
        scan = dataset[scan_id]
        predicted = prediction_in(folder, scan_id, len(scan))
        answered = answered_points(scan, answers.get(scan_id, ()), voxel_size)
        found[scan_id] = taught = {}
        for row in np.flatnonzero(~answered & (predicted != 255)).tolist():
            place = world_cell(here, scan.xyz[row], rule["cell"])
            label, votes = int(predicted[row]), said[place]
            clear = all(
                c[label] == max(c.values()) > sorted([0, *c.values()])[-2] for c in votes.values()
            )
            others = len(votes.keys() - {int(frame)})
            if clear and others >= rule["others"] and right[place] <= {label} and not moves[label]:
                taught[row] = label
    return found


def prediction_in(folder: Path, scan_id: str, points: int) -> np.ndarray:
    """[N] what a round predicted of a scan all of whose points are finite; 255: nothing."""
    path = folder / f"{scan_id.replace('/', '_')}.npz"
    if not path.is_file():
        return np.full(points, 255, np.uint8)
    with np.load(path, allow_pickle=False) as file:
        assert len(file["prediction"]) == points
        return file["prediction"]


def world_cell(pose, xyz, cell) -> tuple:
    x, y, z = (float(v) for v in xyz)
    place = [m[0] * x + m[1] * y + m[2] * z + m[3] for m in pose[:3].tolist()]
    return tuple(math.floor(v / cell) for v in place)
