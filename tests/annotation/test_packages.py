"""Work for people without a shared disk: out in one file, labelled anywhere, and home again."""

import itertools
import re
import shutil

import numpy as np
import pytest
from fake_frontend import label_by
from killing import die, killed, killed_at, killed_while_writing
from package_world import answer, held_by, ledger_of, opened, pack, spoiled, state
from PIL import Image

from annotator3d.annotation.packages import contents as carrying
from annotator3d.annotation.packages import export as packing
from annotator3d.annotation.packages.choice import PackageChoice, choose
from annotator3d.annotation.packages.export import ExportOptions
from annotator3d.annotation.packages.merge import merge_package
from annotator3d.annotation.packages.package import PackageSource, read_manifest
from annotator3d.api.labelling import open_labelling
from annotator3d.api.packages import export_package
from annotator3d.api.stills import still_of
from annotator3d.cli.main import main
from annotator3d.cli.terminal import open_reporter
from annotator3d.data.scan import rows_of_cell
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.records import Answer

SIZE = 4.0


def test_a_person_elsewhere_labels_and_the_answers_come_home(home, asked, tmp_path, capsys):
    package = pack(home, "one", "ann", "--limit", "7")
    assert "7 queries" in capsys.readouterr().out
    far = tmp_path / "far"
    far.mkdir()
    shutil.move(package, far)
    package = far / package.name
    with Ledger.read(home / "ledger.sqlite") as ledger:
        asked_there = {q.id for q in ledger.queries() if ledger.leases.holder(q.id) == "ann"}
    session = open_labelling(package).session
    assert session.annotator == "ann" and session.progress.open == 7
    while session.current is not None:
        assert session.current.id in asked_there
        session.note("far away")
        session.assign(3)
    session.undo()
    session.close()
    assert [p.name for p in far.iterdir()] == [package.name]  # one file, to be mailed
    assert main(["package", "show", str(package)]) == 0
    assert "1 are open" in capsys.readouterr().out
    before = state(home)
    assert main(["package", "merge", str(home), str(package)]) == 0
    printed = capsys.readouterr().out
    assert "7 new answers (7 of ann)" in printed and "14 queries wait" in printed
    with Ledger.read(home / "ledger.sqlite") as ledger, Ledger.read(package) as away:
        for query in asked_there:
            mine, theirs = ledger.events(query), away.events(query)
            shown = [e for e in theirs if e.answer.kind != "lease"]
            here = [e for e in mine if e.answer.kind != "lease"]
            assert [(e.uid, e.created_at, e.answer) for e in here] == [
                (e.uid, e.created_at, e.answer) for e in shown
            ]
    after = state(home)
    assert after[0] != before[0]
    assert main(["package", "merge", str(home), str(package)]) == 0
    assert state(home) == after and "0 new answers" in capsys.readouterr().out


def test_the_package_shows_what_home_shows(home, asked):
    package = pack(home)
    there, here = open_labelling(package).session, open_labelling(home, annotator="ann").session
    try:
        assert there.matching() == here.matching()
        for _ in range(5):
            a, b = there.view, here.view
            assert a.query == b.query and np.array_equal(a.xyz, b.xyz)
            assert np.array_equal(a.scan.rows, b.scan.rows) and a.scan.num_raw == b.scan.num_raw
            assert np.array_equal(a.predicted, b.predicted)
            assert np.array_equal(a.prediction.score, b.prediction.score, equal_nan=True)
            assert (a.pose is None) == (b.pose is None)
            if a.pose is not None:
                assert np.array_equal(a.pose.matrix, b.pose.matrix)
                assert [n.scan.id for n in there.neighbours(1, 1)] == [
                    n.scan.id for n in here.neighbours(1, 1)
                ]
            there.next(), here.next()
    finally:
        there.close(), here.close()
    assert len(still_of(package, None).xyz) == len(still_of(home, None).xyz)


