"""Writing single events: the one statement that inserts one, and the check of its labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.ledger.checksums import COLUMNS, new_uid
from annotator3d.ledger.connection import LedgerFile
from annotator3d.ledger.records import IGNORE, Answer, Query
from annotator3d.ledger.schema import NOW


def append(
    file: LedgerFile,
    query_id: int,
    answer: Answer,
    supersedes: int | None,
    action: int | None = None,
    ask: str | None = None,
    uid: str | None = None,
) -> int:
    """Insert an event in the transaction that is open; returns its id. See `Ledger.append`."""
    (now,) = file.db.execute(f"SELECT {NOW}").fetchone()
    accepted = answer.proposal_accepted
    if answer.seconds is not None and np.isnan(answer.seconds):
        raise ValueError(f"query {query_id}: seconds must be 0 or more, got {answer.seconds}")
    values = (
        int(query_id),
        answer.kind,
        None if answer.labels is None else answer.labels.tobytes(),
        file.taxonomy_version,
        answer.annotator,
        None if answer.seconds is None else float(answer.seconds),
        None if answer.clicks is None else int(answer.clicks),
        None if accepted is None else int(accepted),
        answer.note,
        now,
        ask,
    )
    cursor = file.db.execute(
        f"INSERT INTO events ({', '.join(COLUMNS)}, supersedes, action, uid)"
        f" VALUES ({', '.join('?' * len(values))}, ?, ?, ?)",
        (*values, supersedes, action, uid or new_uid(values)),
    )
    return int(cursor.lastrowid or 0)


def checked_labels(
    query: Query,
    labels: np.ndarray | None,
    num_classes: int,
    besides: tuple[int, ...] = (IGNORE,),
) -> NDArray[np.uint8]:
    """Labels [n] of the points of a query as uint8.

    Args:
        besides: values that are allowed although they are no class.

    Raises ValueError for another shape, labels that are no integers, or an unknown value.
    """
    given = np.asarray([] if labels is None else labels)
    if given.shape != (query.num_points,) or given.dtype.kind not in "ui":
        raise ValueError(
            f"query {query.id} needs one integer label for each of its {query.num_points} "
            f"points, got shape {given.shape} of {given.dtype}"
        )
    wrong = (given < 0) | ((given >= num_classes) & ~np.isin(given, besides))
    if wrong.any():
        raise ValueError(
            f"query {query.id}: label {given[wrong][0]} is neither a class (0..{num_classes - 1}) "
            f"nor {IGNORE} (ignore)"
        )
    return given.astype(np.uint8)
