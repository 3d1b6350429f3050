"""An experiment continues from the archive of what another machine has run of it."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from tiny_experiments import write_experiment

from annotator3d.cli.main import main

pytest.importorskip("statsmodels", reason="the extra `compare` is not installed")

ARMS = {"random": {"overrides": {"active.strategy": "random"}}, "zero": {"control": True}}


def compare(file: Path, out: str, *more: str) -> int:
    return main(["compare", str(file), "--out", str(file.parent / out), "--jobs", "2", *more])


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Two pairs, the second one without one of its runs; not to be changed."""
    from kitti_scans import make_kitti_in

    folder = tmp_path_factory.mktemp("begun")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=2, points=200)
    file = write_experiment(folder, root, arms=ARMS)
    assert compare(file, "whole") == 0
    shutil.copytree(folder / "whole", folder / "first", symlinks=True)
    last = sorted((folder / "first/runs/ada/zero").iterdir())[-1]
    shutil.rmtree(last)
    assert compare(file, "first", "--report-only") == 0
    return file


def results(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {n: archive.read(n) for n in archive.namelist() if n.endswith(".jsonl")}


def test_whole_pairs_are_taken_and_the_others_run(begun, capsys):
    archive = begun.parent / "first/results.zip"
    assert compare(begun, "second", "--continue-from", str(archive)) == 0
    assert "1 whole pair" in capsys.readouterr().out
    assert results(begun.parent / "second/results.zip") == results(
        begun.parent / "whole/results.zip"
    )
    report, whole = (
        json.loads((begun.parent / out / "report.json").read_text()) for out in ("second", "whole")
    )
    assert report["findings"] == whole["findings"]
    checkpoints = list((begun.parent / "second/runs").rglob("checkpoints"))
    assert checkpoints and all("seed-0" not in str(path) for path in checkpoints)


def test_an_archive_does_not_say_where_its_runs_were(begun):
    with zipfile.ZipFile(begun.parent / "whole/results.zip") as archive:
        names = [n for n in archive.namelist() if n.endswith("run.json")]
        infos = {name: json.loads(archive.read(name)) for name in names}
        out = str(begun.parent / "whole").encode()
        assert not [name for name in archive.namelist() if out in archive.read(name)]
    assert all("root" not in data for info in infos.values() for data in info["data"].values())
    info = infos["runs/ada/random/seed-0/run.json"]
    assert info["config"]["init"] == "runs/source/seed-0/checkpoints/epoch_1.pth"


def test_an_archive_of_another_experiment_is_refused(begun, tmp_path, capsys):
    other = begun.with_name("other.yaml")
    other.write_text(begun.read_text().replace("against: random", "against: zero"))
    archive = begun.parent / "first/results.zip"
    assert compare(other, "third", "--continue-from", str(archive)) != 0
    assert "another experiment" in capsys.readouterr().err


def test_a_folder_with_a_part_of_a_run_is_not_overwritten(begun, capsys):
    (begun.parent / "fourth/runs/ada/zero/seed-0").mkdir(parents=True)
    archive = begun.parent / "first/results.zip"
    assert compare(begun, "fourth", "--continue-from", str(archive)) != 0
    assert "seed-0" in capsys.readouterr().err
