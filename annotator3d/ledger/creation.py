"""Making a new ledger file, and upgrading the file of an earlier version."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from annotator3d.data.files import clear_parts, fsync_folder, part_of
from annotator3d.ledger import database, definitions, schema, seals
from annotator3d.ledger.connection import LedgerFile
from annotator3d.ledger.triggers import triggers


def upgrade_statements(version: int) -> list[str]:
    """What turns a file of an earlier version into this one; its triggers must have been dropped.

    SQLite can neither change a CHECK nor add a column as it stands in a new file, so the rows move
    to new tables (https://sqlite.org/lang_altertable.html, section 7; foreign keys must be off).
    ``seal_of`` is a function of the connection.
    """
    made: list[str] = []
    if version == 1:
        made.append(f"INSERT INTO meta VALUES ('ledger_id', {schema.NEW_UID})")
    added = schema.added_since(version)
    for table, columns in schema.tables().items():
        names = (*seals.COLUMNS[table], "seal")
        values = {**dict(zip(names, names, strict=True)), **added.get(table, {})}
        if "uid" in added.get(table, ()):
            values["uid"] = schema.NEW_UID
        made += [
            f"CREATE TABLE new_{table} ({columns})",
            f"INSERT INTO new_{table} ({', '.join(values)})"
            f" SELECT {', '.join(values.values())} FROM {table}",
        ]
        if "seal" in added.get(table, ()):
            sealed = ", ".join((f"'{table}'", *seals.COLUMNS[table]))
            made.append(f"UPDATE new_{table} SET seal = seal_of({sealed})")
    made += [f"DROP TABLE {table}" for table in reversed(schema.tables())]
    made += [f"ALTER TABLE new_{table} RENAME TO {table}" for table in schema.tables()]
    return [*made, *schema.INDICES, *triggers(), *definitions.IDENTITY]


def make_aside(path: Path, names: Sequence[str], digest: str, voxel_size: float) -> None:
    """Make the file unless there is one; it gets its name when it is whole.

    Killed on the way, or with a full disk, the folder holds no ledger, as before. Of two processes
    that do this at the same time, the first one's file counts.
    """
    if path.exists():
        return
    clear_parts(path.parent)
    part = part_of(path)
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN")
            _fill(db, names, digest, voxel_size)
            db.execute("COMMIT")
        try:
            os.link(part, path)  # fails if there is a file by now
        except FileExistsError:
            pass
        except OSError:  # a disk without links: `fill_if_empty` makes it in place
            return
        fsync_folder(path.parent)
    except sqlite3.Error as error:
        raise OSError(f"{path} cannot be made: {database.advised(error, path)}") from error
    finally:
        part.unlink(missing_ok=True)


def fill_if_empty(file: LedgerFile, names: Sequence[str], digest: str, voxel_size: float) -> None:
    """Make the tables, in one transaction, unless the file has some."""
    with file.transaction() as db:
        if not database.has_tables(db):
            _fill(db, names, digest, voxel_size)


def _fill(db: sqlite3.Connection, names: Sequence[str], digest: str, voxel_size: float) -> None:
    for statement in definitions.statements():
        db.execute(statement)
    made_by = {
        "voxel_size": repr(float(voxel_size)),
        "created_by": _created_by(),
        "ledger_id": uuid.uuid4().hex,
    }
    for key, value in made_by.items():
        seals.insert(db, "meta", {"key": key, "value": value})
    classes = {"version": 1, "digest": digest, "classes": json.dumps(list(names))}
    seals.insert(db, "taxonomies", classes)


def upgrade(file: LedgerFile) -> None:
    """Bring the file of an earlier version up to this one; no row is changed.

    A copy of the file as it was stays beside it, as ``NAME.version-N``.

    Raises ValueError if the file is damaged: a seal would make it look whole.
    """
    if (old := _version(file)) not in schema.EARLIER_VERSIONS:
        return
    with file.plain_errors():
        file.require_whole(old)
        file.db.execute("PRAGMA foreign_keys = OFF")  # has no effect inside a transaction
    file.db.create_function("seal_of", -1, lambda table, *row: seals.seal_of(table, row))
    with file.transaction() as db:
        if _version(file) == old:  # no other process was faster
            database.back_up(file.path, file.path.with_name(f"{file.path.name}.version-{old}"))
            rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            drop = [f"DROP TRIGGER {name}" for (name,) in rows.fetchall()]
            for statement in (*drop, *upgrade_statements(old)):
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
