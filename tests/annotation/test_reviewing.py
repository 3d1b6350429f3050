"""Reviewing: what is gone through, what each decision does, and that it can be taken back."""

import json
import shutil
import sqlite3
from contextlib import closing
from itertools import count

import pytest
from fake_frontend import open_review
from killing import die, killed
from session_world import DIGEST, NAMES, SIZE, make_world, start

from annotator3d.annotation.opening import open_session
from annotator3d.annotation.review import Criteria
from annotator3d.annotation.review_session import ReviewSession
from annotator3d.cli.main import main
from annotator3d.ledger.actions import ConflictError
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.migrate import migrate, plan


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def source(path):
    """Queries 1 to 6; 1 disputed (ann road, bob half car), 2 agreed, 3 ann's car, 4 skipped."""
    source = make_world(path)
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        for query in (1, 2):
            ledger.request(query, "overlap", annotator="lead")
            ledger.answer(query, [0, 0, 0, 0], annotator="ann")
        ledger.answer(1, [0, 0, 1, 1], annotator="bob")
        ledger.answer(2, [0, 0, 0, 0], annotator="bob")
        ledger.answer(3, [1, 1, 1, 1], annotator="ann")
        ledger.skip(4, annotator="ann")
    return source


def review(path, source, annotator="lead", **criteria):
    ledger = Ledger.open(path, NAMES, DIGEST, SIZE)
    return ReviewSession(ledger, source, annotator, criteria=Criteria(**criteria))


def trained(path):
    """What training sees: cell -> labels, of the first scan."""
    with Ledger.read(path) as ledger:
        queries = {(q.scan, q.cell): q.id for q in ledger.queries()}
        return {queries[scan, entry.cell]: entry.labels.tolist() for scan, entry in ledger.labels()}


def test_a_review_shows_answered_and_disputed_queries_with_opinions(path, source):
    session = review(path, source)
    assert session.matching() == [1, 2, 3] and session.to_review == 3
    assert session.current.id == 1 and session.state == "disputed"
    assert [e.answer.annotator for e in session.opinions] == ["ann", "bob"]
    assert session.labels.tolist() == [0, 0, 0, 0]
    assert session.differing.tolist() == [False, False, True, True]
    session.step_opinion()
    assert session.labels.tolist() == [0, 0, 1, 1] and session.opinion == 1
    session.step_opinion()
    assert session.opinion == 0


def test_an_approved_opinion_is_trained_on_and_the_next_query_comes(path, source):
    session = review(path, source)
    assert 1 not in trained(path)
    session.step_opinion()
    session.do("approve")
    assert session.current.id == 2 and session.matching() == [2, 3]
    assert trained(path)[1] == [0, 0, 1, 1]
    session.undo()
    assert session.current.id == 1 and 1 not in trained(path)
    session.redo()
    assert trained(path)[1] == [0, 0, 1, 1] and session.approved == [1]


def test_an_answer_of_ones_own_decides(path, source):
    session = review(path, source)
    session.assign(2)
    assert trained(path)[1] == [2, 2, 2, 2] and session.current.id == 2
    assert [e.answer.annotator for e in session.ledger.events(1)][-2:] == ["lead", "lead"]
    for _ in range(2):
        session.undo()
        assert session.state == "disputed" and 1 not in trained(path)
        session.redo()
        assert trained(path)[1] == [2, 2, 2, 2]


def test_an_answer_in_parts_decides_once_it_is_whole(path, source):
    session = review(path, source)
    session.paint([True, False, False, False])
    session.assign(2)
    assert session.labels.tolist() == [2, 0, 0, 0]  # on top of the opinion that was shown
    assert session.current.id == 1 and not session.parts.mask[0]  # the other part comes next
    assert trained(path)[1] == [2, 0, 0, 0]
    session.assign(1)
    assert trained(path)[1] == [2, 1, 1, 1] and session.current.id == 2
    session.undo()
    assert trained(path)[1] == [2, 0, 0, 0]


def test_a_rejected_opinion_leaves_the_other_one(path, source):
    session = review(path, source)
    session.do("reject")
    assert session.current.id == 1 and session.state == "answered"
    assert [e.answer.annotator for e in session.opinions] == ["bob"]
    assert trained(path)[1] == [0, 0, 1, 1]
    session.do("reject")
    assert session.current.id == 2 and 1 not in trained(path)
    assert 1 in [query.id for query in session.ledger.open_queries()]
    session.undo(), session.undo()
    assert session.current.id == 1 and session.state == "disputed"


