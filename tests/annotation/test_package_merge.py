"""Bringing packages home: what is merged, compared, refused and named."""

import itertools
import os
import re
import shutil
import signal
import sqlite3
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from package_world import answer, ledger_of, opened, pack, spoiled, state

from annotator3d.annotation.packages.merge import merge_package
from annotator3d.cli.main import main
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.records import UNASSIGNED


def test_two_who_answered_the_same_are_compared(home):
    one = pack(home, "one", "ann", "--queries", "1-4")
    with ledger_of(home) as ledger:
        ledger.leases.give_back([1, 2, 3, 4], annotator="ann")
    two = pack(home, "two", "bob", "--queries", "1-4")
    answer(one, 0, "ann"), answer(two, 0, "bob", {1, 2}), answer(two, 1, "bob", {3})
    with ledger_of(home) as ledger:
        assert merge_package(ledger, one).disputed == []
        assert merge_package(ledger, two).disputed == [3]
        assert len(ledger.labels_by_scan()) and len(list(ledger.labels())) == 3
        assert [q.id for q in ledger.disputed_queries()] == [3]


def test_answers_in_the_old_classes_come_home_after_a_migration(home):
    package = pack(home, "one", "ann", "--limit", "2")
    answer(package, 2)
    with ledger_of(home) as ledger:
        table = bytearray(range(256))
        table[2] = 0
        ledger.file.db.execute(
            "INSERT INTO taxonomies (version, digest, classes, mapping) VALUES (2, 'x', ?, ?)",
            ('["a", "b"]', bytes(table)),
        )
    with ledger_of(home) as ledger:
        assert merge_package(ledger, package).responses == {"ann": 2}
        assert {tuple(set(entry.labels.tolist())) for _, entry in ledger.labels()} == {(0,)}


def test_answers_of_a_class_that_was_split_meanwhile_are_said_to_wait_again(home, capsys):
    package = pack(home, "one", "ann", "--queries", "1-5")
    answer(package, 2, queries={1, 2, 3}), answer(package, 0, queries={4, 5})
    split = bytearray(range(256))
    split[2] = UNASSIGNED
    with ledger_of(home) as ledger:
        ledger.file.db.execute(
            "INSERT INTO taxonomies (version, digest, classes, mapping) VALUES (2, 'x', ?, ?)",
            ('["a", "b", "c", "d"]', bytes(split)),
        )
    assert main(["package", "merge", str(home), str(package)]) == 0
    printed = capsys.readouterr().out
    assert "5 new answers (5 of ann)" in printed
    assert "3 queries wait again: they were answered with a class that was split" in printed
    assert "18 queries wait for an answer" in printed


def test_what_was_taken_back_or_corrected_there_is_told_from_what_answers(home, capsys):
    package = pack(home, "one", "ann", "--queries", "1-3")
    answer(package, 0)
    with opened(package) as away:
        away.undo(1, annotator="ann")
        away.skip(2, annotator="ann")
    assert main(["package", "merge", str(home), str(package)]) == 0
    printed = capsys.readouterr().out
    assert "4 new answers (4 of ann)" in printed
    assert "2 of them were corrected or taken back; the others answer 2 queries" in printed


@pytest.mark.parametrize("what", ["query", "class list"])
def test_a_package_that_is_younger_than_a_restored_backup_is_told_so(home, tmp_path, capsys, what):
    backup = shutil.copytree(home, tmp_path / "backup")
    with ledger_of(home) as ledger:
        if what == "query":
            asked = SimpleNamespace(cell=(50, 0, 0), num_points=1, utility=0.0)
            ledger.add_round(2, "vcd", 0, 1, {ledger.scans()[0].id: [asked]})
    package = pack(home)
    if what == "class list":
        spoiled(
            package,
            "INSERT INTO taxonomies (version, digest, classes, mapping)"
            " SELECT 2, 'x', classes, (SELECT zeroblob(256)) FROM taxonomies",
        )
    before = state(backup)
    assert main(["package", "merge", str(backup), str(package)]) == 1
    said = capsys.readouterr().err
    assert f"{what}" in said and "does not know; an older backup may have been put back" in said
    assert state(backup) == before


