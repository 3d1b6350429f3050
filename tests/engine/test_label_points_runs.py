"""Runs whose queries buy the label of one point, or of a few, instead of a whole voxel."""

from __future__ import annotations

import csv
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import resumed_runs
import torch
from processes import ended, start
from tiny_runs import tiny_config

from annotator3d.active.label_points import draw_points
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.strategies import STRATEGIES
from annotator3d.analysis.quality.model_check import check_answers
from annotator3d.cli.main import main
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.scan import rows_of_cell
from annotator3d.engine.config.load import dump_config, load_config, make_config
from annotator3d.engine.rounds.select_only import select_only
from annotator3d.engine.rounds.select_stream import select_stream
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.models import segmentor
from annotator3d.reporter import Reporter

SCHEDULE = {"augmentation": None}


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


def config_file(folder, root, **changes):
    path = folder / "config.yaml"
    path.write_text(dump_config(tiny_config(root, **changes)))
    return str(path)


def read(work_dir):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        return ledger.responses(), ledger.export_canonical(), dict(ledger.labels_by_scan())


def metrics_of(work_dir):
    return [json.loads(line) for line in (work_dir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_of_single_points_trains_on_one_point_for_each_query(root, tmp_path, monkeypatch):
    """Network voxels of 2 m divide those of 4 m that are asked about, so each point is a target."""
    loss, targets = segmentor.segmentation_loss, []

    def watch(logits, target, *args):
        targets.append(int((target != 255).sum()))
        return loss(logits, target, *args)

    monkeypatch.setattr(segmentor, "segmentation_loss", watch)
    active = {"rounds_at": [0], "queries_per_scan": 3, "label_points": "one"}
    path = config_file(tmp_path, root, schedule={**SCHEDULE, "epochs": 1}, active=active)
    assert main(["train", path, "--work-dir", str(tmp_path / "run")]) == 0
    responses, _, _ = read(tmp_path / "run")
    given = [answer.labels for _, answer in responses]
    assert len(given) == 12 and all(len(labels) == 1 for labels in given)
    assert any(query.num_points > 1 for query, _ in responses)
    with_class = sum(int(labels[0] != 255) for labels in given)
    assert sum(targets[1:]) == with_class > 0  # the first is the step that is tried
    (line,) = metrics_of(tmp_path / "run")
    assert (line["voxels"], line["points"], line["answered"]) == (12, 12, 12)
    assert line["labelled_points"] == with_class
    assert line["void_queries"] == 12 - with_class
    assert main(["report", str(tmp_path / "run")]) == 0
    assert main(["ledger", "verify", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(("label_points", "most"), [("one", 1), (3, 3), (10_000, None)])
def test_the_voxels_are_the_same_and_their_points_are_drawn(root, tmp_path, label_points, most):
    dataset = SemanticKITTI(root, ["00", "01"])
    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder, value in ((whole, "all"), (part, label_points)):
        active = {"strategy": "random", "queries_per_scan": 4, "label_points": value}
        config = tiny_config(root, seed=5, active=active)
        (tmp_path / "c.yaml").write_text(dump_config(config))
        assert main(["select", str(tmp_path / "c.yaml"), "--work-dir", str(folder)]) == 0
    with Ledger.read(whole / "ledger.sqlite") as ledger:
        asked = ledger.queries()
    with Ledger.read(part / "ledger.sqlite") as ledger:
        found = ledger.queries()
    assert [(q.scan, q.cell, q.num_points) for q in found] == [
        (q.scan, q.cell, q.num_points) for q in asked
    ]
    assert all(q.label_points is None for q in asked)
    for query in found:
        if most is None or query.num_points <= most:
            assert query.label_points is None
        else:
            drawn = draw_points(query.num_points, 5, query.scan, query.cell)[:most]
            assert query.label_points == tuple(sorted(drawn))
    with open(part / "rounds/1/queries.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    if most is None:
        assert "label_points" not in rows[0]
        assert (part / "rounds/1/queries.csv").read_bytes() == (
            whole / "rounds/1/queries.csv"
        ).read_bytes()
        return
    for row, query in zip(rows, found, strict=True):
        places = [int(place) for place in row["label_points"].split()]
        cell = [int(row[f"cell_{axis}"]) for axis in "xyz"]
        inside = rows_of_cell(dataset.read(dataset.index(row["scan"])).xyz, cell, 4.0)
        assert inside[places].tolist() == query.asked_of(inside).tolist()
        assert len(places) == min(most, int(row["points"]))


def test_a_chooser_of_the_round_asks_about_single_points_too(root, tmp_path):
    active = {"queries_per_scan": 4, "max_queries": 6, "spacing": 5.0, "strategy": "random"}
    config = tiny_config(root, seed=5, active={**active, "label_points": "one"})
    select_only(config, tmp_path / "run")
    with Ledger.read(tmp_path / "run/ledger.sqlite") as ledger:
        queries = ledger.queries()
    assert len(queries) == 6 and any(q.num_points > 1 for q in queries)
    for q in (q for q in queries if q.num_points > 1):
        assert q.label_points == tuple(draw_points(q.num_points, 5, q.scan, q.cell)[:1])


def test_a_stream_asks_about_single_points_too(root, tmp_path):
    active = {"strategy": "random", "queries_per_hour": 3, "scans_per_hour": 4}
    for path in root.rglob("*.bin"):  # written long ago
        os.utime(path, (0, 0))
    config = tiny_config(root, seed=5, active={**active, "label_points": "one"})
    select_stream(config, tmp_path / "run", idle=0, wait=lambda seconds: None)
    with Ledger.read(tmp_path / "run/ledger.sqlite") as ledger:
        queries = ledger.queries()
    assert queries and {q.num_labels for q in queries} == {1}
    for q in (q for q in queries if q.num_points > 1):
        assert q.label_points == tuple(draw_points(q.num_points, 5, q.scan, q.cell)[:1])


class Doubtful(QueryStrategy):
    """Names the last point of each voxel that it picks."""

    name, needs_model = "doubtful", False

    def utilities(self, voxels, prediction, num_classes):
        return voxels.counts.double()

    def select(self, *args, **kwargs):
        found = super().select(*args, **kwargs)
        named = [replace(pick, label_points=(pick.num_points - 1,)) for pick in found.picks]
        return replace(found, picks=named)


@pytest.fixture
def doubtful():
    STRATEGIES.register_module("doubtful", module=Doubtful)
    yield
    STRATEGIES.module_dict.pop("doubtful")


def test_a_strategy_may_name_the_point_that_is_asked_about(root, tmp_path, doubtful):
    active = {"queries_per_scan": 4, "strategy": "doubtful", "label_points": "one"}
    select_only(tiny_config(root, active=active), tmp_path / "run")
    with Ledger.read(tmp_path / "run/ledger.sqlite") as ledger:
        queries = ledger.queries()
    assert len(queries) == 16 and all(q.num_points > 1 for q in queries)
    assert all(q.label_points == (q.num_points - 1,) for q in queries)
    with pytest.raises(ValueError, match="names label_points cannot be combined with a chooser"):
        chooser = {**active, "max_queries": 6, "spacing": 5.0}
        select_only(tiny_config(root, active=chooser), tmp_path / "chooser")


def test_a_killed_run_of_single_points_ends_as_the_unbroken_one(root, tmp_path, capsys):
    active = {"queries_per_scan": 3, "label_points": "one", "oracle": "noisy"}
    path, log = config_file(tmp_path, root, active=active), tmp_path / "log"
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    killed = start(resumed_runs.die_at_answer, path, str(broken), 17, env={}, log=log)
    assert ended(killed) == -signal.SIGKILL, log.read_text()
    for folder, more in ((broken, ["--resume"]), (whole, [])):
        assert main(["train", path, "--work-dir", str(folder), *more]) == 0
    (responses, expected, _), (_, got, _) = read(whole), read(broken)
    assert got == expected and len(responses) == 36
    assert all(query.num_labels == 1 for query, _ in responses)
    weights = [
        torch.load(folder / "checkpoints/epoch_4.pth", weights_only=True)["state_dict"]
        for folder in (whole, broken)
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    capsys.readouterr()
    assert main(["cost", str(broken), "--json"]) == 0
    spent = json.loads(capsys.readouterr().out)["spent"]
    assert (spent["voxels"], spent["points"], spent["clicks"]) == (36, 36, 36)
    checks, _ = check_answers(load_config(path), WorkDir(broken), Reporter())
    assert checks
    assert all(len(check.labels) == 1 and check.agreement in (0, 1) for check in checks)


def test_later_rounds_may_ask_about_more_points(root, tmp_path):
    active = {"rounds_at": [0, 1], "label_points": "one"}
    path = config_file(tmp_path, root, schedule={"epochs": 2}, active=active)
    run = ["train", path, "--work-dir", str(tmp_path / "run")]
    assert main(run) == 0
    later = ["schedule.epochs=3", "active.rounds_at=[0,1,2]", "active.label_points=all"]
    assert main([*run, "--resume", *(word for key in later for word in ("--set", key))]) == 0
    responses, _, _ = read(tmp_path / "run")
    assert {q.num_labels for q, _ in responses if q.round < 3} == {1}
    assert all(q.label_points is None for q, _ in responses if q.round == 3)


def test_online_selection_asks_about_single_points_too(root, tmp_path, monkeypatch):
    loss, targets = segmentor.segmentation_loss, []

    def watch(logits, target, *args):
        targets.append(int((target != 255).sum()))
        return loss(logits, target, *args)

    monkeypatch.setattr(segmentor, "segmentation_loss", watch)
    active = {"when": "online", "first_round": "self", "rounds_at": [0], "queries_per_scan": 2}
    schedule = {**SCHEDULE, "epochs": 1}
    path = config_file(tmp_path, root, schedule=schedule, active={**active, "label_points": "one"})
    assert main(["train", path, "--work-dir", str(tmp_path / "run")]) == 0
    responses, _, _ = read(tmp_path / "run")
    assert [answer.labels.size for _, answer in responses] == [1] * 8
    with_class = sum(int(answer.labels[0] != 255) for _, answer in responses)
    assert sum(targets[1:]) == with_class > 0


def test_exported_labels_are_those_of_the_points_that_were_asked_about(root, tmp_path):
    active = {"strategy": "random", "queries_per_scan": 4, "label_points": 2}
    config = tiny_config(root, active=active)
    select_only(config, tmp_path / "run")
    (tmp_path / "run/config.yaml").write_text(dump_config(config))
    dataset, expected = SemanticKITTI(root, ["00", "01"]), {}
    with Ledger.open_existing(tmp_path / "run/ledger.sqlite") as ledger:
        for query in ledger.open_queries():
            scan = dataset.read(dataset.index(query.scan))
            rows = query.asked_of(rows_of_cell(scan.xyz, query.cell, 4.0))
            ledger.answer(query.id, [1] * len(rows), annotator="ann")
            expected.setdefault(query.scan, set()).update(scan.rows[rows].tolist())
    out = tmp_path / "out"
    options = ["--what", "answers", "--format", "semantickitti"]
    assert main(["export", str(tmp_path / "run"), str(out), *options]) == 0
    for scan_id, rows in expected.items():
        drive, frame = scan_id.split("/")
        file = out / f"sequences/{drive}/labels/{frame}.label"
        labels = np.fromfile(file, "<u4") & 0xFFFF  # without the instances
        assert set(np.flatnonzero(labels).tolist()) == rows
        assert len(set(labels[sorted(rows)].tolist())) == 1


@pytest.mark.parametrize("wrong", ["two", "1", 0, -1, 1.5, float("nan"), True, None, [1]])
def test_other_values_are_refused_in_words(wrong):
    words = "active.label_points: expected all, one, or a number of points from 1 to 1,000,000,000"
    with pytest.raises(ConfigError, match=words):
        make_config({"active": {"label_points": wrong}})
