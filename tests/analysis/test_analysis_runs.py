"""Reading work directories, and summing several of them up."""

import json

import pytest

from annotator3d.analysis.runs import read_run
from annotator3d.analysis.summary import summarise, write_summary

CLASSES = ["car", "road", "motorcyclist"]
CONFUSION = [[6, 2, 0, 0], [1, 8, 0, 1], [0, 0, 0, 0]]


def line(epoch, *, round=1, final=False, miou=50.0, **changes):
    return {
        "epoch": epoch,
        "round": round,
        "final": final,
        "miou": miou,
        "iou_per_class": {"car": 66.7, "road": 66.7, "motorcyclist": None},
        "absent": ["motorcyclist"],
        "confusion": CONFUSION,
        "voxels": 10 * round,
        "points": 90 * round,
        "labelled_points": 80 * round,
        "void_queries": round,
    } | changes


def write_run(folder, lines, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    run_info = {"setting": "ada", "strategy": "vcd", "seed": 0, "classes": CLASSES, "state": "done"}
    (folder / "run.json").write_text(json.dumps(run_info | changes))
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    (folder / "metrics.jsonl").write_text(text)
    return folder


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = read_run(write_run(tmp_path, [line(3), line(9, round=2, final=True, miou=61.5)]))
    assert (run.setting, run.strategy, run.seed) == ("ada", "vcd", 0)
    assert [e.epoch for e in run.evaluations] == [3, 9]
    assert run.final.miou == 61.5
    assert run.final.voxels == 20
    assert run.final.iou_per_class["motorcyclist"] is None
    assert run.final.confusion.tolist() == CONFUSION


def test_of_an_epoch_that_a_resumed_run_repeated_the_last_line_counts(tmp_path):
    lines = [line(3, miou=10), line(6, miou=20), line(3, miou=30), line(6, miou=40, final=True)]
    run = read_run(write_run(tmp_path, lines))
    assert [(e.epoch, e.miou) for e in run.evaluations] == [(3, 30), (6, 40)]


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl"])
def test_a_missing_file_is_named(tmp_path, name):
    write_run(tmp_path, [line(9, final=True)])
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "not finished"),
        ([line(3)], "not finished"),
        ([line(3), '{"epoch": 6, "rou'], "line 2: corrupt"),
        (["[1, 2]"], "line 1: expected a JSON object"),
        ([line(9, final=True, miou=0.5 / 0.004)], "'miou' must be a percentage"),
        ([line(9, final=True, miou=float("nan"))], "'miou' must be a percentage"),
        ([line(9, final=True, voxels=-1)], "'voxels' must not be negative"),
        ([line(9, final=True, voxels=None)], "'voxels' must be a whole number, got nothing"),
        ([line(9, final="yes")], "'final' must be true or false"),
        ([line(9, final=True, confusion=[[1, 2], [3, 4]])], r"\(3, 4\) integers"),
        ([line(9, final=True, confusion=[[1, 2], [3]])], r"\(3, 4\) integers"),
        ([line(9, final=True, confusion=[[-1, 0, 0, 0]] * 3)], r"\(3, 4\) integers"),
        ([line(9, final=True, confusion=[[0.5, 0, 0, 0]] * 3)], r"\(3, 4\) integers"),
        ([line(9, final=True, iou_per_class={"car": 1.0, "road": 2.0})], "motorcyclist"),
    ],
)
def test_bad_metrics_are_refused_with_the_name_of_the_file(tmp_path, lines, words):
    write_run(tmp_path, lines)
    with pytest.raises(ValueError, match=words) as caught:
        read_run(tmp_path)
    assert str(tmp_path / "metrics.jsonl") in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "running"}, "not finished"),
        ({"setting": "uda"}, "setting must be one of"),
        ({"seed": "0"}, "'seed' must be a whole number"),
        ({"classes": ["car", "car"]}, "distinct class names"),
    ],
)
def test_a_bad_run_card_is_refused_with_the_name_of_the_file(tmp_path, changes, words):
    write_run(tmp_path, [line(9, final=True)], **changes)
    with pytest.raises(ValueError, match=words) as caught:
        read_run(tmp_path)
    assert str(tmp_path / "run.json") in str(caught.value)


def reference(folder, setting, miou):
    last = line(9, round=0, final=True, miou=miou)
    return read_run(write_run(folder, [last], setting=setting, strategy=None))


def test_the_summary_has_the_agreed_shape_and_numbers(tmp_path):
    curve = [
        line(1, round=0, miou=5),
        line(3, miou=20),
        line(5, miou=22),  # still round 1
        line(6, round=2, miou=30),
        line(9, round=2, final=True, miou=41.25),
    ]
    vcd = read_run(write_run(tmp_path / "vcd", curve))
    random = read_run(write_run(tmp_path / "random", curve[1:], strategy="random"))
    source = reference(tmp_path / "source", "source_only", 12.5)
    target = reference(tmp_path / "target", "target_only", 61)
    summary = summarise({"a": vcd, "b": random}, source, 14.0, target, 90)
    assert summary["source_only_miou"] == 12.5
    assert summary["zero_label_miou"] == 14.0
    assert summary["target_only_miou"] == 61
    assert summary["wall_seconds"] == 90
    assert [run["strategy"] for run in summary["runs"]] == ["random", "vcd"]
    rounds = summary["runs"][1]["rounds"]
    assert [(r["round"], r["voxels"], r["points"], r["miou"]) for r in rounds] == [
        (1, 10, 90, 22),
        (2, 20, 180, 41.25),
    ]
    assert [r["during_training"] for r in rounds] == [True, False]
    assert rounds[1]["iou_per_class"] == {"car": 66.7, "road": 66.7, "motorcyclist": None}
    write_summary(tmp_path / "summary.json", summary)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def test_runs_that_cannot_stand_beside_each_other_are_refused(tmp_path):
    final = [line(9, final=True)]
    run = read_run(write_run(tmp_path / "a", final))
    twin = read_run(write_run(tmp_path / "b", final))
    with pytest.raises(ValueError, match="both ada vcd with seed 0"):
        summarise([run, twin], None, None, None, 1)
    renamed = line(9, final=True, iou_per_class={"car": 1, "street": 1, "motorcyclist": None})
    other = write_run(tmp_path / "c", [renamed], classes=["car", "street", "motorcyclist"])
    with pytest.raises(ValueError, match="street"):
        summarise([run, read_run(other)], None, None, None, 1)
    with pytest.raises(ValueError, match="no evaluation after a round"):
        summarise([reference(tmp_path / "d", "source_only", 12)], None, None, None, 1)
