"""Whatever a person does in whatever order, killed or not, the session agrees with a model."""

import os
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_model import Model, Person, check_all, check_screen
from session_world import make_world, predict, start

SCANS, CELLS, POINTS = ("00/0", "00/1", "00/2"), [(4, 0, 0), (5, 0, 0), (-8, 3, 1), (0, 9, 0)], 4


pytestmark = pytest.mark.usefixtures("no_fsync")


def classes(round, scan):
    """Uniform in the first two scans, none for the third."""
    return None if scan.id == SCANS[2] else np.full(len(scan), int(scan.id[-1]), np.uint8)


def world(path, cells=CELLS, points=POINTS, asked=None):
    source = make_world(path, SCANS, cells, points, asked=asked)
    queries = range(1, len(SCANS) * len(cells) + 1)  # by scan, then score: as they were asked
    proposed = {q: [(q - 1) // len(cells)] * POINTS for q in queries if q <= 2 * len(cells)}
    return source, lambda: Model(queries, POINTS, proposed)


def open_session(path, source):
    return start(path, source, predictions=predict(classes))


some = st.sets(st.integers(0, 8), min_size=POINTS, max_size=POINTS).map(lambda s: tuple(sorted(s)))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 60),
    stops=st.sets(st.integers(0, 60)),
    asked=st.none() | some,
)
def test_random_actions_and_restarts_agree_with_a_model(
    tmp_path_factory, seed, steps, stops, asked
):
    """The points that are not asked about, where there are such, are nobody's concern."""
    path = tmp_path_factory.mktemp("machine") / "ledger.sqlite"
    source, model = world(path, points=POINTS if asked is None else 9, asked=asked)
    person = Person(model(), seed, open_session(path, source))
    for step in range(steps):
        person.step()
        check_screen(person.session, person.model)
        if step in stops:
            check_all(person.session, person.model)
            person.session.close()
            person.session = open_session(path, source)
            person.model.restart()
    check_all(person.session, person.model)
    person.session.close()


def test_some_thousand_actions_agree_with_a_model(tmp_path):
    """Each voxel has some hundred events in the end: far more than people give one."""
    path = tmp_path / "ledger.sqlite"
    source, model = world(path)
    person = Person(model(), 7, open_session(path, source))
    done = set()
    for step in range(3_500):
        done.add(person.step())
        check_screen(person.session, person.model)
        if step % 500 == 499:
            check_all(person.session, person.model)
            person.session.close()
            person.session = open_session(path, source)
            person.model.restart()
            check_all(person.session, person.model)
    assert len(done) == 14
    steps = len(person.model.done)
    assert steps > 500
    for _ in range(steps):  # down to the first action of all
        person.do_undo()
    check_all(person.session, person.model)
    for _ in range(steps):
        person.do_redo()
    check_all(person.session, person.model)
    person.session.close()


def killed_at(path, source, model, seed, statement):
    """A child acts until it is killed at an SQL statement; returns how many actions it finished."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        left = [statement]

        def tick(_):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            session = open_session(path, source)
            session.ledger.file.db.set_trace_callback(tick)
            person = Person(model, seed, session)
            while True:
                person.step()
                os.write(writing, b".")
        finally:
            os._exit(1)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    finished = len(os.read(reading, 100_000))
    os.close(reading)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return finished


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_any_moment_a_session_goes_on_where_it_was(tmp_path, seed):
    statement = int(np.random.default_rng([1, seed]).integers(0, 1000))
    path = tmp_path / "ledger.sqlite"
    source, model = world(path)
    finished = killed_at(path, source, model(), seed, statement)
    person = Person(model(), seed)
    for _ in range(finished):
        person.step()
    session = open_session(path, source)
    person.model.restart()
    try:
        check_all(session, person.model)
    except AssertionError:  # committed, and killed before it could say so
        person = Person(model(), seed)
        for _ in range(finished + 1):
            person.step()
        person.model.restart()
        check_all(session, person.model)
    after = Person(person.model, seed + 100, session)
    for _ in range(30):
        after.step()
        check_screen(session, after.model)
    while after.model.done:
        after.do_undo()
        check_screen(session, after.model)
    check_all(session, after.model)
    session.close()
