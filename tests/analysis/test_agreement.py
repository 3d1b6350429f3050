"""Agreement by hand-made tables, by an independent oracle, and in any order of the events."""

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.analysis.quality.agreement import (
    class_kappa,
    class_percentage,
    cohen_kappa,
    compare,
    confused_classes,
    percentage,
)
from annotator3d.analysis.quality.corrections import changed_by
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.opinions import opinions, pairs
from annotator3d.ledger.records import Query
from annotator3d.ledger.schema import Ask, EventKind


class Story:
    """What happened to a query, written down step by step."""

    def __init__(self):
        self.events = []

    def add(self, kind, who, after=None, said=None, ask=None):
        number = len(self.events) + 1
        said = bytes(said) if said is not None else None
        ask, kind = ask and Ask(ask), EventKind(kind)
        event = EventView(number, kind, who, after, said, ask, f"{number:03}", f"u{number}")
        self.events.append(event)
        return number

    def answer(self, who, said, after=None):
        return self.add("answer", who, after, said)

    def ask(self, ask, who="lead", after=None):
        return self.add("request", who, after, ask=ask)

    @property
    def found(self):
        return [(o.event.annotator, list(o.event.labels), o.repeat) for o in opinions(self.events)]


def query(id=1, round=1, points=2):
    return Query(id, round, "00/0", (0, 0, 0), 0, 0.0, points)


def tables(stories, classes=2):
    return compare([(query(i, points=2), s.events) for i, s in enumerate(stories, 1)], classes)


# --- which opinions count ------------------------------------------------------------------------


def test_two_opinions_count_and_corrections_of_the_other_do_not():
    story = Story()
    first = story.answer("ann", [0, 0])
    asked = story.ask("overlap")
    second = story.answer("bob", [0, 1], asked)
    story.answer("cid", [1, 1], first)
    story.answer("ann", [0, 1], second)  # ann has seen bob's
    assert story.found == [("ann", [0, 0], False), ("bob", [0, 1], False)]


def test_a_change_of_mind_before_others_answer_counts_as_changed():
    story = Story()
    first = story.answer("ann", [0, 0])
    second = story.answer("ann", [1, 1], first)
    story.answer("bob", [1, 1], story.ask("overlap"))
    story.answer("ann", [0, 1], second)  # too late
    assert story.found == [("ann", [1, 1], False), ("bob", [1, 1], False)]


def test_what_was_undone_is_no_opinion_and_what_was_rejected_is():
    story = Story()
    first = story.answer("ann", [0, 0])
    asked = story.ask("overlap")
    wrong = story.answer("bob", [1, 1], asked)
    story.add("undo", "bob", wrong)
    story.answer("bob", [0, 1], asked)
    story.add("reject", "lead", first)
    story.answer("ann", [0, 1])  # asked like anybody, but she gave an opinion before
    assert story.found == [("ann", [0, 0], False), ("bob", [0, 1], False)]


def test_a_rejected_person_has_given_an_opinion_before():
    story = Story()
    first = story.answer("ann", [0, 0])
    asked = story.ask("overlap")
    story.add("reject", "lead", first)
    story.answer("bob", [1, 1])
    story.answer("ann", [1, 1], asked)
    assert story.found == [("ann", [0, 0], False), ("bob", [1, 1], False)]


def test_an_answer_that_is_done_again_after_an_undo_counts_once():
    story = Story()
    first = story.answer("ann", [0, 0])
    undo = story.add("undo", "ann", first)
    story.answer("ann", [0, 0], undo)
    assert story.found == [("ann", [0, 0], False)]


def test_what_was_begun_by_somebody_else_is_nobodys_own_opinion():
    story = Story()
    draft = story.add("draft", "ann")
    story.answer("bob", [0, 0], draft)
    assert story.found == []


def test_a_recheck_is_no_opinion_and_a_repeat_is_compared_with_itself():
    story = Story()
    first = story.answer("ann", [0, 0])
    story.answer("bob", [1, 1], story.ask("again", after=first))
    story.answer("ann", [0, 1], story.ask("repeat", "ann"))
    assert story.found == [("ann", [0, 0], False), ("ann", [0, 1], True)]
    (pair,) = pairs(story.events)
    assert (pair.first.labels, pair.second.labels) == (bytes([0, 0]), bytes([0, 1]))


def test_a_skip_is_no_labelled_opinion():
    story = Story()
    story.add("skip", "ann")
    story.answer("bob", [0, 0], story.ask("overlap"))
    assert list(pairs(story.events)) == []