@pytest.fixture
def photographed(asked, tmp_path):
    """The dataset with photos of one drive, by a camera that looks along the scanner's x."""
    root = shutil.copytree(asked / "kitti", tmp_path / "kitti")
    folder = root / "sequences/00"
    (folder / "calib.txt").write_text(
        "P2: 100 0 150 0 0 100 50 0 0 0 1 0\nTr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"
    )
    (folder / "image_2").mkdir()
    across, down = np.meshgrid(np.linspace(0, 255, 300), np.linspace(0, 255, 100))
    photo = np.stack([across, down, 0 * across], axis=2).astype(np.uint8)
    for frame in range(2):
        Image.fromarray(photo).save(folder / f"image_2/{frame:06d}.png")
    return root


def test_camera_images_come_along_on_request(home, photographed, capsys):
    options = "--data-root", str(photographed)
    package = pack(home, "one", "ann", "--images", *options)
    there = open_labelling(package).session
    here = open_labelling(home, annotator="ann", data_root=str(photographed)).session
    seen = 0
    try:
        for _ in range(20):
            assert there.view.query == here.view.query
            ours, theirs = there.image(), here.image()
            assert (ours is None) == (theirs is None)
            if ours is not None:
                seen += 1
                assert ours.shape == theirs.shape
                assert np.abs(ours.astype(int) - theirs).mean() < 8  # JPEG blurs the photo's edge
            there.next(), here.next()
    finally:
        there.close(), here.close()
    assert 0 < seen < 20
    assert f"camera images of {seen} queries" in capsys.readouterr().out


def test_without_being_asked_for_no_image_leaves(home, photographed):
    package = pack(home, "one", "ann", "--data-root", str(photographed))
    session = open_labelling(package).session
    try:
        for _ in range(20):
            assert session.image() is None
            session.next()
    finally:
        session.close()


def test_a_damaged_image_is_noticed(home, photographed):
    package = pack(home, "one", "ann", "--images", "--data-root", str(photographed))
    spoiled(package, "UPDATE package_images SET content = x'00'")
    assert main(["package", "merge", str(home), str(package)]) == 1


def test_a_crop_keeps_whole_voxels_and_what_is_near(home, asked):
    package = pack(home, "crop", "ann", "--crop", "3")
    source = PackageSource(package)
    with Ledger.read(package) as ledger:
        for query in ledger.queries():
            scan = source.scan(query.scan)
            assert len(rows_of_cell(scan.xyz, query.cell, SIZE)) == query.num_points
            assert len(scan) < 400
            centres = (np.array([q.cell for q in ledger.queries(scan=query.scan)]) + 0.5) * SIZE
            whole = np.fromfile(
                asked / f"kitti/sequences/{query.scan.replace('/', '/velodyne/')}.bin", "<f4"
            ).reshape(-1, 4)[:, :3]
            near = np.linalg.norm(whole[:, None] - centres, axis=2).min(1) <= 3
            assert set(np.flatnonzero(near)) <= set(scan.rows)
            assert np.array_equal(whole[scan.rows], scan.xyz)


def test_what_is_out_is_asked_of_nobody_at_home(home, capsys):
    pack(home, "one", "ann", "--limit", "15")
    session = open_labelling(home, annotator="bob").session
    seen = 0
    while session.current is not None:
        seen += 1
        session.skip()
    session.close()
    assert seen == 5
    assert main(["round", "close", str(home), "--release"]) == 0
    assert "15 are held by somebody" in capsys.readouterr().out
    with Ledger.read(home / "ledger.sqlite") as ledger:
        assert len(ledger.open_queries()) == 15
    out = str(home.parent / "two.a3dpack")
    assert main(["package", "export", str(home), out, "--to", "cid"]) == 1
    assert "no query of this choice is free" in capsys.readouterr().err


def chosen(ledger, choice):
    return {query.id for query in choose(ledger, choice, "ann").queries}


def test_shares_part_the_queries(home):
    with ledger_of(home) as ledger:
        parts = [chosen(ledger, PackageChoice(share=(i, 3))) for i in (1, 2, 3)]
        everything = {q.id for q in ledger.queries()}
        assert set().union(*parts) == everything and sum(map(len, parts)) == len(everything)
        assert all(parts)
        assert chosen(ledger, PackageChoice("2,5-7")) == {2, 5, 6, 7}
        scan = ledger.query(2).scan
        ours = {q.id for q in ledger.queries(scan=scan)}
        assert chosen(ledger, PackageChoice(scans=(scan,))) == ours


