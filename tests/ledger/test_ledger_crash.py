"""No label is lost and no voxel asked twice, whenever a process is killed or two write at once."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from asked import Asked

from annotator3d.ledger import database, network_disk
from annotator3d.ledger.ledger import Ledger

NAMES = ["x", "y", "z"]
BUDGET, ROUNDS, SCANS = 2, 2, ("a", "b")


def work(path, acknowledge=lambda: None):
    """What a run does, in a way that can be started again after a crash."""
    with Ledger.open(path, NAMES, "digest") as ledger:
        for scan in SCANS:
            ledger.register_scan(scan, f"file {scan}", 9)
        for number in range(1, ROUNDS + 1):
            if number > len(ledger.rounds()):
                picks = {
                    scan: [Asked((number, i, 0), utility=0.25) for i in range(BUDGET)]
                    for scan in SCANS
                }
                ledger.add_round(number, "vcd", 0, BUDGET, picks, epoch=number)
            for query in ledger.open_queries():
                labels = [query.round, query.cell[1]]
                ledger.answer(query.id, labels, annotator="truth")
                acknowledge()


def killed_at(path, step, opcodes):
    """Run `work` in a child that is killed at its `step`-th statement (or every n opcodes).

    Returns (whether it was killed, number of answers that it knew to be written).
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        left = [step]

        def tick(*_):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return 0

        plain = sqlite3.connect

        def connect(*args, **more):
            db = plain(*args, **more)
            if opcodes:
                db.set_progress_handler(tick, opcodes)
            else:
                db.set_trace_callback(tick)
            return db

        database.sqlite3.connect = connect
        try:
            work(path, lambda: os.write(writing, b"."))
        finally:
            os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    acknowledged = os.read(reading, 10_000)
    os.close(reading)
    return os.WIFSIGNALED(status), len(acknowledged)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("opcodes", [0, 61], ids=["each statement", "inside statements"])
def test_killed_at_any_moment_a_run_goes_on_as_if_nothing_had_happened(tmp_path, opcodes):
    work(tmp_path / "whole.sqlite")
    with Ledger.read(tmp_path / "whole.sqlite") as whole:
        expected = whole.export_canonical()
    step, killed = 0, True
    while killed:
        path = tmp_path / f"{step}.sqlite"
        killed, acknowledged = killed_at(path, step, opcodes)
        with Ledger.open(path, NAMES, "digest") as ledger:
            for entry in ledger.rounds():
                assert len(ledger.queries(entry.number)) == entry.num_queries  # whole or absent
            assert ledger.summary().answered >= acknowledged
            work(path)
            assert ledger.export_canonical() == expected
            assert ledger.spent() == BUDGET * ROUNDS * len(SCANS)
            assert len(ledger.events()) == ledger.spent()  # nothing was answered twice
        step += 1
    assert step > 50  # the kills were spread over the whole run


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("network", [False, True])
def test_a_reader_undoes_what_was_half_written_to_a_rollback_journal(
    tmp_path, monkeypatch, network
):
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path, NAMES, "digest").close()
    child = os.fork()
    if child == 0:
        db = sqlite3.connect(path, isolation_level=None)
        for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA cache_size = 2", "BEGIN"):
            db.execute(statement)
        rows = [(f"scan {i}", "x" * 500, 9) for i in range(200)]  # more than the cache holds
        db.executemany("INSERT INTO scans (id, fingerprint, num_points) VALUES (?, ?, ?)", rows)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert path.with_name("ledger.sqlite-journal").stat().st_size
    monkeypatch.setattr(network_disk, "on_network", lambda path: network)
    with Ledger.read(path) as ledger:
        assert ledger.scan("scan 0") is None
        with pytest.raises(ValueError, match="opened for reading only"):
            ledger.register_scan("a", "file", 9)
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.sqlite"]


WRITER = """
import sys
from annotator3d.ledger.ledger import Ledger
from types import SimpleNamespace
path, me, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
with Ledger.open(path, ["x"], "digest") as ledger:
    ledger.register_scan("a", "file", 9)
    won = 0
    for number in range(1, count + 1):
        try:
            pick = SimpleNamespace(cell=(number, 0, 0), num_points=1, utility=0.0)
            ledger.add_round(number, me, 0, 1, {"a": [pick]})
            won += 1
        except ValueError as error:
            assert "cannot add round" in str(error), error
        for query in ledger.queries(number):
            ledger.answer(query.id, [0], annotator=me)
    print(won)
"""


def test_two_processes_may_write_at_once(tmp_path):
    path, count = tmp_path / "ledger.sqlite", 30
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), me, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in ("first", "second")
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = [int(writer.communicate()[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    with Ledger.read(path) as ledger:
        assert [entry.number for entry in ledger.rounds()] == list(range(1, count + 1))
        assert sum(won) == count == ledger.spent()
        said = [event.answer.annotator for event in ledger.events()]
        assert said.count("first") == said.count("second") == count
        assert ledger.open_queries() == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_must_open_the_ledger_again(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite", NAMES, "digest") as ledger:
        child = os.fork()
        if child == 0:
            try:
                ledger.spent()
                os._exit(1)
            except RuntimeError as error:
                os._exit(0 if "open the ledger again" in str(error) else 2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_writer_that_never_ends_is_reported(tmp_path, monkeypatch):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, NAMES, "digest") as holder:
        monkeypatch.setattr(database, "WAIT", 0.0)
        with holder.transaction(), pytest.raises(TimeoutError, match="another process"):
            Ledger.open(path, NAMES, "digest")


def test_on_local_disk_the_journal_is_wal_and_commits_reach_the_disk(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite", NAMES, "digest") as ledger:
        ask = ledger.file.db.execute
        assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ask("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_on_a_network_disk_a_second_host_is_turned_away(tmp_path, monkeypatch):
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path, NAMES, "digest").close()  # made on a local disk: WAL
    monkeypatch.setattr(network_disk, "on_network", lambda path: True)
    monkeypatch.setattr(network_disk.socket, "gethostname", lambda: "alpha")
    (tmp_path / "ledger.sqlite.alpha.99999999.0.open").touch()  # of a process that was killed here
    with Ledger.open(path, NAMES, "digest") as ledger:
        assert ledger.file.db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        with Ledger.open(path, NAMES, "digest"):
            pass  # a second process of the same host
        with monkeypatch.context() as other:
            other.setattr(network_disk.socket, "gethostname", lambda: "beta")
            with pytest.raises(ValueError, match="host alpha has it open.*this is beta"):
                Ledger.open(path, NAMES, "digest")
    monkeypatch.setattr(network_disk.socket, "gethostname", lambda: "beta")
    with Ledger.open(path, NAMES, "digest"):
        pass  # alpha has closed it
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.sqlite"]


@pytest.mark.parametrize(
    ("kind", "network"),
    [("ext4", False), ("nfs4", True), ("fuse.sshfs", True), ("cifs", True), ("tmpfs", False)],
)
def test_network_disks_are_recognised(tmp_path, kind, network):
    mounts = tmp_path / "mounts"
    place = tmp_path / "with space"
    place.mkdir()
    escaped = str(place).replace(" ", "\\040")
    mounts.write_text(f"host:/x {escaped} {kind} rw 0 0\nroot / xfs rw 0 0\n")
    assert network_disk.file_system(place / "ledger.sqlite", str(mounts)) == kind
    assert network_disk.file_system(tmp_path, str(mounts)) == "xfs"
    assert kind.removeprefix("fuse.").startswith(network_disk._NETWORK) == network
