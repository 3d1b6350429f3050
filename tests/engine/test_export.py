"""What was answered or predicted leaves in the formats of other tools, and comes back the same."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import source_scans
from benchmark_layouts import write_nuscenes
from source_scans import write_scans, write_taxonomy
from tiny_runs import BACKBONE, tiny_config

from annotator3d.cli.main import main
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.datasets.nuscenes import NuScenes
from annotator3d.data.datasets.nuscenes_tables import scenes_of
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.formats.kitti import read_bin, read_label, split_label
from annotator3d.data.scan import rows_of_cell
from annotator3d.data.taxonomy import load_taxonomy
from annotator3d.engine.build import input_rule, load_model
from annotator3d.engine.config.load import dump_config, load_config
from annotator3d.engine.prediction import predict_raw
from annotator3d.engine.training.checkpoint_file import read_weights
from annotator3d.ledger.ledger import Ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*points are not finite:RuntimeWarning")
FORMATS = ("semantickitti", "lidarseg", "ply", "las")
NETWORK = ["model.voxel_size=2.0", f"model.backbone={json.dumps(BACKBONE)}", "model.features=mean"]
SHORT = ["device=cpu", "schedule.epochs=1", "active.rounds_at=[0]", "active.voxel_size=4.0"]


def set_options(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """``data``: imported PLY files of three classes; ``work``: a trained run on them."""
    folder = tmp_path_factory.mktemp("own")
    src, taxonomy = write_scans(folder / "src"), write_taxonomy(folder)
    command = ["import", str(src), str(folder / "data"), "--format", "ply"]
    assert main([*command, "--taxonomy", str(taxonomy), "--val", "b"]) == 0
    command = ["train", "al/own_data", "--data-root", str(folder / "data"), "--work-dir"]
    assert main([*command, str(folder / "work"), *set_options(*NETWORK, *SHORT)]) == 0
    return folder


def export(folder: Path, out: Path, what: str, format: str, *options: str) -> int:
    return main(
        ["export", str(folder / "work"), str(out), "--what", what, "--format", format, *options]
    )


def answered(folder: Path, dataset) -> dict[str, np.ndarray]:
    """Raw ids of the ledger's answers, worked out point by point; void elsewhere."""
    raw_of = dataset.taxonomy.raw_ids
    with Ledger.read(folder / "work" / "ledger.sqlite") as ledger:
        found = ledger.labels_by_scan()
        size = ledger.voxel_size
    wanted = {}
    for scan_id, cells in found.items():
        scan = dataset.read(dataset.index(scan_id), labels=False)
        raw = np.full(scan.num_raw, raw_of[255])
        for cell, labels, _ in cells:
            rows = rows_of_cell(scan.xyz, cell, size)
            for row, label in zip(rows, labels, strict=True):
                raw[scan.rows[row]] = raw_of[label]
        wanted[scan_id] = raw
    return wanted


def predicted(folder: Path, dataset) -> dict[str, np.ndarray]:
    """Raw ids of the last checkpoint's predictions."""
    config = load_config(folder / "work" / "config.yaml")
    path = folder / "work" / "checkpoints" / "epoch_1.pth"
    count = dataset.taxonomy.num_classes
    model = load_model(config, count, read_weights(path), path)
    rule = input_rule(config, count)
    return {
        scan_id: dataset.taxonomy.raw_ids[predict_raw(model, dataset.read(i), rule)]
        for i, scan_id in enumerate(dataset.ids)
    }


WANTED = {"answers": ("train", answered), "predictions": ("val", predicted)}


