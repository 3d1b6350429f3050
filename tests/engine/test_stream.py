"""Scans that arrive while a robot drives: each is decided about once, within a budget per hour."""

from __future__ import annotations

import io
import os
import shutil

import pytest
from tiny_runs import tiny_config

import annotator3d as a3d
from annotator3d.cli import main as cli
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.rounds.select_only import select_only
from annotator3d.engine.rounds.select_stream import select_stream
from annotator3d.engine.rounds.stream import Stream
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.verify import verify

ACTIVE = {"strategy": "random", "queries_per_hour": 3, "scans_per_hour": 6}


@pytest.fixture
def root(make_kitti):
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=8, points=100)
    for path in root.rglob("*.bin"):  # written long ago
        os.utime(path, (0, 0))
    return root


def config_of(root, **active):
    return tiny_config(root, active={**ACTIVE, **active})


def picks(work_dir):
    with WorkDir(work_dir).ledger() as ledger:
        assert (
            not verify(ledger.path).problems if hasattr(verify(ledger.path), "problems") else True
        )
        return [(q.round, q.scan, q.cell) for q in ledger.queries()]


def test_every_hour_is_a_round_within_its_budget(root, tmp_path):
    found = select_stream(config_of(root), tmp_path / "run", idle=0, wait=lambda seconds: None)
    asked = picks(tmp_path / "run")
    assert (found.scans, found.voxels, found.passed_over) == (16, len(asked), 0)
    with WorkDir(tmp_path / "run").ledger() as ledger:
        assert [entry.number for entry in ledger.rounds()] == [1, 2, 3]
        spent = [len(ledger.queries(number)) for number in (1, 2, 3)]
    assert max(spent) <= 3 and sum(spent) > 0
    assert len({scan for _, scan, _ in asked}) == len(asked)  # one voxel a scan
    for number in (1, 2, 3):
        lines = (tmp_path / f"run/rounds/{number}/queries.csv").read_text().splitlines()
        assert len(lines) == 1 + spent[number - 1]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("where", ["before the ledger", "before the note", "after the note"])
@pytest.mark.parametrize("at", [2, 9])  # the first note is of the settings
def test_a_stream_that_is_killed_asks_the_same(root, tmp_path, monkeypatch, where, at):
    config = config_of(root)
    select_stream(config, tmp_path / "whole", idle=0, wait=lambda seconds: None)
    decided = [0]

    def dying(kind, call):
        def called(self, *args):
            decided[0] += kind == "note"
            if decided[0] == at and where == f"before the {kind}":
                raise Killed
            result = call(self, *args)
            if decided[0] == at and where == f"after the {kind}":
                raise Killed
            return result

        return called

    with monkeypatch.context() as patch:
        if where == "before the ledger":
            patch.setattr(Ledger, "fill_round", dying("ledger", Ledger.fill_round))
        patch.setattr(Stream, "_log", dying("note", Stream._log))
        try:
            select_stream(config, tmp_path / "run", idle=0, wait=lambda seconds: None)
        except Killed:
            pass
    path = next(iter(sorted((tmp_path / "run/rounds").rglob("stream.jsonl"), reverse=True)))
    with open(path, "a") as file:  # a line that was cut short
        file.write('{"scan": "01/0000')
    select_stream(config, tmp_path / "run", idle=0, wait=lambda seconds: None)
    assert picks(tmp_path / "run") == picks(tmp_path / "whole")


def test_scans_are_taken_as_they_come_and_only_when_they_are_whole(root, tmp_path):
    later = tmp_path / "later"
    shutil.move(root / "sequences/01/velodyne/000007.bin", later)
    young = root / "sequences/01/velodyne/000003.bin"
    os.utime(young)  # still being written
    told = []

    def wait(seconds):
        lines = sum(p.read_text().count('"scan"') for p in tmp_path.rglob("stream.jsonl"))
        told.append(lines)
        os.utime(young, (0, 0))
        if len(told) == 2:
            shutil.move(later, root / "sequences/01/velodyne/000007.bin")
            os.utime(root / "sequences/01/velodyne/000007.bin", (0, 0))

    found = select_stream(config_of(root), tmp_path / "run", idle=3, wait=wait)
    assert told[:3] == [11, 15, 16]  # up to the young one, the rest, the new one
    assert found.scans == 16


def test_paths_on_standard_input(root, tmp_path, monkeypatch, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(dump_config(config_of(root)))
    lines = [str(root / "sequences/00/velodyne" / f"{i:06d}.bin") for i in range(8)]
    lines += ["", "01/000002", "01/000001"]  # the last one is late
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    work_dir = str(tmp_path / "run")
    assert cli.main(["select", str(config), "--work-dir", work_dir, "--stream", "-"]) == 0
    said = capsys.readouterr().out
    assert "in 9 scans" in said and "1 scan passed over" in said
    monkeypatch.setattr("sys.stdin", io.StringIO("05/000000\n01/000003\n"))
    assert cli.main(["select", str(config), "--work-dir", work_dir, "--stream", "-"]) == 0
    said = capsys.readouterr().out
    assert "left out: 05/000000" in said and "in 10 scans, 1 scan left out" in said


def test_a_scan_that_cannot_be_read_is_named_and_left_out(root, tmp_path, capsys):
    (root / "sequences/00/velodyne/000002.bin").write_bytes(b"123")
    os.utime(root / "sequences/00/velodyne/000002.bin", (0, 0))
    found = select_stream(config_of(root), tmp_path / "run", idle=0, wait=lambda seconds: None)
    assert (found.scans, found.unreadable) == (15, 1)


@pytest.mark.parametrize(
    ("active", "words"),
    [
        ({"queries_per_hour": None}, "active.queries_per_hour: a stream needs a budget"),
        ({"spacing": 2.0}, "active.spacing: a stream decides"),
        ({"max_queries": 5}, "active.max_queries: a stream decides"),
        ({"stride": 2}, "active.stride: a stream decides"),
    ],
)
def test_what_a_stream_cannot_do_is_refused_without_a_trace(root, tmp_path, active, words):
    with pytest.raises(ConfigError, match=words):
        select_stream(config_of(root, **active), tmp_path / "run", idle=0)
    assert not (tmp_path / "run").exists()


def test_a_stream_does_not_go_on_with_other_settings(root, tmp_path):
    select_stream(config_of(root), tmp_path / "run", idle=0, wait=lambda seconds: None)
    for other in ({"queries_per_hour": 4}, {"scans_per_hour": 3}, {"min_points": 2}):
        (key,) = other
        with pytest.raises(ValueError, match=f"was begun with another active.{key};"):
            select_stream(config_of(root, **other), tmp_path / "run", idle=0)


def test_a_round_in_between_begins_a_new_hour_and_no_scan_is_seen_twice(root, tmp_path):
    first = select_stream(config_of(root), tmp_path / "run", idle=0, wait=lambda seconds: None)
    select_only(config_of(root), tmp_path / "run")
    again = select_stream(config_of(root), tmp_path / "run", idle=0, wait=lambda seconds: None)
    assert (again.scans, again.voxels, again.passed_over) == (16, first.voxels, 16)


def test_from_python(root, tmp_path):
    run = a3d.Run.from_config(config_of(root), tmp_path / "run")
    scans = root / "sequences/00/velodyne"
    found = run.select_stream([scans / "000000.bin", "00/000001"])
    assert isinstance(found, a3d.StreamResult) and found.scans == 2
