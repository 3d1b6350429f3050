"""Writing single events: the one statement that inserts one, and the check of its labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.ledger import seals
from annotator3d.ledger.bounds import beyond
from annotator3d.ledger.checksums import COLUMNS, new_uid
from annotator3d.ledger.connection import LedgerFile
from annotator3d.ledger.records import IGNORE, Answer, Query
from annotator3d.ledger.schema import NOW
from annotator3d.ledger.seals import plain


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
    now = _time_of(file, query_id)
    row = {
        "query": query_id,
        "kind": answer.kind,
        "labels": None if answer.labels is None else answer.labels.tobytes(),
        "taxonomy": file.taxonomy_version,
        "annotator": answer.annotator,
        "seconds": answer.seconds,
        "clicks": answer.clicks,
        "proposal_accepted": answer.proposal_accepted,
        "note": answer.note,
        "created_at": now,
        "ask": ask,
    }
    if (problem := beyond("events", row)) is not None:
        raise ValueError(f"query {query_id}: {problem}")
    values = [plain(name, row[name]) for name in COLUMNS]
    about = {"supersedes": supersedes, "action": action, "uid": uid or new_uid(values)}
    return seals.insert(file.db, "events", {**row, **about})


def _time_of(file: LedgerFile, query_id: int) -> str:
    """Now; a millisecond behind the query's last event if that is as new: the order of events that
    come within one millisecond would be that of their random uids, and the later one might lose."""
    (now,) = file.db.execute(f"SELECT {NOW}").fetchone()
    ((last, behind, since),) = file.db.execute(
        "SELECT MAX(created_at), strftime('%Y-%m-%dT%H:%M:%fZ', MAX(created_at), '+0.001 seconds'),"
        " (julianday(MAX(created_at)) - julianday(?)) * 86400 FROM events WHERE query = ?",
        (now, query_id),
    )
    is_as_new = last is not None and since is not None and now <= last and since < 1
    return behind if is_as_new else now  # one that is far ahead had a wrong clock


def checked_labels(
    query: Query,
    labels: np.ndarray | None,
    num_classes: int,
    besides: tuple[int, ...] = (IGNORE,),
) -> NDArray[np.uint8]:
    """Labels [n] of the points that a query asks about as uint8.

    Args:
        besides: values that are allowed although they are no class.

    Raises ValueError for another shape, labels that are no integers, or an unknown value.
    """
    given = np.asarray([] if labels is None else labels)
    if given.shape != (query.num_labels,) or given.dtype.kind not in "ui":
        raise ValueError(
            f"query {query.id} needs one integer label for each of the {query.num_labels} "
            f"points that it asks about, got shape {given.shape} of {given.dtype}"
        )
    wrong = (given < 0) | ((given >= num_classes) & ~np.isin(given, besides))
    if wrong.any():
        raise ValueError(
            f"query {query.id}: label {given[wrong][0]} is neither a class (0..{num_classes - 1}) "
            f"nor {IGNORE} (ignore)"
        )
    return given.astype(np.uint8)
