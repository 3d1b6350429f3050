"""Which path runs a kernel: the C++ library, the CUDA library or the torch reference."""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType
from typing import Any

from torch import Tensor

from annotator3d.kernels import cpu, cuda_library, reference

IN_EVERY_LIBRARY = (
    "voxelize", "group_cells", "histogram", "confusion", "entropy_and_margin", "select"
)  # fmt: skip
"""Kernels of selection: every library has them. The reference does what a library lacks of the
others: a few operations of torch, on any device (only the CPU convolution needs kernel maps)."""

_INSTEAD = "the slower torch reference runs instead (same results; entropy and margin within 1e-6)"


def run(kernel: str, *args: Any, like: Tensor | None = None) -> Any:
    """Run a kernel of :mod:`.reference` on the path for ``like``; default: its first argument."""
    module = path(args[0] if like is None else like)
    if not hasattr(module, kernel):
        if kernel in IN_EVERY_LIBRARY:
            _warn_once(f"annotator3d: {module.__name__} lacks {kernel}; {_INSTEAD}")
        module = reference
    return getattr(module, kernel)(*args)


def path(tensor: Tensor) -> ModuleType:
    """The module that runs kernels on this tensor's device; warns once of the reference."""
    if tensor.is_cpu:
        module, hint = cpu, "Install a C++ compiler and reinstall annotator3d to build it"
    elif tensor.is_cuda:
        module, hint = cuda_library, "Install the CUDA toolkit (nvcc) and reinstall annotator3d"
    else:
        _warn_once(f"annotator3d: no kernels for {tensor.device.type} tensors; {_INSTEAD}")
        return reference
    if module.library() is not None:
        return module
    _warn_once(f"annotator3d: {module.missing_reason()}; {_INSTEAD}. {hint}")
    return reference


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)
