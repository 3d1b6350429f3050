"""Scans of a user's own, written with the libraries of each format and not with our writers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotator3d.cli.main import main
from annotator3d.data.formats.kitti import read_bin, read_label, split_label

CLASSES = """
classes:
  - {name: ground, ids: [1], color: [128, 64, 128], guidance: where one drives}
  - {name: building, ids: [2, 7], color: [230, 160, 50]}
  - {name: plant, ids: [3], color: [0, 175, 0]}
ignored: [0, 9]
"""


@dataclass
class Points:
    """xyz [N, 3] in whole millimetres, intensity [N] 0..255, raw ids [N], instances [N]."""

    xyz: np.ndarray
    intensity: np.ndarray
    label: np.ndarray
    instance: np.ndarray


def points(seed: int = 0, count: int = 120) -> Points:
    random = np.random.default_rng(seed)
    xyz = np.round(random.uniform([-20, -20, -2], [20, 20, 3], (count, 3)), 3)
    return Points(
        xyz.astype(np.float32),
        random.integers(0, 256, count).astype(np.float32),
        random.choice([0, 1, 2, 3, 7], count).astype(np.uint16),
        random.integers(0, 5, count).astype(np.uint16),
    )


def write_taxonomy(folder: Path, text: str = CLASSES) -> Path:
    path = folder / "classes.yaml"
    path.write_text(text)
    return path


def structured(p: Points, label: bool = True) -> np.ndarray:
    """The points as a numpy record array."""
    names = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")]
    data = np.empty(len(p.xyz), names + ([("label", "<u2"), ("instance", "<u2")] * label))
    for axis, values in zip("xyz", p.xyz.T, strict=True):
        data[axis] = values
    data["intensity"] = p.intensity
    if label:
        data["label"], data["instance"] = p.label, p.instance
    return data


def write_ply(path: Path, p: Points, label: bool = True, **how: object) -> None:
    from plyfile import PlyData, PlyElement

    PlyData([PlyElement.describe(structured(p, label), "vertex")], **how).write(str(path))


def write_pcd(path: Path, p: Points, encoding: str) -> None:
    from pypcd4 import Encoding, PointCloud

    data = structured(p)
    names = data.dtype.names
    cloud = PointCloud.from_points([data[n] for n in names], names, [data.dtype[n] for n in names])
    cloud.save(path, encoding=Encoding(encoding))


def write_las(path: Path, p: Points, offset=(0.0, 0.0, 0.0), classes: bool = True) -> None:
    import laspy

    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [0.001] * 3, np.array(offset)
    header.add_extra_dim(laspy.ExtraBytesParams("instance", np.uint16))
    las = laspy.LasData(header)
    las.x, las.y, las.z = (p.xyz.astype(np.float64) + np.array(offset)).T
    las.intensity = p.intensity.astype(np.uint16)
    if classes:
        las.classification = p.label.astype(np.uint8)
        las["instance"] = p.instance
    las.write(str(path))


def write_npy(path: Path, p: Points) -> None:
    np.save(path, structured(p))


def write_npz(path: Path, p: Points) -> None:
    np.savez(
        path, points=p.xyz, remission=p.intensity, semantic_label=p.label, instance_id=p.instance
    )


def write_bin(path: Path, p: Points) -> None:
    """With SemanticKITTI's label file beside it."""
    np.column_stack([p.xyz, p.intensity]).astype("<f4").tofile(path)
    (p.label | p.instance.astype("<u4") << 16).astype("<u4").tofile(path.with_suffix(".label"))


WRITERS = {
    "ply-ascii": lambda path, p: write_ply(path, p, text=True),
    "ply-little": lambda path, p: write_ply(path, p, byte_order="<"),
    "ply-big": lambda path, p: write_ply(path, p, byte_order=">"),
    "pcd-ascii": lambda path, p: write_pcd(path, p, "ascii"),
    "pcd-binary": lambda path, p: write_pcd(path, p, "binary"),
    "pcd-compressed": lambda path, p: write_pcd(path, p, "binary_compressed"),
    "las": write_las,
    "laz": write_las,
    "npy": write_npy,
    "npz": write_npz,
    "bin": write_bin,
}


def write_scans(
    folder: Path, kind: str = "ply-little", sequences=("a", "b"), scans: int = 2, **how: object
) -> Path:
    """``folder/SEQUENCE/scanN.EXT``; scan n of sequence m has seed ``100 m + n``."""
    for number, name in enumerate(sequences):
        (folder / name).mkdir(parents=True)
        for frame in range(scans):
            path = folder / name / f"scan{frame}.{kind.split('-')[0]}"
            WRITERS[kind](path, points(100 * number + frame, **how))
    return folder


def run_import(src: Path, out: Path, taxonomy: Path, *options: str, format: str = "ply") -> int:
    """Exit code of `annotator3d import`."""
    return main(
        ["import", str(src), str(out), "--format", format, "--taxonomy", str(taxonomy), *options]
    )


def stored(out: Path, scan_id: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """xyz, intensity, classes and instances of a scan as they lie on the disk."""
    sequence, frame = scan_id.split("/")
    folder = out / "sequences" / sequence
    xyz, intensity = read_bin(folder / "velodyne" / f"{frame}.bin")
    classes, instances = split_label(read_label(folder / "labels" / f"{frame}.label", len(xyz)))
    return xyz, intensity, classes, instances