def test_what_was_released_meanwhile_stays_in_the_package_and_is_named(home, capsys):
    package = pack(home, "one", "ann", "--queries", "1-3")
    answer(package, 0)
    with ledger_of(home) as ledger:
        ledger.leases.give_back([1, 2, 3], annotator="ann")
        ledger.release(2, annotator="lead")
    assert main(["package", "merge", str(home), str(package)]) == 1
    printed = capsys.readouterr().out
    assert "2 new answers" in printed and "stay in the package: 2" in printed
    with Ledger.read(package) as ledger:
        assert ledger.current(2) is not None


def test_an_undo_on_both_sides_happens_once(home):
    with ledger_of(home) as ledger:
        query = ledger.queries()[0]
        ledger.answer(query.id, [1] * query.num_points, annotator="ann")
    package = pack(home, "one", "ann", "--queries", str(query.id))
    with ledger_of(home) as ledger, opened(package) as away:
        ledger.undo(query.id, annotator="ann")
        away.undo(query.id, annotator="ann")
        away.answer(query.id, [0] * query.num_points, annotator="ann")
        result = merge_package(ledger, package)
        assert result.responses == {"ann": 1} and result.known == 2
        assert ledger.current(query.id).labels.tolist() == [0] * query.num_points
        assert merge_package(ledger, package).came == 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:9000]), "is damaged|not a work package"),
        (lambda p: p.write_bytes(b"not a package"), "not a work package"),
        (lambda p: spoiled(p, "DROP TRIGGER events_undo"), "damaged: trigger events_undo is miss"),
        (
            lambda p: spoiled(
                p, "DROP TRIGGER events_no_update", "UPDATE events SET labels = zeroblob(1)"
            ),
            "is damaged",
        ),
        (lambda p: spoiled(p, "UPDATE package SET value = '9' WHERE key = 'format'"), "format 9"),
        (lambda p: spoiled(p, "DELETE FROM package WHERE key = 'format'"), "format None"),
        (
            lambda p: spoiled(p, "UPDATE package_scans SET content = x'00'"),
            "package_scans has changed since it was written",
        ),
        (
            lambda p: spoiled(p, "UPDATE package SET value = '\"f00\"' WHERE key = 'ledger_id'"),
            "from another ledger",
        ),
    ],
)
def test_damaged_packages_are_refused_and_change_nothing(home, capsys, spoil, words):
    package = pack(home)
    answer(package, 1)
    before = state(home)
    spoil(package)
    assert main(["package", "merge", str(home), str(package)]) == 1
    assert re.search(words, capsys.readouterr().err)
    assert state(home) == before


