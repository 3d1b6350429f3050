"""Which path runs a kernel: the C++ library, the CUDA library or the torch reference."""

from __future__ import annotations

import importlib.util
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import Tensor

from annotator3d.kernels import cpu as native
from annotator3d.kernels import reference

IN_EVERY_LIBRARY = (
    "voxelize", "group_cells", "histogram", "confusion", "point_scores", "select"
)  # fmt: skip
"""Kernels of selection: a library has them all. What it lacks of the others, the reference does:
they are a few operations of torch, on any device (kernel maps serve the CPU convolution only)."""

_INSTEAD = "the slower torch reference runs instead (same results; entropy and margin within 1e-6)"


def run(kernel: str, *args: Any) -> Any:
    """Run a kernel of :mod:`.reference` on the path for its first argument."""
    module = path(args[0])
    if not hasattr(module, kernel):
        if kernel in IN_EVERY_LIBRARY:
            _warn_once(f"annotator3d: {module.__name__} lacks {kernel}; {_INSTEAD}")
        module = reference
    return getattr(module, kernel)(*args)


def path(tensor: Tensor) -> ModuleType:
    """The module that runs kernels on this tensor's device; the reference is named once."""
    if tensor.device.type == "cpu":
        module, hint = native, "Install a C++ compiler and reinstall annotator3d to build it"
    elif tensor.device.type == "cuda":
        module, hint = cuda(), "Install the CUDA toolkit (nvcc) and reinstall annotator3d"
    else:
        _warn_once(f"annotator3d: no kernels for {tensor.device.type} tensors; {_INSTEAD}")
        return reference
    if module is not None and module.library() is not None:
        return module
    reason = "the CUDA library is not built" if module is None else module.missing_reason()
    _warn_once(f"annotator3d: {reason}; {_INSTEAD}. {hint}")
    return reference


@cache
def cuda() -> ModuleType | None:
    """The module of the CUDA library, or None."""
    name = f"{__package__}.cuda"
    return import_module(name) if importlib.util.find_spec(name) else None


def cuda_info() -> dict[str, str | None]:
    """The CUDA library: library (path or None), version, compiler, flags, architectures; reason
    says why it cannot be used here, or is None."""
    module = cuda()
    if module is None:
        names = ("library", "version", "compiler", "flags", "architectures")
        return dict.fromkeys(names) | {"reason": "the CUDA library is not built"}
    return module.build_info()


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)
