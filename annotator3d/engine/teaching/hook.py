"""The hook that lets answers and predictions teach: before each epoch for which they are new."""

from __future__ import annotations

from annotator3d._mmengine import Hook
from annotator3d.data.batch import TrainingScans
from annotator3d.engine.context import RunContext
from annotator3d.engine.teaching.audit import Teachings, warning_of, write_record
from annotator3d.engine.teaching.renew import Teaching
from annotator3d.ledger.digest import labels_digest


class TeachingHook(Hook):
    """Hands what is taught to the training scans. It comes after the hook of the rounds.

    It follows from the labels, the scans, their poses and what rounds predicted alone, so nothing
    of it is kept in the ledger.

    Args:
        training: the scans whose answers the hook of the rounds has set.
    """

    def __init__(self, context: RunContext, training: TrainingScans, teaching: Teaching) -> None:
        self.context, self.training, self.teaching = context, training, teaching
        self._taught_of = 0, ""  # the newest round and the digest of the answers

    def before_train_epoch(self, runner) -> None:
        answers, world = self.training.answers, self.context.world
        if not answers:
            return
        digest = labels_digest((scan, v) for scan in sorted(answers) for v in answers[scan])
        rounds = sum(at <= runner.epoch for at in self.context.config.active.rounds_at)
        if (rounds, digest) == self._taught_of:
            return
        context, ledger = self.context, self.context.ledger
        reporter = context.stoppable_reporter
        found = self.teaching.renew(
            answers,
            world.on_rank_zero(lambda: dict(ledger.to_current)),
            lambda done, total: reporter.progress("what answers teach", done, total),
            world,
            rounds,
        )
        self.training.taught, self._taught_of = found.files, (rounds, digest)
        self._tell(found, rounds)

    def _tell(self, found: Teachings, rounds: int) -> None:
        """Say and keep what these rounds have taught."""
        context, ids = self.context, self.context.pool.ids
        number = sum(map(len, self.training.answers.values()))
        for line in found.describe(number):
            context.reporter.info(f"round {rounds}: {line}")
        if misfits := found.misfits(ids):
            context.reporter.info(warning_of(misfits))
        record = found.record(context.datasets.taxonomy.names, number, ids)
        path = context.work_dir.teachings(rounds)
        context.world.on_rank_zero(lambda: write_record(path, record))
