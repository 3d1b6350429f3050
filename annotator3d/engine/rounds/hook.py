"""The hook that makes training active: select, ask, and hand the answers to the training scans."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from annotator3d._mmengine import Hook
from annotator3d.active.evidence import PROTOTYPES
from annotator3d.active.oracle import answer_open_queries
from annotator3d.active.outlook import Unlearnt, in_words, unlearnt
from annotator3d.active.pool_predictions import read
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.strategies import get_strategy
from annotator3d.data.batch import TrainingScans
from annotator3d.data.files import fingerprint
from annotator3d.engine.context import RunContext
from annotator3d.engine.continuation import BUDGET
from annotator3d.engine.prediction import strategy_inputs
from annotator3d.engine.rounds.select_round import RoundPlan, Selected, select_round
from annotator3d.engine.training.averaging import scoring_weights
from annotator3d.engine.training.prototypes import source_prototypes
from annotator3d.engine.training.weights_file import digest_of
from annotator3d.errors import RunPausedError, count
from annotator3d.ledger.describe import describe_disputed
from annotator3d.ledger.digest import labels_digest
from annotator3d.ledger.effort import RoundCost, round_cost
from annotator3d.ledger.ledger import Round
from annotator3d.ledger.records import has_labels


class WaitingForOracleError(RunPausedError):
    """Training cannot go on until a person has answered the queries or closed the round."""

    def __init__(self, round: int, open_queries: int, asked: int) -> None:
        super().__init__(round, open_queries, asked)
        self.round, self.open_queries, self.asked = round, open_queries, asked

    def __str__(self) -> str:
        return f"round {self.round}: {self.open_queries} of {self.asked} voxels wait for an answer"


def weights_digest(model) -> str:
    """Name of a network's weights, for the ledger."""
    return digest_of(model.state_dict())


