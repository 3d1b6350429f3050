"""The paths that a kernel can take, for tests that run on each of them through the public API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from unittest.mock import patch

import kernels_host
import numpy as np
import pytest
import torch

from annotator3d.kernels import cpu, cpu_library, cuda_library, dispatch, reference

VARIANTS = ("generic", "v3", "v4")
"""Of the C++ library; the path "native" is the one that this machine runs."""


@dataclass(frozen=True)
class Path:
    """One implementation of the kernels."""

    name: str

    @property
    def device(self) -> str:
        return "cuda" if self.name == "cuda" else "cpu"

    def module(self) -> ModuleType:
        """Loads it; skips the test where it is not built."""
        if self.name == "reference":
            return reference
        if self.name == "default":
            return dispatch.path(torch.zeros(0))
        if self.name == "host":
            module = kernels_host
        else:
            module = cuda_library if self.name == "cuda" else cpu
        if module.library() is None:
            pytest.skip(f"{self.name}: {module.missing_reason()}")
        if self.name in VARIANTS and self.name not in cpu_library.build_info()["variants"].split():
            pytest.skip(f"this processor does not run the {self.name} variant")
        return module

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside, every kernel runs on this path and no other."""
        module = self.module()
        variant = cpu_library.variant(self.name) if self.name in VARIANTS else nullcontext()
        with variant, patch.object(dispatch, "path", lambda tensor: module):
            yield

    def put(self, value):
        """A tensor, or those in a list, tuple or dict, on the device of the path."""
        if isinstance(value, torch.Tensor):
            return value.to(self.device)
        if isinstance(value, dict):
            return {name: self.put(v) for name, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.put(v) for v in value)
        return value


PATHS = [
    *(pytest.param(Path(name), id=name) for name in ("reference", "native", "host")),
    pytest.param(Path("cuda"), id="cuda", marks=pytest.mark.cuda),
]
FAST = PATHS[1:]
EVERY_PATH = [
    PATHS[0],
    *(pytest.param(Path(name), id=name) for name in VARIANTS),
    *PATHS[2:],
]
"""With each variant of the C++ library instead of the best one."""
DEVICES = [pytest.param(Path("default"), id="default"), PATHS[-1]]  # whatever is used on each


def cloud(seed: int, points: int, kind: str, size: float = 0.25) -> torch.Tensor:
    """[points, 4] float32 of one of KINDS; much of it where rounding decides about the cell."""
    rng = np.random.default_rng(seed)
    spread = {"dense": 2, "border": 3, "spread": 400, "one cell": 0, "far": 2**31}[kind]
    cells = rng.integers(-spread, max(spread, 1), (points, 4)).astype(np.float64)
    inside = rng.choice([0.0, 0.25, 0.5, 1 - 2**-24], (points, 4))
    xyz = ((cells + inside) * size).astype(np.float32)
    if kind == "border":  # on a face, and the next float on either side of it
        side = rng.choice([-np.inf, 0, np.inf], xyz.shape).astype(np.float32)
        faces = (cells * size).astype(np.float32)
        xyz = np.where(side == 0, faces, np.nextafter(faces, side))
        xyz = np.where((xyz == 0) & (rng.random(xyz.shape) < 0.5), np.float32(-0.0), xyz)
    limit = np.nextafter(np.float32(2**31), np.float32(0)) * np.float32(size)
    return torch.from_numpy(np.clip(xyz, -limit, limit).astype(np.float32))


KINDS = ("dense", "border", "spread", "one cell", "far")
