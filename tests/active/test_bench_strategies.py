"""The benchmark of the strategies runs and writes what is asked of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).parents[2] / "tools"
if not TOOLS.is_dir():
    pytest.skip("the tools are not beside the tests", allow_module_level=True)


@pytest.fixture
def bench(monkeypatch):
    """The tool, found as when it is started as a script."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_strategies

    yield bench_strategies
    for name in [n for n, m in sys.modules.items() if _is_tool(m)]:
        del sys.modules[name]


def _is_tool(module) -> bool:
    return Path(getattr(module, "__file__", None) or "/").parent == TOOLS


def test_every_strategy_is_compared_with_vcd(bench, make_kitti, tmp_path, capsys):
    file, threads = tmp_path / "figures.json", torch.get_num_threads()
    root = make_kitti(scans=2, points=2000)
    bench.main(["--quick", "--json", str(file), "--data-root", str(root)])
    figures, table = json.loads(file.read_text()), capsys.readouterr().out
    assert figures["vcd"]["ratio_vcd"] == 1
    assert {"impurity", "impurity neighbourhood=3", "voxels alone"} <= figures.keys()
    assert all(row["ms"] > 0 and f"| {name} |" in table for name, row in figures.items())
    assert "2 real scans of 2,000 points" in table and torch.get_num_threads() == threads


def test_all_strategies_of_logits_alone_are_timed(bench):
    from annotator3d.active.strategies import STRATEGIES, get_strategy
    from annotator3d.registry import fill

    fill(STRATEGIES)
    published = {"vcd", "random", "entropy", "margin", "margin_mean"}  # the kernels' benchmark
    timed = {get_strategy(config).name for config in bench.STRATEGIES}
    assert {n for n in STRATEGIES.module_dict if not get_strategy(n).needs} - timed <= published
