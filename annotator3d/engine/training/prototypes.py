"""Prototypes: the mean features of the points of each class of the source.

A source training leaves them in its last checkpoint, under a key of their own beside the weights,
so that a run without source data has them (ASFDA); with the source (ADA), each round computes them
by its network. Source: DDAL, whose SPGDS compares points of the target with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from annotator3d._mmengine import Hook
from annotator3d.active.evidence import FEATURES, PROTOTYPES
from annotator3d.active.exact import scale_of, whole_numbers
from annotator3d.active.strategies import get_strategy
from annotator3d.data.batch import InputRule
from annotator3d.data.scan import IGNORE, Scan
from annotator3d.engine.config.schema import ActiveConfig
from annotator3d.engine.context import RunContext
from annotator3d.engine.distributed import World
from annotator3d.engine.prediction import strategy_inputs
from annotator3d.engine.training.adaptation import PARTS
from annotator3d.engine.training.averaging import scoring_weights
from annotator3d.errors import ConfigError
from annotator3d.models.segmentor import gives_features

KEY = "prototypes"
"""In a checkpoint: [C, D] float32, NaN for a class without points."""
SCANS = 1_000  # are looked at, evenly spaced
_BITS = 20  # of the largest feature in a sum


def source_prototypes(
    model,
    source,
    rule: InputRule,
    world: World,
    progress: Callable[[int, int], None],
) -> Tensor:
    """[C, D] float32 on CPU: the mean features of the points of each class, NaN where no scan that
    is looked at has any. The same bits for any number of processes."""
    scans = range(0, len(source), max(1, -(-len(source) // SCANS)))
    found = world.map_ranks(lambda: _sums_of_parts(model, source, scans, rule, world, progress))
    parts = {part: sums for share in found for part, sums in share.items()}
    sums = sum(parts[part][0] for part in sorted(parts))
    points = sum(parts[part][1] for part in sorted(parts))
    return (sums / points[:, None]).float()  # 0 / 0 is NaN


def _sums_of_parts(
    model,
    source,
    scans: Sequence[int],
    rule: InputRule,
    world: World,
    progress: Callable[[int, int], None],
) -> dict[int, tuple[Tensor, Tensor]]:
    """Part -> sums [C, D] of the features, points [C]; see `adaptation.PARTS`."""
    mine = [part for part in world.share(range(PARTS)) if part < len(scans)]
    done, total = 0, sum(len(scans[part::PARTS]) for part in mine)
    found = {}
    for part in mine:
        sums, points = 0, 0
        for index in scans[part::PARTS]:
            in_scan = _sums_of_scan(model, source.read(index), rule)
            sums, points = sums + in_scan[0], points + in_scan[1]
            done += 1
            progress(done, total)
        found[part] = sums, points
    return found


def _sums_of_scan(model, scan: Scan, rule: InputRule) -> tuple[Tensor, Tensor]:
    """Sums [C, D] of the features of the points of each class, and their numbers [C], float64."""
    labels = torch.from_numpy(scan.labels).long()
    known = labels != IGNORE
    if not known.any():
        return torch.zeros(()), torch.zeros(rule.num_classes, dtype=torch.float64)
    found = strategy_inputs(model, scan, rule, (FEATURES,))
    features = found["features"].cpu().numpy()
    cells = found["rows"].cpu()[known] * rule.num_classes + labels[known]
    counts = cells.bincount(minlength=len(features) * rule.num_classes).double()
    counts = counts.view(-1, rule.num_classes)
    scale = scale_of(features, bits=_BITS)
    (whole,) = whole_numbers(features, scale=scale)  # no number of threads changes their sums
    return counts.T @ torch.from_numpy(whole) / scale, counts.sum(0)


class PrototypesHook(Hook):
    """Computes the prototypes at the end of a source training, and keeps those of a run in its
    checkpoints."""

    def __init__(self, context: RunContext) -> None:
        self.context = context

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self.context.prototypes = prototypes_in(checkpoint, "the checkpoint")

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if self.context.prototypes is not None:
            checkpoint[KEY] = self.context.prototypes

    def after_train_epoch(self, runner) -> None:
        context = self.context
        is_last = runner.epoch + 1 == runner.max_epochs
        if context.config.setting != "source_only" or not is_last:
            return
        if not gives_features(runner.network.backbone):
            return
        reporter = context.reporter
        with scoring_weights(runner):
            context.prototypes = source_prototypes(
                runner.network,
                context.datasets.source,
                context.rule,
                context.world,
                lambda done, total: reporter.progress("prototypes of the source", done, total),
            )


def needs_prototypes(active: ActiveConfig) -> bool:
    return PROTOTYPES in get_strategy(active.strategy).needs


def needed_prototypes(content: dict, path: str | Path) -> Tensor:
    """Those in what `read_checkpoint` has read of a file.

    Raises ConfigError where it holds none, and otherwise as `prototypes_in`.
    """
    found = prototypes_in(content, path)
    if found is None:
        raise ConfigError(
            f"{path} holds no prototypes, the mean features of the source's classes, which the "
            "last checkpoint of a source_only training holds since they are computed there: take "
            "that one, or train the source one epoch longer (--resume --set schedule.epochs=N), or "
            "choose another active.strategy"
        )
    return found


def prototypes_in(content: dict, path: str | Path) -> Tensor | None:
    """Those of a checkpoint; None where it holds none. Raises ValueError for what is none."""
    found = content.get(KEY)
    if found is None:
        return None
    if not isinstance(found, Tensor) or found.dim() != 2 or not found.is_floating_point():
        raise ValueError(f"{path}: expected {KEY} [C, D] of floats, got {type(found).__name__}")
    return found.float().cpu()
