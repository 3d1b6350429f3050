"""Range images and polar grids in whole runs: every setting from the command line, resumed too."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config

from annotator3d.active.stored_predictions import prediction_file
from annotator3d.cli.main import main
from annotator3d.data.batch import make_sample
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.datasets.simulated import SimulatedStreets
from annotator3d.engine.build import build_model, input_rule
from annotator3d.engine.config.load import dump_config, load_config
from annotator3d.engine.distributed import ALONE
from annotator3d.engine.prediction import point_logits, predict_raw, voxel_logits
from annotator3d.engine.rounds import online
from annotator3d.engine.run import train
from annotator3d.engine.training.adaptation import adapt_statistics
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger

NETWORKS = ("salsanext", "polarnet")
BACKBONES = {
    "SalsaNext": {
        "type": "SalsaNext",
        "height": 8,
        "width": 24,
        "fov": [45.0, -45.0],
        "planes": [4, 4, 4],
        "window": 3,
    },
    "PolarNet": {
        "type": "PolarNet",
        "grid": [8, 12, 4],
        "reach": [0.0, 30.0],
        "point_planes": [8],
        "planes": [4, 8, 4],
    },
}


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


def tiny(root: Path, name: str, setting: str = "al", **changes):
    model = {"backbone": BACKBONES[name], "voxel_size": 0.05, "features": "first"}
    changes["model"] = model | changes.pop("model", {})
    return tiny_config(root, setting, **changes)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def command(setting: str, network: str, *settings: str) -> list[str]:
    """A config of the package, over four scans."""
    small = ["sequences=1", "scans=2", "beams=16", "azimuths=96"]
    settings = [f"data.{part}.{key}" for part in ("train", "val", "source") for key in small] + [
        "schedule.epochs=2",
        "schedule.source_until=2",
        "active.rounds_at=[0, 1]",
        "schedule.batch_size=1",
        *settings,
    ]
    if network == "salsanext":
        settings += ["model.backbone.height=16", "model.backbone.width=96"]
    options = [part for setting in settings for part in ("--set", setting)]
    return ["train", f"{setting}/streets_demo_{network}", *options]


def result(work_dir: Path) -> tuple:
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        canonical = ledger.export_canonical()
    last = torch.load(work_dir / "checkpoints" / "epoch_2.pth", weights_only=True)
    return canonical, last["state_dict"], (work_dir / "metrics.jsonl").read_text()


@pytest.mark.parametrize("network", NETWORKS)
def test_each_setting_runs_from_the_command_line_and_goes_on_where_it_was_broken_off(
    network, tmp_path, cache, monkeypatch, capsys
):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(cache))
    source = tmp_path / "source"
    assert main([*command("source_only", network), "--work-dir", str(source)]) == 0
    init = ["--init", str(source / "checkpoints" / "epoch_2.pth")]
    for setting in ("al", "asfda", "ada"):
        whole, broken = tmp_path / setting, tmp_path / f"{setting}_broken"
        run = [*command(setting, network), *([] if setting == "al" else init)]
        assert main([*run, "--work-dir", str(whole)]) == 0, capsys.readouterr().out
        shutil.copytree(whole, broken)  # as a kill in the second epoch leaves it, but for its round
        (broken / "checkpoints" / "epoch_2.pth").unlink()
        assert main([*run, "--work-dir", str(broken), "--resume"]) == 0
        assert "continuing from epoch_1.pth" in capsys.readouterr().out
        before, after = result(whole), result(broken)
        assert before[0] == after[0] and before[2] == after[2]
        assert all(torch.equal(value, after[1][name]) for name, value in before[1].items())
        with Ledger.read(whole / "ledger.sqlite") as ledger:
            queries = ledger.queries()
            scans = {scan.id: scan.num_points for scan in ledger.scans()}
        assert [q.round for q in queries] == [1, 1, 2, 2] and len(scans) == 2
        for query in queries[2:]:  # the viewer finds a class for every point
            with np.load(prediction_file(whole / "rounds", 2, query.scan)) as stored:
                assert stored["prediction"].shape == (scans[query.scan],)
    checkpoint = str(tmp_path / "ada" / "checkpoints" / "epoch_2.pth")
    assert main(["evaluate", str(tmp_path / "ada" / "config.yaml"), checkpoint, "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    last = json.loads((tmp_path / "ada" / "metrics.jsonl").read_text().splitlines()[-1])
    assert evaluated["confusion"] == last["confusion"]
    out = tmp_path / "labels"
    exported = ["export", str(tmp_path / "ada"), str(out), "--what", "predictions"]
    assert main([*exported, "--format", "semantickitti", "--split", "val"]) == 0
    sizes = sorted(path.stat().st_size // 4 for path in out.rglob("*.label"))
    config = load_config(tmp_path / "ada" / "config.yaml")
    val = SimulatedStreets(**{k: v for k, v in config.data.val.items() if k != "type"})
    assert sizes == sorted(val.num_points(i) for i in range(len(val)))


@pytest.mark.parametrize("name", BACKBONES)
def test_points_are_predicted_as_selection_scores_them(root, name):
    config = tiny(root, name)
    torch.manual_seed(0)
    model, rule = build_model(config, 19), input_rule(config, 19)
    scan = SemanticKITTI(root, ["00"]).read(0)
    found = voxel_logits(model, scan, rule)
    if name == "SalsaNext":  # points of a pixel are told apart
        assert found.keys() == {"prediction"} and len(found["prediction"]) == len(scan)
        pixel = make_sample(scan, rule)["point_to_voxel"].tolist()
        first = [pixel.index(each) for each in pixel]
        assert not torch.equal(found["prediction"], found["prediction"][first])
    else:
        assert len(found["prediction"]) < len(found["rows"]) == len(scan)
    logits = point_logits(model, scan, rule)
    assert torch.equal(logits, found["prediction"][found.get("rows", slice(None))])
    classes = predict_raw(model, scan, rule)
    assert classes[scan.rows].tolist() == logits.argmax(1).tolist()
    empty = scan.from_raw("a/b", scan.xyz[:0], scan.intensity[:0])
    assert point_logits(model, empty, rule).shape == (0, 19)


@pytest.mark.parametrize("name", BACKBONES)
def test_online_rounds_ask_by_the_step_and_label_the_cells_as_training_would(
    root, tmp_path, monkeypatch, name
):
    active = {"when": "online", "first_round": "self", "queries_per_scan": 2}
    config, inner, steps = tiny(root, name, active=active), online.OnlineRound.__call__, []

    def check(self, batch, logits):
        target = inner(self, batch, logits)
        for b, scan in enumerate(batch["scans"]):
            asked = {query.cell for query in self.ledger.queries(scan=scan.id)}
            cells = np.floor(scan.xyz / np.float32(4.0)).astype(int)
            labels = [
                int(label) if tuple(cell) in asked else 255
                for label, cell in zip(scan.labels, cells, strict=True)
            ]
            start, stop = batch["splits"][b : b + 2].tolist()
            before = int(batch["num_points"][:b].sum())
            rows = batch["point_to_voxel"][before : before + len(scan)] - start
            for cell in range(stop - start):
                members = (rows == cell).nonzero()[:, 0].tolist()
                if name == "SalsaNext":  # what is nearest is seen, also after augmentation
                    distance = batch["points"][before : before + len(scan), 0]
                    wanted = labels[min(members, key=lambda n: float(distance[n]))]
                else:
                    votes = Counter(labels[n] for n in members if labels[n] != 255)
                    wanted = min(votes, key=lambda c: (-votes[c], c)) if votes else 255
                assert int(target[start + cell]) == wanted
        steps.append(len(batch["scans"]))
        return target

    monkeypatch.setattr(online.OnlineRound, "__call__", check)
    train(config, tmp_path / "al")
    assert steps == [2] * 6


def test_the_input_is_measured_once_and_comes_with_the_weights(root, tmp_path):
    source = train(tiny(root, "SalsaNext", "source_only", schedule={"epochs": 1}), tmp_path / "s")
    checkpoint = source.work_dir.checkpoints / "epoch_1.pth"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    config = tiny(root, "SalsaNext")
    seen = []
    for index in range(2):
        sample = make_sample(SemanticKITTI(root, ["03"]).read(index), input_rule(config, 19))
        seen.append(sample["points"][sample["first"]].double())
    seen = torch.cat(seen)
    torch.testing.assert_close(
        weights["backbone.mean"].double(), seen.mean(0), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        weights["backbone.std"].double(), seen.std(0, correction=0), rtol=1e-4, atol=1e-4
    )
    asfda = tiny(root, "SalsaNext", "asfda", init=str(checkpoint), schedule={"epochs": 3})
    last = train(asfda, tmp_path / "asfda").work_dir.checkpoints / "epoch_3.pth"
    assert torch.equal(
        torch.load(last, weights_only=True)["state_dict"]["backbone.mean"], weights["backbone.mean"]
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_statistics_are_adapted_without_dropout(root, name):
    backbone = BACKBONES[name] | {"dropout": 0.5}
    config = tiny(root, name, model={"backbone": backbone})
    rule, pool, found = input_rule(config, 19), SemanticKITTI(root, ["00", "01"]), []
    for seed in range(2):
        torch.manual_seed(0)
        model = build_model(config, 19)
        torch.manual_seed(seed)
        adapt_statistics(model, pool, rule, ALONE, lambda done, total: None)
        found.append(model.state_dict())
        assert model.training
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


@pytest.mark.parametrize("key", [("voxel_size", 0.1), ("features", "mean")])
def test_how_cubes_are_made_is_refused_where_none_are_read(root, key):
    with pytest.raises(ConfigError, match=rf"model.{key[0]}: SalsaNext reads no cubes"):
        tiny(root, "SalsaNext", model=dict([key]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": "ring"}, r"scan 00/000000 .*has no ring numbers"),
        ({"fov": [89.0, 88.0]}, r"scan 00/000000: none of its"),
        ({"height": 0}, "model.backbone.*height: expected 1 to"),
        ({"planes": [4, 6, 4]}, "model.backbone.*multiple of 4"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_anything_is_written(
    root, tmp_path, change, words
):
    config = tiny(root, "SalsaNext", model={"backbone": BACKBONES["SalsaNext"] | change})
    with pytest.raises(ValueError, match=words):
        train(config, tmp_path / "al")
    assert not (tmp_path / "al").exists()


def test_rows_that_are_rings_here_and_angles_there_are_refused(root, tmp_path):
    streets = {"type": "SimulatedStreets", "domain": "ideal", "sequences": 1, "scans": 1}
    streets |= {"beams": 8, "azimuths": 24, "root": str(tmp_path / "sim")}
    config = tiny(root, "SalsaNext", data={"val": streets})
    words = "backbone.rows: scans of data.val have ring numbers and those of data.train have none"
    with pytest.raises(ConfigError, match=words):
        train(config, tmp_path / "al")
    assert not (tmp_path / "al").exists()
    by_angle = {"backbone": BACKBONES["SalsaNext"] | {"rows": "angle"}}
    config = tiny(root, "SalsaNext", data={"val": streets}, model=by_angle, schedule={"epochs": 3})
    train(config, tmp_path / "al")


@pytest.mark.parametrize("name", BACKBONES)
def test_the_variant_published_trains(root, tmp_path, name):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny(root, name)))
    config = load_config(path, ["variant=published", "schedule.precision=fp32"])
    assert train(config, tmp_path / "al").final()["voxels"] == 12


@pytest.mark.parametrize("name", BACKBONES)
def test_what_a_step_drops_depends_on_its_place_alone(root, tmp_path, monkeypatch, name):
    config = tiny(root, name, schedule={"epochs": 2}, active={"rounds_at": [0]})
    taken, weights, seeds = TrainLoop.run_iter, [], []

    def drawing(self, index, data):
        seeds.append(torch.initial_seed())
        taken(self, index, data)
        torch.rand(len(weights) * 7)  # as another step before this one would

    monkeypatch.setattr(TrainLoop, "run_iter", drawing)
    for run in "ab":
        train(config, tmp_path / run)
        path = tmp_path / run / "checkpoints" / "epoch_2.pth"
        weights.append(torch.load(path, weights_only=True)["state_dict"])
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert seeds[:4] == seeds[4:] and len(set(seeds)) == 4
