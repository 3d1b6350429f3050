"""The benchmark of propagation runs over more scans than there are files, and makes each once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
if not TOOLS.is_dir():
    pytest.skip("the tools are not beside the tests", allow_module_level=True)


def test_it_links_drives_again_and_extrapolates_by_scan(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_propagation

    report = bench_propagation.main(
        ["--scans", "5", "--drive", "3", "--azimuths", "128", "--answers", "2", "--surface"]
    )
    del sys.modules["bench_propagation"]
    assert all(value > 0 for value in report.values())
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "6 scans, 12 answers"
    minutes = report["all new"] / 6 * 19_130 / 60
    (line,) = [line for line in said if line.startswith("all new  ")]
    assert f"{minutes:.1f} min for 19,130 scans" in line
