"""A round takes what the network says of its voxels, and keeps for the viewer what it chose by."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from annotator3d.active.evidence import Given
from annotator3d.active.strategies import STRATEGIES, get_strategy
from annotator3d.data.batch import InputRule
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.config.schema import ActiveConfig
from annotator3d.engine.prediction import point_logits, voxel_logits
from annotator3d.engine.rounds.select_round import RoundPlan, select_round
from annotator3d.ledger.ledger import Ledger
from annotator3d.models.segmentor import Segmentor
from annotator3d.registry import fill

fill(STRATEGIES)
NAMES = [n for n in sorted(STRATEGIES.module_dict) if not get_strategy(n).asks_for_more]
SMALL = {"type": "MinkUNet", "planes": [4, 4, 8, 8, 4], "blocks": 1}
RULE = InputRule(num_classes=19, voxel_size=0.5)


@pytest.fixture
def pool(make_kitti):
    return SemanticKITTI(make_kitti(scans=3, points=400), ["00"])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Segmentor(SMALL, 19)


def test_rows_of_the_networks_voxels_are_the_logits_of_the_points(pool, model):
    scan = pool.read(0)
    scores = voxel_logits(model, scan, RULE)
    assert len(scores["prediction"]) < len(scan.xyz) == len(scores["rows"])
    assert torch.equal(scores["prediction"][scores["rows"]], point_logits(model, scan, RULE))
    assert model.training


@pytest.mark.parametrize("strategy", NAMES)
def test_a_round_asks_what_the_logits_of_the_points_would(strategy, pool, model, tmp_path):
    active = ActiveConfig(strategy=strategy, queries_per_scan=3, min_points=1, voxel_size=2.0)
    plan = RoundPlan(1, 0, strategy, 7, "none", 19)
    needs = get_strategy(strategy).needs_model
    names, digest = pool.taxonomy.names, pool.taxonomy.digest()
    with Ledger.open(tmp_path / "ledger.sqlite", names, digest, 2.0) as ledger:
        asked = select_round(
            ledger,
            pool,
            plan,
            active,
            lambda scan: voxel_logits(model, scan, RULE) if needs else {},
            tmp_path / "rounds",
        )
        queries = {(q.scan, q.cell): q.score for q in ledger.queries()}
    assert asked.voxels == 9 and len(queries) == 9
    for index in range(3):
        scan = pool.read(index)
        logits = point_logits(model, scan, RULE) if needs else None
        found = get_strategy(strategy, voxel_size=2.0).select(
            scan.xyz,
            logits,
            batch_size=3,
            num_classes=19,
            random_state=7,
            scan_id=scan.id,
            given=Given(intensity=torch.from_numpy(scan.intensity)),
        )
        picks = found.picks
        assert {(scan.id, p.cell): p.utility for p in picks}.items() <= queries.items()
        file = tmp_path / "rounds" / "1" / f"{scan.id.replace('/', '_')}.npz"
        assert file.exists() == needs
        if needs:
            with np.load(file) as kept:
                assert np.array_equal(kept["prediction"], logits.argmax(1).numpy())
                for pick in picks:
                    assert kept["score"][pick.point_indices] == pytest.approx(
                        pick.utility, abs=1e-6
                    )
