"""The benchmark of the chooser runs, and chooses what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
if not TOOLS.is_dir():
    pytest.skip("the tools are not beside the tests", allow_module_level=True)


def test_it_times_quotas_and_spacing(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_chooser

    report = bench_chooser.main(["--scans", "60", "--candidates", "42"])
    del sys.modules["bench_chooser"]
    assert len(report) == 4 and all(value > 0 for value in report.values())
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2,520 candidates of 60 scans"
    assert said[1].endswith(" 60 chosen") and said[2].endswith(" 60 chosen")
