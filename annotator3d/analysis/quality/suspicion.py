"""Answers that a trained network contradicts: which are the worst, and asking for them again.

A network that has learnt from an answer and still says otherwise is a reason to look again, not a
proof: it may be wrong, and it may also have learnt a wrong answer by heart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.data.files import fingerprint
from annotator3d.data.scan import Scan, rows_of_cell
from annotator3d.engine.build import input_rule, load_model, read_weights
from annotator3d.engine.class_list import refuse_unfinished
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import open_dataset
from annotator3d.engine.prediction import point_logits
from annotator3d.engine.training.checkpoints import newest_whole
from annotator3d.engine.workdir import card_of, root_of
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.lineage import EventView, plain
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Answer, Query
from annotator3d.ledger.resolution import Outcome
from annotator3d.reporter import Reporter


@dataclass(frozen=True, eq=False)
class Judged:
    """A current response beside what a network predicts for its points."""

    query: Query
    response: int  # id of its event
    annotator: str
    effective: bool
    said: NDArray[np.uint8]  # [n] train ids, 255 = no class
    predicted: NDArray[np.uint8]  # [n] train ids
    probability: float | None  # mean of what the network gives to the classes said, 0..1
    agreement: float  # share of the points whose predicted class is the one said

    def distance(self, voxel_size: float) -> float:
        """Metres from the sensor to the middle of the voxel, on the ground."""
        x, y, _ = (np.array(self.query.cell) + 0.5) * voxel_size
        return float(np.hypot(x, y))


def judge(
    query: Query,
    response: EventView,
    effective: bool,
    said: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    probabilities: NDArray[np.float64] | None,
) -> Judged | None:
    """Compare labels [n] with predicted classes [n] and probabilities [n, C], where there are any.

    Points without a class do not count; None if no point has one.
    """
    known = ~np.isin(said, (IGNORE, UNASSIGNED))
    if not known.any():
        return None
    given = None
    if probabilities is not None:
        given = float(probabilities[np.flatnonzero(known), said[known]].mean())
    share = float((predicted[known] == said[known]).mean())
    who = response.annotator
    return Judged(query, response.id, who, effective, said, predicted, given, share)


def contradicted(judged: Iterable[Judged], below: float) -> tuple[list[Judged], int]:
    """Of the answers in force, those that are given less than `below`, the least first.

    Returns (them; how many answers in force were judged).
    """
    effective = [j for j in judged if j.effective and j.probability is not None]
    found = [j for j in effective if j.probability < below]
    return sorted(found, key=lambda j: (j.probability, j.query.id)), len(effective)


def asked_before(events: Sequence[EventView], response: int) -> bool:
    """Whether somebody was asked to look again at what a response to this query says.

    Also at an earlier one that says the same: then somebody has looked twice already.
    """
    said = {e.id: plain(e.labels) for e in events}
    return said.get(response) in [said.get(e.supersedes) for e in events if e.ask == "again"]


def not_asked_before(ledger: LedgerReader, found: Iterable[Judged]) -> list[Judged]:
    """Those that nobody was asked to look at again yet, in their order."""
    return [j for j in found if not asked_before(ledger.history(j.query.id), j.response)]


def queue_again(
    ledger: Ledger, found: Sequence[Judged], *, annotator: str, source: str
) -> list[int]:
    """Ask for a correction of answers, with a note of why; returns the queries.

    Left out is what was answered otherwise, or asked about, since it was judged.

    Args:
        source: the network, for the note.
    """
    asked = []
    with ledger.transaction():
        for judged in found:
            effective = ledger.outcome(judged.query.id).effective
            if effective is None or effective.id != judged.response:
                continue
            if asked_before(ledger.history(judged.query.id), judged.response):
                continue
            note = words(judged, ledger.taxonomy_names, source)
            request = Answer("request", None, annotator, note=note)
            ledger.append(judged.query.id, request, effective.id, ask="again")
            asked.append(judged.query.id)
    return asked


def words(judged: Judged, names: Sequence[str], source: str) -> str:
    """Why an answer is in doubt, in one line."""
    said, predicted = (named(ids, names) for ids in (judged.said, judged.predicted))
    return f"{source} gives {said} {100 * judged.probability:.1f} % and predicts {predicted}"


def named(ids: NDArray[np.uint8], names: Sequence[str]) -> str:
    """Classes of labels [n], the most frequent first, without those points that have none."""
    found, counts = np.unique(ids[ids < len(names)], return_counts=True)
    return ", ".join(names[i] for i in found[np.argsort(-counts, kind="stable")])


Says = tuple[NDArray[np.uint8], NDArray[np.float64] | None]
"""Of the points of a scan the predicted train ids [N], and probabilities [N, C] if known."""


def judge_answers(
    config: RunConfig,
    work_dir: Path,
    reporter: Reporter,
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
    dataset = _pool(config, work_dir, data_root, reporter)
    path = checkpoint or newest_whole(work_dir / "checkpoints")
    weights = read_weights(path)
    count = dataset.taxonomy.num_classes
    model, rule = load_model(config, count, weights, path), input_rule(config, count)

    def prepare(scan: Scan) -> Says:
        probabilities = torch.softmax(point_logits(model, scan, rule).double(), 1).numpy()
        classes = probabilities.argmax(1).astype(np.uint8)
        return classes, probabilities

    return _judge(work_dir, dataset, wanted, prepare, reporter), Path(path).name


def judge_by_stored(
    config: RunConfig,
    work_dir: Path,
    reporter: Reporter,
    *,
    data_root: str | None = None,
    wanted: Callable[[int, Outcome], bool] = lambda query_id, where: True,
) -> list[Judged]:
    """As `judge_answers`, by what the last round with a prediction of the scan has stored.

    There are no probabilities then; a scan without a prediction is left out.
    """
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        stored = StoredPredictions(work_dir / "rounds", ledger.to_current)
        rounds = [entry.number for entry in reversed(ledger.rounds())]

    def prepare(scan: Scan) -> Says | None:
        for number in rounds:
            found = stored(number, scan)
            if found is not None and found.classes is not None:
                return found.classes, None
        return None

    dataset = _pool(config, work_dir, data_root, reporter)
    return _judge(work_dir, dataset, wanted, prepare, reporter)


def _pool(config: RunConfig, work_dir: Path, data_root: str | None, reporter: Reporter):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        refuse_unfinished(work_dir, ledger.taxonomy_version)
    root = data_root or root_of(card_of(work_dir), "train")
    return open_dataset(config, "train", root, reporter, needs_labels=False)


def _judge(
    work_dir: Path,
    dataset,
    wanted: Callable[[int, Outcome], bool],
    prepare: Callable[[Scan], Says | None],
    reporter: Reporter,
) -> list[Judged]:
    path = work_dir / "ledger.sqlite"
    with Ledger.read(path) as ledger:
        if ledger.taxonomy_digest != dataset.taxonomy.digest():
            raise ValueError(f"{path} is of other classes than {dataset.root}")
        size, records = ledger.voxel_size, {scan.id: scan for scan in ledger.scans()}
        by_scan: dict[str, list[tuple[Query, Outcome]]] = defaultdict(list)
        for query, where in ledger.outcomes():
            if any(e.labels is not None for e in where.active_responses) and wanted(
                query.id, where
            ):
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
        reporter.progress("judging", done, len(by_scan))
    return sorted(found, key=lambda j: (j.query.id, j.response))


def _judge_query(
    query: Query, where: Outcome, says: Says, rows: NDArray[np.int64]
) -> Iterator[Judged]:
    classes, probabilities = says
    for response in where.active_responses:
        if response.labels is not None:
            said = np.frombuffer(response.labels or bytes([IGNORE]) * query.num_points, np.uint8)
            judged = judge(
                query,
                response,
                response == where.effective,
                said,
                classes[rows],
                None if probabilities is None else probabilities[rows],
            )
            if judged is not None:
                yield judged
