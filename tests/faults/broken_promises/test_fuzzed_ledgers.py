"""Ledgers and packages with flipped and cut bytes: refused in words, or read as they were."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from busy_ledgers import busy_ledger

from annotator3d.annotation.packages.package import PackageSource, damaged_contents
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.verify import verify
from annotator3d.ledger.package_file import PackageFile, new_package

REFUSALS = (ValueError, OSError)  # what a command tells in words
ROUNDS = 60


def read_all(path: Path) -> tuple:
    """All that a ledger says."""
    with Ledger.read(path) as ledger:
        events = [(e.id, e.query, e.uid, e.answer, e.created_at) for e in ledger.events()]
        return ledger.export_canonical(), ledger.digest(), repr(events), ledger.ledger_id


def read_package(path: Path) -> tuple:
    """All that a package says and carries."""
    source = PackageSource(path)
    if problems := [*verify(path).problems, *damaged_contents(path)]:
        raise ValueError(f"{path}: {problems[0]}")
    file = PackageFile(path)
    contents = file.scan("00/0"), file.prediction("00/0", 1), file.file("taxonomy.yaml")
    return read_all(path), source.manifest, contents


def flipped(content: bytes, draw: random.Random, count: int) -> bytes:
    damaged = bytearray(content)
    for _ in range(count):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def zeroed(content: bytes, draw: random.Random) -> bytes:
    """A block that a disk has lost."""
    start = draw.randrange(len(content))
    return content[:start] + bytes(len(content[start : start + 512])) + content[start + 512 :]


DAMAGES = {
    "one bit": lambda content, draw: flipped(content, draw, 1),
    "eight bits": lambda content, draw: flipped(content, draw, 8),
    "cut": cut,
    "a lost block": zeroed,
}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return busy_ledger(tmp_path_factory.mktemp("fuzz") / "ledger.sqlite")


@pytest.fixture(scope="module")
def package(ledger):
    """A package of all queries of the ledger, with small contents."""
    path = ledger.with_name("one.a3dpack")
    manifest = {"to": "ann", "made_by": "lead", "made_at": "2026-01-31T12:00:00+00:00"}
    with Ledger.read(ledger) as home:
        manifest |= {"id": "p1", "ledger_id": home.ledger_id, "days": 14.0, "crop": None}
        with new_package(path, {**manifest, "format": 1}) as writer:
            writer.copy_rows(home, home.queries(), set())
            writer.add_file("taxonomy.yaml", b"labels: {0: car}\n")
            writer.add_scan("00/0", b"points" * 100, bytes(128), "world")
            writer.add_prediction("00/0", 1, b"scores" * 50)
    return path


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("what", ["ledger", "package"])
def test_a_damaged_file_is_refused_in_words_or_reads_as_it_was(request, tmp_path, what, damage):
    whole = request.getfixturevalue(what)
    read = {"ledger": read_all, "package": read_package}[what]
    content, expected, path = whole.read_bytes(), read(whole), tmp_path / whole.name
    refused = 0
    for seed in range(ROUNDS):
        path.write_bytes(DAMAGES[damage](content, random.Random(f"{damage} {seed}")))
        for left in tmp_path.glob("*-*"):
            left.unlink()
        try:
            assert read(path) == expected, seed
        except REFUSALS as error:
            assert 20 < len(str(error)) < 700 and whole.name in str(error), (seed, error)
            refused += 1
    assert refused > ROUNDS // 20


def test_verify_never_raises(ledger, tmp_path):
    content, path = ledger.read_bytes(), tmp_path / "ledger.sqlite"
    for seed in range(ROUNDS):
        path.write_bytes(flipped(content, random.Random(seed), 4))
        found = verify(path)
        assert all(isinstance(problem, str) and problem for problem in found.problems)


def test_every_single_bit_of_an_answer_is_guarded(ledger, tmp_path):
    """Of the row of the first answer, as it lies in the file."""
    path = tmp_path / "ledger.sqlite"
    shutil.copy(ledger, path)
    with closing(sqlite3.connect(path)) as db:
        (uid,) = db.execute("SELECT uid FROM events WHERE id = 1").fetchone()
    content = path.read_bytes()
    at = next(i for i in range(len(content)) if content[i : i + len(uid)] == uid.encode()
              and b"kerb" in content[i - 200 : i])  # fmt: skip
    for place in range(at - 70, at + len(uid)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(REFUSALS):
            read_all(path)
