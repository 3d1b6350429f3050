"""What the processes of tests/engine/test_pool_rounds.py run."""

from __future__ import annotations

from pathlib import Path

import torch

from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.build import build_model, input_rule
from annotator3d.engine.config.load import load_config
from annotator3d.engine.distributed import joined
from annotator3d.engine.prediction import strategy_inputs
from annotator3d.engine.rounds.plan import strategy_of
from annotator3d.engine.rounds.select_round import RoundPlan, select_round
from annotator3d.ledger.ledger import Ledger


def two_rounds(config: Path, folder: Path, names: list[str]) -> int:
    """Two rounds of each of the strategies, each in a ledger of its own in `folder`."""
    config = load_config(config)
    pool = SemanticKITTI(config.data.train["root"], ["00", "01"])
    rule, classes = input_rule(config, 19), pool.taxonomy.names
    torch.manual_seed(0)
    model = build_model(config, 19)
    with joined(torch.device("cpu")) as world:
        for name in names:
            path = folder / f"{name}.sqlite"
            ledger = None
            if world.is_first:
                folder.mkdir(exist_ok=True)
                ledger = Ledger.open(path, classes, pool.taxonomy.digest(), 4.0)
            for number in (1, 2):
                plan = RoundPlan(number, 0, name, 0, "weights", 19, rounds=2)
                strategy = strategy_of(plan, config.active)

                def scorer(scan, strategy=strategy):
                    if not strategy.needs_model:
                        return {}
                    return strategy_inputs(model, scan, rule, strategy.needs)

                select_round(ledger, pool, plan, config.active, scorer, folder / name, world=world)
            if ledger is not None:
                path.with_suffix(".txt").write_text(ledger.export_canonical())
                ledger.close()
    return 0
