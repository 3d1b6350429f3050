"""A ledger with every kind of row, and ways to damage one."""

from __future__ import annotations

import sqlite3

from asked import Asked
from hypothesis import strategies as st

from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.ledger.maintenance import transfer as dump

NAMES = ["car", "road", "tree"]


def busy_ledger(path):
    """A ledger with every kind of row."""
    with Ledger.open(path, NAMES, "d1") as ledger:
        ledger.register_scans([ScanRecord("00/0", "f0", 9), ScanRecord("00/1", "f1", 9)])
        first, second, third = ledger.add_round(
            1, "vcd", 7, 3, {"00/0": [Asked((i, -1, 0), utility=1 / 3) for i in range(3)]}
        )
        ledger.answer(first.id, [0, 255], annotator="ann", seconds=1.1, clicks=2, note='a "kerb",')
        ledger.request(first.id, "overlap", annotator="lead")
        event = ledger.answer(first.id, [0, 1], annotator="bob", proposal_accepted=True)
        ledger.review(event, "approve", annotator="lead")
        ledger.leases.hold([second.id], annotator="ann", seconds=60)
        ledger.skip(second.id, annotator="ann")
        ledger.undo(second.id, annotator="ann")
        ledger.ignore(second.id, annotator="ann")
        ledger.note(third.id, "ein Gerüst?\nvielleicht", annotator="ann")
        ledger.release(third.id, annotator="lead")
        ledger.add_round(
            2, "vcd", 7, 3, {"00/0": [Asked((2, -1, 0), utility=0.1)], "00/1": []}, epoch=3
        )
        table = bytes([1, 0, 2, *range(3, 256)])
        ledger.file.db.execute(
            "INSERT INTO taxonomies (version, digest, classes, mapping) VALUES"
            ' (2, \'d2\', \'["road", "car", "tree"]\', ?)',
            (table,),
        )
    with Ledger.open(path, ["road", "car", "tree"], "d2") as ledger:
        ledger.answer(4, [2, 2], annotator="ann")
    return path


def rows_of(path):
    db = sqlite3.connect(path)
    found = {t: db.execute(f"SELECT * FROM {t} ORDER BY 1").fetchall() for t in dump.TABLES}
    db.close()
    return found


def corrupt(path, *statements):
    """Write into a ledger as only a broken program could: without its triggers."""
    db = sqlite3.connect(path)
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    for _, sql in triggers:
        db.execute(sql)
    db.commit()
    db.close()


notes = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
