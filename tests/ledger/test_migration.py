"""Another class list in week two: answers are carried over, and only a split asks again."""

import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from asked import Asked
from hypothesis import given, settings
from hypothesis import strategies as st
from killing import die, killed
from kitti_scans import make_kitti_in
from source_scans import CLASSES, points, write_ply, write_taxonomy
from tiny_runs import tiny_config

from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.api.labelling import open_labelling
from annotator3d.cli.main import main
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.taxonomy import load_taxonomy
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.run import train
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.migrate import migrate, plan, targets_by_raw_id
from annotator3d.ledger.records import Answer

OLD = ["car", "plants", "road"]


@pytest.fixture
def path(tmp_path):
    return make(tmp_path / "ledger.sqlite", [[0, 1, 2], [2, 2, 2], [0, 0, 255]])


def make(path, answers, names=OLD):
    with Ledger.open(path, names, "d1") as ledger:
        ledger.register_scan("00/0", "f", 99)
        asked = {"00/0": [Asked((i, 0, 0), len(a)) for i, a in enumerate(answers)]}
        for query in ledger.add_round(1, "vcd", 0, 9, asked):
            ledger.answer(query.id, answers[query.cell[0]], annotator="ann")
    return path


def reopen(path):
    with Ledger.read(path) as ledger:
        names, digest = ledger.taxonomy_names, ledger.taxonomy_digest
    return Ledger.open(path, names, digest)


def apply(path, names, digest="d2", **options):
    with reopen(path) as ledger:
        found = plan(ledger, names, digest, **options)
        migrate(ledger, found)
    return found


def labels(path):
    with Ledger.read(path) as ledger:
        return [entry.labels.tolist() for entry in ledger.labels_for_scan("00/0")]


def test_rename_merge_remove_and_split_at_once(path):
    found = apply(
        path,
        ["tree", "bush", "ground"],
        become={"road": "ground"},
        split={"plants": ["tree", "bush"]},
        removed=["car"],
    )
    fates = {fate.name: (fate.fate, fate.becomes, fate.voxels, fate.points) for fate in found.fates}
    assert fates == {
        "car": ("removed", (), 2, 3),
        "plants": ("split", ("tree", "bush"), 1, 1),
        "road": ("renamed", ("ground",), 2, 4),
    }
    assert found.reopened == 1 and found.added == ()
    assert labels(path) == [[255, 255, 2], [2, 2, 2], [255, 255, 255]]
    with reopen(path) as ledger:
        (query,) = ledger.open_queries()
        assert query.cell == (0, 0, 0)
        ledger.answer(query.id, [255, 0, 2], annotator="bob")
        assert not ledger.open_queries()
        assert [event.taxonomy for event in ledger.events(query.id)] == [1, 2]


def test_several_classes_become_one(path):
    found = apply(path, ["thing", "road"], become={"car": "thing", "plants": "thing"})
    assert [fate.fate for fate in found.fates] == ["merged", "merged", "kept"]
    assert labels(path) == [[0, 0, 1], [1, 1, 1], [0, 0, 255]]


def test_raw_ids_say_what_a_class_becomes():
    old = {10: 0, 11: 0, 20: 1, 30: 2, 0: 255}
    new = {10: 1, 11: 1, 20: 0, 30: 0, 31: 2, 0: 255}
    assert targets_by_raw_id(old, new, 3) == {0: {1}, 1: {0}, 2: {0}}


def test_a_class_whose_raw_ids_part_is_split(path):
    targets = {0: frozenset([0]), 1: frozenset([1, 2]), 2: frozenset([3])}
    found = apply(path, ["car", "tree", "bush", "road"], by_raw_id=targets)
    assert [fate.fate for fate in found.fates] == ["kept", "split", "kept"]
    assert found.reopened == 1


