"""A folder in which nothing can be written, as a read-only disk is, also for root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import json, os, subprocess, sys
folder, commands = sys.argv[1], json.loads(sys.argv[2])
if os.geteuid() == 0:
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
else:
    for base, _, files in os.walk(folder):
        for name in files:
            os.chmod(os.path.join(base, name), 0o444)
        os.chmod(base, 0o555)
try:
    open(os.path.join(folder, "x"), "w")
except OSError:
    pass
else:
    sys.exit("the folder can be written to")
from annotator3d.cli.main import main
for command in commands:
    print("$", *command, flush=True)
    print("exit", main(command), flush=True)
"""


def mounts() -> bool:
    """Whether this process may make a folder read-only."""
    if os.geteuid() != 0:
        return True  # by its permissions
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def run_on_readonly(folder: Path, commands: list[list[str]]) -> str:
    """What the commands print while `folder` is read-only; they run in a process of their own."""
    import json

    alone = ["unshare", "-m"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*alone, sys.executable, "-c", _SCRIPT, str(folder), json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
