"""Checks that a wheel holds every file that is installed: python tools/check_wheel.py WHEEL

Fails with the names of those that are missing. The list is git's, so it grows with the project.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {"annotator3d": "annotator3d", "viz": "annotator3d/viz", "configs": "annotator3d/configs"}
LEFT_OUT = ("annotator3d/kernels/csrc/", "annotator3d/viz.py")


def main(wheel: str) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    installed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {path: place(path) for path in tracked if not path.startswith(LEFT_OUT)}
    missing = sorted(path for path, name in wanted.items() if name not in installed)
    left = sorted(name for name in installed if name.startswith(LEFT_OUT))
    if missing or left:
        sys.exit(f"{wheel}: missing {missing}; not to be installed {left}")
    print(f"{wheel}: all {len(wanted)} files")


def place(path: str) -> str:
    """Where a file of the checkout lies in the wheel."""
    top, _, rest = path.partition("/")
    return f"{FOLDERS[top]}/{rest}"


if __name__ == "__main__":
    main(*sys.argv[1:])
