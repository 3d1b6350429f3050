"""The library that convolves on CUDA: spconv, or spconv-triton, which has the same interface.

spconv has compiled kernels: fast to start, but for the GPU generations, Python versions and
processors of its wheels only. spconv-triton (Apache-2.0) compiles the same operators with Triton
for the GPU at hand, newer generations and ARM processors included. Parameters and their layout are
the same, so checkpoints are too. Nothing is imported before something convolves on CUDA.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from functools import lru_cache
from importlib import metadata
from types import ModuleType
from typing import NamedTuple

from annotator3d.errors import shortened

VARIABLE = "ANNOTATOR3D_CONVOLUTION"


class Library(NamedTuple):
    """A library that can convolve on CUDA."""

    name: str  # its value of the variable
    module: str
    packages: tuple[str, ...]  # that bring it
    install: str


SPCONV_PACKAGE = "spconv-cu120" if sys.version_info < (3, 12) else "spconv-cu126"
LIBRARIES = (
    Library(
        "spconv",
        "spconv.pytorch",
        ("spconv-cu120", "spconv-cu126", "spconv"),
        f"pip install {SPCONV_PACKAGE}",
    ),
    Library(
        "spconv-triton",
        "spconv_triton.pytorch",
        ("spconv-triton",),
        "pip install spconv-triton",
    ),
)


def wanted_libraries() -> tuple[Library, ...]:
    """The libraries that may convolve here, the preferred one first.

    All of them, or the one that the environment variable names.

    Raises:
        ValueError: the variable names none of them.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return LIBRARIES
    found = tuple(library for library in LIBRARIES if library.name == wanted)
    if not found:
        names = " or ".join(library.name for library in LIBRARIES)
        raise ValueError(
            f"{VARIABLE}: expected {names}, got {wanted[:60]!r}; unset it or correct it"
        )
    return found


def version_of(library: Library) -> str | None:
    """``"package version"`` of an installed library, without importing it; None if it is not."""
    for package in library.packages:
        try:
            return f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    return None


@lru_cache(maxsize=len(LIBRARIES) + 1)
def _load(wanted: tuple[Library, ...]) -> tuple[Library, ModuleType]:
    os.environ.pop("SPCONV_DEBUG_SAVE_PATH", None)  # else spconv writes files when it raises
    reasons = []
    for library in wanted:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of what torch has renamed since
                return library, importlib.import_module(library.module)
        except Exception as error:  # built for another Python, torch or CUDA; or not there
            why = shortened(" ".join(str(error).split()) or type(error).__name__, 90)
            reasons.append(f"{library.name}: {why} ({library.install})")
    raise RuntimeError(
        f"nothing can convolve on CUDA; {'; '.join(reasons)}. Install one of them, or train on the "
        "CPU with --device cpu"
    )


def sparse_library() -> ModuleType:
    """The module with the layers of spconv's interface.

    Raises:
        RuntimeError: none can be imported; the message says why and what to install.
        ValueError: the environment variable names an unknown one.
    """
    return _load(wanted_libraries())[1]


def convolution_library() -> str:
    """What convolves on CUDA, ``"package version"``; raises as `sparse_library`."""
    library = _load(wanted_libraries())[0]
    return version_of(library) or library.name
