#!/usr/bin/env python3
"""Time the strategies that need logits alone against VCD's fused kernel.

    python tools/bench_strategies.py [--data-root DIR] [--device cpu|cuda] [--json FILE] [--quick]

Each call scores a scan and chooses its voxels, as a round does; strategies with strata also choose
the 100 best voxels of each class. All take turns in one process, on one thread and the same scan,
whose points and logits are read once before each call, since a network has just written them in a
round: read the ratios of the medians. Scans as those of tools/bench_kernels.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from bench_scenes import CLASSES, PICKS, SIZE, Scene, load_scenes

from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.strategies import VoxelConfusion, get_strategy
from annotator3d.kernels.grouping import voxelize
from annotator3d.kernels.selection import select_voxels

Run = Callable[[Scene], object]
GOAL = 3.0  # times VCD's fused kernel
CANDIDATES = 100  # of each scan and stratum, the default of active.candidates
STRATEGIES = (
    "entropy_mean",
    "margin_min",
    "impurity",
    {"type": "impurity", "neighbourhood": 3},
    "class_random",
    "class_stratified",
    {"type": "class_stratified", "uncertainty": "vcd"},
    {"type": "class_stratified", "uncertainty": "impurity"},
    "hybrid",
    "crowded_random",
    "geometry_random",
)


class StepByStep(VoxelConfusion):
    """VCD without the fused kernel: what a strategy pays that the kernels do not know."""

    def utilities(self, *arguments):
        return super().utilities(*arguments)


def name_of(config: str | dict) -> str:
    if isinstance(config, str):
        return config
    words = [f"{key}={value}" for key, value in config.items() if key != "type"]
    return f"{config['type']} {' '.join(words)}"


def select(strategy: QueryStrategy, scene: Scene) -> None:
    strategy.select(
        scene.xyz,
        scene.logits if strategy.needs_model else None,
        batch_size=CANDIDATES if strategy.stratified else PICKS,
        num_classes=CLASSES,
        exclude=scene.asked.cpu().numpy(),
        scan_id="00/000000",
    )


def kernel(scene: Scene) -> None:
    """VCD's picks without the score of each point's voxel, which a round keeps for the viewer."""
    asked_splits = torch.tensor([0, len(scene.asked)])
    select_voxels(
        scene.xyz,
        SIZE,
        scene.logits,
        CLASSES,
        k=PICKS,
        seeds=[0],
        asked=scene.asked,
        asked_splits=asked_splits,
    )


def runs() -> dict[str, Run]:
    strategies = {name_of(config): get_strategy(config, voxel_size=SIZE) for config in STRATEGIES}
    strategies = {
        "vcd": VoxelConfusion(SIZE),
        "vcd, step by step": StepByStep(SIZE),
        **strategies,
    }
    return {
        **{name: partial(select, strategy) for name, strategy in strategies.items()},
        "kernel of vcd alone": kernel,
        "voxels alone": lambda scene: voxelize(scene.xyz, SIZE),
    }


def medians(scenes: list[Scene], rounds: int, device: str) -> dict[str, float]:
    """Milliseconds a scan of each run, on one thread."""
    times: dict[str, list[float]] = {name: [] for name in runs()}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for turn in range(-1, rounds):  # the first warms up
        scene = scenes[turn % len(scenes)]
        for name, run in runs().items():
            float(scene.logits.sum() + scene.xyz.sum())
            start = time.perf_counter()
            run(scene)
            if device == "cuda":
                torch.cuda.synchronize()
            if turn >= 0:
                times[name].append((time.perf_counter() - start) * 1e3)
    torch.set_num_threads(before)
    return {name: statistics.median(taken) for name, taken in times.items()}


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Run, print the table, write the file; returns what the file holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data-root", help="real scans: a folder with sequences/*/velodyne/*.bin")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--scans", type=int, default=8, help="scans that take turns (8)")
    parser.add_argument("--rounds", type=int, default=16, help="timings of each strategy (16)")
    parser.add_argument("--quick", action="store_true", help="tiny scans: does the tool work?")
    args = parser.parse_args(arguments)
    if args.quick:
        args.scans, args.rounds = 2, 2
    scenes = load_scenes(args.data_root, args.scans, args.device, args.quick)
    found = medians(scenes, args.rounds, args.device)
    report = {
        name: {"ms": round(ms, 3), "ratio_vcd": round(ms / found["vcd"], 2)}
        for name, ms in found.items()
    }
    print(f"| strategy | ms a scan | times VCD (goal: {GOAL:g}) |\n|---|--:|--:|")
    for name, row in report.items():
        print(f"| {name} | {row['ms']:.2f} | {row['ratio_vcd']:.1f} |")
    points = sum(len(scene.xyz) for scene in scenes) / len(scenes)
    kind = "real" if args.data_root is not None else "simulated"
    print(
        f"{len(scenes)} {kind} scans of {points:,.0f} points on average, {CLASSES} classes, "
        f"{PICKS} voxels of {SIZE} m each; medians, in turn; torch {torch.__version__}"
    )
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


if __name__ == "__main__":
    main()
