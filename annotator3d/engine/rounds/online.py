"""Online selection, as published: a scan is asked about within its own training step.

For comparison with the published numbers. The picks depend on the augmentation and on the order of
the scans, and not, as those of a round before its epoch, on weights, scan, ledger and seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from annotator3d.active.label_points import with_label_points
from annotator3d.active.oracle import answer_open_queries
from annotator3d.active.strategies import get_strategy
from annotator3d.data.batch import answer_labels, voxel_targets
from annotator3d.data.files import fingerprint
from annotator3d.data.scan import IGNORE, Scan, VoxelLabels, rows_of_cell
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.context import RunContext
from annotator3d.engine.rounds.hook import RoundHook
from annotator3d.engine.rounds.select_round import RoundPlan, queried_cells, select_in
from annotator3d.errors import ConfigError
from annotator3d.kernels.grouping import group_cells
from annotator3d.kernels.selection import VoxelPick
from annotator3d.ledger.ledger import ScanRecord

SOURCE = "online"  # what the ledger names as the origin of the scores of such a round


def refuse_several_processes(config: RunConfig, processes: int) -> None:
    """Raises ConfigError: a step of one process does not see what the others ask."""
    if config.is_active and config.active.when == "online" and processes > 1:
        raise ConfigError(
            f"active.when: online selection runs in one process, this run has {processes}; choose "
            "active.when=round, or start one process (schedule.accumulate keeps the batch as large)"
        )


class OnlineHook(RoundHook):
    """Rounds that are selected during their epochs instead of before them.

    In such an epoch each target batch is scored by its own forward pass, augmented and in train
    mode, and the picks are asked, answered and in the ledger before that step's loss, which has the
    new labels already. A scan that the ledger's round holds is not selected from again: an epoch
    that was cut short is repeated with the same labels.
    """

    def after_train_epoch(self, runner) -> None:
        network = runner.network
        if network.before_loss is not None:
            number = network.before_loss.plan.number
            network.before_loss, self.training.whole = None, False
            self._say_cost(self._answer(number))

    def _warn_of_no_label(self, rounds: int) -> None:
        """Nothing: the answers of a round come within its epoch."""

    def _run_round(self, number: int, epoch: int, model) -> None:
        """Open the round, and answer what it holds already; the steps do the rest."""
        active, plan = self.config.active, self._plan(number, epoch, model)
        if not self._is_known(plan):
            scans = len(range(0, len(self.context.pool), active.stride))
            self.ledger.add_round(
                plan.number,
                plan.strategy,
                plan.seed,
                budget=active.queries_per_scan,
                epoch=plan.epoch,
                source=SOURCE,
                queries={},
                planned=active.queries_per_scan * scans,
            )
        answer_open_queries(
            self.ledger, self.context.oracle, self._read, fingerprint=self._fingerprint
        )
        self.training.whole = True
        model.before_loss = OnlineRound(plan, self.context)

    def _source(self, strategy: str, model) -> str:
        return SOURCE


class OnlineRound:
    """`Segmentor.before_loss` in the epoch of a round.

    The ledger of `context` holds the round, with room; the batches have its answers so far.
    """

    def __init__(self, plan: RoundPlan, context: RunContext) -> None:
        self.plan, self.active, self.rule = plan, context.config.active, context.rule
        ledger, pool = context.ledger, context.pool
        self.ledger, self.pool, self.oracle = ledger, pool, context.oracle
        self.needs_model = get_strategy(self.active.strategy_called(plan.strategy)).needs_model
        self.asked = queried_cells(ledger, plan.number)  # by earlier rounds
        held = {query.scan for query in ledger.queries(plan.number)}
        self.to_ask = {scan for scan in pool.ids[:: self.active.stride] if scan not in held}

    def __call__(self, batch: dict, logits: Tensor) -> Tensor:
        """Ask about the scans of a batch, given its voxel logits [V, C]; the new targets [V]."""
        picks = {
            scan.id: self._pick(batch, b, logits)
            for b, scan in enumerate(batch["scans"])
            if scan.id in self.to_ask
        }
        answers = self._ask(picks, {scan.id: scan for scan in batch["scans"]}) if picks else {}
        target = batch["target"].clone()
        for b, scan in enumerate(batch["scans"]):
            if scan.id in answers:
                self._put(target, batch, b, answers[scan.id])
        return target

    def _pick(self, batch: dict, b: int, logits: Tensor) -> list[VoxelPick]:
        """On the raw grid of the scan; a point has the logits of its augmented network voxel."""
        scan, scores = batch["scans"][b], {}
        if self.needs_model:
            voxels, rows = _scan_of(batch, b)
            scores = {"prediction": logits[voxels].float(), "rows": rows}
        picks = select_in(scan, scores, self.plan, self.active, self.asked).picks
        number, seed = self.active.num_label_points, self.plan.seed
        return [with_label_points(pick, number, seed, scan.id) for pick in picks]

    def _ask(
        self, picks: Mapping[str, Sequence[VoxelPick]], scans: Mapping[str, Scan]
    ) -> dict[str, list[VoxelLabels]]:
        """Write the picks in one transaction, then the answers, which are given by scan."""
        files = {scan: self.pool.path(self.pool.index(scan)) for scan in picks}
        self.ledger.register_scans(
            ScanRecord(scan, fingerprint(path), scans[scan].num_raw) for scan, path in files.items()
        )
        answers: dict[str, list[VoxelLabels]] = {scan: [] for scan in picks}
        for query in self.ledger.fill_round(self.plan.number, picks):
            scan = scans[query.scan]
            rows = rows_of_cell(scan.xyz, query.cell, self.active.voxel_size)
            answer = self.oracle.answer(query, scan, query.asked_of(rows))
            self.ledger.record(query.id, answer)
            labels = query.voxel_labels(answer.labels)
            answers[query.scan].append(VoxelLabels(query.cell, labels, query.round))
        self.to_ask -= picks.keys()
        return answers

    def _put(self, target: Tensor, batch: dict, b: int, answers: Sequence[VoxelLabels]) -> None:
        """Write the targets of the network voxels that hold newly labelled points of a scan."""
        new = answer_labels(batch["scans"][b], answers, self.active.voxel_size)
        given = new != IGNORE
        if not given.any():
            return
        labels = torch.from_numpy(np.where(given, new, batch["labels"][b])).to(target.device)
        voxels, rows = _scan_of(batch, b)
        touched = rows[torch.from_numpy(given).to(rows.device)].unique()
        if self.rule.target_by_first:
            first = batch["first"][voxels][touched] - int(batch["num_points"][:b].sum())
            target[touched + voxels.start] = labels[first].long()
            return
        points = torch.isin(rows, touched).nonzero()[:, 0]
        number = rows[points].int()
        group = group_cells(torch.nn.functional.pad(number[:, None], (0, 2)))
        where = group.cells[:, 0].long() + voxels.start
        target[where] = voxel_targets(labels[points], group, self.rule)


def _scan_of(batch: dict, b: int) -> tuple[slice, Tensor]:
    """Scan b of a batch: its rows among the voxels, and the voxel of each point counted in them."""
    start, stop = batch["splits"][b : b + 2].tolist()
    before = int(batch["num_points"][:b].sum())
    points = slice(before, before + int(batch["num_points"][b]))
    return slice(start, stop), batch["point_to_voxel"][points] - start
