"""The tables, indices and triggers that a ledger file has: no fewer, no others."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import lru_cache

from annotator3d.ledger import schema
from annotator3d.ledger.triggers import triggers

IDENTITY = (
    f"PRAGMA user_version = {schema.SCHEMA_VERSION}",
    f"PRAGMA application_id = {schema.APPLICATION_ID}",
)


def statements(version: int = schema.SCHEMA_VERSION) -> list[str]:
    """Everything that makes an empty database a ledger, to be run in one transaction."""
    made = [
        f"CREATE TABLE {table} ({columns})" for table, columns in schema.tables(version).items()
    ]
    return [*made, *schema.INDICES, *triggers(version), *IDENTITY]


def definition_problems(db: sqlite3.Connection, version: int) -> list[str]:
    """What is missing in a ledger of a version, differs or does not belong there, in words."""
    there, expected = _definitions(db), dict(_expected(version))
    if schema.PACKAGE in there:
        expected |= dict(_expected_package(schema.PACKAGE_IMAGES in there))
    found = [
        f"{name} is missing: its rule was not enforced" for name in expected if name not in there
    ]
    changed = [name for name in expected if there.get(name, expected[name]) != expected[name]]
    found += [f"{name} differs from the one that this version makes" for name in changed]
    return found + [
        f"{name} is not one that annotator3d makes: remove it, or restore a backup"
        for name in there
        if name not in expected and not name.startswith("table sqlite_")
    ]


@lru_cache
def _expected(version: int) -> tuple[tuple[str, str], ...]:
    return _made_by(tuple(statements(version)))


@lru_cache
def _expected_package(images: bool) -> tuple[tuple[str, str], ...]:
    more = (schema.PACKAGE_IMAGES_TABLE,) if images else ()
    return _made_by((*schema.PACKAGE_TABLES, *more))


def _made_by(made: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        for statement in made:
            fresh.execute(statement)
        return tuple(_definitions(fresh).items())


def _definitions(db: sqlite3.Connection) -> dict[str, str]:
    rows = db.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    # the name of a table that was renamed comes back in quotes
    return {f"{kind} {name}": sql.replace('"', "") for kind, name, sql in rows}
