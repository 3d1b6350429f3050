"""Where a GPU check runs: device, driver, versions; and what is missing for one."""

from __future__ import annotations

import platform
import shutil
import subprocess

import annotator3d
from annotator3d.engine.provenance import git_hash
from annotator3d.models.sparse_library import LIBRARIES, version_of


def missing() -> list[str]:
    """What a GPU check lacks here, each in words with what to do; empty: it can run."""
    import torch

    if torch.cuda.is_available():
        return []
    found = []
    if shutil.which("nvidia-smi") is None:
        found.append("no NVIDIA driver: there is no nvidia-smi; install the driver of the GPU")
    elif not _driver():
        found.append("nvidia-smi finds no GPU; see what it prints")
    if torch.version.cuda is None:
        found.append(
            f"torch {torch.__version__} is built for the CPU only: install pip's default build, or "
            "the one for your CUDA version (https://pytorch.org)"
        )
    if not find_nvcc():
        found.append(
            "no nvcc (the kernels' CUDA library is built with it): install the CUDA toolkit and "
            "put nvcc on the PATH"
        )
    return found or ["torch finds no CUDA device: is CUDA_VISIBLE_DEVICES empty?"]


def find_nvcc() -> str | None:
    """Path of the CUDA compiler, where the build would find it."""
    import os

    if "CUDACXX" in os.environ:
        return shutil.which(os.environ["CUDACXX"])
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    folders = [f"{home}/bin" for home in homes if home] + ["/usr/local/cuda/bin"]
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    return shutil.which("nvcc", path=path)


def describe_machine() -> dict[str, str]:
    """Device, driver and versions, for the head of the table. Needs no GPU."""
    import torch

    from annotator3d.kernels import cuda_info

    found: dict[str, str] = {}
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        found["device"] = device.name
        found["compute capability"] = f"{device.major}.{device.minor}"
        found["memory of the device"] = f"{device.total_memory / 1e9:.0f} GB"
    found["driver"] = _driver() or "none"
    found["torch"] = f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}"
    kernels = cuda_info()
    built = f"{kernels['architectures']}, {kernels['compiler']}" if kernels["library"] else "no"
    found["CUDA kernels built"] = built
    libraries = list(filter(None, map(version_of, LIBRARIES)))
    found["sparse convolution"] = ", ".join(libraries) or "none"
    commit = git_hash()
    version = annotator3d.__version__ + (f", commit {commit}" if commit else "")
    found["annotator3d"] = version
    found["Python"] = f"{platform.python_version()}, {platform.platform()}"
    return found


def _driver() -> str:
    """Version of the driver, or "" where there is none."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = run.stdout.split() if run.returncode == 0 else []
    return lines[0] if lines else ""