class RoundHook(Hook):
    """Before each epoch: make sure that its round exists and is answered, then set the labels.

    A round that the ledger holds is not selected again. An epoch trains on the answers of the
    rounds scheduled at or before it, so falling back to an older checkpoint replays the same
    training.

    Args:
        context: of an active run; its ledger is open for writing on rank 0.
        training: the scans that get the labels.
    """

    def __init__(self, context: RunContext, training: TrainingScans) -> None:
        self.context, self.training = context, training
        self.config, self.ledger, self.world = context.config, context.ledger, context.world
        self._warned, self._told_unlearnt = False, []

    def before_train(self, runner) -> None:
        self.world.on_rank_zero(lambda: self._check_checkpoint(runner.epoch))

    def _check_checkpoint(self, epoch: int) -> None:
        """Refuse a checkpoint whose rounds the ledger does not hold: it would train unlabelled."""
        known = {r.number for r in self.ledger.rounds()}
        for number, at in enumerate(self.config.active.rounds_at, start=1):
            if at < epoch and number not in known:
                raise ValueError(
                    f"the checkpoint has finished {count(epoch, 'epoch')}, but "
                    f"{self.ledger.path} does not "
                    f"hold round {number} of epoch {at}; restore the ledger, or begin again in "
                    "another --work-dir"
                )

    def before_train_epoch(self, runner) -> None:
        epoch, schedule = runner.epoch, self.config.active.rounds_at
        if epoch in schedule:
            with scoring_weights(runner):
                self._run_round(schedule.index(epoch) + 1, epoch, runner.network)
        finished = sum(at <= epoch for at in schedule)
        self.training.answers = self.world.on_rank_zero(
            lambda: self.ledger.labels_by_scan(up_to_round=finished)
        )
        self._warn_of_no_label(finished)
        self.check_labels()

    def _warn_of_no_label(self, rounds: int) -> None:
        """Say, once until there is one, that the answers so far teach nothing."""
        nothing = rounds > 0 and not has_labels(self.training.answers)
        if nothing and not self._warned:
            source = "; the source alone is" if self.config.setting == "ada" else ""
            self.context.reporter.info(
                f"warning: no point has a class from the answers up to round {rounds}: nothing is "
                f"learnt from them{source}. Answers that come later count from the next epoch on"
            )
        self._warned = nothing

    def check_labels(self) -> None:
        """All ranks train on the same labels, or not at all."""
        if self.world.size == 1:
            return
        digests = {
            scan: labels_digest((scan, entry) for entry in entries)
            for scan, entries in self.training.answers.items()
        }
        self.world.check_same("the labels", digests, "start the run again with --resume")

    def _run_round(self, number: int, epoch: int, model) -> None:
        plan = self._plan(number, epoch, model)
        self.world.check_same(
            "the weights", {"the network": plan.source}, "start the run again with --resume"
        )
        if not self.world.on_rank_zero(lambda: self._is_known(plan)):
            if number > 1 and plan.strategy != self.config.active.strategy_name:
                self.context.reporter.info(
                    f"round {number}: no point has a class yet, so it is selected as round 1 was"
                )
            selected = self._select(plan, model)
            if words := str(selected.left_out):
                self.context.reporter.info(f"round {number}: {words}")
            self.context.reporter.info(
                f"round {number}: {plan.strategy} asks about {count(selected.voxels, 'voxel')}"
                f"{_kept(self.context.work_dir.rounds / str(number))}"
            )
            if decision := self.world.on_rank_zero(lambda: self.ledger.round_decision(number)):
                self.context.reporter.info(f"round {number}: {decision}")
        self._say_cost(self.world.on_rank_zero(lambda: self._answer(number)))
        self._warn_of_unlearnt(self.world.on_rank_zero(lambda: self._unlearnt(number)))
        if disputed := self.world.on_rank_zero(lambda: self._disputed(number)):
            words = describe_disputed(disputed, self.context.work_dir)
            self.context.reporter.info(f"not trained on: {words}")

    def _select(self, plan: RoundPlan, model) -> Selected:
        context, reporter = self.context, self.context.stoppable_reporter
        return select_round(
            self.ledger,
            context.pool,
            plan,
            self.config.active,
            self._scorer(plan.strategy, model),
            context.work_dir.rounds,
            lambda step, *counts: reporter.progress(f"round {plan.number}: {step}", *counts),
            self.world,
        )

    def _unlearnt(self, number: int) -> list[Unlearnt]:
        """Classes that no answer up to this round holds."""
        return unlearnt(self.ledger, read(self.context.work_dir.rounds, number), number)

    def _warn_of_unlearnt(self, missing: list[Unlearnt]) -> None:
        """Say which classes will not be learnt, when they are others than the last time."""
        names = [each.name for each in missing]
        if names != self._told_unlearnt and missing:
            self.context.reporter.info(f"warning: {in_words(missing)}")
        self._told_unlearnt = names

    def _disputed(self, number: int) -> int:
        """Number of disputed voxels of rounds up to this one, which are not trained on."""
        return sum(query.round <= number for query in self.ledger.disputed_queries())

    def _say_cost(self, cost: RoundCost) -> None:
        self.context.reporter.info(
            f"round {cost.round}: {count(cost.voxels, 'voxel')} asked "
            f"({count(cost.points, 'point')}), {cost.answered:,} answered "
            f"({count(cost.labelled_points, 'point')} with a class, "
            f"{count(cost.void_voxels, 'voxel')} void, "
            f"{cost.classes_per_voxel:.1f} classes per voxel)"
        )

    def _answer(self, number: int) -> RoundCost:
        """Let the oracle answer the open queries.

        Raises:
            WaitingForOracleError: it leaves queries open, in a round that nobody has closed.
        """
        answer_open_queries(
            self.ledger, self.context.oracle, self._read, fingerprint=self._fingerprint
        )
        for round in range(1, number + 1):
            waiting = 0 if self.ledger.is_closed(round) else len(self.ledger.open_queries(round))
            if waiting:
                raise WaitingForOracleError(round, waiting, self.ledger.spent(round))
        return round_cost(self.ledger, number)

    def _is_known(self, plan: RoundPlan) -> bool:
        """Whether the ledger holds the round; ValueError if it is not the one of this run."""
        known = {r.number: r for r in self.ledger.rounds()}
        if plan.number not in known:
            return False
        self._check_round(known[plan.number], plan)
        return True

    def _check_round(self, found: Round, plan: RoundPlan) -> None:
        """A round in the ledger must be the one that this run would have asked."""
        active = self.config.active
        wanted = {
            "strategy": plan.strategy,
            "seed": plan.seed,
            "budget": active.queries_per_scan,
            "max_queries": active.max_queries,
            "epoch": plan.epoch,
        }
        if active.budget_hours is not None and found.max_queries is not None:
            del wanted["max_queries"]  # was computed from the answers at that time
        if self.context.record.has_changed(BUDGET):  # it was asked before that
            wanted = {k: v for k, v in wanted.items() if k not in ("budget", "max_queries")}
        if plan.number > 1 and found.strategy == active.first_name and self._starts_otherwise():
            del wanted["strategy"]  # selected when there was no label yet
        for name, value in wanted.items():
            if getattr(found, name) != value:
                raise ValueError(
                    f"{self.ledger.path} holds a round {plan.number} with {name} "
                    f"{getattr(found, name)}, this run has {value}; train with the settings that "
                    "it was selected with, or choose another --work-dir"
                )

    def _plan(self, number: int, epoch: int, model) -> RoundPlan:
        config = self.config
        first = self._starts_otherwise() and not self.world.on_rank_zero(
            lambda: has_labels(self.ledger.labels_by_scan(up_to_round=number - 1))
        )
        strategy = config.active.first_name if first else config.active.strategy_name
        source = self._source(strategy, model)
        taxonomy = self.world.on_rank_zero(lambda: self.ledger.taxonomy_version)
        classes = self.context.rule.num_classes
        rounds = len(config.active.rounds_at)
        return RoundPlan(number, epoch, strategy, config.seed, source, classes, taxonomy, rounds)

    def _starts_otherwise(self) -> bool:
        """Whether another strategy selects as long as the network has learnt nothing."""
        return self.config.setting == "al" and self.config.active.first_round != "self"

    def _strategy(self, name: str) -> QueryStrategy:
        return get_strategy(self.config.active.strategy_called(name))

    def _source(self, strategy: str, model) -> str:
        return weights_digest(model) if self._strategy(strategy).needs_model else "none"

    def _scorer(self, name: str, model):
        strategy = self._strategy(name)
        if not strategy.needs_model:
            return lambda scan: {}
        rule = self.context.rule
        prototypes = self._prototypes(strategy, model)
        return lambda scan: strategy_inputs(model, scan, rule, strategy.needs, prototypes)

    def _prototypes(self, strategy: QueryStrategy, model) -> Tensor | None:
        """Where the source is there (ADA), those of the network as it is now."""
        context, reporter = self.context, self.context.stoppable_reporter
        if PROTOTYPES in strategy.needs and context.datasets.source is not None:
            context.prototypes = source_prototypes(
                model,
                context.datasets.source,
                context.rule,
                self.world,
                lambda done, total: reporter.progress("prototypes of the source", done, total),
            )
        return context.prototypes

    def _read(self, scan_id: str):
        pool = self.context.pool
        return pool.read(pool.index(scan_id))

    def _fingerprint(self, scan_id: str) -> str:
        pool = self.context.pool
        return fingerprint(pool.path(pool.index(scan_id)))


def _kept(folder: Path) -> str:
    """How much is stored for the viewer, in words."""
    sizes = [path.stat().st_size for path in folder.glob("*.npz")]
    if not sizes:
        return ""
    return (
        f"; {sum(sizes) / 1e6:.1f} MB kept for the viewer in {folder} ({count(len(sizes), 'scan')})"
    )
