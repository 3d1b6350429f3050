"""The CUDA library (csrc/cuda): found, loaded with ctypes, run on the current stream.

It is built where nvcc is found, against neither torch nor a driver: :func:`missing_reason` says why
it cannot be used. Results are the reference's bit for bit, but entropy and margin, which are within
1e-6 of them and bit for bit those of the C++ library.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from annotator3d.kernels import cuda_abi
from annotator3d.kernels.cpu_abi import folders
from annotator3d.kernels.cuda import CudaKernels

_NAME = "libannotator3d_cuda.so"


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    reason = "the CUDA library is not built"
    for path in (folder / _NAME for folder in folders()):
        if path.is_file():
            try:
                return cuda_abi.load(str(path)), str(path)
            except OSError as error:
                reason = f"the CUDA library cannot be loaded ({error})"
    return None, reason


@cache
def _usable() -> tuple[ctypes.CDLL | None, str]:
    lib, note = _load()
    if lib is None:
        return lib, note
    if not torch.cuda.is_available():
        return None, "torch finds no CUDA device"
    if code := lib.a3d_cuda_ready(torch.cuda.current_device()):
        words = lib.a3d_cuda_error(code).decode()
        return None, f"the CUDA library cannot run on this device ({words})"
    return lib, note


def library() -> ctypes.CDLL | None:
    """The loaded library if it can run here, or None."""
    return _usable()[0]


def missing_reason() -> str:
    """Why :func:`library` is None, in words."""
    return _usable()[1]


def cuda_info() -> dict[str, str | None]:
    """What is built: library (path or None), version, compiler, flags, architectures; reason says
    why it cannot be used here, or is None."""
    lib, note = _load()
    names = ("version", "compiler", "flags", "architectures")
    found = lib.a3d_cuda_build().decode().split("\n") if lib else [None] * len(names)
    path = note if lib else None
    reason = None if library() else missing_reason()
    return {"library": path, **dict(zip(names, found, strict=True)), "reason": reason}


@contextmanager
def _place(like: Tensor) -> Iterator[tuple[int, int]]:
    with torch.cuda.device(like.device):
        yield like.device.index, torch.cuda.current_stream().cuda_stream


_kernels = CudaKernels(library, _place)

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
