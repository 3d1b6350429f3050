"""SQL functions of a ledger's connection: labels as they read in today's class list."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from annotator3d.active.lineage import VOID


def register(db: sqlite3.Connection, mappings: Sequence[bytes | None]) -> dict[int, bytes]:
    """Make two functions known to a connection; gives for each version its table to today's ids.

    ``today(labels, version)``: labels of a taxonomy version in train ids of the last one.
    ``said(kind, labels, version)``: see `resolution.Happened`.

    Args:
        mappings: for each taxonomy version [256] the train ids of the next one's classes by those
            of the version before; None for the first version.
    """
    tables = tables_to_last(mappings)
    last = len(mappings)

    def today(labels: bytes | None, version: int) -> bytes | None:
        return labels if labels is None or version == last else labels.translate(tables[version])

    def said(kind: str, labels: bytes | None, version: int) -> bytes | None:
        if kind == "answer":
            return today(labels, version)
        return VOID if kind == "ignore" else None

    db.create_function("today", 2, today, deterministic=True)
    db.create_function("said", 3, said, deterministic=True)
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