def test_a_class_that_keeps_its_name_keeps_its_labels(path):
    """Even where raw ids of it are ignored now; `--map` says so where they are of another class."""
    targets = {0: {0, 255}, 1: {1, 2}, 2: {3}}
    names = ["car", "plants", "bush", "road"]
    found = apply(path, names, by_raw_id=targets, become={"plants": "plants"})
    assert [fate.fate for fate in found.fates] == ["kept"] * 3 and found.reopened == 0
    assert found.added == ("bush",) and labels(path)[0] == [0, 1, 3]


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (["car", "road"], {}, "--map plants=NEW"),
        (OLD, {"become": {"cra": "car"}}, "did you mean 'car'"),
        (OLD, {"become": {"car": "raod"}}, "did you mean 'road'"),
        (OLD, {"become": {"car": "road"}, "removed": ["car"]}, "named twice"),
        (OLD, {"by_raw_id": {0: frozenset([2]), 1: {1}, 2: {2}}}, "road now: add --map car=car"),
        (["car", "bush", "road"], {"by_raw_id": {1: {1, 255}}}, "no class now, others of bush"),
        (["car", "road"], {"by_raw_id": {1: {255}}}, "to no class now; say .* --remove plants"),
        (
            ["car", "van", "plants", "road"],
            {"by_raw_id": {0: {0, 1}, 1: {2}, 2: {3}}},
            "keeps its name.*--split car=car,van",
        ),
    ],
)
def test_what_is_not_clear_is_refused_and_nothing_written(path, names, options, words):
    with reopen(path) as ledger, pytest.raises(ValueError, match=words):
        plan(ledger, names, "d2", **options)
    with Ledger.read(path) as ledger:
        assert ledger.taxonomy_version == 1


def test_the_same_class_list_is_nothing_to_migrate(path):
    with reopen(path) as ledger, pytest.raises(ValueError, match="has this class list already"):
        plan(ledger, OLD, "d1")


def test_a_plan_of_yesterday_is_refused(path):
    with reopen(path) as ledger:
        found = plan(ledger, ["car", "plants", "road", "sky"], "d2")
    apply(path, ["car", "plants", "road", "sea"], "d3")
    with reopen(path) as ledger, pytest.raises(ValueError, match="plan it again"):
        migrate(ledger, found)


def test_who_has_the_ledger_open_is_told_and_writes_nothing(path):
    with reopen(path) as open_before:
        apply(path, ["car", "plants", "road", "sky"])
        for write in (
            lambda: open_before.answer(1, [0, 0, 0], annotator="ann"),
            lambda: open_before.changes_since(0, 0),
        ):
            with pytest.raises(ValueError, match="changed while it was open.*open it again"):
                write()
    with Ledger.read(path) as ledger:
        assert len(ledger.events()) == 3


maps = st.lists(st.integers(0, 3), min_size=4, max_size=4)


