"""The benchmark of training runs on tiny sizes, and its rival is the network that it says it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from network_batches import batch_of

TOOLS = Path(__file__).parents[2] / "tools"
if not TOOLS.is_dir():
    pytest.skip("the tools are not beside the tests", allow_module_level=True)
sys.path.insert(0, str(TOOLS))
import bench_train  # noqa: E402
from plain_spconv import load_spconv  # noqa: E402


def has_spconv() -> bool:
    try:
        load_spconv("cpu")
    except RuntimeError:
        return False
    return True


def test_the_tool_measures_both_networks(tmp_path, capsys):
    path = tmp_path / "figures.json"
    report = bench_train.main(["--quick", "--json", str(path)])
    assert json.loads(path.read_text()) == report and set(report) == {"MinkUNet", "SPVCNN"}
    for figures in report.values():
        assert all(value > 0 for value in figures.values())
        assert 0 <= figures["share of a step waiting for data"] < 1
        assert 0 < figures["share of a pass in selection"] < 1
    assert ("time of ours, 1 threads / spconv's" in report["MinkUNet"]) == has_spconv()
    assert "selected scans/s" in capsys.readouterr().out


def test_the_rival_is_the_same_network():
    if not has_spconv():
        pytest.skip("spconv cannot be imported here")
    planes = [4, 4, 6, 8, 5]
    bench = bench_train.Bench(None, torch.device("cpu"), planes, 1, 1, 0, "fp32")
    ours, plain = bench.model("MinkUNet"), bench.plain()
    batch = batch_of(200)
    losses = {}
    for name, model in (("ours", ours), ("plain", plain)):
        loss = losses[name] = sum(model(batch, mode="loss").values())
        loss.backward()
    torch.testing.assert_close(losses["plain"], losses["ours"], atol=1e-4, rtol=1e-4)
    for theirs, own in zip(plain.backbone.parameters(), ours.backbone.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, own.grad, atol=1e-3, rtol=1e-2)
