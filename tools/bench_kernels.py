"""Time the voxel kernels against the published algorithm, torch, numpy and other libraries.

    python tools/bench_kernels.py [--device cpu|cuda] [--data-root DIR] [--json FILE] [--quick]

Real scans with --data-root (a folder with `sequences/` in SemanticKITTI's layout), simulated ones
without. All variants of a task run in turn in one process, on another scan each time, so that a
busy machine slows all of them alike and no scan waits in a cache: read the ratios of the medians.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import kernel_rivals as rivals
import numpy as np
import published_selection as published
import torch
from bench_report import notes_on, print_table
from bench_scenes import CLASSES, PICKS, SIZE, Batch, Scene, load_scenes, make_batch
from torch import Tensor

from annotator3d.kernels import SCORE_ONE, Selection, select_voxels
from annotator3d.kernels.grouping import voxelize

FINE = 0.05
# name: (score, from labels, in a batch)
TASKS = {
    "vcd_logits_1t": ("vcd", False, False),
    "vcd_labels_1t": ("vcd", True, False),
    "vcd_logits_batch": ("vcd", False, True),
    "vcd_labels_batch": ("vcd", True, True),
    "entropy_1t": ("entropy", False, False),
    "margin_1t": ("margin", False, False),
}
Run = Callable[[Scene], object]
# name: (numbers of threads to try, what to run, scans that it covers)
Variants = dict[str, tuple[set[int], Run, int]]


@dataclass
class Clock:
    """Takes medians, in milliseconds a scan."""

    scenes: list[Scene]
    rounds: int
    device: str

    def medians(self, variants: Variants) -> dict[str, float]:
        """Of all variants, run in turn; with several numbers of threads, that of the best one."""
        runs = [(name, n) for name, (threads, _, _) in variants.items() for n in sorted(threads)]
        times: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
        before = torch.get_num_threads()
        for turn in range(-2, self.rounds):  # the first two warm up
            scene = self.scenes[turn % len(self.scenes)]
            for name, threads in runs:
                _, run, scans = variants[name]
                torch.set_num_threads(threads)
                self._wait()
                start = time.perf_counter()
                run(scene)
                self._wait()
                if turn >= 0:
                    times[name, threads].append((time.perf_counter() - start) * 1e3 / scans)
        torch.set_num_threads(before)
        best: dict[str, float] = {}
        for (name, _), taken in times.items():
            best[name] = min(best.get(name, np.inf), float(np.median(taken)))
        return best

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float | None]]:
    """Run, print the table, write the file; returns what the file holds."""
    args = _arguments(arguments)
    scenes = load_scenes(args.data_root, args.scans, args.device, args.quick)
    threads = torch.get_num_threads()
    _check_agreement(scenes[0])
    speeds = {n: _bandwidth(args, n) for n in {1, threads}}
    clock = Clock(scenes, args.rounds, args.device)
    batch = make_batch(scenes)
    rows = {task: clock.medians(_variants(task, batch, threads)) for task in TASKS}
    rows["voxelize_5cm_1t"] = clock.medians(_voxelizers(args, threads))
    speeds = {n: max(speed, _bandwidth(args, n)) for n, speed in speeds.items()}
    points = sum(len(scene.xyz) for scene in scenes) / len(scenes)
    for task, ms in rows.items():
        workers = threads if task.endswith("batch") else 1
        ms["floor"] = _bytes(task) * points / speeds[workers] * 1e3
    print_table(rows, notes_on(scenes, points, speeds, args.data_root is not None))
    report = {task: _figures(task, ms) for task, ms in rows.items()}
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data-root", help="real scans: a folder with sequences/*/velodyne/*.bin")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--scans", type=int, default=16, help="scans, all of them in a batch (16)")
    parser.add_argument("--rounds", type=int, default=48, help="timings of each variant (48)")
    parser.add_argument("--quick", action="store_true", help="tiny scans: does the tool work?")
    args = parser.parse_args(arguments)
    if args.quick:
        args.scans, args.rounds = 2, 2
    return args


def _ours(scene: Scene, score: str, labels: bool) -> Selection:
    return select_voxels(
        scene.xyz,
        SIZE,
        scene.labels if labels else scene.logits,
        CLASSES,
        score=score,
        k=PICKS,
        seeds=[0],
        asked=scene.asked,
        asked_splits=torch.tensor([0, len(scene.asked)]),
    )


def _ours_batch(batch: Batch, score: str, labels: bool) -> Selection:
    return select_voxels(
        batch.xyz,
        SIZE,
        batch.labels if labels else batch.logits,
        CLASSES,
        score=score,
        k=PICKS,
        seeds=range(len(batch.splits) - 1),
        splits=batch.splits,
        asked=batch.asked,
        asked_splits=batch.asked_splits,
    )


def _published(scene: Scene, score: str, labels: bool) -> Tensor:
    voxels = published.published_voxels(scene.xyz, SIZE)
    if labels:
        scores = published.vcd_of_labels(scene.labels.long(), voxels, CLASSES)
    else:
        scores = getattr(published, score)(scene.logits, voxels)
    return published.pick(scores, voxels, scene.labelled.clone(), PICKS)


def _torch(scene: Scene, score: str, labels: bool) -> tuple[Tensor, Tensor]:
    prediction = scene.labels if labels else scene.logits
    return rivals.torch_select(scene.xyz, prediction, SIZE, score, scene.asked, PICKS, CLASSES)


def _numpy(scene: Scene, score: str, labels: bool) -> tuple[np.ndarray, np.ndarray]:
    prediction = scene.labels if labels else scene.logits
    arrays = (t.numpy() for t in (scene.xyz, prediction, scene.asked))
    xyz, prediction, asked = arrays
    return rivals.numpy_select(xyz, prediction, SIZE, score, asked, PICKS, CLASSES)


def _variants(task: str, batch: Batch, threads: int) -> Variants:
    score, labels, in_batch = TASKS[task]
    some = {1, threads}  # torch is slower on all of them where others work as well
    variants: Variants = {
        "ours": ({1}, lambda scene: _ours(scene, score, labels), 1),
        "published": (some, lambda scene: _published(scene, score, labels), 1),
        "torch": (some, lambda scene: _torch(scene, score, labels), 1),
    }
    if in_batch:
        scans = len(batch.splits) - 1
        variants["ours"] = ({threads}, lambda scene: _ours_batch(batch, score, labels), scans)
    if batch.xyz.device.type == "cpu":
        variants["numpy"] = ({1}, lambda scene: _numpy(scene, score, labels), 1)
    return variants


def _voxelizers(args: argparse.Namespace, threads: int) -> Variants:
    variants: Variants = {
        "ours": ({1}, lambda scene: voxelize(scene.points, FINE), 1),
        "torch": ({1, threads}, lambda scene: rivals.torch_voxels(scene.xyz, FINE), 1),
    }
    if args.device != "cpu":
        return variants
    variants["numpy"] = ({1}, lambda s: rivals.numpy_voxelize(s.xyz.numpy(), FINE), 1)
    if not args.quick:
        if spconv := rivals.spconv_voxelize(FINE):
            variants["spconv"] = ({1}, lambda s: spconv(s.points), 1)
        if open3d := rivals.open3d_trace(FINE):
            variants["open3d"] = ({1}, lambda s: open3d(s.xyz.numpy()), 1)
    return variants


def _check_agreement(scene: Scene) -> None:
    """What is timed must be the same task: the scores of the picks agree."""
    for task, (score, labels, _) in TASKS.items():
        own = _ours(scene, score, labels).scores[0].double() / SCORE_ONE
        others = [_torch(scene, score, labels)[1].double()]
        if scene.xyz.device.type == "cpu":
            others.append(torch.from_numpy(_numpy(scene, score, labels)[1]).double())
        for other in others:
            if not torch.allclose(own, other, atol=1e-4):
                raise SystemExit(f"{task}: the variants do not agree: {own} and {other}")


def _bandwidth(args: argparse.Namespace, threads: int) -> float:
    """Bytes a second that torch reads from memory, the best of some ways and runs."""
    values = torch.ones(2**20 if args.quick else 2**26, device=args.device)
    clock, best = Clock([None], 8, args.device), 0.0
    for read in (torch.sum, torch.amax, lambda v: torch.dot(v, v)):
        ms = clock.medians({"read": ({threads}, lambda _, read=read: read(values), 1)})["read"]
        best = max(best, values.nbytes / ms * 1e3)
    return best


def _bytes(task: str) -> int:
    """Bytes of a point that a task must read, and write where each point gets a result."""
    if task not in TASKS:
        return 12 + 8  # coordinates; the voxel of the point
    _, labels, _ = TASKS[task]
    return 12 + (1 if labels else 4 * CLASSES)


def _figures(task: str, ms: dict[str, float]) -> dict[str, float | None]:
    def ratio(rival: str) -> float | None:
        return round(ms[rival] / ms["ours"], 2) if rival in ms else None

    own = {"ms": round(ms["ours"], 4)}
    if task not in TASKS:
        return own | {f"ratio_{rival}": ratio(rival) for rival in ("numpy", "spconv")}
    floor = round(ms["ours"] / ms["floor"], 2)
    return own | {
        "ratio_published": ratio("published"),
        "ratio_torch": ratio("torch"),
        "ratio_floor": floor,
    }


if __name__ == "__main__":
    main()
