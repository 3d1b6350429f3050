"""A whole ledger as text and back: every table, every column, nothing lost.

JSON lines: the first line says what the file is, each other line is a row ``{"table": ..., ...}``.
CSV: a folder with one file a table, and ``ledger.json`` for the first line. Bytes are written as
hexadecimal digits (labels: two a point, ``ff`` = no class); NULL is ``null`` or an empty field.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from annotator3d.data.files import atomic_write, clear_parts, fsync_folder, part_of, written_whole
from annotator3d.data.plain_json import parse_json
from annotator3d.ledger import definitions, schema, seals
from annotator3d.ledger.checksums import COLUMNS, matches
from annotator3d.ledger.ledger import Ledger
from annotator3d.system_errors import in_words

TABLES = ("meta", "taxonomies", "scans", "rounds", "queries", "events")  # parents first
FORMAT = 1
_READ = range(2, schema.SCHEMA_VERSION + 1)  # schemas of exports; rows of version 2 have no seals
_BYTES = {("taxonomies", "mapping"), ("events", "labels")}


def export_ledger(path: Path, out: Path, format: str = "jsonl") -> dict[str, int]:
    """Write a ledger as it stands at one moment; gives the rows of each table.

    Args:
        format: "jsonl" (`out` is a file) or "csv" (`out` is a folder that does not exist yet).

    Raises ValueError if `out` is there already, FileNotFoundError if its folder is not.
    """
    if os.path.lexists(out):
        raise ValueError(f"{out} exists; name another place")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent}; create it first")
    clear_parts(out.parent)
    with Ledger.read(path) as ledger, ledger.file.transaction("DEFERRED") as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        version = max(version, 2)  # one of version 1 is read as if it had been upgraded
        tables = {table: _rows(db, table, version) for table in TABLES}
        head = {"annotator3d ledger": FORMAT, "schema": version}
        head["columns"] = {table: columns for table, (columns, _) in tables.items()}
        head["rows"] = {table: len(rows) for table, (_, rows) in tables.items()}
        if format == "jsonl":
            _write_lines(out, head, tables)
        else:
            _write_folder(out, head, tables)
    return head["rows"]


def import_ledger(source: Path, path: Path, make_folder: bool = False) -> dict[str, int]:
    """Make a ledger of an export; gives the rows of each table.

    All rules of a ledger hold for what is read. Killed on the way, nothing is left of it.

    Args:
        make_folder: make the folder of `path` if it is not there; its own folder has to be.

    Raises:
        FileNotFoundError: there is no export, or no folder for the ledger.
        ValueError: `path` exists, or the export is damaged, incomplete or breaks a rule; names the
            line.
    """
    if path.exists():
        raise ValueError(f"{path} exists; an export is read into a new ledger only")
    folder = path.parent
    made = make_folder and not folder.exists()
    needed = folder.parent if made else folder
    if not needed.is_dir():
        raise FileNotFoundError(f"there is no folder {needed}; create it first")
    if not source.exists():
        raise FileNotFoundError(f"there is no export {source}")
    if made:
        folder.mkdir()
    clear_parts(folder)
    try:
        with written_whole(path) as part:
            counts = _fill(part, source)
            Ledger.read(part).close()
    except BaseException:
        if made:
            with suppress(OSError):  # somebody put something there
                folder.rmdir()
        raise
    return counts


def _fill(part: Path, source: Path) -> dict[str, int]:
    lines = _read_folder(source) if source.is_dir() else _read_lines(source)
    where, head = next(lines, (str(source), {}))
    if head.get("annotator3d ledger") != FORMAT or head.get("schema") not in _READ:
        raise ValueError(
            f"{where}: expected an export of a ledger (format {FORMAT}, schema "
            f"{_READ[0]} to {_READ[-1]}), as `annotator3d ledger export` writes it"
        )
    counts = dict.fromkeys(TABLES, 0)
    db = sqlite3.connect(part, isolation_level=None)
    try:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN")
        for statement in definitions.statements():
            db.execute(statement)
        for where, row in _in_order(lines):
            counts[_insert(db, where, row, head["columns"])] += 1
        if counts != head["rows"]:
            raise ValueError(f"{source} is not complete: {counts} rows, {head['rows']} expected")
        db.execute("COMMIT")
    finally:
        db.close()
    return counts


def _in_order(lines: Iterable[tuple[str, dict]]) -> Iterator[tuple[str, dict]]:
    """Rows such that every rule holds at each of them.

    A voxel that was released may have been asked about again: its release comes before that.
    """
    queries, events = [], []
    for where, row in lines:
        kept = {"queries": queries, "events": events}.get(row.get("table"))
        if kept is None:
            yield where, row
        else:
            kept.append((where, row))
    released = {
        row.get("query") for _, row in events if row.get("kind") == schema.EventKind.RELEASE
    }
    early: dict[Any, list] = {query: [] for query in released}
    for where, row in events:
        if row.get("query") in early:
            early[row["query"]].append((where, row))
    for where, row in queries:
        number = row.get("id")
        yield where, row
        yield from early.get(number, ())
    for where, row in events:
        if row.get("query") not in early:
            yield where, row


def _insert(db: sqlite3.Connection, where: str, row: dict, columns: dict) -> str:
    table = row.pop("table", None)
    if table not in TABLES or sorted(row) != sorted(columns.get(table, ())):
        raise ValueError(f"{where}: not a row of a ledger")
    try:
        row = {name: _from_text(table, name, value) for name, value in row.items()}
        seals.insert(db, table, row)
        if table == "events" and not matches(row["uid"], [row[name] for name in COLUMNS]):
            raise ValueError("it has changed since it was written: the checksum in its uid differs")
    except (ValueError, TypeError, sqlite3.Error) as error:
        raise ValueError(f"{where}: refused: {error}") from error
    return table


def _rows(db: sqlite3.Connection, table: str, version: int) -> tuple[list[str], list[tuple]]:
    added = schema.added_since(version).get(table, {})
    columns = [name for name in (*seals.COLUMNS[table], "seal") if name not in added]
    return columns, db.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1").fetchall()


def _write_lines(out: Path, head: dict, tables: dict) -> None:
    with atomic_write(out) as file:
        file.write((json.dumps(head) + "\n").encode())
        for table, (columns, rows) in tables.items():
            for row in rows:
                texts = {name: _to_text(v) for name, v in zip(columns, row, strict=True)}
                file.write((json.dumps({"table": table, **texts}) + "\n").encode())


def _write_folder(out: Path, head: dict, tables: dict) -> None:
    part = part_of(out)
    part.mkdir()
    try:
        for table, (columns, rows) in tables.items():
            text = io.StringIO(newline="")
            writer = csv.writer(text)
            writer.writerow(columns)
            writer.writerows([_to_field(value) for value in row] for row in rows)
            with atomic_write(part / f"{table}.csv") as file:
                file.write(text.getvalue().encode())
        with atomic_write(part / "ledger.json") as file:
            file.write(json.dumps(head).encode())
        os.rename(part, out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    fsync_folder(out.parent)


def _read_lines(source: Path) -> Iterator[tuple[str, dict]]:
    with open(source, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            where = f"{source}, line {number}"
            try:
                row = parse_json(line)
            except ValueError as error:
                raise ValueError(f"{where}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{where}: not a row of a ledger")
            yield where, row


def _read_folder(source: Path) -> Iterator[tuple[str, dict]]:
    try:
        head = parse_json((source / "ledger.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{source / 'ledger.json'}: cannot be read: {in_words(error)}") from error
    yield str(source / "ledger.json"), head
    for table in TABLES:
        path = source / f"{table}.csv"
        if not path.is_file():
            raise ValueError(f"{path} is missing: the export is not complete")
        with open(path, encoding="utf-8", newline="") as file:
            yield from _csv_rows(path, table, csv.reader(file))


def _csv_rows(path: Path, table: str, rows: Iterable[list[str]]) -> Iterator[tuple[str, dict]]:
    columns: list[str] = []
    for number, fields in enumerate(rows, 1):
        where = f"{path}, row {number}"
        if not columns:
            columns = fields
        elif len(fields) != len(columns):
            raise ValueError(f"{where}: {len(fields)} fields, expected {len(columns)}")
        else:
            values = (_from_field(where, field) for field in fields)
            yield where, {"table": table, **dict(zip(columns, values, strict=True))}


def _to_text(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _from_text(table: str, name: str, value: Any) -> Any:
    return bytes.fromhex(value) if (table, name) in _BYTES and value is not None else value


def _to_field(value: Any) -> str:
    """NULL: empty; a text: in JSON's quotes; a number: as it is, to the last bit."""
    return "" if value is None else json.dumps(_to_text(value))


def _from_field(where: str, field: str) -> Any:
    if not field:
        return None
    try:
        return parse_json(field)
    except ValueError as error:
        raise ValueError(f"{where}: {field!r} is not a valid value: {error}") from error
