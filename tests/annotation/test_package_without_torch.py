"""People label without the learning half: a work package needs no torch."""

import subprocess
import sys

from session_world import DIGEST, NAMES, SIZE, make_world

from annotator3d.annotation.packages.choice import PackageChoice
from annotator3d.annotation.packages.export import ExportOptions, write_package
from annotator3d.ledger.ledger import Ledger

ANSWER = """
import sys
from pathlib import Path

from annotator3d.annotation.opening import open_session
from annotator3d.annotation.packages.package import PackageSource
from annotator3d.annotation.review import Criteria

path, names, digest = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3]
source = PackageSource(path)
session = open_session(path, source, "ann", names, digest, source)
while session.current is not None:
    session.split("clusters")
    session.assign(0)
    session.assign(1)
session.undo()
print(session.progress.answered)
session.close()
session = open_session(path, source, "lead", names, digest, source, review=Criteria())
session.approve()
session.close()
print(sorted({"torch", "open3d", "viser", "spconv"} & set(sys.modules)))
"""


def test_a_work_package_is_labelled_and_reviewed_without_torch(tmp_path):
    home, out = tmp_path / "ledger.sqlite", tmp_path / "one.a3dpack"
    source = make_world(home)
    with Ledger.open(home, NAMES, DIGEST, SIZE) as ledger:
        options = ExportOptions("ann", PackageChoice("all"))
        count = write_package(ledger, out, source, b"classes: []", options).queries
    command = [sys.executable, "-c", ANSWER, str(out), ",".join(NAMES), DIGEST]
    answered, imported = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert (int(answered), imported) == (count - 1, "[]")
