"""The demo's door, shortened: every run, the summary and the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from annotator3d.cli.main import main

SHORT = [
    "schedule.epochs=5",
    "active.rounds_at=[0, 1, 2, 3, 4]",
    "data.source.sequences=1",
    "data.source.scans=2",
    "data.train.sequences=1",
    "data.train.scans=2",
    "data.val.sequences=1",
    "data.val.scans=1",
    "model.backbone.planes=[4, 4, 4]",
]


RELOADS = '<meta http-equiv="refresh"'


def pages_while_it_runs(monkeypatch, path: Path) -> list[str]:
    """What a browser would have shown after each change of a run."""
    from annotator3d.analysis.demo import GrowingReport

    pages, change = [], GrowingReport.change

    def changed(report, name, state):
        change(report, name, state)
        pages.append(path.read_text())

    monkeypatch.setattr(GrowingReport, "change", changed)
    return pages


@pytest.mark.slow
def test_a_shortened_demo_leaves_summary_and_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "demo"
    pages = pages_while_it_runs(monkeypatch, out / "report.html")
    arguments = ["demo", "--out", str(out), *(x for s in SHORT for x in ("--set", s))]
    assert main(arguments) == 0
    assert str(out / "report.html") in capsys.readouterr().out

    summary = json.loads((out / "summary.json").read_text())
    keys = ("source_only_miou", "zero_label_miou", "target_only_miou", "wall_seconds")
    assert all(isinstance(summary[key], float) for key in keys)
    arms = {(run["setting"], run["strategy"]) for run in summary["runs"]}
    assert arms == {(s, a) for s in ("al", "asfda", "ada") for a in ("random", "vcd")}
    for run in summary["runs"]:
        # Two scans, one voxel of each in each of five rounds.
        assert [entry["voxels"] for entry in run["rounds"]] == [2, 4, 6, 8, 10]
        assert [entry["round"] for entry in run["rounds"]] == [1, 2, 3, 4, 5]
        assert all(entry["points"] >= entry["voxels"] for entry in run["rounds"])
    html = (out / "report.html").read_text()
    assert "One seed: no ranking" in html and "simulated" in html
    assert RELOADS not in html

    # Meanwhile there was a picture from the first moment on, and each result when it was there.
    assert all(RELOADS in page and "data:image/png" in page for page in pages)
    ended = [int(re.search(r"(\d) of 9 runs have ended", page)[1]) for page in pages]
    assert ended == sorted(ended) and set(ended) == set(range(10))
    source_only = f"<b>{summary['source_only_miou']:.1f}</b>"
    assert source_only not in pages[0] and source_only in pages[ended.index(9)]
    assert "Final mIoU" not in pages[0] and "Final mIoU" in pages[-1]
    assert (out / "queries.png").read_bytes().startswith(b"\x89PNG")

    # Called again, the finished runs are read back, not trained again.
    written = len(pages)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.pth")}
    assert main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.pth")} == before
    assert len(pages) == written and RELOADS not in (out / "report.html").read_text()