@settings(max_examples=20, deadline=None)
@given(st.lists(maps, min_size=1, max_size=3), st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_a_chain_of_migrations_is_their_composition(tmp_path_factory, chain, answer):
    """Worked out by name: 0..2 are classes of the next list, 3 is a split."""
    folder = tmp_path_factory.mktemp("chain")
    path = make(folder / "ledger.sqlite", [answer], [f"0-{i}" for i in range(4)])
    expected = [f"0-{i}" for i in answer]
    for step, table in enumerate(chain, 1):
        names = [f"{step}-{i}" for i in range(4)]
        before = [f"{step - 1}-{i}" for i in range(4)]
        become = {b: names[t] for b, t in zip(before, table, strict=True) if t < 3}
        split = {b: () for b, t in zip(before, table, strict=True) if t == 3}
        apply(path, names, f"d{step + 1}", become=become, split=split)
        expected = [become.get(name, "again") for name in expected]
    with Ledger.read(path) as ledger:
        names = {**dict(enumerate(ledger.taxonomy_names)), 254: "again"}
        assert [names[i] for i in ledger.current(1).labels.tolist()] == expected
        assert bool(ledger.open_queries()) == ("again" in expected)
        trained = [255 if e == "again" else ledger.taxonomy_names.index(e) for e in expected]
        assert [entry.labels.tolist() for entry in ledger.labels_for_scan("00/0")] == [trained]


def test_undo_and_redo_go_across_a_migration(path):
    with reopen(path) as ledger:
        ledger.answer(1, [2, 2, 2], annotator="ann")
        ledger.undo(1, annotator="ann")
    apply(path, ["road", "car", "tree"], split={"plants": ["tree"]})
    with reopen(path) as ledger:
        assert ledger.current(1).labels.tolist() == [1, 254, 0]
        ledger.undo(1, annotator="ann")
        assert ledger.current(1) is None
        ledger.record(1, Answer("answer", np.array([1, 2, 0]), "ann"))
        assert ledger.current(1).labels.tolist() == [1, 2, 0]


NEW = {
    "classes": [
        {"name": "car", "ids": [10, 11, 15, 18, 20, 13, 16, 252, 256, 257, 258, 259]},
        {"name": "person", "ids": [30, 31, 32, 253, 254, 255]},
        {"name": "flat", "ids": [40, 44, 48, 49, 60, 72]},
        {"name": "other", "ids": [50, 51, 70, 71, 80, 81]},
    ],
    "ignored": [0, 1, 52, 99],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run and the dataset that it was trained on."""
    folder = tmp_path_factory.mktemp("trained")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=2, points=300)
    config = tiny_config(root, active={"queries_per_scan": 2})
    train(config, folder / "run")
    (folder / "mine.yaml").write_text(dump_config(config))
    return folder


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    new = tmp_path / "new.yaml"
    new.write_text(yaml.safe_dump(NEW))
    return tmp_path / "run", new


def test_a_run_goes_on_with_another_class_list(run, trained, capsys):
    work_dir, new = run
    (work_dir / "adaptation").mkdir()
    (work_dir / "adaptation" / "adapted.pth").write_text("weights for the old classes")
    command = ["taxonomy", "migrate", str(work_dir), str(new)]
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        before, asked = ledger.summary(), ledger.queries()
    assert main(command) == 0
    assert "Nothing was written" in capsys.readouterr().out
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert ledger.taxonomy_version == 1
    assert main([*command, "--apply"]) == 0
    assert "--resume" in capsys.readouterr().out
    assert (work_dir / "checkpoints.classes-1").is_dir()
    assert (work_dir / "adaptation.classes-1" / "adapted.pth").is_file()
    assert not (work_dir / "adaptation").exists()
    config = str(trained / "mine.yaml")  # as it was before
    assert main(["train", config, "--work-dir", str(work_dir), "--resume"]) == 0
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert ledger.taxonomy_names == ("car", "person", "flat", "other")
        assert ledger.summary() == before and ledger.queries() == asked
        for scan, cells in ledger.labels_by_scan().items():
            truth = load_taxonomy(new)
            drive, frame = (trained / "kitti/sequences" / scan).parts[-2:]
            drive = trained / "kitti/sequences" / drive
            raw = np.fromfile(drive / f"labels/{frame}.label", "<u4")
            xyz = np.fromfile(drive / f"velodyne/{frame}.bin", "<f4").reshape(-1, 4)[:, :3]
            for cell, given_labels, _ in cells:
                rows = (np.floor(xyz / np.float32(4)) == cell).all(1)
                expected = truth.to_train(raw[rows], scan)
                assert given_labels.tolist() == expected.tolist()
    run_info = json.loads((work_dir / "run.json").read_text())
    assert run_info["state"] == "done" and run_info["classes"] == ["car", "person", "flat", "other"]
    assert main([*command, "--apply"]) == 1
    assert "nothing to migrate" in capsys.readouterr().err


def test_a_migration_that_was_killed_is_ended_by_the_same_call(run, trained, capsys):
    work_dir, new = run
    command = ["taxonomy", "migrate", "RUN", str(new), "--apply"]
    steps = ["class list", "note", "ledger", "checkpoints", "metrics", "run.json", "config", "end"]
    half_way = range(steps.index("checkpoints"), len(steps))
    for step in range(len(steps) + 1):
        command[2] = str(shutil.copytree(work_dir, work_dir.with_name(f"killed-{step}")))

        def work(step=step):
            _kill_at(step)
            assert main(command) == 0

        assert killed(work) == (step < len(steps))
        if step in half_way:
            _is_half_way(command[2], trained / "mine.yaml", capsys)
        with Ledger.read(f"{command[2]}/ledger.sqlite") as ledger:
            assert len(ledger.labels_by_scan()) == 4
        assert main(command) == (0 if step < len(steps) else 1)  # there is nothing left to do
        with Ledger.read(f"{command[2]}/ledger.sqlite") as ledger:
            assert ledger.taxonomy_version == 2
        names = {path.name for path in Path(command[2]).iterdir()}
        assert {"checkpoints.classes-1", "metrics.jsonl.classes-1", "taxonomy-2.yaml"} <= names
        run_info = json.loads(Path(command[2], "run.json").read_text())
        assert run_info["classes"] == ["car", "person", "flat", "other"]
        assert "taxonomy-2.yaml" in Path(command[2], "config.yaml").read_text()
        assert not list(Path(command[2]).glob(".*.part")) and "migration.json" not in names
        open_labelling(Path(command[2])).session.close()


def _is_half_way(work_dir, config, capsys):
    """Every command that would take it for something else names the one that ends it."""
    capsys.readouterr()
    pack = ["package", "export", work_dir, f"{work_dir}.a3dpack", "--to", "ann"]
    train_on = ["train", str(config), "--work-dir", work_dir, "--resume"]
    out = ["export", work_dir, f"{work_dir}-out", "--what", "answers", "--format", "ply"]
    other = ["taxonomy", "migrate", work_dir, "semanticposs13", "--apply"]
    doubts = ["ledger", "suspicious", work_dir]
    for command in (pack, train_on, out, other, doubts):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "started but did not finish" in said, said
        assert f"migrate {work_dir} {work_dir}/taxonomy-2.yaml --apply" in said
    with pytest.raises(ValueError, match="started but did not finish"):
        open_labelling(Path(work_dir))


def test_the_command_that_it_names_ends_a_migration(run, capsys):
    work_dir, new = run

    def work():
        _kill_at(3)
        main(["taxonomy", "migrate", str(work_dir), str(new), "--apply", "--set", "device=cpu"])

    assert killed(work)
    new.unlink()
    with pytest.raises(ValueError, match="did not finish") as refused:
        open_labelling(work_dir)
    command = shlex.split(str(refused.value).partition("or: annotator3d ")[2])
    assert command[-2:] == ["--set", "device=cpu"] and main(command) == 0
    open_labelling(work_dir).session.close()


def _kill_at(step):
    """Die before the step-th file gets its name, the ledger its class list or the note goes."""
    from annotator3d.engine import migrate as migrating

    left = [step]

    def dying(work):
        def run(*arguments, **more):
            if left[0] == 0:
                die()
            left[0] -= 1
            return work(*arguments, **more)

        return run

    migrating.migrate = dying(migrating.migrate)
    migrating.forget_migration = dying(migrating.forget_migration)
    os.rename, os.replace = dying(os.rename), dying(os.replace)


def test_the_command_that_it_prints_goes_on_with_the_scans_of_the_run(trained, tmp_path, capsys):
    """Whether the config names another folder than --data-root did, or none."""
    config, root = yaml.safe_load((trained / "mine.yaml").read_text()), str(trained / "kitti")
    config["schedule"]["epochs"], config["active"]["rounds_at"] = 1, [0]
    new, path = tmp_path / "new.yaml", tmp_path / "mine.yaml"
    new.write_text(yaml.safe_dump(NEW))
    for name, configured in (("none", None), ("other", str(tmp_path / "gone"))):
        work_dir = tmp_path / f"my run {name}"
        for split in ("train", "val"):
            config["data"][split].pop("root", None)
            config["data"][split] |= {} if configured is None else {"root": configured}
        path.write_text(yaml.safe_dump(config))
        started = ["train", str(path), "--work-dir", str(work_dir)]
        assert main([*started, "--data-root", root]) == 0
        assert main(["taxonomy", "migrate", str(work_dir), str(new), "--apply"]) == 0
        printed = capsys.readouterr().out.splitlines()[-1]
        command = shlex.split(printed)
        assert command[0] == "annotator3d" and main(command[1:]) == 0


def test_adaptation_needs_a_source_that_knows_the_new_classes(run, tmp_path, capsys):
    work_dir, new = run
    path = work_dir / "config.yaml"
    path.write_text(path.read_text().replace("setting: al", "setting: asfda"))
    assert main(["taxonomy", "migrate", str(work_dir), str(new)]) == 2
    assert "--set init=CHECKPOINT" in capsys.readouterr().err
    with_init = ["--set", "init=other.pth"]
    assert main(["taxonomy", "migrate", str(work_dir), str(new), *with_init]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere", "new.yaml"], 1, "there is no ledger"),
        (["RUN", "nowhere.yaml"], 1, "nowhere.yaml"),
        (["RUN", "NEW", "--map", "car"], 2, "expected OLD=NEW"),
        (["RUN", "NEW", "--remove", "cars"], 2, "has no class 'cars'"),
        (["RUN", "NEW", "--old", "semanticposs13"], 1, "is not the class list of the ledger"),
    ],
)
def test_refusals(run, tmp_path, monkeypatch, capsys, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    named = {"RUN": str(run[0]), "NEW": str(run[1])}
    arguments = [named.get(argument, argument) for argument in arguments]
    if "new.yaml" in arguments:
        arguments[0] = str(tmp_path / "nowhere")
    assert main(["taxonomy", "migrate", *arguments, "--apply"]) == code
    assert words in capsys.readouterr().err
    with Ledger.read(run[0] / "ledger.sqlite") as ledger:
        assert ledger.taxonomy_version == 1


def test_the_network_goes_on_where_each_class_keeps_its_number(run, capsys):
    work_dir, new = run
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        names = list(ledger.taxonomy_names)
    old = load_taxonomy("semantickitti19")
    ids = [[raw for raw, t in old.learning_map.items() if t == train] for train in range(19)]
    names[0] = "vehicle"
    classes = [{"name": name, "ids": raw} for name, raw in zip(names, ids, strict=True)]
    new.write_text(yaml.safe_dump({"classes": classes, "ignored": NEW["ignored"]}))
    miou = [json.loads(line)["miou"] for line in (work_dir / "metrics.jsonl").open()]
    (work_dir / "pool_classes.json").write_text("{}")
    assert main(["taxonomy", "migrate", str(work_dir), str(new), "--apply"]) == 0
    assert "the same network" in capsys.readouterr().out
    assert main(["report", str(work_dir)]) == 0 and "vehicle" in (
        (work_dir / "report.html").read_text()
    )
    resume = ["train", f"{work_dir}/config.yaml", "--work-dir", str(work_dir), "--resume"]
    assert main(resume) == 0
    assert "continuing from epoch_4.pth" in capsys.readouterr().out
    lines = [json.loads(line) for line in (work_dir / "metrics.jsonl").open()]
    assert [line["miou"] for line in lines] == miou
    assert all(list(line["iou_per_class"]) == names for line in lines)
    assert not list(work_dir.glob("*.classes-*"))


def test_predictions_of_the_old_classes_are_shown_in_the_new_ones(run, trained):
    work_dir, new = run
    dataset = SemanticKITTI(trained / "kitti", ["00", "01"])
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        asked = next(q for q in ledger.queries() if q.round == 2)
    scan = dataset.read(dataset.index(asked.scan))
    then = StoredPredictions(work_dir / "rounds")(2, scan).classes
    split = ["--split", "road=flat,other"]
    assert main(["taxonomy", "migrate", str(work_dir), str(new), *split, "--apply"]) == 0
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        now = StoredPredictions(work_dir / "rounds", ledger.to_current)(2, scan).classes
    old, wanted = load_taxonomy("semantickitti19"), load_taxonomy(new)
    raw = dict(enumerate(old.raw_ids.tolist()))
    becomes = {t: wanted.learning_map[raw[t]] for t in set(then.tolist())}
    becomes[old.names.index("road")] = 255  # flat or other: nobody can tell
    expected = [becomes[t] for t in then.tolist()]
    assert len(set(then.tolist())) > 1 and now.tolist() == expected


def test_scans_of_ones_own_say_by_their_raw_ids_what_a_class_becomes(tmp_path, capsys):
    (tmp_path / "scans/a").mkdir(parents=True)
    write_ply(tmp_path / "scans/a/0.ply", points(0))
    classes, out = write_taxonomy(tmp_path), tmp_path / "data"
    made = ["import", str(tmp_path / "scans"), str(out), "--format", "ply", "--val-share", "0"]
    assert main([*made, "--taxonomy", str(classes)]) == 0
    config = tmp_path / "own.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "data": {"train": {"type": "OwnScans", "split": "all"}},
                "active": {"strategy": "random", "voxel_size": 8.0, "oracle": "person"},
            }
        )
    )
    run = tmp_path / "run"
    select = ["select", str(config), "--work-dir", str(run), "--data-root", str(out)]
    assert main(select) == 0
    new = tmp_path / "new.yaml"
    new.write_text(CLASSES.replace("building, ids: [2, 7]", "house, ids: [2]").replace(
        "ignored", "  - {name: hut, ids: [7]}\nignored"))  # fmt: skip
    capsys.readouterr()
    assert main(["taxonomy", "migrate", str(run), str(new), "--apply", "--json"]) == 0
    fates = {fate["name"]: fate for fate in json.loads(capsys.readouterr().out)["fates"]}
    assert fates["building"]["becomes"] == ["house", "hut"]
    assert main(select) == 0  # with the config as it was
    session = open_labelling(run, config=str(config), data_root=str(out)).session
    assert session.class_names == ("ground", "house", "plant", "hut")
    session.close()
    with Ledger.read(run / "ledger.sqlite") as ledger:
        assert len(ledger.rounds()) == 2
