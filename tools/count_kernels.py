"""Count what the voxel kernels make a processor do, in a simulated one: valgrind's callgrind.

    python tools/count_kernels.py [--data-root DIR]     needs valgrind and a C++ compiler

One scan, one thread, the variant v3; prints, per point: instructions, misses of the first and of
the last cache, and branches that a simple predictor gets wrong. For machines without counters.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from ctypes import byref, c_void_p
from pathlib import Path
from types import SimpleNamespace

import numpy as np

TASKS = ("vcd_logits", "vcd_labels", "entropy", "margin", "voxelize_5cm")
CALLS = 3
SOURCES = Path(__file__).resolve().parents[1] / "annotator3d/kernels/csrc/cpu"
FLAGS = "-O3 -g1 -std=c++17 -ffp-contract=off -fno-trapping-math -fno-math-errno -fPIC".split()
V3 = "-mavx2 -mfma -mbmi -mbmi2 -mpopcnt -fno-exceptions -fschedule-insns -fsched-pressure".split()
COUNTED = ("*::select(A3dSelect*", "*::group_scan<*", "*::write_group(*")
COLUMNS = {"instructions": ("Ir",), "L1 misses": ("D1mr", "D1mw"), "LL misses": ("DLmr", "DLmw"),
           "wrong branches": ("Bcm",)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", help="real scans: a folder with sequences/*/velodyne/*.bin")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        points = write_arrays(Path(folder), args.data_root)
        build(Path(folder))
        print("per point".ljust(14), *(name.rjust(14) for name in COLUMNS))
        for task in TASKS:
            counts = count(Path(folder), task)
            sums = (sum(counts[event] for event in events) for events in COLUMNS.values())
            print(task.ljust(14), *(f"{n / CALLS / points:14.3f}" for n in sums), flush=True)


def write_arrays(folder: Path, data_root: str | None) -> int:
    """The arrays of a scene as files; returns its number of points."""
    from bench_scenes import load_scenes

    from annotator3d.kernels.score_table import score_table

    scene = load_scenes(data_root, 1, "cpu", quick=False)[0]
    for name in ("points", "xyz", "logits", "labels", "asked"):
        np.save(folder / f"{name}.npy", getattr(scene, name).numpy())
    np.save(folder / "table.npy", score_table(len(scene.xyz)).numpy())
    return len(scene.xyz)


def build(folder: Path) -> None:
    """The library of one variant, with the names of its functions."""
    shared = [str(path) for path in sorted(SOURCES.glob("*.cpp")) if path.stem != "variant"]
    variant = folder / "variant.o"
    compiled = ["c++", *FLAGS, *V3, "-DA3D_VARIANT=generic", "-c", str(SOURCES / "variant.cpp")]
    subprocess.run([*compiled, "-o", str(variant)], check=True)
    linked = ["c++", *FLAGS, "-shared", *shared, str(variant), "-lpthread"]
    subprocess.run([*linked, "-o", str(folder / "libannotator3d_cpu.so")], check=True)


def count(folder: Path, task: str) -> dict[str, int]:
    """Events of all calls of a task."""
    out = folder / f"{task}.out"
    simulated = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--cache-sim=yes",
                 "--branch-sim=yes", "--D1=32768,8,64", "--LL=33554432,16,64"]  # fmt: skip
    toggles = [f"--toggle-collect={name}" for name in COUNTED]
    child = [sys.executable, __file__, "--child", str(folder), task]
    subprocess.run([*simulated, *toggles, *child], check=True, stderr=subprocess.DEVNULL)
    lines = dict(line.split(":", 1) for line in out.read_text().splitlines() if ":" in line)
    return dict(zip(lines["events"].split(), map(int, lines["totals"].split()), strict=False))


def call(folder: Path, task: str) -> None:
    """Call the library, without torch: to import that would take minutes here."""
    kinds = ("float32", "float64", "uint8", "int32", "int64")
    sys.modules["torch"] = SimpleNamespace(**{kind: kind for kind in kinds})
    sys.path.insert(0, str(SOURCES.parents[1]))
    import cpu_abi

    cpu_abi.folders = lambda: [folder]
    library, _ = cpu_abi.find()
    array = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    n = len(array["xyz"])
    splits = np.array([0, n])

    def at(values: np.ndarray) -> int:
        return values.ctypes.data

    if task == "voxelize_5cm":
        out = [np.empty((n, 3), np.int32), *(np.empty(m, np.int64) for m in (n, n, n, n + 1, 2))]
        group, places = c_void_p(), cpu_abi.GroupOut(*map(at, out))
        for _ in range(CALLS):
            library.a3d_group_points(at(array["points"]), 4, 0.05, at(splits), 1, 1, byref(group))
            library.a3d_group_write(group, byref(places), 1)
            library.a3d_group_free(group)
        return
    score, _, kind = task.partition("_")
    given = array["labels" if kind == "labels" else "logits"]
    asked_splits, seeds = np.array([0, len(array["asked"])]), np.array([0])
    out = [np.empty((5, 3), np.int32), *np.empty((2, 5), np.int64), np.empty(n, np.int32)]
    question = cpu_abi.Select(
        *(at(array["xyz"]), 3, at(splits), 1, 0.25),
        *(at(given), cpu_abi.KINDS[str(given.dtype)], n, None, 20),
        *(cpu_abi.SCORES.index(score), 0, at(array["table"]), len(array["table"])),
        *(at(array["asked"]), at(asked_splits), at(seeds), 5, 1, float("inf"), 1),
        *(*map(at, out), None),
    )
    for _ in range(CALLS):
        assert library.a3d_select(byref(question)) == 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        call(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
