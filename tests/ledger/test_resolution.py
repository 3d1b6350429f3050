"""What stands for a query when people correct each other, disagree, and are asked again."""

import random

import numpy as np
import pytest
from asked import Asked
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.annotation.query_states import QueryStates
from annotator3d.ledger.ledger import Answer, Ledger, ScanRecord
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.resolution import outcome, visible_and_parent
from annotator3d.ledger.schema import Ask, EventKind

NAMES = ["car", "road", "tree"]


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite", NAMES, "d") as ledger:
        ledger.register_scan("00/0", "f", 9)
        ledger.add_round(1, "vcd", 0, 1, {"00/0": [Asked(num_points=3)]})
        yield ledger


def answer(ledger, labels, who):
    return ledger.answer(1, labels, annotator=who)


def labels(ledger):
    return [entry.labels.tolist() for entry in ledger.labels_for_scan("00/0")]


def seen_by(ledger, who):
    standing = QueryStates(who)
    standing.add(ledger.queries())
    standing.feed(ledger.events())
    return standing


def test_a_second_opinion_that_agrees_counts_once(ledger):
    ledger.request(1, "overlap", annotator="lead")
    answer(ledger, [0, 1, 1], "ann")
    assert ledger.open_queries() and labels(ledger) == [[0, 1, 1]]
    answer(ledger, [0, 1, 1], "bob")
    assert not ledger.open_queries() and labels(ledger) == [[0, 1, 1]]
    assert len(ledger.outcome(1).active_responses) == 2 and ledger.spent() == 1
    assert ledger.summary().answered == 1 and ledger.summary().disputed == 0


def test_opinions_that_differ_are_not_trained_on_until_one_is_approved(ledger):
    answer(ledger, [0, 1, 1], "ann")
    ledger.request(1, "overlap", annotator="lead")
    second = answer(ledger, [0, 0, 1], "bob")
    assert labels(ledger) == [] and ledger.current(1) is None and not ledger.open_queries()
    assert [q.id for q in ledger.disputed_queries()] == [1] and ledger.summary().disputed == 1
    ledger.review(second, "approve", annotator="lead")
    assert labels(ledger) == [[0, 0, 1]] and not ledger.disputed_queries()


def test_who_gave_an_opinion_corrects_it_and_gives_no_second_one(ledger):
    ledger.request(1, "overlap", annotator="lead")
    answer(ledger, [0, 0, 0], "ann")
    answer(ledger, [1, 1, 1], "ann")
    assert labels(ledger) == [[1, 1, 1]] and len(ledger.outcome(1).active_responses) == 1
    assert ledger.open_queries()  # bob has still to say


def test_a_correction_is_no_second_opinion(ledger):
    first = answer(ledger, [0, 1, 1], "ann")
    ledger.request(1, "overlap", annotator="lead")
    with ledger.transaction():  # somebody who saw it, before the request came to their machine
        ledger.append(1, Answer("answer", np.array([0, 0, 1], np.uint8), "cid"), first)
    assert ledger.open_queries() and labels(ledger) == [[0, 0, 1]]


def test_who_takes_back_the_first_opinion_is_asked_for_the_second(ledger):
    ledger.request(1, "overlap", annotator="lead")
    first = answer(ledger, [0, 1, 1], "ann")
    answer(ledger, [0, 1, 1], "bob")
    with ledger.transaction():
        ledger.append(1, Answer("undo", None, "ann"), first)
    ann = seen_by(ledger, "ann")
    assert ledger.open_queries() and ann.state(1) == "open" and ann.top(1) is None


def test_two_first_opinions_meet_the_request_for_a_second_one(ledger):
    ledger.request(1, "overlap", annotator="lead")
    with ledger.transaction():  # as two machines would, neither knowing of the other
        for who in ("ann", "bob"):
            ledger.append(1, Answer("answer", np.array([0, 1, 1], np.uint8), who), None)
    assert not ledger.open_queries() and labels(ledger) == [[0, 1, 1]]


def test_the_same_person_once_more_is_compared_with_themselves(ledger):
    answer(ledger, [0, 0, 0], "ann")
    ledger.request(1, "repeat", annotator="ann")
    assert seen_by(ledger, "bob").state(1) == "answered"
    assert seen_by(ledger, "ann").state(1) == "open"
    answer(ledger, [1, 1, 1], "ann")
    assert ledger.disputed_queries() and not ledger.open_queries()


def test_an_answer_in_doubt_counts_until_it_is_given_again(ledger):
    answer(ledger, [0, 0, 0], "ann")
    request = ledger.request(1, "again", annotator="lead", note="the network says road")
    assert labels(ledger) == [[0, 0, 0]] and ledger.open_queries()
    assert seen_by(ledger, "cid").labels(1).tolist() == [0, 0, 0]
    given = answer(ledger, [1, 1, 1], "cid")
    assert labels(ledger) == [[1, 1, 1]] and not ledger.open_queries()
    assert ledger.events(1)[-1].supersedes == request
    ledger.undo(1, annotator="cid")
    assert labels(ledger) == [[0, 0, 0]] and ledger.open_queries()
    with pytest.raises(ValueError, match="not a response that counts"):
        ledger.review(given, "approve", annotator="lead")


