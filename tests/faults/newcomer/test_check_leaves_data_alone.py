"""A check writes nothing into the data; training still finds its result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from source_scans import run_import, write_scans, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.checking.gate import vet
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.datasets.sequences import SemanticKITTI


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    src = write_scans(tmp_path / "src", "ply-little")
    assert run_import(src, tmp_path / "data", write_taxonomy(tmp_path)) == 0
    return tmp_path / "data"


def spoil_labels(root: Path) -> None:
    """Labels of a class that nobody knows: only a check reads them before training."""
    path = sorted(root.rglob("*.label"))[0]
    np.full(path.stat().st_size // 4, 77, "<u4").tofile(path)


@pytest.mark.parametrize("kind", ["imported", "kitti"])
def test_a_check_changes_nothing_and_training_finds_it(request, make_kitti, capsys, kind):
    root = request.getfixturevalue("imported") if kind == "imported" else make_kitti(points=50)
    spoil_labels(root)
    before = names(root)
    assert main(["check", str(root)]) == 1
    assert names(root) == before
    assert str(root) not in capsys.readouterr().out.split("kept in")[1]
    own = ImportedScans(root, "all") if kind == "imported" else SemanticKITTI(root, ["00"])
    with pytest.raises(ValueError, match="77"):
        vet(own, "data.train", quarantine=False)


def test_on_request_the_result_lies_beside_the_data(imported, capsys):
    spoil_labels(imported)
    before = names(imported)
    assert main(["check", str(imported), "--beside-data"]) == 1
    added = names(imported) - before
    assert {name.split("/")[0] for name in added} == {".annotator3d"}
    moved = imported.rename(imported.with_name("moved"))
    with pytest.raises(ValueError, match="77"):
        vet(ImportedScans(moved, "all"), "data.train", quarantine=False)


def test_where_no_folder_can_be_written_the_check_still_tells(imported, capsys, monkeypatch):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", "/proc/no-such-folder")
    assert main(["check", str(imported)]) == 0
    out = capsys.readouterr().out
    assert "nothing is wrong; not kept for training" in out and "ANNOTATOR3D_CACHE" in out
    assert main(["check", str(imported), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scans"] == 4
