"""Scans whose files were moved, renamed or renumbered go by the ids that the ledger knows."""

from __future__ import annotations

import os
import re
import shutil

import numpy as np
import pytest
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.api.labelling import open_labelling
from annotator3d.api.scans import scan_source
from annotator3d.cli.main import main
from annotator3d.data.datasets.moved import MovedScans, find_moved
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.files import fingerprint
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.run import train
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.reporter import Reporter


def cut(root, sequence, frame, points):
    """Make a scan shorter, so that its size is its own."""
    drive = root / "sequences" / sequence
    for path, size in ((drive / f"velodyne/{frame}.bin", 16), (drive / f"labels/{frame}.label", 4)):
        os.truncate(path, points * size)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset with scans of different sizes, and a run on it that was stopped half way."""
    folder = tmp_path_factory.mktemp("made")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=3, points=300)
    for place, sequence in enumerate(("00", "01")):
        for frame in range(3):
            cut(root, sequence, f"{frame:06d}", 300 - 10 * (3 * place + frame))
    config = tiny_config(root, schedule={"epochs": 2}, active={"rounds_at": [0]})
    train(config, folder / "run")
    (folder / "mine.yaml").write_text(dump_config(config))
    return folder


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made / "run", tmp_path / "run")
    shutil.copytree(made / "kitti", tmp_path / "elsewhere")
    return tmp_path / "run", tmp_path / "elsewhere"


def scans_of(work_dir):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        return ledger.scans()


def rename(root, then, now):
    os.rename(root / "sequences" / then, root / "sequences" / now)


def renumber(root, sequence):
    """The first frame goes, as after somebody sorted a drive out: all others move up by one."""
    for folder, ending in (("velodyne", "bin"), ("labels", "label")):
        place = root / "sequences" / sequence / folder
        os.rename(place / f"000000.{ending}", place / f"000009.{ending}")
        for frame in (1, 2):
            os.rename(place / f"{frame:06d}.{ending}", place / f"{frame - 1:06d}.{ending}")


def test_a_folder_that_was_renamed_is_found_by_every_command(run, tmp_path, capsys):
    work_dir, root = run
    rename(root, "00", "20")
    where = ["--data-root", str(root)]
    assert main(["ledger", "verify", str(work_dir), *where]) == 0
    assert "scan 00/000000 is found as 20/000000, by its fingerprint" in capsys.readouterr().out
    opened = open_labelling(work_dir, data_root=str(root))
    assert opened.session.set_aside == {}
    opened.session.close()
    export = ["export", str(work_dir), str(tmp_path / "out"), "--what", "answers"]
    assert main([*export, "--format", "semantickitti", *where]) == 0
    written = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.label"))
    assert {path.parts[1] for path in written} == {"20", "01"} and len(written) == 6


@pytest.mark.parametrize("root", ["not-there", "empty"])
def test_where_no_scan_is_left_the_option_for_another_folder_is_named(run, tmp_path, capsys, root):
    work_dir, there = run
    (tmp_path / "empty").mkdir()
    for name in ("config.yaml", "run.json"):
        text = (work_dir / name).read_text()
        old = re.search(r"root\W+(\S*kitti)", text)[1]
        (work_dir / name).write_text(text.replace(old, str(tmp_path / root)))
    pack = ["package", "export", str(work_dir), str(tmp_path / "a.a3dpack"), "--to", "ann"]
    draw = ["render", str(work_dir), "--query", "1", "--out", str(tmp_path / "a.png")]
    train_on = ["train", str(work_dir / "config.yaml"), "--work-dir", str(work_dir), "--resume"]
    for command in (pack, draw, train_on):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert f"{tmp_path / root}" in said and "name their folder with --data-root DIR" in said
    with pytest.raises(FileNotFoundError, match="--data-root DIR"):
        open_labelling(work_dir)
    assert main(["ledger", "verify", str(work_dir)]) == 1
    assert "--data-root DIR" in capsys.readouterr().err
    open_labelling(work_dir, data_root=str(there)).session.close()


def test_labelling_finds_the_scans_where_the_run_read_them_last(run, made):
    """Its command is printed without --data-root."""
    work_dir, root = run
    command = ["train", str(made / "mine.yaml"), "--work-dir", str(work_dir), "--resume"]
    assert main([*command, "--data-root", str(root)]) == 0
    source = scan_source(WorkDir(work_dir), None, None, Reporter())
    assert source.dataset.root == root
    source = scan_source(WorkDir(work_dir), str(made / "mine.yaml"), None, Reporter())
    assert source.dataset.root == made / "kitti"  # asked for in so many words


def test_training_goes_on_as_if_the_files_had_their_old_names(run, made, tmp_path, capsys):
    work_dir, root = run
    rename(root, "00", "20")
    shutil.rmtree(work_dir / "checkpoints")  # the whole training once more
    command = ["train", str(made / "mine.yaml"), "--work-dir", str(work_dir), "--resume"]
    assert main([*command, "--data-root", str(root)]) == 0
    assert "is found as 20/000000" in capsys.readouterr().out
    assert (work_dir / "metrics.jsonl").read_text() == (made / "run/metrics.jsonl").read_text()


def test_files_that_were_renumbered_are_told_by_their_sizes_and_found(run, capsys):
    work_dir, root = run
    renumber(root, "00")
    dataset = SemanticKITTI(root, ["00", "01"])
    moved = {"00/000000": "00/000009", "00/000001": "00/000000", "00/000002": "00/000001"}
    assert find_moved(dataset, scans_of(work_dir)) == moved
    assert main(["ledger", "verify", str(work_dir), "--data-root", str(root)]) == 0
    then = SemanticKITTI(root.parent / "elsewhere", ["00", "01"])
    named = MovedScans(then, moved)
    assert named.ids == [scan.id for scan in scans_of(work_dir)]
    for i, scan in enumerate(scans_of(work_dir)):
        assert fingerprint(named.path(i)) == scan.fingerprint
        read = named.read(i)
        assert read.id == scan.id and read.num_raw == scan.num_points == named.num_points(i)
        raw = np.fromfile(named.label_path(i), "<u4")
        assert read.labels.tolist() == named.taxonomy.to_train(raw, "x").tolist()


def test_scans_that_are_nowhere_are_named(run, capsys):
    work_dir, root = run
    rename(root, "00", "20")
    (root / "sequences/20/velodyne/000001.bin").unlink()
    (root / "sequences/20/labels/000001.label").unlink()
    assert main(["ledger", "verify", str(work_dir), "--data-root", str(root)]) == 1
    said = capsys.readouterr().err
    assert "1 of 6 scans of the ledger are nowhere" in said and "00/000001" in said


def test_nothing_is_read_while_every_file_is_where_it_was(run, monkeypatch):
    work_dir, root = run

    def read(path):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("annotator3d.data.datasets.moved.fingerprint", read)
    dataset = SemanticKITTI(root, ["00", "01"])
    assert find_moved(dataset, scans_of(work_dir)) == {}
    assert find_moved(dataset, [ScanRecord("09/000000", "f", 7)]) == {}  # no file has this size


def test_a_stored_prediction_that_is_not_of_its_scan_is_named(made, tmp_path, capsys):
    config = tiny_config(made / "kitti", schedule={"epochs": 2}, active={"rounds_at": [0, 1]})
    train(config, tmp_path / "two")
    stored = sorted((tmp_path / "two/rounds/2").glob("*.npz"))
    shutil.copy(stored[0], stored[1])
    assert main(["ledger", "verify", str(tmp_path / "two")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and f"round 2, scan {stored[1].stem.replace('_', '/')}: " in said[0]
