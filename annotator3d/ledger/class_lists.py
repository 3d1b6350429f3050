"""Labels of every class list that a ledger ever had, as they read in its current one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from annotator3d.ledger.lineage import VOID
from annotator3d.ledger.schema import EventKind


def register(db: sqlite3.Connection, mappings: Sequence[bytes | None]) -> dict[int, bytes]:
    """Give a connection two functions of SQL; returns `tables_to_last`.

    ``to_current(labels, version)``: labels of a taxonomy version in train ids of the last one.
    ``view_labels(kind, labels, version)``: see `lineage.EventView`.

    Args:
        mappings: for each taxonomy version [256] the train ids of the next one's classes by those
            of the version before; None for the first version.
    """
    tables = tables_to_last(mappings)
    last = len(mappings)

    def to_current(labels: bytes | None, version: int) -> bytes | None:
        return labels if labels is None or version == last else labels.translate(tables[version])

    def view_labels(kind: str, labels: bytes | None, version: int) -> bytes | None:
        if kind == EventKind.ANSWER:
            return to_current(labels, version)
        return VOID if kind == EventKind.IGNORE else None

    db.create_function("to_current", 2, to_current, deterministic=True)
    db.create_function("view_labels", 3, view_labels, deterministic=True)
    return tables


def tables_to_last(mappings: Sequence[bytes | None]) -> dict[int, bytes]:
    """For each version, the table from its train ids to those of the last version.

    Args:
        mappings: as `register`.
    """
    tables, table = {}, bytes(range(256))
    for version in range(len(mappings), 0, -1):
        tables[version] = table
        if version > 1:
            # first the step to the version after, then on from there
            table = mappings[version - 1].translate(table)
    return tables