@pytest.mark.parametrize("what", WANTED)
@pytest.mark.parametrize("format", FORMATS)
def test_what_is_exported_and_imported_again_is_identical(own, tmp_path, format, what):
    split, oracle = WANTED[what]
    dataset = ImportedScans(own / "data", split)
    wanted, out, again = oracle(own, dataset), tmp_path / "out", tmp_path / "again"
    assert export(own, out, what, format) == 0
    command = ["import", "--taxonomy", str(own / "classes.yaml"), "--val-share", "0"]
    if format in ("ply", "las"):
        command += [str(out), str(again), "--format", format]
    else:  # these hold labels only
        command += [str(own / "src"), str(again), "--format", "ply", "--labels", str(out)]
        command += ["--intensity-field", "intensity"]
    assert main(command) == 0
    back = ImportedScans(again, "all", labels="optional")
    assert set(wanted) == set(dataset.ids) <= set(back.ids)
    for scan_id, raw in wanted.items():
        sequence, frame = scan_id.split("/")
        place = Path("sequences") / sequence / "velodyne" / f"{frame}.bin"
        assert (again / place).read_bytes() == (own / "data" / place).read_bytes()
        label = Path("sequences") / sequence / "labels" / f"{frame}.label"
        classes, instances = split_label(read_label(again / label))
        np.testing.assert_array_equal(classes, raw)
        old = split_label(read_label(own / "data" / label))[1]
        np.testing.assert_array_equal(instances, 0 * old if format == "lidarseg" else old)


def test_files_lie_where_the_tools_look_for_them(own, tmp_path):
    for what, format, files in (
        ("answers", "semantickitti", ["sequences/a/labels/000000.label"]),
        ("predictions", "semantickitti", ["sequences/b/predictions/000001.label"]),
        ("predictions", "lidarseg", ["lidarseg/b_000000_lidarseg.bin", "lidarseg.json"]),
        ("answers", "ply", ["a/scan1.ply"]),  # as the user's own files are called
        ("predictions", "las", ["b/scan0.las"]),
    ):
        out = tmp_path / f"{what}-{format}"
        assert export(own, out, what, format) == 0
        assert all((out / file).is_file() for file in files)
        assert not list(out.rglob(".*.part"))


def test_other_tools_read_the_points_with_their_class(own, tmp_path):
    import laspy
    from plyfile import PlyData

    assert export(own, tmp_path / "p", "predictions", "ply") == 0
    assert export(own, tmp_path / "l", "predictions", "las") == 0
    dataset = ImportedScans(own / "data", "val")
    wanted = predicted(own, dataset)["b/000001"]
    vertex = PlyData.read(str(tmp_path / "p" / "b" / "scan1.ply"))["vertex"]
    points = source_scans.points(101)
    np.testing.assert_array_equal(np.column_stack([vertex[a] for a in "xyz"]), points.xyz)
    np.testing.assert_array_equal(vertex["label"], wanted)
    np.testing.assert_array_equal(vertex["instance"], points.instance)
    palette = {1: (128, 64, 128), 2: (230, 160, 50), 3: (0, 175, 0)}
    rgb = np.column_stack([vertex[c] for c in ("red", "green", "blue")])
    np.testing.assert_array_equal(rgb, [palette[raw] for raw in wanted])
    las = laspy.read(tmp_path / "l" / "b" / "scan1.las")
    np.testing.assert_array_equal(las.classification, wanted)
    np.testing.assert_allclose(las.xyz, points.xyz, atol=1e-6)
    np.testing.assert_array_equal(las.intensity, points.intensity)


