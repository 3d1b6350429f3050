"""Opinions of their own: nobody sees, changes or undoes what another person said of a voxel."""

import numpy as np
import pytest
import session_model
from hypothesis import given, settings
from hypothesis import strategies as st
from session_model import Model, Person
from session_world import (
    CELLS,
    DIGEST,
    NAMES,
    SIZE,
    Asked,
    Source,
    make_scan,
    make_world,
    predict,
    start,
)

from annotator3d.annotation import second_opinions
from annotator3d.annotation.query_states import STATES
from annotator3d.annotation.queue import Filter
from annotator3d.annotation.second_opinions import request_overlap
from annotator3d.annotation.state import SessionState
from annotator3d.data.scan_source import Pose
from annotator3d.ledger.leases import Leases
from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.viz.scene_model import SceneModel

PALETTE = np.float32([[1, 0, 1], [0.4, 0.6, 1], [0, 0.7, 0]])
SCANS, POINTS = ("00/0", "00/1", "00/2"), 4
QUERIES = range(1, len(SCANS) * len(CELLS) + 1)


pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def stored(round, scan):
    return np.full(len(scan), int(scan.id[-1]), np.uint8)


def world(path, overlap=1.0):
    source = make_world(path, SCANS, CELLS, POINTS)
    source.poses = {scan: Pose("w", np.eye(4)) for scan in SCANS}  # all at the same place
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        request_overlap(ledger, overlap, annotator="lead")
    return source


def screen(session):
    """All that a person can see, times and leases left out."""
    scene_model = SceneModel(session, PALETTE)
    scene_model.load()
    scene_model.settings.mode = "answer"
    return {
        "current": session.current and session.current.id,
        "states": [session.state_of(query) for query in QUERIES],
        "labels": [session.labels_of(query).tolist() for query in QUERIES],
        "progress": session.progress.open,
        "counts": (session.class_points.tolist(), session.class_voxels.tolist()),
        "undo": (session.can_undo, session.can_redo),
        "colours": scene_model.colours().tolist(),
        "pins": scene_model.pins().tolist(),
        "counts by state": [getattr(session.progress, state) for state in STATES],
        **(
            {}
            if session.view is None
            else {
                "response": session.response,
                "notes": session.notes,
                "proposals": [(p.labels.tolist(), p.source) for p in session.proposals],
                "nearby": [(near.query, near.distance) for near in session.nearby()],
                "parts": session.parts.mask.tolist(),
            }
        ),
        "by class": by_class(session),
    }


def by_class(session):
    """The queries that pass a filter by each class; the screen is as before afterwards."""
    before, current, found = session.filter, session.current, []
    for label in (0, 1, 2, 255):
        session.set_filter(Filter(states=None, classes=(label,)))
        found.append(session.matching())
    session.set_filter(before)
    if current is not None:
        session.go_to(current.id)
    return found


@settings(max_examples=15, deadline=None)
@given(first=st.lists(st.integers(0, 2), min_size=9, max_size=9), others=st.integers(1, 2))
def test_what_another_person_said_shows_nowhere(tmp_path_factory, first, others):
    """The same screen whatever ann has answered, noted and drafted."""
    seen = []
    for shift in (0, others):
        path = tmp_path_factory.mktemp("blind") / "ledger.sqlite"
        source = world(path)
        ann = start(path, source, "ann", predict(stored))
        for label in first:
            ann.note(f"it is {(label + shift) % 3}")
            ann.assign((label + shift) % 3)
        ann.go_to(4)
        ann.paint([True, False, False, False])
        ann.assign(shift)
        ann.close()
        bob = start(path, source, "bob", predict(stored))
        shown = [screen(bob)]
        bob.next()
        bob.previous()
        bob.paint([True, False, False, False])
        bob.assign(1)
        shown.append(screen(bob))
        bob.set_filter(Filter(states=None, classes=(0,)))
        shown.append(screen(bob))
        seen.append(shown)
        bob.close()
    assert seen[0] == seen[1]


