"""What an earlier version wrote is opened, verified, merged, reported and resumed by this one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from annotator3d.cli.main import main
from annotator3d.ledger.ledger import Ledger

ARCHIVES = sorted((Path(__file__).parents[1] / "fixtures").glob("*.zip"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.stem)
def home(request, tmp_path, monkeypatch):
    """The folder that the archive was made of."""
    shutil.unpack_archive(request.param, tmp_path)
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path / "cache"))
    return tmp_path


def read(path: Path) -> dict[str, object]:
    with Ledger.read(path) as ledger:
        return {
            "digest": ledger.digest(),
            "canonical": ledger.export_canonical(),
            "summary": vars(ledger.summary()),
            "events": [[e.uid, e.query, e.answer.kind] for e in ledger.events()],
        }


def test_the_ledger_reads_as_it_did(home):
    expected = json.loads((home / "expected.json").read_text())
    assert read(home / "run" / "ledger.sqlite") == expected


def test_a_run_and_a_package_go_on(home, capsys):
    run, package = home / "run", home / "cid.a3dpack"
    assert main(["ledger", "verify", str(run)]) == 0
    assert main(["ledger", "verify", str(package)]) == 0
    assert capsys.readouterr().out.count("; 0 problems") == 2
    assert main(["package", "merge", str(run), str(package)]) == 0
    assert "1 new answer" in capsys.readouterr().out
    with Ledger.open_existing(run / "ledger.sqlite") as ledger:
        assert ledger.current(6).annotator == "cid"
        for query in ledger.open_queries(2)[:4]:
            ledger.answer(query.id, [8] * query.num_points, annotator="ann")
    assert main(["round", "close", str(run), "--annotator", "lead"]) == 0
    assert main(["train", str(home / "tiny.py"), "--work-dir", str(run), "--resume"]) == 0
    record = json.loads((run / "run.json").read_text())
    assert (record["state"], len(record["rounds"])) == ("done", 2)
    assert main(["report", str(run)]) == 0
    assert "cid" in (run / "report.html").read_text(encoding="utf-8")
    assert main(["ledger", "verify", str(run)]) == 0
