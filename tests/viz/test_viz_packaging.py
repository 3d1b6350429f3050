"""`annotator3d.viz` where nothing but a checkout's folder is on Python's path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_checkout_alone_has_the_windows():
    """As when a plain install is hidden by the folder in which Python starts."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import annotator3d.viz as viz, annotator3d.viz.keys as keys, annotator3d\n"
        "print(viz.__file__, keys.__file__, annotator3d.viz is viz, sep='\\n')"
    )
    found = subprocess.run(  # -S: no .pth file, so no editable install
        [sys.executable, "-I", "-S", "-c", code, str(ROOT), *sys.path],
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    expected = [str(ROOT / "viz/__init__.py"), str(ROOT / "viz/keys.py"), "True"]
    assert found.stdout.splitlines() == expected
