"""What the commands say of voxels that wait: held by others, disputed, to be answered first."""

import numpy as np
import pytest
from fake_frontend import label_by
from tiny_runs import tiny_config

from annotator3d.cli import main as cli
from annotator3d.engine.config.load import dump_config
from annotator3d.ledger.ledger import Ledger
from annotator3d.viz import panel_text

DECIDE = "wait for a decision: annotator3d label {} --review --disputed"


@pytest.fixture
def case(tmp_path, make_kitti, capsys):
    """(work directory, the command that trains it): one round of four voxels waits."""
    root = make_kitti(("00", "01", "02", "03"), scans=1, points=200)
    config = tiny_config(
        root,
        schedule={"epochs": 1, "evaluate_at": []},
        active={"oracle": "person", "rounds_at": [0], "queries_per_scan": 2},
    )
    (tmp_path / "c.yaml").write_text(dump_config(config))
    work_dir = tmp_path / "run"
    train = ["train", str(tmp_path / "c.yaml"), "--work-dir", str(work_dir)]
    assert cli.main(train) == 0
    capsys.readouterr()
    return work_dir, [*train, "--resume"]


def opened(work_dir):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        names, digest, size = ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
    return Ledger.open(work_dir / "ledger.sqlite", names, digest, size)


def say(query, label, ledger, who):
    ledger.answer(query, np.full(ledger.query(query).num_points, label), annotator=who)


def dispute(work_dir, queries):
    """All four are answered by ann, some of them otherwise by bob."""
    with opened(work_dir) as ledger:
        for query in [q.id for q in ledger.queries()]:
            say(query, 3, ledger, "ann")
        for query in queries:
            ledger.request(query, "overlap", annotator="lead")
            say(query, 4, ledger, "bob")


def said_by(capsys, *command):
    capsys.readouterr()
    assert cli.main([str(word) for word in command]) == 0
    return capsys.readouterr().out


def label(work_dir, who, *options):
    return ("label", work_dir, "--web", "--annotator", who, *options)


def test_disputes_are_said_where_nothing_else_waits(case, monkeypatch, capsys):
    work_dir, train = case
    dispute(work_dir, [1, 3])
    words = "2 voxels are answered differently and " + DECIDE.format(work_dir)
    label_by(monkeypatch, lambda session: None)
    lines = said_by(capsys, *label(work_dir, "cid")).splitlines()
    assert lines[-2:] == [f"{work_dir}: 0 of 4 voxels still wait for an answer", words]
    status = said_by(capsys, "round", "status", work_dir)
    assert "4 of 4 voxels answered" in status and words in status.replace("\n  ", " ")
    assert f"not trained on: {words}" in said_by(capsys, *train)


def test_nothing_is_said_of_disputes_where_there_are_none(case, monkeypatch, capsys):
    work_dir, train = case
    dispute(work_dir, [])
    label_by(monkeypatch, lambda session: None)
    said = said_by(capsys, *label(work_dir, "cid"))
    assert said.splitlines()[-1] == f"{work_dir}: 0 of 4 voxels still wait for an answer"
    for command in (("round", "status", work_dir), train):
        assert "decision" not in said_by(capsys, *command)


def test_who_finds_everything_held_is_told_by_whom(case, monkeypatch, capsys):
    work_dir, _ = case
    with opened(work_dir) as ledger:
        ledger.leases.hold([1, 2, 3], annotator="bob", seconds=3600)
        ledger.leases.hold([4], annotator="ann", seconds=3600)
    shown = []
    label_by(monkeypatch, lambda session: shown.append(panel_text.heading(session)))
    said = said_by(capsys, *label(work_dir, "cid"))
    assert (
        f"{work_dir}: 4 of 4 voxels wait for an answer; 4 are held by others: ann 1, bob 3" in said
    )
    assert shown == ["no voxel on the screen; 4 are held by others: ann 1, bob 3"]
    assert "1 is held by others: ann 1" in said_by(capsys, *label(work_dir, "bob"))
    assert shown[1].startswith("voxel 1 of 4")


def test_a_review_says_what_fits_but_waits_for_an_answer_first(case, monkeypatch, capsys):
    work_dir, _ = case
    dispute(work_dir, [1])
    with opened(work_dir) as ledger:
        ledger.request(2, "again", annotator="lead")
    label_by(monkeypatch, lambda session: None)
    said = said_by(capsys, *label(work_dir, "lead", "--review"))
    assert "3 of 4 voxels are to be reviewed; 1 more wait for an answer first" in said
    said = said_by(capsys, *label(work_dir, "lead", "--review", "--disputed"))
    assert "1 of 4 voxels are to be reviewed\n" in said
