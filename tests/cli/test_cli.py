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
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.cli.terminal import open_reporter
from annotator3d.engine.config.load import dump_config
from annotator3d.kernels import build_info

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
    printed = capsys.readouterr().out
    assert "mIoU" in printed and "left out of the mean: motorcycle, truck" in printed

    assert main(["evaluate", config, checkpoint, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)  # and nothing else
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
    from annotator3d.data.datasets.sequences import SemanticKITTI

    assert len(SemanticKITTI(out, ["00"]).read(1)) > 100
    for wrong, words in ((["hdl46"], "did you mean 'hdl64'"), (["hdl64", "--beams", "0"], "beams")):
        assert main(["simulate", str(tmp_path / "x"), "--domain", *wrong]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "no/such/config"], 2, "no config file no/such/config"),
        (["train", "al/semantickitti_minkunet"], 2, "Pass --data-root DIR"),
        (["train", "al/streets_demo", "--set", "active.stratgy=vcd"], 2, "did you mean 'strategy'"),
        (["train", "ada/streets_demo"], 2, "init: ada starts from a source checkpoint"),
        (["train", "al/streets_demo", "--set", "active.strategy=vdc"], 2, "did you mean 'vcd'"),
        (
            ["train", "al/streets_demo", "--set", "active.oracle=x"],
            2,
            "noisy, person, truth",
        ),
        (["train", "al/streets_demo", "--set", "data.train.beam=3"], 2, "did you mean 'beams'"),
        (["train", "al/streets_demo", "--set", "model.backbone.blcks=3"], 2, "mean 'blocks'"),
        (["train", "al/streets_demo", "--set", "model.target_rule=x"], 2, "model.target_rule"),
        (["train", "al/streets_demo", "--set", "active.rounds_at=[1"], 2, "is not YAML"),
        (["demo", "--out", "OUT", "--set", "schedule.optimizer.lrr=1"], 2, "optimizer.lrr"),
        (["no-such-command"], 2, "invalid choice"),
    ],
)
def test_mistakes_are_one_readable_line_and_exit_code_2(tmp_path, capsys, arguments, code, words):
    folder = tmp_path / "w"
    arguments = [str(folder) if a == "OUT" else a for a in arguments]
    extra = ["--work-dir", str(folder)] if "train" in arguments else []
    assert main(arguments + extra) == code
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
    assert "--debug" not in error  # where it happened says nothing about a typo
    assert not folder.exists()


