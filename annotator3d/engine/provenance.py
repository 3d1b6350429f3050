"""What a result depends on besides config and data: versions of the software, and the commit."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import annotator3d


def versions() -> dict[str, str]:
    """Versions of what a result depends on; 'missing' for what is not installed."""
    found = {"annotator3d": annotator3d.__version__, "python": platform.python_version()}
    for name in (
        "torch",
        "numpy",
        "mmengine",
        "spconv-cu120",
        "spconv-cu126",
        "spconv-triton",
        "open3d",
    ):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def git_hash() -> str | None:
    """Commit of the checkout that this code runs from, with ``+`` if it was changed; else None."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--match", ""],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
