"""Before round 1 of ASFDA and ADA: batch-norm statistics of the target, without its labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from annotator3d.data.batch import InputRule, RawScans, collate
from annotator3d.engine.distributed import World

# Sums of floats depend on their order. The scans are added up in this many parts, each by one
# process, and the parts in turn: the same bits for any number of processes.
PARTS = 64


@torch.no_grad()
def adapt_statistics(
    model: nn.Module,
    pool,
    rule: InputRule,
    world: World,
    progress: Callable[[int, int], None],
) -> None:
    """Put the mean over the scans of `pool` of each scan's own statistics into every batch norm.

    As `torch.optim.swa_utils.update_bn` with one scan a batch, summed in float64. A batch norm that
    no scan gave a variance (it saw fewer than two rows each time) keeps its statistics.

    Args:
        model: not yet wrapped for several processes.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta, training = [norm.momentum for norm in norms], model.training
    before = [(n.running_mean.clone(), n.running_var.clone()) for n in norms]
    for norm in norms:
        norm.momentum = 1.0  # the statistics after a forward pass are those of its scan
    model.eval()  # no dropout: the statistics are those that the network has when it predicts
    for norm in norms:
        norm.train()
    try:
        sums = world.map_ranks(lambda: _sums_of_parts(model, norms, pool, rule, world, progress))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)
    parts = {part: found for share in sums for part, found in share.items()}
    for index, norm in enumerate(norms):
        mean, var, count = (sum(parts[p][index][i] for p in sorted(parts)) for i in range(3))
        if count:
            mean, var = mean / count, var / count
        else:
            mean, var = before[index]
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        norm.num_batches_tracked.fill_(count)


def _sums_of_parts(
    model: nn.Module,
    norms: list[_BatchNorm],
    pool,
    rule: InputRule,
    world: World,
    progress: Callable[[int, int], None],
) -> dict[int, list[tuple[Tensor, Tensor, int]]]:
    """Part -> of each norm: sums over the part's scans of mean and variance, number of scans."""
    scans, mine, done = RawScans(pool, rule), world.share(range(PARTS)), 0
    total = sum(len(range(part, len(scans), PARTS)) for part in mine)
    found = {}
    for part in mine:
        sums = [(torch.zeros_like(n.running_mean, dtype=torch.float64),) * 2 + (0,) for n in norms]
        for index in range(part, len(scans), PARTS):
            sample = scans[index]
            if len(sample["cells"]):
                sums = _with_scan(model, norms, sample, sums)
            done += 1
            progress(done, total)
        found[part] = [(mean.cpu(), var.cpu(), count) for mean, var, count in sums]
    return found


def _with_scan(
    model: nn.Module, norms: list[_BatchNorm], sample: dict, sums: list
) -> list[tuple[Tensor, Tensor, int]]:
    for norm in norms:
        norm.num_batches_tracked.zero_()
    model(model.data_preprocessor(collate([sample]), False))
    return [
        (mean + norm.running_mean, var + norm.running_var, count + 1)
        if norm.num_batches_tracked
        else (mean, var, count)
        for norm, (mean, var, count) in zip(norms, sums, strict=True)
    ]