def test_las_files_with_an_offset_come_back_where_they_were(tmp_path):
    src, utm = tmp_path / "src", (690_123.5, 5_335_456.25, 512.125)
    src.mkdir()
    for i in range(2):
        source_scans.write_las(src / f"{i}.las", source_scans.points(i), utm)
    taxonomy = str(write_taxonomy(tmp_path))
    command = ["import", str(src), str(tmp_path / "data"), "--format", "las"]
    assert main([*command, "--taxonomy", taxonomy]) == 0
    command = ["train", "al/own_data", "--data-root", str(tmp_path / "data"), "--work-dir"]
    assert main([*command, str(tmp_path / "work"), *set_options(*NETWORK, *SHORT)]) == 0
    assert export(tmp_path, tmp_path / "out", "predictions", "las", "--split", "train") == 0
    (file,) = (tmp_path / "out").glob("*.las")
    import laspy

    old, new = laspy.read(src / file.name), laspy.read(file)
    np.testing.assert_array_equal(np.array(new.xyz), np.array(old.xyz))
    command = ["import", str(tmp_path / "out"), str(tmp_path / "again"), "--format", "las"]
    assert main([*command, "--taxonomy", taxonomy, "--val-share", "0"]) == 0
    first = tmp_path / "data" / "sequences" / "00" / "velodyne" / f"{int(file.stem):06d}.bin"
    (second,) = (tmp_path / "again").rglob("*.bin")
    assert first.read_bytes() == second.read_bytes()


@pytest.fixture
def kitti(tmp_path, make_kitti) -> Path:
    """``work``: a run over four sequences of random scans in ``kitti``, some with a bad point."""
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)
    for scan in ("00/velodyne/000000", "02/velodyne/000000"):
        data = np.fromfile(root / f"sequences/{scan}.bin", "<f4")
        data[4 * 5] = np.nan
        data.tofile(root / f"sequences/{scan}.bin")
    config = tiny_config(root, schedule={"epochs": 1}, active={"rounds_at": [0]})
    (tmp_path / "config.yaml").write_text(dump_config(config))
    with pytest.warns(RuntimeWarning, match="not finite"):
        assert (
            main(["train", str(tmp_path / "config.yaml"), "--work-dir", str(tmp_path / "work")])
            == 0
        )
    return tmp_path


def test_instances_are_kept_and_points_without_a_prediction_are_void(kitti, tmp_path):
    out = tmp_path / "out"
    assert export(kitti, out, "predictions", "semantickitti") == 0
    wanted = predicted(kitti, SemanticKITTI(kitti / "kitti", ["02"]))
    for scan_id, raw in wanted.items():
        frame = scan_id.split("/")[1]
        new = np.fromfile(out / "sequences/02/predictions" / f"{frame}.label", "<u4")
        old = np.fromfile(kitti / "kitti/sequences/02/labels" / f"{frame}.label", "<u4")
        np.testing.assert_array_equal(new & 0xFFFF, raw)
        np.testing.assert_array_equal(new >> 16, old >> 16)
    assert wanted["02/000000"][5] == 0


def test_answers_stand_in_the_rows_of_the_raw_file(kitti, tmp_path):
    assert export(kitti, tmp_path / "out", "answers", "semantickitti") == 0
    wanted = answered(kitti, SemanticKITTI(kitti / "kitti", ["00", "01"]))
    assert len(wanted) == 4
    for scan_id, raw in wanted.items():
        sequence, frame = scan_id.split("/")
        new = np.fromfile(tmp_path / "out/sequences" / sequence / f"labels/{frame}.label", "<u4")
        np.testing.assert_array_equal(new & 0xFFFF, raw)


def test_las_refuses_points_that_are_not_finite(kitti, tmp_path, capsys):
    assert export(kitti, tmp_path / "out", "predictions", "las") == 1
    assert "not finite, which LAS cannot hold; choose --format ply" in capsys.readouterr().err
    assert export(kitti, tmp_path / "ply", "predictions", "ply") == 0


def test_las_keeps_intensities_exact_that_are_no_whole_numbers(kitti, tmp_path):
    import laspy

    out, again = tmp_path / "out", tmp_path / "again"
    assert export(kitti, out, "predictions", "las", "--split", "source") == 0
    command = ["import", str(out), str(again), "--format", "las", "--val-share", "0"]
    assert main([*command, "--taxonomy", "semantickitti19"]) == 0
    _, wanted = read_bin(kitti / "kitti/sequences/03/velodyne/000001.bin")
    _, found = read_bin(again / "sequences/03/velodyne/000001.bin")
    np.testing.assert_array_equal(found, wanted)
    standard = np.array(laspy.read(out / "03" / "000001.las").intensity)
    np.testing.assert_allclose(standard / 65535, wanted, atol=1e-5)


