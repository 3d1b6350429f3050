"""The C++ library (csrc/cpu): found, loaded with ctypes, and which of its variants runs.

It holds the same code for several sets of instructions (its variants) and takes the best that the
processor has, or the one that ``ANNOTATOR3D_KERNELS`` names.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from annotator3d.kernels import cpu_abi


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    found, note = cpu_abi.find()
    if found is not None:
        _share_threads(found)
    return found, note


def _share_threads(lib: ctypes.CDLL) -> None:
    """Let the library work on the threads on which torch does, where those are GNU OpenMP's.

    They wait for their next work by spinning for a while: beside them, threads of the library's own
    find no free core. A fork does not have them.
    """
    if os.name == "posix" and (team := getattr(ctypes.CDLL(None), "GOMP_parallel", None)):
        lib.a3d_use_team(team)
        os.register_at_fork(after_in_child=lambda: lib.a3d_use_team(None))


def library() -> ctypes.CDLL | None:
    """The loaded library, or None.

    Raises:
        ValueError: ``ANNOTATOR3D_KERNELS`` names nothing that can run here.
    """
    return _load()[0]


def missing_reason() -> str:
    """Why there is no library, in words."""
    return _load()[1]


def build_info() -> dict[str, str | None]:
    """What runs: library (path or None), variant ('generic', 'v3', 'v4' or 'reference'), variants
    (those that can run here, best first), version, compiler, flags; reason says why there is no
    library."""
    lib, note = _load()
    names = ("variant", "variants", "version", "compiler", "flags")
    if lib is None:
        nothing = dict.fromkeys(("library", *names))
        return nothing | {"variant": "reference", "variants": "", "reason": note}
    values = (lib.a3d_variant(), lib.a3d_variants(), *lib.a3d_build().split(b"\n"))
    found = (value.decode() for value in values)
    return {"library": note, **dict(zip(names, found, strict=True))}


@contextmanager
def variant(name: str) -> Iterator[None]:
    """Inside, this variant of the library runs: for tests and benchmarks.

    Raises:
        ValueError: there is no library, or this processor does not run the variant.
    """
    lib, known = library(), build_info()["variants"]
    if name not in known.split():
        raise ValueError(f"name: expected one of {known or 'none'}, got {name!r}")
    before = lib.a3d_variant()
    lib.a3d_use(name.encode())
    try:
        yield
    finally:
        lib.a3d_use(before)


def checked(status: int) -> int:
    """The result of a call that refuses no value.

    Raises:
        MemoryError: the library had not enough.
    """
    if status == cpu_abi.NO_MEMORY:
        raise MemoryError("annotator3d kernels: not enough memory for this batch; pass fewer scans")
    assert status >= 0, "the library refuses a value that the reference takes"
    return status
