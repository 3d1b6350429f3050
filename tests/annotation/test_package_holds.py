"""What goes into which package, what is held at home for it, and taking that back."""

import shutil

import pytest
from fake_frontend import label_by
from killing import die, killed
from package_world import answer, held_by, ledger_of, pack, state

from annotator3d.annotation.packages import export as packing
from annotator3d.api.labelling import open_labelling
from annotator3d.cli.main import main
from annotator3d.ledger.actions import ConflictError
from annotator3d.ledger.ledger import Ledger
from annotator3d.viz import panel_text


def queries_of(package):
    with Ledger.read(package) as ledger:
        return {query.id for query in ledger.queries()}


def refused(home, capsys, to, *options, code=1):
    """What an export that is refused says; it leaves no file and no row."""
    before = state(home)
    out = home.parent / "refused.a3dpack"
    assert main(["package", "export", str(home), str(out), "--to", to, *options]) == code
    assert not out.exists() and state(home) == before
    return capsys.readouterr().err


def test_the_limit_counts_what_is_packed_no_matter_who_holds_the_rest(home, capsys):
    one, two = pack(home, "one", "ann", "--limit", "8"), pack(home, "two", "bob", "--limit", "8")
    assert "8 more are held by somebody else and were left out" in capsys.readouterr().out
    three = pack(home, "three", "cid", "--limit", "8")
    printed = capsys.readouterr().out
    assert "4 queries" in printed and "16 more are held by somebody else" in printed
    found = [queries_of(package) for package in (one, two, three)]
    assert [len(each) for each in found] == [8, 8, 4]
    assert set().union(*found) == set(range(1, 21))
    assert "is free: 20 are held by somebody else; see" in refused(home, capsys, "dan")


def test_a_next_package_has_other_queries_and_a_lost_one_is_packed_again(home, capsys):
    one = queries_of(pack(home, "one", "ann", "--limit", "3"))
    two = queries_of(pack(home, "two", "ann", "--limit", "3"))
    told = capsys.readouterr().out
    assert "3 more are in another package for ann and were left out; --again" in told
    assert len(one) == len(two) == 3 and not one & two
    text = ",".join(map(str, one))
    assert "3 are out for ann already (--again" in refused(home, capsys, "ann", "--queries", text)
    assert queries_of(pack(home, "both", "ann", "--again")) == one | two
    again = pack(home, "again", "ann", "--again", "--queries", text)
    assert queries_of(again) == one
    assert held_by(home, "ann") == one | two


def test_only_what_a_person_may_answer_is_held_for_them(home, capsys):
    with ledger_of(home) as ledger:
        for number in (5, 6):
            query = ledger.query(number)
            ledger.answer(number, [1] * query.num_points, annotator="bob")
            ledger.request(number, "overlap", annotator="lead")
    assert queries_of(pack(home, "one", "bob", "--queries", "1-6")) == set(range(1, 7))
    assert "4 wait for an answer of bob and are held here" in capsys.readouterr().out
    assert held_by(home, "bob") == {1, 2, 3, 4}
    assert queries_of(pack(home, "two", "cid", "--queries", "5,6")) == {5, 6}


def test_a_new_package_says_anew_until_when_its_queries_are_held(home):
    def until():
        with Ledger.read(home / "ledger.sqlite") as ledger:
            return {number: lease.until for number, lease in ledger.leases.current().items()}

    pack(home, "one", "ann", "--limit", "2")
    first = until()
    pack(home, "two", "ann", "--again", "--days", "10")  # more than half of it to go
    second = until()
    assert first.keys() == second.keys() and len(first) == 2
    for number in first:
        assert 3.9 < (first[number] - second[number]) / 86400 <= 4


def test_a_package_of_disputes_holds_nothing_and_says_how_to_decide(home, monkeypatch, capsys):
    with ledger_of(home) as ledger:
        for number in (1, 2):
            count = ledger.query(number).num_points
            ledger.answer(number, [1] * count, annotator="ann")
            ledger.request(number, "overlap", annotator="lead")
            ledger.answer(number, [2] * count, annotator="bob")
    package = pack(home, "one", "cid", "--queries", "disputed")
    printed = capsys.readouterr().out
    assert "2 queries" in printed and "none waits for an answer of cid" in printed
    assert "held here for" not in printed and not held_by(home, "cid")
    (line,) = [line for line in printed.splitlines() if "annotator3d label" in line]
    command = line.split("annotator3d ")[1].split()
    assert command[1] == package.name
    label_by(monkeypatch, lambda session: None)
    monkeypatch.chdir(package.parent)
    assert main([*command, "--web"]) == 0
    assert "2 of 2 voxels are to be reviewed" in capsys.readouterr().out