def test_a_rejected_query_is_asked_again_at_once(path, source):
    session = review(path, source, people=("ann",), classes=(1,))
    assert session.matching() == [3]
    session.reject()
    ann = start(path, source, "ann")
    ann.go_to(3)
    assert ann.state == "open" and ann.labels.tolist() == [254] * 4
    ann.assign(0)
    assert trained(path)[3] == [0, 0, 0, 0]


def test_deciding_otherwise_later_overrules_what_was_approved(path, source):
    session = review(path, source)
    session.approve()
    assert trained(path)[1] == [0, 0, 0, 0]
    session.go_to(1)
    session.step_opinion()
    session.approve()
    assert trained(path)[1] == [0, 0, 1, 1] and session.ledger.current(1).annotator == "bob"
    session.go_to(1)
    session.assign(2)
    assert trained(path)[1] == [2, 2, 2, 2]
    session.undo()
    assert trained(path)[1] == [0, 0, 1, 1]
    session.undo()
    assert trained(path)[1] == [0, 0, 0, 0]
    session.redo(), session.redo()
    assert trained(path)[1] == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({"disputed": True}, [1]),
        ({"classes": (1,)}, [1, 3]),
        ({"classes": (1,), "people": ("ann",)}, [3]),
        ({"people": ("bob",)}, [1, 2]),
        ({"rounds": (2,)}, []),
        ({"since": "2100"}, []),
        ({"until": "2000"}, []),
        ({"since": "2000", "until": "2100"}, [1, 2, 3]),
        ({"responses": (5, 7)}, [1, 3]),  # bob's to 1, ann's to 3
        ({"responses": (5, 7), "people": ("ann",)}, [3]),
    ],
)
def test_only_what_is_wanted_is_gone_through(path, source, criteria, expected):
    session = review(path, source, **criteria)
    assert session.matching() == expected
    assert (session.current.id if expected else session.current) == (
        expected[0] if expected else None
    )


def test_who_is_asked_for_an_opinion_cannot_review_it_first(path, source):
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.request(3, "overlap", annotator="boss")
    session = review(path, source)
    assert session.matching() == [1, 2]
    session.go_to(3)
    assert session.opinions == [] and session.labels.tolist() == [254] * 4
    for action in ("approve", "reject", "next opinion"):
        with pytest.raises(ValueError, match="waits for your own opinion"):
            session.do(action)
    session.assign(0)  # is that opinion, and no decision
    assert not session.ledger.outcome(3).approved and session.ledger.outcome(3).disputed


def test_two_reviewers_do_not_decide_about_the_same(path, source):
    first, second = review(path, source), review(path, source, "boss")
    assert second.current is None  # the scan's queries are held
    second.go_to(1)
    assert second.holder == "lead"
    with pytest.raises(ConflictError, match="being answered by lead"):
        second.approve()
    first.approve()
    second.sync()
    assert second.holder is None and second.matching() == [2, 3]


def test_what_is_corrected_while_it_is_reviewed_is_shown_anew(path, source):
    session = review(path, source, people=("ann",))
    session.go_to(3)
    session.ledger.answer(3, [2, 2, 2, 2], annotator="ann")  # as another machine's answers come
    with pytest.raises(ConflictError, match="changed by ann"):
        session.approve()
    assert session.labels.tolist() == [2, 2, 2, 2]
    session.approve()
    assert trained(path)[3] == [2, 2, 2, 2]


def test_a_review_goes_on_after_a_restart_with_its_undo(path, source):
    session = review(path, source)
    session.approve()
    session.assign(1)
    session.close()
    session = review(path, source)
    assert session.matching() == [3]
    session.undo(), session.undo()
    assert session.matching() == [1, 2, 3] and not session.can_undo
    session.redo(), session.redo()
    assert session.matching() == [3] and trained(path)[2] == [1, 1, 1, 1]