def test_a_rejection_opens_the_query_and_can_be_undone(ledger):
    event = answer(ledger, [0, 0, 0], "ann")
    verdict = ledger.review(event, "reject", annotator="lead")
    assert ledger.open_queries() and labels(ledger) == []
    with ledger.transaction():
        ledger.append(1, Answer("undo", None, "lead"), verdict)
    assert not ledger.open_queries() and labels(ledger) == [[0, 0, 0]]


def test_who_changes_their_mind_does_not_take_the_place_of_the_other_opinion(ledger):
    answer(ledger, [0, 0, 0], "ann")
    ledger.request(1, "overlap", annotator="lead")
    answer(ledger, [0, 0, 0], "bob")
    answer(ledger, [1, 1, 1], "bob")
    said = {e.annotator: e.labels for e in ledger.outcome(1).active_responses}
    assert said == {"ann": bytes([0, 0, 0]), "bob": bytes([1, 1, 1])}
    assert seen_by(ledger, "ann").labels(1).tolist() == [0, 0, 0]
    assert seen_by(ledger, "bob").labels(1).tolist() == [1, 1, 1]


def test_after_a_decision_everybody_corrects_what_was_decided(ledger):
    first = answer(ledger, [0, 0, 0], "ann")
    ledger.request(1, "overlap", annotator="lead")
    answer(ledger, [1, 1, 1], "bob")
    ledger.review(first, "approve", annotator="lead")
    assert [e.id for e in ledger.outcome(1).approved] == [first]
    bob = seen_by(ledger, "bob")
    assert bob.labels(1).tolist() == [0, 0, 0] and bob.visible_and_parent(1) == (first, first)


def test_a_single_answer_can_be_approved(ledger):
    event = answer(ledger, [0, 0, 0], "ann")
    ledger.review(event, "approve", annotator="lead")
    assert [e.id for e in ledger.outcome(1).approved] == [event]


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_a_review_that_is_done_again_counts_again(ledger, verdict):
    event = answer(ledger, [0, 0, 0], "ann")
    review = ledger.review(event, verdict, annotator="lead")
    with ledger.transaction():
        undo = ledger.append(1, Answer("undo", None, "lead"), review)
        assert ledger.outcome(1).approved == () and ledger.outcome(1).effective.id == event
        ledger.append(1, Answer(verdict, None, "lead"), undo)
    where, counts = ledger.outcome(1), [event] if verdict == "approve" else []
    assert [e.id for e in where.approved] == [e.id for e in where.active_responses] == counts


def test_an_answer_that_is_done_again_keeps_its_approval(ledger):
    event = answer(ledger, [0, 0, 0], "ann")
    ledger.review(event, "approve", annotator="lead")
    with ledger.transaction():
        undo = ledger.append(1, Answer("undo", None, "ann"), event)
        again = ledger.append(1, Answer("answer", np.zeros(3, np.uint8), "ann"), undo)
    assert [e.id for e in ledger.outcome(1).approved] == [again]


def test_a_draft_of_an_opinion_of_ones_own_is_for_nobody_else(ledger):
    first = answer(ledger, [0, 0, 0], "ann")
    asked = ledger.request(1, "overlap", annotator="lead")
    with ledger.transaction():
        draft = Answer("draft", np.array([1, 254, 254], np.uint8), "bob")
        draft = ledger.append(1, draft, asked)
    assert seen_by(ledger, "ann").visible_and_parent(1) == (first, first)
    assert seen_by(ledger, "bob").visible_and_parent(1) == (draft, draft)
    assert seen_by(ledger, "cid").visible_and_parent(1) == (None, asked)


def test_no_class_for_any_point_is_the_same_however_it_was_said(ledger):
    ledger.request(1, "overlap", annotator="lead")
    ledger.ignore(1, annotator="ann")
    answer(ledger, [255, 255, 255], "bob")
    assert labels(ledger) == [[255, 255, 255]] and not ledger.disputed_queries()


def test_who_is_asked_for_an_opinion_does_not_see_the_other_one(ledger):
    answer(ledger, [0, 0, 0], "ann")
    ledger.request(1, "overlap", annotator="lead")
    bob, ann = seen_by(ledger, "bob"), seen_by(ledger, "ann")
    assert bob.state(1) == "open" and bob.response(1) is None and bob.top(1) is None
    assert bob.labels(1).tolist() == [254, 254, 254]
    assert ann.state(1) == "answered" and ann.labels(1).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("ask", "words"), [("overlaps", "one of"), ("again", "no answer that could be given again")]
)
def test_requests_that_make_no_sense_are_refused(ledger, ask, words):
    with pytest.raises(ValueError, match=words):
        ledger.request(1, ask, annotator="lead")
    assert ledger.events() == []


