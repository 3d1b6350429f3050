"""Time the way of a scan from the page cache to a batch, and the opening of large datasets.

`pipeline` reads a SemanticKITTI folder as training does (files, class map, augmentation, voxels,
targets, batches) with two loader workers; every file is read once before. `index` opens datasets of
20,000 scans whose files are empty, and nuScenes tables of as many rows as the real ones have for
each sample. Usage: python tools/bench_data.py ROOT [--batch 8] [--scans 96] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import ConcatDataset, DataLoader

from annotator3d.data.batch import InputRule, TrainingScans, collate
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.nuscenes import NuScenes
from annotator3d.data.datasets.nuscenes_tables import scenes_of
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.taxonomy import load_taxonomy

INDEXED = 20_000
ROWS_PER_SAMPLE = 77  # of sample_data.json in v1.0-trainval


def pipeline(root: str, augmentation: dict | None, batch: int, scans: int, workers: int) -> str:
    """Scans each second, and processor time of one; the loader's start is not counted."""
    names = sorted(path.name for path in (Path(root) / "sequences").iterdir())
    dataset = SemanticKITTI(root, names)
    for i in range(len(dataset)):
        dataset.path(i).read_bytes(), dataset.label_path(i).read_bytes()
    training = TrainingScans(dataset, InputRule(19), seed=0, augmentation=augmentation)
    copies = ConcatDataset([training] * -(-(scans + 2 * batch * workers) // len(dataset)))
    loader = DataLoader(copies, batch, num_workers=workers, collate_fn=collate)
    before, done, start = os.times(), 0, 0.0
    for number, samples in enumerate(loader):
        if number == workers:
            start = time.perf_counter()
        elif number > workers:
            done += len(samples["ids"])
    seconds, after = time.perf_counter() - start, os.times()
    processor = sum(after[:4]) - sum(before[:4])
    return f"{done / seconds:6.1f} scans/s, {1000 * processor / len(copies):5.1f} ms of processor"


def index(name: str, build: Callable[[], ScanDataset]) -> None:
    """Print what opening a dataset takes: seconds, then memory in a second opening."""
    start = time.perf_counter()
    dataset = build()
    opened = time.perf_counter()
    dataset.fingerprint()
    named = time.perf_counter()
    tracemalloc.start()
    again = build()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(
        f"index {name}: {len(again)} scans opened in {opened - start:.2f} s, fingerprint "
        f"{named - opened:.2f} s, {held / 1e6:.0f} MB held, {peak / 1e6:.0f} MB at most"
    )


def write_sequences(root: Path) -> None:
    """Files without content, in SemanticKITTI's layout."""
    for sequence in range(10):
        for name, suffix in (("velodyne", ".bin"), ("labels", ".label")):
            folder = root / "sequences" / f"{sequence:02d}" / name
            folder.mkdir(parents=True)
            for frame in range(INDEXED // 10):
                (folder / f"{frame:06d}{suffix}").touch()


def write_nuscenes(root: Path) -> None:
    """Tables of the real size and files without content."""
    tables, scenes = root / "v1.0-trainval", scenes_of("train")
    for folder in (tables, root / "samples/LIDAR_TOP", root / "lidarseg/v1.0-trainval"):
        folder.mkdir(parents=True)
    categories = load_taxonomy("nuscenes7").labels
    samples = [(f"sample{i:026d}", scenes[i * 700 // INDEXED], 10**15 + i) for i in range(INDEXED)]
    content = {
        "category": [{"name": name, "index": i} for i, name in categories.items()],
        "scene": [{"token": f"token-{scene}", "name": scene} for scene in scenes],
        "sample": [{"token": t, "scene_token": f"token-{scene}"} for t, scene, _ in samples],
        "lidarseg": [
            {"sample_data_token": f"data{t}", "filename": f"lidarseg/v1.0-trainval/{t}.bin"}
            for t, *_ in samples
        ],
    }
    for table, rows in content.items():
        (tables / f"{table}.json").write_text(json.dumps(rows, indent=0))
    blank = dict.fromkeys(("token", "sample_token", "ego_pose_token", "next", "prev"), "0" * 32)
    other = {**blank, "is_key_frame": False, "filename": "sweeps/CAM_FRONT/" + "0" * 60}
    others = [json.dumps(other, indent=0)] * (ROWS_PER_SAMPLE - 1)
    with open(tables / "sample_data.json", "w") as file:
        for i, (token, _, stamp) in enumerate(samples):
            name = f"samples/LIDAR_TOP/{token}.pcd.bin"
            row = {**blank, "token": f"data{token}", "sample_token": token, "timestamp": stamp}
            row |= {"is_key_frame": True, "filename": name, "fileformat": "pcd"}
            file.write((",\n" if i else "[\n") + ",\n".join([json.dumps(row, indent=0), *others]))
            (root / name).touch()
            (root / f"lidarseg/v1.0-trainval/{token}.bin").touch()
        file.write("\n]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="a folder of SemanticKITTI scans")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--scans", type=int, default=96)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for words, augmentation in (("without augmentation", None), ("with augmentation", {})):
        result = pipeline(args.root, augmentation, args.batch, args.scans, args.workers)
        print(f"pipeline {words}: {result} a scan")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        kitti, nuscenes = Path(folder) / "kitti", Path(folder) / "nuscenes"
        write_sequences(kitti)
        index("SemanticKITTI", lambda: SemanticKITTI(kitti, [f"{i:02d}" for i in range(10)]))
        write_nuscenes(nuscenes)
        index("NuScenes", lambda: NuScenes(nuscenes, "train"))


if __name__ == "__main__":
    main()
