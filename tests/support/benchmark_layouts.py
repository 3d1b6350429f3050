"""Small folders in the layouts of the benchmark datasets, written with numpy and json alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

KITTI_IDS = (0, 1, 10, 11, 13, 15, 16, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 52, 60, 70, 71)
KITTI_IDS += (72, 80, 81, 99, *range(252, 260))
POSS_IDS = (0, *range(4, 18), 21, 22)
SYNLIDAR_IDS = tuple(range(33))
CATEGORIES = """noise animal human.pedestrian.adult human.pedestrian.child
human.pedestrian.construction_worker human.pedestrian.personal_mobility
human.pedestrian.police_officer human.pedestrian.stroller human.pedestrian.wheelchair
movable_object.barrier movable_object.debris movable_object.pushable_pullable
movable_object.trafficcone static_object.bicycle_rack vehicle.bicycle vehicle.bus.bendy
vehicle.bus.rigid vehicle.car vehicle.construction vehicle.emergency.ambulance
vehicle.emergency.police vehicle.motorcycle vehicle.trailer vehicle.truck flat.driveable_surface
flat.other flat.sidewalk flat.terrain static.manmade static.other static.vegetation
vehicle.ego""".split()


def points(count: int, columns: int, brightest: float, seed: int) -> np.ndarray:
    """[count, columns] float32 in the fields of a real scan: x, y, z in metres, intensity, ring."""
    random = np.random.default_rng(seed)
    xyz = random.uniform([-20, -20, -2], [20, 20, 3], (count, 3))
    intensity = np.floor(random.random(count) * 256) / 255 * brightest
    return np.column_stack([xyz, intensity, np.arange(count) % 32])[:, :columns].astype("<f4")


def write_sequences(
    folder: Path,
    ids: Sequence[int],
    sequences: Iterable[str],
    scans: int = 1,
    brightest: float = 1.0,
    count: int = 70,
) -> Path:
    """``SS/{velodyne/*.bin, labels/*.label}`` in `folder`: every raw id in every scan."""
    for number, sequence in enumerate(sequences):
        for name in ("velodyne", "labels"):
            (folder / sequence / name).mkdir(parents=True)
        for frame in range(scans):
            seed = 1000 * number + frame
            data = points(count, 4, brightest, seed)
            data.tofile(folder / sequence / "velodyne" / f"{frame:06d}.bin")
            raw = np.resize(np.array(ids, np.uint32), count) | (np.uint32(seed + 1) << 16)
            raw.astype("<u4").tofile(folder / sequence / "labels" / f"{frame:06d}.label")
    return folder


def write_semantickitti(root: Path, scans: int = 1) -> Path:
    """Sequences 00 to 10, as in SemanticKITTI's archives."""
    write_sequences(root / "sequences", KITTI_IDS, [f"{i:02d}" for i in range(11)], scans)
    return root


def write_semanticposs(root: Path, scans: int = 1) -> Path:
    """Sequences 00 to 05 with their tags and poses; intensities are 0 to 255."""
    names = [f"{i:02d}" for i in range(6)]
    write_sequences(root / "sequences", POSS_IDS, names, scans, brightest=255.0)
    for name in names:
        folder = root / "sequences" / name
        (folder / "tag").mkdir()
        for frame in range(scans):
            scan = folder / "velodyne" / f"{frame:06d}.bin"
            tag = np.arange(40 * 1800) < scan.stat().st_size // 16
            tag.tofile(folder / "tag" / f"{frame:06d}.tag")
        for text in ("calib.txt", "poses.txt", "times.txt", "instances.txt"):
            (folder / text).touch()
    return root


def write_synlidar(root: Path, scans: int = 1) -> Path:
    """Sequences 00 to 12 right below `root`, as in SynLiDAR's archives."""
    write_sequences(root, SYNLIDAR_IDS, [f"{i:02d}" for i in range(13)], scans)
    for name in ("annotations.yaml", "read_data.py"):
        (root / name).touch()
    return root


def write_nuscenes(
    root: Path,
    names: Sequence[str],
    version: str = "v1.0-trainval",
    samples: int = 1,
    recorded: int = 4,
    count: int = 70,
) -> Path:
    """Tables that name every scene of `names`, and the files of the first `recorded` of them.

    Scenes come in reverse and two by two of a log. Each sample has a LiDAR key frame, a camera's
    and a sweep between two samples.
    """
    tables: dict[str, list] = {t: [] for t in ("scene", "sample", "sample_data", "lidarseg", "log")}
    tables["category"] = [
        {"token": f"c{i}", "name": name, "description": "", "index": i}
        for i, name in enumerate(CATEGORIES)
    ]
    for number, name in reversed(list(enumerate(names))):
        log = f"log{number // 2}"
        if number % 2 == 0:
            tables["log"].append({"token": log, "logfile": f"n{number}", "location": "x"})
        tables["scene"].append({"token": f"s{name}", "name": name, "log_token": log})
        for sample in range(samples if number < recorded else 0):
            _write_sample(root, version, tables, name, 1_500_000_000_000_000 + sample, count)
    (root / version).mkdir(parents=True)
    for table, rows in tables.items():
        text = "[\n" + ",\n".join(json.dumps(row, indent=0) for row in rows) + "\n]"
        (root / version / f"{table}.json").write_text(text)
    return root


def _write_sample(
    root: Path, version: str, tables: dict[str, list], scene: str, time: int, count: int
) -> None:
    token, seed = f"{scene}-{time}", int(scene[6:]) + 10_000 * (time % 1000)
    tables["sample"].append({"token": token, "timestamp": time, "scene_token": f"s{scene}"})
    for kind, channel, key in (
        ("samples", "LIDAR_TOP", True),
        ("samples", "CAM_FRONT", True),
        ("sweeps", "LIDAR_TOP", False),
    ):
        later = time + (0 if key else 500)
        suffix = ".pcd.bin" if channel == "LIDAR_TOP" else ".jpg"
        file = f"{kind}/{channel}/{scene}__{channel}__{later}{suffix}"
        data = {"token": f"{kind}{channel}{token}", "sample_token": token, "timestamp": later}
        tables["sample_data"].append({**data, "filename": file, "is_key_frame": key})
    lidar = f"samplesLIDAR_TOP{token}"
    file, label = (
        root / f"samples/LIDAR_TOP/{scene}__LIDAR_TOP__{time}.pcd.bin",
        root / f"lidarseg/{version}/{lidar}_lidarseg.bin",
    )
    for path in (file, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    points(count, 5, 255.0, seed).tofile(file)
    np.resize(np.arange(32, dtype=np.uint8), count).tofile(label)
    tables["lidarseg"].append(
        {
            "token": lidar,
            "sample_data_token": lidar,
            "filename": f"lidarseg/{version}/{lidar}_lidarseg.bin",
        }
    )
