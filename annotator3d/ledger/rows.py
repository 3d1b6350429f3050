"""Rows of the tables as the objects of `records`, and the SQL that selects their columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotator3d.ledger.bounds import is_count, is_duration
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.records import Answer, Event, Query
from annotator3d.ledger.schema import Ask, EventKind, sql_list

ROUND_COLUMNS = "round, strategy, seed, budget, max_queries, num_queries, epoch, source, created_at"
_QUERY = (
    "q.id, q.round, q.scan, q.x, q.y, q.z, q.rank, q.score, q.num_points, q.asked_at,"
    " q.label_points"
)
QUERIES = f"SELECT {_QUERY} FROM queries q"
EVENT_COLUMNS = (
    "id, query, kind, to_current(labels, taxonomy) AS labels, annotator, seconds, clicks,"
    " proposal_accepted, note, supersedes, created_at, action, ask, uid, taxonomy"
)
_DECIDING = sql_list(kind for kind in EventKind if kind.decides)
EVENT_VIEWS = (
    "SELECT e.query, e.id, e.kind, e.annotator, e.supersedes,"
    " view_labels(e.kind, e.labels, e.taxonomy), e.ask, e.created_at, e.uid"
    f" FROM queries q JOIN events e ON e.query = q.id WHERE e.kind IN {_DECIDING}"
)

_KINDS = {str(kind): kind for kind in EventKind}  # faster than EventKind(word), and read a lot


def query_of(row: tuple) -> Query:
    """The query of a row of `QUERIES`."""
    id_, round_, scan, x, y, z, rank, score, num_points, asked_at, text = row
    points = None if text is None else label_points_of(text, num_points)
    return Query(id_, round_, scan, (x, y, z), rank, score, num_points, asked_at, points)


def label_points_of(text: str, num_points: int) -> tuple[int, ...]:
    """The places in ``queries.label_points``, as `Query` has them.

    Raises ValueError where they are no ascending places in a voxel of `num_points`.
    """
    points = tuple(map(int, text.split(",")))
    if list(points) != sorted(set(points)) or points[-1] >= num_points:
        raise ValueError(
            f"label_points must be ascending places in a voxel of {num_points} points, got {text}"
        )
    return points


def event_view_of(row: Sequence) -> EventView:
    id_, kind, annotator, supersedes, labels, ask, *rest = row
    ask = None if ask is None else Ask(ask)
    return EventView(id_, _KINDS[kind], annotator, supersedes, labels, ask, *rest)


def event_of(row: tuple) -> Event:
    id_, query, kind, blob, annotator, seconds, clicks, accepted, note, *rest = row
    supersedes, created_at, action, ask, uid, taxonomy = rest
    ask = None if ask is None else Ask(ask)
    labels = None if blob is None else np.frombuffer(blob, np.uint8)
    accepted = None if accepted is None else bool(accepted)
    if not is_duration(seconds):
        seconds = None  # of an earlier version or another's hand: as if it had not been timed
    if not is_count(clicks):
        clicks = None
    answer = Answer(kind, labels, annotator, seconds, clicks, accepted, note)
    return Event(id_, query, answer, supersedes, created_at, action, ask, uid, taxonomy)
