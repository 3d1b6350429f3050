"""Making the tables of a new ledger file, and upgrading the file of an earlier version."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from annotator3d.ledger import database, schema
from annotator3d.ledger.connection import LedgerFile
from annotator3d.ledger.triggers import triggers

_IDENTITY = (
    f"PRAGMA user_version = {schema.SCHEMA_VERSION}",
    f"PRAGMA application_id = {schema.APPLICATION_ID}",
)


def statements() -> list[str]:
    """Everything that makes an empty database a ledger, to be run in one transaction."""
    made = [f"CREATE TABLE {table} ({columns})" for table, columns in schema.TABLES.items()]
    return [*made, *schema.INDICES, *triggers(), *_IDENTITY]


def upgrade_statements() -> list[str]:
    """What turns a file of version 1 into this one; its triggers must have been dropped.

    Version 1 had no drafts, bulk actions, requests and uids. SQLite cannot change a CHECK, so the
    events move to a new table (https://sqlite.org/lang_altertable.html, section 7; foreign keys
    must be off).
    """
    return [
        f"CREATE TABLE new_events ({schema.TABLES['events']})",
        f"INSERT INTO new_events SELECT *, NULL, NULL, {schema.NEW_UID} FROM events",
        "DROP TABLE events",
        "ALTER TABLE new_events RENAME TO events",
        *(index for index in schema.INDICES if " ON events(" in index),
        f"INSERT INTO meta VALUES ('ledger_id', {schema.NEW_UID})",
        *triggers(),
        *_IDENTITY,
    ]


def create_if_empty(file: LedgerFile, names: Sequence[str], digest: str, voxel_size: float) -> None:
    """Make the tables, in one transaction, unless the file has some."""
    with file.transaction() as db:
        if db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            return
        for statement in statements():
            db.execute(statement)
        made_by = {
            "voxel_size": repr(float(voxel_size)),
            "created_by": _created_by(),
            "ledger_id": uuid.uuid4().hex,
        }
        db.executemany("INSERT INTO meta VALUES (?, ?)", made_by.items())
        db.execute(
            "INSERT INTO taxonomies (version, digest, classes) VALUES (1, ?, ?)",
            (digest, json.dumps(list(names))),
        )


def upgrade(file: LedgerFile) -> None:
    """Bring the file of an earlier version up to this one; no row is changed.

    A copy of the file as it was stays beside it, as ``NAME.version-1``.
    """
    if _version(file) != 1:
        return
    with file.plain_errors():
        file.db.execute("PRAGMA foreign_keys = OFF")  # has no effect inside a transaction
    with file.transaction() as db:
        if _version(file) == 1:  # no other process was faster
            database.back_up(file.path, file.path.with_name(f"{file.path.name}.version-1"))
            rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            drop = [f"DROP TRIGGER {name}" for (name,) in rows.fetchall()]
            for statement in (*drop, *upgrade_statements()):
                db.execute(statement)
    file.db.execute("PRAGMA foreign_keys = ON")


def _version(file: LedgerFile) -> int:
    ((found,),) = file.rows("PRAGMA user_version")
    return found


def _created_by() -> str:
    try:
        return f"annotator3d {version('annotator3d')}"
    except PackageNotFoundError:  # run from a checkout
        return "annotator3d"