def test_answers_are_read_in_the_classes_of_today(tmp_path, ledger):
    answer(ledger, [0, 1, 2], "ann")
    table = bytearray(range(256))
    table[0], table[1], table[2] = 1, 254, 0  # car moves, road is split, tree becomes the first
    ledger.file.db.execute(
        "INSERT INTO taxonomies (version, digest, classes, mapping) VALUES"
        ' (2, \'e\', \'["tree", "car", "lane", "kerb"]\', ?)',
        (bytes(table),),
    )
    with Ledger.open(ledger.path, ["tree", "car", "lane", "kerb"], "e") as now:
        assert labels(now) == [[1, 255, 0]]  # what was split is not trained on
        assert now.open_queries() and seen_by(now, "ann").labels(1).tolist() == [1, 254, 0]
        assert now.events(1)[0].taxonomy == 1
        now.answer(1, [1, 3, 0], annotator="ann")
        assert not now.open_queries() and labels(now) == [[1, 3, 0]]
        assert now.events(1)[-1].taxonomy == 2


@st.composite
def histories(draw):
    """Events of a query as people could write them; links go to earlier ones."""
    events, kinds = (
        [],
        ["answer", "answer", "ignore", "skip", "draft", "undo", "approve", "reject", "request"],
    )
    for number in range(1, draw(st.integers(1, 9)) + 1):
        kind = draw(st.sampled_from(kinds if number > 1 else ["answer", "request"]))
        links = st.sampled_from([None, *range(1, number)])
        link = draw(links.filter(bool) if kind in ("undo", "approve", "reject") else links)
        said = draw(st.sampled_from([b"\0\0", b"\0\1"])) if kind == "answer" else None
        ask = draw(st.sampled_from(["overlap", "repeat", "again"])) if kind == "request" else None
        who, when = draw(st.sampled_from("ab")), draw(st.sampled_from("12"))
        said = b"" if kind == "ignore" else said
        kind, ask = EventKind(kind), ask and Ask(ask)
        events.append(EventView(number, kind, who, link, said, ask, when, f"u{number}"))
    return events


@given(histories(), st.randoms())
def test_the_order_in_which_rows_came_in_does_not_matter(events, shuffler: random.Random):
    places = list(range(1, len(events) + 1))
    shuffler.shuffle(places)
    new = {old.id: place for old, place in zip(events, places, strict=True)}
    moved = [e._replace(id=new[e.id], supersedes=new.get(e.supersedes)) for e in events]
    here, there = outcome(events), outcome(sorted(moved))
    for name in ("active_responses", "approved", "pending_requests"):
        assert [e.uid for e in getattr(here, name)] == [e.uid for e in getattr(there, name)]
    assert (here.effective and here.effective.uid) == (there.effective and there.effective.uid)
    assert (here.disputed, here.open, here.authors) == (there.disputed, there.open, there.authors)


@given(histories())
def test_what_is_current_by_a_slow_look_at_every_pair(events):
    link, kind = {e.id: e.supersedes for e in events}, {e.id: e.kind for e in events}

    def act(a):  # what was done again after an undo is the same act as the first time
        return act(link[link[a]]) if link[a] and kind[link[a]] == "undo" else a

    def goes_back(a, b):
        if link[a] is None:
            return False
        return act(link[a]) == act(b) or goes_back(link[a], b)

    undone = {e.supersedes for e in events if e.kind == "undo"}
    undone |= {
        link[act(e.id)] if kind[act(e.id)] in ("approve", "reject") else link[e.id]
        for e in events
        if e.kind == "reject" and e.id not in undone
    }
    standing = [
        e.id for e in events if e.kind in ("answer", "ignore", "skip") and e.id not in undone
    ]
    expected = {
        a for a in standing if not any(act(a) != act(b) and goes_back(b, a) for b in standing)
    }
    where = outcome(events)
    assert {e.id for e in where.active_responses} == expected
    if where.effective is not None:
        assert where.effective.id in expected and not where.disputed
    assert {visible_and_parent(events, where, who)[0] for who in "abc"}.isdisjoint(undone)


def test_the_uid_of_each_event_is_its_own(ledger):
    for who in "abc":
        answer(ledger, [0, 0, 0], who)
    assert len({event.uid for event in ledger.events()}) == 3
    with pytest.raises(Exception, match="never changed or removed"):
        ledger.file.db.execute(
            "INSERT INTO events (query, kind, annotator, uid) VALUES (1, 'skip', 'x', ?)",
            (ledger.events()[0].uid,),
        )


def test_reviews_and_records_agree_with_the_standing(ledger):
    answer(ledger, [0, 1, 1], "ann")
    ledger.request(1, "overlap", annotator="lead")
    answer(ledger, [0, 0, 1], "bob")
    assert seen_by(ledger, "cid").state(1) == "disputed"
    assert np.array_equal(
        ledger.outcome(1).active_responses, seen_by(ledger, "x").outcome(1).active_responses
    )
    assert ScanRecord("00/0", "f", 9) == ledger.scan("00/0")
