"""What is installed, built and found on this machine, and how to get what is missing.

Imports nothing that may be missing, since it has to work on a broken install.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib import metadata
from typing import Any, NamedTuple

import annotator3d


class Package(NamedTuple):
    """A package that is imported to see whether it works."""

    name: str  # as pip knows it
    install: str
    module: str = ""  # if its name differs
    needed_for: str = ""  # what does not work without it; "": nothing works


PACKAGES = (
    Package("torch", "torch"),
    Package("numpy", "numpy"),
    Package("scipy", "scipy"),
    Package("mmengine", "mmengine==0.10.7"),
    Package("pydantic", "'pydantic>=2'"),
    Package("pyyaml", "pyyaml", module="yaml"),
    Package("rich", "'rich<15'"),
    Package("safetensors", "safetensors"),
    Package("matplotlib", "matplotlib"),
    Package("jinja2", "jinja2"),
)
OPTIONAL = (
    Package("open3d", "'annotator3d[viz]'", needed_for="the viewer"),
    Package("viser", "'annotator3d[web]'", needed_for="label --web"),
    Package("aiohttp", "'annotator3d[web]'", needed_for="label --web --host"),
    Package("plyfile", "'annotator3d[formats]'", needed_for="PLY files"),
    Package("pypcd4", "'annotator3d[formats]'", needed_for="PCD files"),
    Package("laspy", "'annotator3d[formats]'", needed_for="LAS files"),
    Package("lazrs", "'annotator3d[formats]'", needed_for="LAZ files"),
    Package("pyproj", "'annotator3d[formats]'", needed_for="units of LAS files"),
    Package("statsmodels", "'annotator3d[compare]'", needed_for="compare"),
    Package("tensorboard", "'annotator3d[logs]'", needed_for="--set logs=[tensorboard]"),
)
TORCH, CPU, CUDA = "kernels: torch reference", "kernels: C++ on CPU", "kernels: CUDA"
REBUILD = "then pip install --force-reinstall --no-deps ."


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    found: str
    state: str  # "ok", "missing" or "optional"
    fix: str = ""  # what to do


def examine() -> dict[str, Any]:
    """Look at this machine.

    Returns:
        ``checks``: a list of {name, found, state ('ok', 'missing' or 'optional'), fix}; ``ok``:
        whether nothing that training needs is missing.
    """
    checks = [
        _python(),
        Check("annotator3d", annotator3d.__version__, "ok"),
        *map(_package, PACKAGES),
        _runner(),
        *_kernels(),
        *_cuda(),
        *map(_package, OPTIONAL),
    ]
    ok = all(check.state != "missing" for check in checks)
    return {"ok": ok, "checks": [check._asdict() for check in checks]}


def _python() -> Check:
    version, is_supported = platform.python_version(), (3, 10) <= sys.version_info[:2] < (3, 14)
    if is_supported:
        return Check("Python", version, "ok")
    return Check("Python", version, "missing", "use Python 3.10 to 3.13")


def _package(package: Package) -> Check:
    try:
        module = importlib.import_module(package.module or package.name)
        version = str(getattr(module, "__version__", "")) or metadata.version(package.name)
        return Check(package.name, version, "ok")
    except Exception as error:  # a package may be broken in any way; the report names it
        fix = f"pip install {package.install}"
        if package.needed_for:
            return Check(package.name, _no(error), "optional", f"{fix} (for {package.needed_for})")
        return Check(package.name, _no(error), "missing", fix)


def _no(error: Exception) -> str:
    return f"no: {str(error) or type(error).__name__}".splitlines()[0]


def _runner() -> Check:
    try:
        importlib.import_module("annotator3d._mmengine")
    except Exception as error:
        fix = "pip install torch mmengine==0.10.7"
        return Check("mmengine runner", _no(error), "missing", fix)
    is_stand_in = "stand-in" in str(sys.modules["cv2"].__doc__).lower()
    words = "loads; cv2 is replaced by a stand-in (not needed)" if is_stand_in else "loads"
    return Check("mmengine runner", words, "ok")


def _kernels() -> list[Check]:
    """One entry for each way in which the voxel kernels may run."""
    try:
        from annotator3d.kernels import build_info, cuda_info

        on_cpu, on_cuda = build_info(), cuda_info()
    except Exception as error:
        fix, found = "pip install torch numpy", _no(error)
        return [
            Check(CPU, found, "optional", fix),
            Check(TORCH, found, "missing", fix),
            Check(CUDA, found, "optional", fix),
        ]
    words = "always available; slower, entropy and margin within 1e-6"
    return [_cpu_library(on_cpu), Check(TORCH, words, "ok"), _cuda_library(on_cuda)]


def _cpu_library(info: dict[str, Any]) -> Check:
    forced = os.environ.get("ANNOTATOR3D_KERNELS")
    if not info["library"]:
        fix = f"install a C++ compiler (apt install g++), {REBUILD}"
        fix = "unset ANNOTATOR3D_KERNELS" if forced == "reference" else fix
        return Check(CPU, f"no: {info['reason']}", "optional", fix)
    by = f" (ANNOTATOR3D_KERNELS={forced})" if forced else ""
    return Check(CPU, f"{info['variant']} variant{by}, {info['library']}", "ok")


def _cuda_library(info: dict[str, Any]) -> Check:
    if not info["library"]:
        fix = f"for an NVIDIA GPU install the CUDA toolkit (nvcc), {REBUILD}"
        return Check(CUDA, f"no: {info['reason']}; CUDA tensors use the reference", "optional", fix)
    words = f"built ({info['architectures']}), {info['library']}"
    if info["reason"]:
        fix = "needs an NVIDIA GPU, its driver and a torch built for CUDA"
        return Check(CUDA, f"not usable: {info['reason']}; {words}", "optional", fix)
    return Check(CUDA, f"usable; {words}", "ok")


def _cuda() -> list[Check]:
    """The device, and what convolves on it."""
    try:
        import torch

        is_found, built_for = torch.cuda.is_available(), torch.version.cuda or "CPU only"
        device = torch.cuda.get_device_name(0) if is_found else ""
    except Exception as error:
        return [Check("CUDA", _no(error), "optional", "pip install torch"), _spconv(False)]
    if is_found:
        return [Check("CUDA", f"{device}, CUDA {built_for}", "ok"), _spconv(True)]
    words = f"no device (torch built for {built_for}); training runs on the CPU"
    fix = "a CUDA device, its driver and a torch built for it, to train at full size"
    return [Check("CUDA", words, "optional", fix), _spconv(False)]


def _spconv(is_needed: bool) -> Check:
    """What convolves on CUDA; on CPU nothing of it is used, and it is not imported."""
    from annotator3d.models.sparse_library import (
        SPCONV_PACKAGE,
        convolution_library,
        version_of,
        wanted_libraries,
    )

    lacking = "missing" if is_needed else "optional"
    try:
        wanted = wanted_libraries()
    except ValueError as error:
        return Check("spconv", f"no: {error}", lacking, "unset ANNOTATOR3D_CONVOLUTION")
    fix = f"pip install {SPCONV_PACKAGE}, or spconv-triton (convolution on CUDA)"
    installed = list(filter(None, map(version_of, wanted)))
    if not installed:
        packages = " and no ".join(dict.fromkeys((SPCONV_PACKAGE, "spconv-triton")))
        return Check("spconv", f"no {packages}", lacking, fix)
    if not is_needed:
        return Check("spconv", ", ".join(installed), "ok")
    try:
        return Check("spconv", convolution_library(), "ok")
    except Exception as error:
        return Check("spconv", f"does not load: {error}", "missing", fix)
