"""What a network says of the points that were answered, one scan a forward pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from annotator3d.active.ledger import Ledger
from annotator3d.active.proposals import StoredPredictions
from annotator3d.active.records import IGNORE, Query
from annotator3d.active.resolution import Outcome
from annotator3d.active.suspicion import Judged, judge
from annotator3d.data.files import fingerprint
from annotator3d.data.scan import Scan, rows_of_cell
from annotator3d.engine.build import input_rule, load_model, read_weights
from annotator3d.engine.checkpoints import newest_whole
from annotator3d.engine.config import RunConfig
from annotator3d.engine.datasets import open_dataset
from annotator3d.engine.reopening import card_of, root_of
from annotator3d.engine.scoring import point_scores
from annotator3d.engine.screen import Screen
from annotator3d.engine.unfinished import refuse_unfinished

Says = tuple[NDArray[np.uint8], NDArray[np.float64] | None]
"""Of the points of a scan the predicted train ids [N], and probabilities [N, C] if known."""


def judge_answers(
    config: RunConfig,
    work_dir: Path,
    screen: Screen,
    *,
    checkpoint: Path | None = None,
    data_root: str | None = None,
    wanted: Callable[[int, Outcome], bool] = lambda query_id, where: True,
) -> tuple[list[Judged], str]:
    """Judge the current responses with labels by a checkpoint, by default the run's newest.

    Args:
        wanted: of a query and where it stands, whether it is judged.

    Returns (in the order of the queries; the checkpoint's name).

    Raises:
        FileNotFoundError: no checkpoint, no ledger, or no scans.
        ValueError: one of these does not fit the others.
    """
    dataset = _pool(config, work_dir, data_root, screen)
    path = checkpoint or newest_whole(work_dir / "checkpoints")
    weights = read_weights(path)
    count = dataset.taxonomy.num_classes
    model, rule = load_model(config, count, weights, path), input_rule(config, count)

    def prepare(scan: Scan) -> Says:
        probabilities = torch.softmax(point_scores(model, scan, rule).double(), 1).numpy()
        classes = probabilities.argmax(1).astype(np.uint8)
        return classes, probabilities

    return _judge(work_dir, dataset, wanted, prepare, screen), Path(path).name


def judge_by_stored(
    config: RunConfig,
    work_dir: Path,
    screen: Screen,
    *,
    data_root: str | None = None,
    wanted: Callable[[int, Outcome], bool] = lambda query_id, where: True,
) -> list[Judged]:
    """As `judge_answers`, by what the last round with a prediction of the scan has stored.

    There are no probabilities then; a scan without a prediction is left out.
    """
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        stored = StoredPredictions(work_dir / "rounds", ledger.to_today)
        rounds = [entry.number for entry in reversed(ledger.rounds())]

    def prepare(scan: Scan) -> Says | None:
        for number in rounds:
            found = stored(number, scan)
            if found is not None and found.classes is not None:
                return found.classes, None
        return None

    dataset = _pool(config, work_dir, data_root, screen)
    return _judge(work_dir, dataset, wanted, prepare, screen)


def _pool(config: RunConfig, work_dir: Path, data_root: str | None, screen: Screen):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        refuse_unfinished(work_dir, ledger.taxonomy_version)
    root = data_root or root_of(card_of(work_dir), "train")
    return open_dataset(config, "train", root, screen, needs_labels=False)


def _judge(
    work_dir: Path,
    dataset,
    wanted: Callable[[int, Outcome], bool],
    prepare: Callable[[Scan], Says | None],
    screen: Screen,
) -> list[Judged]:
    path = work_dir / "ledger.sqlite"
    with Ledger.read(path) as ledger:
        if ledger.taxonomy_digest != dataset.taxonomy.digest():
            raise ValueError(f"{path} is of other classes than {dataset.root}")
        size, records = ledger.voxel_size, {scan.id: scan for scan in ledger.scans()}
        by_scan: dict[str, list[tuple[Query, Outcome]]] = defaultdict(list)
        for query, where in ledger._outcomes():
            if any(e.said is not None for e in where.current) and wanted(query.id, where):
                by_scan[query.scan].append((query, where))
    found: list[Judged] = []
    for done, (scan_id, answered) in enumerate(sorted(by_scan.items()), 1):
        file = dataset.path(dataset.index(scan_id))
        if fingerprint(file) != records[scan_id].fingerprint:
            raise ValueError(f"{file} has changed since it was asked about; restore the file")
        scan = dataset.read(dataset.index(scan_id), labels=False)
        says = prepare(scan)
        for query, where in answered if says else ():
            rows = rows_of_cell(scan.xyz, query.cell, size)
            found += _judge_query(query, where, says, rows)
        screen.progress("judging", done, len(by_scan))
    return sorted(found, key=lambda j: (j.query.id, j.response))


def _judge_query(
    query: Query, where: Outcome, says: Says, rows: NDArray[np.int64]
) -> Iterator[Judged]:
    classes, probabilities = says
    for response in where.current:
        if response.said is not None:
            said = np.frombuffer(response.said or bytes([IGNORE]) * query.num_points, np.uint8)
            judged = judge(
                query,
                response,
                response == where.in_force,
                said,
                classes[rows],
                None if probabilities is None else probabilities[rows],
            )
            if judged is not None:
                yield judged