# --- tables --------------------------------------------------------------------------------------


def test_the_example_of_a_text_book():
    """50 proposals, two readers: yes/yes 20, yes/no 5, no/yes 10, no/no 15; kappa is 0.4."""
    matrix = np.array([[20, 5], [10, 15]])
    assert percentage(matrix) == 0.7 and cohen_kappa(matrix) == pytest.approx(0.4)
    assert class_kappa(matrix, 0) == pytest.approx(0.4)
    assert class_percentage(matrix, 0) == pytest.approx(40 / 55)


def test_three_categories_by_hand():
    matrix = np.array([[4, 1, 0], [0, 3, 0], [2, 0, 0]])
    assert percentage(matrix) == 0.7
    # rows 5 3 2, columns 6 4 0: by chance (30 + 12 + 0) / 100
    assert cohen_kappa(matrix) == pytest.approx((0.7 - 0.42) / 0.58)
    assert class_percentage(matrix, 2) == 0.0
    # class 1 against the others: 3 both, 0 and 1 one of them, 6 neither
    assert class_kappa(matrix, 1) == pytest.approx((0.9 - 0.54) / 0.46)


def test_without_items_or_variety_kappa_is_not_defined():
    assert cohen_kappa(np.zeros((2, 2), int)) is None and percentage(np.zeros((2, 2), int)) is None
    assert cohen_kappa(np.array([[9, 0], [0, 0]])) is None
    assert cohen_kappa(np.array([[0, 9], [0, 0]])) == 0.0
    assert class_percentage(np.array([[9, 0], [0, 0]]), 1) is None


def two(first, second, names=("ann", "bob")):
    story = Story()
    story.answer(names[0], first)
    story.answer(names[1], second, story.ask("overlap"))
    return story


def test_points_and_voxels_of_a_pair_by_hand():
    found = tables([two([0, 0], [0, 0]), two([0, 1], [1, 1]), two([255, 255], [0, 0])])
    compared = found.pairs["ann", "bob"]
    assert compared.points.tolist() == [[2, 1, 0], [0, 1, 0], [2, 0, 0]]
    assert compared.dominant.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0]]  # of 0 and 1, the first
    assert (compared.voxels, compared.identical) == (3, 1)
    for table in (found.together, found.rounds[1]):  # there is no other pair
        assert table.points.tolist() == compared.points.tolist()
    assert confused_classes(found.together) == [(0, 2, 2, 1), (0, 1, 1, 1)]
    assert list(found.rounds) == [1] and found.rounds[1].voxels == 3


def test_several_pairs_are_counted_in_both_orders():
    third = Story()
    third.answer("cid", [1, 1])
    third.answer("bob", [0, 1], third.ask("overlap"))
    found = tables([two([0, 0], [0, 0]), two([0, 1], [1, 1]), third])
    assert found.pairs["ann", "bob"].points.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.together.points.tolist() == [[4, 2, 0], [2, 4, 0], [0, 0, 0]]
    assert [found.together.named(c) for c in range(3)] == [4, 4, 0]  # each point once
    assert confused_classes(found.together) == [(0, 1, 2, 2)]


def test_no_class_has_one_meaning_and_split_classes_are_left_out():
    story = Story()
    story.add("ignore", "ann", said=b"")
    story.answer("bob", [255, 255], story.ask("overlap"))
    found = tables([story, two([254, 1], [1, 1])])
    assert found.pairs["ann", "bob"].points.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 2]]
    assert tables([two([254, 254], [0, 0])]).together.voxels == 0


def test_who_comes_first_does_not_matter():
    one, other = tables([two([0, 0], [1, 1])]), tables([two([1, 1], [0, 0], ("bob", "ann"))])
    assert list(one.pairs) == list(other.pairs) == [("ann", "bob")]
    assert one.pairs["ann", "bob"].points.tolist() == other.pairs["ann", "bob"].points.tolist()


