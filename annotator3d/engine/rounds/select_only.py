"""One round of selection without training: for teams that bring their own network, or none."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from annotator3d.active.evidence import FEATURES, PROTOTYPES, VIEWS
from annotator3d.active.outlook import in_words, unlearnt
from annotator3d.active.pool_predictions import read
from annotator3d.active.strategies import get_strategy
from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.scan import Scan
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.engine.build import input_rule, load_model
from annotator3d.engine.class_list import with_current_classes
from annotator3d.engine.config.load import dump_config, keep_trust
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.config.unused import unused_values
from annotator3d.engine.datasets import open_dataset
from annotator3d.engine.prediction import strategy_inputs
from annotator3d.engine.rounds.hook import weights_digest
from annotator3d.engine.rounds.no_trace import locked_without_trace
from annotator3d.engine.rounds.prediction_files import KINDS, PredictionFiles
from annotator3d.engine.rounds.select_round import RoundPlan, Scorer, select_round
from annotator3d.engine.training.checkpoint_file import read_checkpoint
from annotator3d.engine.training.identity import weights_for
from annotator3d.engine.training.prototypes import needed_prototypes
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError, nearest
from annotator3d.ledger.ledger import Ledger, Query, Round
from annotator3d.reporter import Reporter


@dataclass(frozen=True)
class RoundResult:
    """What a call of `select_only` asked about; `listing` is the CSV file with the voxels."""

    round: int
    strategy: str
    voxels: int
    points: int  # that were asked about
    scans: int
    listing: Path


def select_only(
    config: RunConfig,
    work_dir: str | os.PathLike[str],
    *,
    checkpoint: str | None = None,
    predictions: str | None = None,
    prediction_kind: str | None = None,
    data_root: str | None = None,
    reporter: Reporter | None = None,
) -> RoundResult:
    """Ask about the next round's voxels of ``data.train`` and write them to the ledger.

    If it fails, the work directory is as it was before.

    Args:
        config: `data`, `active`, `seed` and, with a checkpoint, `model` are used.
        work_dir: holds the ledger (made if it is new); gets ``rounds/N/queries.csv``.
        checkpoint: weights of the config's network.
        predictions: a folder as `PredictionFiles` takes it; labels are for vcd alone, and of
            scores of points (entropy, margin) the highest are asked first.
        prediction_kind: what its ``.npy`` files hold, one of `prediction_files.KINDS`; None: what
            they look like, and an error where that is not clear.
        data_root: where the scans are, if not where the config says.
        reporter: gets the progress; None: silent.

    Raises:
        ConfigError: the strategy needs a network and neither source of scores is given, or both.
    """
    work_dir, reporter = WorkDir(work_dir), reporter or Reporter()
    check_selection(config, work_dir, checkpoint, predictions, prediction_kind)
    for line in unused_values(config):
        reporter.info(f"warning: {line}")
    config = with_current_classes(config, work_dir, data_root)
    pool = open_dataset(config, "train", data_root, reporter, False, work_dir.known_scans())
    names, digest, size = pool.taxonomy.names, pool.taxonomy.digest(), config.active.voxel_size
    scorer, source = scorer_of(config, checkpoint, predictions, prediction_kind, pool.taxonomy)
    if isinstance(scorer, PredictionFiles):
        asked = range(0, len(pool), config.active.stride)
        if decided := scorer.check((pool.ids[i], pool.num_points(i)) for i in asked):
            reporter.info(decided)
    with locked_without_trace(work_dir):
        keep_config(work_dir.config_path, config, data_root)
        with Ledger.open(work_dir.ledger_path, names, digest, size) as ledger:
            rounds = ledger.rounds()
            if rounds and not listing_path(work_dir, rounds[-1].number).exists():
                reporter.info(f"round {rounds[-1].number} was selected before; writing its list")
                return _result(ledger, work_dir, rounds[-1])
            plan = next_round(config, ledger, source)
            selected = select_round(
                ledger,
                pool,
                plan,
                config.active,
                scorer,
                work_dir.rounds,
                reporter.progress,
            )
            if words := str(selected.left_out):
                reporter.info(f"round {plan.number}: {words}")
            if decision := ledger.round_decision(plan.number):
                reporter.info(f"round {plan.number}: {decision}")
            predicted = read(work_dir.rounds, plan.number)
            if words := in_words(unlearnt(ledger, predicted, plan.number - 1)):
                reporter.info(f"warning: {words}")
            return _result(ledger, work_dir, ledger.rounds()[-1])


def next_round(config: RunConfig, ledger: Ledger, source: str) -> RoundPlan:
    """The round after those of the ledger, at its epoch in the config or at the end."""
    rounds, at = ledger.rounds(), config.active.rounds_at
    number = len(rounds) + 1
    epoch = at[number - 1] if number <= len(at) else config.schedule.epochs
    return RoundPlan(
        number=number,
        epoch=max([epoch, *(r.epoch for r in rounds)]),
        strategy=config.active.strategy_name,
        seed=config.seed,
        source=source,
        num_classes=len(ledger.taxonomy_names),
        taxonomy=ledger.taxonomy_version,
        rounds=max(number, len(at)),
    )


def keep_config(path: Path, config: RunConfig, data_root: str | None) -> None:
    """Leave the config with the ledger, so that the viewer finds the scans."""
    if path.exists():
        return
    train = {**config.data.train, "root": str(Path(data_root).resolve())} if data_root else None
    data = replace(config.data, train=train or config.data.train)
    with atomic_write(path) as file:
        file.write(dump_config(replace(config, data=data)).encode())
    keep_trust(path, config)


def check_selection(
    config: RunConfig,
    work_dir: WorkDir,
    checkpoint: str | None,
    predictions: str | None,
    kind: str | None,
) -> None:
    if kind is not None and not predictions:
        raise ConfigError(
            f"prediction_kind {kind!r} says what is in --predictions; give the folder"
        )
    if kind not in (None, *KINDS):
        raise ConfigError(f"prediction_kind: unknown {kind!r}: {nearest(str(kind), KINDS)}")
    if config.active.when == "online":
        raise ConfigError(
            "active.when: online selection happens within the steps of a training; for a round "
            "without one, --set active.when=round"
        )
    strategy = config.active.strategy_name
    needs = get_strategy(config.active.strategy).needs_model
    if checkpoint and predictions:
        raise ConfigError("give either --checkpoint or --predictions, not both")
    if needs and not (checkpoint or predictions):
        raise ConfigError(
            f"strategy {strategy} scores predictions: pass --checkpoint FILE or --predictions DIR, "
            "or choose --set active.strategy=random"
        )
    if not needs and (checkpoint or predictions):
        raise ConfigError(f"strategy {strategy} uses no predictions; drop the option")
    if work_dir.run_info_path.exists():
        raise ConfigError(
            f"--work-dir {work_dir} belongs to a training run, which selects its own rounds; "
            "choose another"
        )


def _result(ledger: Ledger, work_dir: WorkDir, round: Round) -> RoundResult:
    """Write the list of a round and say what is in it."""
    queries = ledger.queries(round.number)
    path = listing_path(work_dir, round.number)
    write_listing(path, queries, ledger.voxel_size)
    points, scans = sum(q.num_labels for q in queries), len({q.scan for q in queries})
    return RoundResult(round.number, round.strategy, len(queries), points, scans, path)


def listing_path(work_dir: WorkDir, number: int) -> Path:
    return work_dir.rounds / str(number) / "queries.csv"


def scorer_of(
    config: RunConfig,
    checkpoint: str | None,
    predictions: str | None,
    kind: str | None,
    taxonomy: Taxonomy,
) -> tuple[Scorer, str]:
    """How scans are scored, and the name of the source for the ledger."""
    strategy = get_strategy(config.active.strategy)
    if not strategy.needs_model:
        return (lambda scan: {}), "none"
    if predictions:
        if unknown := {FEATURES, VIEWS}.intersection(strategy.needs):
            raise ConfigError(
                f"strategy {strategy.name} needs {' and '.join(sorted(unknown))}, which "
                "predictions in files do not have: pass --checkpoint FILE, or choose another "
                "active.strategy"
            )
        found = PredictionFiles(Path(predictions), taxonomy, kind, strategy.only_classes)
        return found, "predictions"
    rule = input_rule(config, taxonomy.num_classes)
    content = read_checkpoint(checkpoint)
    weights = weights_for(content, config, taxonomy.names, checkpoint)
    model = load_model(config, taxonomy.num_classes, weights, checkpoint)
    needs = strategy.needs
    prototypes = needed_prototypes(content, checkpoint) if PROTOTYPES in needs else None

    def score(scan: Scan) -> dict[str, Tensor]:
        return strategy_inputs(model, scan, rule, needs, prototypes)

    return score, weights_digest(model)


def write_listing(path: Path, queries: list[Query], size: float) -> None:
    """The voxels of a round for other tools; centres in metres, sensor frame.

    Where not all points are asked about, `label_points` has the places of those that are among the
    voxel's points in file order, from 0.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["scan", "cell_x", "cell_y", "cell_z", "x", "y", "z", "score", "points"]
    in_part = any(q.label_points is not None for q in queries)
    writer.writerow([*head, "label_points"] if in_part else head)
    for q in queries:
        centre = [f"{(c + 0.5) * size:.3f}" for c in q.cell]
        row = [q.scan, *q.cell, *centre, f"{q.score:.9g}", q.num_points]
        places = range(q.num_points) if q.label_points is None else q.label_points
        writer.writerow([*row, " ".join(map(str, places))] if in_part else row)
    make_folder(path.parent)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
