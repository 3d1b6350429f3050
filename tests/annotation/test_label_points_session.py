"""One key press answers for the points that are asked about, at home and in a work package."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from busy_ledgers import corrupt
from fake_frontend import PALETTE, open_review, open_viewer
from package_world import ledger_of, pack
from session_world import CELLS, DIGEST, NAMES, SIZE, make_world, predict, seen, start
from tiny_runs import tiny_config

from annotator3d.annotation.views import QueryViews
from annotator3d.api.labelling import open_labelling
from annotator3d.cli.main import main
from annotator3d.data.scan import rows_of_cell
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.rounds.select_only import select_only
from annotator3d.ledger import schema
from annotator3d.ledger.effort import round_cost
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.seals import COLUMNS
from annotator3d.ledger.triggers import triggers
from annotator3d.viz.colours import PART
from annotator3d.viz.panel_text import heading
from annotator3d.viz.still import still_of_query


def test_one_key_labels_the_point_that_is_asked_about(tmp_path):
    path = tmp_path / "ledger.sqlite"
    source = make_world(path, points=6, asked=(4,))
    with start(path, source) as session:
        query, view = session.current, session.view
        rows = rows_of_cell(view.scan.xyz, query.cell, SIZE)
        assert view.rows.tolist() == [rows[4]] and view.xyz.shape == (1, 3)
        for split in ("height", "clusters"):
            session.split(split)
            assert session.parts.count == 1  # there is nothing to part in one point
        session.assign(1)
        assert seen(path, query.id).labels.tolist() == [1]
        assert session.current.id != query.id and session.class_points.tolist() == [0, 1, 0]
        session.undo()
        assert session.current.id == query.id and session.labels.tolist() == [254]
        session.ignore()
        session.bulk("answer", [3], 2)
        assert seen(path, 3).labels.tolist() == [2]
    with Ledger.read(path) as ledger:
        cost = round_cost(ledger, 1)
        assert (cost.points, cost.answered, cost.labelled_points, cost.void_voxels) == (6, 2, 1, 1)


def test_several_points_are_parted_and_proposed_among_themselves(tmp_path):
    path = tmp_path / "ledger.sqlite"
    source = make_world(path, points=8, asked=(1, 2, 6))
    by_row = predict(lambda _, scan: (np.arange(len(scan)) % 3).astype(np.uint8))
    with start(path, source, predictions=by_row, offer="all") as session:
        query, rows = session.current, session.view.rows
        assert session.view.predicted.tolist() == (rows % 3).tolist()
        assert session.proposals[0].labels.tolist() == (rows % 3).tolist()
        session.paint([True, False, True])
        session.assign(0)
        assert session.labels.tolist() == [0, 254, 0]
        session.assign(2)
        assert seen(path, query.id).labels.tolist() == [0, 2, 0]


def test_answers_nearby_are_drawn_on_the_points_that_have_one(tmp_path):
    path = tmp_path / "ledger.sqlite"
    source = make_world(path, points=8, asked=(1, 2, 6))
    with start(path, source) as session:
        first = session.current
        session.assign(1)
        session.go_to(2)  # the voxel beside it
        ((xyz, labels),) = session.nearby_points()
        scan = source.scans[first.scan]
        rows = rows_of_cell(scan.xyz, first.cell, SIZE)[[1, 2, 6]]
        assert np.array_equal(xyz, scan.xyz[rows]) and labels.tolist() == [1, 1, 1]


@pytest.mark.parametrize("mode", ["height", "answer"])
def test_the_viewer_shows_which_points_are_asked_about(tmp_path, mode):
    world = {"points": 6, "asked": (0, 4)}
    controller, _, _ = open_viewer(tmp_path / "ledger.sqlite", world=world)
    controller.start()
    session, model = controller.session, controller.scene_model
    model.settings.mode = mode
    query = session.current
    rows = rows_of_cell(session.view.scan.xyz, query.cell, SIZE)
    painted = model.colours()
    asked, rest = rows[[0, 4]], np.delete(rows, [0, 4])
    assert np.allclose(painted[asked], PART) and not np.allclose(painted[rest], PART)
    assert np.array_equal(model.current(), session.view.scan.xyz[asked])  # drawn larger
    assert "2 of 6 points" in heading(session)
    controller.press("3")
    session.go_to(query.id)
    model.settings.mode = "answer"
    painted = model.colours()
    assert np.allclose(painted[asked], PALETTE[2])
    assert not np.allclose(painted[rest], PALETTE[2])  # nobody has said what these are


def test_a_still_picture_shows_which_points_are_asked_about(tmp_path):
    path = tmp_path / "ledger.sqlite"
    source = make_world(path, points=6, asked=(0, 4))
    with start(path, source) as session:
        session.assign(2)
        cell = session.ledger.query(1).cell
    with Ledger.read(path) as ledger:
        other = still_of_query(
            ledger, source, lambda *_: None, 2, PALETTE, "answer", "top", "white"
        )
        rows = rows_of_cell(other.xyz, cell, SIZE)
        asked, rest = rows[[0, 4]], np.delete(rows, [0, 4])
        assert np.allclose(other.colours[asked], PALETTE[2])
        elsewhere = np.setdiff1d(np.arange(len(other.xyz)), [*rows, *other.current])
        assert np.allclose(other.colours[rest], other.colours[elsewhere[0]])  # not "no class"
        second = rows_of_cell(other.xyz, ledger.query(2).cell, SIZE)
        assert other.current.tolist() == second[[0, 4]].tolist()


def test_a_reviewer_sees_where_people_differ_in_the_points_asked_about(tmp_path):
    path = tmp_path / "ledger.sqlite"
    source = make_world(path, points=6, asked=(0, 4, 5))
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.answer(1, [0, 1, 1], annotator="ann")
        ledger.request(1, "overlap", annotator="lead")
        ledger.answer(1, [0, 2, 1], annotator="bob")
        ledger.ignore(2, annotator="ann")
    controller, _, _ = open_review(path, source)
    review = controller.session
    review.go_to(1)
    assert review.differing.tolist() == [False, True, False]
    assert "they differ in 1 point" in heading(review)
    review.go_to(2)
    assert review.labels.tolist() == [255] * 3 and not review.differing.any()
    assert review.differing.shape == (3,)
    review.close()


@pytest.fixture
def in_part(asked, tmp_path):
    """A work directory with 20 queries that ask about one point each, selected by the command."""
    config = tiny_config(
        asked / "kitti", active={"queries_per_scan": 5, "label_points": "one", "strategy": "vcd"}
    )
    select_only(config, tmp_path / "run", predictions=str(asked / "predictions"))
    (tmp_path / "run/config.yaml").write_text(dump_config(config))
    return tmp_path / "run"


def test_a_package_carries_which_points_are_asked_about(in_part, capsys):
    package = pack(in_part, "one", "ann", "--limit", "7")
    with open_labelling(package).session as session, ledger_of(in_part) as ledger:
        points = {}
        while session.current is not None:
            query = session.current
            assert query.label_points == ledger.query(query.id).label_points
            assert session.view.rows.size == 1
            points[query.id] = len(points) % 3
            session.assign(points[query.id])
    assert main(["ledger", "verify", str(package)]) == 0
    capsys.readouterr()
    for new in (7, 0):  # merging again adds nothing
        assert main(["package", "merge", str(in_part), str(package)]) == 0
        assert f"{new} new answers" in capsys.readouterr().out
    with ledger_of(in_part) as ledger:
        given = {query.id: answer.labels.tolist() for query, answer in ledger.responses() if answer}
        assert given == {query: [label] for query, label in points.items()}
        assert round_cost(ledger, 1).labelled_points == 7
    assert main(["ledger", "verify", str(in_part)]) == 0


def test_a_package_that_asks_about_other_points_is_foreign(in_part, capsys):
    package = pack(in_part)
    with ledger_of(in_part) as ledger:
        query = next(q for q in ledger.queries() if q.num_points > 1)
    text = next(str(i) for i in range(query.num_points) if i not in (query.label_points or ()))
    corrupt(
        package, f"UPDATE queries SET label_points = '{text}', seal = NULL WHERE id = {query.id}"
    )
    assert main(["package", "merge", str(in_part), str(package)]) == 1
    assert f"query {query.id}" in capsys.readouterr().err


def as_of_version_3(path):
    """The file as version 3 would have written it, where every point is asked about."""
    db = sqlite3.connect(path)
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    columns = ", ".join((*COLUMNS["queries"][:-1], "seal"))
    db.execute(f"CREATE TABLE before ({schema.tables(3)['queries']})")
    db.execute(f"INSERT INTO before SELECT {columns} FROM queries WHERE label_points IS NULL")
    db.execute("DROP TABLE queries")
    db.execute("ALTER TABLE before RENAME TO queries")
    for statement in (schema.INDICES[0], *triggers(3), "PRAGMA user_version = 3"):
        db.execute(statement)
    db.commit()
    db.close()


def test_a_package_of_version_3_is_labelled_and_comes_home(home, capsys):
    package = pack(home, "one", "ann", "--limit", "3")
    as_of_version_3(package)
    assert main(["ledger", "verify", str(package)]) == 0
    assert main(["package", "merge", str(home), str(package)]) == 0  # read as it is
    assert "0 new answers" in capsys.readouterr().out
    with open_labelling(package).session as session:
        session.assign(1)
    assert main(["package", "merge", str(home), str(package)]) == 0
    assert "1 new answers" in capsys.readouterr().out


def test_a_changed_scan_is_noticed_even_if_only_other_points_changed(tmp_path):
    path = tmp_path / "ledger.sqlite"
    source = make_world(path, points=6, asked=(0,))
    with Ledger.read(path) as ledger:
        query = ledger.query(1)
        views = QueryViews(source, ledger.scan, SIZE, None)
        fewer = source.scans[query.scan]
        keep = np.ones(len(fewer), bool)
        keep[rows_of_cell(fewer.xyz, CELLS[0], SIZE)[-1]] = False
        source.scans[query.scan] = type(fewer)(
            fewer.id,
            fewer.xyz[keep],
            fewer.intensity[keep],
            None,
            fewer.rows[keep],
            fewer.num_raw,
        )
        with pytest.raises(ValueError, match="was asked with 6 points and has 5"):
            views.view(query)
        views.close()
