"""Train one run from its config: source-only, target-only, AL, ASFDA or ADA."""

from __future__ import annotations

import os
from contextlib import ExitStack

from annotator3d.engine.assembly import make_runner
from annotator3d.engine.build import pick_device
from annotator3d.engine.config.custom_imports import import_custom
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.config.unused import unused_values
from annotator3d.engine.context import RunContext
from annotator3d.engine.distributed import is_of_lost_process, joined, tell_launcher
from annotator3d.engine.preparation import prepare_run
from annotator3d.engine.record import RunRecord
from annotator3d.engine.rounds.online import refuse_several_processes
from annotator3d.engine.self_training import adapt_network, is_finished
from annotator3d.engine.training.adaptation import adapt_statistics
from annotator3d.engine.training.logs import backends
from annotator3d.engine.training.optim import describe_batch, optimiser
from annotator3d.engine.training.signals import StopSignal
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import RunPausedError, RunStoppedError
from annotator3d.reporter import Reporter


def train(
    config: RunConfig,
    work_dir: str | os.PathLike[str],
    *,
    resume: bool = False,
    data_root: str | None = None,
    reporter: Reporter | None = None,
    may_grow: bool = True,
) -> RunRecord:
    """Run `config` to its last epoch, or until a person has to answer (`WaitingForOracleError`).

    Started by torchrun or SLURM it is one of several processes of the run (`World`).

    Args:
        work_dir: gets the ledger, checkpoints, metrics, predictions of the rounds and run.json.
        resume: continue the run in `work_dir`. The result is that of the unbroken run, unless
            `config` has more rounds, more epochs or other budgets than it was started with.
        may_grow: allow that; False: refuse any other config.
        data_root: root of the target's and the validation dataset.

    Raises:
        ValueError, FileNotFoundError: bad config or input; nothing is written then.
        WaitingForOracleError: a round waits for a person.
        RunStoppedError: SIGTERM or Ctrl-C came; the place where training goes on has been saved.
    """
    device = pick_device(config.device)
    import_custom(config.custom_imports)  # a config made in another process
    optimiser(config.schedule, device)  # these refuse before any process waits for another
    backends(config.logs)
    with joined(device) as world, StopSignal() as stop:
        refuse_several_processes(config, world.size)
        try:
            with ExitStack() as stack:
                context = prepare_run(
                    stack,
                    config,
                    WorkDir(work_dir),
                    resume=resume,
                    data_root=data_root,
                    device=device,
                    world=world,
                    reporter=reporter if reporter is not None and world.is_first else Reporter(),
                    stop=stop,
                    may_grow=may_grow,
                )
                _run(context)
            return context.record
        except RunPausedError:
            raise
        except Exception as error:
            tell_launcher(error)
            if world.size > 1 and is_of_lost_process(error):
                raise RuntimeError(
                    "another process of this run has ended; what it printed says why"
                ) from error
            raise


def _run(context: RunContext) -> None:
    """Train to the end, and write in run.json how it ended."""
    record, ledger, world = context.record, context.ledger, context.world
    for line in describe_batch(context.config, world.size):
        context.reporter.info(line)
    for line in unused_values(context.config):
        context.reporter.info(f"warning: {line}")
    try:
        if context.resumed_at is None:
            _adapt(context)
        else:
            context.reporter.info(f"continuing from {context.resumed_at.file_name}")
        make_runner(context).train()
    except RunPausedError as pause:
        state = "stopped" if isinstance(pause, RunStoppedError) else "waiting"
        world.on_rank_zero(lambda: record.update(ledger, state))
        raise
    world.on_rank_zero(lambda: record.update(ledger, "done"))


def _adapt(context: RunContext) -> None:
    """Before round 1 of ASFDA and ADA: batch norm, then self-training, if the config says so."""
    trains = context.config.training.adapt.epochs > 0
    if not (trains and is_finished(context)):
        _adapt_batch_norm(context)
    if trains:
        adapt_network(context)


def _adapt_batch_norm(context: RunContext) -> None:
    config, reporter = context.config, context.stoppable_reporter
    if config.setting in ("asfda", "ada") and config.model.adapt_bn:
        adapt_statistics(
            context.model.to(context.device),
            context.pool,
            context.rule,
            context.world,
            lambda done, total: reporter.progress("adapting batch norm", done, total),
        )
