"""Train one run from its config: source-only, target-only, AL, ASFDA or ADA."""

from __future__ import annotations

import os
from contextlib import ExitStack

import torch

from annotator3d.active.oracle import Oracle, get_oracle
from annotator3d.engine.build import build_model, load_weights, pick_device, read_weights
from annotator3d.engine.class_list import with_current_classes
from annotator3d.engine.config.custom_imports import import_custom
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.context import RunContext, make_runner
from annotator3d.engine.datasets import Datasets, open_datasets
from annotator3d.engine.distributed import World, is_of_lost_process, joined, tell_launcher
from annotator3d.engine.record import RunRecord
from annotator3d.engine.rounds.online import refuse_several_processes
from annotator3d.engine.training.adaptation import adapt_statistics
from annotator3d.engine.training.checkpoints import Checkpoints, Place
from annotator3d.engine.training.logs import backends
from annotator3d.engine.training.optim import describe_batch, optimiser
from annotator3d.engine.training.signals import StoppableReporter, StopSignal
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError, RunPausedError, RunStoppedError
from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.models.segmentor import Segmentor
from annotator3d.reporter import Reporter


def train(
    config: RunConfig,
    work_dir: str | os.PathLike[str],
    *,
    resume: bool = False,
    data_root: str | None = None,
    reporter: Reporter | None = None,
) -> RunRecord:
    """Run `config` to its last epoch, or until a person has to answer (`WaitingForOracleError`).

    Started by torchrun or SLURM it is one of several processes of the run (`World`).

    Args:
        work_dir: gets the ledger, checkpoints, metrics, predictions of the rounds and the run card.
        resume: continue the run in `work_dir`. The result is that of the unbroken run.
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
        reporter = reporter if reporter is not None and world.is_first else Reporter()
        try:
            return _train(
                config, WorkDir(work_dir), resume, data_root, device, world, reporter, stop
            )
        except RunPausedError:
            raise
        except Exception as error:
            tell_launcher(error)
            if world.size > 1 and is_of_lost_process(error):
                raise RuntimeError(
                    "another process of this run has ended; what it printed says why"
                ) from error
            raise


def _train(
    config: RunConfig,
    work_dir: WorkDir,
    resume: bool,
    data_root: str | None,
    device: torch.device,
    world: World,
    reporter: Reporter,
    stop: StopSignal,
) -> RunRecord:
    if resume:
        config = world.on_rank_zero(lambda: with_current_classes(config, work_dir, data_root))
    stoppable = StoppableReporter(reporter, stop)
    files = Checkpoints(work_dir.checkpoints, config.schedule.keep_checkpoints)
    found = world.on_rank_zero(lambda: files.newest(world.size, reporter.info) if resume else None)
    weights = world.on_all_ranks(lambda: None if found else _initial_weights(config))
    known = world.on_rank_zero(lambda: work_dir.known_scans() if resume else [])
    datasets = _open_datasets(config, data_root, stoppable, world, known)
    oracle = world.on_all_ranks(lambda: _oracle(config, datasets.taxonomy.names))
    torch.manual_seed(config.seed)
    model = build_model(config, datasets.taxonomy.num_classes)
    if weights is not None:
        world.on_all_ranks(lambda: load_weights(model, weights, config.init))
    record = RunRecord(work_dir, config, datasets.taxonomy.names)
    world.on_rank_zero(lambda: record.check_start(resume))
    with ExitStack() as stack:
        ledger = world.on_all_ranks(
            lambda: (
                _begin(stack, record, model, datasets, files, device, world)
                if world.is_first
                else None
            )
        )
        world.on_all_ranks(record.check_shared)
        for line in describe_batch(config, world.size):
            reporter.info(line)
        context = RunContext(
            config,
            record,
            datasets,
            model,
            ledger,
            oracle,
            files,
            device,
            world,
            reporter,
            stoppable,
            stop,
        )
        try:
            _run(context, found)
        except RunPausedError as pause:
            state = "stopped" if isinstance(pause, RunStoppedError) else "waiting"
            world.on_rank_zero(lambda: record.update(ledger, state))
            raise
        world.on_rank_zero(lambda: record.update(ledger, "done"))
    return record


def _run(context: RunContext, found: Place | None) -> None:
    config = context.config
    if found is None and config.setting in ("asfda", "ada") and config.model.adapt_bn:
        adapt_statistics(
            context.model.to(context.device),
            context.datasets.pool,
            context.rule,
            context.world,
            lambda done, total: context.stoppable.progress("adapting batch norm", done, total),
        )
    runner = make_runner(context)
    if found is not None:
        runner._load_from, runner._resume = str(context.files.path(found)), True
        context.reporter.info(f"continuing from {found.file_name}")
    runner.train()


def _begin(
    stack: ExitStack,
    record: RunRecord,
    model: Segmentor,
    datasets: Datasets,
    files: Checkpoints,
    device: torch.device,
    world: World,
) -> Ledger | None:
    """Take the work directory, for rank 0: others are kept out, the card written, the ledger open.

    `stack` gives it back.
    """
    stack.enter_context(record.work_dir.lock())
    record.start(model, datasets.named(), device, world.size)
    files.clear_parts()
    if not record.config.is_active:
        return None
    taxonomy, size = datasets.taxonomy, record.config.active.voxel_size
    ledger = Ledger.open(record.work_dir.ledger_path, taxonomy.names, taxonomy.digest(), size)
    return stack.enter_context(ledger)


def _open_datasets(
    config: RunConfig,
    data_root: str | None,
    reporter: Reporter,
    world: World,
    known: list[ScanRecord],
) -> Datasets:
    """One process of each machine first: it makes what is not there yet."""
    opened = None
    for turn in (world.local == 0, world.local != 0):
        opened = world.on_all_ranks(
            lambda opened=opened, turn=turn: (
                open_datasets(config, data_root, reporter, known) if turn else opened
            )
        )
    if world.size > 1:
        named = {f"data.{name}": data.fingerprint() for name, data in opened.named().items()}
        world.check_same("the datasets", named, "give every machine the same files")
    return opened


def _oracle(config: RunConfig, classes: list[str]) -> Oracle | None:
    if not config.is_active:
        return None
    try:
        return get_oracle(config.active.oracle, seed=config.seed, class_names=classes)
    except ConfigError as error:
        raise ConfigError(f"active.oracle.{error}") from error


def _initial_weights(config: RunConfig) -> dict | None:
    if config.init is None:
        if config.setting in ("asfda", "ada"):
            raise ConfigError(
                f"init: {config.setting} starts from a source checkpoint and none is given; train "
                "one with a source_only config and pass --init WORK_DIR/checkpoints/epoch_N.pth"
            )
        return None
    if config.setting == "al":
        raise ConfigError("init: al starts from nothing; from a source checkpoint, that is asfda")
    return read_weights(config.init)
