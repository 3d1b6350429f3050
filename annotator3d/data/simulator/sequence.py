"""Driving through worlds and writing what the sensor sees, in the layout of SemanticKITTI."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.formats.kitti import write_bin, write_calib, write_label, write_poses
from annotator3d.data.processes import process_pool
from annotator3d.data.simulator.domains import DOMAINS, get_domain
from annotator3d.data.simulator.plan import CARD, STARTED, Plan, card, claim, whole
from annotator3d.data.simulator.sensor import Points, Rig, make_rig, scan
from annotator3d.data.simulator.traffic import EGO_SPEED, ego_lane
from annotator3d.data.simulator.world import World

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

# LiDAR (x ahead, y left, z up) -> camera (x right, y down, z ahead), as mounted on the KITTI car.
TR = np.array([[0, -1, 0, 0.0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1.0]])
_WORLD, _SCAN = 0, 1  # the two streams of random numbers


def simulate(
    out: str | os.PathLike[str],
    domain: str,
    sequences: int,
    scans: int,
    seed: int,
    beams: int = 64,
    azimuths: int = 1024,
    first_sequence: int = 0,
    spacing: float = 4.0,
    progress: Progress | None = None,
    workers: int = 1,
) -> list[str]:
    """Write simulated sequences ``OUT/sequences/NN`` and return the scan ids (``"00/000000"``).

    ``spacing`` is the drive between two scans in metres; ``progress(done, total)`` is called after
    each scan. ``simulation.json`` is written last: when it already tells the same simulation and
    all of its scans are there, nothing is written; an interrupted simulation is completed. The
    same arguments give the same bytes on one machine, for any number of ``workers``; a script that
    asks for several must guard its main part with ``if __name__ == "__main__"``.

    Raises ValueError for an argument out of range, or when ``out`` holds anything else.
    """
    plan = Plan(domain, sequences, scans, seed, beams, azimuths, first_sequence, float(spacing))
    whole("workers", workers, 1)
    root, frames = Path(out), plan.frames()
    ids = [f"{q:02d}/{k:06d}" for q, k in frames]
    finished = claim(root, plan)
    todo = [f for f in frames if not all(p.exists() for p in _paths(root, *f))]
    if finished and not todo:
        return ids
    for q in dict.fromkeys(q for q, _ in frames):
        _write_drive(root, plan, q)
    done = len(frames) - len(todo)
    for _ in _run(root, plan, todo, workers):
        done += 1
        if progress is not None:
            progress(done, len(frames))
    with atomic_write(root / CARD) as file:
        file.write(card(plan))
    (root / STARTED).unlink(missing_ok=True)
    return ids


def _run(root: Path, plan: Plan, todo: list[tuple[int, int]], workers: int) -> Iterator[None]:
    """Write scans, yielding after each; more processes change nothing but the time."""
    if workers == 1 or len(todo) < 2:
        yield from (_write_scan(root, plan, *frame) for frame in todo)
        return
    with process_pool(workers) as pool:
        sequences, scans = zip(*todo, strict=True)
        chunk = max(1, min(8, len(todo) // workers))
        yield from pool.map(partial(_write_scan, root, plan), sequences, scans, chunksize=chunk)


def _paths(root: Path, sequence: int, k: int) -> tuple[Path, Path]:
    """Files of a scan: points and labels."""
    folder = root / "sequences" / f"{sequence:02d}"
    return folder / "velodyne" / f"{k:06d}.bin", folder / "labels" / f"{k:06d}.label"


def _write_scan(root: Path, plan: Plan, sequence: int, k: int) -> None:
    points = make_scan(plan, sequence, k)
    scan_path, label_path = _paths(root, sequence, k)
    write_bin(scan_path, points.xyz, points.intensity)
    write_label(label_path, points.label, points.instance)


def _write_drive(root: Path, plan: Plan, sequence: int) -> None:
    folder = root / "sequences" / f"{sequence:02d}"
    for name in ("velodyne", "labels"):
        make_folder(folder / name)
    _, _, poses = _drive(plan, sequence)
    start = np.linalg.inv(poses[0])
    write_poses(folder / "poses.txt", [TR @ start @ p @ np.linalg.inv(TR) for p in poses])
    camera = np.array([[718.856, 0, 607.1928, 0], [0, 718.856, 185.2157, 0], [0, 0, 1, 0.0]])
    write_calib(folder / "calib.txt", {**{f"P{n}": camera for n in range(4)}, "Tr": TR[:3]})
    with atomic_write(folder / "times.txt") as file:
        for k in range(plan.scans):
            file.write(f"{_time(plan, k):e}\n".encode())


def _rng(plan: Plan, stream: int, sequence: int, k: int = 0) -> np.random.Generator:
    domain = list(DOMAINS).index(plan.domain)
    return np.random.default_rng([plan.seed, domain, stream, sequence, k])


def _time(plan: Plan, k: int) -> float:
    return k * plan.spacing / EGO_SPEED


@lru_cache(maxsize=2)
def _drive(plan: Plan, sequence: int) -> tuple[World, Rig, Array]:
    """World, sensor and poses [scans, 4, 4] (sensor -> world) of one sequence."""
    domain, rng = get_domain(plan.domain), _rng(plan, _WORLD, sequence)
    world = World(domain, plan.scans * plan.spacing, rng)
    rig = make_rig(domain.sensor, plan.beams, rng)
    tilts = np.radians(domain.sensor.tilt_jitter) * rng.normal(size=(plan.scans, 2))
    poses = [_pose(world, rig, k * plan.spacing, *tilts[k]) for k in range(plan.scans)]
    return world, rig, np.array(poses)


def _pose(world: World, rig: Rig, s: float, pitch: float, roll: float) -> Array:
    """Sensor -> world at street coordinate ``s``: heading and slope of the street, and a tilt."""
    x, y, yaw = world.street.place(s, ego_lane(world.street))
    ground = float(world.street.height(np.array(x), np.array(y)))
    pitch = pitch - float(np.arctan(world.street.grade(np.array(x)) * np.cos(yaw)))
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    turn = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1.0]])
    nod = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    lean = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    pose = np.eye(4)
    pose[:3, :3] = turn @ nod @ lean
    pose[:3, 3] = (x, y, ground + rig.height)
    return pose


def make_scan(plan: Plan, sequence: int, k: int) -> Points:
    """Scan ``k`` of a sequence; depends on no other scan."""
    world, rig, poses = _drive(plan, sequence)
    time = _time(plan, k)
    return scan(world, rig, poses[k], time, plan.azimuths, _rng(plan, _SCAN, sequence, k))
