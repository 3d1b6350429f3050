"""Commands that only read, beside people who write and beside what a killed process has left."""

import hashlib
import io
import os
import shutil
import sqlite3
from contextlib import closing, redirect_stderr, redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from killing import die, killed, killed_while_writing
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.data.taxonomy import load_taxonomy
from annotator3d.engine.config.load import dump_config
from annotator3d.ledger.ledger import Ledger

COMMANDS = {
    "package show": ["package", "show", "PACKAGE"],
    "quality report": ["quality", "report", "RUN", "--json"],
    "ledger suspicious": ["ledger", "suspicious", "RUN", "--below", "100%"],
    "taxonomy migrate": ["taxonomy", "migrate", "RUN", "NEW", "--json"],
    "ledger verify": ["ledger", "verify", "RUN"],
    "ledger verify, a package": ["ledger", "verify", "PACKAGE", "--no-scans"],
    "ledger log": ["ledger", "log", "RUN"],
    "ledger export": ["ledger", "export", "RUN", "OUT"],
    "ledger backup": ["ledger", "backup", "RUN", "OUT"],
    "cost": ["cost", "RUN", "--json"],
    "round status": ["round", "status", "RUN"],
    "report": ["report", "RUN", "--out", "OUT"],
}
each = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that a simulated person answered, one voxel twice, and a package of its queries."""
    folder = tmp_path_factory.mktemp("made")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=2, points=300)
    config = tiny_config(
        root,
        schedule={"epochs": 1},
        active={"oracle": {"type": "noisy"}, "queries_per_scan": 9, "rounds_at": [0]},
    )
    (folder / "c.yaml").write_text(dump_config(config))
    assert main(["train", str(folder / "c.yaml"), "--work-dir", str(folder / "run")]) == 0
    with opened(folder / "run/ledger.sqlite") as ledger:
        ledger.request(1, "overlap", annotator="lead")
        labels = ledger.current(1).labels
        ledger.answer(1, (labels + 1) % 19, annotator="ann", seconds=3.0)
    pack = ["package", "export", str(folder / "run"), str(folder / "one.a3dpack"), "--to", "bob"]
    assert main([*pack, "--queries", "all"]) == 0
    assert main(["report", str(folder / "run")]) == 0  # counts the pool, which is kept
    classes = load_taxonomy("semantickitti19")
    ids = [[raw for raw, t in classes.learning_map.items() if t == train] for train in range(19)]
    names = ["vehicle", *classes.names[1:]]
    new = [{"name": name, "ids": raw} for name, raw in zip(names, ids, strict=True)]
    ignored = [raw for raw, train in classes.learning_map.items() if train == 255]
    (folder / "new.yaml").write_text(yaml.safe_dump({"classes": new, "ignored": ignored}))
    return folder


@pytest.fixture
def place(made, tmp_path):
    """A copy that may be written to."""
    shutil.copytree(made / "run", tmp_path / "run")
    shutil.copy(made / "one.a3dpack", tmp_path)
    shutil.copy(made / "new.yaml", tmp_path)
    return tmp_path


def opened(path):
    with Ledger.read(path) as ledger:
        settings = ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
    return Ledger.open(path, *settings)


def ledger_file(place, name):
    package = "PACKAGE" in COMMANDS[name]
    return place / ("one.a3dpack" if package else "run/ledger.sqlite")


def said(place, name):
    """What a command prints, once it has ended well; how far it is, is left out."""
    words = {"RUN": "run", "PACKAGE": "one.a3dpack", "NEW": "new.yaml", "OUT": "out"}
    (place / "out").unlink(missing_ok=True)
    out, err = io.StringIO(), io.StringIO()
    arguments = [str(place / words[a]) if a in words else a for a in COMMANDS[name]]
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    assert code == 0, err.getvalue()
    lines = out.getvalue().splitlines()
    return [line for line in lines if not line.startswith(("judging", "reading", "counting"))]


def contents(place):
    """All that lies in a folder and is no database, and all rows of what is one."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.suffix in (".sqlite", ".a3dpack"):
            with closing(sqlite3.connect(path)) as db:
                found[path.name] = list(db.iterdump())
        elif path.is_file() and not path.name.endswith(("-wal", "-shm")) and path.name != "out":
            found[str(path)] = hashlib.sha256(path.read_bytes()).digest()
    return found


