"""The command line, as a user calls it: what it does, prints and exits with."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engine_case import tiny_config

from annotator3d.cli import main
from annotator3d.engine.config import dump_config

COMMAND = shutil.which("annotator3d", path=str(Path(sys.executable).parent))


@pytest.fixture
def config(tmp_path, make_kitti) -> str:
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny_config(root, active={"rounds_at": [0, 1]})))
    return str(path)


def listing(work_dir: Path, round: int) -> list[dict]:
    with open(work_dir / "rounds" / str(round) / "queries.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_train_evaluate_and_select_from_the_checkpoint(config, tmp_path, capsys):
    work = tmp_path / "work"
    assert main(["train", config, "--work-dir", str(work)]) == 0
    checkpoint = str(work / "checkpoints" / "epoch_4.pth")
    assert "mIoU" in capsys.readouterr().out

    assert main(["evaluate", config, checkpoint, "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    last = json.loads((work / "metrics.jsonl").read_text().splitlines()[-1])
    assert result["confusion"] == last["confusion"] and result["miou"] == last["miou"]

    chosen = tmp_path / "chosen"
    arguments = ["select", config, "--work-dir", str(chosen), "--checkpoint", checkpoint]
    assert main(arguments) == 0 and main(arguments) == 0
    cells = [
        {(r["scan"], r["cell_x"], r["cell_y"], r["cell_z"]) for r in listing(chosen, n)}
        for n in (1, 2)
    ]
    assert len(cells[0]) == len(cells[1]) == 4 and not cells[0] & cells[1]


def test_select_without_any_model(config, tmp_path):
    arguments = ["select", config, "--work-dir", str(tmp_path / "w")]
    assert main([*arguments, "--set", "active.strategy=random"]) == 0
    assert len(listing(tmp_path / "w", 1)) == 4


def test_select_needs_scores_for_vcd(config, tmp_path, capsys):
    assert main(["select", config, "--work-dir", str(tmp_path / "w")]) == 2
    assert "pass --checkpoint FILE or --predictions DIR" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def predictions(root: Path, out: Path, kind: str) -> None:
    """Another network's output: one voxel of each scan is confused, everything else is a car."""
    for path in sorted(root.glob("sequences/0[01]/velodyne/*.bin")):
        xyz = np.fromfile(path, "<f4").reshape(-1, 4)[:, :3]
        cells = np.floor(xyz / np.float32(4.0)).astype(int)
        unique, counts = np.unique(cells, axis=0, return_counts=True)
        inside = np.flatnonzero((cells == unique[counts.argmax()]).all(1))
        folder = out / path.parts[-3]
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "label":
            raw = np.full(len(xyz), 10, "<u4")
            raw[inside] = np.resize([40, 70, 50], len(inside))
            raw.tofile(folder / f"{path.stem}.label")
        else:
            scores = np.zeros(len(xyz), np.float32)
            scores[inside[0]] = 1.0
            np.save(folder / f"{path.stem}.npy", scores)


@pytest.mark.parametrize(("kind", "strategy"), [("label", "vcd"), ("npy", "entropy")])
def test_select_from_another_networks_predictions(config, tmp_path, kind, strategy):
    root = tmp_path / "kitti"
    predictions(root, tmp_path / "theirs", kind)
    arguments = [
        "select",
        config,
        "--work-dir",
        str(tmp_path / "w"),
        "--predictions",
        str(tmp_path / "theirs"),
        "--set",
        f"active.strategy={strategy}",
    ]
    assert main(arguments) == 0
    rows = listing(tmp_path / "w", 1)
    assert len(rows) == 4
    for row in rows:
        sequence, frame = row["scan"].split("/")
        path = root / "sequences" / sequence / "velodyne" / f"{frame}.bin"
        xyz = np.fromfile(path, "<f4").reshape(-1, 4)[:, :3]
        cells = np.floor(xyz / np.float32(4.0)).astype(int)
        unique, counts = np.unique(cells, axis=0, return_counts=True)
        assert [int(row[f"cell_{a}"]) for a in "xyz"] == unique[counts.argmax()].tolist()
        assert int(row["points"]) == counts.max()


def test_a_missing_prediction_is_named(config, tmp_path, capsys):
    (tmp_path / "theirs").mkdir()
    arguments = ["select", config, "--work-dir", str(tmp_path / "w")]
    assert main([*arguments, "--predictions", str(tmp_path / "theirs")]) == 1
    assert "no prediction of scan 00/000000" in capsys.readouterr().err


def test_simulate_writes_what_train_reads(tmp_path, capsys):
    out = str(tmp_path / "sim")
    arguments = ["simulate", out, "--domain", "hdl64", "--sequences", "1", "--scans", "2"]
    assert main([*arguments, "--beams", "16", "--azimuths", "90"]) == 0
    assert "2 scans" in capsys.readouterr().out
    from annotator3d.data.datasets import SemanticKITTI

    assert len(SemanticKITTI(out, ["00"]).read(1)) > 100
    assert main(["simulate", str(tmp_path / "x"), "--domain", "hdl46"]) == 1
    assert "hdl64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "no/such/config"], 2, "no config file no/such/config"),
        (["train", "al/semantickitti_minkunet"], 2, "Pass --data-root DIR"),
        (["train", "al/streets_demo", "--set", "active.stratgy=vcd"], 2, "did you mean 'strategy'"),
        (["train", "ada/streets_demo"], 2, "init: ada starts from a source checkpoint"),
        (["no-such-command"], 2, "invalid choice"),
    ],
)
def test_mistakes_are_one_readable_line_and_exit_code_2(tmp_path, capsys, arguments, code, words):
    assert (
        main(arguments + (["--work-dir", str(tmp_path / "w")] if "train" in arguments else []))
        == code
    )
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
    assert not (tmp_path / "w").exists()


def test_failures_exit_with_1_and_debug_shows_where(config, tmp_path, capsys):
    missing = ["evaluate", config, str(tmp_path / "none.pth")]
    assert main(missing) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*missing, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_doctor_reports_the_kernels_and_every_package(capsys):
    code = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    names = [check["name"] for check in report["checks"]]
    assert {"Python", "torch", "mmengine", "voxel kernels", "CUDA", "spconv", "open3d"} <= set(
        names
    )
    assert code == (0 if report["ok"] else 1)
    assert all(check["fix"] for check in report["checks"] if check["state"] != "ok")


@pytest.mark.skipif(COMMAND is None, reason="the annotator3d command is not installed here")
def test_the_installed_command_starts():
    run = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and run.stdout.strip()