def test_an_opinion_of_ones_own_is_blind_by_file(home):
    with ledger_of(home) as ledger:
        query = ledger.queries()[0]
        ledger.answer(query.id, [1] * query.num_points, annotator="ann")
        ledger.note(query.id, "looks like a fence", annotator="ann")
        ledger.request(query.id, "overlap", annotator="lead")
    for who, kinds in (("bob", ["request"]), ("ann", ["answer", "note", "request"])):
        package = pack(home, who, who, "--queries", str(query.id))
        with Ledger.read(package) as ledger:
            assert [event.answer.kind for event in ledger.events()] == kinds
        with ledger_of(home) as ledger:
            ledger.leases.give_back([query.id], annotator=who)
    package = home.parent / "bob.a3dpack"
    with opened(package) as ledger:
        request = ledger.events()[-1].id
        with ledger.transaction():  # as the session does it
            labels = np.full(query.num_points, 2, np.uint8)
            ledger.append(query.id, Answer("answer", labels, "bob"), request)
    with ledger_of(home) as ledger:
        result = merge_package(ledger, package)
        assert result.disputed == [query.id] and ledger.current(query.id) is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is no|no work directory or work package"),
        (lambda path: path.write_bytes(b"not a package"), "not a work package"),
        (lambda path: path.write_bytes(b""), "not a work package|no work directory or work pack"),
    ],
)
def test_what_is_no_package_is_neither_shown_nor_labelled(
    tmp_path, monkeypatch, capsys, make, words
):
    label_by(monkeypatch, lambda session: pytest.fail("was opened"))
    path = tmp_path / "one.a3dpack"
    make(path)
    before = path.is_file() and path.read_bytes()
    for command in (["package", "show"], ["label", "--web"]):
        assert main([*command, str(path)]) == 1
        assert re.search(words, capsys.readouterr().err), command
        assert (path.is_file() and path.read_bytes()) == before
        assert len(list(tmp_path.iterdir())) == path.is_file()


def test_a_package_is_labelled_by_the_command_line(home, monkeypatch, capsys):
    package = pack(home, "one", "ann", "--queries", "1-4")

    def work(session):
        for label in (3, 4):
            session.assign(label)

    label_by(monkeypatch, work)
    assert main(["label", str(package), "--web"]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 voxels wait" in said and "2 of 4 voxels still wait" in said
    with Ledger.read(package) as ledger:
        given = [e.answer for e in ledger.events() if e.answer.kind == "answer"]
    assert [(a.annotator, set(a.labels.tolist())) for a in given] == [("ann", {3}), ("ann", {4})]
    low = ["label", str(package), "--web", "--review", "--low-agreement", "50%"]
    assert main(low) == 2 and "needs the network of a work directory" in capsys.readouterr().err


def test_a_package_takes_no_data_and_says_whom_it_was_for(home, monkeypatch, capsys):
    label_by(monkeypatch, lambda session: session.skip())
    package = pack(home, "one", "ann", "--queries", "1-4")
    for option in ("--data-root", "--config"):
        for command in (["label", "--web"], ["render", "--out", str(home / "x.png")]):
            assert main([*command, str(package), option, "nowhere"]) == 2
            said = capsys.readouterr().err
            assert f"{option} nowhere: {package} is a work package" in said
    assert main(["label", str(package), "--web", "--annotator", "bob"]) == 0
    assert capsys.readouterr().out.count("was packed for ann; answers are written as bob's") == 1
    assert main(["label", str(package), "--web"]) == 0
    assert "was packed for" not in capsys.readouterr().out
    with Ledger.read(package) as ledger:
        assert [e.answer.annotator for e in ledger.events() if e.answer.kind == "skip"] == [
            "bob",
            "ann",
        ]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--queries", "opne"], 2, "expected open, disputed, all"),
        (["--queries", "99"], 1, "has no query 99"),
        (["--share", "4/3"], 2, "expected I/N"),
        (["--queries", "20-3"], 2, "20 comes after 3; write 3-20"),
        (["--round", "7"], 2, "--round 7: "),
        (["--scan", "00/00001"], 2, "of that name; nearest: 00/000001, "),
        (["--days", "0"], 2, "more than 0 and at most 3650, got 0"),
        (["--days", "inf"], 2, "at most 3650, got inf"),
        (["--days", "nan"], 2, "at most 3650, got nan"),
        (["--crop", "-1"], 2, "expected metres, more than 0, got -1"),
        (["--crop", "inf"], 2, "expected metres, more than 0, got inf"),
        (["--limit", "0"], 2, "expected 1 or more"),
        (["--to", " "], 2, "name of the person"),
        (["--queries", "disputed"], 1, "no query of this choice is disputed"),
        (["--again"], 1, "no query of this choice is out in a work package for ann"),
    ],
)
def test_exports_that_make_no_sense_are_refused(home, capsys, options, code, words):
    out = home.parent / "one.a3dpack"
    before = state(home)
    assert main(["package", "export", str(home), str(out), "--to", "ann", *options]) == code
    assert words in capsys.readouterr().err
    assert not out.exists() and state(home) == before


