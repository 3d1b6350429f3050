"""A query may ask about some points of its voxel: what is recorded, counted and refused."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from asked import Asked
from busy_ledgers import corrupt, rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator3d.analysis.quality.agreement import compare
from annotator3d.cli.main import main
from annotator3d.ledger.effort import effort_by_query, round_cost
from annotator3d.ledger.history import describe_history
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.verify import verify

NAMES, DIGEST = ["road", "car", "tree"], "d1"


def in_part(cell, num_points, places):
    return Asked(cell, num_points, label_points=places)


def new_ledger(path, *picks):
    ledger = Ledger.open(path, NAMES, DIGEST)
    ledger.register_scan("00/0", "f", 99)
    ledger.add_round(1, "vcd", 0, max(len(picks), 1), {"00/0": picks})
    return ledger


@pytest.fixture
def asked(tmp_path):
    """Queries about points 0 and 3 of five, about one of two, and about a whole voxel of two."""
    picks = (
        in_part((0, 0, 0), 5, (0, 3)),
        in_part((1, 0, 0), 2, (1,)),
        in_part((2, 0, 0), 2, None),
    )
    with new_ledger(tmp_path / "ledger.sqlite", *picks) as ledger:
        yield ledger


def test_an_answer_has_a_label_for_each_point_asked_about_and_for_no_other(asked):
    assert [q.label_points for q in asked.queries()] == [(0, 3), (1,), None]
    assert [q.num_labels for q in asked.queries()] == [2, 1, 2]
    for wrong in ([1], [1, 1, 1], [1] * 5):
        with pytest.raises(ValueError, match="each of the 2 points that it asks about"):
            asked.answer(1, wrong, annotator="ann")
        with pytest.raises(sqlite3.IntegrityError, match="one label per point that is asked"):
            asked.file.db.execute(
                "INSERT INTO events (query, kind, labels, annotator) VALUES (1, 'answer', ?, 'x')",
                (bytes(wrong),),
            )
    asked.answer(1, [2, 1], annotator="ann")
    assert asked.current(1).labels.tolist() == [2, 1]
    ((scan, voxel),) = asked.labels()
    assert (scan, voxel.cell, voxel.labels.tolist()) == ("00/0", (0, 0, 0), [2, 255, 255, 1, 255])


def test_a_point_that_was_not_asked_about_is_not_a_point_without_a_class(asked):
    asked.answer(1, [2, 255], annotator="ann", seconds=2.0, clicks=3)  # one point has no class
    asked.answer(2, [255], annotator="ann", seconds=1.0, clicks=1)  # none has: void
    asked.answer(3, [0, 1], annotator="ann", seconds=1.0, clicks=2)
    cost = round_cost(asked, 1)
    assert (cost.voxels, cost.points, cost.answered) == (3, 2 + 1 + 2, 3)
    assert (cost.labelled_points, cost.void_voxels) == (1 + 0 + 2, 1)
    assert cost.classes_per_voxel == 1.5  # of the two that are not void
    assert [work.classes for work in effort_by_query(asked)] == [1, 1, 2]
    assert asked.summary().points == 5


def test_people_who_agree_about_the_points_that_were_asked_do_not_differ(asked):
    asked.answer(1, [2, 1], annotator="ann")
    asked.request(1, "overlap", annotator="lead")
    asked.answer(1, [2, 1], annotator="bob")
    assert not asked.outcome(1).disputed
    asked.ignore(2, annotator="ann")
    asked.request(2, "overlap", annotator="lead")
    asked.answer(2, [255], annotator="bob")  # the same as "no class fits", of one point
    assert not asked.outcome(2).disputed
    together = compare(asked.histories(), len(NAMES)).together
    assert together.points.sum() == np.trace(together.points) == 2 + 1  # no more were compared
    assert [voxel.labels.tolist() for _, voxel in asked.labels()] == [
        [2, 255, 255, 1, 255],
        [255, 255],
    ]


@pytest.mark.parametrize("points", [(), (3, 0), (1, 1), (5,), (-1, 2)])
def test_points_that_the_voxel_does_not_have_are_not_asked_about(tmp_path, points):
    with pytest.raises(ValueError, match=r"cell \(0, 0, 0\): label_points must be ascending"):
        new_ledger(tmp_path / "ledger.sqlite", in_part((0, 0, 0), 5, points))


def test_all_points_are_recorded_in_one_way_only(tmp_path):
    with new_ledger(tmp_path / "a.sqlite", in_part((0, 0, 0), 3, (0, 1, 2))) as ledger:
        assert ledger.query(1).label_points is None
        plain = ledger.export_canonical()
    with new_ledger(tmp_path / "b.sqlite", in_part((0, 0, 0), 3, None)) as ledger:
        assert ledger.export_canonical() == plain


@pytest.mark.parametrize(
    "text", ["''", "'3,,4'", "',3'", "'3,'", "'three'", "'0,1,2,3,4'", "x'03'"]
)
def test_the_database_refuses_what_is_no_list_of_some_points(tmp_path, text):
    with Ledger.open(tmp_path / "ledger.sqlite", NAMES, DIGEST) as ledger:
        ledger.register_scan("00/0", "f", 99)
        ledger.add_round(1, "vcd", 0, 1, {}, planned=1)
        insert = (
            "INSERT INTO queries (round, position, scan, x, y, z, rank, score, num_points,"
            " label_points) VALUES (1, 0, '00/0', 0, 0, 0, 0, 0.5, 5, {})"
        )
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            ledger.file.db.execute(insert.format(text))
        ledger.file.db.execute(insert.format("'1'"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("'3,0'", "query 1: label_points must be ascending places in a voxel of 5 points, got 3,0"),
        ("'1,5'", "query 1: label_points must be ascending places in a voxel of 5 points, got 1,5"),
        ("'0,2'", "query 1 has changed since it was written"),
        ("NULL", "query 1 has changed since it was written"),
    ],
)
def test_verify_names_a_query_whose_points_were_changed(asked, change, words):
    asked.answer(1, [2, 1], annotator="ann")
    asked.close()
    assert verify(asked.path).problems == []
    corrupt(asked.path, f"UPDATE queries SET label_points = {change} WHERE id = 1")
    assert words in verify(asked.path).problems
    with pytest.raises(ValueError, match="query 1 has changed"):
        Ledger.read(asked.path)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_what_was_asked_travels_as_text(asked, tmp_path, format):
    asked.answer(1, [2, 1], annotator="ann")
    canonical = asked.export_canonical()
    assert canonical.count('"label_points": [0, 3]') == 1 == canonical.count('"label_points": [1]')
    asked.close()
    out, back = tmp_path / "out", tmp_path / "back.sqlite"
    assert main(["ledger", "export", str(asked.path), str(out), "--format", format]) == 0
    assert main(["ledger", "import", str(out), str(back)]) == 0
    assert rows_of(back) == rows_of(asked.path)
    with Ledger.read(back) as ledger:
        assert ledger.query(1).label_points == (0, 3)
        assert ledger.export_canonical() == canonical
        assert "2 of 5 points" in describe_history(ledger, query=1)[0]


@st.composite
def voxels(draw):
    """(points, places that are asked about or None, a label of each)."""
    size = draw(st.integers(1, 30))
    places = draw(st.none() | st.sets(st.integers(0, size - 1), min_size=1).map(sorted))
    asked = size if places is None else len(places)
    labels = draw(st.lists(st.sampled_from([0, 1, 2, 255]), min_size=asked, max_size=asked))
    return size, places, labels


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given_voxels=st.lists(voxels(), min_size=1, max_size=4))
def test_whatever_is_asked_comes_back_on_its_points(given_voxels, tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    picks = [
        in_part((i, 0, 0), size, places and tuple(places))
        for i, (size, places, _) in enumerate(given_voxels)
    ]
    with new_ledger(path, *picks) as ledger:
        for query, (_, _, labels) in zip(ledger.queries(), given_voxels, strict=True):
            ledger.answer(query.id, labels, annotator="ann")
        found = [voxel.labels.tolist() for _, voxel in ledger.labels()]
        cost = round_cost(ledger, 1)
        queries = ledger.queries()
    expected = []
    for size, places, labels in given_voxels:
        known = dict(zip(range(size) if places is None else places, labels, strict=True))
        expected.append([known.get(point, 255) for point in range(size)])
    assert found == expected
    assert cost.points == sum(len(labels) for *_, labels in given_voxels)
    assert cost.labelled_points == sum(label != 255 for row in expected for label in row)
    for query, (size, places, _) in zip(queries, given_voxels, strict=True):
        rows = np.arange(size) * 10
        assert query.asked_of(rows).tolist() == [10 * i for i in (places or range(size))]
