"""``annotator3d doctor``: what is installed, built and found, and how to get what is missing."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib import metadata
from typing import Any

import annotator3d


def examine() -> dict[str, Any]:
    """Look at this machine.

    Returns:
        ``checks``: a list of {name, found, state ('ok', 'missing' or 'optional'), fix}; ``ok``:
        whether nothing that training needs is missing.
    """
    checks = [
        _check(
            "Python",
            platform.python_version(),
            (3, 10) <= sys.version_info[:2] < (3, 14),
            "use Python 3.10 to 3.13",
        ),
        _check("annotator3d", annotator3d.__version__, True),
        _package("torch", "pip install torch"),
        _package("numpy", "pip install numpy"),
        _package("mmengine", "pip install mmengine==0.10.7"),
        _runner(),
        _package("pydantic", "pip install pydantic"),
        _package("pyyaml", "pip install pyyaml", module="yaml"),
        _package("rich", "pip install 'rich<15'"),
        _package("matplotlib", "pip install matplotlib"),
        *_kernels(),
        *_cuda(),
        _package("open3d", "pip install 'annotator3d[viz]'", optional=True, why="the viewer"),
        _package("viser", "pip install 'annotator3d[web]'", optional=True, why="label --web"),
        *(
            _package(name, "pip install 'annotator3d[formats]'", optional=True, why=f"{kind} files")
            for name, kind in (
                ("plyfile", "PLY"),
                ("pypcd4", "PCD"),
                ("laspy", "LAS"),
                ("lazrs", "LAZ"),
            )
        ),
    ]
    return {"ok": all(c["state"] != "missing" for c in checks), "checks": checks}


def print_report(report: dict[str, Any]) -> None:
    """Print it as a table, or as plain lines where rich is missing."""
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except Exception:  # whatever is broken in rich, the report says so
        for check in report["checks"]:
            fix = f"; {check['fix']}" if check["fix"] else ""
            print(f"{check['name']}: {check['state']}: {check['found']}{fix}")
        return
    table = Table()
    for head in ("", "found", "", "what to do"):
        table.add_column(head, overflow="fold")
    colours = {"ok": "green", "missing": "red", "optional": "yellow"}
    for check in report["checks"]:
        state = f"[{colours[check['state']]}]{check['state']}[/]"
        table.add_row(check["name"], escape(check["found"]), state, escape(check["fix"]))
    Console().print(table)


def _check(
    name: str, found: str, good: bool, fix: str = "", optional: bool = False
) -> dict[str, Any]:
    state = "ok" if good else "optional" if optional else "missing"
    return {"name": name, "found": found, "state": state, "fix": "" if good else fix}


def _package(
    name: str, fix: str, module: str = "", optional: bool = False, why: str = ""
) -> dict[str, Any]:
    try:
        loaded = importlib.import_module(module or name)
        return _check(name, str(getattr(loaded, "__version__", "")) or metadata.version(name), True)
    except Exception as error:  # a package may be broken in any way; the report names it
        hint = f"{fix}{f' (for {why})' if why else ''}"
        return _check(name, _no(error), False, hint, optional)


def _no(error: Exception) -> str:
    return f"no: {str(error) or type(error).__name__}".splitlines()[0]


def _runner() -> dict[str, Any]:
    try:
        from annotator3d import _mmengine as mm

        stand_in = "stand-in" in str(sys.modules["cv2"].__doc__).lower()
        words = "loads; cv2 replaced by a stand-in (not needed)" if stand_in else "loads"
        return _check("mmengine runner", words, mm.Runner is not None)
    except Exception as error:
        return _check("mmengine runner", _no(error), False, "pip install torch mmengine==0.10.7")


_KERNELS = ("kernels: C++ on CPU", "kernels: torch reference", "kernels: CUDA")
_REBUILD = "then pip install --force-reinstall --no-deps ."


def _kernels() -> list[dict[str, Any]]:
    """One entry for each way in which the voxel kernels may run."""
    cpu, reference, cuda = _KERNELS
    try:
        from annotator3d.kernels import build_info, cuda_info

        on_cpu, on_cuda = build_info(), cuda_info()
    except Exception as error:
        fix = "pip install torch numpy"
        return [
            _check(cpu, _no(error), False, fix, optional=True),
            _check(reference, _no(error), False, fix),
            _check(cuda, _no(error), False, fix, optional=True),
        ]
    return [
        _cpu_library(on_cpu),
        _check(reference, "always there; slower, entropy and margin within 1e-6", True),
        _cuda_library(on_cuda),
    ]


def _cpu_library(info: dict[str, Any]) -> dict[str, Any]:
    forced = os.environ.get("ANNOTATOR3D_KERNELS")
    if not info["library"]:
        fix = f"install a C++ compiler (apt install g++), {_REBUILD}"
        fix = "unset ANNOTATOR3D_KERNELS" if forced == "reference" else fix
        return _check(_KERNELS[0], f"no: {info['reason']}", False, fix, optional=True)
    words = f"{info['variant']} variant{f' (ANNOTATOR3D_KERNELS={forced})' if forced else ''}"
    return _check(_KERNELS[0], f"{words}, {info['library']}", True)


def _cuda_library(info: dict[str, Any]) -> dict[str, Any]:
    if not info["library"]:
        fix = f"for an NVIDIA GPU install the CUDA toolkit (nvcc), {_REBUILD}"
        words = f"no: {info['reason']}; CUDA tensors use the reference"
        return _check(_KERNELS[2], words, False, fix, optional=True)
    words = f"built ({info['architectures']}), {info['library']}"
    if info["reason"]:
        fix = "needs an NVIDIA GPU, its driver and a torch built for CUDA"
        return _check(_KERNELS[2], f"not usable: {info['reason']}; {words}", False, fix, True)
    return _check(_KERNELS[2], f"usable; {words}", True)


def _cuda() -> list[dict[str, Any]]:
    try:
        import torch

        found = torch.cuda.is_available()
        if found:
            words = f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
        else:
            words = f"no device (torch built for {torch.version.cuda or 'CPU only'}); CPU trains"
    except Exception as error:
        return [_check("CUDA", _no(error), False, "pip install torch", optional=True), _spconv()]
    fix = "a CUDA device, its driver and a torch built for it, to train at full size"
    return [_check("CUDA", words, found, fix, optional=True), _spconv(needed=found)]


def _spconv(needed: bool = False) -> dict[str, Any]:
    """Convolution on CUDA; on CPU nothing of it is used, and it is not imported."""
    name = "spconv-cu120" if sys.version_info < (3, 12) else "spconv-cu126"
    fix = f"pip install {name} (convolution on CUDA)"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return _check("spconv", f"no {name}", False, fix, optional=not needed)
    if needed:
        try:
            from annotator3d.models.sparse_cuda import spconv_version

            spconv_version()
        except Exception as error:
            return _check("spconv", f"{name} {version} does not load: {error}", False, fix)
    return _check("spconv", f"{name} {version}", True)