def test_a_query_named_twice_is_counted_once(home, capsys):
    package = pack(home, "one", "ann", "--queries", "3,3,4,3-4")
    assert "2 queries in " in capsys.readouterr().out and queries_of(package) == {3, 4}


def test_what_is_held_is_shown_and_can_be_recalled(home, capsys):
    package = pack(home, "one", "ann", "--limit", "12")
    theirs = sorted(queries_of(package))
    capsys.readouterr()
    assert main(["round", "status", str(home)]) == 0
    (held,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("  ")]
    assert held.startswith("  12 out in a work package for ann until 20")
    assert held.endswith(" UTC (one.a3dpack)")

    before = state(home)
    recall = ["package", "recall", str(home), "--from"]
    assert main([*recall, "zoe"]) == 1
    assert "no query is held by zoe; held are 12 by ann" in capsys.readouterr().err
    assert state(home) == before
    some = f"{theirs[0]},{theirs[1]}"
    assert main([*recall, "ann", "--queries", some]) == 0
    assert "2 queries are no longer held for ann" in capsys.readouterr().out
    assert held_by(home, "ann") == set(theirs[2:])
    assert main([*recall, "ann"]) == 0 and not held_by(home, "ann")
    assert main(["round", "status", str(home)]) == 0
    assert "work package" not in capsys.readouterr().out

    answer(package, 1)  # the laptop is found after all
    assert main(["package", "merge", str(home), str(package)]) == 0
    assert "12 new answers (12 of ann)" in capsys.readouterr().out


def test_the_history_tells_who_held_what_and_for_how_long(home, capsys):
    query = min(queries_of(pack(home, "one", "ann", "--days", "10")))
    with ledger_of(home) as ledger:
        ledger.leases.give_back([query], annotator="ann")
        ledger.leases.hold([query], annotator="bob", seconds=600)
        ledger.leases.give_back([query], annotator="bob")
        ledger.leases.hold([query], annotator="bob", seconds=90)
    capsys.readouterr()
    assert main(["ledger", "log", str(home), "--query", str(query)]) == 0
    said = capsys.readouterr().out
    for words in (
        "10 days: one.a3dpack",
        "no longer holds it",
        "holds it for 10 min",
        "holds it for 90 s",
    ):
        assert words in said


def test_the_viewer_says_what_is_out_in_a_package_and_until_when(home):
    pack(home, "one", "ann", "--queries", "1-4")
    session = open_labelling(home, annotator="bob").session
    try:
        session.go_to(1)
        words = "out in a work package for ann until 20"
        assert words in panel_text.heading(session)
        with pytest.raises(ConflictError, match=f"query 1 is {words}.* UTC; nothing was written"):
            session.assign(0)
    finally:
        session.close()


def test_gone_or_changed_scans_are_named_before_anything_is_held(home, asked, tmp_path, capsys):
    root = shutil.copytree(asked / "kitti", tmp_path / "kitti")
    gone, changed = (root / f"sequences/00/velodyne/00000{i}.bin" for i in range(2))
    gone.unlink()
    content = bytearray(changed.read_bytes())
    content[0] ^= 1
    changed.write_bytes(content)
    options = "--data-root", str(root)
    said = refused(home, capsys, "ann", *options)
    assert "scan 00/000000 is gone; scan 00/000001 has changed since it was asked about" in said
    with Ledger.read(home / "ledger.sqlite") as ledger:
        rest = {query.id for query in ledger.queries() if query.scan.startswith("01/")}
        assert rest == set(range(11, 21)) and "without 1-10 " in said
    assert queries_of(pack(home, "rest", "ann", *options, "--queries", "11-20")) == rest


def test_what_a_killed_export_leaves_is_removed_by_the_next_one(home):
    out = home.parent / "one.a3dpack"
    command = ["package", "export", str(home), str(out), "--to", "ann"]

    def work():
        packing.os.replace = die
        main(command)

    assert killed(work)
    (left,) = [path for path in home.parent.iterdir() if path.name.startswith(".one.a3dpack.")]
    left.with_name(f"{left.name}-journal").touch()
    living = left.with_name(f"{left.name.rsplit('.', 3)[0]}.1.{left.name.split('.')[-2]}.part")
    living.touch()  # process 1 runs
    assert main(command) == 1  # held as out, in the moment before the file got its name
    assert main([*command, "--again"]) == 0
    assert {path.name for path in home.parent.iterdir()} == {"run", "one.a3dpack", living.name}
    assert len(queries_of(out)) == 20