@pytest.mark.parametrize(
    "change", ["labels = zeroblob(length(labels))", "annotator = 'bnn'", "seconds = 1.75"]
)
def test_a_changed_byte_of_an_answer_does_not_come_home(home, tmp_path, capsys, change):
    package = pack(home)
    answer(package, 1)
    sound, before = shutil.copy(package, tmp_path / "sound.a3dpack"), state(home)
    db = sqlite3.connect(package)
    (rule,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'events_no_update'").fetchone()
    db.close()
    spoiled(
        package,
        "DROP TRIGGER events_no_update",
        f"UPDATE events SET {change} WHERE id = (SELECT MAX(id) FROM events)",
        rule,  # a bad disk leaves it
    )
    assert main(["package", "merge", str(home), str(package)]) == 1
    assert "has changed since it was written" in capsys.readouterr().err
    assert state(home) == before
    assert main(["package", "merge", str(home), str(sound)]) == 0  # sent again
    assert "20 new answers" in capsys.readouterr().out


def test_a_refused_package_does_not_take_back_those_before_it(home, capsys):
    first, second = pack(home, "one", "ann", "--limit", "5"), pack(home, "two", "bob")
    answer(first, 1), answer(second, 2, "bob")
    spoiled(second, "UPDATE package_scans SET content = x'00'")
    assert main(["package", "merge", str(home), str(first), str(second)]) == 1
    said = capsys.readouterr()
    assert "5 new answers (5 of ann)" in said.out and "two.a3dpack is damaged" in said.err
    with ledger_of(home) as ledger:
        answers = [e.answer.annotator for e in ledger.events() if e.answer.kind == "answer"]
    assert answers == ["ann"] * 5


def test_a_package_of_a_copy_that_went_its_own_way_is_refused(home, tmp_path):
    other = shutil.copytree(home, tmp_path / "other")
    for place, cell in ((home, (50, 0, 0)), (other, (51, 0, 0))):
        with ledger_of(place) as ledger:
            asked = SimpleNamespace(cell=cell, num_points=1, utility=0.0)
            ledger.add_round(2, "vcd", 0, 1, {ledger.scans()[0].id: [asked]})
    package = pack(other, "own", "ann", "--round", "2")
    before = state(home)
    with ledger_of(home) as ledger, pytest.raises(ValueError, match="went its own way"):
        merge_package(ledger, package)
    assert state(home) == before


def test_killed_while_merging_all_or_nothing_is_there(home):
    package = pack(home)
    answer(package, 1)
    before, seen = state(home), set()
    for step in itertools.count():
        copy = shutil.copytree(home, home.parent / f"copy-{step}")
        child = os.fork()
        if child == 0:
            left = [10 * step]

            def tick(*_, left=left):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            with ledger_of(copy) as ledger:
                ledger.file.db.set_trace_callback(tick)
                merge_package(ledger, package)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        after = state(copy)
        seen.add(after)
        with ledger_of(copy) as ledger:
            merge_package(ledger, package)
        whole = state(copy)
        shutil.rmtree(copy)
        if not os.WIFSIGNALED(status):
            break
        assert after in (before, whole)
    assert seen == {before, whole} and step > 2


acts = st.lists(
    st.tuples(
        st.integers(0, 2),  # which package
        st.integers(1, 4),  # query
        st.sampled_from(["answer", "answer", "skip", "undo", "ignore"]),
        st.integers(0, 1),
    ),
    max_size=14,
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(acts, st.permutations(range(3)), st.lists(st.integers(0, 2), max_size=3))
def test_any_order_and_any_repetition_of_merges_give_the_same(
    asked, tmp_path_factory, acts, order, again
):
    folder = tmp_path_factory.mktemp("orders")
    home = shutil.copytree(asked / "run", folder / "run")
    packages = []
    for number, who in enumerate("abc"):
        packages.append(pack(home, f"{number}", who, "--queries", "1-4"))
        with ledger_of(home) as ledger:
            ledger.leases.give_back([1, 2, 3, 4], annotator=who)
    for number, query, kind, label in acts:
        with opened(packages[number]) as ledger:
            count, who = ledger.query(query).num_points, "abc"[number]
            if kind == "answer":
                ledger.answer(query, [label] * count, annotator=who)
            elif kind == "undo":
                if ledger.current(query) is not None:
                    ledger.undo(query, annotator=who)
            else:
                getattr(ledger, kind)(query, annotator=who)
    found = []
    for sequence in (range(3), [*order, *again], [*again, *order]):
        copy = shutil.copytree(home, folder / f"home-{len(found)}")
        with ledger_of(copy) as ledger:
            for number in sequence:
                merge_package(ledger, packages[number])
            where = [ledger.outcome(query) for query in range(1, 5)]
            summary = [
                ([e.uid for e in w.active_responses], w.disputed, w.effective and w.effective.uid)
                for w in where
            ]
            found.append((ledger.export_canonical(), summary, len(ledger.events())))
    assert found[0] == found[1] == found[2]
