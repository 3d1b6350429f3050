"""From a checked config to the context of a run, on which all its processes agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import torch

from annotator3d.active.oracle import Oracle, get_oracle
from annotator3d.engine.build import build_mix, build_model
from annotator3d.engine.class_list import with_current_classes
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.context import RunContext
from annotator3d.engine.continuation import Change, check_start
from annotator3d.engine.datasets import Datasets, open_datasets
from annotator3d.engine.distributed import World
from annotator3d.engine.record import RunRecord
from annotator3d.engine.training.checkpoint_file import load_weights, read_checkpoint
from annotator3d.engine.training.checkpoints import Checkpoints
from annotator3d.engine.training.identity import identity_in, initial_weights
from annotator3d.engine.training.input_statistics import measure_input
from annotator3d.engine.training.known_classes import rows_by_name
from annotator3d.engine.training.prototypes import (
    needed_prototypes,
    needs_prototypes,
    prototypes_in,
)
from annotator3d.engine.training.signals import StoppableReporter, StopSignal
from annotator3d.engine.training.trial import try_one_step
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.records import ScanRecord
from annotator3d.models.segmentor import Segmentor
from annotator3d.reporter import Reporter


def prepare_run(
    stack: ExitStack,
    config: RunConfig,
    work_dir: WorkDir,
    *,
    resume: bool,
    data_root: str | None,
    device: torch.device,
    world: World,
    reporter: Reporter,
    stop: StopSignal,
    may_grow: bool,
) -> RunContext:
    """Open all that a run needs and write that it has started; every rank calls it.

    Args:
        stack: closes the ledger and gives the work directory back.
        may_grow: see `continuation.check_start`.

    Raises as `run.train`.
    """
    checkpoints = Checkpoints(work_dir.checkpoints, config.schedule.keep_checkpoints)
    resumed_at, known = None, []
    if resume:
        data_root = data_root or world.on_rank_zero(lambda: work_dir.known_data_root(config))
        config = world.on_rank_zero(lambda: with_current_classes(config, work_dir, data_root))
        resumed_at, known = world.on_rank_zero(
            lambda: (checkpoints.newest(world.size, reporter.info), work_dir.known_scans())
        )
    check = partial(check_start, work_dir, config, trained=resumed_at, may_grow=may_grow)
    changes = world.on_rank_zero(lambda: check(resume=resume))  # before any scan is looked at
    if changes:
        reporter.info(f"from here on {'; '.join(map(str, changes))}; what is trained stays")
    start = world.on_all_ranks(lambda: None if resumed_at else _start_checkpoint(config))
    prototypes = world.on_all_ranks(lambda: _source_prototypes(config, start))
    datasets = _open_datasets(config, data_root, StoppableReporter(reporter, stop), world, known)
    oracle, model = world.on_all_ranks(lambda: _build(config, datasets, start, reporter))
    prototypes = world.on_all_ranks(
        lambda: _for_classes(prototypes, start, config, datasets.taxonomy.names)
    )
    if resumed_at is None and start is None:
        measure_input(config, datasets, model, world)
    world.on_all_ranks(lambda: try_one_step(config, datasets, model, device))
    context = RunContext(
        config=config,
        datasets=datasets,
        model=model,
        record=RunRecord(work_dir, config, datasets.taxonomy.names),
        ledger=None,
        oracle=oracle,
        checkpoints=checkpoints,
        resumed_at=resumed_at,
        device=device,
        world=world,
        reporter=reporter,
        stop=stop,
        prototypes=prototypes,
    )
    context.ledger = world.on_all_ranks(
        lambda: _take_work_dir(stack, context, changes, check, resume) if world.is_first else None
    )
    world.on_all_ranks(context.record.check_shared)
    return context


def _take_work_dir(
    stack: ExitStack,
    context: RunContext,
    changes: list[Change],
    check: Callable[..., object],
    resume: bool,
) -> Ledger | None:
    """Lock the work directory, write run.json and open the ledger, on rank 0."""
    config, datasets, resumed_at = context.config, context.datasets, context.resumed_at
    check(resume=resume)  # again: somebody may have begun there meanwhile
    stack.enter_context(context.work_dir.lock())
    context.record.start(
        context.model,
        datasets.named(),
        context.device,
        context.world.size,
        changes,
        0 if resumed_at is None else resumed_at.epoch,
    )
    context.checkpoints.clear_parts()
    if not config.is_active:
        return None
    taxonomy, size = datasets.taxonomy, config.active.voxel_size
    ledger = Ledger.open(context.work_dir.ledger_path, taxonomy.names, taxonomy.digest(), size)
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


def _build(
    config: RunConfig, datasets: Datasets, start: dict | None, reporter: Reporter
) -> tuple[Oracle | None, Segmentor]:
    """Oracle and network; the network's random weights depend on ``config.seed`` alone."""
    oracle, taxonomy = None, datasets.taxonomy
    if config.is_active:
        try:
            oracle = get_oracle(config.active.oracle, seed=config.seed, class_names=taxonomy.names)
        except ConfigError as error:
            raise ConfigError(f"active.oracle.{error}") from error
    if config.training.mix is not None:
        build_mix(config, taxonomy)  # it is made again where it is needed
    torch.manual_seed(config.seed)
    model = build_model(config, taxonomy.num_classes)
    if start is not None:
        weights, words = initial_weights(start, config, model, taxonomy.names, config.init)
        load_weights(model, weights, config.init)
        if words:
            reporter.info(words)
    return oracle, model


def _start_checkpoint(config: RunConfig) -> dict | None:
    """What the run starts from; one that cannot be read is refused before any scan is opened."""
    if config.init is None:
        if config.setting in ("asfda", "ada"):
            raise ConfigError(
                f"init: {config.setting} starts from a source checkpoint and none is given; train "
                "one with a source_only config and pass --init WORK_DIR/checkpoints/epoch_N.pth"
            )
        return None
    if config.setting == "al":
        raise ConfigError("init: al starts from nothing; from a source checkpoint, that is asfda")
    return read_checkpoint(config.init)


def _source_prototypes(config: RunConfig, start: dict | None) -> torch.Tensor | None:
    """Those of the source checkpoint. ADA computes its own, from the source itself."""
    if config.setting != "asfda" or start is None:
        return None
    if needs_prototypes(config.active):
        return needed_prototypes(start, config.init)
    return prototypes_in(start, config.init)


def _for_classes(
    prototypes: torch.Tensor | None, start: dict | None, config: RunConfig, classes: Sequence[str]
) -> torch.Tensor | None:
    """[C, D] of `classes`, as the head takes its rows: NaN for those that the source lacks."""
    known = None if prototypes is None else identity_in(start, config.init)
    if known is None or known["classes"] == list(classes):
        return prototypes
    none = prototypes.new_full((len(classes), prototypes.shape[1]), torch.nan)
    return rows_by_name(prototypes, known["classes"], none, classes)