def test_killed_while_packing_there_is_no_half_package(home):
    out, before = home.parent / "one.a3dpack", state(home)[0]
    command = ["package", "export", str(home), str(out), "--to", "ann"]

    def work():
        packing.os.fsync = die
        main(command)

    assert killed(work) and not out.exists()
    for statement in itertools.count(step=60):
        if not killed_at(statement, lambda: main(command)):
            break
        assert not out.exists() and state(home)[0] == before
    assert statement > 240 and read_manifest(out).recipient == "ann"
    assert {path.name for path in home.parent.iterdir()} == {"run", "one.a3dpack"}
    with Ledger.read(out) as ledger:
        assert len(ledger.queries()) == 20


@pytest.mark.parametrize("next_use", ["label", "show", "merge"])
def test_killed_while_answering_a_package_opens_again_with_what_was_answered(
    home, next_use, monkeypatch, capsys
):
    package = pack(home, "one", "ann", "--queries", "1-4")
    answer(package, 0, queries={1, 2})
    killed_while_writing(package)
    if next_use == "label":
        label_by(monkeypatch, lambda session: None)
        assert main(["label", str(package), "--web"]) == 0
        assert "2 of 4 voxels still wait" in capsys.readouterr().out
    elif next_use == "show":
        assert main(["package", "show", str(package)]) == 0
    with ledger_of(home) as ledger:
        merged = merge_package(ledger, package)
        assert merged.responses == {"ann": 2} and not merged.others
    assert not package.with_name(f"{package.name}-journal").exists()


def test_an_export_that_fails_leaves_an_earlier_package_its_queries(home, monkeypatch):
    pack(home, "one", "ann", "--queries", "1-4")
    monkeypatch.setattr(carrying, "pack", lambda arrays: 1 / 0)
    with open_reporter() as reporter, pytest.raises(ZeroDivisionError):
        export_package(
            WorkDir(home),
            home.parent / "two.a3dpack",
            ExportOptions("ann", PackageChoice("1-8"), days=1),
            reporter=reporter,
        )
    assert held_by(home, "ann") == {1, 2, 3, 4}


def test_who_labels_at_home_too_keeps_the_queries_of_their_package(home):
    pack(home, "one", "ann", "--queries", "1-4")
    session = open_labelling(home, annotator="ann").session
    for _ in range(20):
        session.next()
    session.close()
    assert held_by(home, "ann") == {1, 2, 3, 4}


def test_a_package_in_the_place_of_something_else_is_named(home, capsys):
    package = str(pack(home))
    for command in (
        ["train", package],
        ["package", "merge", package, package],
        ["package", "export", package, str(home.parent / "two.a3dpack"), "--to", "bob"],
    ):
        assert main(command) == 2
        assert "is a work package" in capsys.readouterr().err
