"""The hook that makes training active: select, ask, and hand the answers to the training scans."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from annotator3d.active.ledger import Ledger, Round
from annotator3d.active.meters import meter_round
from annotator3d.active.oracles import answer_open_queries
from annotator3d.active.strategies import get_strategy
from annotator3d.data.batch import InputRule, RawScans, TrainingScans, collate
from annotator3d.data.files import fingerprint
from annotator3d.engine.config import RunConfig
from annotator3d.engine.scoring import point_scores
from annotator3d.engine.screen import Screen
from annotator3d.engine.selection import RoundPlan, select_round
from annotator3d.mm import Hook


class WaitingForOracle(Exception):  # noqa: N818 - not an error: the run goes on later
    """Training cannot go on before a person has answered."""

    def __init__(self, open_queries: int) -> None:
        self.open_queries = open_queries
        super().__init__(f"{open_queries} voxels wait for an answer")


def weights_digest(model) -> str:
    """Name of a network's weights: ``blake2b:<hex>`` of its state dict."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return f"blake2b:{digest.hexdigest()}"


class RoundHook(Hook):
    """Before each epoch: make sure that its round exists and is answered, then set the labels.

    A round that the ledger holds is not selected again. An epoch trains on the answers of the
    rounds scheduled at or before it, so falling back to an older checkpoint replays the same
    training.

    Args:
        ledger: open for writing.
        pool: dataset of the target's training scans.
        training: what the labels are handed to.
        oracle: who answers.
        folder: where the predictions of each round are kept.
        screen: what the user sees.
    """

    def __init__(
        self,
        config: RunConfig,
        ledger: Ledger,
        pool,
        training: TrainingScans,
        oracle,
        rule: InputRule,
        folder: Path,
        screen: Screen,
    ) -> None:
        self.config, self.ledger, self.pool, self.training = config, ledger, pool, training
        self.oracle, self.rule, self.folder, self.screen = oracle, rule, folder, screen

    def before_train(self, runner) -> None:
        """Refuse a checkpoint whose rounds the ledger does not hold: it would train unlabelled."""
        known = {r.number for r in self.ledger.rounds()}
        for number, at in enumerate(self.config.active.rounds_at, start=1):
            if at < runner.epoch and number not in known:
                raise ValueError(
                    f"the checkpoint has finished {runner.epoch} epochs, but {self.ledger.path} "
                    f"does not hold round {number} of epoch {at}; restore the ledger, or begin "
                    "again in another --work-dir"
                )

    def before_train_epoch(self, runner) -> None:
        epoch, schedule = runner.epoch, self.config.active.rounds_at
        if epoch in schedule:
            self._run_round(schedule.index(epoch) + 1, epoch, runner.model)
        finished = sum(at <= epoch for at in schedule)
        self.training.answers = self.ledger.labels_by_scan(up_to_round=finished)

    def _run_round(self, number: int, epoch: int, model) -> None:
        known = {r.number: r for r in self.ledger.rounds()}
        plan = self._plan(number, epoch, model)
        if number in known:
            self._check_round(known[number], plan)
        else:
            asked = select_round(
                self.ledger,
                self.pool,
                plan,
                self.config.active,
                self._scorer(plan.strategy, model),
                self.folder,
                lambda done, total: self.screen.progress(f"round {number}: selecting", done, total),
            )
            self.screen.say(f"round {number}: {plan.strategy} asks about {asked} voxels")
        answer_open_queries(self.ledger, self.oracle, self._read, fingerprint=self._fingerprint)
        still_open = len(self.ledger.open_queries())
        if still_open:
            raise WaitingForOracle(still_open)
        cost = meter_round(self.ledger, number)
        self.screen.say(
            f"round {number}: {cost.points} points asked, {cost.labelled_points} with a class, "
            f"{cost.void_voxels} voxels void, {cost.classes_per_voxel:.1f} classes a voxel"
        )

    def _check_round(self, found: Round, plan: RoundPlan) -> None:
        """A round in the ledger must be the one that this run would have asked."""
        active = self.config.active
        wanted = {
            "strategy": plan.strategy,
            "seed": plan.seed,
            "budget": active.budget,
            "max_queries": active.max_queries,
            "epoch": plan.epoch,
        }
        for name, value in wanted.items():
            if getattr(found, name) != value:
                raise ValueError(
                    f"{self.ledger.path} holds a round {plan.number} with {name} "
                    f"{getattr(found, name)}, this run has {value}; train with the settings that "
                    "it was selected with, or choose another --work-dir"
                )

    def _plan(self, number: int, epoch: int, model) -> RoundPlan:
        config = self.config
        first = number == 1 and config.setting == "al" and config.active.first_round == "random"
        strategy = "random" if first else config.active.strategy
        scored = get_strategy(strategy).needs_model
        source = weights_digest(model) if scored else "none"
        return RoundPlan(number, epoch, strategy, config.seed, source, self.rule.num_classes)

    def _scorer(self, strategy: str, model):
        if not get_strategy(strategy).needs_model:
            return lambda scan: {}
        return lambda scan: {"logits": point_scores(model, scan, self.rule)}

    def _read(self, scan_id: str):
        return self.pool.read(self.pool.index(scan_id))

    def _fingerprint(self, scan_id: str) -> str:
        return fingerprint(self.pool.path(self.pool.index(scan_id)))


class AdaptHook(Hook):
    """Before round 1 of ASFDA and ADA: batch-norm statistics of the target, without its labels."""

    priority = "HIGH"

    def __init__(self, pool, rule: InputRule, screen: Screen) -> None:
        self.pool, self.rule, self.screen = pool, rule, screen

    def before_train(self, runner) -> None:
        # A resumed run has its statistics from the checkpoint; no batch would leave none at all.
        if runner.iter == 0 and self._has_points():
            torch.optim.swa_utils.update_bn(self._batches(runner.model), runner.model)

    def _has_points(self) -> bool:
        return any(len(self.pool.read(i, labels=False)) for i in range(len(self.pool)))

    def _batches(self, model):
        scans = RawScans(self.pool, self.rule)
        for index in range(len(scans)):
            self.screen.progress("adapting batch norm", index + 1, len(scans))
            sample = scans[index]
            if len(sample["cells"]):
                yield model.data_preprocessor(collate([sample]), False)
