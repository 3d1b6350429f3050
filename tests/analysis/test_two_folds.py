"""The main job on real scans, shortened: every arm runs, and every scan is tested once."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from annotator3d.analysis.runs import read_run
from annotator3d.data.datasets.sequences import SemanticKITTI

SCRIPT = Path(__file__).parents[2] / "tools" / "two_folds.py"
SHORT = [
    "schedule.epochs=2",
    "active.rounds_at=[0, 1]",
    "data.source.sequences=1",
    "data.source.scans=2",
    "data.source.beams=32",
    "data.source.azimuths=360",
    "data.train.stride=4",
    "data.val.stride=4",
    "model.voxel_size=0.8",
    "model.backbone.planes=[4, 4, 4]",
]


@pytest.fixture
def two_folds():
    spec = importlib.util.spec_from_file_location("two_folds", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.exists(), reason="tools/ is not beside the tests")
def test_a_shortened_experiment_on_real_scans(kitti_root, two_folds, tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    settings = [x for s in SHORT for x in ("--set", s)]
    two_folds.main([str(kitti_root), str(out), "--seeds", "1", *settings])
    tables = (out / "tables.md").read_text()
    assert all(word in tables for word in ("ada", "zero_label", "vcd", "target_only"))

    tested = np.zeros(19, np.int64)
    for fold in (0, 1):
        run = read_run(out / f"ada-vcd-seed-0-fold-{fold}")
        pool = SemanticKITTI(kitti_root, list(two_folds.FOLDS[fold]), stride=4)
        assert run.final.voxels == 2 * len(pool)
        tested += run.final.confusion.sum(1)
    truth = np.zeros(19, np.int64)
    scans = SemanticKITTI(kitti_root, sorted(sum(two_folds.FOLDS, ())), stride=4)
    for i in range(len(scans)):
        labels = scans.read(i).raw_labels
        truth += np.bincount(labels[labels < 19], minlength=19)
    assert tested.tolist() == truth.tolist()
