"""Whether the rows of a ledger are those that were written, as far as seals can tell.

`LedgerFile` asks whenever a ledger is opened, `maintenance.verify` tells all that it finds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from annotator3d.ledger import schema, seals

_BY_TABLE = sqlite3.sqlite_version_info >= (3, 33)  # integrity_check of one table


def damages(db: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with the tables and rows of a ledger, one by one; other tables are left out."""
    for table in seals.COLUMNS if _BY_TABLE else ("",):
        pragma = f"PRAGMA main.integrity_check({table or 1})"
        for (found,) in db.execute(pragma).fetchall():
            if found != "ok":
                yield f"damaged: {' '.join(found.split())}"
    try:
        yield from seals.changed_rows(db)
    except sqlite3.OperationalError as error:
        if "UTF-8" not in str(error):
            raise
        yield from seals.undecodable(db)


def present_as_current(db: sqlite3.Connection, version: int) -> None:
    """Let this connection read a file of an earlier version as if it had been upgraded."""
    for table, columns in schema.added_since(version).items():
        more = ", ".join(f"{value} AS {name}" for name, value in columns.items())
        db.execute(f"CREATE TEMP VIEW {table} AS SELECT *, {more} FROM main.{table}")


@contextmanager
def presented_as_current(db: sqlite3.Connection, version: int) -> Iterator[None]:
    """`present_as_current` for a while."""
    present_as_current(db, version)
    try:
        yield
    finally:
        for table in schema.added_since(version):
            db.execute(f"DROP VIEW temp.{table}")