def not_asked(root, ledger):
    """Voxels of the first scan that nobody was asked about."""
    xyz = np.fromfile(root / "sequences/00/velodyne/000000.bin", "<f4").reshape(-1, 4)[:, :3]
    cells, sizes = np.unique(np.floor(xyz / np.float32(4)), axis=0, return_counts=True)
    asked = {query.cell for query in ledger.queries(scan="00/000000")}
    return [
        SimpleNamespace(cell=cell, num_points=int(size), utility=0.0)
        for cell, size in zip(map(tuple, cells.astype(int).tolist()), sizes, strict=True)
        if cell not in asked
    ]


@each
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_what_a_killed_process_had_half_written_is_not_told(place, name, journal):
    path = ledger_file(place, name)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
    before, expected = contents(place), said(place, name)
    killed_while_writing(path)
    assert said(place, name) == expected
    assert contents(place) == before
    assert not path.with_name(f"{path.name}-journal").exists()


@each
def test_what_somebody_is_writing_is_not_waited_for(place, name):
    before, expected = contents(place), said(place, name)
    with closing(sqlite3.connect(ledger_file(place, name), isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO events (query, kind, annotator) VALUES (1, 'skip', 'ann')")
        assert said(place, name) == expected
        db.execute("ROLLBACK")
    assert contents(place) == before


@each
def test_rounds_and_answers_may_come_at_each_moment_of_it(made, place, name, monkeypatch):
    plain, came = sqlite3.connect, []
    with opened(ledger_file(place, name)) as ledger:
        ledger.file.db.execute("PRAGMA busy_timeout = 0")
        scan, voxels = "00/000000", not_asked(made / "kitti", ledger)

        def interfere(_):
            number = 2 + len(came)
            try:
                picks = {scan: [voxels[len(came)]]}
                (query,) = ledger.add_round(number, "vcd", 0, 1, picks, epoch=1)
                came.append(number)
                labels = [number % 19] * query.num_points
                ledger.answer(query.id, labels, annotator="ann", seconds=2.0)
            except TimeoutError:
                assert "PACKAGE" in COMMANDS[name]  # one writes when nobody reads

        def connect(*arguments, **options):
            db = plain(*arguments, **options)
            db.set_trace_callback(interfere)
            return db

        monkeypatch.setattr(sqlite3, "connect", connect)
        assert said(place, name)
    assert came


def test_the_class_list_may_change_at_each_moment_of_a_check(place, monkeypatch):
    """An answer in the new list beside the rows of the old one is no problem."""
    plain, path = sqlite3.connect, place / "run/ledger.sqlite"
    with closing(plain(path, isolation_level=None)) as other:

        def migrate(_):
            other.execute(
                "INSERT INTO taxonomies (version, digest, classes, mapping) SELECT MAX(version)"
                " + 1, 'd', classes, ? FROM taxonomies", (bytes(range(256)),)
            )  # fmt: skip
            other.execute(
                "INSERT INTO events (query, kind, labels, taxonomy, annotator, uid) SELECT query,"
                " kind, labels, (SELECT MAX(version) FROM taxonomies), 'ann', hex(randomblob(8))"
                " FROM events WHERE kind = 'answer' LIMIT 1"
            )

        def connect(*arguments, **options):
            db = plain(*arguments, **options)
            db.set_trace_callback(migrate)
            return db

        monkeypatch.setattr(sqlite3, "connect", connect)
        assert main(["ledger", "verify", str(path), "--no-scans"]) == 0


def test_killed_while_the_report_is_written_the_one_before_stands(place):
    page = place / "run/report.html"
    before = page.read_bytes()
    with opened(place / "run/ledger.sqlite") as ledger:
        ledger.answer(2, ledger.current(2).labels, annotator="zoe", seconds=4.0)
    for name in ("fsync", "replace"):

        def report(name=name):
            setattr(os, name, die)
            main(["report", str(place / "run")])

        assert killed(report) and page.read_bytes() == before
    assert main(["report", str(place / "run")]) == 0
    assert b"zoe" not in before and b"zoe" in page.read_bytes()