def test_a_fuller_file_is_not_replaced_by_an_emptier_one(kitti, tmp_path, capsys):
    dataset = SemanticKITTI(kitti / "kitti", ["00", "01"])
    out = tmp_path / "out"
    assert export(kitti, out, "answers", "semantickitti") == 0
    files = sorted(out.rglob("*.label"))
    mine = files[2]
    raw = np.fromfile(mine, "<u4")
    empty = np.flatnonzero((raw & 0xFFFF) == 0)
    raw[empty[0]] = 40  # one point more than the ledger has
    raw.tofile(mine)
    before = {path: path.read_bytes() for path in files}
    files[0].write_bytes(bytes(4 * 300))
    emptier = files[0].read_bytes()
    assert export(kitti, out, "answers", "semantickitti") == 1
    error = capsys.readouterr().err
    labelled = int(((raw & 0xFFFF) != 0).sum())
    assert f"{mine} has {labelled} labelled points, the new one {labelled - 1}" in error
    assert files[0].read_bytes() == emptier and mine.read_bytes() == before[mine]
    assert export(kitti, out, "answers", "semantickitti", "--force") == 0
    wanted = answered(kitti, dataset)[f"{mine.parts[-3]}/{mine.stem}"]
    np.testing.assert_array_equal(np.fromfile(mine, "<u4") & 0xFFFF, wanted)
    # Into the dataset itself, whose truth is fuller:
    assert export(kitti, kitti / "kitti", "answers", "semantickitti") == 1
    assert "4 files would lose labels" in capsys.readouterr().err


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_guards_its_files(own, tmp_path, capsys, format):
    out = tmp_path / "out"
    assert export(own, out, "answers", format) == 0
    path = next(p for p in sorted(out.rglob("*")) if p.is_file() and p.suffix != ".json")
    assert export(own, out, "answers", format) == 0  # as full: replaced
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 1])  # not to be read: nothing is known of its labels
    if format == "lidarseg":
        path.write_bytes(bytes([1]) * len(whole))
    assert export(own, out, "answers", format) == 1
    assert str(path) in capsys.readouterr().err
    assert export(own, out, "answers", format, "--force") == 0
    assert path.read_bytes() == whole


def test_the_files_that_a_dataset_was_made_from_are_never_replaced(own, capsys):
    before = {p: p.read_bytes() for p in (own / "src").rglob("*.ply")}
    for what, force in (("answers", []), ("predictions", ["--force"])):
        assert export(own, own / "src", what, "ply", *force) == 1
        assert "is a file that the dataset was made from" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in (own / "src").rglob("*.ply")} == before


def test_a_kill_while_writing_leaves_whole_files_only(own, tmp_path, monkeypatch):
    from annotator3d.data.exporting.writers import PlyWriter

    real, seen = PlyWriter.write, []

    def dies(self, i, labels):
        seen.append(i)
        if len(seen) == 2:
            monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        real(self, i, labels)

    monkeypatch.setattr(PlyWriter, "write", dies)
    assert export(own, tmp_path / "out", "answers", "ply") == 130
    monkeypatch.undo()
    assert [p.name for p in sorted((tmp_path / "out").rglob("*.*"))] == ["scan0.ply"]
    assert export(own, tmp_path / "out", "answers", "ply") == 0
    assert len(list((tmp_path / "out").rglob("*.ply"))) == 2


