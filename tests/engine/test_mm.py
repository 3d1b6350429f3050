"""Training must start on a machine where cv2 cannot be imported."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

PROGRAM = """
import sys
import torch
from annotator3d import _mmengine as mm

class Model(mm.BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def forward(self, inputs, mode="tensor"):
        return self.layer(inputs)

runner = mm.Runner(Model(), sys.argv[1], default_scope="annotator3d")
print("runner ready", sorted(name for name in mm.__all__ if not hasattr(mm, name)))
try:
    sys.modules["cv2"].imshow
except AttributeError as error:
    print(error)
"""


def run(tmp_path: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )


def test_runner_starts_where_cv2_cannot_be_imported(tmp_path):
    package = tmp_path / "cv2"
    package.mkdir()
    reason = "libGL.so.1: cannot open shared object file"
    (package / "__init__.py").write_text(f"raise ImportError({reason!r})")
    done = run(tmp_path, PROGRAM, str(tmp_path / "work"))
    assert done.returncode == 0, done.stderr
    assert "runner ready []" in done.stdout
    assert f"cv2.imshow is not available: importing cv2 failed with ImportError('{reason}')" in (
        done.stdout
    )


def test_a_working_cv2_is_left_alone_and_importing_is_quiet(tmp_path):
    (tmp_path / "cv2.py").write_text("__version__ = 'the real one'")
    done = run(tmp_path, "import annotator3d._mmengine, cv2; print(cv2.__version__)")
    assert (done.stdout, done.returncode) == ("the real one\n", 0), done.stderr
    assert done.stderr == ""


def test_every_name_behind_the_door_is_used():
    program = (REPOSITORY / "annotator3d" / "_mmengine.py").read_text(encoding="utf-8")
    names = next(
        ast.literal_eval(node.value)
        for node in ast.parse(program).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    )
    used = set()
    for path in (REPOSITORY / "annotator3d").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "annotator3d._mmengine":
                used |= {alias.name for alias in node.names}
    assert used == set(names)


def test_importing_the_package_and_the_registry_needs_no_heavy_module(tmp_path):
    program = (
        "import sys, annotator3d, annotator3d.registry, annotator3d.data.datasets.sequences; "
        "print([n for n in ('cv2', 'torch', 'open3d', 'spconv', 'matplotlib') if n in sys.modules])"
    )
    done = run(tmp_path, program)
    assert done.stdout == "[]\n", done.stderr
