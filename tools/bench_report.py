"""The table of the kernels' benchmark, and what one must know to read it."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import torch
from bench_scenes import CLASSES, PICKS, SIZE, Scene

from annotator3d.kernels import build_info, cuda_info


def print_table(rows: dict[str, dict[str, float]], notes: list[str]) -> None:
    rivals_shown = ("published", "torch", "numpy", "open3d", "spconv")
    print(f"{'ms per scan':18}{'ours':>9}" + "".join(f"{n + ' (ratio)':>20}" for n in rivals_shown)
          + f"{'floor':>9}{'ours/floor':>12}")  # fmt: skip
    for task, ms in rows.items():
        cells = []
        for name in rivals_shown:
            text = f"{ms[name]:.2f} ({ms[name] / ms['ours']:.1f})" if name in ms else "-"
            cells.append(f"{text:>20}")
        floor = f"{ms['floor']:9.3f}{ms['ours'] / ms['floor']:12.1f}"
        print(f"{task:18}{ms['ours']:9.3f}" + "".join(cells) + floor)
    print("\n".join(notes))


def notes_on(scenes: list[Scene], points: float, speeds: dict[int, float], real: bool) -> list[str]:
    """What one must know to read the table."""
    on_cuda = scenes[0].xyz.device.type == "cuda"
    kernels = cuda_info() if on_cuda else build_info()
    reads = ", ".join(f"{s / 1e9:.1f} GB/s with {n} threads" for n, s in sorted(speeds.items()))
    return [
        f"{len(scenes)} {'real' if real else 'simulated'} scans of {points:,.0f} points on average,"
        f" {CLASSES} classes, {PICKS} voxels of {SIZE} m each; medians, in turn",
        "_1t: one scan, our side on one thread; _batch: all scans in one call, on all threads;"
        " torch: one thread or all, the faster",
        f"floor: what a task must read; memory gave {reads}",
        "spconv: 80 x 80 x 6.4 m and 5 points of a voxel only (dense grid); open3d: no inverse",
        f"{_machine(scenes[0].xyz.device)}; torch {torch.__version__}, numpy {np.__version__}",
        f"kernels: {', '.join(f'{k} {v}' for k, v in kernels.items() if v)}",
    ]


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True).stdout.strip()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
