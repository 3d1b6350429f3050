"""How good an adapted network is, without any label: how sure it is, and how far its classes went.

The sum of the mean entropy of the predictions and of the divergence of the mean prediction from
that of the network before the adaptation, the class prior: the less, the better. Entropy alone
falls as long as one trains, also when the last class that is left is the road; the prior notices
classes that vanish. Michele et al. minimise these two as a loss without source data, with the class
shares of the source as the prior (Train Till You Drop, ECCV 2024, arXiv 2409.04409).

Both are about how sure a network is, and a network that has learnt its own errors is sure, too. So
`changed` belongs to the score: agreement with a reference, by which they stop, here with the
network before the adaptation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from annotator3d.active.point_means import entropy_of
from annotator3d.data.batch import InputRule
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.engine.distributed import World
from annotator3d.engine.prediction import voxel_logits
from annotator3d.kernels.score_table import SCORE_ONE

SCANS = 32  # of the pool are looked at, evenly spaced
_ONE = 2.0**24  # a probability of 1 in whole numbers, whose sums no order changes


@dataclass(frozen=True)
class Look:
    """What a network predicts in these scans."""

    shares: NDArray[np.float64]  # [C] mean class probabilities
    entropy: float  # mean, as a share of the largest one
    classes: list[NDArray[np.uint8]]  # scan by scan, of each voxel of the network


@dataclass(frozen=True)
class LabelFreeScore:
    """Of a network after so many epochs of adaptation."""

    epoch: int
    entropy: float  # 0..1
    drift: float  # from 0
    changed: float  # share of the voxels that are predicted otherwise than before the adaptation
    classes: int  # that are predicted somewhere

    @property
    def cost(self) -> float:
        """The less, the better."""
        return self.entropy + self.drift


def score(epoch: int, start: Look, now: Look) -> LabelFreeScore:
    """`now` as seen from `start`, the network before the adaptation."""
    before, after = np.concatenate(start.classes), np.concatenate(now.classes)
    known = start.shares > 0
    ratio = start.shares[known] / np.maximum(now.shares[known], 1 / _ONE)
    drift = float((start.shares[known] * np.log(ratio)).sum() / np.log(max(len(known), 2)))
    changed = float((before != after).mean()) if len(before) else 0.0
    return LabelFreeScore(epoch, now.entropy, drift, changed, len(np.unique(after)))


def look_at(
    model,
    pool: ScanDataset,
    rule: InputRule,
    world: World,
    progress: Callable[[int, int], None],
) -> Look:
    """What `model` predicts in `SCANS` scans of `pool`, as recorded, one scan a forward pass.

    The same bits for any number of processes.
    """
    scans = range(0, len(pool), max(1, -(-len(pool) // SCANS)))
    parts = world.map_ranks(lambda: _look(model, pool, world.share(scans), rule, progress))
    found = {index: seen for part in parts for index, seen in part.items()}
    ordered = [found[index] for index in scans]
    rows = max(sum(len(classes) for _, _, classes in ordered), 1)
    shares = sum(sums for sums, _, _ in ordered) / _ONE / rows
    bits = sum(entropy for _, entropy, _ in ordered) / SCORE_ONE / rows
    return Look(shares, float(bits / np.log2(max(rule.num_classes, 2))), [c for *_, c in ordered])


def _look(model, pool, scans, rule: InputRule, progress: Callable[[int, int], None]) -> dict:
    """Scan -> sums of probabilities and entropy in whole numbers, and the classes."""
    found = {}
    for done, index in enumerate(scans, start=1):
        logits = voxel_logits(model, pool.read(index, labels=False), rule)["prediction"]
        p = logits.float().softmax(1)
        sums = (p.double() * _ONE).round().sum(0).cpu().numpy()
        entropy = float((entropy_of(p) * SCORE_ONE).round().sum())
        found[index] = sums, entropy, p.argmax(1).to(torch.uint8).cpu().numpy()
        progress(done, len(scans))
    return found
