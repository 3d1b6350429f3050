"""The street simulator: what it writes, that it can be repeated, and that its geometry is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotator3d.data.formats.kitti import read_bin, read_calib, read_label, read_poses, split_label
from annotator3d.data.simulator import DOMAINS, simulate
from annotator3d.data.simulator.caster import cast
from annotator3d.data.simulator.ground import cast_ground
from annotator3d.data.simulator.sequence import Plan, _drive, make_scan
from annotator3d.data.simulator.shapes import BOX, CYLINDER, ELLIPSOID
from annotator3d.data.simulator.street import Street
from annotator3d.data.simulator.surfaces import Primitives
from annotator3d.data.taxonomy import load_taxonomy

SMALL = {"beams": 16, "azimuths": 90}
BOTH = pytest.mark.parametrize("domain", sorted(DOMAINS))


def files(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


def load(root: Path, scan_id: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """xyz, intensity, class, instance of a written scan."""
    sequence, frame = scan_id.split("/")
    folder = root / "sequences" / sequence
    xyz, intensity = read_bin(folder / "velodyne" / f"{frame}.bin")
    label = read_label(folder / "labels" / f"{frame}.label", len(xyz))
    return xyz, intensity, *split_label(label)


@BOTH
def test_writes_the_layout_of_semantickitti(tmp_path: Path, domain: str) -> None:
    calls: list[tuple[int, int]] = []
    ids = simulate(
        tmp_path / "new" / "out", domain, 2, 3, seed=1, first_sequence=7, spacing=2.5,
        progress=lambda done, total: calls.append((done, total)), **SMALL,
    )  # fmt: skip
    assert ids == [f"{q:02d}/{k:06d}" for q in (7, 8) for k in range(3)]
    assert calls == [(n, 6) for n in range(1, 7)]
    for sequence in ("07", "08"):
        folder = tmp_path / "new" / "out" / "sequences" / sequence
        assert len(read_poses(folder / "poses.txt")) == 3
        assert len((folder / "times.txt").read_text().split()) == 3
        assert "Tr" in read_calib(folder / "calib.txt")
    for scan_id in ids:  # load() checks that labels and points are as many
        xyz, intensity, _, _ = load(tmp_path / "new" / "out", scan_id)
        assert 0.5 * 16 * 90 < len(xyz) <= 16 * 90
        assert np.isfinite(xyz).all() and intensity.min() >= 0 and intensity.max() < 1


@BOTH
def test_same_arguments_give_the_same_bytes_for_any_number_of_workers(
    tmp_path: Path, domain: str
) -> None:
    for name, workers in (("a", 1), ("b", 1), ("c", 2)):
        simulate(tmp_path / name, domain, 2, 3, seed=3, workers=workers, **SMALL)
    assert files(tmp_path / "a") == files(tmp_path / "b") == files(tmp_path / "c")


@BOTH
def test_a_sequence_does_not_depend_on_its_neighbours(tmp_path: Path, domain: str) -> None:
    simulate(tmp_path / "both", domain, 2, 2, seed=3, **SMALL)
    simulate(tmp_path / "second", domain, 1, 2, seed=3, first_sequence=1, **SMALL)
    both, second = files(tmp_path / "both"), files(tmp_path / "second")
    name = "sequences/01/velodyne/000001.bin"
    assert both[name] == second[name]


def test_sequences_scans_seeds_and_domains_are_different_worlds(tmp_path: Path) -> None:
    simulate(tmp_path / "a", "ideal", 2, 2, seed=3, **SMALL)
    simulate(tmp_path / "b", "ideal", 1, 2, seed=4, **SMALL)
    simulate(tmp_path / "c", "hdl64", 1, 2, seed=3, **SMALL)
    scans = [d for n in "abc" for k, d in files(tmp_path / n).items() if k.endswith(".label")]
    assert len(set(scans)) == len(scans) == 8


@BOTH
@pytest.mark.parametrize(("scans", "beams", "azimuths"), [(4, 32, 360), (10, 64, 360)])
def test_every_class_occurs_in_every_sequence(
    domain: str, scans: int, beams: int, azimuths: int
) -> None:
    taxonomy = load_taxonomy("semantickitti19")
    plan = Plan(domain, 4, scans, 0, beams, azimuths, 0, 4.0)
    for sequence in range(plan.sequences):
        raw = np.concatenate([make_scan(plan, sequence, k).label for k in range(scans)])
        train = taxonomy.to_train(raw.astype(np.uint32), "simulated")  # raises for an unknown id
        missing = [name for c, name in enumerate(taxonomy.names) if (train == c).sum() < 3]
        assert not missing, f"{domain} sequence {sequence} lacks {missing}"


@BOTH
def test_things_have_instances_and_movers_have_moving_ids(domain: str) -> None:
    plan = Plan(domain, 1, 4, 0, 32, 360, 0, 4.0)
    scans = [make_scan(plan, 0, k) for k in range(4)]
    label = np.concatenate([s.label for s in scans])
    instance = np.concatenate([s.instance for s in scans])
    things = np.isin(label, (10, 11, 13, 15, 18, 20, 30, 31, 32)) | (label >= 252)
    assert (instance[things] > 0).all() and (instance[~things] == 0).all()
    assert {252, 253, 254, 255} <= set(label.tolist())
    for number in np.unique(instance[things]):  # an instance is one class throughout
        assert len(np.unique(label[instance == number])) == 1


def test_only_the_real_sensor_is_noisy() -> None:
    def ranges(domain: str) -> np.ndarray:
        scan = make_scan(Plan(domain, 1, 1, 0, 64, 720, 0, 4.0), 0, 0)
        road = (scan.label == 40) & (np.linalg.norm(scan.xyz, axis=1) < 9)
        return scan.xyz[road, 2]

    assert ranges("ideal").std() < 1e-3  # a flat street
    assert 0.005 < ranges("hdl64").std() < 0.3


def test_static_points_of_two_scans_agree_through_the_poses(tmp_path: Path) -> None:
    simulate(tmp_path, "ideal", 1, 2, seed=5, beams=64, azimuths=1440, spacing=3.0)
    folder = tmp_path / "sequences" / "00"
    tr = read_calib(folder / "calib.txt")["Tr"]
    to_first = [np.linalg.inv(tr) @ p @ tr for p in read_poses(folder / "poses.txt")]
    assert np.allclose(to_first[0], np.eye(4), atol=1e-9)
    assert np.allclose(to_first[1][:3, 3], [3, 0, 0], atol=1e-6)
    clouds = []
    for k in range(2):
        xyz, _, label, _ = load(tmp_path, f"00/{k:06d}")
        mine = np.isin(label, (10, 71, 80, 18, 20)) & (np.linalg.norm(xyz, axis=1) < 15)
        clouds.append((xyz[mine].astype(np.float64), to_first[k]))

    def gap(align: bool) -> float:
        """Median distance from a point of the second scan to the nearest one of the first."""
        first, (second, pose) = clouds[0][0], clouds[1]
        second = second[:: max(1, len(second) // 800)]
        if align:
            second = second @ pose[:3, :3].T + pose[:3, 3]
        away = np.linalg.norm(second[:, None] - first[None], axis=2).min(axis=1)
        return float(np.median(away))

    assert len(clouds[0][0]) > 500
    assert gap(align=True) < 0.05 < 0.2 < gap(align=False)


# --- geometry ------------------------------------------------------------------------------------


def make_primitives(rng: np.random.Generator, count: int) -> Primitives:
    turn, away = rng.uniform(0, 2 * np.pi, count), rng.uniform(4, 16, count)
    centre = np.stack([away * np.cos(turn), away * np.sin(turn), rng.uniform(-2, 2, count)], axis=1)
    half = rng.uniform(0.3, 3, (count, 3))
    shape = np.arange(count) % 3
    half[shape == CYLINDER, 1] = half[shape == CYLINDER, 0]
    zero, number = np.zeros(count), np.arange(count)
    yaw = rng.uniform(0, 7, count)
    return Primitives(shape, centre, half, yaw, zero, zero, number, number, zero + 0.5, zero)


def inside(p: Primitives, i: int, points: np.ndarray) -> np.ndarray:
    c, s = np.cos(-p.yaw[i]), np.sin(-p.yaw[i])
    x, y, z = np.moveaxis(points - p.centre[i], -1, 0)
    x, y, z = (c * x - s * y) / p.half[i, 0], (s * x + c * y) / p.half[i, 1], z / p.half[i, 2]
    if p.shape[i] == BOX:
        return np.maximum(np.maximum(abs(x), abs(y)), abs(z)) < 1
    flat = x * x + y * y
    return (flat < 1) & (abs(z) < 1) if p.shape[i] == CYLINDER else flat + z * z < 1


def test_the_caster_agrees_with_marching_along_the_rays() -> None:
    """Independent oracle: small steps and a point-in-solid test; also with a tilted sensor."""
    rng = np.random.default_rng(0)
    assert {BOX, CYLINDER, ELLIPSOID} == {0, 1, 2}
    elevations, azimuths, reach, step = np.radians(np.linspace(20, -30, 14)), 240, 20.0, 0.08
    for heading, tilt in ((0.0, 0.0), (2.5, 0.08)):
        p = make_primitives(rng, 12)
        turn = 2 * np.pi * np.arange(azimuths) / azimuths
        up, turn = np.meshgrid(elevations, turn, indexing="ij")
        rays = np.stack([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)], axis=-1)
        ch, sh, ct, st = np.cos(heading), np.sin(heading), np.cos(tilt), np.sin(tilt)
        pose = np.array([[ch, -sh, 0], [sh, ch, 0], [0, 0, 1]]) @ [
            [1, 0, 0],
            [0, ct, -st],
            [0, st, ct],
        ]
        rays = rays @ pose.T
        origin = np.array([0.3, -0.2, 0.1])
        hits = cast(origin, rays, heading, elevations, 1.3 * tilt + 1e-3, p, None, reach, rng)
        distance = np.arange(0, reach, step)
        points = origin + distance[:, None, None, None] * rays
        solid = np.array([inside(p, i, points) for i in range(len(p))]).any(axis=0)
        marched = np.where(solid.any(axis=0), distance[solid.argmax(axis=0)], np.inf)
        assert np.isfinite(marched).mean() > 0.2
        assert (hits.range <= marched + 1e-9).all()  # never later than the first step inside
        met = np.isfinite(hits.range)
        just_in = origin + (hits.range[met] + 1e-4)[:, None] * rays[met]
        owner = hits.primitive[met]
        held = [inside(p, i, point) for i, point in zip(owner, just_in, strict=True)]
        assert np.mean(held) > 0.99  # never earlier than a surface (a graze leaves within 0.1 mm)


def test_noise_free_ground_lies_on_the_ground() -> None:
    plan = Plan("ideal", 1, 2, 0, 64, 360, 0, 4.0)
    world, _, poses = _drive(plan, 0)
    scan = make_scan(plan, 0, 1)
    ground = np.isin(scan.label, (40, 44, 48, 49, 60, 72))
    at = scan.xyz[ground] @ poses[1][:3, :3].T + poses[1][:3, 3]
    error = at[:, 2] - world.street.height(at[:, 0], at[:, 1])
    assert ground.sum() > 3000
    assert (np.abs(error) < 1e-3).mean() > 0.998  # the rest is on the end face of a parking bay
    assert np.abs(error).max() < 0.14
    assert (world.street.classify(at[:, 0], at[:, 1]) == scan.label[ground]).mean() > 0.999


def test_the_ground_of_a_hilly_street_is_found_where_marching_finds_it() -> None:
    rng = np.random.default_rng(1)
    street = Street(DOMAINS["hdl64"].street, -80, 80, rng)
    x, y, _ = street.place(0.0, -2.0)
    origin = np.array([x, y, float(street.height(np.array(x), np.array(y))) + 1.75])
    turn, up = rng.uniform(0, 2 * np.pi, 1500), np.radians(rng.uniform(-25, 1, 1500))
    rays = np.stack([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)], axis=-1)
    found = cast_ground(origin, rays, street, 50.0)
    distance = np.arange(0, 50, 0.02)
    points = origin + distance[:, None, None] * rays
    below = points[..., 2] < street.height(points[..., 0], points[..., 1])
    marched = np.where(below.any(axis=0), distance[below.argmax(axis=0)], np.inf)
    same = np.isclose(found, marched, atol=0.03) | (np.isinf(found) & np.isinf(marched))
    assert np.isfinite(marched).mean() > 0.5
    assert same.mean() > 0.98  # the rest grazes a crest or a kerb


# --- folders -------------------------------------------------------------------------------------


def test_an_interrupted_simulation_is_completed(tmp_path: Path) -> None:
    simulate(tmp_path / "whole", "hdl64", 2, 2, seed=0, **SMALL)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        simulate(out, "hdl64", 2, 2, seed=0, progress=stop, **SMALL)
    assert not (out / "simulation.json").exists()
    kept = (out / "sequences" / "00" / "velodyne" / "000000.bin").stat().st_mtime_ns
    simulate(out, "hdl64", 2, 2, seed=0, **SMALL)
    assert files(out) == files(tmp_path / "whole")
    assert (out / "sequences" / "00" / "velodyne" / "000000.bin").stat().st_mtime_ns == kept


def test_a_finished_simulation_is_a_cache_that_mends_itself(tmp_path: Path) -> None:
    ids = simulate(tmp_path, "ideal", 1, 3, seed=0, **SMALL)
    before, calls = files(tmp_path), []
    again = simulate(tmp_path, "ideal", 1, 3, seed=0, progress=lambda *a: calls.append(a), **SMALL)
    assert again == ids and calls == [] and files(tmp_path) == before
    (tmp_path / "sequences" / "00" / "labels" / "000001.label").unlink()
    simulate(tmp_path, "ideal", 1, 3, seed=0, **SMALL)
    assert files(tmp_path) == before


def test_a_folder_that_holds_anything_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("do not lose me")
    with pytest.raises(ValueError, match="is not empty and holds no simulation"):
        simulate(foreign, "ideal", 1, 1, seed=0, **SMALL)
    assert files(foreign) == {"thesis.txt": b"do not lose me"}
    simulate(tmp_path / "out", "ideal", 1, 1, seed=0, **SMALL)
    with pytest.raises(ValueError, match="another simulation .seed in"):
        simulate(tmp_path / "out", "ideal", 1, 1, seed=1, **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domain": "hdl-64"}, "domain.*'hdl-64'.*did you mean 'hdl64'"),
        ({"sequences": 0}, "sequences.*at least 1, got 0"),
        ({"scans": 0}, "scans.*at least 1, got 0"),
        ({"beams": 0}, "beams.*at least 1, got 0"),
        ({"azimuths": -5}, "azimuths.*at least 1, got -5"),
        ({"seed": -1}, "seed.*at least 0, got -1"),
        ({"workers": 0}, "workers.*at least 1, got 0"),
        ({"spacing": 0.0}, "spacing.*got 0.0"),
        ({"spacing": float("nan")}, "spacing.*got nan"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_written(
    tmp_path: Path, change: dict, message: str
) -> None:
    arguments = {"domain": "ideal", "sequences": 1, "scans": 1, "seed": 0, **SMALL, **change}
    with pytest.raises(ValueError, match=message):
        simulate(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_one_ray_per_scan_is_still_a_scan(tmp_path: Path) -> None:
    ids = simulate(tmp_path, "ideal", 1, 1, seed=0, beams=1, azimuths=1)
    assert len(load(tmp_path, ids[0])[0]) <= 1