def test_repeats_are_counted_by_person_and_not_between_people():
    story = two([0, 0], [0, 0])
    story.answer("bob", [0, 1], story.ask("repeat", "bob"))
    found = tables([story])
    assert found.repeats["bob"].points.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert found.pairs["ann", "bob"].voxels == 1 and list(found.repeats) == ["bob"]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abcd"),
            st.lists(st.sampled_from([0, 1, 2, 255]), min_size=2, max_size=2),
            max_size=4,
        ),
        max_size=8,
    )
)
def test_any_number_of_people_against_an_oracle_that_counts_pairs_of_labels(voxels):
    stories = []
    for said in voxels:
        story = Story()
        for number, (who, labels) in enumerate(said.items()):
            story.answer(who, labels, story.ask("overlap") if number else None)
        stories.append(story)
    found = tables(stories, 3)
    items = {}  # people -> pairs of labels, point by point
    for said in voxels:
        for a, b in combinations(sorted(said), 2):
            items.setdefault((a, b), []).extend(zip(said[a], said[b], strict=True))
    assert found.pairs.keys() == items.keys()
    for people, labels in items.items():
        matrix, count = found.pairs[people].points, len(labels)
        agree = sum(a == b for a, b in labels) / count
        ones, others = zip(*labels, strict=True)
        chance = sum(ones.count(c) * others.count(c) for c in {*ones, *others}) / count**2
        assert percentage(matrix) == pytest.approx(agree)
        expected = None if chance == 1 else pytest.approx((agree - chance) / (1 - chance))
        assert cohen_kappa(matrix) == expected
        for category, label in enumerate((0, 1, 2, 255)):
            named = ones.count(label) + others.count(label)
            both = labels.count((label, label))
            expected = pytest.approx(2 * both / named) if named else None
            assert class_percentage(matrix, category) == expected


@st.composite
def histories(draw):
    """Events as several people and machines may write them; links go to earlier ones."""
    story = Story()
    for number in range(draw(st.integers(1, 10))):
        kinds = ["answer", "answer", "answer", "ignore", "skip", "draft", "undo", "request"]
        kind = draw(st.sampled_from([*kinds, "approve", "reject"] if number else kinds[:3]))
        links = st.sampled_from([None, *range(1, number + 1)])
        link = draw(links if kind not in ("undo", "approve", "reject") else links.filter(bool))
        said = draw(st.sampled_from([[0, 0], [0, 1], [255, 1]])) if kind == "answer" else None
        ask = draw(st.sampled_from(["overlap", "repeat", "again"])) if kind == "request" else None
        story.add(kind, draw(st.sampled_from("abc")), link, b"" if kind == "ignore" else said, ask)
    when = draw(st.lists(st.sampled_from("12345"), min_size=10, max_size=10))
    return [e._replace(created_at=w) for e, w in zip(story.events, when, strict=False)]


@given(st.lists(histories(), max_size=4), st.randoms())
def test_any_order_of_the_same_events_gives_the_same_tables(stories, shuffler: random.Random):
    def plain(histories):
        found = compare([(query(i), events) for i, events in enumerate(histories)], 2)
        tables = {**found.pairs, **found.repeats, **found.rounds, "all": found.together}
        changes = [
            {by_uid[id]: who for id, who in changed_by(events).items() if id in by_uid}
            for events in histories
            for by_uid in [{e.id: e.uid for e in events}]
        ]
        return changes, {
            key: (t.points.tolist(), t.dominant.tolist(), t.voxels, t.identical)
            for key, t in tables.items()
        }

    moved = []
    for events in stories:
        places = [e.id for e in events]
        shuffler.shuffle(places)
        new = {old.id: place for old, place in zip(events, places, strict=True)}
        again = [e._replace(id=new[e.id], supersedes=new.get(e.supersedes)) for e in events]
        shuffler.shuffle(again)
        moved.append(again)
    assert plain(moved) == plain(stories)


# --- corrections ---------------------------------------------------------------------------------


def test_who_changed_an_answer_is_who_came_first():
    story = Story()
    first = story.answer("ann", [0, 0])
    second = story.answer("bob", [0, 0], first)  # says the same
    third = story.answer("cid", [1, 1], story.ask("again", after=second))
    undone = story.answer("dan", [0, 1], third)
    story.add("undo", "dan", undone)
    assert changed_by(story.events) == {second: "cid"}


def test_a_second_opinion_changes_nobodys_answer_but_the_decision_does():
    story = two([0, 0], [1, 1])
    assert changed_by(story.events) == {}
    story.add("approve", "lead", 3)
    assert changed_by(story.events) == {1: "lead"}


def test_a_rejection_changes_and_its_undo_takes_that_back():
    story = two([0, 0], [1, 1])
    rejection = story.add("reject", "lead", 3)
    assert changed_by(story.events) == {3: "lead"}
    undo = story.add("undo", "lead", rejection)
    assert changed_by(story.events) == {}
    story.add("reject", "lead", undo)
    assert changed_by(story.events) == {3: "lead"}
