"""tools/bench_convolution.py: what is compared computes the same, and every ratio is there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.simulator.sequence import simulate
from annotator3d.engine.training.loading import batches

TOOLS = Path(__file__).parents[2] / "tools"
if not TOOLS.is_dir():
    pytest.skip("the tools are not beside the tests", allow_module_level=True)
sys.path.insert(0, str(TOOLS))
import bench_convolution  # noqa: E402


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("streets")
    simulate(root, "hdl64", sequences=1, scans=2, seed=0, beams=16, azimuths=120)
    return bench_convolution.Network("small", SemanticKITTI(root, ["00"]))


def step(model, batch):
    """Losses and gradients of one training step."""
    losses = model(model.data_preprocessor(batch, True), mode="loss")
    model.zero_grad()
    sum(losses.values()).backward()
    return [v.detach() for v in losses.values()], [p.grad.clone() for p in model.parameters()]


def test_plain_torch_computes_what_the_kernels_do(bench):
    batch = next(iter(batches(bench.loader(0), 0)))
    losses, gradients = step(bench.model(), batch)
    with bench_convolution.plain_torch():
        rival_losses, rival_gradients = step(bench.model(), batch)
    torch.testing.assert_close(losses, rival_losses, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(gradients, rival_gradients, strict=True):
        assert float((ours - theirs).abs().max()) <= 1e-3 * max(1e-3, float(theirs.abs().max()))


def test_every_rival_is_timed_and_compared(bench):
    threads = torch.get_num_threads()
    try:
        report = bench_convolution.networks(bench, [1], rounds=1)
        report |= bench_convolution.layers(bench, [16], rounds=1)
    finally:
        torch.set_num_threads(threads)
    for kind in ("step", "inference"):
        assert report[f"{kind}, ours, 1 threads (s)"] > 0
        assert report[f"{kind}: plain torch, 1 threads / ours, 1 threads"] > 0
    for kind in ("forward", "input gradient", "weight gradient"):
        assert report[f"16 channels, {kind}, share"] > 0
