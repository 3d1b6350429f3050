"""Answers that a trained network contradicts: which are the worst, and asking for them again.

A network that has learnt from an answer and still says otherwise is a reason to look again, not a
proof: it may be wrong, and it may also have learnt a wrong answer by heart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.analysis.quality.model_check import ModelCheck
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.lineage import EventView, plain
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import Answer
from annotator3d.ledger.schema import Ask, EventKind


def find_suspicious(judged: Iterable[ModelCheck], below: float) -> tuple[list[ModelCheck], int]:
    """Of the effective answers, those with a probability below `below`, the lowest first.

    Returns (them, the number of effective answers that were checked).
    """
    effective = [j for j in judged if j.effective and j.probability is not None]
    found = [j for j in effective if j.probability < below]
    return sorted(found, key=lambda j: (j.probability, j.query.id)), len(effective)


def was_asked_again(events: Sequence[EventView], response: int) -> bool:
    """Whether a recheck of a response to this query, or of an earlier one with the same labels,
    was ever requested.
    """
    labels = {e.id: plain(e.labels) for e in events}
    asked = [labels.get(e.supersedes) for e in events if e.ask is Ask.RECHECK]
    return labels.get(response) in asked


def not_asked_again(ledger: LedgerReader, found: Iterable[ModelCheck]) -> list[ModelCheck]:
    """Those for which no recheck was requested yet, in their order."""
    return [j for j in found if not was_asked_again(ledger.history(j.query.id), j.response)]


def request_rechecks(
    ledger: Ledger, found: Sequence[ModelCheck], *, annotator: str, source: str
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
            if was_asked_again(ledger.history(judged.query.id), judged.response):
                continue
            note = describe_doubt(judged, ledger.taxonomy_names, source)
            request = Answer(EventKind.REQUEST, None, annotator, note=note)
            ledger.append(judged.query.id, request, effective.id, ask=Ask.RECHECK)
            asked.append(judged.query.id)
    return asked


def describe_doubt(judged: ModelCheck, names: Sequence[str], source: str) -> str:
    """Why an answer is in doubt, in one line."""
    labels, predicted = (class_list(ids, names) for ids in (judged.labels, judged.predicted))
    return f"{source} gives {labels} {100 * judged.probability:.1f} % and predicts {predicted}"


def class_list(ids: NDArray[np.uint8], names: Sequence[str]) -> str:
    """Classes of labels [n], the most frequent first, without those points that have none."""
    found, counts = np.unique(ids[ids < len(names)], return_counts=True)
    return ", ".join(names[i] for i in found[np.argsort(-counts, kind="stable")])