def test_a_broken_config_file_is_wrong_usage(tmp_path, capsys):
    for name, text in (("c.py", "setting = al"), ("c.yaml", "active: [1")):
        (tmp_path / name).write_text(text)
        assert main(["train", str(tmp_path / name), "--work-dir", str(tmp_path / "w")]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_train_takes_a_folder_of_its_own_for_each_setting_and_seed(
    config, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folders = []
    monkeypatch.setattr(
        "annotator3d.engine.run.train", lambda config, work_dir, **_: folders.append(work_dir)
    )
    for more in ([], ["--seed", "1"], ["--set", "setting=target_only"]):
        main(["train", config, *more])
    names = ["al-config-seed0", "al-config-seed1", "target_only-config-seed0"]
    assert [Path(folder) for folder in folders] == [Path("work_dirs") / name for name in names]
    capsys.readouterr()
    assert main(["train", "--help"]) == 0
    assert "work_dirs/<setting>-<config>-seed<N>" in capsys.readouterr().out


def test_a_stop_by_hand_says_how_to_go_on_where_there_is_a_ledger(
    config, tmp_path, capsys, monkeypatch
):
    def stop(*args, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("annotator3d.engine.run.train", stop)
    monkeypatch.setattr("annotator3d.engine.evaluation.evaluate_checkpoint", stop)
    assert main(["train", config, "--work-dir", str(tmp_path / "w")]) == 130
    error = capsys.readouterr().err
    assert "nothing in the ledger is lost" in error and "--resume" in error
    (tmp_path / "x.pth").touch()
    assert main(["evaluate", config, str(tmp_path / "x.pth")]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_without_a_terminal_every_tenth_of_a_task_is_a_line(capsys, monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):  # make rich see a terminal
        monkeypatch.delenv(name, raising=False)
    seconds = iter(range(1000))
    monkeypatch.setattr("annotator3d.cli.terminal.time.monotonic", lambda: next(seconds))
    with open_reporter() as reporter:
        for _ in range(2):  # a task may come again
            for done in range(26):
                reporter.progress("scans [bold]", done, 25)
        reporter.progress("one", 1, 1)
        reporter.info("[red]as it is[/red] :smile: " + 99 * "x")
    lines = capsys.readouterr().out.splitlines()
    first = [line for line in lines if line.startswith("scans [bold]")]
    tenths = [
        f"scans [bold]: {n} of 25 (1/s, 0:00:{25 - n:02d} left)"
        for n in (3, 5, 8, 10, 13, 15, 18, 20, 23)
    ]
    assert first == 2 * [*tenths, "scans [bold]: 25 of 25 (1/s)"]
    assert lines[20:] == ["one: 1 of 1", "[red]as it is[/red] :smile: " + 99 * "x"]


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Block())
from annotator3d.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def without(modules: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED, modules, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


EVERYTHING = "torch,mmengine,pydantic,yaml,rich,matplotlib,numpy,open3d,cv2"


def test_doctor_says_how_to_install_what_is_missing():
    run = without(EVERYTHING, "doctor", "--json")
    assert run.returncode == 1, run.stderr
    checks = {check["name"]: check for check in json.loads(run.stdout)["checks"]}
    for name in ("torch", "numpy", "mmengine", "pydantic", "pyyaml", "rich", "matplotlib"):
        assert checks[name]["state"] == "missing"
        assert f"pip install {name}" in checks[name]["fix"].replace("'", "")
    assert checks["mmengine runner"]["state"] == "missing"
    assert checks["kernels: torch reference"]["state"] == "missing"


@pytest.mark.parametrize("modules", [EVERYTHING, "rich,yaml"])
def test_doctor_prints_plain_text_without_rich(modules):
    run = without(modules, "doctor")
    assert (run.returncode, run.stderr) == (1, "")
    assert "pyyaml: missing: no: No module named 'yaml'; pip install pyyaml\n" in run.stdout
    assert "rich: missing: " in run.stdout


def test_a_missing_package_points_to_doctor():
    run = without("torch", "train", "al/streets_demo")
    assert run.returncode == 1 and run.stderr.count("\n") == 1
    assert "'torch'" in run.stderr and "annotator3d doctor" in run.stderr


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
    packages = {"Python", "torch", "numpy", "mmengine", "pydantic", "pyyaml", "rich", "matplotlib"}
    paths = {"kernels: C++ on CPU", "kernels: torch reference", "kernels: CUDA"}
    assert packages | paths | {"CUDA", "spconv", "open3d"} <= set(names)
    cpp = next(check for check in report["checks"] if check["name"] == "kernels: C++ on CPU")
    library = build_info()["library"]
    assert library in cpp["found"] if library else cpp["state"] == "optional"
    assert code == (0 if report["ok"] else 1)
    assert all(check["fix"] for check in report["checks"] if check["state"] != "ok")


@pytest.mark.skipif(COMMAND is None, reason="the annotator3d command is not installed here")
def test_the_installed_command_starts():
    run = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and run.stdout.strip()


@pytest.mark.parametrize("module", ["annotator3d", "annotator3d.cli"])
def test_python_runs_the_command_line_by_the_name_of_the_package(module):
    command = [sys.executable, "-m", module, "no-such-command"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and "usage: annotator3d" in run.stderr
    assert "invalid choice: 'no-such-command'" in run.stderr
