"""The quality of a run's answers, by the command line: two people, disputes, training."""

from __future__ import annotations

import json

import numpy as np
import pytest
from quality_world import opened
from tiny_runs import tiny_config

from annotator3d.annotation.review import Criteria
from annotator3d.api.labelling import open_labelling
from annotator3d.cli.main import main
from annotator3d.data.scan import rows_of_cell
from annotator3d.engine.rounds.hook import WaitingForOracleError
from annotator3d.engine.run import train
from annotator3d.ledger.ledger import Answer, Ledger


def report(work_dir, capsys):
    capsys.readouterr()
    assert main(["quality", "report", str(work_dir), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_disputes_appear_are_not_trained_on_and_are_decided(run, capsys):
    work_dir, truth, config = run
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        disputed = {query.id for query in ledger.disputed_queries()}
        trained = {(scan, entry.cell) for scan, entry in ledger.labels()}
        queries = {query.id: query for query in ledger.queries()}
        assert not ledger.open_queries() and ledger.summary().disputed == len(disputed)
    assert disputed and not trained & {(queries[q].scan, queries[q].cell) for q in disputed}
    found = report(work_dir, capsys)
    assert {entry["query"] for entry in found["disputed"]} == disputed
    session = open_labelling(work_dir, annotator="lead", review=Criteria(disputed=True)).session
    while session.current is not None:  # the one who is right, by the truth
        labels = truth.read(truth.index(session.current.scan)).labels[session.view.rows]
        while session.labels.tolist() != labels.tolist():
            session.step_opinion()
        session.approve()
    session.close()
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert not ledger.disputed_queries()
        now = {(scan, entry.cell): entry.labels for scan, entry in ledger.labels()}
    for query_id in disputed:
        query = queries[query_id]
        scan = truth.read(truth.index(query.scan))
        rows = rows_of_cell(scan.xyz, query.cell, config.active.voxel_size)
        assert now[query.scan, query.cell].tolist() == scan.labels[rows].tolist()
    found = report(work_dir, capsys)
    assert found["disputed"] == []
    bob = next(person for person in found["people"] if person["person"] == "bob")
    assert sum(bob[how]["by"].get("lead", 0) for how in ("accepted", "typed over", "typed")) == len(
        disputed
    )


def test_the_report_says_what_the_two_have_said(run, capsys):
    work_dir, truth, _ = run
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        said = {}
        for event in ledger.events():
            if event.answer.kind in ("answer", "ignore"):
                labels = event.answer.labels
                said.setdefault(event.query, {})[event.answer.annotator] = labels
        points = {query.id: query.num_points for query in ledger.queries()}
    both = {query: by for query, by in said.items() if len(by) == 2}
    full = {
        query: [
            np.full(points[query], 255) if by[who] is None else by[who] for who in ("ann", "bob")
        ]
        for query, by in both.items()
    }
    same = sum(int((a == b).sum()) for a, b in full.values())
    found = report(work_dir, capsys)
    (pair,) = found["pairs"]
    assert pair["people"] == ["ann", "bob"] and pair["voxels"] == len(both)
    total = sum(points[query] for query in both)
    assert pair["agreement_points"] == pytest.approx(same / total)
    assert np.sum(pair["confusion_points"]) == total and pair["kappa_points"] < 1
    assert found["requests"]["overlap"] == {"asked": len(both), "waiting": 0}
    assert found["rounds"][0]["voxels"] == len(both)
    assert found["together"]["by_class"] == pair["by_class"]
    for figure in ("kappa_points", "kappa_voxels", "identical"):
        assert found["rounds"][0][figure] == found["together"][figure] == pair[figure]


def test_the_tables_are_printed_and_stand_in_the_page_of_the_run(run, capsys):
    work_dir, _, _ = run
    assert main(["quality", "report", str(work_dir)]) == 0
    text = capsys.readouterr().out
    for words in ("Two people on the same voxels", "ann and bob", "By class", "Disputed", "kappa"):
        assert words in text
    assert main(["report", str(work_dir)]) == 0
    page = (work_dir / "report.html").read_text()
    assert "Quality of the answers" in page and "ann and bob" in page


def test_before_anybody_was_asked_twice_the_report_says_how(make_kitti, tmp_path, capsys):
    config = tiny_config(make_kitti(("00", "01", "02", "03")), active={"oracle": "person"})
    with pytest.raises(WaitingForOracleError):
        train(config, tmp_path / "run")
    assert main(["quality", "report", str(tmp_path / "run")]) == 0
    assert "to ask for one: annotator3d quality request" in capsys.readouterr().out
    found = report(tmp_path / "run", capsys)
    assert found["pairs"] == [] and found["together"]["kappa_points"] is None
    with opened(tmp_path / "run") as ledger:  # as from two packages of one person
        count = ledger.query(1).num_points
        for label in (3, 4):
            ledger.append(1, Answer("answer", np.full(count, label, np.uint8), "ann"), None)
    assert main(["quality", "report", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "nobody has answered the same voxel twice" not in said
    assert "nobody has given a second opinion yet" in said and "Disputed" in said