def submission_faults(archive: Path, dataset: Path) -> list[str]:
    """What semantic-kitti-api's README and validator ask of a submission, checked one by one."""
    faults = [] if archive.suffix == ".zip" else ["no .zip"]
    with zipfile.ZipFile(archive) as file:
        infos = {info.filename: info for info in file.infolist()}
    for number in range(11, 22):
        for folder in ("sequences/", f"sequences/{number}/", f"sequences/{number}/predictions/"):
            if folder not in infos or not infos[folder].is_dir():
                faults.append(f"no entry {folder}")
        for scan in sorted((dataset / "sequences" / str(number) / "velodyne").iterdir()):
            name = f"sequences/{number}/predictions/{scan.stem}.label"
            if name not in infos or infos[name].file_size / 4 != scan.stat().st_size / 16:
                faults.append(f"{name} is missing or of another length")
    return faults


def test_the_archive_is_what_the_test_server_takes(kitti, tmp_path, make_kitti, capsys):
    numbers = [str(n) for n in range(11, 22)]
    root = make_kitti(sequences=numbers, scans=2, points=60, labels=False, name="test")
    out, words = tmp_path / "mine", tmp_path / "words.txt"
    words.write_text("method name: VCD\n")
    options = ["--data-root", str(root), "--zip", "--description", str(words)]
    options += set_options("data.val={type: SemanticKITTI, split: test}")
    assert export(kitti, out, "predictions", "semantickitti", *options) == 0
    printed = capsys.readouterr().out
    assert f"for the test server: {tmp_path / 'mine.zip'}" in printed
    assert "expects sequences" not in printed
    archive = tmp_path / "mine.zip"
    assert submission_faults(archive, root) == []
    known = set(load_taxonomy("semantickitti19").learning_map)
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        assert file.read("description.txt") == words.read_bytes()
        labels = [n for n in file.namelist() if n.endswith(".label")]
        for name in labels:
            assert set(np.frombuffer(file.read(name), "<u4").tolist()) <= known
    assert len(labels) == 22
    first = archive.read_bytes()
    assert export(kitti, out, "predictions", "semantickitti", *options) == 0
    assert archive.read_bytes() == first
    assert export(kitti, tmp_path / "few", "predictions", "semantickitti", "--zip") == 0
    assert "expects sequences 11 to 21, this dataset has 02" in capsys.readouterr().out


def test_nuscenes_labels_go_where_nuscenes_has_them(tmp_path, capsys):
    names = [*scenes_of("mini_train"), *scenes_of("mini_val")]
    root = write_nuscenes(tmp_path / "n", names, version="v1.0-mini", recorded=len(names))
    keys = "type: NuScenes, version: v1.0-mini"
    values = tiny_config(root, "target_only", schedule={"epochs": 1})
    config = tmp_path / "n.yaml"
    config.write_text(
        dump_config(values).replace("source:", "unused:").split("data:")[0]
        + f"data:\n  train: {{{keys}, split: train}}\n  val: {{{keys}, split: val}}\n"
        + "model:"
        + dump_config(values).split("model:", 1)[1]
    )
    work = tmp_path / "nwork"
    assert main(["train", str(config), "--data-root", str(root), "--work-dir", str(work)]) == 0
    command = ["export", str(work), "--what", "predictions", "--format", "lidarseg"]
    assert main([*command, str(root)]) == 1
    assert "is a file that the dataset was made from" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "out")]) == 0
    assert main([*command, str(tmp_path / "out"), "--split", "train"]) == 0
    dataset = NuScenes(root, "val", "v1.0-mini")
    table = json.loads((tmp_path / "out" / "v1.0-mini" / "lidarseg.json").read_text())
    rows = {row["sample_data_token"]: row["filename"] for row in table}
    theirs = json.loads((root / "v1.0-mini" / "lidarseg.json").read_text())
    assert rows == {row["sample_data_token"]: row["filename"] for row in theirs}
    for i in range(len(dataset)):
        path = tmp_path / "out" / dataset.label_path(i).relative_to(root)
        assert path.stat().st_size == 70
        assert set(np.fromfile(path, np.uint8)) <= set(dataset.taxonomy.raw_ids.tolist())


