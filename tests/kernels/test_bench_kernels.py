"""The kernels' benchmark runs and writes what is asked of it; its figures are not looked at."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).parents[2] / "tools"
SELECTIONS = ("vcd_logits_1t", "vcd_labels_1t", "vcd_logits_batch", "vcd_labels_batch")
SELECTIONS += ("entropy_1t", "margin_1t")
RATIOS = ("ratio_published", "ratio_torch", "ratio_floor")


@pytest.fixture
def run(monkeypatch):
    """The tool's main, found as when it is started as a script."""
    monkeypatch.syspath_prepend(str(TOOLS))
    from bench_kernels import main

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda *arguments: main(["--quick", *map(str, arguments)])
    torch.set_num_threads(threads)
    for name in [n for n, m in sys.modules.items() if _is_tool(m)]:
        del sys.modules[name]


def _is_tool(module) -> bool:
    return Path(getattr(module, "__file__", None) or "/").parent == TOOLS


@pytest.mark.parametrize("real", [False, True])
def test_the_benchmark_writes_its_figures(real, run, make_kitti, tmp_path, capsys):
    file = tmp_path / "figures.json"
    data = ("--data-root", make_kitti(scans=2, points=4000)) if real else ()
    run("--json", file, *data)
    figures, table = json.loads(file.read_text()), capsys.readouterr().out
    assert list(figures) == [*SELECTIONS, "voxelize_5cm_1t"]
    for task in SELECTIONS:
        assert list(figures[task]) == ["ms", *RATIOS]
        assert all(value > 0 for value in figures[task].values())
        assert task in table
    assert list(figures["voxelize_5cm_1t"]) == ["ms", "ratio_numpy", "ratio_spconv"]
    assert figures["voxelize_5cm_1t"]["ratio_spconv"] is None  # left out of a quick run
    assert f"2 {'real' if real else 'simulated'} scans" in table


def test_a_folder_without_scans_is_named(run, tmp_path):
    with pytest.raises(SystemExit, match="no sequences/.*bin under"):
        run("--data-root", tmp_path)


def test_variants_that_do_not_agree_are_not_compared(run, monkeypatch):
    import kernel_rivals

    wrong = kernel_rivals.torch_select
    monkeypatch.setattr(kernel_rivals, "torch_select", lambda *a: (wrong(*a)[0], wrong(*a)[1] + 1))
    with pytest.raises(SystemExit, match="vcd_logits_1t: the variants do not agree"):
        run()
