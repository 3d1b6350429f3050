"""Two people on one ledger: neither waits for the other, and nobody's answer is written over."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from session_world import DIGEST, NAMES, SIZE, make_world, start

from annotator3d.annotation.queue import Filter
from annotator3d.ledger.actions import ConflictError, EventDraft
from annotator3d.ledger.ledger import Answer, Ledger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def two(path):
    source = make_world(path, scans=("00/0", "00/1", "00/2"))
    ann, bob = start(path, source, "ann"), start(path, source, "bob")
    yield ann, bob
    ann.close(), bob.close()


def age(path, seconds):
    """Make every lease older; what a clock does."""
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        db = ledger.file.db
        for query, who, length in db.execute(
            "SELECT query, annotator, seconds FROM events WHERE kind = 'lease' AND id IN"
            " (SELECT MAX(id) FROM events WHERE kind = 'lease' GROUP BY query)"
        ).fetchall():
            db.execute(
                "INSERT INTO events (query, kind, annotator, seconds, created_at) VALUES"
                " (?, 'lease', ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?))",
                (query, who, length, f"-{seconds} seconds"),
            )


def test_two_people_are_never_asked_the_same_and_get_scans_of_their_own(two):
    ann, bob = two
    assert (ann.current.id, bob.current.id) == (1, 4)
    asked = {"ann": [], "bob": []}
    while ann.current or bob.current:
        for person in two:
            if person.current:
                asked[person.annotator].append(person.current.id)
                person.assign(0)
            else:
                person.next()
    assert sorted(asked["ann"] + asked["bob"]) == list(range(1, 10))
    assert asked["ann"][:3] == [1, 2, 3] and asked["bob"][:3] == [4, 5, 6]


def test_who_has_a_query_is_told_and_kept_from_others(two, path):
    ann, bob = two
    bob.go_to(1)
    assert bob.holder == "ann" and ann.holder is None
    with pytest.raises(ConflictError, match="query 1 is being answered by ann"):
        bob.assign(2)
    assert bob.labels.tolist() == [254] * 4
    assert bob.bulk("skip", [1, 4]).left_out.keys() == {1}
    ann.assign(0)
    bob.sync()
    assert bob.holder is None and bob.labels.tolist() == [0] * 4
    bob.assign(2)  # now a correction
    with Ledger.read(path) as ledger:
        assert ledger.current(1).annotator == "bob"


def test_an_expired_lease_does_not_block_and_later_answers_stay(two, path):
    ann, bob = two
    ann.paint([True, False, False, False])
    age(path, 601)
    bob.set_filter(Filter(scans=["00/0"]))
    assert bob.current.id == 1  # ann has gone for lunch
    with pytest.raises(ConflictError, match="is being answered by bob"):
        ann.assign(0)
    bob.assign(2)
    assert ann.sync() and ann.labels.tolist() == [2] * 4
    assert ann.parts.mask.all()  # what she was about to part is no longer there
    ann.next()
    ann.go_to(1)
    assert ann.labels.tolist() == [2] * 4


def test_nobody_writes_over_an_answer_that_was_not_on_the_screen(two, path):
    ann, bob = two
    ann.assign(0)
    ann.go_to(1)
    bob.go_to(1)
    bob.assign(1)
    with pytest.raises(ConflictError, match="query 1 was changed by bob since it was shown"):
        ann.assign(2)
    assert ann.labels.tolist() == [1] * 4  # now it is
    ann.assign(2)
    bob.sync()
    assert bob.labels_of(1).tolist() == [2] * 4


def test_a_key_does_not_take_in_what_was_not_on_the_screen(two):
    ann, bob = two
    bob.go_to(1)
    ann.assign(0)
    bob.touch()  # as every key does, before its action
    with pytest.raises(ConflictError, match="query 1 was changed by ann since it was shown"):
        bob.assign(2)
    assert bob.labels.tolist() == [0] * 4  # now it is
    bob.touch()
    bob.assign(2)
    assert bob.labels_of(1).tolist() == [2] * 4


def test_a_sign_of_life_renews_the_lease_when_half_of_it_is_gone(two, path):
    ann, bob = two

    def leases():
        return [e for e in ann.ledger.events(1) if e.answer.kind == "lease"]

    ann.touch()
    assert len(leases()) == 1
    age(path, 301)
    ann.sync()
    ann.touch()
    assert len(leases()) == 3
    ann.touch()
    assert len(leases()) == 3
    age(path, 299)  # of the renewed one
    bob.go_to(1)
    assert bob.holder == "ann"


def test_a_query_that_is_answered_just_before_it_is_held_is_not_asked_again(two, monkeypatch):
    ann, bob = two
    plain = ann.ledger.leases.hold

    def late(queries, **more):
        if 7 in queries and bob.state_of(7) == "open":
            bob.ledger.answer(7, [1] * 4, annotator="bob")
            bob.sync()
        return plain(queries, **more)

    monkeypatch.setattr(ann.ledger.leases, "hold", late)
    for _ in range(3):
        ann.assign(0)
    assert ann.current.id == 8 and ann.labels_of(7).tolist() == [1] * 4


def test_what_is_answered_while_one_looks_for_the_next_query_is_not_shown(two, monkeypatch):
    ann, bob = two
    plain = ann.ledger.leases.hold

    def late(queries, **more):
        """Bob takes 7 and answers 8 and 9 when ann reaches for 7."""
        if 7 in queries and bob.state_of(8) == "open":
            bob.go_to(7)
            for query in (8, 9):
                bob.ledger.answer(query, [1] * 4, annotator="bob")
        return plain(queries, **more)

    monkeypatch.setattr(ann.ledger.leases, "hold", late)
    for _ in range(3):
        ann.assign(0)
    assert ann.current is None  # all were taken when she looked
    assert ann.next() and ann.current.id == 4  # bob has given it back


def test_a_fresh_lease_is_left_as_it_is_and_only_ones_own_is_given_back(two):
    ann, bob = two
    ledger, before = bob.ledger, len(bob.ledger.events())
    assert ledger.leases.hold([4, 5, 1], annotator="bob", seconds=600) == {4, 5}  # ann has 1
    ledger.leases.give_back([1, 9], annotator="bob")
    assert len(ledger.events()) == before
    assert ledger.leases.hold([4], annotator="bob", seconds=2000) == {4}  # for longer
    assert len(ledger.events()) == before + 1


def test_closing_gives_back_what_is_held(two):
    ann, bob = two
    ann.close()
    bob.set_filter(Filter(scans=["00/0"]))
    assert bob.current.id == 1 and bob.holder is None


def test_an_undo_takes_back_ones_own_answers_only(two):
    ann, bob = two
    ann.assign(0)
    ann.assign(1)
    bob.go_to(2)
    bob.assign(2)  # corrects ann
    assert ann.undo().done == [1]  # 2 is bob's now
    assert ann.labels_of(2).tolist() == [2] * 4 and not ann.can_undo
    assert bob.undo().done == [2]
    ann.sync()
    assert ann.labels_of(2).tolist() == [1] * 4  # ann's again
    assert ann.undo().done == [2]
    assert ann.redo().done == [2]


def test_what_somebody_else_has_answered_since_is_not_done_again(two):
    ann, bob = two
    ann.bulk("answer", [1, 2], 0)
    ann.undo()
    ann.next()
    ann.go_to(9)
    bob.go_to(2)
    bob.assign(1)
    bob.go_to(4)
    assert ann.redo().done == [1]
    assert ann.labels_of(2).tolist() == [1] * 4 and not ann.can_redo


def test_a_query_that_is_released_leaves_the_screen(two, path):
    ann, bob = two
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.release(1, annotator="lead")
        ledger.release(5, annotator="lead")
    with pytest.raises(ConflictError, match="query 1 was released"):
        ann.assign(0)
    assert ann.current is None and ann.matching() == [2, 3, 4, 6, 7, 8, 9]
    assert ann.next() and ann.current.id == 2
    with pytest.raises(ValueError, match="no query 1, or it was released"):
        ann.go_to(1)
    bob.assign(0)
    assert bob.current.id == 6


def test_a_draft_on_a_released_query_is_not_undone(two):
    ann, _ = two
    ann.paint([True, False, False, False])
    ann.assign(0)
    ann.ledger.release(1, annotator="lead")
    ann.sync()
    assert not ann.can_undo
    with pytest.raises(ValueError, match="nothing to undo"):
        ann.undo()


def test_an_action_is_written_whole_or_not_at_all(two, path):
    ann, bob = two
    ledger = ann.ledger
    before = len(ledger.events())
    good, bad = EventDraft(1, Answer("skip"), None, None), EventDraft(4, Answer("skip"), None, None)
    with pytest.raises(ConflictError) as refused:
        ledger.act([good, bad], annotator="ann")  # bob holds 4
    assert refused.value.queries == (4,) and len(ledger.events()) == before
    with pytest.raises(ValueError, match="one integer label"):
        ledger.act([good, EventDraft(2, Answer("draft", [0]), None, None)], annotator="ann")
    assert len(ledger.events()) == before


WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from session_world import make_scan, Source, start
path, me, scans = sys.argv[2], sys.argv[3], sys.argv[4].split()
cells = [(4 + i, 0, 0) for i in range(int(sys.argv[5]))]
source = Source({scan: make_scan(scan, cells, 1) for scan in scans})
session, answers = start(path, source, me), 1
session.assign(me == "ann")
print("begun", flush=True)
sys.stdin.readline()
while session.current:
    session.assign(me == "ann")
    answers += 1
session.close()
print(answers)
"""


