"""Answers that a trained network contradicts: which are the worst, and asking for them again.

A network that has learnt from an answer and still says otherwise is a reason to look again, not a
proof: it may be wrong, and it may also have learnt a wrong answer by heart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.ledger import Ledger
from annotator3d.active.lineage import Happened, plain
from annotator3d.active.reading import LedgerReader
from annotator3d.active.records import IGNORE, UNASSIGNED, Answer, Query


@dataclass(frozen=True, eq=False)
class Judged:
    """A current response beside what a network predicts for its points."""

    query: Query
    response: int  # id of its event
    annotator: str
    in_force: bool
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
    response: Happened,
    in_force: bool,
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
    return Judged(query, response.id, who, in_force, said, predicted, given, share)


def contradicted(judged: Iterable[Judged], below: float) -> tuple[list[Judged], int]:
    """Of the answers in force, those that are given less than `below`, the least first.

    Returns (them; how many answers in force were judged).
    """
    in_force = [j for j in judged if j.in_force and j.probability is not None]
    found = [j for j in in_force if j.probability < below]
    return sorted(found, key=lambda j: (j.probability, j.query.id)), len(in_force)


def asked_before(events: Sequence[Happened], response: int) -> bool:
    """Whether somebody was asked to look again at what a response to this query says.

    Also at an earlier one that says the same: then somebody has looked twice already.
    """
    said = {e.id: plain(e.said) for e in events}
    return said.get(response) in [said.get(e.supersedes) for e in events if e.ask == "again"]


def not_asked_before(ledger: LedgerReader, found: Iterable[Judged]) -> list[Judged]:
    """Those that nobody was asked to look at again yet, in their order."""
    return [j for j in found if not asked_before(ledger._happened(j.query.id), j.response)]


def queue_again(
    ledger: Ledger, found: Sequence[Judged], *, annotator: str, source: str
) -> list[int]:
    """Ask for a correction of answers, with a note of why; returns the queries.

    Left out is what was answered otherwise, or asked about, since it was judged.

    Args:
        source: the network, for the note.
    """
    asked = []
    with ledger._transaction():
        for judged in found:
            in_force = ledger.outcome(judged.query.id).in_force
            if in_force is None or in_force.id != judged.response:
                continue
            if asked_before(ledger._happened(judged.query.id), judged.response):
                continue
            note = words(judged, ledger.taxonomy_names, source)
            request = Answer("request", None, annotator, note=note)
            ledger._append(judged.query.id, request, in_force.id, ask="again")
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