OPS = "assign assign assign paint paint whole ignore accept undo undo redo redo next previous go_to"


class Two(Person):
    """One of two people on the same queries, for whom the other one does not exist."""

    def step(self):
        self.session.sync()
        return super().step()

    def do_skip(self):  # who passes a voxel by sees the other's answer
        self.do_ignore()


def check(session, model):
    shown = None if session.current is None else session.current.id
    assert shown == model.current
    assert (session.can_undo, session.can_redo) == (bool(model.done), bool(model.undone))
    if shown is not None:
        assert session.parts.mask.tolist() == model.masks[0].tolist()
    for query in model.order:
        assert session.labels_of(query).tolist() == model.labels(query).tolist()
        assert (session.state_of(query) == "open") == model.is_open(query)
    assert session.progress.open == sum(map(model.is_open, model.order))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), turns=st.lists(st.booleans(), min_size=1, max_size=50))
def test_each_of_two_people_works_as_if_alone(tmp_path_factory, seed, turns):
    path = tmp_path_factory.mktemp("two") / "ledger.sqlite"
    source = world(path)
    proposed = {query: [(query - 1) // len(CELLS)] * POINTS for query in QUERIES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_model, "OPS", OPS.split())
        # both may have the same query
        patch.setattr(SessionState, "lease_of_another", lambda self, query: None)
        patch.setattr(Leases, "of", lambda self, query: None)
        people = []
        for number, name in enumerate(("ann", "bob")):
            session = start(path, source, name, predict(stored), same_place=False)
            people.append(Two(Model(QUERIES, POINTS, proposed), seed + number, session))
        for first in turns:
            people[first].step()
            for person in people:
                person.session.sync()
                check(person.session, person.model)
    given = [person.model for person in people]
    with Ledger.read(path) as ledger:
        for query in QUERIES:
            said = [model.response(query) for model in given]
            labels = {
                tuple(answer[1]) if answer[1] else (255,) * POINTS for answer in said if answer
            }
            where = ledger.outcome(query)
            assert where.disputed == (len(labels) == 2)
            assert where.open == (None in said)
            if len(labels) == 1:
                found = where.effective.labels or bytes([255]) * POINTS
                assert tuple(found) == labels.pop()
    for person in people:
        person.session.close()


def test_an_own_opinion_does_not_show_answers_of_the_same_place(path):
    source = world(path, overlap=0.0)
    ann, bob = start(path, source, "ann"), start(path, source, "bob")
    ann.bulk("answer", [1], 0)
    bob.bulk("answer", [4], 0)  # at the place of 1, in another scan
    ann.ledger.request(1, "overlap", annotator="lead")
    bob.go_to(7)
    assert bob.proposals[0].queries == (4,) and bob.nearby()[0].distance == 0.0
    bob.go_to(1)
    assert bob.state == "open" and bob.proposals == []
    assert all(near.distance > 0.2 for near in bob.nearby())


def test_a_session_asks_for_second_opinions_as_rounds_come_in(path):
    source = make_world(path, SCANS, CELLS, POINTS, spare=[(9, 9, 0)])

    def overlaps():
        return sorted(e.query for e in ann.ledger.events() if e.ask == "overlap")

    ann = start(path, source, overlap=1.0)
    assert overlaps() == list(QUERIES)
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.add_round(2, "vcd", 7, 1, {"00/0": [Asked((9, 9, 0), POINTS)]})
    ann.sync()
    assert overlaps() == [*QUERIES, QUERIES.stop]
    start(path, source, "bob", overlap=1.0)
    assert overlaps() == [*QUERIES, QUERIES.stop]


def test_who_passed_a_voxel_by_sees_what_was_said_of_it(path):
    source = world(path)
    ann, bob = start(path, source, "ann"), start(path, source, "bob")
    ann.skip()
    bob.go_to(1)
    bob.assign(2)
    ann.sync()
    assert ann.labels_of(1).tolist() == [2] * 4 and ann.state_of(1) == "answered"
    assert ann.undo().done == [1] and ann.labels_of(1).tolist() == [254] * 4
    assert ann.state_of(1) == "open"  # and the second opinion is hers now


def long_world(path, count=60):
    cells = [(4 + i, 0, 0) for i in range(count)]
    source = Source({"00/0": make_scan("00/0", cells, 1)})
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.register_scans([ScanRecord("00/0", "file 00/0", source.scans["00/0"].num_raw)])
        picks = [Asked(cell, 1, float(count - i)) for i, cell in enumerate(cells)]
        ledger.add_round(1, "vcd", 7, count, {"00/0": picks})
    return source


def repeats(path):
    with Ledger.read(path) as ledger:
        return [event.query for event in ledger.events() if event.ask == "repeat"]


def test_a_repeat_comes_twenty_answers_later_as_an_ordinary_query(path):
    source = long_world(path)
    session = start(path, source, repeat=0.2)
    when = {}
    given = {}
    for number in range(60):
        before = repeats(path)
        given.setdefault(session.current.id, number)
        session.assign(number % 3)
        for query in repeats(path)[len(before) :]:
            when[query] = number
        if session.progress.open == 0:
            break
    assert when and min(when[query] - given[query] for query in when) == second_opinions.DISTANCE
    due = next(query for query in repeats(path) if session.state_of(query) == "open")
    session.go_to(due)
    assert (session.state, session.response, session.notes) == ("open", None, [])
    assert session.labels.tolist() == [254]
    count = session.progress.open
    session.assign(0)
    assert session.progress.open == count - 1
    assert (
        len(session.ledger.outcome(due).active_responses) == 2
    )  # the first answer stands as it was


def test_at_the_end_the_rest_is_repeated_but_not_the_last_answer_at_once(path):
    session = start(path, long_world(path, 6), repeat=1.0)
    for number in range(5):
        session.assign(number % 3)
        assert repeats(path) == []
    session.assign(0)  # the last one
    assert sorted(repeats(path)) == [1, 2, 3, 4, 5] and session.progress.open == 5
    assert session.current.id == 1
    session.assign(1)
    assert 6 not in repeats(path)
    for _ in range(4):
        session.assign(1)
    assert repeats(path).count(6) == 1 and session.current.id == 6
    session.assign(1)
    assert session.current is None and len(repeats(path)) == len(set(repeats(path))) == 6


@settings(max_examples=25, deadline=None)
@given(actions=st.lists(st.sampled_from(["0", "1", "2", "undo", "redo", "stop"]), max_size=60))
def test_undo_and_redo_keep_the_first_answer_out_of_sight(tmp_path_factory, actions):
    path = tmp_path_factory.mktemp("repeats") / "ledger.sqlite"
    source = long_world(path, 5)
    session = start(path, source, repeat=1.0)
    for action in actions:
        if action == "stop":
            session.close()
            session = start(path, source, repeat=1.0)
        elif action == "undo" and session.can_undo:
            session.undo()
        elif action == "redo" and session.can_redo:
            session.redo()
        elif action.isdigit() and session.current is not None:
            session.assign(int(action))
        for query in range(1, 6):
            if session.state_of(query) == "open":
                assert session.labels_of(query).tolist() == [254]
        asked = repeats(path)
        assert len(asked) == len(set(asked))
    states = [session.ledger.outcome(query).active_responses for query in range(1, 6)]
    steps = 0
    while session.can_undo:
        session.undo()
        steps += 1
    for _ in range(steps):
        session.redo()
    again = [session.ledger.outcome(query).active_responses for query in range(1, 6)]
    assert [[e.labels for e in where] for where in states] == [
        [e.labels for e in where] for where in again
    ]
    session.close()