def test_two_processes_answer_at_once_and_nothing_is_lost(tmp_path):
    """ANNOTATOR3D_ANSWERS=10000 runs it at full size."""
    total, in_scan = int(os.environ.get("ANNOTATOR3D_ANSWERS", "400")), 20
    path, scans = tmp_path / "ledger.sqlite", [f"00/{i:04d}" for i in range(total // in_scan)]
    make_world(path, scans, cells=[(4 + i, 0, 0) for i in range(in_scan)], points=1)
    here = str(Path(__file__).parents[1] / "support")
    people = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, here, str(path), me, " ".join(scans), str(in_scan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in ("ann", "bob")
    ]
    for person in people:
        assert person.stdout.readline() == "begun\n"
    for person in people:
        person.stdin.write("go\n")
        person.stdin.flush()
    given = [int(person.communicate()[0]) for person in people]
    assert [person.returncode for person in people] == [0, 0]
    with Ledger.read(path) as ledger:
        said = [e for e in ledger.events() if e.answer.kind == "answer"]
        assert len(said) == sum(given) == total == len({e.query for e in said})
        by = {who: sum(e.answer.annotator == who for e in said) for who in ("ann", "bob")}
        assert list(by.values()) == given
        for query, answer in ledger.responses():
            assert answer.labels.tolist() == [answer.annotator == "ann"], query