def decisions(path):
    """What reviewers have written, but for what it took."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT query, kind, annotator, labels, supersedes FROM events"
            " WHERE kind != 'lease' AND annotator = 'lead' AND kind != 'request' ORDER BY id"
        ).fetchall()


DECISIONS = {  # where another one was approved before, and the rows that each writes
    "approve": (lambda session: session.approve(), ["approve", "reject"]),
    "an answer of one's own": (lambda session: session.assign(2), ["answer", "approve"]),
    "reject": (lambda session: session.reject(), ["reject"]),
    "undo": (lambda session: session.undo(), ["undo"]),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_killed_within_a_decision_all_of_it_or_nothing_is_there(path, source, name):
    decide, rows = DECISIONS[name]
    session = review(path, source)
    session.approve()  # of ann's
    session.close()

    def begin(copy):
        session = review(copy, source)
        session.go_to(1)
        session.step_opinion()  # to bob's
        return session

    def work(copy, statement):
        session, left = begin(copy), [statement]

        def tick(_):
            left[0] -= 1
            if left[0] < 0:
                die()

        session.ledger.file.db.set_trace_callback(tick)
        decide(session)

    before, seen = decisions(path), []
    for statement in count(step=2):
        copy = path.with_name(f"{statement}.sqlite")
        shutil.copy(path, copy)
        going = killed(lambda copy=copy, statement=statement: work(copy, statement))
        after = decisions(copy)
        if after not in seen:
            seen.append(after)
        if after == before:
            session = begin(copy)
            decide(session)
            session.close()
        whole = decisions(copy)
        assert [kind for _, kind, *_ in whole[len(before) :]] == rows
        if not going:
            break
    assert seen == [before, whole] and statement > 5


def test_a_note_stands_beside_the_decision(path, source):
    session = review(path, source)
    session.note("mirror of the car")
    assert [note.answer.note for note in session.notes] == ["mirror of the car"]


def test_a_session_is_opened_for_review(path, source):
    session = open_session(path, source, "lead", NAMES, DIGEST, review=Criteria(disputed=True))
    assert isinstance(session, ReviewSession) and session.matching() == [1]


def test_keys_and_lists_do_what_the_session_does(path, source):
    from annotator3d.viz.colours import ALIKE, DIFFERENT
    from annotator3d.viz.dropdowns import dropdowns

    controller, frontend, errors = open_review(path, source)
    session, scene_model = controller.session, controller.scene_model
    controller.start()
    controller.press("space")
    assert session.opinion == 1
    lists = {dropdown.text: dropdown for dropdown in dropdowns(controller)}
    assert lists["queries"].chosen() == "to review"
    lists["colour"].choose("difference")
    expected = [ALIKE.tolist()] * 2 + [DIFFERENT.tolist()] * 2
    assert scene_model.current_colours().tolist() == expected
    lists["queries"].choose("disputed")
    assert session.matching() == [1]
    controller.press("enter")
    assert frontend.on_disk[-1][-1] == "approve" and session.current is None
    controller.press("ctrl+z")
    assert session.current.id == 1
    controller.press("s")
    assert frontend.on_disk[-1][-1] == "reject" and not errors


def test_the_panel_says_who_said_what(path, source):
    from annotator3d.viz import panel_text

    session = review(path, source)
    session.step_opinion()
    lines = panel_text.heading(session).splitlines()
    assert lines[3].startswith("  1. ann, ") and lines[3].endswith(": road")
    assert lines[4].startswith("> 2. bob, ") and lines[4].endswith(": road, car")
    assert lines[5] == "they differ in 2 points"
    assert panel_text.progress(session).endswith("; 3 to review, 1 disputed")


def test_an_opinion_of_a_split_class_is_named_and_what_approving_it_does(path, source, capsys):
    """In the panel, in the report, and before the class list is changed."""
    from annotator3d.viz import panel_text

    new = ("lane", "kerb", "car", "tree")
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        found = plan(ledger, new, "new", split={"road": ["lane", "kerb"]})
        assert (found.reopened, found.disputed) == (1, 1)
        migrate(ledger, found)
    session = open_session(path, source, "lead", new, "new", review=Criteria(disputed=True))
    lines = panel_text.heading(session).splitlines()
    assert lines[3].endswith(": to be labelled (then: road)")
    assert lines[4].endswith(": car, to be labelled (then: road)")
    open_again = "after approval the voxel stays open for the points to be labelled"
    assert lines[-1] == open_again
    session.approve()
    assert 1 in [query.id for query in session.ledger.open_queries()]
    session.undo()
    assert main(["quality", "report", str(path.parent), "--json"]) == 0
    (disputed,) = json.loads(capsys.readouterr().out)["disputed"]
    assert disputed["said"] == [
        ["ann", "to be labelled (then: road)"],
        ["bob", "car, to be labelled (then: road)"],
    ]
    session.close()
