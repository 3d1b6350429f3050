"""The sensor's own rows of a scan, from the files of each data set that knows them."""

from __future__ import annotations

import shutil

import numpy as np

from annotator3d.data.datasets.moved import MovedScans
from annotator3d.data.datasets.nuscenes import NuScenes
from annotator3d.data.datasets.sequences import SemanticPOSS
from annotator3d.data.datasets.simulated import SimulatedStreets
from annotator3d.data.formats.kitti import write_bin
from annotator3d.data.scan import Scan


def test_simulated_rings_are_the_beams_from_the_top_down(tmp_path):
    streets = SimulatedStreets(
        "hdl64", sequences=1, scans=2, beams=24, azimuths=48, root=tmp_path / "sim"
    )
    for index in range(2):
        scan = streets.read(index)
        ring = scan.ring
        assert ring.min() >= 0 and ring.max() <= 23 and len(set(ring.tolist())) > 12
        assert (np.diff(ring) >= 0).all()  # the file is written beam by beam from the top
        elevation = np.arctan2(scan.xyz[:, 2], np.hypot(scan.xyz[:, 0], scan.xyz[:, 1]))
        for number in set(ring.tolist()):  # noise moves points along their beam alone
            assert np.ptp(elevation[ring == number]) < 1e-4


def test_rings_of_nuscenes_count_from_the_lowest_beam_in_the_file_and_the_highest_in_a_scan(
    tmp_path,
):
    points = np.array([[5, 1, -3, 7, 0], [5, 1, 1, 7, 31], [5, 1, np.nan, 7, 4]], "<f4")
    points.tofile(tmp_path / "scan.bin")
    dataset = NuScenes.__new__(NuScenes)
    dataset.path = lambda i: tmp_path / "scan.bin"
    xyz, intensity = dataset.read_points(0)
    ring = dataset.read_ring(0, xyz)
    assert ring.tolist() == [31, 0, 27]
    assert Scan.from_raw("a/b", xyz, intensity, ring=ring).ring.tolist() == [31, 0]


def test_rings_of_semanticposs_are_the_rows_of_its_tags(tmp_path):
    folder = tmp_path / "sequences" / "03"
    for name in ("velodyne", "labels", "tag"):
        (folder / name).mkdir(parents=True)
    for frame in range(3):
        write_bin(
            folder / f"velodyne/{frame:06d}.bin", [(5, 1, 0), (6, 1, -1), (7, 1, -2)], [9] * 3
        )
    tag = np.zeros((40, 1800), bool)
    tag[[0, 12, 39], [7, 0, 1799]] = True
    tag.tofile(folder / "tag/000000.tag")
    np.ones(40 * 1800, bool).tofile(folder / "tag/000001.tag")  # of another scan
    dataset = SemanticPOSS(tmp_path, split="val", labels="optional")
    assert dataset.read(0).ring.tolist() == [0, 12, 39]
    assert np.isnan(dataset.read(1).ring).all()
    assert np.isnan(dataset.read(2).ring).all()  # has none, where others have one
    shutil.rmtree(folder / "tag")
    assert dataset.read(0).ring is None


def test_scans_that_were_moved_keep_their_rings(tmp_path):
    streets = SimulatedStreets(
        "ideal", sequences=1, scans=1, beams=8, azimuths=24, root=tmp_path / "sim"
    )
    ring = streets.read(0).ring
    moved = MovedScans(streets, {"07/000003": "00/000000"})
    assert moved.ids == ["07/000003"] and moved.read(0).ring.tolist() == ring.tolist()
