"""What was asked, answered and labelled are three numbers; a curve has more than one point."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

import annotator3d as a3d
from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config, find_config, load_config
from annotator3d.ledger.ledger import Ledger


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return make_kitti_in(tmp_path_factory.mktemp("k"))(sequences=("00", "02"), scans=3)


def command(root: Path, folder: Path, *, schedule: dict, **active) -> list[str]:
    config = tiny_config(root, schedule=schedule, active=active)
    config.data.train["sequences"] = ["00"]
    (folder / "config.yaml").write_text(dump_config(config))
    return ["train", str(folder / "config.yaml"), "--work-dir", str(folder / "run")]


def report(folder: Path) -> str:
    assert main(["report", str(folder / "run")]) == 0
    text = (folder / "run/report.html").read_text(encoding="utf-8")
    return " ".join(
        html.unescape(re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", text, flags=re.S)).split()
    )


def test_of_six_voxels_three_were_answered(root, tmp_path, capsys):
    train = command(
        root,
        tmp_path,
        schedule={"epochs": 1},
        rounds_at=[0],
        oracle="person",
        queries_per_scan=2,
        voxel_size=10.0,
    )
    assert main(train) == 0
    with Ledger.open_existing(tmp_path / "run/ledger.sqlite") as ledger:
        queries = ledger.open_queries()
        points = [query.num_points for query in queries]
        first, second, third, fourth = queries[:4]
        ledger.answer(first.id, [3] * first.num_points, annotator="ann")
        ledger.answer(second.id, [1, *[255] * (second.num_points - 1)], annotator="ann")
        ledger.ignore(third.id, annotator="ann")
        ledger.skip(fourth.id, annotator="ann")
    assert main(["round", "close", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main([*train, "--resume"]) == 0
    said = capsys.readouterr().out
    labelled = points[0] + 1
    assert f"round 1: 6 voxels asked ({sum(points)} points), 3 answered ({labelled} points" in said
    assert f"% with 6 voxels asked, 3 answered ({labelled} labelled points)" in said
    line = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert (line["voxels"], line["answered"], line["labelled_points"]) == (6, 3, labelled)
    (row,) = a3d.compare_runs([tmp_path / "run"])
    assert (row["voxels"], row["answered"], row["labelled_points"]) == (6, 3, labelled)
    page = report(tmp_path)
    assert f"Queried voxels 6 3 answered, {labelled} labelled points; 2 wait for" in page
    assert f"1 random 0 6 {sum(points)} 3 2 (closed) 1 {labelled}" in page


def test_a_run_that_asks_nothing_says_nothing_of_voxels(root, tmp_path, capsys):
    train = command(root, tmp_path, schedule={"epochs": 1}, rounds_at=[0])
    assert main([*train, "--set", "setting=target_only"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"epoch 1: mIoU [\d.]+ %\n", said) and "voxels" not in said


@pytest.mark.parametrize(
    ("rounds_at", "schedule", "words"),
    [
        ([0, 1], {"epochs": 2, "evaluate_at": []}, "after the answers of round 2 only"),
        ([0, 1], {"epochs": 3, "evaluate_at": [2, 3]}, "after the answers of round 2 only"),
        ([0], {"epochs": 1}, "after the answers of round 1 only"),
        ([0, 1], {"epochs": 2}, None),
    ],
    ids=["at the end", "twice, one round", "a single round", "each round"],
)
def test_one_point_is_no_curve(root, tmp_path, rounds_at, schedule, words):
    assert main(command(root, tmp_path, schedule=schedule, rounds_at=rounds_at)) == 0
    page, text = report(tmp_path), (tmp_path / "run/report.html").read_text()
    if words is None:
        assert "No curve" not in page and 'alt="mIoU against queried' in text
        return
    assert f"No curve is drawn: mIoU was measured {words}" in page
    assert ("schedule.evaluate_at" in page) == (len(rounds_at) > 1)
    assert 'alt="mIoU against queried' not in text


def test_runs_on_own_data_are_evaluated_at_each_round():
    config = load_config(find_config("al/own_data"), ["schedule.epochs=12"])
    assert config.schedule.evaluate_at is None and len(config.active.rounds_at) > 1
