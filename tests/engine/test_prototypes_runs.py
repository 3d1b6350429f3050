"""Prototypes of the source: computed, kept in checkpoints, and used by runs without the source."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from several_ranks import Several
from tiny_runs import tiny_config

from annotator3d.cli import main as cli
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.build import input_rule, load_model
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.prediction import voxel_logits
from annotator3d.engine.run import train
from annotator3d.engine.training.checkpoint_file import read_checkpoint, read_weights
from annotator3d.engine.training.prototypes import source_prototypes
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger

ASKS = {"strategy": "prototypes", "rounds_at": [0, 1]}


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


@pytest.fixture
def source(root, tmp_path):
    """The last checkpoint of a source training of two epochs."""
    train(tiny_config(root, "source_only", schedule={"epochs": 2}), tmp_path / "source")
    return tmp_path / "source" / "checkpoints" / "epoch_2.pth"


def without_prototypes(path, tmp_path):
    content = read_checkpoint(path)
    del content["prototypes"]
    torch.save(content, tmp_path / "old.pth")
    return str(tmp_path / "old.pth")


def config_of(root, setting, init, **changes):
    config = tiny_config(root, setting, active=ASKS, schedule={"epochs": 2}, **changes)
    config.init = str(init)
    return config


def slow_prototypes(config, checkpoint):
    """Point by point over the source, with the weights of a checkpoint: [C, D]."""
    model, rule = (
        load_model(config, 19, read_weights(checkpoint), checkpoint),
        input_rule(config, 19),
    )
    given: list = []
    model.head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].double()))
    points: dict[int, list] = {}
    pool = SemanticKITTI(config.data.source["root"], ["03"])
    for index in range(len(pool)):
        scan = pool.read(index)
        rows = voxel_logits(model, scan, rule)["rows"].tolist()
        for row, label in zip(rows, scan.labels.tolist(), strict=True):
            points.setdefault(label, []).append(given[-1][row].numpy())
    points.pop(255, None)
    return {label: np.mean(found, axis=0) for label, found in points.items()}


def test_the_last_checkpoint_of_a_source_training_holds_the_mean_features_of_classes(root, source):
    first = read_checkpoint(source.with_name("epoch_1.pth"))
    content = read_checkpoint(source)
    assert "prototypes" not in first and first["state_dict"].keys() == content["state_dict"].keys()
    found = content["prototypes"]
    expected = slow_prototypes(tiny_config(root, "source_only"), source)
    assert len(found) == 19
    for label in range(19):
        if label in expected:
            np.testing.assert_allclose(found[label].numpy(), expected[label], atol=1e-4)
        else:
            assert found[label].isnan().all()


def test_any_number_of_processes_computes_the_same_prototypes(root, source):
    config = tiny_config(root, "source_only")
    model, rule = load_model(config, 19, read_weights(source), source), input_rule(config, 19)
    pool = SemanticKITTI(root, ["00", "01", "03"])

    whole, *others = (
        source_prototypes(model, pool, rule, Several(0, size), lambda done, total: None)
        for size in (1, 2, 5)
    )
    assert all(torch.equal(whole.nan_to_num(), other.nan_to_num()) for other in others)


@pytest.mark.parametrize("setting", ["ada", "asfda"])
@pytest.mark.parametrize(
    "strategy",
    [
        {"type": "prototypes"},
        {"type": "prototypes", "distance": "cosine"},
    ],
    ids=["inverse", "cosine"],
)
def test_a_run_asks_by_prototypes(root, source, tmp_path, setting, strategy):
    config = config_of(root, setting, source)
    config.active.strategy = strategy
    train(config, tmp_path / "run")
    with Ledger.read(tmp_path / "run" / "ledger.sqlite") as ledger:
        assert [r.strategy for r in ledger.rounds()] == ["prototypes"] * 2
        queries = ledger.queries()
        assert len(queries) == 8 and all(-1 <= q.score <= 0 for q in queries)
        assert len({q.score for q in queries}) > 4
    kept = read_checkpoint(tmp_path / "run" / "checkpoints" / "epoch_2.pth")["prototypes"]
    given = read_checkpoint(source)["prototypes"]
    same = torch.equal(kept.nan_to_num(), given.nan_to_num())
    assert same == (setting == "asfda")  # ADA has the source, and another network by now


def test_a_resumed_run_has_them_from_its_own_checkpoint(root, source, tmp_path):
    config = config_of(root, "asfda", source)
    train(config, tmp_path / "run")
    given = read_checkpoint(source)["prototypes"]
    source.unlink()
    config.active.rounds_at, config.schedule.epochs = [0, 1, 2], 3
    train(config, tmp_path / "run", resume=True)
    with Ledger.read(tmp_path / "run" / "ledger.sqlite") as ledger:
        assert [len(ledger.queries(r)) for r in (1, 2, 3)] == [4, 4, 4]
    kept = read_checkpoint(tmp_path / "run" / "checkpoints" / "epoch_3.pth")["prototypes"]
    assert torch.equal(kept.nan_to_num(), given.nan_to_num())


def test_a_hybrid_joins_them_with_strategies_of_the_pool(root, source, tmp_path):
    config = config_of(root, "asfda", source)
    parts = {"prototypes": 1, "coreset": 1, "typiclust": 0.5}
    config.active.strategy = {"type": "hybrid", "parts": parts}
    train(config, tmp_path / "run")
    with Ledger.read(tmp_path / "run" / "ledger.sqlite") as ledger:
        assert len(ledger.queries()) == 8
        words = ledger.round_decision(2)
        assert words.startswith("coreset: chosen among ") and "; typiclust: chosen among " in words


def test_asfda_from_a_checkpoint_without_prototypes_says_what_to_do(root, source, tmp_path):
    config = config_of(root, "asfda", without_prototypes(source, tmp_path))
    with pytest.raises(ConfigError, match=r"old\.pth holds no prototypes.*one epoch longer"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config.active.strategy = "vcd"
    train(config, tmp_path / "run")  # needs none


def test_one_epoch_longer_adds_them(root, source, tmp_path):
    content = read_checkpoint(source)
    del content["prototypes"]
    torch.save(content, source)
    longer = tiny_config(root, "source_only", schedule={"epochs": 3})
    train(longer, tmp_path / "source", resume=True)
    assert "prototypes" in read_checkpoint(source.with_name("epoch_3.pth"))


def test_select_from_a_checkpoint_without_prototypes_says_what_to_do(
    root, source, tmp_path, capsys
):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config_of(root, "asfda", source)))
    arguments = ["select", str(path), "--work-dir", str(tmp_path / "s"), "--checkpoint"]
    assert cli.main([*arguments, without_prototypes(source, tmp_path)]) == 2
    words = " ".join(capsys.readouterr().err.split())
    assert "old.pth holds no prototypes" in words and "train the source one epoch longer" in words
    assert not (tmp_path / "s").exists()
    assert cli.main([*arguments, str(source)]) == 0
    with Ledger.read(tmp_path / "s" / "ledger.sqlite") as ledger:
        assert len(ledger.queries()) == 4


def test_al_has_no_source_to_compare_with(root):
    with pytest.raises(ConfigError, match="active.strategy: prototypes compares with a source"):
        tiny_config(root, active=ASKS)