def test_ids_that_do_not_fit_are_refused_or_take_another_field(tmp_path, capsys):
    text = "classes: [{name: ground, ids: [1]}, {name: mast, ids: [300]}]"
    src, taxonomy = tmp_path / "src", write_taxonomy(tmp_path, text)
    src.mkdir()
    for i in range(2):
        p = source_scans.points(i)
        p.label = np.resize([1, 300, 0], len(p.label)).astype(np.uint16)
        source_scans.write_ply(src / f"{i}.ply", p)
    data = tmp_path / "data"
    command = ["import", str(src), str(data), "--format", "ply", "--taxonomy", str(taxonomy)]
    assert main(command) == 0
    command = ["train", "al/own_data", "--data-root", str(data), "--work-dir"]
    assert main([*command, str(tmp_path / "work"), *set_options(*NETWORK, *SHORT)]) == 0
    assert export(tmp_path, tmp_path / "a", "predictions", "lidarseg") == 1
    assert "lidarseg has 8 bits a label" in capsys.readouterr().err
    assert export(tmp_path, tmp_path / "b", "predictions", "las", "--split", "val") == 0
    import laspy

    (file,) = (tmp_path / "b").glob("*.las")
    dataset = ImportedScans(data, "val")
    np.testing.assert_array_equal(
        laspy.read(file)["label"], predicted(tmp_path, dataset)[dataset.ids[0]]
    )


def test_answers_to_a_selection_without_training_are_exported_too(kitti, tmp_path, capsys):
    config, work = str(tmp_path / "config.yaml"), tmp_path / "chosen"
    select = ["select", config, "--work-dir", str(work), "--set", "active.strategy=random"]
    assert main(select) == 0
    command = ["export", str(work), str(tmp_path / "out"), "--what", "answers"]
    command += ["--format", "semantickitti"]
    assert main(command) == 1
    assert "holds no answers yet" in capsys.readouterr().err
    (work / "config.yaml").unlink()
    assert main(command) == 2
    assert "name the config with --config" in capsys.readouterr().err
    command += ["--config", config]
    taxonomy = load_taxonomy("semantickitti19")
    with Ledger.open(work / "ledger.sqlite", taxonomy.names, taxonomy.digest(), 4.0) as ledger:
        query = ledger.open_queries()[0]
        ledger.answer(query.id, np.zeros(query.num_points, int), annotator="me")
    assert main(command) == 0
    (file,) = (tmp_path / "out").rglob("*.label")
    raw = np.fromfile(file, "<u4") & 0xFFFF
    assert f"{file.parts[-3]}/{file.stem}" == query.scan
    assert (raw == 10).sum() == query.num_points and set(raw) == {0, 10}


def test_a_scan_that_changed_since_it_was_asked_about_is_refused(kitti, tmp_path, capsys):
    path = kitti / "kitti/sequences/00/velodyne/000000.bin"
    xyz, _ = read_bin(path)
    np.column_stack([xyz, np.zeros(len(xyz))]).astype("<f4").tofile(path)
    assert export(kitti, tmp_path / "out", "answers", "semantickitti") == 1
    assert f"{path} has changed since it was asked about" in capsys.readouterr().err


def test_wrong_orders_are_told_before_any_work(kitti, tmp_path, capsys):
    out = tmp_path / "out"
    for options, words in (
        (["answers", "semantickitti", "--zip"], "--zip is for SemanticKITTI's test server"),
        (["predictions", "ply", "--zip"], "--zip is for SemanticKITTI's test server"),
        (["predictions", "ply", "--description", "x"], "pass --zip too"),
        (["answers", "ply", "--checkpoint", "x"], "answers are in the ledger"),
    ):
        assert export(kitti, out, *options) == 2
        assert words in capsys.readouterr().err
    for path in (tmp_path / "work" / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    assert export(kitti, out, "predictions", "ply") == 1
    assert "holds no whole checkpoint" in capsys.readouterr().err
    assert not out.exists()
