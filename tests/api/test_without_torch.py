"""A work package is labelled through the door on a machine that has no torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

from package_world import pack

import annotator3d as a3d


def test_a_package_is_labelled_without_torch(asked, tmp_path):
    shutil.copytree(asked / "run", tmp_path / "run")
    package = pack(tmp_path / "run")
    code = textwrap.dedent(
        f"""
        import sys

        sys.modules["torch"] = None  # an import raises ImportError
        import annotator3d as a3d

        with a3d.open_session({str(package)!r}) as session:
            for _ in range(3):
                session.assign("road")
            print(session.annotator, session.progress.open)
        a3d.render({str(package)!r}, {str(tmp_path / "query.png")!r}, size=(160, 100))
        """
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    with a3d.Ledger.read(package) as ledger:
        queries, answered = ledger.queries(), [a for _, a in ledger.responses() if a]
    assert run.stdout.split() == ["ann", str(len(queries) - 3)]
    assert len(answered) == 3 and {answer.annotator for answer in answered} == {"ann"}
    assert (tmp_path / "query.png").read_bytes().startswith(b"\x89PNG")
