"""`annotator3d check` names every fault with its file; training obeys what was found."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from benchmark_layouts import write_nuscenes
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.data.checking import store
from annotator3d.data.checking.dataset import check_dataset
from annotator3d.data.checking.gate import vet
from annotator3d.data.checking.problems import KINDS
from annotator3d.data.datasets.nuscenes import NuScenes
from annotator3d.data.datasets.nuscenes_tables import scenes_of
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.config.load import dump_config

N = 200  # points of a scan that `make_kitti` writes


def bin_of(root: Path, scan_id: str = "00/000001") -> Path:
    sequence, frame = scan_id.split("/")
    return root / "sequences" / sequence / "velodyne" / f"{frame}.bin"


def label_of(root: Path, scan_id: str = "00/000001") -> Path:
    sequence, frame = scan_id.split("/")
    return root / "sequences" / sequence / "labels" / f"{frame}.label"


def edit(path: Path, dtype: str, change) -> None:
    """Write a file back after `change` of its values."""
    values = np.fromfile(path, dtype)
    values = change(values)
    values.astype(dtype).tofile(path)


def nan(values: np.ndarray) -> np.ndarray:
    values[4 * 7], values[4 * 9 + 2] = np.nan, -np.inf
    return values


def no_intensity(values: np.ndarray) -> np.ndarray:
    values[[4 * 4 + 3, 4 * 5 + 3, 4 * 9 + 3]] = np.nan, np.inf, -np.inf
    return values


def five(values: np.ndarray) -> np.ndarray:
    """Four fifths of the points with the number of a beam each: as many numbers as before."""
    rows = values.reshape(-1, 4)[: len(values) // 5]
    return np.column_stack([rows, np.arange(len(rows)) % 32]).astype("<f4")


def unknown(values: np.ndarray) -> np.ndarray:
    values[:3] = 77 | 5 << 16
    return values


# Kind -> what breaks the scan 00/000001, which file is named, and words that say what is wrong.
FAULTS = {
    "truncated": (
        lambda root: edit(bin_of(root), "u1", lambda v: v[:-5]),
        bin_of,
        "3,195 bytes, 11 more than 199 points of 16 bytes",
    ),
    "unreadable": (
        lambda root: (bin_of(root).unlink(), bin_of(root).symlink_to("gone")),
        bin_of,
        "there is no such file",
    ),
    "length mismatch": (
        lambda root: edit(label_of(root), "<u4", lambda v: v[:-7]),
        label_of,
        "193 labels, but",
    ),
    "missing label": (lambda root: label_of(root).unlink(), label_of, "no such file"),
    "unknown id": (
        lambda root: edit(label_of(root), "<u4", unknown),
        label_of,
        "not in taxonomy 'semantickitti19': 77 (3 points)",
    ),
    "empty scan": (
        lambda root: (bin_of(root).write_bytes(b""), label_of(root).write_bytes(b"")),
        bin_of,
        "it has no points",
    ),
    "wrong columns": (
        lambda root: edit(bin_of(root), "<f4", five),
        bin_of,
        "--columns x,y,z,intensity,_ fits (160 points)",
    ),
    "wrong endianness": (
        lambda root: edit(bin_of(root), "<f4", lambda v: v.byteswap()),
        bin_of,
        "big-endian",
    ),
    "no return": (
        lambda root: edit(bin_of(root), "<f4", lambda v: np.r_[np.zeros(12, v.dtype), v[12:]]),
        bin_of,
        "3 of 200 points are at (0, 0, 0), where beams without a return are stored",
    ),
    "not finite": (
        lambda root: edit(bin_of(root), "<f4", nan),
        bin_of,
        "2 of 200 points are NaN or Inf, the first in row 7",
    ),
    "no intensity": (
        lambda root: edit(bin_of(root), "<f4", no_intensity),
        bin_of,
        "3 of 200 points have NaN or Inf as intensity, the first in row 4; they get 0 when read",
    ),
    "large coordinates": (
        lambda root: edit(bin_of(root), "<f4", lambda v: v + np.resize([4e6, 5e6, 0, 0], len(v))),
        bin_of,
        "most points lie around 5e+06 m, where float32 holds steps of 0.5 m",
    ),
    "coarse coordinates": (
        lambda root: edit(bin_of(root), "<f4", lambda v: v + np.resize([2e4, 0, 0, 0], len(v))),
        bin_of,
        "steps of 0.00195312 m",
    ),
    "far points": (
        lambda root: edit(bin_of(root), "<f4", lambda v: np.r_[v[:8], np.float32(3e38), v[9:]]),
        bin_of,
        "1 of 200 points are farther than 10,000 km, the first in row 2",
    ),
    "label only zeros": (
        lambda root: edit(label_of(root), "<u4", lambda v: v * 0),
        label_of,
        "none of its 200 labels belongs to a class",
    ),
    "orphan label": (
        lambda root: shutil.copy(label_of(root), label_of(root, "00/000007")),
        lambda root: label_of(root, "00/000007"),
        "has no such scan",
    ),
    "duplicate scan": (
        lambda root: shutil.copy(bin_of(root, "00/000000"), bin_of(root)),
        bin_of,
        "the same bytes as scan 00/000000",
    ),
}


def check(root: Path, capsys, *options: str) -> tuple[int, dict]:
    code = main(["check", str(root), "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_every_kind_of_problem_is_tested():
    assert set(FAULTS) == set(KINDS)


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_alone_is_found_and_named(make_kitti, capsys, kind):
    root = make_kitti(points=N)
    breaks, file, words = FAULTS[kind]
    breaks(root)
    code, summary = check(root, capsys)
    (problem,) = summary["problems"]
    assert code == (1 if KINDS[kind] else 0) and not summary["ok"]
    assert (problem["kind"], problem["file"]) == (kind, str(file(root)))
    assert words in problem["words"]
    assert problem["scan"] == (None if kind == "orphan label" else "00/000001")
    assert main(["check", str(root), "--strict"]) == 1
    printed = capsys.readouterr().out
    assert f"{problem['severity']}: {kind}, 1 file" in printed and str(file(root)) in printed


def test_points_that_are_not_finite_do_not_spoil_the_ranges(make_kitti, capsys):
    root = make_kitti(points=N)
    edit(bin_of(root, "00/000000"), "<f4", nan)
    _, summary = check(root, capsys)
    data = np.concatenate([np.fromfile(p, "<f4").reshape(-1, 4) for p in root.rglob("*.bin")])
    data = data[np.isfinite(data).all(1)]
    for k, name in enumerate(("x", "y", "z", "intensity")):
        assert summary["ranges"][name] == [float(data[:, k].min()), float(data[:, k].max())]


@pytest.mark.parametrize("case", ["truncated label", "big-endian label", "no finite point"])
def test_other_faces_of_the_same_faults(make_kitti, capsys, case):
    root = make_kitti(points=N)
    if case == "truncated label":
        edit(label_of(root), "u1", lambda v: v[:-3])
        wanted = [("truncated", label_of(root), "797 bytes, 1 more than 199 labels of 4 bytes")]
    elif case == "big-endian label":
        edit(label_of(root), "<u4", lambda v: (v & 0xFFFF).byteswap())
        wanted = [("wrong endianness", label_of(root), "labels make sense only as big-endian")]
    else:
        edit(bin_of(root), "<f4", lambda v: np.full_like(v, np.nan))
        wanted = [("empty scan", bin_of(root), "none of its 200 points is finite")]
    _, summary = check(root, capsys)
    found = [(p["kind"], Path(p["file"])) for p in summary["problems"]]
    assert found == [(kind, path) for kind, path, _ in wanted]
    assert all(w in p["words"] for p, (_, _, w) in zip(summary["problems"], wanted, strict=True))


def test_several_faults_of_one_scan_and_of_others_are_all_told(make_kitti, capsys):
    root = make_kitti(sequences=("00", "01"), points=N)
    edit(bin_of(root), "<f4", nan)
    edit(label_of(root), "<u4", unknown)
    label_of(root, "01/000000").unlink()
    _, summary = check(root, capsys)
    assert [p["kind"] for p in summary["problems"]] == ["unknown id", "missing label", "not finite"]


def test_a_whole_dataset_is_described_and_nothing_is_wrong(make_kitti, capsys, kitti_table):
    root = make_kitti(sequences=("00", "03"), scans=2, points=N)
    code, summary = check(root, capsys)
    data = [np.fromfile(p, "<f4").reshape(-1, 4) for p in sorted(root.rglob("*.bin"))]
    labels = np.concatenate([np.fromfile(p, "<u4") & 0xFFFF for p in root.rglob("*.label")])
    everything = np.concatenate(data)
    assert (code, summary["ok"], summary["problems"]) == (0, True, [])
    assert (summary["scans"], summary["points"]) == (4, 4 * N)
    assert summary["points_per_scan"] == [N, N, N]
    for k, name in enumerate(("x", "y", "z", "intensity")):
        column = everything[:, k]
        assert summary["ranges"][name] == [float(column.min()), float(column.max())]
    reach = np.sqrt((everything[:, :3].astype(np.float64) ** 2).sum(1)).max()
    assert summary["farthest"] == pytest.approx(reach)
    counts = dict.fromkeys(["(ignored)", *(n for n in kitti_table.values() if n != "ignored")], 0)
    for raw in labels:
        name = kitti_table[int(raw)]
        counts["(ignored)" if name == "ignored" else name] += 1
    assert {n: c for n, c in summary["classes"].items() if c} == {
        n: c for n, c in counts.items() if c
    }
    assert main(["check", str(root)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out


def test_sequences_without_any_label_are_unlabelled_and_not_faulty(make_kitti, capsys):
    root = make_kitti(sequences=("00", "11"), points=N)
    shutil.rmtree(root / "sequences" / "11" / "labels")
    code, summary = check(root, capsys)
    assert code == 0 and summary["labelled_scans"] == 3 and summary["scans"] == 6


def test_the_result_does_not_depend_on_the_number_of_threads(make_kitti):
    root = make_kitti(scans=7, points=N)
    FAULTS["unknown id"][0](root)
    shutil.copy(bin_of(root, "00/000000"), bin_of(root, "00/000004"))
    found = [
        check_dataset(SemanticKITTI(root, ["00"], labels="optional"), workers=n).all_problems()
        for n in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2] and len(found[0]) == 2


def test_a_config_says_which_scans_of_which_dataset(make_kitti, tmp_path, capsys):
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=N)
    FAULTS["truncated"][0](root)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny_config(root)))
    code, summary = check(root, capsys, "--config", str(path))
    assert code == 1 and summary["scans"] == 8  # train, val and source
    code, summary = check(root, capsys, "--config", str(path), "--set", "data.train.stride=2")
    assert summary["scans"] == 6
    code, summary = check(root, capsys, "--config", str(path), "--set", 'data.val.sequences=["00"]')
    assert summary["scans"] == 6 and len(summary["problems"]) == 1  # each scan once
    assert main(["check", str(root), "--config", "no/such"]) == 2
    assert main(["check", str(tmp_path / "none")]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_nuscenes_is_known_by_its_tables(tmp_path, capsys):
    names = [*scenes_of("mini_train"), *scenes_of("mini_val")]
    root = write_nuscenes(tmp_path / "n", names, version="v1.0-mini", recorded=len(names))
    code, summary = check(root, capsys)
    assert code == 0 and summary["scans"] == len(names)
    assert {d["type"] for d in summary["datasets"]} == {"NuScenes"}
    label = sorted((root / "lidarseg").rglob("*.bin"))[0]
    edit(label, "u1", lambda v: v[:-1])
    code, summary = check(root, capsys)
    (problem,) = summary["problems"]
    assert (problem["kind"], problem["file"]) == ("length mismatch", str(label))


@pytest.mark.parametrize("kind", ["nuscenes", "kitti"])
def test_scans_that_are_left_out_take_their_files_along(tmp_path, make_kitti, kind):
    if kind == "nuscenes":
        root = write_nuscenes(tmp_path / "n", scenes_of("mini_train"), "v1.0-mini", recorded=3)
        dataset = NuScenes(root, "train", "v1.0-mini")
    else:
        dataset = SemanticKITTI(make_kitti(), ["00"])
    files = {i: (dataset.path(k), dataset.label_path(k)) for k, i in enumerate(dataset.ids)}
    gone, *kept = dataset.ids[1], dataset.ids[0], dataset.ids[2]
    dataset.leave_out({gone: "why"})
    assert dataset.ids == kept and dataset.quarantined == {gone: "why"}
    for k, scan_id in enumerate(kept):
        assert (dataset.path(k), dataset.label_path(k)) == files[scan_id]
        assert dataset.index(scan_id) == k and dataset.read(k).id == scan_id
    with pytest.raises(ValueError, match="there is no scan"):
        dataset.index(gone)


# What training makes of it


@pytest.fixture
def run(tmp_path, make_kitti):
    """Trains a tiny run over four sequences and gives (exit code, run.json)."""
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=N)
    path = tmp_path / "config.yaml"
    changes = {"schedule": {"epochs": 1}, "active": {"rounds_at": [0]}}
    path.write_text(dump_config(tiny_config(root, **changes)))

    def train(*settings: str, work: str = "work") -> tuple[int, dict]:
        shutil.rmtree(tmp_path / work, ignore_errors=True)
        options = [part for setting in settings for part in ("--set", setting)]
        code = main(["train", str(path), "--work-dir", str(tmp_path / work), *options])
        card = tmp_path / work / "run.json"
        return code, json.loads(card.read_text()) if card.is_file() else {}

    train.root, train.config = root, path
    return train


@pytest.mark.parametrize("kind", ["truncated", "length mismatch", "empty scan"])
def test_sizes_are_compared_before_training_without_any_check(run, capsys, kind):
    FAULTS[kind][0](run.root)
    code, card = run()
    error = capsys.readouterr().err
    assert code == 1 and not card
    assert "data.train: 1 of 4 scans have errors" in error and kind in error
    assert str(FAULTS[kind][1](run.root)) in error and "data.quarantine=true" in error


def test_no_file_is_opened_to_compare_sizes(run, monkeypatch):
    dataset = SemanticKITTI(run.root, ["00"])
    for name in ("read", "read_points", "read_raw_labels"):
        monkeypatch.setattr(SemanticKITTI, name, None)
    vet(dataset, "data.train", quarantine=False, labelled=True)


def test_what_only_a_check_can_see_counts_while_the_files_are_the_same(run, capsys):
    FAULTS["unknown id"][0](run.root)
    label = label_of(run.root)
    assert main(["check", str(run.root)]) == 1
    capsys.readouterr()
    assert run()[0] == 1
    assert "semantickitti19': 77 (" in capsys.readouterr().err
    edit(label, "<u4", lambda v: v * 0 + 40)  # mended, and not checked since
    stat = label.stat()
    os.utime(label, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert run()[0] == 0
    assert "1 of 4 scans have changed since they were checked" in capsys.readouterr().out
    assert main(["check", str(run.root)]) == 0
    capsys.readouterr()
    assert run()[0] == 0
    assert "have changed" not in capsys.readouterr().out


def test_warnings_do_not_stop_training(run, capsys):
    FAULTS["not finite"][0](run.root)
    FAULTS["orphan label"][0](run.root)
    assert main(["check", str(run.root)]) == 0
    assert main(["check", str(run.root), "--strict"]) == 1
    with pytest.warns(RuntimeWarning, match="not finite"):
        assert run()[0] == 0


def test_quarantined_scans_are_left_out_and_listed_in_the_run_card(run, tmp_path, capsys):
    FAULTS["unknown id"][0](run.root)
    edit(bin_of(run.root, "02/000000"), "u1", lambda v: v[:-1])
    assert main(["check", str(run.root)]) == 1
    capsys.readouterr()
    code, card = run("data.quarantine=true")
    printed = capsys.readouterr().out
    assert code == 0 and "data.train: 1 of 4 scans have errors and are left out" in printed
    pool, val = card["data"]["pool"], card["data"]["val"]
    assert pool["scans"] == 3 and list(pool["quarantined"]) == ["00/000001"]
    assert "semantickitti19': 77 (" in pool["quarantined"]["00/000001"]
    assert val["scans"] == 1 and "truncated" in val["quarantined"]["02/000000"]
    assert card["ledger"]["voxels"] == 3 and card["config"]["data"]["quarantine"] is True
    # The run's own config evaluates on the same scans.
    checkpoint = tmp_path / "work" / "checkpoints" / "epoch_1.pth"
    capsys.readouterr()
    assert (
        main(["evaluate", str(tmp_path / "work" / "config.yaml"), str(checkpoint), "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    last = json.loads((tmp_path / "work" / "metrics.jsonl").read_text().splitlines()[-1])
    assert result["confusion"] == last["confusion"]
    # And the run goes on only with the same ones.
    edit(bin_of(run.root, "00/000000"), "u1", lambda v: v[:-1])
    again = ["train", str(tmp_path / "work" / "config.yaml"), "--work-dir", str(tmp_path / "work")]
    assert main([*again, "--resume"]) == 1
    assert "is not the one that this run was started with" in capsys.readouterr().err


def test_a_missing_label_may_be_quarantined_too(run, capsys):
    label_of(run.root).unlink()
    assert run()[0] == 1
    assert "1 of 4 scans have no label file" in capsys.readouterr().err
    code, card = run("data.quarantine=true")
    assert code == 0 and list(card["data"]["pool"]["quarantined"]) == ["00/000001"]


def test_where_a_person_answers_a_missing_label_is_no_error(run):
    label_of(run.root).unlink()
    assert main(["check", str(run.root)]) == 1
    code, card = run("active.oracle=person")
    assert code == 0 and card["data"]["pool"]["scans"] == 4


def test_a_dataset_of_which_nothing_is_left_is_refused(run, capsys):
    for frame in (0, 1):
        edit(bin_of(run.root, f"02/{frame:06d}"), "u1", lambda v: v[:-1])
    assert run("data.quarantine=true")[0] == 1
    assert "data.val: 2 of 2 scans have errors, so none would be left" in capsys.readouterr().err


def test_select_leaves_quarantined_scans_out(run, tmp_path):
    FAULTS["truncated"][0](run.root)
    select = ["select", str(run.config), "--work-dir", str(tmp_path / "s")]
    select += ["--set", "active.strategy=random"]
    assert main(select) == 1
    assert main([*select, "--set", "data.quarantine=true"]) == 0
    lines = (tmp_path / "s" / "rounds" / "1" / "queries.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in lines[1:]} == {"00/000000", "01/000000", "01/000001"}


# Where results are kept


def test_results_lie_in_the_cache_or_on_request_beside_the_data(make_kitti, tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path / "cache"))
    root = make_kitti(points=N)
    dataset = SemanticKITTI(root, ["00"], labels="optional")
    assert store.save(check_dataset(dataset)).parent == tmp_path / "cache" / "checks"
    assert not (root / ".annotator3d").exists()
    shutil.rmtree(tmp_path / "cache")
    assert store.save(check_dataset(dataset), beside=True).parent == root / ".annotator3d"
    assert set(store.load(dataset)) == set(dataset.ids)


def test_parts_of_a_dataset_are_kept_together_and_by_class_map(make_kitti):
    root = make_kitti(sequences=("00", "01"), points=N)
    FAULTS["unknown id"][0](root)
    first, second = (SemanticKITTI(root, [name], labels="optional") for name in ("00", "01"))
    store.save(check_dataset(first))
    store.save(check_dataset(second))
    both = SemanticKITTI(root, ["00", "01"])
    assert set(store.load(both)) == set(both.ids)
    with pytest.raises(ValueError, match=r"semantickitti19': 77 \("):
        vet(both, "data.train", quarantine=False)
    seven = SemanticKITTI(root, ["00", "01"], taxonomy="semantickitti7")
    assert store.load(seven) == {}  # of this map nothing is known


def test_results_beside_the_data_move_with_the_folder_and_a_damaged_one_is_no_result(
    make_kitti, tmp_path
):
    root = make_kitti(points=N)
    FAULTS["unknown id"][0](root)
    store.save(check_dataset(SemanticKITTI(root, ["00"], labels="optional")), beside=True)
    moved = root.rename(tmp_path / "elsewhere")
    dataset = SemanticKITTI(moved, ["00"])
    with pytest.raises(ValueError, match=str(label_of(moved))):
        vet(dataset, "data.train", quarantine=False)
    for path in (moved / ".annotator3d").iterdir():
        path.write_text("{")
    vet(dataset, "data.train", quarantine=False)


@pytest.mark.realdata
def test_real_scans_have_nothing_wrong(kitti_root, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path))
    _, summary = check(kitti_root, capsys)
    assert summary["problems"] == [] and summary["points"] > 10**5
    assert not (kitti_root / ".annotator3d").exists()
