"""Fixtures of the tests in analysis/."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from quality_world import CONFUSION, label_all
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.rounds.hook import WaitingForOracleError
from annotator3d.engine.run import train


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run that was asked, answered by two people and trained; half of it was asked twice."""
    folder = tmp_path_factory.mktemp("quality")
    random = np.random.default_rng(3)
    root = folder / "kitti"
    for sequence in ("00", "01", "02", "03"):
        for part in ("velodyne", "labels"):
            (root / "sequences" / sequence / part).mkdir(parents=True)
        for frame in range(2):
            xyz = random.uniform([-20, -20, -2], [20, 20, 3], (300, 3))
            data = np.column_stack([xyz, random.random(300)]).astype("<f4")
            data.tofile(root / "sequences" / sequence / "velodyne" / f"{frame:06d}.bin")
            raw = random.choice([10, 40, 50, 70], 300).astype("<u4")
            raw.tofile(root / "sequences" / sequence / "labels" / f"{frame:06d}.label")
    config = tiny_config(root, active={"oracle": "person", "rounds_at": [0], "queries_per_scan": 8})
    work_dir = folder / "run"
    with pytest.raises(WaitingForOracleError):
        train(config, work_dir)
    assert main(["quality", "request", str(work_dir), "--overlap", "60%"]) == 0
    truth = SemanticKITTI(root, ["00", "01"])
    for person in CONFUSION:
        label_all(work_dir, person, truth)
    train(config, work_dir, resume=True)
    return work_dir, truth, config


@pytest.fixture
def run(base, tmp_path):
    """A copy of it that a test may write to."""
    work_dir, truth, config = base
    copy = tmp_path / "run"
    subprocess.run(["cp", "-r", work_dir, copy], check=True)
    return copy, truth, config
