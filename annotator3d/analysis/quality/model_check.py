"""Answers beside what a network predicts for their points, one scan a forward pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.data.files import fingerprint
from annotator3d.data.scan import Scan, rows_of_cell
from annotator3d.engine.build import input_rule, load_model
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import open_dataset
from annotator3d.engine.interrupted_migration import refuse_interrupted
from annotator3d.engine.prediction import point_logits
from annotator3d.engine.training.checkpoints import newest_whole
from annotator3d.engine.training.identity import read_weights_for
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Query
from annotator3d.ledger.resolution import Outcome
from annotator3d.reporter import Reporter


@dataclass(frozen=True, eq=False)
class ModelCheck:
    """An active response, compared with what a network predicts for its points."""

    query: Query
    response: int  # id of its event
    annotator: str
    effective: bool
    labels: NDArray[np.uint8]  # [n] train ids, 255 = no class
    predicted: NDArray[np.uint8]  # [n] train ids
    probability: float | None  # mean probability of the answered classes, 0..1
    agreement: float  # share of the points whose predicted class is the answered one

    def distance(self, voxel_size: float) -> float:
        """Metres from the sensor to the middle of the voxel, on the ground."""
        x, y, _ = (np.array(self.query.cell) + 0.5) * voxel_size
        return float(np.hypot(x, y))


def check_answer(
    query: Query,
    response: EventView,
    effective: bool,
    labels: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    probabilities: NDArray[np.float64] | None,
) -> ModelCheck | None:
    """Compare labels [n] with predicted classes [n] and probabilities [n, C], where there are any.

    Points without a class do not count; None if no point has one.
    """
    known = ~np.isin(labels, (IGNORE, UNASSIGNED))
    if not known.any():
        return None
    given = None
    if probabilities is not None:
        given = float(probabilities[np.flatnonzero(known), labels[known]].mean())
    share = float((predicted[known] == labels[known]).mean())
    who = response.annotator
    return ModelCheck(query, response.id, who, effective, labels, predicted, given, share)


Predicted = tuple[NDArray[np.uint8], NDArray[np.float64] | None]
"""Of the points of a scan the predicted train ids [N], and probabilities [N, C] if known."""


def check_answers(
    config: RunConfig,
    work_dir: WorkDir,
    reporter: Reporter,
    *,
    checkpoint: Path | None = None,
    data_root: str | None = None,
    wanted: Callable[[int, Outcome], bool] = lambda query_id, where: True,
) -> tuple[list[ModelCheck], str]:
    """Judge the current responses with labels by a checkpoint, by default the run's newest.

    Args:
        wanted: of a query and where it stands, whether it is judged.

    Returns (in the order of the queries; the checkpoint's name).

    Raises:
        FileNotFoundError: no checkpoint, no ledger, or no scans.
        ValueError: one of these does not fit the others.
    """
    dataset = _pool(config, work_dir, data_root, reporter)
    path = checkpoint or newest_whole(work_dir.checkpoints)
    weights = read_weights_for(config, dataset.taxonomy.names, path)
    count = dataset.taxonomy.num_classes
    model, rule = load_model(config, count, weights, path), input_rule(config, count)

    def prepare(scan: Scan) -> Predicted:
        probabilities = torch.softmax(point_logits(model, scan, rule).double(), 1).numpy()
        classes = probabilities.argmax(1).astype(np.uint8)
        return classes, probabilities

    return _check_scans(work_dir, dataset, wanted, prepare, reporter), Path(path).name


def check_by_stored_predictions(
    config: RunConfig,
    work_dir: WorkDir,
    reporter: Reporter,
    *,
    data_root: str | None = None,
    wanted: Callable[[int, Outcome], bool] = lambda query_id, where: True,
) -> list[ModelCheck]:
    """As `check_answers`, by what the last round with a prediction of the scan has stored.

    There are no probabilities then; a scan without a prediction is left out.
    """
    with work_dir.ledger() as ledger:
        stored = StoredPredictions(work_dir.rounds, ledger.to_current)
        rounds = [entry.number for entry in reversed(ledger.rounds())]

    def prepare(scan: Scan) -> Predicted | None:
        for number in rounds:
            found = stored(number, scan)
            if found is not None and found.classes is not None:
                return found.classes, None
        return None

    dataset = _pool(config, work_dir, data_root, reporter)
    return _check_scans(work_dir, dataset, wanted, prepare, reporter)


def _pool(config: RunConfig, work_dir: WorkDir, data_root: str | None, reporter: Reporter):
    with work_dir.ledger() as ledger:
        refuse_interrupted(work_dir, ledger.taxonomy_version)
    root = data_root or work_dir.data_root("train")
    return open_dataset(config, "train", root, reporter, needs_labels=False)


def _check_scans(
    work_dir: WorkDir,
    dataset,
    wanted: Callable[[int, Outcome], bool],
    prepare: Callable[[Scan], Predicted | None],
    reporter: Reporter,
) -> list[ModelCheck]:
    with work_dir.ledger() as ledger:
        if ledger.taxonomy_digest != dataset.taxonomy.digest():
            raise ValueError(f"{ledger.path} is of other classes than {dataset.root}")
        size, records = ledger.voxel_size, {scan.id: scan for scan in ledger.scans()}
        by_scan: dict[str, list[tuple[Query, Outcome]]] = defaultdict(list)
        for query, where in ledger.outcomes():
            if any(e.labels is not None for e in where.active_responses) and wanted(
                query.id, where
            ):
                by_scan[query.scan].append((query, where))
    found: list[ModelCheck] = []
    for done, (scan_id, answered) in enumerate(sorted(by_scan.items()), 1):
        file = dataset.path(dataset.index(scan_id))
        if change := records[scan_id].change(None, fingerprint(file), str(file)):
            raise ValueError(change)
        scan = dataset.read(dataset.index(scan_id), labels=False)
        says = prepare(scan)
        for query, where in answered if says else ():
            rows = query.asked_of(rows_of_cell(scan.xyz, query.cell, size))
            found += _check_query(query, where, says, rows)
        reporter.progress("judging", done, len(by_scan))
    return sorted(found, key=lambda j: (j.query.id, j.response))


def _check_query(
    query: Query, where: Outcome, says: Predicted, rows: NDArray[np.int64]
) -> Iterator[ModelCheck]:
    classes, probabilities = says
    for response in where.active_responses:
        if response.labels is not None:
            labels = np.frombuffer(response.labels or bytes([IGNORE]) * query.num_labels, np.uint8)
            judged = check_answer(
                query,
                response,
                response == where.effective,
                labels,
                classes[rows],
                None if probabilities is None else probabilities[rows],
            )
            if judged is not None:
                yield judged
