"""The code of the CUDA library built for host threads: a path like the others.

Built with the system's compiler into the temporary folder, once for each state of the sources.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import nullcontext
from functools import cache
from pathlib import Path

from annotator3d.kernels import cuda_abi
from annotator3d.kernels.cuda import CudaKernels

SOURCES = Path(__file__).parents[2] / "annotator3d/kernels/csrc"
COMPILER = shutil.which(os.environ.get("CXX", "c++"))
FLAGS = ["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-pthread"]
THREADS = 2


def missing_reason() -> str | None:
    """Why there is no library, in words."""
    if not SOURCES.is_dir():
        return "the C++ sources are not here"
    return None if COMPILER else "no C++ compiler"


@cache
def library() -> ctypes.CDLL | None:
    """The library, built if it is not there yet; None where it cannot be."""
    return None if missing_reason() else cuda_abi.load(str(_build()))


def _build() -> Path:
    digest = hashlib.sha256(" ".join([str(COMPILER), *FLAGS]).encode())
    for path in sorted(p for p in SOURCES.rglob("*") if p.suffix in (".h", ".cpp")):
        digest.update(path.read_bytes())
    folder = Path(tempfile.gettempdir()) / f"annotator3d-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"{digest.hexdigest()[:16]}.so"
    if not built.exists():
        half_built = folder / f"{built.name}.{os.getpid()}"
        shared = ["-shared", "-fPIC", "-fvisibility=hidden", "-o", str(half_built)]
        source = str(SOURCES / "host/library.cpp")
        subprocess.run([str(COMPILER), *FLAGS, *shared, source], check=True)
        half_built.rename(built)
    return built


def kernels(threads: int) -> CudaKernels:
    """The path on this many threads."""
    return CudaKernels(library, lambda like: nullcontext((0, threads)))


_kernels = kernels(THREADS)

voxelize = _kernels.voxelize
group_cells = _kernels.group_cells
voxel_mean = _kernels.voxel_mean
histogram = _kernels.histogram
confusion = _kernels.confusion
entropy_and_margin = _kernels.entropy_and_margin
select = _kernels.select
interpolation = _kernels.interpolation
devoxelize = _kernels.devoxelize
devoxelize_backward = _kernels.devoxelize_backward
